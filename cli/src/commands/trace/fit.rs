//! `tokentide trace fit`

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use tokentide_compare::tokens::play;
use tokentide_sim::report::Report;
use tokentide_sim::run::{RunOptions, simulate};
use tokentide_sim::scenario::{self, Scenario, TraceConfig, TraceFormat};
use tokentide_sim::workload::Request;
use tokentide_traces::TraceRow;
use tokentide_traces::fit::{By, FitOptions, Fitted, fit};
use tokentide_traces::survey::counts::{Counts, Quantiles};
use tokentide_traces::survey::{Figures, Survey};
use tokentide_traces::transform::{Changes, transform};

use super::page::{self, PageArgs};
use super::source::SourceArgs;
use crate::args::{Format, Global};
use crate::engine::{DEFAULT_DEPLOYMENT, diagnostics, run_failure};
use crate::exit::{Failure, Verdict};
use crate::output::Output;
use crate::text::fit as text;
use crate::text::units::{exact, time};

/// Requests of the fit that are looked at, in so many draws at most, and draws that are simulated.
const REQUESTS: u64 = 1_000_000;
const DRAWS_MAX: u64 = 64;
const SIMULATED: usize = 8;
/// Load at which the fit is held to the trace.
const LOAD: f64 = 0.6;
/// Near enough to it.
const LOAD_NEAR: f64 = 0.01;
/// Hashes of drawn requests that are held, after which no further draw is simulated.
const BLOCKS_MAX: usize = 1 << 25;

/// What to fit.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    tokentide trace fit trace.parquet -o workload.toml\n  \
    tokentide trace fit litellm.jsonl.gz --by tenant --on scenarios/support-rag.toml -o workload.toml\n  \
    tokentide trace fit before.prom after.prom --interval 5m --on scenarios/support-rag.toml -o workload.toml")]
pub struct FitArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// By what requests are put into classes; `auto` takes the first label with two to eight values, else the prompt's length
    #[arg(long, value_name = "WHAT", default_value = "auto", value_parser = by)]
    by: By,
    /// A scenario whose model, GPU, engine and cluster are taken; by default Llama-3.1-8B on an H100
    #[arg(long, value_name = "SCENARIO")]
    on: Option<PathBuf>,
    /// Steps of all rate curves together, at most
    #[arg(long, value_name = "N", default_value = "2048", value_parser = clap::value_parser!(u32).range(16..=100_000))]
    steps: u32,
    /// Do not simulate the trace and the fit to compare them
    #[arg(long)]
    no_check: bool,
    #[command(flatten)]
    pages: PageArgs,
}

fn by(name: &str) -> Result<By, String> {
    Ok(match name {
        "auto" => By::Auto,
        "class" => By::Class,
        "route" => By::Route,
        "tenant" => By::Tenant,
        "model" => By::Model,
        "size" => By::Size,
        "none" => By::None,
        _ => return Err("known are auto, class, route, tenant, model, size, none".to_owned()),
    })
}

/// How well a fitted scenario stands for its trace.
#[derive(Debug, Serialize)]
pub struct Goodness {
    /// The trace.
    pub trace: Figures,
    /// The requests of the scenario.
    pub fitted: Figures,
    /// Largest relative error of the quantiles p5 to p99, of input and of output tokens.
    pub quantile_error: f64,
    /// Longest sequence of the scenario's engine [tokens].
    pub context: u32,
    /// Whether some of the fit are conversations.
    pub conversations: bool,
    /// Both simulated at the same share of capacity, if that was done.
    pub simulated: Option<Simulated>,
    /// Why it was not.
    pub not_simulated: Option<String>,
}

/// Trace and fit on the same deployment.
#[derive(Debug, Serialize)]
pub struct Simulated {
    /// Both arrive so many times as fast as the trace did.
    pub rate_scale: f64,
    /// Load of the trace.
    pub load: f64,
    /// TTFT p95 of the trace [ms].
    pub trace_ttft_p95_ms: f64,
    /// TTFT p95 of the fit, the mean of its draws [ms].
    pub fitted_ttft_p95_ms: f64,
    /// Lowest and highest of them [ms].
    pub fitted_range_ms: [f64; 2],
    /// Of the prompt tokens, found in the prefix cache: in the trace, and in the mean of the draws. `None` if the trace has no
    /// hashes; then nothing is to be found.
    pub hit_shares: Option<[f64; 2]>,
    /// How many there are.
    pub draws: usize,
}

