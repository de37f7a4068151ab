//! Data-parallel ranks on examples small enough to be worked out by hand. A step takes 10 ps and one for each token, of ranks in
//! lockstep 100 ps more than the slowest.

use tokentide_models::cost::{BatchShape, CostModel, DecodePiece};
use tokentide_models::units::{Duration, Time};
use tokentide_sim::engine::{EngineTotals, Layout};
use tokentide_sim::scenario::EngineConfig;
use tokentide_sim::workload::Request;
use tokentide_tests::recorder::Recorder;
use tokentide_tests::small;

struct Tokens;

impl CostModel for Tokens {
    fn iteration(&self, batch: &BatchShape) -> Duration {
        Duration(10 + batch.tokens())
    }

    fn lockstep(&self, ranks: &[BatchShape]) -> Duration {
        Duration(110 + ranks.iter().map(BatchShape::tokens).max().unwrap_or(0))
    }

    fn decode_piece(&self, batch: &BatchShape) -> DecodePiece {
        DecodePiece { first: self.iteration(batch), growth_ps: 0, steps: u64::MAX }
    }
}

/// A second for every step.
struct Slow;

impl CostModel for Slow {
    fn iteration(&self, _: &BatchShape) -> Duration {
        Duration::from_micros_f64(1e6)
    }

    fn decode_piece(&self, batch: &BatchShape) -> DecodePiece {
        DecodePiece { first: self.iteration(batch), growth_ps: 0, steps: u64::MAX }
    }
}

fn request(id: u64, arrival: Time, input_tokens: u32, output_tokens: u32) -> Request {
    Request { arrival, ..small::request(id, input_tokens, output_tokens) }
}

/// Runs two ranks of one replica on both engines, which must agree.
fn run(lockstep: bool, async_scheduling: bool, cost: &dyn CostModel, requests: &[Request]) -> (Vec<EngineTotals>, Recorder) {
    let engine = EngineConfig { max_model_len: 64, async_scheduling, ..small::engine() };
    small::on_both(&small::replica(&engine, Layout { ranks: 2, lockstep, stages: 1 }, 100, cost), requests)
}

/// `rank: scheduled-end batch` of each step.
fn lines(run: &Recorder) -> Vec<String> {
    run.steps.iter().map(|step| format!("{}: {}", step.rank, small::line(step))).collect()
}

/// Request 1 comes to the idle rank while the other is in a step, and waits for its end; then both go on together, as fast as the
/// slower one.
#[test]
fn ranks_of_a_mixture_step_together() {
    let requests = [request(0, Time::ZERO, 4, 3), request(1, Time(5), 2, 2)];
    let (totals, recorder) = run(true, false, &Tokens, &requests);
    let expected = ["0: 0-114 0:0:4", "0: 114-226 0:4:1", "0: 226-337 0:5:1", "1: 114-226 1:0:2", "1: 226-337 1:2:1"];
    assert_eq!(lines(&recorder), expected);
    // Rank 1 ran a dummy step first, which counts nowhere.
    assert_eq!(totals.iter().map(|t| (t.steps, t.busy_ps)).collect::<Vec<_>>(), [(3, 337), (2, 223)]);
    assert_eq!(recorder.gaps(), [((0, 111), 2), ((0, 112), 1)]);
}

/// With two steps in flight a request that comes to an idle rank misses the dummy step that is already scheduled.
#[test]
fn an_idle_rank_does_not_race_ahead() {
    let requests = [request(0, Time::ZERO, 4, 5), request(1, Time(5), 2, 2)];
    let (_, recorder) = run(true, true, &Tokens, &requests);
    let expected = [
        "0: 0-114 0:0:4",
        "0: 0-225 0:4:1",
        "0: 114-337 0:5:1",
        "0: 225-448 0:6:1",
        "0: 337-559 0:7:1",
        "1: 114-337 1:0:2",
        "1: 225-448 1:2:1",
    ];
    assert_eq!(lines(&recorder), expected);
}

#[test]
fn ranks_of_a_dense_model_know_nothing_of_each_other() {
    let requests = [request(0, Time::ZERO, 4, 3), request(1, Time(5), 2, 2)];
    let (_, recorder) = run(false, false, &Tokens, &requests);
    assert_eq!(lines(&recorder), ["0: 0-14 0:0:4", "0: 14-25 0:4:1", "0: 25-36 0:5:1", "1: 5-17 1:0:2", "1: 17-28 1:2:1"]);
}

/// Four times the waiting and once the running, as last published, and what was sent since counts as waiting.
#[test]
fn the_front_end_balances_what_it_sees() {
    let ms = |ms: u64| Time(ms * 1_000_000_000);
    // Alternating: 0 2 4 on rank 0, 1 3 on rank 1, all of which run from 0 s to 1 s.
    let mut arrivals = vec![Time::ZERO; 5];
    // Nothing is published before 100 ms: 3 against 2 sent, then a tie.
    arrivals.extend([ms(50), ms(60)]);
    // At 100 ms 3 and 2 run and nothing waits, as the engines have not looked since: 3 against 2, then 3 against 6, then 7
    // against 6.
    arrivals.extend([ms(150), ms(160), ms(170)]);
    let requests: Vec<Request> = (0..).zip(arrivals).map(|(id, arrival)| request(id, arrival, 2, 1)).collect();
    for lockstep in [false, true] {
        let (_, recorder) = run(lockstep, false, &Slow, &requests);
        let mut of_rank: Vec<(u64, u32)> =
            recorder.steps.iter().flat_map(|s| s.batch.iter().map(|part| (part.0, s.rank))).collect();
        of_rank.sort_unstable();
        assert_eq!(of_rank.into_iter().map(|(_, rank)| rank).collect::<Vec<_>>(), [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]);
    }
}
