//! `tokentide calibrate probe`

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use clap::Args;
use tokentide_calibrate::observation::{Mark, PointKind};
use tokentide_calibrate::probe::{KindSummary, ProbeError, ProbeOptions, Summary, probe};
use tokentide_sim::scenario::duration::parse_duration;

use crate::args::{Format, Global};
use crate::exit::{Failure, Verdict};
use crate::interrupt::interruptible;
use crate::output::Output;
use crate::progress::Progress;
use crate::text::table::table;
use crate::text::units;

/// The log, unless another is named.
pub(super) const LOG: &str = "probe.jsonl";
/// Points that are named before the rest is counted.
const NAMES_MAX: usize = 8;
/// How often the bar moves.
const LOOK: Duration = Duration::from_millis(200);

/// Which server, for how long, and within which bounds.
#[derive(Args)]
pub struct ProbeArgs {
    /// Root of an OpenAI-compatible server that takes prompts of token ids: vLLM, SGLang
    #[arg(long, value_name = "URL")]
    url: String,
    /// Model, as the server names it [default: the first that it lists]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Time for all of it
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = time)]
    budget: Duration,
    /// Go on with the log where it stopped
    #[arg(long)]
    resume: bool,
    /// Token ids of prompts, from LOW up to HIGH: such as the model has, without its special ones
    #[arg(long, value_name = "LOW,HIGH", default_value = "1000,4000", value_parser = range)]
    vocab: (u32, u32),
    /// Most tokens of one step [default: measured]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_num_batched_tokens: Option<u32>,
    /// Most running requests [default: measured]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_num_seqs: Option<u32>,
    /// Longest prompt and answer together, in tokens [default: the server's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(64..))]
    max_model_len: Option<u32>,
    /// Most decodes at once
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    max_batch: u32,
    /// Longest prompt, in tokens
    #[arg(long, value_name = "N", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(16..))]
    max_prompt: u32,
    /// Load of the open-loop runs, as a share of the capacity found
    #[arg(long, value_name = "SHARE", default_value_t = 0.5, value_parser = share)]
    load: f64,
    /// Mean prompt of the open-loop runs, in tokens
    #[arg(long, value_name = "N", default_value_t = 512.0, value_parser = mean)]
    input_mean: f64,
    /// Mean answer of the open-loop runs, in tokens
    #[arg(long, value_name = "N", default_value_t = 128.0, value_parser = mean)]
    output_mean: f64,
    /// A server that sends nothing for so long has failed
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = time)]
    timeout: Duration,
}

pub(super) fn time(text: &str) -> Result<Duration, String> {
    let time = Duration::from_secs_f64(parse_duration(text)?.as_secs_f64());
    if time.is_zero() { Err("no time at all".to_owned()) } else { Ok(time) }
}

pub(super) fn range(text: &str) -> Result<(u32, u32), String> {
    let number = |text: &str| text.trim().parse::<u32>().map_err(|_| format!("`{}` is not a token id", text.trim()));
    let (low, high) = text.split_once(',').ok_or("expected LOW,HIGH, such as 1000,4000")?;
    let (low, high) = (number(low)?, number(high)?);
    // Fewer, and prompts would have parts in common by chance.
    if high < low.saturating_add(64) { Err("HIGH must be above LOW by 64 at least".to_owned()) } else { Ok((low, high)) }
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| (0.05..=0.95).contains(share));
    share.ok_or_else(|| "expected a share of 1 from 0.05 to 0.95".to_owned())
}

fn mean(text: &str) -> Result<f64, String> {
    text.parse::<f64>().ok().filter(|mean| (1.0..=1e6).contains(mean)).ok_or_else(|| "expected tokens, 1 or more".to_owned())
}

/// Measures the server, and prints what was measured.
///
/// # Errors
/// Why it could not be, and what to change.
pub fn run(args: &ProbeArgs, global: &Global, output: &Output) -> Result<Verdict, Failure> {
    if output.format == Format::Json {
        return Err(Failure::with_help("a log is JSON lines, not JSON", "name the file .jsonl: -o probe.jsonl"));
    }
    let log = output.path().map_or_else(|| PathBuf::from(LOG), PathBuf::from);
    let log = measure(args, log, global, output)?.log;
    output.note(&format!("next: tokentide calibrate fit {} --scenario server.toml -o profile.toml", log.display()));
    Ok(Verdict::Pass)
}

/// Measures the server into `log`, and prints what was measured to stderr.
///
/// # Errors
/// Why it could not be, and what to change; an interrupt as well.
pub(super) fn measure(args: &ProbeArgs, log: PathBuf, global: &Global, output: &Output) -> Result<Summary, Failure> {
    let options = options(args, global, log);
    let stop = interruptible()?;
    let progress = Progress::new("probing", global.quiet || global.no_progress);
    let summary = shown(progress, &options, &stop).map_err(|ProbeError { message, help }| Failure::with_help(message, help))?;
    if !output.quiet {
        anstream::eprint!("{}", text(&summary));
    }
    if summary.interrupted {
        let log = summary.log.display();
        let repeats: u32 = summary.kinds.iter().map(|kind| kind.repeats).sum();
        let help = format!("go on with: tokentide calibrate probe --url {} --resume -o {log}", summary.server.url);
        return Err(Failure::with_help(format!("interrupted; {repeats} repeats are kept in {log}"), help));
    }
    Ok(summary)
}

