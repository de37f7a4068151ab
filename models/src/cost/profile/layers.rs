//! Tables of a layer-wise profile: times of one kernel of one decoder layer [us], and how a step is made of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::check::{Check, axis, finite, same_length};

/// What a profile of kind `layers` holds, for [`crate::cost::Layers`].
///
/// ```text
/// step = once[T] + count * (each[T] + attention + experts[T] + 2 all-reduces of T hidden states) + sequences[S]
/// ```
///
/// for `T` tokens and `S` sequences in the step. All times are microseconds of one call in one layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerTables {
    /// Decoder layers.
    pub count: u32,
    /// Kernels that run once a step, by their name in `tokens.us`.
    pub once: Vec<String>,
    /// Kernels of every decoder layer; one that runs twice is named twice.
    pub each: Vec<String>,
    /// Times by tokens in the step.
    pub tokens: TokenTable,
    /// Times by sequences in the step, each once a step: LM head, sampler.
    pub sequences: SequenceTable,
    /// All-reduces measured, by ranks. One of the profile's own ranks is needed if it is tensor-parallel, unless `link` is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub all_reduce: Vec<AllReduceTable>,
    /// All-reduces by a formula in place of measurements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Link>,
    /// The expert block of a mixture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experts: Option<ExpertTable>,
    /// What unequal decode contexts cost; without it, nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skew: Option<SkewTable>,
    /// Attention of one layer, in blocks that need not fill the whole grid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attention: Vec<AttentionBlock>,
}

/// Kernels by the number of tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenTable {
    /// Tokens in the step, strictly increasing, the first at least 1.
    pub tokens: Vec<u32>,
    /// Times by kernel [us].
    pub us: BTreeMap<String, Vec<f64>>,
}

/// Kernels by the number of sequences.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SequenceTable {
    /// Sequences in the step, strictly increasing, the first at least 1.
    pub sequences: Vec<u32>,
    /// Times by kernel [us].
    pub us: BTreeMap<String, Vec<f64>>,
}

/// One all-reduce by message size: linear between points, the first value below the first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllReduceTable {
    /// Ranks that take part.
    pub ranks: u32,
    /// Where it was measured.
    pub source: String,
    /// Message, strictly increasing, the first at least 1 [bytes].
    pub bytes: Vec<u32>,
    /// Time, not decreasing [us].
    pub us: Vec<f64>,
}

/// LLMServingSim's ring: `2(n-1)(latency + B/n/bandwidth) + 3(n-1) B/n/memory` for a message of `B` bytes over `n` ranks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Latency of a message [us].
    pub latency_us: f64,
    /// Bandwidth of the link [GiB/s].
    pub gib_per_s: f64,
    /// Bandwidth of the memory, through which the sums go [GB/s].
    pub memory_gb_per_s: f64,
}

/// How many experts a step is taken to wake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gating {
    /// As many as uniform routing wakes on average, `E (1 - ((E-k)/E)^T)`.
    #[default]
    Uniform,
    /// As many as a perfectly balanced gate can: `min(round(T k / ranks), E / ranks)` (LLMServingSim).
    Balanced,
}

/// Times of the expert block: bilinear in tokens and experts woken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpertTable {
    /// How many experts are woken.
    #[serde(default)]
    pub gating: Gating,
    /// By experts woken, strictly increasing.
    pub rows: Vec<ExpertRow>,
}

/// Times of the expert block at one number of experts woken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpertRow {
    /// Experts woken on the rank.
    pub activated: u32,
    /// Tokens, strictly increasing, the first at least 1.
    pub tokens: Vec<u32>,
    /// Times [us].
    pub us: Vec<f64>,
}

/// A batch whose decodes have unequal contexts takes `t(mean) + alpha (t(longest) - t(mean))`. The bins of alpha are closed above;
/// beyond the last edge lies one more bin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkewTable {
    /// Alpha of steps with more chunk tokens than any of `alphas`.
    pub default: f64,
    /// Upper edges of the bins of the number of decodes.
    pub decodes: Vec<u32>,
    /// Upper edges of the bins of `(mean - shortest) / (longest - shortest)` [%].
    pub rate_percent: Vec<u32>,
    /// Upper edges of the bins of the longest context [tokens].
    pub longest: Vec<u32>,
    /// Alphas by chunk tokens, strictly increasing.
    pub alphas: Vec<SkewAlphas>,
}

