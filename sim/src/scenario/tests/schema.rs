//! The JSON schema.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::scenario::schema;

/// All property names of the schema with their own schemas.
fn properties<'a>(value: &'a Value, found: &mut Vec<(&'a str, &'a Value)>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::Object(properties)) = map.get("properties") {
                found.extend(properties.iter().map(|(key, schema)| (key.as_str(), schema)));
            }
            map.values().for_each(|v| properties(v, found));
        }
        Value::Array(items) => items.iter().for_each(|v| properties(v, found)),
        _ => {}
    }
}

#[test]
fn every_key_is_listed_and_described() {
    let schema = schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["additionalProperties"], false);
    let mut found = Vec::new();
    properties(&schema, &mut found);
    for (key, property) in &found {
        assert!(property["description"].as_str().is_some_and(|d| d.len() > 8), "{key} has no description: {property}");
    }
    let names: BTreeSet<&str> = found.iter().map(|(key, _)| *key).collect();
    let expected = "name description seed duration requests warmup model gpu engine cost host cluster class trace buckets \
        near_context_limit config weights tensor_parallel pipeline_parallel data_parallel expert_parallel price_per_hour memory \
        custom \
        memory_gb_per_s bf16_tflops fp8_tflops link_gb_per_s cache_mb \
        version scheduler max_num_seqs max_num_batched_tokens max_model_len gpu_memory_utilization enable_prefix_caching \
        enable_chunked_prefill scheduling_policy async_scheduling long_prefill_token_threshold kv_cache_dtype \
        block_size num_gpu_blocks_override watermark max_num_queued_reqs enforce_eager \
        max_cudagraph_capture_size scheduler_reserve_full_isl \
        profile step_us layer_us sync_us schedule_us schedule_sequence_us request_us arrival_us prompt_token_us \
        token_us \
        replicas router tenant route \
        priority arrivals prompt output correlation session timeout slo process rate cv concurrency think base \
        amplitude period phase points peak every length system developer history retrieved tools user metadata \
        formatting order cacheable fixed uniform median p95 min max mean quantiles pmf top_k chunk max_tokens \
        tokens turns first_user history_max path format columns rate_scale window jitter block_tokens skip_bad_rows input \
        ttft_p50 ttft_p90 ttft_p95 ttft_p99 tpot_p50 tpot_p90 tpot_p95 tpot_p99 e2e_p50 e2e_p90 e2e_p95 e2e_p99 \
        queue_p50 queue_p90 queue_p95 queue_p99 \
        autoscaler policy target file queries rules min_replicas max_replicas scrape sync cpu_request \
        zones warm_nodes node_keep termination_grace hold interrupted startup phase when time failure at what index back schedule \
        serves input_min input_max classes tokenizer encoding chars_per_token template variables \
        check id assert where level scenario input_bucket";
    let expected: BTreeSet<&str> = expected.split_whitespace().collect();
    assert_eq!(names, expected);
}

#[test]
fn there_is_no_null() {
    // TOML has none: a key is there or it is not.
    assert!(!schema().to_string().contains("\"null\""));
}

#[test]
fn what_must_be_there_is_required() {
    let schema = schema();
    assert_eq!(schema["required"], serde_json::json!(["model", "gpu"]));
}
