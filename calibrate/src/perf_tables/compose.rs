//! The time of a step as the sum of its operators.

use tokentide_models::architecture::{Architecture, Attention};
use tokentide_models::deployment::{ACTIVATION_BYTES, KvDtype, WeightDtype};
use tokentide_models::gpu::{Gpu, elementwise_seconds};
use tokentide_models::padded_experts::PaddedExperts;

use crate::CalibrateError;
use crate::perf_tables::folder::{Operator, PerfFolder, Table};
use crate::perf_tables::line::{Grid, Line};
use crate::perf_tables::operators::{Experts, Heads, all_reduce, attention, experts};
use crate::perf_tables::products::{Peaks, Product, Products};
use crate::perf_tables::{ExpertsTable, PADDED_FORMAT, PADDED_KERNEL, PerfSelection};

/// A sum that ranks exchange for a normalisation is a number of 4 bytes: as long as two activations.
const SUM_NUMBERS: f64 = 2.0;

/// Attention of prompts and of decodes, in one layer.
#[derive(Clone, Debug)]
struct AttentionTimes {
    layers: f64,
    prompts: Grid,
    decodes: Grid,
}

/// Routed experts of one layer, routing and summing included.
#[derive(Clone, Debug)]
enum ExpertTimes {
    Measured(Line),
    Padded(PaddedExperts),
}

impl ExpertTimes {
    /// Time for `tokens` tokens [ms].
    fn at(&self, tokens: f64) -> f64 {
        match self {
            ExpertTimes::Measured(line) => line.at(tokens),
            ExpertTimes::Padded(experts) => experts.seconds(tokens) * 1e3,
        }
    }
}

/// Operator times of one deployment. Times are milliseconds of one step on one rank; no host time is in them.
#[derive(Clone, Debug)]
pub struct Composition {
    layers: f64,
    hidden: f64,
    /// Width of the dense feed-forward activation on a rank; 0 for a mixture, whose table contains it.
    feed_forward: f64,
    products: Vec<Product>,
    experts: Option<ExpertTimes>,
    reduce: Option<Line>,
    /// Whether ranks exchange a sum a token for the norms of queries and of keys.
    norm_across_ranks: bool,
    head: Product,
    attention: Vec<AttentionTimes>,
    bandwidth: f64,
    /// Version of the engine in which the products were measured, and the experts, where that is another one or they were not.
    pub version: String,
    /// What is odd in the tables, or was taken from elsewhere: for the user to see.
    pub flags: Vec<String>,
}

impl Composition {
    /// The operators of a deployment.
    ///
    /// # Errors
    ///
    /// [`CalibrateError`] if a table, a shape or a number format is absent, if a row cannot be, or if the model's attention is
    /// latent, of which these tables hold whole modules only.
    pub fn new(folder: &PerfFolder, selection: &PerfSelection<'_>) -> Result<Composition, CalibrateError> {
        let (gpu, model) = (Gpu::find(selection.gpu)?, Architecture::find(selection.model)?);
        let reader = Reader { folder, selection, gpu: &gpu, model: &model };
        let tp = selection.tensor_parallel;
        if tp == 0 || !model.heads.is_multiple_of(tp) {
            let heads = model.heads;
            return Err(selection.refused(format!("{heads} attention heads cannot be split over {tp} ranks")));
        }
        let mut flags = Vec::new();
        let gemm = reader.table(Operator::Gemm, selection.engine_version)?;
        let (plain, odd) = Products::new(&gemm.rows, "bfloat16", 2.0, reader.peaks(false))?;
        flags.extend(odd);
        let quantised = match selection.weights {
            WeightDtype::Fp8 => Some(Products::new(&gemm.rows, "fp8", 1.0, reader.peaks(true))?),
            _ => None,
        };
        let layer = match quantised {
            Some((products, odd)) => {
                flags.extend(odd);
                products
            }
            None => plain.clone(),
        };
        let mut products: Vec<Product> =
            reader.layer_shapes().into_iter().map(|(n, k)| layer.product(n, k)).collect::<Result<_, _>>()?;
        let experts = reader.experts(&gemm.version, &mut flags)?;
        let of_experts = match &experts {
            Some(ExpertTimes::Padded(_)) => Some("derived"),
            Some(ExpertTimes::Measured(_)) => selection.experts.version.filter(|other| *other != gemm.version),
            None => None,
        };
        if let Some(moe) = &model.moe {
            products.push(plain.product(moe.experts, model.hidden)?);
        }
        Ok(Composition {
            layers: f64::from(model.layers),
            hidden: f64::from(model.hidden),
            feed_forward: if model.moe.is_some() { 0.0 } else { f64::from(model.intermediate) / f64::from(tp) },
            products,
            head: plain.product(model.vocab.div_ceil(tp), model.hidden)?,
            experts,
            reduce: if tp > 1 { Some(reader.reduce(&gemm.version, &mut flags)?) } else { None },
            norm_across_ranks: model.norm_across_ranks,
            attention: reader.attention(&gemm.version, &mut flags)?,
            bandwidth: gpu.memory_bandwidth,
            version: of_experts.map_or(gemm.version.clone(), |other| format!("{}, experts {other}", gemm.version)),
            flags,
        })
    }

