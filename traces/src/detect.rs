//! What a file is, by its content.

use std::path::Path;

use serde_json::{Map, Value};

use crate::bytes::Bytes;
use crate::error::{Fault, FaultKind, TraceError};
use crate::format::TraceFormat;
use crate::lines::Lines;
use crate::options::ReadOptions;
use crate::record::Splitter;
use crate::scrape::starts_page;

/// Lines that are looked at, and bytes of them, before a file is read.
const HEAD_LINES: usize = 1000;
const HEAD_BYTES: usize = 8 << 20;

/// What a file looks like at its start.
#[derive(Debug)]
pub struct Head {
    /// How it is laid out.
    pub layout: Layout,
    /// Columns of its header, or keys of its first object.
    pub names: Vec<String>,
    /// First lines, the header excluded; none of a document.
    pub lines: Vec<String>,
    /// The whole, of a document: it is read once.
    pub document: Option<Value>,
}

/// How a file is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A header, then a record a line.
    Csv,
    /// A JSON object a line.
    JsonLines,
    /// One JSON value.
    Document,
    /// A folder or a tar of files.
    Archive,
}

/// Looks at the start of a file.
///
/// # Errors
/// If it cannot be read, or is something that no trace is.
pub fn head(path: &Path) -> Result<Head, TraceError> {
    let error = |fault: Fault| TraceError { file: path.to_owned(), line: None, fault: Box::new(fault) };
    if is_archive(path)? {
        return Ok(Head { layout: Layout::Archive, names: Vec::new(), lines: Vec::new(), document: None });
    }
    let mut lines = Lines::open(path)?;
    let first = match lines.next_line() {
        Ok(Some(first)) => first.to_owned(),
        Ok(None) => return Err(lines.error(Fault::new(FaultKind::Empty, "the file is empty"))),
        // A document may stand on one line, of any length.
        Err(e) if e.fault.kind == FaultKind::LineTooLong && e.line == Some(1) && starts_document(path)? => {
            return document(path).map_err(|fault| error(*fault.fault));
        }
        Err(e) => return Err(e),
    };
    if starts_page(&first) {
        let advice = "this is a metrics page: it has distributions and no requests, so that no trace can be made of it, but a \
                      scenario: `tokentide trace fit`";
        return Err(lines.error(Fault::new(FaultKind::Unsupported, advice)));
    }
    if first.starts_with('[') {
        return document(path);
    }
    if !first.starts_with('{') {
        let mut splitter = Splitter::default();
        let names = splitter.split(&first).map_err(|fault| lines.error(fault))?;
        let names = names.into_iter().map(str::to_owned).collect();
        return Ok(Head { layout: Layout::Csv, names, lines: some(&mut lines, Vec::new()), document: None });
    }
    match serde_json::from_str::<Map<String, Value>>(&first) {
        Ok(object) => {
            let names = object.keys().cloned().collect();
            Ok(Head { layout: Layout::JsonLines, names, lines: some(&mut lines, vec![first]), document: None })
        }
        // An object over several lines.
        Err(e) if e.is_eof() => document(path),
        Err(e) => Err(lines.error(Fault::new(FaultKind::BadJson, e.to_string()).text(&first))),
    }
}

/// More of the first lines. What is wrong with one is found when it is read.
fn some(lines: &mut Lines, mut first: Vec<String>) -> Vec<String> {
    let mut bytes = 0;
    while first.len() < HEAD_LINES && bytes < HEAD_BYTES {
        match lines.next_line() {
            Ok(Some(line)) => {
                bytes += line.len();
                first.push(line.to_owned());
            }
            Ok(None) => break,
            Err(e) if e.fault.kind.of_a_row() => {}
            Err(_) => break,
        }
    }
    first
}

fn starts_document(path: &Path) -> Result<bool, TraceError> {
    let mut bytes = Bytes::open(path)?;
    Ok(bytes.reader().fill_buf().is_ok_and(|head| matches!(head.first(), Some(b'{' | b'['))))
}

/// A document: named by the keys of its root, or of the first element of an array.
fn document(path: &Path) -> Result<Head, TraceError> {
    let value = super::document::read(path)?;
    let object = value.as_object().or_else(|| value.as_array()?.first()?.as_object());
    let names = object.map(|object| object.keys().cloned().collect()).unwrap_or_default();
    Ok(Head { layout: Layout::Document, names, lines: Vec::new(), document: Some(value) })
}

/// Whether it is a folder, or a tar.
///
/// # Errors
/// If it cannot be read.
pub fn is_archive(path: &Path) -> Result<bool, TraceError> {
    Ok(path.is_dir() || is_tar(path)?)
}

