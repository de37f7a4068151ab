//! Composes the tokens of a request: its prompt's parts in order, and its answer.
//!
//! Every field (a part of the prompt, the answer) has a stream of its own, so that a change to one, say a higher top_k, leaves all
//! other lengths of all requests as they were: two scenarios then differ by that change and by nothing else.

use std::collections::HashMap;
use std::sync::Arc;

use rand_distr::{Distribution as _, StandardNormal};
use tokentide_models::hash::{FNV_OFFSET, fnv1a};

use super::distribution::{Sampler, TOKENS_MAX};
use super::{Layer, Prefix};
use crate::scenario::{Class, Distribution, Source};
use crate::stream::{Purpose, Stream, mix};

/// Sets of layers kept per class; beyond it, a set is built anew for each request (requests with equal text still share blocks).
const CACHED_LAYERS_MAX: usize = 4096;
/// In place of a number among the parts of one source: the stream of what the user brings to a first turn.
const FIRST_USER: u64 = 0xffff;

/// Composes the requests of one class.
#[derive(Clone, Debug)]
pub struct Composer {
    seed: u64,
    class: u64,
    /// Leading shared parts.
    shared: Vec<Part>,
    /// All others.
    private: Vec<Part>,
    /// In the first turn of a session, in place of the private parts of the user.
    first_user: Option<Part>,
    output: Sampler,
    /// Correlation of the normal variables behind input and output; 0 draws them independently.
    normal_correlation: f64,
    /// The shared text, if every request has the same.
    constant: Option<SharedText>,
    cache: HashMap<u64, Arc<[Layer]>>,
    clamped: u64,
}

#[derive(Clone, Debug)]
struct Part {
    source: Source,
    /// Which stream and which text: the source and how many parts of it came before, so that a part of another source changes
    /// nothing; of a text of assumed length the source and its name, so that neither does another such text. 48 bits.
    field: u64,
    sampler: Sampler,
    count: u32,
    /// How often the text is put in.
    times: u32,
    /// Standard deviation of what one draw brings: its say in how long the input is for its kind.
    deviation: f64,
}

impl Part {
    /// The part `which` of its source. Only where input and output are `correlated` its deviation matters.
    fn new(source: Source, which: u64, tokens: &Distribution, count: u32, times: u32, correlated: bool) -> Part {
        let sampler = Sampler::new(tokens);
        let deviation = if correlated && sampler.fixed().is_none() { sampler.moments().1 * f64::from(times) } else { 0.0 };
        Part { source, field: (source as u64) << 16 | which, sampler, count, times, deviation }
    }
}

/// The text at the start of a prompt that other requests share.
#[derive(Clone, Debug, Default)]
pub struct SharedText {
    /// Its layers.
    pub prefix: Prefix,
    /// Its length.
    pub tokens: u32,
    /// By source.
    pub sources: [u32; 8],
}

/// The text of one request, without conversation.
#[derive(Clone, Debug)]
pub struct Composed {
    /// At the start of the prompt.
    pub shared: SharedText,
    /// Behind the shared text; the whole prompt is at least 1 token.
    pub private_tokens: u32,
    /// All of the prompt by source, in the order of [`Source::ALL`].
    pub sources: [u32; 8],
    /// What the model answers, at least 1 token.
    pub output_tokens: u32,
}

/// Normal score of the input: the weighted sum of the normal variables behind its draws, of unit variance again.
///
/// The weights are the draws' standard deviations. With one variable part this is the Gaussian copula exactly; with several, each
/// part and the output keep their distributions exactly, and the score stands for the sum.
#[derive(Default)]
struct Score {
    sum: f64,
    squares: f64,
}

impl Composer {
    /// The composer of class number `class`.
    pub fn new(class: &Class, index: u16, seed: u64) -> Composer {
        let mut seen = [0; 8];
        let correlated = class.correlation != 0.0;
        let mut parts: Vec<Part> = Vec::with_capacity(class.prompt.len());
        for part in &class.prompt {
            let which = match &part.assumed {
                Some(assumed) => fnv1a(FNV_OFFSET, assumed.name.as_bytes()) >> 36 << 20,
                None => {
                    seen[part.source as usize] += 1;
                    seen[part.source as usize]
                }
            };
            let times = part.assumed.as_ref().map_or(1, |assumed| assumed.times);
            parts.push(Part::new(part.source, which, &part.tokens, part.count, times, correlated));
        }
        let first_user = class.session.as_ref().and_then(|session| session.first_user.as_ref());
        let first_user = first_user.map(|tokens| Part::new(Source::User, FIRST_USER, tokens, 1, 1, correlated));
        let leading = class.prompt.iter().take_while(|p| p.shared).count();
        let private = parts.split_off(leading);
        let mut composer = Composer {
            seed,
            class: u64::from(index),
            shared: parts,
            private,
            first_user,
            output: Sampler::new(&class.output.tokens),
            // Spearman's rho of a Gaussian copula of correlation r is (6 / pi) asin(r / 2) (Pearson 1907).
            normal_correlation: 2.0 * (std::f64::consts::PI / 6.0 * class.correlation.clamp(-1.0, 1.0)).sin(),
            constant: None,
            cache: HashMap::new(),
            clamped: 0,
        };
        if composer.shared.iter().all(|p| p.sampler.fixed().is_some()) {
            composer.constant = Some(composer.draw_shared(0, &mut Score::default()));
        }
        composer
    }

