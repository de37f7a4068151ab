//! `tokentide explain`

use clap::Args;
use serde_json::json;
use tokentide_tables::{ColumnInfo, RECORD_COLUMNS, SWEEP_COLUMNS, TRACE_COLUMNS};
use tokentide_views::families::FAMILIES;

use crate::args::Format;
use crate::definitions::{self, GROUPS, Metric};
use crate::exit::{Failure, Verdict};
use crate::output::Output;
use crate::text::style::{self, paint};
use crate::text::table::wrap;

/// What to explain.
#[derive(Args)]
pub struct ExplainArgs {
    /// A metric, such as ttft or summary.ttft_ms.p95; `records`, `sweep` or `trace` for the columns of --records, of a sweep's
    /// table, of a trace; `vllm` for what --metrics writes; `checks` for what budgets can be set on; without it, all metrics
    metric: Option<String>,
}

const RECORDS: &str = "Columns of simulate --records, one row per request in the order of their ends, the warm-up included";
const TRACE: &str = "Columns of a trace, one row per request in order of arrival; the first three must be there";
const VLLM: &str = "What simulate --metrics writes, as of vLLM 0.33: of each engine core, the warm-up included";
const SWEEP: &str = "Columns of a sweep's table, one row per point and run in the order of the design";
/// Width of the labels at the left.
const LABEL: usize = 12;

/// Prints a definition, or the list.
pub fn run(args: &ExplainArgs, output: &Output) -> Result<Verdict, Failure> {
    let width = output.width().clamp(60, 100);
    let Some(word) = &args.metric else {
        match output.format {
            Format::Json => output.json(&definitions::all().collect::<Vec<_>>())?,
            _ => output.text(&list(width))?,
        }
        return Ok(Verdict::Pass);
    };
    let table = match word.as_str() {
        "records" => Some((RECORD_COLUMNS.to_vec(), RECORDS)),
        "sweep" => Some((SWEEP_COLUMNS.to_vec(), SWEEP)),
        "trace" => Some((TRACE_COLUMNS.to_vec(), TRACE)),
        "vllm" => {
            let families = FAMILIES.iter().map(|f| ColumnInfo { name: f.name, unit: f.unit(), definition: f.help });
            Some((families.collect(), VLLM))
        }
        _ => None,
    };
    if let Some((columns, title)) = table {
        match output.format {
            Format::Json => {
                let columns = columns.iter().map(|c| json!({"name": c.name, "unit": c.unit, "definition": c.definition}));
                output.json(&columns.collect::<Vec<_>>())?;
            }
            _ => output.text(&listed(&columns, title, width))?,
        }
        return Ok(Verdict::Pass);
    }
    if word == "checks" {
        match output.format {
            Format::Json => output.json(&crate::review::metrics_json())?,
            _ => output.text(&crate::review::metrics(width))?,
        }
        return Ok(Verdict::Pass);
    }
    let metric = definitions::find(word).ok_or_else(|| unknown(word))?;
    match output.format {
        Format::Json => output.json(metric)?,
        _ => output.text(&one(metric, width))?,
    }
    Ok(Verdict::Pass)
}

fn unknown(word: &str) -> Failure {
    let help = match definitions::suggestion(word) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`tokentide explain` lists all metrics".to_owned(),
    };
    Failure::with_help(format!("there is no metric `{word}`"), help)
}

fn one(metric: &Metric, width: usize) -> String {
    let unit = if metric.unit.is_empty() { String::new() } else { format!(" [{}]", metric.unit) };
    let mut text = format!("{}{unit}\n", paint(style::HEADING, metric.name));
    let (fields, aliases) = (metric.fields.join(", "), metric.aliases.join(", "));
    for (label, content) in [
        ("definition", metric.definition),
        ("formula", metric.formula),
        ("caveat", metric.caveat),
        ("in reports", &fields),
        ("also called", &aliases),
    ] {
        text += &item(label, content, LABEL, width);
    }
    text
}

/// `  label  content`, wrapped; nothing if there is no content.
fn item(label: &str, content: &str, indent: usize, width: usize) -> String {
    if content.is_empty() {
        return String::new();
    }
    let lines = wrap(content, width - indent - 3);
    let padded = |i: usize| if i == 0 { label } else { "" };
    lines
        .iter()
        .enumerate()
        .map(|(i, line)| format!("  {} {line}\n", paint(style::DIM, &format!("{:<indent$}", padded(i)))))
        .collect()
}

fn list(width: usize) -> String {
    let indent = definitions::all().map(|m| m.name.len()).max().unwrap_or(0) + 1;
    let mut text = String::new();
    for (title, metrics) in GROUPS {
        text += &format!("{}\n", paint(style::HEADING, title));
        for metric in metrics {
            let unit = if metric.unit.is_empty() { String::new() } else { format!(" [{}]", metric.unit) };
            text += &item(metric.name, &format!("{}{unit}", metric.definition), indent, width);
        }
        text.push('\n');
    }
    text + &paint(
        style::DIM,
        "Formula and caveats: tokentide explain METRIC. What files hold: tokentide explain records, sweep, trace, vllm.",
    ) + "\n"
}

fn listed(columns: &[ColumnInfo], title: &str, width: usize) -> String {
    let indent = columns.iter().map(|c| c.name.len()).max().unwrap_or(0) + 1;
    let column = |c: &ColumnInfo| {
        let unit = if c.unit.is_empty() { String::new() } else { format!(" [{}]", c.unit) };
        item(c.name, &format!("{}{unit}", c.definition), indent, width)
    };
    format!("{}\n{}", paint(style::HEADING, title), columns.iter().map(column).collect::<String>())
}
