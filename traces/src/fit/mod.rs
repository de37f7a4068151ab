//! A scenario's classes from a trace: who comes when, with what lengths, in which conversations.
//!
//! Rows are grouped by a label, or by size; each group becomes a class whose lengths are quantile tables. Arrivals follow one
//! curve, that of all rows, times each class's share over time: bursts hit all classes at once, as they did. Conversations become
//! sessions with turns, delays and what each turn adds.

pub mod bands;
mod beginnings;
mod class;
mod conversations;
pub mod curve;
mod groups;
pub mod quantiles;
mod scrape;

use tokentide_models::units::PS_PER_S;

use self::class::class;
use self::conversations::{Conversation, Turn};
use self::curve::Curve;
use self::groups::groups;
pub use self::scrape::{ScrapeFitOptions, fit_load};
use crate::row::TraceRow;
use crate::survey::arrivals::ArrivalStats;

/// Counts of a second are burstier than the curve, or more regular, from this part more or less dispersed on, and from so many
/// standard deviations of their dispersion.
const UNLIKE: f64 = 0.2;
const SIGNIFICANT: f64 = 3.0;
/// The most regular arrivals, as the coefficient of variation of their gaps.
const CV_MIN: f64 = 0.1;

/// What conversations carry on is this share of all prompts, or else their turns are fitted as requests of their own.
const CARRIED: f64 = 0.03;

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

/// Longest time that a token of an answer is assumed to take, where the end of the last conversation has to be known [s].
const ANSWER_S: f64 = 0.1;

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
    /// Behind it, (tokens, prompts) of texts that groups of prompts begin with, each of another length; empty if there are none.
    pub groups: Vec<(u32, u64)>,
    /// Prompts beyond what is shared, or what each turn after the first adds [tokens].
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
    /// How many conversations have so many turns.
    pub turns: Vec<(u32, u64)>,
    /// From an answer to the next turn [s].
    pub think: Table,
    /// What a first turn brings beyond what is shared [tokens].
    pub first: Table,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fitted {
    /// Its classes, the busiest first.
    pub classes: Vec<FittedClass>,
    /// From the first arrival to the last one, or to the end of all conversations [s].
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
    let waits = conversations::wait(rows);
    let conversations = conversations(rows, waits, &mut fitted.notes);
    let seconds = |conversation: &Conversation| {
        let index = conversation[0].row;
        let offset = crate::transform::offset(options.seed, index, tick);
        (rows[index].arrival_ps - first) as f64 / PS_PER_S as f64 + offset
    };
    // Later turns come when their time has come: only conversations arrive.
    let times = |conversations: &[Conversation]| {
        let mut times: Vec<f64> = conversations.iter().map(seconds).collect();
        times.sort_by(f64::total_cmp);
        times
    };
    let all = times(&conversations);
    // Turns that wait are all in the trace, whenever they come.
    let tail_s = if waits { conversations::longest(rows, &conversations, ANSWER_S).ceil() } else { 0.0 };
    let groups = groups(rows, conversations, waits, options, &mut fitted.notes);
    let curve = Curve::fit(&all, span_s, (options.steps_max / groups.len().max(1)).max(16));
    for group in groups {
        let times = times(&group.members);
        let mut class = class(rows, &group.members, options);
        (class.name, class.label) = (group.name, group.label);
        class.rate = curve.share(&all, &times);
        class.cv = if tick > 0.0 { 1.0 } else { burstiness(&times, &class.rate) };
        if !waits && class.session.is_some() {
            let more = conversations::cut_short(&group.members, &times, span_s);
            class.rate.steps.iter_mut().for_each(|step| step.1 *= more);
        }
        if tail_s > 0.0 {
            class.rate.steps.push((span_s, 0.0));
            class.rate.end_s += tail_s;
        }
        fitted.classes.push(class);
    }
    if tail_s > 0.0 {
        fitted.span_s += tail_s;
        fitted.notes.push(format!(
            "conversations begin within {span_s:.1} s, as in the trace; {tail_s:.0} s more are for their last turns to come, with \
             answers of {:.0} ms a token at most",
            1e3 * ANSWER_S
        ));
    }
    fitted.classes.sort_by(|a, b| b.rows.cmp(&a.rows).then_with(|| a.name.cmp(&b.name)));
    fitted
}

