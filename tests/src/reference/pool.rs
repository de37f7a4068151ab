//! KV blocks with ids, reference counts, the free queue and the map from content to blocks, as in vLLM's block pool.

use std::collections::{HashMap, VecDeque};

/// One KV block.
#[derive(Clone, Copy, Debug, Default)]
struct Block {
    /// Requests that hold it.
    references: u32,
    /// Identity of its content, if it is full and known.
    key: Option<u64>,
}

/// All blocks of a replica. Block 0 is the null block and never used.
#[derive(Debug)]
pub struct Pool {
    blocks: Vec<Block>,
    /// Unreferenced blocks; taken from the front.
    free: VecDeque<u32>,
    /// Blocks of a content, in order of insertion.
    by_key: HashMap<u64, Vec<u32>>,
    /// Keyless freed blocks go to the front of the queue, not to its back.
    unhashed_first: bool,
    /// Keyed blocks that were taken and so lost their key.
    pub evictions: u64,
}

impl Pool {
    /// `blocks` usable blocks, all free.
    pub fn new(blocks: u32, unhashed_first: bool) -> Pool {
        Pool {
            blocks: vec![Block::default(); blocks as usize + 1],
            free: (1..=blocks).collect(),
            by_key: HashMap::new(),
            unhashed_first,
            evictions: 0,
        }
    }

    /// Blocks that nobody references.
    pub fn free(&self) -> u32 {
        self.free.len() as u32
    }

    /// Usable blocks, free or not.
    pub fn size(&self) -> u32 {
        self.blocks.len() as u32 - 1
    }

    /// The first inserted block of this content.
    pub fn find(&self, key: u64) -> Option<u32> {
        self.by_key.get(&key).map(|blocks| blocks[0])
    }

    /// Whether nobody references the block.
    pub fn idle(&self, block: u32) -> bool {
        self.blocks[block as usize].references == 0
    }

    /// References found blocks.
    pub fn touch(&mut self, blocks: &[u32]) {
        for &block in blocks {
            if self.idle(block) {
                let place = self.free.iter().position(|&b| b == block).expect("an idle block is free");
                self.free.remove(place);
            }
            self.blocks[block as usize].references += 1;
        }
    }

    /// Takes `n` blocks from the front of the free queue; they lose their keys.
    pub fn take(&mut self, n: u32) -> Vec<u32> {
        assert!(n <= self.free(), "taking {n} of {} free blocks", self.free());
        let taken: Vec<u32> = self.free.drain(..n as usize).collect();
        for &id in &taken {
            let block = &mut self.blocks[id as usize];
            assert_eq!(block.references, 0, "a free block is referenced");
            block.references = 1;
            if let Some(key) = block.key.take() {
                self.evictions += 1;
                let same = self.by_key.get_mut(&key).expect("a key is in the map");
                same.retain(|&b| b != id);
                if same.is_empty() {
                    self.by_key.remove(&key);
                }
            }
        }
        taken
    }

    /// Gives a block that is held its content's identity.
    pub fn set_key(&mut self, id: u32, key: u64) {
        let block = &mut self.blocks[id as usize];
        assert!(block.references > 0 && block.key.is_none(), "only a held block without a key gets one");
        block.key = Some(key);
        self.by_key.entry(key).or_default().push(id);
    }

    /// Gives back a request's blocks (in prompt order), the last one first.
    pub fn release(&mut self, blocks: &[u32]) {
        let mut unhashed = Vec::new();
        for &id in blocks.iter().rev() {
            let block = &mut self.blocks[id as usize];
            assert!(block.references > 0, "released a block nobody holds");
            block.references -= 1;
            if block.references > 0 {
                continue;
            }
            if block.key.is_none() && self.unhashed_first {
                unhashed.push(id);
            } else {
                self.free.push_back(id);
            }
        }
        for id in unhashed.into_iter().rev() {
            self.free.push_front(id);
        }
    }

    /// Blocks are conserved: the free ones are exactly the unreferenced ones, each block is referenced exactly by its holders, and
    /// the map knows exactly the keyed blocks. `held`: the blocks of every request.
    pub fn check<'a>(&self, held: impl Iterator<Item = &'a [u32]>) {
        let mut holders = vec![0; self.blocks.len()];
        for blocks in held {
            for &id in blocks {
                holders[id as usize] += 1;
            }
        }
        for &id in &self.free {
            assert!(id != 0 && holders[id as usize] == 0, "free block {id} is held");
            holders[id as usize] = u32::MAX;
        }
        let mut referenced = 0;
        let mut keyed = 0;
        for (id, block) in self.blocks.iter().enumerate().skip(1) {
            let free = holders[id] == u32::MAX;
            assert_eq!(if free { 0 } else { holders[id] }, block.references, "references of block {id}");
            assert!(free || block.references > 0, "block {id} is lost");
            referenced += u32::from(!free);
            keyed += usize::from(block.key.is_some());
        }
        assert_eq!(self.free() + referenced, self.size(), "blocks are not conserved");
        assert_eq!(self.by_key.values().map(Vec::len).sum::<usize>(), keyed, "keys are not conserved");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_blocks_queue_up_tail_first_and_unhashed_in_front() {
        for (unhashed_first, order) in [(true, [3, 4, 5, 2, 1]), (false, [4, 5, 3, 2, 1])] {
            let mut pool = Pool::new(5, unhashed_first);
            let blocks = pool.take(3);
            assert_eq!(blocks, [1, 2, 3]);
            pool.set_key(1, 10);
            pool.set_key(2, 20);
            pool.release(&blocks);
            assert_eq!(pool.free, order);
            pool.check(std::iter::empty());
        }
    }

    #[test]
    fn a_key_finds_the_first_inserted_block_until_that_is_taken() {
        let mut pool = Pool::new(4, true);
        let (first, second) = (pool.take(1), pool.take(1));
        pool.set_key(1, 10);
        pool.set_key(2, 10);
        pool.release(&second);
        pool.release(&first);
        assert_eq!((pool.find(10), pool.evictions), (Some(1), 0));
        // The free queue is now 3, 4, 2, 1: the third taken block is the later copy, then the first one goes.
        pool.take(3);
        assert_eq!((pool.find(10), pool.evictions), (Some(1), 1));
        pool.touch(&[1]);
        assert!(!pool.idle(1) && pool.free() == 0);
        pool.release(&[1]);
        pool.take(1);
        assert_eq!((pool.find(10), pool.evictions), (None, 2));
    }
}
