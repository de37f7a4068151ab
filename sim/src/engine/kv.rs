//! Paged KV cache: blocks, the free queue and the prefix cache.
//!
//! vLLM gives blocks identities. Here only *keyed* blocks have one (a [`Node`]): blocks without a key are all alike, so they are
//! counted, and a block whose key nobody will ever ask for again (private text of a finished request) needs no entry in the
//! map, only its place in the free queue. What is observable stays exact: which keys are cached, and when each is evicted.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

const NIL: u32 = u32::MAX;

/// Keys are already mixed: they are their own hash.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are u64");
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

/// An entry of the free queue, or a keyed block in use.
#[derive(Clone, Copy, Debug)]
struct Node {
    /// Content, if `keyed`.
    key: u64,
    keyed: bool,
    /// Requests that hold the block; in the free queue at 0.
    refs: u32,
    /// Blocks of the entry: 1 if keyed.
    count: u32,
    prev: u32,
    next: u32,
    /// The next block of the same key, in order of insertion.
    twin: u32,
}

/// What a request gives back: its blocks from the first on are `nodes`, then `private` full blocks, then `unkeyed` ones.
pub struct Release<'a> {
    /// Keyed blocks.
    pub nodes: &'a [u32],
    /// Full blocks of text that nobody will look up.
    pub private: u32,
    /// Blocks without a key.
    pub unkeyed: u32,
}

/// The block pool of one replica.
pub struct KvPool {
    blocks: u32,
    free: u32,
    caching: bool,
    unkeyed_first: bool,
    /// Free blocks without a key at the queue's head (`unkeyed_first`).
    head_unkeyed: u32,
    nodes: Vec<Node>,
    spare: Vec<u32>,
    first: u32,
    last: u32,
    map: HashMap<u64, u32, BuildHasherDefault<KeyHasher>>,
}

impl KvPool {
    /// A pool of `blocks` free blocks.
    pub fn new(blocks: u32, caching: bool, unkeyed_first: bool) -> KvPool {
        let mut pool = KvPool {
            blocks,
            free: blocks,
            caching,
            unkeyed_first,
            head_unkeyed: 0,
            nodes: Vec::new(),
            spare: Vec::new(),
            first: NIL,
            last: NIL,
            map: HashMap::default(),
        };
        if caching {
            pool.enqueue_unkeyed(blocks);
        }
        pool
    }

    /// Free blocks, cached ones that nobody references included.
    pub fn free(&self) -> u32 {
        self.free
    }

    /// Blocks in use.
    pub fn used(&self) -> u32 {
        self.blocks - self.free
    }

    /// The first inserted block of `key`.
    pub fn find(&self, key: u64) -> Option<u32> {
        self.map.get(&key).copied()
    }

    /// Whether nobody references the block.
    pub fn idle(&self, node: u32) -> bool {
        self.nodes[node as usize].refs == 0
    }

    /// References cached blocks; idle ones leave the free queue.
    pub fn touch(&mut self, hits: &[u32]) {
        for &node in hits {
            if self.nodes[node as usize].refs == 0 {
                self.unlink(node);
                self.free -= 1;
            }
            self.nodes[node as usize].refs += 1;
        }
    }

    /// Takes `n` blocks from the queue's left; a keyed one loses its key. The caller has checked that they are free.
    pub fn take(&mut self, n: u32) {
        self.free = self.free.checked_sub(n).expect("more blocks taken than are free");
        if !self.caching {
            return;
        }
        let from_head = n.min(self.head_unkeyed);
        self.head_unkeyed -= from_head;
        let mut left = n - from_head;
        while left > 0 {
            let front = self.first;
            let node = &mut self.nodes[front as usize];
            let taken = node.count.min(left);
            node.count -= taken;
            left -= taken;
            if node.count == 0 {
                if node.keyed {
                    self.forget(front);
                }
                self.unlink(front);
                self.spare.push(front);
            }
        }
    }

    /// Gives a key to a block in use, held once. Returns its node.
    pub fn key(&mut self, key: u64) -> u32 {
        let node = self.alloc(Node { key, keyed: true, refs: 1, count: 1, prev: NIL, next: NIL, twin: NIL });
        match self.map.get(&key) {
            None => {
                self.map.insert(key, node);
            }
            Some(&first) => {
                let mut last = first;
                while self.nodes[last as usize].twin != NIL {
                    last = self.nodes[last as usize].twin;
                }
                self.nodes[last as usize].twin = node;
            }
        }
        node
    }

    /// Frees a request's blocks, the last one first.
    pub fn release(&mut self, release: Release<'_>) {
        if !self.caching {
            self.free += release.nodes.len() as u32 + release.private + release.unkeyed;
            assert!(self.free <= self.blocks, "more blocks given back than there are");
            return;
        }
        self.free += release.private + release.unkeyed;
        self.enqueue_unkeyed(release.unkeyed);
        self.enqueue_run(release.private);
        for &node in release.nodes.iter().rev() {
            let entry = &mut self.nodes[node as usize];
            entry.refs -= 1;
            if entry.refs == 0 {
                self.free += 1;
                self.link_last(node);
            }
        }
        assert!(self.free <= self.blocks, "more blocks given back than there are");
    }

    fn enqueue_unkeyed(&mut self, n: u32) {
        if self.unkeyed_first {
            self.head_unkeyed += n;
        } else {
            self.enqueue_run(n);
        }
    }

    /// Appends `n` blocks that no lookup will find.
    fn enqueue_run(&mut self, n: u32) {
        if n == 0 {
            return;
        }
        if self.last != NIL && !self.nodes[self.last as usize].keyed {
            self.nodes[self.last as usize].count += n;
            return;
        }
        let node = self.alloc(Node { key: 0, keyed: false, refs: 0, count: n, prev: NIL, next: NIL, twin: NIL });
        self.link_last(node);
    }

    fn alloc(&mut self, node: Node) -> u32 {
        match self.spare.pop() {
            Some(i) => {
                self.nodes[i as usize] = node;
                i
            }
            None => {
                self.nodes.push(node);
                (self.nodes.len() - 1) as u32
            }
        }
    }

    /// Removes a keyed block from the map.
    fn forget(&mut self, node: u32) {
        let Node { key, twin, .. } = self.nodes[node as usize];
        let first = self.map[&key];
        if first == node {
            if twin == NIL {
                self.map.remove(&key);
            } else {
                self.map.insert(key, twin);
            }
            return;
        }
        let mut before = first;
        while self.nodes[before as usize].twin != node {
            before = self.nodes[before as usize].twin;
        }
        self.nodes[before as usize].twin = twin;
    }

    fn link_last(&mut self, node: u32) {
        let last = self.last;
        let entry = &mut self.nodes[node as usize];
        (entry.prev, entry.next) = (last, NIL);
        if last == NIL {
            self.first = node;
        } else {
            self.nodes[last as usize].next = node;
        }
        self.last = node;
    }

    fn unlink(&mut self, node: u32) {
        let Node { prev, next, .. } = self.nodes[node as usize];
        if prev == NIL {
            self.first = next;
        } else {
            self.nodes[prev as usize].next = next;
        }
        if next == NIL {
            self.last = prev;
        } else {
            self.nodes[next as usize].prev = prev;
        }
    }
}
