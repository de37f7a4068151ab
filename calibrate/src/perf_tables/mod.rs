//! Profiles from measured operator tables of NVIDIA AIConfigurator.
//!
//! A step is the sum of its operators on one rank, times the layers: matrix products by tokens and shape, attention by the heads of
//! a rank, routed experts by tokens, all-reduce by elements in a CUDA graph. Element-wise operators are modelled, not measured. No
//! CPU time is in any of them.
//!
//! Reading order: [`folder`] (where tables lie), [`rows`], [`plausible`] (what is refused), [`line`], [`products`], [`operators`],
//! [`compose`] (the sum).

use std::path::Path;

use tokentide_models::architecture::Architecture;
use tokentide_models::cost::Profile;
use tokentide_models::deployment::{Deployment, KvDtype, WeightDtype};
use tokentide_models::gpu::Gpu;

use crate::CalibrateError;
use crate::fit::{Target, fit_target};
use crate::op_tables::{DecodePoint, OpTables, PrefillPoint, Structure, gpu_label};

mod compose;
mod folder;
mod line;
mod operators;
mod plausible;
mod products;
mod rows;

pub use compose::Composition;
pub use folder::PerfFolder;

/// How tokens choose experts in the measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Routing {
    /// All experts alike.
    Balanced,
    /// A power law of exponent 1.01.
    PowerLaw101,
    /// A power law of exponent 1.2: what AIConfigurator composes its own figures with.
    #[default]
    PowerLaw12,
}

impl Routing {
    /// Its name in the tables.
    pub fn name(self) -> &'static str {
        match self {
            Routing::Balanced => "balanced",
            Routing::PowerLaw101 => "power_law_1.01",
            Routing::PowerLaw12 => "power_law_1.2",
        }
    }
}

/// What to compose.
#[derive(Clone, Copy, Debug)]
pub struct PerfSelection<'a> {
    /// Catalogue name of the GPU.
    pub gpu: &'a str,
    /// Catalogue name of the model.
    pub model: &'a str,
    /// Number format of weights: bf16, fp8 or mxfp4.
    pub weights: WeightDtype,
    /// Number format of the KV cache.
    pub kv: KvDtype,
    /// Tensor-parallel ranks.
    pub tensor_parallel: u32,
    /// Whether the ranks hold whole experts.
    pub expert_parallel: bool,
    /// How tokens choose experts.
    pub routing: Routing,
    /// Version of vLLM; the newest measured if none is given.
    pub engine_version: Option<&'a str>,
    /// Of the routed experts, where it is not as the rest.
    pub experts: ExpertsTable<'a>,
}

/// Where the times of routed experts come from: by default the format of the weights, in the version of the products, the fastest
/// kernel measured.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExpertsTable<'a> {
    /// Part of the kernel's name in the tables, such as `marlin`. A shape that this kernel was not measured at is taken from the
    /// nearest that it was. [`PADDED_KERNEL`] is derived, not measured.
    pub kernel: Option<&'a str>,
    /// Their number format in the tables, such as `fp8_block`.
    pub format: Option<&'a str>,
    /// Version of vLLM in which they were measured.
    pub version: Option<&'a str>,
}

/// The name of DeepGEMM's product over padded rows ([`tokentide_models::padded_experts`]), which no table has.
pub const PADDED_KERNEL: &str = "deepgemm";
/// The number format of the experts that it computes.
pub(crate) const PADDED_FORMAT: &str = "fp8_block";

impl ExpertsTable<'_> {
    /// Whether they are derived, not taken from a table.
    pub(crate) fn padded(&self) -> bool {
        self.kernel == Some(PADDED_KERNEL)
    }
}

impl PerfSelection<'_> {
    /// AIConfigurator's name of the GPU.
    pub(crate) fn gpu_label(&self) -> String {
        match self.gpu {
            "rtx-pro-6000" => "rtx_pro_6000_server".to_owned(),
            other => gpu_label(other).map_or_else(|_| other.replace('-', "_"), str::to_owned),
        }
    }

    /// The deployment, with limits that let every point of the tables run.
    ///
    /// # Errors
    ///
    /// [`CalibrateError::Catalogue`] for an unknown GPU or model.
    pub fn deployment(&self) -> Result<Deployment, CalibrateError> {
        Ok(Deployment {
            expert_parallel: self.expert_parallel,
            weights: self.weights,
            kv: self.kv,
            gpu_memory_utilization: 0.92,
            max_model_len: 4096,
            max_num_batched_tokens: TOKENS_MAX,
            max_num_seqs: TOKENS_MAX,
            ..Deployment::plain(Architecture::find(self.model)?, Gpu::find(self.gpu)?, self.tensor_parallel)
        })
    }

    /// Why this cannot be composed.
    pub(crate) fn refused(&self, reason: String) -> CalibrateError {
        CalibrateError::Refused { selection: self.describe(), reason }
    }

    /// For messages.
    pub fn describe(&self) -> String {
        let whole = if self.expert_parallel { " with whole experts" } else { "" };
        format!("{} {} {} (KV cache {}) tp {}{whole}", self.gpu, self.model, self.weights, self.kv, self.tensor_parallel)
    }
}

