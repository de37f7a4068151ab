//! What a server's `/metrics` tells: the Prometheus text of vLLM and SGLang.

use std::collections::BTreeMap;

use tokentide_traces::scrape::names::{Names, PREEMPTIONS, PROMPT_TOKENS, RUNNING, WAITING};
use tokentide_traces::scrape::sample::{name, sample};

const USAGE: Names = &["vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", "sglang:token_usage"];
const GENERATION: Names = &["vllm:generation_tokens_total", "sglang:generation_tokens_total"];
const QUERIES: Names = &["vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total"];
const HITS: Names = &["vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total", "sglang:cached_tokens_total"];
const STEPS: Names = &["vllm:iteration_tokens_total_count"];
/// Gauges of SGLang that say what vLLM has in the labels of `vllm:cache_config_info`.
const SGLANG_LIMITS: [&str; 4] = ["sglang:page_size", "sglang:num_pages", "sglang:max_total_num_tokens", "sglang:context_len"];
/// Whose labels are kept.
const INFO: &str = "vllm:cache_config_info";

/// One reading. Counters and gauges are summed over their labels (engines, sources).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scrape {
    values: BTreeMap<&'static str, f64>,
    /// Labels of `vllm:cache_config_info`.
    pub info: BTreeMap<String, String>,
    /// Engines that report, such as data-parallel ranks.
    pub engines: usize,
}

impl Scrape {
    /// Reads the text; lines that it does not know are passed over.
    pub fn parse(text: &str) -> Scrape {
        let known = [RUNNING, WAITING, USAGE, PROMPT_TOKENS, GENERATION, PREEMPTIONS, QUERIES, HITS, STEPS];
        let names = || known.iter().flat_map(|names| names.iter()).chain(&SGLANG_LIMITS).copied();
        let mut scrape = Scrape::default();
        for line in text.lines().filter(|line| line.starts_with("vllm:") || line.starts_with("sglang:")) {
            // Most of a page is not asked for, and a server is watched while it is measured.
            let wanted = name(line).is_some_and(|name| name == INFO || names().any(|known| known == name));
            let Some(sample) = wanted.then(|| sample(line).ok()).flatten() else { continue };
            if sample.name == INFO {
                scrape.info = sample.labels.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
            }
            let Some(name) = names().find(|known| *known == sample.name) else { continue };
            *scrape.values.entry(name).or_default() += sample.value;
            scrape.engines += usize::from(RUNNING.contains(&name));
        }
        scrape
    }

    /// `vllm`, `sglang`, or nothing that is known.
    pub fn engine(&self) -> Option<&'static str> {
        let name = self.values.keys().next()?;
        name.split(':').next()
    }

    fn of(&self, names: Names) -> Option<f64> {
        names.iter().find_map(|name| self.values.get(name)).copied()
    }

    /// A value by its own name.
    pub fn named(&self, name: &str) -> Option<f64> {
        self.values.get(name).copied()
    }

    /// Running requests.
    pub fn running(&self) -> Option<f64> {
        self.of(RUNNING)
    }

    /// Waiting requests.
    pub fn waiting(&self) -> Option<f64> {
        self.of(WAITING)
    }

    /// KV cache in use, a share of 1: the mean over engines.
    pub fn usage(&self) -> Option<f64> {
        Some(self.of(USAGE)? / self.engines.max(1) as f64)
    }

    /// What its counters grew by since `before`.
    pub fn since(&self, before: &Scrape) -> Growth {
        let counters = [PROMPT_TOKENS, GENERATION, PREEMPTIONS, QUERIES, HITS, STEPS];
        let of = |names: Names| {
            let name = names.iter().find(|name| self.values.contains_key(*name))?;
            Some(((*name).to_owned(), self.values[name] - before.values.get(name)?))
        };
        let by_name = counters.iter().filter_map(|names| of(names)).collect();
        let value = |names: Names| of(names).map(|(_, value)| value);
        Growth {
            by_name,
            prompt: value(PROMPT_TOKENS),
            generation: value(GENERATION),
            preemptions: value(PREEMPTIONS),
            hits: value(HITS),
        }
    }
}

/// What counters grew by; absent if the server has no such counter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Growth {
    /// All of them, by the server's names.
    pub by_name: BTreeMap<String, f64>,
    /// Prompt tokens.
    pub prompt: Option<f64>,
    /// Output tokens.
    pub generation: Option<f64>,
    /// Preemptions.
    pub preemptions: Option<f64>,
    /// Prompt tokens found in the prefix cache.
    pub hits: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const VLLM: &str = "\
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine=\"0\",model_name=\"a b\"} 3.0
vllm:num_requests_running{engine=\"1\",model_name=\"a b\"} 4.0
vllm:num_requests_waiting{engine=\"0\"} 1.0
vllm:num_requests_waiting_by_reason{engine=\"0\",reason=\"capacity\"} 1.0
vllm:kv_cache_usage_perc{engine=\"0\"} 0.25
vllm:kv_cache_usage_perc{engine=\"1\"} 0.75
vllm:prompt_tokens_total{engine=\"0\"} 1.5e+03
vllm:num_preemptions_total{engine=\"0\"} 2.0
vllm:prefix_cache_hits_total{engine=\"0\"} 16.0
vllm:cache_config_info{block_size=\"32\",cache_dtype=\"auto\",engine=\"0\",note=\"a \\\"b\\\", c\",num_gpu_blocks=\"4096\"} 1.0
";

    #[test]
    fn vllms_text_is_read_and_summed_over_engines() {
        let scrape = Scrape::parse(VLLM);
        assert_eq!((scrape.running(), scrape.waiting(), scrape.usage()), (Some(7.0), Some(1.0), Some(0.5)));
        assert_eq!((scrape.engine(), scrape.engines), (Some("vllm"), 2));
        assert_eq!(scrape.info["num_gpu_blocks"], "4096");
        assert_eq!(scrape.info["note"], "a \"b\", c");
    }

    #[test]
    fn sglangs_text_is_read() {
        let text = "sglang:num_running_reqs{tp_rank=\"0\"} 2.0\nsglang:token_usage{tp_rank=\"0\"} 0.5\nsglang:page_size{} 16.0\n";
        let scrape = Scrape::parse(text);
        assert_eq!((scrape.engine(), scrape.running(), scrape.usage()), (Some("sglang"), Some(2.0), Some(0.5)));
        assert_eq!(scrape.named("sglang:page_size"), Some(16.0));
        assert_eq!(Scrape::parse("process_cpu_seconds_total 3").engine(), None);
    }

    #[test]
    fn counters_are_told_by_what_they_grew() {
        let before = Scrape::parse(VLLM);
        let after =
            Scrape::parse(&VLLM.replace("1.5e+03", "1.6e+03").replace("_total{engine=\"0\"} 2.0", "_total{engine=\"0\"} 3.0"));
        let growth = after.since(&before);
        assert_eq!((growth.prompt, growth.preemptions, growth.hits, growth.generation), (Some(100.0), Some(1.0), Some(0.0), None));
        assert_eq!(growth.by_name.len(), 3);
    }
}
