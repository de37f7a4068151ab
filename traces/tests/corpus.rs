//! What fuzzing has found worth keeping (`traces/fuzz/corpus`) still neither panics nor breaks what every trace keeps. How it is
//! found: docs/traces.md.

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use std::path::Path;

/// A target's name, and what it does with bytes.
type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 17] = [
    ("detected", fuzz::detected),
    ("mapped", fuzz::mapped),
    ("bailian", fuzz::bailian),
    ("llmservingsim", fuzz::llmservingsim),
    ("aiperf_sessions", fuzz::aiperf_sessions),
    ("weka", fuzz::weka),
    ("servegen", fuzz::servegen),
    ("vllm_bench", fuzz::vllm_bench),
    ("guidellm", fuzz::guidellm),
    ("aiperf_export", fuzz::aiperf_export),
    ("inference_perf", fuzz::inference_perf),
    ("probe", fuzz::probe),
    ("logs", fuzz::logs),
    ("otlp", fuzz::otlp),
    ("span_dump", fuzz::span_dump),
    ("langfuse", fuzz::langfuse),
    ("page", fuzz::page),
];

#[test]
fn the_corpus_is_read_without_a_panic() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let folders = std::fs::read_dir(&root).expect("the corpus").count();
    assert_eq!(folders, TARGETS.len(), "a folder for each target");
    for (name, target) in TARGETS {
        let files = std::fs::read_dir(root.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut count = 0;
        for file in files {
            let path = file.expect("a file").path();
            println!("{}", path.display());
            target(&std::fs::read(&path).expect("a file"));
            count += 1;
        }
        assert!(count > 0, "{name} has no input");
    }
}
