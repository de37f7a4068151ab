//! The requests of one repeat: a thread for each, and one place where they end.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use super::client::{Answered, Client, Live};
use super::error::{Halt, ProbeError};
use super::log::Log;
use super::prompts::Prompts;
use crate::observation::{Record, RequestRecord};

/// How often waiting looks whether it is to end.
const LOOK: Duration = Duration::from_millis(20);
/// Of a request's thread, which does little [bytes].
const STACK: usize = 512 << 10;

/// What all requests need.
pub struct Bench {
    /// Talks to the server.
    pub client: Client,
    /// Name of the model.
    pub model: String,
    /// What is asked.
    pub prompts: Prompts,
    /// Where it is written.
    pub log: Log,
    /// Set by the user's interrupt.
    pub stop: Arc<AtomicBool>,
    /// Requests that were sent and have not ended.
    pub in_flight: Arc<AtomicU32>,
}

/// One repeat under way.
pub struct Flight<'a> {
    bench: &'a mut Bench,
    point: &'a str,
    rep: u32,
    ends: (Sender<RequestRecord>, Receiver<RequestRecord>),
    lives: Vec<Arc<Live>>,
    /// Requests that ended, in that order.
    pub ended: Vec<RequestRecord>,
}

impl<'a> Flight<'a> {
    /// Nothing was sent yet.
    pub fn new(bench: &'a mut Bench, point: &'a str, rep: u32) -> Flight<'a> {
        Flight { bench, point, rep, ends: channel(), lives: Vec::new(), ended: Vec::new() }
    }

    /// Sends requests of such prompts and answers [tokens] at once.
    ///
    /// # Errors
    /// If there can be no more threads.
    pub fn send(&mut self, requests: &[(u32, u32)], planned: Option<u64>) -> Result<(), Halt> {
        let bodies: Vec<String> =
            requests.iter().map(|&(input, output)| body(&self.bench.model, &self.bench.prompts.next(input), output)).collect();
        let barrier = Arc::new(Barrier::new(requests.len()));
        for (body, &(input, output)) in bodies.into_iter().zip(requests) {
            let live = Arc::new(Live::default());
            let empty = RequestRecord {
                point: self.point.to_owned(),
                rep: self.rep,
                index: self.lives.len() as u32,
                planned_ns: planned,
                sent_ns: 0,
                input,
                output,
                cached: None,
                chunks: Vec::new(),
                counted: false,
                error: None,
            };
            self.lives.push(live.clone());
            let (client, end, in_flight) = (self.bench.client.clone(), self.ends.0.clone(), self.bench.in_flight.clone());
            let barrier = barrier.clone();
            let work = move || {
                barrier.wait();
                in_flight.fetch_add(1, Ordering::Release);
                let answered = client.stream(&body, &live);
                in_flight.fetch_sub(1, Ordering::Release);
                live.ended.store(true, Ordering::Release);
                // Nobody waits for it any more if the probe was interrupted.
                let _ = end.send(filled(empty, &answered));
            };
            std::thread::Builder::new().stack_size(STACK).spawn(work).map_err(|error| {
                let help = "allow more threads (ulimit -u), or fewer requests at once: --max-batch";
                ProbeError::new(format!("cannot start a thread for request {}: {error}", self.lives.len()), help)
            })?;
        }
        Ok(())
    }

    /// Requests sent so far.
    pub fn sent(&self) -> usize {
        self.lives.len()
    }

    /// Events of request `index` so far: about its tokens.
    pub fn events(&self, index: usize) -> u32 {
        self.lives[index].events.load(Ordering::Acquire)
    }

    /// Whether all of the first `count` have begun to answer or have ended.
    pub fn begun(&self, count: usize) -> bool {
        self.lives[..count].iter().all(|live| live.events.load(Ordering::Acquire) > 0 || live.ended.load(Ordering::Acquire))
    }

    /// Whether any of the first `count` has ended.
    pub fn any_ended(&self, count: usize) -> bool {
        self.lives[..count].iter().any(|live| live.ended.load(Ordering::Acquire))
    }

    /// Waits until `done`, or until a moment, taking in requests that end. It is asked after each of them, and every `look`.
    ///
    /// # Errors
    /// If the user interrupts, or the log cannot be written.
    pub fn wait(&mut self, until: Option<Instant>, look: Duration, done: impl Fn(&Flight<'_>) -> bool) -> Result<(), Halt> {
        while !done(self) {
            if self.bench.stop.load(Ordering::Relaxed) {
                return Err(Halt::Interrupted);
            }
            let left = until.map_or(look, |until| until.saturating_duration_since(Instant::now()).min(look));
            if left.is_zero() {
                return Ok(());
            }
            match self.ends.1.recv_timeout(left) {
                Ok(request) => {
                    self.bench.log.write(&Record::Request(request.clone()))?;
                    self.ended.push(request);
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
        }
        Ok(())
    }

    /// Waits until all that was sent has ended, and gives it in the order of sending.
    ///
    /// # Errors
    /// As of [`Flight::wait`].
    pub fn land(mut self) -> Result<Vec<RequestRecord>, Halt> {
        self.wait(None, LOOK, |flight| flight.ended.len() == flight.sent())?;
        let mut requests = self.ended;
        requests.sort_by_key(|request| request.index);
        Ok(requests)
    }

    /// Waits until request `index` has ended.
    ///
    /// # Errors
    /// As of [`Flight::wait`].
    pub fn wait_for(&mut self, index: usize) -> Result<(), Halt> {
        self.wait(None, LOOK, |flight| flight.ended.iter().any(|request| request.index as usize == index))
    }

    /// Waits for a moment.
    ///
    /// # Errors
    /// As of [`Flight::wait`].
    pub fn pause(&mut self, until: Instant) -> Result<(), Halt> {
        self.wait(Some(until), LOOK, |_| false)
    }
}

/// A request for exactly `output` tokens after a prompt of ids.
pub fn body(model: &str, prompt: &[u32], output: u32) -> String {
    let model = serde_json::to_string(model).expect("a string is JSON");
    let ids: Vec<String> = prompt.iter().map(u32::to_string).collect();
    format!(
        "{{\"model\":{model},\"prompt\":[{}],\"max_tokens\":{output},\"min_tokens\":{output},\"ignore_eos\":true,\"temperature\":0,\
         \"stream\":true,\"stream_options\":{{\"include_usage\":true,\"continuous_usage_stats\":true}}}}",
        ids.join(",")
    )
}

/// The record of a request with what came of it.
fn filled(empty: RequestRecord, answered: &Answered) -> RequestRecord {
    let tokens = answered.received.tokens();
    let wrong = match () {
        () if answered.error.is_some() => answered.error.clone(),
        () if tokens.error.is_some() => tokens.error.clone(),
        () if tokens.events == 0 => Some("the answer is not a stream of events".to_owned()),
        () if tokens.total != empty.output => Some(format!("{} output tokens where {} were asked for", tokens.total, empty.output)),
        () => None,
    };
    RequestRecord {
        sent_ns: answered.sent_ns,
        cached: tokens.cached,
        chunks: tokens.chunks,
        counted: tokens.counted,
        error: wrong,
        ..empty
    }
}
