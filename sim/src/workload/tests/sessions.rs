//! Conversations and closed-loop clients.

use tokentide_models::units::PS_PER_S;

use super::*;
use crate::engine::{Finish, Outcome};
use crate::scenario::Session;

/// A server that answers each request whole after `1 s`, or as `finish` says, and sees one request at a time in order of arrival.
fn serve(classes: &[Class], horizon: Horizon, context: u32, finish: impl Fn(&Request) -> Finish) -> Vec<Request> {
    let mut generator = Generator::of(classes, 17, horizon, context);
    assert!(generator.feedback());
    let (mut requests, mut running): (Vec<Request>, Vec<(Time, Request)>) = (Vec::new(), Vec::new());
    loop {
        running.sort_by_key(|(end, r)| (*end, r.id));
        let arrival = generator.peek();
        match running.first().map(|r| r.0) {
            Some(end) if arrival.is_none_or(|t| end <= t) => {
                let (ended, request) = running.remove(0);
                let finish = finish(&request);
                let output_tokens = if finish.completed() { request.output_tokens.min(request.max_tokens) } else { 0 };
                let outcome = Outcome {
                    request,
                    replica: 0,
                    rank: 0,
                    finish,
                    queued: None,
                    scheduled: None,
                    first_token: None,
                    ended,
                    output_tokens,
                    cached_tokens: 0,
                    preemptions: 0,
                };
                generator.ended(&outcome, ended);
            }
            _ => {
                let Some(request) = generator.next() else { return requests };
                assert_eq!(Some(request.arrival), arrival);
                assert_eq!(request.id, requests.len() as u64);
                assert_eq!(request.sources.iter().sum::<u32>(), request.input_tokens);
                requests.push(request.clone());
                running.push((Time(request.arrival.0 + PS_PER_S), request));
            }
        }
    }
}

fn talk(turns: u32, history_max: Option<u32>) -> Class {
    let prompt = vec![shared(Source::System, fixed(100)), part(Source::History, fixed(40)), part(Source::User, fixed(10))];
    let mut class = class("talk", 0.5, prompt, fixed(20));
    class.session = Some(Session { turns: fixed(turns), think: Distribution::Fixed(3.0), first_user: None, history_max });
    class
}

fn turns_of(requests: &[Request]) -> Vec<&Request> {
    let id = requests[0].session.unwrap().0;
    requests.iter().filter(|r| r.session.unwrap().0 == id).collect()
}

#[test]
fn conversations_grow_at_their_end() {
    let requests = serve(&[talk(4, None)], until(600.0), 1 << 17, |_| Finish::Stop);
    let turns = turns_of(&requests);
    assert_eq!(turns.iter().map(|r| r.session.unwrap().1).collect::<Vec<_>>(), [0, 1, 2, 3]);
    // 100 shared + 40 carried in + 10; then 20 answered and 10 typed each time.
    assert_eq!(turns.iter().map(|r| r.input_tokens).collect::<Vec<_>>(), [150, 180, 210, 240]);
    assert_eq!(turns.iter().map(|r| r.sources[Source::History as usize]).collect::<Vec<_>>(), [40, 70, 100, 130]);
    assert!(turns.windows(2).all(|w| w[1].arrival.0 - w[0].arrival.0 == 4 * PS_PER_S));
    assert!(turns.iter().all(|r| r.private == turns[0].private && r.private_reused && r.shared_tokens() == 100));
    // The blocks of a turn's prompt are found again in the next one.
    for w in turns.windows(2) {
        assert_eq!(w[0].private_block_key(7), w[1].private_block_key(7));
        assert_eq!(w[0].shared_block_keys(16), w[1].shared_block_keys(16));
    }
    let sessions: std::collections::BTreeSet<u64> = requests.iter().map(|r| r.session.unwrap().0).collect();
    let privates: std::collections::BTreeSet<u64> = requests.iter().map(|r| r.private).collect();
    assert!(sessions.len() > 200);
    assert_eq!(sessions.len(), privates.len());
}

