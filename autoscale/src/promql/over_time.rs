//! Functions over a range of samples. Times in seconds from any origin, ascending.

/// A function over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    Rate,
    Increase,
    Delta,
    InstantRate,
    Average,
    Minimum,
    Maximum,
    Sum,
    Count,
    Last,
}

impl Function {
    /// By its name in PromQL.
    pub fn named(name: &str) -> Option<Function> {
        Some(match name {
            "rate" => Function::Rate,
            "increase" => Function::Increase,
            "delta" => Function::Delta,
            "irate" => Function::InstantRate,
            "avg_over_time" => Function::Average,
            "min_over_time" => Function::Minimum,
            "max_over_time" => Function::Maximum,
            "sum_over_time" => Function::Sum,
            "count_over_time" => Function::Count,
            "last_over_time" => Function::Last,
            _ => return None,
        })
    }

    /// Whether the result keeps the metric's name.
    pub fn keeps_name(self) -> bool {
        self == Function::Last
    }

    /// Its value over the samples of `(start, end]`; `None` if there are too few.
    pub fn over(self, samples: &[(f64, f64)], start: f64, end: f64) -> Option<f64> {
        let values = || samples.iter().map(|(_, value)| *value);
        let last = samples.last()?.1;
        match self {
            Function::Rate => extrapolated(samples, start, end, true).map(|increase| increase / (end - start)),
            Function::Increase => extrapolated(samples, start, end, true),
            Function::Delta => extrapolated(samples, start, end, false),
            Function::InstantRate => instant_rate(samples),
            Function::Average => Some(values().sum::<f64>() / samples.len() as f64),
            Function::Minimum => values().reduce(f64::min),
            Function::Maximum => values().reduce(f64::max),
            Function::Sum => Some(values().sum()),
            Function::Count => Some(samples.len() as f64),
            Function::Last => Some(last),
        }
    }
}

/// The change from the first to the last sample, extended to the range's ends: up to an end that is nearer than 1.1 mean gaps, else
/// by half a gap; a counter not below zero. A counter that falls has begun anew.
fn extrapolated(samples: &[(f64, f64)], start: f64, end: f64, counter: bool) -> Option<f64> {
    let (first, last) = (samples.first()?, samples.last()?);
    if samples.len() < 2 {
        return None;
    }
    let resets: f64 = samples.windows(2).filter(|pair| counter && pair[1].1 < pair[0].1).map(|pair| pair[0].1).sum();
    let change = last.1 - first.1 + resets;
    let sampled = last.0 - first.0;
    let gap = sampled / (samples.len() - 1) as f64;
    let reach = |distance: f64| if distance >= gap * 1.1 { gap / 2.0 } else { distance };
    let mut before = reach(first.0 - start);
    if counter && change > 0.0 && first.1 >= 0.0 {
        before = before.min(sampled * (first.1 / change));
    }
    Some(change * (sampled + before + reach(end - last.0)) / sampled)
}

fn instant_rate(samples: &[(f64, f64)]) -> Option<f64> {
    let [.., before, last] = samples else { return None };
    let change = if last.1 < before.1 { last.1 } else { last.1 - before.1 };
    Some(change / (last.0 - before.0))
}
