//! Replica arithmetic worked out by hand from the formulas, and rates of change against a brute-force oracle.

use super::*;
use crate::config::{Behavior, Metric, Policy, Rules, Select};

fn s(seconds: u64) -> Time {
    Time(seconds * 1_000_000_000_000)
}

fn span(seconds: u64) -> Duration {
    Duration(s(seconds).0)
}

/// What the metrics read, by index.
#[derive(Clone, Default)]
struct Fixed {
    external: Vec<Result<i64, String>>,
    pods: Vec<(u32, i64)>,
    cpu: Vec<CpuSample>,
}

impl Readings for Fixed {
    fn external(&mut self, metric: usize) -> Result<i64, String> {
        self.external[metric].clone()
    }

    fn pods(&mut self, _: usize) -> Result<Vec<(u32, i64)>, String> {
        Ok(self.pods.clone())
    }

    fn cpu(&mut self, _: usize) -> Result<Vec<CpuSample>, String> {
        Ok(self.cpu.clone())
    }
}

fn external(target: Target) -> Metric {
    Metric { name: "m".to_owned(), source: MetricSource::External { query: String::new() }, target }
}

fn hpa(metrics: Vec<Metric>) -> Hpa {
    Hpa { min_replicas: 1, max_replicas: 100, metrics, behavior: None }
}

/// `n` pods that have been ready for an hour.
fn ready(n: u32) -> Vec<Pod> {
    (0..n).map(|id| Pod { id, created: s(0), running: Some(s(0)), ready: Some(s(0)), terminating: false }).collect()
}

/// The first proposal at `current` replicas, without what limits it: an hour after the start, nothing remembered.
fn proposed(metric: Metric, current: u32, pods: &[Pod], readings: Fixed) -> Result<u32, String> {
    let state = HpaState::new(&hpa(vec![metric]), &Flags::default());
    let status = pods.iter().filter(|pod| !pod.terminating).count() as u32;
    let mut readings = readings;
    state.largest(s(3600), current, status, pods, &mut readings).map(|proposal| proposal.replicas)
}

fn average(value: i64, target: i64, status: u32, ready_pods: u32) -> u32 {
    let mut pods = ready(status);
    pods.iter_mut().skip(ready_pods as usize).for_each(|pod| pod.ready = None);
    let readings = Fixed { external: vec![Ok(value)], ..Fixed::default() };
    proposed(external(Target::AverageValue(target)), status, &pods, readings).expect("a proposal")
}

fn plain(value: i64, target: i64, current: u32, ready_pods: u32) -> u32 {
    let mut pods = ready(current);
    pods.iter_mut().skip(ready_pods as usize).for_each(|pod| pod.ready = None);
    let readings = Fixed { external: vec![Ok(value)], ..Fixed::default() };
    proposed(external(Target::Value(target)), current, &pods, readings).expect("a proposal")
}

#[test]
fn an_average_divides_the_sum_by_the_target() {
    for (value, target, status, expected) in [
        (100_000, 10_000, 4, 10), // 100 / 10
        (101_000, 10_000, 4, 11), // 10.1, rounded up
        (44_000, 10_000, 4, 4),   // 44 / (10 * 4) = 1.1: just tolerated
        (44_001, 10_000, 4, 5),   // 1.100025: no longer; 4.4001, rounded up
        (36_000, 10_000, 4, 4),   // 0.9: just tolerated
        (35_999, 10_000, 4, 4),   // 0.899975 is not, but 3.5999 is rounded up to 4 again
        (30_000, 10_000, 4, 3),   // 0.75
        (0, 10_000, 4, 0),        // nothing to do: the fewest replicas are seen to later
    ] {
        assert_eq!(average(value, target, status, status), expected, "{value} over {target} on {status}");
    }
}

#[test]
fn pods_on_their_way_share_an_average_but_not_a_value() {
    // Two ready of six: 60 / (10 * 6) = 1, so that nothing is done although the two that serve have 30 each.
    assert_eq!(average(60_000, 10_000, 6, 2), 6);
    // A value multiplies the ready ones: 2 * 2 = 4, fewer than there are.
    assert_eq!(plain(2_000, 1_000, 6, 2), 4);
    assert_eq!(plain(2_000, 1_000, 6, 6), 12);
}

#[test]
fn a_value_multiplies_the_replicas() {
    for (value, current, expected) in [
        (1_100, 4, 4), // 1.1: just tolerated
        (1_101, 4, 5), // 4.404, rounded up
        (900, 4, 4),
        (899, 4, 4), // 3.596
        (500, 4, 2),
        (1_500, 3, 5), // 4.5
    ] {
        assert_eq!(plain(value, 1_000, current, current), expected, "{value} on {current}");
    }
}

