//! What a replica can carry at most: an analytic bound, so that every result can say how far it is from the knee.

use tokentide_models::cost::{BatchShape, CostModel};
use tokentide_models::units::Duration;

use crate::scenario::{Batchwise, EngineConfig, Scheduler};

/// Means over the requests of a workload.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mix {
    /// Prompt tokens that had to be computed [tokens].
    pub prefill: f64,
    /// Query-key pairs of those.
    pub pairs: f64,
    /// Whole prompts, cached part included [tokens].
    pub input: f64,
    /// Answers [tokens].
    pub output: f64,
    /// Context of a running request, over the steps that all requests run for [tokens]: long answers run for longer, so with
    /// lengths that vary it is more than `input + output / 2`.
    pub context: f64,
    /// Of the context, the text at the prompt's start that all running requests hold in the same KV blocks [tokens].
    pub shared: f64,
}

/// Sums over requests, of which a mix is the mean.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sums {
    requests: u64,
    prefill: u64,
    pairs: u128,
    input: u64,
    output: u64,
    /// Of each step of each request, twice its mean context.
    contexts_twice: u128,
    shared: u128,
}

impl Sums {
    /// Adds a request: its prompt, of which `cached` tokens were not computed again, its answer, and the text at the prompt's start
    /// that others have as well [tokens].
    pub fn add(&mut self, input: u32, cached: u32, output: u32, shared: u64) {
        let (input, cached, output) = (u64::from(input), u64::from(cached), u64::from(output));
        let computed = input - cached;
        self.requests += 1;
        self.prefill += computed;
        self.pairs += u128::from(computed * cached + computed * (computed + 1) / 2);
        self.input += input;
        self.output += output;
        self.contexts_twice += u128::from(output) * u128::from(2 * input + output);
        self.shared += u128::from(output) * u128::from(shared.min(cached));
    }

    /// How many were added.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Their means; `None` if there are none.
    pub fn mix(&self) -> Option<Mix> {
        let n = self.requests as f64;
        let per_output = |sum: f64| if self.output > 0 { sum / self.output as f64 } else { 0.0 };
        (self.requests > 0).then(|| Mix {
            prefill: (self.prefill as f64 / n).max(1.0),
            pairs: self.pairs as f64 / n,
            input: self.input as f64 / n,
            output: self.output as f64 / n,
            context: per_output(self.contexts_twice as f64 / 2.0),
            shared: per_output(self.shared as f64),
        })
    }
}

/// An engine core, as far as it decides what can be carried.
#[derive(Clone, Copy)]
pub struct Core<'a> {
    /// The engine's settings.
    pub engine: &'a EngineConfig,
    /// Its KV blocks.
    pub kv_blocks: u32,
    /// Duration of iterations.
    pub cost: &'a dyn CostModel,
    /// Pipeline stages.
    pub stages: u32,
}