/// Probes in a thread of its own, and shows meanwhile how far it is: a point can take longer than one likes to look at a bar that
/// stands.
fn shown(mut bar: Progress, options: &ProbeOptions, stop: &Arc<AtomicBool>) -> Result<Summary, ProbeError> {
    let begun = Instant::now();
    let (tell, told) = channel();
    std::thread::scope(|scope| {
        let work = scope.spawn(move || {
            probe(options, stop, &mut |now| {
                // Nobody listens any more only after a panic there.
                let _ = tell.send(now.what.to_owned());
            })
        });
        loop {
            match told.recv_timeout(LOOK) {
                Ok(what) => bar.set_label(&format!("probing: {what}")),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            bar.set(begun.elapsed().as_secs_f64() / options.budget.as_secs_f64());
        }
        work.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// What is asked of the probe, its log in `log`.
pub(super) fn options(args: &ProbeArgs, global: &Global, log: PathBuf) -> ProbeOptions {
    let usual = ProbeOptions::new(args.url.clone(), log);
    ProbeOptions {
        model: args.model.clone(),
        api_key: api_key(),
        budget: args.budget,
        resume: args.resume,
        seed: global.seed.unwrap_or(usual.seed),
        vocab: args.vocab,
        max_model_len: args.max_model_len,
        max_num_batched_tokens: args.max_num_batched_tokens,
        max_num_seqs: args.max_num_seqs,
        max_batch: args.max_batch,
        max_prompt: args.max_prompt,
        load: args.load,
        input_mean: args.input_mean,
        output_mean: args.output_mean,
        patience: args.timeout,
        ..usual
    }
}

/// The key of the environment.
pub(super) fn api_key() -> Option<String> {
    ["TOKENTIDE_API_KEY", "OPENAI_API_KEY"].iter().find_map(|name| std::env::var(name).ok().filter(|key| !key.is_empty()))
}

/// The table and what else is to be known.
fn text(summary: &Summary) -> String {
    let mut lines = vec![about(summary), limits(summary), String::new()];
    let rows: Vec<Vec<String>> = summary.kinds.iter().map(row).collect();
    lines.extend(table(&["", "points", "repeats", "requests", "95 % interval", "widest", "marks"], &rows, 1));
    let mut say = |what: &str, list: Vec<String>| {
        if !list.is_empty() {
            let more = list.len().saturating_sub(NAMES_MAX);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            lines.push(format!("{what}: {}{more}", list[..list.len().min(NAMES_MAX)].join(", ")));
        }
    };
    say("no time for", summary.left_out.clone());
    say("failed", summary.failed.iter().map(|(name, why)| format!("{name} ({why})")).collect());
    lines.extend(summary.notes.iter().map(|note| format!("note: {note}")));
    lines.join("\n") + "\n"
}

fn about(summary: &Summary) -> String {
    let server = &summary.server;
    let engine = server.engine.as_deref().unwrap_or("an engine that it does not name");
    let version = server.engine_version.as_deref().map(|version| format!(" {version}")).unwrap_or_default();
    let time = units::time(summary.time.as_secs_f64() * 1e3);
    let drift = summary.drift.map_or(String::new(), |drift| format!(", its speed within {}", units::percent(drift - 1.0)));
    format!("{} at {}, {engine}{version}: {time}{drift}", server.model, server.url)
}

fn limits(summary: &Summary) -> String {
    let server = &summary.server;
    let say = |what: &str, value: Option<u32>| value.map(|value| format!("{what} {}", units::exact(u64::from(value))));
    let capacity = summary.capacity.map(|rate| format!("capacity {} req/s", units::rate(rate)));
    let all = [
        say("max_model_len", server.max_model_len),
        say("max_num_batched_tokens", server.max_num_batched_tokens),
        say("max_num_seqs", server.max_num_seqs),
        server.num_gpu_blocks.zip(server.block_size).map(|(blocks, size)| format!("{blocks} KV blocks of {size}")),
        capacity,
    ];
    all.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn row(kind: &KindSummary) -> Vec<String> {
    let interval = |value: Option<f64>| value.map_or(units::NONE.to_owned(), |value| format!("± {}", units::percent(value)));
    let widest = kind.widest.as_ref().map_or(units::NONE.to_owned(), |(name, value)| format!("{name} {}", interval(Some(*value))));
    let loads = kind.kind.is_load();
    let marks: Vec<String> = kind.marks.iter().map(|(mark, count)| format!("{count} {}", mark_name(*mark))).collect();
    vec![
        kind_name(kind.kind).to_owned(),
        kind.points.to_string(),
        kind.repeats.to_string(),
        kind.requests.to_string(),
        if loads { units::NONE.to_owned() } else { interval(kind.interval) },
        if loads { units::NONE.to_owned() } else { widest },
        if marks.is_empty() { units::NONE.to_owned() } else { marks.join(", ") },
    ]
}

fn kind_name(kind: PointKind) -> &'static str {
    match kind {
        PointKind::Warmup => "warm-up",
        PointKind::Prefill => "prefill",
        PointKind::Decode => "decode",
        PointKind::Mixed => "mixed",
        PointKind::Burst => "burst",
        PointKind::Rehearsal => "rehearsal",
        PointKind::Open => "open loop",
        PointKind::Beat => "beat",
    }
}

fn mark_name(mark: Mark) -> &'static str {
    match mark {
        Mark::ForeignTraffic => "with foreign traffic",
        Mark::Preempted => "with preemptions",
        Mark::PrefixHits => "with prefix hits",
        Mark::Queued => "queued",
        Mark::Failed => "with failures",
        Mark::Throttled => "slower than the others",
        Mark::Bunched => "with tokens in bunches",
    }
}