#[test]
fn a_direction_may_have_its_own_tolerance() {
    let rules = |tolerance| Rules { stabilization: Duration::ZERO, select: Select::Max, policies: Vec::new(), tolerance };
    let behavior = Behavior { scale_up: rules(Some(500)), scale_down: rules(None) };
    let hpa = Hpa { behavior: Some(behavior), ..hpa(vec![external(Target::AverageValue(10_000))]) };
    let state = HpaState::new(&hpa, &Flags::default());
    let at = |value: i64| {
        let mut readings = Fixed { external: vec![Ok(value)], ..Fixed::default() };
        state.largest(s(3600), 4, 4, &ready(4), &mut readings).expect("a proposal").replicas
    };
    // Up to 1.5 is tolerated, down to the flag's 0.9.
    assert_eq!((at(60_000), at(60_001), at(36_000), at(29_999)), (4, 7, 4, 3));
}

fn per_pod(target: i64) -> Metric {
    Metric { name: "p".to_owned(), source: MetricSource::Pods { query: String::new() }, target: Target::AverageValue(target) }
}

fn of_pods(current: u32, pods: &[Pod], samples: &[(u32, i64)]) -> Result<u32, String> {
    proposed(per_pod(10_000), current, pods, Fixed { pods: samples.to_vec(), ..Fixed::default() })
}

#[test]
fn pods_that_are_missing_or_not_running_damp_a_proposal() {
    let pods = ready(4);
    // (20 + 20 + 20 + 20) / 4 = 20 against 10: twice four.
    assert_eq!(of_pods(4, &pods, &[(0, 20_000), (1, 20_000), (2, 20_000), (3, 20_000)]), Ok(8));
    // One has no sample: up, it counts as 0. (20 * 3 + 0) / 4 = 15: 1.5 * 4 = 6.
    assert_eq!(of_pods(4, &pods, &[(0, 20_000), (1, 20_000), (2, 20_000)]), Ok(6));
    // Down, it counts as the target. (5 * 3 + 10) / 4 = 6.25: 0.625 * 4 = 2.5, so 3.
    assert_eq!(of_pods(4, &pods, &[(0, 5_000), (1, 5_000), (2, 5_000)]), Ok(3));
    // Two missing turn 12 into (12 * 2 + 0) / 4 = 6: up has become down, so nothing is done.
    assert_eq!(of_pods(4, &pods, &[(0, 12_000), (1, 12_000)]), Ok(4));
    // One is pending, as a container that has not started: up, it counts as 0, as above.
    let mut starting = ready(4);
    (starting[3].running, starting[3].ready) = (None, None);
    assert_eq!(of_pods(4, &starting, &[(0, 20_000), (1, 20_000), (2, 20_000)]), Ok(6));
    // Down, it is left out: 5 / 10 of the three that count is 1.5, so 2.
    assert_eq!(of_pods(4, &starting, &[(0, 5_000), (1, 5_000), (2, 5_000)]), Ok(2));
    // One that is being deleted does not count at all: 20 / 10 of three.
    let mut going = ready(4);
    going[3].terminating = true;
    assert_eq!(of_pods(3, &going, &[(0, 20_000), (1, 20_000), (2, 20_000), (3, 90_000)]), Ok(6));
    assert_eq!(of_pods(4, &pods, &[]), Err("p failed: no ready pod has a sample".to_owned()));
}

#[test]
fn cpu_of_a_pod_that_has_just_started_says_nothing() {
    let metric = Metric { name: "cpu".to_owned(), source: MetricSource::Cpu { request: 1_000 }, target: Target::Utilization(50) };
    let sample = |pod, millicores| CpuSample { pod, millicores, at: s(3590), window: span(15) };
    let of = |pods: &[Pod], cpu: Vec<CpuSample>| proposed(metric.clone(), 3, pods, Fixed { cpu, ..Fixed::default() });
    let all = |m: [i64; 3]| vec![sample(0, m[0]), sample(1, m[1]), sample(2, m[2])];
    // (800 + 800 + 800) / 3,000 = 80 % against 50: 1.6 * 3 = 4.8.
    assert_eq!(of(&ready(3), all([800, 800, 800])), Ok(5));
    // The third became ready at 3,580 s, less than a window before its sample: not ready. Up, it counts as 0: 1,600 / 3,000 = 53 %,
    // which is 1.06 of 50 and tolerated.
    let mut young = ready(3);
    (young[2].created, young[2].running, young[2].ready) = (s(3500), Some(s(3560)), Some(s(3580)));
    assert_eq!(of(&young, all([800, 800, 4_000])), Ok(3));
    // Six minutes old, it counts, whenever it became ready: 5,600 / 3,000 = 186 %: 3.72 * 3 = 11.16.
    young[2].created = s(3200);
    assert_eq!(of(&young, all([800, 800, 4_000])), Ok(12));
    // Without a sample and down, it counts as its whole request: (100 + 100 + 1,000) / 3,000 = 40 %: 0.8 * 3 = 2.4.
    assert_eq!(of(&ready(3), vec![sample(0, 100), sample(1, 100)]), Ok(3));
}

