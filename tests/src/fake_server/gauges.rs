//! What `/metrics` tells, under vLLM's names.

use std::fmt::Write;

use super::Limits;

/// Gauges and counters of the engine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gauges {
    /// Running requests, right after the last decision.
    pub running: u32,
    /// Waiting requests.
    pub waiting: u32,
    /// KV blocks in use.
    pub blocks: u32,
    /// Prompt tokens of the requests whose first token came.
    pub prompt_tokens: u64,
    /// Output tokens.
    pub generation_tokens: u64,
    /// Preemptions.
    pub preemptions: u64,
    /// Prompt tokens looked for in the prefix cache.
    pub prefix_queries: u64,
    /// Steps.
    pub steps: u64,
    /// Steps that gave any token: vLLM counts no others.
    pub counted_steps: u64,
    /// Requests that ended.
    pub finished: u64,
}

impl Gauges {
    /// The text of `/metrics`, which tells so many KV blocks.
    pub fn text(&self, limits: &Limits, blocks: u32) -> String {
        let mut text = String::new();
        let mut say = |kind: &str, name: &str, value: f64| {
            let bare = name.trim_end_matches("_count").trim_end_matches("_sum");
            let _ = writeln!(
                text,
                "# HELP vllm:{bare} .\n# TYPE vllm:{bare} {kind}\nvllm:{name}{{engine=\"0\",model_name=\"fake\"}} {value:?}"
            );
        };
        say("gauge", "num_requests_running", f64::from(self.running));
        say("gauge", "num_requests_waiting", f64::from(self.waiting));
        say("gauge", "kv_cache_usage_perc", f64::from(self.blocks) / f64::from(limits.num_gpu_blocks));
        say("counter", "prefix_cache_queries_total", self.prefix_queries as f64);
        say("counter", "prefix_cache_hits_total", 0.0);
        say("counter", "num_preemptions_total", self.preemptions as f64);
        say("counter", "prompt_tokens_total", self.prompt_tokens as f64);
        say("counter", "generation_tokens_total", self.generation_tokens as f64);
        say("histogram", "iteration_tokens_total_sum", (self.prompt_tokens + self.generation_tokens) as f64);
        say("histogram", "iteration_tokens_total_count", self.counted_steps as f64);
        let _ = writeln!(
            text,
            "# TYPE vllm:cache_config_info gauge\nvllm:cache_config_info{{block_size=\"{}\",cache_dtype=\"auto\",\
             enable_prefix_caching=\"False\",engine=\"0\",num_gpu_blocks=\"{}\"}} 1.0",
            limits.block_size, blocks
        );
        let _ = writeln!(
            text,
            "# TYPE vllm:request_success counter\nvllm:request_success_total{{engine=\"0\",finished_reason=\"length\",\
             model_name=\"fake\"}} {}.0\nprocess_start_time_seconds 1.7953710126e+09",
            self.finished
        );
        text
    }
}
