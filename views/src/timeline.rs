//! A run as a trace that Perfetto's viewer and `chrome://tracing` open: each replica a process, with the steps of its engine cores
//! as slices, its requests as asynchronous slices of phases, its levels as counters.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;
use tokentide_models::cost::BatchShape;
use tokentide_models::units::Time;
use tokentide_sim::engine::{CoreId, Finish, Levels, Observer, Outcome, StepView};
use tokentide_sim::scenario::Scenario;

use crate::error::ViewError;
use crate::trace_event::{Event, LocalId, TraceFile, us};

/// Most events of a timeline without a window: what viewers still open at ease.
pub const EVENTS_MAX: u64 = 500_000;
/// Process of requests that no replica got. (0 would be the kernel's.)
const NOWHERE: u32 = 1;
/// Of replica 0.
const REPLICAS: u32 = 2;
/// What counters are called.
const LEVELS: [&str; 4] = ["running requests", "waiting requests", "waiting tokens", "KV use [%]"];

/// A part of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its start.
    pub from: Time,
    /// Its end.
    pub until: Time,
}

/// What a timeline holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// Its events, names not counted.
    pub events: u64,
    /// When it was full, if it was.
    pub full: Option<Time>,
}

/// The observer that draws. It asks for every step, so that levels over time in the report of its run differ a little: see
/// [`tokentide_sim::run::observe`].
pub struct Timeline {
    file: TraceFile,
    window: Option<Window>,
    events_max: u64,
    classes: Vec<String>,
    labels: Vec<String>,
    ranks: u32,
    kv_blocks: u32,
    cores: BTreeMap<CoreId, Core>,
    /// Whether some request found no replica.
    nowhere: bool,
    drawn: Drawn,
    end: Time,
}

/// What is remembered of an engine core.
#[derive(Default)]
struct Core {
    /// The slice of the step that was just told, whose batch is told next; and its end.
    step: Option<(Event, Time)>,
    /// Levels drawn last.
    levels: Option<[f64; 4]>,
}

impl Timeline {
    /// Begins a file for a run of `scenario`: `.json`, or `.json.gz`.
    ///
    /// # Errors
    /// If the extension is another, or the file cannot be written.
    pub fn create(path: &Path, scenario: &Scenario, window: Option<Window>) -> Result<Timeline, ViewError> {
        Ok(Timeline {
            file: TraceFile::create(path)?,
            window,
            events_max: if window.is_some() { u64::MAX } else { EVENTS_MAX },
            classes: scenario.classes.iter().map(|class| class.name.clone()).collect(),
            labels: Vec::new(),
            ranks: scenario.deployment.data_parallel,
            kv_blocks: scenario.kv_blocks,
            cores: BTreeMap::new(),
            nowhere: false,
            drawn: Drawn { events: 0, full: None },
            end: Time::ZERO,
        })
    }

    /// The same, full after so many events: for tests.
    #[must_use]
    pub fn with_events_max(self, events_max: u64) -> Timeline {
        Timeline { events_max, ..self }
    }

    /// Ends the file.
    ///
    /// # Errors
    /// If it could not be written, or nothing happened in the window.
    pub fn finish(self) -> Result<Drawn, ViewError> {
        if let Some(Window { from, until }) = self.window.filter(|_| self.drawn.events == 0) {
            return Err(ViewError::EmptyWindow { from, until, end: self.end });
        }
        let stopped = self.drawn.full.map(|at| format!("full after {} events, at {} s", self.drawn.events, at.as_secs_f64()));
        let window = self.window.map(|Window { from, until }| [from.as_secs_f64(), until.as_secs_f64()]);
        self.file.finish(&json!({ "stopped": stopped, "window_s": window }))?;
        Ok(self.drawn)
    }

    /// Whether what happened from `from` until `to` is drawn.
    fn shows(&self, from: Time, to: Time) -> bool {
        self.drawn.full.is_none() && self.window.is_none_or(|window| from < window.until && to >= window.from)
    }

    /// Draws what belongs together; it is full when that brings it to its limit.
    fn draw(&mut self, events: &[Event], at: Time) {
        events.iter().for_each(|event| self.file.push(event));
        self.drawn.events += events.len() as u64;
        if self.drawn.events >= self.events_max {
            self.drawn.full = Some(at);
            let name = format!("full after {} events: a window shows a part of the run", self.drawn.events);
            self.file.push(&Event { name, ph: "i", s: Some("g"), ts: us(at), pid: NOWHERE, tid: 1, ..Event::default() });
        }
    }

    /// What is kept of an engine core, whose process and track are named when it is first seen.
    fn core(&mut self, id: CoreId) -> &mut Core {
        if !self.cores.contains_key(&id) {
            let track = if self.ranks > 1 { format!("steps of rank {}", id.rank) } else { "steps".to_owned() };
            self.name(pid(id), &format!("replica {}", id.replica), id.rank + 1, &track);
        }
        self.cores.entry(id).or_default()
    }

