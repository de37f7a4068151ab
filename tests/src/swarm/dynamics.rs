//! Random failures, schedules and starts of replicas.

use tokentide_models::units::{Duration, Time};
use tokentide_sim::scenario::{Distribution, Dynamics, Failing, Failure, Interrupted, Phase, Scheduled, When};

use super::draw::Draw;
use super::load::Load;

/// A client's pause before it sends an interrupted request again [ps].
const PAUSE: u64 = 500_000_000_000;

/// Times of a case: those at which something may happen.
struct Times {
    /// A step's typical duration [ps].
    step: u64,
    /// About as long as its requests keep coming [ps].
    span: u64,
    /// On multiples of `step`, where they meet those of arrivals and steps.
    grid: bool,
    /// Some after the pause of clients.
    late: bool,
}

impl Times {
    fn at(&self, draw: &mut Draw) -> Time {
        let base = if self.late && draw.chance(35) { PAUSE } else { 0 };
        let time = match draw.below(4) {
            0 => draw.upto(20 * self.step),
            _ => draw.upto(self.span),
        };
        Time(base + if self.grid { time / self.step * self.step } else { time })
    }

    fn span(&self, draw: &mut Draw) -> Duration {
        Duration(match draw.below(6) {
            0 => 0,
            1 => self.step * draw.upto(5),
            2 => draw.upto(10 * self.step),
            3 => draw.upto(100 * self.step),
            4 => draw.upto(self.span),
            _ => PAUSE + draw.upto(self.span),
        })
    }
}

/// What happens to `replicas`; `step` is the typical duration of a step [ps].
pub fn draw(draw: &mut Draw, replicas: u32, load: &Load, step: u64) -> Dynamics {
    let last = match load {
        Load::Open(requests) => requests.iter().map(|request| request.arrival.0).max(),
        Load::Clients(clients) => clients.iter().map(|client| client.first.0 + 20 * step * client.turns.len() as u64).max(),
    };
    let span = last.unwrap_or_default() + step * draw.pick(&[1, 20, 100, 300]);
    let interrupted = if draw.chance(50) { Interrupted::Lost } else { Interrupted::Retried };
    let times = Times { step, span, grid: draw.chance(40), late: interrupted == Interrupted::Retried };
    let zones = if draw.chance(40) { 1 } else { draw.between(2, 4) };
    let startup = startup(draw, &times);
    let failures = if draw.chance(70) { draw.between(1, 8) } else { 0 };
    let entries = if failures == 0 || draw.chance(55) { draw.between(1, 10) } else { 0 };
    Dynamics {
        startup,
        warm_nodes: if draw.chance(40) { draw.between(1, 3) } else { 0 },
        node_keep: times.span(draw),
        termination_grace: times.span(draw),
        zones,
        interrupted,
        hold: times.span(draw),
        failures: (0..failures).map(|_| failure(draw, &times, replicas, zones)).collect(),
        schedule: schedule(draw, &times, replicas, entries),
        autoscaler: None,
        slos: Vec::new(),
    }
}

/// Up to two phases of each kind, in order.
fn startup(draw: &mut Draw, times: &Times) -> Vec<Phase> {
    let mut phases = Vec::new();
    for when in [When::Node, When::Pod, When::Container] {
        // Long enough for nodes that a replica is often not wanted any more before its own is made.
        let lengths = if when == When::Node { [0, 30, 100, 300] } else { [0, 3, 30, 100] };
        for _ in 0..draw.below(3) {
            let longest = times.step * draw.pick(&lengths);
            let seconds = Duration(draw.upto(longest)).as_secs_f64();
            let time = match draw.below(3) {
                0 => Distribution::Fixed(seconds),
                1 => Distribution::Uniform { min: 0.0, max: seconds },
                _ => Distribution::Exponential { mean: seconds },
            };
            phases.push(Phase { name: String::new(), when, time });
        }
    }
    phases
}

fn failure(draw: &mut Draw, times: &Times, replicas: u32, zones: u32) -> Failure {
    let (at, index) = (times.at(draw), draw.between(0, replicas));
    let what = match draw.below(4) {
        0 => Failing::Container(index),
        1 => Failing::Node(index),
        2 => Failing::Replica(index),
        _ => {
            let back = draw.chance(60).then(|| at + times.span(draw) + Duration(1));
            Failing::Zone { zone: draw.between(0, zones - 1), back }
        }
    };
    Failure { at, what }
}

/// Numbers in order of time, some of them none.
fn schedule(draw: &mut Draw, times: &Times, replicas: u32, entries: u32) -> Vec<Scheduled> {
    let mut at: Vec<Time> = (0..entries).map(|_| times.at(draw)).collect();
    at.sort_unstable();
    at.dedup();
    let replicas = |draw: &mut Draw| if draw.chance(20) { 0 } else { draw.between(1, replicas + 3) };
    at.into_iter().map(|at| Scheduled { at, replicas: replicas(draw) }).collect()
}
