//! The views that `simulate` writes beside its report.

use std::io::{self, BufWriter};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use tokentide_models::units::{Duration, Time};
use tokentide_sim::engine::Observer;
use tokentide_sim::scenario::Scenario;
use tokentide_sim::scenario::duration::parse_duration;
use tokentide_views::{DEFAULT_START_MS, Format, Meter, Partial, Sampling, Timeline, ViewError, Window, write_metrics};

use crate::exit::Failure;
use crate::output::Output;

/// Between samples, as Prometheus scrapes by many a default [s].
const EVERY_S: f64 = 15.0;
/// Times of samples are whole milliseconds.
const MS: Duration = Duration(1_000_000_000);

/// Which views.
#[derive(Args)]
pub struct ViewArgs {
    /// Write a timeline for Perfetto or chrome://tracing, .json or .json.gz: steps, requests, levels (of the first replication)
    #[arg(long, value_name = "FILE")]
    timeline: Option<PathBuf>,
    /// Only what happens between two times, such as 2m,3m [default: all, up to 500,000 events]
    #[arg(long, value_name = "START,END", requires = "timeline", value_parser = window)]
    timeline_window: Option<Window>,
    /// Write what /metrics of vLLM would say: .prom, a page at the end, or .om, samples over the run (of the first replication)
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
    /// Take the page at this time instead of the end
    #[arg(long, value_name = "TIME", requires = "metrics", value_parser = parse_duration)]
    metrics_at: Option<Duration>,
    /// Time between samples [default: 15s]
    #[arg(long, value_name = "TIME", requires = "metrics", value_parser = sample_distance)]
    metrics_every: Option<Duration>,
    /// When the run starts in the times of samples [default: 2026-01-01T00:00:00Z]
    #[arg(long, value_name = "TIME", requires = "metrics", value_parser = start_ms)]
    metrics_start: Option<i64>,
}

/// `2m,3m`
fn window(text: &str) -> Result<Window, String> {
    let (from, until) = text.split_once(',').ok_or("expected START,END, such as 2m,3m")?;
    let time = |text: &str| match text.trim() {
        "0" => Ok(Time::ZERO),
        text => parse_duration(text).map(|duration| Time(duration.0)),
    };
    let window = Window { from: time(from)?, until: time(until)? };
    if window.from >= window.until { Err("it ends before it starts".to_owned()) } else { Ok(window) }
}

fn sample_distance(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration(0) => Err("samples need some time between them".to_owned()),
        every if !every.0.is_multiple_of(MS.0) => Err("times of samples are whole milliseconds".to_owned()),
        every => Ok(every),
    }
}

/// RFC 3339 as milliseconds since 1970.
fn start_ms(text: &str) -> Result<i64, String> {
    let start: SystemTime = humantime::parse_rfc3339(text).map_err(|e| format!("{e}: write it as 2026-01-01T00:00:00Z"))?;
    let since = start.duration_since(UNIX_EPOCH).map_err(|_| "it is before 1970".to_owned())?;
    i64::try_from(since.as_millis()).map_err(|_| "it is too far away".to_owned())
}

/// The views of a run, their files open.
pub struct Views {
    timeline: Option<(PathBuf, Timeline)>,
    metrics: Option<Metrics>,
}

struct Metrics {
    path: PathBuf,
    file: BufWriter<Partial>,
    format: Format,
    start_ms: i64,
    meter: Meter,
}

impl Views {
    /// Opens the files before the run: a path that cannot be written is found now and not after it. They are in their places when
    /// they are whole.
    ///
    /// # Errors
    /// If a file cannot be written, or options do not belong to its format.
    pub fn open(args: &ViewArgs, scenario: &Scenario) -> Result<Views, Failure> {
        let metrics = args.metrics.clone().map(|path| Metrics::open(path, args, scenario)).transpose()?;
        let timeline = |path: &PathBuf| Ok((path.clone(), Timeline::create(path, scenario, args.timeline_window)?));
        let timeline = args.timeline.as_ref().map(timeline).transpose().map_err(failure)?;
        Ok(Views { timeline, metrics })
    }

    /// Who counts for the metrics.
    pub fn meter(&mut self) -> Option<&mut dyn Observer> {
        self.metrics.as_mut().map(|metrics| &mut metrics.meter as &mut dyn Observer)
    }

