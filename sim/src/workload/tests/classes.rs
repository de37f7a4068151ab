//! What classes do to each other (nothing), prefixes, determinism, limits, labels.

use std::sync::Arc;

use tokentide_models::units::{Duration, PS_PER_S};

use super::*;
use crate::workload::{Layer, Prefix};

fn rag(top_k: u32) -> Class {
    let mut chunks = part(Source::Retrieved, log_normal(500.0, 700.0));
    chunks.count = top_k;
    let prompt = vec![
        shared(Source::System, fixed(700)),
        shared(Source::Developer, fixed(400)),
        chunks,
        part(Source::User, log_normal(25.0, 120.0)),
    ];
    class("rag", 5.0, prompt, log_normal(220.0, 900.0))
}

/// All that makes up a request, but its id.
fn facts(requests: &[Request], class: u16) -> Vec<(Time, u32, u32, u64, [u32; 8])> {
    requests
        .iter()
        .filter(|r| r.class == class)
        .map(|r| (r.arrival, r.input_tokens, r.output_tokens, r.private, r.sources))
        .collect()
}

#[test]
fn the_same_seed_gives_the_same_requests_and_another_one_others() {
    let classes = [rag(4), rag(8)];
    let (a, b, c) = (all(&classes, 1, first(2000)), all(&classes, 1, first(2000)), all(&classes, 2, first(2000)));
    assert_eq!(format!("{a:?}"), format!("{b:?}"));
    assert_ne!(facts(&a, 0), facts(&c, 0));
}

#[test]
fn a_class_more_changes_no_other_one() {
    let alone = facts(&all(&[rag(4)], 1, until(200.0)), 0);
    let together = facts(&all(&[rag(4), rag(12), rag(4)], 1, until(200.0)), 0);
    assert!(alone.len() > 800);
    assert_eq!(alone, together);
    let other = facts(&all(&[rag(4), rag(4)], 1, until(200.0)), 1);
    assert_ne!(alone[..100], other[..100]);
}

/// A higher top_k changes retrieved tokens and nothing else: base and head can be compared request by request.
#[test]
fn a_change_of_one_part_leaves_all_other_draws() {
    let (base, head) = (all(&[rag(4)], 9, first(500)), all(&[rag(12)], 9, first(500)));
    for (a, b) in base.iter().zip(&head) {
        assert_eq!((a.arrival, a.output_tokens), (b.arrival, b.output_tokens));
        for source in Source::ALL {
            let i = source as usize;
            assert_eq!(source == Source::Retrieved, a.sources[i] != b.sources[i], "{source:?}");
        }
    }
}

#[test]
fn fields_are_independent_of_each_other_and_of_their_neighbours() {
    let prompt = vec![part(Source::User, log_normal(100.0, 500.0)), part(Source::Tools, log_normal(100.0, 500.0))];
    let classes = [class("a", 5.0, prompt.clone(), log_normal(100.0, 500.0)), class("b", 5.0, prompt, log_normal(100.0, 500.0))];
    let requests = all(&classes, 3, first(100_000));
    let columns = |class: u16| -> Vec<Vec<f64>> {
        let rows: Vec<&Request> = requests.iter().filter(|r| r.class == class).take(40_000).collect();
        let of = |f: &dyn Fn(&Request) -> u32| rows.iter().map(|r| f64::from(f(r))).collect::<Vec<f64>>();
        let gaps = rows.windows(2).map(|w| w[1].arrival.since(w[0].arrival).as_secs_f64()).chain([0.0]).collect();
        vec![of(&|r| r.sources[Source::User as usize]), of(&|r| r.sources[Source::Tools as usize]), of(&|r| r.output_tokens), gaps]
    };
    let (a, b) = (columns(0), columns(1));
    let mut pairs: Vec<(&[f64], &[f64])> = Vec::new();
    for i in 0..4 {
        pairs.push((&a[i][1..], &a[i][..a[i].len() - 1]));
        (0..i).for_each(|j| pairs.push((&a[i], &a[j])));
        b.iter().for_each(|column| pairs.push((&a[i], column)));
    }
    // Standard error 0.005; 26 pairs.
    for (x, y) in pairs {
        let rho = spearman(x, y);
        assert!(rho.abs() < 0.02, "{rho}");
    }
}

#[test]
fn a_fixed_shared_prefix_is_allocated_once() {
    let requests = all(&[rag(4)], 1, first(50));
    let Prefix::Layers(head) = &requests[0].prefix else { panic!("no layers") };
    assert_eq!(head.iter().map(|l| l.end).collect::<Vec<_>>(), [700, 1100]);
    for request in &requests {
        let Prefix::Layers(layers) = &request.prefix else { panic!("no layers") };
        assert!(Arc::ptr_eq(head, layers));
        assert_eq!(request.shared_tokens(), 1100);
        assert!(!request.private_reused);
    }
    assert!(requests.windows(2).all(|w| w[0].private != w[1].private));
}

