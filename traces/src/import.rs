//! From the records of files to a trace: which are load, in which order, and what there was to say.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand_distr::{Distribution, Exp1};
use serde::Serialize;
use tokentide_models::units::PS_PER_S;

use crate::entry::Entry;
use crate::error::{Fault, FaultKind, TraceError};
use crate::format::TraceFormat;
use crate::measured::Run;
use crate::number::Unit;
use crate::options::ReadOptions;
use crate::order::Reorder;
use crate::reader::Reader;
use crate::row::{Cover, Ended, TraceRow};
use crate::servegen;
use crate::survey::{Figures, Survey};
use crate::warnings;

/// Names of records that are remembered: two generations of so many.
const IDS: usize = 1 << 18;

/// What becomes of requests that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Failed {
    /// They are left out, and counted.
    #[default]
    Drop,
    /// They are kept, with an answer of one token.
    Keep,
    /// The same, in a class of their own, `failed`.
    Class,
}

/// How to import.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// How files are read.
    pub read: ReadOptions,
    /// Requests that failed.
    pub failed: Failed,
    /// Count and leave out records that cannot be used, instead of refusing the file.
    pub skip_bad_rows: bool,
    /// Holds all rows to put them in order, instead of some.
    pub sort: bool,
    /// Sessions without arrivals begin so often [1/s], as a Poisson process.
    pub session_rate: Option<f64>,
    /// Seed of what is drawn.
    pub seed: u64,
    /// Of a pool of clients: what is drawn [s], and how many times the rates.
    pub window: Option<(f64, f64)>,
    /// See `window`.
    pub rate_scale: f64,
}

/// Why rows are not in the trace, or not as they were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Set {
    /// In words.
    pub reason: String,
    /// How many records.
    pub rows: u64,
    /// Where the first one stands: its file, its line.
    pub first: Option<String>,
}

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ImportReport {
    /// Format of the files.
    pub format: String,
    /// Unit of their arrival times.
    pub time_unit: String,
    /// Files read.
    pub files: usize,
    /// Records in them, good or bad.
    pub rows_read: u64,
    /// Rows of the trace.
    pub rows_kept: u64,
    /// Records left out, by reason.
    pub left_out: Vec<Set>,
    /// Failed requests that were kept.
    pub failed_kept: u64,
    /// Rows that stood behind a later one in their file.
    pub moved: u64,
    /// Columns that were not read.
    pub ignored_columns: Vec<String>,
    /// What the rows are like.
    pub figures: Figures,
    /// What should be known before they are used.
    pub warnings: Vec<String>,
}

/// Why an import ended.
#[derive(Debug, thiserror::Error)]
pub enum ImportError<E> {
    /// A file cannot be used.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The rows cannot be taken, or be given by what is no reader of this crate.
    #[error("{0}")]
    Sink(E),
}

/// Reads files as one trace and gives its rows in order of arrival. `progress` is told how many records have been read.
///
/// # Errors
/// If a file cannot be used, or `sink` fails.
pub fn import<E>(
    paths: &[PathBuf],
    options: &ImportOptions,
    progress: &mut dyn FnMut(u64),
    sink: &mut dyn FnMut(TraceRow) -> Result<(), E>,
) -> Result<ImportReport, ImportError<E>> {
    let mut import = Import::new(options);
    for path in paths {
        match servegen::is_pool(path, &options.read)? {
            true => import.pool(path, progress, sink)?,
            false => import.file(path, progress, sink)?,
        }
        import.report.files += 1;
    }
    import.finish(paths, sink)
}

/// The same of rows that are read elsewhere, from `path`: `next` gives one after another.
///
/// # Errors
/// If a row cannot be used, or `next` or `sink` fails.
pub fn import_rows<E>(
    next: &mut dyn FnMut() -> Result<Option<TraceRow>, E>,
    path: &Path,
    options: &ImportOptions,
    sink: &mut dyn FnMut(TraceRow) -> Result<(), E>,
) -> Result<ImportReport, ImportError<E>> {
    let mut import = Import::new(options);
    import.head(path, TraceFormat::Native, Unit::Seconds)?;
    for number in 1.. {
        let Some(row) = next().map_err(ImportError::Sink)? else { break };
        let error = |fault| TraceError { file: path.to_owned(), line: Some(number), fault: Box::new(fault) };
        import.take(Entry::of(row), Cover::Prefix, options.read.block_tokens, &error, sink)?;
    }
    import.report.files = 1;
    import.finish(&[path.to_owned()], sink)
}

struct Import<'a> {
    options: &'a ImportOptions,
    report: ImportReport,
    left_out: BTreeMap<FaultKind, Set>,
    /// Reasons that reports of benchmarks give.
    told: Vec<Set>,
    remarks: Vec<String>,
    order: Reorder,
    survey: Survey,
    ids: [HashSet<u64>; 2],
    starts: Starts,
    columns: Vec<(String, String)>,
    /// Sessions of this format have no arrivals.
    without_arrivals: bool,
}