/// Whether the decompressed bytes have tar's mark.
fn is_tar(path: &Path) -> Result<bool, TraceError> {
    let mut bytes = Bytes::open(path)?;
    let mut start = [0; 262];
    let whole = std::io::Read::read_exact(bytes.reader(), &mut start).is_ok();
    Ok(whole && &start[257..262] == b"ustar")
}

/// The format of a file that begins like this.
///
/// # Errors
/// If none fits, with what was found and what could be done.
pub fn format(head: &Head, options: &ReadOptions) -> Result<TraceFormat, Fault> {
    if options.format != TraceFormat::Detect {
        return Ok(options.format);
    }
    if !options.columns.is_empty() {
        return Ok(TraceFormat::Mapped);
    }
    let has = |name: &str| head.names.iter().any(|n| n == name);
    let all = |names: &[&str]| names.iter().all(|name| has(name));
    match head.layout {
        Layout::Archive => Ok(TraceFormat::Servegen),
        Layout::Csv => csv(&all, &has).ok_or_else(|| unknown(head)),
        Layout::JsonLines | Layout::Document => json(&all, &has)?.ok_or_else(|| unknown(head)),
    }
}

fn csv(all: &dyn Fn(&[&str]) -> bool, has: &dyn Fn(&str) -> bool) -> Option<TraceFormat> {
    if all(&["TIMESTAMP", "ContextTokens", "GeneratedTokens"]) {
        Some(TraceFormat::Azure)
    } else if all(&["Timestamp", "Request tokens", "Response tokens"]) {
        Some(TraceFormat::Burstgpt)
    } else if all(&["num_prefill_tokens", "num_decode_tokens"]) {
        Some(TraceFormat::Vidur)
    } else if all(&["timestamp", "input_length", "output_length"]) {
        Some(TraceFormat::Mooncake)
    } else {
        native(has)
    }
}

/// One of the three is enough: what is missing is then told by its name.
fn native(has: &dyn Fn(&str) -> bool) -> Option<TraceFormat> {
    ["arrival_s", "input_tokens", "output_tokens"].into_iter().any(has).then_some(TraceFormat::Native)
}

fn json(all: &dyn Fn(&[&str]) -> bool, has: &dyn Fn(&str) -> bool) -> Result<Option<TraceFormat>, Fault> {
    let format = if has("resourceSpans") {
        TraceFormat::Otlp
    } else if all(&["trace_id", "spans"]) {
        TraceFormat::SpanDump
    } else if all(&["data", "meta"]) || has("usageDetails") {
        TraceFormat::Langfuse
    } else if has("benchmarks") {
        TraceFormat::Guidellm
    } else if has("itls") || has("mean_ttft_ms") {
        TraceFormat::VllmBench
    } else if has("load_summary") {
        let why = "this is a summary of inference-perf: per_request_lifecycle_metrics.json has the requests";
        return Err(Fault::new(FaultKind::Unsupported, why));
    } else if all(&["start_time", "end_time", "info"]) {
        TraceFormat::InferencePerf
    } else if all(&["requests", "block_size"]) {
        TraceFormat::Weka
    } else if all(&["chat_id", "parent_chat_id"]) {
        TraceFormat::Bailian
    } else if has("sub_requests") || all(&["input_toks", "arrival_time_ns"]) {
        TraceFormat::Llmservingsim
    } else if all(&["metadata", "metrics"]) {
        TraceFormat::AiperfExport
    } else if all(&["request_parameters", "e2e_latency"]) {
        TraceFormat::SglangLog
    } else if all(&["startTime", "prompt_tokens", "request_duration_ms"]) {
        TraceFormat::LitellmSpend
    } else if all(&["startTime", "prompt_tokens"]) {
        TraceFormat::Litellm
    } else if has("input_length") && (has("session_id") || has("delay")) {
        TraceFormat::AiperfSessions
    } else if all(&["timestamp", "input_length", "output_length"]) {
        TraceFormat::Mooncake
    } else if has("record") {
        TraceFormat::Probe
    } else {
        return Ok(native(has));
    };
    Ok(Some(format))
}

fn unknown(head: &Head) -> Fault {
    let found = head.names.iter().take(20).map(String::as_str).collect::<Vec<_>>().join(", ");
    let delimiter = match head.names.as_slice() {
        [only] if only.matches([';', '\t', '|']).count() >= 2 => "fields are separated by commas, and this header has none; ",
        _ => "",
    };
    let advice = format!(
        "{delimiter}known are native (arrival_s, input_tokens, output_tokens), Azure (TIMESTAMP, ContextTokens, GeneratedTokens), \
         Mooncake (timestamp, input_length, output_length), BurstGPT, Vidur, LiteLLM, OTLP and more (docs/traces.md); map other \
         columns, such as arrival = \"start:unix_ms\""
    );
    Fault::new(FaultKind::UnknownFormat, advice).text(&found)
}
