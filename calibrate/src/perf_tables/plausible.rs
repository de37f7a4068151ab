//! Whether measured times can be what they are said to be.

use crate::CalibrateError;
use crate::perf_tables::rows::Rows;

/// Least times above this tell units apart [ms]: shorter kernels are mostly their own launch.
const TELLING_MS: f64 = 0.02;
/// A kernel whose typical time is this many times the least possible was not timed in milliseconds.
const UNIT_FACTOR: f64 = 100.0;
/// Share of the least time that a row may take: peaks are round figures.
const SLACK: f64 = 0.98;
/// No table of matrix products of any engine has a fastest row as slow as this, unless the host was timed [ms]: captured kernels of
/// tiny shapes take 2.5 to 9 us, those of the host-bound `fp8_block` collection 56 to 300 us.
const HOST_BOUND_MS: f64 = 0.03;

/// Least time of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Least {
    /// At the GPU's peak arithmetic [ms].
    pub arithmetic: f64,
    /// At the whole memory bandwidth [ms].
    pub memory: f64,
    /// Whether what is read fits the level-2 cache, so that memory does not bound it.
    pub cached: bool,
}

/// Holds every row against the least time it can take.
///
/// Returns what is odd, but can be: rows that were faster than memory because the level-2 cache held what they read.
///
/// # Errors
///
/// [`CalibrateError::Value`] with row, value and reason for a row that is faster than the GPU can be, and for a table whose times
/// are a hundred times too long or short for milliseconds.
pub(super) fn check(rows: &Rows, what: &str, least: &[Least]) -> Result<Vec<String>, CalibrateError> {
    let ms = rows.ms();
    let bound = |l: &Least| l.arithmetic.max(if l.cached { 0.0 } else { l.memory });
    let mut telling: Vec<(f64, usize)> =
        (0..ms.len()).filter(|&i| bound(&least[i]) > TELLING_MS).map(|i| (ms[i] / bound(&least[i]), i)).collect();
    telling.sort_by(|a, b| a.0.total_cmp(&b.0));
    if let Some(&(ratio, row)) = telling.get(telling.len() / 2) {
        let told = |unit: &str| {
            let (time, possible) = (ms[row], bound(&least[row]));
            let message = format!("{what} takes {time} ms where {possible:.4} ms is the least, and half of the rows are like it");
            rows.bad_row(row, format!("{message}: are the times {unit}?"))
        };
        if ratio > UNIT_FACTOR {
            return Err(told("microseconds"));
        }
        if ratio < 1.0 / UNIT_FACTOR {
            return Err(told("seconds"));
        }
    }
    if let Some(row) = (0..ms.len()).find(|&i| ms[i] < SLACK * bound(&least[i])) {
        let reason = if bound(&least[row]) > least[row].arithmetic { "reading its bytes" } else { "its arithmetic" };
        let message = format!("{what} takes {} ms; {reason} needs {:.4} ms", ms[row], bound(&least[row]));
        return Err(rows.bad_row(row, message));
    }
    let cached = (0..ms.len()).filter(|&i| ms[i] < SLACK * least[i].memory).count();
    let flag =
        || format!("{}: {cached} rows of {what} beat the memory bandwidth: the level-2 cache holds what they read", rows.path());
    Ok((cached > 0).then(flag).into_iter().collect())
}

/// Refuses a table of matrix products that timed the host.
///
/// # Errors
///
/// [`CalibrateError::Value`] with the fastest row if it is slower than any launch.
pub(super) fn check_launch(rows: &Rows, dtype: &str) -> Result<(), CalibrateError> {
    let ms = rows.ms();
    match (0..ms.len()).min_by(|&a, &b| ms[a].total_cmp(&ms[b])) {
        Some(row) if ms[row] > HOST_BOUND_MS => {
            let message = format!(
                "the fastest {dtype} product of all takes {:.1} us: the collection waited for the host, as that of fp8_block does",
                ms[row] * 1e3
            );
            Err(rows.bad_row(row, message))
        }
        _ => Ok(()),
    }
}
