//! What a repeat says in one figure, and how sure a point's repeats are of it.

use super::marks::BUNCHED;
use crate::observation::{PointKind, RequestRecord};
use crate::solve::median;

/// Repeats below which nothing is known of the spread.
const LEAST_REPEATS: usize = 3;

/// Chunks that are apart by less than this share of a stream's mean, or by less than this time [s], came together: no engine's step
/// is as short.
const TOGETHER: f64 = 0.2;
const TOGETHER_TIME: f64 = 0.25e-3;

/// What one repeat says [s].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// Median TTFT of prefills, mean step of decodes, mean TTFT of injected prompts, mean TTFT of loads.
    pub value: f64,
    /// The same at its fastest: what a stall in the middle does not reach.
    pub low: f64,
    /// Steps in which all decodes ran; 0 if that is not what the point is about.
    pub steps: u32,
    /// Share of chunks that came together with the one before.
    pub bunched: f64,
}

/// Time to the first token [s].
pub fn ttft(request: &RequestRecord) -> Option<f64> {
    let first = request.chunks.first().filter(|_| request.error.is_none())?;
    Some(first.0.saturating_sub(request.sent_ns) as f64 / 1e9)
}

/// When all of `requests` decoded: from the last first token to the first last one [ns]. Nothing if there is no such time.
pub fn steady(requests: &[&RequestRecord]) -> Option<(u64, u64)> {
    let begin = requests.iter().map(|r| r.chunks.first().map_or(u64::MAX, |c| c.0)).max()?;
    let end = requests.iter().map(|r| r.chunks.last().map_or(0, |c| c.0)).min()?;
    (begin < end).then_some((begin, end))
}

/// The figure of a repeat of a point of `batch` decodes; nothing if too much of it failed.
pub fn figure(kind: PointKind, batch: u32, requests: &[RequestRecord]) -> Option<Figure> {
    let good: Vec<&RequestRecord> = requests.iter().filter(|r| r.error.is_none()).collect();
    let (decodes, others): (Vec<&RequestRecord>, Vec<&RequestRecord>) = good.iter().copied().partition(|r| r.index < batch);
    match kind {
        PointKind::Decode | PointKind::Beat => {
            let (begin, end) = steady(&decodes).filter(|_| decodes.len() == batch as usize)?;
            let streams: Vec<Figure> = decodes.iter().filter_map(|r| pace(r, begin, end)).collect();
            let of = |pick: fn(&Figure) -> f64| median(&streams.iter().map(pick).collect::<Vec<_>>());
            let steps = streams.iter().map(|f| f.steps).min()?;
            Some(Figure { value: of(|f| f.value)?, low: of(|f| f.low)?, steps, bunched: of(|f| f.bunched)? })
        }
        PointKind::Mixed => times(&others, mean),
        PointKind::Warmup | PointKind::Prefill => times(&good, median),
        PointKind::Burst | PointKind::Rehearsal | PointKind::Open => times(&good, mean),
    }
}

fn times(requests: &[&RequestRecord], middle: impl Fn(&[f64]) -> Option<f64>) -> Option<Figure> {
    let times: Vec<f64> = requests.iter().filter_map(|r| ttft(r)).collect();
    Some(Figure { value: middle(&times)?, low: times.iter().copied().reduce(f64::min)?, steps: 0, bunched: 0.0 })
}

/// Mean and lower quartile of a stream's steps between two moments.
fn pace(request: &RequestRecord, begin: u64, end: u64) -> Option<Figure> {
    let within: Vec<(u64, u32)> = request.chunks.iter().copied().filter(|c| (begin..=end).contains(&c.0)).collect();
    let (first, last) = (within.first()?, within.last()?);
    let steps = last.1.saturating_sub(first.1);
    let value = (steps > 0 && last.0 > first.0).then(|| (last.0 - first.0) as f64 / 1e9 / f64::from(steps))?;
    let mut gaps: Vec<f64> =
        within.windows(2).map(|w| (w[1].0 - w[0].0) as f64 / 1e9 / f64::from((w[1].1 - w[0].1).max(1))).collect();
    gaps.sort_by(f64::total_cmp);
    Some(Figure { value, low: gaps[gaps.len() / 4], steps, bunched: bunched(&within) })
}

/// Share of a stream's chunks that came together with the one before.
fn bunched(chunks: &[(u64, u32)]) -> f64 {
    let gaps: Vec<f64> = chunks.windows(2).map(|w| (w[1].0 - w[0].0) as f64 / 1e9).collect();
    let Some(mean) = mean(&gaps) else { return 0.0 };
    let least = TOGETHER_TIME.max(TOGETHER * mean);
    gaps.iter().filter(|gap| **gap < least).count() as f64 / gaps.len() as f64
}

