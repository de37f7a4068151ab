//! One replica: model, GPU, layout, engine; then its KV blocks and the time of its steps.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokentide_models::architecture::Architecture;
use tokentide_models::cost::{CostInfo, CostModel};
use tokentide_models::deployment::{Deployment, KvDtype, WeightDtype};
use tokentide_models::gpu::Gpu;

use super::Context;
use super::check::{at_least_one, non_negative, number, positive};
use super::engine::{engine, version};
use super::models::{self, CostChoice, HostOverrides};
use crate::scenario::EngineConfig;
use crate::scenario::at::At;
use crate::scenario::file::ScenarioFile;
use crate::scenario::file::engine::{EngineFile, KvName};
use crate::scenario::file::gpu::{CustomGpuFile, GpuFile};
use crate::scenario::file::host::HostFile;
use crate::scenario::file::model::{ModelFile, WeightsName};

/// A replica without its times.
pub(super) struct Replica {
    pub deployment: Deployment,
    pub engine: EngineConfig,
    /// Text of the `config.json` that the model was read from; empty for a catalogue model.
    pub config_text: String,
}

/// KV blocks and times of a replica.
pub(super) struct Timing {
    pub kv_blocks: u32,
    pub cost: Arc<dyn CostModel>,
    pub info: CostInfo,
}

impl Replica {
    /// Resolves `[model]`, `[gpu]` and `[engine]`; `None` if there is no telling which model or GPU is meant.
    pub(super) fn resolve(file: &ScenarioFile, context: &mut Context<'_>) -> Option<Replica> {
        let model = model(file.model.as_ref(), context);
        let gpu = gpu(file.gpu.as_ref(), context);
        let default_engine = EngineFile::default();
        let engine_file = file.engine.as_deref().unwrap_or(&default_engine);
        let default_gpu = GpuFile::default();
        let layout = file.gpu.as_deref().unwrap_or(&default_gpu);
        let tensor_parallel = at_least_one("tensor_parallel", layout.tensor_parallel.as_ref(), context).unwrap_or(1);
        let pipeline_parallel = at_least_one("pipeline_parallel", layout.pipeline_parallel.as_ref(), context).unwrap_or(1);
        let data_parallel = at_least_one("data_parallel", layout.data_parallel.as_ref(), context).unwrap_or(1);
        let utilization =
            number("gpu_memory_utilization", engine_file.gpu_memory_utilization.as_ref(), context, "above 0 and at most 1", |x| {
                x > 0.0 && x <= 1.0
            });
        let num_gpu_blocks = num_gpu_blocks(engine_file, context);
        let largest_graph = engine_file.max_cudagraph_capture_size.as_ref();
        let max_cudagraph_capture_size = at_least_one("max_cudagraph_capture_size", largest_graph, context);
        check_host(file.host.as_deref(), context);
        // Checks of the engine's numbers need the model's context; without a model, those that do not are still made.
        let context_max = model.as_ref().map_or(u32::MAX, |(architecture, _)| architecture.max_context);
        let limit = engine_file.max_model_len.as_ref().map_or(context_max, |len| **len);
        let defaults = models::engine_defaults(version(engine_file), gpu.as_ref(), pipeline_parallel, limit);
        let engine = engine(engine_file, &defaults, context_max, context);
        let asked = engine_file.async_scheduling.as_ref().filter(|flag| ***flag && pipeline_parallel > 1);
        if let Some(given) = asked {
            let message =
                "`async_scheduling` with pipeline stages is not modelled: they keep several batches in flight anyway".to_owned();
            context.problems.at(given.span(), message);
        }
        let ((architecture, config_text), gpu) = (model?, gpu?);
        check_layout(&architecture, layout, [tensor_parallel, pipeline_parallel, data_parallel], context);
        let weights = weights(file.model.as_deref(), &architecture, &config_text, context)?;
        let deployment = Deployment {
            engine_version: version(engine_file),
            model: architecture,
            gpu,
            tensor_parallel,
            pipeline_parallel,
            data_parallel,
            expert_parallel: layout.expert_parallel.as_ref().is_some_and(|flag| **flag),
            weights,
            kv: match engine_file.kv_cache_dtype.as_deref() {
                Some(KvName::Fp8) => KvDtype::Fp8,
                _ => KvDtype::Bf16,
            },
            block_size: engine.block_size,
            gpu_memory_utilization: utilization.unwrap_or(defaults.gpu_memory_utilization),
            max_model_len: engine.max_model_len,
            max_num_batched_tokens: engine.max_num_batched_tokens,
            max_num_seqs: engine.max_num_seqs,
            cuda_graphs: !engine_file.enforce_eager.as_ref().is_some_and(|flag| **flag),
            max_cudagraph_capture_size,
            num_gpu_blocks,
        };
        if let Some(why) = &deployment.model.approximate {
            context.notes.push(format!("memory and time of {} are approximate: {why}", deployment.model.name));
        }
        Some(Replica { deployment, engine, config_text })
    }

