//! Engine steps as a client sees them: every step gives each decode stream one token, so a stream is a clock of the engine's steps.
//!
//! What a step computed follows from the scheduler's rules: running decodes first, then the prompt that waits, up to the token
//! budget. Steps in which several prompts wait at once are left out: how they shared the budget cannot be seen.

use tokentide_models::cost::BatchShape;

use crate::observation::RequestRecord;
use crate::probe::figure::in_bunches;
use crate::solve::median;

mod arrivals;

pub use arrivals::arrivals_ms;

/// Consecutive engine steps, and how long they took together.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenSteps {
    /// What each step computed.
    pub steps: Vec<BatchShape>,
    /// From the end of the step before the first to the end of the last [ms].
    pub ms: f64,
}

/// Part of the shorter of two neighbouring steps by which a token may seem to come before or after the boundary between them.
const SLACK: f64 = 0.3;

/// One interval between two chunks of the stream that serves as the clock.
#[derive(Clone, Debug)]
struct Interval {
    start: Boundary,
    end: Boundary,
    /// Tokens of the clock in it, mostly one.
    ticks: u32,
    decodes: BatchShape,
    /// Requests sent, but without a token, at its end or before; at most two are kept.
    prompts: Vec<usize>,
}

/// The end of a step [ns], and how far from it a token of that step may be seen.
#[derive(Clone, Copy, Debug)]
struct Boundary {
    at: f64,
    slack: f64,
}

impl Boundary {
    /// The last time that may be meant.
    fn latest(self) -> f64 {
        self.at + self.slack
    }

    /// The first time that may be meant.
    fn earliest(self) -> f64 {
        self.at - self.slack
    }
}

/// The steps that the streams of `requests` show, of an engine that computes at most `budget` tokens a step. Requests that failed
/// take part in no step that is told.
pub fn seen_steps(requests: &[RequestRecord], budget: u32) -> Vec<SeenSteps> {
    let streams: Vec<Stream> = requests.iter().map(Stream::of).collect();
    clocks(&streams).into_iter().flat_map(|clock| of_clock(&streams, clock, budget)).collect()
}

/// A request as times [ns].
struct Stream {
    sent: f64,
    input: u32,
    chunks: Vec<(f64, u32)>,
    /// Whether its token counts and prompt can be relied on.
    sound: bool,
}

impl Stream {
    fn of(request: &RequestRecord) -> Stream {
        Stream {
            sent: request.sent_ns as f64,
            input: request.input - request.cached.unwrap_or(0).min(request.input.saturating_sub(1)),
            chunks: request.chunks.iter().map(|&(at, tokens)| (at as f64, tokens)).collect(),
            sound: request.error.is_none()
                && !in_bunches(&request.chunks)
                && request.cached.unwrap_or(0) == 0
                && (request.counted || request.chunks.len() == request.output as usize),
        }
    }

    fn first(&self) -> f64 {
        self.chunks.first().map_or(f64::INFINITY, |chunk| chunk.0)
    }

    fn last(&self) -> f64 {
        self.chunks.last().map_or(f64::NEG_INFINITY, |chunk| chunk.0)
    }

    /// Output tokens that had come by `at`.
    fn tokens_at(&self, at: f64) -> u32 {
        let come = self.chunks.partition_point(|chunk| chunk.0 <= at);
        come.checked_sub(1).map_or(0, |last| self.chunks[last].1)
    }
}

/// Streams that together tell the time from the first token to the last: each begins before the one before it ends, and lasts
/// longest.
fn clocks(streams: &[Stream]) -> Vec<(usize, f64)> {
    let mut order: Vec<usize> = (0..streams.len()).filter(|&i| streams[i].chunks.len() > 1).collect();
    order.sort_by(|&a, &b| streams[a].first().total_cmp(&streams[b].first()));
    let (mut chosen, mut until, mut next) = (Vec::new(), f64::NEG_INFINITY, 0);
    while next < order.len() {
        let mut best: Option<usize> = None;
        // All that have begun by the time to which the last clock tells; if none goes on from there, the next to begin.
        while next < order.len() && (best.is_none() || streams[order[next]].first() <= until) {
            let i = order[next];
            if streams[i].last() > until && best.is_none_or(|b| streams[i].last() > streams[b].last()) {
                best = Some(i);
            }
            next += 1;
        }
        if let Some(i) = best {
            chosen.push((i, until));
            until = streams[i].last();
        }
    }
    chosen
}

/// The streams that one clock meets, and its intervals after `from`; none where what ran cannot be told.
fn intervals_of(streams: &[Stream], (clock, from): (usize, f64)) -> (Vec<&Stream>, Vec<Option<Interval>>) {
    let (clock, begin, end) = (&streams[clock], streams[clock].first(), streams[clock].last());
    let streams: Vec<&Stream> = streams.iter().filter(|s| s.sent <= end && s.first().max(s.last()) >= begin).collect();
    let boundaries = boundaries_of(clock);
    let pairs = boundaries.windows(2).filter(|pair| pair[0].0.at >= from);
    let intervals = pairs.map(|pair| interval(&streams, pair[0], pair[1])).collect();
    (streams, intervals)
}