    /// Tokens at which products were measured.
    pub fn token_counts(&self) -> Vec<u32> {
        self.products[0].sizes()
    }

    /// Everything but attention and LM head, for `tokens` tokens [ms].
    pub fn body(&self, tokens: f64) -> f64 {
        let products: f64 = self.products.iter().map(|product| product.at(tokens)).sum();
        let experts = self.experts.as_ref().map_or(0.0, |experts| experts.at(tokens));
        let sums = if self.norm_across_ranks { tokens * SUM_NUMBERS } else { 0.0 };
        let reduced = |line: &Line| 2.0 * line.at(tokens * self.hidden) + if sums > 0.0 { 2.0 * line.at(sums) } else { 0.0 };
        let reduce = self.reduce.as_ref().map_or(0.0, reduced);
        // Two normalisations read and write the stream and the residual; the activation reads two halves and writes one.
        let norms = 2.0 * self.elementwise(4.0 * tokens * self.hidden);
        let activation = if self.feed_forward > 0.0 { self.elementwise(3.0 * tokens * self.feed_forward) } else { 0.0 };
        self.layers * (products + experts + reduce + norms + activation) + self.elementwise(2.0 * tokens * self.hidden)
    }

    /// The LM head, for one row of each of `sequences` sequences [ms].
    pub fn head(&self, sequences: f64) -> f64 {
        self.head.at(sequences)
    }

    /// Attention of `batch` decodes of `context` tokens each, the new one included [ms].
    pub fn decode_attention(&self, batch: f64, context: f64) -> f64 {
        self.attention.iter().map(|a| a.layers * a.decodes.at(batch, context)).sum()
    }

    /// Attention of `batch` whole prompts of `tokens` tokens each [ms].
    pub fn prefill_attention(&self, batch: f64, tokens: f64) -> f64 {
        self.attention.iter().map(|a| a.layers * a.prompts.at(batch, tokens)).sum()
    }

    /// (Batch, context) pairs measured of decodes.
    pub fn decode_points(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.attention[0].decodes.points()
    }

    /// (Batch, tokens) pairs measured of prompts.
    pub fn prefill_points(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.attention[0].prompts.points()
    }

    /// An operator that reads and writes `numbers`; none of them is measured [ms].
    fn elementwise(&self, numbers: f64) -> f64 {
        elementwise_seconds(numbers * ACTIVATION_BYTES, 1.0, self.bandwidth) * 1e3
    }
}

/// Reads what a deployment needs.
struct Reader<'a> {
    folder: &'a PerfFolder,
    selection: &'a PerfSelection<'a>,
    gpu: &'a Gpu,
    model: &'a Architecture,
}

