//! Replay of recorded traffic.
//!
//! A file is read twice: first as a whole, to check every row and to sum it up, then line by line as the run goes on, so that a
//! trace of any length takes the memory of one line. `path -> lines -> record -> row (checked) -> request`.
//!
//! Each row's prompt is whole. Sessions of rows with arrivals give affinity and labels only; rows with a delay wait for the turn
//! before ([`sessions`]).

mod clock;
mod rows;
mod sessions;
mod summary;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use tokentide_models::hash::FNV_OFFSET;
use tokentide_models::units::{Duration, PS_PER_S, Time};
pub use tokentide_traces::{Fault, FaultKind, NATIVE_COLUMNS, TraceError, TraceRow, identity, line_text};

use self::clock::TraceClock;
use self::rows::Rows;
use self::sessions::{Held, Text, Waiting, session_id};
pub use self::summary::TraceSummary;
use super::labels::{Labels, NO_LABEL};
use super::sessions::private_identity;
use super::{Prefix, Request, RequestSource};
use crate::engine::Outcome;
use crate::scenario::{Class, Horizon, Scenario, TraceConfig};

/// Replays a trace.
#[derive(Debug)]
pub struct TraceSource {
    rows: Rows,
    clock: TraceClock,
    horizon: Horizon,
    defaults: Vec<ClassDefaults>,
    labels: Labels,
    turns: HashMap<u64, u32>,
    waiting: Waiting,
    /// Rows whose jittered time a later row may still undercut; keyed by (time, row).
    ahead: BinaryHeap<Reverse<Ahead>>,
    /// The row read last, and its earliest possible time: what is ahead at or before it can go.
    next_row: Option<(Time, u64, TraceRow, u16)>,
    rows_taken: u64,
    sent: u64,
    summary: TraceSummary,
    failure: Option<TraceError>,
}

/// A row whose time is settled. Ordered by time, then by its place in the trace.
#[derive(Debug)]
struct Ahead {
    key: (Time, u64),
    row: TraceRow,
    class: u16,
}

impl PartialEq for Ahead {
    fn eq(&self, other: &Ahead) -> bool {
        self.key == other.key
    }
}

impl Eq for Ahead {}

impl PartialOrd for Ahead {
    fn partial_cmp(&self, other: &Ahead) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ahead {
    fn cmp(&self, other: &Ahead) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}

/// What a class gives to its rows.
#[derive(Clone, Copy, Debug)]
struct ClassDefaults {
    tenant: u16,
    route: u16,
    priority: i32,
    max_tokens: u32,
    timeout: Option<Duration>,
}

impl TraceSource {
    /// Reads and checks the whole file of `config`, and stands ready at its start.
    ///
    /// # Errors
    /// See [`FaultKind`]; with `skip_bad_rows` faults of single rows are counted instead.
    pub fn open(config: &TraceConfig, scenario: &Scenario) -> Result<TraceSource, TraceError> {
        TraceSource::open_for(config, &scenario.classes, scenario.seed, scenario.horizon)
    }

    /// The same, for `classes`.
    ///
    /// # Errors
    /// See [`TraceSource::open`].
    pub fn open_for(config: &TraceConfig, classes: &[Class], seed: u64, horizon: Horizon) -> Result<TraceSource, TraceError> {
        let names: Vec<String> = classes.iter().map(|c| c.name.clone()).collect();
        let again = || Rows::open(config, &names);
        TraceSource::checked(again()?, again, config, classes, (seed, horizon))
    }

    /// Replays rows that were read elsewhere (a Parquet file), in order of arrival. They are checked as those of a file, and kept
    /// in memory. Of `config` only what concerns the replay counts: scale, window, jitter, `block_tokens`, `skip_bad_rows`.
    ///
    /// # Errors
    /// See [`TraceSource::open`]; errors count rows from 1 and name no file.
    pub fn from_rows(
        rows: impl IntoIterator<Item = TraceRow>,
        config: &TraceConfig,
        scenario: &Scenario,
    ) -> Result<TraceSource, TraceError> {
        TraceSource::from_rows_for(rows, config, &scenario.classes, scenario.seed, scenario.horizon)
    }

