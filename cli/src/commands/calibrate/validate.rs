//! `tokentide calibrate validate`

use std::path::{Path, PathBuf};

use clap::Args;
use tokentide_sim::validate::evaluate::{Places, ValidateError, evaluate};
use tokentide_sim::validate::gate::Gate;
use tokentide_sim::validate::manifest::{Manifest, PointsEntry, RunEntry};
use tokentide_sim::validate::points::Benchmark;
use tokentide_sim::validate::report::{About, SetReport};

use crate::args::{Format, Global};
use crate::commands::simulate::assignment;
use crate::diagnostics::Diagnostic;
use crate::engine::{self, Input, diagnostics, trace_failure};
use crate::exit::{Failure, Verdict};
use crate::output::Output;
use crate::validation::{markdown, plot, text};

/// What is compared with what.
#[derive(Args)]
#[command(arg_required_else_help = true)]
pub struct ValidateProfileArgs {
    /// Validation sets (TOML), such as validation/silicon-vllm.toml
    #[arg(value_name = "SET")]
    sets: Vec<PathBuf>,
    /// All validation sets (.toml) of a folder
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["sets", "run", "points"])]
    all: Option<PathBuf>,
    /// A benchmark's requests: CSV (arrival_s, input_tokens, output_tokens, ttft_ms, ...)
    #[arg(long, value_name = "FILE", requires = "scenario", conflicts_with = "sets")]
    run: Option<PathBuf>,
    /// The server that was measured: a scenario, of which model, gpu, engine, cost and host are used
    #[arg(long, value_name = "FILE", requires = "run")]
    scenario: Option<PathBuf>,
    /// Identities of the prompts' blocks, for exact replay of the prefix cache: CSV (request_id, block_ids)
    #[arg(long, value_name = "FILE", requires = "run")]
    blocks: Option<PathBuf>,
    /// Clients of a closed loop; without it requests are sent when they were
    #[arg(long, value_name = "N", requires = "run", value_parser = clap::value_parser!(u32).range(1..))]
    concurrency: Option<u32>,
    /// Closed-loop benchmark points: CSV (gpu, model, precision, tp_size, isl, osl, concurrency, ttft_ms, tpot_ms, ...)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["sets", "run"])]
    points: Option<PathBuf>,
    /// Of the points: lengths are uniform between these shares of the nominal ones [default: 0.8,1.0]
    #[arg(long, value_name = "LOW,HIGH", requires = "points", value_parser = shares)]
    lengths: Option<(f64, f64)>,
    /// Of the points: requests sent per client [default: 10]
    #[arg(long, value_name = "N", requires = "points")]
    requests_per_client: Option<u32>,
    /// Of the points: first requests of each client that are not in the measured means [default: 0]
    #[arg(long, value_name = "N", requires = "points")]
    ramp_per_client: Option<u32>,
    /// Folder of the sets' data [default: $TOKENTIDE_SHARED/data, else ../shared/data]
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Change a value of every server (repeatable)
    #[arg(long, value_name = "PATH=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// Draw predicted against measured as an SVG
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Write the tables as Markdown, with a plot per set in the folder of the same name
    #[arg(long, value_name = "FILE.md")]
    markdown: Option<PathBuf>,
    /// Exit with 1 beyond such errors: ttft=10%,tpot=5% (mean of a run, median of points) or ttft.p99=3%, e2e.mape=2%
    #[arg(long, value_name = "METRIC=N%", value_delimiter = ',')]
    max_error: Vec<Gate>,
}

/// Replays what was measured, and prints how far off the predictions are.
pub fn run(args: &ValidateProfileArgs, global: &Global, output: &Output) -> Result<Verdict, Failure> {
    let reports = evaluate_all(args, global)?;
    match output.format {
        Format::Json if reports.len() == 1 => output.json(&reports[0])?,
        Format::Json => output.json(&reports)?,
        _ => output.text(&reports.iter().map(|r| text::report(r, output.verbose)).collect::<Vec<_>>().join("\n"))?,
    }
    if let Some(path) = &args.plot {
        let svg = plot::svg(&reports).ok_or_else(|| Failure::message("--plot has nothing to draw: no run and no point"))?;
        write(path, &svg)?;
    }
    if let Some(path) = &args.markdown {
        document(path, &reports)?;
    }
    judge(&args.max_error, &reports, output)
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let cannot = |error| Failure::Input(vec![Diagnostic::file(path, format!("cannot write it: {error}"))]);
    path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(path, text)).map_err(cannot)
}

/// Writes `name.md`, and `name/set.svg` for each set that has something to draw.
fn document(path: &Path, reports: &[SetReport]) -> Result<(), Failure> {
    let folder = path.with_extension("");
    let link = |report: &SetReport| {
        let folder = folder.file_name()?.to_string_lossy();
        plot::svg(std::slice::from_ref(report)).map(|_| format!("{folder}/{}.svg", report.name))
    };
    for report in reports {
        if let Some(svg) = plot::svg(std::slice::from_ref(report)) {
            write(&folder.join(format!("{}.svg", report.name)), &svg)?;
        }
    }
    write(path, &markdown::document(reports, link))
}