impl Reader<'_> {
    /// The table of the version asked for; where the newest is as good, that.
    fn table(&self, operator: Operator, version: Option<&str>) -> Result<Table, CalibrateError> {
        self.folder.table(operator, &self.selection.gpu_label(), self.gpu.memory_bandwidth, version)
    }

    /// The table of the products' version, else the newest, which is flagged.
    fn beside(&self, operator: Operator, version: &str, flags: &mut Vec<String>) -> Result<Table, CalibrateError> {
        self.table(operator, Some(version)).or_else(|_| {
            let newest = self.table(operator, None)?;
            flags.push(format!("{}: of version {}, the products are of {version}", newest.rows.path(), newest.version));
            Ok(newest)
        })
    }

    fn peaks(&self, fp8: bool) -> Peaks {
        let flops = if fp8 { self.gpu.fp8_flops.unwrap_or(self.gpu.bf16_flops) } else { self.gpu.bf16_flops };
        Peaks { flops, bandwidth: self.gpu.memory_bandwidth, cache: self.gpu.l2_bytes as f64 }
    }

    /// (Outputs, inputs) of a layer's products on a rank; a mixture has no dense feed-forward block.
    fn layer_shapes(&self) -> Vec<(u32, u32)> {
        let (model, tp) = (self.model, self.selection.tensor_parallel);
        let heads = (model.heads / tp + 2 * (model.kv_heads / tp).max(1)) * model.head_dim;
        let mut shapes = vec![(heads, model.hidden), (model.hidden, model.heads / tp * model.head_dim)];
        if model.moe.is_none() {
            let width = model.intermediate / tp;
            shapes.extend([(2 * width, model.hidden), (model.hidden, width)]);
        }
        shapes
    }

    fn experts(&self, version: &str, flags: &mut Vec<String>) -> Result<Option<ExpertTimes>, CalibrateError> {
        let Some(moe) = &self.model.moe else { return Ok(None) };
        if moe.shared_intermediate > 0 || moe.dense_layers > 0 {
            let message = "a mixture with shared experts or dense layers is not in these tables".to_owned();
            return Err(self.selection.refused(message));
        }
        if self.selection.experts.padded() {
            return self.padded_experts().map(Some);
        }
        let of_weights = match self.selection.weights {
            WeightDtype::Fp8 => "fp8",
            WeightDtype::Mxfp4 => "w4a16_mxfp4",
            _ => "bfloat16",
        };
        let dtype = self.selection.experts.format.unwrap_or(of_weights);
        let tp = self.selection.tensor_parallel;
        let split = if self.selection.expert_parallel { (1, tp) } else { (tp, 1) };
        let table = match self.selection.experts.version {
            Some(version) => self.table(Operator::Experts, Some(version))?,
            None => self.beside(Operator::Experts, version, flags)?,
        };
        let wanted = Experts {
            dtype,
            moe,
            hidden: self.model.hidden,
            split,
            distribution: self.selection.routing.name(),
            kernel: self.selection.experts.kernel,
        };
        Ok(Some(ExpertTimes::Measured(experts(&table.rows, wanted, flags)?)))
    }

    /// Those that no table has.
    fn padded_experts(&self) -> Result<ExpertTimes, CalibrateError> {
        let ExpertsTable { format, version, .. } = self.selection.experts;
        if version.is_some() || format.is_some_and(|format| format != PADDED_FORMAT) {
            return Err(self.selection.refused(format!(
                "`{PADDED_KERNEL}` is derived, not measured: it has no version, and no format but {PADDED_FORMAT}"
            )));
        }
        let padded = PaddedExperts::of_layout(&self.selection.deployment()?).ok_or_else(|| {
            self.selection.refused(format!(
                "`{PADDED_KERNEL}` computes experts in block fp8, in fewer than 8 slices of whole blocks of 128, and on a GPU \
                 whose level-2 cache was measured"
            ))
        })?;
        Ok(ExpertTimes::Padded(padded))
    }

    /// vLLM's own all-reduce where it was measured, else NCCL's, which is slower at small sizes.
    fn reduce(&self, version: &str, flags: &mut Vec<String>) -> Result<Line, CalibrateError> {
        let ranks = self.selection.tensor_parallel;
        let own = self.beside(Operator::AllReduce, version, flags).and_then(|table| all_reduce(&table.rows, ranks));
        own.or_else(|error| {
            let Ok(nccl) = self.table(Operator::Nccl, None) else { return Err(error) };
            let line = all_reduce(&nccl.rows, ranks)?;
            flags.push(format!("{error}; NCCL {} is taken instead", nccl.version));
            Ok(line)
        })
    }

    fn attention(&self, version: &str, flags: &mut Vec<String>) -> Result<Vec<AttentionTimes>, CalibrateError> {
        let (model, tp) = (self.model, self.selection.tensor_parallel);
        if matches!(model.attention, Attention::Latent { .. }) {
            return Err(self.selection.refused("latent attention is in these tables as whole modules only".to_owned()));
        }
        let prompts = self.beside(Operator::ContextAttention, version, flags)?;
        let decodes = self.beside(Operator::GenerationAttention, version, flags)?;
        let kv_bytes = if self.selection.kv == KvDtype::Fp8 { 1.0 } else { 2.0 };
        let (queries, keys) = (model.heads / tp, (model.kv_heads / tp).max(1));
        let kinds = [(model.full_layers(), None), (model.local_layers(), model.window())];
        let mut times = Vec::new();
        for (layers, window) in kinds.into_iter().filter(|&(layers, _)| layers > 0) {
            let heads = Heads { queries, keys, width: model.head_dim, kv_bytes, window };
            times.push(AttentionTimes {
                layers: f64::from(layers),
                prompts: attention(&prompts.rows, heads, true, self.peaks(false), flags)?,
                decodes: attention(&decodes.rows, heads, false, self.peaks(false), flags)?,
            });
        }
        Ok(times)
    }
}
