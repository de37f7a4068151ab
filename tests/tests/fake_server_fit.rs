//! Probe and fit together, over HTTP and in real time: the fake server's step costs come out of a probe of it.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokentide_calibrate::live::fit::About;
use tokentide_calibrate::live::{Coefficient, Term, fit_live, samples};
use tokentide_calibrate::observation::Observations;
use tokentide_calibrate::probe::{ProbeOptions, probe};
use tokentide_models::cost::Floor;
use tokentide_models::deployment::Deployment;
use tokentide_sim::validate::deploy::scenario_with;
use tokentide_tests::fake_server::{Coefficients, FakeServer, Faults, Limits, Outliers};

/// Times are measured, so one server at a time.
static ALONE: Mutex<()> = Mutex::new(());

const TRUTH: Coefficients = Coefficients {
    step: 4.0,
    per_token: 0.04,
    hinge: 0.04,
    hinge_at: 128,
    per_decode: 0.3,
    per_context: 0.001,
    per_pair: 8e-5,
    any_prefill: 3.0,
    request: 12.0,
};
const LIMITS: Limits =
    Limits { max_num_batched_tokens: 512, max_num_seqs: 16, max_model_len: 2048, block_size: 16, num_gpu_blocks: 4096 };

/// A deployment whose floor is far below what the fake server takes, which reads no keys and values.
fn deployment() -> Deployment {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/cpu-server");
    let text = std::fs::read_to_string(folder.join("server.toml")).unwrap();
    let fast = ("gpu.custom.memory_gb_per_s".to_owned(), "20000.0".to_owned());
    scenario_with(&text, "server.toml", &folder, &[fast]).unwrap().deployment
}

/// Probes a fake server for so long and fits it: coefficients with their relative errors [%].
fn errors(faults: Faults, seconds: u64) -> Vec<(String, f64)> {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let server = FakeServer::with_limits(TRUTH, LIMITS, faults);
    let log = std::env::temp_dir().join(format!("tokentide-fake-fit-{}.jsonl", std::process::id()));
    let _ = std::fs::remove_file(&log);
    let options = ProbeOptions {
        budget: Duration::from_secs(seconds),
        max_num_batched_tokens: Some(LIMITS.max_num_batched_tokens),
        max_num_seqs: Some(LIMITS.max_num_seqs),
        input_mean: 128.0,
        output_mean: 24.0,
        ..ProbeOptions::new(server.url(), &log)
    };
    probe(&options, &Arc::new(AtomicBool::new(false)), &mut |_| ()).expect("it is probed");
    let observations = Observations::read(&log).unwrap();
    let _ = std::fs::remove_file(&log);
    let about = About { engine: "fake".into(), engine_version: "0".into(), date: "2026-11-25".into(), source: "a test".into() };
    let deployment = deployment();
    let samples = samples(&observations, LIMITS.max_num_batched_tokens);
    let fit = fit_live(&samples, None, &deployment, &about).unwrap();
    let floor = Floor::new(&deployment).unwrap().attention();
    println!("{} samples, {} points, {} left out", samples.len(), fit.points.len(), fit.left_out);
    let error = |c: &Coefficient| {
        let known = match c.term {
            Term::Base => TRUTH.step,
            Term::Tokens { from, .. } if from < TRUTH.hinge_at / 2 => TRUTH.per_token,
            Term::Tokens { .. } => TRUTH.per_token + TRUTH.hinge,
            Term::Decode => TRUTH.per_decode,
            Term::Context => TRUTH.per_context - floor.context_token_ms,
            Term::Chunk => TRUTH.any_prefill,
            Term::Pair => TRUTH.per_pair - floor.pair_ms,
            Term::Request => TRUTH.request,
            // The server has none.
            Term::MeanContext => return None,
        };
        let error = 100.0 * (c.ms / known - 1.0);
        println!("{:>20} {:.6} ± {:.6} ms, known {known:.6} ({error:+.2} %)", c.term.name(), c.ms, c.half_width);
        Some((c.term.name(), error))
    };
    fit.coefficients.iter().filter_map(error).collect()
}

/// Real time on a machine that others may use: one minute in which nothing else ran is enough.
const ATTEMPTS: usize = 6;

/// Holds all coefficients to a bound [%].
fn within(bound: f64, faults: &Faults) {
    let mut worst = Vec::new();
    for _ in 0..ATTEMPTS {
        let errors = errors(faults.clone(), 30);
        match errors.into_iter().find(|(_, error)| error.abs() >= bound) {
            None => return,
            Some((name, error)) => worst.push(format!("{name}: {error:+.2} %")),
        }
    }
    panic!("not within {bound} % in {ATTEMPTS} attempts: {worst:?}");
}

#[test]
fn a_probe_of_a_server_gives_its_coefficients() {
    within(2.0, &Faults::default());
}

/// A fifth more time in a twentieth of the steps.
#[test]
fn outliers_do_not_matter() {
    within(5.0, &Faults { outliers: Some(Outliers { share: 0.05, factor: 1.2 }), ..Faults::default() });
}
