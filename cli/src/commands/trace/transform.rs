//! `tokentide trace transform`

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use tokentide_sim::scenario::duration::parse_duration;
use tokentide_tables::TraceWriter;
use tokentide_traces::TraceRow;
use tokentide_traces::survey::Survey;
use tokentide_traces::transform::{Changes, mix_in, transform};

use super::source::{SourceArgs, positive, table_failure, window};
use crate::args::{Format, Global};
use crate::exit::{Failure, Verdict};
use crate::output::Output;
use crate::text::trace;

/// What to change; changes are made in the order of the options below.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    tokentide trace transform trace.parquet --top-k 4:12 -o more-retrieval.parquet\n  \
    tokentide trace transform trace.parquet --window 10m,20m --rate 2 -o twice.parquet\n  \
    tokentide trace transform trace.parquet --anonymize -o to-share.parquet")]
pub struct TransformArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// Put another trace beside it, both from the same time on (repeatable)
    #[arg(long, value_name = "FILE", help_heading = "Changes")]
    mix: Vec<PathBuf>,
    /// Only requests that arrive within, such as 10m,20m
    #[arg(long, value_name = "START,END", value_parser = window, help_heading = "Changes")]
    window: Option<(f64, f64)>,
    /// So many times the requests: thinning below 1, shifted copies above, so that bursts stay what they are
    #[arg(long, value_name = "X", value_parser = rate, help_heading = "Changes")]
    rate: Option<f64>,
    /// Time passes so many times faster: bursts become steeper, too
    #[arg(long, value_name = "X", value_parser = positive, help_heading = "Changes")]
    speed: Option<f64>,
    /// Retrieved text of FROM chunks becomes that of TO, such as 4:12
    #[arg(long, value_name = "FROM:TO", value_parser = top_k, help_heading = "Changes")]
    top_k: Option<(u32, u32)>,
    /// So many times the history of each prompt
    #[arg(long, value_name = "X", value_parser = positive, help_heading = "Changes")]
    history: Option<f64>,
    /// No answer is longer
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Changes")]
    output_cap: Option<u32>,
    /// Spread arrivals that share a coarse time stamp uniformly over this long, such as 3s
    #[arg(long, value_name = "TIME", value_parser = seconds, help_heading = "Changes")]
    jitter: Option<f64>,
    /// Replace names, sessions and identities of blocks by numbers
    #[arg(long, help_heading = "Changes")]
    anonymize: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    parse_duration(text).map(|span| span.as_secs_f64())
}

/// Each whole copy is held in memory.
fn rate(text: &str) -> Result<f64, String> {
    positive(text).and_then(|rate| if rate <= 1000.0 { Ok(rate) } else { Err("at most 1000".to_owned()) })
}

fn top_k(text: &str) -> Result<(u32, u32), String> {
    let pair = text.split_once(':').and_then(|(from, to)| Some((from.trim().parse().ok()?, to.trim().parse().ok()?)));
    pair.filter(|(from, _)| *from > 0).ok_or_else(|| "expected FROM:TO with FROM above 0, such as 4:12".to_owned())
}

/// Reads the trace, changes it, writes it.
///
/// # Errors
/// If it cannot be read, changed or written.
pub fn run(args: &TransformArgs, global: &Global, output: &Output) -> Result<Verdict, Failure> {
    let Some(path) = output.path() else {
        return Err(Failure::with_help("where to?", "-o FILE.parquet (or .csv) names the file"));
    };
    let mut writer = TraceWriter::create(path).map_err(|e| table_failure(&e))?;
    let mut before = Survey::default();
    let mut rows = read(&args.source, global)?;
    rows.iter().for_each(|row| before.add(row));
    for (number, file) in (1..).zip(&args.mix) {
        mix_in(&mut rows, read(&SourceArgs::of(file), global)?, number);
    }
    let changes = Changes {
        window: args.window,
        rate: args.rate,
        speed: args.speed,
        top_k: args.top_k,
        history: args.history,
        output_cap: args.output_cap,
        jitter: args.jitter,
        anonymize: args.anonymize,
    };
    let (rows, mut notes) = transform(rows, &changes, global.seed.unwrap_or(42)).map_err(|e| Failure::message(e.to_string()))?;
    if !args.mix.is_empty() {
        let names: Vec<String> = args.mix.iter().map(|path| path.display().to_string()).collect();
        notes.insert(0, format!("mixed with {}", names.join(", ")));
    }
    let mut after = Survey::default();
    for row in rows {
        after.add(&row);
        writer.push(row).map_err(|e| table_failure(&e))?;
    }
    writer.finish().map_err(|e| table_failure(&e))?;
    let (before, after, beside) = (before.figures(), after.figures(), output.beside_file());
    match beside.format {
        Format::Json => beside.json(&json!({ "before": before, "after": after, "notes": notes }))?,
        _ => beside.text(&trace::transformed(&before, &after, &notes, path))?,
    }
    Ok(Verdict::Pass)
}

fn read(source: &SourceArgs, global: &Global) -> Result<Vec<TraceRow>, Failure> {
    let mut rows = Vec::new();
    source.read(global, &mut |row| {
        rows.push(row);
        Ok(())
    })?;
    Ok(rows)
}
