//! Kubernetes' scaling loop on a simulated clock: what an HPA (`autoscaling/v2`) decides, with KEDA above it or not, from metrics that
//! a Prometheus has scraped. It knows nothing of engines or requests: pods and their metrics come through [`Workload`].

pub mod config;
pub mod manifest;
pub mod pods;
pub mod policy;

pub use config::Autoscaler;
pub use pods::Workload;
