//! Streams by hand, and the steps they show.

use super::*;

/// A request sent at `sent` [ms], whose tokens came at `times` [ms].
fn request(sent: u64, input: u32, times: &[u64]) -> RequestRecord {
    RequestRecord {
        point: "p".into(),
        rep: 0,
        index: 0,
        planned_ns: None,
        sent_ns: sent * 1_000_000,
        input,
        output: times.len() as u32,
        cached: None,
        chunks: times.iter().zip(1..).map(|(&at, n)| (at * 1_000_000, n)).collect(),
        counted: true,
        error: None,
    }
}

/// `decodes x context, chunk after history: ms` of each group of steps.
fn lines(seen: &[SeenSteps]) -> Vec<String> {
    let step = |s: &BatchShape| match s.prefill_chunks {
        0 => format!("{}x{}", s.decodes, s.decode_context),
        _ => format!("{}x{} {}@{}", s.decodes, s.decode_context, s.prefill_tokens, s.prefill_history),
    };
    seen.iter().map(|seen| format!("{}: {}", seen.steps.iter().map(step).collect::<Vec<_>>().join(" "), seen.ms)).collect()
}

/// The first stream goes on for longest and is the clock; where the other joins and leaves, its composition changes.
#[test]
fn streams_show_steps() {
    let requests = [request(0, 100, &[20, 30, 40, 52, 64, 74]), request(25, 200, &[40, 52, 64])];
    assert_eq!(lines(&seen_steps(&requests, 512)), ["1x102 200@0: 10", "2x304: 12", "2x306: 12", "1x105: 10"]);
}

/// A prompt of 40 tokens among two decodes, 18 a step: three chunks, the first in the step after the one that ran when it was sent.
#[test]
fn prompts_among_decodes_are_cut_by_the_budget() {
    let decode = |sent| request(sent, 10, &[10, 20, 30, 50, 70, 82, 92]);
    let requests = [decode(0), decode(0), request(25, 40, &[82])];
    let seen = lines(&seen_steps(&requests, 20));
    assert_eq!(seen, ["2x22: 10", "2x26 18@0: 20", "2x28 18@18: 20", "2x30 4@36: 12", "2x32: 10"]);
    // With room for all of it, it took one step, and what ran before it is not told: it may have waited, or been on its way.
    let seen = lines(&seen_steps(&requests, 64));
    assert_eq!(seen, ["2x22: 10", "2x30 40@0: 12", "2x32: 10"]);
}

/// Whoever shared a step with another prompt is not told.
#[test]
fn prompts_that_wait_together_are_left_out() {
    let decode = request(0, 10, &[10, 20, 30, 50, 70, 82, 92]);
    let requests = [decode, request(21, 40, &[70]), request(22, 40, &[82])];
    assert_eq!(lines(&seen_steps(&requests, 100)), ["1x11: 10", "1x16: 10"]);
}

#[test]
fn chunks_of_several_tokens_are_several_steps() {
    let mut stream = request(0, 100, &[20, 30, 52, 62]);
    stream.chunks = vec![(20_000_000, 1), (30_000_000, 2), (52_000_000, 4), (62_000_000, 5)];
    stream.output = 5;
    assert_eq!(lines(&seen_steps(&[stream.clone()], 512)), ["1x101: 10", "1x102 1x103: 22", "1x104: 10"]);
    // A chunk that may have been several tokens tells nothing.
    stream.counted = false;
    assert!(seen_steps(&[stream], 512).is_empty());
}

/// One stream's delayed token does not move the step's end as the others saw it.
#[test]
fn delays_of_single_streams_do_not_count() {
    let clock = |at| request(0, 10, &[10, 20, at, 40, 50]);
    let requests = [clock(32), clock(30), clock(30)];
    let ms: Vec<f64> = seen_steps(&requests, 64).iter().map(|seen| seen.ms).collect();
    assert_eq!(ms, [10.0, 10.0, 10.0, 10.0]);
}

/// Two tokens that came at once in chunks of their own were two steps, of which no time is known.
#[test]
fn no_step_takes_no_time() {
    let seen = lines(&seen_steps(&[request(0, 10, &[10, 20, 20, 30, 40, 50])], 64));
    assert_eq!(seen, ["1x11: 10", "1x13: 10", "1x14: 10", "1x15: 10"]);
    // Of a stream that comes in bunches no step is known.
    assert!(seen_steps(&[request(0, 10, &[10, 20, 20, 20, 50, 50])], 64).is_empty());
}

#[test]
fn failed_and_cached_requests_spoil_their_steps() {
    let decode = request(0, 10, &[10, 20, 30, 40, 50]);
    let mut failed = request(0, 10, &[10, 20]);
    failed.error = Some("connection reset".into());
    assert_eq!(lines(&seen_steps(&[decode.clone(), failed], 64)), ["1x12: 10", "1x13: 10", "1x14: 10"]);
    let cached = RequestRecord { cached: Some(8), ..request(25, 40, &[40]) };
    assert_eq!(lines(&seen_steps(&[decode, cached], 64)), ["1x11: 10", "1x14: 10"]);
}

/// Streams one after the other: each step is told once.
#[test]
fn clocks_take_over_from_each_other() {
    let requests = [request(0, 10, &[10, 20, 30]), request(12, 10, &[30, 40, 50, 60]), request(100, 10, &[110, 120])];
    assert_eq!(lines(&seen_steps(&requests, 64)), ["1x12 10@0: 10", "1x11: 10", "1x12: 10", "1x13: 10", "1x11: 10"]);
}

/// Steps of 10 ms, but 13 where a prompt is sent, 20 with its chunk, and 12 and 11 after: 6 ms beside its own step.
#[test]
fn prompts_take_something_from_the_steps_around() {
    let gaps = [10, 10, 10, 10, 13, 20, 12, 11, 10, 10, 10];
    let times: Vec<u64> = gaps.iter().scan(10, |at, gap| Some(std::mem::replace(at, *at + gap))).chain([136]).collect();
    let decode = || request(0, 10, &times);
    // It is sent in the fifth step, which begins at 50 ms, and its token comes with the sixth.
    let prompt = request(55, 40, &[83]);
    assert_eq!(arrivals_ms(&[decode(), decode(), prompt.clone()], 512), [6.0]);
    // One whose answer goes on is a decode in the steps after.
    let stays = request(55, 40, &[83, 95, 106]);
    assert!(arrivals_ms(&[decode(), decode(), stays], 512).is_empty());
    // Another prompt nearby, and nothing says which of them took what.
    let other = request(57, 40, &[95]);
    assert!(arrivals_ms(&[decode(), decode(), prompt.clone(), other], 512).is_empty());
    // Too few steps to compare with.
    let short = request(0, 10, &times[3..times.len() - 2]);
    assert!(arrivals_ms(&[short.clone(), short, prompt], 512).is_empty());
}
