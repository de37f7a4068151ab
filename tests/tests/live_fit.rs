//! A cost profile fitted to what a client saw of a real server.

use std::path::{Path, PathBuf};

use tokentide_calibrate::live::fit::About;
use tokentide_calibrate::live::{Coefficient, Term, fit_live, sample, samples};
use tokentide_calibrate::observation::{Observations, RequestRecord};
use tokentide_calibrate::predict::Coefficients;
use tokentide_models::cost::{BatchShape, Floor, Profile};
use tokentide_models::deployment::Deployment;
use tokentide_sim::scenario::Scenario;
use tokentide_sim::validate::compare;
use tokentide_sim::validate::deploy::scenario_with;
use tokentide_sim::validate::measured::read_runs;
use tokentide_sim::validate::measured::{MeasuredRequest, Pacing, Run};
use tokentide_tests::real_run::{Row, number, rows};
use tokentide_tests::recorded_probe::recorded;
use tokentide_tests::shared::shared;
use tokentide_tests::virtual_server::{Disturbance, Known, VirtualServer};

const PROBES: [&str; 3] = ["probe_prefill", "probe_decode", "probe_mixed"];

/// Six recordings of one load near capacity: same arrivals, same lengths.
const NEAR_CAPACITY: [&str; 6] = ["poisson_75_a", "poisson_75_b", "poisson_75_c", "poisson_75_d", "poisson_75_e", "poisson_75_f"];

/// The profile fitted to the recorded probes alone, as what predicts the recorded loads.
struct Predictor {
    shared: PathBuf,
    profile: Profile,
    scenario: Scenario,
}

impl Predictor {
    fn fitted(shared: PathBuf) -> Predictor {
        let (scenario, text, folder) = server();
        let samples = samples(&recorded(&shared, &PROBES), 512);
        let fit = fit_live(&samples, None, &scenario.deployment, &about()).unwrap();
        println!("{} samples, {} points", samples.steps.len(), fit.points.len());
        for c in &fit.coefficients {
            println!("{:>20} {:.5} ± {:.5} ms {}", c.term.name(), c.ms, c.half_width, c.unidentified.as_deref().unwrap_or(""));
        }
        let path = std::env::temp_dir().join(format!("tokentide-live-fit-{}.toml", std::process::id()));
        std::fs::write(&path, fit.profile.to_toml().unwrap()).unwrap();
        let set = [("cost.profile".to_owned(), format!("{:?}", path.display().to_string()))];
        let scenario = scenario_with(&text, "server.toml", &folder, &set).unwrap();
        std::fs::remove_file(&path).unwrap();
        Predictor { shared, profile: fit.profile, scenario }
    }

    /// Measured and predicted medians of TTFT, TPOT and e2e [ms] of a run, as its client saw them, corrected for its slowness.
    fn medians(&self, run: &str, slowness: f64) -> [(f64, f64); 3] {
        let measured = load(&recorded(&self.shared, &[run])).in_units_of(slowness);
        let report = compare::run(run, &Default::default(), &measured, &self.scenario);
        let median = |name: &str| {
            let metric = report.metrics.iter().find(|m| m.metric == name).unwrap();
            (metric.measured.p50 * slowness, metric.predicted.p50 * slowness)
        };
        let medians = ["ttft", "tpot", "e2e"].map(median);
        let shown = medians.map(|(m, p)| format!("{p:.1} for {m:.1} ({:+.1} %)", 100.0 * (p / m - 1.0)));
        println!("{run:12} slowness {slowness:.3}: p50 of TTFT {}, TPOT {}, e2e {} ms", shown[0], shown[1], shown[2]);
        medians
    }
}

