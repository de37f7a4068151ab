//! The replicas, and beside them what routers read of each: a router looks at every replica for every arrival, so the few numbers
//! that it reads lie together.

use std::sync::Arc;

use tokentide_models::units::Time;

use crate::engine::{AnyReplica, EngineTotals, Observer, Settings};
use crate::workload::Request;

/// What is read of a replica without asking it.
#[derive(Clone, Copy)]
struct View {
    next_event: Time,
    requests: u32,
    tokens: u64,
}

/// All replicas of a cluster.
pub struct Fleet<'a> {
    replicas: Vec<AnyReplica<'a>>,
    views: Vec<View>,
}

impl<'a> Fleet<'a> {
    /// `n` idle replicas.
    pub fn new(settings: Settings<'a>, n: u32) -> Fleet<'a> {
        let view = View { next_event: Time::NEVER, requests: 0, tokens: 0 };
        Fleet { replicas: (0..n).map(|i| AnyReplica::new(settings, i)).collect(), views: vec![view; n as usize] }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.views.len()
    }

    /// Time of the next event and its replica, the lowest on a tie.
    pub fn next_event(&self) -> (Time, usize) {
        let events = self.views.iter().enumerate().map(|(i, view)| (view.next_event, i));
        events.min().expect("a cluster has replicas")
    }

    /// Requests of replica `i`, delivered and not ended.
    pub fn requests(&self, i: usize) -> u32 {
        self.views[i].requests
    }

    /// Of those of replica `i`, delivered and not running.
    pub fn waiting(&self, i: usize) -> u32 {
        self.replicas[i].waiting_requests()
    }

    /// Tokens of replica `i` after the latest step run: at most those at any later time before its next event.
    pub fn tokens_so_far(&self, i: usize) -> u64 {
        self.views[i].tokens
    }

    /// Tokens of replica `i` at `now`.
    pub fn tokens(&self, i: usize, now: Time) -> u64 {
        self.replicas[i].tokens(now)
    }

    /// Runs the events of replica `i` before `until`.
    pub fn advance<O: Observer>(&mut self, i: usize, until: Time, observer: &mut O) {
        if self.views[i].next_event < until {
            self.replicas[i].advance(until, observer);
            self.look(i);
        }
    }

    /// Runs the next event of replica `i`.
    pub fn event<O: Observer>(&mut self, i: usize, observer: &mut O) {
        self.replicas[i].event(observer);
        self.look(i);
    }

    /// Runs the steps of a planned leap of replica `i` that are scheduled before `time`, and forgets the rest.
    pub fn cut_leap<O: Observer>(&mut self, i: usize, time: Time, observer: &mut O) {
        self.replicas[i].cut_leap(time, observer);
        self.look(i);
    }

    /// The same, on ranks of replica `i` below that of its latest event.
    pub fn cut_lower_leaps<O: Observer>(&mut self, i: usize, time: Time, observer: &mut O) {
        self.replicas[i].cut_lower_leaps(time, observer);
        self.look(i);
    }

    /// Delivers a request to replica `i`.
    pub fn deliver<O: Observer>(&mut self, i: usize, request: Request, visible: Time, keys: Option<Arc<[u64]>>, observer: &mut O) {
        self.replicas[i].deliver(request, visible, keys, observer);
        self.look(i);
    }

    /// Asserts that nothing is left on any replica; totals of their ranks, in order.
    pub fn finish(&self) -> Vec<EngineTotals> {
        self.replicas.iter().for_each(AnyReplica::assert_drained);
        self.replicas.iter().flat_map(AnyReplica::totals).collect()
    }

    fn look(&mut self, i: usize) {
        let replica = &self.replicas[i];
        self.views[i] = View { next_event: replica.next_event(), requests: replica.requests(), tokens: replica.tokens_so_far() };
    }
}
