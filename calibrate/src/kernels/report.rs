//! What is told of one or several ranks' traces.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::annotation::{Composition, Marker};
use super::class::Class;
use super::rules::{Rules, pattern_of};
use super::steps::{Step, Steps};
use super::{reader, waiting};
use crate::CalibrateError;

/// Version of the JSON output.
pub const KERNELS_SCHEMA: u32 = 1;

/// What no profile can tell.
pub const CAUTION: &str =
    "the profiler slows the host down: gaps are upper bounds, and no latency may be taken from a profiled run";

/// Traces of one run, a rank each.
#[derive(Clone, Debug, Serialize)]
pub struct KernelReport {
    /// [`KERNELS_SCHEMA`].
    pub schema_version: u32,
    /// [`CAUTION`].
    pub caution: &'static str,
    /// One per file, by rank.
    pub ranks: Vec<RankReport>,
    /// What could not be told of all of them together.
    pub notes: Vec<String>,
}

/// One trace.
#[derive(Clone, Debug, Serialize)]
pub struct RankReport {
    /// The file.
    pub file: PathBuf,
    /// The rank, as the trace or its file's name says, else the place of the file.
    pub rank: u32,
    /// Name of the GPU, if the trace says it.
    pub gpu: Option<String>,
    /// `gpu`: times are of kernels; `cpu`: of operators.
    pub device: &'static str,
    /// Who marked the steps.
    pub marker: Marker,
    /// Events of the file.
    pub events: u64,
    /// Number of steps.
    pub steps: usize,
    /// By class, the longest first; classes without a call are left out.
    pub classes: Vec<ClassRow>,
    /// By what steps computed.
    pub compositions: Vec<CompositionRow>,
    /// Of all, the time in no step [us].
    pub outside_us: f64,
    /// Names that no rule knows, the longest first.
    pub unclassified: Vec<Unclassified>,
    /// What is odd.
    pub warnings: Vec<String>,
    /// The steps themselves.
    #[serde(skip)]
    pub detail: Steps,
}

/// A class's part of a trace.
#[derive(Clone, Debug, Serialize)]
pub struct ClassRow {
    /// The class.
    pub class: Class,
    /// Sum of the durations [us].
    pub time_us: f64,
    /// Of the sum over all classes.
    pub share: f64,
    /// Kernels, copies or operators.
    pub calls: u64,
}

/// Medians over the steps that computed the same [us].
#[derive(Clone, Debug, Serialize)]
pub struct CompositionRow {
    /// What they computed; none where it is not known.
    pub composition: Option<Composition>,
    /// How many there are.
    pub steps: usize,
    /// At least one kernel runs.
    pub busy_us: f64,
    /// None runs between the first and the last.
    pub launch_gap_us: f64,
    /// None runs until the next step.
    pub gap_us: Option<f64>,
    /// From one step to the next.
    pub wall_us: Option<f64>,
    /// Waiting for other ranks.
    pub waiting_us: Option<f64>,
}

/// A name that no rule knows.
#[derive(Clone, Debug, Serialize)]
pub struct Unclassified {
    /// The name.
    pub name: String,
    /// Sum of the durations [us].
    pub time_us: f64,
    /// How many.
    pub calls: u64,
    /// A pattern for a rule that gives it a class.
    pub pattern: String,
}

/// Reads traces of one run, a file per rank, and tells their steps apart.
///
/// # Errors
///
/// [`CalibrateError`] if a file cannot be read, is no trace, or its times cannot be used.
pub fn analyse(files: &[PathBuf], rules: &Rules) -> Result<KernelReport, CalibrateError> {
    let ranks = files.iter().enumerate().map(|(place, file)| rank(file, place, rules));
    Ok(together(ranks.collect::<Result<_, _>>()?, Vec::new()))
}

/// The same of files that a server has just written, of which some may be of processes that run no step, such as its front end:
/// they are left out, with a note.
///
/// # Errors
///
/// The first file's if none of them has steps.
pub fn analyse_found(files: &[PathBuf], rules: &Rules) -> Result<KernelReport, CalibrateError> {
    let (mut ranks, mut notes, mut first) = (Vec::new(), Vec::new(), None);
    for file in files {
        match rank(file, ranks.len(), rules) {
            Ok(rank) if rank.steps > 0 || files.len() == 1 => ranks.push(rank),
            Ok(_) => notes.push(format!("{}: no step is in it, it is left out", file.display())),
            Err(error) => {
                notes.push(format!("{error}: it is left out"));
                first = first.or(Some(error));
            }
        }
    }
    match first {
        Some(error) if ranks.is_empty() => Err(error),
        _ => Ok(together(ranks, notes)),
    }
}

/// One report of all ranks.
fn together(mut ranks: Vec<RankReport>, mut notes: Vec<String>) -> KernelReport {
    ranks.sort_by_key(|rank| rank.rank);
    if ranks.windows(2).any(|pair| pair[0].rank == pair[1].rank) {
        notes.push("several traces are of the same rank: they are numbered in order of the files".into());
        (0..).zip(&mut ranks).for_each(|(number, rank)| rank.rank = number);
    }
    notes.extend(waiting::tell(&mut ranks.iter_mut().map(|rank| &mut rank.detail).collect::<Vec<_>>()));
    for rank in &mut ranks {
        rank.compositions = compositions(&rank.detail.steps);
    }
    KernelReport { schema_version: KERNELS_SCHEMA, caution: CAUTION, ranks, notes }
}