/// Fits a scenario and says how well it stands for the trace.
///
/// # Errors
/// If the trace cannot be read, or the scenario cannot be written.
pub fn run(args: &FitArgs, global: &Global, output: &Output) -> Result<Verdict, Failure> {
    if args.source.is_pages()? {
        return page::run(args.source.files(), args.on.as_deref(), &args.pages, args.no_check, output);
    }
    if args.pages.is_given() {
        return Err(Failure::message("--interval, --rate and --served-model are for metrics pages, which these files are not"));
    }
    let mut rows = Vec::new();
    args.source.read(global, &mut |row| {
        rows.push(row);
        Ok(())
    })?;
    let seed = global.seed.unwrap_or(42);
    let options = FitOptions { by: args.by, steps_max: args.steps as usize, seed, ..FitOptions::default() };
    let mut fitted = fit(&rows, &options);
    let (count, span) = (exact(rows.len() as u64), time(fitted.span_s * 1e3));
    let made_of = format!("{}: {count} requests over {span}", args.source.names());
    let base = base(args.on.as_deref())?;
    let scenario = parsed(&text::scenario(&fitted, &base, &made_of), args.on.as_deref())?;
    let goodness = goodness(rows, &fitted, &scenario, args.no_check)?;
    fitted.notes.extend(text::unshared(&goodness));
    let toml = text::scenario(&fitted, &base, &made_of);
    match output.format {
        Format::Json => output.json(&serde_json::json!({ "scenario": toml, "goodness": goodness, "notes": fitted.notes }))?,
        _ => show(&toml, &text::goodness(&goodness, &fitted.notes), output)?,
    }
    Ok(Verdict::Pass)
}

/// What the text of a fit says, which is put `on` a scenario.
///
/// # Errors
/// If that scenario is not one to put it on.
pub fn parsed(toml: &str, on: Option<&Path>) -> Result<Scenario, Failure> {
    let folder = on.and_then(Path::parent).unwrap_or(Path::new(".")).to_owned();
    Ok(scenario::parse(toml, "fitted.toml", &folder, &[]).map_err(diagnostics)?.scenario)
}

/// The scenario, and beside it how well it does.
///
/// # Errors
/// If it cannot be written.
pub fn show(toml: &str, report: &str, output: &Output) -> Result<(), Failure> {
    output.text(toml)?;
    match output.path() {
        Some(_) => output.beside_file().text(report)?,
        None => report.lines().for_each(|line| output.note(line)),
    }
    Ok(())
}

/// All of a scenario but its workload.
///
/// # Errors
/// If it cannot be read.
pub fn base(path: Option<&Path>) -> Result<toml::Table, Failure> {
    let cannot = |what: String| Failure::message(format!("cannot read the scenario: {what}"));
    let text = match path {
        Some(path) => std::fs::read_to_string(path).map_err(|e| cannot(format!("{}: {e}", path.display())))?,
        None => DEFAULT_DEPLOYMENT.to_owned(),
    };
    let mut table: toml::Table = text.parse().map_err(|e: toml::de::Error| cannot(e.to_string()))?;
    for key in ["name", "description", "class", "trace", "duration", "requests", "warmup", "check", "autoscaler"] {
        table.remove(key);
    }
    Ok(table)
}

/// Requests of a scenario as rows, as if every answer came at once; with hashes of the prompt's full blocks of `block` tokens.
///
/// # Errors
/// If they cannot be drawn.
pub fn requests(scenario: &Scenario, block: Option<u32>) -> Result<Vec<TraceRow>, Failure> {
    let mut rows = Vec::new();
    let mut visit = |request: &Request, _: &[String], _: Option<u32>| {
        rows.push(TraceRow {
            arrival_ps: request.arrival.0.into(),
            input_tokens: request.input_tokens,
            output_tokens: request.output_tokens,
            session: request.session.map(|(session, _)| session.to_string()),
            prefix_hashes: block.map(|block| hashes(request, block)).unwrap_or_default(),
            prefix_block_tokens: block,
            ..TraceRow::default()
        });
    };
    play(scenario, None, &mut visit).map_err(run_failure)?;
    rows.sort_by_key(|row| row.arrival_ps);
    Ok(rows)
}

/// Identities of the full blocks of a prompt.
fn hashes(request: &Request, block: u32) -> Vec<u64> {
    let mut hashes = request.shared_block_keys(block);
    hashes.extend((hashes.len() as u32..request.input_tokens / block).map(|place| request.private_block_key(place)));
    hashes
}

