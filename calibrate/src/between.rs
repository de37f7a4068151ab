//! How step times run between the points of the composed tables.
//!
//! Those points are at round token counts, where kernels are at their best: on Hopper, an fp8 product of 257 tokens takes up to 2.4
//! times as long as one of 256 (raw rows of vLLM 0.24.0: 34.8 and 82.8 us for 8,192 x 7,168), and a step of a chunk and decodes is
//! hardly ever round. The raw tables have both sides of each such step, so they give the form between the points, while the points
//! stay as they are. A mixture's form is the roofline's: it knows how many experts some tokens wake.

use std::path::Path;

use tokentide_models::cost::{BatchShape, CostModel, Efficiency, Roofline, Work};
use tokentide_models::deployment::Deployment;

use crate::CalibrateError;
use crate::op_tables::{OpTables, Selection, Structure};
use crate::perf_tables::{Composition, HEAD_SEQUENCES, PerfFolder};

/// Token counts at which a mixture's form is taken.
const TOKENS: [u32; 28] = [
    1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12_288,
    16_384,
];

/// Source of the form between points.
#[derive(Debug)]
pub struct Between {
    raw: Option<PerfFolder>,
}

impl Between {
    /// From the raw tables in a folder, if it has them.
    pub fn open(folder: &Path) -> Between {
        Between { raw: PerfFolder::open(folder).ok() }
    }

    /// Points with the LM head that they contain, modelled, and with the form between them. A mixture and a combination that the
    /// raw tables lack take the form of the roofline.
    ///
    /// # Errors
    ///
    /// [`CalibrateError`] if the GPU or model is unknown to the catalogue, or the layout makes no sense.
    pub fn complete(&self, points: OpTables, selection: &Selection<'_>) -> Result<OpTables, CalibrateError> {
        let perf = selection.perf()?;
        let deployment = perf.deployment()?;
        let roofline = Roofline::new(&deployment)?;
        let head = Head { work: &Work::new(&deployment)?, efficiency: roofline.efficiency(), deployment: &deployment };
        let raw = self.raw.as_ref().filter(|_| deployment.model.moe.is_none()).and_then(|raw| Composition::new(raw, &perf).ok());
        let form = match raw {
            Some(raw) => raw.token_counts().into_iter().map(|tokens| (tokens, raw.body(f64::from(tokens)))).collect(),
            None => TOKENS
                .into_iter()
                .map(|tokens| {
                    let step = BatchShape { decodes: tokens, sampled: tokens, ..BatchShape::default() };
                    (tokens, roofline.iteration(&step).as_millis_f64() - head.ms(f64::from(tokens)))
                })
                .collect(),
        };
        let head = HEAD_SEQUENCES.map(|sequences| (sequences, head.ms(f64::from(sequences)))).into();
        Ok(OpTables { head, structure: Structure::Form(form), ..points })
    }
}

/// The LM head as the roofline prices it: no composed table gives it apart.
struct Head<'a> {
    work: &'a Work,
    efficiency: &'a Efficiency,
    deployment: &'a Deployment,
}

impl Head<'_> {
    /// Time for one row of each sequence [ms].
    fn ms(&self, sequences: f64) -> f64 {
        let (head, gpu) = (&self.work.head, &self.deployment.gpu);
        let gemm = self.efficiency.gemm(head.arithmetic);
        let filled = sequences / (sequences + gemm.half_rows) * head.outputs / (head.outputs + gemm.half_outputs);
        let compute = head.flops(sequences) / (gpu.bf16_flops * gemm.peak_fraction * filled);
        let read = head.bytes(sequences) / (gpu.memory_bandwidth * gemm.bandwidth_fraction);
        (compute.max(read) + gemm.launch_us * 1e-6) * 1e3
    }
}