/// Alphas of steps with at most so many chunk tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkewAlphas {
    /// Most chunk tokens; 0 for steps of decodes only.
    pub chunk: u32,
    /// By bin of decodes; within, by bin of the rate, then of the longest context.
    pub alpha: Vec<Vec<f64>>,
}

/// A full grid of attention times at one number of chunk tokens. (chunk, decodes, history, context) are the sum of the chunks'
/// tokens, the decodes, the sum of the chunks' histories and the mean context of the decodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttentionBlock {
    /// Tokens of the step's chunks; 0 for decodes only.
    pub chunk: u32,
    /// Numbers of decodes, strictly increasing; 0 for chunks only.
    pub decodes: Vec<u32>,
    /// Tokens computed before the chunks, strictly increasing.
    pub history: Vec<u32>,
    /// Contexts of the decodes, without the new token, strictly increasing [tokens].
    pub context: Vec<u32>,
    /// Times by context; one row for each number of decodes and, within it, each history [us].
    pub us: Vec<Vec<f64>>,
}

impl LayerTables {
    pub(super) fn check(&self, tensor_parallel: u32) -> Check {
        if self.count == 0 || self.count > 1000 {
            return Err(format!("layers.count = {} must be between 1 and 1000", self.count));
        }
        axis("layers.tokens.tokens", &self.tokens.tokens, 1)?;
        kernels("layers.tokens.us", self.tokens.tokens.len(), &self.tokens.us)?;
        axis("layers.sequences.sequences", &self.sequences.sequences, 1)?;
        kernels("layers.sequences.us", self.sequences.sequences.len(), &self.sequences.us)?;
        if let Some(name) = self.once.iter().chain(&self.each).find(|name| !self.tokens.us.contains_key(*name)) {
            return Err(format!("layers names the kernel {name}, which layers.tokens.us lacks"));
        }
        let named = |name: &String| self.once.contains(name) || self.each.contains(name);
        if let Some(name) = self.tokens.us.keys().find(|name| !named(name)) {
            return Err(format!("layers.tokens.us.{name} is in neither layers.once nor layers.each"));
        }
        for reduce in &self.all_reduce {
            axis("layers.all_reduce.bytes", &reduce.bytes, 1)?;
            same_length("layers.all_reduce", "bytes", reduce.bytes.len(), "us", reduce.us.len())?;
            finite("layers.all_reduce.us", &reduce.us)?;
        }
        if tensor_parallel > 1 && self.link.is_none() && !self.all_reduce.iter().any(|r| r.ranks == tensor_parallel) {
            return Err(format!("layers.all_reduce has none of {tensor_parallel} ranks"));
        }
        if let Some(Link { latency_us, gib_per_s, memory_gb_per_s }) = self.link {
            finite("layers.link", &[latency_us, gib_per_s, memory_gb_per_s])?;
            if gib_per_s <= 0.0 || memory_gb_per_s <= 0.0 {
                return Err("layers.link: bandwidths must be positive".into());
            }
        }
        self.experts.as_ref().map_or(Ok(()), ExpertTable::check)?;
        self.skew.as_ref().map_or(Ok(()), SkewTable::check)?;
        self.attention.iter().try_for_each(AttentionBlock::check)?;
        let has = |chunk: u32, decodes: bool| self.attention.iter().any(|b| b.chunk == chunk && (b.decodes[0] > 0) == decodes);
        if !has(0, true) || !self.attention.iter().any(|b| b.chunk > 0 && b.decodes[0] == 0) {
            return Err("layers.attention needs blocks of decodes only (chunk = 0) and of chunks only (decodes = [0])".into());
        }
        Ok(())
    }
}

