//! The replicas' engines, and beside them what routers read of each: a router looks at every replica for every arrival, so the few
//! numbers that it reads lie together.

use std::sync::Arc;

use tokentide_models::units::{Duration, Time};

use super::Ingress;
use crate::engine::{AnyReplica, EngineTotals, Levels, Observer, Settings};
use crate::workload::Request;

/// What is read of a replica without asking it.
#[derive(Clone, Copy)]
struct View {
    next_event: Time,
    requests: u32,
    tokens: u64,
}

/// What an engine has done.
#[derive(Clone, Copy)]
pub struct Work {
    /// Time of steps.
    pub busy: Duration,
    /// Number of steps.
    pub steps: u64,
}

/// An engine at rest.
const IDLE: View = View { next_event: Time::NEVER, requests: 0, tokens: 0 };

/// All engines of a cluster, told by the order in which they started. Those that get requests are told by their place among
/// themselves as well.
pub struct Fleet<'a> {
    settings: Settings<'a>,
    /// `None`: it is gone.
    engines: Vec<Option<AnyReplica<'a>>>,
    views: Vec<View>,
    /// When the front end of each has tokenised what it was given.
    tokenised: Vec<Time>,
    /// Engines that are not gone.
    alive: Vec<usize>,
    /// Of those, the ones that get requests.
    open: Vec<usize>,
    /// What those did that are gone.
    gone: Vec<(usize, Vec<EngineTotals>)>,
}

