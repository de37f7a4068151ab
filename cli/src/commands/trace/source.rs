//! Where rows come from: files of every format, Parquet among them.

use std::path::{Path, PathBuf};

use clap::Args;
use tokentide_sim::scenario::duration::parse_duration;
use tokentide_tables::{TableError, TraceReader};
use tokentide_traces::import::{Failed, ImportError, ImportOptions, ImportReport, import, import_rows};
use tokentide_traces::number::Unit;
use tokentide_traces::scrape::is_page;
use tokentide_traces::{ReadOptions, TraceFormat, TraceRow};

use crate::args::Global;
use crate::engine::trace_failure;
use crate::exit::Failure;
use crate::progress::Progress;
use crate::suggest::closest;

/// Files, and how they are read.
#[derive(Args)]
pub struct SourceArgs {
    /// Files of one format, plain, gzip or zstd, read one after another; a folder or a tar of ServeGen's clients
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Their format, if it is not to be found from their content
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    from: Option<TraceFormat>,
    /// Columns of any CSV, JSONL or Parquet, such as arrival=startTime:unix_s,input=usage.prompt_tokens,output=out;
    /// arrival=END-DURATION_ms for logs that are stamped at completion (repeatable)
    #[arg(long, value_name = "OURS=THEIRS[:UNIT],...", value_parser = mapping, value_delimiter = ',')]
    map: Vec<(String, String)>,
    /// Unit of the time stamps, where the file leaves it open: s, ms, us, ns, unix_s, unix_ms, unix_ns or iso8601
    #[arg(long, value_name = "UNIT", value_parser = unit)]
    time_unit: Option<Unit>,
    /// Tokens per prefix hash, where it cannot be found from the lengths
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    block_tokens: Option<u32>,
    /// Which benchmark of a report that has several, from 1
    #[arg(long, value_name = "N")]
    benchmark: Option<usize>,
    /// What becomes of requests that failed: `keep` replays them with an answer of one token, `class` does so in a class of
    /// their own
    #[arg(long, value_name = "WHAT", default_value = "drop", value_parser = ["drop", "keep", "class"])]
    failed: String,
    /// Count and leave out records that cannot be used, instead of refusing the file
    #[arg(long)]
    skip_bad_rows: bool,
    /// Hold all rows in memory to sort them: for files that are out of order by more than 131,072 rows
    #[arg(long)]
    sort: bool,
    /// Sessions without an arrival of their own begin so often, as a Poisson process [1/s]
    #[arg(long, value_name = "RATE", value_parser = positive)]
    session_rate: Option<f64>,
    /// Of ServeGen's clients: times to draw, such as 10h,11h
    #[arg(long, value_name = "START,END", value_parser = window)]
    draw: Option<(f64, f64)>,
    /// Of ServeGen's clients: how many times their rates
    #[arg(long, value_name = "X", default_value = "1", value_parser = positive)]
    draw_scale: f64,
}

/// A number above zero.
pub fn positive(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|x: &f64| x.is_finite() && *x > 0.0).ok_or_else(|| "expected a number above 0".to_owned())
}

/// `10h,11h` in seconds.
pub fn window(text: &str) -> Result<(f64, f64), String> {
    let (start, end) = text.split_once(',').ok_or("expected START,END, such as 0s,10m")?;
    let seconds = |text: &str| parse_duration(text.trim()).map(|span| span.as_secs_f64());
    let (start, end) = (seconds(start)?, seconds(end)?);
    if start < end { Ok((start, end)) } else { Err("the start must be before the end".to_owned()) }
}

fn format(name: &str) -> Result<TraceFormat, String> {
    TraceFormat::named(name).ok_or_else(|| {
        let names: Vec<&str> = TraceFormat::ALL.iter().map(|format| format.name()).collect();
        let near = closest(name, names.iter().copied()).map_or(String::new(), |near| format!("did you mean `{near}`? "));
        format!("{near}known are {}", names.join(", "))
    })
}

