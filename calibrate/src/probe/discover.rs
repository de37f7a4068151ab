//! What the server says of itself, and whether it can be probed at all.

use serde_json::Value;

use super::client::{Answer, Client, Live, message};
use super::error::ProbeError;
use super::flight::body;
use super::metrics::Scrape;
use super::options::ProbeOptions;
use super::prompts::Prompts;
use crate::observation::{OBSERVATION_SCHEMA, ServerRecord};

/// Of the first request [tokens].
const FIRST_PROMPT: u32 = 8;
const FIRST_ANSWER: u32 = 4;

/// What was found.
#[derive(Clone, Debug)]
pub struct Discovered {
    /// For the log, its clock's beginning aside.
    pub server: ServerRecord,
    /// Whether `/metrics` can be read.
    pub metrics: bool,
    /// What is not known, and what tells it.
    pub notes: Vec<String>,
}

/// Asks the server for its model and its limits.
///
/// # Errors
/// If it is down, refuses the key, or does not have the model.
pub fn discover(client: &Client, options: &ProbeOptions) -> Result<Discovered, ProbeError> {
    let (model, entry) = model(client, options.model.as_deref())?;
    let scrape = client.get("/metrics").ok().filter(|a| a.status == 200).map(|a| Scrape::parse(&a.body));
    let scrape = scrape.filter(|scrape| scrape.engine().is_some());
    let metrics = scrape.is_some();
    let scrape = scrape.unwrap_or_default();
    let version =
        client.get("/version").ok().filter(|a| a.status == 200).and_then(|a| json(&a)["version"].as_str().map(str::to_owned));
    let owner = entry["owned_by"].as_str().filter(|owner| matches!(*owner, "vllm" | "sglang"));
    let number = |name: &str| scrape.info.get(name).and_then(|text| text.parse().ok());
    let gauge = |name: &str| scrape.named(name).filter(|value| *value >= 1.0).map(|value| value as u32);
    let said_length = entry["max_model_len"].as_u64().map(|n| n as u32).or(gauge("sglang:context_len"));
    let server = ServerRecord {
        schema: OBSERVATION_SCHEMA,
        url: client.base().to_owned(),
        model,
        engine: scrape.engine().or(owner).map(str::to_owned),
        engine_version: version,
        max_model_len: options.max_model_len.or(said_length),
        max_num_batched_tokens: options.max_num_batched_tokens,
        max_num_seqs: options.max_num_seqs,
        block_size: number("block_size").or(gauge("sglang:page_size")),
        num_gpu_blocks: number("num_gpu_blocks").or(gauge("sglang:num_pages")),
        cache_dtype: scrape.info.get("cache_dtype").cloned(),
        enable_prefix_caching: scrape.info.get("enable_prefix_caching").map(|said| said == "True"),
        started: String::new(),
        seed: options.seed,
        program: options.program.clone(),
    };
    let notes = notes(&server, metrics, &scrape);
    Ok(Discovered { server, metrics, notes })
}

fn notes(server: &ServerRecord, metrics: bool, scrape: &Scrape) -> Vec<String> {
    let mut notes = Vec::new();
    if !metrics {
        notes.push(
            "the server has no /metrics: KV blocks, preemptions, prefix hits and foreign traffic are not seen; \
             --max-num-batched-tokens and --max-num-seqs tell its limits"
                .to_owned(),
        );
    } else if server.num_gpu_blocks.is_none() || server.block_size.is_none() {
        notes.push("/metrics does not tell the KV blocks: points may be larger than the cache, which their marks show".to_owned());
    }
    if server.max_model_len.is_none() {
        notes.push(
            "the server does not tell its longest context: 2,048 tokens are taken for it; --max-model-len tells it".to_owned(),
        );
    }
    if scrape.engines > 1 {
        let engines = scrape.engines;
        notes.push(format!(
            "{engines} engines answer behind this address: batches are spread over them, and figures are of all of them"
        ));
    }
    notes
}

/// The model's name and its entry in `/v1/models`.
fn model(client: &Client, asked: Option<&str>) -> Result<(String, Value), ProbeError> {
    let base = client.base();
    let answer = client.get("/v1/models").map_err(|error| {
        let help = "start the server, or correct host and port: --url http://HOST:PORT";
        ProbeError::new(format!("no server answers at {base} (GET /v1/models): {error}"), help)
    })?;
    refused(client, "GET /v1/models", &answer)?;
    let list = json(&answer)["data"].as_array().cloned().unwrap_or_default();
    let names: Vec<&str> = list.iter().filter_map(|entry| entry["id"].as_str()).collect();
    match (asked, names.as_slice()) {
        (Some(asked), []) => Ok((asked.to_owned(), Value::Null)),
        (Some(asked), names) => match names.iter().position(|name| *name == asked) {
            Some(at) => Ok((asked.to_owned(), list[at].clone())),
            None => {
                let help = format!("it serves {}: --model {}", names.join(", "), names[0]);
                Err(ProbeError::new(format!("the server at {base} has no model `{asked}`"), help))
            }
        },
        (None, [name, ..]) => Ok(((*name).to_owned(), list[0].clone())),
        (None, []) => {
            let message = format!("{base} lists no model (GET /v1/models: {} {})", answer.status, message(&answer.body));
            Err(ProbeError::new(message, "is it an OpenAI-compatible server? If so, name the model: --model NAME"))
        }
    }
}