fn rank(file: &Path, place: usize, rules: &Rules) -> Result<RankReport, CalibrateError> {
    let trace = reader::read(file)?;
    let (gpu, said, events) = (trace.gpu.clone(), trace.rank, trace.events);
    let truncated = trace.truncated.clone();
    let wrong = |message| CalibrateError::Value { path: file.display().to_string(), message };
    let detail = Steps::of(trace, rules).map_err(|reason| match &truncated {
        Some(at) => wrong(format!("ends too early ({at}), and what is there {reason}")),
        None => wrong(reason),
    })?;
    let mut warnings = warnings(&detail);
    if let Some(at) = truncated {
        warnings.insert(
            0,
            format!("the file ends too early ({at}): this is what it holds until there, the last step may lack kernels"),
        );
    }
    let all: u64 = detail.classes.iter().map(|total| total.time).sum();
    let row = |class: Class| {
        let total = detail.classes[class as usize];
        ClassRow { class, time_us: us(total.time), share: total.time as f64 / all.max(1) as f64, calls: total.calls }
    };
    let mut classes: Vec<ClassRow> = Class::ALL.into_iter().map(row).filter(|row| row.calls > 0).collect();
    classes.sort_by(|a, b| b.time_us.total_cmp(&a.time_us).then(a.class.cmp(&b.class)));
    let unknown = |(name, total): &(String, super::steps::Total)| Unclassified {
        name: name.clone(),
        time_us: us(total.time),
        calls: total.calls,
        pattern: pattern_of(name),
    };
    Ok(RankReport {
        file: file.to_owned(),
        rank: said.or_else(|| named_rank(file)).unwrap_or(place as u32),
        gpu,
        device: if detail.on_gpu { "gpu" } else { "cpu" },
        marker: detail.marker,
        events,
        steps: detail.steps.len(),
        classes,
        compositions: Vec::new(),
        outside_us: us(detail.outside.time),
        unclassified: detail.unclassified.iter().map(unknown).collect(),
        warnings,
        detail,
    })
}

/// What is odd about the steps, and what their marks cannot tell.
fn warnings(steps: &Steps) -> Vec<String> {
    let told = steps.steps.iter().all(|step| step.composition.is_some());
    let untold = match steps.marker {
        Marker::Vllm | Marker::Sglang if told => None,
        Marker::Vllm => Some("this release of vLLM names requests and no tokens: what some steps computed is not known"),
        Marker::Sglang => Some("SGLang does not say of some steps what they computed (mixed, speculative): it is not known"),
        Marker::ProfilerStep => Some("steps are the profiler's own (ProfilerStep): what they computed is not known"),
        Marker::Repetition => Some(
            "the server named no steps: they begin with a kernel that comes once in each; what they computed is not known, and a \
             step may begin a few kernels late",
        ),
        Marker::Nothing => Some("the server named no steps and no kernel comes once in each: only times by class are told"),
    };
    let mut all: Vec<String> = untold.into_iter().map(str::to_owned).collect();
    if steps.unlaunched > 0 {
        all.push(format!("{} kernels have no launch in the trace: they are placed by time", steps.unlaunched));
    }
    if steps.lost > 0 {
        all.push(format!("{} steps are named and none of their kernels is in the trace: they are left out", steps.lost));
    }
    all
}

/// `rank0`, `dp0_pp0_tp1` or `TP-1` in a file's name.
fn named_rank(file: &Path) -> Option<u32> {
    let name = file.file_name()?.to_string_lossy().to_ascii_lowercase();
    ["rank", "tp-", "tp"].iter().find_map(|key| {
        let rest = &name[name.find(key)? + key.len()..];
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    })
}

fn compositions(steps: &[Step]) -> Vec<CompositionRow> {
    let mut groups: BTreeMap<Option<Composition>, Vec<&Step>> = BTreeMap::new();
    steps.iter().for_each(|step| groups.entry(step.composition).or_default().push(step));
    let row = |(composition, steps): (Option<Composition>, Vec<&Step>)| CompositionRow {
        composition,
        steps: steps.len(),
        busy_us: median(steps.iter().map(|step| step.busy)).unwrap_or(0.0),
        launch_gap_us: median(steps.iter().map(|step| step.launch_gap)).unwrap_or(0.0),
        gap_us: median(steps.iter().filter_map(|step| step.gap)),
        wall_us: median(steps.iter().filter_map(|step| step.wall)),
        waiting_us: median(steps.iter().filter_map(|step| step.waiting)),
    };
    groups.into_iter().map(row).collect()
}

/// The median [us] of times [ns].
fn median(times: impl Iterator<Item = u64>) -> Option<f64> {
    let mut times: Vec<u64> = times.collect();
    times.sort_unstable();
    let middle = times.len() / 2;
    match times.len() {
        0 => None,
        n if n % 2 == 1 => Some(us(times[middle])),
        _ => Some((us(times[middle - 1]) + us(times[middle])) / 2.0),
    }
}

/// Microseconds of nanoseconds.
pub(super) fn us(ns: u64) -> f64 {
    ns as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_name_may_say_the_rank() {
        let rank = |name: &str| named_rank(Path::new(name));
        assert_eq!(rank("prof/rank3.1790857026.pt.trace.json.gz"), Some(3));
        assert_eq!(rank("dp0_pp0_tp12_dcp0_ep0_rank5.17.pt.trace.json.gz"), Some(5));
        assert_eq!((rank("1760-TP-2.trace.json.gz"), rank("a.json")), (Some(2), None));
    }

    #[test]
    fn medians_are_of_the_middle() {
        assert_eq!(median([3000, 1000, 2000].into_iter()), Some(2.0));
        assert_eq!((median([1000, 2000].into_iter()), median(std::iter::empty())), (Some(1.5), None));
    }
}
