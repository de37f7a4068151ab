//! What happens to replicas by itself, and to the requests that they have.

use tokentide_models::units::{Duration, Time};
use tokentide_sim::cluster::{Count, History, Scaling};
use tokentide_sim::engine::{Finish, Observer};
use tokentide_sim::scenario::{Dynamics, Failing, Interrupted};
use tokentide_sim::workload::{Request, RequestSource};

use super::Changes;
use super::cluster::{Run, unserved};
use super::group::Group;
use super::pods::{Pods, Stage};

/// A client's pause before it sends an interrupted request again.
const PAUSE: Duration = Duration(500_000_000_000);

/// Something that happens, in the order at equal times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Thing {
    /// An entry of the failures.
    Failure(usize),
    /// An entry of the schedule.
    Scheduled(usize),
    /// A zone is there again.
    ZoneBack(u32),
    /// A pod becomes ready.
    Ready(usize),
    /// A draining pod is cut off.
    GraceOver(usize),
    /// A request is sent again; by the order of their interruptions.
    Again(u64),
    /// A held request is refused.
    Refused(u64),
}

/// The replicas and what is to come.
pub struct Changing<'c> {
    config: &'c Dynamics,
    /// The replicas.
    pub pods: Pods<'c>,
    /// What of failures, schedule and zones has not happened yet.
    clockwork: Vec<(Time, Thing)>,
    /// Requests to be sent again, when, and the how manieth it is.
    again: Vec<(Time, u64, Request)>,
    /// Requests that wait for a replica, until when.
    held: Vec<(Time, Request)>,
    history: History,
    /// How often rare things happened.
    pub counts: Changes,
}

impl<'c> Changing<'c> {
    /// `n` replicas, ready.
    pub fn new(config: &'c Dynamics, seed: u64, n: u32) -> Changing<'c> {
        let failures = config.failures.iter().enumerate().map(|(i, failure)| (failure.at, Thing::Failure(i)));
        let schedule = config.schedule.iter().enumerate().map(|(i, entry)| (entry.at, Thing::Scheduled(i)));
        let mut changing = Changing {
            config,
            pods: Pods::new(config, seed, n),
            clockwork: failures.chain(schedule).collect(),
            again: Vec::new(),
            held: Vec::new(),
            history: History { serving: vec![(Time::ZERO, Time::NEVER); n as usize], ..History::default() },
            counts: Changes::default(),
        };
        changing.note(Time::ZERO);
        changing
    }

    /// The next thing that happens, and when.
    pub fn next(&self) -> Option<(Time, Thing)> {
        let pods = self.pods.list.iter().enumerate().filter_map(|(i, pod)| match pod.stage {
            Stage::Starting(at) => Some((at, Thing::Ready(i))),
            Stage::Draining(at) => Some((at, Thing::GraceOver(i))),
            _ => None,
        });
        let again = self.again.iter().map(|(at, number, _)| (*at, Thing::Again(*number)));
        let held = self.held.iter().map(|(until, request)| (*until, Thing::Refused(request.id)));
        self.clockwork.iter().copied().chain(pods).chain(again).chain(held).min()
    }

    /// A request finds no replica.
    pub fn hold(&mut self, request: Request, now: Time) {
        self.history.unrouted += 1;
        self.held.push(((now + self.config.hold).min(request.deadline), request));
    }

    /// Notes how many replicas there are now.
    fn note(&mut self, now: Time) {
        let (counts, count) = (&mut self.history.counts, self.pods.count(now));
        counts.retain(|count| count.at < now);
        if counts.last().is_none_or(|last| Count { at: now, ..*last } != count) {
            counts.push(count);
        }
    }

    fn scale(&mut self, to: u32, now: Time) {
        let from = std::mem::replace(&mut self.pods.wanted, to);
        if from != to {
            self.counts.to_none += u64::from(to == 0);
            self.history.scalings.push(Scaling { at: now, from, to, why: "schedule".to_owned() });
            self.match_wanted(now);
        }
    }

    fn match_wanted(&mut self, now: Time) {
        let unready = |stage| matches!(stage, Stage::Nowhere | Stage::Starting(_));
        let before: Vec<usize> = (0..self.pods.list.len()).filter(|&i| unready(self.pods.list[i].stage)).collect();
        self.pods.match_wanted(now);
        self.counts.never_ready += before.into_iter().filter(|&i| self.pods.list[i].stage == Stage::Gone).count() as u64;
    }

    /// What became of the replicas in a run that ended at `end`.
    pub fn finish(&mut self, end: Time) -> History {
        let mut history = std::mem::take(&mut self.history);
        history.serving.iter_mut().filter(|span| span.1 == Time::NEVER).for_each(|span| span.1 = end);
        history.counts.retain(|count| count.at < end || count.at == Time::ZERO);
        history.node_ps = self.pods.nodes.total_ps(end);
        history.end = end;
        self.counts.reused = self.pods.nodes.reused;
        self.counts.inherited = self.pods.inherited;
        self.counts.given_back = self.pods.nodes.given_back;
        history
    }
}

impl<S: RequestSource, O: Observer> Run<'_, '_, S, O> {
    /// It happens.
    pub fn happen(&mut self, thing: Thing, now: Time) {
        let changing = &mut self.changing;
        changing.clockwork.retain(|other| *other != (now, thing));
        match thing {
            Thing::Failure(i) => {
                let what = changing.config.failures[i].what;
                self.fail(what, now);
            }
            Thing::Scheduled(i) => changing.scale(changing.config.schedule[i].replicas, now),
            Thing::ZoneBack(zone) => {
                changing.pods.nodes.restore(zone, now);
                changing.counts.placed_late += changing.pods.place_waiting(now);
            }
            Thing::Ready(pod) => self.is_ready(pod, now),
            Thing::GraceOver(pod) => {
                let cut = self.interrupt(pod, now);
                self.changing.history.interrupted_by_scaling += cut;
                self.changing.counts.cut_off += u64::from(cut > 0);
                self.changing.pods.gone(pod, now);
            }
            Thing::Again(number) => {
                let place = changing.again.iter().position(|entry| entry.1 == number).expect("it is to be sent again");
                let (_, _, request) = changing.again.remove(place);
                if request.deadline <= now {
                    changing.counts.retried_late += 1;
                    let at = request.deadline;
                    self.tell(unserved(request, 0, Finish::TimedOut, at), now);
                } else if self.send(request, now) {
                    self.changing.counts.retried_served += 1;
                } else {
                    self.changing.counts.held_again += 1;
                }
            }
            Thing::Refused(id) => {
                let place = changing.held.iter().position(|(_, request)| request.id == id).expect("it is held");
                let (_, request) = changing.held.remove(place);
                let left = request.deadline <= now;
                let finish = if left { Finish::TimedOut } else { Finish::Unavailable };
                changing.counts.left_held += u64::from(left);
                changing.counts.refused[usize::from(request.arrival < now)] += u64::from(!left);
                self.tell(unserved(request, 0, finish, now), now);
            }
        }
    }

