//! What can be compared and budgeted: each metric by its name, with its statistics, its unit and where its value comes from.

use schemars::JsonSchema;
use serde::Serialize;
use tokentide_sim::scenario::Source;

/// What a value is of, and how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A time [ms].
    Milliseconds,
    /// A number of tokens.
    Tokens,
    /// A number of things: requests, replicas, GPUs, preemptions.
    Count,
    /// A share, 0 to 1.
    Share,
    /// Tokens per second.
    TokensPerSecond,
    /// Requests per second.
    RequestsPerSecond,
    /// US dollars.
    Usd,
}

/// Where a value comes from, cheapest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Counted over the requests themselves: exact, no simulation.
    Tokens,
    /// Work over capacity: an analytic bound from those counts.
    Bound,
    /// Simulated, by several seeds.
    Simulated,
    /// From a search for the least number of replicas that meets the targets.
    Sized,
}

/// How far a metric can be narrowed by `where`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Narrowing {
    /// It is of the whole system.
    No,
    /// To a class.
    Class,
    /// To any requests.
    Requests,
}

/// A statistic of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stat {
    /// Median.
    P50,
    /// 90th percentile.
    P90,
    /// 95th percentile.
    P95,
    /// 99th percentile.
    P99,
    /// Arithmetic mean.
    Mean,
    /// Largest.
    Max,
    /// Sum over a run.
    Sum,
    /// Share of the requests.
    Frac,
    /// The value itself: the metric has one only.
    Value,
    /// What the targets need.
    Required,
    /// Per month of 730 hours.
    Month,
    /// Per million output tokens.
    PerMillionOutputTokens,
    /// Per thousand completed requests.
    PerThousandRequests,
}

impl Stat {
    /// As it is written behind the metric's name; empty for the value itself.
    pub fn name(self) -> &'static str {
        match self {
            Stat::P50 => "p50",
            Stat::P90 => "p90",
            Stat::P95 => "p95",
            Stat::P99 => "p99",
            Stat::Mean => "mean",
            Stat::Max => "max",
            Stat::Sum => "sum",
            Stat::Frac => "frac",
            Stat::Value => "",
            Stat::Required => "required",
            Stat::Month => "month",
            Stat::PerMillionOutputTokens => "per_million_output_tokens",
            Stat::PerThousandRequests => "per_thousand_requests",
        }
    }

    /// The percentile, 0 to 1, if it is one.
    pub fn quantile(self) -> Option<f64> {
        match self {
            Stat::P50 => Some(0.50),
            Stat::P90 => Some(0.90),
            Stat::P95 => Some(0.95),
            Stat::P99 => Some(0.99),
            _ => None,
        }
    }
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// Requests that arrive in a run.
    Requests,
    /// Prompt length.
    Input,
    /// Answer length, as far as the limits let it.
    Output,
    /// Both.
    Total,
    /// Prompt tokens that an unlimited, warm prefix cache leaves to compute.
    Prefill,
    /// Prompt tokens of one source.
    OfSource(Source),
    /// Requested maximum of the answer.
    MaxTokens,
    /// Answer over requested maximum.
    OutputBudgetUsed,
    /// Prompts near the context limit.
    NearContextLimit,
    /// Answers that end at the requested maximum.
    OutputCapHit,
    /// Offered load over what the replicas can carry at most.
    Load,
    /// 1 - load.
    Headroom,
    /// The most that the replicas can carry of this mix.
    Knee,
    /// Time to first token.
    Ttft,
    /// Time per output token.
    Tpot,
    /// Gap between tokens.
    Itl,
    /// Arrival to last token.
    E2e,
    /// Arrival to first scheduling.
    Queue,
    /// Share of the KV blocks in use.
    KvUse,
    /// Share of time in which a step runs.
    Utilisation,
    /// Prompt tokens waiting on one replica.
    WaitingTokens,
    /// Requests waiting on one replica.
    WaitingRequests,
    /// Recompute preemptions.
    Preemptions,
    /// Share of the prompt tokens found in the prefix cache.
    PrefixHits,
    /// Output tokens per second.
    OutputRate,
    /// Requests that met every limit.
    Slo,
    /// Their rate.
    Goodput,
    /// Requests that got no whole answer.
    Failed,
    /// Replicas.
    Replicas,
    /// GPUs.
    Gpus,
    /// Money.
    Cost,
}

/// A metric, as it is written and where it comes from.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// The metric.
    pub metric: Metric,
    /// Its name in assertions.
    pub name: &'static str,
    /// What a reader calls it.
    pub label: &'static str,
    /// Its unit.
    pub unit: Unit,
    /// Where it comes from.
    pub stage: Stage,
    /// How far it can be narrowed.
    pub narrowing: Narrowing,
    /// Its statistics.
    pub stats: &'static [Stat],
    /// In a sentence.
    pub text: &'static str,
}

