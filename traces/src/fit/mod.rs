//! A scenario's classes from a trace: who comes when, with what lengths, in which conversations.
//!
//! Rows are grouped by a label, or by size; each group becomes a class whose lengths are quantile tables. Arrivals follow one
//! curve, that of all rows, times each class's share over time: bursts hit all classes at once, as they did. Conversations become
//! sessions with turns, delays and what each turn adds.

pub mod bands;
pub mod curve;
pub mod quantiles;
mod scrape;

use std::collections::{BTreeMap, HashMap};

use tokentide_models::units::PS_PER_S;

use self::curve::Curve;
pub use self::scrape::{ScrapeFitOptions, fit_load};
use crate::row::TraceRow;
use crate::survey::arrivals::ArrivalStats;
use crate::survey::prefix::PrefixStats;

/// Counts of a second this many times as dispersed as the curve says are bursts of their own.
const BURSTY: f64 = 1.2;

/// Shares of prompts that a cache finds which are further apart are other work.
const UNSHARED: f64 = 0.03;

/// By what rows are grouped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// The first of class, route, tenant and model of which there are two to eight; else by size.
    #[default]
    Auto,
    /// Workload class.
    Class,
    /// Route label.
    Route,
    /// Tenant label.
    Tenant,
    /// Model.
    Model,
    /// Prompt length.
    Size,
    /// All together.
    None,
}

/// How to fit.
#[derive(Clone, Copy, Debug)]
pub struct FitOptions {
    /// By what rows are grouped.
    pub by: By,
    /// Steps of all rate curves together, at most.
    pub steps_max: usize,
    /// Points of a quantile table, at most.
    pub points_max: usize,
    /// Groups beyond this many are one, `others`.
    pub groups_max: usize,
    /// Seed of the offsets of arrivals on ticks.
    pub seed: u64,
}

impl Default for FitOptions {
    fn default() -> FitOptions {
        FitOptions { by: By::Auto, steps_max: 2048, points_max: 48, groups_max: 8, seed: 42 }
    }
}

/// Points (probability, value) of an inverse distribution function.
pub type Table = Vec<(f64, f64)>;

/// A class.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FittedClass {
    /// Name.
    pub name: String,
    /// The label that its rows share.
    pub label: Option<(&'static str, String)>,
    /// Requests.
    pub rows: u64,
    /// Arrivals: of requests, or of sessions.
    pub rate: Curve,
    /// Coefficient of variation of the gaps along the curve; 1 is Poisson.
    pub cv: f64,
    /// Text that the prompts of the class begin with alike [tokens].
    pub shared: u32,
    /// Of a session's first turn, what comes beside `shared` and `added` [tokens].
    pub opening: Table,
    /// Prompts beyond `shared`, or what each turn adds [tokens].
    pub added: Table,
    /// Answers [tokens].
    pub output: Table,
    /// Requested maximum, if most rows have the same one.
    pub max_tokens: Option<u32>,
    /// Conversations.
    pub session: Option<FittedSession>,
}

/// Conversations of a class.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FittedSession {
    /// Turns.
    pub turns: Table,
    /// From an answer to the next turn [s].
    pub think: Table,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fitted {
    /// Its classes, the busiest first.
    pub classes: Vec<FittedClass>,
    /// From the first arrival to the last [s].
    pub span_s: f64,
    /// Length of the ticks that arrivals lie on, over which they are spread [s]; 0: they lie on none.
    pub tick_s: f64,
    /// What should be known of it.
    pub notes: Vec<String>,
}

/// Fits classes to the rows of a trace, in order of arrival.
pub fn fit(rows: &[TraceRow], options: &FitOptions) -> Fitted {
    let mut fitted = Fitted::default();
    let Some(first) = rows.first().map(|row| row.arrival_ps) else { return fitted };
    let mut stats = ArrivalStats::default();
    rows.iter().filter(|row| row.delay_ps.is_none()).for_each(|row| stats.add(row.arrival_ps));
    let arrivals = stats.figures();
    let tick = arrivals.tick_s.unwrap_or(0.0);
    if tick > 0.0 {
        fitted.notes.push(format!("arrivals lie on ticks of {tick} s: they are spread over them"));
    }
    let span_s = (arrivals.span_s + tick).max(1.0);
    (fitted.span_s, fitted.tick_s) = (span_s, tick);
    let groups = groups(rows, options, &mut fitted.notes);
    let seconds = |index: usize| {
        let offset = crate::transform::offset(options.seed, index, tick);
        (rows[index].arrival_ps - first) as f64 / PS_PER_S as f64 + offset
    };
    let begins = |index: &usize| rows[*index].delay_ps.is_none();
    let mut all: Vec<f64> = (0..rows.len()).filter(begins).map(seconds).collect();
    all.sort_by(f64::total_cmp);
    let curve = Curve::fit(&all, span_s, (options.steps_max / groups.len().max(1)).max(16));
    for (name, label, members) in groups {
        let mut times: Vec<f64> = members.iter().copied().filter(|i| begins(i)).map(seconds).collect();
        times.sort_by(f64::total_cmp);
        let members: Vec<&TraceRow> = members.iter().map(|index| &rows[*index]).collect();
        let mut class = class(&members, options);
        (class.name, class.label) = (name, label);
        class.rate = curve.share(&all, &times);
        class.cv = if tick > 0.0 { 1.0 } else { burstiness(&times, &class.rate) };
        fitted.classes.push(class);
    }
    fitted.notes.extend(shared_share(rows, &fitted.classes));
    fitted.classes.sort_by(|a, b| b.rows.cmp(&a.rows).then_with(|| a.name.cmp(&b.name)));
    fitted
}

