//! Several runs as one report: means and confidence intervals over replications.

use std::collections::BTreeMap;

use super::figures::{Figure, visit_figures};
use super::student::quantile as student_t;
use crate::engine::Finish;
use crate::report::{Group, Quantiles, Report};

/// Confidence of the intervals of a report.
const CONFIDENCE: f64 = 0.95;

/// States from the best to the worst.
const STATES: [&str; 5] = ["idle", "stable", "near the knee", "saturated by design", "overloaded"];

/// One report whose figures are means over `reports` (one per seed), with the half-widths of 95 % intervals. The timeline and
/// the distributions are those of the first. A group of requests that only some replications have counts 0 in the others; its
/// latencies are means over those that have it. A figure that some replication does not have keeps no interval.
///
/// # Panics
/// If there is no report.
pub fn average(mut reports: Vec<Report>) -> Report {
    let n = reports.len();
    let mut notes = partial_groups(&reports);
    notes.extend(state(&reports).1);
    align(&mut reports);
    let mut samples: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for report in &mut reports {
        visit_figures(report, &mut |path, figure| {
            let value = match figure {
                Figure::Value(v) => Some(*v),
                Figure::Maybe(v) => *v,
                Figure::Count(v) => Some(*v as f64),
            };
            samples.entry(path).or_default().extend(value);
        });
    }
    let (state, _) = state(&reports);
    let mut merged = reports.swap_remove(0);
    put_means(&mut merged, &samples);
    merged.summary.capacity.state = state;
    for other in reports.iter().flat_map(|r| &r.model.out_of_range) {
        let what = |text: &str| text.split(':').next().unwrap_or_default().to_owned();
        if merged.model.out_of_range.iter().all(|mine| what(mine) != what(other)) {
            merged.model.out_of_range.push(other.clone());
        }
    }
    if n > 1 {
        let full = samples.iter().filter(|(_, values)| values.len() == n);
        merged.ci95 = Some(full.map(|(path, values)| (path.clone(), half_width(values))).collect());
        let seed = merged.fingerprint.seeds.first().copied().unwrap_or_default();
        merged
            .notes
            .push(format!("the levels over time are those of the first seed, {seed}; all other figures are means of {n} runs"));
        merged.notes.extend(notes);
    }
    merged
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Half-width of the two-sided 95 % interval of the mean of at least two values.
fn half_width(values: &[f64]) -> f64 {
    let (n, m) = (values.len(), mean(values));
    let variance = values.iter().map(|v| (v - m).powi(2)).sum::<f64>() / (n - 1) as f64;
    student_t(CONFIDENCE, n as u32 - 1) * (variance / n as f64).sqrt()
}

/// Puts the mean of each figure in its place. What is a sum of other figures is summed again after they were rounded.
fn put_means(merged: &mut Report, samples: &BTreeMap<String, Vec<f64>>) {
    visit_figures(merged, &mut |path, figure| {
        let Some(values) = samples.get(&path).filter(|values| !values.is_empty()) else { return };
        match figure {
            Figure::Value(v) => *v = mean(values),
            Figure::Maybe(v) => *v = Some(mean(values)),
            Figure::Count(v) => *v = mean(values).round() as u64,
        }
    });
    let requests = &mut merged.summary.requests;
    let count = |finish: &Finish| requests.by_finish.get(finish.name()).copied().unwrap_or(0);
    let completed = Finish::ALL.iter().filter(|f| f.completed()).map(count).sum();
    (requests.total, requests.completed) = (Finish::ALL.iter().map(count).sum(), completed);
    let slo = &mut merged.summary.slo;
    slo.targets.iter_mut().for_each(|target| target.met = target.attainment >= target.quantile);
    slo.met = slo.met.map(|_| slo.targets.iter().all(|t| t.met));
}

/// How bad a state of [`crate::report::Capacity::state`] is, from 0.
pub fn severity(state: &str) -> usize {
    STATES.iter().position(|known| *known == state).unwrap_or(0)
}

/// The middle state of the runs, the worse of two, and a note if they differ.
fn state(reports: &[Report]) -> (String, Option<String>) {
    let mut states: Vec<&str> = reports.iter().map(|r| r.summary.capacity.state.as_str()).collect();
    states.sort_by_key(|state| severity(state));
    let middle = states[states.len() / 2].to_owned();
    let runs: Vec<String> = states.chunk_by(|a, b| a == b).map(|same| format!("{} {}", same.len(), same[0])).collect();
    let note = (runs.len() > 1).then(|| format!("the state is that of the middle run: {}", runs.join(", ")));
    (middle, note)
}

/// Gives all reports the same groups and the same sources of tokens: of none where there were none.
fn align(reports: &mut [Report]) {
    type Groups = fn(&mut Report) -> &mut Vec<Group>;
    let kinds: [Groups; 3] = [|r| &mut r.classes, |r| &mut r.buckets, |r| &mut r.output_buckets];
    for groups in kinds {
        let union = union(reports.iter_mut().map(|r| groups(r).as_slice()));
        for report in &mut *reports {
            let mut mine: BTreeMap<String, Group> = groups(report).drain(..).map(|g| (g.name.clone(), g)).collect();
            *groups(report) = union.iter().map(|empty| mine.remove(&empty.name).unwrap_or_else(|| empty.clone())).collect();
        }
        for i in 0..union.len() {
            same_keys(reports, |r| &mut groups(r)[i].input_tokens_by_source);
        }
    }
    same_keys(reports, |r| &mut r.summary.input_tokens_by_source);
    same_keys(reports, |r| &mut r.summary.requests.by_finish);
}

/// Each group of any of the lists once, empty, ascending if they are buckets.
fn union<'a>(lists: impl Iterator<Item = &'a [Group]>) -> Vec<Group> {
    let mut all: Vec<Group> = Vec::new();
    for group in lists.flatten() {
        if all.iter().all(|g| g.name != group.name) {
            let itl_ms = group.itl_ms.map(|_| Quantiles::default());
            all.push(Group { name: group.name.clone(), itl_ms, ..Group::default() });
        }
    }
    // Classes are the same, in the same order, in all replications: only buckets may have to be put in between.
    let lower = |g: &Group| g.name.split(['-', '+']).next().and_then(|bound| bound.parse::<u64>().ok());
    if all.iter().all(|g| lower(g).is_some()) {
        all.sort_by_key(lower);
    }
    all
}

