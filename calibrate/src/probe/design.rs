//! The points of the experiment: which lengths, batches and contexts, within a server's limits.

use std::time::Duration;

use super::pace::Pace;
use super::point::{Plan, Shape};
use crate::observation::{PointKind, ServerRecord};

/// Of a server that does not tell its own [tokens].
const MODEL_LEN: u32 = 2048;
const BATCHED_TOKENS: u32 = 2048;
/// Decodes at once where it is not known how many run.
const SEQS: u32 = 64;
/// Shortest prompt of the sweep [tokens].
const SHORTEST: u32 = 16;
/// Lengths of the sweep, besides those around the token budget.
const SWEEP: u32 = 13;
/// Steps that all decodes of a point are together, at least, and in time where steps are short [s].
const STEADY_STEPS: u32 = 24;
const STEADY_TIME: f64 = 0.4;
/// From one request of many at once to the next, as a server's front end takes them in [s].
const ARRIVAL: f64 = 0.002;
/// Context of the beats and, at most, of steady decodes [tokens].
const BEAT_CONTEXT: u32 = 128;
const MIXED_CONTEXT: u32 = 256;
/// From an injected prompt's token to the next prompt, at least [s], and in steps.
const PAUSE: f64 = 0.03;
const PAUSE_STEPS: f64 = 6.0;

/// What points have to fit in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Prompt and answer together [tokens].
    pub model_len: u32,
    /// Longest prompt [tokens].
    pub prompt: u32,
    /// Tokens of a step, assumed if it is not known.
    pub budget: u32,
    /// Whether it is known.
    pub budget_known: bool,
    /// Decodes at once.
    pub batch: u32,
    /// KV cache [tokens], if it is known.
    pub kv_tokens: Option<u32>,
}

impl Bounds {
    /// Of a server, with the user's own limits.
    pub fn new(server: &ServerRecord, max_batch: u32, max_prompt: u32) -> Bounds {
        let model_len = server.max_model_len.unwrap_or(MODEL_LEN);
        Bounds {
            model_len,
            prompt: max_prompt.min(model_len.saturating_sub(1)).max(1),
            budget: server.max_num_batched_tokens.unwrap_or(BATCHED_TOKENS),
            budget_known: server.max_num_batched_tokens.is_some(),
            batch: server.max_num_seqs.unwrap_or(SEQS).min(max_batch).max(1),
            kv_tokens: kv_tokens(server),
        }
    }

    /// Whether so many requests of so many tokens fit into the KV cache, with a block's rounding each.
    fn fit(&self, batch: u32, tokens: u32) -> bool {
        let all = u64::from(batch) * u64::from(tokens + 32);
        tokens <= self.model_len && self.kv_tokens.is_none_or(|kv| all <= u64::from(kv))
    }

    /// A context that leaves room for an answer.
    fn context(&self, wanted: u32) -> u32 {
        wanted.min(self.model_len / 4).max(1)
    }
}

/// Of all blocks [tokens].
pub fn kv_tokens(server: &ServerRecord) -> Option<u32> {
    server.num_gpu_blocks.zip(server.block_size).and_then(|(blocks, size)| blocks.checked_mul(size))
}

/// Prompts that warm the server up: one of each size of work.
pub fn warmup(bounds: &Bounds) -> Vec<Plan> {
    let context = bounds.context(BEAT_CONTEXT);
    let plan = |name: &str, batch, context, shape| Plan {
        name: format!("warmup/{name}"),
        kind: PointKind::Warmup,
        batch,
        context,
        rate: None,
        shape,
    };
    vec![
        plan("decode", bounds.batch.min(8), context, Shape::Together { output: 16.min(bounds.model_len - context) }),
        plan("prefill", 0, (2 * bounds.budget).min(bounds.prompt).min(bounds.model_len / 2), Shape::Alone { count: 1 }),
    ]
}

/// Short decodes of one and of eight, to see the server's speed.
pub fn beats(bounds: &Bounds) -> Vec<Plan> {
    let context = bounds.context(BEAT_CONTEXT);
    let output = 40.min(bounds.model_len - context);
    let mut batches = vec![1, 8.min(bounds.batch)];
    batches.dedup();
    let beat = |batch| {
        let shape = Shape::Together { output };
        Plan { name: format!("beat/{batch}x{context}"), kind: PointKind::Beat, batch, context, rate: None, shape }
    };
    batches.into_iter().map(beat).collect()
}

