//! Cost from Vidur's prediction tables, by Vidur's own rules: a simulation can then be compared with one of Vidur's on scheduling
//! alone.
//!
//! # Rules
//!
//! Of Vidur at commit 7d47513 (2024-11); all tables hold milliseconds *per layer*.
//!
//! ```text
//! T  = tokens in the batch;  Tr = T rounded up to 8
//! layer   = token operators[Tr] + kv cache save[T] + decode + prefill
//! decode  = attention of (b decodes, their mean context, floored, then rounded up to 64), times 1.1 if b > 1
//! prefill = attention of (sum of the chunks' histories, each rounded up to 64; sqrt of the sum of the chunks' squares, rounded),
//!           times 1.1 if there is more than one chunk
//! stage   = layer * layers / stages + send and receive[Tr], which the last stage lacks
//! ```
//!
//! The factor 1.1 applies to models with grouped-query attention. With tensor parallelism the token operators include two
//! all-reduces of Tr tokens, 0.02 ms of launch each. A stage's time is rounded to the nearest picosecond, and an iteration is the
//! sum of its stages.
//!
//! What the rules leave out, as Vidur does: embedding and LM head, sampling, launches; the spread of contexts in a batch; the
//! second residual addition of a layer. Decode and prefill attention of a mixed batch add.
//!
//! Beyond a table's end Vidur stops. Here the last value grows in proportion to tokens, decodes, mean context or the square of the
//! chunk; prefill attention with a longer history by the mean slope of its table over the history.

mod check;
mod profile;

pub use profile::{VIDUR_CONTEXT_STEP, VIDUR_TOKEN_STEP, VidurDecode, VidurKind, VidurPrefill, VidurProfile, VidurRuns};

use crate::cost::{BatchShape, CostError, CostModel, DecodePiece, Floor};
use crate::deployment::Deployment;
use crate::units::Duration;

/// Attention of several sequences in one call, in models with grouped-query attention.
const BATCHING: f64 = 1.1;

/// Vidur's tables on a deployment.
#[derive(Clone, Debug)]
pub struct VidurTables {
    stages: u32,
    stage_layers: f64,
    batching: f64,
    /// By tokens in steps of [`VIDUR_TOKEN_STEP`], from one step on [ms per layer].
    token_operators: Vec<f64>,
    /// By tokens, from 1 on [ms per layer].
    kv_cache_save: Vec<f64>,
    /// By decodes from 1 on, then mean context in steps of [`VIDUR_CONTEXT_STEP`] from 0 on [ms per layer].
    decode: Vec<Vec<f64>>,
    /// By history in steps of [`VIDUR_CONTEXT_STEP`] from 0 on, then chunk from 1 on [ms per layer].
    prefill: Vec<Vec<f64>>,
    /// As `token_operators`, once a stage [ms].
    send_recv: Vec<f64>,
    floor: Floor,
}

impl VidurTables {
    /// The tables of a profile on a deployment.
    ///
    /// # Errors
    ///
    /// [`CostError::Mismatch`] if the profile is for another deployment, [`CostError::Invalid`] if there are several stages and no
    /// send and receive times, or layers that do not divide by them; [`CostError::BelowFloor`] if a value is faster than the GPU
    /// can be.
    pub fn new(profile: &VidurProfile, deployment: &Deployment) -> Result<VidurTables, CostError> {
        profile.matches(deployment)?;
        let (stages, layers) = (deployment.pipeline_parallel, deployment.model.layers);
        let invalid = |message: String| Err(CostError::Invalid { name: profile.name.clone(), message });
        if !layers.is_multiple_of(stages) {
            return invalid(format!("{layers} layers do not divide into {stages} equal pipeline stages"));
        }
        let send_recv = match &profile.send_recv_ms {
            Some(ms) => ms.clone(),
            None if stages == 1 => Vec::new(),
            None => return invalid(format!("missing field `send_recv_ms`, which {stages} pipeline stages need")),
        };
        let grouped = deployment.model.heads > deployment.model.kv_heads;
        let tables = VidurTables {
            stages,
            stage_layers: f64::from(layers / stages),
            batching: if grouped { BATCHING } else { 1.0 },
            token_operators: profile.token_operators_ms.clone(),
            kv_cache_save: profile.kv_cache_save.values(),
            decode: profile.decode.ms.clone(),
            prefill: profile.prefill.rows.iter().map(VidurRuns::values).collect(),
            send_recv,
            floor: Floor::new(deployment)?,
        };
        tables.check_floor(layers).map_err(|message| CostError::BelowFloor { name: profile.name.clone(), message })?;
        Ok(tables)
    }

