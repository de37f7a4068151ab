//! Validation: what the simulator predicted, given back to it as measured, has no error; what tools wrote is read as they meant it.

use std::path::{Path, PathBuf};

use tokentide_sim::scenario::Scenario;
use tokentide_sim::validate::compare;
use tokentide_sim::validate::deploy::scenario_with;
use tokentide_sim::validate::evaluate::{Places, evaluate};
use tokentide_sim::validate::manifest::Manifest;
use tokentide_sim::validate::measured::read_runs;
use tokentide_sim::validate::measured::{MeasuredRequest, Pacing, Run};
use tokentide_sim::validate::points::{Benchmark, read};
use tokentide_sim::validate::replay::{replay, requests_of_point, requests_of_run};
use tokentide_sim::validate::report::About;
use tokentide_tests::shared::shared;

const SERVER: &str = "[model]\nname = \"llama-3.1-8b\"\n[gpu]\nname = \"h100-sxm\"\n[engine]\nmax_model_len = 8192\n";

fn server() -> Scenario {
    scenario_with(SERVER, "server.toml", Path::new("."), &[]).unwrap()
}

fn fixture(name: &str) -> Option<PathBuf> {
    Some(shared()?.join("data/fixtures").join(name))
}

/// A file that is gone with the test.
struct Temp(PathBuf);

