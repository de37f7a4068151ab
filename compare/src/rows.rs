//! The figures of both sides beside each other.

use tokentide_sim::scenario::Source;

use crate::assertion::Against;
use crate::estimate::{Estimate, compared, paired};
use crate::metric::{Figure, Metric, Narrowing, Stage, Stat, Unit};
use crate::report::{BucketRow, Row, SourceRow};
use crate::selection::{Selection, bucket_names};
use crate::side::{Side, Speed};
use crate::verdict::mean;

/// A relative change below this does not matter [share]: of what is counted, and of what a cost model says.
const MATTERS: [f64; 2] = [0.001, 0.01];
/// A difference of shares below this does not matter.
const POINTS_MATTER: [f64; 2] = [0.0005, 0.005];

/// What is compared, the ones that say most first.
const FIGURES: [(Metric, Stat); 28] = [
    (Metric::Requests, Stat::Value),
    (Metric::Input, Stat::Mean),
    (Metric::Input, Stat::P95),
    (Metric::Prefill, Stat::Mean),
    (Metric::Output, Stat::Mean),
    (Metric::Output, Stat::P95),
    (Metric::Total, Stat::Sum),
    (Metric::Ttft, Stat::P95),
    (Metric::Tpot, Stat::P95),
    (Metric::E2e, Stat::P95),
    (Metric::Replicas, Stat::Required),
    (Metric::Cost, Stat::Month),
    (Metric::Load, Stat::Value),
    (Metric::KvUse, Stat::Max),
    (Metric::Slo, Stat::Frac),
    (Metric::Queue, Stat::P95),
    (Metric::Ttft, Stat::P50),
    (Metric::Ttft, Stat::P99),
    (Metric::Utilisation, Stat::Value),
    (Metric::WaitingTokens, Stat::Max),
    (Metric::PrefixHits, Stat::Frac),
    (Metric::Preemptions, Stat::Value),
    (Metric::Failed, Stat::Frac),
    (Metric::NearContextLimit, Stat::Frac),
    (Metric::OutputCapHit, Stat::Frac),
    (Metric::Cost, Stat::PerMillionOutputTokens),
    (Metric::MaxTokens, Stat::P95),
    (Metric::OutputBudgetUsed, Stat::P95),
];

/// The selections that rows, sources and buckets are of: all requests, each class, each bucket of prompt lengths if there are any.
pub fn selections<'a>(classes: impl Iterator<Item = &'a str>, buckets: &[u32]) -> Vec<Selection> {
    let mut all = vec![Selection::default()];
    all.extend(classes.map(Selection::class));
    let names = if buckets.is_empty() { Vec::new() } else { bucket_names(buckets) };
    all.extend(names.iter().map(|name| Selection::bucket(name)));
    all
}

/// Every figure of both sides that is known.
pub fn rows(base: &Side<'_>, head: &Side<'_>, confidence: f64) -> Vec<Row> {
    let classes: Vec<Selection> = class_names(base, head).iter().map(|name| Selection::class(name)).collect();
    let mut found = Vec::new();
    for (metric, stat) in FIGURES {
        let figure = Figure::new(metric, stat);
        // Of one class it is the same as of all.
        let narrow = figure.of.narrowing != Narrowing::No && stat != Stat::Sum && classes.len() > 1;
        let selections = if narrow { classes.as_slice() } else { &[Selection::default()] };
        found.extend(selections.iter().filter_map(|selection| row(base, head, figure, selection, confidence)));
    }
    found
}

/// Names of the classes of either side that have requests, the head's first.
pub fn class_names(base: &Side<'_>, head: &Side<'_>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for side in [head, base] {
        for class in &side.subject.scenario.classes {
            let requests = side.index(&Selection::class(&class.name)).map_or(0, |i| side.tokens.selections[i].requests());
            if requests > 0 && !names.contains(&class.name) {
                names.push(class.name.clone());
            }
        }
    }
    names
}

