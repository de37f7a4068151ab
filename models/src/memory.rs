//! Weights, KV bytes per token, and the KV blocks of a deployment.
//!
//! ```text
//! requested  = ceil(memory * gpu_memory_utilization)                         per GPU
//! num_blocks = floor((requested - weights - reserve) / bytes_per_block)      the least over the pipeline stages
//! ```
//!
//! Source: vLLM 0.15 to 0.32, `determine_available_memory` and `get_kv_cache_config`; checked against the block counts of nine real
//! servers in this module's tests.

use std::ops::Range;

use crate::architecture::Attention;
use crate::architecture::parameters::Shard;
use crate::deployment::{Deployment, WeightDtype};
use crate::padded_experts::PaddedExperts;

mod error;

pub use error::MemoryError;

/// Memory that is neither weights nor KV cache, per GPU [bytes]: CUDA context and libraries, and the peak activations of the
/// profile run. 1.2 GiB.
///
/// Source: one constant fitted to the block counts of nine real servers with dense models (vLLM 0.15.1 on H100, 0.19.0 on
/// RTX 4090), which imply 0.33 to 1.41 GiB each; with the constant the counts err by -1.5 to +0.6 %. In-sample: nothing outside
/// those nine has been checked. It grows with the token budget (+0.2 GiB from 2,048 to 8,192 on a 70B model), and from 0.21 on the
/// engine subtracts an estimate of its CUDA graphs too (0.1 to 0.7 GiB in published logs), which is not in it.
pub const RESERVE_BYTES: u64 = (12 << 30) / 10;

/// Where the memory of each GPU of a replica goes. All GPUs have the same number of blocks; the byte counts are those of the
/// stage with the least room.
#[derive(Clone, Debug, PartialEq)]
pub struct MemoryPlan {
    /// What the engine may take: memory times `gpu_memory_utilization` [bytes per GPU].
    pub requested: u64,
    /// Weights [bytes per GPU].
    pub weights: u64,
    /// Neither weights nor KV cache [bytes per GPU].
    pub reserve: u64,
    /// KV cache: `num_gpu_blocks * bytes_per_block` [bytes per GPU].
    pub kv: u64,
    /// One KV block [bytes per GPU].
    pub bytes_per_block: u64,
    /// One token's KV cache [bytes per GPU].
    pub kv_bytes_per_token: u64,
    /// KV blocks of one engine core (with data parallelism a replica has several) as it counts them: with block 0, which is never
    /// allocated.
    pub num_gpu_blocks: u32,
    /// Tokens that `num_gpu_blocks` hold, as the engine logs it [tokens]. A token takes room on every tensor-parallel rank, so this
    /// is the engine core's capacity, not one GPU's.
    pub kv_tokens: u64,
    /// Whether the block count is the server's own and not this program's.
    pub overridden: bool,
    /// What is assumed or left out: empty where the plan rests on the checked formula alone.
    pub notes: Vec<String>,
}

impl MemoryPlan {
    /// Blocks that can be allocated: all but block 0.
    pub fn usable_blocks(&self) -> u32 {
        self.num_gpu_blocks.saturating_sub(1)
    }
}

/// Plans the memory of a replica, and does the checks that the engine does at start-up.
///
/// # Errors
/// [`MemoryError::Layout`] for settings no engine takes, [`MemoryError::Weights`] where weights and reserve leave no room for the
/// cache, [`MemoryError::Context`] where one sequence of `max_model_len` does not fit it. The latter two say by how much, and which
/// single change would help.
pub fn plan(deployment: &Deployment) -> Result<MemoryPlan, MemoryError> {
    fit(deployment).map_err(|error| error::with_remedies(error, deployment))
}

