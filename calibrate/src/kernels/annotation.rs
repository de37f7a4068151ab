//! What a server's own spans say of a step.
//!
//! | span | written by |
//! |---|---|
//! | `execute_context_C(T)_generation_G(D)` | vLLM: C requests in prefill with T tokens, G decodes with D tokens |
//! | `execute_N_context_C(sqT..)_generation_G(sqD..)` | vLLM with `detailed_trace_annotation`: contexts and query-key pairs too |
//! | `execute_new_N_cached_M` | vLLM of late 2025: requests only |
//! | `step[EXTEND bs=B toks=T]`, `step[DECODE bs=B]`, `step[MIXED bs=B]` | SGLang since April 2026; with contexts if asked |
//! | `ProfilerStep#N` | `torch.profiler`, where a schedule steps it |
//!
//! Sources: `annotate_profile` in vLLM's `v1/worker/gpu_worker.py` (pull requests 22496, 31193, 37524), `build_step_span_name` in
//! SGLang's `model_executor` (23419).

use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde::Serialize;

/// Who marked the steps, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Marker {
    /// vLLM's spans.
    Vllm,
    /// SGLang's spans.
    Sglang,
    /// The profiler's own.
    ProfilerStep,
    /// Nobody: a kernel that comes once in each step.
    Repetition,
    /// Nobody, and no kernel repeats: all is one step.
    Nothing,
}

/// What a step computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Composition {
    /// Requests in prefill.
    pub prefill_requests: u32,
    /// Their tokens in this step.
    pub prefill_tokens: u32,
    /// Decoding requests.
    pub decodes: u32,
    /// Their tokens in this step; more than `decodes` with speculative decoding.
    pub decode_tokens: u32,
}

/// Context that a step attended to, where the server says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Contexts {
    /// Of the requests in prefill: tokens computed before, and those of this step, summed up.
    pub prefill_context: u64,
    /// Of the requests in prefill: tokens of this step times their context, summed up. Queries times keys; of those a causal mask
    /// leaves out half of the step's own square.
    pub prefill_pairs: u64,
    /// Of the decodes: context with this step's tokens, summed up.
    pub decode_context: u64,
}

/// What a span says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Who wrote it.
    pub marker: Marker,
    /// What the step computed, if it is said.
    pub composition: Option<Composition>,
    /// Over what context, if it is said.
    pub contexts: Option<Contexts>,
    /// Whether there was nothing to compute.
    pub idle: bool,
}

impl Mark {
    fn unknown(marker: Marker) -> Mark {
        Mark { marker, composition: None, contexts: None, idle: false }
    }

    /// What the span of this name says; `None` if it marks no step.
    pub fn parse(span: &str) -> Option<Mark> {
        if let Some(found) = VLLM.captures(span) {
            let composition = Composition {
                prefill_requests: number(&found, "c")?,
                prefill_tokens: number(&found, "t")?,
                decodes: number(&found, "g")?,
                decode_tokens: number(&found, "d")?,
            };
            let contexts = || {
                let sum = |name| found.name(name)?.as_str().parse().ok();
                Some(Contexts { prefill_context: sum("csk")?, prefill_pairs: sum("cqk")?, decode_context: sum("gsk")? })
            };
            let idle = composition.prefill_tokens == 0 && composition.decode_tokens == 0;
            return Some(Mark { marker: Marker::Vllm, composition: Some(composition), contexts: contexts(), idle });
        }
        if let Some(found) = VLLM_OLD.captures(span) {
            let idle = number::<u32>(&found, "new")? == 0 && number::<u32>(&found, "cached")? == 0;
            return Some(Mark { idle, ..Mark::unknown(Marker::Vllm) });
        }
        if let Some(found) = SGLANG.captures(span) {
            return sglang(&found);
        }
        span.starts_with("ProfilerStep#").then_some(Mark::unknown(Marker::ProfilerStep))
    }
}

static VLLM: LazyLock<Regex> = LazyLock::new(|| {
    let group = |sums: &str| format!(r"(?:sk(?P<{sums}sk>\d+)sqsq\d+sqsk(?P<{sums}qk>\d+))?");
    let (context, generation) = (group("c"), group("g"));
    let head = r"^execute_(?:\d+_)?context_(?P<c>\d+)\((?:sq)?(?P<t>\d+)";
    Regex::new(&format!(r"{head}{context}\)_generation_(?P<g>\d+)\((?:sq)?(?P<d>\d+){generation}\)$")).expect("a good pattern")
});

static VLLM_OLD: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^execute_new_(?P<new>\d+)_cached_(?P<cached>\d+)$").expect("a good pattern"));

