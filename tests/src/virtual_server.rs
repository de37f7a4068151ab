//! A server of known coefficients on a virtual clock, probed: what a fit has to find again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use tokentide_calibrate::observation::{OBSERVATION_SCHEMA, Observations, PointKind, PointRecord, RequestRecord, ServerRecord};
use tokentide_models::cost::{BatchShape, CostModel, DecodePiece};
use tokentide_models::units::{Duration, Time};
use tokentide_sim::engine::Layout;
use tokentide_sim::scenario::EngineConfig;
use tokentide_sim::stream::mix;
use tokentide_sim::workload::Request;

use crate::engine::Fast;
use crate::recorder::Recorder;
use crate::small::{engine, recorded, replica, request};

/// What the server's steps take [ms].
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Every step.
    pub step: f64,
    /// Per token up to `knot` of them.
    pub token: f64,
    /// Tokens from which one takes `token_beyond`.
    pub knot: u32,
    /// Per token beyond.
    pub token_beyond: f64,
    /// Per decode.
    pub decode: f64,
    /// Per token of the decodes' contexts.
    pub context: f64,
    /// Per token of their mean context.
    pub mean_context: f64,
    /// A step with any chunk.
    pub chunk: f64,
    /// Per query-key pair of chunks.
    pub pair: f64,
    /// Per token before a chunk.
    pub history: f64,
    /// A request's way to the engine.
    pub request: f64,
    /// The decodes' step after one that completed a prompt.
    pub arrival: f64,
}

/// A request as sent: when [ms], prompt and answer [tokens].
type Sent = (f64, u32, u32);

/// What disturbs the measurement.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disturbance {
    /// One step in so many lasts a fifth longer; 0 for none.
    pub slow_steps: u64,
    /// A chunk is seen up to so much later than it came [ms], but none before the one that came earlier.
    pub jitter_ms: f64,
    /// One chunk in so many comes together with the next; 0 for none.
    pub coalesced: u64,
}

/// The server's step times as a cost model, slow steps included.
struct Cost {
    known: Known,
    slow_steps: u64,
    seed: u64,
    /// The step after the last one that completed a prompt.
    after_prompt: AtomicU64,
}

impl CostModel for Cost {
    fn iteration(&self, batch: &BatchShape) -> Duration {
        let k = &self.known;
        let tokens = batch.tokens() as f64;
        let below = tokens.min(f64::from(k.knot));
        let decodes = f64::from(batch.decodes);
        let mut ms = k.step + k.token * below + k.token_beyond * (tokens - below) + k.decode * decodes;
        ms += k.context * batch.decode_context as f64 + k.mean_context * batch.decode_context as f64 / decodes.max(1.0);
        ms += k.history * batch.prefill_history as f64;
        ms += k.pair * batch.prefill_pairs as f64 + if batch.prefill_chunks > 0 { k.chunk } else { 0.0 };
        if batch.sampled > batch.decodes {
            self.after_prompt.store(batch.step + 1, Ordering::Relaxed);
        } else if self.after_prompt.load(Ordering::Relaxed) == batch.step && batch.prefill_chunks == 0 {
            ms += k.arrival;
        }
        let slow = self.slow_steps > 0 && draw([self.seed, batch.step, 0]).is_multiple_of(self.slow_steps);
        Duration::from_micros_f64(ms * 1e3 * if slow { 1.2 } else { 1.0 })
    }

    fn decode_piece(&self, batch: &BatchShape) -> DecodePiece {
        DecodePiece { first: self.iteration(batch), growth_ps: 0, steps: 0 }
    }
}

/// A number that looks random, of three.
fn draw(of: [u64; 3]) -> u64 {
    of.into_iter().fold(0, |state, x| mix(state ^ x))
}

/// One probe of the server.
pub struct VirtualServer {
    known: Known,
    disturbance: Disturbance,
    engine: EngineConfig,
    points: Vec<(PointRecord, Vec<RequestRecord>)>,
}

impl VirtualServer {
    /// A server of `max_num_batched_tokens` and 64 sequences.
    pub fn new(known: Known, disturbance: Disturbance, max_num_batched_tokens: u32) -> VirtualServer {
        let engine = EngineConfig { max_num_seqs: 64, max_num_batched_tokens, max_model_len: 1 << 20, block_size: 16, ..engine() };
        VirtualServer { known, disturbance, engine, points: Vec::new() }
    }

