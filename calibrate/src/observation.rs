//! What a probe saw of a server: raw observations, one JSON object per line, written as they come.
//!
//! ```text
//! {"record":"server", ...}     first, again when limits were measured, and each time the probe is resumed
//! {"record":"request", ...}    each request, when it ended
//! {"record":"point", ...}      each point of the experiment, when all of its requests ended
//! ```
//!
//! A *point* is one setting of the experiment, such as eight decodes of 512 tokens; its repeats are numbered. Requests of a point
//! whose line is missing were cut off. All times are of one monotonic clock, counted from the [`ServerRecord::started`] of the last
//! server line before them [ns].

use std::io::{BufRead, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::CalibrateError;

/// Version of the format.
pub const OBSERVATION_SCHEMA: u32 = 1;

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "lowercase")]
pub enum Record {
    /// The server, as it said of itself.
    Server(Box<ServerRecord>),
    /// One request.
    Request(RequestRecord),
    /// One point of the experiment.
    Point(Box<PointRecord>),
}

/// The server and its limits. What the server did not say and nobody told is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerRecord {
    /// [`OBSERVATION_SCHEMA`].
    pub schema: u32,
    /// Where it answered, without credentials, query or fragment.
    pub url: String,
    /// Name that requests were sent with.
    pub model: String,
    /// `vllm`, `sglang`, or what it called itself.
    pub engine: Option<String>,
    /// Release of the engine.
    pub engine_version: Option<String>,
    /// Longest prompt and answer together [tokens].
    pub max_model_len: Option<u32>,
    /// Tokens in one step at most.
    pub max_num_batched_tokens: Option<u32>,
    /// Running requests at most.
    pub max_num_seqs: Option<u32>,
    /// Tokens per KV block.
    pub block_size: Option<u32>,
    /// KV blocks.
    pub num_gpu_blocks: Option<u32>,
    /// Number format of the KV cache, as the server names it.
    pub cache_dtype: Option<String>,
    /// Whether it looks for prompts in a prefix cache.
    pub enable_prefix_caching: Option<bool>,
    /// Wall-clock time at which the log's clock was zero, RFC 3339.
    pub started: String,
    /// Seed of the prompts and arrivals.
    pub seed: u64,
    /// Release of the program that probed.
    pub program: String,
}

/// What a point measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PointKind {
    /// Not to be used: it warms the server up, or finds its limits.
    Warmup,
    /// Requests one at a time, one output token each; a repeat may hold several.
    Prefill,
    /// Requests sent at once, decoding together.
    Decode,
    /// Steady decodes into which prompts are sent one by one.
    Mixed,
    /// As many requests as it takes to keep the server full.
    Burst,
    /// Open-loop arrivals, for a fit: steps as they are while requests come and go.
    Rehearsal,
    /// Open-loop arrivals, held out of every fit.
    Open,
    /// A short decode point, repeated over the run to see the server's speed drift.
    Beat,
}

impl PointKind {
    /// Whether requests come at their own times or one after the other ends, not as a point needs them.
    pub fn is_load(self) -> bool {
        matches!(self, PointKind::Burst | PointKind::Rehearsal | PointKind::Open)
    }
}

/// One request as the client saw it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestRecord {
    /// Its point, such as `decode/8x512`.
    pub point: String,
    /// Which repeat of it, from 0.
    pub rep: u32,
    /// Its place in the repeat, in order of sending, from 0.
    pub index: u32,
    /// When it was to be sent, in open loop [ns].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned_ns: Option<u64>,
    /// When sending began [ns].
    pub sent_ns: u64,
    /// Prompt [tokens].
    pub input: u32,
    /// Output tokens asked for; the server gave as many unless `error` says otherwise.
    pub output: u32,
    /// Prompt tokens that the server says it found in its prefix cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached: Option<u32>,
    /// Per chunk received: when [ns], and the output tokens received by then.
    pub chunks: Vec<(u64, u32)>,
    /// Whether the numbers of tokens are the server's own, or its total is that of the chunks; if not, a chunk was taken for a
    /// token.
    pub counted: bool,
    /// Why it failed, status first where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl RequestRecord {
    /// Whether its chunks follow each other, and its sending.
    fn check(&self) -> Result<(), String> {
        let sent = (self.sent_ns, 0);
        let pairs = std::iter::once(&sent).chain(&self.chunks).zip(&self.chunks);
        match pairs.into_iter().find(|(before, after)| after.0 < before.0 || after.1 < before.1) {
            None => Ok(()),
            Some((before, after)) => Err(format!("chunk {after:?} comes after {before:?}: times and counts must not fall")),
        }
    }
}

/// What happened beside the probe's own requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// The server worked for others.
    ForeignTraffic,
    /// Requests were preempted.
    Preempted,
    /// Prompts were found in the prefix cache.
    PrefixHits,
    /// Requests waited in the server's queue though the point was meant to fit.
    Queued,
    /// Requests failed.
    Failed,
    /// The server was slower than in its other repeats, in all of the point.
    Throttled,
    /// Tokens of several steps came together: the server's front end or the client was starved, or something between gathers them.
    /// Times of steps are not to be trusted.
    Bunched,
}