/// Whether so many of a stream's chunks came together that they do not tell when steps ended.
pub fn in_bunches(chunks: &[(u64, u32)]) -> bool {
    bunched(chunks) > BUNCHED
}

/// Share of chunks that came together with the one before, in the middle of the streams of `batch` decodes.
pub fn bunched_streams(batch: u32, requests: &[RequestRecord]) -> f64 {
    let streams = requests.iter().filter(|r| r.index < batch && r.error.is_none());
    median(&streams.map(|r| bunched(&r.chunks)).collect::<Vec<_>>()).unwrap_or(0.0)
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Half-width of the 95 % interval of the values' mean over the mean; infinite for fewer than three values.
pub fn interval(values: &[f64]) -> f64 {
    let n = values.len();
    let Some(mean) = mean(values).filter(|_| n >= LEAST_REPEATS) else { return f64::INFINITY };
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1) as f64;
    student((n - 1) as f64) * (variance / n as f64).sqrt() / mean
}

/// Student's t at 97.5 % for `nu` degrees of freedom: Cornish and Fisher's expansion about the normal quantile, within 1 % from 2
/// on (Abramowitz and Stegun, 26.7.5).
fn student(nu: f64) -> f64 {
    let z: f64 = 1.959_964;
    let terms = [
        (z.powi(3) + z) / 4.0,
        (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0,
        (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / 384.0,
        (79.0 * z.powi(9) + 776.0 * z.powi(7) + 1482.0 * z.powi(5) - 1920.0 * z.powi(3) - 945.0 * z) / 92_160.0,
    ];
    terms.iter().rev().fold(0.0, |sum, term| (sum + term) / nu) + z
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(index: u32, sent: u64, times: &[u64]) -> RequestRecord {
        RequestRecord {
            point: "p".into(),
            rep: 0,
            index,
            planned_ns: None,
            sent_ns: sent * 1_000_000,
            input: 8,
            output: times.len() as u32,
            cached: None,
            chunks: times.iter().enumerate().map(|(i, t)| (t * 1_000_000, i as u32 + 1)).collect(),
            counted: true,
            error: None,
        }
    }

    #[test]
    fn a_step_is_taken_while_all_decode() {
        let requests = [request(0, 0, &[5, 9, 19, 29, 39]), request(1, 0, &[9, 19, 29, 39, 41])];
        let figure = figure(PointKind::Decode, 2, &requests).expect("both decode");
        assert!((figure.value - 0.010).abs() < 1e-9 && figure.steps == 3, "{figure:?}");
        assert_eq!(figure.bunched, 0.0);
        let bunched = [request(0, 0, &[5, 25, 25, 25, 45]), request(1, 0, &[5, 25, 25, 25, 45])];
        let bunched = super::figure(PointKind::Beat, 2, &bunched).expect("it decodes");
        assert!((bunched.bunched - 0.5).abs() < 1e-9, "{bunched:?}");
        let apart = [request(0, 0, &[5, 9]), request(1, 0, &[10, 12])];
        assert_eq!(super::figure(PointKind::Decode, 2, &apart), None);
    }

    #[test]
    fn prompts_are_told_by_their_first_token() {
        let requests = [request(0, 0, &[5, 9]), request(1, 10, &[13]), request(2, 20, &[25])];
        let mixed = figure(PointKind::Mixed, 1, &requests).expect("two were injected");
        assert!((mixed.value - 0.004).abs() < 1e-9 && (mixed.low - 0.003).abs() < 1e-9);
        let alone = figure(PointKind::Prefill, 0, &requests).expect("three");
        assert!((alone.value - 0.005).abs() < 1e-9);
        let failed = RequestRecord { error: Some("500".into()), ..request(0, 0, &[5]) };
        assert_eq!(figure(PointKind::Prefill, 0, &[failed]), None);
    }

    #[test]
    fn intervals_are_students() {
        for (nu, t) in [(2.0, 4.303), (4.0, 2.776), (9.0, 2.262), (100.0, 1.984)] {
            assert!((student(nu) / t - 1.0).abs() < 0.011, "{nu}: {}", student(nu));
        }
        assert_eq!(interval(&[1.0, 1.0]), f64::INFINITY);
        assert!((interval(&[0.9, 1.0, 1.1]) - 4.303 * 0.1 / 3f64.sqrt()).abs() < 0.003);
    }
}
