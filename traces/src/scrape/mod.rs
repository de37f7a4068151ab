//! What a server's metrics tell of its load: pages of vLLM or SGLang, one or several scrapes of them.
//!
//! A page has distributions, each by itself, and no requests: which prompt got which answer, when requests came between two
//! scrapes, which of them belong together, is not in it.

pub mod histogram;
pub mod names;
pub mod sample;
mod series;

use std::io::Read;
use std::path::{Path, PathBuf};

pub use histogram::Histogram;
use serde::Serialize;

use self::names::{Names, PREEMPTIONS, PROMPT_TOKENS, RUNNING, WAITING};
use self::series::{Labels, Pages};
use crate::bytes::Bytes;
use crate::error::{Fault, FaultKind, TraceError};

// Histograms, without the ends of their series.
const PROMPT: Names = &["vllm:request_prompt_tokens", "sglang:prompt_tokens_histogram"];
const GENERATION: Names = &["vllm:request_generation_tokens", "sglang:generation_tokens_histogram"];
const MAX_TOKENS: Names = &["vllm:request_params_max_tokens"];
const TTFT: Names = &["vllm:time_to_first_token_seconds", "sglang:time_to_first_token_seconds"];
const ITL: Names =
    &["vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds", "sglang:inter_token_latency_seconds"];
const E2E: Names = &["vllm:e2e_request_latency_seconds", "sglang:e2e_request_latency_seconds"];
const QUEUE: Names = &["vllm:request_queue_time_seconds", "sglang:queue_time_seconds"];
/// Prompt tokens found in a cache, where prompt tokens that were computed are not counted.
const HITS: Names = &[
    "vllm:prompt_tokens_cached_total",
    "vllm:prefix_cache_hits_total",
    "vllm:gpu_prefix_cache_hits_total",
    "sglang:cached_tokens_total",
];

/// Latencies that are compared, by their names here.
pub const LATENCIES: [(&str, Names); 4] = [("ttft", TTFT), ("itl", ITL), ("e2e", E2E), ("queue", QUEUE)];

/// How pages are read.
#[derive(Clone, Debug, Default)]
pub struct ScrapeOptions {
    /// Between two pages without time stamps; of a single page, since its server began to count [s].
    pub interval_s: Option<f64>,
    /// Of pages that serve several models, the one that counts (`model_name`).
    pub model: Option<String>,
}

/// What the pages say of the load, between the first and the last of them, or since the server began to count.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Load {
    /// `vllm` or `sglang`.
    pub engine: &'static str,
    /// Model that is served.
    pub model: Option<String>,
    /// Scrapes.
    pub scrapes: usize,
    /// Engines of replicas.
    pub servers: usize,
    /// How many of them began anew between scrapes: what they counted since the scrape before is lost.
    pub restarts: usize,
    /// Time that is covered [s], if it is known.
    pub span_s: Option<f64>,
    /// Requests that finished, over which lengths are counted.
    pub finished: f64,
    /// Waiting at the end.
    pub waiting: Option<f64>,
    /// Preemptions.
    pub preemptions: Option<f64>,
    /// Requests that came, by interval: (start [s], end [s], requests). Empty without times.
    pub arrivals: Vec<(f64, f64, f64)>,
    /// Prompts [tokens].
    pub prompt: Histogram,
    /// Answers [tokens].
    pub generation: Histogram,
    /// What was asked for, if all asked for the same [tokens].
    pub max_tokens: Option<u32>,
    /// Of the prompt tokens, the share that was found in the prefix cache; `None` if nothing tells.
    pub hit_share: Option<f64>,
    /// Latencies [s], by [`LATENCIES`].
    pub latencies: Vec<(&'static str, Histogram)>,
    /// Longest sequence, if the page tells [tokens].
    pub context: Option<u32>,
    /// Tokens of a block of the KV cache.
    pub block_tokens: Option<u32>,
}

/// What of a load is shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LoadFigures {
    /// Requests that finished.
    pub finished: f64,
    /// Arrivals [1/s].
    pub rate: Option<f64>,
    /// Mean prompt [tokens].
    pub prompt_mean: f64,
    /// Mean answer [tokens].
    pub generation_mean: f64,
    /// Of the prompt tokens, found in the prefix cache.
    pub hit_share: Option<f64>,
}

