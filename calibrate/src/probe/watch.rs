//! A thread that reads `/metrics` some five times a second, to see what the server does beside our requests.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::client::Client;
use super::clock::Clock;
use super::metrics::Scrape;

/// From one reading to the next [ms].
const PERIOD_MS: u64 = 200;

/// The same where it is not to disturb [ms].
const SELDOM_MS: u64 = 1000;

/// One reading.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// When [ns].
    pub at: u64,
    /// Running requests.
    pub running: f64,
    /// Waiting requests.
    pub waiting: f64,
    /// KV cache in use, a share of 1.
    pub usage: f64,
    /// Ours in flight, at most, while it was read.
    pub ours: u32,
}

/// The thread; it ends when this is dropped.
pub struct Watch {
    samples: Arc<Mutex<Vec<Sample>>>,
    period: Arc<AtomicU64>,
    awake: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts to watch, asleep. `in_flight` counts our own requests.
    pub fn start(client: Client, clock: Clock, in_flight: Arc<AtomicU32>) -> Watch {
        let (samples, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (period, awake) = (Arc::new(AtomicU64::new(PERIOD_MS)), Arc::new(AtomicBool::new(false)));
        let shared = (samples.clone(), period.clone(), awake.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let (samples, period, awake, stop) = shared;
            while !stop.load(Ordering::Relaxed) {
                std::thread::park_timeout(Duration::from_millis(period.load(Ordering::Relaxed)));
                if !awake.load(Ordering::Relaxed) {
                    continue;
                }
                let before = in_flight.load(Ordering::Acquire);
                let Some(sample) = read(&client, clock) else { continue };
                let ours = before.max(in_flight.load(Ordering::Acquire));
                samples.lock().expect("no thread panicked with the samples").push(Sample { ours, ..sample });
            }
        });
        Watch { samples, period, awake, stop, thread: Some(thread) }
    }

    /// Reads more often until what it gives is dropped.
    pub fn closely(&self) -> Closely {
        self.period.store(PERIOD_MS / 10, Ordering::Relaxed);
        Closely(self.period.clone())
    }

    /// Begins to read; `seldom` for a point whose latencies are to be those of a server that nobody watches: each reading keeps its
    /// front end busy for some milliseconds.
    pub fn begin(&self, seldom: bool) {
        if seldom {
            self.period.store(SELDOM_MS, Ordering::Relaxed);
        }
        self.awake.store(true, Ordering::Relaxed);
    }

    /// Stops reading, and gives what was read since it began.
    pub fn end(&self) -> Vec<Sample> {
        self.awake.store(false, Ordering::Relaxed);
        let _ = self.period.compare_exchange(SELDOM_MS, PERIOD_MS, Ordering::Relaxed, Ordering::Relaxed);
        std::mem::take(&mut *self.samples.lock().expect("no thread panicked with the samples"))
    }
}

/// While it lives, readings are close.
pub struct Closely(Arc<AtomicU64>);

impl Drop for Closely {
    fn drop(&mut self) {
        self.0.store(PERIOD_MS, Ordering::Relaxed);
    }
}

fn read(client: &Client, clock: Clock) -> Option<Sample> {
    let answer = client.get("/metrics").ok().filter(|answer| answer.status == 200)?;
    let scrape = Scrape::parse(&answer.body);
    let (running, waiting) = (scrape.running()?, scrape.waiting()?);
    Some(Sample { at: clock.now(), running, waiting, usage: scrape.usage().unwrap_or(0.0), ours: 0 })
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}