static SGLANG: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^step\[(?P<mode>\w+) bs=(?P<bs>\d+)(?: toks=(?P<toks>\d+))?(?P<more>(?: \w+=\d+)*)\]$").expect("a good pattern")
});

fn number<T: std::str::FromStr>(found: &Captures<'_>, name: &str) -> Option<T> {
    found.name(name)?.as_str().parse().ok()
}

fn sglang(found: &Captures<'_>) -> Option<Mark> {
    let requests: u32 = number(found, "bs")?;
    let more = found.name("more").map_or("", |more| more.as_str());
    let sum = |key: &str| -> Option<u64> {
        more.split(' ').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('=')).and_then(|value| value.parse().ok())
    };
    let small = |key: &str| sum(key).and_then(|value| u32::try_from(value).ok());
    let mode = &found["mode"];
    let composition =
        match mode {
            "EXTEND" => number(found, "toks").map(|prefill_tokens| Composition {
                prefill_requests: requests,
                prefill_tokens,
                ..Composition::default()
            }),
            "DECODE" => Some(Composition { decodes: requests, decode_tokens: requests, ..Composition::default() }),
            "MIXED" => small("c").zip(small("c_sq")).zip(small("g")).map(|((prefill_requests, prefill_tokens), decodes)| {
                Composition { prefill_requests, prefill_tokens, decodes, decode_tokens: decodes }
            }),
            _ => None,
        };
    let contexts = (sum("c_sk").is_some() || sum("g_sk").is_some()).then(|| Contexts {
        prefill_context: sum("c_sk").unwrap_or(0),
        prefill_pairs: sum("c_sqsk").unwrap_or(0),
        decode_context: sum("g_sk").unwrap_or(0),
    });
    Some(Mark { marker: Marker::Sglang, composition, contexts, idle: mode == "IDLE" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(span: &str) -> (Option<Composition>, Option<Contexts>, bool) {
        let mark = Mark::parse(span).unwrap();
        (mark.composition, mark.contexts, mark.idle)
    }

    fn mix(prefill_requests: u32, prefill_tokens: u32, decodes: u32, decode_tokens: u32) -> Option<Composition> {
        Some(Composition { prefill_requests, prefill_tokens, decodes, decode_tokens })
    }

    #[test]
    fn vllm_says_what_a_step_computed() {
        assert_eq!(of("execute_context_1(96)_generation_8(8)"), (mix(1, 96, 8, 8), None, false));
        assert_eq!(of("execute_context_0(0)_generation_0(0)"), (mix(0, 0, 0, 0), None, true));
        let detailed = "execute_131_context_3(sq128sk256sqsq6000sqsk12000)_generation_2(sq3sk300sqsq5sqsk450)";
        let contexts = Contexts { prefill_context: 256, prefill_pairs: 12000, decode_context: 300 };
        assert_eq!(of(detailed), (mix(3, 128, 2, 3), Some(contexts), false));
        assert_eq!(of("execute_new_0_cached_4"), (None, None, false));
        assert_eq!(of("execute_new_0_cached_0"), (None, None, true));
    }

    #[test]
    fn sglang_says_it_of_pure_steps() {
        assert_eq!(of("step[DECODE bs=63]"), (mix(0, 0, 63, 63), None, false));
        assert_eq!(of("step[EXTEND bs=17 toks=8192]"), (mix(17, 8192, 0, 0), None, false));
        let contexts = Contexts { prefill_context: 0, prefill_pairs: 0, decode_context: 11011 };
        assert_eq!(of("step[DECODE bs=128 g_sqsq=128 g_sqsk=11011 g_sk=11011]"), (mix(0, 0, 128, 128), Some(contexts), false));
        assert_eq!(of("step[MIXED bs=2]"), (None, None, false));
        let mixed = "step[MIXED bs=3 c=1 g=2 c_sq=96 c_sk=96 c_sqsq=9216 c_sqsk=9216 g_sq=2 g_sk=70 g_sqsq=2 g_sqsk=70]";
        assert_eq!(of(mixed).0, mix(1, 96, 2, 2));
        assert!(of("step[IDLE bs=0]").2);
    }

    #[test]
    fn other_spans_mark_no_step() {
        assert_eq!(Mark::parse("ProfilerStep#12").unwrap().marker, Marker::ProfilerStep);
        for span in ["nccl:all_reduce", "scheduler.run_batch", "execute_context_1(96)", "gpu_model_runner: forward"] {
            assert_eq!(Mark::parse(span), None);
        }
    }
}
