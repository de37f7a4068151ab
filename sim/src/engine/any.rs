//! A replica of either engine: the cluster does not know which.

use std::sync::Arc;

use tokentide_models::units::Time;

use super::{EngineTotals, Group, Levels, Observer, Settings, batchwise};
use crate::scenario::Scheduler;
use crate::workload::Request;

/// A replica under the scheduler that its settings name. What its methods promise is said at [`Group`].
#[expect(clippy::large_enum_variant, reason = "a cluster's replicas are all of one kind")]
pub enum AnyReplica<'a> {
    /// vLLM v1.
    Vllm(Group<'a>),
    /// Sarathi, or vLLM of 2023.
    Batchwise(batchwise::Replica<'a>),
}

/// The same call, whichever it is.
macro_rules! either {
    ($self:expr, $replica:ident => $call:expr) => {
        match $self {
            AnyReplica::Vllm($replica) => $call,
            AnyReplica::Batchwise($replica) => $call,
        }
    };
}

impl<'a> AnyReplica<'a> {
    /// An idle replica.
    pub fn new(settings: Settings<'a>, index: u32) -> AnyReplica<'a> {
        match settings.engine.scheduler {
            Scheduler::Vllm => AnyReplica::Vllm(Group::new(settings, index)),
            Scheduler::Batchwise(scheduler) => AnyReplica::Batchwise(batchwise::Replica::new(settings, scheduler, index)),
        }
    }

    /// Time of its next event; never if it is idle.
    pub fn next_event(&self) -> Time {
        either!(self, replica => replica.next_event())
    }

    /// Requests delivered and not running.
    pub fn waiting_requests(&self) -> u32 {
        either!(self, replica => replica.waiting_requests())
    }

    /// Requests delivered and not ended.
    pub fn requests(&self) -> u32 {
        either!(self, replica => replica.requests())
    }

    /// Tokens of those after the latest step run, as the router counts them.
    pub fn tokens_so_far(&self) -> u64 {
        match self {
            AnyReplica::Vllm(replica) => replica.tokens_so_far(),
            AnyReplica::Batchwise(replica) => replica.tokens(),
        }
    }

    /// The same at `now`.
    pub fn tokens(&self, now: Time) -> u64 {
        match self {
            AnyReplica::Vllm(replica) => replica.tokens(now),
            AnyReplica::Batchwise(replica) => replica.tokens(),
        }
    }

    /// What each of its ranks did in all.
    pub fn totals(&self) -> Vec<EngineTotals> {
        match self {
            AnyReplica::Vllm(replica) => replica.totals().collect(),
            AnyReplica::Batchwise(replica) => vec![replica.totals()],
        }
    }

    /// Asserts that whatever went in has come out.
    pub fn assert_drained(&self) {
        either!(self, replica => replica.assert_drained());
    }

    /// Levels since its latest event.
    pub fn levels(&self) -> Levels {
        either!(self, replica => replica.levels())
    }

    /// Tells `observer` all that it has done until `now`, all events before which must have been run.
    pub fn settle<O: Observer>(&mut self, now: Time, observer: &mut O) {
        either!(self, replica => replica.settle(now, observer));
    }

    /// Time of its latest event, or delivery.
    pub fn latest_event(&self) -> Time {
        either!(self, replica => replica.latest_event())
    }

    /// Ends it at `now`, all events before which must have been run: the requests that it had, in order of their ids, and what each
    /// of its ranks did in all.
    pub fn crash<O: Observer>(mut self, now: Time, observer: &mut O) -> (Vec<Request>, Vec<EngineTotals>) {
        let mut requests = either!(&mut self, replica => replica.crash(now, observer));
        requests.sort_by_key(|request| request.id);
        (requests, self.totals())
    }

    /// Hands a request over at `now`.
    pub fn deliver<O: Observer>(&mut self, request: Request, now: Time, visible: Time, keys: Option<Arc<[u64]>>, observer: &mut O) {
        match self {
            AnyReplica::Vllm(replica) => replica.deliver(request, now, visible, keys, observer),
            AnyReplica::Batchwise(replica) => replica.deliver(request, now, visible, observer),
        }
    }

    /// Runs all events before `until`.
    pub fn advance<O: Observer>(&mut self, until: Time, observer: &mut O) {
        either!(self, replica => replica.advance(until, observer));
    }

    /// Runs the next event.
    pub fn event<O: Observer>(&mut self, observer: &mut O) {
        either!(self, replica => replica.event(observer));
    }

    /// Cuts a planned leap short, if there is one.
    pub fn cut_leap<O: Observer>(&mut self, time: Time, observer: &mut O) {
        if let AnyReplica::Vllm(replica) = self {
            replica.cut_leap(time, observer);
        }
    }

    /// The same, on ranks below that of the latest event only.
    pub fn cut_lower_leaps<O: Observer>(&mut self, time: Time, observer: &mut O) {
        if let AnyReplica::Vllm(replica) = self {
            replica.cut_lower_leaps(time, observer);
        }
    }
}