impl Temp {
    fn new(name: &str, text: &str) -> Temp {
        let path = std::env::temp_dir().join(format!("tokentide-validation-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Temp(path)
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn lengths(n: u32) -> Vec<MeasuredRequest> {
    let one = |i: u32| MeasuredRequest {
        id: i.to_string(),
        arrival_s: Some(7.0 + 0.05 * f64::from(i)),
        input_tokens: 200 + 37 * i,
        output_tokens: 1 + 13 * (i % 9),
        ..MeasuredRequest::default()
    };
    (0..n).map(one).collect()
}

/// The predictions of a replay as a CSV of measurements.
fn as_measured(requests: &[MeasuredRequest], pacing: Pacing) -> String {
    let run = Run { requests: requests.to_vec(), ..Run::new("test", pacing) };
    let replayed = replay(&server(), requests_of_run(&run), pacing);
    let mut csv = "arrival_s,input_tokens,output_tokens,ttft_ms,tpot_ms,e2e_ms\n".to_owned();
    for (request, predicted) in requests.iter().zip(replayed.requests) {
        let p = predicted.expect("served whole");
        let tpot = p.tpot_ms.map_or(String::new(), |t| t.to_string());
        csv += &format!("{},{},{},", p.arrival_s, request.input_tokens, request.output_tokens);
        csv += &format!("{},{tpot},{}\n", p.ttft_ms, p.e2e_ms);
    }
    csv
}

#[test]
fn own_predictions_have_no_error() {
    for pacing in [Pacing::Recorded, Pacing::Closed(4)] {
        let file = Temp::new("own.csv", &as_measured(&lengths(40), pacing));
        let run = Run { pacing, ..read_runs(&file.0, None).unwrap().remove(0) };
        let report = compare::run("own", &About::default(), &run, &server());
        assert_eq!((report.requests, report.unserved), (40, 0));
        for metric in ["ttft", "tpot", "e2e"] {
            let found = report.metrics.iter().find(|m| m.metric == metric).unwrap();
            assert!(found.errors.iter().all(|e| e.unwrap().abs() < 1e-6), "{pacing:?} {metric}: {:?}", found.errors);
            assert!(found.mape.unwrap() < 1e-6);
        }
        // One request in nine has a single token, and so no time per output token.
        assert_eq!(report.metrics.iter().find(|m| m.metric == "tpot").unwrap().measured.count, 35);
        assert!(report.throughput.unwrap().error.unwrap().abs() < 1e-6 && report.makespan_s.unwrap().error.unwrap().abs() < 1e-6);
    }
}

/// What is measured half as long everywhere is predicted twice as long: +100 %.
#[test]
fn errors_are_signed() {
    let mut run = Run { requests: lengths(5), ..Run::new("test", Pacing::Recorded) };
    let replayed = replay(&server(), requests_of_run(&run), run.pacing);
    for (request, predicted) in run.requests.iter_mut().zip(replayed.requests) {
        request.ttft_ms = predicted.map(|p| p.ttft_ms / 2.0);
    }
    run.requests[0].cold = true;
    let report = compare::run("half", &About::default(), &run, &server());
    let ttft = &report.metrics[0];
    assert_eq!(ttft.measured.count, 4, "the cold one is left out");
    assert!(ttft.errors.iter().chain([&ttft.mape]).all(|e| (e.unwrap() - 100.0).abs() < 1e-9), "{ttft:?}");
    assert!(report.throughput.is_none(), "without ends there is no throughput");
}

/// At any time as many requests are under way as there are clients, until the list is empty.
#[test]
fn a_closed_loop_keeps_its_clients_busy() {
    let csv = "model,gpu,tp_size,isl,osl,concurrency,ttft_ms,tpot_ms\nllama-3.1-8b,h100-sxm,1,800,100,5,50,8\n";
    let file = Temp::new("point.csv", csv);
    let point = read(&file.0, &Default::default(), std::iter::empty()).unwrap().points.remove(0);
    let requests = requests_of_point(&point, &Benchmark::default(), 42);
    assert_eq!(requests.len(), 50);
    assert!(requests.iter().all(|r| (640..=800).contains(&r.input_tokens) && (80..=100).contains(&r.output_tokens)));
    let served = replay(&server(), requests, Pacing::Closed(5));
    let spans: Vec<(f64, f64)> = served.requests.iter().flatten().map(|p| (p.arrival_s, p.arrival_s + p.e2e_ms / 1e3)).collect();
    let last_start = spans.iter().map(|s| s.0).fold(0.0, f64::max);
    for (start, _) in spans.iter().filter(|s| s.0 < last_start) {
        let under_way = spans.iter().filter(|(from, to)| *from <= start + 1e-9 && *to > start + 1e-9).count();
        assert_eq!(under_way, 5, "at {start} s");
    }
}

#[test]
fn what_tools_wrote_is_read_as_they_meant_it() {
    let Some(path) = fixture("vllm_bench_serve_detailed_synthetic.json") else { return };
    let run = read_runs(&path, None).unwrap().remove(0);
    assert_eq!((run.requests.len(), run.pacing, run.left_out[0].rows), (4, Pacing::Recorded, 1));
    let first = &run.requests[0];
    assert_eq!((first.input_tokens, first.output_tokens, first.ttft_ms, first.itl_ms.len()), (512, 64, Some(51.0), 63));
    // Its own aggregate: the mean over requests of more than one token.
    let tpots: Vec<f64> = run.requests.iter().filter_map(|r| r.tpot_ms).collect();
    assert!((tpots.iter().sum::<f64>() / tpots.len() as f64 - 20.137_777_627).abs() < 1e-6 && tpots.len() == 3);

    let runs = read_runs(&fixture("guidellm_report_sample.json").unwrap(), None).unwrap();
    assert_eq!(
        runs.iter().map(|r| (r.requests.len(), r.pacing)).collect::<Vec<_>>(),
        [(3, Pacing::Closed(4)), (1, Pacing::Closed(1))]
    );
    // Not the 15.0 that counts the first token.
    assert_eq!((runs[0].requests[0].tpot_ms, runs[0].requests[0].e2e_ms), (Some(14.7), Some(1500.0)));

    let run = read_runs(&fixture("aiperf_profile_export_handmade.jsonl").unwrap(), None).unwrap().remove(0);
    let reasons: Vec<&str> = run.left_out.iter().map(|l| l.reason.as_str()).collect();
    assert_eq!((run.requests.len(), reasons), (2, vec!["warm-up of the benchmark", "failed: no answer"]));
    assert_eq!((run.requests[0].output_tokens, run.requests[1].e2e_ms, run.requests[1].ttft_ms), (64, Some(1499.5), None));
    assert!((run.requests[0].tpot_ms.unwrap() - 22.449).abs() < 1e-3);

    let run = read_runs(&fixture("inference_perf_per_request_handmade.json").unwrap(), None).unwrap().remove(0);
    let request = &run.requests[0];
    assert_eq!((request.input_tokens, request.output_tokens), (550, 3));
    assert!((request.ttft_ms.unwrap() - 80.0).abs() < 1e-6 && (request.tpot_ms.unwrap() - 30.0).abs() < 1e-6);

    let summary = read_runs(&fixture("inference_perf_stage_lifecycle_real.json").unwrap(), None).unwrap_err().to_string();
    assert!(summary.contains("per_request_lifecycle_metrics.json"), "{summary}");
}

#[test]
fn wrong_measurements_are_refused_with_their_place() {
    let head = "arrival_s,input_tokens,output_tokens,ttft_ms,e2e_ms\n";
    for (name, text, says) in [
        ("negative.csv", format!("{head}0,10,10,5,20\n1,10,10,-5,20\n"), &[":3", "`ttft_ms`", "negative", "`-5`"][..]),
        ("order.csv", format!("{head}0,10,10,50,20\n"), &[":2", "`e2e_ms`", "too small", "50 ms after submission"]),
        ("zero.csv", format!("{head}0,0,10,5,20\n"), &[":2", "`input_tokens`", "at least 1"]),
        ("short.csv", format!("{head}0,10,10\n"), &[":2", "wrong number of fields", "5 fields"]),
        ("column.csv", "arrival_s,input_token,output_tokens,ttft_ms\n0,1,1,1\n".to_owned(), &["missing column", "`input_token`"]),
        ("empty.csv", head.to_owned(), &["no usable rows"]),
        ("aggregates.json", "{\"mean_ttft_ms\": 12.0}".to_owned(), &["--save-detailed"]),
        (
            "uneven.json",
            "{\"itls\": [[]], \"input_lens\": [1], \"output_lens\": [1], \"ttfts\": [0.1, 0.2]}".to_owned(),
            &["`ttfts`", "expected 1 values"],
        ),
        (
            "failed.json",
            "{\"itls\": [[]], \"input_lens\": [1], \"output_lens\": [0], \"ttfts\": [0.0]}".to_owned(),
            &["no request is left", "failed"],
        ),
        ("odd.json", "{\"a\": 1}".to_owned(), &["unknown format", "vllm bench serve"]),
        (
            "rate.json",
            "{\"itls\": [[]], \"input_lens\": [1], \"output_lens\": [1], \"ttfts\": [1], \"request_rate\": 2.0}".to_owned(),
            &["`request_rate`", "--concurrency"],
        ),
    ] {
        let file = Temp::new(name, &text);
        let error = read_runs(&file.0, None).unwrap_err().to_string();
        assert!(says.iter().all(|part| error.contains(part)), "{name}: {error}");
    }
}

fn manifest(text: &str) -> Manifest {
    let file = Temp::new("set.toml", text);
    Manifest::read(&file.0).unwrap()
}

/// Repeats, doubtful rows and servers that cannot be simulated are counted with a reason; the rest is compared; rules win.
#[test]
fn points_are_compared_or_left_out_with_a_reason() {
    let csv = "\
id,system,model,backend,precision,tp_size,isl,osl,concurrency,silicon_ttft_ms,silicon_tpot_ms,repeat_of,tp_suspect
a,h100_sxm,llama-3.1-8b,vllm,bf16,1,1024,128,4,40,7,,0
b,h100_sxm,llama-3.1-8b,vllm,bf16,1,1024,128,4,40,7,a,0
c,h100_sxm,llama-3.1-8b,vllm,bf16,16,1024,128,4,40,7,,1
d,h100_sxm,llama-3.1-8b,vllm,bf16,1,1024,128,,40,7,,0
e,h100_sxm,llama-9-8b,vllm,bf16,1,1024,128,4,40,7,,0
f,h100_sxm,llama-3.1-8b,sglang,bf16,1,1024,128,4,40,7,,0
g,h100_sxm,llama-3.1-8b,vllm,bf16,1,1024,128,200,40,7,,0
h,h100_sxm,llama-3.1-8b,vllm,bf16,1,1024,128,8,40,7,,0
";
    let data = Temp::new("points.csv", csv);
    let set = manifest(&format!(
        "name = 's'\ntitle = 't'\n[[points]]\nname = 'p'\ndata = {:?}\nwhere = {{ backend = ['vllm'] }}\n\
         [points.about]\ntitle = 't'\n[[points.leave_out]]\nwhere = {{ id = ['g'] }}\nwhy = 'too many'\n\
         [[points.rule]]\nset = {{ 'engine.max_num_seqs' = '{{concurrency}}', 'cost.profile' = 'roofline' }}\nwhy = 'test'\n",
        data.0
    ));
    let places = Places { data: PathBuf::new(), base: PathBuf::from("."), set: Vec::new() };
    let report = evaluate(&set, &places).unwrap().points.remove(0);
    assert_eq!(report.points.iter().map(|p| p.id.as_str()).collect::<Vec<_>>(), ["a", "h"]);
    assert!(report.points.iter().all(|p| !p.server.calibrated && p.server.profile == "roofline"));
    let left_out: Vec<(usize, &str)> = report.left_out.iter().map(|l| (l.rows, l.reason.as_str())).collect();
    let starts =
        ["repeats an earlier row", "its tensor-parallel size", "no concurrency", "h100_sxm llama-9-8b vllm: unknown model"];
    assert!(starts.iter().all(|start| left_out.iter().any(|(n, reason)| *n == 1 && reason.starts_with(start))), "{left_out:?}");
    assert!(left_out.contains(&(1, "h100_sxm llama-3.1-8b vllm: too many")) && left_out.len() == 5, "{left_out:?}");
    assert_eq!((report.groups.len(), report.groups[1].name.as_str(), report.groups[1].count), (2, "all", 2));
    let again = evaluate(&set, &places).unwrap().points.remove(0);
    assert_eq!(serde_json::to_string(&report).unwrap(), serde_json::to_string(&again).unwrap());
}

/// Prefix blocks of a run shorten its prompts: replayed without them, the cache finds nothing.
#[test]
fn recorded_blocks_are_replayed() {
    let Some(shared) = shared() else { return };
    let folder = shared.join("data/real_runs");
    let name = |end: &str| folder.join(format!("rtxpro6000_llama-3.1-8b_tp1_bf16.{end}"));
    let run = read_runs(&name("requests.csv"), Some(&name("blocks16.csv.gz"))).unwrap().remove(0);
    assert!(run.requests.iter().all(|r| r.blocks.len() as u32 == r.input_tokens / 16));
    assert_eq!((run.requests.len(), run.requests[0].cold), (300, true));
    let cached = |run: &Run| replay(&server(), requests_of_run(run), run.pacing).summary.cached_tokens;
    let without = |r: &MeasuredRequest| MeasuredRequest { blocks: Vec::new(), ..r.clone() };
    let plain = Run { requests: run.requests.iter().map(without).collect(), ..run.clone() };
    // 1,220 blocks of 16 tokens are shared with an earlier request; nearly all are still there.
    assert!((17_000..=19_520).contains(&cached(&run)) && cached(&plain) == 0, "{}", cached(&run));
}
