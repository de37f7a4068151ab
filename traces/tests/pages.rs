//! What metrics pages say of a load: the numbers of real servers, and of traces that are counted as a server would.

mod common;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use common::{file, shared};
use tokentide_traces::error::FaultKind;
use tokentide_traces::fit::{ScrapeFitOptions, fit_load};
use tokentide_traces::scrape::histogram::at;
use tokentide_traces::scrape::{Histogram, Load, ScrapeOptions};
use tokentide_traces::{TraceError, TraceRow};

fn every(seconds: f64) -> ScrapeOptions {
    ScrapeOptions { interval_s: Some(seconds), ..ScrapeOptions::default() }
}

/// Pages in files that are removed again.
fn load(pages: &[&str], options: &ScrapeOptions) -> Result<Load, TraceError> {
    let folder = tempfile::tempdir().unwrap();
    let write = |(k, text): (usize, &&str)| {
        let path = folder.path().join(format!("{k}.prom"));
        std::fs::write(&path, text).unwrap();
        path
    };
    let paths: Vec<PathBuf> = pages.iter().enumerate().map(write).collect();
    Load::read(&paths, options)
}

/// A page of an engine with so many requests of 300 tokens in and 30 out.
fn page(engine: u32, requests: u32) -> String {
    let mut text = String::new();
    for (name, value, bounds) in [("request_prompt_tokens", 300, [200, 500]), ("request_generation_tokens", 30, [20, 50])] {
        for (bound, count) in [(bounds[0].to_string(), 0), (bounds[1].to_string(), requests), ("+Inf".to_owned(), requests)] {
            let _ = writeln!(text, "vllm:{name}_bucket{{engine=\"{engine}\",le=\"{bound}\",model_name=\"m\"}} {count}.0");
        }
        let _ = writeln!(text, "vllm:{name}_count{{engine=\"{engine}\",model_name=\"m\"}} {requests}");
        let _ = writeln!(text, "vllm:{name}_sum{{engine=\"{engine}\",model_name=\"m\"}} {}", requests * value);
    }
    text
}

#[test]
fn the_published_pages_are_read() {
    let Some(vllm) = shared("fixtures/vllm_metrics_synthetic.prom") else { return };
    let later = vllm.with_file_name("vllm_metrics_synthetic_plus60s.prom");
    let one = Load::read(std::slice::from_ref(&vllm), &ScrapeOptions::default()).unwrap();
    assert_eq!((one.engine, one.finished, one.prompt.sum, one.generation.sum), ("vllm", 200.0, 206_315.0, 39_796.0));
    assert_eq!((one.span_s, one.max_tokens, one.servers), (None, Some(1024), 1));
    assert!((one.hit_share.unwrap() - 61_894.0 / 206_315.0).abs() < 1e-6);
    // Half as much again a minute later; nothing more is running.
    let two = Load::read(&[vllm.clone(), later.clone()], &every(60.0)).unwrap();
    assert_eq!((two.finished, two.span_s, two.scrapes), (100.0, Some(60.0), 2));
    assert!((two.hit_share.unwrap() - 0.3).abs() < 1e-3);
    // The other way round it is a restart: what the later one has counted since.
    let back = Load::read(&[later, vllm], &every(60.0)).unwrap();
    assert_eq!((back.restarts, back.finished), (1, 200.0));

    let sglang = shared("fixtures/sglang_metrics_synthetic.prom").unwrap();
    let one = Load::read(&[sglang], &every(600.0)).unwrap();
    assert_eq!((one.engine, one.finished, one.prompt.sum, one.generation.sum), ("sglang", 100.0, 112_401.0, 18_648.0));
    assert_eq!((one.context, one.block_tokens), (Some(32_768), Some(64)));
    assert!((one.hit_share.unwrap() - 44_920.0 / 112_401.0).abs() < 1e-6);
    // Seven are in flight.
    assert!((one.figures().rate.unwrap() - 107.0 / 600.0).abs() < 1e-9);
}

#[test]
fn engines_are_summed_after_their_differences_and_restarts_begin_anew() {
    let both = |a: u32, b: u32| page(0, a) + &page(1, b);
    let load = |pages: &[&str]| self::load(pages, &every(10.0)).unwrap();
    let found = load(&[&both(100, 50), &both(110, 70), &both(120, 80)]);
    assert_eq!((found.finished, found.restarts, found.servers), (50.0, 0, 2));
    let arrivals: Vec<_> = found.arrivals.iter().map(|(start, _, count)| (*start, *count)).collect();
    assert_eq!(arrivals, [(0.0, 30.0), (10.0, 20.0)]);
    // Engine 1 counts from zero again: summed first, the fall would be hidden.
    let found = load(&[&both(100, 50), &both(200, 7)]);
    assert_eq!((found.finished, found.restarts), (107.0, 1));
    // An engine that was not there before is known from then on only.
    let found = load(&[&page(0, 100), &both(110, 500), &both(120, 510)]);
    assert_eq!((found.finished, found.servers), (30.0, 2));
    // One that has gone has counted until then.
    assert_eq!(load(&[&both(1, 1), &both(5, 5), &page(0, 9)]).finished, 12.0);
}

