//! What each step of a trace cost: time by class, and the gaps between kernels.
//!
//! A step's window reaches from its first kernel to that of the next step; the copy of its inputs ahead of it is the host's
//! preparation. In the window the GPU is busy (at least one kernel or copy runs, on any stream), idle between the step's first and
//! last kernel (*launch gap*), or idle after its last (*gap*: the host samples, schedules, prepares). The three add up to the
//! *wall* time. Times of a class are those of the step's own kernels, summed over streams, so that they can exceed the busy time.
//!
//! Of a trace without kernels the same is said of operators on the CPU, each with its own time only; a step begins and ends with
//! its span, and the launch gap is the time in the span that no operator covers: the interpreter's.

use super::annotation::{Composition, Contexts, Marker};
use super::class::{CLASSES, Class, PerClass};
use super::coverage::Coverage;
use super::marks::{Marks, Placed};
use super::nesting::own_times;
use super::rules::Rules;
use super::trace::{Kernel, Names, Trace};

/// One step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// Its beginning, on the trace's clock [ns].
    pub start: u64,
    /// What it computed, if the server says it.
    pub composition: Option<Composition>,
    /// Over what context, if the server says it.
    pub contexts: Option<Contexts>,
    /// From its beginning to that of the next step [ns]; none for the last step, and before an idle one.
    pub wall: Option<u64>,
    /// At least one kernel or copy runs [ns].
    pub busy: u64,
    /// No kernel runs between the step's first and last one [ns].
    pub launch_gap: u64,
    /// No kernel runs between the step's last one and the next step [ns].
    pub gap: Option<u64>,
    /// Sum of the durations by class [ns].
    pub classes: PerClass<u64>,
    /// Number of kernels and copies, or of operators.
    pub kernels: u32,
    /// Durations of the exchanges between ranks, in time order [ns].
    pub collectives: Vec<u64>,
    /// Of these, what other ranks needed to arrive [ns]; known with the traces of all ranks only.
    pub waiting: Option<u64>,
}

/// Time and number of calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// Sum of the durations [ns].
    pub time: u64,
    /// How many.
    pub calls: u64,
}

impl Total {
    fn add(&mut self, time: u64) {
        self.time += time;
        self.calls += 1;
    }
}

/// All that is known of one rank's steps.
#[derive(Clone, Debug)]
pub struct Steps {
    /// Who marked them.
    pub marker: Marker,
    /// Whether times are of a GPU's kernels; else of operators on a CPU.
    pub on_gpu: bool,
    /// The steps, in time order, without idle ones.
    pub steps: Vec<Step>,
    /// Of the whole trace, by class.
    pub classes: PerClass<Total>,
    /// Of what ran in no step.
    pub outside: Total,
    /// Kernels that had no launch in the trace, and were placed by time.
    pub unlaunched: u64,
    /// Steps of whose kernels the trace has none.
    pub lost: u64,
    /// Names that no rule knows, the longest first.
    pub unclassified: Vec<(String, Total)>,
}

/// A kernel or operator, placed.
struct Work {
    start: u64,
    end: u64,
    /// What counts for its class [ns].
    time: u64,
    name: u32,
    step: Option<u32>,
    /// Whether it covers time that nothing else does.
    covers: bool,
}

impl Steps {
    /// The steps of a trace. Consumes what it holds.
    ///
    /// # Errors
    ///
    /// What keeps the times from being usable: none at all, or in another unit.
    pub fn of(mut trace: Trace, rules: &Rules) -> Result<Steps, String> {
        let mut kernels = std::mem::take(&mut trace.kernels);
        kernels.sort_unstable_by_key(|kernel| (kernel.start, kernel.stream, kernel.name));
        check(&kernels, &trace)?;
        let on_gpu = !kernels.is_empty();
        let marks = Marks::of(&mut trace, &kernels);
        let mut unlaunched = 0;
        let work: Vec<Work> = if on_gpu {
            let place = |kernel: Kernel| {
                let (placed, launched) = marks.place(&kernel);
                unlaunched += u64::from(!launched);
                let Kernel { start, duration, name, .. } = kernel;
                Work { start, end: kernel.end(), time: duration, name, step: index(placed), covers: true }
            };
            kernels.into_iter().map(place).collect()
        } else {
            let mut own = own_times(std::mem::take(&mut trace.operators));
            own.sort_by_key(|own| own.operator.start);
            let place = |own: &super::nesting::Own| {
                let operator = own.operator;
                let (start, end) = (operator.start, operator.start + operator.duration);
                Work { start, end, time: own.time, name: operator.name, step: index(marks.at(start)), covers: own.outermost }
            };
            own.iter().map(place).collect()
        };
        let classes = Classes::of(&trace.names, rules);
        let (steps, lost) = measure(&work, &marks, &classes, &trace.names, on_gpu);
        let (totals, outside, unclassified) = totals(&work, &classes, &trace.names);
        Ok(Steps { marker: marks.marker, on_gpu, steps, classes: totals, outside, unlaunched, lost, unclassified })
    }
}

fn index(placed: Placed) -> Option<u32> {
    match placed {
        Placed::Step(step) => u32::try_from(step).ok(),
        Placed::Outside => None,
    }
}

/// Fewer kernels may all be odd.
const KERNELS_ENOUGH: usize = 50;

