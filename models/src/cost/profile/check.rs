//! What a profile must satisfy beyond its syntax.

use super::{DecodeAttention, DecodeGrid, Knots, PROFILE_SCHEMA, PrefillGrid, Profile, ProfileKind, SequenceKnots, StatedError};

pub(in crate::cost) type Check = Result<(), String>;

/// Checks what profiles of all formats begin with; `texts` are name, source, licence and date.
pub(in crate::cost) fn head(schema: u32, tensor_parallel: u32, texts: [&str; 4]) -> Check {
    if schema != PROFILE_SCHEMA {
        return Err(format!("schema = {schema}, this version reads {PROFILE_SCHEMA}"));
    }
    if tensor_parallel == 0 {
        return Err("tensor_parallel must be positive".into());
    }
    match ["name", "source", "licence", "date"].into_iter().zip(texts).find(|(_, text)| text.trim().is_empty()) {
        Some((name, _)) => Err(format!("{name} must not be empty")),
        None => Ok(()),
    }
}

impl Profile {
    /// Checks everything but the deployment and its physical floor.
    pub(super) fn check(&self) -> Check {
        head(self.schema, self.tensor_parallel, [&self.name, &self.source, &self.licence, &self.date])?;
        let mixed = self.errors.mixed.as_ref().map(|e| ("errors.mixed", e));
        for (name, error) in
            [("errors.decode", &self.errors.decode), ("errors.prefill", &self.errors.prefill)].into_iter().chain(mixed)
        {
            error.check(name)?;
        }
        self.check_kind()
    }

    fn check_kind(&self) -> Check {
        let keys = [
            ("layers", self.layers.is_some(), ProfileKind::Layers),
            ("decode_attention", self.decode_attention.is_some(), ProfileKind::Calibrated),
            ("prefill_attention", self.prefill_attention.is_some(), ProfileKind::Calibrated),
            ("decode_grid", self.decode_grid.is_some(), ProfileKind::Table),
            ("prefill_grid", self.prefill_grid.is_some(), ProfileKind::Table),
        ];
        for (key, present, kind) in keys {
            match (present, kind == self.kind) {
                (true, false) => return Err(format!("{key} does not belong into a profile of this kind")),
                (false, true) => return Err(format!("missing field `{key}`")),
                _ => {}
            }
        }
        match (&self.layers, self.nonattention.is_empty()) {
            (Some(layers), true) => layers.check(self.tensor_parallel)?,
            (Some(_), false) => return Err("nonattention does not belong into a profile of this kind".into()),
            (None, _) => self.nonattention.check("nonattention")?,
        }
        if let Some(head) = &self.lm_head {
            if self.kind != ProfileKind::Calibrated {
                return Err("lm_head does not belong into a profile of this kind".into());
            }
            head.check("lm_head")?;
        }
        if let Some(decode) = &self.decode_attention {
            decode.check()?;
        }
        if let Some(p) = &self.prefill_attention {
            let values = [p.ms_per_step, p.ms_per_token, p.ms_per_pair, p.ms_per_history_token];
            finite("prefill_attention", &values)?;
        }
        self.decode_grid.as_ref().map_or(Ok(()), DecodeGrid::check)?;
        self.prefill_grid.as_ref().map_or(Ok(()), PrefillGrid::check)
    }
}

impl StatedError {
    fn check(&self, name: &str) -> Check {
        finite(name, &[self.mean_percent, self.p95_percent, self.worst_percent])
    }
}

impl Knots {
    fn check(&self, name: &str) -> Check {
        axis(&format!("{name}.tokens"), &self.tokens, 1)?;
        same_length(name, "tokens", self.tokens.len(), "ms", self.ms.len())?;
        finite(&format!("{name}.ms"), &self.ms)?;
        rising(&format!("{name}.ms"), "tokens", &self.tokens, &self.ms)
    }
}

impl SequenceKnots {
    fn check(&self, name: &str) -> Check {
        axis(&format!("{name}.sequences"), &self.sequences, 1)?;
        same_length(name, "sequences", self.sequences.len(), "ms", self.ms.len())?;
        finite(&format!("{name}.ms"), &self.ms)?;
        rising(&format!("{name}.ms"), "sequences", &self.sequences, &self.ms)
    }
}