    /// KV blocks and cost model; `None` if there are problems, here or before.
    pub(super) fn timing(&self, file: &ScenarioFile, context: &mut Context<'_>) -> Option<Timing> {
        if !context.problems.is_empty() {
            return None;
        }
        let plan = models::plan(&self.deployment)
            .map_err(|error| context.problems.unfit(file.gpu.as_ref().map(At::span), error, None))
            .ok()?;
        let profile = file.cost.as_ref().and_then(|cost| cost.profile.as_ref());
        let choice = profile.map_or(CostChoice::Auto, |profile| cost_choice(profile, context));
        let span = profile.map(At::span).or_else(|| file.model.as_ref().map(At::span));
        let host = file.host.as_deref().map(host_overrides).unwrap_or_default();
        let (cost, info) = models::cost(&self.deployment, &choice, &host, self.engine.async_scheduling)
            .map_err(|error| context.problems.add(span, error, None))
            .ok()?;
        let kv_blocks = plan.usable_blocks();
        // The last token of a sequence needs no slot. vLLM's own check counts the null block too, and would then wait for ever.
        let size = self.deployment.block_size;
        let needed = (self.deployment.max_model_len - 1).div_ceil(size);
        if kv_blocks < needed {
            let message = format!(
                "one sequence of max_model_len = {} tokens needs {needed} KV blocks of {size}, and {kv_blocks} can be used",
                self.deployment.max_model_len
            );
            let help = format!("the longest sequence that fits has {} tokens: set max_model_len", kv_blocks * size + 1);
            context.problems.unfit(file.gpu.as_ref().map(At::span), message, Some(help));
        }
        context.notes.extend(plan.notes);
        Some(Timing { kv_blocks, cost, info })
    }
}

/// The model's shape, and the text of its `config.json`.
fn model(file: Option<&At<ModelFile>>, context: &mut Context<'_>) -> Option<(Architecture, String)> {
    let help = Some("such as [model] with name = \"llama-3.1-8b\", or config = \"path/config.json\"".to_owned());
    let Some(file) = file else {
        context.problems.missing(None, "model", "the scenario names no model", help);
        return None;
    };
    let Some(path) = &file.config else {
        let Some(name) = &file.name else {
            context.problems.missing(Some(file.span()), "name", "[model] has neither `name` nor `config`", help);
            return None;
        };
        let found = models::architecture(name).map_err(|error| context.problems.at(name.span(), error));
        return Some((found.ok()?, String::new()));
    };
    let full = context.base_dir.join(path.get());
    let text = std::fs::read_to_string(&full)
        .map_err(|error| context.problems.at(path.span(), format!("cannot read {}: {error}", full.display())))
        .ok()?;
    let name = file.name.as_ref().map_or_else(|| config_name(path), |name| name.to_string());
    let architecture =
        models::architecture_from_config(&text, &name).map_err(|error| context.problems.at(path.span(), error)).ok()?;
    Some((architecture, text))
}

/// Name of a model that only has a config: its folder's if the file is called `config.json`, as it always is.
fn config_name(path: &At<PathBuf>) -> String {
    let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned());
    match (stem.as_deref(), path.parent().and_then(|p| p.file_name())) {
        (Some("config"), Some(folder)) => folder.to_string_lossy().into_owned(),
        _ => stem.unwrap_or_else(|| "model".to_owned()),
    }
}

/// The GPU, with memory and price as overridden.
fn gpu(file: Option<&At<GpuFile>>, context: &mut Context<'_>) -> Option<Gpu> {
    let help = Some("such as [gpu] with name = \"h100-sxm\"".to_owned());
    let Some(file) = file else {
        context.problems.missing(None, "gpu", "the scenario names no GPU", help);
        return None;
    };
    let price = non_negative("price_per_hour", file.price_per_hour.as_ref(), context);
    let Some(name) = &file.name else {
        context.problems.missing(Some(file.span()), "name", "[gpu] has no `name`", help);
        return None;
    };
    let mut gpu = match &file.custom {
        Some(peaks) => custom_gpu(name, peaks, file.memory.is_some(), context)?,
        None => models::gpu(name).map_err(|error| context.problems.at(name.span(), error)).ok()?,
    };
    if let Some(price) = price {
        gpu.price_per_hour = price;
        gpu.source.insert("price_per_hour".to_owned(), "the scenario".to_owned());
    }
    if let Some(memory) = &file.memory {
        gpu.memory_bytes = memory.0;
        gpu.source.insert("memory_bytes".to_owned(), "the scenario".to_owned());
    }
    Some(gpu)
}

