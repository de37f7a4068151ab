//! Cost profiles from measurements.
//!
//! Reading order: [`frame`] (tables of any format), [`op_tables`] (composed step times), [`perf_tables`] (raw operator times,
//! composed here), [`between`] (what is known between points), [`fit`] (how a profile is made of them), [`coefficients`] (the fit
//! itself), [`predict`], [`solve`] (the numerical means); [`vllm_layers`] (times of single layers); [`shipped`] and
//! [`shipped_layers`] (the profiles that come with the program). [`vidur`] stands alone. Of a live server: [`probe`] (measures it
//! from outside), [`observation`] (what it saw), [`live`] (the fit to that), [`kernels`] (what the server's profiler saw).

pub mod between;
pub mod coefficients;
pub mod error;
pub mod fit;
pub mod frame;
pub mod kernels;
pub mod live;
pub mod observation;
pub mod op_tables;
pub mod perf_tables;
pub mod predict;
pub mod probe;
pub mod shipped;
pub mod shipped_experts;
pub mod shipped_layers;
pub mod solve;
pub mod vidur;
pub mod vllm_layers;

pub use error::CalibrateError;
pub use fit::{fit_profile, import_op_tables};
pub use frame::Frame;
pub use op_tables::{ComposedTables, OpTables, Selection};
pub use perf_tables::{ExpertsTable, PADDED_KERNEL, PerfImport, PerfSelection, Routing, import_perf_tables};
pub use vidur::{VidurSelection, import_vidur};
pub use vllm_layers::{LayerImport, LayerSelection, import_vllm_layers};