fn goodness(rows: Vec<TraceRow>, fitted: &Fitted, scenario: &Scenario, no_check: bool) -> Result<Goodness, Failure> {
    // Ticks are spread on both sides.
    let changes = Changes { jitter: Some(fitted.tick_s).filter(|tick| *tick > 0.0), ..Changes::default() };
    let (rows, _) = transform(rows, &changes, scenario.seed).map_err(|e| Failure::message(e.to_string()))?;
    // Of one draw the tail is uncertain: quantiles are those of many. The first few are simulated.
    let mut all: [Counts; 2] = Default::default();
    let mut draws: Vec<Vec<TraceRow>> = Vec::new();
    let waits = rows.iter().any(|row| row.delay_ps.is_some());
    let block = rows.iter().filter(|row| !waits && !row.prefix_hashes.is_empty()).find_map(|row| row.prefix_block_tokens);
    let mut blocks = 0;
    for k in 0..(REQUESTS / rows.len() as u64).clamp(1, DRAWS_MAX) {
        let kept = draws.len() < SIMULATED && blocks < BLOCKS_MAX;
        let block = block.filter(|_| kept);
        let drawn = requests(&Scenario { seed: scenario.seed.wrapping_add(k), ..scenario.clone() }, block)?;
        for row in &drawn {
            all[0].add(row.input_tokens);
            all[1].add(row.output_tokens);
        }
        // Of a few requests a draw may have none.
        if kept && !drawn.is_empty() {
            blocks += drawn.iter().map(|row| row.prefix_hashes.len()).sum::<usize>();
            draws.push(drawn);
        }
    }
    let figures = |rows: &[TraceRow]| {
        let mut survey = Survey::default();
        rows.iter().for_each(|row| survey.add(row));
        survey.figures()
    };
    let (trace, ours) = (figures(&rows), figures(draws.first().map_or(&[], Vec::as_slice)));
    let shares = |q: Quantiles| [q.p5, q.p25, q.p50, q.p75, q.p90, q.p95, q.p99].map(f64::from);
    let quantiles = |of: [Quantiles; 2]| of.map(shares).concat();
    // Tokens are whole: where the share that a quantile has lies between two of them, either is right.
    let error = |(want, found): (f64, f64)| ((found - want).abs() - 1.0).max(0.0) / want.max(1.0);
    let quantile_error = quantiles([trace.input, trace.output])
        .into_iter()
        .zip(quantiles(all.map(|counts| counts.quantiles())))
        .map(error)
        .fold(0.0, f64::max);
    let (simulated, not_simulated) = if no_check {
        (None, Some("not asked for".to_owned()))
    } else if draws.is_empty() {
        (None, Some("no draw of the fit has a request".to_owned()))
    } else if waits {
        (None, Some("turns wait for answers, so that the load depends on the server: simulate both".to_owned()))
    } else {
        compare(&rows, &draws, scenario)?
    };
    let conversations = fitted.classes.iter().any(|class| class.session.is_some());
    let context = scenario.engine.max_model_len;
    Ok(Goodness { trace, fitted: ours, quantile_error, context, conversations, simulated, not_simulated })
}

/// Both on the deployment, arriving as fast as makes the trace load it to [`LOAD`].
fn compare(
    rows: &[TraceRow],
    draws: &[Vec<TraceRow>],
    scenario: &Scenario,
) -> Result<(Option<Simulated>, Option<String>), Failure> {
    let run = |rows: &[TraceRow], rate_scale: f64, prefixes: bool| -> Result<Report, Failure> {
        let config = TraceConfig {
            path: PathBuf::new(),
            format: TraceFormat::Detect,
            columns: Vec::new(),
            rate_scale,
            window: None,
            jitter: None,
            block_tokens: None,
            skip_bad_rows: true,
        };
        let replay = Scenario { trace: Some(config), horizon: Default::default(), ..scenario.clone() };
        // Labels play no part in it.
        let plain: Vec<TraceRow> = rows
            .iter()
            .map(|row| TraceRow {
                arrival_ps: row.arrival_ps,
                input_tokens: row.input_tokens,
                output_tokens: row.output_tokens,
                prefix_hashes: if prefixes { row.prefix_hashes.clone() } else { Vec::new() },
                prefix_block_tokens: row.prefix_block_tokens.filter(|_| prefixes),
                ..TraceRow::default()
            })
            .collect();
        simulate(&replay, Some(&plain), RunOptions::default(), &|_| {}, None).map_err(run_failure)
    };
    // Its own pace may be many times what one replica can serve: then all of it waits at last, where blocks of prompts would fill
    // the memory.
    let first = run(rows, 1.0, false)?.summary.capacity.load;
    if !(first.is_finite() && first > 0.0) {
        return Ok((None, Some("the load of the trace cannot be told".to_owned())));
    }
    let mut rate_scale = LOAD / first;
    let mut trace = run(rows, rate_scale, true)?;
    // What is found in the cache is no load.
    let load = trace.summary.capacity.load;
    if (load - LOAD).abs() > LOAD_NEAR {
        rate_scale *= LOAD / load;
        trace = run(rows, rate_scale, true)?;
    }
    let p95 = |report: &Report| report.summary.ttft_ms.p95.unwrap_or(0.0);
    let hits = |report: &Report| report.summary.cached_tokens as f64 / report.summary.input_tokens.max(1) as f64;
    let fits = draws.iter().map(|drawn| run(drawn, rate_scale, true).map(|report| (p95(&report), hits(&report))));
    let (fits, fits_hits): (Vec<f64>, Vec<f64>) = fits.collect::<Result<Vec<_>, Failure>>()?.into_iter().unzip();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let hashed = rows.iter().any(|row| !row.prefix_hashes.is_empty());
    let simulated = Simulated {
        rate_scale,
        load: trace.summary.capacity.load,
        trace_ttft_p95_ms: p95(&trace),
        fitted_ttft_p95_ms: mean(&fits),
        hit_shares: hashed.then(|| [hits(&trace), mean(&fits_hits)]),
        fitted_range_ms: [fits.iter().copied().fold(f64::INFINITY, f64::min), fits.iter().copied().fold(0.0, f64::max)],
        draws: fits.len(),
    };
    Ok((Some(simulated), None))
}