#[test]
fn the_user_may_bring_something_else_to_the_first_turn() {
    let first = |class: &mut Class| class.session.as_mut().unwrap().first_user = Some(fixed(500));
    let mut class = talk(4, None);
    first(&mut class);
    let requests = serve(&[class], until(600.0), 1 << 17, |_| Finish::Stop);
    assert_eq!(turns_of(&requests).iter().map(|r| r.input_tokens).collect::<Vec<_>>(), [640, 670, 700, 730]);
    assert_eq!(turns_of(&requests).iter().map(|r| r.sources[Source::User as usize]).collect::<Vec<_>>(), [500, 10, 10, 10]);
    // It has a stream of its own: what the later turns bring is drawn as before.
    let brought = |with: bool| -> Vec<u32> {
        let mut class = talk(3, None);
        class.prompt[2].tokens = Distribution::Uniform { min: 10.0, max: 1000.0 };
        if with {
            first(&mut class);
        }
        let requests = serve(&[class], until(300.0), 1 << 17, |_| Finish::Stop);
        let later = requests.iter().filter(|r| r.session.unwrap().1 > 0);
        later.map(|r| r.sources[Source::User as usize]).collect()
    };
    assert!(brought(true).len() > 100 && brought(true) == brought(false));
}

#[test]
fn answers_cut_by_a_limit_enter_the_history_as_given() {
    let mut class = talk(3, None);
    class.output.max_tokens = Some(7);
    let requests = serve(&[class], until(100.0), 1 << 17, |_| Finish::Length);
    assert_eq!(turns_of(&requests).iter().map(|r| r.input_tokens).collect::<Vec<_>>(), [150, 167, 184]);
}

#[test]
fn single_turns_reuse_nothing() {
    let requests = serve(&[talk(1, None)], until(100.0), 1 << 17, |_| Finish::Stop);
    assert!(requests.iter().all(|r| !r.private_reused && r.session.unwrap().1 == 0));
}

#[test]
fn history_beyond_its_maximum_is_dropped_and_moves_the_rest() {
    let requests = serve(&[talk(5, Some(80))], until(600.0), 1 << 17, |_| Finish::Stop);
    let turns = turns_of(&requests);
    assert_eq!(turns.iter().map(|r| r.sources[Source::History as usize]).collect::<Vec<_>>(), [40, 70, 80, 80, 80]);
    assert_eq!(turns[0].private, turns[1].private);
    assert!(turns[1..].windows(2).all(|w| w[0].private != w[1].private));
    assert_eq!(turns.iter().map(|r| r.private_reused).collect::<Vec<_>>(), [true, true, true, true, false]);
}

#[test]
fn the_context_limit_starts_afresh() {
    // Turn 2 would need 210 + 20 tokens.
    let requests = serve(&[talk(5, None)], until(600.0), 229, |_| Finish::Stop);
    let turns = turns_of(&requests);
    assert_eq!(turns.iter().map(|r| r.input_tokens).collect::<Vec<_>>(), [150, 180, 110, 140, 170]);
    assert_eq!(turns[0].private, turns[1].private);
    assert_ne!(turns[1].private, turns[2].private);
    assert_eq!(turns[2].private, turns[4].private);
    let requests = serve(&[talk(5, None)], until(600.0), 230, |_| Finish::Stop);
    assert_eq!(turns_of(&requests)[2].input_tokens, 210);
}

#[test]
fn failed_turns_end_their_session() {
    for finish in [Finish::RejectedContext, Finish::RejectedQueue, Finish::TimedOut] {
        let requests =
            serve(&[talk(5, None)], until(300.0), 1 << 17, |r| if r.session.unwrap().1 == 1 { finish } else { Finish::Stop });
        assert!(requests.iter().all(|r| r.session.unwrap().1 <= 1) && requests.iter().any(|r| r.session.unwrap().1 == 1));
    }
}

#[test]
fn sessions_have_the_declared_number_of_turns() {
    let mut class = talk(1, None);
    let turns = Distribution::Pmf(vec![(1.0, 0.5), (3.0, 0.3), (10.0, 0.2)]);
    class.session = Some(Session { turns, think: Distribution::Exponential { mean: 2.0 }, first_user: None, history_max: None });
    let requests = serve(&[class], first(30_000), 1 << 17, |_| Finish::Stop);
    let sessions = requests.iter().filter(|r| r.session.unwrap().1 == 0).count() as f64;
    // 0.5 + 0.9 + 2 turns on average, standard deviation 3.5 over 8,800 sessions.
    assert_near("turns", requests.len() as f64 / sessions, 3.4, 0.04);
}

