//! A run as the tools of operators show it: its steps and requests as a timeline for Perfetto, its replicas' metrics as vLLM
//! servers would have given them.
//!
//! Both are observers that stand beside the one of the report. What the metrics mean is at [`families`].

mod buckets;
mod error;
mod exposition;
pub mod families;
mod meter;
mod partial;
mod timeline;
mod trace_event;

pub use error::ViewError;
pub use exposition::{DEFAULT_START_MS, Format, write_metrics};
pub use meter::{Meter, POINTS_MAX, Sampling};
pub use partial::Partial;
pub use timeline::{Drawn, EVENTS_MAX, Timeline, Window};
