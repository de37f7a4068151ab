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

/// Which routed experts, and how they lie on the ranks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Experts<'a> {
    /// Their number format in the tables.
    pub dtype: &'a str,
    /// Experts, and how many a token takes.
    pub moe: &'a Moe,
    /// Width of the model.
    pub hidden: u32,
    /// Ranks that share one expert, and ranks that share the experts.
    pub split: (u32, u32),
    /// How tokens chose experts.
    pub distribution: &'a str,
    /// Part of the kernel's name, if not every kernel will do.
    pub kernel: Option<&'a str>,
}

/// Times of the routed experts of one layer over tokens, routing and summing included.
///
/// # Errors
///
/// [`CalibrateError::Value`] if they were not measured so, or for rows that cannot be.
pub(super) fn experts(rows: &Rows, wanted: Experts<'_>, flags: &mut Vec<String>) -> Result<Line, CalibrateError> {
    let Experts { dtype, moe, hidden, split: (slices, spread), distribution, kernel } = wanted;
    let laid = rows.where_is("moe_tp_size", slices)?.where_is("moe_ep_size", spread)?;
    let all = laid.texts("distribution", |found| found == distribution)?;
    let shape = |rows: &Rows| {
        let sized = rows.where_is("hidden_size", hidden)?.where_is("inter_size", moe.intermediate)?;
        sized.where_is("topk", moe.top_k)?.where_is("num_experts", moe.experts)
    };
    let routed = shape(&all)?;
    let of = |dtype: &str| routed.texts("moe_dtype", |found| found == dtype);
    if let Some(kernel) = kernel {
        let by_it = all.texts("kernel_source", |found| found.contains(kernel))?.texts("moe_dtype", |found| found == dtype)?;
        let measured = shape(&by_it)?;
        return if measured.is_empty() { scaled(&by_it, &routed, wanted, kernel, flags) } else { line(&measured) };
    }
    let rows = of(dtype)?;
    let (experts, top_k) = (moe.experts, moe.top_k);
    if rows.is_empty() {
        let there = shape(&laid)?;
        let list = |column: &str| {
            let found = there.different(column)?.into_iter().collect::<Vec<_>>();
            Ok::<_, CalibrateError>(if found.is_empty() { "none".to_owned() } else { found.join(", ") })
        };
        let (formats, routings) = (list("moe_dtype")?, list("distribution")?);
        return Err(rows.bad(format!(
            "has no {dtype} mixture of {experts} experts, {top_k} per token, {slices} slices x {spread} ranks, routed \
             {distribution}; of this shape there are formats {formats} and routings {routings}"
        )));
    }
    let (tokens, line) = (rows.counts("num_tokens")?, line(&rows)?);
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

/// The times of rows of one shape.
fn line(rows: &Rows) -> Result<Line, CalibrateError> {
    let tokens = rows.counts("num_tokens")?;
    Line::new(tokens.into_iter().zip(rows.ms())).ok_or_else(|| rows.bad("is empty".into()))
}

/// The times of a kernel at a shape that it was not measured at, from the nearest one in weights of all experts.
///
/// With as many tokens for each expert both the bytes read and the operations are in the ratio of the weights of all experts, so
/// the time is, whichever bounds it. But nothing is faster than the shortest time measured at this shape, which is launching, nor
/// than the fastest kernel that was measured at it in the same format: of few tokens each reads the same bytes.
fn scaled(rows: &Rows, routed: &Rows, wanted: Experts<'_>, kernel: &str, flags: &mut Vec<String>) -> Result<Line, CalibrateError> {
    let Experts { moe, hidden, .. } = wanted;
    let weights = |[experts, hidden, inner]: [u32; 3]| [experts, hidden, inner].map(f64::from).iter().product::<f64>();
    let here = weights([moe.experts, hidden, moe.intermediate]);
    let columns = [rows.counts("num_experts")?, rows.counts("hidden_size")?, rows.counts("inter_size")?, rows.counts("topk")?];
    let (tokens, ms) = (rows.counts("num_tokens")?, rows.ms());
    let at = |i: usize| columns.each_ref().map(|column| column[i]);
    let far = |[experts, hidden, inner, _]: [u32; 4]| (weights([experts, hidden, inner]) / here).ln().abs();
    let Some(near) = (0..ms.len()).map(at).min_by(|a, b| far(*a).total_cmp(&far(*b)).then(a.cmp(b))) else {
        return Err(rows.bad(format!("has no {} experts by a kernel `{kernel}`, at any shape", wanted.dtype)));
    };
    let [experts, width, inner, top_k] = near;
    let ratio = here / weights([experts, width, inner]);
    let density = |top_k: u32, experts: u32| f64::from(top_k) / f64::from(experts);
    let stretch = density(top_k, experts) / density(moe.top_k, moe.experts);
    let shortest = |times: Vec<f64>| times.into_iter().fold(f64::INFINITY, f64::min);
    let launch = if routed.is_empty() { shortest(ms.clone()) } else { shortest(routed.ms()) };
    let alike = routed.texts("moe_dtype", |found| found == wanted.dtype)?;
    let alike = if alike.is_empty() { None } else { Some(line(&alike)?) };
    flags.push(format!(
        "{}: experts by `{kernel}` were not measured at this shape: those of {experts} experts of {width} x {inner}, {top_k} a \
         token, are taken, with as many tokens for an expert, times {ratio:.3}",
        rows.path()
    ));
    let points = (0..ms.len()).filter(|&i| at(i) == near).map(|i| {
        // What was measured of `tokens` tokens says how long this many take here.
        let here = (f64::from(tokens[i]) * stretch).round().max(1.0) as u32;
        let others = alike.as_ref().map_or(launch, |line| line.at(f64::from(here)));
        (here, (ms[i] * ratio).max(others))
    });
    Line::new(points).ok_or_else(|| rows.bad("is empty".into()))
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