    /// How many draws a bound has changed so far, empty prompts and answers raised to one token included.
    pub fn clamped(&self) -> u64 {
        self.clamped
    }

    /// Draws request `index` of the class. With `kept` given, a later turn of a conversation: the shared text stays as it was, and
    /// the parts of source [`Source::History`] are left out, since the conversation itself is the history from now on. In a first
    /// one the user may bring something else.
    #[inline]
    pub fn compose(&mut self, index: u64, kept: Option<&SharedText>) -> Composed {
        let mut score = Score::default();
        let shared = match (kept, &self.constant) {
            (Some(kept), _) => kept.clone(),
            (None, Some(constant)) => constant.clone(),
            (None, None) => self.draw_shared(index, &mut score),
        };
        let (mut sources, mut total) = (shared.sources, shared.tokens);
        let first_user = self.first_user.as_ref().filter(|_| kept.is_none());
        let left_out = match (kept, first_user) {
            (Some(_), _) => Some(Source::History),
            (None, Some(_)) => Some(Source::User),
            (None, None) => None,
        };
        let parts = self.private.iter().filter(|part| Some(part.source) != left_out);
        for part in parts.chain(first_user) {
            let tokens = draw_part(part, self.seed, self.class, index, self.normal_correlation, &mut score, &mut self.clamped);
            let tokens = tokens.min(TOKENS_MAX - total);
            sources[part.source as usize] += tokens;
            total += tokens;
        }
        if total == 0 {
            self.clamped += 1;
            sources[Source::User as usize] = 1;
            total = 1;
        }
        let output_tokens = self.draw_output(index, &score);
        Composed { private_tokens: total - shared.tokens, shared, sources, output_tokens }
    }

    fn draw_output(&mut self, index: u64, score: &Score) -> u32 {
        let mut rng = Stream::new(self.seed, Purpose::Lengths, self.class, index);
        let r = self.normal_correlation;
        let tokens = match r != 0.0 && score.squares > 0.0 {
            false => self.output.tokens(&mut rng, &mut self.clamped),
            true => {
                let own: f64 = StandardNormal.sample(&mut rng);
                let z = r * score.sum / score.squares.sqrt() + (1.0 - r * r).max(0.0).sqrt() * own;
                self.output.tokens_at_normal(z, &mut self.clamped)
            }
        };
        self.clamped += u64::from(tokens == 0);
        tokens.max(1)
    }

    /// Draws the leading shared parts. A layer's identity is the chain of (class, field, length) up to it: equal draws share.
    fn draw_shared(&mut self, index: u64, score: &mut Score) -> SharedText {
        let mut layers: Vec<Layer> = Vec::with_capacity(self.shared.len());
        let (mut content, mut end, mut sources) = (mix(self.class), 0, [0; 8]);
        for part in &self.shared {
            let tokens = draw_part(part, self.seed, self.class, index, self.normal_correlation, score, &mut self.clamped);
            let tokens = tokens.min(TOKENS_MAX - end);
            if tokens > 0 {
                content = mix(mix(content ^ part.field) ^ u64::from(tokens));
                end += tokens;
                sources[part.source as usize] += tokens;
                layers.push(Layer { content, end });
            }
        }
        if layers.is_empty() {
            return SharedText::default();
        }
        let full = self.cache.len() >= CACHED_LAYERS_MAX;
        let layers = match self.cache.get(&content) {
            Some(cached) => Arc::clone(cached),
            None => {
                let layers: Arc<[Layer]> = layers.into();
                if !full {
                    self.cache.insert(content, Arc::clone(&layers));
                }
                layers
            }
        };
        SharedText { prefix: Prefix::Layers(layers), tokens: end, sources }
    }
}

/// Sum of a part's draws for request `index`.
fn draw_part(part: &Part, seed: u64, class: u64, index: u64, correlation: f64, score: &mut Score, clamped: &mut u64) -> u32 {
    if let Some(value) = part.sampler.fixed() {
        let tokens = (value + 0.5).min(f64::from(TOKENS_MAX)) as u32;
        return tokens.saturating_mul(part.count).saturating_mul(part.times).min(TOKENS_MAX);
    }
    let mut rng = Stream::new(seed, Purpose::Lengths, class | part.field << 16, index);
    let mut sum = 0u32;
    for _ in 0..part.count {
        let tokens = if correlation == 0.0 {
            part.sampler.tokens(&mut rng, clamped)
        } else {
            let z: f64 = StandardNormal.sample(&mut rng);
            score.sum += part.deviation * z;
            score.squares += part.deviation * part.deviation;
            part.sampler.tokens_at_normal(z, clamped)
        };
        sum = sum.saturating_add(tokens).min(TOKENS_MAX);
    }
    sum.saturating_mul(part.times).min(TOKENS_MAX)
}
