//! `tokentide diff` and `tokentide check`

mod sides;
mod stored;

use std::path::PathBuf;
use std::sync::Mutex;

use clap::Args;
use tokentide_compare::report::Comparison;
use tokentide_compare::side::Settings;
use tokentide_compare::verdict::Verdict as CheckVerdict;
use tokentide_compare::{CompareError, Question, Replications, compare};

use super::plan::targets;
use super::simulate::assignment;
use crate::args::{Format, Global};
use crate::diagnostics::Diagnostic;
use crate::engine;
use crate::exit::{Failure, Verdict};
use crate::output::Output;
use crate::progress::Progress;
use crate::review;
use sides::{Sides, Typed, read};

/// What is compared with what, and how.
#[derive(Args)]
struct SideArgs {
    /// HEAD, or BASE and HEAD: scenario files, folders, traces, or JSON results of `simulate`; without any, the project's
    /// scenarios as they are in the work tree
    #[arg(value_name = "SIDE", num_args = 0..=2)]
    sides: Vec<PathBuf>,
    /// Compare with this commit, file or folder [default: where the branch left the default branch]
    #[arg(long, value_name = "REF|PATH")]
    base: Option<String>,
    /// Compare with nothing: relative checks are skipped, for example where the base itself cannot be read
    #[arg(long, conflicts_with_all = ["base", "set"])]
    no_base: bool,
    /// What is compared: a scenario file, a folder or a trace
    #[arg(long, value_name = "PATH")]
    head: Option<PathBuf>,
    /// Change a value of the head, such as class.rag.prompt.retrieved.top_k=12 (repeatable); compared with the head as it is
    #[arg(long, value_name = "PATH=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// Replay traces on the deployment of this scenario; without it only their tokens are compared
    #[arg(long, value_name = "FILE")]
    on: Option<PathBuf>,
    /// Paired runs of each side, or `auto`: as many as the intervals need, 64 at most [default: 8, or the project's]
    #[arg(long, value_name = "N|auto", value_parser = replications)]
    replications: Option<Replications>,
    /// Confidence of the intervals [%] [default: 99, or the project's]
    #[arg(long, value_name = "PERCENT", value_parser = targets::confidence, allow_negative_numbers = true)]
    confidence: Option<f64>,
    /// Error assumed of a step's time [%], unless the profile states a larger one [default: 15, or the project's]
    #[arg(long, value_name = "PERCENT", value_parser = targets::model_error, allow_negative_numbers = true)]
    model_error: Option<f64>,
    /// Count tokens and bound the load, without any simulation
    #[arg(long)]
    tokens_only: bool,
    /// Every figure, not only those that changed
    #[arg(long)]
    all: bool,
    /// Print nothing at all if nothing changed and nothing failed
    #[arg(long)]
    only_changed: bool,
    /// Name in the hidden marker by which a comment in Markdown is found again
    #[arg(long, value_name = "NAME", default_value = "default")]
    marker: String,
}

/// What to compare.
#[derive(Args)]
pub struct DiffArgs {
    #[command(flatten)]
    sides: SideArgs,
    /// End with 1 if anything changed
    #[arg(long)]
    exit_code: bool,
}

/// What to check.
#[derive(Args)]
pub struct CheckArgs {
    #[command(flatten)]
    sides: SideArgs,
    /// Also end with 1 where a check is inconclusive or fragile
    #[arg(long)]
    strict: bool,
    /// Also end with 1 on a warning
    #[arg(long)]
    deny_warnings: bool,
    /// End with 0 whatever is found: report only
    #[arg(long, conflicts_with_all = ["strict", "deny_warnings"])]
    exit_zero: bool,
    /// Print the arithmetic behind one check: values by seed, interval, band
    #[arg(long, value_name = "ID")]
    explain: Option<String>,
}