    /// Who draws the timeline. It asks for every step, which changes levels over time in a report a little: it takes a run of its
    /// own.
    pub fn timeline(&mut self) -> Option<&mut dyn Observer> {
        self.timeline.as_mut().map(|(_, timeline)| timeline as &mut dyn Observer)
    }

    /// Ends the files, and says what is in them.
    ///
    /// # Errors
    /// If they cannot be written, or nothing is in them.
    pub fn finish(self, replications: u32, output: &Output) -> Result<(), Failure> {
        if replications > 1 && (self.timeline.is_some() || self.metrics.is_some()) {
            output.note(&format!("timeline and metrics are those of the first of {replications} runs"));
        }
        if let Some((path, timeline)) = self.timeline {
            let drawn = timeline.finish().map_err(failure)?;
            let full = |at: Time| format!(": full at {:.1} s of the run, --timeline-window shows a part", at.as_secs_f64());
            let full = drawn.full.map(full);
            output.note(&format!("{} events in {}{}", drawn.events, path.display(), full.unwrap_or_default()));
        }
        if let Some(Metrics { path, mut file, format, start_ms, meter }) = self.metrics {
            write_metrics(meter, format, start_ms, &path, &mut file).map_err(failure)?;
            let kept = file.into_inner().map_err(io::Error::from).and_then(Partial::keep);
            kept.map_err(|source| failure(ViewError::Io { path: path.clone(), source }))?;
            output.note(&format!("metrics in {}", path.display()));
        }
        Ok(())
    }
}

impl Metrics {
    fn open(path: PathBuf, args: &ViewArgs, scenario: &Scenario) -> Result<Metrics, Failure> {
        let format = Format::of(&path).map_err(failure)?;
        let wrong = |option: &str, ends: &str| {
            let what = format!("{option} goes with {ends}, not with `{}`", path.display());
            Err(Failure::with_help(what, "a page (.prom) is of one time; series (.om) are samples over the run"))
        };
        let sampling = match (format, args.metrics_at) {
            (Format::Prometheus, _) if args.metrics_every.is_some() => return wrong("--metrics-every", "`.om`"),
            (Format::Prometheus, _) if args.metrics_start.is_some() => return wrong("--metrics-start", "`.om`"),
            (Format::OpenMetrics, Some(_)) => return wrong("--metrics-at", "`.prom`"),
            (Format::Prometheus, at) => at.map_or(Sampling::End, |at| Sampling::At(Time(at.0))),
            (Format::OpenMetrics, None) => Sampling::Every(args.metrics_every.unwrap_or(Duration::from_secs_f64(EVERY_S))),
        };
        let file = Partial::create(&path).map_err(|source| failure(ViewError::Io { path: path.clone(), source }))?;
        let start_ms = args.metrics_start.unwrap_or(DEFAULT_START_MS);
        Ok(Metrics { file: BufWriter::new(file), format, start_ms, meter: Meter::new(scenario, sampling), path })
    }
}

fn failure(error: ViewError) -> Failure {
    Failure::message(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_and_starts_are_read() {
        let seconds = |n: u64| Time(n * 1_000_000_000_000);
        assert_eq!(window("2m, 3m"), Ok(Window { from: seconds(120), until: seconds(180) }));
        assert_eq!(window("0,1s"), Ok(Window { from: Time::ZERO, until: seconds(1) }));
        for wrong in ["2m", "3m,2m", "2m,2m", "2,3", "a,b", "1s,2s,3s"] {
            assert!(window(wrong).is_err(), "{wrong}");
        }
        assert_eq!(start_ms("2026-01-01T00:00:00Z"), Ok(DEFAULT_START_MS));
        assert_eq!(start_ms("1970-01-01T00:00:01.5Z"), Ok(1500));
        for wrong in ["2026-01-01", "yesterday", "1969-01-01T00:00:00Z", ""] {
            assert!(start_ms(wrong).is_err(), "{wrong}");
        }
        assert_eq!(sample_distance("15s"), Ok(Duration::from_secs_f64(15.0)));
        assert!(sample_distance("0s").is_err() && sample_distance("10us").is_err());
    }
}
