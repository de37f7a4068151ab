//! A validation set, evaluated: each run and point is simulated, on all cores.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::compare;
use super::deploy::{scenario_of, scenario_with, settings_of};
use super::groups::{by_concurrency, by_cost, by_group, by_load};
use super::manifest::{KvEntry, KvRow, Manifest, PointsEntry, RunEntry, exclusion, overrides, rules_for};
use super::measured::read_runs;
use super::measured::{LeftOut, Pacing};
use super::points::{self, Benchmark, Point};
use super::report::{KvReport, KvServer, PointReport, PointsReport, RunReport, SCHEMA_VERSION, SetReport};
use crate::scenario::ScenarioErrors;
use tokentide_traces::TraceError;

/// Why a set could not be evaluated.
#[derive(Debug, thiserror::Error)]
pub enum ValidateError {
    /// A data file is wrong.
    #[error(transparent)]
    Data(#[from] TraceError),
    /// A server is wrong.
    #[error(transparent)]
    Server(#[from] ScenarioErrors),
    /// A manifest is wrong.
    #[error("{}: {reason}", file.display())]
    Manifest {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// What an evaluation needs besides the manifest.
#[derive(Clone, Debug)]
pub struct Places {
    /// The folder that data files are relative to.
    pub data: PathBuf,
    /// The folder that scenarios are relative to: the manifest's.
    pub base: PathBuf,
    /// Settings that win over the manifest's.
    pub set: Vec<(String, String)>,
}

/// Evaluates `manifest`.
///
/// # Errors
/// If a data file cannot be read or a run's server is wrong. Points whose server cannot be simulated are left out and counted.
pub fn evaluate(manifest: &Manifest, places: &Places) -> Result<SetReport, ValidateError> {
    Ok(SetReport {
        schema_version: SCHEMA_VERSION,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        name: manifest.name.clone(),
        title: manifest.title.clone(),
        runs: manifest.runs.iter().map(|entry| runs(entry, places)).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect(),
        points: manifest.points.iter().map(|entry| points(entry, places)).collect::<Result<_, _>>()?,
        kv_blocks: manifest.kv_blocks.iter().map(|entry| kv_blocks(entry, places)).collect::<Result<_, _>>()?,
    })
}

/// Evaluates the benchmarks of one file, mostly one.
///
/// # Errors
/// See [`evaluate`].
pub fn runs(entry: &RunEntry, places: &Places) -> Result<Vec<RunReport>, ValidateError> {
    let blocks = entry.blocks.as_ref().map(|path| places.data.join(path));
    let mut measured = read_runs(&places.data.join(&entry.data), blocks.as_deref())?;
    if let Some(clients) = entry.concurrency {
        measured.iter_mut().for_each(|run| run.pacing = Pacing::Closed(clients));
    }
    let path = places.base.join(&entry.scenario);
    let cannot = |error: std::io::Error| ValidateError::Manifest { file: path.clone(), reason: format!("cannot read it: {error}") };
    let text = std::fs::read_to_string(&path).map_err(cannot)?;
    let set: Vec<_> = overrides(&entry.set).into_iter().chain(places.set.iter().cloned()).collect();
    let folder = path.parent().unwrap_or(Path::new("."));
    let scenario = scenario_with(&text, &path.display().to_string(), folder, &set)?;
    let name = |index: usize| match measured.len() {
        1 => entry.name.clone(),
        _ => format!("{} #{}", entry.name, index + 1),
    };
    Ok(measured.par_iter().enumerate().map(|(i, run)| compare::run(&name(i), &entry.about, run, &scenario)).collect())
}

/// Evaluates the points of one file.
///
/// # Errors
/// See [`evaluate`].
pub fn points(entry: &PointsEntry, places: &Places) -> Result<PointsReport, ValidateError> {
    let read = points::read(&places.data.join(&entry.data), &entry.selection, entry.conditions())?;
    let jobs: Vec<Job<'_>> = read.points.iter().map(|point| Job::new(entry, point, places)).collect();
    // Nearly every point has a server of its own, by its lengths and clients, so each builds it.
    let simulate = |job: &Job<'_>| {
        let reason = |reason: &str| format!("{}: {reason}", job.point.group);
        if let Some(why) = job.excluded {
            return Err(reason(why));
        }
        let scenario = scenario_of(&entry.name, &job.settings, &places.base).map_err(|errors| reason(&first_reason(&errors)))?;
        compare::point(job.point, &job.benchmark, &scenario).ok_or_else(|| reason("no request is served whole"))
    };
    let results: Vec<Result<PointReport, String>> = jobs.par_iter().map(simulate).collect();
    let (mut compared, mut left_out) = (Vec::with_capacity(results.len()), read.left_out.clone());
    for result in results {
        match result {
            Ok(report) => compared.push(report),
            Err(reason) => LeftOut::count(&mut left_out, &reason),
        }
    }
    Ok(PointsReport {
        name: entry.name.clone(),
        about: entry.about.clone(),
        groups: by_group(&compared),
        bands: by_concurrency(&compared),
        by_load: by_load(&compared),
        by_cost: by_cost(&compared),
        beyond: beyond(&compared),
        points: compared,
        left_out,
    })
}

/// A point to simulate.
struct Job<'a> {
    point: &'a Point,
    settings: Vec<(String, String)>,
    benchmark: Benchmark,
    excluded: Option<&'a str>,
}

impl<'a> Job<'a> {
    fn new(entry: &'a PointsEntry, point: &'a Point, places: &Places) -> Job<'a> {
        let (rules, benchmark) = rules_for(entry, point);
        let set: Vec<_> = rules.into_iter().chain(places.set.iter().cloned()).collect();
        Job { point, settings: settings_of(point, &benchmark, &set), benchmark, excluded: exclusion(entry, point) }
    }
}

/// How many points leave their profile's measured ranges, by what they exceed.
fn beyond(points: &[PointReport]) -> Vec<LeftOut> {
    let mut list = Vec::new();
    for what in points.iter().flat_map(|point| &point.out_of_range) {
        LeftOut::count(&mut list, what.split(':').next().unwrap_or(what));
    }
    list
}

/// The first thing that is wrong with a server, without what else there would be.
fn first_reason(errors: &ScenarioErrors) -> String {
    let first = errors.0.first().map_or("", |error| error.message.as_str());
    first.split("; known:").next().unwrap_or(first).split(", did you mean").next().unwrap_or(first).to_owned()
}

fn kv_blocks(entry: &KvEntry, places: &Places) -> Result<KvReport, ValidateError> {
    let server = |row: &KvRow| {
        let scenario = scenario_of(&entry.name, &overrides(&row.set), &places.base)?;
        // The engine counts block 0, which cannot be used.
        let predicted = f64::from(scenario.kv_blocks + 1);
        Ok::<_, ValidateError>(KvServer {
            id: row.id.clone(),
            name: compare::server(&scenario).name,
            max_num_batched_tokens: scenario.engine.max_num_batched_tokens,
            blocks: compare::pair(f64::from(row.blocks), predicted),
        })
    };
    let servers = entry.servers.iter().map(server).collect::<Result<_, _>>()?;
    Ok(KvReport { name: entry.name.clone(), about: entry.about.clone(), servers })
}