    fn is_ready(&mut self, pod: usize, now: Time) {
        let engine = self.engines.len();
        self.engines.push(Group::new(engine as u32, self.cluster));
        let changing = &mut self.changing;
        changing.history.serving.push((now, Time::NEVER));
        changing.history.starts_s.extend(changing.pods.is_ready(pod, now, engine));
        for (_, request) in std::mem::take(&mut changing.held) {
            self.changing.counts.held_served += 1;
            self.send(request, now);
        }
    }

    fn fail(&mut self, what: Failing, now: Time) {
        let (index, kind) = match what {
            Failing::Container(index) => (index, 0),
            Failing::Node(index) => (index, 1),
            Failing::Replica(index) => (index, 2),
            Failing::Zone { zone, back } => return self.fail_zone(zone, back, now),
        };
        let Some(&pod) = self.changing.pods.ready().get(index as usize) else { return };
        self.changing.counts.failed[kind] += 1;
        let cut = self.interrupt(pod, now);
        let changing = &mut self.changing;
        changing.history.interrupted_by_failure += cut;
        match what {
            Failing::Container(_) => changing.pods.restart(pod, now),
            Failing::Node(_) => {
                changing.pods.lose_node(pod, now);
                changing.pods.gone(pod, now);
            }
            _ => {
                changing.pods.gone(pod, now);
                changing.pods.wanted -= 1;
            }
        }
        changing.match_wanted(now);
    }

    fn fail_zone(&mut self, zone: u32, back: Option<Time>, now: Time) {
        self.changing.clockwork.extend(back.map(|back| (back, Thing::ZoneBack(zone))));
        self.changing.pods.nodes.lose_zone(zone, now, back.unwrap_or(Time::NEVER));
        for pod in self.changing.pods.stranded() {
            self.changing.counts.with_zone += 1;
            let cut = self.interrupt(pod, now);
            self.changing.history.interrupted_by_failure += cut;
            self.changing.pods.gone(pod, now);
        }
        self.changing.match_wanted(now);
    }

    /// A pod's engine is gone, if it had one: how many requests it had.
    fn interrupt(&mut self, pod: usize, now: Time) -> u64 {
        let Some(engine) = self.changing.pods.list[pod].engine.filter(|_| self.changing.pods.list[pod].is_there()) else {
            return 0;
        };
        self.changing.history.serving[engine].1 = now;
        let ranks = &self.engines[engine].ranks;
        let mut requests: Vec<Request> =
            ranks.iter().flat_map(|rank| rank.scheduler.requests.values().map(|live| live.request.clone())).collect();
        requests.sort_by_key(|request| request.id);
        let cut = requests.len() as u64;
        for request in requests {
            let changing = &mut self.changing;
            if request.deadline <= now {
                changing.counts.interrupted_late += 1;
                let at = request.deadline;
                self.tell(unserved(request, engine as u32, Finish::TimedOut, at), now);
            } else if changing.config.interrupted == Interrupted::Retried {
                changing.again.push(((now + PAUSE).min(request.deadline), changing.history.retried, request));
                changing.history.retried += 1;
            } else {
                self.tell(unserved(request, engine as u32, Finish::Lost, now), now);
            }
        }
        cut
    }

    /// Pods that are to go, and have nothing left to do, are gone.
    pub fn let_go(&mut self, now: Time) {
        for pod in self.changing.pods.draining() {
            let engine = self.changing.pods.list[pod].engine.expect("it served");
            if self.engines[engine].next_event().is_none() {
                let later = self.changing.history.counts.iter().any(|count| count.at < now && count.draining > 0);
                self.changing.counts.drained[usize::from(later)] += 1;
                self.changing.history.serving[engine].1 = now;
                self.changing.pods.gone(pod, now);
            }
        }
        self.changing.note(now);
    }
}