impl Load {
    /// Reads pages in the order of their scrapes.
    ///
    /// # Errors
    /// If one cannot be read, they do not belong together, or lengths are not in them.
    pub fn read(paths: &[PathBuf], options: &ScrapeOptions) -> Result<Load, TraceError> {
        let pages = Pages::read(paths)?;
        let last = paths.last().cloned().unwrap_or_default();
        Load::of(&pages, options).map_err(|fault| TraceError { file: last, line: None, fault: Box::new(fault) })
    }

    /// The same of a page that is not in a file.
    ///
    /// # Errors
    /// See [`Load::read`].
    pub fn of_text(text: &str, options: &ScrapeOptions) -> Result<Load, TraceError> {
        let pages = Pages::of_text(text)?;
        Load::of(&pages, options).map_err(|fault| TraceError { file: PathBuf::new(), line: None, fault: Box::new(fault) })
    }

    fn of(pages: &Pages, options: &ScrapeOptions) -> Result<Load, Fault> {
        let model = model(pages, options)?;
        let wanted = |labels: &Labels| labels.get("model_name").is_none_or(|name| Some(name) == model.as_ref());
        let find = |names: Names| names.iter().copied().find(|name| pages.has(name));
        let histogram = |names: Names| -> Result<Option<(&'static str, Histogram)>, Fault> {
            let name = names.iter().copied().find(|name| pages.has(&format!("{name}_bucket")));
            let Some(name) = name else { return Ok(None) };
            let found = pages.histogram(name, &wanted).map_err(|why| Fault::new(FaultKind::BadMetric, why))?;
            Ok(found.map(|histogram| (name, histogram)))
        };
        let engine = pages.engine();
        let need = |names: Names| {
            histogram(names)?.ok_or_else(|| {
                let advice = if engine == "sglang" { ": SGLang counts them with --collect-tokens-histogram" } else { "" };
                let name = names.iter().find(|name| name.starts_with(engine)).unwrap_or(&names[0]);
                Fault::new(FaultKind::Empty, format!("no histogram {name} is in it{advice}"))
            })
        };
        let ((prompt_name, prompt), (_, generation)) = (need(PROMPT)?, need(GENERATION)?);
        if prompt.count() < 1.0 || generation.count() < 1.0 {
            return Err(Fault::new(FaultKind::Empty, "no request finished between these scrapes"));
        }
        let gauge = |names: Names| find(names).and_then(|name| pages.gauge(name, &wanted));
        let in_flight = gauge(RUNNING).zip(gauge(WAITING)).map(|((running, _), (waiting, _))| {
            running.iter().zip(&waiting).map(|(running, waiting)| running + waiting).collect::<Vec<f64>>()
        });
        let times = times(pages, options.interval_s)?;
        let finished = pages.by_scrape(&format!("{prompt_name}_count"), &wanted);
        // What came is what finished, and what is there in addition.
        let arrived = |k: usize| (finished[k] + in_flight.as_ref().map_or(0.0, |growth| growth[k])).max(0.0);
        let arrivals = match &times {
            Some(times) if pages.times.len() > 1 => (1..times.len()).map(|k| (times[k - 1], times[k], arrived(k))).collect(),
            Some(times) => vec![(0.0, times[0], arrived(0))],
            None => Vec::new(),
        };
        let mut latencies = Vec::new();
        for (name, names) in LATENCIES {
            latencies.extend(histogram(names)?.filter(|(_, found)| found.count() > 0.0).map(|(_, found)| (name, found)));
        }
        let whole = |text: Option<&String>| text.and_then(|text| text.parse().ok()).filter(|n: &u32| *n > 0);
        let gauge_of = |name: &str| pages.gauge(name, &|_| true).map(|(_, last)| last as u32).filter(|n| *n > 0);
        Ok(Load {
            engine,
            scrapes: pages.times.len(),
            servers: pages.servers(&format!("{prompt_name}_count"), &wanted),
            restarts: pages.restarts(),
            span_s: arrivals.first().zip(arrivals.last()).map(|(first, last)| last.1 - first.0),
            finished: prompt.count(),
            waiting: gauge(WAITING).map(|(_, last)| last),
            preemptions: find(PREEMPTIONS).and_then(|name| pages.grown(name, &wanted)),
            arrivals,
            max_tokens: histogram(MAX_TOKENS)?.and_then(|(_, asked)| asked.only()),
            hit_share: hit_share(pages, &wanted),
            latencies,
            context: gauge_of("sglang:context_len"),
            block_tokens: whole(pages.labels("vllm:cache_config_info").and_then(|labels| labels.get("block_size")))
                .or(gauge_of("sglang:page_size")),
            model,
            prompt,
            generation,
        })
    }

