//! `tokentide trace import`

use clap::Args;
use tokentide_tables::TraceWriter;

use super::source::{SourceArgs, table_failure};
use crate::args::{Format, Global};
use crate::exit::{Failure, Verdict};
use crate::output::Output;
use crate::text::trace;

/// What to import; `-o trace.parquet` says where to.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    tokentide trace import gateway.jsonl.gz -o trace.parquet\n  \
    tokentide trace import log.csv --map arrival=ts:unix_ms,input=prompt_tokens,output=completion_tokens -o trace.parquet\n  \
    tokentide trace import sessions.jsonl --session-rate 0.5 -o trace.parquet\n\
    Without -o the report is printed and nothing is written. Formats: docs/traces.md. Columns: tokentide explain trace.")]
pub struct ImportArgs {
    #[command(flatten)]
    source: SourceArgs,
}

/// Reads the files, writes the trace, reports.
///
/// # Errors
/// If a file cannot be used, or the trace cannot be written.
pub fn run(args: &ImportArgs, global: &Global, output: &Output) -> Result<Verdict, Failure> {
    let table = output.path().filter(|path| path.extension().is_some_and(|e| e != "json" && e != "txt"));
    let mut writer = table.map(TraceWriter::create).transpose().map_err(|e| table_failure(&e))?;
    let report = args.source.read(global, &mut |row| match &mut writer {
        Some(writer) => writer.push(row),
        None => Ok(()),
    })?;
    let beside = writer.is_some().then(|| output.beside_file());
    let beside = beside.as_ref().unwrap_or(output);
    if let Some(writer) = writer {
        writer.finish().map_err(|e| table_failure(&e))?;
    }
    match beside.format {
        Format::Json => beside.json(&report)?,
        _ => beside.text(&trace::import(&report, table, beside.width()))?,
    }
    Ok(Verdict::Pass)
}
