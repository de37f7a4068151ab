//! Tests that cross crates: the reference engine, what is recorded of a run, and the swarm.

pub mod engine;
pub mod recorder;
pub mod reference;
pub mod shared;
pub mod swarm;
