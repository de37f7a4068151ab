//! What each target does with its bytes: it reads them as a file of one format, and uses what comes out in every way there is.
//!
//! A panic is a finding, and so is a trace that breaks what every trace keeps: rows in order of arrival, as many as reported, each
//! with a prompt.

use std::io::Write;
use std::path::{Path, PathBuf};

use tokentide_traces::fit::{FitOptions, ScrapeFitOptions, fit, fit_load};
use tokentide_traces::import::{Failed, ImportError, ImportOptions, import};
use tokentide_traces::inspect::{InspectOptions, Inspector};
use tokentide_traces::scrape::{Load, ScrapeOptions, is_page};
use tokentide_traces::transform::{Changes, transform};
use tokentide_traces::{ReadOptions, TraceFormat, TraceRow};

/// Rows that are taken: a pool of clients may have rates without end.
const ROWS_MAX: usize = 2_000;

/// Any format, told by its content; compressed files and archives among them.
pub fn detected(data: &[u8]) {
    read(data, TraceFormat::Detect);
}

/// CSV and JSON lines by declared columns.
pub fn mapped(data: &[u8]) {
    let columns =
        [("arrival", "end-took_ms"), ("input", "in"), ("output", "usage.out"), ("session", "chat"), ("hash_ids", "blocks")];
    let columns = columns.map(|(ours, theirs)| (ours.to_owned(), theirs.to_owned())).to_vec();
    with(data, |path| all(path, &ReadOptions { columns, block_tokens: Some(16), ..ReadOptions::default() }));
}

/// Bailian's chats.
pub fn bailian(data: &[u8]) {
    read(data, TraceFormat::Bailian);
}

/// LLMServingSim's requests and sessions.
pub fn llmservingsim(data: &[u8]) {
    read(data, TraceFormat::Llmservingsim);
}

/// AIPerf's sessions of deltas.
pub fn aiperf_sessions(data: &[u8]) {
    read(data, TraceFormat::AiperfSessions);
}

/// Weka's agentic sessions.
pub fn weka(data: &[u8]) {
    read(data, TraceFormat::Weka);
}

/// A client of ServeGen: its windows, a zero byte, its lengths.
pub fn servegen(data: &[u8]) {
    let at = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("chunk-0-trace.csv"), &data[..at]).expect("a temporary file");
    std::fs::write(folder.path().join("chunk-0-dataset.json"), data.get(at + 1..).unwrap_or_default()).expect("a temporary file");
    all(folder.path(), &ReadOptions::default());
}

/// `vllm bench serve`.
pub fn vllm_bench(data: &[u8]) {
    read(data, TraceFormat::VllmBench);
}

/// GuideLLM.
pub fn guidellm(data: &[u8]) {
    read(data, TraceFormat::Guidellm);
}

/// AIPerf's results.
pub fn aiperf_export(data: &[u8]) {
    read(data, TraceFormat::AiperfExport);
}

/// inference-perf.
pub fn inference_perf(data: &[u8]) {
    read(data, TraceFormat::InferencePerf);
}

/// The probe's log.
pub fn probe(data: &[u8]) {
    read(data, TraceFormat::Probe);
}

/// LiteLLM's and SGLang's logs.
pub fn logs(data: &[u8]) {
    for format in [TraceFormat::Litellm, TraceFormat::LitellmSpend, TraceFormat::SglangLog] {
        read(data, format);
    }
}

/// OTLP.
pub fn otlp(data: &[u8]) {
    read(data, TraceFormat::Otlp);
}

/// Dumps of spans.
pub fn span_dump(data: &[u8]) {
    read(data, TraceFormat::SpanDump);
}

/// Langfuse observations.
pub fn langfuse(data: &[u8]) {
    read(data, TraceFormat::Langfuse);
}

