//! `ttft=10%,tpot.p99=5%`: how far off predictions may be.

use std::str::FromStr;

use super::report::{MetricReport, SetReport};
use super::stats::ErrorSummary;

/// Most error of one figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    /// `ttft`, `tpot`, `itl`, `e2e`, `throughput`, `makespan` or `kv_blocks`.
    pub metric: String,
    /// Of runs: `mean`, `p50`, `p90`, `p99` (error of that figure) or `mape`. Of points: `median` or `mape` over all points.
    /// `None`: the mean of runs, the median of points, each server of KV blocks.
    pub stat: Option<String>,
    /// Limit of the absolute error [%].
    pub limit: f64,
}

/// A gate held against one data set.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// Which figure of what, such as `ttft.mean of rtx-pro-6000`.
    pub what: String,
    /// Absolute error [%].
    pub error: f64,
    /// Whether it is within the limit.
    pub met: bool,
}

const METRICS: [&str; 7] = ["ttft", "tpot", "itl", "e2e", "throughput", "makespan", "kv_blocks"];
const STATS: [&str; 6] = ["mean", "p50", "p90", "p99", "mape", "median"];

impl FromStr for Gate {
    type Err = String;

    /// Reads `metric[.stat]=N%`.
    fn from_str(text: &str) -> Result<Gate, String> {
        let (name, limit) = text.split_once('=').ok_or("expected METRIC=N%, such as ttft=10%")?;
        let (metric, stat) = name.trim().split_once('.').map_or((name.trim(), None), |(metric, stat)| (metric, Some(stat)));
        if !METRICS.contains(&metric) {
            return Err(format!("unknown metric `{metric}`: expected {}", METRICS.join(", ")));
        }
        if let Some(unknown) = stat.filter(|stat| !STATS.contains(stat)) {
            return Err(format!("unknown figure `{unknown}`: expected {}", STATS.join(", ")));
        }
        let number = limit.trim().strip_suffix('%').ok_or_else(|| format!("`{limit}` has no unit: write it as 10%"))?;
        let limit: f64 = number.trim().parse().map_err(|_| format!("`{number}` is not a number"))?;
        if !(limit.is_finite() && limit >= 0.0) {
            return Err(format!("a limit is 0 % or more, not {limit} %"));
        }
        Ok(Gate { metric: metric.to_owned(), stat: stat.map(str::to_owned), limit })
    }
}

impl Gate {
    /// Holds the gate against all that `report` has of its figure; nothing if it has none.
    pub fn judge(&self, report: &SetReport) -> Vec<Judged> {
        let mut judged = Vec::new();
        let mut hold = |stat: &str, of: &str, error: Option<f64>| {
            let Some(error) = error.map(f64::abs) else { return };
            judged.push(Judged { what: format!("{}.{stat} of {of}", self.metric), error, met: error <= self.limit });
        };
        for run in &report.runs {
            let stat = self.stat.as_deref().unwrap_or("mean");
            let whole = match self.metric.as_str() {
                "throughput" => run.throughput,
                "makespan" => run.makespan_s,
                _ => None,
            };
            let metric = run.metrics.iter().find(|m| m.metric == self.metric);
            hold(stat, &run.name, metric.and_then(|m| of_run(m, stat)).or(whole.filter(|_| stat == "mean").and_then(|p| p.error)));
        }
        for points in &report.points {
            let stat = self.stat.as_deref().unwrap_or("median");
            let Some(all) = points.groups.last() else { continue };
            let summary = match self.metric.as_str() {
                "ttft" => Some(all.ttft),
                "tpot" => Some(all.tpot),
                "throughput" => all.throughput,
                _ => None,
            };
            hold(stat, &points.name, summary.and_then(|s| of_points(&s, stat)));
        }
        for server in report.kv_blocks.iter().flat_map(|kv| &kv.servers).filter(|_| self.metric == "kv_blocks") {
            hold("each", &server.name, server.blocks.error);
        }
        judged
    }
}

fn of_run(metric: &MetricReport, stat: &str) -> Option<f64> {
    match stat {
        "mean" => metric.errors[0],
        "p50" => metric.errors[1],
        "p90" => metric.errors[2],
        "p99" => metric.errors[3],
        "mape" => metric.mape,
        _ => None,
    }
}

fn of_points(summary: &ErrorSummary, stat: &str) -> Option<f64> {
    match stat {
        "median" => Some(summary.median_absolute),
        "mape" => Some(summary.mean_absolute),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_are_read_strictly() {
        let gate: Gate = "ttft.p99= 3 %".parse().unwrap();
        assert_eq!(gate, Gate { metric: "ttft".to_owned(), stat: Some("p99".to_owned()), limit: 3.0 });
        for (wrong, says) in [
            ("ttft", "METRIC=N%"),
            ("ttfd=3%", "unknown metric `ttfd`"),
            ("ttft.p98=3%", "unknown figure `p98`"),
            ("ttft=3", "no unit"),
            ("ttft=x%", "not a number"),
            ("ttft=-1%", "0 % or more"),
        ] {
            let error = wrong.parse::<Gate>().unwrap_err();
            assert!(error.contains(says), "{wrong}: {error}");
        }
    }
}
