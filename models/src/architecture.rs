//! Model shapes: from the catalogue or from any Hugging Face `config.json`.

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
#[derive(Clone, Debug, PartialEq)]
pub struct Moe {
    /// Routed experts per layer.
    pub experts: u32,
    /// Experts a token is routed to.
    pub top_k: u32,
    /// Width of one routed expert.
    pub intermediate: u32,
    /// Summed width of the experts that every token uses; 0 if none.
    pub shared_intermediate: u32,
    /// Leading layers with a dense feed-forward block instead.
    pub dense_layers: u32,
}
