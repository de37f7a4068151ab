//! Keys of shared blocks, remembered for the prefixes that come again and again: a class's system prompt is one `Arc`.

use std::sync::Arc;

use crate::workload::{Layer, Prefix, Request};

/// How many prefixes are remembered.
const KEPT: usize = 64;

/// Keys by identity of the prefix's `Arc`, which is held so that its address cannot be given to another.
#[derive(Default)]
pub struct KeyCache {
    kept: Vec<Kept>,
    next: usize,
}

struct Kept {
    layers: Arc<[Layer]>,
    blocks: u32,
    keys: Arc<[u64]>,
}

impl KeyCache {
    /// Keys of the request's shared blocks.
    pub fn of(&mut self, request: &Request, block_size: u32) -> Arc<[u64]> {
        let Prefix::Layers(layers) = &request.prefix else {
            return request.shared_block_keys(block_size).into();
        };
        let blocks = request.shared_tokens() / block_size;
        if let Some(kept) = self.kept.iter().find(|kept| Arc::ptr_eq(&kept.layers, layers) && kept.blocks == blocks) {
            return kept.keys.clone();
        }
        let keys: Arc<[u64]> = request.shared_block_keys(block_size).into();
        let entry = Kept { layers: layers.clone(), blocks, keys: keys.clone() };
        if self.kept.len() < KEPT {
            self.kept.push(entry);
        } else {
            self.kept[self.next] = entry;
            self.next = (self.next + 1) % KEPT;
        }
        keys
    }
}
