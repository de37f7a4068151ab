//! Request logs of gateways and servers, a JSON object a line: LiteLLM's two, SGLang's.

use serde_json::Value;

use crate::entry::Entry;
use crate::error::{Fault, FaultKind};
use crate::number::{Unit, count};
use crate::record::{Picker, Record};
use crate::row::{Ended, TraceRow, identity};
use crate::schema::span;

/// A log, by the values that are picked out of its lines and what they mean.
#[derive(Debug)]
pub struct Log {
    picker: Picker,
    paths: &'static [&'static str],
    convert: fn(&Picked<'_>) -> Result<Entry, Fault>,
}

/// The values of a line.
struct Picked<'a> {
    record: Record<'a>,
    paths: &'static [&'static str],
}

impl Log {
    fn new(paths: &'static [&'static str], convert: fn(&Picked<'_>) -> Result<Entry, Fault>) -> Log {
        Log { picker: Picker::new(paths.iter().copied()), paths, convert }
    }

    /// The record on a line.
    ///
    /// # Errors
    /// If it is no object, or a value is not what it should be.
    pub fn read(&self, line: &str) -> Result<Entry, Fault> {
        (self.convert)(&Picked { record: Record::Object(self.picker.pick(line)?), paths: self.paths })
    }
}

impl Picked<'_> {
    fn index(&self, path: &str) -> usize {
        self.paths.iter().position(|p| *p == path).expect("a path that is picked")
    }

    /// The JSON text at a path.
    fn raw(&self, path: &str) -> Option<&str> {
        let Record::Object(values) = &self.record else { return None };
        values[self.index(path)]
    }

    /// Text; true and false are texts too.
    fn text(&self, path: &str) -> Result<Option<String>, Fault> {
        match self.raw(path) {
            Some(raw @ ("true" | "false")) => Ok(Some(raw.to_owned())),
            // Of a list or an object nothing is a label.
            Some(raw) if raw.starts_with(['[', '{']) => Ok(None),
            _ => Ok(self.record.text(self.index(path)).map_err(|f| f.column(path))?.map(|text| text.into_owned())),
        }
    }

    fn tokens(&self, path: &str) -> Result<Option<u32>, Fault> {
        let text = self.record.text(self.index(path)).map_err(|f| f.column(path))?;
        text.map(|text| count(&text)).transpose().map_err(|f| f.column(path))
    }

    /// A time from the unit's origin [ps].
    fn time(&self, path: &str, unit: Unit) -> Result<Option<i128>, Fault> {
        let text = self.record.text(self.index(path)).map_err(|f| f.column(path))?;
        text.map(|text| unit.parse(&text)).transpose().map_err(|f| f.column(path))
    }

    /// A length of time [ps].
    fn span(&self, path: &str, unit: Unit) -> Result<Option<u64>, Fault> {
        let text = self.record.text(self.index(path)).map_err(|f| f.column(path))?;
        text.map(|text| span(&text, unit)).transpose().map_err(|f| f.column(path))
    }

    fn need<T>(&self, path: &str, value: Option<T>) -> Result<T, Fault> {
        value.ok_or_else(|| Fault::new(FaultKind::MissingValue, "it must be there").column(path))
    }

    /// The number of tokens, which a failed request may lack.
    fn tokens_of(&self, path: &str, failed: bool) -> Result<u32, Fault> {
        let tokens = self.tokens(path)?;
        if failed { Ok(tokens.unwrap_or(0)) } else { self.need(path, tokens) }
    }
}

/// LiteLLM's standard logging payload. `response_time` is not read: it is TTFT of streams and end-to-end of all else.
pub fn litellm() -> Log {
    const PATHS: &[&str] = &[
        "id",
        "startTime",
        "completionStartTime",
        "endTime",
        "prompt_tokens",
        "completion_tokens",
        "model_parameters.max_tokens",
        "metadata.usage_object.prompt_tokens_details.cached_tokens",
        "metadata.usage_object.completion_tokens_details.reasoning_tokens",
        "session_id",
        "trace_id",
        "end_user",
        "model_group",
        "model",
        "call_type",
        "status",
        "cache_hit",
        "stream",
    ];
    Log::new(PATHS, |line| {
        let failed = line.text("status")?.is_some_and(|status| status == "failure");
        let stream = line.raw("stream") == Some("true");
        let mut entry = from_litellm(line, Unit::Seconds, failed, stream)?;
        entry.row.session = line.text("session_id")?.or(line.text("trace_id")?);
        entry.row.tenant = line.text("end_user")?;
        entry.row.max_tokens = line.tokens("model_parameters.max_tokens")?;
        let cached = "metadata.usage_object.prompt_tokens_details.cached_tokens";
        let reasoning = "metadata.usage_object.completion_tokens_details.reasoning_tokens";
        entry.row.observed.cached_tokens = line.tokens(cached)?;
        entry.row.observed.reasoning_tokens = line.tokens(reasoning)?;
        entry.id = line.text("id")?.map(|id| identity(&id));
        Ok(entry)
    })
}

