//! Random requests: open arrivals, and clients that wait for their answers.

use std::collections::HashMap;
use std::sync::Arc;

use tokentide_models::units::{Duration, Time};
use tokentide_sim::engine::Outcome;
use tokentide_sim::scenario::EngineConfig;
use tokentide_sim::stream::mix;
use tokentide_sim::workload::{Layer, Prefix, Request, RequestSource};

use super::draw::Draw;

/// Where a case's requests come from.
#[derive(Clone, Debug)]
pub enum Load {
    /// Given in advance.
    Open(Vec<Request>),
    /// From clients that send their next request after the last one has ended.
    Clients(Vec<Client>),
}

/// One client: a closed loop over some requests, or a session. A single request is an open arrival.
#[derive(Clone, Debug)]
pub struct Client {
    /// Arrival of its first request.
    pub first: Time,
    /// Its requests, deadlines relative to their arrival, each with the thinking before it.
    pub turns: Vec<(Duration, Request)>,
}

/// Parameters that all requests of a case share.
struct Style<'a> {
    engine: &'a EngineConfig,
    /// A step's typical duration [ps].
    step: u64,
    /// Kinds of prompt lengths and of answer lengths in use.
    inputs: Vec<u64>,
    outputs: Vec<u64>,
    capped: bool,
    deadlines: bool,
    priorities: bool,
    /// 0: no shared text, 1: layers, 2: hashes, 3: both.
    prefixes: u64,
    groups: u64,
    block_tokens: u32,
    next_private: u64,
}

/// Draws the requests of a case for this engine; `step` is the typical duration of a step [ps]; `heavy`: many at once.
pub fn draw(draw: &mut Draw, engine: &EngineConfig, step: u64, heavy: bool) -> Load {
    let some = |draw: &mut Draw, n: u64| (0..1 + draw.below(3)).map(|_| draw.below(n)).collect();
    let mut style = Style {
        engine,
        step,
        inputs: some(draw, 5),
        outputs: some(draw, 5),
        capped: draw.chance(50),
        deadlines: draw.chance(35),
        priorities: draw.chance(50),
        prefixes: draw.below(4),
        groups: 1 + draw.below(6),
        block_tokens: if draw.chance(50) { engine.block_size * draw.between(1, 4) } else { draw.between(1, 40) },
        next_private: 0,
    };
    let requests = match draw.below(3) {
        _ if heavy => draw.between(60, 250),
        0 => draw.between(3, 25),
        1 => draw.between(25, 100),
        _ => draw.between(100, 250),
    };
    let arrivals = arrivals(draw, requests, step, heavy);
    if draw.chance(30) {
        return Load::Clients(clients(draw, &mut style, &arrivals));
    }
    // Sessions of an open load are replayed traces: a turn comes when it came, whether or not the turn before has ended, so its
    // session is a label (text of its own belongs to one live request at a time).
    let sessions = if draw.chance(40) { 1 + draw.below(20) } else { 0 };
    let mut last: HashMap<u64, Request> = HashMap::new();
    let mut request = |(id, &arrival): (usize, &Time)| {
        let mut request = if sessions > 0 && draw.chance(70) {
            let session = draw.below(sessions);
            let turn = next_turn(draw, &mut style, session, last.get(&session));
            last.insert(session, turn.clone());
            style.next_private += 1;
            Request { private: mix(style.next_private ^ 0x7072_6976), private_reused: false, ..turn }
        } else {
            style.request(draw)
        };
        place(&mut request, id as u64, arrival);
        request
    };
    Load::Open(arrivals.iter().enumerate().map(&mut request).collect())
}

/// Arrival times in order: bursts, equal stamps, a grid of step durations, and idle gaps.
fn arrivals(draw: &mut Draw, requests: u32, step: u64, heavy: bool) -> Vec<Time> {
    let gap = if heavy { draw.upto(2) } else { draw.pick(&[0, 1, 2, 5, 20, 60]) };
    let grid = draw.chance(30);
    let (burst, idle) = (draw.pick(&[0, 20, 80]), draw.pick(&[0, 1, 10]));
    let mut now = if draw.chance(30) { 0 } else { draw.upto(10 * step) };
    let mut next = || {
        if !draw.chance(burst) {
            let steps = draw.upto(gap);
            now += if grid { steps * step } else { draw.upto(steps * step) };
        }
        if draw.chance(idle) {
            now += 500 * step + draw.upto(step);
        }
        Time(now)
    };
    (0..requests).map(|_| next()).collect()
}

fn clients(draw: &mut Draw, style: &mut Style<'_>, arrivals: &[Time]) -> Vec<Client> {
    let turns_max = 1 + draw.below(12);
    let think_max = draw.pick(&[0, 0, style.step, 20 * style.step]);
    let sessions = draw.below(3);
    let mut clients = Vec::new();
    let mut left = arrivals.len() as u64;
    while left > 0 {
        let turns = (1 + draw.below(turns_max)).min(left);
        left -= turns;
        let session = sessions == 0 || (sessions == 1 && draw.chance(50));
        let mut last = None;
        let mut drawn = Vec::new();
        for _ in 0..turns {
            let request = if session { next_turn(draw, style, clients.len() as u64, last.as_ref()) } else { style.request(draw) };
            last = Some(request.clone());
            drawn.push((Duration(draw.upto(think_max)), request));
        }
        clients.push(Client { first: arrivals[clients.len()], turns: drawn });
    }
    clients
}

