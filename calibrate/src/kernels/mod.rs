//! Traces of a server's profiler: which kernels each step ran, for how long, and when the GPU waited for the host.
//!
//! Reading order: [`event`] and [`reader`] (a file of any size, event by event), [`trace`] (what is kept), [`class`] and [`rules`]
//! (what kernels are for), [`annotation`], [`marks`] and [`repetition`] (where steps begin), [`coverage`] and [`nesting`] (time
//! that overlaps), [`steps`] (the result), [`waiting`] (several ranks), [`report`] and [`table`] (what comes out). [`live`]
//! has a server write traces.
//!
//! Profiled steps are slower on the host: gaps are upper bounds, and latencies of a profiled run are none.

pub mod annotation;
pub mod class;
pub mod coverage;
pub mod event;
pub mod live;
pub mod marks;
pub mod nesting;
pub mod reader;
pub mod repetition;
pub mod report;
pub mod rules;
pub mod steps;
pub mod table;
pub mod trace;
pub mod waiting;

pub use class::Class;
pub use live::{LiveOptions, Recorded, record};
pub use report::{KernelReport, analyse, analyse_found};
pub use rules::Rules;
pub use table::StepKernels;