/// Rows of LiteLLM's SpendLogs.
pub fn spend() -> Log {
    const PATHS: &[&str] = &[
        "request_id",
        "startTime",
        "completionStartTime",
        "endTime",
        "prompt_tokens",
        "completion_tokens",
        "session_id",
        "end_user",
        "team_id",
        "model_group",
        "model",
        "call_type",
        "status",
        "cache_hit",
    ];
    Log::new(PATHS, |line| {
        let failed = line.text("status")?.is_some_and(|status| status == "failure");
        // A row does not say whether it was streamed: a first token that comes with the last one was not.
        let mut entry = from_litellm(line, Unit::Calendar, failed, true)?;
        if entry.row.observed.ttft_ps == entry.row.observed.e2e_ps {
            entry.row.observed.ttft_ps = None;
        }
        entry.row.session = line.text("session_id")?;
        entry.row.tenant = line.text("team_id")?.or(line.text("end_user")?);
        entry.id = line.text("request_id")?.map(|id| identity(&id));
        Ok(entry)
    })
}

/// What both have.
fn from_litellm(line: &Picked<'_>, unit: Unit, failed: bool, stream: bool) -> Result<Entry, Fault> {
    let start = line.need("startTime", line.time("startTime", unit)?)?;
    let since = |time: Option<i128>| time.and_then(|time| u64::try_from(time - start).ok());
    let mut row = TraceRow {
        arrival_ps: start,
        input_tokens: line.tokens_of("prompt_tokens", failed)?,
        output_tokens: line.tokens_of("completion_tokens", failed)?,
        model: line.text("model_group")?.filter(|m| !m.is_empty()).or(line.text("model")?),
        ..TraceRow::default()
    };
    row.observed.e2e_ps = since(line.time("endTime", unit)?);
    row.observed.ttft_ps = if stream { since(line.time("completionStartTime", unit)?) } else { None };
    let call = line.text("call_type")?.unwrap_or_default();
    let other = ["embedding", "image", "speech", "transcription", "rerank", "moderation"].iter().any(|kind| call.contains(kind));
    let hit = line.text("cache_hit")?.is_some_and(|hit| hit.eq_ignore_ascii_case("true"));
    let reason = match (other, hit, failed) {
        (true, ..) => Some(FaultKind::NotInference),
        (_, true, _) => Some(FaultKind::FromCache),
        (_, _, true) => {
            row.observed.finish = Some(Ended::Error);
            Some(FaultKind::Failed)
        }
        _ => None,
    };
    Ok(Entry::of(row).aside(reason))
}

/// SGLang's `--export-metrics-to-file`. Of the request's parameters only limits are kept: they may hold the prompt itself.
pub fn sglang() -> Log {
    const PATHS: &[&str] = &[
        "id",
        "request_parameters",
        "request_received_ts",
        "prompt_tokens",
        "completion_tokens",
        "cached_tokens",
        "e2e_latency",
        "queue_time",
        "first_token_latency",
        "finish_reason",
    ];
    Log::new(PATHS, |line| {
        let mut row = TraceRow {
            arrival_ps: line.need("request_received_ts", line.time("request_received_ts", Unit::Seconds)?)?,
            input_tokens: line.tokens_of("prompt_tokens", false)?,
            output_tokens: line.tokens_of("completion_tokens", false)?,
            max_tokens: line.raw("request_parameters").and_then(limit),
            ..TraceRow::default()
        };
        row.observed.cached_tokens = line.tokens("cached_tokens")?;
        row.observed.e2e_ps = line.span("e2e_latency", Unit::Seconds)?;
        row.observed.queue_ps = line.span("queue_time", Unit::Seconds)?;
        row.observed.ttft_ps = line.span("first_token_latency", Unit::Seconds)?;
        row.observed.finish = line.raw("finish_reason").and_then(finish);
        let reason = match row.observed.finish {
            Some(Ended::Error) => Some(FaultKind::Failed),
            _ => None,
        };
        let id = line.text("id")?.map(|id| identity(&id));
        Ok(Entry { id, ..Entry::of(row).aside(reason) })
    })
}

/// `max_new_tokens` of parameters that are a JSON text within JSON.
fn limit(raw: &str) -> Option<u32> {
    let text: String = serde_json::from_str(raw).ok()?;
    let paths = ["sampling_params.max_new_tokens", "max_new_tokens", "max_tokens"];
    let values = Picker::new(paths).pick(&text).ok()?;
    values.into_iter().flatten().find_map(|raw| count(raw).ok()).filter(|limit| *limit > 0)
}

/// A finish reason as a word or as an object with a type.
fn finish(raw: &str) -> Option<Ended> {
    let value: Value = serde_json::from_str(raw).ok()?;
    let word = value.as_str().or_else(|| value.get("type")?.as_str())?;
    Ended::named(word)
}
