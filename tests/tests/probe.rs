//! `tokentide calibrate probe` against the fake server: a whole experiment, and what it says when the server is not as it must be.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokentide_calibrate::observation::{Mark, Observations, PointKind};
use tokentide_calibrate::probe::{ProbeError, ProbeOptions, Summary, probe};
use tokentide_tests::fake_server::{Coefficients, Every, FakeServer, Faults, Foreign, Limits};

/// A log in the folder for temporary files, removed at the end.
struct TempLog(PathBuf);

impl TempLog {
    fn new(name: &str) -> TempLog {
        let path = std::env::temp_dir().join(format!("tokentide-probe-{name}-{}.jsonl", std::process::id()));
        let _ = std::fs::remove_file(&path);
        TempLog(path)
    }
}

#[cfg(any())]
impl Drop for TempLog {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn options(url: &str, log: &Path, seconds: u64) -> ProbeOptions {
    ProbeOptions { budget: Duration::from_secs(seconds), patience: Duration::from_secs(5), ..ProbeOptions::new(url, log) }
}

fn run(options: &ProbeOptions) -> Result<Summary, ProbeError> {
    probe(options, &Arc::new(AtomicBool::new(false)), &mut |p| eprintln!("{:?} {}", p.spent, p.what))
}

#[test]
fn a_whole_probe() {
    let coefficients = Coefficients::default();
    let server = FakeServer::start(coefficients, Faults::default());
    let log = TempLog::new("whole");
    let summary = run(&options(&server.url(), &log.0, 15)).expect("it is probed");
    eprintln!("{summary:#?}");
    let seen = Observations::read(&log.0).expect("a log");
    for (point, requests) in &seen.points {
        eprintln!(
            "{} {} {:.1} ms {:?} {}",
            point.point,
            point.rep,
            (point.end_ns - point.start_ns) as f64 / 1e6,
            point.marks,
            requests.len()
        );
    }
}