/// Budgets on a mean of something that has no budget on a percentile.
fn averages(comparison: &Comparison) -> Vec<String> {
    let of = |check: &tokentide_compare::report::CheckReport| check.metric.split('.').next().unwrap_or_default().to_owned();
    let tail =
        |check: &tokentide_compare::report::CheckReport| ["p90", "p95", "p99", "max"].iter().any(|s| check.metric.ends_with(s));
    let mut notes: Vec<String> = Vec::new();
    for mean in comparison.checks.iter().filter(|check| check.metric.ends_with(".mean") && !check.metric.starts_with("kv_use")) {
        if !comparison.checks.iter().any(|check| of(check) == of(mean) && tail(check)) {
            let note = format!("check `{}` looks at a mean alone, which hides the tail: add one on {}.p95", mean.id, of(mean));
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
    }
    notes
}

fn replications(text: &str) -> Result<Replications, String> {
    match (text, text.parse()) {
        ("auto", _) => Ok(Replications::Auto),
        (_, Ok(n @ 2..=1000)) => Ok(Replications::Fixed(n)),
        _ => Err("expected 2 to 1000, or auto: one run tells nothing of chance".to_owned()),
    }
}

/// Compares and reports.
pub fn diff(args: &DiffArgs, global: &Global, output: &Output) -> Result<Verdict, Failure> {
    let comparison = match stored::sides(&args.sides.sides, args.sides.base.as_deref(), args.sides.head.as_deref()) {
        Some(sides) => stored::compare(&sides, global)?,
        None => run(&args.sides, global, output, true)?.0,
    };
    let changed = comparison.changed();
    if changed || !args.sides.only_changed {
        write(&comparison, &args.sides, output, false)?;
    }
    Ok(if changed && args.exit_code { Verdict::CheckFailed } else { Verdict::Pass })
}

/// Compares, judges and reports.
pub fn check(args: &CheckArgs, global: &Global, output: &Output) -> Result<Verdict, Failure> {
    if stored::sides(&args.sides.sides, args.sides.base.as_deref(), args.sides.head.as_deref()).is_some() {
        return Err(Failure::with_help(
            "a stored result has no paired runs to judge a budget by",
            "compare scenarios, which are simulated on both sides; `tokentide diff` shows two results beside each other",
        ));
    }
    let (comparison, sides) = run(&args.sides, global, output, false)?;
    averages(&comparison).iter().for_each(|note| output.note(note));
    if comparison.checks.is_empty() {
        let place = sides.project_file.map_or("tokentide.toml".to_owned(), |file| file.display().to_string());
        return Err(Failure::with_help(
            format!("there is nothing to check: neither {place} nor a scenario has a [[check]] that is on"),
            "such as:\n  [[check]]\n  assert = \"input_tokens.p95 <= +10%\"",
        ));
    }
    if let Some(id) = &args.explain {
        output.text(&review::explain(&comparison, id)?)?;
    } else if comparison.noteworthy() || !args.sides.only_changed {
        write(&comparison, &args.sides, output, true)?;
    }
    let fails = |verdict: &CheckVerdict| match verdict {
        CheckVerdict::Fail => true,
        CheckVerdict::Warn => args.deny_warnings,
        CheckVerdict::Inconclusive | CheckVerdict::Fragile => args.strict,
        CheckVerdict::Pass | CheckVerdict::Skipped => false,
    };
    let failed = !args.exit_zero && comparison.checks.iter().any(|check| fails(&check.verdict));
    Ok(if failed { Verdict::CheckFailed } else { Verdict::Pass })
}

/// Reads both sides and compares them. Without `everything` no more is simulated than the budgets ask for.
fn run(args: &SideArgs, global: &Global, output: &Output, everything: bool) -> Result<(Comparison, Sides), Failure> {
    let typed = Typed {
        sides: args.sides.clone(),
        base: args.base.clone(),
        no_base: args.no_base,
        head: args.head.clone(),
        set: args.set.clone(),
        seed: global.seed,
        on: args.on.clone(),
    };
    let sides = read(&typed)?;
    sides.notes.iter().for_each(|note| output.note(note));
    let settings = Settings {
        confidence: args.confidence.unwrap_or(sides.project.confidence),
        model_error: args.model_error.unwrap_or(sides.project.model_error),
        replicas_max: tokentide_sim::plan::Settings::default().replicas_max,
    };
    let question = Question {
        base: sides.base.clone(),
        head: sides.head.clone(),
        pairs: &sides.pairs,
        budgets: if everything { &[] } else { &sides.project.budgets },
        own_budgets: !everything,
        replications: args.replications.unwrap_or(sides.project.replications),
        settings,
        everything,
        tokens_only: args.tokens_only || sides.tokens_only,
    };
    let progress = Mutex::new(Progress::new("comparing", global.no_progress || global.quiet));
    let show = |share: f64| {
        if let Ok(mut progress) = progress.try_lock() {
            progress.set(share);
        }
    };
    let compared = compare(&question, &show);
    drop(progress);
    match compared {
        Ok(comparison) => Ok((comparison, sides)),
        Err(CompareError::Run(error)) => Err(engine::run_failure(error)),
        Err(CompareError::Budgets(idle)) => {
            let diagnostic = |(budget, error): (tokentide_compare::budget::Budget, tokentide_compare::budget::BudgetError)| {
                let text = std::fs::read_to_string(&budget.place.file).unwrap_or_default();
                Diagnostic {
                    file: Some(budget.place.file.into()),
                    source_text: text,
                    span: error.span,
                    first_line: 1,
                    message: format!("check `{}`: {}", budget.id, error.message),
                    help: error.help,
                }
            };
            Err(Failure::Input(idle.into_iter().map(diagnostic).collect()))
        }
    }
}

fn write(comparison: &Comparison, args: &SideArgs, output: &Output, checks: bool) -> Result<(), Failure> {
    let how = review::How { all: args.all, checks, width: output.width(), marker: args.marker.clone(), command: review::command() };
    match output.format {
        Format::Text => output.text(&review::text(comparison, &how)),
        Format::Json => output.json(comparison),
        Format::Markdown => output.text(&review::markdown(comparison, &how)),
        Format::Github => output.text(&review::github(comparison)),
        Format::Junit => output.text(&review::junit(comparison).map_err(Failure::message)?),
    }
}
