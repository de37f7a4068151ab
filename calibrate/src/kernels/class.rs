//! What kernels are for.

use serde::{Deserialize, Serialize};

/// What a kernel is for. The order is that of the tables: products and attention first, the small ones last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Dense matrix products.
    Gemm,
    /// Attention kernels that only prompts run on.
    AttentionPrefill,
    /// Attention kernels that only decodes run on.
    AttentionDecode,
    /// Attention kernels that prompts and decodes share.
    Attention,
    /// Experts: routing, permuting, grouped products, the weighted sum.
    Moe,
    /// Exchanges between ranks, with what is fused into them.
    Collective,
    /// Norms, with the addition or quantization fused into them.
    Norm,
    /// Activations of the MLP.
    Activation,
    /// Rotary position embedding.
    Rotary,
    /// Writing keys and values to their blocks.
    KvWrite,
    /// Quantizing of activations.
    Quantize,
    /// Rows of the embedding table.
    Embedding,
    /// From logits to tokens.
    Sampling,
    /// Copies and fills by the copy engines or the driver.
    Copy,
    /// Other pointwise kernels, reductions and indexing.
    Elementwise,
    /// None of these, or unknown.
    Other,
}

/// Number of classes.
pub const CLASSES: usize = 16;

/// A value per class, in the order of [`Class::ALL`].
pub type PerClass<T> = [T; CLASSES];

impl Class {
    /// All of them, in order.
    pub const ALL: PerClass<Class> = [
        Class::Gemm,
        Class::AttentionPrefill,
        Class::AttentionDecode,
        Class::Attention,
        Class::Moe,
        Class::Collective,
        Class::Norm,
        Class::Activation,
        Class::Rotary,
        Class::KvWrite,
        Class::Quantize,
        Class::Embedding,
        Class::Sampling,
        Class::Copy,
        Class::Elementwise,
        Class::Other,
    ];

    /// Its name in rules, tables and files.
    pub fn name(self) -> &'static str {
        match self {
            Class::Gemm => "gemm",
            Class::AttentionPrefill => "attention_prefill",
            Class::AttentionDecode => "attention_decode",
            Class::Attention => "attention",
            Class::Moe => "moe",
            Class::Collective => "collective",
            Class::Norm => "norm",
            Class::Activation => "activation",
            Class::Rotary => "rotary",
            Class::KvWrite => "kv_write",
            Class::Quantize => "quantize",
            Class::Embedding => "embedding",
            Class::Sampling => "sampling",
            Class::Copy => "copy",
            Class::Elementwise => "elementwise",
            Class::Other => "other",
        }
    }

    /// The class of that name.
    pub fn named(name: &str) -> Option<Class> {
        Class::ALL.into_iter().find(|class| class.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_the_list_is_that_of_the_type() {
        for (i, class) in Class::ALL.into_iter().enumerate() {
            assert_eq!((class as usize, Class::named(class.name())), (i, Some(class)));
            assert_eq!(serde_json::to_value(class).unwrap(), class.name());
        }
        assert_eq!(Class::named("gemms"), None);
    }
}