/// The steps that one clock shows.
fn of_clock(streams: &[Stream], clock: (usize, f64), budget: u32) -> Vec<SeenSteps> {
    let (streams, intervals) = intervals_of(streams, clock);
    let streams = &streams[..];
    let mut seen = Vec::new();
    for (k, interval) in intervals.iter().enumerate() {
        let Some(interval) = interval else { continue };
        match interval.prompts[..] {
            [] => seen.push(SeenSteps {
                steps: (0..interval.ticks).map(|tick| interval.decodes.later(u64::from(tick))).collect(),
                ms: interval.ms(),
            }),
            [prompt] => seen.extend(prefill(streams, &intervals[..=k], prompt, budget)),
            _ => {}
        }
    }
    seen
}

/// The times at which the clock's tokens came, and how many there were by then.
fn boundaries_of(clock: &Stream) -> Vec<(Boundary, u32)> {
    let at = |i: usize| clock.chunks.get(i).map(|chunk| chunk.0);
    let one = |(i, &(time, tokens)): (usize, &(f64, u32))| {
        let before = i.checked_sub(1).and_then(at).map_or(f64::INFINITY, |t| time - t);
        let after = at(i + 1).map_or(f64::INFINITY, |t| t - time);
        (Boundary { at: time, slack: SLACK * before.min(after) }, tokens)
    };
    clock.chunks.iter().enumerate().map(one).collect()
}

impl Interval {
    fn ms(&self) -> f64 {
        (self.end.at - self.start.at) / 1e6
    }

    /// Whether it is one step of so many decodes while these prompts wait.
    fn is_step(&self, decodes: u32, prompts: &[usize]) -> bool {
        self.ticks == 1 && self.prompts == prompts && self.decodes.decodes == decodes
    }
}

/// What ran between two chunks of the clock; none if a stream in it cannot be relied on.
fn interval(streams: &[&Stream], (start, before): (Boundary, u32), (end, after): (Boundary, u32)) -> Option<Interval> {
    let ticks = after.checked_sub(before).filter(|&ticks| ticks > 0)?;
    let mut interval = Interval { start, end, ticks, decodes: BatchShape::default(), prompts: Vec::new() };
    let mut decodes = Vec::new();
    for (i, stream) in streams.iter().enumerate() {
        if stream.sent >= end.at || stream.last() <= start.latest() && stream.first() <= start.latest() {
            continue;
        }
        if !stream.sound {
            return None;
        }
        if stream.first() > start.latest() {
            interval.prompts.push(i);
        } else if stream.last() >= end.earliest() {
            interval.decodes.add_decode(u64::from(stream.input) + u64::from(stream.tokens_at(start.latest())));
            decodes.push(*stream);
        } else {
            // It ended within the interval: of several steps, it was in some only.
            return None;
        }
    }
    // Tokens that came together show no time between them.
    let (start_at, end_at) = seen_by_all(&decodes, start, end).filter(|(start, end)| start < end)?;
    interval.start.at = start_at;
    interval.end.at = end_at;
    Some(interval)
}

/// Begin and end of an interval by all its decodes: the median of when each got its token, since each is delayed now and then.
fn seen_by_all(decodes: &[&Stream], start: Boundary, end: Boundary) -> Option<(f64, f64)> {
    let near = |stream: &Stream, boundary: Boundary| {
        let from = stream.chunks.partition_point(|chunk| chunk.0 < boundary.earliest());
        stream.chunks.get(from).map(|chunk| chunk.0).filter(|&time| time <= boundary.latest())
    };
    let both = |stream: &&Stream| Some((near(stream, start)?, near(stream, end)?));
    let (starts, ends): (Vec<f64>, Vec<f64>) = decodes.iter().filter_map(both).unzip();
    Some((median(&starts)?, median(&ends)?))
}

/// The steps in which a prompt was computed, if its first token came in the last of `intervals` and it alone was waiting: counted
/// back from there, since the step that ran when it arrived did without it.
fn prefill(streams: &[&Stream], intervals: &[Option<Interval>], prompt: usize, budget: u32) -> Vec<SeenSteps> {
    let stream = &streams[prompt];
    let last = intervals.last().and_then(Option::as_ref);
    if last.is_none_or(|last| stream.first() > last.end.latest()) {
        return Vec::new();
    }
    let mut room = 0;
    let mut chunks: Vec<(&Interval, u32)> = Vec::new();
    for interval in intervals.iter().rev() {
        let Some(interval) = interval.as_ref().filter(|i| i.ticks == 1 && i.prompts == [prompt]) else { return Vec::new() };
        let share = budget.saturating_sub(interval.decodes.decodes);
        chunks.push((interval, share));
        room += share;
        if room >= stream.input {
            break;
        }
    }
    // Before its first chunk it must have been alone as well, or that chunk was in a step that it shared with another prompt.
    let before = intervals.len().checked_sub(chunks.len() + 1).and_then(|i| intervals[i].as_ref());
    let alone = before.is_some_and(|before| before.prompts.iter().all(|&other| other == prompt));
    if room < stream.input || !alone || chunks.last().is_none_or(|(first, _)| stream.sent > first.start.at) {
        return Vec::new();
    }
    let mut history = 0;
    let step = |(interval, share): &(&Interval, u32)| {
        let tokens = (stream.input - history).min(*share);
        let mut shape = interval.decodes;
        shape.add_chunk(u64::from(history), u64::from(tokens), history + tokens == stream.input);
        history += tokens;
        SeenSteps { steps: vec![shape], ms: interval.ms() }
    };
    chunks.iter().rev().map(step).collect()
}

#[cfg(test)]
mod tests;