    fn name(&mut self, pid: u32, process: &str, tid: u32, track: &str) {
        for (what, args) in [
            ("process_name", json!({ "name": process })),
            ("process_sort_index", json!({ "sort_index": pid })),
            ("thread_name", json!({ "name": track })),
        ] {
            self.file.push(&Event { name: what.to_owned(), ph: "M", pid, tid, args, ..Event::default() });
        }
    }

    /// The process of a request.
    fn process(&mut self, outcome: &Outcome) -> u32 {
        let missed = match outcome.finish {
            Finish::RejectedContext | Finish::Unavailable => true,
            Finish::TimedOut => outcome.queued.is_none(),
            _ => false,
        };
        if !missed {
            let core = CoreId { replica: outcome.replica, rank: outcome.rank };
            self.core(core);
            return pid(core);
        }
        if !std::mem::replace(&mut self.nowhere, true) {
            self.name(NOWHERE, "no replica", 1, "requests");
        }
        NOWHERE
    }
}

impl Observer for Timeline {
    fn labels(&mut self, names: &[String]) {
        self.labels = names.to_vec();
    }

    fn wants_steps(&self) -> bool {
        self.drawn.full.is_none()
    }

    fn step(&mut self, step: &StepView<'_>) {
        if !self.shows(step.start, step.end) {
            return;
        }
        let id = CoreId { replica: step.replica, rank: step.rank };
        let args = json!({
            "step": step.step, "requests": step.batch.len(), "prompt_tokens": 0, "decode_tokens": 0, "running": step.running,
            "waiting": step.waiting, "free_blocks": step.free_blocks, "preempted": step.preempted.len(),
        });
        let (ts, dur) = (us(step.start), Some(us(step.end) - us(step.start)));
        let event = Event { cat: "step", ph: "X", ts, dur, pid: pid(id), tid: id.rank + 1, args, ..Event::default() };
        self.core(id).step = Some((event, step.end));
    }

    fn batch(&mut self, core: CoreId, shape: &BatchShape, _steps: u64) {
        let Some((mut event, end)) = self.cores.get_mut(&core).and_then(|core| core.step.take()) else { return };
        let name = match (shape.prefill_tokens, shape.decodes) {
            (0, _) => "decode",
            (_, 0) => "prefill",
            _ => "prefill and decode",
        };
        event.name = name.to_owned();
        event.args["prompt_tokens"] = shape.prefill_tokens.into();
        event.args["decode_tokens"] = shape.decodes.into();
        self.draw(&[event], end);
    }

    fn levels(&mut self, core: CoreId, from: Time, to: Time, levels: &Levels) {
        if !self.shows(from, to) {
            return;
        }
        let at = from.max(self.window.map_or(Time::ZERO, |window| window.from));
        let kv_use = f64::from(levels.kv_used_from) / f64::from(self.kv_blocks) * 100.0;
        let values = [levels.running.into(), levels.waiting.into(), levels.waiting_tokens as f64, kv_use];
        let before = self.core(core).levels.replace(values);
        let rank = if self.ranks > 1 { format!(" of rank {}", core.rank) } else { String::new() };
        let mut counters = Vec::new();
        for (i, (name, value)) in LEVELS.iter().zip(values).enumerate() {
            if before.is_none_or(|before| before[i] != value) {
                let (name, args) = (format!("{name}{rank}"), json!({ "value": value }));
                counters.push(Event { name, ph: "C", ts: us(at), pid: pid(core), tid: core.rank + 1, args, ..Event::default() });
            }
        }
        self.draw(&counters, at);
    }

    fn outcome(&mut self, outcome: Outcome) {
        let (request, ended) = (&outcome.request, outcome.ended);
        if !self.shows(request.arrival, ended) {
            return;
        }
        let pid = self.process(&outcome);
        let label = |index: u16| self.labels.get(usize::from(index));
        let args = json!({
            "request": request.id, "tenant": label(request.tenant), "route": label(request.route),
            "input_tokens": request.input_tokens, "output_tokens": outcome.output_tokens, "cached_tokens": outcome.cached_tokens,
            "preemptions": outcome.preemptions, "finish": outcome.finish.name(),
        });
        let class = self.classes.get(usize::from(request.class)).filter(|name| !name.is_empty()).map_or("request", String::as_str);
        let edge = |ph: &'static str, name: &str, at: Time| {
            let (name, id2) = (name.to_owned(), Some(LocalId { local: format!("0x{:x}", request.id) }));
            Event { name, cat: "request", ph, ts: us(at), pid, tid: 1, id2, ..Event::default() }
        };
        let mut edges = vec![Event { args, ..edge("b", class, request.arrival) }];
        let mut from = Some(request.arrival);
        for (phase, to) in [("queued", outcome.scheduled), ("prefill", outcome.first_token), ("decode", Some(ended))] {
            // A phase that has not ended lasts as long as the request.
            if let Some(from) = from {
                edges.extend([edge("b", phase, from), edge("e", phase, to.unwrap_or(ended))]);
            }
            from = to;
        }
        edges.push(edge("e", class, ended));
        self.draw(&edges, ended);
    }

    fn served(&mut self, _replica: u32, _from: Time, _until: Time, end: Time) {
        self.end = end;
    }
}

/// A replica's process.
fn pid(core: CoreId) -> u32 {
    REPLICAS + core.replica
}
