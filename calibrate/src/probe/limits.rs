//! Limits that a server does not tell, found by what it does: tokens of a step and running requests.

use std::time::{Duration, Instant};

use super::error::Halt;
use super::flight::Flight;
use super::point::{Plan, Shape};
use super::repeat::Runner;
use crate::observation::{PointKind, RequestRecord, ServerRecord};
use crate::solve::median;

/// Of a prompt that is one chunk of any server's [tokens].
const SHORT: u32 = 16;
/// Times that each length is tried beside a short one, at equal distances within a step: a request waits for the end of the step
/// that it arrives in, so one that arrives near such an end waits for one step or two. The median passes over that, and over
/// stalls.
const TRIES: u32 = 5;
/// Times for the longest prompt, whose steps need not be exact.
const ROUGH_TRIES: u32 = 3;
/// A usual budget is tried until it has held, or has not, so many times.
const HELD: u32 = 2;
/// Within one part in so many of a usual budget, that is tried once more.
const NEAR: u32 = 20;
/// Budgets that are tried first, before any between them [tokens].
const USUAL: [u32; 12] = [256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768, 1536, 3072, 6144, 12_288];
/// Short requests sent at once to see how many run.
const CROWDS: [u32; 3] = [48, 160, 320];

/// Counts the chunks of prompts, each sent into one steady decode: that decode gets a token in every step, so the tokens that it
/// gets while a prompt is computed are the prompt's steps. (vLLM's counter of steps passes over those that give no token, so a
/// prompt alone does not show its chunks there.) Gives for each length the steps that it took more than a short prompt.
///
/// # Errors
/// If the user interrupts, or the log cannot be written.
fn extra_steps(runner: &mut Runner, length: u32, tries: u32, output: u32, step: f64, rep: u32) -> Result<Option<i64>, Halt> {
    let prompts: Vec<u32> = std::iter::repeat_n([SHORT, length], tries as usize).flatten().collect();
    let shape = Shape::Injected { output, prompts: prompts.clone(), pause: Duration::ZERO };
    let name = "limits/tokens".to_owned();
    let plan = Plan { name, kind: PointKind::Warmup, batch: 1, context: SHORT, rate: None, shape };
    let repeat = runner.run_with(&plan, rep, &[], |flight| inject(flight, output, &prompts, step))?;
    let Some((decode, injected)) = repeat.requests.split_first() else { return Ok(None) };
    let extra = |pair: &[RequestRecord]| match pair {
        [short, long] => Some(steps_during(decode, long)? - steps_during(decode, short)?),
        _ => None,
    };
    let extras: Vec<f64> = injected.chunks(2).filter_map(extra).collect();
    Ok(median(&extras).filter(|_| extras.len() * 2 > tries as usize).map(|steps| steps.round() as i64))
}

/// Sends the prompts, each pair of them a part of a step later after a token of the decode than the pair before.
fn inject(flight: &mut Flight<'_>, output: u32, prompts: &[u32], step: f64) -> Result<(), Halt> {
    let look = Duration::from_micros(200);
    flight.send(&[(SHORT, output)], None)?;
    flight.wait(None, look, |flight| flight.events(0) >= 3 || flight.any_ended(1))?;
    for (at, &prompt) in prompts.iter().enumerate() {
        let events = flight.events(0);
        flight.wait(None, look, |flight| flight.events(0) > events || flight.any_ended(1))?;
        if flight.any_ended(1) {
            break;
        }
        let part = (at / 2 * 2) as f64 / prompts.len() as f64;
        flight.pause(Instant::now() + Duration::from_secs_f64(part * step))?;
        let index = flight.sent();
        flight.send(&[(prompt, 1)], None)?;
        flight.wait(None, look, |flight| flight.ended.iter().any(|request| request.index as usize == index))?;
    }
    Ok(())
}

/// Tokens that the decode got from when the prompt was sent to its first token, whose own step counts. Nothing if the decode had
/// ended.
fn steps_during(decode: &RequestRecord, prompt: &RequestRecord) -> Option<f64> {
    let (first, _) = *prompt.chunks.first().filter(|_| prompt.error.is_none())?;
    let by = |at: u64| decode.chunks.iter().take_while(|chunk| chunk.0 <= at).last().map_or(0, |chunk| chunk.1);
    let (last, _) = *decode.chunks.last()?;
    // Both tokens of one step arrive one after the other: a moment after the first, the other is there too.
    let gaps: Vec<f64> = decode.chunks.windows(2).map(|w| (w[1].0 - w[0].0) as f64).collect();
    let after = first + (median(&gaps)? / 2.0) as u64;
    (after < last).then(|| f64::from(by(after)) - f64::from(by(prompt.sent_ns)))
}