/// The conversations of a trace, single requests among them, and what is to be known of them. Where they carry on next to nothing,
/// every request is single.
fn conversations(rows: &[TraceRow], waits: bool, notes: &mut Vec<String>) -> Vec<Conversation> {
    let found = conversations::find(rows, waits);
    if waits {
        return found;
    }
    let carried: u64 = found.iter().flatten().filter_map(|turn| turn.history).map(u64::from).sum();
    let input: u64 = rows.iter().map(|row| u64::from(row.input_tokens)).sum();
    if (carried as f64) < CARRIED * input as f64 {
        return (0..rows.len()).map(|row| vec![Turn { row, history: None, wait_ps: 0 }]).collect();
    }
    let several = found.iter().filter(|turns| turns.len() > 1);
    let (conversations, turns) = several.fold((0, 0), |(count, turns), found| (count + 1, turns + found.len()));
    let told = match rows.iter().any(|row| !row.prefix_hashes.is_empty()) {
        true => "prompts that begin as the one before",
        false => "the names of sessions, and prompts that have room for what was said before",
    };
    notes.push(format!(
        "{turns} requests are {conversations} conversations, told by {told}: they carry on {:.1} % of all prompt tokens",
        100.0 * carried as f64 / input as f64
    ));
    if rows.iter().all(|row| row.observed.e2e_ps.is_none()) {
        notes.push(
            "assumed: a turn comes as long after the answer as it came after the request before; no answer has its time".to_owned(),
        );
    }
    found
}