/// Fitted to what a client saw of the probes, the loads at 40 and 60 % of capacity are predicted within 10 % in the median of TTFT
/// and 7 % in those of TPOT and e2e, corrected by how slow the machine was in that minute; six recordings of the load near capacity
/// within their own spread, uncorrected.
#[test]
fn recorded_loads_are_predicted_from_recorded_probes() {
    let Some(shared) = shared() else { return };
    let predictor = Predictor::fitted(shared);
    for run in ["poisson_40", "poisson_60"] {
        let slowness = slowness(&predictor.shared, run, &predictor.profile);
        for ((measured, predicted), bound) in predictor.medians(run, slowness).into_iter().zip([0.10, 0.07, 0.07]) {
            assert!((predicted / measured - 1.0).abs() < bound, "{run}: {predicted:.1} ms for {measured:.1} ms, bound {bound}");
        }
    }
    let runs = NEAR_CAPACITY.map(|run| predictor.medians(run, 1.0));
    for (i, figure) in ["TTFT", "TPOT", "e2e"].into_iter().enumerate() {
        let measured = runs.map(|run| run[i].0);
        let (least, most) = measured.iter().fold((f64::INFINITY, 0.0_f64), |(l, m), &x| (l.min(x), m.max(x)));
        let mean = measured.iter().sum::<f64>() / 6.0;
        let predicted = runs.iter().map(|run| run[i].1).sum::<f64>() / 6.0;
        println!("{figure}: measured {least:.1} to {most:.1}, mean {mean:.1}; predicted {predicted:.1}");
        assert!(
            (predicted - mean).abs() < most - least,
            "{figure}: {predicted:.1} ms for {mean:.1} ms, spread {:.1}",
            most - least
        );
    }
}

/// The server of the recorded runs, with the text and folder of its scenario.
fn server() -> (Scenario, String, PathBuf) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/cpu-server");
    let text = std::fs::read_to_string(folder.join("server.toml")).unwrap();
    (scenario_with(&text, "server.toml", &folder, &[]).unwrap(), text, folder)
}

fn about() -> About {
    About { engine: "vllm".into(), engine_version: "0.32.0".into(), date: "2026-11-25".into(), source: "probe".into() }
}

/// The open-loop requests of observations as a measured run.
fn load(observations: &Observations) -> Run {
    let requests = observations.points.iter().flat_map(|(_, requests)| requests);
    let one = |r: &RequestRecord| {
        let (first, last) = (r.chunks[0].0, r.chunks.last().unwrap().0);
        let ms = |from: u64, to: u64| (to - from) as f64 / 1e6;
        MeasuredRequest {
            id: r.index.to_string(),
            arrival_s: Some(r.sent_ns as f64 / 1e9),
            input_tokens: r.input,
            output_tokens: r.output,
            ttft_ms: Some(ms(r.sent_ns, first)),
            tpot_ms: (r.output > 1).then(|| ms(first, last) / f64::from(r.output - 1)),
            e2e_ms: Some(ms(r.sent_ns, last)),
            ..MeasuredRequest::default()
        }
    };
    let mut requests: Vec<MeasuredRequest> = requests.map(one).collect();
    requests.sort_by(|a, b| a.arrival_s.unwrap().total_cmp(&b.arrival_s.unwrap()));
    Run { requests, block_tokens: 0, ..Run::new("recorded", Pacing::Recorded) }
}

/// How much slower the run's steps were than the profile has them, by the server's own step log.
fn slowness(shared: &Path, run: &str, profile: &Profile) -> f64 {
    let coefficients = Coefficients::of(profile).unwrap();
    let steps = rows(&shared.join("data/vllm_cpu").join(run).join("steps.csv.gz"));
    let (mut measured, mut predicted) = (0.0, 0.0);
    for (i, row) in steps.iter().enumerate() {
        let end = number(row, "update_end_s");
        let next = steps.get(i + 1).map_or(end, |next| number(next, "sched_start_s"));
        let until = if next - end < 2e-3 { next } else { end };
        measured += (until - number(row, "sched_start_s")) * 1e3;
        predicted += coefficients.predict(&shape(row));
    }
    measured / predicted
}

/// What a step of the server's step log computed.
fn shape(row: &Row) -> BatchShape {
    let of = |column: &str| number(row, column);
    BatchShape {
        decodes: of("n_decode") as u32,
        decode_context: of("decode_ctx") as u64,
        prefill_chunks: of("n_prefill") as u32,
        prefill_tokens: of("prefill_tokens") as u64,
        prefill_history: of("prefill_ctx") as u64,
        prefill_pairs: of("prefill_qk") as u64,
        ..BatchShape::default()
    }
}