fn mapping(text: &str) -> Result<(String, String), String> {
    let (ours, theirs) = text.split_once('=').ok_or("expected OURS=THEIRS, such as input=prompt_tokens")?;
    Ok((ours.trim().to_owned(), theirs.trim().to_owned()))
}

fn unit(name: &str) -> Result<Unit, String> {
    Unit::named(name).ok_or_else(|| format!("known are {}", Unit::NAMES.join(", ")))
}

impl SourceArgs {
    /// One file, read as it says itself.
    pub fn of(file: &Path) -> SourceArgs {
        SourceArgs {
            files: vec![file.to_owned()],
            from: None,
            map: Vec::new(),
            time_unit: None,
            block_tokens: None,
            benchmark: None,
            failed: "drop".to_owned(),
            skip_bad_rows: false,
            sort: false,
            session_rate: None,
            draw: None,
            draw_scale: 1.0,
        }
    }

    /// The files.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Whether they are metrics pages.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn is_pages(&self) -> Result<bool, Failure> {
        let first = self.files.iter().take(1).filter(|path| !is_table(path));
        first.map(|path| is_page(path).map_err(|e| trace_failure(&e))).next().unwrap_or(Ok(false))
    }

    /// Names of the files.
    pub fn names(&self) -> String {
        names(&self.files)
    }

    fn options(&self, global: &Global) -> ImportOptions {
        ImportOptions {
            read: ReadOptions {
                format: self.from.unwrap_or(TraceFormat::Detect),
                columns: self.map.clone(),
                time_unit: self.time_unit,
                block_tokens: self.block_tokens,
                benchmark: self.benchmark,
                hashed: false,
            },
            failed: match self.failed.as_str() {
                "keep" => Failed::Keep,
                "class" => Failed::Class,
                _ => Failed::Drop,
            },
            skip_bad_rows: self.skip_bad_rows,
            sort: self.sort,
            session_rate: self.session_rate,
            seed: global.seed.unwrap_or(42),
            window: self.draw,
            rate_scale: self.draw_scale,
        }
    }

    /// Gives every row to `sink`, in order of arrival, and says what was read.
    ///
    /// # Errors
    /// If a file cannot be used, or the rows cannot be taken.
    pub fn read(&self, global: &Global, sink: &mut dyn FnMut(TraceRow) -> Result<(), TableError>) -> Result<ImportReport, Failure> {
        let options = self.options(global);
        let failure = |error| match error {
            ImportError::Trace(error) => trace_failure(&error),
            ImportError::Sink(error) => table_failure(&error),
        };
        if let Some(path) = self.files.iter().find(|path| is_table(path)) {
            if self.files.len() > 1 {
                return Err(Failure::message("of Parquet one file is read: `trace transform --mix FILE` puts traces together"));
            }
            let mut rows = TraceReader::open(path, &options.read.columns).map_err(|e| table_failure(&e))?;
            return import_rows(&mut || rows.next_row(), path, &options, sink).map_err(failure);
        }
        let mut progress = Progress::new("reading", global.no_progress || global.quiet);
        let bytes: u64 = self.files.iter().filter_map(|path| std::fs::metadata(path).ok()).map(|m| m.len()).sum();
        // How many rows there are is not known before: a guess from the bytes, which compression makes too low.
        let expected = (bytes / 60).max(1) as f64;
        import(&self.files, &options, &mut |rows| progress.set((rows as f64 / expected).min(0.99)), sink).map_err(failure)
    }
}

/// Names of files, without their folders.
pub fn names(files: &[PathBuf]) -> String {
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    files.iter().map(name).collect::<Vec<_>>().join(", ")
}

fn is_table(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("parquet") || e == "pq")
}

/// For `map_err`.
pub fn table_failure(error: &TableError) -> Failure {
    Failure::message(error.to_string())
}