/// A profile and what the user should know of the tables it came from.
#[derive(Clone, Debug)]
pub struct PerfImport {
    /// The profile.
    pub profile: Profile,
    /// Rows or tables that are odd but were used.
    pub flags: Vec<String>,
}

/// Largest prompts and batches composed: those that engines run.
const TOKENS_MAX: u32 = 16_384;
const BATCH_MAX: u32 = 512;
/// Shortest contexts composed: below, attention is launching.
const CONTEXT_MIN: u32 = 64;
/// Sequences at which the LM head is given.
pub(crate) const HEAD_SEQUENCES: [u32; 8] = [1, 32, 64, 128, 192, 256, 384, 512];

/// Makes a profile from a folder of operator tables: one GPU's in AIConfigurator's own layout (`gemm/vllm/<version>/...`), or the
/// filtered files `ops_*.parquet`. `date` (`YYYY-MM-DD`) is written into it.
///
/// # Errors
///
/// As [`Composition::new`]; [`CalibrateError`] if there are too few points for a fit, or if the result is faster than the GPU can
/// be.
pub fn import_perf_tables(folder: &Path, selection: &PerfSelection<'_>, date: &str) -> Result<PerfImport, CalibrateError> {
    let composition = Composition::new(&PerfFolder::open(folder)?, selection)?;
    let routing = match Architecture::find(selection.model)?.moe {
        Some(_) if selection.experts.padded() => {
            ", experts derived from the rows that vLLM 0.12 to 0.14 pads them to and the bandwidth of the level-2 cache".to_owned()
        }
        Some(_) => format!(", experts routed {}", selection.routing.name()),
        None => String::new(),
    };
    let target = Target {
        source: format!(
            "kernel times measured by NVIDIA's collector in vLLM (AIConfigurator tables), composed here, element-wise operators \
             modelled, no host time{routing}; errors are of held-out points of the same composition"
        ),
        licence: "as the tables'; AIConfigurator's are Apache-2.0".into(),
        attribution: "Derived from operator tables in the layout of NVIDIA AIConfigurator (Apache-2.0)".into(),
        ..Target::of(selection)?
    };
    let profile = fit_target(&composition.points(), &target, date)?;
    Ok(PerfImport { profile, flags: composition.flags })
}

impl Composition {
    /// Steps at the points measured, and the times between them.
    pub fn points(&self) -> OpTables {
        let decode = self.decode_points().filter(|&(batch, context)| batch <= BATCH_MAX && context >= CONTEXT_MIN);
        let prefill = self.prefill_points().filter(|&(batch, tokens)| tokens >= CONTEXT_MIN && batch * tokens <= TOKENS_MAX);
        let counts = self.token_counts().into_iter().filter(|&tokens| tokens <= TOKENS_MAX);
        let float = f64::from;
        OpTables {
            engine_version: self.version.clone(),
            decode: decode
                .map(|(batch, context)| {
                    let (n, c) = (float(batch), float(context));
                    DecodePoint { batch, context, ms: self.body(n) + self.head(n) + self.decode_attention(n, c) }
                })
                .collect(),
            prefill: prefill
                .map(|(batch, tokens)| {
                    let (n, t) = (float(batch), float(tokens));
                    PrefillPoint { batch, tokens, history: 0, ms: self.body(n * t) + self.head(n) + self.prefill_attention(n, t) }
                })
                .collect(),
            mixed: Vec::new(),
            mixed_elsewhere: Vec::new(),
            head: HEAD_SEQUENCES.map(|sequences| (sequences, self.head(float(sequences)))).into(),
            structure: Structure::Exact(counts.map(|tokens| (tokens, self.body(float(tokens)))).collect()),
        }
    }
}