    /// The same, for `classes`.
    ///
    /// # Errors
    /// See [`TraceSource::from_rows`].
    pub fn from_rows_for(
        rows: impl IntoIterator<Item = TraceRow>,
        config: &TraceConfig,
        classes: &[Class],
        seed: u64,
        horizon: Horizon,
    ) -> Result<TraceSource, TraceError> {
        let names: Vec<String> = classes.iter().map(|c| c.name.clone()).collect();
        let rows: Vec<TraceRow> = rows.into_iter().collect();
        let first = Rows::ready(rows.clone(), config, &names);
        TraceSource::checked(first, || Ok(Rows::ready(rows, config, &names)), config, classes, (seed, horizon))
    }

    /// What was found in the trace.
    pub fn summary(&self) -> &TraceSummary {
        &self.summary
    }

    /// Names that the requests' `tenant` and `route` index.
    pub fn labels(&self) -> &[String] {
        self.labels.names()
    }

    /// Why the replay ended early: the file could not be read any more, or changed, after it was checked.
    pub fn failure(&self) -> Option<&TraceError> {
        self.failure.as_ref()
    }

    fn checked(
        mut pass: Rows,
        again: impl FnOnce() -> Result<Rows, TraceError>,
        config: &TraceConfig,
        classes: &[Class],
        (seed, horizon): (u64, Horizon),
    ) -> Result<TraceSource, TraceError> {
        let mut clock = TraceClock::new(config, seed).map_err(|fault| pass.error(fault))?;
        let mut labels = Labels::default();
        let defaults = classes.iter().map(|class| ClassDefaults::new(class, &mut labels)).collect();
        let summary = survey(&mut pass, &mut clock, &mut labels, config)?;
        let mut source = TraceSource {
            rows: again()?,
            clock,
            horizon,
            defaults,
            labels,
            turns: HashMap::new(),
            waiting: Waiting::default(),
            ahead: BinaryHeap::new(),
            next_row: None,
            rows_taken: 0,
            sent: 0,
            summary,
            failure: None,
        };
        source.read_row();
        Ok(source)
    }

    /// Takes the next row within the window from the file.
    fn read_row(&mut self) {
        self.next_row = None;
        loop {
            match self.rows.next_row() {
                Ok(Some((row, class))) => {
                    let index = self.rows_taken;
                    self.rows_taken += 1;
                    if self.clock.past_window(row.arrival_ps) {
                        return;
                    }
                    if !self.clock.in_window(row.arrival_ps) {
                        continue;
                    }
                    if row.delay_ps.is_some() {
                        self.waiting.hold(Held { index, row, class });
                    } else {
                        self.next_row = Some((self.clock.time(row.arrival_ps, 0), index, row, class));
                        return;
                    }
                }
                Ok(None) => {
                    let changed = self.rows.hash().is_some_and(|hash| hash != self.summary.content_hash);
                    self.failure = changed.then(|| self.rows.error(Fault::new(FaultKind::Changed, "replay an unchanging copy")));
                    return;
                }
                Err(error) => {
                    self.failure = Some(error);
                    return;
                }
            }
        }
    }

