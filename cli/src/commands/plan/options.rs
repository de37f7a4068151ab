//! The options that a plan compares: every combination of what is to be varied.

use clap::Args;
use tokentide_sim::plan::Candidate;
use tokentide_sim::plan::options::{Choice, OptionsError, combinations, prepared};
use tokentide_sim::scenario::{Scenario, ScenarioErrors, SloTarget};
use tokentide_sim::workload::trace::TraceRow;

use crate::commands::simulate::assignment;
use crate::engine::{self, Input};
use crate::exit::Failure;

/// What to vary.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Options to compare (every combination)")]
pub struct OptionArgs {
    /// GPUs of the catalogue, such as h100-sxm,l40s
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    gpu: Vec<String>,
    /// Tensor-parallel sizes, such as 1,2,4
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    tp: Vec<u32>,
    /// Number formats of the weights, such as bf16,fp8
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    dtype: Vec<String>,
    /// Number formats of the KV cache, such as bf16,fp8
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    kv_dtype: Vec<String>,
    /// Values of any setting, such as engine.max_num_seqs=64,128 (repeatable)
    #[arg(long, value_name = "PATH=A,B", value_parser = assignment)]
    vary: Vec<(String, String)>,
}

/// The options, as scenarios.
pub struct Loaded {
    /// One per combination.
    pub candidates: Vec<Candidate>,
    /// Rows of a Parquet trace.
    pub rows: Option<Vec<TraceRow>>,
}

impl Loaded {
    /// The first that can run.
    pub fn first(&self) -> Option<&Scenario> {
        self.candidates.iter().find_map(|candidate| candidate.scenario.as_ref().ok())
    }
}

/// Reads every combination.
///
/// # Errors
/// All that is wrong with a combination, unless it just does not fit; if none fits; if there are no targets.
pub fn load(input: &Input, args: &OptionArgs, slo: &[SloTarget]) -> Result<Loaded, Failure> {
    let mut loaded = Loaded { candidates: Vec::new(), rows: None };
    let mut misfit: Option<ScenarioErrors> = None;
    for combination in combinations(&axes(args)).map_err(failure)? {
        let name = combination.iter().map(Choice::name).collect::<Vec<_>>().join(" ");
        let chosen = combination.into_iter().map(|choice| (choice.path, choice.value));
        let input = Input { set: input.set.iter().cloned().chain(chosen).collect(), ..input.clone() };
        let scenario = match engine::load_if_it_fits(&input)? {
            Ok(found) => {
                loaded.rows = loaded.rows.or(found.rows);
                Ok(prepared(found.scenario, slo).map_err(failure)?)
            }
            Err(errors) => {
                let reason = errors.0.first().map(|error| error.message.clone()).unwrap_or_default();
                misfit = misfit.or(Some(errors));
                Err(reason)
            }
        };
        loaded.candidates.push(Candidate { name, scenario });
    }
    match (loaded.first(), misfit) {
        (None, Some(errors)) => Err(engine::diagnostics(errors)),
        _ => Ok(loaded),
    }
}

fn axes(args: &OptionArgs) -> Vec<Vec<Choice>> {
    let axis = |path: &str, values: &[String]| -> Vec<Choice> {
        values.iter().map(|value| Choice { path: path.to_owned(), value: value.trim().to_owned() }).collect()
    };
    let tp: Vec<String> = args.tp.iter().map(u32::to_string).collect();
    let mut axes = vec![
        axis("gpu.name", &args.gpu),
        axis("gpu.tensor_parallel", &tp),
        axis("model.weights", &args.dtype),
        axis("engine.kv_cache_dtype", &args.kv_dtype),
    ];
    axes.extend(args.vary.iter().map(|(path, values)| axis(path, &values_of(values))));
    axes
}

fn failure(error: OptionsError) -> Failure {
    let help = match error {
        OptionsError::TooMany => return Failure::message(error.to_string()),
        OptionsError::NoClass => {
            "give a scenario with a [[class]] of the name that the trace uses (any name if it uses none), with an slo"
        }
        OptionsError::NoTarget => "give one, such as --slo ttft_p95=800ms, or in the scenario: slo = { ttft_p95 = \"800ms\" }",
    };
    Failure::with_help(error.to_string(), help)
}

/// The values between commas that are in no brackets, braces or quotes.
fn values_of(text: &str) -> Vec<String> {
    let (mut values, mut depth, mut quoted) = (vec![String::new()], 0, false);
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            '[' | '{' if !quoted => depth += 1,
            ']' | '}' if !quoted => depth -= 1,
            _ => {}
        }
        match values.last_mut() {
            Some(last) if c != ',' || depth != 0 || quoted => last.push(c),
            _ => values.push(String::new()),
        }
    }
    values.into_iter().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_split_outside_of_brackets() {
        assert_eq!(values_of("64, 128"), ["64", "128"]);
        assert_eq!(values_of("[1, 2],[3]"), ["[1, 2]", "[3]"]);
        assert_eq!(values_of("\"a,b\",c"), ["\"a,b\"", "c"]);
        assert_eq!(values_of("{ a = 1, b = 2 }"), ["{ a = 1, b = 2 }"]);
    }

    #[test]
    fn combinations_are_all_of_them() {
        let args = OptionArgs {
            gpu: vec!["a".into(), "b".into()],
            tp: vec![1, 2],
            vary: vec![("engine.max_num_seqs".into(), "8,16,32".into())],
            ..OptionArgs::default()
        };
        let all = combinations(&axes(&args)).unwrap();
        assert_eq!(all.len(), 12);
        let name = |i: usize| all[i].iter().map(Choice::name).collect::<Vec<_>>().join(" ");
        assert_eq!((name(0).as_str(), name(11).as_str()), ("a tp1 max_num_seqs=8", "b tp2 max_num_seqs=32"));
    }
}