/// One repeat of a point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PointRecord {
    /// Its name, as in its requests.
    pub point: String,
    /// Which repeat, from 0.
    pub rep: u32,
    /// What it measures.
    pub kind: PointKind,
    /// Decodes kept running, or clients of a burst; 0 if none.
    pub batch: u32,
    /// Prompt of each of them; of a prefill point the prompt [tokens].
    pub context: u32,
    /// Offered load of an open-loop point [requests/s].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Begin [ns].
    pub start_ns: u64,
    /// End [ns].
    pub end_ns: u64,
    /// Counters of `/metrics` after less before, by name without its labels: preemptions, prompt and generation tokens, prefix
    /// queries and hits, steps. Empty if the server has none.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub counters: std::collections::BTreeMap<String, f64>,
    /// What to beware of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Mark>,
}

/// All that was seen of one server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observations {
    /// The server, as it last said of itself.
    pub server: ServerRecord,
    /// Complete repeats of points, in order of time.
    pub points: Vec<(PointRecord, Vec<RequestRecord>)>,
    /// Requests of repeats that were cut off.
    pub incomplete: usize,
}

impl Observations {
    /// The lines of a log that holds all of it.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        let points = self.points.iter().flat_map(|(point, requests)| {
            requests.iter().cloned().map(Record::Request).chain([Record::Point(Box::new(point.clone()))])
        });
        std::iter::once(Record::Server(Box::new(self.server.clone()))).chain(points)
    }

    /// Whether the first line of a file is one of a log.
    pub fn is_log(path: &Path) -> bool {
        let Ok(file) = std::fs::File::open(path) else { return false };
        let mut reader = std::io::BufReader::new(file);
        let gzipped = reader.fill_buf().is_ok_and(|start| start.starts_with(&[0x1f, 0x8b]));
        let mut start = Vec::new();
        let head: Box<dyn Read> = if gzipped { Box::new(flate2::read::MultiGzDecoder::new(reader)) } else { Box::new(reader) };
        head.take(64).read_to_end(&mut start).is_ok() && String::from_utf8_lossy(&start).trim_start().starts_with("{\"record\"")
    }

    /// Reads a log. A last line that was cut off is left out, as is what belongs to a point that did not end.
    ///
    /// # Errors
    ///
    /// [`CalibrateError`] if the file cannot be read, has a line that is no record, another schema, or no server.
    pub fn read(path: &Path) -> Result<Observations, CalibrateError> {
        let shown = path.display().to_string();
        let open = |source| CalibrateError::Open { path: shown.clone(), source };
        let file = std::fs::File::open(path).map_err(open)?;
        let reader: Box<dyn BufRead> = if shown.ends_with(".gz") {
            Box::new(std::io::BufReader::new(flate2::read::GzDecoder::new(file)))
        } else {
            Box::new(std::io::BufReader::new(file))
        };
        let lines: Vec<String> = reader.lines().collect::<Result<_, _>>().map_err(open)?;
        let value =
            |row: usize, message: String| CalibrateError::Value { path: shown.clone(), message: format!("row {row}: {message}") };
        let mut all = Observations::default();
        let mut open_requests: Vec<RequestRecord> = Vec::new();
        for (row, line) in (1..).zip(&lines).filter(|(_, line)| !line.trim().is_empty()) {
            match serde_json::from_str(line) {
                Ok(record) => all.take(record, &mut open_requests).map_err(|message| value(row, message))?,
                Err(error) if row == lines.len() && error.is_eof() => {}
                Err(error) => return Err(value(row, error.to_string())),
            }
        }
        all.incomplete += open_requests.len();
        match all.server.schema {
            0 => Err(value(1, "no line of the server: this is no log of a probe".into())),
            _ => Ok(all),
        }
    }

    /// Takes in one line; `open` are the requests of points that have not ended yet.
    fn take(&mut self, record: Record, open: &mut Vec<RequestRecord>) -> Result<(), String> {
        match record {
            Record::Server(server) if server.schema != OBSERVATION_SCHEMA => {
                return Err(format!("schema {}, this version reads {OBSERVATION_SCHEMA}", server.schema));
            }
            Record::Server(server) => {
                self.server = *server;
                // What the last run left unfinished will not be finished under the same numbers.
                self.incomplete += std::mem::take(open).len();
            }
            Record::Request(request) => {
                request.check()?;
                open.push(request);
            }
            Record::Point(point) => {
                let mut requests: Vec<RequestRecord> =
                    open.extract_if(.., |r| r.point == point.point && r.rep == point.rep).collect();
                requests.sort_by_key(|r| r.index);
                self.points.push((*point, requests));
            }
        }
        Ok(())
    }
}
