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
