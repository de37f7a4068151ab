//! Two stored results of `simulate --format json` beside each other. They have no paired runs, so differences are those of two
//! independent means; where a result is of one run only, nothing is known of chance.

use serde_json::Value;
use tokentide_sim::report::Fingerprint;

use crate::estimate::{Estimate, compared};
use crate::headline::headline;
use crate::metric::{Figure, Metric, Stage, Stat};
use crate::report::{Comparison, Presence, Row, SCHEMA_VERSION, ScenarioComparison, SideReport, SourceRow};
use crate::rows::changed;

/// A stored result and where it was found.
#[derive(Clone, Debug)]
pub struct Stored {
    /// In words.
    pub name: String,
    /// The report.
    pub report: Value,
}

/// Why two results cannot be compared.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StoredError {
    /// It is something else.
    #[error("`{0}` is no result of `tokentide simulate --format json`")]
    NoResult(String),
    /// Their fingerprints differ.
    #[error("the results are incomparable: {field} is {base} on the base and {head} on the head")]
    Incomparable {
        /// What differs.
        field: &'static str,
        /// On the base.
        base: String,
        /// On the head.
        head: String,
    },
}

/// What must be equal, and where it is.
const FINGERPRINT: [(&str, &str); 6] = [
    ("the format's version", "/schema_version"),
    ("tokentide's version", "/fingerprint/version"),
    ("the cost profile", "/fingerprint/profile"),
    ("the trace", "/fingerprint/trace"),
    ("the tokenizer", "/fingerprint/tokenizer"),
    ("the list of seeds", "/fingerprint/seeds"),
];

/// Figures and their place in the summary of a report.
const SUMMARY: [(Metric, Stat, &str); 24] = [
    (Metric::Requests, Stat::Value, "requests.total"),
    (Metric::Input, Stat::Mean, "input_length.mean"),
    (Metric::Input, Stat::P95, "input_length.p95"),
    (Metric::Output, Stat::Mean, "output_length.mean"),
    (Metric::Output, Stat::P95, "output_length.p95"),
    (Metric::Ttft, Stat::P95, "ttft_ms.p95"),
    (Metric::Tpot, Stat::P95, "tpot_ms.p95"),
    (Metric::E2e, Stat::P95, "e2e_ms.p95"),
    (Metric::Load, Stat::Value, "capacity.load"),
    (Metric::KvUse, Stat::Max, "kv_use_peak"),
    (Metric::Slo, Stat::Frac, "slo.attainment"),
    (Metric::Queue, Stat::P95, "queue_ms.p95"),
    (Metric::Ttft, Stat::P50, "ttft_ms.p50"),
    (Metric::Ttft, Stat::P99, "ttft_ms.p99"),
    (Metric::Utilisation, Stat::Value, "utilisation"),
    (Metric::WaitingTokens, Stat::Max, "waiting_tokens_peak"),
    (Metric::Preemptions, Stat::Value, "preemptions"),
    (Metric::NearContextLimit, Stat::Frac, "near_context_limit"),
    (Metric::OutputCapHit, Stat::Frac, "output_cap_hit"),
    (Metric::OutputRate, Stat::Value, "output_tokens_per_s"),
    (Metric::Goodput, Stat::Value, "slo.goodput_requests_per_s"),
    (Metric::Knee, Stat::Value, "capacity.knee_requests_per_s"),
    (Metric::Cost, Stat::PerMillionOutputTokens, "cost.usd_per_million_output_tokens"),
    (Metric::Cost, Stat::PerThousandRequests, "cost.usd_per_thousand_requests"),
];