#[test]
fn time_stamps_say_when() {
    let stamp = |text: &str, at: &str| text.lines().map(|line| format!("{line} {at}\n")).collect::<String>();
    let (a, b) = (page(0, 10), page(0, 70));
    let none = ScrapeOptions::default();
    // Prometheus: milliseconds.
    let found = load(&[&stamp(&a, "1700000000000"), &stamp(&b, "1700000030000")], &none).unwrap();
    assert_eq!((found.finished, found.span_s), (60.0, Some(30.0)));
    // OpenMetrics: seconds; several samples of a series in one file.
    let both = a.lines().zip(b.lines()).map(|(a, b)| format!("{a} 100.5\n{b} 160.5\n")).collect::<String>() + "# EOF\n";
    let found = load(&[&both], &none).unwrap();
    assert_eq!((found.finished, found.span_s, found.scrapes), (60.0, Some(60.0), 2));
    // Targets of a federation are asked one after another.
    let federated = |n, at: u64| stamp(&page(0, n), &at.to_string()) + &stamp(&page(1, n), &(at + 400).to_string());
    let found = load(&[&federated(10, 1_000_000), &federated(40, 1_060_000)], &none).unwrap();
    assert_eq!((found.finished, found.scrapes, found.servers), (60.0, 2, 2));
    assert!((found.span_s.unwrap() - 60.0).abs() < 1e-9);

    let fault = |pages: &[&str], options| load(pages, options).unwrap_err().fault;
    assert_eq!(fault(&[&stamp(&b, "2000"), &stamp(&a, "1000")], &none).kind, FaultKind::Backwards);
    assert!(fault(&[&stamp(&a, "1000"), &stamp(&b, "2000")], &every(5.0)).expected.contains("not needed"));
}

#[test]
fn what_cannot_be_used_is_located() {
    let good = page(0, 5);
    let fault = |text: &str, options: &ScrapeOptions| {
        let error = load(&[text], options).unwrap_err();
        (error.fault.kind, error.line, error.fault.expected.clone())
    };
    let none = ScrapeOptions::default();
    for (from, to, kind, line) in [
        ("500\",model_name=\"m\"} 5.0", "500\",model_name=\"m\"} five", FaultKind::BadMetric, Some(2)),
        ("500\",model_name=\"m\"} 5.0", "500\",model_name=\"m\" 5.0", FaultKind::BadMetric, Some(2)),
        ("500\",model_name=\"m\"} 5.0", "500\",model_name=\"m\"} -5.0", FaultKind::BadMetric, Some(2)),
        ("500\",model_name=\"m\"} 5.0", "500\",model_name=\"m\"} NaN", FaultKind::BadMetric, Some(2)),
        ("500\",model_name=\"m\"} 5.0", "500\",model_name=\"m\"} 7.0", FaultKind::BadMetric, None),
        ("+Inf", "1000", FaultKind::BadMetric, None),
        ("le=\"500\"", "le=\"many\"", FaultKind::BadMetric, Some(2)),
        ("vllm:request_prompt_tokens_sum", "vllm:other", FaultKind::BadMetric, None),
        ("vllm:request_prompt_tokens_", "vllm:other_", FaultKind::Empty, None),
        ("le=\"500\"", "le=\"200\"", FaultKind::Duplicate, Some(2)),
        ("vllm:", "other:", FaultKind::Empty, Some(1)),
    ] {
        let found = fault(&good.replace(from, to), &none);
        assert_eq!((found.0, found.1), (kind, line), "{from} {to}: {}", found.2);
    }
    assert_eq!(fault(&page(0, 0), &none).0, FaultKind::Empty);
    assert!(fault(&good.repeat(2), &none).2.contains("several replicas need a label"));
    let two = good.clone() + &page(1, 5).replace("\"m\"", "\"n\"");
    assert!(fault(&two, &none).2.contains("--served-model: m, n"));
    let of = |model: &str| ScrapeOptions { model: Some(model.to_owned()), ..ScrapeOptions::default() };
    assert_eq!(load(&[&two], &of("n")).unwrap().finished, 5.0);
    assert!(fault(&two, &of("x")).2.contains("but m, n"));
    // SGLang counts lengths only when asked to.
    let without = "sglang:num_running_reqs{model_name=\"m\"} 1\n";
    assert!(fault(without, &none).2.contains("--collect-tokens-histogram"));
    // Ranks of one engine say the same.
    let rank = |rank: u32| format!("sglang:num_running_reqs{{model_name=\"m\",tp_rank=\"{rank}\"}} 1\n");
    let lengths = good.replace("vllm:request_", "sglang:").replace("_tokens_", "_tokens_histogram_");
    let queue = "sglang:num_queue_reqs{model_name=\"m\",tp_rank=\"0\"} 0\n";
    let found = load(&[&(lengths + &rank(1) + &rank(0) + queue)], &every(2.0)).unwrap();
    assert_eq!(found.figures().rate, Some(3.0));
}

