//! Benchmark points: closed-loop benchmarks of which only lengths, concurrency and means are known.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::deploy::Labels;
use super::measured::LeftOut;
use tokentide_traces::table::{Row, Table};
use tokentide_traces::{Fault, FaultKind, TraceError};

/// What a benchmark did at each of its points.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Benchmark {
    /// Lengths are drawn uniformly between these shares of the nominal ones.
    pub lengths: (f64, f64),
    /// Requests sent in all, per client.
    pub requests_per_client: u32,
    /// So many first requests of each client are simulated but not compared. 0 where the tool's means include the start, when all
    /// clients send at once, as `vllm bench serve` and InferenceX's client do.
    pub ramp_per_client: u32,
    /// The server's `max_model_len` is the nominal lengths and this [tokens].
    pub context_slack: u32,
}

impl Default for Benchmark {
    /// InferenceX's: see the reference given in the manifests.
    fn default() -> Benchmark {
        Benchmark { lengths: (0.8, 1.0), requests_per_client: 10, ramp_per_client: 0, context_slack: 256 }
    }
}

impl Benchmark {
    /// Whether the numbers make sense.
    ///
    /// # Errors
    /// In words, if one does not.
    pub fn check(&self) -> Result<(), String> {
        let (low, high) = self.lengths;
        if !(low > 0.0 && low <= high && high <= 16.0) {
            return Err(format!("`lengths` must be two shares of the nominal length, ascending and above 0, not {low} and {high}"));
        }
        if self.requests_per_client <= self.ramp_per_client {
            let (all, ramp) = (self.requests_per_client, self.ramp_per_client);
            return Err(format!("`requests_per_client`, {all}, must be more than `ramp_per_client`, {ramp}: nothing is compared"));
        }
        Ok(())
    }
}

/// One benchmark point.
#[derive(Clone, Debug)]
pub struct Point {
    /// Its name in the file, or its line.
    pub id: String,
    /// Line in the file.
    pub line: u64,
    /// Such as `h100_sxm llama-3.1-70b vllm`.
    pub group: String,
    /// What ran.
    pub labels: Labels,
    /// Nominal prompt [tokens].
    pub isl: u32,
    /// Nominal answer [tokens].
    pub osl: u32,
    /// Clients.
    pub concurrency: u32,
    /// Mean TTFT [ms].
    pub ttft_ms: f64,
    /// Mean TPOT [ms].
    pub tpot_ms: f64,
    /// Output tokens per second, all clients, where it was recorded.
    pub output_tokens_per_s: Option<f64>,
    /// All columns, for rules.
    pub columns: BTreeMap<String, String>,
}

/// Points of a file, and the rows that are none.
#[derive(Clone, Debug, Default)]
pub struct Points {
    /// In order of the file.
    pub points: Vec<Point>,
    /// Rows that were selected and cannot be used, and why.
    pub left_out: Vec<LeftOut>,
}

/// Conditions on columns: each must have one of the values.
pub type Selection = BTreeMap<String, Vec<String>>;

impl Point {
    /// Whether it fulfils `selection`; a column without a value counts as an empty text.
    pub fn is_one_of(&self, selection: &Selection) -> bool {
        let value = |column: &str| self.columns.get(column).map(String::as_str).unwrap_or_default();
        selection.iter().all(|(column, values)| values.iter().any(|v| v == value(column)))
    }
}

/// Names of the column of a mean, in order of preference.
const TTFT: [&str; 3] = ["ttft_ms", "mean_ttft_ms", "silicon_ttft_ms"];
const TPOT: [&str; 3] = ["tpot_ms", "mean_tpot_ms", "silicon_tpot_ms"];
const THROUGHPUT: &str = "output_tokens_per_s";

/// Reads the rows of a CSV that `selection` describes. Repeats of an earlier row (`repeat_of`) and rows whose tensor-parallel size
/// is in doubt (`tp_suspect`) are left out and counted. Columns that `others` speak of must be there too.
///
/// # Errors
/// With file, line, column, value and reason.
pub fn read<'a>(path: &Path, selection: &'a Selection, others: impl Iterator<Item = &'a Selection>) -> Result<Points, TraceError> {
    let table = Table::read(path)?;
    let (ttft, tpot) = (table.one_of(&TTFT)?, table.one_of(&TPOT)?);
    let asked = std::iter::once(selection).chain(others).flat_map(|s| s.keys().map(String::as_str));
    for column in ["model", "isl", "osl", "concurrency"].into_iter().chain(asked) {
        table.one_of(&[column])?;
    }
    let system = table.one_of(&["system", "gpu"])?;
    let mut points = Points::default();
    for row in table.rows() {
        if !selection.iter().all(|(column, values)| values.iter().any(|v| v == row.text(column).unwrap_or_default())) {
            continue;
        }
        match reason_to_leave_out(&row) {
            Some(reason) => LeftOut::count(&mut points.left_out, reason),
            None => points.points.push(point(&table, &row, (system, ttft, tpot))?),
        }
    }
    Ok(points)
}

fn reason_to_leave_out(row: &Row<'_>) -> Option<&'static str> {
    if row.text("repeat_of").is_some() {
        return Some("repeats an earlier row: the same measurement, weighted once");
    }
    if row.text("tp_suspect") == Some("1") {
        return Some("its tensor-parallel size is in doubt (tp_suspect)");
    }
    if row.text("backend").is_some_and(|engine| !engine.eq_ignore_ascii_case("vllm")) {
        return Some("its engine is not vLLM, the only one whose defaults and kernels are simulated");
    }
    row.text("concurrency").is_none().then_some("no concurrency is given, so the load is not known")
}

fn point(table: &Table, row: &Row<'_>, (system, ttft, tpot): (&str, &str, &str)) -> Result<Point, TraceError> {
    let labels = Labels::of(row, system)?;
    let positive = |column: &str| {
        let value = row.number(column)?.filter(|v| *v > 0.0);
        value.ok_or_else(|| row.error(column, Fault::new(FaultKind::MissingValue, "expected a time above 0 [ms]")))
    };
    let group = [Some(labels.gpu.as_str()), Some(labels.model.as_str()), row.text("backend")];
    Ok(Point {
        id: row.text("id").map_or_else(|| format!("line {}", row.line()), str::to_owned),
        line: row.line(),
        group: group.into_iter().flatten().collect::<Vec<_>>().join(" "),
        isl: row.count("isl", 1)?,
        osl: row.count("osl", 1)?,
        concurrency: row.count("concurrency", 1)?,
        ttft_ms: positive(ttft)?,
        tpot_ms: positive(tpot)?,
        output_tokens_per_s: row.number(THROUGHPUT)?,
        columns: table.columns(row),
        labels,
    })
}
