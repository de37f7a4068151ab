//! What was counted, as text: a page as a scrape gives it, or series to fill a Prometheus with.

use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;

use tokentide_models::units::{PS_PER_S, Time};
use tokentide_sim::engine::CoreId;

use crate::buckets::Buckets;
use crate::error::ViewError;
use crate::families::{Bounds, FAMILIES, Family, Kind, Level};
use crate::meter::{Meter, Point, Sampling};

/// When a run starts in OpenMetrics unless something else is said: 2026-01-01T00:00:00Z [ms since 1970].
pub const DEFAULT_START_MS: i64 = 1_767_225_600_000;
const PS_PER_MS: u64 = PS_PER_S / 1000;

/// Of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format, version 0.0.4: one sample of each series, without a time.
    Prometheus,
    /// OpenMetrics 1.0 with the times of samples.
    OpenMetrics,
}

impl Format {
    /// By the extension of `path`.
    ///
    /// # Errors
    /// If it says nothing.
    pub fn of(path: &Path) -> Result<Format, ViewError> {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
        match extension.as_str() {
            "prom" => Ok(Format::Prometheus),
            "om" | "openmetrics" | "txt" => Ok(Format::OpenMetrics),
            _ => Err(ViewError::UnknownExtension {
                path: path.to_owned(),
                expected: "`.prom` for a page, `.om`, `.openmetrics` or `.txt` for series",
            }),
        }
    }
}

/// Writes what `meter` has counted in a run that is over. Of OpenMetrics, `start_ms` is the time at which it began.
///
/// # Errors
/// If there is nothing to write, or it cannot be written; `path` is for messages.
pub fn write_metrics(mut meter: Meter, format: Format, start_ms: i64, path: &Path, out: &mut dyn Write) -> Result<(), ViewError> {
    match meter.sampling {
        Sampling::At(at) if at > meter.end => return Err(ViewError::AfterTheEnd { at, end: meter.end }),
        Sampling::Every(every) if meter.overflowed => return Err(ViewError::TooManySamples { every }),
        _ => {}
    }
    meter.settle();
    let page = Page { meter: &meter, start_ms: (format == Format::OpenMetrics).then_some(start_ms) };
    page.write(out).and_then(|()| out.flush()).map_err(ViewError::io(path))
}

/// A page in the making.
struct Page<'a> {
    meter: &'a Meter,
    /// With times, from this one on: OpenMetrics.
    start_ms: Option<i64>,
}

/// Samples of an engine core.
struct Series<'a> {
    points: &'a [Point],
    /// Indices of its samples; those behind `points` show nothing new.
    samples: Range<usize>,
    /// `engine="0",model_name="m"`, and its pod if there are several.
    labels: String,
}

impl Series<'_> {
    /// Each sample with its point.
    fn each(&self) -> impl Iterator<Item = (usize, Option<&Point>)> {
        self.samples.clone().map(|sample| (sample, self.points.get(sample)))
    }
}

