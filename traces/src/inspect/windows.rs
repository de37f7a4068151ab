//! Tokens over time: how the same number of requests becomes another load.

use serde::Serialize;

use crate::row::TraceRow;

/// Steps between windows that are compared [s], and how many are at most.
const STEP_S: usize = 10;
const WINDOWS_MAX: usize = 4000;
/// Windows of as many requests differ by at most this share.
const EQUAL: f64 = 0.02;
/// Requests that a window must have to be compared.
const REQUESTS_MIN: u64 = 50;
/// Longest span that is looked at [s]: a year.
const SECONDS_MAX: usize = 366 * 86_400;
/// Most windows that follow one another: a year of minutes.
const FOLLOWING_MAX: usize = 366 * 1440;

/// Requests and tokens by the second.
#[derive(Clone, Debug, Default)]
pub struct Seconds {
    /// Of each second that has requests, and all before it: rows, input tokens, output tokens. Ascending.
    until: Vec<(usize, [u64; 3])>,
}

/// A stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Drift {
    /// From the first arrival [s].
    pub start_s: f64,
    /// Length [s].
    pub length_s: f64,
    /// Requests.
    pub rows: u64,
    /// Input tokens.
    pub input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
}

/// Two windows with as many requests, one of which has far more tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Twins {
    /// The lighter one.
    pub a: Drift,
    /// The heavier one.
    pub b: Drift,
    /// Which tokens differ: `input` or `output`.
    pub of: &'static str,
    /// B over A.
    pub ratio: f64,
}

impl Seconds {
    /// Takes a row of this second, which is not before the last one's.
    pub fn add(&mut self, second: usize, row: &TraceRow) {
        let second = second.min(SECONDS_MAX);
        let (last, [rows, input, output]) = self.until.last().copied().unwrap_or_default();
        debug_assert!(second >= last, "rows in order of arrival");
        let sums = [rows + 1, input + u64::from(row.input_tokens), output + u64::from(row.output_tokens)];
        match self.until.last_mut().filter(|_| last == second) {
            Some(same) => same.1 = sums,
            None => self.until.push((second, sums)),
        }
    }

    /// Seconds from the first row to the last.
    fn len(&self) -> usize {
        self.until.last().map_or(0, |(second, _)| second + 1)
    }

    /// Rows, input and output tokens before this second.
    fn before(&self, second: usize) -> [u64; 3] {
        let place = self.until.partition_point(|(at, _)| *at < second);
        place.checked_sub(1).map_or([0; 3], |place| self.until[place].1)
    }

    fn window(&self, start: usize, length: usize) -> Drift {
        let end = start.saturating_add(length).min(self.len());
        let (from, to) = (self.before(start), self.before(end));
        Drift {
            start_s: start as f64,
            length_s: (end - start) as f64,
            rows: to[0] - from[0],
            input_tokens: to[1] - from[1],
            output_tokens: to[2] - from[2],
        }
    }

    /// One window after another, of `length` seconds, or longer ones if those were too many.
    pub fn windows(&self, length: usize) -> Vec<Drift> {
        let length = length.max(self.len().div_ceil(FOLLOWING_MAX)).max(1);
        (0..self.len()).step_by(length).map(|start| self.window(start, length)).collect()
    }

    /// The two windows of `length` seconds with as many requests and the largest ratio of input tokens, or of output tokens.
    pub fn twins(&self, length: usize) -> Option<Twins> {
        let whole = self.len().checked_sub(length)?;
        let mut windows: Vec<Drift> =
            (0..=whole).step_by(STEP_S.max(whole / WINDOWS_MAX)).map(|start| self.window(start, length)).collect();
        windows.retain(|window| window.rows >= REQUESTS_MIN);
        windows.sort_by_key(|window| window.rows);
        let of = |name, tokens: fn(&Drift) -> u64| extremes(&windows, name, tokens);
        let found = [of("input", |w| w.input_tokens), of("output", |w| w.output_tokens)];
        found.into_iter().flatten().max_by(|a, b| a.ratio.total_cmp(&b.ratio))
    }

    /// R^2 of input and of output tokens a minute on requests a minute, over the whole minutes.
    pub fn explained(&self) -> Option<[f64; 2]> {
        let minutes: Vec<Drift> = self.windows(60);
        let minutes = &minutes[..self.len() / 60];
        if minutes.len() < 5 {
            return None;
        }
        let r2 = |tokens: fn(&Drift) -> u64| {
            let n = minutes.len() as f64;
            let mean = |of: &dyn Fn(&Drift) -> f64| minutes.iter().map(of).sum::<f64>() / n;
            let (mx, my) = (mean(&|w| w.rows as f64), mean(&|w| tokens(w) as f64));
            let sum =
                |of: &dyn Fn(f64, f64) -> f64| minutes.iter().map(|w| of(w.rows as f64 - mx, tokens(w) as f64 - my)).sum::<f64>();
            let (xy, xx, yy) = (sum(&|x, y| x * y), sum(&|x, _| x * x), sum(&|_, y| y * y));
            if xx > 0.0 && yy > 0.0 { xy * xy / (xx * yy) } else { 1.0 }
        };
        Some([r2(|w| w.input_tokens), r2(|w| w.output_tokens)])
    }
}

/// Over `windows` in order of their requests: those of nearly the same number lie side by side.
fn extremes(windows: &[Drift], of: &'static str, tokens: fn(&Drift) -> u64) -> Option<Twins> {
    let mut best: Option<Twins> = None;
    let mut start = 0;
    for (end, last) in windows.iter().enumerate() {
        while (last.rows as f64) > windows[start].rows as f64 * (1.0 + EQUAL) {
            start += 1;
        }
        // The last one against those before it: each pair is met once.
        for other in &windows[start..end] {
            let apart = (other.start_s - last.start_s).abs() >= last.length_s;
            let (a, b) = if tokens(other) <= tokens(last) { (other, last) } else { (last, other) };
            let ratio = tokens(b) as f64 / tokens(a).max(1) as f64;
            if apart && best.is_none_or(|best| ratio > best.ratio) {
                best = Some(Twins { a: *a, b: *b, of, ratio });
            }
        }
    }
    best
}
