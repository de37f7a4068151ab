//! What a run is asked for: latencies, token volume, levels over time, service levels.

mod capacity;
mod collector;
mod figures;
mod group;
mod histogram;
mod presence;
mod replications;
mod student;
mod timeline;

pub use capacity::{Core, Mix, Sums};
pub use collector::{Collector, target_name};
pub use figures::{Figure, visit_figures};

pub use histogram::Histogram;
pub use replications::{average, severity};
pub use student::quantile as student_t;