impl Page<'_> {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let series = self.series();
        for family in &FAMILIES {
            self.head(family, out)?;
            for core in &series {
                match family.kind {
                    Kind::Gauge(level) => self.gauge(family.name, core, level, out)?,
                    Kind::CacheConfig => self.cache_config(family.name, core, out)?,
                    Kind::Counter(count) => self.counter(family.name, core, "", Some(count as usize), out)?,
                    Kind::Labelled(label, values) => {
                        for (value, count) in values {
                            self.counter(family.name, core, &format!(",{label}=\"{value}\""), count.map(|c| c as usize), out)?;
                        }
                    }
                    Kind::Histogram(spread, bounds) => self.histogram(family.name, core, spread as usize, bounds, out)?,
                }
            }
        }
        match self.start_ms {
            Some(_) => writeln!(out, "# EOF"),
            None => Ok(()),
        }
    }

    /// Engine cores that are shown.
    fn series(&self) -> Vec<Series<'_>> {
        let Meter { sampling, facts, served, end, .. } = self.meter;
        let mut all = Vec::new();
        for (replica, &(from, until)) in served.iter().enumerate() {
            let stays = until >= *end;
            for rank in 0..facts.ranks {
                let core = CoreId { replica: replica as u32, rank };
                let points = self.meter.points(core);
                let samples = match sampling {
                    Sampling::End if stays => 0..1,
                    Sampling::At(at) if from <= *at && (*at < until || stays) => 0..1,
                    Sampling::End | Sampling::At(_) => 0..0,
                    Sampling::Every(every) => {
                        let last = if stays { self.meter.last().0.div_ceil(every.0) + 1 } else { until.0.div_ceil(every.0) };
                        from.0.div_ceil(every.0) as usize..last as usize
                    }
                };
                let pod = if served.len() > 1 { format!(",pod=\"replica-{replica}\"") } else { String::new() };
                let labels = format!("engine=\"{rank}\",model_name=\"{}\"{pod}", escaped(&facts.model));
                all.push(Series { points, samples, labels });
            }
        }
        all
    }

    fn head(&self, family: &Family, out: &mut dyn Write) -> io::Result<()> {
        let (kind, suffix) = match family.kind {
            Kind::Gauge(_) | Kind::CacheConfig => ("gauge", ""),
            // What is a counter's name in one format is that of its samples in the other.
            Kind::Counter(_) | Kind::Labelled(..) if self.start_ms.is_none() => ("counter", "_total"),
            Kind::Counter(_) | Kind::Labelled(..) => ("counter", ""),
            Kind::Histogram(..) => ("histogram", ""),
        };
        let name = family.name;
        writeln!(out, "# HELP {name}{suffix} {}\n# TYPE {name}{suffix} {kind}", family.help)?;
        match family.unit() {
            unit if self.start_ms.is_some() && !unit.is_empty() => writeln!(out, "# UNIT {name} {unit}"),
            _ => Ok(()),
        }
    }

    fn gauge(&self, name: &str, core: &Series<'_>, level: Level, out: &mut dyn Write) -> io::Result<()> {
        for (sample, point) in core.each() {
            let value = match (level, point) {
                (_, None) => "0".to_owned(),
                (Level::Running, Some(point)) => point.running.to_string(),
                (Level::Waiting, Some(point)) => point.waiting.to_string(),
                (Level::KvUse, Some(point)) => (f64::from(point.kv_used) / f64::from(self.meter.facts.kv_blocks)).to_string(),
            };
            writeln!(out, "{name}{{{}}} {value}{}", core.labels, self.time(sample))?;
        }
        Ok(())
    }

    fn cache_config(&self, name: &str, core: &Series<'_>, out: &mut dyn Write) -> io::Result<()> {
        let facts = &self.meter.facts;
        let tokens = u64::from(facts.block_size) * u64::from(facts.kv_blocks);
        // vLLM counts the null block as well, and writes truth as Python does.
        let blocks = u64::from(facts.kv_blocks) + 1;
        let caching = if facts.prefix_caching { "True" } else { "False" };
        for (sample, _) in core.each() {
            writeln!(
                out,
                "{name}{{block_size=\"{}\",enable_prefix_caching=\"{caching}\",{},kv_cache_size_tokens=\"{tokens}\",\
                 num_gpu_blocks=\"{blocks}\"}} 1{}",
                facts.block_size,
                core.labels,
                self.time(sample)
            )?;
        }
        Ok(())
    }

    fn counter(&self, name: &str, core: &Series<'_>, label: &str, count: Option<usize>, out: &mut dyn Write) -> io::Result<()> {
        let mut total = 0;
        for (sample, point) in core.each() {
            total += count.zip(point).map_or(0, |(count, point)| point.counts[count]);
            writeln!(out, "{name}_total{{{}{label}}} {total}{}", core.labels, self.time(sample))?;
        }
        Ok(())
    }

    fn histogram(&self, name: &str, core: &Series<'_>, spread: usize, bounds: Bounds, out: &mut dyn Write) -> io::Result<()> {
        let uppers = &self.meter.bounds[spread];
        let les: Vec<String> = uppers.iter().map(|&upper| le(upper, bounds)).collect();
        let mut total = Buckets::default();
        for (sample, point) in core.each() {
            if let Some(point) = point {
                total.add(&point.spreads[spread]);
            }
            let (labels, time) = (&core.labels, self.time(sample));
            for (i, le) in les.iter().map(String::as_str).chain(["+Inf"]).enumerate() {
                writeln!(out, "{name}_bucket{{{labels},le=\"{le}\"}} {}{time}", total.upto(i))?;
            }
            let sum = match bounds {
                Bounds::Seconds(_) => seconds(total.sum()),
                _ => total.sum().to_string(),
            };
            writeln!(out, "{name}_sum{{{labels}}} {sum}{time}\n{name}_count{{{labels}}} {}{time}", total.count())?;
        }
        Ok(())
    }

    /// The time of a sample behind its value, if samples have one.
    fn time(&self, sample: usize) -> String {
        let Some(start_ms) = self.start_ms else { return String::new() };
        let Time(at) = self.meter.sampling.time(sample);
        let ms = start_ms + (at / PS_PER_MS) as i64;
        format!(" {}.{:03}", ms.div_euclid(1000), ms.rem_euclid(1000))
    }
}

/// An upper bound as Python's client writes it: `0.001`, `1.0`.
fn le(upper: u64, bounds: Bounds) -> String {
    match bounds {
        Bounds::Seconds(_) => format!("{:?}", upper as f64 / PS_PER_S as f64),
        _ => format!("{:?}", upper as f64),
    }
}

/// Picoseconds as seconds, all of them.
fn seconds(ps: u128) -> String {
    let unit = u128::from(PS_PER_S);
    let text = format!("{}.{:012}", ps / unit, ps % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A label's value.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exact() {
        assert_eq!(seconds(0), "0");
        assert_eq!(seconds(1_500_000_000_000), "1.5");
        assert_eq!(seconds(123_456_789_012_345_678_901_234), "123456789012.345678901234");
        assert_eq!(
            (le(1_000_000_000, Bounds::Seconds(&[])), le(7_680_000_000_000_000, Bounds::Seconds(&[]))),
            ("0.001".into(), "7680.0".into())
        );
        assert_eq!(le(20_000, Bounds::OneTwoFive), "20000.0");
        assert_eq!(escaped("a\"b\\c\n"), "a\\\"b\\\\c\\n");
    }

    #[test]
    fn the_extension_says_which_format() {
        let of = |name: &str| Format::of(Path::new(name)).ok();
        assert_eq!(
            (of("a.prom"), of("b/c.OM"), of("x.txt")),
            (Some(Format::Prometheus), Some(Format::OpenMetrics), Some(Format::OpenMetrics))
        );
        assert_eq!((of("a.openmetrics"), of("a.csv"), of("prom")), (Some(Format::OpenMetrics), None, None));
    }
}
