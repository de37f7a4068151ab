//! One sample per format: rows and totals, what is left out, and what a row becomes.

mod common;

use common::{file, shared, text};
use tokentide_traces::error::FaultKind;
use tokentide_traces::import::{Failed, ImportOptions};
use tokentide_traces::number::Unit;
use tokentide_traces::{Ended, TraceRow};

const PS: i128 = 1_000_000_000_000;

/// File, format, records, rows, input and output tokens, and reasons of what is left out.
type Fixture = (&'static str, &'static str, u64, u64, u64, u64, &'static [(&'static str, u64)]);

const FIXTURES: [Fixture; 22] = [
    ("azure2024_code_head_real.csv", "azure", 5, 5, 14_683, 35, &[]),
    ("azure2024_conv_head_real.csv", "azure", 5, 5, 5_084, 151, &[]),
    ("azure2024_mixed_fraction_handmade.csv", "azure", 3, 3, 2_448, 260, &[]),
    ("azure2025_multimodal_head_real.csv", "azure", 5, 5, 4_485, 729, &[]),
    ("burstgpt_1_head_real.csv", "burstgpt", 3, 3, 1_976, 524, &[]),
    ("burstgpt_3_handmade.csv", "burstgpt", 4, 3, 768, 630, &[("no input tokens", 1)]),
    ("mooncake_arxiv_toolagent_excerpt_real.jsonl", "mooncake", 16, 16, 69_870, 2_173, &[]),
    ("bailian_handmade.jsonl", "bailian", 2, 2, 182, 100, &[]),
    ("vidur_splitwise_conv_head_real.csv", "vidur", 10, 10, 4_364, 716, &[]),
    ("llmservingsim_flat_head_real.jsonl", "llmservingsim", 20, 20, 221_110, 28_630, &[]),
    ("llmservingsim_agentic_handmade.jsonl", "llmservingsim", 4, 4, 5_288, 299, &[]),
    ("weka_session_handmade.json", "weka", 5, 5, 1_270, 165, &[]),
    ("vllm_bench_serve_detailed_synthetic.json", "vllm-bench", 5, 4, 3_621, 110, &[("a failed request", 1)]),
    (
        "aiperf_profile_export_handmade.jsonl",
        "aiperf-export",
        4,
        2,
        850,
        84,
        &[("warm-up of the benchmark", 1), ("a failed request", 1)],
    ),
    ("inference_perf_per_request_handmade.json", "inference-perf", 1, 1, 550, 3, &[]),
    ("sglang_request_metrics_handmade.jsonl", "sglang-log", 2, 2, 587, 65, &[]),
    ("otlp_genai_span_handmade.json", "otlp", 3, 2, 850, 84, &[("not a request for text", 1)]),
    (
        "litellm_standard_logging_handmade.jsonl",
        "litellm",
        4,
        2,
        850,
        84,
        &[("a failed request", 1), ("answered from a cache in front of the server", 1)],
    ),
    ("litellm_spendlogs_handmade.jsonl", "litellm-spend", 2, 1, 550, 64, &[("answered from a cache in front of the server", 1)]),
    ("langfuse_observations_handmade.json", "langfuse", 2, 1, 550, 64, &[("not a request for text", 1)]),
    ("guidellm_report_sample.json", "guidellm", 3, 3, 512, 180, &[]),
    ("servegen_handmade", "servegen", 0, 0, 0, 0, &[]),
];

fn options(name: &str, options: &mut ImportOptions) {
    if name.starts_with("guidellm") {
        options.read.benchmark = Some(1);
    }
}

