//! The beginning: the server, the log, and what a log to be resumed holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::time::{Duration, Instant};

use super::{Experiment, Progress};
use crate::observation::{Observations, PointKind, Record, ServerRecord};
use crate::probe::client::Client;
use crate::probe::clock::Clock;
use crate::probe::design::Bounds;
use crate::probe::discover::{Discovered, discover, try_one};
use crate::probe::error::ProbeError;
use crate::probe::flight::Bench;
use crate::probe::load;
use crate::probe::log::Log;
use crate::probe::options::ProbeOptions;
use crate::probe::pace::Pace;
use crate::probe::prompts::Prompts;
use crate::probe::repeat::Runner;
use crate::probe::tally::{self, Tallies};
use crate::probe::watch::Watch;

impl<'a> Experiment<'a> {
    /// Finds the server, tries it, and opens the log.
    pub(super) fn begin(
        options: &'a ProbeOptions,
        stop: &Arc<AtomicBool>,
        report: &'a mut dyn FnMut(&Progress<'_>),
    ) -> Result<Experiment<'a>, ProbeError> {
        let clock = Clock::start();
        let client = Client::new(&options.url, options.api_key.clone(), clock, options.patience)?;
        report(&Progress { what: "the server", spent: Duration::ZERO, budget: options.budget });
        let Discovered { mut server, metrics, notes } = discover(&client, options)?;
        let mut prompts = Prompts::new(options.seed, clock.salt(), options.vocab);
        try_one(&client, &server.model, &mut prompts)?;
        let (mut log, before) = Log::open(&options.log, options.resume)?;
        if let Some(before) = &before {
            same(&before.server, &server, options)?;
            server.max_num_batched_tokens = server.max_num_batched_tokens.or(before.server.max_num_batched_tokens);
            server.max_num_seqs = server.max_num_seqs.or(before.server.max_num_seqs);
        }
        server.started = clock.started();
        log.write(&Record::Server(Box::new(server.clone())))?;
        let in_flight = Arc::new(AtomicU32::new(0));
        let watch = metrics.then(|| Watch::start(client.clone(), clock, in_flight.clone()));
        let bench = Bench { client, model: server.model.clone(), prompts, log, stop: stop.clone(), in_flight };
        let mut experiment = Experiment {
            options,
            report,
            runner: Runner { bench, clock, watch, last: None },
            bounds: Bounds::new(&server, options.max_batch, options.max_prompt),
            server,
            tallies: Tallies::new(),
            pace: Pace::default(),
            begun: Instant::now(),
            last_beat: Instant::now(),
            slower: 1.0,
            failed_in_row: 0,
            left_out: Vec::new(),
            failed: Vec::new(),
            notes,
            capacity: None,
        };
        if let Some(before) = &before {
            experiment.take_up(before);
        }
        Ok(experiment)
    }

    /// Takes up what a log holds.
    fn take_up(&mut self, before: &Observations) {
        self.tallies = tally::from_log(before);
        for (point, requests) in &before.points {
            if let Some(value) = self.tallies[&point.point].value() {
                self.learn(point.kind, point.batch, point.context, value);
            }
            // Of a burst whose open-loop run is missing nothing is taken up: both have the same lengths.
            if point.kind == PointKind::Burst && before.points.iter().any(|(point, _)| point.kind == PointKind::Open) {
                let seconds = requests.iter().map(|r| r.sent_ns).max().unwrap_or(0).saturating_sub(point.start_ns) as f64 / 1e9;
                self.capacity = load::capacity(requests, point.start_ns, seconds).or(self.capacity);
            }
        }
    }
}

/// An error if a log is of another server, or was asked for otherwise.
fn same(before: &ServerRecord, now: &ServerRecord, options: &ProbeOptions) -> Result<(), ProbeError> {
    let log = options.log.display();
    let pairs = [
        ("URL", before.url.clone(), now.url.clone()),
        ("model", before.model.clone(), now.model.clone()),
        ("seed", before.seed.to_string(), now.seed.to_string()),
    ];
    match pairs.into_iter().find(|(_, before, now)| before != now) {
        Some((what, before, now)) => {
            let message = format!("cannot resume {log}: its {what} is {before}, now it is {now}");
            Err(ProbeError::new(message, "ask for the same as then, or name another file: -o"))
        }
        None => Ok(()),
    }
}
