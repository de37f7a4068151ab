//! A scenario's classes from a server's metrics: what its histograms say, and what they do not say, as it is assumed.

use super::curve::Curve;
use super::{Fitted, FittedClass, Table};
use crate::scrape::Load;
use crate::scrape::histogram::{at, mean};

/// Length of a scenario whose rate is constant [s]: scrapes are often closer than what a queue needs to settle.
const STEADY_S: f64 = 600.0;
/// Longest sequence where nothing tells one [tokens].
const CONTEXT: u32 = 131_072;
/// Bands of prompts, at most, each with a beginning of its own that it shares.
const BANDS_MAX: usize = 12;
/// Least distance of two points [probability].
const DISTINCT: f64 = 2e-6;
/// Points of the prompts of a band, at most.
const POINTS_MAX: usize = 96;
/// A share of hits below this is none.
const HITS_MIN: f64 = 0.005;
/// Tokens of a block of the KV cache where the page does not say it.
const BLOCK_TOKENS: u32 = 16;

/// A part of the prompts, by probability, and what they begin with alike [tokens].
#[derive(Clone, Copy, Debug, PartialEq)]
struct Band {
    from: f64,
    to: f64,
    shared: u32,
}

/// What the pages cannot tell, so that it has to be given.
#[derive(Clone, Copy, Debug, Default)]
pub struct ScrapeFitOptions {
    /// Arrivals [1/s], where it is not to be that of the pages.
    pub rate: Option<f64>,
    /// Longest sequence that the model takes [tokens], where the pages do not tell it.
    pub context: Option<u32>,
}

/// Fits classes to a load. `None` if neither the pages nor the options tell a rate.
pub fn fit_load(load: &Load, options: &ScrapeFitOptions) -> Option<Fitted> {
    let context = load.context.or(options.context).unwrap_or(CONTEXT);
    let (prompt, output) = (load.prompt.shape(context), load.generation.shape(context));
    let rate = curve(load, options.rate)?;
    let mut fitted = Fitted { span_s: rate.end_s, ..Fitted::default() };
    said(load, options, &mut fitted.notes);
    for (what, shape) in [("prompts", &prompt), ("answers", &output)] {
        if !shape.mean_met {
            fitted.notes.push(format!("the mean of the {what} does not lie within what their buckets allow: it is not met"));
        }
    }
    let hits = load.hit_share.filter(|share| *share >= HITS_MIN).unwrap_or(0.0) * load.prompt.mean();
    let bands = bands(&prompt.table, hits, load.block_tokens.unwrap_or(BLOCK_TOKENS));
    assumed(load, &bands, &mut fitted.notes);
    for band in &bands {
        let share = band.to - band.from;
        let added = cut(&prompt.table, band);
        fitted.classes.push(FittedClass {
            name: if bands.len() == 1 { "all".to_owned() } else { format!("up-to-{:.0}", at(&prompt.table, band.to)) },
            rows: (load.finished * share).round() as u64,
            rate: Curve { steps: rate.steps.iter().map(|(start, rate)| (*start, rate * share)).collect(), end_s: rate.end_s },
            cv: 1.0,
            shared: band.shared,
            added,
            output: whole(&output.table),
            max_tokens: load.max_tokens,
            ..FittedClass::default()
        });
    }
    Some(fitted)
}

/// Arrivals over time.
fn curve(load: &Load, given: Option<f64>) -> Option<Curve> {
    let Some(rate) = load.figures().rate else {
        return given.map(|rate| Curve { steps: vec![(0.0, rate)], end_s: STEADY_S });
    };
    let mut curve = Curve::counted(&load.arrivals);
    let (mean, want) = (curve.mean(), given.unwrap_or(rate));
    if curve.steps.len() < 2 || mean <= 0.0 {
        return Some(Curve { steps: vec![(0.0, want)], end_s: curve.end_s.max(STEADY_S) });
    }
    curve.steps.iter_mut().for_each(|step| step.1 *= want / mean);
    Some(curve)
}

/// What is known of the load beside its classes.
fn said(load: &Load, options: &ScrapeFitOptions, notes: &mut Vec<String>) {
    if load.scrapes == 1 {
        notes.push("one scrape tells of all since the server began to count, its start and idle times included".to_owned());
    }
    if load.restarts > 0 {
        let restarts = if load.restarts == 1 { "a restart".to_owned() } else { format!("{} restarts", load.restarts) };
        notes.push(format!("{restarts} between scrapes: what was counted there since the scrape before is lost"));
    }
    if let Some(rate) = options.rate {
        notes.push(format!("the rate of {rate} requests/s was given"));
    }
    if load.servers > 1 {
        notes.push(format!("the load is that of {} engines together", load.servers));
    }
    // Little's law would need the latency of the waiting: a queue as long as a second's arrivals is one that grows or has grown.
    if let Some(waiting) = load.waiting.filter(|waiting| load.figures().rate.is_some_and(|rate| *waiting > rate.max(1.0))) {
        notes.push(format!(
            "{waiting:.0} requests were waiting at the end: the server may have been saturated, and what it served is less than \
             what came"
        ));
    }
    if let Some(preemptions) = load.preemptions.filter(|count| *count > 0.0) {
        notes.push(format!("{preemptions:.0} preemptions: the KV cache was full at times"));
    }
}