    /// What is shown of it.
    pub fn figures(&self) -> LoadFigures {
        LoadFigures {
            finished: self.finished,
            rate: self.span_s.map(|span| self.arrivals.iter().map(|(_, _, count)| count).sum::<f64>() / span),
            prompt_mean: self.prompt.mean(),
            generation_mean: self.generation.mean(),
            hit_share: self.hit_share,
        }
    }
}

/// The model whose metrics count: the only one, or the one that is asked for.
fn model(pages: &Pages, options: &ScrapeOptions) -> Result<Option<String>, Fault> {
    let names: Vec<&str> = pages.values("model_name").into_iter().collect();
    let all = names.join(", ");
    match (&options.model, &names[..]) {
        (None, []) => Ok(None),
        (None, [only]) => Ok(Some((*only).to_owned())),
        (Some(name), known) if known.contains(&name.as_str()) => Ok(Some(name.clone())),
        (None, _) => {
            let why = format!("these pages serve several models: choose one with --served-model: {all}");
            Err(Fault::new(FaultKind::BadSetting, why))
        }
        (Some(name), _) => Err(Fault::new(FaultKind::BadSetting, format!("no model `{name}` is served, but {all}"))),
    }
}

/// Whether a file is a metrics page, by its first line.
///
/// # Errors
/// If it cannot be read.
pub fn is_page(path: &Path) -> Result<bool, TraceError> {
    if path.is_dir() {
        return Ok(false);
    }
    let mut bytes = Bytes::open(path)?;
    let mut head = Vec::new();
    // What is damaged is said when it is read.
    let _ = bytes.reader().take(256).read_to_end(&mut head);
    Ok(starts_page(&String::from_utf8_lossy(&head)))
}

/// Whether a text begins as a metrics page does.
pub fn starts_page(text: &str) -> bool {
    let line = text.trim_start_matches('\u{feff}').trim_start().lines().next().unwrap_or_default();
    let commented = ["# HELP ", "# TYPE ", "# UNIT "].iter().any(|start| line.starts_with(start));
    commented || line.starts_with("vllm:") || line.starts_with("sglang:")
}

/// Times of the scrapes from the first [s]; of a page alone, how long it has counted.
fn times(pages: &Pages, interval_s: Option<f64>) -> Result<Option<Vec<f64>>, Fault> {
    if pages.times.len() == 1 {
        return Ok(interval_s.map(|interval| vec![interval]));
    }
    let stamps: Option<Vec<f64>> = pages.times.iter().copied().collect();
    match (stamps, interval_s) {
        (Some(_), Some(_)) => {
            Err(Fault::new(FaultKind::BadSetting, "samples of these pages have time stamps: --interval is not needed"))
        }
        (Some(stamps), None) => Ok(Some(stamps.iter().map(|time| time - stamps[0]).collect())),
        (None, interval) => Ok(interval.map(|interval| (0..pages.times.len()).map(|k| k as f64 * interval).collect())),
    }
}

/// Share of the prompt tokens that was found in a cache. What was computed is the surest: tokens from elsewhere are no work either.
fn hit_share(pages: &Pages, wanted: &dyn Fn(&Labels) -> bool) -> Option<f64> {
    let with = |name: &str, label: &str, value: &str| {
        pages.grown(name, &|labels| wanted(labels) && labels.get(label).is_some_and(|v| v == value))
    };
    let find = |names: Names| names.iter().find_map(|name| pages.grown(name, wanted));
    let (computed, all) = match with("vllm:prompt_tokens_by_source_total", "source", "local_compute") {
        Some(computed) => (computed, pages.grown("vllm:prompt_tokens_by_source_total", wanted)?),
        None => match with("sglang:realtime_tokens_total", "mode", "prefill_compute") {
            Some(computed) => (computed, computed + with("sglang:realtime_tokens_total", "mode", "prefill_cache").unwrap_or(0.0)),
            None => {
                let all = find(PROMPT_TOKENS)?;
                (all - find(HITS)?, all)
            }
        },
    };
    (all > 0.0).then(|| (1.0 - computed / all).clamp(0.0, 1.0))
}