/// Prompts alone: lengths in equal ratios, and on both sides of the token budget.
pub fn prefills(bounds: &Bounds, pace: &Pace) -> Vec<Plan> {
    let (low, high) = (f64::from(SHORTEST.min(bounds.prompt)), f64::from(bounds.prompt));
    let ratio = (high / low).powf(1.0 / f64::from(SWEEP - 1));
    let mut lengths: Vec<u32> = (0..SWEEP).map(|i| round(low * ratio.powi(i as i32), bounds.prompt)).collect();
    if bounds.budget_known {
        lengths.extend([bounds.budget, bounds.budget + bounds.budget / 8, 2 * bounds.budget]);
    }
    lengths.retain(|&n| n <= bounds.prompt);
    lengths.sort_unstable();
    lengths.dedup();
    // The ends and the middle say most.
    let order = by_halves(lengths.len());
    let plan = |at: usize| {
        let length = lengths[at];
        // Several short ones together are worth one reading of the counters.
        let count = (0.1 / pace.ttft(length)).clamp(1.0, 4.0) as u32;
        let shape = Shape::Alone { count };
        Plan { name: format!("prefill/{length}"), kind: PointKind::Prefill, batch: 0, context: length, rate: None, shape }
    };
    order.into_iter().map(plan).collect()
}

/// To two digits of a binary figure, so that names are short.
fn round(length: f64, most: u32) -> u32 {
    let unit = if length < 64.0 { 8.0 } else { 2f64.powi(length.log2().floor() as i32 - 3) };
    if length >= f64::from(most) - unit / 2.0 { most } else { ((length / unit).round() * unit) as u32 }
}

/// Indices of `count` places, the ends first, then the middle of each half, and so on.
fn by_halves(count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = if count > 1 { vec![0, count - 1] } else { (0..count).collect() };
    let mut step = count.next_power_of_two();
    while step > 1 {
        step /= 2;
        order.extend((0..count).step_by(step));
    }
    let mut seen = std::collections::BTreeSet::new();
    order.retain(|&at| seen.insert(at));
    order
}

/// Batches that double, up to the greatest.
fn doubling(most: u32) -> Vec<u32> {
    let mut batches: Vec<u32> = (0..31).map(|i| 1 << i).take_while(|&n| n < most).collect();
    batches.push(most);
    batches
}

/// Answers so long that all of a batch decode together for a while, with `more` tokens than reckoned.
pub fn answer(bounds: &Bounds, pace: &Pace, batch: u32, context: u32, more: u32) -> u32 {
    let step = pace.step(batch, context);
    // Decodes take from the budget of a step what prompts do not get.
    let prompts = batch.saturating_mul(context).div_ceil(bounds.budget.saturating_sub(batch).max(bounds.budget / 2).max(1));
    let arrivals = (f64::from(batch) * ARRIVAL / step).ceil() as u32;
    let steady = ((STEADY_TIME / step) as u32).clamp(STEADY_STEPS, 64);
    prompts + arrivals + steady + 8 + more
}

/// The grid of decodes: batches times contexts, corners first.
pub fn decodes(bounds: &Bounds, pace: &Pace) -> Vec<Plan> {
    let high = (bounds.model_len / 2).min(4096).min(bounds.prompt).max(1);
    let low = BEAT_CONTEXT.min(high);
    let middle = round((f64::from(low) * f64::from(high)).sqrt(), high);
    let mut contexts = vec![low, middle, high];
    contexts.dedup();
    let batches = doubling(bounds.batch);
    let rows = by_halves(batches.len());
    let columns = by_halves(contexts.len());
    let mut cells: Vec<(usize, u32, u32)> = Vec::new();
    for (i, &row) in rows.iter().enumerate() {
        cells.extend(columns.iter().enumerate().map(|(j, &column)| (i.max(j), batches[row], contexts[column])));
    }
    cells.sort_by_key(|cell| cell.0);
    cells.into_iter().filter_map(|(_, batch, context)| decode(bounds, pace, batch, context, 0)).collect()
}

/// One point of the grid; nothing if it does not fit.
pub fn decode(bounds: &Bounds, pace: &Pace, batch: u32, context: u32, more: u32) -> Option<Plan> {
    let output = answer(bounds, pace, batch, context, more);
    let shape = Shape::Together { output };
    let name = format!("decode/{batch}x{context}");
    bounds.fit(batch, context + output).then_some(Plan { name, kind: PointKind::Decode, batch, context, rate: None, shape })
}

