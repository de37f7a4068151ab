//! Two pools in place of one, by length or by class: each sized on its own.

use serde::Serialize;

use super::Candidate;
use super::option::OptionRow;
use crate::scenario::{Scenario, Serves};

/// A way to split the workload.
#[derive(Clone, Debug, PartialEq)]
pub enum Split {
    /// Prompts up to this many tokens to one pool, longer ones to the other.
    Length(u32),
    /// These classes to one pool, those to the other.
    Classes([Vec<String>; 2]),
}

impl Split {
    /// What the two pools are called.
    pub fn names(&self) -> [String; 2] {
        match self {
            Split::Length(tokens) => [format!("prompts up to {tokens}"), format!("prompts above {tokens}")],
            Split::Classes(pools) => pools.clone().map(|classes| classes.join(", ")),
        }
    }

    /// Whom the two pools serve.
    fn serves(&self, scenario: &Scenario) -> [Serves; 2] {
        match self {
            Split::Length(tokens) => [Serves::lengths(0, *tokens), Serves::lengths(tokens.saturating_add(1), u32::MAX)],
            Split::Classes(pools) => pools.clone().map(|names| Serves {
                input: None,
                classes: Some(scenario.classes.iter().map(|class| names.contains(&class.name)).collect()),
            }),
        }
    }
}

/// One pool on one option.
pub struct Pool {
    pub(super) split: usize,
    pub(super) side: usize,
    pub(super) candidate: Candidate,
}

/// A split, each pool on the option that is cheapest for it.
#[derive(Clone, Debug, Serialize)]
pub struct SplitRow {
    /// The two pools; each has the name of its share of the workload in `option`.
    pub pools: Vec<OptionRow>,
    /// Price of both; `None` if one has no answer or no price [USD/h].
    pub usd_per_hour: Option<f64>,
    /// GPUs of both.
    pub gpus: Option<u32>,
}

/// Both pools of every split on every option that can run.
pub fn candidates(candidates: &[Candidate], splits: &[Split]) -> Vec<Pool> {
    let mut pools = Vec::new();
    for (split, way) in splits.iter().enumerate() {
        for side in 0..2 {
            for candidate in candidates {
                let Ok(scenario) = &candidate.scenario else { continue };
                let name = match candidate.name.as_str() {
                    "" => way.names()[side].clone(),
                    option => format!("{}: {option}", way.names()[side]),
                };
                let scenario = scenario.serving(&way.serves(scenario)[side]);
                pools.push(Pool { split, side, candidate: Candidate { name, scenario } });
            }
        }
    }
    pools
}

/// The cheapest option of each pool. `rows` are those of `pools`.
pub fn cheapest(splits: &[Split], pools: &[Pool], rows: Vec<OptionRow>) -> Vec<SplitRow> {
    let best = |split: usize, side: usize| -> Option<OptionRow> {
        let here = pools.iter().zip(&rows).filter(|(pool, _)| pool.split == split && pool.side == side);
        let key =
            |row: &OptionRow| (row.replicas.is_none(), row.usd_per_hour.unwrap_or(f64::INFINITY), row.gpus.unwrap_or(u32::MAX));
        let better = |a: &&OptionRow, b: &&OptionRow| {
            let (a, b) = (key(a), key(b));
            a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2))
        };
        here.map(|(_, row)| row).min_by(better).cloned()
    };
    let split_row = |split: usize| {
        let pools: Vec<OptionRow> = (0..2).filter_map(|side| best(split, side)).collect();
        SplitRow {
            usd_per_hour: pools.iter().map(|row| row.usd_per_hour).sum(),
            gpus: pools.iter().map(|row| row.gpus).sum(),
            pools,
        }
    };
    (0..splits.len()).map(split_row).collect()
}