impl<'a> Fleet<'a> {
    /// `n` idle engines that get requests.
    pub fn new(settings: Settings<'a>, n: u32) -> Fleet<'a> {
        let (engines, views, tokenised, alive, open, gone) = Default::default();
        let mut fleet = Fleet { settings, engines, views, tokenised, alive, open, gone };
        (0..n).for_each(|_| _ = fleet.start());
        fleet
    }

    /// Starts an idle engine that gets requests from now on; its index.
    pub fn start(&mut self) -> usize {
        let engine = self.engines.len();
        self.engines.push(Some(AnyReplica::new(self.settings, engine as u32)));
        self.views.push(IDLE);
        self.tokenised.push(Time::ZERO);
        self.alive.push(engine);
        self.open.push(engine);
        engine
    }

    /// The engine gets no further requests.
    pub fn close(&mut self, engine: usize) {
        self.open.retain(|&open| open != engine);
    }

    /// Takes the engine away at `now`, up to which it must have been advanced: the requests that it had.
    pub fn take<O: Observer>(&mut self, engine: usize, now: Time, observer: &mut O) -> Vec<Request> {
        self.close(engine);
        self.alive.retain(|&alive| alive != engine);
        self.views[engine] = IDLE;
        let replica = self.engines[engine].take().expect("it is taken once");
        if replica.requests() == 0 {
            replica.assert_drained();
        }
        // What it leapt over until now is in its totals only then.
        let (requests, totals) = replica.crash(now, observer);
        self.gone.push((engine, totals));
        requests
    }

    /// Number of engines that get requests.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// The engine at a place among those that get requests.
    pub fn at(&self, place: usize) -> usize {
        self.open[place]
    }

    /// Whether no engine has a request.
    pub fn is_idle(&self) -> bool {
        self.alive.iter().all(|&engine| self.views[engine].requests == 0)
    }

    /// Time of the next event and its engine, the lowest on a tie.
    pub fn next_event(&self) -> (Time, usize) {
        let events = self.alive.iter().map(|&engine| (self.views[engine].next_event, engine));
        events.min().unwrap_or((Time::NEVER, 0))
    }

    /// Requests of the engine at `place`, delivered and not ended.
    pub fn requests(&self, place: usize) -> u32 {
        self.views[self.open[place]].requests
    }

    /// Whether an engine has no request and no step in flight.
    pub fn is_at_rest(&self, engine: usize) -> bool {
        let View { requests, next_event, .. } = self.views[engine];
        requests == 0 && next_event == Time::NEVER
    }

    /// Of those, the ones not running.
    pub fn waiting(&self, engine: usize) -> u32 {
        self.engine(engine).waiting_requests()
    }

    /// Its levels since its latest event.
    pub fn levels(&self, engine: usize) -> Levels {
        self.engine(engine).levels()
    }

    /// Share of its KV blocks in use at its latest event, over its ranks, 0 to 1.
    pub fn kv_use(&self, engine: usize) -> f64 {
        let blocks = u64::from(self.settings.kv_blocks) * self.engine(engine).totals().len() as u64;
        f64::from(self.levels(engine).kv_used_from) / blocks as f64
    }

    /// Steps that it ran, those in flight included, over its ranks.
    pub fn work(&self, engine: usize) -> Work {
        let totals = self.engine(engine).totals();
        Work { busy: Duration(totals.iter().map(|t| t.busy_ps).sum()), steps: totals.iter().map(|t| t.steps).sum() }
    }

    /// Engines that are not gone.
    pub fn alive(&self) -> &[usize] {
        &self.alive
    }

    /// Tells `observer` all that an engine has done until `now`, up to which it must have been advanced.
    pub fn settle<O: Observer>(&mut self, engine: usize, now: Time, observer: &mut O) {
        self.engine_mut(engine).settle(now, observer);
        self.look(engine);
    }

    /// Time of its latest event, or delivery.
    pub fn latest_event(&self, engine: usize) -> Time {
        self.engine(engine).latest_event()
    }

    /// Tokens of the engine at `place` after the latest step run: at most those at any later time before its next event.
    pub fn tokens_so_far(&self, place: usize) -> u64 {
        self.views[self.open[place]].tokens
    }

    /// Tokens of the engine at `place` at `now`.
    pub fn tokens(&self, place: usize, now: Time) -> u64 {
        self.engine(self.open[place]).tokens(now)
    }

    /// Runs the events of an engine before `until`.
    pub fn advance<O: Observer>(&mut self, engine: usize, until: Time, observer: &mut O) {
        if self.views[engine].next_event < until {
            self.engine_mut(engine).advance(until, observer);
            self.look(engine);
        }
    }

    /// Runs the events of all engines before `until`.
    pub fn advance_all<O: Observer>(&mut self, until: Time, observer: &mut O) {
        for i in 0..self.alive.len() {
            self.advance(self.alive[i], until, observer);
        }
    }

    /// Runs the next event of an engine.
    pub fn event<O: Observer>(&mut self, engine: usize, observer: &mut O) {
        self.engine_mut(engine).event(observer);
        self.look(engine);
    }

    /// Runs the steps of a planned leap of an engine that are scheduled before `time`, and forgets the rest.
    pub fn cut_leap<O: Observer>(&mut self, engine: usize, time: Time, observer: &mut O) {
        self.engine_mut(engine).cut_leap(time, observer);
        self.look(engine);
    }

    /// The same, for all engines started before `engine`, and on that one for the ranks below that of its latest event.
    pub fn cut_lower_leaps<O: Observer>(&mut self, engine: usize, time: Time, observer: &mut O) {
        for i in 0..self.alive.len() {
            match self.alive[i] {
                lower if lower < engine => self.cut_leap(lower, time, observer),
                same if same == engine => {
                    self.engine_mut(engine).cut_lower_leaps(time, observer);
                    self.look(engine);
                }
                _ => break,
            }
        }
    }

    /// Delivers a request to an engine at `now`: it sees it when the front end has tokenised it, after those before it.
    pub fn deliver<O: Observer>(
        &mut self,
        engine: usize,
        request: Request,
        now: Time,
        ingress: Ingress,
        keys: Option<Arc<[u64]>>,
        observer: &mut O,
    ) {
        let tokenised = self.tokenised[engine].max(now + ingress.request);
        let visible = tokenised + ingress.prompt_token * u64::from(request.input_tokens);
        self.tokenised[engine] = visible;
        self.engine_mut(engine).deliver(request, now, visible, keys, observer);
        self.look(engine);
    }

    /// Asserts that nothing is left on any engine; totals of the ranks of each, in order.
    pub fn finish(mut self) -> Vec<EngineTotals> {
        for (engine, replica) in self.engines.iter().enumerate() {
            if let Some(replica) = replica {
                replica.assert_drained();
                self.gone.push((engine, replica.totals()));
            }
        }
        self.gone.sort_by_key(|(engine, _)| *engine);
        self.gone.into_iter().flat_map(|(_, totals)| totals).collect()
    }

    fn engine(&self, engine: usize) -> &AnyReplica<'a> {
        self.engines[engine].as_ref().expect("the engine is alive")
    }

    fn engine_mut(&mut self, engine: usize) -> &mut AnyReplica<'a> {
        self.engines[engine].as_mut().expect("the engine is alive")
    }

    fn look(&mut self, engine: usize) {
        let replica = self.engine(engine);
        self.views[engine] =
            View { next_event: replica.next_event(), requests: replica.requests(), tokens: replica.tokens_so_far() };
    }
}
