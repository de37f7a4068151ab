//! Attention, routed experts and all-reduce of one deployment.

use tokentide_models::architecture::Moe;

use crate::CalibrateError;
use crate::perf_tables::line::{Grid, Line};
use crate::perf_tables::plausible::{Least, check};
use crate::perf_tables::products::Peaks;
use crate::perf_tables::rows::Rows;

/// Attention of one layer on one rank.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heads {
    /// Query heads of the rank.
    pub queries: u32,
    /// Key-value heads of the rank.
    pub keys: u32,
    /// Width of a head.
    pub width: u32,
    /// Bytes of a number in the KV cache.
    pub kv_bytes: f64,
    /// Window [tokens]; none if the layer sees everything.
    pub window: Option<u32>,
}

/// Times of attention by batch and length: of prompts (`prompts`), or of decodes over their context.
///
/// # Errors
///
/// [`CalibrateError::Value`] if these heads were not measured, with those that were, or for rows that cannot be.
pub(super) fn attention(
    rows: &Rows,
    heads: Heads,
    prompts: bool,
    peaks: Peaks,
    flags: &mut Vec<String>,
) -> Result<Grid, CalibrateError> {
    let kv = if heads.kv_bytes == 1.0 { "fp8" } else { "bfloat16" };
    let all = rows.texts("kv_cache_dtype", |found| found == kv)?.where_is("head_dim", heads.width)?;
    let mut rows = all.where_is("num_heads", heads.queries)?.where_is("num_key_value_heads", heads.keys)?;
    if rows.has("window_size") {
        rows = rows.numbers("window_size", |found| heads.window.map_or(found <= 0.0, |window| found == f64::from(window)))?;
    } else if let Some(window) = heads.window {
        return Err(rows.bad(format!("has no column window_size: attention to a window of {window} tokens was not measured")));
    }
    if rows.is_empty() {
        let (queries, keys, width) = (heads.queries, heads.keys, heads.width);
        let window = heads.window.map_or(String::new(), |w| format!(" and a window of {w} tokens"));
        let message = format!("has no {kv} attention of {queries} query and {keys} KV heads of {width}{window}");
        return Err(rows.bad(message));
    }
    let (batch, isl, step, ms) = (rows.counts("batch_size")?, rows.counts("isl")?, rows.counts("step")?, rows.ms());
    let length = |i: usize| if prompts { isl[i] } else { isl[i] + step[i] };
    let least: Vec<Least> = (0..ms.len())
        .map(|i| {
            let (n, tokens) = (f64::from(batch[i]), f64::from(length(i)));
            let seen = heads.window.map_or(tokens, |window| tokens.min(f64::from(window)));
            let per_pair = 4.0 * f64::from(heads.queries) * f64::from(heads.width);
            let pairs = if prompts { tokens * seen - seen * seen / 2.0 } else { seen };
            let bytes =
                if prompts { 0.0 } else { n * seen * 2.0 * f64::from(heads.keys) * f64::from(heads.width) * heads.kv_bytes };
            let (arithmetic, memory) = (n * pairs * per_pair / peaks.flops * 1e3, bytes / peaks.bandwidth * 1e3);
            Least { arithmetic, memory, cached: bytes < peaks.cache }
        })
        .collect();
    flags.extend(check(&rows, if prompts { "prefill attention" } else { "decode attention" }, &least)?);
    let points = (0..ms.len()).map(|i| (batch[i], length(i), ms[i]));
    Grid::new(points).ok_or_else(|| rows.bad("is empty".into()))
}

