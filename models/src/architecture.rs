//! Model shapes: from the catalogue or from any Hugging Face `config.json`.
//!
//! The shape is here; [`config`] reads it from a file, [`parameters`] counts its weights, [`work`] its FLOPs and KV bytes.

use std::sync::OnceLock;

use serde::Deserialize;

use crate::catalogue::{self, CatalogueError};
use crate::deployment::WeightDtype;

pub mod config;
pub mod parameters;
pub mod work;

/// The shape of a decoder-only transformer: all that memory and time depend on.
#[derive(Clone, Debug, PartialEq)]
pub struct Architecture {
    /// Catalogue name, or the file's stem.
    pub name: String,
    /// Decoder layers.
    pub layers: u32,
    /// Width of the residual stream.
    pub hidden: u32,
    /// Query heads.
    pub heads: u32,
    /// Key-value heads (grouped-query attention).
    pub kv_heads: u32,
    /// Width of one head; not always `hidden / heads`.
    pub head_dim: u32,
    /// Width of the dense feed-forward block (three matrices: gate, up, down).
    pub intermediate: u32,
    /// Vocabulary.
    pub vocab: u32,
    /// Whether the LM head is the embedding matrix.
    pub tied_embeddings: bool,
    /// Which attention the layers have.
    pub attention: Attention,
    /// Whether queries and keys are normalised over all heads together, so that tensor-parallel ranks exchange a sum for each.
    pub norm_across_ranks: bool,
    /// Whether the published fp8 weights have a scale for each block of 128 x 128.
    pub fp8_blocks: bool,
    /// Mixture of experts, if any.
    pub moe: Option<Moe>,
    /// Longest context the model was made for [tokens].
    pub max_context: u32,
    /// Whether serving engines are known to need memory that this shape does not explain (hybrid caches, vision towers).
    pub approximate: Option<String>,
}

/// Attention of the layers.
#[derive(Clone, Debug, PartialEq)]
pub enum Attention {
    /// Every layer attends to the whole context.
    Full,
    /// `local_layers` of the layers attend to the last `window` tokens only.
    Sliding {
        /// Window [tokens].
        window: u32,
        /// How many of the layers are local.
        local_layers: u32,
    },
    /// Multi-head latent attention: keys and values are one compressed vector per token, kept whole on every rank.
    Latent {
        /// Width of the compressed key-value vector.
        kv_rank: u32,
        /// Width of the shared rotary key.
        rope_dim: u32,
        /// Rank of the query projection; 0 if it is not factored.
        q_rank: u32,
        /// Per-head width without rotary position.
        nope_dim: u32,
        /// Per-head width of the values.
        v_dim: u32,
    },
}

/// Mixture of experts.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moe {
    /// Routed experts per layer.
    pub experts: u32,
    /// Experts a token is routed to.
    pub top_k: u32,
    /// Width of one routed expert.
    pub intermediate: u32,
    /// Summed width of the experts that every token uses; 0 if none.
    #[serde(default)]
    pub shared_intermediate: u32,
    /// Leading layers with a dense feed-forward block instead.
    #[serde(default)]
    pub dense_layers: u32,
}

