//! Spans: OTLP as JSON, dumps of spans, Langfuse observations. Names of attributes move, so each meaning has a list of them.

use std::collections::HashMap;

use serde_json::Value;

use crate::document::Node;
use crate::entry::Entry;
use crate::error::{Fault, FaultKind, TraceError};
use crate::number::Unit;
use crate::row::{Ended, TraceRow, identity};

/// Names of one attribute; the first that is there counts.
type Names = &'static [&'static str];

const OPERATION: Names = &["gen_ai.operation.name"];
const INFERENCE: Names = &["chat", "text_completion", "generate_content"];
const INPUT: Names = &["gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt"];
const OUTPUT: Names = &["gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion"];
const CACHED: Names = &["gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cached_tokens"];
const REASONING: Names = &["gen_ai.usage.reasoning.output_tokens"];
const MAX_TOKENS: Names = &["gen_ai.request.max_tokens"];
const SESSION: Names = &["gen_ai.conversation.id", "session.id"];
const TTFT: Names = &["gen_ai.response.time_to_first_chunk", "gen_ai.latency.time_to_first_token"];
const QUEUE: Names = &["gen_ai.latency.time_in_queue"];
const MODEL: Names = &["gen_ai.request.model", "gen_ai.response.model"];
const FINISH: Names = &["gen_ai.response.finish_reasons"];
const TENANT: Names = &["tenant.id", "user.id", "enduser.id"];
const ROUTE: Names = &["http.route", "url.path"];

/// A span.
struct Span {
    attributes: HashMap<String, Value>,
    trace: String,
    id: String,
    parent: Option<String>,
    start_ps: i128,
    end_ps: i128,
    failed: bool,
}

impl Span {
    fn of(&self, names: Names) -> Option<&Value> {
        names.iter().find_map(|name| self.attributes.get(*name)).filter(|value| !value.is_null())
    }

    fn text(&self, names: Names) -> Option<String> {
        match self.of(names)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Array(values) => values.first()?.as_str().map(str::to_owned),
            _ => None,
        }
    }

    /// A number, which may be written as a text.
    fn number(&self, names: Names) -> Option<f64> {
        let value = self.of(names)?;
        value.as_f64().or_else(|| value.as_str()?.parse().ok()).filter(|number| number.is_finite() && *number >= 0.0)
    }

    fn tokens(&self, names: Names) -> Option<u32> {
        self.number(names).filter(|n| n.fract() == 0.0 && *n < f64::from(u32::MAX)).map(|n| n as u32)
    }

    fn is_inference(&self) -> bool {
        match self.text(OPERATION) {
            Some(name) => INFERENCE.contains(&name.as_str()),
            // Spans of engines have no such attribute.
            None => self.of(INPUT).is_some(),
        }
    }

    fn entry(&self) -> Entry {
        let ps = |names| self.number(names).map(|s| (s * 1e12).round() as u64);
        let mut row = TraceRow {
            arrival_ps: self.start_ps,
            input_tokens: self.tokens(INPUT).unwrap_or(0),
            output_tokens: self.tokens(OUTPUT).unwrap_or(0),
            max_tokens: self.tokens(MAX_TOKENS).filter(|max| *max > 0),
            model: self.text(MODEL),
            session: Some(self.text(SESSION).unwrap_or_else(|| self.trace.clone())).filter(|session| !session.is_empty()),
            tenant: self.text(TENANT),
            route: self.text(ROUTE),
            ..TraceRow::default()
        };
        row.observed.cached_tokens = self.tokens(CACHED);
        row.observed.reasoning_tokens = self.tokens(REASONING);
        row.observed.ttft_ps = ps(TTFT);
        row.observed.queue_ps = ps(QUEUE);
        row.observed.e2e_ps = u64::try_from(self.end_ps - self.start_ps).ok();
        row.observed.finish = self.text(FINISH).and_then(|word| Ended::named(&word));
        let reason = match (self.is_inference(), self.failed, self.tokens(INPUT).is_some()) {
            (false, ..) => Some(FaultKind::NotInference),
            (_, true, _) => Some(FaultKind::Failed),
            (_, _, false) => Some(FaultKind::NoTokens),
            _ => None,
        };
        Entry { id: Some(identity(&format!("{}/{}", self.trace, self.id))), ..Entry::of(row).aside(reason) }
    }
}

