//! The decode aggregate: all decoding requests advance together, so their sums are kept instead of their members.
//!
//! Sound because every member gets one token in every step (`max_num_seqs <= max_num_batched_tokens`); a step that has to leave one
//! out (a long-prefill threshold can exhaust the budget) says so by [`Decodes::stall`].

use std::collections::BTreeMap;

use super::table::Entry;

/// Sums over the decoding requests.
pub struct Decodes {
    /// Members.
    pub members: u32,
    /// Sum of the members' contexts in the next step, the new token included [tokens].
    pub context: u64,
    /// Members by `(target - s0) mod block_size`: in step `s` those with phase `(1 - s) mod block_size` need a block.
    phases: Vec<u32>,
    /// Members that will get a token, by class.
    pub by_class: Vec<u32>,
    /// Members by their context in step 0, which is `target - s0` and never changes: its ends are the longest and the shortest
    /// context of any step. Kept only for a cost model that reads them.
    by_origin: Option<BTreeMap<i64, u32>>,
}

impl Decodes {
    /// Empty. `spread`: whether [`Decodes::spread`] will be read.
    pub fn new(block_size: u32, classes: usize, spread: bool) -> Decodes {
        let by_origin = spread.then(BTreeMap::new);
        Decodes { members: 0, context: 0, phases: vec![0; block_size as usize], by_class: vec![0; classes], by_origin }
    }

    /// The longest and the shortest context of a member in `step`, the new token included [tokens]; zeros if there is no member, or
    /// if they are not kept.
    pub fn spread(&self, step: u64) -> (u64, u64) {
        let ends = self.by_origin.as_ref().and_then(|by| Some((by.last_key_value()?.0, by.first_key_value()?.0)));
        ends.map_or((0, 0), |(longest, shortest)| {
            (longest.wrapping_add_unsigned(step) as u64, shortest.wrapping_add_unsigned(step) as u64)
        })
    }

    fn count_origin(&mut self, entry: &Entry) {
        if let Some(by) = &mut self.by_origin {
            *by.entry(origin(entry)).or_default() += 1;
        }
    }

    fn uncount_origin(&mut self, entry: &Entry) {
        if let Some(by) = &mut self.by_origin {
            let count = by.get_mut(&origin(entry)).expect("a member is counted");
            *count -= 1;
            if *count == 0 {
                by.remove(&origin(entry));
            }
        }
    }

    fn phase(&self, entry: &Entry) -> usize {
        let size = self.phases.len() as u64;
        ((u64::from(entry.target) + size - entry.s0 % size) % size) as usize
    }

    /// Adds a member; `step` is the next step.
    pub fn join(&mut self, entry: &Entry, step: u64) {
        self.members += 1;
        self.context += context(entry, step);
        let phase = self.phase(entry);
        self.phases[phase] += 1;
        self.count_origin(entry);
        let class = usize::from(entry.request.class);
        if class >= self.by_class.len() {
            self.by_class.resize(class + 1, 0);
        }
        self.by_class[class] += 1;
    }

    /// Takes a member out (its class is counted apart, see `by_class`); `step` is the next step.
    pub fn leave(&mut self, entry: &Entry, step: u64) {
        self.members -= 1;
        self.context -= context(entry, step);
        let phase = self.phase(entry);
        self.phases[phase] -= 1;
        self.uncount_origin(entry);
    }

    /// A member gets no token in the step now scheduled, whose index is its `s0` plus what it has: it is one step behind from now
    /// on.
    pub fn stall(&mut self, entry: &mut Entry) {
        let phase = self.phase(entry);
        self.phases[phase] -= 1;
        self.uncount_origin(entry);
        entry.s0 += 1;
        entry.s_last += 1;
        let phase = self.phase(entry);
        self.phases[phase] += 1;
        self.count_origin(entry);
    }

    /// Blocks that the members need in `step`.
    pub fn blocks_needed(&self, step: u64) -> u32 {
        self.phases[self.needy_phase(step)]
    }

    fn needy_phase(&self, step: u64) -> usize {
        let size = self.phases.len() as u64;
        ((size + 1 - step % size) % size) as usize
    }

    /// The most steps from `step` on, at most `wanted`, whose blocks fit into `free`; and the blocks they need.
    pub fn steps_that_fit(&self, step: u64, wanted: u64, free: u32) -> (u64, u32) {
        let size = self.phases.len() as u64;
        let cycles = (wanted / size).min(u64::from(free / self.members.max(1)));
        let (mut steps, mut needed) = (cycles * size, cycles as u32 * self.members);
        while steps < wanted {
            let more = self.blocks_needed(step + steps);
            if needed + more > free {
                break;
            }
            needed += more;
            steps += 1;
        }
        (steps, needed)
    }
}

/// A member's context in step 0: what its context of today would be without the steps since.
fn origin(entry: &Entry) -> i64 {
    i64::from(entry.target) - entry.s0 as i64
}

/// A member's context in `step`, the new token included [tokens].
pub fn context(entry: &Entry, step: u64) -> u64 {
    u64::from(entry.target) + step - entry.s0
}