/// The most tokens of a step, where a single decode takes about `step` [s]; nothing if no prompt that the server takes is cut into
/// chunks.
///
/// # Errors
/// If the user interrupts, or the log cannot be written.
pub fn batched_tokens(runner: &mut Runner, server: &ServerRecord, longest: u32, step: f64) -> Result<Option<u32>, Halt> {
    let room = server.max_model_len.unwrap_or(longest).min(longest).saturating_sub(8);
    if room < 4 * SHORT {
        return Ok(None);
    }
    let mut rep = 0;
    let mut ask = |runner: &mut Runner, length: u32, tries: u32, about: u32| -> Result<Option<i64>, Halt> {
        rep += 1;
        let output = (tries * (about + 24) + 16).min(room - SHORT);
        extra_steps(runner, length, tries, output, step, rep - 1)
    };
    // Where front end or client are starved for a while, the decode may end before the prompts are through: it is given more steps.
    let mut extra = None;
    for longer in 0..3 {
        if extra.is_none() {
            extra = ask(runner, room, ROUGH_TRIES, room.div_ceil(256) << (2 * longer))?;
        }
    }
    let Some(extra) = extra.filter(|&extra| extra > 0) else { return Ok(None) };
    let chunks = extra as u32 + 1;
    // Each chunk has `budget - 1` tokens, the decode has one. The count can be off by one.
    let (low, high) = (room / (chunks + 1), room.div_ceil((chunks - 1).max(1)) + 1);
    let usual: Vec<u32> = USUAL.into_iter().filter(|&n| n > low && n <= high && n < room).collect();
    for &budget in &usual {
        let (mut held, mut failed) = (0, 0);
        while held < HELD && failed < HELD {
            if is_budget(runner, &mut ask, budget)? { held += 1 } else { failed += 1 }
        }
        if held == HELD {
            return Ok(Some(budget));
        }
    }
    // The shortest prompt that takes a second step has as many tokens as a step.
    let (mut one, mut two) = (low.saturating_sub(1).max(SHORT), high.min(room));
    while two - one > 1 {
        let middle = one + (two - one) / 2;
        match ask(runner, middle, TRIES, 3)? {
            Some(extra) if extra >= 1 => two = middle,
            Some(_) => one = middle,
            None => return Ok(None),
        }
    }
    // On a busy machine the search can end beside a usual budget that it was told wrongly about before.
    match usual.iter().find(|&&budget| budget.abs_diff(two) * NEAR < budget) {
        Some(&budget) if is_budget(runner, &mut ask, budget)? => Ok(Some(budget)),
        _ => Ok(Some(two)),
    }
}

/// Whether a prompt one token shorter is one chunk, and one of as many tokens is two.
fn is_budget(
    runner: &mut Runner,
    ask: &mut impl FnMut(&mut Runner, u32, u32, u32) -> Result<Option<i64>, Halt>,
    budget: u32,
) -> Result<bool, Halt> {
    Ok(ask(runner, budget - 1, TRIES, 2)? == Some(0) && ask(runner, budget, TRIES, 2)? == Some(1))
}

/// The most running requests; nothing if as many as were tried ran at once. `step` is about that of a few decodes [s].
///
/// # Errors
/// If the user interrupts, or the log cannot be written.
pub fn running_requests(runner: &mut Runner, kv_tokens: Option<u32>, most: u32, step: f64) -> Result<Option<u32>, Halt> {
    for (rep, crowd) in CROWDS.into_iter().enumerate() {
        // Answers long enough that the first has not ended when the last arrives, some milliseconds later each.
        let output = ((f64::from(crowd) * 0.002 / step) as u32 + 12).clamp(16, 128);
        if kv_tokens.is_some_and(|tokens| crowd * (SHORT + output) > tokens) {
            break;
        }
        let shape = Shape::Together { output };
        let plan =
            Plan { name: "limits/requests".into(), kind: PointKind::Warmup, batch: crowd, context: SHORT, rate: None, shape };
        let clock = runner.clock;
        let close = runner.watch.as_ref().map(|watch| watch.closely());
        let repeat = runner.run_with(&plan, rep as u32, &[], |flight| super::repeat::send(flight, &plan, clock))?;
        drop(close);
        let most_running = repeat.samples.iter().map(|s| s.running).fold(0.0, f64::max);
        let full = repeat.samples.iter().filter(|s| s.running == most_running && s.waiting > 0.0 && s.usage < 0.9).count();
        if full >= 2 && most_running < f64::from(crowd) {
            return Ok(Some(most_running as u32));
        }
        if crowd >= most {
            break;
        }
    }
    Ok(None)
}