/// How much longer the decode steps of a run are in which a request is sent, and those after one has ended, than the others [ms]:
/// by the server's own step log, in the mean.
fn coming_and_going(shared: &Path, run: &str, profile: &Profile) -> [f64; 2] {
    let folder = shared.join("data/vllm_cpu").join(run);
    let requests = rows(&folder.join("requests.csv.gz"));
    let times = |column: &str| requests.iter().map(|row| number(row, column)).collect::<Vec<_>>();
    let (sent, ended) = (times("send_s"), times("client_finish_s"));
    let coefficients = Coefficients::of(profile).unwrap();
    let mut excess: [Vec<f64>; 3] = Default::default();
    for row in rows(&folder.join("steps.csv.gz")).iter().filter(|row| number(row, "n_prefill") == 0.0) {
        let (start, end) = (number(row, "sched_start_s"), number(row, "exec_end_s"));
        let within = |times: &[f64], before: f64| times.iter().any(|&at| start - before <= at && at < end);
        // What was sent shortly before keeps the front end busy still; the client learns of an end after the step that made it.
        let group = match (within(&sent, 0.005), within(&ended, 0.002)) {
            (true, false) => 1,
            (false, true) => 2,
            (false, false) => 0,
            (true, true) => continue,
        };
        excess[group].push(number(row, "exec_ms") - coefficients.predict(&shape(row)));
    }
    let [others, came, went] = excess.map(|ms| ms.iter().sum::<f64>() / ms.len() as f64);
    [came - others, went - others]
}

/// What a fit to the client's times says of a request's coming and going, the server's own step log says as well.
#[test]
fn steps_are_longer_where_requests_come_and_go() {
    let Some(shared) = shared() else { return };
    let predictor = Predictor::fitted(shared);
    let runs: Vec<&str> = ["poisson_40", "poisson_60"].into_iter().chain(NEAR_CAPACITY).collect();
    let all: Vec<[f64; 2]> = runs.iter().map(|run| coming_and_going(&predictor.shared, run, &predictor.profile)).collect();
    for (run, [came, went]) in runs.iter().zip(&all) {
        println!("{run:12} a request comes: {came:.2} ms, goes: {went:.2} ms");
        assert!(*came > 0.2 && *went > 0.1, "{run}: {came} and {went}");
    }
    let mean = all.iter().flatten().sum::<f64>() / all.len() as f64;
    let fitted = predictor.profile.host.and_then(|host| host.arrival_us).unwrap() / 1e3;
    println!("together {mean:.2} ms in the mean, fitted {fitted:.2}");
    assert!((0.5..1.5).contains(&(mean / fitted)), "{mean} ms, fitted {fitted}");
}

/// A server whose linear layers turn from reading weights to computing at 200 tokens, as a GPU's do.
const KNOWN: Known = Known {
    step: 6.0,
    token: 0.004,
    knot: 200,
    token_beyond: 0.025,
    decode: 0.02,
    context: 6e-5,
    mean_context: 2e-4,
    chunk: 0.4,
    pair: 2e-6,
    // What reading 4,096 bytes takes at 200 GB/s: the fit takes it as known.
    history: 2.048e-5,
    request: 4.0,
    arrival: 1.2,
};
const PROMPTS: [u32; 14] = [16, 32, 64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 4096, 8192];
const BATCHES: [u32; 7] = [1, 2, 4, 8, 16, 32, 64];
const CONTEXTS: [u32; 3] = [128, 1024, 4096];

