//! Sums over the ranks of a group.

use crate::cost::Efficiency;
use crate::cost::curve::interpolate;
use crate::cost::profile::{AllReduceTable, LayerTables, Link};
use crate::gpu::Gpu;

use super::PS_PER_US;

/// All-reduces by message size and ranks: the formula of the profile if it gives one, else its table of those ranks, else the
/// constants of the GPU.
#[derive(Clone, Debug)]
pub(super) struct AllReduces {
    link: Option<Link>,
    tables: Vec<AllReduceTable>,
    constants: Efficiency,
}

impl AllReduces {
    pub(super) fn new(tables: &LayerTables, gpu: &Gpu) -> AllReduces {
        AllReduces { link: tables.link, tables: tables.all_reduce.clone(), constants: Efficiency::of(gpu).0 }
    }

    /// One all-reduce of `bytes` over `ranks` GPUs [us].
    pub(super) fn us(&self, ranks: u32, bytes: f64) -> f64 {
        if ranks <= 1 {
            return 0.0;
        }
        if let Some(Link { latency_us, gib_per_s, memory_gb_per_s }) = self.link {
            let (n, share) = (f64::from(ranks), bytes / f64::from(ranks));
            let sent = latency_us + share / (gib_per_s * f64::from(1u32 << 30)) * PS_PER_US;
            return 2.0 * (n - 1.0) * sent + (n - 1.0) * 3.0 * share / (memory_gb_per_s * 1e9) * PS_PER_US;
        }
        match self.tables.iter().find(|table| table.ranks == ranks) {
            Some(table) => {
                let xs: Vec<f64> = table.bytes.iter().map(|&b| f64::from(b)).collect();
                interpolate(&xs, &table.us, bytes)
            }
            None => self.constants.all_reduce_seconds(ranks, bytes) * PS_PER_US,
        }
    }
}