/// Coefficient of variation of the gaps of arrivals at `times` [s] along a curve: what is burstier or more regular within a second
/// than the curve says. Counts of a renewal process are as dispersed as the square of it; of n windows of a Poisson process, the
/// dispersion has the variance 2 / n.
fn burstiness(times: &[f64], curve: &Curve) -> f64 {
    let mut stats = ArrivalStats::default();
    times.iter().for_each(|time| stats.add((time * PS_PER_S as f64) as i128));
    let Some(seen) = stats.figures().dispersion[0] else { return 1.0 };
    let windows = times.last().zip(times.first()).map_or(1.0, |(last, first)| (last - first).max(1.0));
    let least = UNLIKE.max(SIGNIFICANT * (2.0 / windows).sqrt());
    // A curve that is not needed would make them look regular.
    match seen / curve.dispersion() {
        within if within > 1.0 + least => within.sqrt(),
        _ if seen < 1.0 - least => seen.sqrt().max(CV_MIN),
        _ => 1.0,
    }
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
        assert_eq!((session.turns[0].0, session.turns.last().unwrap().0, session.think[0].1), (2, 5, 2.5));
        // All begin within 500 s, and the last one has the time for five turns.
        assert_eq!(fitted.span_s, (499.0 + 4.0 * 2.5 + 5.0 * 20.0 * 0.1f64).ceil());
        assert!((class.rate.mean() * fitted.span_s - 500.0).abs() < 2.0 && fitted.notes[0].contains("within 499.0 s"));
    }

    /// Rows with arrivals: half of them conversations of two kinds, told by their prompts alone.
    #[test]
    fn conversations_are_told_by_prompts_and_classed_by_growth() {
        let mut rows = Vec::new();
        for s in 0..600u64 {
            let start = s as f64 * 10.0 + f64::from(random(s, 1000)) / 100.0;
            let growth = if s % 2 == 0 { 30 } else { 3000 };
            let mut input = 320 + random(s + 7000, 64);
            for turn in 0..3 {
                let hashes = (0..u64::from(input / 16)).map(|place| mix(s * 1_000_000 + place)).collect();
                let second = start + 40.0 * f64::from(turn);
                rows.push(TraceRow { prefix_hashes: hashes, prefix_block_tokens: Some(16), ..row(second, input, 50) });
                input += 50 + growth;
            }
            let alone = TraceRow { prefix_hashes: vec![mix(s << 40)], prefix_block_tokens: Some(16), ..row(start + 3.0, 17, 50) };
            rows.push(alone);
        }
        rows.sort_by_key(|row| row.arrival_ps);
        let fitted = fit(&rows, &FitOptions::default());
        let classes: Vec<_> = fitted.classes.iter().map(|class| (class.name.as_str(), class.rows)).collect();
        let named = [("turns-up-to-30", 900), ("turns-up-to-3000", 900), ("single", 600)];
        assert_eq!(classes, named);
        assert!(fitted.notes.iter().any(|note| note.starts_with("1800 requests are 600 conversations")), "{:?}", fitted.notes);
        for (class, growth) in fitted.classes.iter().zip([30.0, 3000.0]) {
            let session = class.session.as_ref().unwrap();
            assert_eq!((session.turns.as_slice(), class.added[0].1), ([(3, 300)].as_slice(), growth));
            assert!((session.think[0].1 - 40.0).abs() < 0.002);
            assert!(session.first[0].1 >= 320.0 && session.first.last().unwrap().1 < 384.0);
            // The last ones lose turns at the end, which there are more for.
            let more = class.rate.mean() * fitted.span_s / 300.0;
            assert!((1.0..1.03).contains(&more), "{more}");
        }
        let all = fit(&rows, &FitOptions { by: By::None, ..FitOptions::default() });
        assert_eq!(all.classes[0].session.as_ref().unwrap().turns, [(1, 600), (3, 600)]);
        // Where next to nothing is carried on, all are single.
        rows.iter_mut().for_each(|row| row.prefix_hashes.truncate(1));
        assert!(fit(&rows, &FitOptions::default()).classes.iter().all(|class| class.session.is_none()));
    }

    #[test]
    fn bursts_of_one_class_are_its_own() {
        // A steady class, and one that comes ten at a time.
        let mut rows: Vec<TraceRow> = (0..4000u64)
            .map(|i| TraceRow { route: Some("steady".into()), ..row(f64::from(random(i, 4_000_000)) / 1000.0, 50, 5) })
            .chain((0..4000u64).map(|i| {
                let burst = f64::from(random(i / 10 + 77, 4_000_000)) / 1000.0;
                TraceRow { route: Some("bursty".into()), ..row(burst + (i % 10) as f64 * 1e-3, 50, 5) }
            }))
            .collect();
        rows.sort_by_key(|row| row.arrival_ps);
        let fitted = fit(&rows, &FitOptions { steps_max: 64, ..FitOptions::default() });
        let cv = |name: &str| fitted.classes.iter().find(|c| c.name == name).unwrap().cv;
        // Of a benchmark that sends ten a second, evenly; and of half a minute of the same at random nothing can be told.
        let even: Vec<TraceRow> = (0..4000).map(|i| row(f64::from(i) / 10.0, 50, 5)).collect();
        assert_eq!(fit(&even, &FitOptions::default()).classes[0].cv, CV_MIN);
        let few: std::collections::BTreeSet<u32> = (0..300).map(|i| random(i, 30_000)).collect();
        let few: Vec<TraceRow> = few.into_iter().map(|ms| row(f64::from(ms) / 1000.0, 50, 5)).collect();
        assert_eq!(fit(&few, &FitOptions::default()).classes[0].cv, 1.0);
        assert_eq!(cv("steady"), 1.0);
        assert!((cv("bursty") - 10f64.sqrt()).abs() < 0.4, "{}", cv("bursty"));
    }
}
