//! Published traces, where they are at hand: rows and sums as their README and the statistics of the format reference give them.

use super::*;

fn published(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("TOKENTIDE_SHARED").map(PathBuf::from);
    let root = root.unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared").into());
    let path = root.join("data/traces").join(name);
    if !path.exists() {
        println!("skipped: no file {} (set TOKENTIDE_SHARED)", path.display());
        return None;
    }
    Some(path)
}

/// Nearest-rank median.
fn median(mut values: Vec<u32>) -> u32 {
    values.sort_unstable();
    values[values.len().div_ceil(2) - 1]
}

/// (file, rows, span [s], mean and median input, mean and median output).
type Published = (&'static str, usize, f64, (f64, u32), (f64, u32));

#[test]
fn azure_and_mooncake_have_the_published_statistics() {
    let traces: [Published; 3] = [
        ("azure2023_conv.csv.gz", 19_366, 3502.0, (1155.0, 1020), (211.0, 129)),
        ("azure2023_code.csv.gz", 8_819, 3436.0, (2048.0, 1469), (27.9, 13)),
        ("mooncake_conversation.jsonl.gz", 12_031, 3537.0, (12035.0, 6909), (343.0, 350)),
    ];
    for (name, rows, span, input, output) in traces {
        let Some(path) = published(name) else { continue };
        let start = std::time::Instant::now();
        let mut source = open(&config(&path)).unwrap();
        let requests = drain(&mut source);
        println!("{name}: {rows} rows in {:?} (two passes)", start.elapsed());
        assert_eq!((requests.len(), source.summary().rows_kept, source.summary().rows_read), (rows, rows as u64, rows as u64));
        assert!((source.summary().span_s - span).abs() < 1.0, "{}", source.summary().span_s);
        assert_eq!(median(requests.iter().map(|r| r.input_tokens).collect()), input.1);
        assert_eq!(median(requests.iter().map(|r| r.output_tokens).collect()), output.1);
        let mean = |sum: u64| sum as f64 / rows as f64;
        assert!((mean(source.summary().input_tokens) - input.0).abs() < 0.6);
        assert!((mean(source.summary().output_tokens) - output.0).abs() < 0.6);
    }
}

/// The windows of "same request rate, different token load".
#[test]
fn windows_have_the_published_sums() {
    let Some(path) = published("azure2023_conv.csv.gz") else { return };
    for (start, requests, input, output) in [(2010.0, 1988, 1_722_992, 336_400), (1320.0, 2020, 2_842_494, 345_048)] {
        let config = TraceConfig { window: Some((start, start + 300.0)), ..config(&path) };
        let summary = open(&config).unwrap().summary().clone();
        assert_eq!((summary.rows_in_window, summary.input_tokens, summary.output_tokens), (requests, input, output));
    }
}

/// Tick arrivals, their jitter, and the hit rate of an unlimited cache: 37.4 % of the tokens.
#[test]
fn mooncake_arrives_on_ticks_and_shares_prefixes() {
    let Some(path) = published("mooncake_conversation.jsonl.gz") else { return };
    let cv = |requests: &[Request]| {
        let gaps: Vec<f64> = requests.windows(2).map(|w| w[1].arrival.since(w[0].arrival).as_secs_f64()).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        (gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt() / mean
    };
    let mut source = open(&config(&path)).unwrap();
    let requests = drain(&mut source);
    assert!((cv(&requests) - 3.03).abs() < 0.01);
    assert_eq!(source.summary().equal_stamps, 12_031 - 1_180);
    let jitter = Some(Duration::from_secs_f64(3.0));
    let spread = cv(&drain(&mut open(&TraceConfig { jitter, ..config(&path) }).unwrap()));
    assert!((spread - 1.01).abs() < 0.03, "{spread}");

    let mut seen = std::collections::HashSet::new();
    let (mut hit, mut all) = (0u64, 0u64);
    for request in &requests {
        let Prefix::Hashes { ids, .. } = &request.prefix else { panic!("hashes") };
        let blocks = ids.iter().take_while(|id| seen.contains(*id)).count() as u64;
        hit += (blocks * 512).min(u64::from(request.input_tokens));
        all += u64::from(request.input_tokens);
        seen.extend(ids.iter().copied());
    }
    assert!((hit as f64 / all as f64 - 0.374).abs() < 5e-4, "{}", hit as f64 / all as f64);
}

#[test]
fn look_alikes_ask_for_their_unit_and_can_be_mapped() {
    let Some(path) = published("sharegpt300_len_hash16.jsonl.gz") else { return };
    let error = open(&config(&path)).unwrap_err();
    assert_eq!(error.fault.kind, FaultKind::AmbiguousUnit);
    let columns =
        [("arrival", "timestamp:s"), ("input", "input_length"), ("output", "output_length"), ("prefix_hashes", "hash_ids")];
    let mapped = TraceConfig { columns: map(&columns), block_tokens: Some(16), ..config(&path) };
    let mut source = open(&mapped).unwrap();
    assert_eq!(drain(&mut source).len(), 300);
    assert!((source.summary().span_s - 29.0).abs() < 1.0);
    if let Some(path) = published("aiperf_agentic_code_400s.jsonl.gz") {
        let source = open(&config(&path)).unwrap();
        let summary = source.summary();
        assert_eq!((summary.rows_kept, summary.rows_waiting, source.feedback()), (4_720, 4_299, true));
        // Whole prompts, not what each turn adds.
        assert_eq!(summary.input_tokens / summary.rows_kept, 104_631);
    }
    if let Some(path) = published("servegen_r1_1h_x0.25_seed1.csv.gz") {
        let mut source = open(&config(&path)).unwrap();
        assert_eq!(source.summary().format, "vidur");
        assert_eq!((drain(&mut source).len(), source.labels().len()), (12_110, 26));
    }
}
