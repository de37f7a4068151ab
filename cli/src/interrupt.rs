//! Ctrl-C, for work that can stop in good order.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::exit::Failure;

/// A flag that the first interrupt sets; the second one ends the program.
pub fn interruptible() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let cannot = |error: std::io::Error| Failure::message(format!("cannot listen to interrupts: {error}"));
    // In this order: the second interrupt finds the flag set.
    signal_hook::flag::register_conditional_shutdown(signal_hook::consts::SIGINT, 130, stop.clone()).map_err(cannot)?;
    signal_hook::flag::register(signal_hook::consts::SIGINT, stop.clone()).map_err(cannot)?;
    Ok(stop)
}
