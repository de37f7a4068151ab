//! What a step's time is made of: terms of a physical meaning, in which it is linear.
//!
//! ```text
//! step = base + sum over ranges of tokens: slope * tokens in the range         (weights and host, GEMMs with their efficiency)
//!      + decode * n + context * C + mean_context * C / n                       (sampling; KV reads, of all and of the longest row)
//!      + [any chunk] * chunk + pair * pairs                                     (attention of chunks)
//! TTFT = request + its steps
//! ```
//!
//! A request's coming and going also take something from the steps around its own (`arrival`): that is no part of a step whose work
//! is known, so it is measured as the difference to the steps nearby.
//!
//! `tokens` are those that the engine computes, padding to CUDA graphs included. The floor's part of attention (arithmetic of the
//! pairs, reading keys and values) is not fitted but known, so the fitted part is what the kernels need beyond it. Time that a
//! linear layer takes is flat where reading the weights decides, and grows with the tokens beyond; the ranges between knots allow
//! any such curve that does not fall.

use tokentide_models::capture_sizes::CaptureSizes;
use tokentide_models::cost::{AttentionFloor, BatchShape, CostError, Floor};
use tokentide_models::deployment::Deployment;

use super::sample::Sample;

/// One term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Term {
    /// Once per step: reading weights, launches, the scheduler.
    Base,
    /// Per token between two numbers of them; without an end beyond the last knot.
    Tokens {
        /// From so many tokens.
        from: u32,
        /// To so many.
        to: Option<u32>,
    },
    /// Per decode: sampling, bookkeeping.
    Decode,
    /// Per token of all decodes' contexts.
    Context,
    /// Per token of the decodes' mean context: what a kernel takes that splits contexts, not sequences.
    MeanContext,
    /// Once per step with a chunk of a prompt.
    Chunk,
    /// Per query-key pair of the chunks.
    Pair,
    /// Once per request: front end, network, and the first token's way back.
    Request,
    /// Once per request, within steps: what its coming and going take from those around its own. Not of the regression, since no
    /// step of known work holds it.
    Arrival,
}

impl Term {
    /// Name of its coefficient.
    pub fn name(self) -> String {
        match self {
            Term::Base => "step".into(),
            Term::Tokens { from, to: Some(to) } => format!("token {from}-{to}"),
            Term::Tokens { from: 0, to: None } => "token".into(),
            Term::Tokens { from, to: None } => format!("token {from}+"),
            Term::Decode => "decode".into(),
            Term::Context => "context token".into(),
            Term::MeanContext => "mean context token".into(),
            Term::Chunk => "chunk step".into(),
            Term::Pair => "query-key pair".into(),
            Term::Request => "request".into(),
            Term::Arrival => "arrival".into(),
        }
    }

    /// What makes it known.
    pub fn advice(self) -> &'static str {
        match self {
            Term::Base => "steps of few tokens, such as one decode",
            Term::Tokens { .. } => "prompts and batches of more different sizes",
            Term::Decode => "decodes at more batch sizes, and prompts as large as those batches",
            Term::Context | Term::MeanContext => "decodes at more and longer contexts",
            Term::Chunk => "prompts among decodes, or prompts longer than one step",
            Term::Arrival => "prompts of one token, one by one among steady decodes",
            Term::Pair => "longer prompts",
            Term::Request => "single prompts with the time of their first token",
        }
    }
}

/// The terms of one fit, for a deployment.
#[derive(Clone, Debug)]
pub struct Basis {
    /// Tokens at which the slope of the linear layers may change, ascending.
    pub knots: Vec<u32>,
    graphs: CaptureSizes,
    floor: AttentionFloor,
}

impl Basis {
    /// Without knots.
    ///
    /// # Errors
    ///
    /// [`CostError::Deployment`] for one that makes no sense.
    pub fn new(deployment: &Deployment) -> Result<Basis, CostError> {
        Ok(Basis { knots: Vec::new(), graphs: CaptureSizes::of(deployment), floor: Floor::new(deployment)?.attention() })
    }

    /// With one knot more.
    pub fn with(&self, knot: u32) -> Basis {
        let mut knots = self.knots.clone();
        knots.push(knot);
        knots.sort_unstable();
        Basis { knots, ..self.clone() }
    }

    /// Its terms, in the order of [`Basis::row`].
    pub fn terms(&self) -> Vec<Term> {
        let bounds: Vec<u32> = std::iter::once(0).chain(self.knots.iter().copied()).collect();
        let ranges = bounds.iter().enumerate().map(|(i, &from)| Term::Tokens { from, to: bounds.get(i + 1).copied() });
        let rest = [Term::Decode, Term::Context, Term::MeanContext, Term::Chunk, Term::Pair, Term::Request];
        std::iter::once(Term::Base).chain(ranges).chain(rest).collect()
    }

    /// How much of each term a sample has.
    pub fn row(&self, sample: &Sample) -> Vec<f64> {
        let of = |term: Term| match term {
            Term::Request => f64::from(u8::from(sample.request)),
            _ => sample.steps.iter().map(|step| self.amount(term, step)).sum(),
        };
        self.terms().into_iter().map(of).collect()
    }

    fn amount(&self, term: Term, step: &BatchShape) -> f64 {
        match term {
            Term::Base => 1.0,
            Term::Tokens { from, to } => {
                let tokens = self.graphs.padded(step.tokens());
                let inside = to.map_or(tokens, |to| tokens.min(u64::from(to)));
                inside.saturating_sub(u64::from(from)) as f64
            }
            Term::Decode => f64::from(step.decodes),
            Term::Context => step.decode_context as f64,
            Term::MeanContext => step.decode_context as f64 / f64::from(step.decodes.max(1)),
            Term::Chunk => f64::from(u8::from(step.prefill_chunks > 0)),
            Term::Pair => step.prefill_pairs as f64,
            Term::Request | Term::Arrival => 0.0,
        }
    }

    /// The part of a sample's time that is known: what its attention takes at the least [ms].
    pub fn known_ms(&self, sample: &Sample) -> f64 {
        let of = |step: &BatchShape| {
            self.floor.context_token_ms * step.decode_context as f64
                + self.floor.pair_ms * step.prefill_pairs as f64
                + self.floor.history_token_ms * step.prefill_history as f64
        };
        sample.steps.iter().map(of).sum()
    }

    /// Least times of attention.
    pub fn floor(&self) -> AttentionFloor {
        self.floor
    }
}