/// What is not in any page.
fn assumed(load: &Load, bands: &[Band], notes: &mut Vec<String>) {
    notes.push("assumed: an answer's length does not depend on its prompt's; histograms do not tell".to_owned());
    notes.push(match load.scrapes {
        0..=2 => "assumed: arrivals are Poisson at a constant rate; bursts between scrapes do not show".to_owned(),
        _ => "assumed: arrivals are Poisson between scrapes; bursts within them do not show".to_owned(),
    });
    match load.hit_share {
        None => notes.push("assumed: nothing is found in the prefix cache, of which the page tells nothing".to_owned()),
        Some(share) if share < HITS_MIN => {}
        Some(share) => {
            let found = shared(bands) / load.prompt.mean();
            notes.push(format!(
                "assumed: {:.1} % of the prompt tokens were found in the server's cache, as beginnings that prompts of one class \
                 share; the share belongs to that cache's size, and sessions would lose it when they do not fit",
                100.0 * share
            ));
            if found < 0.97 * share {
                notes.push(format!(
                    "the scenario finds {:.1} % of the prompt tokens only, where the server found {:.1} %: it has more prefill \
                     work",
                    100.0 * found,
                    100.0 * share
                ));
            }
        }
    }
}

/// Parts of the prompts whose shared beginnings are `hits` tokens of the mean prompt. A beginning is shorter than the shortest
/// prompt of its part, so that the more parts there are, the more can be shared; as few as are enough.
fn bands(prompt: &Table, hits: f64, block: u32) -> Vec<Band> {
    let all = vec![Band { from: 0.0, to: 1.0, shared: 0 }];
    if hits <= 0.0 {
        return all;
    }
    let whole_blocks = |tokens: f64| (tokens / f64::from(block)).floor() as u32 * block;
    let share = |edges: &[f64], part: f64| -> Vec<Band> {
        let band = |pair: &[f64]| {
            // One token is a prompt's own.
            let shortest = at(prompt, pair[0]).round() - 1.0;
            Band { from: pair[0], to: pair[1], shared: whole_blocks((shortest * part).max(0.0)) }
        };
        edges.windows(2).map(band).collect()
    };
    let mut edges = Vec::new();
    for count in 1..=BANDS_MAX {
        edges = equal_work(prompt, count);
        if shared(&share(&edges, 1.0)) >= hits {
            break;
        }
    }
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..40 {
        let middle = 0.5 * (low + high);
        if shared(&share(&edges, middle)) < hits { low = middle } else { high = middle }
    }
    share(&edges, high)
}

/// What bands share, of the mean prompt [tokens].
fn shared(bands: &[Band]) -> f64 {
    bands.iter().map(|band| (band.to - band.from) * f64::from(band.shared)).sum()
}

/// Probabilities between which prompts have the same number of tokens in all.
fn equal_work(prompt: &Table, count: usize) -> Vec<f64> {
    const STEPS: usize = 4096;
    let total = mean(prompt);
    let mut edges = vec![0.0];
    let mut done = 0.0;
    for step in 0..STEPS {
        done += at(prompt, (step as f64 + 0.5) / STEPS as f64) / STEPS as f64;
        if edges.len() < count && done >= total * edges.len() as f64 / count as f64 {
            edges.push((step + 1) as f64 / STEPS as f64);
        }
    }
    edges.push(1.0);
    edges.dedup_by(|next, last| *next <= *last);
    edges
}

/// The part of a distribution within a band, beyond what it shares. Less by the same number of tokens, a straight line in
/// logarithms is no longer one: points are put between as they are needed.
fn cut(prompt: &Table, band: &Band) -> Table {
    let beyond = |p: f64| (at(prompt, p) - f64::from(band.shared)).max(1.0);
    let inside = prompt.iter().map(|(p, _)| *p).filter(|p| *p > band.from && *p < band.to);
    let mut places: Vec<f64> = std::iter::once(band.from).chain(inside).chain([band.to]).collect();
    if band.shared > 0 {
        let mut k = 1;
        while k < places.len() {
            let (from, to) = (places[k - 1], places[k]);
            let (straight, want) = ((beyond(from) * beyond(to)).sqrt(), beyond(0.5 * (from + to)));
            let wrong = (straight - want).abs() > (0.02 * want).max(0.5);
            if wrong && places.len() < POINTS_MAX { places.insert(k, 0.5 * (from + to)) } else { k += 1 }
        }
    }
    whole(&places.iter().map(|p| ((p - band.from) / (band.to - band.from), beyond(*p))).collect())
}

