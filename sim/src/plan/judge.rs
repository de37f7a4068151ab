//! Whether a number of replicas meets the targets, with stated confidence.

use serde::Serialize;

use super::trial::{ClassTarget, Trial};
use crate::metrics::student_t;
use crate::report::Summary;

/// What seeds have shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Judgement {
    /// Every target is met.
    Meets,
    /// Some target is missed, or more work arrives than can be done.
    Misses,
    /// The intervals still contain the percentile.
    Uncertain,
}

/// A target over all seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TargetMargin {
    /// Class.
    pub class: String,
    /// Such as `ttft_p95`.
    pub target: String,
    /// Share that must be within the limit, 0 to 1.
    pub quantile: f64,
    /// Limit [ms].
    pub limit_ms: f64,
    /// Mean share within the limit; where runs were ended early, the most that it can be.
    pub attainment: f64,
    /// Half-width of its confidence interval; `None` with one run.
    pub half_width: Option<f64>,
    /// Mean of what was observed at that percentile [ms]; `None` where it is infinite, a run was ended early, or the service is
    /// unstable.
    pub value_ms: Option<f64>,
}

impl TargetMargin {
    /// Lower and upper end of the interval of (attainment - percentile).
    fn interval(&self) -> (f64, f64) {
        let (margin, half) = (self.attainment - self.quantile, self.half_width.unwrap_or(f64::INFINITY));
        (margin - half, margin + half)
    }
}

/// What is known of a number of replicas.
#[derive(Clone, Debug)]
pub struct Judged {
    /// What the seeds have shown.
    pub judgement: Judgement,
    /// By target that had requests.
    pub targets: Vec<TargetMargin>,
    /// Index into `targets` of the one that decides: the least margin as a share of what may be missed.
    pub deciding: Option<usize>,
    /// More work arrives than can be done, in most of the runs.
    pub unstable: bool,
    /// Seeds run.
    pub seeds: u32,
    /// Figures of the first run that was not ended early.
    pub summary: Option<Summary>,
}

/// Judges the runs of a number of replicas.
pub fn judge(targets: &[ClassTarget], trials: &[Trial], confidence: f64) -> Judged {
    let unstable = 2 * trials.iter().filter(|trial| trial.unstable).count() > trials.len();
    let margins: Vec<TargetMargin> =
        (0..targets.len()).filter_map(|i| margin(i, &targets[i], trials, confidence, unstable)).collect();
    let misses = unstable || margins.iter().any(|m| m.interval().1 < 0.0);
    let meets = !unstable && margins.iter().all(|m| m.interval().0 > 0.0);
    let slack = |m: &TargetMargin| (m.attainment - m.quantile) / (1.0 - m.quantile);
    let deciding = (0..margins.len()).min_by(|&a, &b| slack(&margins[a]).total_cmp(&slack(&margins[b])));
    Judged {
        judgement: match (meets, misses) {
            (_, true) => Judgement::Misses,
            (true, false) => Judgement::Meets,
            (false, false) => Judgement::Uncertain,
        },
        targets: margins,
        deciding,
        unstable,
        seeds: trials.len() as u32,
        summary: trials.iter().find(|trial| !trial.stopped).map(|trial| trial.summary.clone()),
    }
}

/// Degrees of freedom from which on t is the normal distribution's within 0.003.
const NORMAL: u32 = 1_000;

/// What chance alone leaves open of a share of `n` independent requests: the larger half of Wilson's interval. Where hardly any
/// request misses, seeds hardly differ, and their spread alone would claim more than so few requests can show.
///
/// Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
fn binomial(share: f64, n: u64, confidence: f64) -> f64 {
    let (n, z) = (n.max(1) as f64, student_t(confidence, NORMAL));
    let (z2, centre) = (z * z / n, share + z * z / (2.0 * n));
    let reach = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    let (low, high) = ((centre - reach) / (1.0 + z2), (centre + reach) / (1.0 + z2));
    (share - low).max(high - share)
}

fn margin(i: usize, target: &ClassTarget, trials: &[Trial], confidence: f64, unstable: bool) -> Option<TargetMargin> {
    let reached: Vec<f64> = trials.iter().filter_map(|trial| trial.attainment[i]).collect();
    if reached.is_empty() {
        return None;
    }
    let n = reached.len() as f64;
    let mean = reached.iter().sum::<f64>() / n;
    let half_width = (reached.len() > 1).then(|| {
        let variance = reached.iter().map(|a| (a - mean) * (a - mean)).sum::<f64>() / (n - 1.0);
        let t = student_t(confidence, reached.len() as u32 - 1);
        let requests: u64 = trials.iter().map(|trial| trial.requests[target.class]).sum();
        (t * (variance / n).sqrt()).max(binomial(mean, requests, confidence))
    });
    let seen = |trial: &Trial| {
        let found = trial.summary.slo.targets.iter().find(|t| t.class == target.class_name && t.target == target.name);
        found.filter(|_| !trial.stopped && !unstable).and_then(|t| t.value_ms)
    };
    let values: Option<Vec<f64>> = trials.iter().map(seen).collect();
    Some(TargetMargin {
        class: target.class_name.clone(),
        target: target.name.clone(),
        quantile: target.target.quantile,
        limit_ms: target.target.limit.as_millis_f64(),
        attainment: mean,
        half_width,
        value_ms: values.map(|values| values.iter().sum::<f64>() / values.len() as f64),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_requests_without_a_miss_show_little() {
        // The rule of three: none of n leaves about 3.84 / (n + 3.84) at 95 %, of two sides.
        for n in [15_u64, 300, 10_000] {
            let expected = 3.8415 / (n as f64 + 3.8415);
            assert!((binomial(1.0, n, 0.95) / expected - 1.0).abs() < 0.01, "{n}: {}", binomial(1.0, n, 0.95));
        }
        // Half of 100: 0.5 plus or minus about 0.096.
        assert!((binomial(0.5, 100, 0.95) - 0.0962).abs() < 0.0005);
    }
}
