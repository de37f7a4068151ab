//! The only calls of a scenario into the catalogues, the memory plan and the cost models.

use std::sync::Arc;

use tokentide_models::architecture::Architecture;
use tokentide_models::architecture::config::weight_dtype;
use tokentide_models::cost::{self, CostInfo, CostModel};
use tokentide_models::deployment::{Deployment, WeightDtype};
use tokentide_models::gpu::Gpu;
use tokentide_models::memory::{self, MemoryPlan};

pub(super) use tokentide_models::cost::{CostChoice, HostOverrides};
pub(super) use tokentide_models::engine_defaults::{EngineDefaults, EngineVersion};

/// The GPU of a name or alias.
pub(super) fn gpu(name: &str) -> Result<Gpu, String> {
    Gpu::find(name).map_err(|error| error.to_string())
}

/// The model of a catalogue name or alias.
pub(super) fn architecture(name: &str) -> Result<Architecture, String> {
    Architecture::find(name).map_err(|error| error.to_string())
}

/// A model of a Hugging Face `config.json`.
pub(super) fn architecture_from_config(text: &str, name: &str) -> Result<Architecture, String> {
    Architecture::from_config_json(text, name).map_err(|error| error.to_string())
}

/// The number format of the weights that a `config.json` names, if it names any.
pub(super) fn weights_of_config(text: &str) -> Result<Option<WeightDtype>, String> {
    weight_dtype(text).map_err(|error| error.to_string())
}

/// The engine's defaults; without a GPU (whose name was wrong, so that nothing will be run) those of some other.
pub(super) fn engine_defaults(
    version: EngineVersion,
    gpu: Option<&Gpu>,
    pipeline_parallel: u32,
    max_model_len: u32,
) -> EngineDefaults {
    EngineDefaults::of(version, gpu.unwrap_or(&Gpu::all()[0]), pipeline_parallel, max_model_len)
}

/// Where the memory goes, and how many KV blocks are left.
pub(super) fn plan(deployment: &Deployment) -> Result<MemoryPlan, String> {
    memory::plan(deployment).map_err(|error| error.to_string())
}

/// Duration of iterations.
pub(super) fn cost(
    deployment: &Deployment,
    choice: &CostChoice,
    host: &HostOverrides,
    async_scheduling: bool,
) -> Result<(Arc<dyn CostModel>, CostInfo), String> {
    cost::build(deployment, choice, host, async_scheduling).map_err(|error| error.to_string())
}