/// With whole numbers of tokens, where that makes no difference of more than a thousandth, and with points that are told apart in
/// the six digits that a scenario's probabilities have.
fn whole(table: &Table) -> Table {
    let round = |value: f64| if value >= 500.0 { value.round() } else { (value * 100.0).round() / 100.0 };
    let mut points: Table = Vec::new();
    for &(p, value) in table {
        let end = p >= 1.0;
        while end && points.len() > 1 && points.last().is_some_and(|(last, _)| 1.0 - last < DISTINCT) {
            points.pop();
        }
        if end || points.last().is_none_or(|(last, _)| p - last >= DISTINCT) {
            points.push((p, round(value)));
        }
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scrape::Histogram;

    fn load(hit_share: Option<f64>) -> Load {
        let prompt = Histogram {
            bounds: vec![100.0, 200.0, 500.0, 1000.0, 2000.0, f64::INFINITY],
            counts: vec![10.0, 30.0, 40.0, 15.0, 5.0, 0.0],
            sum: 100.0 * 380.0,
        };
        let generation = Histogram { bounds: vec![50.0, 100.0, f64::INFINITY], counts: vec![50.0, 50.0, 0.0], sum: 100.0 * 50.0 };
        let arrivals = vec![(0.0, 60.0, 50.0), (60.0, 120.0, 70.0)];
        Load {
            span_s: Some(120.0),
            finished: 100.0,
            arrivals,
            prompt,
            generation,
            hit_share,
            scrapes: 3,
            servers: 1,
            ..Load::default()
        }
    }

    #[test]
    fn rates_are_those_of_arrivals() {
        let fitted = fit_load(&load(None), &ScrapeFitOptions::default()).unwrap();
        let [class] = &fitted.classes[..] else { panic!("{:?}", fitted.classes) };
        assert!((class.rate.mean() - 1.0).abs() < 1e-9 && fitted.span_s >= 600.0, "{:?}", class.rate);
        assert!(fitted.notes.iter().any(|note| note.contains("of which the page tells nothing")), "{:?}", fitted.notes);
        let given = ScrapeFitOptions { rate: Some(3.0), ..ScrapeFitOptions::default() };
        assert!((fit_load(&load(None), &given).unwrap().classes[0].rate.mean() - 3.0).abs() < 1e-9);
        let without = Load { span_s: None, arrivals: Vec::new(), ..load(None) };
        assert!(fit_load(&without, &ScrapeFitOptions::default()).is_none());
        assert_eq!(fit_load(&without, &given).unwrap().span_s, 600.0);
    }

    /// Of a hundred million requests one is a share that no scenario writes.
    #[test]
    fn rare_lengths_leave_points_that_ascend() {
        let mut rare = load(None);
        rare.prompt.counts = vec![1.0, 1.0, 1e8, 2.0, 0.0, 1.0];
        rare.prompt.sum = 3e10;
        let table = &fit_load(&rare, &ScrapeFitOptions::default()).unwrap().classes[0].added;
        assert!(table.windows(2).all(|pair| pair[1].0 - pair[0].0 > 1e-6), "{table:?}");
        assert_eq!((table[0].0, table[table.len() - 1]), (0.0, (1.0, 131_072.0)));
    }

    /// What is shared within bands is what was found, and prompts are as long as before.
    #[test]
    fn hits_become_shared_beginnings() {
        for (share, met) in [(0.1, true), (0.3, true), (0.6, true), (0.97, false)] {
            let load = load(Some(share));
            let fitted = fit_load(&load, &ScrapeFitOptions::default()).unwrap();
            let total: f64 = fitted.classes.iter().map(|class| class.rate.mean()).sum();
            let sum = |of: &dyn Fn(&FittedClass) -> f64| {
                fitted.classes.iter().map(|class| class.rate.mean() / total * of(class)).sum::<f64>()
            };
            let shared = sum(&|class| f64::from(class.shared));
            let prompts = sum(&|class| f64::from(class.shared) + mean(&class.added));
            assert!((prompts / 380.0 - 1.0).abs() < 0.01, "{share}: {prompts}");
            // Whole blocks of 16 tokens: within one of what was found.
            assert_eq!((shared - share * 380.0).abs() < 8.0, met, "{share}: {shared} {:?}", share * 380.0);
            assert_eq!(fitted.notes.iter().any(|note| note.contains("more prefill work")), !met);
            assert!(fitted.classes.iter().all(|class| class.added[0].1 >= 1.0));
        }
    }
}