const LENGTH: &[Stat] = &[Stat::P50, Stat::P90, Stat::P95, Stat::P99, Stat::Mean, Stat::Max, Stat::Sum];
const RATIO: &[Stat] = &[Stat::P50, Stat::P90, Stat::P95, Stat::P99, Stat::Mean, Stat::Max];
const LEVEL: &[Stat] = &[Stat::Max, Stat::Mean];
const ONE: &[Stat] = &[Stat::Value];
const FRAC: &[Stat] = &[Stat::Frac];
const MAX: &[Stat] = &[Stat::Max];
const REQUIRED: &[Stat] = &[Stat::Required];
const MONEY: &[Stat] = &[Stat::Month, Stat::PerMillionOutputTokens, Stat::PerThousandRequests];

const fn tokens(metric: Metric, name: &'static str, label: &'static str, text: &'static str) -> Definition {
    let (stage, narrowing) = (Stage::Tokens, Narrowing::Requests);
    Definition { metric, name, label, unit: Unit::Tokens, stage, narrowing, stats: LENGTH, text }
}

const fn latency(metric: Metric, name: &'static str, label: &'static str, narrowing: Narrowing, text: &'static str) -> Definition {
    Definition { metric, name, label, unit: Unit::Milliseconds, stage: Stage::Simulated, narrowing, stats: RATIO, text }
}

const fn system(
    metric: Metric,
    name: &'static str,
    label: &'static str,
    (unit, stage, stats): (Unit, Stage, &'static [Stat]),
    text: &'static str,
) -> Definition {
    Definition { metric, name, label, unit, stage, narrowing: Narrowing::No, stats, text }
}

const fn source(source: Source, name: &'static str, label: &'static str) -> Definition {
    tokens(Metric::OfSource(source), name, label, "Prompt tokens of this source, per request.")
}

use Stage::{Bound, Simulated, Sized};

/// Every metric, in the order of a report.
pub const ALL: &[Definition] = &[
    Definition {
        metric: Metric::Requests,
        name: "requests",
        label: "requests",
        unit: Unit::Count,
        stage: Stage::Tokens,
        narrowing: Narrowing::Requests,
        stats: ONE,
        text: "Requests that arrive in a run, warm-up left out.",
    },
    tokens(Metric::Input, "input_tokens", "input tokens", "Tokens of the whole prompt as the model receives it, per request."),
    source(Source::System, "system_tokens", "system tokens"),
    source(Source::Developer, "developer_tokens", "developer tokens"),
    source(Source::History, "history_tokens", "history tokens"),
    source(Source::Retrieved, "retrieved_tokens", "retrieved tokens"),
    source(Source::Tools, "tools_tokens", "tools tokens"),
    source(Source::User, "user_tokens", "user tokens"),
    source(Source::Metadata, "metadata_tokens", "metadata tokens"),
    source(Source::Formatting, "formatting_tokens", "formatting tokens"),
    tokens(
        Metric::Prefill,
        "prefill_tokens",
        "prefill tokens",
        "Prompt tokens that an unlimited and warm prefix cache leaves to compute, in whole blocks, per request.",
    ),
    tokens(
        Metric::Output,
        "output_tokens",
        "output tokens",
        "Tokens of the answer, as far as max_tokens and the context let it, per request.",
    ),
    tokens(Metric::Total, "total_tokens", "total tokens", "Prompt and answer, per request."),
    tokens(Metric::MaxTokens, "max_tokens", "max_tokens", "Requested maximum of the answer, of requests that set one."),
    Definition {
        metric: Metric::OutputBudgetUsed,
        name: "output_budget_used",
        label: "output budget used",
        unit: Unit::Share,
        stage: Stage::Tokens,
        narrowing: Narrowing::Requests,
        stats: RATIO,
        text: "Answer over requested maximum, of requests that set one.",
    },
    Definition {
        metric: Metric::NearContextLimit,
        name: "near_context_limit",
        label: "near the context limit",
        unit: Unit::Share,
        stage: Stage::Tokens,
        narrowing: Narrowing::Requests,
        stats: FRAC,
        text: "Share of prompts at or above near_context_limit (90 % unless set) of max_model_len.",
    },
    Definition {
        metric: Metric::OutputCapHit,
        name: "output_cap_hit",
        label: "output cap hit",
        unit: Unit::Share,
        stage: Stage::Tokens,
        narrowing: Narrowing::Requests,
        stats: FRAC,
        text: "Share of answers that end at max_tokens.",
    },
    system(
        Metric::Load,
        "load",
        "load",
        (Unit::Share, Bound, ONE),
        "Offered requests over what the configured replicas can carry of this mix (analytic bound, warm prefix cache).",
    ),
    system(Metric::Headroom, "headroom", "headroom", (Unit::Share, Bound, ONE), "1 - load; negative when overloaded."),
    system(
        Metric::Knee,
        "knee",
        "knee",
        (Unit::RequestsPerSecond, Bound, ONE),
        "The most requests per second that the configured replicas can carry of this mix (analytic bound).",
    ),
    latency(
        Metric::Ttft,
        "ttft",
        "TTFT",
        Narrowing::Requests,
        "Arrival to first token; a request that never gets one counts as never.",
    ),
    latency(Metric::Tpot, "tpot", "TPOT", Narrowing::Requests, "(e2e - TTFT) / (output - 1), per request of more than one token."),
    latency(Metric::Itl, "itl", "ITL", Narrowing::Class, "Single gaps between consecutive tokens."),
    latency(Metric::E2e, "e2e", "e2e", Narrowing::Requests, "Arrival to last token."),
    latency(Metric::Queue, "queue", "queue", Narrowing::Requests, "Arrival to first scheduling."),
    system(
        Metric::KvUse,
        "kv_use",
        "KV use",
        (Unit::Share, Simulated, LEVEL),
        "Share of the KV blocks in use: the highest on any replica, or the mean over time and replicas.",
    ),
    system(
        Metric::Utilisation,
        "utilisation",
        "utilisation",
        (Unit::Share, Simulated, ONE),
        "Share of time in which an engine step runs.",
    ),
    system(
        Metric::WaitingTokens,
        "waiting_tokens",
        "waiting tokens",
        (Unit::Tokens, Simulated, MAX),
        "Most prompt tokens that wait at once on any one replica.",
    ),
    system(
        Metric::WaitingRequests,
        "waiting_requests",
        "waiting requests",
        (Unit::Count, Simulated, MAX),
        "Most requests that wait at once on any one replica.",
    ),
    system(Metric::Preemptions, "preemptions", "preemptions", (Unit::Count, Simulated, ONE), "Recompute preemptions in a run."),
    system(
        Metric::PrefixHits,
        "prefix_hits",
        "prefix hits",
        (Unit::Share, Simulated, FRAC),
        "Share of the prompt tokens that were found in the prefix cache.",
    ),
    system(
        Metric::OutputRate,
        "output_tokens_per_s",
        "output rate",
        (Unit::TokensPerSecond, Simulated, ONE),
        "Output tokens per second, all replicas.",
    ),
    system(
        Metric::Slo,
        "slo",
        "SLO attainment",
        (Unit::Share, Simulated, FRAC),
        "Share of the requests of classes with targets that were completed within every limit.",
    ),
    system(
        Metric::Goodput,
        "goodput",
        "goodput",
        (Unit::RequestsPerSecond, Simulated, ONE),
        "Requests per second that met every limit.",
    ),
    system(
        Metric::Failed,
        "failed",
        "failed requests",
        (Unit::Share, Simulated, FRAC),
        "Share of the requests that got no whole answer: rejected, timed out, lost.",
    ),
    system(
        Metric::Replicas,
        "replicas",
        "replicas",
        (Unit::Count, Sized, REQUIRED),
        "The least number of replicas that meets every target.",
    ),
    system(Metric::Gpus, "gpus", "GPUs", (Unit::Count, Sized, REQUIRED), "The GPUs of those replicas."),
    system(
        Metric::Cost,
        "cost",
        "cost",
        (Unit::Usd, Sized, MONEY),
        "Per month of 730 hours, of the replicas that the targets need; per token and request, of those configured.",
    ),
];

/// A metric and one of its statistics.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// The metric.
    pub of: &'static Definition,
    /// The statistic.
    pub stat: Stat,
}