#[test]
fn an_end_learnt_of_late_delays_what_follows() {
    let mut slow = talk(2, None);
    slow.arrivals = Some(Arrivals::Open { gaps: Gaps::Constant, rate: Rate::Constant(0.01) });
    for (class, start) in [(slow, 50), (closed(1, 3.0), 3)] {
        // Three seconds to think after the end, at 51 s (or 4 s); known one second or nine seconds after the arrival.
        for (known, next) in [(1, 4), (9, 9)] {
            let mut generator = Generator::of(std::slice::from_ref(&class), 1, until(140.0), 1 << 17);
            let request = generator.next().unwrap();
            assert_eq!((request.arrival.0, generator.peek()), (start * PS_PER_S, None));
            let after = |seconds: u64| Time((start + seconds) * PS_PER_S);
            let outcome = Outcome {
                output_tokens: request.output_tokens,
                request,
                replica: 0,
                rank: 0,
                finish: Finish::Stop,
                queued: None,
                scheduled: None,
                first_token: None,
                ended: after(1),
                cached_tokens: 0,
                preemptions: 0,
            };
            generator.ended(&outcome, after(known));
            assert_eq!(generator.peek(), Some(after(next)));
        }
    }
}

fn closed(concurrency: u32, think: f64) -> Class {
    let mut class = class("closed", 0.0, vec![part(Source::User, log_normal(100.0, 400.0))], log_normal(50.0, 99.0));
    class.arrivals = Some(Arrivals::Closed { concurrency, think: Distribution::Fixed(think) });
    class
}

#[test]
fn clients_keep_their_number_in_flight() {
    let requests = serve(&[closed(8, 0.0)], first(800), 1 << 17, |_| Finish::Stop);
    // Each second all eight are answered and come again.
    assert_eq!(requests.len(), 800);
    assert!(requests.iter().all(|r| r.arrival.0 == r.id / 8 * PS_PER_S && r.session.is_none() && !r.private_reused));
    let requests = serve(&[closed(3, 4.0)], until(100.0), 1 << 17, |_| Finish::TimedOut);
    assert_eq!(requests.iter().map(|r| r.arrival.0 / PS_PER_S).take(9).collect::<Vec<_>>(), [4, 4, 4, 9, 9, 9, 14, 14, 14]);
}

/// What the requests of closed-loop clients are like does not depend on when they are answered.
#[test]
fn lengths_do_not_depend_on_answers() {
    let lengths = |classes: &[Class]| {
        let mut lengths: Vec<(u64, u32, u32)> = serve(classes, until(300.0), 1 << 17, |_| Finish::Stop)
            .iter()
            .filter(|r| r.class == 0)
            .map(|r| (r.private, r.input_tokens, r.output_tokens))
            .collect();
        lengths.sort_unstable();
        lengths
    };
    let alone = lengths(&[closed(4, 1.0)]);
    assert_eq!(alone.len(), 4 * 150);
    assert_eq!(alone, lengths(&[closed(4, 1.0), talk(3, None), closed(9, 0.3)]));
}

#[test]
fn clients_hold_sessions_one_after_another() {
    let mut class = closed(2, 5.0);
    class.session = Some(Session { turns: fixed(3), think: Distribution::Fixed(1.0), first_user: None, history_max: None });
    let requests = serve(&[class], until(60.0), 1 << 17, |_| Finish::Stop);
    let starts: Vec<u64> = requests.iter().filter(|r| r.session.unwrap().1 == 0).map(|r| r.arrival.0 / PS_PER_S).collect();
    // Three answers of 1 s and two pauses of 1 s, then 5 s of thinking.
    assert_eq!(starts, [5, 5, 15, 15, 25, 25, 35, 35, 45, 45, 55, 55]);
    let ids: std::collections::BTreeSet<u64> = requests.iter().map(|r| r.session.unwrap().0).collect();
    assert_eq!(ids.len(), starts.len());
}
