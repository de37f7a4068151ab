//! Where the steps of a trace begin, and to which of them a kernel belongs.

use std::collections::HashMap;

use super::annotation::{Mark, Marker};
use super::repetition;
use super::trace::{Kernel, Span, Trace};

/// A step as it was marked.
#[derive(Clone, Copy, Debug)]
pub struct Marked {
    /// Beginning of the span [ns].
    pub start: u64,
    /// Its end [ns].
    pub end: u64,
    /// What it says.
    pub mark: Mark,
}

/// Steps in time order, and what tells to which of them a kernel belongs.
#[derive(Debug)]
pub struct Marks {
    /// Who marked them.
    pub marker: Marker,
    /// The steps, idle ones included.
    pub steps: Vec<Marked>,
    /// Whether the spans are of the GPU's time.
    on_gpu: bool,
    /// Correlation and time [ns] of launches, by correlation.
    launches: Vec<(u64, u64)>,
    /// Beginnings of the GPU's spans [ns], in order, and their steps.
    gpu: Vec<(u64, usize)>,
}

/// How a kernel was placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// Into this step.
    Step(usize),
    /// It was launched in no step.
    Outside,
}

impl Marks {
    /// The steps of a trace: by the server's spans on the CPU, else by those on the GPU, else by a kernel that comes once a step.
    /// `kernels` are in time order.
    pub fn of(trace: &mut Trace, kernels: &[Kernel]) -> Marks {
        let said: Vec<Option<Mark>> = trace.names.all().map(|(_, name)| Mark::parse(name)).collect();
        let best = |spans: &[Span]| spans.iter().filter_map(|span| Some(said[span.name as usize]?.marker)).min();
        let (on_gpu, marker) = match (best(&trace.spans), best(&trace.gpu_spans)) {
            (Some(marker), _) => (false, Some(marker)),
            (None, marker) => (true, marker),
        };
        let Some(marker) = marker else {
            let steps = repetition::steps(kernels);
            let marker = if steps.is_empty() { Marker::Nothing } else { Marker::Repetition };
            return Marks { marker, steps, on_gpu: true, launches: Vec::new(), gpu: Vec::new() };
        };
        let placed = |spans: &[Span]| {
            let marked = |span: &Span| {
                let mark = said[span.name as usize].filter(|mark| mark.marker == marker)?;
                Some((Marked { start: span.start, end: span.end, mark }, span.name))
            };
            let mut all: Vec<(Marked, u32)> = spans.iter().filter_map(marked).collect();
            all.sort_by_key(|(marked, _)| marked.start);
            all
        };
        let named = placed(if on_gpu { &trace.gpu_spans } else { &trace.spans });
        let gpu = if on_gpu { Vec::new() } else { counterparts(&named, &placed(&trace.gpu_spans)) };
        let mut launches = std::mem::take(&mut trace.launches);
        launches.sort_unstable();
        Marks { marker, steps: named.into_iter().map(|(marked, _)| marked).collect(), on_gpu, launches, gpu }
    }

    /// The step of a kernel: that in which it was launched, from the beginning of its span to that of the next, since the server
    /// samples after the span has ended. A kernel without a launch goes by the GPU's spans, else by time; the second value says so.
    pub fn place(&self, kernel: &Kernel) -> (Placed, bool) {
        if self.on_gpu {
            return (self.at(kernel.start), true);
        }
        match self.launches.binary_search_by_key(&kernel.correlation, |&(correlation, _)| correlation) {
            Ok(found) if kernel.correlation != 0 => (self.at(self.launches[found].1), true),
            _ if self.gpu.is_empty() => (self.at(kernel.start), false),
            _ => {
                let after = self.gpu.partition_point(|&(start, _)| start <= kernel.start);
                (after.checked_sub(1).map_or(Placed::Outside, |i| Placed::Step(self.gpu[i].1)), false)
            }
        }
    }

    /// The step that runs at a time [ns] of the spans' clock.
    pub fn at(&self, time: u64) -> Placed {
        match self.steps.partition_point(|step| step.start <= time) {
            0 => Placed::Outside,
            n if self.steps[n - 1].mark.idle => Placed::Outside,
            n => Placed::Step(n - 1),
        }
    }
}

/// The step on the CPU of each span on the GPU: the k-th of a name belongs to the k-th of it, if there are as many; else to the
/// last that had begun.
fn counterparts(cpu: &[(Marked, u32)], gpu: &[(Marked, u32)]) -> Vec<(u64, usize)> {
    let by_name = |spans: &[(Marked, u32)]| {
        let mut places: HashMap<u32, Vec<usize>> = HashMap::new();
        spans.iter().enumerate().for_each(|(at, (_, name))| places.entry(*name).or_default().push(at));
        places
    };
    let steps = by_name(cpu);
    let mut found = Vec::new();
    for (name, spans) in by_name(gpu) {
        let Some(steps) = steps.get(&name) else { continue };
        for (k, &span) in spans.iter().enumerate() {
            let start = gpu[span].0.start;
            let begun = steps.partition_point(|&step| cpu[step].0.start <= start);
            let step = if steps.len() == spans.len() { Some(steps[k]) } else { begun.checked_sub(1).map(|last| steps[last]) };
            found.extend(step.map(|step| (start, step)));
        }
    }
    found.sort_unstable();
    found
}
