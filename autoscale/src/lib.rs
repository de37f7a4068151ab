//! Kubernetes' scaling loop on a simulated clock: what an HPA (`autoscaling/v2`) decides, with KEDA above it or not, from metrics
//! that a Prometheus has scraped. It knows nothing of engines or requests: pods and their metrics come through [`Workload`].

pub mod config;
pub mod controller;
pub mod exposition;
pub mod hpa;
pub mod keda;
pub mod manifest;
pub mod pods;
pub mod policy;
pub mod prometheus;
pub mod promql;

pub use config::Autoscaler;
pub use controller::{Change, Controller};
pub use pods::Workload;
