//! `calibrate::kernels::record` against the fake server, which has a profiler's routes; the test writes the traces in its place.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokentide_calibrate::kernels::{LiveOptions, Recorded, Rules, analyse_found, record};
use tokentide_calibrate::probe::{ProbeError, ProbeOptions};
use tokentide_tests::fake_server::{Coefficients, FakeServer, Faults};

struct TempDir(PathBuf);

impl TempDir {
    fn new(name: &str) -> TempDir {
        let path = std::env::temp_dir().join(format!("tokentide-kernels-live-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        TempDir(path)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn options(server: &FakeServer, trace_dir: &Path) -> LiveOptions {
    let server = ProbeOptions { patience: Duration::from_secs(2), ..ProbeOptions::new(server.url(), "") };
    let (batches, prompts) = (vec![1, 4], vec![64, 256, 4096]);
    LiveOptions { server, trace_dir: trace_dir.to_owned(), batches, context: 32, steps: 5, prompts, repeats: 2 }
}

fn run(options: &LiveOptions) -> Result<Recorded, ProbeError> {
    record(options, &AtomicBool::new(false), &mut |_, _| {})
}

fn step(label: &str) -> String {
    let span = format!(r#"{{"ph":"X","cat":"user_annotation","name":"{label}","tid":1,"ts":10,"dur":50}}"#);
    format!(r#"{{"traceEvents":[{span},{{"ph":"X","cat":"cpu_op","name":"aten::mm","tid":1,"ts":20,"dur":30}}]}}"#)
}

#[test]
fn traces_that_come_after_the_start_are_found() {
    let (server, dir) =
        (FakeServer::start(Coefficients::default(), Faults { profiler: true, ..Faults::default() }), TempDir::new("found"));
    let file = |name: &str| dir.0.join(name);
    std::fs::write(file("rank0.old.json"), step("execute_context_1(9)_generation_0(0)")).unwrap();
    let recorded = std::thread::scope(|scope| {
        scope.spawn(|| {
            while server.profiled() == 0 {
                std::thread::sleep(Duration::from_millis(5));
            }
            std::fs::create_dir(file("sub")).unwrap();
            std::fs::write(file("sub/rank0.json"), step("execute_context_1(64)_generation_0(0)")).unwrap();
            std::fs::write(file("frontend.json"), step("a span")).unwrap();
            std::fs::write(file("profiler_out_0.txt"), "no trace").unwrap();
        });
        run(&options(&server, &dir.0)).unwrap()
    });
    assert_eq!(recorded.traces, [file("frontend.json"), file("sub/rank0.json")]);
    assert_eq!(recorded.server.model, "fake");
    assert!(recorded.notes[0].contains("prompts of 4096 tokens are left out"), "{:?}", recorded.notes);
    // One to try, then the four prompts and five decodes, once to warm up.
    assert_eq!((server.profiled(), server.asked()), (1, 1 + 2 * 9));
    let report = analyse_found(&recorded.traces, &Rules::new(None).unwrap()).unwrap();
    assert_eq!((report.ranks.len(), report.ranks[0].steps), (1, 1));
    assert!(report.notes[0].contains("frontend.json: no step"), "{:?}", report.notes);
}

#[test]
fn what_is_missing_is_told_with_what_to_do() {
    let dir = TempDir::new("missing");
    let plain = FakeServer::start(Coefficients::default(), Faults::default());
    let error = run(&options(&plain, &dir.0)).unwrap_err();
    assert!(error.message.contains("has no profiler (POST /start_profile: 404)"), "{error}");
    assert!(error.help.contains("--profiler-config") && error.help.contains(&dir.0.display().to_string()), "{}", error.help);
    let server = FakeServer::start(Coefficients::default(), Faults { profiler: true, ..Faults::default() });
    let error = run(&options(&server, &dir.0)).unwrap_err();
    assert!(error.message.contains("no new trace came to") && error.help.contains("--trace-dir must be the folder"), "{error}");
    let error = run(&options(&server, &dir.0.join("nowhere"))).unwrap_err();
    assert!(error.message.contains("cannot read the folder"), "{error}");
    let long = LiveOptions { context: 5000, prompts: vec![9000], ..options(&server, &dir.0) };
    assert!(run(&long).unwrap_err().message.contains("no prompt fits"));
    let refusing = FakeServer::start(Coefficients::default(), Faults { chat_only: true, ..Faults::default() });
    assert!(run(&options(&refusing, &dir.0)).unwrap_err().message.contains("/v1/chat/completions only"));
    // All that can be known before is told before the profiler is started.
    assert_eq!(server.profiled(), 1);
}