/// Metrics pages: one, and with a zero byte between them two.
pub fn page(data: &[u8]) {
    let at = data.iter().position(|byte| *byte == 0);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut paths = Vec::new();
    for (k, part) in [&data[..at.unwrap_or(data.len())], at.map_or(&[][..], |at| &data[at + 1..])].into_iter().enumerate() {
        if k == 0 || at.is_some() {
            paths.push(folder.path().join(k.to_string()));
            std::fs::write(&paths[k], part).expect("a temporary file");
        }
    }
    let _ = is_page(&paths[0]);
    for options in [ScrapeOptions::default(), ScrapeOptions { interval_s: Some(10.0), model: Some("m".to_owned()) }] {
        let Ok(load) = Load::read(&paths, &options) else { continue };
        let Some(fitted) = fit_load(&load, &ScrapeFitOptions { rate: Some(1.0), context: None }) else { continue };
        for class in &fitted.classes {
            for table in [&class.added, &class.output] {
                assert!(table.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{table:?}");
                assert!(table.iter().all(|(_, tokens)| *tokens >= 1.0 && tokens.is_finite()), "{table:?}");
            }
            assert!(class.rate.mean() >= 0.0, "{:?}", class.rate);
        }
    }
}

fn read(data: &[u8], format: TraceFormat) {
    with(data, |path| all(path, &ReadOptions { format, ..ReadOptions::default() }));
}

fn with(data: &[u8], use_it: impl FnOnce(&Path)) {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(data).expect("a temporary file");
    use_it(file.path());
}

/// Strictly and leniently; what can be read leniently is used.
fn all(path: &Path, options: &ReadOptions) {
    let strict = ImportOptions { read: options.clone(), seed: 1, rate_scale: 1.0, ..ImportOptions::default() };
    let lenient = ImportOptions {
        failed: Failed::Class,
        skip_bad_rows: true,
        session_rate: Some(1.0),
        window: Some((0.0, 600.0)),
        ..strict.clone()
    };
    rows(path, &strict);
    if let Some(rows) = rows(path, &lenient) {
        used(rows);
    }
}

fn rows(path: &Path, options: &ImportOptions) -> Option<Vec<TraceRow>> {
    let mut rows = Vec::new();
    let mut sink = |row: TraceRow| {
        rows.push(row);
        if rows.len() < ROWS_MAX { Ok(()) } else { Err(()) }
    };
    match import(&[PathBuf::from(path)], options, &mut |_| {}, &mut sink) {
        Ok(report) => {
            assert_eq!(report.rows_kept, rows.len() as u64);
            let left_out: u64 = report.left_out.iter().map(|set| set.rows).sum();
            assert!(report.rows_read >= report.rows_kept, "{} rows of {}", report.rows_kept, report.rows_read);
            assert!(left_out <= report.rows_read, "{left_out} left out of {}", report.rows_read);
        }
        Err(ImportError::Trace(error)) => assert!(!error.to_string().is_empty()),
        Err(ImportError::Sink(())) => {}
    }
    assert!(rows.is_sorted_by_key(|row| row.arrival_ps), "rows are in order of arrival");
    assert!(rows.iter().all(|row| row.input_tokens > 0 && row.output_tokens > 0), "a row without tokens");
    (!rows.is_empty()).then_some(rows)
}

fn used(rows: Vec<TraceRow>) {
    let mut inspector = Inspector::new(InspectOptions { context: Some(8192), ..InspectOptions::default() });
    rows.iter().for_each(|row| inspector.add(row));
    inspector.finish();
    let fitted = fit(&rows, &FitOptions::default());
    assert_eq!(fitted.classes.iter().map(|class| class.rows).sum::<u64>(), rows.len() as u64);
    let changes = Changes {
        rate: Some(1.5),
        speed: Some(2.0),
        top_k: Some((4, 12)),
        history: Some(2.0),
        output_cap: Some(100),
        jitter: Some(1.0),
        anonymize: true,
        ..Changes::default()
    };
    let _ = transform(rows.clone(), &changes, 1);
    let _ = transform(rows, &Changes { rate: Some(0.5), anonymize: true, ..Changes::default() }, 1);
}