fn row(base: &Side<'_>, head: &Side<'_>, figure: Figure, selection: &Selection, confidence: f64) -> Option<Row> {
    let sides = [base, head];
    let exact = figure.stage() == Stage::Tokens;
    let (values, estimate) = if figure.stage() == Stage::Sized {
        let [b, h] = sides.map(|side| side.sized_value(&figure, Speed::Nominal));
        let estimate = b.zip(h).map(|(b, h)| Estimate { value: h.0 - b.0, low: h.1 - b.0, high: h.0 - b.1 });
        ([b.map(|b| b.0), h.map(|h| h.0)], estimate.filter(|e| !e.value.is_nan()))
    } else {
        let index = |side: &Side<'_>| side.index(selection);
        let by_seed = sides.map(|side| index(side).map(|i| side.values(&figure, i, Speed::Nominal)).unwrap_or_default());
        let differences = paired(Against::Difference, &by_seed[0], &by_seed[1]);
        let estimate = match exact {
            true => differences.first().copied().filter(|d| !d.is_nan()).map(Estimate::exact),
            false => Estimate::of(&differences, confidence),
        };
        (by_seed.map(|values| mean(&values)), estimate)
    };
    if values == [None, None] {
        return None;
    }
    let change = compared(Against::Change, values[0], values[1]);
    let finite = |value: f64| Some(value).filter(|v| v.is_finite());
    Some(Row {
        metric: figure.name(),
        label: figure.label(),
        only: selection.label(),
        unit: figure.of.unit,
        stage: figure.stage(),
        base: values[0].and_then(finite),
        head: values[1].and_then(finite),
        difference: estimate.and_then(|e| finite(e.value)),
        low: estimate.filter(|_| !exact).and_then(|e| finite(e.low)),
        high: estimate.filter(|_| !exact).and_then(|e| finite(e.high)),
        change: finite(change),
        changed: changed(&figure, values, estimate.as_ref(), change),
    })
}

/// Whether a figure surely changed, and by enough to matter.
pub fn changed(figure: &Figure, values: [Option<f64>; 2], estimate: Option<&Estimate>, change: f64) -> bool {
    let [Some(base), Some(head)] = values else { return values[0] != values[1] };
    // One that exists against one that grows for ever.
    if base.is_infinite() != head.is_infinite() {
        return estimate.is_some_and(|e| e.excludes(0.0));
    }
    let simulated = usize::from(figure.stage() > Stage::Tokens);
    let sure = estimate.is_some_and(|e| e.excludes(0.0));
    let enough = match figure.of.unit {
        Unit::Share => (head - base).abs() >= POINTS_MATTER[simulated],
        _ => change.abs() >= MATTERS[simulated],
    };
    sure && enough
}

/// Mean prompt tokens per request by class and source, of sources that either side has.
pub fn sources(base: &Side<'_>, head: &Side<'_>) -> Vec<SourceRow> {
    let classes = class_names(base, head);
    let one = classes.len() < 2;
    let selections: Vec<Selection> =
        if one { vec![Selection::default()] } else { classes.iter().map(|name| Selection::class(name)).collect() };
    let mut found = Vec::new();
    for selection in &selections {
        for source in Source::ALL {
            let mean = |side: &Side<'_>| {
                let tokens = side.index(selection).map(|i| side.tokens.selections[i].of_source(source));
                tokens.and_then(|counts| counts.mean()).unwrap_or(0.0)
            };
            let (b, h) = (mean(base), mean(head));
            if b > 0.0 || h > 0.0 {
                let class = selection.class.clone().unwrap_or_default();
                found.push(SourceRow { class, source: source.name().to_owned(), base: b, head: h });
            }
        }
    }
    found
}

/// By bucket of prompt lengths, those that either side has requests in; empty if the sides have other buckets.
pub fn buckets(base: &Side<'_>, head: &Side<'_>) -> Vec<BucketRow> {
    let bounds = &head.subject.scenario.input_buckets;
    if base.subject.scenario.input_buckets != *bounds {
        return Vec::new();
    }
    let names = bucket_names(bounds);
    let row = |name: &String| {
        let selection = Selection::bucket(name);
        let of = |stat: Stat| {
            [base, head].map(|side| {
                let values = side.index(&selection).map(|i| side.values(&Figure::new(Metric::Ttft, stat), i, Speed::Nominal));
                values.and_then(|v| mean(&v)).filter(|v| v.is_finite())
            })
        };
        let requests = [base, head].map(|side| {
            let tokens = side.index(&selection).map(|i| &side.tokens.selections[i]);
            tokens.map_or(0.0, |t| t.requests() as f64 / f64::from(side.tokens.runs))
        });
        BucketRow { bucket: name.clone(), requests, ttft_p95_ms: of(Stat::P95), ttft_p99_ms: of(Stat::P99) }
    };
    names.iter().map(row).filter(|row| row.requests != [0.0, 0.0]).collect()
}