impl DecodeAttention {
    fn check(&self) -> Check {
        let name = "decode_attention";
        axis(&format!("{name}.sequences"), &self.sequences, 1)?;
        same_length(name, "sequences", self.sequences.len(), "fixed_ms", self.fixed_ms.len())?;
        same_length(name, "sequences", self.sequences.len(), "ms_per_context_token", self.ms_per_context_token.len())?;
        finite(&format!("{name}.fixed_ms"), &self.fixed_ms)?;
        finite(&format!("{name}.ms_per_context_token"), &self.ms_per_context_token)?;
        rising(&format!("{name}.fixed_ms"), "sequences", &self.sequences, &self.fixed_ms)?;
        let all: Vec<f64> = self.sequences.iter().zip(&self.ms_per_context_token).map(|(&n, slope)| f64::from(n) * slope).collect();
        // Slopes are rounded numbers, so their products may fall by a rounding error.
        let all: Vec<f64> = all.iter().enumerate().map(|(i, x)| x * (1.0 + 1e-7 * i as f64)).collect();
        rising(&format!("{name}.ms_per_context_token * sequences"), "sequences", &self.sequences, &all)
    }
}

impl DecodeGrid {
    fn check(&self) -> Check {
        axis("decode_grid.sequences", &self.sequences, 1)?;
        axis("decode_grid.context_tokens", &self.context_tokens, 1)?;
        grid("decode_grid.ms", &self.sequences, &self.context_tokens, &self.ms)
    }
}

impl PrefillGrid {
    fn check(&self) -> Check {
        axis("prefill_grid.chunk_tokens", &self.chunk_tokens, 1)?;
        axis("prefill_grid.history_tokens", &self.history_tokens, 0)?;
        if self.history_tokens[0] != 0 {
            return Err("prefill_grid.history_tokens must begin with 0".into());
        }
        grid("prefill_grid.ms", &self.chunk_tokens, &self.history_tokens, &self.ms)
    }
}

/// At most this many points on an axis, so that a file cannot ask for gigabytes.
const AXIS_MAX: usize = 4096;

pub(super) fn axis(name: &str, values: &[u32], least: u32) -> Check {
    match values.first() {
        None => return Err(format!("{name} is empty")),
        Some(&first) if first < least => return Err(format!("{name} must begin with {least} or more, not {first}")),
        _ => {}
    }
    if values.len() > AXIS_MAX {
        return Err(format!("{name} has more than {AXIS_MAX} points"));
    }
    match values.windows(2).find(|pair| pair[0] >= pair[1]) {
        Some(pair) => Err(format!("{name} must increase strictly: {} is followed by {}", pair[0], pair[1])),
        None => Ok(()),
    }
}

pub(super) fn same_length(name: &str, a: &str, a_len: usize, b: &str, b_len: usize) -> Check {
    if a_len == b_len { Ok(()) } else { Err(format!("{name}: {a} has {a_len} values, {b} {b_len}")) }
}

/// Longest time a coefficient may name [ms]: a day.
const MS_MAX: f64 = 86_400_000.0;

pub(super) fn finite(name: &str, values: &[f64]) -> Check {
    match values.iter().find(|&value| !(0.0..=MS_MAX).contains(value)) {
        Some(value) => Err(format!("{name} holds {value}: times must be finite and not negative")),
        None => Ok(()),
    }
}

fn rising(name: &str, axis: &str, at: &[u32], values: &[f64]) -> Check {
    match values.windows(2).position(|pair| pair[1] < pair[0]) {
        Some(i) => Err(format!("{name} falls from {} to {} between {} and {} {axis}", values[i], values[i + 1], at[i], at[i + 1])),
        None => Ok(()),
    }
}

fn grid(name: &str, rows: &[u32], columns: &[u32], values: &[Vec<f64>]) -> Check {
    same_length(name, "the first axis", rows.len(), "the grid", values.len())?;
    for (row, at) in values.iter().zip(rows) {
        same_length(&format!("{name} row {at}"), "the second axis", columns.len(), "the row", row.len())?;
        finite(name, row)?;
        rising(&format!("{name} row {at}"), "second axis", columns, row)?;
    }
    for (j, at) in columns.iter().enumerate() {
        let column: Vec<f64> = values.iter().map(|row| row[j]).collect();
        rising(&format!("{name} column {at}"), "first axis", rows, &column)?;
    }
    Ok(())
}
