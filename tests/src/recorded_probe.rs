//! The recorded probes of a real server, as the log of a probe would have them.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use flate2::read::GzDecoder;
use serde_json::Value;
use tokentide_calibrate::observation::{Observations, PointKind, PointRecord, RequestRecord, ServerRecord};

/// Requests of one recorded run (`client.jsonl.gz`): repeats and settings of its probes become points.
fn run(folder: &Path, name: &str) -> Vec<(PointRecord, Vec<RequestRecord>)> {
    let path = folder.join(name).join("client.jsonl.gz");
    let file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines = BufReader::new(GzDecoder::new(file)).lines();
    let mut points: Vec<(PointRecord, Vec<RequestRecord>)> = Vec::new();
    for line in lines {
        let value: Value = serde_json::from_str(&line.expect("a line")).expect("a request");
        let int = |key: &str| value[key].as_u64().unwrap_or(0);
        let kind = match name {
            _ if name.starts_with("probe_prefill") => PointKind::Prefill,
            _ if name.starts_with("probe_decode") => PointKind::Decode,
            _ if name.starts_with("probe_mixed") => PointKind::Mixed,
            _ if name.starts_with("beat") => PointKind::Beat,
            _ => PointKind::Open,
        };
        let batch = if kind == PointKind::Prefill { 0 } else { int("conc") as u32 };
        let context = if kind == PointKind::Prefill { int("input") } else { int("ctx") } as u32;
        let (point, rep) = (format!("{name}/{batch}x{context}"), int("rep") as u32);
        let index = points.iter().position(|(p, _)| p.point == point && p.rep == rep).unwrap_or_else(|| {
            let record = PointRecord {
                point: point.clone(),
                rep,
                kind,
                batch,
                context,
                rate: None,
                start_ns: 0,
                end_ns: 0,
                counters: Default::default(),
                marks: Vec::new(),
            };
            points.push((record, Vec::new()));
            points.len() - 1
        });
        points[index].1.push(request(&value, point, rep));
    }
    points
}

/// Times count from the run's zero.
fn request(value: &Value, point: String, rep: u32) -> RequestRecord {
    let ns = |s: f64| (s * 1e9).round() as u64;
    let float = |key: &str| value[key].as_f64().unwrap_or_else(|| panic!("no {key}"));
    let sent = float("send") - float("t0");
    let list = |key: &str| value[key].as_array().expect("a list").clone();
    let (times, tokens) = (list("chunk_t"), list("chunk_tokens"));
    let chunk =
        |(at, tokens): (&Value, &Value)| (ns(sent + at.as_f64().expect("a time")), tokens.as_u64().expect("a count") as u32);
    let of = |key: &str| value[key].as_u64().expect("a count") as u32;
    RequestRecord {
        point,
        rep,
        index: of("i"),
        planned_ns: value["plan"].as_f64().map(ns),
        sent_ns: ns(sent),
        input: of("input"),
        output: of("output"),
        cached: None,
        chunks: times.iter().zip(&tokens).map(chunk).collect(),
        counted: true,
        error: value["error"].as_str().map(str::to_owned),
    }
}

/// Runs of `data/vllm_cpu` as observations.
pub fn recorded(shared: &Path, runs: &[&str]) -> Observations {
    let folder = shared.join("data/vllm_cpu");
    let server = ServerRecord {
        schema: tokentide_calibrate::observation::OBSERVATION_SCHEMA,
        engine: Some("vllm".into()),
        engine_version: Some("0.32.0".into()),
        max_num_batched_tokens: Some(512),
        max_num_seqs: Some(32),
        ..ServerRecord::default()
    };
    Observations { server, points: runs.iter().flat_map(|name| run(&folder, name)).collect(), incomplete: 0 }
}
