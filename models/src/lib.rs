//! Hardware, model shapes, memory and iteration cost of LLM serving.
//!
//! Depends on no other crate of the workspace. Reading order: [`units`], [`gpu`], [`architecture`], [`deployment`], [`memory`],
//! [`cost`].

pub mod architecture;
pub mod cost;
pub mod deployment;
pub mod gpu;
pub mod memory;
pub mod units;