/// Largest relative error of the coefficients found of [`KNOWN`] by a disturbed probe, each printed.
fn worst(disturbance: Disturbance) -> f64 {
    let observations = VirtualServer::new(KNOWN, disturbance, 2048).probe(&PROMPTS, &BATCHES, &CONTEXTS, 3);
    let deployment = Deployment { max_num_batched_tokens: 2048, ..server().0.deployment };
    let fit = fit_live(&samples(&observations, 2048), None, &deployment, &about()).unwrap();
    let floor = Floor::new(&deployment).unwrap().attention();
    let error = |c: &Coefficient| {
        let known = match c.term {
            Term::Base => KNOWN.step,
            Term::Tokens { from: 0, .. } => KNOWN.token,
            Term::Tokens { .. } => KNOWN.token_beyond,
            Term::Decode => KNOWN.decode,
            Term::Context => KNOWN.context - floor.context_token_ms,
            Term::MeanContext => KNOWN.mean_context,
            Term::Chunk => KNOWN.chunk,
            Term::Pair => KNOWN.pair - floor.pair_ms,
            Term::Request => KNOWN.request + disturbance.jitter_ms / 2.0,
            Term::Arrival => KNOWN.arrival,
        };
        println!("{:>20} {:.6} ± {:.6} ms, known {known:.6}", c.term.name(), c.ms, c.half_width);
        assert_eq!(c.unidentified, None, "{}", c.term.name());
        100.0 * (c.ms / known - 1.0).abs()
    };
    let errors = fit.coefficients.iter().map(error).fold(0.0, f64::max);
    println!("worst {errors:.2} %; {} points, {} samples left out", fit.points.len(), fit.left_out);
    assert_eq!(fit.coefficients.len(), 10, "the knot, and no other");
    errors
}

#[test]
fn known_coefficients_are_found() {
    assert!(worst(Disturbance::default()) < 2.0);
    // One step in twenty takes a fifth longer.
    assert!(worst(Disturbance { slow_steps: 20, ..Disturbance::default() }) < 5.0);
    // And the client sees chunks up to half a millisecond late, and some two at a time.
    assert!(worst(Disturbance { slow_steps: 20, jitter_ms: 0.5, coalesced: 30 }) < 5.0);
}

/// A probe of one batch size and no long prompts cannot tell a decode's cost from a step's, nor attention from the rest.
#[test]
fn what_the_data_do_not_say_is_said() {
    let observations = VirtualServer::new(KNOWN, Disturbance::default(), 2048).probe(&[32, 64, 96, 128], &[8], &[128, 2048], 3);
    let deployment = Deployment { max_num_batched_tokens: 2048, ..server().0.deployment };
    let fit = fit_live(&samples(&observations, 2048), None, &deployment, &about()).unwrap();
    let unknown: Vec<String> = fit.coefficients.iter().filter(|c| c.unidentified.is_some()).map(|c| c.term.name()).collect();
    println!("{unknown:?}");
    assert!(
        ["decode", "context token", "mean context token"].iter().any(|name| unknown.contains(&(*name).to_owned())),
        "{unknown:?}"
    );
}

/// The recorded run of the live test: a probe of a real vLLM on a CPU, and an open-loop run that the fit has not seen, as it is and
/// corrected for how slow the machine was in it, by the steps that it shows.
#[test]
fn a_recorded_run_of_the_live_test_is_predicted() {
    let log = Path::new(env!("CARGO_MANIFEST_DIR")).join("../calibrate/measurements/cpu/vllm-0.32-tiny-llama.jsonl.gz");
    let observations = Observations::read(&log).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("live");
    let text = std::fs::read_to_string(folder.join("server.toml")).unwrap();
    let unpriced = scenario_with(&text, "server.toml", &folder, &[]).unwrap();
    let fit = fit_live(&samples(&observations, 512), None, &unpriced.deployment, &about()).unwrap();
    let path = std::env::temp_dir().join(format!("tokentide-live-recorded-{}.toml", std::process::id()));
    std::fs::write(&path, fit.profile.to_toml().unwrap()).unwrap();
    let set = [("cost.profile".to_owned(), format!("{:?}", path.display().to_string()))];
    let scenario = scenario_with(&text, "server.toml", &folder, &set).unwrap();
    std::fs::remove_file(&path).unwrap();
    let run = read_runs(&log, None).unwrap().remove(0);
    let slowness = sample::slowness(&observations, &fit.profile, 512).unwrap();
    let errors = |unit: f64| {
        let report = compare::run("recorded", &Default::default(), &run.in_units_of(unit), &scenario);
        let errors =
            ["ttft", "tpot", "e2e"].map(|name| report.metrics.iter().find(|m| m.metric == name).unwrap().errors[1].unwrap());
        println!("{} requests, slowness {unit:.3}: medians of TTFT, TPOT, e2e are off by {errors:.1?} %", run.requests.len());
        errors
    };
    for unit in [1.0, slowness] {
        assert!(errors(unit).iter().all(|error| error.abs() < 5.0), "slowness {unit}");
    }
}