/// Steady decodes with prompts between; the order of the prompts is that of each repeat.
pub fn mixed(bounds: &Bounds, pace: &Pace) -> Vec<Plan> {
    let top = (bounds.batch * 7 / 8).max(1);
    let mut batches = vec![top, 2.min(top), (top / 4).max(1), (top / 2).max(1)];
    let mut seen = std::collections::BTreeSet::new();
    batches.retain(|&batch| seen.insert(batch));
    batches.into_iter().filter_map(|batch| one_mixed(bounds, pace, batch)).collect()
}

fn one_mixed(bounds: &Bounds, pace: &Pace, batch: u32) -> Option<Plan> {
    let context = bounds.context(MIXED_CONTEXT);
    let step = pace.step(batch, context);
    let pause = PAUSE.max(PAUSE_STEPS * step);
    let longest = (2 * bounds.budget).min(bounds.prompt);
    let prompts: Vec<u32> = (0..6).rev().map(|halvings| (longest >> halvings).max(1)).collect();
    let chunks: u32 = prompts.iter().map(|n| n.div_ceil(bounds.budget)).sum();
    // A prompt waits for the step under way, and its sender for the token to arrive.
    let between = (prompts.len() as f64 + 1.0) * (pause / step + 3.0);
    let wanted = answer(bounds, pace, batch, context, 0) + chunks + between.ceil() as u32;
    let output = wanted.min(bounds.model_len - context);
    let shape = Shape::Injected { output, prompts, pause: Duration::from_secs_f64(pause) };
    let fits = bounds.fit(batch, context + output) && bounds.fit(1, longest);
    let name = format!("mixed/{batch}x{context}");
    fits.then_some(Plan { name, kind: PointKind::Mixed, batch, context, rate: None, shape })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds() -> Bounds {
        let server = ServerRecord {
            max_model_len: Some(4096),
            max_num_batched_tokens: Some(512),
            max_num_seqs: Some(32),
            block_size: Some(32),
            num_gpu_blocks: Some(4096),
            ..ServerRecord::default()
        };
        Bounds::new(&server, 256, 16_384)
    }

    #[test]
    fn lengths_span_the_context_and_surround_the_budget() {
        let mut lengths: Vec<u32> = prefills(&bounds(), &Pace::default()).iter().map(|plan| plan.context).collect();
        assert_eq!(lengths[..2], [16, 4095]);
        lengths.sort_unstable();
        assert!(lengths.len() >= 15 && lengths.len() <= 17, "{lengths:?}");
        assert!([512, 576, 1024].iter().all(|n| lengths.contains(n)), "{lengths:?}");
    }

    #[test]
    fn the_grid_fits_and_has_its_corners_first() {
        let plans = decodes(&bounds(), &Pace::default());
        let names: Vec<&str> = plans.iter().map(|plan| plan.name.as_str()).collect();
        assert_eq!(names.len(), 18, "{names:?}");
        let mut corners = names[..4].to_vec();
        corners.sort_unstable();
        assert_eq!(corners, ["decode/1x128", "decode/1x2048", "decode/32x128", "decode/32x2048"]);
        let Shape::Together { output } = plans[0].shape else { panic!("decodes are sent together") };
        assert!(output >= STEADY_STEPS);
        let small = Bounds { kv_tokens: Some(8192), ..bounds() };
        assert!(decodes(&small, &Pace::default()).iter().all(|plan| plan.batch * plan.context < 8192));
    }

    #[test]
    fn a_tiny_server_has_points_too() {
        let tiny = Bounds { model_len: 64, prompt: 63, budget: 16, budget_known: true, batch: 1, kv_tokens: None };
        assert!(!prefills(&tiny, &Pace::default()).is_empty());
        assert_eq!(beats(&tiny).len(), 1);
        assert!(warmup(&tiny).iter().all(|plan| plan.context < 64));
    }

    #[test]
    fn places_are_halved() {
        assert_eq!(by_halves(5), [0, 4, 2, 1, 3]);
        assert_eq!((by_halves(0).len(), by_halves(1).len(), by_halves(2).len()), (0, 1, 2));
    }
}
