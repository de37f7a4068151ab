//! Has a live server profile itself around chosen steps: starts its profiler, sends requests, stops it, waits for its traces.
//!
//! The server writes traces to its own disk, to the folder that it was started with; that folder has to be reachable from here. All
//! requests are sent once before, so that the profiler sees no compilation. Nothing is timed: a profiled server is slow.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crate::observation::ServerRecord;
use crate::probe::client::{Answer, Client, Live, message};
use crate::probe::clock::Clock;
use crate::probe::discover::{discover, try_one};
use crate::probe::flight::body;
use crate::probe::prompts::Prompts;
use crate::probe::{ProbeError, ProbeOptions};

/// Output tokens of a request that only warms the server up.
const WARM_UP: u32 = 3;

/// A trace that has not grown for so long is whole; other ranks' come within it.
const SETTLED: Duration = Duration::from_secs(2);

/// From one look into the folder to the next.
const LOOK: Duration = Duration::from_millis(200);

/// Folders below the one that is named, in which a server may put its traces.
const DEPTH: u32 = 2;

/// Stack of a request's thread [bytes].
const STACK: usize = 256 << 10;

/// What to profile, and where its traces come.
#[derive(Clone, Debug)]
pub struct LiveOptions {
    /// The server: address, model, key, vocabulary, patience. The rest of a probe's options is not used.
    pub server: ProbeOptions,
    /// The folder that the server writes traces to, as it is seen from here.
    pub trace_dir: PathBuf,
    /// Decodes at once.
    pub batches: Vec<u32>,
    /// Prompts of the decodes [tokens].
    pub context: u32,
    /// Steps of each batch.
    pub steps: u32,
    /// Prompts alone [tokens].
    pub prompts: Vec<u32>,
    /// How often each prompt is sent.
    pub repeats: u32,
}

/// What the server has recorded.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The server, as it says.
    pub server: ServerRecord,
    /// New traces, in order of their names.
    pub traces: Vec<PathBuf>,
    /// What was left out.
    pub notes: Vec<String>,
}

/// Requests sent at once: how many, prompt and output [tokens].
type Wave = (u32, u32, u32);

/// Records the chosen steps. `stop` ends it early; `report` is told what is being done, and of all requests the share
/// that was sent. The profiler is stopped in any case.
///
/// # Errors
/// What was tried, what came of it, and what to change: no such server, no profiler, a request that failed, no trace.
pub fn record(options: &LiveOptions, stop: &AtomicBool, report: &mut dyn FnMut(&str, f64)) -> Result<Recorded, ProbeError> {
    let folder = &options.trace_dir;
    let before = listing(folder)?;
    let clock = Clock::start();
    let client = Client::new(&options.server.url, options.server.api_key.clone(), clock, options.server.patience)?;
    report("the server", 0.0);
    let server = discover(&client, &options.server)?.server;
    let mut prompts = Prompts::new(options.server.seed, clock.salt(), options.server.vocab);
    try_one(&client, &server.model, &mut prompts)?;
    let (waves, notes) = waves(options, &server)?;
    let mut send = |wave: Wave| {
        if stop.load(Ordering::Relaxed) { Err(interrupted()) } else { send(&client, &server.model, &mut prompts, wave) }
    };
    let all = 2.0 * waves.len() as f64;
    for (i, &(count, input, output)) in waves.iter().enumerate() {
        report(&format!("warming up, {count} x {input} tokens"), i as f64 / all);
        send((count, input, output.min(WARM_UP)))?;
    }
    report("starting the profiler", 0.5);
    start(&client, &server, folder)?;
    let mut driven = Ok(());
    for (i, &wave) in waves.iter().enumerate() {
        report(&format!("profiling {} x {} tokens in, {} out", wave.0, wave.1, wave.2), 0.5 + i as f64 / all);
        driven = driven.and_then(|()| send(wave));
    }
    report("stopping the profiler", 1.0);
    let stopped = self::stop(&client);
    driven.and(stopped)?;
    report("waiting for traces", 1.0);
    let traces = wait(folder, &before, options.server.patience, stop)?;
    Ok(Recorded { server, traces, notes })
}

fn interrupted() -> ProbeError {
    ProbeError::new("interrupted", "run it again: nothing was kept")
}

/// What is to be sent, within the server's longest context.
fn waves(options: &LiveOptions, server: &ServerRecord) -> Result<(Vec<Wave>, Vec<String>), ProbeError> {
    let alone = options.prompts.iter().flat_map(|&prompt| std::iter::repeat_n((1, prompt, 1), options.repeats as usize));
    // The first token comes with the prompt's step.
    let decodes = options.batches.iter().map(|&batch| (batch, options.context, options.steps + 1));
    let limit = server.max_model_len.unwrap_or(u32::MAX);
    let (fit, long): (Vec<Wave>, Vec<Wave>) = alone.chain(decodes).partition(|&(_, input, output)| input + output <= limit);
    if fit.is_empty() {
        let help = "name shorter ones: --prompts, --context, --steps";
        return Err(ProbeError::new(format!("no prompt fits the server's longest context of {limit} tokens"), help));
    }
    let mut left: Vec<u32> = long.into_iter().map(|(_, input, _)| input).collect();
    left.dedup();
    let note = |input: u32| format!("prompts of {input} tokens are left out: the server's longest context is {limit} tokens");
    Ok((fit, left.into_iter().map(note).collect()))
}

