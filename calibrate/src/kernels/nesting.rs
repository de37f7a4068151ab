//! Operators call operators: how long each lasts by itself.

use std::cmp::Reverse;

use super::trace::Operator;

/// An operator's own time, without that of the operators that it called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Own {
    /// The operator.
    pub operator: Operator,
    /// Its own time [ns], what the profiler's table calls Self CPU.
    pub time: u64,
    /// Whether no operator called it.
    pub outermost: bool,
}

/// Own times, by thread and beginning. An operator belongs to the last one that began before it, on its thread, and still runs.
pub fn own_times(mut operators: Vec<Operator>) -> Vec<Own> {
    // A caller may begin at the same nanosecond as what it calls, and is then the longer one, or the one first in the file.
    operators.sort_by_key(|operator| (operator.thread, operator.start, Reverse(operator.duration)));
    let mut all: Vec<Own> = Vec::with_capacity(operators.len());
    let mut running: Vec<usize> = Vec::new();
    for operator in operators {
        let ended = |&caller: &usize| {
            let caller = all[caller].operator;
            caller.thread != operator.thread || caller.start + caller.duration <= operator.start
        };
        while running.last().is_some_and(ended) {
            running.pop();
        }
        if let Some(&caller) = running.last() {
            // Times are rounded: what is called may end a nanosecond after its caller.
            all[caller].time = all[caller].time.saturating_sub(operator.duration);
        }
        let outermost = running.is_empty();
        running.push(all.len());
        all.push(Own { operator, time: operator.duration, outermost });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operator(thread: u64, start: u64, duration: u64) -> Operator {
        Operator { start, duration, thread, name: 0 }
    }

    #[test]
    fn what_an_operator_calls_is_not_its_own() {
        let own = own_times(vec![
            operator(1, 0, 100),
            operator(1, 10, 20),
            operator(1, 12, 5),
            operator(1, 30, 70),
            operator(2, 11, 3),
            operator(1, 100, 10),
        ]);
        let of = |thread, start| {
            let own = own.iter().find(|own| (own.operator.thread, own.operator.start) == (thread, start)).unwrap();
            (own.time, own.outermost)
        };
        assert_eq!((of(1, 0), of(1, 10), of(1, 12)), ((10, true), (15, false), (5, false)));
        assert_eq!((of(1, 30), of(1, 100), of(2, 11)), ((70, false), (10, true), (3, true)));
        let outer: u64 = own.iter().filter(|own| own.outermost).map(|own| own.operator.duration).sum();
        assert_eq!(own.iter().map(|own| own.time).sum::<u64>(), outer);
    }

    #[test]
    fn of_two_that_begin_together_the_longer_called_the_other() {
        let own = own_times(vec![operator(1, 5, 4), operator(1, 5, 9)]);
        assert_eq!(own.iter().map(|own| (own.time, own.outermost)).collect::<Vec<_>>(), [(5, true), (4, false)]);
    }
}
