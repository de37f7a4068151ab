//! Names of the figures that more than one reader of a metrics page asks for.

/// Names of one figure; the first that is there counts: vLLM's, its older ones, SGLang's.
pub type Names = &'static [&'static str];

/// Running requests.
pub const RUNNING: Names = &["vllm:num_requests_running", "sglang:num_running_reqs"];
/// Waiting requests.
pub const WAITING: Names = &["vllm:num_requests_waiting", "sglang:num_queue_reqs"];
/// Prompt tokens, those found in a cache included.
pub const PROMPT_TOKENS: Names = &["vllm:prompt_tokens_total", "sglang:prompt_tokens_total"];
/// Preemptions.
pub const PREEMPTIONS: Names = &["vllm:num_preemptions_total", "sglang:num_retracted_requests_total"];