/// Link of a custom GPU that names none [bytes/s]: PCIe 4.0 x16, one direction.
const PCIE_4_X16: f64 = 32e9;

/// An accelerator that the catalogue lacks. Its memory is set by who calls.
fn custom_gpu(name: &At<String>, peaks: &At<CustomGpuFile>, has_memory: bool, context: &mut Context<'_>) -> Option<Gpu> {
    if models::gpu(name).is_ok() {
        context.problems.at(name.span(), format!("`{}` is in the catalogue: give a custom GPU another name", **name));
        return None;
    }
    if !has_memory {
        let help = Some("such as memory = \"79.2GiB\"".to_owned());
        context.problems.missing(Some(peaks.span()), "memory", "a custom GPU needs its `memory`", help);
    }
    let bandwidth = positive("memory_gb_per_s", Some(&peaks.memory_gb_per_s), context);
    let bf16 = positive("bf16_tflops", Some(&peaks.bf16_tflops), context);
    let fp8 = positive("fp8_tflops", peaks.fp8_tflops.as_ref(), context);
    let link = positive("link_gb_per_s", peaks.link_gb_per_s.as_ref(), context);
    let cache = non_negative("cache_mb", peaks.cache_mb.as_ref(), context);
    let given = ["memory_bytes", "memory_bandwidth", "bf16_flops", "fp8_flops", "link_bandwidth", "l2_bytes"];
    let mut source: BTreeMap<String, String> = given.map(|field| (field.to_owned(), "the scenario".to_owned())).into();
    source.insert("price_per_hour".to_owned(), "not given".to_owned());
    Some(Gpu {
        name: (**name).clone(),
        title: (**name).clone(),
        memory_bytes: 0,
        memory_bandwidth: bandwidth? * 1e9,
        bf16_flops: bf16? * 1e12,
        fp8_flops: fp8.map(|tflops| tflops * 1e12),
        int8_ops: None,
        fp4_flops: None,
        link_bandwidth: link.map_or(PCIE_4_X16, |rate| rate * 1e9),
        l2_bandwidth: None,
        l2_bytes: (cache.unwrap_or(0.0) * 1e6) as u64,
        power_w: 0.0,
        price_per_hour: 0.0,
        source,
    })
}

/// Ranks must divide the attention heads, as vLLM demands, every stage needs a layer, and every rank an expert or an equal slice
/// of all.
fn check_layout(model: &Architecture, file: &GpuFile, [tensor, pipeline, data]: [u32; 3], context: &mut Context<'_>) {
    if let Some(given) = file.tensor_parallel.as_ref().filter(|_| !model.heads.is_multiple_of(tensor)) {
        let message =
            format!("`tensor_parallel` must divide the {} attention heads of {}, which {tensor} does not", model.heads, model.name);
        context.problems.unfit(Some(given.span()), message, None);
    }
    if let Some(given) = file.pipeline_parallel.as_ref().filter(|_| pipeline > model.layers) {
        let message = format!("`pipeline_parallel` must be at most the {} layers of {}, not {pipeline}", model.layers, model.name);
        context.problems.unfit(Some(given.span()), message, None);
    }
    let (Some(given), Some(moe)) = (file.data_parallel.as_ref().filter(|_| data > 1), &model.moe) else { return };
    let whole = file.expert_parallel.as_ref().is_some_and(|flag| **flag);
    let ranks = tensor.saturating_mul(data);
    if whole && ranks > moe.experts {
        let message = format!("`data_parallel` = {data} makes {ranks} ranks for the {} experts of {}", moe.experts, model.name);
        context.problems.unfit(Some(given.span()), message, None);
    }
    if !whole && !moe.intermediate.is_multiple_of(ranks) {
        let message = format!(
            "`data_parallel` = {data} makes {ranks} ranks, which do not divide the width {} of the experts of {}; \
             expert_parallel = true keeps experts whole",
            moe.intermediate, model.name
        );
        context.problems.unfit(Some(given.span()), message, None);
    }
    if pipeline > 1 {
        let message = "`data_parallel` ranks of a mixture in pipeline stages are not modelled".to_owned();
        context.problems.unfit(Some(given.span()), message, None);
    }
}