/// Sends requests at once and waits for all of them.
fn send(client: &Client, model: &str, prompts: &mut Prompts, (count, input, output): Wave) -> Result<(), ProbeError> {
    let bodies: Vec<String> = (0..count).map(|_| body(model, &prompts.next(input), output)).collect();
    let barrier = Barrier::new(bodies.len());
    let mut failed: Option<String> = None;
    std::thread::scope(|scope| {
        let spawn = |body: &String| {
            let (client, barrier, body) = (client.clone(), &barrier, body.clone());
            let work = move || {
                barrier.wait();
                let answered = client.stream(&body, &Live::default());
                answered.error.or_else(|| answered.received.tokens().error)
            };
            std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work).expect("a thread for a request")
        };
        let threads: Vec<_> = bodies.iter().map(spawn).collect();
        for thread in threads {
            failed = failed.take().or(thread.join().expect("a request does not panic"));
        }
    });
    failed.map_or(Ok(()), |error| {
        let message = format!("POST /v1/completions ({input} tokens in, {output} out, {count} at once) failed: {error}");
        Err(ProbeError::new(message, "look into the server's log; fewer at once: --batches, shorter ones: --prompts, --context"))
    })
}

/// Starts the profiler.
fn start(client: &Client, server: &ServerRecord, folder: &Path) -> Result<(), ProbeError> {
    let sglang = server.engine.as_deref() == Some("sglang");
    // SGLang takes the folder with the request; vLLM has it from its start.
    let body = if sglang {
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        serde_json::json!({"output_dir": folder.to_string_lossy(), "activities": ["CPU", "GPU"]}).to_string()
    } else {
        "{}".to_owned()
    };
    let answer = asked(client, "/start_profile", &body)?;
    match answer.status {
        200..300 => Ok(()),
        404 | 405 => {
            let message = format!("{} has no profiler (POST /start_profile: {})", client.base(), answer.status);
            Err(ProbeError::new(message, how_to_start(folder)))
        }
        status => Err(ProbeError::new(
            format!("POST /start_profile at {} failed: {status} {}", client.base(), self::message(&answer.body)),
            "look into the server's log; a profiler that is already running has to be stopped: POST /stop_profile",
        )),
    }
}

/// What a server has to be started with.
fn how_to_start(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "start vLLM with --profiler-config '{{\"profiler\":\"torch\",\"torch_profiler_dir\":\"{folder}\",\
         \"torch_profiler_with_stack\":false,\"ignore_frontend\":true}}' (before 0.13: VLLM_TORCH_PROFILER_DIR={folder} in its \
         environment), SGLang with SGLANG_TORCH_PROFILER_DIR={folder}; the folder is on the server's disk"
    )
}

/// Stops it; that takes as long as the traces take to be written.
fn stop(client: &Client) -> Result<(), ProbeError> {
    let mut answer = asked(client, "/stop_profile", "{}")?;
    if answer.status == 404 {
        answer = asked(client, "/end_profile", "{}")?;
    }
    if (200..300).contains(&answer.status) {
        return Ok(());
    }
    let message = format!("POST /stop_profile at {} failed: {} {}", client.base(), answer.status, self::message(&answer.body));
    Err(ProbeError::new(message, "look into the server's log"))
}

fn asked(client: &Client, path: &str, body: &str) -> Result<Answer, ProbeError> {
    client.post(path, body).map_err(|error| {
        let message = format!("POST {path} at {} failed: {error}", client.base());
        ProbeError::new(
            message,
            "the server closed the connection or did not answer in time: look into its log, or raise --timeout",
        )
    })
}

/// Length and time of each trace.
type Listing = BTreeMap<PathBuf, (u64, Option<SystemTime>)>;

fn listing(folder: &Path) -> Result<Listing, ProbeError> {
    let mut found = Listing::new();
    list(folder, DEPTH, &mut found).map_err(|error| {
        let help = "--trace-dir is the folder that the server writes traces to, reachable from here";
        ProbeError::new(format!("cannot read the folder {}: {error}", folder.display()), help)
    })?;
    Ok(found)
}

fn list(folder: &Path, depth: u32, found: &mut Listing) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        // The server may remove what it has just written: it zips its traces.
        let Ok(about) = fs::metadata(&path) else { continue };
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if about.is_dir() && depth > 0 {
            list(&path, depth - 1, found)?;
        } else if about.is_file() && (name.ends_with(".json") || name.ends_with(".json.gz")) {
            found.insert(path, (about.len(), about.modified().ok()));
        }
    }
    Ok(())
}

/// Waits until there are new traces and none of them grows.
fn wait(folder: &Path, before: &Listing, patience: Duration, stop: &AtomicBool) -> Result<Vec<PathBuf>, ProbeError> {
    let begun = Instant::now();
    let mut last = Listing::new();
    let mut changed = begun;
    loop {
        let mut now = listing(folder)?;
        now.retain(|path, about| about.0 > 0 && before.get(path) != Some(about));
        if now != last {
            (last, changed) = (now, Instant::now());
        }
        if !last.is_empty() && changed.elapsed() >= SETTLED {
            return Ok(last.into_keys().collect());
        }
        if stop.load(Ordering::Relaxed) {
            return Err(interrupted());
        }
        if begun.elapsed() > patience && last.is_empty() {
            let message = format!("no new trace came to {} within {} s", folder.display(), patience.as_secs());
            let help = format!("--trace-dir must be the folder that the server writes to; {}", how_to_start(folder));
            return Err(ProbeError::new(message, help));
        }
        std::thread::sleep(LOOK);
    }
}