fn kernels(name: &str, points: usize, us: &BTreeMap<String, Vec<f64>>) -> Check {
    us.iter().try_for_each(|(kernel, times)| {
        same_length(&format!("{name}.{kernel}"), "the axis", points, "the kernel", times.len())?;
        finite(&format!("{name}.{kernel}"), times)
    })
}

impl ExpertTable {
    fn check(&self) -> Check {
        axis("layers.experts.rows.activated", &self.rows.iter().map(|r| r.activated).collect::<Vec<_>>(), 1)?;
        self.rows.iter().try_for_each(|row| {
            let name = format!("layers.experts of {} activated", row.activated);
            axis(&format!("{name}: tokens"), &row.tokens, 1)?;
            same_length(&name, "tokens", row.tokens.len(), "us", row.us.len())?;
            finite(&name, &row.us)
        })
    }
}

/// Alphas beyond this are no correction.
const ALPHA_MAX: f64 = 10.0;

impl SkewTable {
    fn check(&self) -> Check {
        axis("layers.skew.decodes", &self.decodes, 1)?;
        axis("layers.skew.rate_percent", &self.rate_percent, 1)?;
        axis("layers.skew.longest", &self.longest, 1)?;
        let (rows, columns) = (self.decodes.len() + 1, (self.rate_percent.len() + 1) * (self.longest.len() + 1));
        let mut all = vec![self.default];
        for (i, bins) in self.alphas.iter().enumerate() {
            if i > 0 && self.alphas[i - 1].chunk >= bins.chunk {
                return Err(format!("layers.skew.alphas must increase strictly in chunk: {} comes late", bins.chunk));
            }
            let name = format!("layers.skew.alphas of chunk {}", bins.chunk);
            same_length(&name, "the bins of decodes", rows, "alpha", bins.alpha.len())?;
            for row in &bins.alpha {
                same_length(&name, "the bins of rate and longest", columns, "a row", row.len())?;
                all.extend(row);
            }
        }
        match all.iter().find(|alpha| !(-ALPHA_MAX..=ALPHA_MAX).contains(*alpha)) {
            Some(alpha) => Err(format!("layers.skew holds an alpha of {alpha}, beyond {ALPHA_MAX}")),
            None => Ok(()),
        }
    }
}

impl AttentionBlock {
    fn check(&self) -> Check {
        let name = format!("layers.attention of chunk {}", self.chunk);
        axis(&format!("{name}: decodes"), &self.decodes, 0)?;
        axis(&format!("{name}: history"), &self.history, 0)?;
        axis(&format!("{name}: context"), &self.context, 0)?;
        if self.decodes[0] == 0 && (self.decodes.len() > 1 || self.context != [0] || self.chunk == 0) {
            return Err(format!("{name}: a block without decodes has decodes = [0], context = [0] and a chunk"));
        }
        if self.chunk == 0 && self.history != [0] {
            return Err(format!("{name}: a block without chunks has history = [0]"));
        }
        same_length(&name, "decodes x history", self.decodes.len() * self.history.len(), "us", self.us.len())?;
        for row in &self.us {
            same_length(&name, "context", self.context.len(), "a row of us", row.len())?;
            finite(&name, row)?;
            if let Some(i) = row.windows(2).position(|pair| self.chunk == 0 && pair[1] < pair[0]) {
                let (from, to) = (self.context[i], self.context[i + 1]);
                return Err(format!("{name}: us falls from {} to {} between contexts {from} and {to}", row[i], row[i + 1]));
            }
        }
        Ok(())
    }

    /// As TOML, one row of times a line.
    pub(super) fn text(&self) -> String {
        let numbers = |values: &[u32]| values.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        let row = |row: &Vec<f64>| format!("    [{}],\n", row.iter().map(f64::to_string).collect::<Vec<_>>().join(","));
        format!(
            "\n[[layers.attention]]\nchunk = {}\ndecodes = [{}]\nhistory = [{}]\ncontext = [{}]\nus = [\n{}]\n",
            self.chunk,
            numbers(&self.decodes),
            numbers(&self.history),
            numbers(&self.context),
            self.us.iter().map(row).collect::<String>()
        )
    }
}