/// Rows of a recorded run: prompts, answers, cached tokens.
fn recorded(path: &Path) -> Vec<[f64; 3]> {
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()), &mut text).unwrap();
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let place = |name: &str| header.iter().position(|column| *column == name).unwrap();
    let places = ["input_tokens", "output_tokens", "cached_tokens"].map(place);
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            places.map(|place| fields[place].parse().unwrap_or(0.0))
        })
        .collect()
}

/// Real pages before and after recorded runs: what grew is what the run's own log has.
#[test]
fn pages_of_a_real_server_tell_its_runs() {
    let Some(folder) = shared("vllm_cpu") else { return };
    let mut runs = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let run = entry.unwrap().path();
        let pages = ["before", "after"].map(|when| run.join(format!("metrics_{when}.txt.gz")));
        if !pages.iter().all(|page| page.exists()) {
            continue;
        }
        let load = Load::read(&pages, &every(60.0)).unwrap();
        let rows = recorded(&run.join("requests.csv.gz"));
        let sum = |k: usize| rows.iter().map(|row| row[k]).sum::<f64>();
        assert_eq!((load.finished, load.prompt.sum, load.generation.sum), (rows.len() as f64, sum(0), sum(1)), "{}", run.display());
        assert!((load.hit_share.unwrap() - sum(2) / sum(0)).abs() < 1e-9, "{}", run.display());
        assert_eq!((load.engine, load.restarts, load.servers, load.block_tokens), ("vllm", 0, 1, Some(32)));
        runs += 1;
    }
    println!("{runs} runs");
    assert!(runs >= 12);
}

/// Values as a server counts them.
fn counted(values: impl Iterator<Item = u32>, bounds: &[f64]) -> Histogram {
    let bounds: Vec<f64> = bounds.iter().copied().chain([f64::INFINITY]).collect();
    let mut histogram = Histogram { counts: vec![0.0; bounds.len()], bounds, sum: 0.0 };
    values.for_each(|value| histogram.add(value.into()));
    histogram
}

/// Bounds 1, 2, 5, 10, ... up to the longest sequence, as vLLM has them.
fn vllm_bounds(most: f64) -> Vec<f64> {
    let decades = (0..).map(|k| 10f64.powi(k)).take_while(|decade| *decade <= most);
    decades.flat_map(|decade| [1.0, 2.0, 5.0].map(|digit| digit * decade)).filter(|bound| *bound <= most).collect()
}

/// Traces, counted into vLLM's and SGLang's buckets: how far the quantiles of what is fitted are from those of the trace.
#[test]
fn quantiles_survive_the_buckets() {
    let sglang: Vec<f64> = [100, 300, 500, 700, 1000, 1500]
        .into_iter()
        .chain((2000..=10_000).step_by(1000))
        .chain((12_500..=30_000).step_by(2500))
        .chain([35_000, 40_000, 60_000, 80_000, 100_000])
        .map(f64::from)
        .collect();
    let mut worst: Vec<f64> = Vec::new();
    for name in
        ["azure2023_conv.csv.gz", "azure2023_code.csv.gz", "mooncake_conversation.jsonl.gz", "servegen_r1_1h_x0.25_seed1.csv.gz"]
    {
        let Some(path) = shared("traces").map(|folder| folder.join(name)).filter(|path| path.exists()) else { continue };
        let (_, rows) = file(&path, |o| o.skip_bad_rows = true).unwrap();
        for (what, of) in [("in", (|row| row.input_tokens) as fn(&TraceRow) -> u32), ("out", |row| row.output_tokens)] {
            let mut sorted: Vec<u32> = rows.iter().map(of).collect();
            sorted.sort_unstable();
            for (engine, bounds) in [("vllm", vllm_bounds(131_072.0)), ("sglang", sglang.clone())] {
                let shape = counted(sorted.iter().copied(), &bounds).shape(131_072);
                assert!(shape.mean_met, "{name} {what}");
                let error = |p: f64| {
                    let want = f64::from(sorted[((sorted.len() - 1) as f64 * p).round() as usize]);
                    100.0 * (at(&shape.table, p) / want - 1.0)
                };
                let errors = [0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99].map(error);
                println!("{name} {what} {engine}: p5 to p99 off by {errors:+.1?} %");
                // Below is a first bucket of a hundred tokens, above one of a few rows.
                worst.extend(&errors[1..6]);
            }
        }
    }
    assert!(worst.iter().all(|error| error.abs() < 40.0), "{worst:.1?}");
}

#[test]
fn a_fit_needs_a_rate() {
    let found = load(&[&page(0, 50)], &ScrapeOptions::default()).unwrap();
    assert!(fit_load(&found, &ScrapeFitOptions::default()).is_none());
    let fitted = fit_load(&found, &ScrapeFitOptions { rate: Some(2.0), context: Some(4096) }).unwrap();
    assert_eq!((fitted.classes.len(), fitted.classes[0].rate.mean()), (1, 2.0));
    let found = load(&[&page(0, 50)], &every(100.0)).unwrap();
    assert_eq!(fit_load(&found, &ScrapeFitOptions::default()).unwrap().classes[0].rate.mean(), 0.5);
}
