//! What came of a sweep.

use serde::Serialize;
use serde_json::Value as Json;
use tokentide_sim::metrics::severity;
use tokentide_sweep::drive::Standing;
use tokentide_sweep::journal::JournalError;
use tokentide_sweep::point::{Params, PointId, canonical};
use tokentide_sweep::row::{PointRows, Ran};
use tokentide_sweep::shard::Shard;
use tokentide_sweep::sweep::Sweep;
use tokentide_tables::SweepStore;

/// Points that a summary shows.
const SHOWN: usize = 40;
/// Different errors that a summary shows.
const ERRORS: usize = 5;

/// Says what came of a sweep.
///
/// # Errors
/// If the results cannot be read.
pub fn summary(store: &mut SweepStore, sweep: &Sweep, shard: Shard, standing: Standing) -> Result<Summary, JournalError> {
    let columns = sweep.columns();
    let (mut points, mut errors, mut failed) = (Vec::new(), Vec::<(String, u64)>::new(), 0);
    for index in (0..sweep.design().points()).filter(|index| shard.has(*index)) {
        let params = sweep.design().point(index);
        let Some(rows) = store.rows(PointId::of(&params))? else { continue };
        let wrong = rows.rows.iter().find_map(|row| row.result.as_ref().err());
        failed += u64::from(wrong.is_some());
        if let Some(why) = wrong {
            match errors.iter_mut().find(|(known, _)| known == why) {
                Some((_, times)) => *times += 1,
                None => errors.push((why.clone(), 1)),
            }
        }
        if points.len() < SHOWN {
            points.push(PointSummary::of(&params, &rows, &|ran, name| ran.figures[columns.place(name)?]));
        }
    }
    let kinds = errors.len();
    errors.truncate(ERRORS);
    let paths = sweep.design().paths();
    Ok(Summary {
        settings: paths.iter().map(|(path, _)| path.clone()).collect(),
        points: standing.points,
        replications: sweep.replications(),
        run: standing.run,
        before: standing.before,
        failed,
        errors,
        errors_of_other_kinds: kinds.saturating_sub(ERRORS),
        output: store.output().map(|path| path.display().to_string()),
        shard: (shard.of > 1).then(|| format!("{}/{}", shard.number, shard.of)),
        shown: points,
    })
}

/// What came of a sweep: what `--format json` prints.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// Paths that are varied.
    pub settings: Vec<String>,
    /// Points of the sweep, or of the shard.
    pub points: u64,
    /// Runs of each.
    pub replications: u32,
    /// Points run now.
    pub run: u64,
    /// Points that were there before.
    pub before: u64,
    /// Points with a failed run.
    pub failed: u64,
    /// The first different errors, and at how many points each.
    pub errors: Vec<(String, u64)>,
    /// Different errors that are not shown.
    pub errors_of_other_kinds: usize,
    /// The table.
    pub output: Option<String>,
    /// Which part.
    pub shard: Option<String>,
    /// The first points.
    pub shown: Vec<PointSummary>,
}

/// The main figures of a point: means over its replications, shown only where all have one.
#[derive(Debug, Serialize)]
pub struct PointSummary {
    /// Settings in their order.
    pub params: Vec<Json>,
    /// Why a run failed.
    pub error: Option<String>,
    /// The worst state of the runs.
    pub state: Option<String>,
    /// Offered load over the knee.
    pub load: Option<f64>,
    /// 95th percentile [ms].
    pub ttft_p95_ms: Option<f64>,
    /// 95th percentile [ms].
    pub tpot_p95_ms: Option<f64>,
    /// Output tokens/s.
    pub output_tokens_per_s: Option<f64>,
    /// All GPUs [USD/h].
    pub usd_per_hour: Option<f64>,
    /// Share of the runs that meet every target; none without targets.
    pub slo_met: Option<f64>,
    /// Whether the times of every run come from measurements, within their ranges.
    pub measured: bool,
}

impl PointSummary {
    fn of(params: &Params, rows: &PointRows, figure: &dyn Fn(&Ran, &str) -> Option<f64>) -> PointSummary {
        let ran: Vec<&Ran> = rows.rows.iter().filter_map(|row| row.result.as_ref().ok()).collect();
        let mean = |of: &dyn Fn(&Ran) -> Option<f64>| {
            let values: Option<Vec<f64>> = ran.iter().map(|ran| of(ran)).collect();
            values.filter(|values| !values.is_empty()).map(|values| values.iter().sum::<f64>() / values.len() as f64)
        };
        // An overloaded run among others is what a reader must know of.
        let state = ran.iter().map(|ran| ran.state.as_str()).max_by_key(|state| severity(state));
        PointSummary {
            params: params.iter().map(|(_, value)| canonical(value)).collect(),
            error: rows.rows.iter().find_map(|row| row.result.as_ref().err().cloned()),
            state: state.map(str::to_owned),
            load: mean(&|ran| figure(ran, "capacity_load")),
            ttft_p95_ms: mean(&|ran| figure(ran, "ttft_ms_p95")),
            tpot_p95_ms: mean(&|ran| figure(ran, "tpot_ms_p95")),
            output_tokens_per_s: mean(&|ran| figure(ran, "output_tokens_per_s")),
            usd_per_hour: mean(&|ran| figure(ran, "cost_usd_per_hour")),
            slo_met: mean(&|ran| ran.slo_met.map(f64::from)),
            measured: ran.iter().all(|ran| ran.calibrated && ran.out_of_range.is_empty()),
        }
    }
}