    /// Moves rows ahead until the first one there cannot be undercut any more.
    fn settle(&mut self) {
        while let Some((earliest, ..)) = self.next_row {
            if self.ahead.peek().is_some_and(|Reverse(head)| head.key.0 <= earliest) {
                return;
            }
            let Some((_, index, row, class)) = self.next_row.take() else { return };
            let time = self.clock.time(row.arrival_ps, self.clock.offset(index));
            self.ahead.push(Reverse(Ahead { key: (time, index), row, class }));
            self.read_row();
        }
    }
}

/// Reads all rows once: sums them up, collects their labels, finds the first arrival.
fn survey(rows: &mut Rows, clock: &mut TraceClock, labels: &mut Labels, config: &TraceConfig) -> Result<TraceSummary, TraceError> {
    let mut summary = TraceSummary { content_hash: FNV_OFFSET, ..TraceSummary::default() };
    let mut last = None;
    while let Some((row, _)) = rows.next_row()? {
        if last.is_none() {
            clock.first = row.arrival_ps;
        }
        for label in [&row.tenant, &row.route].into_iter().flatten() {
            if labels.index(label).is_none() {
                return Err(rows.error(Fault::new(FaultKind::TooManyLabels, "at most 65,535 different ones").text(label)));
            }
        }
        if rows.hash().is_none() {
            summary.content_hash = row.digest(summary.content_hash);
        }
        let in_window = clock.in_window(row.arrival_ps);
        if in_window && clock.time(row.arrival_ps, clock.jitter).as_secs_f64() > rows::SPAN_MAX_S as f64 {
            let expected = "at this rate_scale the trace lasts longer than 208 days";
            return Err(rows.error(Fault::new(FaultKind::BadSetting, expected).text(&config.rate_scale.to_string())));
        }
        summary.add(&row, last, in_window);
        last = Some(row.arrival_ps);
    }
    (summary.format, summary.unit) = ("rows".to_owned(), "ps".to_owned());
    if let Some(reader) = rows.reader() {
        reader.check_keys()?;
        (summary.format, summary.unit) = (reader.format.name().to_owned(), reader.unit.name().to_owned());
        summary.ignored_columns.clone_from(&reader.ignored);
    }
    summary.rows_read = rows.read;
    summary.rejected = rows.rejected.iter().map(|(kind, count)| (kind.reason(), *count)).collect();
    summary.span_s = last.map_or(0.0, |last| (last - clock.first) as f64 / PS_PER_S as f64);
    summary.content_hash = rows.hash().unwrap_or(summary.content_hash);
    if summary.rows_in_window == 0 {
        let why = match (summary.rows_read, summary.rows_kept) {
            (0, _) => "there is a header or nothing at all, and no row".to_owned(),
            (read, 0) => format!("all {read} rows were left out"),
            (_, kept) => format!("none of {kept} rows lies in the window; they span {} s", summary.span_s),
        };
        return Err(TraceError { line: None, ..rows.error(Fault::new(FaultKind::Empty, why)) });
    }
    Ok(summary)
}

impl RequestSource for TraceSource {
    fn peek(&mut self) -> Option<Time> {
        if self.horizon.requests.is_some_and(|most| self.sent >= most) {
            return None;
        }
        self.settle();
        let time = self.ahead.peek()?.0.key.0;
        self.horizon.duration.is_none_or(|end| time < end).then_some(time)
    }

    fn next(&mut self) -> Option<Request> {
        self.peek()?;
        let Reverse(Ahead { key: (arrival, index), row, class }) = self.ahead.pop()?;
        let id = self.sent;
        self.sent += 1;
        let session = row.session.as_ref().map(|name| {
            let session = session_id(name);
            let turns = self.turns.entry(session).or_default();
            *turns += 1;
            (session, *turns - 1)
        });
        let none = ClassDefaults { tenant: NO_LABEL, route: NO_LABEL, priority: 0, max_tokens: u32::MAX, timeout: None };
        let defaults = self.defaults.get(usize::from(class)).copied().unwrap_or(none);
        let text = session.and_then(|(id, _)| self.waiting.text(id, &row)).unwrap_or_else(|| Text {
            prefix: match (row.prefix_hashes.is_empty(), row.prefix_block_tokens) {
                (false, Some(block_tokens)) => Prefix::Hashes { ids: Arc::from(&row.prefix_hashes[..]), block_tokens },
                _ => Prefix::None,
            },
            private: private_identity(u16::MAX, index, 0),
            private_reused: false,
        });
        Some(Request {
            id,
            arrival,
            class,
            tenant: row.tenant.map_or(defaults.tenant, |name| self.labels.of(Some(&name))),
            route: row.route.map_or(defaults.route, |name| self.labels.of(Some(&name))),
            priority: defaults.priority,
            input_tokens: row.input_tokens,
            output_tokens: row.output_tokens,
            max_tokens: row.max_tokens.unwrap_or(defaults.max_tokens),
            deadline: defaults.timeout.map_or(Time::NEVER, |timeout| arrival + timeout),
            session,
            prefix: text.prefix,
            private: text.private,
            private_reused: text.private_reused,
            sources: row.sources,
        })
    }

    fn feedback(&self) -> bool {
        self.summary.rows_waiting > 0
    }

    fn ended(&mut self, outcome: &Outcome, known: Time) {
        if let Some((time, held)) = self.waiting.ended(outcome, known) {
            self.ahead.push(Reverse(Ahead { key: (time, held.index), row: held.row, class: held.class }));
        }
    }
}

impl ClassDefaults {
    fn new(class: &Class, labels: &mut Labels) -> ClassDefaults {
        ClassDefaults {
            tenant: labels.of(class.tenant.as_deref()),
            route: labels.of(class.route.as_deref()),
            priority: class.priority,
            max_tokens: class.output.max_tokens.unwrap_or(u32::MAX),
            timeout: class.timeout,
        }
    }
}
