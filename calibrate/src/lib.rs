//! Cost profiles from measurements.
//!
//! Reading order: [`op_tables`] (what is read), [`fit`] (how a profile is made of it), [`coefficients`] (the fit itself),
//! [`predict`], [`solve`] (the numerical means), [`shipped`] and [`shipped_layers`] (the profiles that come with the program).
//! [`vllm_layers`] imports times of single layers; [`frame`] reads tables of any format.

pub mod coefficients;
pub mod error;
pub mod fit;
pub mod frame;
pub mod op_tables;
pub mod predict;
pub mod shipped;
pub mod shipped_layers;
pub mod solve;
pub mod vllm_layers;

pub use error::CalibrateError;
pub use fit::{fit_profile, import_op_tables};
pub use frame::Frame;
pub use op_tables::{OpTables, Selection};
pub use vllm_layers::{LayerImport, LayerSelection, import_vllm_layers};