/// [`plan`] without the advice, which itself plans changed deployments.
fn fit(deployment: &Deployment) -> Result<MemoryPlan, MemoryError> {
    check_settings(deployment)?;
    check_split(deployment)?;
    let mut plan = tightest_stage(deployment);
    let needed = plan.weights.saturating_add(plan.reserve);
    let room = plan.requested.checked_sub(needed);
    match (deployment.num_gpu_blocks, room) {
        (Some(blocks), _) => override_blocks(&mut plan, deployment, blocks, room),
        (None, Some(room)) => {
            let blocks = clamp_blocks(room / plan.bytes_per_block);
            set_blocks(&mut plan, deployment, blocks);
        }
        (None, None) => {
            return Err(MemoryError::Weights {
                model: deployment.model.name.clone(),
                gpu: deployment.gpu.name.clone(),
                weights: plan.weights,
                reserve: plan.reserve,
                requested: plan.requested,
                remedies: Vec::new(),
            });
        }
    }
    add_notes(&mut plan, deployment);
    let needed = deployment.max_model_len.div_ceil(deployment.block_size);
    if needed > plan.num_gpu_blocks {
        let largest = u64::from(plan.num_gpu_blocks) * u64::from(deployment.block_size);
        return Err(MemoryError::Context {
            model: deployment.model.name.clone(),
            max_model_len: deployment.max_model_len,
            kv_bytes: u64::from(needed).saturating_mul(plan.bytes_per_block),
            room: plan.kv,
            largest,
            conservative: matches!(deployment.model.attention, Attention::Sliding { .. }),
            remedies: Vec::new(),
        });
    }
    Ok(plan)
}

fn clamp_blocks(blocks: u64) -> u32 {
    u32::try_from(blocks).unwrap_or(u32::MAX)
}

fn set_blocks(plan: &mut MemoryPlan, deployment: &Deployment, blocks: u32) {
    plan.num_gpu_blocks = blocks;
    plan.kv_tokens = u64::from(blocks) * u64::from(deployment.block_size);
    plan.kv = u64::from(blocks).saturating_mul(plan.bytes_per_block);
}

/// Takes the server's own count, and says how far the formula is from it.
fn override_blocks(plan: &mut MemoryPlan, deployment: &Deployment, blocks: u32, room: Option<u64>) {
    plan.overridden = true;
    set_blocks(plan, deployment, blocks);
    let formula = room.map_or(0, |room| room / plan.bytes_per_block);
    plan.notes.push(format!("num_gpu_blocks = {blocks} as given; the formula gives {formula}"));
    if let Some(groups) = layer_groups(deployment).filter(|groups| *groups > 1) {
        plan.notes.push(format!(
            "a hybrid cache counts blocks of one layer group ({groups} groups here): short sequences take up to {groups} such \
             blocks per {} tokens, so the capacity may be overestimated as much",
            deployment.block_size
        ));
    }
}

/// The layer groups of vLLM's hybrid cache: full and local layers in groups of the smaller kind's number.
fn layer_groups(deployment: &Deployment) -> Option<u32> {
    let (local, full) = (deployment.model.local_layers(), deployment.model.full_layers());
    let group = local.min(full);
    (group > 0).then(|| local.div_ceil(group) + full.div_ceil(group))
}

/// How to know better.
const ASK: &str = "better is what vLLM logs at its start, KV cache tokens / block_size, as engine.num_gpu_blocks_override";

/// What the figures rest on beside the formula.
fn add_notes(plan: &mut MemoryPlan, deployment: &Deployment) {
    let model = &deployment.model;
    if let Some(reason) = &model.approximate {
        plan.notes.push(format!("approximate: {reason}"));
    }
    if plan.overridden {
        return;
    }
    if model.moe.is_some() || matches!(model.attention, Attention::Latent { .. }) {
        plan.notes.push(format!(
            "the number of KV blocks is an estimate for this kind of model (checked on dense ones with full attention): {ASK}"
        ));
    }
    if deployment.weights != WeightDtype::Bf16 {
        plan.notes.push(format!(
            "the number of KV blocks is an estimate for {} weights (checked with bf16 and fp16): {ASK}",
            deployment.weights
        ));
    }
}