/// A sync of several external metrics of `AverageValue` 10 each.
fn of_several(values: Vec<Result<i64, String>>) -> Decision {
    let metrics = values.iter().map(|_| external(Target::AverageValue(10_000))).collect();
    let flags = Flags { downscale_stabilization: Duration::ZERO, ..Flags::default() };
    let mut state = HpaState::new(&hpa(metrics), &flags);
    let mut readings = Fixed { external: values, ..Fixed::default() };
    state.sync(s(3600), 4, 4, &ready(4), &mut readings);
    // The number at the first sync counts as proposed then: a second one is free of it.
    state.sync(s(3660), 4, 4, &ready(4), &mut readings)
}

#[test]
fn the_largest_of_several_metrics_wins_and_a_failing_one_blocks_the_way_down() {
    let failed = || Err("no data".to_owned());
    for (values, expected) in [
        (vec![Ok(20_000), Ok(70_000)], 7),
        (vec![Ok(20_000), Ok(10_000)], 2),
        (vec![Ok(70_000), failed()], 7),
        (vec![failed(), Ok(20_000)], 4),
        (vec![failed(), failed()], 4),
    ] {
        let decision = of_several(values.clone());
        assert_eq!(decision.desired, expected, "{values:?}: {}", decision.why);
    }
    assert!(of_several(vec![failed(), Ok(20_000)]).why.ends_with("no data, so no scaling down"));
}

/// Syncs with `values` (`AverageValue` 10 per replica) at the given seconds; the replicas after each.
fn series(hpa: &Hpa, start: u32, values: &[(u64, i64)]) -> Vec<u32> {
    let mut state = HpaState::new(hpa, &Flags::default());
    let mut current = start;
    let step = |&(at, value): &(u64, i64)| {
        let mut readings = Fixed { external: vec![Ok(value * 1_000)], ..Fixed::default() };
        current = state.sync(s(at), current, current, &ready(current), &mut readings).desired;
        current
    };
    values.iter().map(step).collect()
}

fn by_ten(behavior: Option<Behavior>) -> Hpa {
    Hpa { behavior, ..hpa(vec![external(Target::AverageValue(10_000))]) }
}

#[test]
fn bounds_come_before_metrics_and_zero_is_off() {
    let hpa = Hpa { min_replicas: 2, max_replicas: 5, ..by_ten(None) };
    assert_eq!(series(&hpa, 0, &[(15, 500)]), [0]);
    assert_eq!(series(&hpa, 9, &[(15, 500)]), [5]);
    assert_eq!(series(&hpa, 1, &[(15, 500)]), [2]);
    assert_eq!(series(&hpa, 4, &[(15, 500)]), [5]);
    assert_eq!(series(&hpa, 3, &[(15, 0), (400, 0)]), [3, 2], "not below the fewest");
}

#[test]
fn without_behavior_it_doubles_at_most_and_waits_five_minutes_to_go_down() {
    // max(2 n, 4) at each sync: from 1, 2 and 3 at most 4, 4 and 6.
    for (start, expected) in [(1, 4), (2, 4), (3, 6), (5, 10)] {
        assert_eq!(series(&by_ten(None), start, &[(15, 1_000)]), [expected], "from {start}");
    }
    assert_eq!(series(&by_ten(None), 1, &[(15, 1_000), (30, 1_000), (45, 1_000)]), [4, 8, 16]);
    // At 300 s after the first sync its number still counts, both ends being within the window; a millisecond later it does not.
    assert_eq!(series(&by_ten(None), 8, &[(0, 20), (300, 20), (301, 20)]), [8, 8, 2]);
    // A peak of 6 at 100 s holds until 400 s.
    assert_eq!(series(&by_ten(None), 2, &[(0, 20), (100, 60), (250, 20), (400, 20), (401, 20)]), [2, 4, 6, 6, 2]);
}

