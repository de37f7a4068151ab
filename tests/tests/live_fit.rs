//! A cost profile fitted to what a client saw of a real server.

use std::path::{Path, PathBuf};

use tokentide_calibrate::live::fit::About;
use tokentide_calibrate::live::{Term, fit_live, samples};
use tokentide_calibrate::observation::{Observations, RequestRecord};
use tokentide_calibrate::predict::Coefficients;
use tokentide_models::cost::{BatchShape, Profile};
use tokentide_sim::scenario::Scenario;
use tokentide_sim::validate::compare;
use tokentide_sim::validate::deploy::scenario_with;
use tokentide_sim::validate::measured::{MeasuredRequest, Pacing, Run};
use tokentide_tests::real_run::{number, rows};
use tokentide_tests::recorded_probe::recorded;
use tokentide_tests::shared::shared;
use tokentide_tests::virtual_server::{Disturbance, Known, VirtualServer};

const PROBES: [&str; 3] = ["probe_prefill", "probe_decode", "probe_mixed"];

const RUNS: [&str; 8] =
    ["poisson_40", "poisson_60", "poisson_75_a", "poisson_75_b", "poisson_75_c", "poisson_75_d", "poisson_75_e", "poisson_75_f"];

#[test]
fn recorded_probes() {
    let Some(shared) = shared() else { return };
    let (scenario, text, folder) = server();
    let observations = recorded(&shared, &PROBES);
    let started = std::time::Instant::now();
    let samples = samples(&observations, 512);
    println!("{} samples in {:?}", samples.len(), started.elapsed());
    let fit = fit_live(&samples, &scenario.deployment, &about()).unwrap();
    println!("{:?}", started.elapsed());
    for c in &fit.coefficients {
        println!("{:>22} {:.6} +- {:.6} {}", c.term.name(), c.ms, c.half_width, c.unidentified.as_deref().unwrap_or(""));
    }
    for (p, held_out) in &fit.points {
        println!(
            "{:>30} n {:4} out {:3} spread {:?} {:.3} {:.3} {:+.1} %",
            p.name,
            p.samples,
            p.left_out,
            p.spread.map(|s| (s * 1e4).round() / 1e2),
            p.ms,
            held_out,
            (held_out / p.ms - 1.0) * 100.0
        );
    }
    println!("{}", fit.profile.to_toml().unwrap());
    let path = std::env::temp_dir().join(format!("tokentide-live-fit-{}.toml", std::process::id()));
    std::fs::write(&path, fit.profile.to_toml().unwrap()).unwrap();
    let set = [("cost.profile".to_owned(), format!("{:?}", path.display().to_string()))];
    let scenario = scenario_with(&text, "server.toml", &folder, &set).unwrap();
    std::fs::remove_file(&path).unwrap();
    for run in RUNS {
        let slowness = slowness(&shared, run, &fit.profile);
        for factor in [1.0, slowness] {
            let measured = load(&recorded(&shared, &[run]), factor);
            let report = compare::run(run, &Default::default(), &measured, &scenario);
            print!("{run:14} slowness {factor:.3}: ");
            for metric in &report.metrics {
                if ["ttft", "tpot", "e2e"].contains(&metric.metric) {
                    let (m, p) = (&metric.measured, &metric.predicted);
                    let [mean, p50, _, p99] = metric.errors.map(|e| e.unwrap_or(f64::NAN));
                    print!(
                        "{} p50 {:.1} for {:.1} ({p50:+.1} %), mean {mean:+.1} %, p99 {p99:+.1} %; ",
                        metric.metric, p.p50, m.p50
                    );
                }
            }
            println!();
        }
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

/// The open-loop requests of observations as a measured run, in units of time of which one is `unit` seconds or milliseconds.
fn load(observations: &Observations, unit: f64) -> Run {
    let requests = observations.points.iter().flat_map(|(_, requests)| requests);
    let one = |r: &RequestRecord| {
        let (first, last) = (r.chunks[0].0, r.chunks.last().unwrap().0);
        let ms = |from: u64, to: u64| (to - from) as f64 / 1e6 / unit;
        MeasuredRequest {
            id: r.index.to_string(),
            arrival_s: Some(r.sent_ns as f64 / 1e9 / unit),
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
    Run { format: "recorded", requests, pacing: Pacing::Recorded, block_tokens: 0, left_out: Vec::new() }
}

/// How much slower the run's steps were than the profile has them, by the server's own step log.
fn slowness(shared: &Path, run: &str, profile: &Profile) -> f64 {
    let coefficients = Coefficients::of(profile).unwrap();
    let steps = rows(&shared.join("data/vllm_cpu").join(run).join("steps.csv.gz"));
    let (mut measured, mut predicted) = (0.0, 0.0);
    for (i, row) in steps.iter().enumerate() {
        let of = |column: &str| number(row, column);
        let shape = BatchShape {
            decodes: of("n_decode") as u32,
            decode_context: of("decode_ctx") as u64,
            prefill_chunks: of("n_prefill") as u32,
            prefill_tokens: of("prefill_tokens") as u64,
            prefill_history: of("prefill_ctx") as u64,
            prefill_pairs: of("prefill_qk") as u64,
            ..BatchShape::default()
        };
        let end = of("update_end_s");
        let next = steps.get(i + 1).map_or(end, |next| number(next, "sched_start_s"));
        let until = if next - end < 2e-3 { next } else { end };
        measured += (until - of("sched_start_s")) * 1e3;
        predicted += coefficients.predict(&shape);
    }
    measured / predicted
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
};
const PROMPTS: [u32; 14] = [16, 32, 64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 4096, 8192];
const BATCHES: [u32; 7] = [1, 2, 4, 8, 16, 32, 64];
const CONTEXTS: [u32; 3] = [128, 1024, 4096];

/// Largest relative error of the coefficients of a fit [%], each printed.
fn worst(disturbance: Disturbance) -> f64 {
    let observations = VirtualServer::new(KNOWN, disturbance, 2048).probe(&PROMPTS, &BATCHES, &CONTEXTS, 3);
    let (scenario, _, _) = server();
    let mut deployment = scenario.deployment.clone();
    deployment.max_num_batched_tokens = 2048;
    let fit = fit_live(&samples(&observations, 2048), &deployment, &about()).unwrap();
    let floor = tokentide_models::cost::Floor::new(&deployment).unwrap().attention();
    let mut worst: f64 = 0.0;
    for c in &fit.coefficients {
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
        };
        println!(
            "{:>22} {:.7} +- {:.7}, known {known:.7} ({:+.2} %) {:?}",
            c.term.name(),
            c.ms,
            c.half_width,
            100.0 * (c.ms / known - 1.0),
            c.unidentified
        );
        worst = worst.max(100.0 * (c.ms / known - 1.0).abs());
    }
    println!("{} points, {} left out", fit.points.len(), fit.left_out);
    worst
}

#[test]
fn known_coefficients_are_found() {
    worst(Disturbance::default());
    worst(Disturbance { slow_steps: 20, ..Disturbance::default() });
    worst(Disturbance { slow_steps: 20, jitter_ms: 0.5, coalesced: 30 });
}
