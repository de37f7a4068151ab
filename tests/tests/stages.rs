//! Pipeline stages on examples small enough to be worked out by hand, and their bounds.

use tokentide_models::cost::{BatchShape, CostModel, DecodePiece};
use tokentide_models::units::Duration;
use tokentide_sim::engine::{EngineTotals, Layout};
use tokentide_sim::scenario::EngineConfig;
use tokentide_sim::workload::Request;
use tokentide_tests::recorder::Recorder;
use tokentide_tests::small::{engine, line, on_both, replica, request};

/// Stages of 10 ps and 30 ps in turn, whatever the batch.
struct Fixed;

impl CostModel for Fixed {
    fn iteration(&self, _: &BatchShape) -> Duration {
        Duration(40)
    }

    fn stages(&self, _: &BatchShape, times: &mut [Duration]) {
        times.iter_mut().zip([10, 30].into_iter().cycle()).for_each(|(time, ps)| *time = Duration(ps));
    }

    fn decode_piece(&self, batch: &BatchShape) -> DecodePiece {
        DecodePiece { first: self.iteration(batch), growth_ps: 0, steps: u64::MAX }
    }
}

/// 1,200 ps a step and 12 for each token, in equal stages.
struct Even;

impl CostModel for Even {
    fn iteration(&self, batch: &BatchShape) -> Duration {
        Duration(1200 + 12 * batch.tokens())
    }

    fn decode_piece(&self, batch: &BatchShape) -> DecodePiece {
        DecodePiece { first: self.iteration(batch), growth_ps: 0, steps: u64::MAX }
    }
}

/// Limits of a step, for requests of up to 400 tokens.
fn limits(max_num_batched_tokens: u32, max_num_seqs: u32) -> EngineConfig {
    EngineConfig { max_num_batched_tokens, max_num_seqs, max_model_len: 400, ..engine() }
}

/// Runs one replica on both engines, which must agree.
fn run(stages: u32, engine: &EngineConfig, cost: &dyn CostModel, requests: &[Request]) -> (EngineTotals, Recorder) {
    let cluster = replica(engine, Layout { stages, ..Layout::ONE }, 20_000, cost);
    let (totals, recorder) = on_both(&cluster, requests);
    (totals[0], recorder)
}

fn lines(run: &Recorder) -> Vec<String> {
    run.steps.iter().map(line).collect()
}

/// A budget of four tokens makes two batches of two prompts; they follow each other through the stages, and a batch leaves every
/// 30 ps, as long as the slower stage takes.
#[test]
fn two_batches_leave_at_the_pace_of_the_slowest_stage() {
    let (totals, recorder) = run(2, &limits(4, 4), &Fixed, &[request(0, 4, 3), request(1, 4, 3)]);
    let expected = ["0-40 0:0:4", "0-70 1:0:4", "40-100 0:4:1", "70-130 1:4:1", "100-160 0:5:1", "130-190 1:5:1"];
    assert_eq!(lines(&recorder), expected);
    assert_eq!((totals.busy_ps, recorder.gaps()), (190, vec![((0, 60), 4)]));
}

/// The chunks of one prompt follow each other, though none of them is done; its decodes wait for their token.
#[test]
fn chunks_follow_each_other_and_decodes_do_not() {
    let (_, recorder) = run(2, &limits(4, 4), &Fixed, &[request(0, 10, 3)]);
    let expected = ["0-40 0:0:4", "0-70 0:4:4", "40-100 0:8:2", "100-140 0:10:1", "140-180 0:11:1"];
    assert_eq!(lines(&recorder), expected);
}

/// A lone request gains nothing from stages but for its chunks; many requests gain, at most the number of stages.
#[test]
fn stages_give_at_most_their_number() {
    let all_end = |stages: u32, requests: &[Request]| {
        let (totals, _) = run(stages, &limits(64, 64), &Even, requests);
        totals.last_end.0 as f64
    };
    let lone = [request(0, 10, 50)];
    assert_eq!(all_end(1, &lone), all_end(4, &lone));
    let many: Vec<Request> = (0..256).map(|id| request(id, 60, 40)).collect();
    let times = [1, 2, 3, 4].map(|stages| all_end(stages, &many));
    println!("{times:?}");
    for (stages, time) in (1..).zip(times) {
        assert!(times[0] / time <= f64::from(stages), "{stages} stages: {times:?}");
    }
    assert!(times[0] / times[1] > 1.3 && times[1] > times[3], "{times:?}");
}
