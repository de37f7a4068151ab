//! Levels of an engine core: kept between two events, told to the observer when they end.

use tokentide_models::units::Time;

use super::replica::Replica;
use super::{Levels, Observer};
use crate::workload::Request;

impl Replica<'_> {
    /// Levels since its latest event; within a planned leap those of its beginning.
    pub fn levels(&self) -> Levels {
        self.levels
    }

    /// Tells `observer` all that it has done until `now`, all events before which must have been run.
    pub fn settle<O: Observer>(&mut self, now: Time, observer: &mut O) {
        self.cut_leap(now, observer);
        self.report_levels(now, self.kv.used(), observer);
        self.set_levels(now);
    }

    /// Time of its latest event, or delivery; within a planned leap that of its beginning.
    pub fn latest_event(&self) -> Time {
        self.level_since
    }

    /// Ends it at `now`, all events before which must have been run: the requests that it had, in no order.
    pub fn crash<O: Observer>(&mut self, now: Time, observer: &mut O) -> Vec<Request> {
        self.cut_leap(now, observer);
        self.report_levels(now, self.kv.used(), observer);
        self.table.take_all()
    }

    /// Reports the levels that held until `to`.
    pub(super) fn report_levels<O: Observer>(&mut self, to: Time, kv_used: u32, observer: &mut O) {
        let mut levels = self.levels;
        levels.kv_used_to = kv_used;
        levels.tokens = self.new_tokens;
        levels.preemptions = self.totals.preemptions - self.told_preemptions;
        if to > self.level_since {
            observer.levels(self.core, self.level_since, to, &levels);
            self.new_tokens = 0;
            self.told_preemptions = self.totals.preemptions;
            self.level_since = to;
        }
    }

    /// The levels from `now` on.
    pub(super) fn set_levels(&mut self, now: Time) {
        let used = self.kv.used();
        self.level_since = self.level_since.max(now);
        self.levels = Levels {
            running: self.running.len,
            waiting: self.waiting_requests(),
            waiting_tokens: self.waiting_tokens + self.unfilled_tokens,
            kv_used_from: used,
            kv_used_to: used,
            tokens: 0,
            preemptions: 0,
        };
    }
}
