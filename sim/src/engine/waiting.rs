//! `waiting`: first come first served, or by priority.

use std::collections::{BTreeSet, VecDeque};

use tokentide_models::units::Time;

use super::table::{State, Table};
use crate::scenario::Policy;

/// The waiting queue. Entries of the first-come queue that left it from the middle stay as tombstones until they reach its head.
pub struct Waiting {
    order: Order,
    len: u32,
}

enum Order {
    Fcfs(VecDeque<(u32, u64)>),
    Priority(BTreeSet<(i32, Time, u64, u32)>),
}

impl Waiting {
    /// Empty.
    pub fn new(policy: Policy) -> Waiting {
        let order = match policy {
            Policy::Fcfs => Order::Fcfs(VecDeque::new()),
            Policy::Priority => Order::Priority(BTreeSet::new()),
        };
        Waiting { order, len: 0 }
    }

    /// Requests in it.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// A new request.
    pub fn push(&mut self, table: &Table, slot: u32) {
        self.len += 1;
        match &mut self.order {
            Order::Fcfs(queue) => queue.push_back((slot, table[slot].request.id)),
            Order::Priority(set) => {
                set.insert(key(table, slot));
            }
        }
    }

    /// A preempted request: to the front, or where its priority puts it.
    pub fn push_preempted(&mut self, table: &Table, slot: u32) {
        self.len += 1;
        match &mut self.order {
            Order::Fcfs(queue) => queue.push_front((slot, table[slot].request.id)),
            Order::Priority(set) => {
                set.insert(key(table, slot));
            }
        }
    }

    /// The head.
    pub fn peek(&mut self, table: &Table) -> Option<u32> {
        match &mut self.order {
            Order::Fcfs(queue) => {
                while let Some(&(slot, id)) = queue.front() {
                    if table.holds(slot, id) && table[slot].state == State::Waiting {
                        return Some(slot);
                    }
                    queue.pop_front();
                }
                None
            }
            Order::Priority(set) => set.first().map(|&(_, _, _, slot)| slot),
        }
    }

    /// Takes the head, which `peek` gave, out.
    pub fn pop(&mut self) {
        self.len -= 1;
        match &mut self.order {
            Order::Fcfs(queue) => {
                queue.pop_front();
            }
            Order::Priority(set) => {
                set.pop_first();
            }
        }
    }

    /// Takes `slot` out, wherever it is; the caller changes its state.
    pub fn remove(&mut self, table: &Table, slot: u32) {
        self.len -= 1;
        if let Order::Priority(set) = &mut self.order {
            set.remove(&key(table, slot));
        }
    }
}

fn key(table: &Table, slot: u32) -> (i32, Time, u64, u32) {
    let request = &table[slot].request;
    (request.priority, request.arrival, request.id, slot)
}