/// The turn after `last` (or the first): the conversation so far, and something new.
fn next_turn(draw: &mut Draw, style: &mut Style<'_>, session: u64, last: Option<&Request>) -> Request {
    let mut request = style.request(draw);
    request.private_reused = true;
    request.session = Some((session, 0));
    if let Some(last) = last {
        request.input_tokens = last.input_tokens + last.output_tokens.min(last.max_tokens) + draw.between(1, 30);
        request.private = last.private;
        request.prefix = last.prefix.clone();
        request.session = last.session.map(|(session, turn)| (session, turn + 1));
    }
    request
}

/// Gives the request its place in the order of arrival.
fn place(request: &mut Request, id: u64, arrival: Time) {
    request.id = id;
    request.arrival = arrival;
    if request.deadline != Time::NEVER {
        request.deadline = Time(arrival.0 + request.deadline.0);
    }
}

impl Style<'_> {
    /// A request of its own, not yet placed; its deadline counts from its arrival.
    fn request(&mut self, draw: &mut Draw) -> Request {
        let longest = self.engine.max_model_len;
        let input_tokens = match draw.pick(&self.inputs) {
            0 => draw.between(1, 8),
            1 => draw.between(1, longest),
            2 => draw.between(longest.saturating_sub(4).max(1), longest + 2),
            3 => draw.between(1, longest.div_ceil(4)),
            _ => self.engine.block_size * draw.between(1, 4) + draw.between(0, 1),
        };
        let output_tokens = match draw.pick(&self.outputs) {
            0 => 1,
            1 => draw.between(1, 6),
            2 => draw.between(1, 60),
            3 => draw.between(1, 20),
            _ => draw.between(1, longest.min(150)),
        };
        let max_tokens = match draw.below(4) {
            _ if !self.capped => u32::MAX,
            0 => u32::MAX,
            1 => output_tokens,
            2 => draw.between(1, output_tokens),
            _ => output_tokens + draw.between(0, 30),
        };
        let patience = match draw.below(3) {
            0 => self.step * draw.upto(60),
            1 => draw.upto(60 * self.step),
            _ => draw.upto(1000 * self.step),
        };
        self.next_private += 1;
        let priority = if self.priorities { draw.between(0, 4) as i32 - 2 } else { 0 };
        Request {
            id: 0,
            arrival: Time::ZERO,
            class: 0,
            tenant: u16::MAX,
            route: u16::MAX,
            priority,
            input_tokens,
            output_tokens,
            max_tokens,
            deadline: if self.deadlines && draw.chance(50) { Time(patience) } else { Time::NEVER },
            session: None,
            prefix: self.prefix(draw, input_tokens),
            private: mix(self.next_private ^ 0x7072_6976),
            private_reused: false,
            sources: [0; 8],
        }
    }

    fn prefix(&self, draw: &mut Draw, input_tokens: u32) -> Prefix {
        let kind = if self.prefixes == 3 { 1 + draw.below(2) } else { self.prefixes };
        let group = draw.below(self.groups);
        match kind {
            1 if draw.chance(85) => {
                // Layers of a tree: below each node two variants, each with a length of its own.
                let (mut node, mut end) = (mix(group ^ 0x6772_6f75), 0);
                let depth = 1 + draw.below(3);
                let mut layers = Vec::new();
                for _ in 0..depth {
                    end += 1 + (mix(node) % u64::from(self.engine.max_model_len.min(100))) as u32;
                    layers.push(Layer { content: node, end });
                    node = mix(node ^ draw.below(2) ^ 0x6c61_7965);
                }
                Prefix::Layers(layers.into())
            }
            2 if draw.chance(85) => {
                // As traces have it: the first ids are the group's, the others nobody else's.
                let all = input_tokens.div_ceil(self.block_tokens);
                let shared = draw.upto(u64::from(all)) as u32;
                let id = |i: u32| if i < shared { group * 1000 + u64::from(i) } else { mix(self.next_private) ^ u64::from(i) };
                let ids: Arc<[u64]> = (0..all).map(id).collect();
                Prefix::Hashes { ids, block_tokens: self.block_tokens }
            }
            _ => Prefix::None,
        }
    }
}

/// The source of [`Load::Clients`]. At equal times the client of the lowest index comes first, whatever order ends are told in.
pub struct Clients<'a> {
    clients: &'a [Client],
    /// (arrival, client, turn) of requests that are known to come.
    coming: Vec<(Time, usize, usize)>,
    /// Client and turn by request id.
    sent: Vec<(usize, usize)>,
}

impl<'a> Clients<'a> {
    /// Every client's first request is known.
    pub fn new(clients: &'a [Client]) -> Clients<'a> {
        let coming = clients.iter().enumerate().map(|(i, client)| (client.first, i, 0)).collect();
        Clients { clients, coming, sent: Vec::new() }
    }
}

impl RequestSource for Clients<'_> {
    fn peek(&mut self) -> Option<Time> {
        self.coming.iter().min().map(|next| next.0)
    }

    fn next(&mut self) -> Option<Request> {
        let first = *self.coming.iter().min()?;
        self.coming.retain(|other| *other != first);
        let (arrival, client, turn) = first;
        let mut request = self.clients[client].turns[turn].1.clone();
        place(&mut request, self.sent.len() as u64, arrival);
        self.sent.push((client, turn));
        Some(request)
    }

    fn feedback(&self) -> bool {
        true
    }

    fn ended(&mut self, outcome: &Outcome, known: Time) {
        let (client, turn) = self.sent[outcome.request.id as usize];
        if let Some((think, _)) = self.clients[client].turns.get(turn + 1) {
            self.coming.push(((outcome.ended + *think).max(known), client, turn + 1));
        }
    }
}
