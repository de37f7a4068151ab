//! `running`: a list in order of admission, linked through the table's entries.

use super::table::Table;

/// No slot.
pub const NIL: u32 = u32::MAX;

/// The list's ends and length.
pub struct Running {
    /// Earliest admitted.
    pub first: u32,
    /// Latest admitted.
    pub last: u32,
    /// Length.
    pub len: u32,
}

impl Running {
    /// Empty.
    pub fn new() -> Running {
        Running { first: NIL, last: NIL, len: 0 }
    }

    /// Appends `slot`.
    pub fn push(&mut self, table: &mut Table, slot: u32) {
        (table[slot].prev, table[slot].next) = (self.last, NIL);
        if self.last == NIL {
            self.first = slot;
        } else {
            table[self.last].next = slot;
        }
        self.last = slot;
        self.len += 1;
    }

    /// Takes `slot` out.
    pub fn remove(&mut self, table: &mut Table, slot: u32) {
        let (prev, next) = (table[slot].prev, table[slot].next);
        if prev == NIL {
            self.first = next;
        } else {
            table[prev].next = next;
        }
        if next == NIL {
            self.last = prev;
        } else {
            table[next].prev = prev;
        }
        self.len -= 1;
    }
}
