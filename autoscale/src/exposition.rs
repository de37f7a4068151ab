//! What a pod and the gateway say at `/metrics`: the one place with names of metrics, as vLLM 0.32, cAdvisor and llm-d's gateway
//! give them. Those that begin with `tokentide_` no real exporter has.

use crate::pods::{GatewayMetrics, Histogram, PodMetrics};

/// A label's value, and how its number comes from the counts.
type Labelled<M> = (&'static str, fn(&M) -> f64);

/// How a metric comes from the counts.
enum Kind<M: 'static> {
    /// One sample.
    Number(fn(&M) -> f64),
    /// One sample for each value of a label.
    Each(&'static str, &'static [Labelled<M>]),
    /// Its `_bucket`, `_sum` and `_count`, by these names.
    Histogram([&'static str; 3], fn(&M) -> &Histogram),
}

/// A metric.
struct Metric<M: 'static> {
    name: &'static str,
    kind: Kind<M>,
}

const fn number<M>(name: &'static str, of: fn(&M) -> f64) -> Metric<M> {
    Metric { name, kind: Kind::Number(of) }
}

macro_rules! histogram {
    ($name:literal, $of:expr) => {
        Metric {
            name: $name,
            kind: Kind::Histogram([concat!($name, "_bucket"), concat!($name, "_sum"), concat!($name, "_count")], $of),
        }
    };
}

/// Of a pod.
const POD: [Metric<PodMetrics>; 19] = [
    number("up", |_| 1.0),
    number("vllm:num_requests_running", |m| m.running.into()),
    number("vllm:num_requests_waiting", |m| m.waiting.into()),
    number("vllm:kv_cache_usage_perc", |m| m.kv_use),
    number("vllm:gpu_cache_usage_perc", |m| m.kv_use),
    number("vllm:num_preemptions_total", |m| m.preemptions as f64),
    number("vllm:prompt_tokens_total", |m| m.prompt_tokens as f64),
    number("vllm:generation_tokens_total", |m| m.generation_tokens as f64),
    number("vllm:prefix_cache_queries_total", |m| m.prefix_queries as f64),
    number("vllm:prefix_cache_hits_total", |m| m.prefix_hits as f64),
    Metric {
        name: "vllm:request_success_total",
        kind: Kind::Each(
            "finished_reason",
            &[
                ("stop", |m| m.finished_stop as f64),
                ("length", |m| m.finished_length as f64),
                ("abort", |m| m.finished_abort as f64),
            ],
        ),
    },
    histogram!("vllm:time_to_first_token_seconds", |m| &m.ttft),
    histogram!("vllm:request_time_per_output_token_seconds", |m| &m.tpot),
    histogram!("vllm:e2e_request_latency_seconds", |m| &m.e2e),
    histogram!("vllm:request_queue_time_seconds", |m| &m.queue),
    histogram!("vllm:request_prompt_tokens", |m| &m.prompt_lengths),
    histogram!("vllm:request_generation_tokens", |m| &m.generation_lengths),
    number("container_cpu_usage_seconds_total", |m| m.cpu_s),
    number("tokentide_waiting_tokens", |m| m.waiting_tokens as f64),
];

/// Of the gateway.
const GATEWAY: [Metric<GatewayMetrics>; 7] = [
    Metric {
        name: "llm_d_epp_inflight_tokens",
        kind: Kind::Each("producer_name", &[("inflight-load-producer", |m| m.in_flight_tokens as f64)]),
    },
    number("inference_extension_flow_control_queue_size", |m| m.queued.into()),
    number("tokentide_requests_held", |m| m.queued.into()),
    number("tokentide_requests_in_flight", |m| m.in_flight.into()),
    number("tokentide_requests_total", |m| m.requests as f64),
    number("tokentide_slo_judged_total", |m| m.judged as f64),
    number("tokentide_slo_good_total", |m| m.within_slo as f64),
];

/// Labels that samples can have; a query that names another is about what no simulation knows.
pub const LABELS: [&str; 6] = ["pod", "engine", "finished_reason", "producer_name", "le", "__name__"];

/// Names of all series.
pub fn names() -> Vec<String> {
    fn of<M>(metrics: &[Metric<M>]) -> Vec<String> {
        let each = |metric: &Metric<M>| match metric.kind {
            Kind::Histogram(names, _) => names.map(str::to_owned).to_vec(),
            _ => vec![metric.name.to_owned()],
        };
        metrics.iter().flat_map(each).collect()
    }
    [of(&POD), of(&GATEWAY)].concat()
}

/// A sample: its name, a label beside those of its target, and its value.
pub type Sample = (&'static str, Option<(&'static str, String)>, f64);

/// Samples of a pod, those only whose name is `wanted`; the same ones in the same order at each call.
pub fn pod(metrics: &PodMetrics, wanted: &dyn Fn(&str) -> bool, push: &mut dyn FnMut(Sample)) {
    samples(&POD, metrics, wanted, push);
}

/// Samples of the gateway, as of [`pod`].
pub fn gateway(metrics: &GatewayMetrics, wanted: &dyn Fn(&str) -> bool, push: &mut dyn FnMut(Sample)) {
    samples(&GATEWAY, metrics, wanted, push);
}

fn samples<M>(all: &[Metric<M>], metrics: &M, wanted: &dyn Fn(&str) -> bool, push: &mut dyn FnMut(Sample)) {
    for Metric { name, kind } in all {
        match kind {
            Kind::Number(of) if wanted(name) => push((name, None, of(metrics))),
            Kind::Each(label, values) if wanted(name) => {
                values.iter().for_each(|(value, of)| push((name, Some((label, (*value).to_owned())), of(metrics))));
            }
            &Kind::Histogram([buckets, sum, count], of) => {
                let histogram = of(metrics);
                if wanted(buckets) {
                    let mut below = 0;
                    for (count, bound) in histogram.counts.iter().zip(histogram.bounds.iter().copied().chain([f64::INFINITY])) {
                        below += count;
                        push((buckets, Some(("le", le(bound))), below as f64));
                    }
                }
                if wanted(sum) {
                    push((sum, None, histogram.sum));
                }
                if wanted(count) {
                    push((count, None, histogram.counts.iter().sum::<u64>() as f64));
                }
            }
            _ => {}
        }
    }
}

/// An upper bound as Python's client writes it: `0.001`, `1.0`, `+Inf`.
fn le(bound: f64) -> String {
    if bound.is_infinite() { "+Inf".to_owned() } else { format!("{bound:?}") }
}