fn rules(stabilization: u64, select: Select, policies: &[(bool, u32, u64)]) -> Rules {
    let policy = |&(percent, value, period): &(bool, u32, u64)| Policy { percent, value, period: span(period) };
    Rules { stabilization: span(stabilization), select, policies: policies.iter().map(policy).collect(), tolerance: None }
}

/// The API's defaults: up 100 % or 4 pods, down 100 %, each per 15 s.
fn defaults() -> Behavior {
    Behavior {
        scale_up: rules(0, Select::Max, &[(false, 4, 15), (true, 100, 15)]),
        scale_down: rules(300, Select::Max, &[(true, 100, 15)]),
    }
}

#[test]
fn the_defaults_of_behavior_add_four_or_double() {
    for (start, expected) in [(1, 5), (2, 6), (3, 7), (5, 10)] {
        assert_eq!(series(&by_ten(Some(defaults())), start, &[(15, 1_000)]), [expected], "from {start}");
    }
    // The change at 15 s is within the 15 s before 29 s: from 1, no more than 5. At 30 s it is not.
    assert_eq!(series(&by_ten(Some(defaults())), 1, &[(15, 1_000), (29, 1_000), (30, 1_000)]), [5, 5, 10]);
    // Here the window's beginning is left out: at 300 s the first proposal no longer counts.
    assert_eq!(series(&by_ten(Some(defaults())), 8, &[(0, 20), (299, 20), (300, 20)]), [8, 8, 2]);
}

#[test]
fn policies_limit_by_pods_and_percent_over_their_periods() {
    let down =
        |select, policies: &[(bool, u32, u64)]| by_ten(Some(Behavior { scale_down: rules(0, select, policies), ..defaults() }));
    // 10 % of 20 is 2, so that 18 are left; 2 pods as well: the larger change of 3 pods wins, or the smaller.
    assert_eq!(series(&down(Select::Max, &[(true, 10, 60), (false, 3, 60)]), 20, &[(15, 10)]), [17]);
    assert_eq!(series(&down(Select::Min, &[(true, 10, 60), (false, 3, 60)]), 20, &[(15, 10)]), [18]);
    assert_eq!(series(&down(Select::Disabled, &[(true, 10, 60)]), 20, &[(15, 10)]), [20]);
    // 15 * 0.9 = 13.5 is cut to 13.
    assert_eq!(series(&down(Select::Max, &[(true, 10, 60)]), 15, &[(15, 10)]), [13]);
    // One pod a minute: the second goes when the first change is a minute old.
    assert_eq!(series(&down(Select::Max, &[(false, 1, 60)]), 5, &[(0, 10), (30, 10), (59, 10), (60, 10)]), [4, 4, 4, 3]);
    let up = |select, policies: &[(bool, u32, u64)]| by_ten(Some(Behavior { scale_up: rules(0, select, policies), ..defaults() }));
    // 3 * 1.5 = 4.5 is rounded up to 5.
    assert_eq!(series(&up(Select::Max, &[(true, 50, 60)]), 3, &[(15, 1_000)]), [5]);
    assert_eq!(series(&up(Select::Min, &[(true, 50, 60), (false, 1, 60)]), 3, &[(15, 1_000)]), [4]);
    assert_eq!(series(&up(Select::Disabled, &[(true, 50, 60)]), 3, &[(15, 1_000)]), [3]);
    // Up waits for a minute too, if told so: the lowest proposal of the window counts, the first number included.
    let patient = by_ten(Some(Behavior { scale_up: rules(60, Select::Max, &[(false, 100, 15)]), ..defaults() }));
    assert_eq!(series(&patient, 2, &[(0, 20), (15, 90), (59, 80), (60, 80), (75, 80)]), [2, 2, 2, 8, 8]);
}

/// An obvious version that forgets nothing: every proposal and change of the whole run is looked at anew each time.
struct Oracle {
    hpa: Hpa,
    proposals: Vec<(u64, i64)>,
    changes: Vec<(u64, i64)>,
}