fn num_gpu_blocks(file: &EngineFile, context: &mut Context<'_>) -> Option<u32> {
    let given = file.num_gpu_blocks_override.as_ref()?;
    if **given < 2 {
        let message = format!("`num_gpu_blocks_override` must be at least 2 (block 0 holds nothing), not {}", **given);
        context.problems.at(given.span(), message);
    }
    Some(**given)
}

/// Number format of the weights: the scenario's, else that of the model's `config.json`, where it has one, else that in which a
/// model of the catalogue is published.
fn weights(file: Option<&ModelFile>, model: &Architecture, config: &str, context: &mut Context<'_>) -> Option<WeightDtype> {
    match file.and_then(|file| file.weights.as_deref()) {
        None => published_weights(file, model, config, context),
        Some(WeightsName::Bf16) => Some(WeightDtype::Bf16),
        Some(WeightsName::Fp8) => Some(WeightDtype::Fp8),
        Some(WeightsName::Int8) => Some(WeightDtype::Int8),
        Some(WeightsName::Int4) => Some(WeightDtype::Int4),
        Some(WeightsName::Mxfp4) => Some(WeightDtype::Mxfp4),
        Some(WeightsName::Nvfp4) => Some(WeightDtype::Nvfp4),
    }
}

fn published_weights(
    file: Option<&ModelFile>,
    model: &Architecture,
    config: &str,
    context: &mut Context<'_>,
) -> Option<WeightDtype> {
    let (found, why) = match file.and_then(|file| file.config.as_ref()) {
        None => (model.native_weights(), "the format it is published in"),
        Some(path) => match models::weights_of_config(config) {
            Ok(named) => (named.unwrap_or(WeightDtype::Bf16), "as its config.json says"),
            Err(error) => {
                let help = "or say what they are with `weights` in [model]: then it is not read here".to_owned();
                context.problems.add(Some(path.span()), error, Some(help));
                return None;
            }
        },
    };
    if found != WeightDtype::Bf16 {
        context.notes.push(format!("weights of {} are taken as {}, {why}", model.name, found.name()));
    }
    Some(found)
}

/// A profile's name or path, or one of the two words.
fn cost_choice(profile: &At<String>, context: &Context<'_>) -> CostChoice {
    match profile.as_str() {
        "auto" => CostChoice::Auto,
        "roofline" => CostChoice::Roofline,
        path if path.contains('/') || path.ends_with(".toml") => CostChoice::ProfileFile(context.base_dir.join(path)),
        name => CostChoice::Profile(name.to_owned()),
    }
}

/// The host terms given, one by one.
fn host_terms(file: &HostFile) -> [(&'static str, Option<&At<f64>>); 9] {
    [
        ("step_us", file.step_us.as_ref()),
        ("layer_us", file.layer_us.as_ref()),
        ("sync_us", file.sync_us.as_ref()),
        ("schedule_us", file.schedule_us.as_ref()),
        ("schedule_sequence_us", file.schedule_sequence_us.as_ref()),
        ("request_us", file.request_us.as_ref()),
        ("arrival_us", file.arrival_us.as_ref()),
        ("prompt_token_us", file.prompt_token_us.as_ref()),
        ("token_us", file.token_us.as_ref()),
    ]
}

/// Longest host term [us]: a minute. Beyond it, the number is in another unit.
const HOST_US_MAX: f64 = 60e6;

fn check_host(file: Option<&HostFile>, context: &mut Context<'_>) {
    for (key, value) in file.map(host_terms).into_iter().flatten() {
        number(key, value, context, "between 0 and 60,000,000 us (a minute)", |x| (0.0..=HOST_US_MAX).contains(&x));
    }
}

/// The host terms that the scenario gives; the others are the cost model's own.
fn host_overrides(file: &HostFile) -> HostOverrides {
    let [step_us, layer_us, sync_us, schedule_us, schedule_sequence_us, request_us, arrival_us, prompt_token_us, token_us] =
        host_terms(file).map(|(_, value)| value.map(|v| **v));
    HostOverrides {
        step_us,
        layer_us,
        sync_us,
        schedule_us,
        schedule_sequence_us,
        request_us,
        arrival_us,
        prompt_token_us,
        token_us,
    }
}
