//! The reference engine and the swarm.