/// One layer of nested spans: a gateway's, an SDK's and an engine's span tell of one request. The deepest that has token counts
/// is kept.
fn entries(spans: &[Span], out: &mut Vec<Entry>) {
    let tells = |span: &Span| span.is_inference() && span.of(INPUT).is_some();
    let place = |span: &Span| (span.trace.clone(), span.id.clone());
    let at: HashMap<(String, String), usize> = spans.iter().enumerate().map(|(i, span)| (place(span), i)).collect();
    let mut repeated = vec![false; spans.len()];
    for span in spans.iter().filter(|span| tells(span)) {
        let mut above = span.parent.clone();
        // Bounded, since ids may name each other in a circle.
        for _ in 0..64 {
            let Some(&index) = above.and_then(|id| at.get(&(span.trace.clone(), id))) else { break };
            repeated[index] |= tells(&spans[index]);
            above = spans[index].parent.clone();
        }
    }
    for (span, repeated) in spans.iter().zip(repeated) {
        out.push(span.entry().aside(repeated.then_some(FaultKind::Repeated)));
    }
}

/// OTLP: `resourceSpans[].scopeSpans[].spans[]`, numbers as texts.
///
/// # Errors
/// If a span has no time.
pub fn otlp(root: &Node<'_>, out: &mut Vec<Entry>) -> Result<(), TraceError> {
    let mut spans = Vec::new();
    for resource in root.need("resourceSpans")?.items() {
        for scope in resource.get("scopeSpans").iter().flat_map(|list| list.items().collect::<Vec<_>>()) {
            for span in scope.get("spans").iter().flat_map(|list| list.items().collect::<Vec<_>>()) {
                spans.push(otlp_span(&span)?);
            }
        }
    }
    entries(&spans, out);
    Ok(())
}

fn otlp_span(node: &Node<'_>) -> Result<Span, TraceError> {
    let time = |key: &str| {
        let stamp = node.need(key)?;
        let text = stamp.text().map_or_else(|| stamp.value().to_string(), str::to_owned);
        Unit::Nanoseconds.parse(&text).map_err(|fault| stamp.error(fault.kind, "expected nanoseconds since 1970"))
    };
    let text = |key: &str| node.get(key).and_then(|n| n.text()).unwrap_or_default().to_owned();
    let mut attributes = HashMap::new();
    for attribute in node.get("attributes").iter().flat_map(|list| list.items().collect::<Vec<_>>()) {
        if let (Some(key), Some(value)) = (attribute.get("key").and_then(|k| k.text()), attribute.get("value")) {
            attributes.insert(key.to_owned(), untagged(value.value()));
        }
    }
    let failed = node.at(&["status", "code"]).is_some_and(|code| failed_status(code.value()))
        || attributes.get("error.type").is_some_and(|error| !error.is_null());
    Ok(Span {
        trace: text("traceId"),
        id: text("spanId"),
        parent: Some(text("parentSpanId")).filter(|id| !id.is_empty()),
        start_ps: time("startTimeUnixNano")?,
        end_ps: time("endTimeUnixNano")?,
        attributes,
        failed,
    })
}

/// The value in a tagged one: `{"intValue": "64"}` -> `"64"`.
fn untagged(value: &Value) -> Value {
    let Some((tag, inner)) = value.as_object().and_then(|object| object.iter().next()) else { return value.clone() };
    match (tag.as_str(), inner.get("values").and_then(Value::as_array)) {
        ("arrayValue", Some(values)) => Value::Array(values.iter().map(untagged).collect()),
        _ => inner.clone(),
    }
}

fn failed_status(code: &Value) -> bool {
    code.as_i64() == Some(2) || code.as_str() == Some("STATUS_CODE_ERROR")
}