/// Holds the limits against all that was compared; what fails is told.
fn judge(gates: &[Gate], reports: &[SetReport], output: &Output) -> Result<Verdict, Failure> {
    let mut verdict = Verdict::Pass;
    for gate in gates {
        let judged: Vec<_> = reports.iter().flat_map(|report| gate.judge(report)).collect();
        if judged.is_empty() {
            let what = gate.stat.as_ref().map_or(gate.metric.clone(), |stat| format!("{}.{stat}", gate.metric));
            return Err(Failure::with_help(
                format!("--max-error {what} has nothing to check: it was not measured"),
                "runs have mean, p50, p90, p99 and mape of ttft, tpot, itl, e2e; points have median and mape of ttft and tpot",
            ));
        }
        for failed in judged.iter().filter(|judged| !judged.met) {
            output.note(&format!("{}: {:.1} % is beyond {} %", failed.what, failed.error, gate.limit));
            verdict = Verdict::CheckFailed;
        }
    }
    Ok(verdict)
}

fn evaluate_all(args: &ValidateProfileArgs, global: &Global) -> Result<Vec<SetReport>, Failure> {
    let set = engine::overrides(&Input { set: args.set.clone(), seed: global.seed, ..Input::default() })?;
    let sets = match &args.all {
        Some(folder) => sets_of(folder)?,
        None => args.sets.clone(),
    };
    if sets.is_empty() {
        let places = Places { data: PathBuf::new(), base: PathBuf::new(), set };
        return Ok(vec![evaluate(&own(args)?, &places).map_err(failure)?]);
    }
    let data = data_folder(args.data.as_deref());
    let one = |path: &PathBuf| {
        let manifest = Manifest::read(path).map_err(|reason| Failure::Input(vec![Diagnostic::file(path, reason)]))?;
        let base = path.parent().unwrap_or(Path::new("")).to_owned();
        evaluate(&manifest, &Places { data: data.clone(), base, set: set.clone() }).map_err(failure)
    };
    sets.iter().map(one).collect()
}

/// The validation sets of a folder, in order of name.
fn sets_of(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let cannot = |why: String| Failure::Input(vec![Diagnostic::file(folder, why)]);
    let entries = std::fs::read_dir(folder).map_err(|error| cannot(format!("cannot read the folder: {error}")))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut sets: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
    sets.sort();
    if sets.is_empty() { Err(cannot("there is no validation set (.toml) in this folder".to_owned())) } else { Ok(sets) }
}

/// The folder of the sets' data.
fn data_folder(given: Option<&Path>) -> PathBuf {
    let shared = || std::env::var_os("TOKENTIDE_SHARED").map(|shared| PathBuf::from(shared).join("data"));
    given.map(Path::to_owned).or_else(shared).unwrap_or_else(|| PathBuf::from("../shared/data"))
}

/// `0.8,1.0`
fn shares(text: &str) -> Result<(f64, f64), String> {
    let number = |text: &str| text.trim().parse::<f64>().map_err(|_| format!("`{}` is not a number", text.trim()));
    let (low, high) = text.split_once(',').ok_or("expected LOW,HIGH, such as 0.8,1.0")?;
    Ok((number(low)?, number(high)?))
}

/// What the benchmark of the points did.
fn benchmark(args: &ValidateProfileArgs) -> Result<Benchmark, Failure> {
    let usual = Benchmark::default();
    let benchmark = Benchmark {
        lengths: args.lengths.unwrap_or(usual.lengths),
        requests_per_client: args.requests_per_client.unwrap_or(usual.requests_per_client),
        ramp_per_client: args.ramp_per_client.unwrap_or(usual.ramp_per_client),
        ..usual
    };
    benchmark.check().map(|()| benchmark).map_err(Failure::message)
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned())
}

fn about() -> About {
    About { title: "your own data".to_owned(), ..About::default() }
}

fn empty() -> Manifest {
    Manifest { name: "validation".to_owned(), title: "predicted against measured".to_owned(), ..Manifest::default() }
}

/// The set of one file with requests of a server.
pub(super) fn of_run(data: &Path, scenario: &Path) -> Manifest {
    let mut manifest = empty();
    manifest.runs.push(RunEntry {
        name: file_name(data),
        data: data.to_owned(),
        blocks: None,
        scenario: scenario.to_owned(),
        set: Default::default(),
        concurrency: None,
        about: about(),
    });
    manifest
}

/// The set of a user's own data.
fn own(args: &ValidateProfileArgs) -> Result<Manifest, Failure> {
    match (&args.run, &args.scenario, &args.points) {
        (Some(data), Some(scenario), _) => {
            let mut manifest = of_run(data, scenario);
            for run in &mut manifest.runs {
                run.blocks.clone_from(&args.blocks);
                run.concurrency = args.concurrency;
            }
            Ok(manifest)
        }
        (_, _, Some(data)) => {
            let mut manifest = empty();
            manifest.points.push(PointsEntry {
                name: file_name(data),
                data: data.clone(),
                selection: Default::default(),
                benchmark: benchmark(args)?,
                rules: Vec::new(),
                leave_out: Vec::new(),
                about: about(),
            });
            Ok(manifest)
        }
        _ => Err(Failure::with_help("there is nothing to validate", "name a validation set, --run or --points")),
    }
}

/// What to tell of data, servers and sets that are wrong.
pub(super) fn failure(error: ValidateError) -> Failure {
    match error {
        ValidateError::Data(error) => trace_failure(&error),
        ValidateError::Server(errors) => diagnostics(errors),
        ValidateError::Manifest { file, reason } => Failure::Input(vec![Diagnostic::file(&file, reason)]),
    }
}