impl Figure {
    /// One that is known to exist.
    ///
    /// # Panics
    /// If the metric has no such statistic.
    pub fn new(metric: Metric, stat: Stat) -> Figure {
        let of = ALL.iter().find(|d| d.metric == metric).expect("every metric is defined");
        assert!(of.stats.contains(&stat), "{} has no {}", of.name, stat.name());
        Figure { of, stat }
    }

    /// As written in an assertion.
    pub fn name(&self) -> String {
        match self.stat {
            Stat::Value => self.of.name.to_owned(),
            stat => format!("{}.{}", self.of.name, stat.name()),
        }
    }

    /// As read by people, such as `TTFT p95`.
    pub fn label(&self) -> String {
        match self.stat {
            Stat::Value | Stat::Frac => self.of.label.to_owned(),
            Stat::Max if self.of.stats == LEVEL => format!("{} peak", self.of.label),
            Stat::Required if self.of.metric == Metric::Replicas => "replicas for the SLO".to_owned(),
            Stat::Required => format!("{} for the SLO", self.of.label),
            Stat::Month => "GPU cost per month".to_owned(),
            Stat::PerMillionOutputTokens => "cost per M output tokens".to_owned(),
            Stat::PerThousandRequests => "cost per 1k requests".to_owned(),
            stat => format!("{} {}", self.of.label, stat.name()),
        }
    }

    /// Where its value comes from.
    pub fn stage(&self) -> Stage {
        match self.stat {
            // What is configured costs what it costs: only what it gives is simulated.
            Stat::PerMillionOutputTokens | Stat::PerThousandRequests => Stage::Simulated,
            _ => self.of.stage,
        }
    }

    /// Whether its value is a time that the simulated speed of a step decides: such a time does not exist without a steady state.
    pub fn is_latency(&self) -> bool {
        self.of.unit == Unit::Milliseconds
    }
}
