//! Cost profiles from measurements.
//!
//! Reading order: [`op_tables`] (what is read), [`fit`] (how a profile is made of it), [`coefficients`] (the fit itself),
//! [`predict`], [`solve`] (the numerical means), [`shipped`] (the profiles that come with the program). [`vidur`] stands alone.

pub mod coefficients;
pub mod error;
pub mod fit;
pub mod frame;
pub mod op_tables;
pub mod predict;
pub mod shipped;
pub mod solve;
pub mod vidur;

pub use error::CalibrateError;
pub use fit::{fit_profile, import_op_tables};
pub use frame::Frame;
pub use op_tables::{OpTables, Selection};
pub use vidur::{VidurSelection, import_vidur};
