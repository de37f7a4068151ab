//! What a request's coming and going take from the steps that are not its own: the difference to the steps nearby.

use std::ops::Range;

use super::{Interval, Stream, clocks, intervals_of, prefill};
use crate::observation::RequestRecord;
use crate::solve::usual;

/// Steps after a prompt's own in which it is still felt: its answer goes out, the batch is put together anew.
const AFTER: usize = 2;
/// Steps on either side with which those around a prompt are compared, and how many of them there must be.
const NEARBY: usize = 8;
const NEARBY_LEAST: usize = 3;

/// What each prompt that came alone into steady decodes, and got one token, took from the steps around its own [ms]: from its
/// sending to its first chunk, and two after its last, beyond what steps of the same decodes take nearby.
pub fn arrivals_ms(requests: &[RequestRecord], budget: u32) -> Vec<f64> {
    let streams: Vec<Stream> = requests.iter().map(Stream::of).collect();
    let of_clock = |clock| {
        let (streams, intervals) = intervals_of(&streams, clock);
        taken(&streams, &intervals, budget)
    };
    clocks(&streams).into_iter().flat_map(of_clock).collect()
}

/// Intervals around a prompt's own steps.
struct Around {
    /// From the first before to the last after, its own steps among them.
    all: Range<usize>,
    /// Its own.
    own: Range<usize>,
    /// Decodes in each of them.
    decodes: u32,
}

/// What the prompts of one clock took [ms].
fn taken(streams: &[&Stream], intervals: &[Option<Interval>], budget: u32) -> Vec<f64> {
    let prompts: Vec<Around> = (0..intervals.len()).filter_map(|last| around(streams, intervals, last, budget)).collect();
    let of_prompt = |prompt: &Around| {
        let nearby = prompt.all.start.saturating_sub(NEARBY)..prompt.all.end + NEARBY;
        let undisturbed = nearby.filter(|i| !prompts.iter().any(|prompt| prompt.all.contains(i)));
        let others: Vec<f64> = undisturbed.filter_map(|i| Some(step(intervals, i, prompt.decodes, &[])?.ms())).collect();
        let (mean, _) = usual(&others).filter(|_| others.len() >= NEARBY_LEAST)?;
        let beside = intervals[prompt.all.start..prompt.own.start].iter().chain(&intervals[prompt.own.end..prompt.all.end]);
        Some(beside.flatten().map(|interval| interval.ms() - mean).sum())
    };
    prompts.iter().filter_map(of_prompt).collect()
}

/// The interval at `at`, if it is one step of so many decodes while these prompts wait.
fn step<'a>(intervals: &'a [Option<Interval>], at: usize, decodes: u32, prompts: &[usize]) -> Option<&'a Interval> {
    intervals.get(at)?.as_ref().filter(|interval| interval.is_step(decodes, prompts))
}

/// The intervals around a prompt of one token, which came in interval `last`; none if it was not alone among steady decodes.
fn around(streams: &[&Stream], intervals: &[Option<Interval>], last: usize, budget: u32) -> Option<Around> {
    let interval = intervals[last].as_ref()?;
    let [prompt] = interval.prompts[..] else { return None };
    let (stream, decodes) = (streams[prompt], interval.decodes.decodes);
    let steps = prefill(streams, &intervals[..=last], prompt, budget).len();
    if steps == 0 || stream.chunks.len() != 1 {
        return None;
    }
    let own = last + 1 - steps..last + 1;
    let waiting = |i: usize| step(intervals, i, decodes, &[prompt]);
    let (start, first) = (0..own.start).rev().map_while(|i| Some((i, waiting(i)?))).last()?;
    let all = start..own.end + AFTER;
    let steady = (own.end..all.end).all(|i| step(intervals, i, decodes, &[]).is_some());
    (first.start.at <= stream.sent && steady).then_some(Around { all, own, decodes })
}