impl Oracle {
    fn decide(&mut self, now: u64, current: i64, wanted: i64) -> i64 {
        if self.proposals.is_empty() {
            self.proposals.push((now, current));
        }
        let seconds = |d: Duration| d.0 / s(1).0;
        let result = match &self.hpa.behavior {
            None => {
                let recent = self.proposals.iter().filter(|(at, _)| now - at <= 300).map(|p| p.1);
                recent.chain([wanted]).max().expect("at least one").min((2 * current).max(4))
            }
            Some(behavior) => {
                let within =
                    |window: Duration| self.proposals.iter().filter(move |(at, _)| now - at < seconds(window)).map(|p| p.1);
                let up = within(behavior.scale_up.stabilization).chain([wanted]).min().expect("at least one");
                let down = within(behavior.scale_down.stabilization).chain([wanted]).max().expect("at least one");
                let stable = if current < up {
                    up
                } else if current > down {
                    down
                } else {
                    current
                };
                let rules = if stable > current { &behavior.scale_up } else { &behavior.scale_down };
                let sign = if stable > current { 1 } else { -1 };
                let limit = |policy: &Policy| {
                    let changed: i64 = self.changes.iter().filter(|(at, _)| now - at < seconds(policy.period)).map(|c| c.1).sum();
                    let start = current - changed;
                    let share = i64::from(policy.value) * start;
                    match (policy.percent, sign) {
                        (true, 1) => start + (share + 99) / 100,
                        (true, _) => start - (share + 99) / 100,
                        (false, sign) => start + sign * i64::from(policy.value),
                    }
                };
                let reach = rules.policies.iter().map(|policy| sign * (limit(policy) - current));
                let most = if rules.select == Select::Min { reach.min() } else { reach.max() };
                let most = if rules.select == Select::Disabled { 0 } else { most.unwrap_or(0).max(0) };
                current + sign * (sign * (stable - current)).min(most)
            }
        };
        self.proposals.push((now, wanted));
        let result = result.clamp(i64::from(self.hpa.min_replicas), i64::from(self.hpa.max_replicas));
        if result != current {
            self.changes.push((now, result - current));
        }
        result
    }
}

#[test]
fn random_sequences_are_those_of_an_oracle_that_forgets_nothing() {
    let mut state = 1u64;
    let mut draw = |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    for case in 0..400 {
        let mut direction = |window: u64| {
            let select = [Select::Max, Select::Max, Select::Min, Select::Disabled][draw(4) as usize];
            let policies: Vec<_> = (0..1 + draw(3)).map(|_| (draw(2) == 0, 1 + draw(60) as u32, 15 * (1 + draw(8)))).collect();
            rules(window * draw(5), select, &policies)
        };
        let behavior = Behavior { scale_up: direction(15), scale_down: direction(60) };
        let hpa = Hpa { max_replicas: 40, ..by_ten((case % 4 > 0).then_some(behavior)) };
        let mut oracle = Oracle { hpa: hpa.clone(), proposals: Vec::new(), changes: Vec::new() };
        let mut fast = HpaState::new(&hpa, &Flags::default());
        let (mut current, mut now) = (1 + draw(10) as u32, 0);
        for _ in 0..60 {
            now += 15 * (1 + draw(3));
            // Outside of the tolerance, so that the proposal is the sum over ten.
            let wanted = 1 + draw(45) as u32;
            let ratio = f64::from(wanted) / f64::from(current);
            let wanted = if (0.9..=1.1).contains(&ratio) { current } else { wanted };
            let mut readings = Fixed { external: vec![Ok(i64::from(wanted) * 10_000)], ..Fixed::default() };
            let decision = fast.sync(s(now), current, current, &ready(current), &mut readings);
            let expected = oracle.decide(now, i64::from(current), i64::from(wanted));
            assert_eq!(i64::from(decision.desired), expected, "case {case} at {now} s from {current}: {}", decision.why);
            current = decision.desired;
        }
    }
}

#[test]
fn at_the_target_nothing_is_done_whatever_is_missing() {
    // Up takes a missing pod to be idle, down to be at the target; 10 over 10 is neither, so that two of four decide: they are
    // fine.
    assert_eq!(of_pods(4, &ready(4), &[(0, 10_000), (1, 10_000)]), Ok(4));
    let metric = Metric { name: "cpu".to_owned(), source: MetricSource::Cpu { request: 1_000 }, target: Target::Utilization(50) };
    let cpu = [0, 1].map(|pod| CpuSample { pod, millicores: 500, at: s(3590), window: span(15) }).to_vec();
    assert_eq!(proposed(metric, 4, &ready(4), Fixed { cpu, ..Fixed::default() }), Ok(4));
}