/// No step is made only of kernels this long [ns]; times in nanoseconds that are read as microseconds are.
const SHORTEST_MAX: u64 = 500_000;

/// Few kernels are this short [ns]: a GPU needs about a microsecond to start and end one.
const MEDIAN_MIN: u64 = 200;

/// Whether there are times, and they can be microseconds.
fn check(kernels: &[Kernel], trace: &Trace) -> Result<(), String> {
    if kernels.is_empty() {
        return match (trace.operators.is_empty(), trace.launches.len()) {
            (_, calls @ 1..) => Err(format!(
                "has {calls} launches and no kernel: the profiler could not record the GPU (CUPTI in use by another profiler, or \
                 forbidden by the driver's NVreg_RestrictProfilingToAdminUsers)"
            )),
            (true, 0) => Err(format!("has neither kernels nor operators among its {} events", trace.events)),
            (false, 0) => Ok(()),
        };
    }
    let mut durations: Vec<u64> = kernels.iter().map(|kernel| kernel.duration).collect();
    durations.sort_unstable();
    let (shortest, median) = (durations[0], durations[durations.len() / 2]);
    let us = |ns: u64| ns as f64 / 1000.0;
    match () {
        () if kernels.len() < KERNELS_ENOUGH => Ok(()),
        () if shortest >= SHORTEST_MAX => Err(format!(
            "the shortest of {} kernels lasts {} us: ts and dur are microseconds in a trace, these may be nanoseconds",
            kernels.len(),
            us(shortest)
        )),
        () if median < MEDIAN_MIN => Err(format!(
            "half of the {} kernels last {} us or less: ts and dur are microseconds in a trace, these may be milliseconds",
            kernels.len(),
            us(median)
        )),
        () => Ok(()),
    }
}

/// Class of each name.
struct Classes(Vec<Option<Class>>);

impl Classes {
    fn of(names: &Names, rules: &Rules) -> Classes {
        let known = |(id, name): (u32, &str)| rules.class(name).or(names.is_copy(id).then_some(Class::Copy));
        Classes(names.all().map(known).collect())
    }

    fn get(&self, name: u32) -> Class {
        self.0[name as usize].unwrap_or(Class::Other)
    }
}

fn measure(work: &[Work], marks: &Marks, classes: &Classes, names: &Names, on_gpu: bool) -> (Vec<Step>, u64) {
    let coverage = Coverage::of(work.iter().filter(|work| work.covers).map(|work| (work.start, work.end)));
    // First beginning and last end of each step, without copies.
    let mut reach: Vec<Option<(u64, u64)>> = vec![None; marks.steps.len()];
    let mut steps: Vec<Step> = marks
        .steps
        .iter()
        .map(|marked| Step { composition: marked.mark.composition, contexts: marked.mark.contexts, ..Step::default() })
        .collect();
    for work in work {
        let Some(at) = work.step.map(|step| step as usize) else { continue };
        let class = classes.get(work.name);
        let step = &mut steps[at];
        step.kernels += 1;
        step.classes[class as usize] += work.time;
        if class == Class::Collective {
            step.collectives.push(work.time);
        }
        if !names.is_copy(work.name) {
            let (first, last) = reach[at].unwrap_or((work.start, work.end));
            reach[at] = Some((first.min(work.start), last.max(work.end)));
        }
    }
    if !on_gpu {
        reach =
            marks.steps.iter().zip(&steps).map(|(marked, step)| (step.kernels > 0).then_some((marked.start, marked.end))).collect();
    }
    let mut latest = 0;
    for (first, _) in reach.iter_mut().flatten() {
        latest = latest.max(*first);
        *first = latest;
    }
    let mut kept = Vec::new();
    let mut lost = 0;
    for (at, mut step) in steps.into_iter().enumerate() {
        let Some((first, last)) = reach[at] else {
            lost += u64::from(!marks.steps[at].mark.idle);
            continue;
        };
        let next = reach.get(at + 1).copied().flatten().map(|(first, _)| first);
        let last = next.map_or(last, |next| last.min(next)).max(first);
        step.start = first;
        step.wall = next.map(|next| next - first);
        step.launch_gap = last - first - coverage.between(first, last);
        step.busy = coverage.between(first, next.unwrap_or(last));
        step.gap = next.map(|next| next - last - coverage.between(last, next));
        kept.push(step);
    }
    (kept, lost)
}

type Unclassified = Vec<(String, Total)>;

fn totals(work: &[Work], classes: &Classes, names: &Names) -> (PerClass<Total>, Total, Unclassified) {
    let mut by_class = [Total::default(); CLASSES];
    let mut outside = Total::default();
    let mut unknown = vec![Total::default(); names.all().count()];
    for work in work {
        by_class[classes.get(work.name) as usize].add(work.time);
        if work.step.is_none() {
            outside.add(work.time);
        }
        if classes.0[work.name as usize].is_none() {
            unknown[work.name as usize].add(work.time);
        }
    }
    let named = unknown.into_iter().enumerate().filter(|(_, total)| total.calls > 0);
    let mut unclassified: Vec<(String, Total)> = named.map(|(id, total)| (names.name(id as u32).to_owned(), total)).collect();
    unclassified.sort_by(|a, b| (b.1.time, &a.0).cmp(&(a.1.time, &b.0)));
    (by_class, outside, unclassified)
}
