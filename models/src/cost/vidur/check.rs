//! What Vidur's tables must satisfy: their form, and that no value is faster than the hardware.

use super::{VIDUR_CONTEXT_STEP, VIDUR_TOKEN_STEP, VidurProfile, VidurRuns, VidurTables};
use crate::cost::BatchShape;
use crate::cost::profile::{Check, head};

/// Times of the largest batch that are this many times the possible ones are not milliseconds: no kernel is as bad.
const SLOWEST: f64 = 100.0;

/// At most this many points on an axis, so that a file cannot ask for gigabytes.
const AXIS_MAX: usize = 1 << 16;

impl VidurProfile {
    /// Checks everything but the deployment and its physical floor.
    pub(super) fn check(&self) -> Check {
        head(self.schema, self.tensor_parallel, [&self.name, &self.source, &self.licence, &self.date])?;
        times("token_operators_ms", &self.token_operators_ms)?;
        if let Some(ms) = &self.send_recv_ms {
            times("send_recv_ms", ms)?;
        }
        self.kv_cache_save.check("kv_cache_save")?;
        rows("decode.ms", self.decode.ms.iter().map(Vec::len))?;
        for (i, row) in self.decode.ms.iter().enumerate() {
            times(&format!("decode.ms[{i}]"), row)?;
        }
        for (i, row) in self.prefill.rows.iter().enumerate() {
            row.check(&format!("prefill.rows[{i}]"))?;
        }
        rows("prefill.rows", self.prefill.rows.iter().map(|row| row.until.last().map_or(0, |&until| until as usize)))?;
        // Beyond the end values grow in proportion to the place of the last, which must not be 0.
        match self.decode.ms[0].len() < 2 || self.prefill.rows.len() < 2 {
            true => Err("decode.ms and prefill.rows need at least two contexts".into()),
            false => Ok(()),
        }
    }
}

impl VidurRuns {
    fn check(&self, name: &str) -> Check {
        if self.until.len() != self.ms.len() {
            return Err(format!("{name} has {} values of until and {} of ms", self.until.len(), self.ms.len()));
        }
        times(&format!("{name}.ms"), &self.ms)?;
        if let Some(last) = self.until.last().filter(|&&last| last as usize > AXIS_MAX) {
            return Err(format!("{name}.until ends at {last}, {AXIS_MAX} at most"));
        }
        let befores = std::iter::once(&0).chain(&self.until);
        match befores.zip(&self.until).find(|(before, until)| before >= until) {
            Some((before, until)) => Err(format!("{name}.until must increase strictly: {before} is followed by {until}")),
            None => Ok(()),
        }
    }
}

/// Times: some, all of them 0 or more.
fn times(name: &str, ms: &[f64]) -> Check {
    if ms.is_empty() || ms.len() > AXIS_MAX {
        return Err(format!("{name} has {} values, expected 1 to {AXIS_MAX}", ms.len()));
    }
    match ms.iter().position(|ms| !(0.0..=1e9).contains(ms)) {
        Some(i) => Err(format!("{name}[{i}] = {} must be between 0 and 1e9", ms[i])),
        None => Ok(()),
    }
}

/// Rows of a rectangle.
fn rows(name: &str, lengths: impl Iterator<Item = usize>) -> Check {
    let lengths: Vec<usize> = lengths.collect();
    match lengths.iter().position(|&length| length != lengths[0]) {
        Some(i) => Err(format!("{name}[{i}] has {} values, the first row {}", lengths[i], lengths[0])),
        None if lengths.is_empty() || lengths.len() > AXIS_MAX => {
            Err(format!("{name} has {} rows, expected 1 to {AXIS_MAX}", lengths.len()))
        }
        None => Ok(()),
    }
}

impl VidurTables {
    /// All operators but attention of a step of `tokens`, and the least that they can take [ms].
    fn operators(&self, tokens: u64, layers: f64) -> (f64, f64) {
        let row = (tokens.div_ceil(VIDUR_TOKEN_STEP) - 1) as usize;
        let ms = layers * (self.token_operators[row] + super::in_proportion(&self.kv_cache_save, tokens));
        let least = self.floor.of(&BatchShape { prefill_tokens: tokens, sampled: 1, ..BatchShape::default() });
        (ms, least.as_millis_f64())
    }

    /// Whether no entry is faster than memory and arithmetic allow, for batches as large as it stands for: decodes at the largest
    /// mean context that is looked up there, lone chunks, and one step of both at each number of tokens. Factors of 1.1 are left
    /// out.
    pub(super) fn check_floor(&self, layers: u32) -> Check {
        let layers = f64::from(layers);
        let too_fast = |what: String, ms: f64, least_ms: f64| match ms < least_ms {
            true => Err(format!("{what} in {ms:.6} ms; memory and arithmetic need {least_ms:.6} ms")),
            false => Ok(()),
        };
        let most = self.token_operators.len() as u64 * VIDUR_TOKEN_STEP;
        for tokens in 1..=most {
            let (ms, least_ms) = self.operators(tokens, layers);
            too_fast(format!("operators of {tokens} tokens"), ms, least_ms)?;
        }
        let (ms, least_ms) = self.operators(most, layers);
        if ms > SLOWEST * least_ms {
            return Err(format!("operators of {most} tokens in {ms:.3} ms, {least_ms:.3} ms are possible: in another unit?"));
        }
        let per_token_ms = self.floor.context_token() as f64 * 1e-9;
        for (i, row) in self.decode.iter().enumerate() {
            for (j, &ms) in row.iter().enumerate() {
                // Of the mean context only whole tokens are looked up.
                let tokens = (i as f64 + 1.0) * (j as f64 * VIDUR_CONTEXT_STEP as f64 + 1.0);
                let what =
                    format!("decode attention of {} sequences with a mean context of {}", i + 1, j as u64 * VIDUR_CONTEXT_STEP);
                too_fast(what, ms * layers, per_token_ms * tokens)?;
            }
        }
        for (i, row) in self.prefill.iter().enumerate() {
            let history = i as u64 * VIDUR_CONTEXT_STEP;
            for (j, &ms) in row.iter().enumerate() {
                let least = self.floor.chunk(j as f64 + 1.0, history as f64) * 1e-9;
                too_fast(format!("prefill attention of {} tokens after {history}", j + 1), ms * layers, least)?;
            }
        }
        Ok(())
    }
}