/// Buffers of the rows of padded experts in the largest step, which the profile run of the engine allocates [bytes]. Derived from
/// the engine's sources, not measured.
fn padded_experts(deployment: &Deployment) -> u64 {
    let tokens = f64::from(deployment.max_num_batched_tokens) * f64::from(deployment.data_parallel);
    PaddedExperts::of(deployment).map_or(0, |experts| experts.workspace_bytes(tokens))
}

/// The stage whose weights leave room for the fewest blocks: it decides for all.
fn tightest_stage(deployment: &Deployment) -> MemoryPlan {
    let memory = deployment.gpu.memory_bytes as f64;
    let requested = (memory * deployment.gpu_memory_utilization).ceil() as u64;
    let stages = stage_layers(deployment.model.layers, deployment.pipeline_parallel);
    let plans = stages.into_iter().map(|layers| {
        let per_token = kv_bytes_per_token(deployment, layers.end - layers.start);
        MemoryPlan {
            requested,
            weights: stage_weights(deployment, layers),
            reserve: RESERVE_BYTES + padded_experts(deployment),
            kv: 0,
            bytes_per_block: per_token.saturating_mul(u64::from(deployment.block_size)).max(1),
            kv_bytes_per_token: per_token,
            num_gpu_blocks: 0,
            kv_tokens: 0,
            overridden: false,
            notes: Vec::new(),
        }
    });
    // Blocks of the stage, then the least missing where even the weights do not fit.
    let room = |plan: &MemoryPlan| i128::from(plan.requested) - i128::from(plan.weights) - i128::from(plan.reserve);
    plans.min_by_key(|plan| (room(plan).div_euclid(i128::from(plan.bytes_per_block)), room(plan))).expect("a stage at least")
}

/// The layers of each pipeline stage. Source: vLLM `get_pp_indices`: what does not divide goes, one each, to the stages before
/// the last, from the back.
pub fn stage_layers(layers: u32, stages: u32) -> Vec<Range<u32>> {
    let stages = stages.max(1);
    let (each, rest) = (layers / stages, layers % stages);
    let mut start = 0;
    (0..stages)
        .map(|stage| {
            let from_back = stages - stage;
            let extra = u32::from(from_back >= 2 && from_back <= rest + 1);
            let range = start..start + each + extra;
            start = range.end;
            range
        })
        .collect()
}

/// Weights of the layers `layers` on one GPU, the fullest one [bytes].
pub fn stage_weights(deployment: &Deployment, layers: Range<u32>) -> u64 {
    let shard = Shard {
        tensor_parallel: deployment.tensor_parallel,
        data_parallel: deployment.data_parallel,
        expert_parallel: deployment.expert_parallel,
    };
    deployment.model.parameters_of(layers, shard).bytes(deployment.weights)
}

/// One token's KV cache in `layers` layers on one GPU [bytes]. Key-value heads are split over the tensor-parallel ranks, and
/// replicated where there are fewer of them; latent attention keeps its one vector on every rank.
pub fn kv_bytes_per_token(deployment: &Deployment, layers: u32) -> u64 {
    let model = &deployment.model;
    let whole = model.kv_bytes_per_token_layer(deployment.kv);
    let per_layer = match model.attention {
        Attention::Latent { .. } => whole,
        Attention::Full | Attention::Sliding { .. } => {
            let heads = u64::from(model.kv_heads.max(1));
            whole / heads * heads.div_ceil(u64::from(deployment.tensor_parallel.max(1)))
        }
    };
    per_layer.saturating_mul(u64::from(layers))
}

