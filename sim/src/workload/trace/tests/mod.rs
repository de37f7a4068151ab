//! Tests of trace replay.

mod faults;
mod formats;
mod published;
mod replay;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tokentide_models::hash::fnv1a;

use super::*;
use crate::scenario::{Distribution, Output, Slo, TraceFormat};

/// A file that is removed when it goes out of scope.
struct Temporary(PathBuf);

impl Temporary {
    fn new(content: impl AsRef<[u8]>) -> Temporary {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("tokentide-trace-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, content).expect("a temporary file");
        Temporary(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn config(path: &Path) -> TraceConfig {
    TraceConfig {
        path: path.to_owned(),
        format: TraceFormat::Detect,
        columns: Vec::new(),
        rate_scale: 1.0,
        window: None,
        jitter: None,
        block_tokens: None,
        skip_bad_rows: false,
    }
}

fn class(name: &str) -> Class {
    Class {
        name: name.to_owned(),
        tenant: None,
        route: None,
        priority: 0,
        arrivals: None,
        prompt: Vec::new(),
        output: Output { max_tokens: None, tokens: Distribution::Fixed(1.0) },
        correlation: 0.0,
        session: None,
        timeout: None,
        slo: Slo::default(),
    }
}

fn open(config: &TraceConfig) -> Result<TraceSource, TraceError> {
    TraceSource::open_for(config, &[class("chat"), class("batch")], 5, Horizon::default())
}

/// Opens a file of this content, changed by `change`.
fn open_text(content: impl AsRef<[u8]>, change: impl FnOnce(&mut TraceConfig)) -> Result<(TraceSource, Vec<Request>), TraceError> {
    let file = Temporary::new(content);
    let mut config = config(&file.0);
    change(&mut config);
    let mut source = open(&config)?;
    let requests = drain(&mut source);
    Ok((source, requests))
}

fn drain(source: &mut TraceSource) -> Vec<Request> {
    let mut requests = Vec::new();
    while let Some(time) = source.peek() {
        let request = source.next().expect("peek and next agree");
        assert_eq!((request.arrival, request.id), (time, requests.len() as u64));
        requests.push(request);
    }
    assert!(source.next().is_none());
    assert_eq!(source.failure(), None);
    assert!(requests.is_sorted_by_key(|r| r.arrival));
    requests
}

fn gzip(content: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).expect("memory");
    encoder.finish().expect("memory")
}

fn map(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect()
}

const MS: u64 = 1_000_000_000;