/// Times of the routed experts of one layer over tokens, routing and summing included.
///
/// # Errors
///
/// [`CalibrateError::Value`] if they were not measured so, or for rows that cannot be.
pub(super) fn experts(
    rows: &Rows,
    dtype: &str,
    moe: &Moe,
    hidden: u32,
    (slices, spread): (u32, u32),
    distribution: &str,
) -> Result<Line, CalibrateError> {
    let shape = rows
        .where_is("hidden_size", hidden)?
        .where_is("inter_size", moe.intermediate)?
        .where_is("topk", moe.top_k)?
        .where_is("num_experts", moe.experts)?
        .where_is("moe_tp_size", slices)?
        .where_is("moe_ep_size", spread)?;
    let routed = shape.texts("distribution", |found| found == distribution)?;
    let of = |dtype: &str| routed.texts("moe_dtype", |found| found == dtype);
    let rows = of(dtype)?;
    let (experts, top_k) = (moe.experts, moe.top_k);
    if rows.is_empty() {
        let list = |column: &str| {
            let found = shape.different(column)?.into_iter().collect::<Vec<_>>();
            Ok::<_, CalibrateError>(if found.is_empty() { "none".to_owned() } else { found.join(", ") })
        };
        let (formats, routings) = (list("moe_dtype")?, list("distribution")?);
        return Err(rows.bad(format!(
            "has no {dtype} mixture of {experts} experts, {top_k} per token, {slices} slices x {spread} ranks, routed \
             {distribution}; of this shape there are formats {formats} and routings {routings}"
        )));
    }
    let tokens = rows.counts("num_tokens")?;
    let line = Line::new(tokens.iter().copied().zip(rows.ms())).ok_or_else(|| rows.bad("is empty".into()))?;
    let plain = of("bfloat16")?;
    let slower = Line::new(plain.counts("num_tokens")?.into_iter().zip(plain.ms()));
    if let Some(plain) = slower.filter(|_| dtype == "fp8") {
        let odd = (0..tokens.len()).find(|&i| line.at(f64::from(tokens[i])) > DEFECT_FACTOR * plain.at(f64::from(tokens[i])));
        if let Some(i) = odd {
            let (fp8, bf16) = (line.at(f64::from(tokens[i])), plain.at(f64::from(tokens[i])));
            return Err(rows.bad_row(i, format!("{} tokens take {fp8} ms in fp8 and {bf16} ms in bf16: a bad kernel", tokens[i])));
        }
    }
    Ok(line)
}

/// Half the bytes and twice the peak cannot take this many times as long; the per-tensor fp8 rows of vLLM 0.24.0 do (2 to 4).
const DEFECT_FACTOR: f64 = 1.5;

/// Times of an all-reduce over elements, in a CUDA graph.
///
/// # Errors
///
/// [`CalibrateError::Value`] if there are none but eager ones, or if sizes and bytes disagree.
pub(super) fn all_reduce(rows: &Rows, ranks: u32) -> Result<Line, CalibrateError> {
    let rows = rows.texts("op_name", |name| name == "all_reduce")?.where_is("num_gpus", ranks)?;
    let rows = match rows.has("nccl_dtype") || rows.has("dtype") {
        true => rows.texts(if rows.has("dtype") { "dtype" } else { "nccl_dtype" }, |found| found != "int8")?,
        false => rows,
    };
    let mode = ["mode", "backend"].into_iter().find(|column| rows.has(column));
    let captured = match mode {
        Some(column) => rows.texts(column, |mode| !mode.contains("eager"))?,
        None => rows.clone(),
    };
    if captured.is_empty() {
        let eager = if rows.is_empty() { "" } else { " in a CUDA graph: eager ones take four times as long, which is launching" };
        return Err(rows.bad(format!("has no all-reduce of {ranks} GPUs{eager}")));
    }
    let elements = captured.counts("message_size")?;
    if captured.has("message_bytes") {
        let bytes = captured.counts("message_bytes")?;
        if let Some(i) = (0..bytes.len()).find(|&i| ![1, 2, 4].contains(&(bytes[i] / elements[i].max(1)))) {
            let message = format!("message_size {} and message_bytes {}: sizes must be elements", elements[i], bytes[i]);
            return Err(captured.bad_row(i, message));
        }
    }
    Line::new(elements.into_iter().zip(captured.ms())).ok_or_else(|| captured.bad("is empty".into()))
}