fn same_keys(reports: &mut [Report], counts: impl Fn(&mut Report) -> &mut BTreeMap<String, u64>) {
    let keys: Vec<String> = reports.iter_mut().flat_map(|r| counts(r).keys().cloned().collect::<Vec<_>>()).collect();
    for report in reports {
        for key in &keys {
            counts(report).entry(key.clone()).or_default();
        }
    }
}

/// A note for each bucket that only some runs have.
fn partial_groups(reports: &[Report]) -> Vec<String> {
    type Groups = fn(&Report) -> &Vec<Group>;
    let kinds: [(&str, Groups); 2] = [("input", |r| &r.buckets), ("output", |r| &r.output_buckets)];
    let mut notes = Vec::new();
    for (what, groups) in kinds {
        for group in union(reports.iter().map(|r| groups(r).as_slice())) {
            let have = reports.iter().filter(|r| groups(r).iter().any(|g| g.name == group.name)).count();
            if have < reports.len() {
                notes.push(format!(
                    "requests of {} {what} tokens occur in {have} of {} runs: their latencies are means of those",
                    group.name,
                    reports.len()
                ));
            }
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::run::{RunOptions, simulate};

    /// Few requests, some of which time out, few of which are long: seeds differ in their buckets.
    const SCENARIO: &str = r#"
duration = "60s"
model = { name = "llama-3.1-8b" }
gpu = { name = "h100-sxm" }
cluster = { replicas = 2 }
buckets = { input = [150, 4000] }
[[class]]
name = "a"
arrivals = { rate = 1.0 }
timeout = "900ms"
prompt = { system = 100, user = { pmf = [[10, 96], [900, 2], [9000, 2]] } }
output = { tokens = { median = 50, p95 = 300 } }
"#;

    fn report(seed: u64, replications: u32) -> Report {
        let set = [("seed".to_owned(), seed.to_string())];
        let loaded = crate::scenario::parse(SCENARIO, "test.toml", Path::new("."), &set).unwrap_or_else(|e| panic!("{e}"));
        let options = RunOptions { replications, threads: Some(1) };
        simulate(&loaded.scenario, None, options, &|_| {}, None).expect("a run")
    }

    /// The first seed from which the runs of four seeds differ in their buckets.
    fn uneven() -> (u64, Vec<Report>) {
        let runs = |seed: u64| (seed..seed + 4).map(|s| report(s, 1)).collect::<Vec<_>>();
        let uneven = |runs: &[Report]| runs.iter().any(|r| r.buckets.len() != runs[0].buckets.len());
        (1..20).map(|seed| (seed, runs(seed))).find(|(_, runs)| uneven(runs)).expect("one of 20")
    }

    #[test]
    fn counts_are_rounded_means_that_add_up() {
        let (seed, single) = uneven();
        let merged = report(seed, 4);
        let rounded = |of: &dyn Fn(&Report) -> u64| (single.iter().map(of).sum::<u64>() as f64 / 4.0).round() as u64;
        let requests = &merged.summary.requests;
        for finish in Finish::ALL {
            assert_eq!(requests.by_finish[finish.name()], rounded(&|r| r.summary.requests.by_finish[finish.name()]), "{finish:?}");
        }
        assert!(requests.by_finish["timed_out"] > 0);
        assert_eq!(requests.total, requests.by_finish.values().sum::<u64>());
        assert_eq!(requests.completed, requests.total - requests.by_finish["timed_out"]);
        let user = |r: &Report| r.summary.input_tokens_by_source["user"];
        assert_eq!(merged.summary.input_tokens_by_source["user"], rounded(&user));
        assert_eq!(merged.classes[0].input_tokens_by_source["user"], rounded(&user));
        assert_ne!(rounded(&user), user(&single[0]), "not that of the first seed");
        for i in 0..2 {
            assert_eq!(merged.replicas[i].requests, rounded(&|r| r.replicas[i].requests));
            let load = single.iter().map(|r| r.replicas[i].load).sum::<f64>() / 4.0;
            assert!((merged.replicas[i].load - load).abs() < 1e-12);
        }
    }

    #[test]
    fn a_bucket_of_some_runs_is_kept_and_told() {
        let (seed, single) = uneven();
        let merged = report(seed, 4);
        let longest = single.iter().map(|r| r.buckets.len()).max();
        assert!(Some(merged.buckets.len()) >= longest);
        let names: Vec<&str> = merged.buckets.iter().map(|b| b.name.as_str()).collect();
        assert_eq!(names, ["0-150", "151-4000", "4001+"].into_iter().filter(|n| names.contains(n)).collect::<Vec<_>>());
        for bucket in &merged.buckets {
            let of = |r: &Report| r.buckets.iter().find(|b| b.name == bucket.name).cloned();
            let found: Vec<Group> = single.iter().filter_map(of).collect();
            assert_eq!(bucket.requests, (found.iter().map(|b| b.requests).sum::<u64>() as f64 / 4.0).round() as u64);
            let ttft: Vec<f64> = found.iter().filter_map(|b| b.ttft_ms.mean).collect();
            assert!((bucket.ttft_ms.mean.expect("a mean") - mean(&ttft)).abs() < 1e-9);
            let told = merged.notes.iter().any(|n| n.starts_with(&format!("requests of {} input tokens occur", bucket.name)));
            assert_eq!(told, found.len() < 4, "{}", bucket.name);
        }
        assert!(merged.notes.iter().any(|n| n.contains(&format!("those of the first seed, {seed};"))));
    }

    #[test]
    fn the_state_is_that_of_the_middle_run() {
        let mut reports: Vec<Report> = (1..=3).map(|seed| report(seed, 1)).collect();
        for (report, state) in reports.iter_mut().zip(["stable", "overloaded", "near the knee"]) {
            report.summary.capacity.state = state.to_owned();
        }
        let merged = average(reports);
        assert_eq!(merged.summary.capacity.state, "near the knee");
        assert!(merged.notes.iter().any(|n| n.ends_with("1 stable, 1 near the knee, 1 overloaded")), "{:?}", merged.notes);
    }
}
