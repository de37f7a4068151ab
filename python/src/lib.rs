//! Python bindings: scenarios, runs and their reports. The package `tokentide` re-exports this module and documents its API; here
//! is only what must be compiled.

mod calibrate;
mod detached;
mod error;
mod frame;
mod run;
mod scenario;
mod study;
mod sweep;
mod tidy;
mod value;

/// The compiled half of the package `tokentide`.
#[pyo3::pymodule]
mod _tokentide {
    #[pymodule_export]
    use crate::calibrate::fit_server;
    #[pymodule_export]
    use crate::error::ScenarioError;
    #[pymodule_export]
    use crate::frame::Frame;
    #[pymodule_export]
    use crate::run::{Run, simulate};
    #[pymodule_export]
    use crate::scenario::{Scenario, restore};
    #[pymodule_export]
    use crate::study::{Study, compare, plan};
    #[pymodule_export]
    use crate::sweep::{Kept, Spec, sweep_chart};
    #[pymodule_export]
    use crate::value::milliseconds;
    #[pymodule_export]
    #[allow(non_upper_case_globals)]
    const __version__: &str = env!("CARGO_PKG_VERSION");
}