/// A dump: `{"spans": [{"span_id", "start_time", "attributes": {...}}]}`.
///
/// # Errors
/// If a span has no time.
pub fn dump(root: &Node<'_>, out: &mut Vec<Entry>) -> Result<(), TraceError> {
    let mut spans = Vec::new();
    for node in root.need("spans")?.items() {
        let time = |key: &str| calendar(&node, key);
        let text = |key: &str| node.get(key).and_then(|n| n.text()).map(str::to_owned);
        let attributes = node.get("attributes").and_then(|a| a.value().as_object().cloned()).unwrap_or_default();
        spans.push(Span {
            trace: text("trace_id").unwrap_or_default(),
            id: text("span_id").unwrap_or_default(),
            parent: text("parent_span_id"),
            start_ps: time("start_time")?,
            end_ps: time("end_time")?,
            failed: node.at(&["status", "code"]).is_some_and(|code| failed_status(code.value())),
            attributes: attributes.into_iter().collect(),
        });
    }
    entries(&spans, out);
    Ok(())
}

fn calendar(node: &Node<'_>, key: &str) -> Result<i128, TraceError> {
    let stamp = node.need(key)?;
    let text = stamp.text().unwrap_or_default();
    Unit::Calendar.parse(text).map_err(|Fault { kind, expected, .. }| stamp.error(kind, &expected))
}

/// Langfuse's observations: a page of them (`data`), or one.
///
/// # Errors
/// If a generation lacks what it must have.
pub fn langfuse(root: &Node<'_>, out: &mut Vec<Entry>) -> Result<(), TraceError> {
    match root.get("data") {
        Some(data) => {
            for node in data.items() {
                out.push(observation(&node)?);
            }
        }
        None => out.push(observation(root)?),
    }
    Ok(())
}

fn observation(node: &Node<'_>) -> Result<Entry, TraceError> {
    let start = calendar(node, "startTime")?;
    let text = |key: &str| node.get(key).and_then(|n| n.text()).map(str::to_owned);
    let id = text("id").map(|id| identity(&id));
    if text("type").as_deref() != Some("GENERATION") {
        let row = TraceRow { arrival_ps: start, ..TraceRow::default() };
        return Ok(Entry { id, ..Entry::of(row).aside(Some(FaultKind::NotInference)) });
    }
    let usage = node.get("usageDetails");
    // The cached part may have a key of its own: a prompt is the sum of all that begin with `input`.
    let sum = |of: &str| -> Result<Option<u32>, TraceError> {
        let Some(usage) = &usage else { return Ok(None) };
        let mut total = None;
        for key in usage.value().as_object().into_iter().flat_map(|object| object.keys()).filter(|key| key.starts_with(of)) {
            total = Some(total.unwrap_or(0u32).saturating_add(usage.need(key)?.count(0)?));
        }
        Ok(total)
    };
    let (input, output) = (sum("input")?, sum("output")?);
    let since = |key: &str| -> Result<Option<u64>, TraceError> {
        node.get(key).map(|_| calendar(node, key)).transpose().map(|time| time.and_then(|t| u64::try_from(t - start).ok()))
    };
    let mut row = TraceRow {
        arrival_ps: start,
        input_tokens: input.unwrap_or(0),
        output_tokens: output.unwrap_or(0),
        model: text("model"),
        session: text("sessionId").or(text("traceId")),
        max_tokens: node.at(&["modelParameters", "max_tokens"]).and_then(|n| n.count(1).ok()),
        ..TraceRow::default()
    };
    row.observed.ttft_ps = since("completionStartTime")?;
    row.observed.e2e_ps = since("endTime")?;
    row.observed.cached_tokens =
        usage.as_ref().and_then(|usage| usage.get("input_cached_tokens")).map(|n| n.count(0)).transpose()?;
    if let (Some(input), Some(output), Some(total)) = (input, output, usage.as_ref().and_then(|usage| usage.get("total"))) {
        let stated = total.count(0)?;
        let sum = u64::from(input) + u64::from(output);
        if u64::from(stated) != sum {
            let expected = format!("input and output add up to {sum}");
            return Err(total.error(FaultKind::BadSources, &expected));
        }
    }
    let failed = text("level").as_deref() == Some("ERROR");
    let reason = match (failed, input.is_some()) {
        (true, _) => Some(FaultKind::Failed),
        (_, false) => Some(FaultKind::NoTokens),
        _ => None,
    };
    Ok(Entry { id, ..Entry::of(row).aside(reason) })
}