/// What a cache could find in the trace, and in the fit. Of conversations whose turns wait nothing is said: they are fitted.
fn shared_share(rows: &[TraceRow], classes: &[FittedClass]) -> Option<String> {
    let mut stats = PrefixStats::default();
    rows.iter().for_each(|row| stats.add(row));
    let found = stats.figures().filter(|_| classes.iter().all(|class| class.session.is_none()))?.hit_ceiling;
    let input: u64 = rows.iter().map(|row| u64::from(row.input_tokens)).sum();
    let shared: u64 = classes.iter().map(|class| class.rows * u64::from(class.shared)).sum();
    let fitted = shared as f64 / input as f64;
    let more = if found > fitted + UNSHARED {
        ": the fit has more prefill work than the trace, whose replay has its prefixes"
    } else {
        ""
    };
    Some(format!(
        "an unlimited cache finds {:.1} % of the trace's prompt tokens, and what prompts of a class begin with alike is \
         {:.1} %{more}",
        100.0 * found,
        100.0 * fitted
    ))
}

/// Coefficient of variation of the gaps of arrivals at `times` [s] along a curve: what is burstier within a second than the curve
/// says. (Counts of a renewal process are as dispersed as the square of it.)
fn burstiness(times: &[f64], curve: &Curve) -> f64 {
    let mut stats = ArrivalStats::default();
    times.iter().for_each(|time| stats.add((time * PS_PER_S as f64) as i128));
    let within = stats.figures().dispersion[0].map_or(1.0, |seen| seen / curve.dispersion());
    if within > BURSTY { within.sqrt() } else { 1.0 }
}