impl Core<'_> {
    /// The highest rate of requests of this mix that one engine core can serve for ever [requests/s]: the best steady batch within
    /// `max_num_seqs`, the token budget and the KV cache.
    ///
    /// With `n` requests decoding and steps of duration `t`, `n / (output - 1)` requests end per step and as many prompts must be
    /// prefilled: rate = n / ((output - 1) t). A step carries prefill as chunks as large as prompt and budget allow, so `t` is the
    /// mean of steps with and without one; with pipeline stages it is the time between two batches. An estimate from means: beyond
    /// `context` it ignores the spread of lengths, and it ignores preemption. It takes the prefix cache's hits as given, though a
    /// cache whose blocks running requests need more and more finds less: where most hits come from sessions or other requests'
    /// private text, the rate at saturation is lower than the bound from a run at low load.
    pub fn throughput_bound(&self, mix: &Mix) -> f64 {
        let engine = self.engine;
        let steps = (mix.output - 1.0).max(0.0);
        let budget = f64::from(engine.max_num_batched_tokens);
        if steps < 1e-9 {
            let prompts = (budget / mix.prefill).max(1.0).min(f64::from(engine.max_num_seqs));
            let chunk = (mix.prefill * prompts).min(budget);
            return chunk / mix.prefill / self.period(mix, 0, chunk, self.stages);
        }
        // Shared blocks are held once, by all; of its last block a request uses half on average.
        let shared = (mix.shared / f64::from(engine.block_size)).min(f64::from(self.kv_blocks));
        let held = (mix.context / f64::from(engine.block_size) - shared + 0.5).max(1.0);
        let most = ((f64::from(self.kv_blocks) - shared) / held).floor().clamp(1.0, f64::from(engine.max_num_seqs));
        let rate = |n: f64| {
            let room = (budget - n).max(1.0);
            let wanted = n * mix.prefill / steps;
            let tokens = wanted.min(room);
            let chunk = tokens.max(mix.prefill.min(room)).max(1.0);
            let share = tokens / chunk;
            let batches = ((most / n) as u32).clamp(1, self.stages);
            let duration = |chunk: f64| self.period(mix, n as u32, chunk, batches);
            if engine.scheduler == Scheduler::Batchwise(Batchwise::Vllm2023) {
                // Prompts run in batches of their own, as many as fit.
                let alone = mix.prefill * (budget / mix.prefill).floor().max(1.0);
                let prefills = n * mix.prefill / steps / alone;
                return n / steps / (duration(0.0) + prefills * self.period(mix, 0, alone, batches));
            }
            let step = (1.0 - share) * duration(0.0) + share * duration(chunk);
            // Where the budget cannot feed n decodes, prompts limit the rate.
            n / steps * (tokens / wanted).min(1.0) / step
        };
        (1..=most as u32).map(|n| rate(f64::from(n))).fold(0.0, f64::max)
    }

    /// Prompt tokens per second that one engine core prefills with nothing else to do: full budgets of the mix's prompts (V_P).
    pub fn prefill_throughput(&self, mix: &Mix) -> f64 {
        let tokens = f64::from(self.engine.max_num_batched_tokens);
        tokens / self.period(mix, 0, tokens, self.stages)
    }

    /// Time [s] between the ends of two batches of `decodes` decodes at the mix's mean context and `prefill` tokens of the mix's
    /// prompts, `batches` of them in flight.
    fn period(&self, mix: &Mix, decodes: u32, prefill: f64, batches: u32) -> f64 {
        let prompts = if prefill > 0.0 { (prefill / mix.prefill).ceil().max(1.0) } else { 0.0 };
        let shape = BatchShape {
            step: 0,
            decodes,
            decode_context: (mix.context * f64::from(decodes)).round() as u64,
            decode_longest: if decodes > 0 { mix.context.ceil() as u64 } else { 0 },
            decode_shortest: if decodes > 0 { mix.context.floor() as u64 } else { 0 },
            prefill_chunks: prompts as u32,
            prefill_tokens: prefill.round() as u64,
            prefill_history: ((mix.input - mix.prefill) * prompts).round() as u64,
            prefill_pairs: (prefill * mix.pairs / mix.prefill.max(1e-9)).round() as u64,
            prefill_squares: (prefill * prefill / prompts.max(1.0)).round() as u64,
            prefill_history_64: ((mix.input - mix.prefill) * prompts).round() as u64,
            sampled: decodes + prompts as u32,
        };
        if self.stages == 1 {
            return self.cost.iteration(&shape).as_secs_f64().max(1e-12);
        }
        let mut times = vec![Duration::ZERO; self.stages as usize];
        self.cost.stages(&shape, &mut times);
        let (all, longest) = times.iter().fold((0.0, 0.0f64), |(all, longest), time| {
            let time = time.as_secs_f64();
            (all + time, longest.max(time))
        });
        (all / f64::from(batches)).max(longest).max(1e-12)
    }
}
