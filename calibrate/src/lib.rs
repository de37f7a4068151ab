//! Cost profiles from measurements.
//!
//! Reading order: [`op_tables`] (composed step times), [`perf_tables`] (raw operator times, composed here), [`between`] (what is
//! known between points), [`fit`] (how a profile is made of them), [`coefficients`] (the fit itself), [`predict`], [`solve`] (the
//! numerical means), [`shipped`] (the profiles that come with the program).

pub mod between;
pub mod coefficients;
pub mod error;
pub mod fit;
pub mod frame;
pub mod op_tables;
pub mod perf_tables;
pub mod predict;
pub mod shipped;
pub mod solve;

pub use error::CalibrateError;
pub use fit::{fit_profile, import_op_tables};
pub use frame::Frame;
pub use op_tables::{ComposedTables, OpTables, Selection};
pub use perf_tables::{PerfImport, PerfSelection, Routing, import_perf_tables};
