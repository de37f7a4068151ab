//! Scale, window, jitter, horizon, defaults.

use super::*;

fn ticks() -> String {
    let rows: String = (0..300).map(|i| format!("{},{},6\n", i / 3 * 3, i + 1)).collect();
    format!("arrival_s,input_tokens,output_tokens\n{rows}")
}

#[test]
fn arrivals_are_scaled() {
    let (source, requests) = open_text(ticks(), |c| c.rate_scale = 4.0).unwrap();
    assert_eq!((requests.len(), requests[299].arrival), (300, Time(99 * 750 * MS)));
    assert_eq!(source.summary().span_s, 297.0);
}

#[test]
fn windows_are_rebased_to_their_start() {
    let (source, requests) = open_text(ticks(), |c| c.window = Some((4.0, 12.0))).unwrap();
    // Stamps 6 and 9.
    assert_eq!(
        requests.iter().map(|r| (r.arrival.0 / MS, r.input_tokens)).collect::<Vec<_>>(),
        [(2000, 7), (2000, 8), (2000, 9), (5000, 10), (5000, 11), (5000, 12)]
    );
    assert_eq!((source.summary().rows_in_window, source.summary().rows_kept, source.summary().input_tokens), (6, 300, 57));
    let (_, requests) = open_text(ticks(), |c| c.window = Some((6.0, 9.0))).unwrap();
    assert_eq!(requests.len(), 3);
}

#[test]
fn jitter_spreads_ticks_evenly_and_keeps_the_order() {
    let (source, plain) = open_text(ticks(), |_| {}).unwrap();
    assert_eq!(source.summary().equal_stamps, 200);
    assert!(source.summary().warnings(false)[0].contains("67 % of the arrivals"));
    assert!(source.summary().warnings(true).is_empty(), "nothing is left to be set");
    // A tick of 7 s overlaps the next two: rows of different stamps change places.
    for tick in [3.0, 7.0] {
        let (_, jittered) = open_text(ticks(), |c| c.jitter = Some(Duration::from_secs_f64(tick))).unwrap();
        let mut offsets = Vec::new();
        for request in &jittered {
            let before = &plain[request.input_tokens as usize - 1];
            offsets.push(request.arrival.since(before.arrival).as_secs_f64() / tick);
            assert!(request.arrival >= before.arrival && request.output_tokens == 6);
        }
        let mean = offsets.iter().sum::<f64>() / 300.0;
        // Standard error 0.017.
        assert!((mean - 0.5).abs() < 0.06 && offsets.iter().all(|o| (0.0..1.0).contains(o)), "{mean}");
        let (_, again) = open_text(ticks(), |c| c.jitter = Some(Duration::from_secs_f64(tick))).unwrap();
        assert_eq!(format!("{jittered:?}"), format!("{again:?}"));
        let moved = jittered.windows(2).any(|w| w[0].input_tokens > w[1].input_tokens);
        assert!(moved);
    }
}

#[test]
fn equal_stamps_keep_the_order_of_the_file() {
    let (_, requests) = open_text(ticks(), |_| {}).unwrap();
    assert!(requests.iter().enumerate().all(|(i, r)| r.input_tokens as usize == i + 1));
}

#[test]
fn the_horizon_and_the_class_apply() {
    let file = Temporary::new(ticks());
    let chat = Class {
        tenant: Some("acme".to_owned()),
        priority: 2,
        timeout: Some(Duration(5)),
        output: Output { max_tokens: Some(99), tokens: Distribution::Fixed(1.0) },
        ..class("chat")
    };
    let open = |horizon| TraceSource::open_for(&config(&file.0), std::slice::from_ref(&chat), 5, horizon).unwrap();
    let count = |mut source: TraceSource| drain(&mut source).len();
    assert_eq!(count(open(Horizon { duration: None, requests: Some(17) })), 17);
    assert_eq!(count(open(Horizon { duration: Some(Time(9000 * MS)), requests: None })), 9);
    let mut source = open(Horizon::default());
    let request = drain(&mut source).remove(3);
    assert_eq!((request.priority, request.max_tokens, request.deadline), (2, 99, Time(3000 * MS + 5)));
    assert_eq!(source.labels()[usize::from(request.tenant)], "acme");
    assert!(!source.feedback());
}

