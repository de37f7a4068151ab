//! Steps of a trace that nobody marked, by a kernel that comes once in each.

use std::collections::HashMap;

use super::annotation::{Mark, Marker};
use super::marks::Marked;
use super::trace::Kernel;

/// Fewer steps show no repetition.
const LEAST_STEPS: usize = 3;

/// Of the kernels, this share must lie in steps as long as most.
const REGULAR: f64 = 0.5;

/// Steps between the launches of a kernel that comes once a step: of those that return after equally many kernels most of the time,
/// the one that takes longest to return, since what comes once a layer returns sooner. `kernels` are in time order. None if nothing
/// repeats. A step of prompts among decodes is one step more; what a step computed cannot be told.
pub fn steps(kernels: &[Kernel]) -> Vec<Marked> {
    let mut places: HashMap<u32, Vec<usize>> = HashMap::new();
    for (at, kernel) in kernels.iter().enumerate() {
        places.entry(kernel.name).or_default().push(at);
    }
    let candidates =
        places.values().filter_map(|places| Some((period(places, kernels.len())?, std::cmp::Reverse(places[0]), places)));
    let Some((_, _, anchor)) = candidates.max_by_key(|&(period, first, _)| (period, first)) else { return Vec::new() };
    let end =
        |next: Option<&usize>| next.map_or_else(|| kernels.iter().map(Kernel::end).max().unwrap_or(0), |&at| kernels[at].start);
    let mark = Mark { marker: Marker::Repetition, composition: None, contexts: None, idle: false };
    let step = |(i, &at): (usize, &usize)| Marked { start: kernels[at].start, end: end(anchor.get(i + 1)), mark };
    anchor.iter().enumerate().map(step).collect()
}

/// The number of kernels after which most of the occurrences at `places` return, if those cover enough of `all`.
fn period(places: &[usize], all: usize) -> Option<usize> {
    let mut gaps: Vec<usize> = places.windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort_unstable();
    let (most, times) = gaps.chunk_by(|a, b| a == b).map(|same| (same[0], same.len())).max_by_key(|&(gap, times)| (times, gap))?;
    let regular = (most * times) as f64 >= REGULAR * all as f64;
    (places.len() >= LEAST_STEPS && most > 1 && regular).then_some(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernels(names: &[u32]) -> Vec<Kernel> {
        let kernel = |(i, &name): (usize, &u32)| Kernel { start: 10 * i as u64, duration: 5, correlation: 0, name, stream: 0 };
        names.iter().enumerate().map(kernel).collect()
    }

    #[test]
    fn what_comes_once_a_step_marks_it() {
        // Embedding 0, three layers of 1 and 2, sampling 3; a step in between has a layer's kernel more.
        let decode = [0, 1, 2, 1, 2, 1, 2, 3];
        let names = [&decode[..], &decode, &[0, 1, 2, 4, 1, 2, 1, 2, 3], &decode, &decode].concat();
        let starts: Vec<u64> = steps(&kernels(&names)).iter().map(|step| step.start).collect();
        assert_eq!(starts, [0, 80, 160, 250, 330]);
    }

    #[test]
    fn without_repetition_there_are_no_steps() {
        assert!(steps(&kernels(&[0, 1, 2, 3, 4])).is_empty());
        assert!(steps(&kernels(&[0, 0, 0, 0])).is_empty());
        assert!(steps(&[]).is_empty());
    }
}