#[test]
fn equal_draws_of_shared_parts_share_and_others_do_not() {
    let prompt = vec![
        shared(Source::System, Distribution::Pmf(vec![(0.0, 1.0), (64.0, 1.0), (128.0, 1.0)])),
        shared(Source::Tools, fixed(32)),
        part(Source::User, fixed(5)),
        shared(Source::Formatting, fixed(16)),
    ];
    let classes = [class("a", 1.0, prompt.clone(), fixed(9)), class("b", 1.0, prompt, fixed(9))];
    let mut seen: Vec<(u16, Vec<Layer>)> = Vec::new();
    for request in all(&classes, 4, first(500)) {
        let Prefix::Layers(layers) = &request.prefix else { panic!("no layers") };
        // What is behind private text is not part of the prefix.
        assert_eq!(request.input_tokens, request.shared_tokens() + 21);
        assert!(layers.is_sorted_by(|a, b| a.end < b.end));
        seen.push((request.class, layers.to_vec()));
    }
    seen.sort_by_key(|(class, layers)| (*class, layers.last().map(|l| l.end)));
    seen.dedup();
    // Three per class, all different.
    assert_eq!(seen.len(), 6);
    let mut contents: Vec<u64> = seen.iter().flat_map(|(_, layers)| layers.iter().map(|l| l.content)).collect();
    contents.sort_unstable();
    contents.dedup();
    assert_eq!(contents.len(), 10);
}

#[test]
fn the_horizon_ends_arrivals() {
    assert_eq!(all(&[rag(4)], 1, first(37)).len(), 37);
    assert_eq!(all(&[rag(4)], 1, first(0)).len(), 0);
    let requests = all(&[rag(4)], 1, until(20.0));
    assert!(requests.len() > 50 && requests.last().unwrap().arrival.0 < 20 * PS_PER_S);
    let constant = Arrivals::Open { gaps: Gaps::Constant, rate: Rate::Constant(1.0) };
    let ticking = Class { arrivals: Some(constant), ..rag(4) };
    // Arrivals at 0.5 s, 1.5 s, 2.5 s: the end itself is outside.
    assert_eq!(all(&[ticking], 1, until(2.5)).len(), 2);
    let both = Horizon { requests: Some(10), ..until(20.0) };
    assert_eq!(all(&[rag(4)], 1, both).len(), 10);
    let unmoving = Class { arrivals: None, ..rag(4) };
    assert_eq!(all(&[unmoving], 1, until(20.0)).len(), 0);
}

#[test]
fn labels_deadlines_and_limits_reach_the_request() {
    let mut a = rag(4);
    (a.tenant, a.route, a.priority) = (Some("acme".into()), Some("chat".into()), 3);
    (a.timeout, a.output.max_tokens) = (Some(Duration::from_secs_f64(2.0)), Some(512));
    let b = Class { tenant: Some("acme".into()), ..rag(4) };
    let mut generator = Generator::of(&[a, b], 1, first(100), 1 << 17);
    let requests: Vec<Request> = std::iter::from_fn(|| generator.next()).collect();
    assert_eq!(generator.labels(), ["acme", "chat"]);
    for r in requests {
        match r.class {
            0 => {
                assert_eq!((r.tenant, r.route, r.priority, r.max_tokens, r.deadline.0 - r.arrival.0), (0, 1, 3, 512, 2 * PS_PER_S))
            }
            _ => assert_eq!((r.tenant, r.route, r.priority, r.max_tokens, r.deadline), (0, u16::MAX, 0, u32::MAX, Time::NEVER)),
        }
    }
}

#[test]
fn ties_go_to_the_lower_class() {
    let tick = |name: &str| {
        let mut class = rag(4);
        class.name = name.to_owned();
        class.arrivals = Some(Arrivals::Open { gaps: Gaps::Constant, rate: Rate::Constant(2.0) });
        class
    };
    let order: Vec<u16> = all(&[tick("a"), tick("b"), tick("c")], 1, first(9)).iter().map(|r| r.class).collect();
    assert_eq!(order, [0, 1, 2, 0, 1, 2, 0, 1, 2]);
}

/// `cargo test --release -p tokentide-sim -- --ignored --nocapture speed_of_generation`
#[test]
#[ignore = "a measurement"]
fn speed_of_generation() {
    let chat = |rate| class("chat", rate, vec![part(Source::User, log_normal(1000.0, 4000.0))], log_normal(200.0, 800.0));
    let system = class(
        "system",
        1.0,
        vec![shared(Source::System, fixed(700)), part(Source::User, log_normal(9.0, 90.0))],
        log_normal(200.0, 800.0),
    );
    let gamma = Class { arrivals: Some(Arrivals::Open { gaps: Gaps::Gamma { cv: 2.0 }, rate: Rate::Constant(10.0) }), ..chat(1.0) };
    let day = Rate::Diurnal { base: 10.0, amplitude: 0.5, period: Time::from_secs_f64(86_400.0), phase: 0.0 };
    let diurnal = Class { arrivals: Some(Arrivals::Open { gaps: Gaps::Poisson, rate: day }), ..chat(1.0) };
    let copula = Class { correlation: 0.5, ..chat(1.0) };
    let many: Vec<Class> = (1..=50).map(|i| chat(f64::from(i))).collect();
    let cases = [
        ("one part", vec![chat(10.0)]),
        ("shared prefix", vec![system]),
        ("gamma", vec![gamma]),
        ("diurnal", vec![diurnal]),
        ("copula", vec![copula]),
        ("rag top_k 4", vec![rag(4)]),
        ("50 classes", many),
    ];
    for (name, classes) in cases {
        let mut generator = Generator::of(&classes, 1, first(5_000_000), 1 << 17);
        let (start, mut sum) = (std::time::Instant::now(), 0u64);
        while let Some(request) = generator.next() {
            sum += u64::from(request.input_tokens) + u64::from(request.output_tokens);
        }
        println!("{name}: {:.1} ns per request ({sum} tokens)", start.elapsed().as_nanos() as f64 / 5e6);
    }
}