/// Why a record is no load.
enum NoLoad {
    /// It is what it says, and no load.
    Aside(FaultKind),
    /// It is wrong.
    Wrong(Fault),
}

/// Where sessions without an arrival of their own begin.
struct Starts {
    rate: Option<f64>,
    rng: SmallRng,
    now_ps: f64,
    /// Sessions at time zero.
    at_zero: u64,
    session: Option<String>,
    arrival_ps: i128,
}

impl<'a> Import<'a> {
    fn new(options: &'a ImportOptions) -> Import<'a> {
        Import {
            options,
            report: ImportReport::default(),
            left_out: BTreeMap::new(),
            told: Vec::new(),
            remarks: Vec::new(),
            order: Reorder::new(options.sort),
            survey: Survey::default(),
            ids: [HashSet::new(), HashSet::new()],
            starts: Starts {
                rate: options.session_rate,
                rng: SmallRng::seed_from_u64(options.seed),
                now_ps: 0.0,
                at_zero: 0,
                session: None,
                arrival_ps: 0,
            },
            columns: options.read.columns.clone(),
            without_arrivals: false,
        }
    }

    fn file<E>(
        &mut self,
        path: &Path,
        progress: &mut dyn FnMut(u64),
        sink: &mut dyn FnMut(TraceRow) -> Result<(), E>,
    ) -> Result<(), ImportError<E>> {
        let mut reader = Reader::open(path, &self.options.read)?;
        self.head(path, reader.format, reader.unit)?;
        self.report.ignored_columns.clone_from(&reader.ignored);
        self.remarks.append(&mut reader.remarks);
        for left in &reader.left_out {
            self.report.rows_read += left.rows as u64;
            self.told.push(Set { reason: left.reason.clone(), rows: left.rows as u64, first: None });
        }
        if self.options.failed != Failed::Drop && reader.left_out.iter().any(|left| left.reason == Run::FAILED) {
            let why = "failed requests are left out whatever is asked for where the report does not say when they came or how long \
                       they were";
            self.remarks.push(why.to_owned());
        }
        let (cover, block_tokens) = (reader.cover, reader.block_tokens);
        loop {
            let entry = match reader.next_entry() {
                Ok(Some(entry)) => entry,
                Ok(None) => break,
                Err(error) if error.fault.kind.of_a_row() => {
                    self.bad(error)?;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if self.report.rows_read.is_multiple_of(1 << 16) {
                progress(self.report.rows_read);
            }
            self.take(entry, cover, block_tokens, &|fault| reader.error(fault), sink)?;
        }
        reader.check_keys()?;
        Ok(())
    }

    /// Takes a record: as load, or aside.
    fn take<E>(
        &mut self,
        entry: Entry,
        cover: Cover,
        block_tokens: Option<u32>,
        error: &dyn Fn(Fault) -> TraceError,
        sink: &mut dyn FnMut(TraceRow) -> Result<(), E>,
    ) -> Result<(), ImportError<E>> {
        match self.keep(entry, cover, block_tokens) {
            Ok(row) => {
                self.report.rows_read += 1;
                self.push(row, error, sink)
            }
            Err(NoLoad::Aside(kind)) => {
                self.report.rows_read += 1;
                self.aside(kind, &error(Fault::new(kind, "")));
                Ok(())
            }
            Err(NoLoad::Wrong(fault)) => Ok(self.bad(error(fault))?),
        }
    }

    /// The first file says what all are.
    fn head(&mut self, path: &Path, format: TraceFormat, unit: Unit) -> Result<(), TraceError> {
        self.without_arrivals = matches!(format, TraceFormat::Weka | TraceFormat::AiperfSessions);
        if self.report.files == 0 {
            (self.report.format, self.report.time_unit) = (format.name().to_owned(), unit.name().to_owned());
            return Ok(());
        }
        if self.report.format != format.name() {
            let expected = format!("the first file is {}, this one {}: import them apart", self.report.format, format.name());
            let fault = Fault::new(FaultKind::BadSetting, expected);
            return Err(TraceError { file: path.to_owned(), line: None, fault: Box::new(fault) });
        }
        Ok(())
    }

    /// A record that cannot be read: the end, or one more that is left out.
    fn bad(&mut self, error: TraceError) -> Result<(), TraceError> {
        if !self.options.skip_bad_rows {
            return Err(error);
        }
        self.report.rows_read += 1;
        self.aside(error.fault.kind, &error);
        Ok(())
    }

    fn aside(&mut self, kind: FaultKind, at: &TraceError) {
        let reason = || Set { reason: kind.reason().to_owned(), rows: 0, first: Some(at.place()) };
        self.left_out.entry(kind).or_insert_with(reason).rows += 1;
    }

    /// The row of an entry that is load.
    fn keep(&mut self, entry: Entry, cover: Cover, block_tokens: Option<u32>) -> Result<TraceRow, NoLoad> {
        let Entry { mut row, aside, id } = entry;
        if let Some(id) = id
            && !self.first_time(id)
        {
            let fault = Fault::new(FaultKind::Duplicate, "`--skip-bad-rows` leaves repeated records out and counts them");
            return Err(NoLoad::Wrong(fault));
        }
        row.prefix_block_tokens = row.prefix_block_tokens.or(block_tokens.filter(|_| !row.prefix_hashes.is_empty()));
        match aside {
            None => {}
            Some(FaultKind::Failed | FaultKind::ZeroOutput) if self.options.failed != Failed::Drop && row.input_tokens > 0 => {
                row.output_tokens = row.output_tokens.max(1);
                row.observed.finish = Some(Ended::Error);
                if self.options.failed == Failed::Class {
                    row.class = Some("failed".to_owned());
                }
                self.report.failed_kept += 1;
            }
            Some(kind) => return Err(NoLoad::Aside(kind)),
        }
        row.check(cover).map_err(NoLoad::Wrong)?;
        self.starts.place(&mut row, self.without_arrivals);
        Ok(row)
    }

    fn first_time(&mut self, id: u64) -> bool {
        if self.ids[1].contains(&id) || !self.ids[0].insert(id) {
            return false;
        }
        if self.ids[0].len() > IDS {
            self.ids[1] = std::mem::take(&mut self.ids[0]);
        }
        true
    }

    fn push<E>(
        &mut self,
        row: TraceRow,
        error: &dyn Fn(Fault) -> TraceError,
        sink: &mut dyn FnMut(TraceRow) -> Result<(), E>,
    ) -> Result<(), ImportError<E>> {
        if let Err(late) = self.order.push(row) {
            let by = late.by_ps as f64 / PS_PER_S as f64;
            let expected =
                format!("{by:.3} s before rows that are written already: `--sort` holds all rows in memory to sort them");
            return Err(error(Fault::new(FaultKind::Backwards, expected)).into());
        }
        while let Some(row) = self.order.next_settled() {
            self.give(row, sink)?;
        }
        Ok(())
    }

    fn give<E>(&mut self, row: TraceRow, sink: &mut dyn FnMut(TraceRow) -> Result<(), E>) -> Result<(), ImportError<E>> {
        self.survey.add(&row);
        self.report.rows_kept += 1;
        sink(row).map_err(ImportError::Sink)
    }

    /// Draws the requests of a pool of clients.
    fn pool<E>(
        &mut self,
        path: &Path,
        progress: &mut dyn FnMut(u64),
        sink: &mut dyn FnMut(TraceRow) -> Result<(), E>,
    ) -> Result<(), ImportError<E>> {
        self.head(path, TraceFormat::Servegen, Unit::Seconds)?;
        let pool = servegen::Pool::open(path)?;
        let scale = if self.options.rate_scale > 0.0 { self.options.rate_scale } else { 1.0 };
        self.remarks.push(pool.remark(scale, self.options.seed));
        for row in pool.draw(self.options.window, scale, self.options.seed) {
            self.report.rows_read += 1;
            if self.report.rows_read.is_multiple_of(1 << 16) {
                progress(self.report.rows_read);
            }
            self.push(row, &|fault| TraceError { file: path.to_owned(), line: None, fault: Box::new(fault) }, sink)?;
        }
        Ok(())
    }

    fn finish<E>(
        mut self,
        paths: &[PathBuf],
        sink: &mut dyn FnMut(TraceRow) -> Result<(), E>,
    ) -> Result<ImportReport, ImportError<E>> {
        while let Some(row) = self.order.next() {
            self.give(row, sink)?;
        }
        self.report.moved = self.order.moved;
        self.report.left_out = self.told;
        self.report.left_out.extend(self.left_out.into_values());
        self.report.figures = self.survey.figures();
        if self.report.rows_kept == 0 {
            let reasons: Vec<String> = self.report.left_out.iter().map(|set| format!("{} {}", set.rows, set.reason)).collect();
            let why = match (self.report.rows_read, reasons.is_empty()) {
                (0, true) => "there is a header or nothing at all, and no row".to_owned(),
                (read, _) => format!("all {read} records were left out: {}", reasons.join("; ")),
            };
            let file = paths.first().cloned().unwrap_or_default();
            return Err(TraceError { file, line: None, fault: Box::new(Fault::new(FaultKind::Empty, why)) }.into());
        }
        self.report.warnings = self.remarks;
        self.report.warnings.extend(warnings::of(&self.report, &self.columns, self.starts.at_zero));
        Ok(self.report)
    }
}

impl Starts {
    /// Gives a session that has no arrival its start, and its turns the same.
    fn place(&mut self, row: &mut TraceRow, without_arrivals: bool) {
        if row.delay_ps.is_some() && row.session == self.session {
            row.arrival_ps = self.arrival_ps;
            return;
        }
        if without_arrivals && row.session.is_some() {
            match self.rate {
                Some(rate) => {
                    let gap: f64 = Exp1.sample(&mut self.rng);
                    self.now_ps += gap / rate * PS_PER_S as f64;
                    row.arrival_ps = self.now_ps.round() as i128;
                }
                None => self.at_zero += u64::from(row.arrival_ps == 0),
            }
        }
        self.session.clone_from(&row.session);
        self.arrival_ps = row.arrival_ps;
    }
}