#[test]
fn cpu_of_a_pod_that_loads_is_left_out_on_the_way_down() {
    let metric = Metric { name: "cpu".to_owned(), source: MetricSource::Cpu { request: 1_000 }, target: Target::Utilization(50) };
    let mut pods = ready(4);
    (pods[3].created, pods[3].running, pods[3].ready) = (s(3500), Some(s(3550)), None);
    let of = |millicores| {
        let sample = |pod| CpuSample { pod, millicores, at: s(3590), window: span(15) };
        proposed(metric.clone(), 4, &pods, Fixed { cpu: (0..3).map(sample).collect(), ..Fixed::default() })
    };
    // 300 / 3,000 = 10 % against 50: 0.2 * 3 = 0.6. As a missing pod it would count as its whole request, and 3 would be left.
    assert_eq!(of(100), Ok(1));
    // Up it counts as 0: 2,400 / 4,000 = 60 %: 1.2 * 4 = 4.8.
    assert_eq!(of(800), Ok(5));
}

#[test]
fn a_value_multiplies_pods_that_drain_as_long_as_they_are_ready() {
    let mut pods = ready(6);
    pods.iter_mut().skip(4).for_each(|pod| pod.terminating = true);
    let readings = || Fixed { external: vec![Ok(2_000)], ..Fixed::default() };
    // The controller counts what is ready, not what stays: 2 * 6. An average has the four that stay: 2 over 1 * 4 is 0.5, so 2.
    assert_eq!(proposed(external(Target::Value(1_000)), 4, &pods, readings()), Ok(12));
    assert_eq!(proposed(external(Target::AverageValue(1_000)), 4, &pods, readings()), Ok(2));
}

#[test]
fn percentages_are_doubles_as_in_the_controller() {
    let up = Behavior { scale_up: rules(0, Select::Max, &[(true, 10, 60)]), ..defaults() };
    // 100 * 1.1 is 110.00000000000001 in doubles, rounded up to 111.
    assert_eq!(series(&Hpa { max_replicas: 500, ..by_ten(Some(up)) }, 100, &[(15, 9_000)]), [111]);
    let down = Behavior { scale_down: rules(0, Select::Max, &[(true, 90, 60)]), ..defaults() };
    // 20 * (1 - 0.9) is 1.9999999999999996, cut to 1.
    assert_eq!(series(&by_ten(Some(down)), 20, &[(15, 10)]), [1]);
}

#[test]
fn what_another_has_taken_away_does_not_come_back_within_a_period() {
    let hpa = by_ten(Some(Behavior { scale_up: rules(0, Select::Max, &[(false, 4, 600)]), ..defaults() }));
    let mut state = HpaState::new(&hpa, &Flags::default());
    let mut sync = |at, current| {
        let mut readings = Fixed { external: vec![Ok(900_000)], ..Fixed::default() };
        state.sync(s(at), current, current, &ready(current), &mut readings).desired
    };
    assert_eq!(sync(15, 1), 5);
    // KEDA took them to zero and back to one. The 4 of this period are used up: 1 - 4 + 4 = 1, until the change at 15 s is 600 s
    // old.
    assert_eq!((sync(345, 1), sync(614, 1), sync(615, 1)), (1, 1, 5));
}

#[test]
fn the_number_at_the_first_sync_counts_as_proposed_even_if_it_is_zero() {
    let hpa = by_ten(Some(Behavior { scale_up: rules(60, Select::Max, &[(false, 100, 15)]), ..defaults() }));
    let mut state = HpaState::new(&hpa, &Flags::default());
    let mut sync = |at, current| {
        let mut readings = Fixed { external: vec![Ok(50_000)], ..Fixed::default() };
        state.sync(s(at), current, current, &ready(current), &mut readings).desired
    };
    assert_eq!(sync(15, 0), 0);
    // The zero of 15 s holds it at one through 74 s; that it was one at 30 s has never been proposed.
    assert_eq!((sync(30, 1), sync(74, 1), sync(75, 1)), (1, 1, 5));
}

#[test]
fn a_value_fails_without_pods_and_is_zero_without_ready_ones() {
    let readings = |value| Fixed { external: vec![Ok(value)], ..Fixed::default() };
    let of = |value, pods: &[Pod]| proposed(external(Target::Value(1_000)), 3, pods, readings(value));
    assert_eq!(of(2_000, &[]), Err("m failed: there is no pod".to_owned()));
    // At the target nobody counts pods.
    assert_eq!(of(1_000, &[]), Ok(3));
    let mut loading = ready(3);
    loading.iter_mut().for_each(|pod| pod.ready = None);
    // 2 * 0
    assert_eq!(of(2_000, &loading), Ok(0));
}
