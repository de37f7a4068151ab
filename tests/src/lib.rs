//! Tests that cross crates: the reference engine, what is recorded of a run, the swarm, small examples, and the shipped scenarios.

pub mod digest;
pub mod engine;
pub mod fake_server;
pub mod real_run;
pub mod recorder;
pub mod reference;
pub mod scenarios;
pub mod shared;
pub mod small;
pub mod swarm;
