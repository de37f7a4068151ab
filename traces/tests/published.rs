//! Published traces: rows, sums and statistics as their README and the reference of formats give them.

mod common;

use common::{file, shared};
use tokentide_traces::error::FaultKind;
use tokentide_traces::number::Unit;

/// File, rows, span [s], CV, dispersion at 1, 10 and 60 s, p50 and p95 of input, p50 and p95 of output.
type Published = (&'static str, u64, f64, f64, [f64; 3], [u32; 2], [u32; 2]);

#[test]
fn traces_have_their_published_statistics() {
    let traces: [Published; 4] = [
        ("azure2023_conv.csv.gz", 19_366, 3502.0, 1.09, [1.39, 3.86, 16.1], [1020, 4083], [129, 451]),
        ("azure2023_code.csv.gz", 8_819, 3436.0, 13.15, [13.2, 71.6, 164.0], [1469, 7315], [13, 90]),
        ("mooncake_conversation.jsonl.gz", 12_031, 3537.0, 3.03, [7.9, 2.1, 2.9], [6909, 39_552], [350, 698]),
        ("servegen_r1_1h_x0.25_seed1.csv.gz", 12_110, 3599.0, 1.65, [4.9, 10.5, 19.6], [121, 7115], [1959, 9097]),
    ];
    let near = |a: f64, b: f64| (a / b - 1.0).abs() < 0.02;
    for (name, rows, span, cv, dispersion, input, output) in traces {
        let Some(path) = shared(&format!("traces/{name}")) else { continue };
        let (report, _) = file(&path, |_| {}).unwrap();
        let f = &report.figures;
        assert_eq!((report.rows_read, report.rows_kept), (rows, rows), "{name}");
        assert!((f.arrivals.span_s - span).abs() < 1.0, "{name}: {}", f.arrivals.span_s);
        assert!(near(f.arrivals.cv.unwrap(), cv), "{name}: {:?}", f.arrivals.cv);
        for (found, want) in f.arrivals.dispersion.iter().zip(dispersion) {
            assert!(near(found.unwrap(), want), "{name}: {:?}", f.arrivals.dispersion);
        }
        assert_eq!(([f.input.p50, f.input.p95], [f.output.p50, f.output.p95]), (input, output), "{name}");
    }
}

#[test]
fn prefix_hits_are_those_of_an_unlimited_cache() {
    if let Some(path) = shared("traces/mooncake_conversation.jsonl.gz") {
        let (report, _) = file(&path, |_| {}).unwrap();
        let prefix = report.figures.prefix.unwrap();
        assert_eq!((prefix.block_tokens, prefix.sampled_one_in), (Some(512), 1));
        assert!((prefix.hit_ceiling - 0.374).abs() < 0.001, "{}", prefix.hit_ceiling);
        // Arrivals sit on ticks of three seconds.
        assert_eq!(report.figures.arrivals.tick_s, Some(3.0));
        assert!(report.warnings.iter().any(|w| w.contains("--jitter 3s")), "{:?}", report.warnings);
    }
    if let Some(path) = shared("traces/sharegpt300_len_hash16.jsonl.gz") {
        assert_eq!(file(&path, |_| {}).unwrap_err().fault.kind, FaultKind::AmbiguousUnit);
        let (report, rows) = file(&path, |o| o.read.time_unit = Some(Unit::Seconds)).unwrap();
        let prefix = report.figures.prefix.unwrap();
        assert_eq!((rows.len(), prefix.block_tokens), (300, Some(16)));
        assert!((prefix.hit_ceiling - 0.076).abs() < 0.001, "{}", prefix.hit_ceiling);
    }
}

#[test]
fn turns_that_are_deltas_become_whole_prompts() {
    let Some(path) = shared("traces/aiperf_agentic_code_400s.jsonl.gz") else { return };
    let (report, _) = file(&path, |_| {}).unwrap();
    let f = &report.figures;
    assert_eq!((report.rows_kept, f.sessions, f.waiting), (4_720, 421, 4_299));
    assert_eq!((f.input.p50, f.input.p95, f.input.max, f.input.mean as u32), (96_953, 183_549, 199_966, 104_631));
    assert!(report.warnings.iter().any(|w| w.contains("421 sessions") && w.contains("--session-rate")), "{:?}", report.warnings);
    let (paced, rows) = file(&path, |o| o.session_rate = Some(0.5)).unwrap();
    assert!(!paced.warnings.iter().any(|w| w.contains("--session-rate")));
    let rate = paced.figures.arrivals.rate;
    assert!((rate - 0.5).abs() < 0.1, "{rate}");
    // Turns stand behind the one that they wait for.
    for pair in rows.windows(2).filter(|pair| pair[1].delay_ps.is_some()) {
        assert_eq!((&pair[0].session, pair[0].arrival_ps), (&pair[1].session, pair[1].arrival_ps));
        assert_eq!(pair[1].history_tokens, Some(pair[0].input_tokens + pair[0].output_tokens));
    }
}

/// The pool's exact mixture over 24 hours, against one draw of it.
#[test]
fn a_pool_of_clients_is_drawn_as_it_says() {
    let Some(path) = shared("traces/servegen_reason_deepseek-r1.tar.gz") else { return };
    let (report, _) = file(&path, |_| {}).unwrap();
    let f = &report.figures;
    let near = |a: f64, b: f64, by: f64| assert!((a / b - 1.0).abs() < by, "{a} {b}");
    near(report.rows_kept as f64, 1.38e6, 0.01);
    for (found, want) in [(f.input.p25, 41), (f.input.p50, 208), (f.input.p75, 482), (f.input.p90, 2092), (f.input.p95, 6714)] {
        near(found.into(), want.into(), 0.03);
    }
    for (found, want) in
        [(f.output.p5, 225), (f.output.p50, 792), (f.output.p90, 3432), (f.output.p95, 5701), (f.output.p99, 12_607)]
    {
        near(found.into(), want.into(), 0.03);
    }
    near(f.reasoning_tokens as f64 / f.output.total as f64, 0.74, 0.03);
    // A draw is the same for its seed, and a window of it is a window.
    let hour = |seed: u64| file(&path, |o| (o.window, o.rate_scale, o.seed) = (Some((36_000.0, 39_600.0)), 0.25, seed)).unwrap();
    let (one, rows) = hour(1);
    assert_eq!(hour(1).1, rows);
    assert_ne!(hour(2).1, rows);
    near(one.rows_kept as f64, 12_110.0, 0.12);
}