/// Refuses single settings out of range.
fn check_settings(deployment: &Deployment) -> Result<(), MemoryError> {
    let at_least_one = [
        ("tensor_parallel", deployment.tensor_parallel),
        ("pipeline_parallel", deployment.pipeline_parallel),
        ("data_parallel", deployment.data_parallel),
        ("block_size", deployment.block_size),
        ("max_model_len", deployment.max_model_len),
        ("max_num_batched_tokens", deployment.max_num_batched_tokens),
        ("max_num_seqs", deployment.max_num_seqs),
        ("num_gpu_blocks", deployment.num_gpu_blocks.unwrap_or(1)),
    ];
    if let Some((field, _)) = at_least_one.iter().find(|(_, value)| *value == 0) {
        return Err(MemoryError::Layout { field, value: "0".to_owned(), reason: "must be at least 1".to_owned() });
    }
    let utilization = deployment.gpu_memory_utilization;
    if !(utilization > 0.0 && utilization <= 1.0) {
        let reason = "must be above 0 and at most 1".to_owned();
        return Err(MemoryError::Layout { field: "gpu_memory_utilization", value: utilization.to_string(), reason });
    }
    if deployment.weights == WeightDtype::Mxfp4 && deployment.model.moe.is_none() {
        let reason = format!("quantises routed experts only, and {} has none", deployment.model.name);
        return Err(MemoryError::Layout { field: "weights", value: deployment.weights.to_string(), reason });
    }
    Ok(())
}

/// Refuses splits that the engine refuses: what is divided over ranks must divide evenly.
fn check_split(deployment: &Deployment) -> Result<(), MemoryError> {
    let (model, tp, pp) = (&deployment.model, deployment.tensor_parallel, deployment.pipeline_parallel);
    let layout = |field, value: u32, reason| Err(MemoryError::Layout { field, value: value.to_string(), reason });
    if pp > model.layers {
        return layout("pipeline_parallel", pp, format!("{} has {} layers only", model.name, model.layers));
    }
    let widths = [
        ("attention heads", Some(model.heads)),
        // Fewer key-value heads than ranks are replicated, which takes a whole number of ranks each.
        ("key-value heads", is_split(model.kv_heads, tp, &model.attention)),
        ("dense feed-forward width", model.moe.as_ref().is_none_or(|moe| moe.dense_layers > 0).then_some(model.intermediate)),
    ];
    for (what, width) in widths {
        if let Some(width) = width.filter(|width| !width.is_multiple_of(tp)) {
            return layout("tensor_parallel", tp, format!("does not divide the {width} of {}'s {what}", model.name));
        }
    }
    check_experts(deployment)?;
    if deployment.expert_parallel && model.moe.is_none() {
        return Err(MemoryError::Layout {
            field: "expert_parallel",
            value: "true".to_owned(),
            reason: format!("{} has no experts", model.name),
        });
    }
    if model.kv_heads < tp && !tp.is_multiple_of(model.kv_heads.max(1)) {
        let reason = format!("is no multiple of the {} key-value heads of {}", model.kv_heads, model.name);
        return layout("tensor_parallel", tp, reason);
    }
    Ok(())
}

/// Refuses experts that cannot be laid over the ranks: sliced, their width must divide; whole, there must be one for each rank.
fn check_experts(deployment: &Deployment) -> Result<(), MemoryError> {
    let Some(moe) = &deployment.model.moe else { return Ok(()) };
    let (ranks, name) = (deployment.expert_ranks(), &deployment.model.name);
    let reason = match deployment.expert_parallel {
        false if moe.intermediate.is_multiple_of(ranks) => return Ok(()),
        false => format!(
            "{ranks} ranks do not divide the {} of {name}'s expert width; expert_parallel keeps experts whole",
            moe.intermediate
        ),
        true if ranks <= moe.experts => return Ok(()),
        true => format!("{ranks} ranks are more than the {} experts of {name}", moe.experts),
    };
    let (field, value) = match deployment.data_parallel {
        1 => ("tensor_parallel", deployment.tensor_parallel),
        ranks => ("data_parallel", ranks),
    };
    Err(MemoryError::Layout { field, value: value.to_string(), reason })
}

/// The key-value heads where they are divided over the ranks.
fn is_split(kv_heads: u32, tp: u32, attention: &Attention) -> Option<u32> {
    (kv_heads >= tp && !matches!(attention, Attention::Latent { .. })).then_some(kv_heads)
}

#[cfg(test)]
mod tests;
