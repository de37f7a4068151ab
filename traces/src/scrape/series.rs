//! Series of one or more pages, and what they grew by. Growth is taken of each series by itself and then summed: over engines, over
//! replicas, over labels.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::histogram::Histogram;
use super::sample::{Sample, name, sample};
use crate::document;
use crate::error::{Fault, FaultKind, TraceError};

/// Labels that do not tell servers apart, but what a series of one server counts.
const OF_A_METRIC: [&str; 14] = [
    "le",
    "source",
    "finished_reason",
    "is_streaming",
    "mode",
    "cache_source",
    "reason",
    "priority",
    "engine_type",
    "tp_rank",
    "pp_rank",
    "moe_ep_rank",
    "stage",
    "quantile",
];
/// Ranks of one engine that say the same: the lowest counts.
const RANKS: [&str; 3] = ["tp_rank", "pp_rank", "moe_ep_rank"];

/// Labels, in order.
pub type Labels = BTreeMap<String, String>;

/// One series.
#[derive(Clone, Debug, Default)]
struct Series {
    labels: Labels,
    /// Place of its server among [`Pages::servers`].
    server: usize,
    ranks: Vec<u64>,
    /// Number of the scrape, and value.
    points: Vec<(usize, f64)>,
}

/// Pages that were read, as series over scrapes.
#[derive(Debug, Default)]
pub struct Pages {
    series: BTreeMap<String, Vec<Series>>,
    places: BTreeMap<(String, Labels), usize>,
    /// Labels that tell a server, and the scrape that it was first seen at.
    servers: Vec<(Labels, usize)>,
    /// Time of each scrape [s], if samples have time stamps.
    pub times: Vec<Option<f64>>,
    /// Scrapes at which a server was found to have begun anew since the one before.
    restarts: BTreeSet<(usize, usize)>,
}

/// Upper bound of each bucket, and what it and all below it grew by.
type Buckets = Vec<(f64, f64)>;

/// Which series of a name count.
pub type Where<'a> = &'a dyn Fn(&Labels) -> bool;

impl Pages {
    /// Reads pages in the order of their scrapes, plain or compressed. A file whose series have several time stamps each holds
    /// several scrapes.
    ///
    /// # Errors
    /// If one cannot be read, a sample of `vllm:` or `sglang:` is not one, or time goes backwards.
    pub fn read(paths: &[PathBuf]) -> Result<Pages, TraceError> {
        let mut pages = Pages::default();
        for path in paths {
            pages.page(path, &document::text(path)?)?;
        }
        pages.find_restarts();
        Ok(pages)
    }

    /// The same of one page, which is not in a file.
    ///
    /// # Errors
    /// See [`Pages::read`].
    pub fn of_text(text: &str) -> Result<Pages, TraceError> {
        let mut pages = Pages::default();
        pages.page(Path::new("page"), text)?;
        pages.find_restarts();
        Ok(pages)
    }

