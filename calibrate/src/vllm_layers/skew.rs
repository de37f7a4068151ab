//! What batches of unequal context cost, relative to batches of their mean and of their longest context.

use std::collections::BTreeMap;

use tokentide_models::cost::{SkewAlphas, SkewTable};

use super::bundle::Bundle;
use crate::CalibrateError;
use crate::frame::Frame;
use crate::solve::significant;

/// Upper edges of the bins, LLMServingSim's: decodes, `(mean - shortest) / (longest - shortest)` [%], longest context.
const DECODES: [u32; 8] = [2, 4, 8, 16, 32, 64, 128, 256];
const RATE_PERCENT: [u32; 4] = [5, 15, 40, 70];
const LONGEST: [u32; 3] = [1024, 4096, 16_384];
/// The labels of its table of alphas, in the order of the bins.
const RATE_LABELS: [&str; 5] = ["sr<=5%", "sr<=15%", "sr<=40%", "sr<=70%", "sr>70%"];
const LONGEST_LABELS: [&str; 4] = ["kvB<=1k", "kvB<=4k", "kvB<=16k", "kvB>16k"];

/// Mixed steps of any size.
const CHUNK_MAX: u32 = 1_000_000;

/// Bins with fewer samples take the alpha of a coarser bin.
const SAMPLES_LEAST: usize = 4;

/// The table of a bundle; none if it has no measurements of it.
///
/// # Errors
///
/// [`CalibrateError::Value`] for columns that are missing or a time that is not positive.
pub fn table(bundle: &Bundle, as_llmservingsim: bool) -> Result<Option<SkewTable>, CalibrateError> {
    if as_llmservingsim {
        // Where it has no default it corrects nothing.
        let fitted = bundle.skew_fit.as_ref().zip(bundle.alpha_default);
        return fitted.map(|(frame, default)| theirs(frame, default)).transpose();
    }
    bundle.skew.as_ref().map(|frame| fit(&samples(frame)?)).transpose()
}

/// One measured batch.
struct Sample {
    chunk: bool,
    /// Bins of decodes, rate and longest context.
    bins: [usize; 3],
    /// Relative to the time at the mean context: what unequal contexts add, and what the longest one would.
    added: f64,
    most: f64,
}

fn bin(edges: &[u32], fits: impl Fn(u32) -> bool) -> usize {
    edges.iter().position(|&edge| fits(edge)).unwrap_or(edges.len())
}

fn samples(frame: &Frame) -> Result<Vec<Sample>, CalibrateError> {
    let columns = ["n", "pc", "kvs", "kv_big", "kv_mean", "t_mean_us", "t_max_us", "t_skew_us"];
    let mut values = Vec::new();
    for column in columns {
        values.push(frame.numbers(column)?);
    }
    let at_row = |row: usize| -> Vec<f64> { values.iter().map(|column| column[row]).collect() };
    let mut samples = Vec::new();
    for (row, cells) in (0..frame.len()).map(at_row).enumerate() {
        let at = |column: usize| cells[column];
        if let Some(column) = (5..8).find(|&column| !(at(column) > 0.0 && at(column).is_finite())) {
            return Err(frame.bad_row(row, format!("{} is {}: a time must be a positive number", columns[column], at(column))));
        }
        let (shortest, longest, mean) = (at(2), at(3), at(4).floor());
        let most = at(6) / at(5) - 1.0;
        if most <= 0.0 || longest <= mean {
            continue;
        }
        let rate = 100.0 * (mean - shortest) / (longest - shortest);
        samples.push(Sample {
            chunk: at(1) > 0.0,
            bins: [
                bin(&DECODES, |edge| at(0) <= f64::from(edge)),
                bin(&RATE_PERCENT, |edge| rate <= f64::from(edge)),
                bin(&LONGEST, |edge| longest <= f64::from(edge)),
            ],
            added: at(7) / at(5) - 1.0,
            most,
        });
    }
    Ok(samples)
}

/// Alpha by bin in relative least squares, apart for decodes alone and for mixed steps; in it, pooled over the axes that bins of
/// too few samples are too fine for: first the longest context, then the rate, then the decodes. Never below 0: a batch is not
/// faster for being unequal.
fn fit(samples: &[Sample]) -> Result<SkewTable, CalibrateError> {
    let class = |chunk: bool| {
        let alpha = |bins: [usize; 3]| {
            (0..=3)
                .rev()
                .map(|axes| samples.iter().filter(|s| s.chunk == chunk && s.bins[..axes] == bins[..axes]).collect::<Vec<_>>())
                .find(|chosen| chosen.len() >= SAMPLES_LEAST)
                .map_or(0.0, |chosen| pooled(&chosen))
        };
        let rest = |d: usize| {
            let columns = (0..=RATE_PERCENT.len()).flat_map(|r| (0..=LONGEST.len()).map(move |l| [d, r, l]));
            columns.map(alpha).collect()
        };
        (0..=DECODES.len()).map(rest).collect::<Vec<Vec<f64>>>()
    };
    let mixed = samples.iter().any(|s| s.chunk).then(|| SkewAlphas { chunk: CHUNK_MAX, alpha: class(true) });
    let all: Vec<&Sample> = samples.iter().collect();
    Ok(SkewTable {
        default: pooled(&all),
        decodes: DECODES.into(),
        rate_percent: RATE_PERCENT.into(),
        longest: LONGEST.into(),
        alphas: std::iter::once(SkewAlphas { chunk: 0, alpha: class(false) }).chain(mixed).collect(),
    })
}

fn pooled(samples: &[&Sample]) -> f64 {
    let (product, square) = samples.iter().fold((0.0, 0.0), |sum, s| (sum.0 + s.added * s.most, sum.1 + s.most * s.most));
    if square > 0.0 { significant((product / square).clamp(0.0, 1.0), 3) } else { 0.0 }
}

/// LLMServingSim's own alphas of decodes alone, and its default for mixed steps: it looks these up by the exact number of chunk
/// tokens, which almost never is one of the measured ones.
fn theirs(frame: &Frame, default: f64) -> Result<SkewTable, CalibrateError> {
    let (chunks, alphas) = (frame.numbers("pc")?, frame.numbers("alpha")?);
    let [decodes, rates, longest] = ["n_label", "skew_rate_label", "kv_big_label"].map(|column| frame.texts(column));
    let (decodes, rates, longest) = (decodes?, rates?, longest?);
    let mut known: BTreeMap<(&str, &str, &str), f64> = BTreeMap::new();
    for row in (0..frame.len()).filter(|&row| chunks[row] == 0.0) {
        known.insert((&decodes[row], &rates[row], &longest[row]), alphas[row]);
    }
    let labels: Vec<String> = DECODES.iter().map(|edge| format!("n<={edge}")).chain(["n>256".to_owned()]).collect();
    let row = |label: &String| {
        let columns = RATE_LABELS.iter().flat_map(|rate| LONGEST_LABELS.iter().map(move |longest| (*rate, *longest)));
        columns.map(|(rate, longest)| known.get(&(label.as_str(), rate, longest)).copied().unwrap_or(default)).collect()
    };
    let alpha = labels.iter().map(row).collect();
    let alphas = vec![SkewAlphas { chunk: 0, alpha }];
    Ok(SkewTable { default, decodes: DECODES.into(), rate_percent: RATE_PERCENT.into(), longest: LONGEST.into(), alphas })
}