/// A name, a label and the places of its rows.
type Group = (String, Option<(&'static str, String)>, Vec<usize>);

fn groups(rows: &[TraceRow], options: &FitOptions, notes: &mut Vec<String>) -> Vec<Group> {
    type Label = fn(&TraceRow) -> Option<&String>;
    let kinds: [(&'static str, By, Label); 4] = [
        ("class", By::Class, |row| row.class.as_ref()),
        ("route", By::Route, |row| row.route.as_ref()),
        ("tenant", By::Tenant, |row| row.tenant.as_ref()),
        ("model", By::Model, |row| row.model.as_ref()),
    ];
    let different = |label: Label| rows.iter().map(label).collect::<std::collections::HashSet<_>>().len();
    let chosen = match options.by {
        By::Auto => kinds.iter().find(|(_, _, label)| (2..=options.groups_max).contains(&different(*label))),
        by => kinds.iter().find(|(_, kind, _)| *kind == by),
    };
    let Some((kind, _, label)) = chosen else {
        if options.by == By::None || rows.iter().any(|row| row.delay_ps.is_some()) {
            return vec![("all".to_owned(), None, (0..rows.len()).collect())];
        }
        return by_size(rows, notes);
    };
    let mut by_name: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, row) in rows.iter().enumerate() {
        by_name.entry(label(row).map_or("none", String::as_str)).or_default().push(index);
    }
    let mut groups: Vec<Group> =
        by_name.into_iter().map(|(name, rows)| (name.to_owned(), Some((*kind, name.to_owned())), rows)).collect();
    groups.sort_by(|a, b| b.2.len().cmp(&a.2.len()).then_with(|| a.0.cmp(&b.0)));
    if groups.len() > options.groups_max {
        let rest = groups.split_off(options.groups_max - 1);
        notes.push(format!("{} {kind} labels with the fewest rows are one class, `others`", rest.len()));
        let mut others: Vec<usize> = rest.into_iter().flat_map(|(_, _, rows)| rows).collect();
        others.sort_unstable();
        groups.push(("others".to_owned(), None, others));
    }
    groups
}

fn by_size(rows: &[TraceRow], notes: &mut Vec<String>) -> Vec<Group> {
    let pairs: Vec<(u32, u32)> = rows.iter().map(|row| (row.input_tokens, row.output_tokens)).collect();
    let bounds = bands::bounds(&pairs);
    if bounds.len() < 2 {
        return vec![("all".to_owned(), None, (0..rows.len()).collect())];
    }
    notes.push(format!("{} classes by prompt length: within each, prompt and answer are independent", bounds.len()));
    let mut groups: Vec<Group> = bounds.iter().map(|bound| (format!("up-to-{bound}"), None, Vec::new())).collect();
    for (index, row) in rows.iter().enumerate() {
        groups[bounds.partition_point(|bound| *bound < row.input_tokens).min(bounds.len() - 1)].2.push(index);
    }
    groups
}

/// Lengths and conversations of a group.
fn class(rows: &[&TraceRow], options: &FitOptions) -> FittedClass {
    let table = |mut values: Vec<u32>| {
        values.sort_unstable();
        quantiles::table(&values, options.points_max)
    };
    let waits = rows.iter().any(|row| row.delay_ps.is_some());
    let firsts: Vec<&TraceRow> = rows.iter().copied().filter(|row| row.delay_ps.is_none()).collect();
    let shared = shared_text(&firsts);
    let mut class = FittedClass {
        rows: rows.len() as u64,
        shared,
        output: table(rows.iter().map(|row| row.output_tokens).collect()),
        max_tokens: common_maximum(rows),
        ..FittedClass::default()
    };
    let beyond = |row: &TraceRow| row.input_tokens.saturating_sub(shared);
    if !waits {
        class.added = table(firsts.iter().map(|row| beyond(row)).collect());
        return class;
    }
    let later = rows.iter().filter_map(|row| Some(row.input_tokens - row.history_tokens?));
    class.added = table(later.collect());
    // A first turn adds what every turn adds, too: the opening is the rest.
    let usual = class.added.get(class.added.len() / 2).map_or(0.0, |point| point.1) as u32;
    class.opening = table(firsts.iter().map(|row| beyond(row).saturating_sub(usual)).collect());
    let mut turns: HashMap<&str, u32> = HashMap::new();
    for row in rows {
        *turns.entry(row.session.as_deref().unwrap_or_default()).or_default() += 1;
    }
    let delays = rows.iter().filter_map(|row| row.delay_ps).map(|ps| (ps / 1_000_000_000) as u32).collect();
    let think = table(delays).into_iter().map(|(share, ms)| (share, ms / 1e3)).collect();
    class.session = Some(FittedSession { turns: table(turns.into_values().collect()), think });
    class
}

/// Tokens that at least half of the prompts begin with alike.
fn shared_text(rows: &[&TraceRow]) -> u32 {
    let mut shared = 0;
    for place in 0.. {
        let mut counts: HashMap<u64, usize> = HashMap::new();
        let ids = rows.iter().filter_map(|row| row.prefix_hashes.get(place));
        ids.for_each(|id| *counts.entry(*id).or_default() += 1);
        if counts.values().max().is_none_or(|most| *most * 2 < rows.len()) {
            break;
        }
        shared += rows.iter().find_map(|row| row.prefix_block_tokens).unwrap_or(0);
    }
    // A prompt that is no longer than what it shares would have nothing of its own.
    shared.min(rows.iter().map(|row| row.input_tokens).min().unwrap_or(0).saturating_sub(1))
}

fn common_maximum(rows: &[&TraceRow]) -> Option<u32> {
    let mut counts: HashMap<u32, usize> = HashMap::new();
    rows.iter().filter_map(|row| row.max_tokens).for_each(|max| *counts.entry(max).or_default() += 1);
    let (max, count) = counts.into_iter().max_by_key(|(max, count)| (*count, *max))?;
    (count * 2 > rows.len()).then_some(max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokentide_models::hash::mix;

    fn row(second: f64, input_tokens: u32, output_tokens: u32) -> TraceRow {
        TraceRow { arrival_ps: (second * 1e12) as i128, input_tokens, output_tokens, ..TraceRow::default() }
    }

    fn random(i: u64, most: u64) -> u32 {
        (mix(i) % most) as u32
    }

    #[test]
    fn labels_make_classes_and_size_does_where_there_are_none() {
        let mut rows: Vec<TraceRow> = (0..3000).map(|i| row(i as f64, 100 + random(i, 50), 40)).collect();
        for (i, row) in rows.iter_mut().enumerate() {
            row.tenant = Some(if i % 3 == 0 { "acme" } else { "beta" }.to_owned());
            row.max_tokens = Some(64);
        }
        let fitted = fit(&rows, &FitOptions::default());
        let names: Vec<_> = fitted.classes.iter().map(|c| (c.name.as_str(), c.rows, c.max_tokens)).collect();
        assert_eq!(names, [("beta", 2000, Some(64)), ("acme", 1000, Some(64))]);
        assert_eq!(fitted.classes[1].label, Some(("tenant", "acme".to_owned())));
        let rates: Vec<f64> = fitted.classes.iter().map(|c| c.rate.mean()).collect();
        assert!((rates[0] - 0.667).abs() < 0.01 && (rates[1] - 0.333).abs() < 0.01, "{rates:?}");

        rows.iter_mut().for_each(|row| row.tenant = None);
        assert_eq!(fit(&rows, &FitOptions::default()).classes.len(), 1);
        // Answers that depend on the prompt's length: as many classes as there are kinds.
        rows.iter_mut().filter(|row| row.input_tokens > 125).for_each(|row| row.output_tokens = 900);
        let fitted = fit(&rows, &FitOptions::default());
        assert!(fitted.classes.len() >= 2 && fitted.notes.iter().any(|n| n.contains("by prompt length")), "{:?}", fitted.notes);
        assert_eq!(fit(&rows, &FitOptions { by: By::None, ..FitOptions::default() }).classes.len(), 1);
        assert!(fit(&[], &FitOptions::default()).classes.is_empty());
    }

    #[test]
    fn conversations_become_sessions() {
        let mut rows = Vec::new();
        for s in 0..500u64 {
            let name = Some(format!("s{s}"));
            let first = TraceRow {
                session: name.clone(),
                prefix_hashes: vec![1, 2, 3, 1000 + s],
                prefix_block_tokens: Some(16),
                ..row(s as f64, 64 + random(s, 8), 20)
            };
            let mut before = first.clone();
            rows.push(first);
            for _ in 0..1 + s % 4 {
                let history = before.input_tokens + before.output_tokens;
                before = TraceRow {
                    session: name.clone(),
                    delay_ps: Some(2_500_000_000_000),
                    history_tokens: Some(history),
                    ..row(s as f64, history + 30, 20)
                };
                rows.push(before.clone());
            }
        }
        let fitted = fit(&rows, &FitOptions::default());
        let [class] = &fitted.classes[..] else { panic!("one class") };
        let session = class.session.as_ref().unwrap();
        assert_eq!((class.shared, class.added.first().unwrap().1), (48, 30.0));
        assert_eq!((session.turns[0].1, session.turns.last().unwrap().1, session.think[0].1), (2.0, 5.0, 2.5));
        assert!((class.rate.mean() - 1.0).abs() < 0.01);
    }

    /// All begin with 64 tokens alike; half of them then go on as one of ten others did.
    #[test]
    fn what_is_shared_beyond_a_beginning_is_said() {
        let rows = |branches: u64| -> Vec<TraceRow> {
            let hashes = |i: u64| if i % 2 < branches { vec![1, 100 + i % 10, 200 + i % 10] } else { vec![1, 1000 + i, 5000 + i] };
            (0..1000)
                .map(|i| TraceRow { prefix_hashes: hashes(i), prefix_block_tokens: Some(64), ..row(i as f64, 192, 20) })
                .collect()
        };
        let note = |branches| fit(&rows(branches), &FitOptions::default()).notes.join("; ");
        let (alone, more) = (note(0), note(1));
        assert!(alone.contains("finds 33.3 %") && alone.contains("alike is 33.3 %") && !alone.contains("more prefill"), "{alone}");
        assert!(more.contains("finds 66") && more.contains("more prefill work"), "{more}");
    }

    #[test]
    fn bursts_of_one_class_are_its_own() {
        // A steady class, and one that comes ten at a time.
        let mut rows: Vec<TraceRow> = (0..4000u64)
            .map(|i| TraceRow { route: Some("steady".into()), ..row(i as f64 + f64::from(random(i, 1000)) / 1000.0, 50, 5) })
            .chain((0..4000u64).map(|i| {
                let burst = f64::from(random(i / 10 + 77, 4_000_000)) / 1000.0;
                TraceRow { route: Some("bursty".into()), ..row(burst + (i % 10) as f64 * 1e-3, 50, 5) }
            }))
            .collect();
        rows.sort_by_key(|row| row.arrival_ps);
        let fitted = fit(&rows, &FitOptions { steps_max: 64, ..FitOptions::default() });
        let cv = |name: &str| fitted.classes.iter().find(|c| c.name == name).unwrap().cv;
        assert_eq!(cv("steady"), 1.0);
        assert!((cv("bursty") - 10f64.sqrt()).abs() < 0.4, "{}", cv("bursty"));
    }
}