    fn page(&mut self, path: &Path, text: &str) -> Result<(), TraceError> {
        let error = |line: u64, kind, expected: &str, text: &str| {
            let fault = Fault::new(kind, expected.to_owned()).text(text);
            TraceError { file: path.to_owned(), line: Some(line), fault: Box::new(fault) }
        };
        // Prometheus writes time stamps in ms, OpenMetrics in s, and ends so.
        let unit = if text.trim_end().ends_with("# EOF") { 1.0 } else { 1e3 };
        let mut samples: Vec<(u64, Sample<'_>)> = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            if !name(line).is_some_and(|name| name.starts_with("vllm:") || name.starts_with("sglang:")) {
                continue;
            }
            let sample = sample(line).map_err(|expected| error(number, FaultKind::BadMetric, expected, line))?;
            if counts(sample.name) && !(sample.value >= 0.0 && sample.value.is_finite()) {
                return Err(error(number, FaultKind::BadMetric, "expected a finite count of 0 or more", line));
            }
            if sample.name.ends_with("_bucket") && bound(sample.labels.get("le")).is_none() {
                return Err(error(number, FaultKind::BadMetric, "expected a bucket's upper bound (le), a number", line));
            }
            samples.push((number, sample));
        }
        if samples.is_empty() {
            let expected = "no sample of it is of vllm: or sglang:, whose metrics are known";
            return Err(error(1, FaultKind::Empty, expected, text.lines().next().unwrap_or_default()));
        }
        let stamps: Vec<Option<f64>> = samples.iter().map(|(_, sample)| sample.time.map(|time| time / unit)).collect();
        let first = self.times.len();
        let times = times(&samples, &stamps);
        let last = self.times.iter().rev().find_map(|time| *time);
        if last.zip(times.first().copied().flatten()).is_some_and(|(last, next)| next <= last) {
            return Err(error(1, FaultKind::Backwards, "pages stand in the order of their scrapes, the oldest first", ""));
        }
        for ((number, sample), stamp) in samples.iter().zip(&stamps) {
            let scrape = if times.len() == 1 { 0 } else { times.partition_point(|time| time < stamp) };
            if !self.add(sample, first + scrape) {
                let expected = "the same series stood before: pages of several replicas need a label that tells them apart, as \
                                federation adds `instance`";
                return Err(error(*number, FaultKind::Duplicate, expected, sample.name));
            }
        }
        self.times.extend(times);
        Ok(())
    }

    /// Whether the series had no sample of this scrape yet.
    fn add(&mut self, sample: &Sample<'_>, scrape: usize) -> bool {
        let kept = sample.labels.iter().filter(|(name, _)| !RANKS.contains(name));
        let labels: Labels = kept.map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let ranks: Vec<u64> = RANKS.iter().map(|name| sample.labels.get(name).and_then(|v| v.parse().ok()).unwrap_or(0)).collect();
        let all = self.series.entry(sample.name.to_owned()).or_default();
        let place = *self.places.entry((sample.name.to_owned(), labels)).or_insert_with_key(|(_, labels)| {
            let told = server(labels);
            let server = self.servers.iter().position(|(other, _)| *other == told).unwrap_or_else(|| {
                self.servers.push((told, scrape));
                self.servers.len() - 1
            });
            all.push(Series { labels: labels.clone(), server, ranks: ranks.clone(), points: Vec::new() });
            all.len() - 1
        });
        let series = &mut all[place];
        match series.ranks.cmp(&ranks) {
            std::cmp::Ordering::Less => return true,
            std::cmp::Ordering::Greater => (series.ranks, series.points) = (ranks, Vec::new()),
            std::cmp::Ordering::Equal => {}
        }
        let seen = &mut self.servers[series.server].1;
        *seen = scrape.min(*seen);
        let place = series.points.partition_point(|(other, _)| *other < scrape);
        let new = series.points.get(place).is_none_or(|(other, _)| *other != scrape);
        series.points.insert(place, (scrape, sample.value));
        new
    }

    /// A server that counts less than before, or says that it began later, was started anew: all its series begin at zero.
    fn find_restarts(&mut self) {
        for (name, all) in &self.series {
            let counts = counts(name);
            let created = name.ends_with("_created");
            for series in all.iter().filter(|_| counts || created) {
                for pair in series.points.windows(2) {
                    if (counts && pair[1].1 < pair[0].1) || (created && pair[1].1 > pair[0].1) {
                        self.restarts.insert((pair[1].0, series.server));
                    }
                }
            }
        }
    }

    /// How many servers have a series of this name.
    pub fn servers(&self, name: &str, wanted: Where<'_>) -> usize {
        self.of(name, wanted).map(|series| series.server).collect::<BTreeSet<_>>().len()
    }

    /// Servers that began anew between scrapes.
    pub fn restarts(&self) -> usize {
        self.restarts.len()
    }

    /// Different values of a label.
    pub fn values(&self, label: &str) -> BTreeSet<&str> {
        self.series.values().flatten().filter_map(|series| series.labels.get(label)).map(String::as_str).collect()
    }

    /// Whether there is a series of this name.
    pub fn has(&self, name: &str) -> bool {
        self.series.contains_key(name)
    }

    /// The prefix of all names.
    pub fn engine(&self) -> &'static str {
        if self.series.keys().any(|name| name.starts_with("vllm:")) { "vllm" } else { "sglang" }
    }

    fn of<'a>(&'a self, name: &str, wanted: Where<'a>) -> impl Iterator<Item = &'a Series> {
        self.series.get(name).into_iter().flatten().filter(move |series| wanted(&series.labels))
    }

    /// What a counter's series grew by between scrapes: (later scrape, growth). A page alone says what has been counted since the
    /// server began.
    fn growth(&self, series: &Series) -> Vec<(usize, f64)> {
        if self.times.len() == 1 {
            return series.points.clone();
        }
        let mut out = Vec::new();
        // A label that was not there at the first scrape has counted since; a server that was not there is known from then on only.
        let known = self.servers[series.server].1;
        if let Some(&(scrape, value)) = series.points.first().filter(|(scrape, _)| *scrape > known) {
            out.push((scrape, value));
        }
        for pair in series.points.windows(2) {
            let anew = self.restarts.contains(&(pair[1].0, series.server));
            out.push((pair[1].0, if anew { pair[1].1 } else { pair[1].1 - pair[0].1 }));
        }
        out
    }

    /// Growth of a counter in all, over its series; `None` if there is none.
    pub fn grown(&self, name: &str, wanted: Where<'_>) -> Option<f64> {
        let mut any = false;
        let all = self.of(name, wanted).inspect(|_| any = true).flat_map(|series| self.growth(series));
        let sum = all.map(|(_, grown)| grown).sum();
        any.then_some(sum)
    }

    /// Growth of a counter up to each scrape, since the one before.
    pub fn by_scrape(&self, name: &str, wanted: Where<'_>) -> Vec<f64> {
        let mut out = vec![0.0; self.times.len()];
        self.of(name, wanted).flat_map(|series| self.growth(series)).for_each(|(scrape, grown)| out[scrape] += grown);
        out
    }

    /// By how much a gauge changed up to each scrape, since the one before, and its last value; `None` if there is none.
    pub fn gauge(&self, name: &str, wanted: Where<'_>) -> Option<(Vec<f64>, f64)> {
        let mut changes = vec![0.0; self.times.len()];
        let mut last = None;
        for series in self.of(name, wanted) {
            // A page alone tells of all since there was nothing.
            let first = series.points.first().filter(|_| self.times.len() == 1);
            first.into_iter().for_each(|&(scrape, value)| changes[scrape] += value);
            series.points.windows(2).for_each(|pair| changes[pair[1].0] += pair[1].1 - pair[0].1);
            *last.get_or_insert(0.0) += series.points.last().map_or(0.0, |point| point.1);
        }
        Some((changes, last?))
    }

    /// Labels of the first series of this name.
    pub fn labels(&self, name: &str) -> Option<&Labels> {
        Some(&self.series.get(name)?.first()?.labels)
    }

    /// Growth of a histogram. Of servers with different bounds, those that all have.
    ///
    /// # Errors
    /// If its counts do not ascend from bucket to bucket.
    pub fn histogram(&self, name: &str, wanted: Where<'_>) -> Result<Option<Histogram>, String> {
        let mut by_server: BTreeMap<Vec<(&String, &String)>, Buckets> = BTreeMap::new();
        for series in self.of(&format!("{name}_bucket"), wanted) {
            // One without a bound was refused when it was read.
            let Some(bound) = bound(series.labels.get("le")) else { continue };
            let key = series.labels.iter().filter(|(label, _)| *label != "le").collect();
            let grown: f64 = self.growth(series).iter().map(|(_, grown)| grown).sum();
            by_server.entry(key).or_default().push((bound, grown));
        }
        let mut all = by_server.into_values();
        let Some(mut sums) = all.next() else { return Ok(None) };
        for other in all {
            sums.retain(|(bound, _)| other.iter().any(|(b, _)| b == bound));
            for (bound, sum) in &mut sums {
                *sum += other.iter().filter(|(b, _)| b == bound).map(|(_, grown)| grown).sum::<f64>();
            }
        }
        sums.sort_by(|a, b| a.0.total_cmp(&b.0));
        let counts = std::iter::once(0.0).chain(sums.iter().map(|(_, sum)| *sum)).zip(&sums).map(|(below, (_, upto))| upto - below);
        let counts: Vec<f64> = counts.collect();
        if counts.iter().any(|count| !(*count >= 0.0 && count.is_finite())) {
            return Err(format!("the buckets of {name} do not ascend"));
        }
        if sums.last().is_none_or(|(bound, _)| bound.is_finite()) {
            return Err(format!("{name} has no bucket up to +Inf"));
        }
        let sum = self.grown(&format!("{name}_sum"), wanted).ok_or_else(|| format!("{name} has no {name}_sum"))?;
        Ok(Some(Histogram { bounds: sums.into_iter().map(|(bound, _)| bound).collect(), counts, sum }))
    }
}

/// Labels that tell a server.
fn server(labels: &Labels) -> Labels {
    labels.iter().filter(|(name, _)| !OF_A_METRIC.contains(&name.as_str())).map(|(a, b)| (a.clone(), b.clone())).collect()
}

/// The upper bound of a bucket.
fn bound(le: Option<&String>) -> Option<f64> {
    le?.parse::<f64>().ok().filter(|bound| !bound.is_nan())
}

/// Whether a name is one of a series that only grows.
fn counts(name: &str) -> bool {
    ["_total", "_bucket", "_count", "_sum"].iter().any(|end| name.ends_with(end))
}

/// Times of the scrapes in a page. Where each series stands once it is one scrape, whose targets may have been asked one after
/// another.
fn times(samples: &[(u64, Sample<'_>)], stamps: &[Option<f64>]) -> Vec<Option<f64>> {
    let latest = stamps.iter().copied().flatten().reduce(f64::max);
    let mut seen = BTreeSet::new();
    if latest.is_none() || samples.iter().all(|(_, sample)| seen.insert((sample.name, &sample.labels))) {
        return vec![latest];
    }
    let mut times: Vec<Option<f64>> = stamps.to_vec();
    times.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    times.dedup();
    times
}
