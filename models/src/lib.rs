//! Hardware, model shapes, memory and iteration cost of LLM serving.
//!
//! Depends on no other crate of the workspace. Reading order: [`units`], [`gpu`], [`architecture`], [`deployment`], [`memory`],
//! [`cost`]; [`engine_defaults`] is what the engine does when it is not told otherwise, [`padded_experts`] how some of its releases
//! compute a mixture.

pub mod architecture;
pub mod capture_sizes;
pub mod catalogue;
pub mod cost;
pub mod deployment;
pub mod engine_defaults;
pub mod gpu;
pub mod hash;
pub mod memory;
pub mod padded_experts;
pub mod show;
pub mod units;
