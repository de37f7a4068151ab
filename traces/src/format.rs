//! Which formats there are, and how a file is told to be one of them: by its keys or columns, never by its name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Format of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TraceFormat {
    /// Look at the header or the first keys.
    Detect,
    /// `arrival_s, input_tokens, output_tokens, ...`.
    Native,
    /// By `columns`.
    Mapped,
    /// Azure LLM 2023, 2024, and 2025 with images.
    Azure,
    /// BurstGPT, versions 1 to 3.
    Burstgpt,
    /// Vidur, and what else has its columns.
    Vidur,
    /// Mooncake JSONL with `hash_ids`.
    Mooncake,
    /// Bailian (qwen-bailian) JSONL: chats with `hash_ids`.
    Bailian,
    /// LLMServingSim JSONL: requests, and sessions of calls.
    Llmservingsim,
    /// AIPerf's input of sessions, whose turns are deltas.
    AiperfSessions,
    /// Weka agentic traces (cc-traces): a session an object.
    Weka,
    /// A pool of ServeGen's clients: a folder or a tar.
    Servegen,
    /// `vllm bench serve --save-detailed`, and SGLang's `bench_serving --output-details`.
    VllmBench,
    /// A GuideLLM report.
    Guidellm,
    /// AIPerf's `profile_export.jsonl`.
    AiperfExport,
    /// inference-perf's `per_request_lifecycle_metrics.json`.
    InferencePerf,
    /// The log of `tokentide calibrate probe`.
    Probe,
    /// SGLang's request log (`--export-metrics-to-file`).
    SglangLog,
    /// LiteLLM's standard logging payload, JSONL.
    Litellm,
    /// LiteLLM's SpendLogs rows, JSONL.
    LitellmSpend,
    /// OpenTelemetry GenAI spans, OTLP as JSON.
    Otlp,
    /// A dump of spans (`trace_id`, `spans`).
    SpanDump,
    /// Langfuse observations.
    Langfuse,
}

impl TraceFormat {
    /// All that a file can be of.
    pub const ALL: [TraceFormat; 22] = [
        TraceFormat::Native,
        TraceFormat::Mapped,
        TraceFormat::Azure,
        TraceFormat::Burstgpt,
        TraceFormat::Vidur,
        TraceFormat::Mooncake,
        TraceFormat::Bailian,
        TraceFormat::Llmservingsim,
        TraceFormat::AiperfSessions,
        TraceFormat::Weka,
        TraceFormat::Servegen,
        TraceFormat::VllmBench,
        TraceFormat::Guidellm,
        TraceFormat::AiperfExport,
        TraceFormat::InferencePerf,
        TraceFormat::Probe,
        TraceFormat::SglangLog,
        TraceFormat::Litellm,
        TraceFormat::LitellmSpend,
        TraceFormat::Otlp,
        TraceFormat::SpanDump,
        TraceFormat::Langfuse,
    ];

    /// Name in scenarios, options and messages.
    pub fn name(self) -> &'static str {
        match self {
            TraceFormat::Detect => "detect",
            TraceFormat::Native => "native",
            TraceFormat::Mapped => "mapped",
            TraceFormat::Azure => "azure",
            TraceFormat::Burstgpt => "burstgpt",
            TraceFormat::Vidur => "vidur",
            TraceFormat::Mooncake => "mooncake",
            TraceFormat::Bailian => "bailian",
            TraceFormat::Llmservingsim => "llmservingsim",
            TraceFormat::AiperfSessions => "aiperf-sessions",
            TraceFormat::Weka => "weka",
            TraceFormat::Servegen => "servegen",
            TraceFormat::VllmBench => "vllm-bench",
            TraceFormat::Guidellm => "guidellm",
            TraceFormat::AiperfExport => "aiperf-export",
            TraceFormat::InferencePerf => "inference-perf",
            TraceFormat::Probe => "probe",
            TraceFormat::SglangLog => "sglang-log",
            TraceFormat::Litellm => "litellm",
            TraceFormat::LitellmSpend => "litellm-spend",
            TraceFormat::Otlp => "otlp",
            TraceFormat::SpanDump => "span-dump",
            TraceFormat::Langfuse => "langfuse",
        }
    }

    /// The format of this name.
    pub fn named(name: &str) -> Option<TraceFormat> {
        TraceFormat::ALL.into_iter().chain([TraceFormat::Detect]).find(|format| format.name() == name)
    }

    /// Whether its rows come one by one in the order of the file, each whole, so that a file can be replayed as it is.
    pub fn is_flat(self) -> bool {
        matches!(
            self,
            TraceFormat::Native
                | TraceFormat::Mapped
                | TraceFormat::Azure
                | TraceFormat::Burstgpt
                | TraceFormat::Vidur
                | TraceFormat::Mooncake
        )
    }
}
