//! Which server was measured, as a scenario: from the columns of a benchmark point, or from a file.

use std::path::Path;

use super::points::{Benchmark, Point};
use crate::scenario::{Scenario, ScenarioErrors, parse};
use tokentide_traces::TraceError;
use tokentide_traces::table::Row;

/// Model, GPU and layout of a benchmark point, in the words of its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    /// GPU.
    pub gpu: String,
    /// Model.
    pub model: String,
    /// Number format of the weights; `None` where the file does not say it.
    pub precision: Option<String>,
    /// Release of the engine.
    pub version: Option<String>,
    /// Tensor-parallel ranks.
    pub tensor_parallel: u32,
    /// Pipeline stages.
    pub pipeline_parallel: u32,
    /// Ranks over which attention is replicated.
    pub data_parallel: u32,
    /// Ranks over which whole experts are spread.
    pub expert_parallel: u32,
}

impl Labels {
    /// From the columns `model`, `precision`, `backend_version`, `tp_size`, `pp_size`, `attention_dp_size`, `moe_tp_size` and
    /// `moe_ep_size`; what is absent is 1. Where the attention's replication is not given, it is what the experts' ranks leave:
    /// `moe_tp_size * moe_ep_size / tp_size`.
    ///
    /// # Errors
    /// If a number is none.
    pub fn of(row: &Row<'_>, system: &str) -> Result<Labels, TraceError> {
        let size = |column: &str| match row.text(column) {
            None | Some("0") => Ok(None),
            Some(_) => row.count(column, 1).map(Some),
        };
        let tensor_parallel = size("tp_size")?.unwrap_or(1);
        let (moe_tp, moe_ep) = (size("moe_tp_size")?.unwrap_or(1), size("moe_ep_size")?.unwrap_or(1));
        let ranks_of_experts = moe_tp.saturating_mul(moe_ep);
        Ok(Labels {
            gpu: row.text(system).unwrap_or_default().to_owned(),
            model: row.text("model").unwrap_or_default().to_owned(),
            precision: row.text("precision").map(str::to_owned),
            version: row.text("backend_version").map(str::to_owned),
            tensor_parallel,
            pipeline_parallel: size("pp_size")?.unwrap_or(1),
            data_parallel: size("attention_dp_size")?.unwrap_or((ranks_of_experts / tensor_parallel).max(1)),
            expert_parallel: moe_ep,
        })
    }

    /// As settings of a scenario, in TOML.
    fn settings(&self) -> Vec<(String, String)> {
        let text = |value: &str| toml::Value::String(value.to_owned()).to_string();
        let mut all = vec![("model.name", text(&self.model)), ("gpu.name", text(&self.gpu))];
        let many = [
            ("gpu.tensor_parallel", self.tensor_parallel),
            ("gpu.pipeline_parallel", self.pipeline_parallel),
            ("gpu.data_parallel", self.data_parallel),
        ];
        all.extend(many.into_iter().filter(|(_, n)| *n > 1).map(|(key, n)| (key, n.to_string())));
        if self.expert_parallel > 1 {
            all.push(("gpu.expert_parallel", "true".to_owned()));
        }
        if let Some(precision) = &self.precision {
            all.push(("model.weights", text(weights(precision, &self.model))));
        }
        if let Some(version) = &self.version {
            all.push(("engine.version", text(version)));
        }
        all.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

/// Benchmarks call every format of 4 bits fp4: NVIDIA's own, but for gpt-oss, which is published in another.
fn weights<'a>(precision: &'a str, model: &str) -> &'a str {
    match precision {
        "fp4" if model.starts_with("gpt-oss") => "mxfp4",
        "fp4" => "nvfp4",
        other => other,
    }
}

/// All that decides a point's server, as settings of a scenario: `rules` (path and value) win over what the columns say.
pub fn settings_of(point: &Point, benchmark: &Benchmark, rules: &[(String, String)]) -> Vec<(String, String)> {
    let mut settings = point.labels.settings();
    let context = u64::from(point.isl) + u64::from(point.osl) + u64::from(benchmark.context_slack);
    settings.push(("engine.max_model_len".to_owned(), context.to_string()));
    settings.extend(rules.iter().cloned());
    settings
}

/// The scenario of `settings` alone, named `name`. Its workload is not used.
///
/// # Errors
/// What is wrong with the settings.
pub fn scenario_of(name: &str, settings: &[(String, String)], base_dir: &Path) -> Result<Scenario, ScenarioErrors> {
    scenario_with("", name, base_dir, settings)
}

/// `settings` of a server that is going to be fitted: its own cost profile may not be there yet.
pub fn unpriced(settings: &[(String, String)]) -> Vec<(String, String)> {
    let formula = ("cost.profile".to_owned(), "\"roofline\"".to_owned());
    settings.iter().cloned().chain([formula]).collect()
}

/// The scenario of a file's `text` with `settings` on top. Its workload is not used and need not be there.
///
/// # Errors
/// What is wrong with it.
pub fn scenario_with(text: &str, name: &str, base_dir: &Path, settings: &[(String, String)]) -> Result<Scenario, ScenarioErrors> {
    // A scenario is complete with a workload only; a trace that is never opened stands for the replay.
    let workload = ("trace".to_owned(), "{ path = \"measured\" }".to_owned());
    let all: Vec<(String, String)> = settings.iter().cloned().chain([workload]).collect();
    let mut scenario = parse(text, name, base_dir, &all)?.scenario;
    scenario.trace = None;
    Ok(scenario)
}
