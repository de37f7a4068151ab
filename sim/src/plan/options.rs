//! Options to compare: every combination of what is to be varied, each made ready to be planned.

use crate::scenario::{Scenario, SloTarget};

/// More combinations than this are a mistake.
pub const OPTIONS_MAX: usize = 1_000;

/// A setting's value in an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Which setting.
    pub path: String,
    /// As typed.
    pub value: String,
}

impl Choice {
    /// How it is called: `h100-sxm`, `tp2`, `max_num_seqs=64`.
    pub fn name(&self) -> String {
        let value = self.value.trim_matches('"');
        match self.path.as_str() {
            "gpu.name" | "model.weights" => value.to_owned(),
            "gpu.tensor_parallel" => format!("tp{value}"),
            "engine.kv_cache_dtype" => format!("kv-{value}"),
            path => format!("{}={value}", path.rsplit('.').next().unwrap_or(path)),
        }
    }
}

/// Why options cannot be planned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// They would take days.
    #[error("more than {OPTIONS_MAX} combinations: vary less at a time")]
    TooMany,
    /// A trace alone promises nothing.
    #[error("the trace has no class that a target could belong to")]
    NoClass,
    /// Nothing is promised.
    #[error("how many replicas are enough depends on what is promised, and no class has a target")]
    NoTarget,
}

/// Every choice of one value per axis, the last axis changing fastest; axes without values are none.
///
/// # Errors
/// If there are too many.
pub fn combinations(axes: &[Vec<Choice>]) -> Result<Vec<Vec<Choice>>, OptionsError> {
    let axes: Vec<&Vec<Choice>> = axes.iter().filter(|axis| !axis.is_empty()).collect();
    let count = axes.iter().map(|axis| axis.len()).try_fold(1usize, |product, n| product.checked_mul(n));
    if count.is_none_or(|count| count > OPTIONS_MAX) {
        return Err(OptionsError::TooMany);
    }
    let none: Vec<Vec<Choice>> = vec![Vec::new()];
    Ok(axes.iter().fold(none, |all, axis| {
        let with = |combination: &Vec<Choice>| {
            let combination = combination.clone();
            axis.iter().map(move |choice| [combination.as_slice(), std::slice::from_ref(choice)].concat())
        };
        all.iter().flat_map(with).collect()
    }))
}

/// The scenario as it is planned: on replicas that stay, with a note if they did not, and with the targets of `slo` in place of its
/// own for the same figure.
///
/// # Errors
/// If no class has a target then.
pub fn prepared(scenario: Scenario, slo: &[SloTarget]) -> Result<Scenario, OptionsError> {
    let (mut scenario, left_out) = scenario.with_replicas_that_stay();
    if left_out {
        let note =
            "the replicas planned here stay: the scenario's autoscaler, failures and schedule are left out (`simulate` has them)";
        scenario.notes.push(note.to_owned());
    }
    for class in &mut scenario.classes {
        for target in slo {
            let same = |t: &SloTarget| t.metric == target.metric && (t.quantile - target.quantile).abs() < 1e-9;
            class.slo.targets.retain(|t| !same(t));
            class.slo.targets.push(*target);
        }
    }
    match () {
        () if scenario.classes.is_empty() => Err(OptionsError::NoClass),
        () if scenario.classes.iter().all(|class| class.slo.targets.is_empty()) => Err(OptionsError::NoTarget),
        () => Ok(scenario),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(path: &str, values: &[&str]) -> Vec<Choice> {
        values.iter().map(|value| Choice { path: path.to_owned(), value: (*value).to_owned() }).collect()
    }

    #[test]
    fn combinations_are_named_by_what_differs() {
        let axes = [
            axis("gpu.name", &["\"h100-sxm\"", "l40s"]),
            axis("cluster.router", &[]),
            axis("gpu.tensor_parallel", &["1", "2"]),
            axis("engine.max_num_seqs", &["64"]),
        ];
        let names: Vec<String> = combinations(&axes)
            .unwrap()
            .iter()
            .map(|combination| combination.iter().map(Choice::name).collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            names,
            [
                "h100-sxm tp1 max_num_seqs=64",
                "h100-sxm tp2 max_num_seqs=64",
                "l40s tp1 max_num_seqs=64",
                "l40s tp2 max_num_seqs=64"
            ]
        );
        assert_eq!(combinations(&[]).unwrap(), [Vec::new()]);
        let many = axis("a", &vec!["1"; 40]);
        assert_eq!(combinations(&[many.clone(), many]), Err(OptionsError::TooMany));
    }
}