    /// One layer [ms].
    fn layer(&self, batch: &BatchShape) -> f64 {
        let tokens = batch.tokens();
        let mut ms = in_proportion(&self.token_operators, tokens.div_ceil(VIDUR_TOKEN_STEP));
        ms += in_proportion(&self.kv_cache_save, tokens);
        if batch.decodes > 0 {
            ms += self.decode(batch);
        }
        if batch.prefill_chunks > 0 {
            ms += self.prefill(batch);
        }
        ms
    }

    /// Attention of the decodes, one layer [ms].
    fn decode(&self, batch: &BatchShape) -> f64 {
        let (decodes, most) = (u64::from(batch.decodes), self.decode.len() as u64);
        let row = &self.decode[(decodes.min(most) - 1) as usize];
        let column = (batch.decode_context / decodes).div_ceil(VIDUR_CONTEXT_STEP);
        let last = row.len() as u64 - 1;
        let mut ms = row[column.min(last) as usize];
        if column > last {
            ms *= column as f64 / last as f64;
        }
        if decodes > most {
            ms *= decodes as f64 / most as f64;
        }
        if decodes > 1 { ms * self.batching } else { ms }
    }

    /// Attention of the chunks, one layer [ms].
    fn prefill(&self, batch: &BatchShape) -> f64 {
        let chunk = rounded_root(batch.prefill_squares).max(1);
        let history = batch.prefill_history_64 / VIDUR_CONTEXT_STEP;
        let last = self.prefill.len() as u64 - 1;
        let at = |row: &Vec<f64>| {
            let most = row.len() as u64;
            let ms = row[(chunk.min(most) - 1) as usize];
            if chunk > most { ms * (chunk as f64 / most as f64).powi(2) } else { ms }
        };
        let mut ms = at(&self.prefill[history.min(last) as usize]);
        if history > last {
            ms += (ms - at(&self.prefill[0])).max(0.0) / last as f64 * (history - last) as f64;
        }
        if batch.prefill_chunks > 1 { ms * self.batching } else { ms }
    }

    /// The last stage, and each of those before, which send their result on.
    fn stage(&self, batch: &BatchShape) -> (Duration, Duration) {
        if batch.tokens() == 0 {
            return (Duration::ZERO, Duration::ZERO);
        }
        let ms = self.layer(batch) * self.stage_layers;
        let send = match self.stages {
            1 => 0.0,
            _ => in_proportion(&self.send_recv, batch.tokens().div_ceil(VIDUR_TOKEN_STEP)),
        };
        (Duration::from_millis_f64(ms), Duration::from_millis_f64(ms + send))
    }
}

impl CostModel for VidurTables {
    fn iteration(&self, batch: &BatchShape) -> Duration {
        let (last, others) = self.stage(batch);
        self.floor.hold(batch, (1..self.stages).fold(last, |all, _| all + others))
    }

    /// The mean context is looked up in steps, so a piece is level up to the next one.
    fn decode_piece(&self, batch: &BatchShape) -> DecodePiece {
        let decodes = u64::from(batch.decodes);
        let step = (batch.decode_context / decodes).div_ceil(VIDUR_CONTEXT_STEP) * VIDUR_CONTEXT_STEP;
        DecodePiece::by_context(batch, self.iteration(batch), 0, (step + 1) * decodes - 1)
    }

    fn stages(&self, batch: &BatchShape, times: &mut [Duration]) {
        assert_eq!(times.len(), self.stages as usize, "the tables are of another number of stages");
        let (last, others) = self.stage(batch);
        times.fill(others);
        times[self.stages as usize - 1] = last;
    }
}

/// Entry `index`, counted from 1; beyond the last, that one in proportion to the index.
fn in_proportion(table: &[f64], index: u64) -> f64 {
    let last = table.len() as u64;
    let ms = table[(index.min(last) - 1) as usize];
    if index > last { ms * (index as f64 / last as f64) } else { ms }
}

/// The square root, rounded to the nearest integer, without floats: it is never half-way between two.
fn rounded_root(square: u64) -> u64 {
    let root = square.isqrt();
    root + u64::from(square - root * root > root)
}

#[cfg(test)]
mod tests;