#[test]
fn rows_from_elsewhere_are_checked_alike() {
    let row = |s: i128, input| TraceRow {
        arrival_ps: s * 1_000 * i128::from(MS),
        input_tokens: input,
        output_tokens: 3,
        ..TraceRow::default()
    };
    let open = |rows: Vec<TraceRow>, skip_bad_rows| {
        let config = TraceConfig { skip_bad_rows, ..config(Path::new("t.parquet")) };
        TraceSource::from_rows_for(rows, &config, &[class("chat")], 1, Horizon::default())
    };
    let mut source = open(vec![row(-5, 1), row(-5, 2), row(7, 3)], false).unwrap();
    assert_eq!(drain(&mut source).iter().map(|r| r.arrival.0 / MS).collect::<Vec<_>>(), [0, 0, 12_000]);
    let other = open(vec![row(-5, 1), row(-5, 2), row(7, 4)], false).unwrap();
    assert_ne!(source.summary().content_hash, other.summary().content_hash);
    let error = open(vec![row(0, 1), row(1, 0)], false).unwrap_err();
    assert_eq!((error.line, error.fault.kind), (Some(2), FaultKind::ZeroInput));
    assert_eq!(open(vec![row(0, 1), row(1, 0), row(0, 1)], true).unwrap().summary().rows_kept, 2);
    assert_eq!(open(vec![], false).unwrap_err().fault.kind, FaultKind::Empty);
    let far = TraceRow { arrival_ps: i128::MAX, ..row(0, 1) };
    assert_eq!(open(vec![row(0, 1), far], false).unwrap_err().fault.kind, FaultKind::TooLarge);
    assert_eq!(open(vec![row(0, 1), row(20_000_000, 1)], false).unwrap_err().fault.kind, FaultKind::TooLarge);
}

/// Two turns that wait, and a request of somebody else in between.
const SESSION: &str = "arrival_s,input_tokens,output_tokens,session,delay_s,history_tokens,prefix_hashes,prefix_block_tokens
0,100,10,a,,,1 2 3,32
0,160,20,a,1.5,110,,
0,200,30,a,2,180,,
1,50,5,b,,,,
";

#[test]
fn turns_with_a_delay_follow_the_answer_before() {
    let (mut source, _) = {
        let file = Temporary::new(SESSION);
        (open(&config(&file.0)).unwrap(), file)
    };
    assert!(source.feedback());
    assert_eq!(source.summary().rows_waiting, 2);
    let answered = |source: &mut TraceSource, ended: Time| {
        let request = source.next().unwrap();
        let outcome = Outcome {
            replica: 0,
            rank: 0,
            finish: crate::engine::Finish::Stop,
            queued: Some(request.arrival),
            scheduled: Some(request.arrival),
            first_token: Some(ended),
            ended,
            output_tokens: request.output_tokens,
            cached_tokens: 0,
            preemptions: 0,
            request,
        };
        source.ended(&outcome, ended);
        outcome.request
    };
    let first = answered(&mut source, Time(700 * MS));
    let other = answered(&mut source, Time(1100 * MS));
    let second = answered(&mut source, Time(3000 * MS));
    let third = answered(&mut source, Time(6000 * MS));
    assert!(source.next().is_none());
    let facts = |r: &Request| (r.arrival, r.input_tokens, r.session.unwrap().1);
    assert_eq!(facts(&first), (Time(0), 100, 0));
    assert_eq!((other.arrival, other.input_tokens), (Time(1000 * MS), 50));
    assert_eq!(facts(&second), (Time(2200 * MS), 160, 1));
    assert_eq!(facts(&third), (Time(5000 * MS), 200, 2));
    // The conversation is found again: 96 tokens that others may share, and behind them the session's own.
    assert!(first.private_reused && second.private_reused && third.private_reused && !other.private_reused);
    assert_eq!((first.private, second.private), (second.private, third.private));
    assert_eq!((first.shared_tokens(), third.shared_tokens()), (96, 96));
    assert_eq!(first.shared_block_keys(16), third.shared_block_keys(16));
}

#[test]
fn a_turn_that_is_not_answered_ends_its_session() {
    let file = Temporary::new(SESSION);
    let mut source = open(&config(&file.0)).unwrap();
    let request = source.next().unwrap();
    let outcome = Outcome {
        replica: 0,
        rank: 0,
        finish: crate::engine::Finish::TimedOut,
        queued: None,
        scheduled: None,
        first_token: None,
        ended: Time(9),
        output_tokens: 0,
        cached_tokens: 0,
        preemptions: 0,
        request,
    };
    source.ended(&outcome, Time(9));
    assert_eq!(source.next().map(|r| r.input_tokens), Some(50));
    assert!(source.next().is_none());
}

#[test]
fn turns_stand_behind_the_one_that_they_wait_for() {
    for (bad, says) in [
        ("0,1,1,a,,\n1,1,1,b,,\n2,1,1,a,1,\n", "stands right behind the turn before"),
        ("0,1,1,a,1,\n", "stands right behind the turn before"),
        ("0,1,1,,1,\n", "needs a session"),
        ("0,1,1,a,,\n0,5,1,a,1,5\n", "goes beyond its history"),
    ] {
        let text = format!("arrival_s,input_tokens,output_tokens,session,delay_s,history_tokens\n{bad}");
        let error = open_text(text, |_| {}).err().unwrap();
        assert_eq!(error.fault.kind, FaultKind::BadSession);
        assert!(error.to_string().contains(says), "{error}");
    }
}