/// Compares two results.
///
/// # Errors
/// If one is no result, or their fingerprints differ: naming the first field that does.
pub fn compare_stored(base: &Stored, head: &Stored) -> Result<Comparison, StoredError> {
    for side in [base, head] {
        if side.report.pointer("/summary/ttft_ms").is_none() || side.report.pointer("/fingerprint/version").is_none() {
            return Err(StoredError::NoResult(side.name.clone()));
        }
    }
    for (field, pointer) in FINGERPRINT {
        let text = |side: &Stored| match side.report.pointer(pointer) {
            None | Some(Value::Null) => "none".to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        let (base, head) = (text(base), text(head));
        if base != head {
            return Err(StoredError::Incomparable { field, base, head });
        }
    }
    let rows = SUMMARY.iter().filter_map(|(metric, stat, path)| row(&base.report, &head.report, Figure::new(*metric, *stat), path));
    let name = head.report["scenario"].as_str().unwrap_or_default().to_owned();
    let mut scenario = ScenarioComparison {
        name,
        presence: Presence::Both,
        headline: String::new(),
        changes: Vec::new(),
        rows: rows.collect(),
        sources: sources(&base.report, &head.report),
        buckets: Vec::new(),
        base: Some(side(&base.report)),
        head: Some(side(&head.report)),
    };
    scenario.headline = headline(&scenario);
    let seeds = head.report["fingerprint"]["seeds"].as_array().map_or(1, Vec::len) as u32;
    let note = match seeds {
        1 => "each result is of one run: there is no interval, and what looks like a change may be chance",
        _ => "stored results are compared by their means: their runs are not paired, so that small changes are lost in noise",
    };
    Ok(Comparison {
        schema_version: SCHEMA_VERSION,
        base: Some(base.name.clone()),
        head: head.name.clone(),
        headline: scenario.headline.clone(),
        confidence: 0.95,
        replications: seeds,
        scenarios: vec![scenario],
        checks: Vec::new(),
        verdicts: Default::default(),
        notes: vec![note.to_owned()],
    })
}

fn row(base: &Value, head: &Value, figure: Figure, path: &str) -> Option<Row> {
    let pointer = format!("/summary/{}", path.replace('.', "/"));
    let overloaded = |report: &Value| report.pointer("/summary/capacity/state").and_then(Value::as_str) == Some("overloaded");
    let value = |report: &Value| {
        let value = report.pointer(&pointer).and_then(Value::as_f64);
        value.map(|v| if figure.is_latency() && overloaded(report) { f64::INFINITY } else { v })
    };
    let half = |report: &Value| report["ci95"].get(format!("summary.{path}")).and_then(Value::as_f64);
    let values = [value(base), value(head)];
    if values == [None, None] {
        return None;
    }
    let exact = figure.stage() == Stage::Tokens;
    let by = values[0].zip(values[1]).map(|(b, h)| if b == h { 0.0 } else { h - b }).filter(|d| !d.is_nan());
    let estimate = by.map(|by| match half(base).zip(half(head)).filter(|_| !exact && by.is_finite()) {
        // Two independent means: their variances add up.
        Some((b, h)) => Estimate { value: by, low: by - b.hypot(h), high: by + b.hypot(h) },
        None => Estimate::exact(by),
    });
    let change = compared(crate::assertion::Against::Change, values[0], values[1]);
    let finite = |value: f64| Some(value).filter(|v| v.is_finite());
    let interval = estimate.filter(|e| e.low != e.high);
    Some(Row {
        metric: figure.name(),
        label: figure.label(),
        only: String::new(),
        unit: figure.of.unit,
        stage: figure.stage(),
        base: values[0].and_then(finite),
        head: values[1].and_then(finite),
        difference: by.and_then(finite),
        low: interval.map(|e| e.low),
        high: interval.map(|e| e.high),
        change: finite(change),
        changed: changed(&figure, values, estimate.as_ref(), change),
    })
}

fn sources(base: &Value, head: &Value) -> Vec<SourceRow> {
    let mean = |report: &Value, source: &str| {
        let tokens = report["summary"]["input_tokens_by_source"].get(source).and_then(Value::as_f64).unwrap_or(0.0);
        tokens / report["summary"]["requests"]["total"].as_f64().filter(|n| *n > 0.0).unwrap_or(1.0)
    };
    let all = tokentide_sim::scenario::Source::ALL.iter().map(|source| source.name());
    let row = |source: &str| SourceRow {
        class: String::new(),
        source: source.to_owned(),
        base: mean(base, source),
        head: mean(head, source),
    };
    all.map(row).filter(|row| row.base > 0.0 || row.head > 0.0).collect()
}

fn side(report: &Value) -> SideReport {
    let text = |pointer: &str| report.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let texts = |pointer: &str| {
        let list = report.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
        list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let seeds = report["fingerprint"]["seeds"].as_array().cloned().unwrap_or_default();
    SideReport {
        state: text("/summary/capacity/state"),
        calibrated: report.pointer("/model/calibrated").and_then(Value::as_bool).unwrap_or(false),
        profile: text("/model/profile").or_else(|| text("/model/kind")).unwrap_or_default(),
        model_error: 0.0,
        exact_tokens: true,
        replica_curve: Vec::new(),
        fingerprint: Fingerprint {
            version: text("/fingerprint/version").unwrap_or_default(),
            scenario: text("/fingerprint/scenario").unwrap_or_default(),
            profile: text("/fingerprint/profile").unwrap_or_default(),
            trace: text("/fingerprint/trace"),
            tokenizer: text("/fingerprint/tokenizer"),
            seeds: seeds.iter().filter_map(Value::as_u64).collect(),
        },
        out_of_range: texts("/model/out_of_range"),
        notes: texts("/notes"),
    }
}