/// One model of `data/models.toml` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    aliases: Vec<String>,
    layers: u32,
    hidden: u32,
    heads: u32,
    kv_heads: u32,
    head_dim: u32,
    intermediate: u32,
    vocab: u32,
    #[serde(default)]
    tied_embeddings: bool,
    max_context: u32,
    sliding: Option<SlidingEntry>,
    latent: Option<LatentEntry>,
    #[serde(default)]
    norm_across_ranks: bool,
    #[serde(default)]
    fp8_blocks: bool,
    moe: Option<Moe>,
    approximate: Option<String>,
    weights: Option<String>,
    source: String,
    parameters: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SlidingEntry {
    window: u32,
    local_layers: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LatentEntry {
    kv_rank: u32,
    rope_dim: u32,
    q_rank: u32,
    nope_dim: u32,
    v_dim: u32,
}

impl Entry {
    fn architecture(&self) -> Architecture {
        let attention = match (&self.sliding, &self.latent) {
            (Some(SlidingEntry { window, local_layers }), _) => Attention::Sliding { window: *window, local_layers: *local_layers },
            (None, Some(latent)) => Attention::Latent {
                kv_rank: latent.kv_rank,
                rope_dim: latent.rope_dim,
                q_rank: latent.q_rank,
                nope_dim: latent.nope_dim,
                v_dim: latent.v_dim,
            },
            (None, None) => Attention::Full,
        };
        Architecture {
            name: self.name.clone(),
            layers: self.layers,
            hidden: self.hidden,
            heads: self.heads,
            kv_heads: self.kv_heads,
            head_dim: self.head_dim,
            intermediate: self.intermediate,
            vocab: self.vocab,
            tied_embeddings: self.tied_embeddings,
            norm_across_ranks: self.norm_across_ranks,
            fp8_blocks: self.fp8_blocks,
            moe: self.moe.clone(),
            max_context: self.max_context,
            approximate: approximate(&attention, self.approximate.clone().into_iter().collect()),
            attention,
        }
    }
}

/// The note on what the shape does not explain: `reasons`, and the hybrid cache where some layers attend to a window only.
fn approximate(attention: &Attention, mut reasons: Vec<String>) -> Option<String> {
    if let Attention::Sliding { window, .. } = attention {
        reasons.insert(0, format!("the layers that see {window} tokens only are counted as keeping the whole context"));
    }
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

/// The shapes of the catalogue beside what was written about them, in the same order.
struct Catalogue {
    entries: Vec<Entry>,
    architectures: Vec<Architecture>,
}

fn catalogue() -> &'static Catalogue {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        model: Vec<Entry>,
    }
    static CATALOGUE: OnceLock<Catalogue> = OnceLock::new();
    CATALOGUE.get_or_init(|| {
        // The file is part of the program: the tests parse it, so the expectation cannot fail on a user's machine.
        let File { model } = toml::from_str(include_str!("../data/models.toml")).expect("data/models.toml is well formed");
        Catalogue { architectures: model.iter().map(Entry::architecture).collect(), entries: model }
    })
}

impl Architecture {
    /// All models of the catalogue, in its order.
    pub fn all() -> &'static [Architecture] {
        &catalogue().architectures
    }

    /// The model of this name or alias, whatever the case and the organisation: `llama-3.1-8b`, `meta-llama/Llama-3.1-8B-Instruct`.
    ///
    /// # Errors
    /// [`CatalogueError::Unknown`], with the nearest name and all known ones.
    pub fn find(name: &str) -> Result<Architecture, CatalogueError> {
        let Catalogue { entries, architectures } = catalogue();
        let asked = catalogue::key(name);
        let is_asked = |entry: &Entry| entry.name == asked || entry.aliases.iter().any(|alias| catalogue::key(alias) == asked);
        entries.iter().position(is_asked).map(|index| architectures[index].clone()).ok_or_else(|| {
            let aliases = entries.iter().flat_map(|entry| entry.aliases.iter().map(|alias| (alias.as_str(), entry.name.as_str())));
            CatalogueError::unknown("model", name, entries.iter().map(|entry| entry.name.as_str()), aliases)
        })
    }

    /// The number format of the published checkpoint: bf16 for any model that is not in the catalogue.
    pub fn native_weights(&self) -> WeightDtype {
        self.entry().and_then(|entry| entry.weights.as_deref()).and_then(|name| name.parse().ok()).unwrap_or(WeightDtype::Bf16)
    }

    /// Where the catalogue has this shape from; nothing for a shape from elsewhere.
    pub fn source(&self) -> Option<&'static str> {
        self.entry().map(|entry| entry.source.as_str())
    }

    /// Published parameter count of the text part; nothing for a shape that is not in the catalogue.
    pub fn published_parameters(&self) -> Option<f64> {
        self.entry().map(|entry| entry.parameters)
    }

    /// Whether two models differ in nothing that time depends on: in their names, longest context and the scales of fp8 weights,
    /// which only some have, at most.
    pub fn same_shape(&self, other: &Architecture) -> bool {
        let Architecture { name, max_context, fp8_blocks, .. } = other.clone();
        let renamed = Architecture { name, max_context, fp8_blocks, ..self.clone() };
        renamed == Architecture { approximate: renamed.approximate.clone(), ..other.clone() }
    }

    fn entry(&self) -> Option<&'static Entry> {
        let Catalogue { entries, architectures } = catalogue();
        architectures.iter().position(|known| known == self).map(|index| &entries[index])
    }
}

#[cfg(test)]
mod tests;
