//! Figures of a set of requests: a class, a bucket, or all.

use std::collections::BTreeMap;

use super::histogram::Histogram;
use crate::engine::{Finish, Latencies, Outcome};
use crate::report::{Distribution, Group, Quantiles};
use crate::scenario::Source;

/// Figures of one group of requests.
#[derive(Clone, Debug)]
pub struct GroupStats {
    pub(super) by_finish: [u64; Finish::ALL.len()],
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
    pub(super) cached_tokens: u64,
    pub(super) sources: [u64; 8],
    pub(super) input: Histogram,
    pub(super) output: Histogram,
    pub(super) ttft: Histogram,
    pub(super) tpot: Histogram,
    pub(super) e2e: Histogram,
    pub(super) queue: Histogram,
    pub(super) itl: Histogram,
}

impl Default for GroupStats {
    fn default() -> GroupStats {
        GroupStats {
            by_finish: [0; Finish::ALL.len()],
            input_tokens: 0,
            output_tokens: 0,
            cached_tokens: 0,
            sources: [0; 8],
            input: Histogram::of_counts(),
            output: Histogram::of_counts(),
            ttft: Histogram::of_times(),
            tpot: Histogram::of_times(),
            e2e: Histogram::of_times(),
            queue: Histogram::of_times(),
            itl: Histogram::of_times(),
        }
    }
}

impl GroupStats {
    /// Counts one request.
    pub fn add(&mut self, outcome: &Outcome, latencies: &Latencies) {
        let request = &outcome.request;
        self.by_finish[outcome.finish as usize] += 1;
        self.input_tokens += u64::from(request.input_tokens);
        self.output_tokens += u64::from(outcome.output_tokens);
        self.cached_tokens += u64::from(outcome.cached_tokens);
        for (sum, &tokens) in self.sources.iter_mut().zip(&request.sources) {
            *sum += u64::from(tokens);
        }
        self.input.add(request.input_tokens.into());
        if outcome.finish.completed() {
            self.output.add(outcome.output_tokens.into());
        }
        for (histogram, value) in [
            (&mut self.ttft, latencies.ttft),
            (&mut self.tpot, latencies.tpot),
            (&mut self.e2e, latencies.e2e),
            (&mut self.queue, latencies.queue),
        ] {
            if let Some(value) = value {
                histogram.add(value);
            }
        }
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &GroupStats) {
        for (mine, theirs) in self.by_finish.iter_mut().zip(other.by_finish) {
            *mine += theirs;
        }
        for (mine, theirs) in self.sources.iter_mut().zip(other.sources) {
            *mine += theirs;
        }
        self.input_tokens += other.input_tokens;
        self.output_tokens += other.output_tokens;
        self.cached_tokens += other.cached_tokens;
        for (mine, theirs) in [
            (&mut self.input, &other.input),
            (&mut self.output, &other.output),
            (&mut self.ttft, &other.ttft),
            (&mut self.tpot, &other.tpot),
            (&mut self.e2e, &other.e2e),
            (&mut self.queue, &other.queue),
            (&mut self.itl, &other.itl),
        ] {
            mine.merge(theirs);
        }
    }

    /// Requests that arrived.
    pub fn requests(&self) -> u64 {
        self.by_finish.iter().sum()
    }

    /// Requests that got their whole answer.
    pub fn completed(&self) -> u64 {
        Finish::ALL.iter().filter(|f| f.completed()).map(|&f| self.by_finish[f as usize]).sum()
    }

    /// Input tokens by source, empty where no request names any.
    pub fn by_source(&self) -> BTreeMap<String, u64> {
        let named = self.sources.iter().any(|&n| n > 0);
        let each = Source::ALL.iter().filter(|_| named);
        each.map(|&s| (s.name().to_owned(), self.sources[s as usize])).filter(|&(_, n)| n > 0).collect()
    }

    /// Its latencies, those that were observed; gaps between tokens are counted for classes only, and the whole.
    pub fn into_distributions(self, kind: &'static str, group: &str) -> Vec<Distribution> {
        let latencies =
            [("queue_ms", self.queue), ("ttft_ms", self.ttft), ("tpot_ms", self.tpot), ("itl_ms", self.itl), ("e2e_ms", self.e2e)];
        let observed = latencies.into_iter().filter(|(_, histogram)| histogram.count() > 0);
        observed.map(|(figure, histogram)| Distribution { kind, group: group.to_owned(), figure, histogram }).collect()
    }

    /// As printed.
    pub fn report(&self, name: String, with_itl: bool) -> Group {
        Group {
            name,
            requests: self.requests(),
            completed: self.completed(),
            input_tokens: self.input_tokens,
            output_tokens: self.output_tokens,
            cached_tokens: self.cached_tokens,
            input_tokens_by_source: self.by_source(),
            input_length: counts(&self.input),
            output_length: counts(&self.output),
            ttft_ms: times(&self.ttft),
            tpot_ms: times(&self.tpot),
            itl_ms: with_itl.then(|| times(&self.itl)),
            e2e_ms: times(&self.e2e),
            queue_ms: times(&self.queue),
        }
    }
}

/// Quantiles of a histogram of times, in milliseconds.
pub fn times(histogram: &Histogram) -> Quantiles {
    quantiles(histogram, 1e-9)
}

/// Quantiles of a histogram of counts.
pub fn counts(histogram: &Histogram) -> Quantiles {
    quantiles(histogram, 1.0)
}

fn quantiles(histogram: &Histogram, scale: f64) -> Quantiles {
    let at = |q: f64| histogram.quantile(q).map(|v| v * scale);
    Quantiles {
        count: histogram.count(),
        mean: histogram.mean().map(|v| v * scale),
        p50: at(0.50),
        p90: at(0.90),
        p95: at(0.95),
        p99: at(0.99),
        max: histogram.max().map(|v| v as f64 * scale),
    }
}