#[test]
fn every_fixture_imports_with_its_rows_and_totals() {
    for (name, format, read, kept, input, output, left_out) in FIXTURES {
        let Some(path) = shared(&format!("fixtures/{name}")) else { continue };
        let (report, rows) = file(&path, |o| options(name, o)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(report.format, format, "{name}");
        assert_eq!(report.rows_kept, rows.len() as u64);
        assert!(rows.is_sorted_by_key(|row| row.arrival_ps), "{name}");
        if format == "servegen" {
            continue;
        }
        assert_eq!((report.rows_read, report.rows_kept), (read, kept), "{name}");
        if input > 0 {
            assert_eq!((report.figures.input.total, report.figures.output.total), (input, output), "{name}");
        }
        let mut reasons: Vec<(&str, u64)> = report.left_out.iter().map(|set| (set.reason.as_str(), set.rows)).collect();
        reasons.sort_unstable();
        let mut want = left_out.to_vec();
        want.sort_unstable();
        assert_eq!(reasons, want, "{name}");
    }
}

/// Where a report says when a failed request came and how long it was; and where it does not, that is said.
#[test]
fn failed_requests_of_a_benchmark_are_kept_where_they_are_known() {
    let name = "fixtures/aiperf_profile_export_handmade.jsonl";
    if let Some(path) = shared(name) {
        let (report, rows) = file(&path, |o| o.failed = Failed::Class).unwrap();
        let failed: Vec<&TraceRow> = rows.iter().filter(|row| row.class.as_deref() == Some("failed")).collect();
        assert_eq!((report.failed_kept, failed.len(), failed[0].input_tokens), (1, 1, 410));
        assert!(rows.windows(2).all(|pair| pair[0].arrival_ps <= pair[1].arrival_ps));
    }
    let told = |warnings: &[String]| warnings.iter().any(|w| w.contains("left out whatever is asked for"));
    let result = serde_json::json!({
        "input_lens": [10, 20], "output_lens": [5, 0], "ttfts": [0.1, 0], "itls": [[0.1, 0.1, 0.1, 0.1], []], "errors": ["", "500"],
        "start_times": [1.5, 1.0],
    });
    let kept = |report: &serde_json::Value, failed| text(report.to_string(), |o| o.failed = failed).unwrap();
    let (report, rows) = kept(&result, Failed::Keep);
    assert_eq!((report.rows_read, rows.len(), rows[0].input_tokens, report.failed_kept), (2, 2, 20, 1));
    assert!(!told(&report.warnings));
    let (report, rows) = kept(&result, Failed::Drop);
    assert_eq!((report.rows_read, rows.len(), report.failed_kept, report.left_out[0].rows), (2, 1, 0, 1));
    // A failed GuideLLM request without a length.
    let requests = serde_json::json!({
        "successful": [{
            "prompt_tokens": 9, "output_tokens": 4, "time_to_first_token_ms": 20, "request_latency": 1, "request_start_time": 100
        }],
        "errored": [{ "prompt_tokens": null, "request_start_time": 101 }, { "prompt_tokens": 7, "request_start_time": 102 }],
    });
    let guide = serde_json::json!({ "metadata": { "guidellm_version": "0.6.0" }, "benchmarks": [{ "requests": requests }] });
    let (report, rows) = kept(&guide, Failed::Keep);
    assert_eq!((report.rows_read, rows.len(), rows[1].input_tokens, report.failed_kept), (3, 2, 7, 1));
    assert!(told(&report.warnings) && report.left_out[0].rows == 1, "{:?}", report.warnings);
    assert!(!told(&kept(&guide, Failed::Drop).0.warnings));
}

/// The row at `index` of a fixture.
fn row(name: &str, index: usize) -> Option<TraceRow> {
    let (_, mut rows) = file(&shared(&format!("fixtures/{name}"))?, |o| options(name, o)).unwrap();
    Some(rows.swap_remove(index))
}

#[test]
fn what_a_record_says_is_in_its_row() {
    if let Some(row) = row("litellm_standard_logging_handmade.jsonl", 0) {
        assert_eq!((row.max_tokens, row.tenant.as_deref(), row.session.as_deref()), (Some(64), Some("u1"), Some("s1")));
        assert_eq!((row.model.as_deref(), row.observed.cached_tokens), (Some("g"), Some(512)));
        assert_eq!((row.observed.ttft_ps, row.observed.e2e_ps), (Some(85_000_000_000), Some(1_500_000_000_000)));
    }
    // Not streamed: its first token is not known.
    if let Some(row) = row("litellm_standard_logging_handmade.jsonl", 1) {
        assert!(row.observed.ttft_ps.is_none() && row.observed.e2e_ps.is_some());
    }
    if let Some(row) = row("burstgpt_3_handmade.csv", 0) {
        assert_eq!(row.arrival_ps, 10 * PS);
        assert_eq!((row.model.as_deref(), row.route.as_deref()), (Some("GPT-4"), Some("Conversation log")));
        assert_eq!(row.session.as_deref(), Some("3f0c6a52-0000-4000-8000-000000000001"));
        assert_eq!((row.observed.e2e_ps, row.observed.ttft_ps), (Some(4_200_000_000_000), None));
    }
    if let Some(row) = row("sglang_request_metrics_handmade.jsonl", 1) {
        assert_eq!((row.max_tokens, row.observed.finish), (Some(1), Some(Ended::Length)));
        assert_eq!(row.observed.queue_ps, Some(1_000_000_000));
    }
    if let Some(row) = row("otlp_genai_span_handmade.json", 0) {
        assert_eq!((row.arrival_ps, row.max_tokens), (1_763_830_000 * PS, Some(64)));
        assert_eq!((row.session.as_deref(), row.observed.cached_tokens), (Some("s1"), Some(512)));
        assert_eq!((row.observed.ttft_ps, row.observed.finish), (Some(85_000_000_000), Some(Ended::Stop)));
    }
    if let Some(row) = row("langfuse_observations_handmade.json", 0) {
        assert_eq!((row.input_tokens, row.observed.cached_tokens, row.max_tokens), (550, Some(512), Some(64)));
    }
    if let Some(row) = row("azure2025_multimodal_head_real.csv", 1) {
        assert_eq!((row.input_tokens, row.observed.images), (949, Some(1)));
    }
    if let Some(row) = row("bailian_handmade.jsonl", 1) {
        assert_eq!((row.turn, row.prefix_block_tokens, row.prefix_hashes.len()), (Some(1), Some(16), 7));
    }
}

#[test]
fn calls_of_agents_wait_for_the_call_before() {
    if let Some(path) = shared("fixtures/llmservingsim_agentic_handmade.jsonl") {
        let (_, rows) = file(&path, |_| {}).unwrap();
        let delays: Vec<Option<u64>> = rows.iter().map(|row| row.delay_ps).collect();
        assert_eq!(delays, [None, Some(127_000_000_000), Some(2_500_000_000_000), None]);
    }
    if let Some(path) = shared("fixtures/weka_session_handmade.json") {
        let (report, rows) = file(&path, |o| o.session_rate = Some(1.0)).unwrap();
        // The subagent's requests stand between those of its parent, which waits for them.
        assert_eq!(rows.iter().map(|row| row.input_tokens).collect::<Vec<_>>(), [200, 330, 130, 150, 460]);
        assert_eq!(rows[1].delay_ps, Some(2_300_000_000_000));
        assert!(rows[0].arrival_ps > 0 && rows.iter().all(|row| row.arrival_ps == rows[0].arrival_ps));
        assert_eq!((rows[1].prefix_block_tokens, rows[1].prefix_hashes.len()), (Some(64), 5));
        assert_ne!(rows[0].prefix_hashes[0], 1, "an id of a session means nothing to another one");
        assert_eq!(report.figures.waiting, 4);
    }
}

#[test]
fn files_without_requests_say_what_to_do() {
    for (name, kind, says) in [
        ("otel_span_dump_simple_chain_real.json", FaultKind::Empty, "3 no token counts"),
        ("inference_perf_stage_lifecycle_real.json", FaultKind::Unsupported, "per_request_lifecycle_metrics.json"),
        ("guidellm_report_sample.json", FaultKind::BadSetting, "--benchmark 1"),
        ("vidur_lengths_only_handmade.csv", FaultKind::Unsupported, "no arrivals"),
        ("vllm_metrics_synthetic.prom", FaultKind::Unsupported, "no requests"),
        ("gateway_access_handmade.jsonl", FaultKind::UnknownFormat, "map other columns"),
    ] {
        let Some(path) = shared(&format!("fixtures/{name}")) else { continue };
        let error = file(&path, |_| {}).unwrap_err();
        assert_eq!(error.fault.kind, kind, "{name}: {error}");
        assert!(error.to_string().contains(says), "{name}: {error}");
    }
}

#[test]
fn a_gateway_log_is_mapped_and_its_arrivals_are_before_its_stamps() {
    let Some(path) = shared("fixtures/gateway_access_handmade.jsonl") else { return };
    let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>();
    let columns = map(&[
        ("arrival", "time-duration_ms:iso8601"),
        ("input", "usage.prompt_tokens"),
        ("output", "usage.completion_tokens"),
        ("tenant", "key"),
        ("ttft", "time_to_first_byte_ms:ms"),
    ]);
    let (report, rows) = file(&path, |o| (o.read.columns, o.skip_bad_rows) = (columns, true)).unwrap();
    // Of four rows one has token counts.
    assert_eq!((report.rows_read, report.rows_kept, report.left_out[0].rows), (4, 1, 3));
    let end = Unit::Calendar.parse("2025-11-22T16:46:41.500Z").unwrap();
    assert_eq!(rows[0].arrival_ps, end - 1_500_000_000_000);
    assert_eq!((rows[0].observed.e2e_ps, rows[0].observed.ttft_ps), (Some(1_500_000_000_000), Some(85_000_000_000)));
    assert_eq!(rows[0].tenant.as_deref(), Some("tenant-1"));
}

#[test]
fn failed_requests_are_kept_only_when_asked() {
    let log = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n\
               1,m,50,9,59,API log\n2,m,60,0,60,API log\n3,m,0,0,0,x\n";
    let (report, rows) = text(log, |_| {}).unwrap();
    assert_eq!((report.rows_read, rows.len(), report.failed_kept), (3, 1, 0));
    let (report, rows) = text(log, |o| o.failed = Failed::Class).unwrap();
    assert_eq!((report.rows_kept, report.failed_kept, rows[1].class.as_deref()), (2, 1, Some("failed")));
    assert_eq!((rows[1].output_tokens, rows[1].observed.finish), (1, Some(Ended::Error)));
    // Without a prompt there is nothing to keep.
    assert_eq!(report.left_out.iter().map(|set| set.rows).sum::<u64>(), 1);
    let (_, rows) = text(log, |o| o.failed = Failed::Keep).unwrap();
    assert_eq!((rows[1].class.as_deref(), rows[1].output_tokens), (None, 1));
}
