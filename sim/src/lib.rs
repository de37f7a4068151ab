//! Discrete-event simulation of an LLM serving cluster.
//!
//! Data flows one way: [`scenario`] -> [`workload`] (requests in time order) -> [`cluster`] (router -> [`engine`] replicas) ->
//! [`metrics`] -> [`report`]. [`validate`] holds runs against what real servers did.

pub mod cluster;
pub mod engine;
pub mod metrics;
pub mod plan;
pub mod report;
pub mod run;
pub mod scenario;
pub mod stream;
pub mod validate;
pub mod workload;