    /// Prompts alone, decodes at a grid of batch and context, and prompts among decodes, `repeats` times each.
    pub fn probe(mut self, prompts: &[u32], batches: &[u32], contexts: &[u32], repeats: u32) -> Observations {
        for rep in 0..repeats {
            for &input in prompts {
                self.point(PointKind::Prefill, rep, (0, input), &[(0.0, input, 1)]);
            }
            for (&batch, &context) in batches.iter().flat_map(|b| contexts.iter().map(move |c| (b, c))) {
                let steps = 32 + (batch * context) / (self.engine.max_num_batched_tokens - batch);
                let all: Vec<_> = (0..batch).map(|_| (0.0, context, steps)).collect();
                self.point(PointKind::Decode, rep, (batch, context), &all);
            }
            for &batch in batches {
                let context = contexts[0];
                // Long enough for all prompts, one after the other.
                let base = (0..batch).map(|_| (0.0, context, 600));
                let start = 50.0 + 4.0 * f64::from(batch * context) * (self.known.token + self.known.token_beyond);
                let injected = prompts.iter().scan(start, |at, &input| {
                    *at += 60.0 + 3.0 * f64::from(input) * (self.known.token + self.known.token_beyond);
                    Some((*at, input, 1))
                });
                let all: Vec<_> = base.chain(injected).collect();
                self.point(PointKind::Mixed, rep, (batch, context), &all);
            }
        }
        let server = ServerRecord {
            schema: OBSERVATION_SCHEMA,
            max_num_batched_tokens: Some(self.engine.max_num_batched_tokens),
            max_num_seqs: Some(self.engine.max_num_seqs),
            ..ServerRecord::default()
        };
        Observations { server, points: self.points, incomplete: 0 }
    }

    /// Runs one repeat of a point: requests as (sent [ms], prompt, answer).
    fn point(&mut self, kind: PointKind, rep: u32, (batch, context): (u32, u32), sent: &[Sent]) {
        let to_engine = |ms: f64| Time(Duration::from_micros_f64((ms + self.known.request) * 1e3).0);
        let of =
            |(id, &(at, input, output)): (usize, &Sent)| Request { arrival: to_engine(at), ..request(id as u64, input, output) };
        let mut requests: Vec<Request> = sent.iter().enumerate().map(of).collect();
        requests.sort_by_key(|r| (r.arrival, r.id));
        let seed = self.points.len() as u64;
        let after_prompt = AtomicU64::new(u64::MAX);
        let cost = Cost { known: self.known, slow_steps: self.disturbance.slow_steps, seed, after_prompt };
        let (_, seen) = recorded(&Fast, &replica(&self.engine, Layout::ONE, 1 << 22, &cost), &requests);
        let name = format!("{kind:?}/{batch}x{context}").to_lowercase();
        let records = self.records(&name, rep, sent, &seen, seed);
        let record = PointRecord {
            point: name,
            rep,
            kind,
            batch,
            context,
            rate: None,
            start_ns: 0,
            end_ns: 0,
            counters: BTreeMap::new(),
            marks: Vec::new(),
        };
        self.points.push((record, records));
    }

    /// What the client sees: a token at the end of each step that ends a request's prompt or decodes it.
    fn records(&self, point: &str, rep: u32, sent: &[Sent], seen: &Recorder, seed: u64) -> Vec<RequestRecord> {
        let mut chunks: Vec<Vec<(u64, u32)>> = vec![Vec::new(); sent.len()];
        for step in &seen.steps {
            for &(id, computed, tokens) in &step.batch {
                if computed + tokens >= sent[id as usize].1 {
                    let of = &mut chunks[id as usize];
                    let late = self.disturbance.jitter_ms * 1e6 * (draw([seed, id, step.step]) % 1000) as f64 / 1e3;
                    let at = (step.end.0 / 1000 + late as u64).max(of.last().map_or(0, |last| last.0));
                    of.push((at, of.len() as u32 + 1));
                }
            }
        }
        let every = self.disturbance.coalesced;
        let coalesce = |id: u64, of: Vec<(u64, u32)>| -> Vec<(u64, u32)> {
            let last = of.len() as u32;
            of.into_iter()
                .filter(|&(_, n)| every == 0 || n == last || !draw([seed, id, u64::from(n)]).is_multiple_of(every))
                .collect()
        };
        let record = |index: usize, &(at, input, output): &Sent, chunks: Vec<(u64, u32)>| RequestRecord {
            point: point.to_owned(),
            rep,
            index: index as u32,
            planned_ns: None,
            sent_ns: (at * 1e6) as u64,
            input,
            output,
            cached: None,
            chunks: coalesce(index as u64, chunks),
            counted: true,
            error: None,
        };
        sent.iter().zip(chunks).enumerate().map(|(index, (sent, chunks))| record(index, sent, chunks)).collect()
    }
}