/// An error if the server refuses the key, or to answer at all.
fn refused(client: &Client, what: &str, answer: &Answer) -> Result<(), ProbeError> {
    let said = message(&answer.body);
    match answer.status {
        401 | 403 => {
            let state = if client.has_key() { "refuses the API key" } else { "wants an API key" };
            let help = "set TOKENTIDE_API_KEY (or OPENAI_API_KEY) in the environment; it is written nowhere";
            Err(ProbeError::new(format!("{} {state} ({what}: {} {said})", client.base(), answer.status), help))
        }
        status @ 500.. => {
            let help = "look into the server's log; try again when it is up";
            Err(ProbeError::new(format!("{} is there but fails ({what}: {status} {said})", client.base()), help))
        }
        _ => Ok(()),
    }
}

fn json(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_default()
}

/// Sends one short request, and says what is wrong if its answer is not as it must be.
///
/// # Errors
/// What kind of server it is instead, and what to change.
pub fn try_one(client: &Client, model: &str, prompts: &mut Prompts) -> Result<(), ProbeError> {
    let prompt = prompts.next(FIRST_PROMPT);
    let largest = prompt.iter().copied().max().unwrap_or_default();
    let mut answered = client.stream(&body(model, &prompt, FIRST_ANSWER), &Live::default());
    // A server that was just started, or is full at the moment, gets a second chance.
    for _ in 0..2 {
        if matches!(answered.status, 429 | 500..) {
            std::thread::sleep(std::time::Duration::from_millis(500));
            answered = client.stream(&body(model, &prompt, FIRST_ANSWER), &Live::default());
        }
    }
    let what = "POST /v1/completions";
    if let Some(error) = &answered.error {
        let said = error.strip_prefix(&answered.status.to_string()).unwrap_or(error).trim();
        refused(client, what, &Answer { status: answered.status, body: said.to_owned() })?;
        return Err(why_refused(client, answered.status, said, largest));
    }
    let tokens = answered.received.tokens();
    let shown = format!("{} ({what} of {FIRST_PROMPT} token ids, max_tokens {FIRST_ANSWER}, stream)", client.base());
    match () {
        () if tokens.events == 0 => Err(ProbeError::new(
            format!("the answer of {shown} is not a stream of events but whole"),
            "times of tokens cannot be seen: go past any proxy that gathers answers, or let the server stream",
        )),
        () if tokens.error.is_some() => {
            let error = tokens.error.unwrap_or_default();
            Err(ProbeError::new(format!("{shown} failed in the middle: {error}"), "look into the server's log"))
        }
        () if tokens.total != FIRST_ANSWER => Err(ProbeError::new(
            format!("the answer of {shown} has {} tokens", tokens.total),
            "the server must honour ignore_eos, min_tokens and max_tokens, as vLLM and SGLang do: lengths have to be exact",
        )),
        () => Ok(()),
    }
}

/// What a refusal of the first request means.
fn why_refused(client: &Client, status: u16, said: &str, largest: u32) -> ProbeError {
    let base = client.base();
    let lower = said.to_ascii_lowercase();
    let failed = format!("POST /v1/completions at {base} failed: {status} {said}");
    if status == 404 && lower.contains("model") {
        return ProbeError::new(failed, "name one of those in GET /v1/models: --model NAME");
    }
    if matches!(status, 404 | 405) {
        let chat = client.post("/v1/chat/completions", "{}").is_ok_and(|answer| !matches!(answer.status, 404 | 405));
        return if chat {
            let message = format!("{base} has /v1/chat/completions only, no /v1/completions ({status})");
            ProbeError::new(
                message,
                "prompts of exact token ids need /v1/completions: start the server with it, or probe the engine behind it",
            )
        } else {
            ProbeError::new(failed, "is it an OpenAI-compatible server? The URL is that of its root: --url http://HOST:PORT")
        };
    }
    if lower.contains("vocab") || lower.contains("token id") || lower.contains("token_id") {
        let message = format!("the server refuses token ids such as {largest} ({status} {said})");
        return ProbeError::new(message, "set the range to ids that the model has, without its special ones: --vocab LOW,HIGH");
    }
    if matches!(status, 400 | 422) {
        let help = "it must take prompts of token ids with ignore_eos, min_tokens and stream_options, as vLLM and SGLang do";
        return ProbeError::new(failed, help);
    }
    if status == 0 {
        let message = format!("POST /v1/completions at {base} failed: {said}");
        return ProbeError::new(message, "the server closed the connection or did not answer in time: look into its log");
    }
    ProbeError::new(failed, "look into the server's log")
}
