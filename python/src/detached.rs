//! Work without the GIL that answers Ctrl-C.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use pyo3::prelude::*;

/// How often the work is looked after.
const EVERY: Duration = Duration::from_millis(100);

/// Does `work` on a thread of its own, while this one, which may be Python's main thread, answers signals and calls `tick`. What
/// `work` is given becomes true once it is to end early.
///
/// # Errors
/// What a signal handler or `tick` raised; `work` has then ended, and what it gave is lost.
pub(crate) fn detached<T: Send>(
    py: Python<'_>,
    work: impl FnOnce(&AtomicBool) -> T + Send,
    tick: &mut (dyn FnMut(Python<'_>) -> PyResult<()> + Send),
) -> PyResult<T> {
    py.detach(|| {
        let cancelled = AtomicBool::new(false);
        let (running, ended) = channel::<()>();
        thread::scope(|scope| {
            let cancelled = &cancelled;
            let worker = scope.spawn(move || {
                // Dropped at the end, however it comes.
                let _running = running;
                work(cancelled)
            });
            let mut interrupt = None;
            while ended.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                if interrupt.is_none()
                    && let Err(raised) = Python::attach(|py| py.check_signals().and_then(|()| tick(py)))
                {
                    cancelled.store(true, Ordering::Relaxed);
                    interrupt = Some(raised);
                }
            }
            match (worker.join(), interrupt) {
                (_, Some(raised)) => Err(raised),
                (Ok(done), None) => Ok(done),
                (Err(panic), None) => resume_unwind(panic),
            }
        })
    })
}
