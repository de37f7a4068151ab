//! A pool of ServeGen's clients: for each, rates and burstiness by window, and the lengths that it sends. Requests are drawn.
//!
//! Each client and each field has a stream of its own: a client more changes no other one. Arrivals are a renewal process in
//! operational time, mapped through the client's rate, so that bursts live on over the borders of windows; mean rates are those of
//! the file, only the shape comes from its fit. Fields are drawn independently within a client: the pool has no joint distribution.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Exp1, Gamma, Weibull};
use serde_json::Value;
use tokentide_models::hash::{FNV_OFFSET, fnv1a, mix};
use tokentide_models::units::PS_PER_S;

use crate::bytes::Bytes;
use crate::detect;
use crate::error::{Fault, FaultKind, TraceError};
use crate::format::TraceFormat;
use crate::options::ReadOptions;
use crate::row::TraceRow;

/// Length of a window that the next one does not end [s].
const WINDOW_S: f64 = 600.0;
/// Longest member of an archive [bytes].
const MEMBER_MAX: u64 = 256 << 20;

/// Whether `path` is such a pool.
///
/// # Errors
/// If it cannot be read.
pub fn is_pool(path: &Path, options: &ReadOptions) -> Result<bool, TraceError> {
    match options.format {
        TraceFormat::Servegen => Ok(true),
        TraceFormat::Detect if options.columns.is_empty() => Ok(detect::is_archive(path)?),
        _ => Ok(false),
    }
}

/// Clients.
#[derive(Debug, Default)]
pub struct Pool {
    clients: Vec<Client>,
}

#[derive(Debug)]
struct Client {
    name: String,
    windows: Vec<Window>,
    lengths: Vec<(f64, Lengths)>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    start_s: f64,
    rate: f64,
    gaps: Gaps,
}

/// Gaps of mean 1.
#[derive(Clone, Copy, Debug)]
enum Gaps {
    Exponential,
    Gamma(Gamma<f64>),
    Weibull(Weibull<f64>, f64),
}

/// Cumulative weights of values.
#[derive(Clone, Debug, Default, PartialEq)]
struct Pmf(Vec<(f64, f64)>);

/// A field of them.
type Of = fn(&Lengths) -> &Pmf;

#[derive(Clone, Debug, Default)]
struct Lengths {
    input: Pmf,
    output: Pmf,
    reasoning: Pmf,
    /// Count and tokens of images, audio and video.
    media: [(Pmf, Pmf); 3],
}

impl Pool {
    /// Reads a folder or a tar, plain or compressed, of `chunk-<client>-trace.csv` and `-dataset.json`.
    ///
    /// # Errors
    /// With the file in it and its line, if something is not as it should be.
    pub fn open(path: &Path) -> Result<Pool, TraceError> {
        let mut texts: BTreeMap<String, [Option<(PathBuf, String)>; 2]> = BTreeMap::new();
        let mut take = |name: &Path, text: String| {
            let file = name.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            let part = [("-trace.csv", 0), ("-dataset.json", 1)].into_iter().find(|(end, _)| file.ends_with(end));
            if let (Some(client), Some((end, part))) = (file.strip_prefix("chunk-"), part) {
                let folder = name.parent().map(|p| p.display().to_string()).unwrap_or_default();
                let client = format!("{folder}/{}", client.trim_end_matches(end));
                texts.entry(client).or_default()[part] = Some((path.join(name), text));
            }
        };
        match path.is_dir() {
            true => folder(path, path, &mut take)?,
            false => archive(path, &mut take)?,
        }
        let mut pool = Pool::default();
        let several =
            texts.keys().filter_map(|k| k.rsplit_once('/')).map(|(f, _)| f).collect::<std::collections::BTreeSet<_>>().len() > 1;
        for (name, [trace, dataset]) in texts {
            let error = |what: &str| {
                let fault = Fault::new(FaultKind::MissingValue, format!("client {name} has no {what}"));
                TraceError { file: path.to_owned(), line: None, fault: Box::new(fault) }
            };
            let (trace, dataset) = (trace.ok_or_else(|| error("-trace.csv"))?, dataset.ok_or_else(|| error("-dataset.json"))?);
            let name = if several { name } else { name.rsplit('/').next().unwrap_or_default().to_owned() };
            pool.clients.push(Client { name, windows: windows(&trace)?, lengths: lengths(&dataset)? });
        }
        if pool.clients.is_empty() {
            let fault = Fault::new(FaultKind::Empty, "no chunk-<client>-trace.csv with its -dataset.json is in it");
            return Err(TraceError { file: path.to_owned(), line: None, fault: Box::new(fault) });
        }
        Ok(pool)
    }

    /// What was drawn, in words.
    pub fn remark(&self, scale: f64, seed: u64) -> String {
        format!(
            "drawn with seed {seed} from {} clients at {scale} times their rates: input and output lengths are independent within \
             a client, since the pool has no joint distribution",
            self.clients.len()
        )
    }

    /// Requests within `window` [s], in order of arrival. The same ones for the same seed.
    pub fn draw(&self, window: Option<(f64, f64)>, scale: f64, seed: u64) -> impl Iterator<Item = TraceRow> + '_ {
        let window = window.unwrap_or((0.0, f64::INFINITY));
        let mut streams: Vec<Drawn<'_>> = self.clients.iter().map(|client| Drawn::new(client, window, scale, seed)).collect();
        std::iter::from_fn(move || {
            let next = streams.iter_mut().filter(|s| s.next_s.is_finite()).min_by(|a, b| a.next_s.total_cmp(&b.next_s))?;
            Some(next.take())
        })
    }
}

/// The requests of a client.
struct Drawn<'a> {
    client: &'a Client,
    scale: f64,
    end_s: f64,
    window: usize,
    next_s: f64,
    index: u64,
    seed: u64,
    gaps: SmallRng,
}

impl<'a> Drawn<'a> {
    fn new(client: &'a Client, (start_s, end_s): (f64, f64), scale: f64, seed: u64) -> Drawn<'a> {
        let seed = mix(seed ^ fnv1a(FNV_OFFSET, client.name.as_bytes()));
        let gaps = SmallRng::seed_from_u64(mix(seed));
        let window = client.windows.iter().position(|w| w.start_s + WINDOW_S > start_s).unwrap_or(client.windows.len());
        let mut drawn = Drawn { client, scale, end_s, window, next_s: start_s, index: 0, seed, gaps };
        // A random phase: the window begins anywhere within a gap.
        let phase = drawn.gap() * drawn.gaps.random::<f64>();
        drawn.advance(phase);
        drawn
    }

    fn gap(&mut self) -> f64 {
        let gaps = self.client.windows.get(self.window).map_or(Gaps::Exponential, |w| w.gaps);
        match gaps {
            Gaps::Exponential => Exp1.sample(&mut self.gaps),
            Gaps::Gamma(gamma) => gamma.sample(&mut self.gaps),
            Gaps::Weibull(weibull, mean) => weibull.sample(&mut self.gaps) / mean,
        }
    }

    /// Goes on until the rate has brought `work` requests.
    fn advance(&mut self, mut work: f64) {
        while let Some(window) = self.client.windows.get(self.window) {
            let end = self.client.windows.get(self.window + 1).map_or(window.start_s + WINDOW_S, |next| next.start_s);
            let from = self.next_s.max(window.start_s);
            let (rate, end) = (window.rate * self.scale, end.min(self.end_s));
            if rate > 0.0 && from < end {
                let at = from + work / rate;
                if at < end {
                    self.next_s = at;
                    return;
                }
                work -= (end - from) * rate;
            }
            if end >= self.end_s {
                break;
            }
            self.next_s = self.next_s.max(end);
            self.window += 1;
        }
        self.next_s = f64::INFINITY;
    }

    fn take(&mut self) -> TraceRow {
        let field = |field: u64| SmallRng::seed_from_u64(mix(mix(self.seed ^ mix(field)) ^ self.index));
        // The latest lengths that are there; the first ones before.
        let known = |of: Of| {
            let sets = self.client.lengths.iter().filter(|(_, lengths)| !of(lengths).0.is_empty());
            let mut before = sets.clone().filter(|(start, _)| *start <= self.next_s);
            before.next_back().or_else(|| sets.clone().next()).map(|(_, lengths)| of(lengths))
        };
        let tokens = |of: Of, n: u64| known(of).map_or(0.0, |pmf| pmf.draw(&mut field(n)));
        let output = (tokens(|l| &l.output, 2) as u32).max(1);
        let mut input = tokens(|l| &l.input, 1);
        let kinds: [[Of; 2]; 3] = [
            [|l| &l.media[0].0, |l| &l.media[0].1],
            [|l| &l.media[1].0, |l| &l.media[1].1],
            [|l| &l.media[2].0, |l| &l.media[2].1],
        ];
        let mut images = None;
        for (place, [count, size]) in (0u64..).zip(kinds) {
            let Some(pmf) = known(count) else { continue };
            let count = pmf.draw(&mut field(10 + place)) as u32;
            let mut rng = field(20 + place);
            input += (0..count).map(|_| known(size).map_or(0.0, |pmf| pmf.draw(&mut rng))).sum::<f64>();
            images = images.or((place == 0).then_some(count));
        }
        let mut row = TraceRow {
            arrival_ps: (self.next_s * PS_PER_S as f64).round() as i128,
            input_tokens: (input as u32).max(1),
            output_tokens: output,
            tenant: Some(self.client.name.clone()),
            ..TraceRow::default()
        };
        row.observed.images = images;
        row.observed.reasoning_tokens =
            known(|l| &l.reasoning).map(|pmf| (pmf.draw(&mut field(3)) * f64::from(output)).round() as u32);
        self.index += 1;
        let gap = self.gap();
        self.advance(gap);
        row
    }
}

impl Pmf {
    fn draw(&self, rng: &mut SmallRng) -> f64 {
        let u: f64 = rng.random::<f64>() * self.0.last().map_or(0.0, |last| last.0);
        self.0.get(self.0.partition_point(|(sum, _)| *sum <= u).min(self.0.len().saturating_sub(1))).map_or(0.0, |v| v.1)
    }

    /// A Python dict of numbers, as text: `{4: 7.2e-05, 5: 0.00016}`.
    fn parse(text: &str) -> Option<Pmf> {
        let body = text.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
        let mut sum = 0.0;
        let mut pmf = Pmf::default();
        for pair in body.split(',').filter(|pair| !pair.trim().is_empty()) {
            let (value, weight) = pair.split_once(':')?;
            let (value, weight) = (value.trim().parse::<f64>().ok()?, weight.trim().parse::<f64>().ok()?);
            if !(value.is_finite() && value >= 0.0 && weight.is_finite() && weight >= 0.0) {
                return None;
            }
            sum += weight;
            pmf.0.push((sum, value));
        }
        Some(pmf)
    }
}

fn folder(root: &Path, at: &Path, take: &mut dyn FnMut(&Path, String)) -> Result<(), TraceError> {
    let error = |e: std::io::Error| TraceError {
        file: at.to_owned(),
        line: None,
        fault: Box::new(Fault::new(FaultKind::Unreadable, e.to_string())),
    };
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(at).map_err(error)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>().map_err(error)?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            folder(root, &path, take)?;
        } else if path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("chunk-")) {
            let text = crate::document::text(&path)?;
            take(path.strip_prefix(root).unwrap_or(&path), text);
        }
    }
    Ok(())
}

fn archive(path: &Path, take: &mut dyn FnMut(&Path, String)) -> Result<(), TraceError> {
    let mut bytes = Bytes::open(path)?;
    let error = |kind, why: String| TraceError { file: path.to_owned(), line: None, fault: Box::new(Fault::new(kind, why)) };
    let damaged = |e: std::io::Error| error(FaultKind::Damaged, e.to_string());
    let mut archive = tar::Archive::new(bytes.reader());
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let name = entry.path().map_err(damaged)?.into_owned();
        let wanted = name.file_name().is_some_and(|n| n.to_string_lossy().starts_with("chunk-"));
        if !wanted || !entry.header().entry_type().is_file() {
            continue;
        }
        if entry.size() > MEMBER_MAX {
            return Err(error(FaultKind::TooLarge, format!("{} is larger than 256 MiB", name.display())));
        }
        let mut text = String::new();
        entry.read_to_string(&mut text).map_err(damaged)?;
        take(&name, text);
    }
    Ok(())
}

/// `window_start_s,rate_rps,cv,pattern,shape,scale`, without a header.
fn windows((file, text): &(PathBuf, String)) -> Result<Vec<Window>, TraceError> {
    let mut out: Vec<Window> = Vec::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let error = |kind, expected: &str| TraceError {
            file: file.clone(),
            line: Some(number),
            fault: Box::new(Fault::new(kind, expected).text(line)),
        };
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let [start, rate, cv, pattern, shape, _] = fields[..] else {
            return Err(error(FaultKind::FieldCount, "expected window_start_s,rate_rps,cv,pattern,shape,scale"));
        };
        let number = |text: &str| text.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
        let (Some(start_s), Some(rate), Some(cv)) = (number(start), number(rate), number(cv)) else {
            return Err(error(FaultKind::NotANumber, "start, rate and cv are numbers of at least 0"));
        };
        if out.last().is_some_and(|last| start_s <= last.start_s) {
            return Err(error(FaultKind::Backwards, "windows are in order of time"));
        }
        let shape = number(shape).filter(|shape| *shape > 0.0);
        let gaps = match (pattern.to_ascii_lowercase().as_str(), rate > 0.0) {
            (_, false) => Gaps::Exponential,
            ("exponential" | "poisson", _) => Gaps::Exponential,
            ("gamma", _) => {
                // Exactly 1/cv^2, which the fitted shape is too.
                let shape = if cv > 0.0 { 1.0 / (cv * cv) } else { shape.unwrap_or(1.0) };
                let gamma = Gamma::new(shape, 1.0 / shape);
                Gaps::Gamma(gamma.map_err(|_| error(FaultKind::BadSetting, "no Gamma distribution has this shape"))?)
            }
            ("weibull", _) => {
                let shape = shape.ok_or_else(|| error(FaultKind::MissingValue, "a Weibull distribution needs a shape"))?;
                let weibull = Weibull::new(1.0, shape);
                let weibull = weibull.map_err(|_| error(FaultKind::BadSetting, "no Weibull distribution has this shape"))?;
                Gaps::Weibull(weibull, libm::tgamma(1.0 + 1.0 / shape))
            }
            _ => return Err(error(FaultKind::Unsupported, "known patterns are Gamma, Weibull and Exponential")),
        };
        out.push(Window { start_s, rate, gaps });
    }
    Ok(out)
}

fn lengths((file, text): &(PathBuf, String)) -> Result<Vec<(f64, Lengths)>, TraceError> {
    let error = |kind, expected: String| TraceError { file: file.clone(), line: None, fault: Box::new(Fault::new(kind, expected)) };
    let value: Value = serde_json::from_str(text).map_err(|e| error(FaultKind::BadJson, e.to_string()))?;
    let object = value.as_object().ok_or_else(|| error(FaultKind::BadJson, "expected an object of windows".to_owned()))?;
    let mut out = Vec::new();
    for (start, fields) in object {
        let start_s: f64 = start.parse().map_err(|_| error(FaultKind::NotANumber, format!("`{start}` is no start of a window")))?;
        let pmf = |key: &str| match fields.get(key) {
            None | Some(Value::Null) => Ok(Pmf::default()),
            Some(Value::String(text)) => Pmf::parse(text)
                .ok_or_else(|| error(FaultKind::NotANumber, format!("{start}.{key}: expected {{value: weight, ...}}"))),
            Some(_) => Err(error(FaultKind::BadJson, format!("{start}.{key}: expected a text"))),
        };
        let input = match fields.get("text_tokens") {
            Some(_) => pmf("text_tokens")?,
            None => pmf("input_tokens")?,
        };
        let media = |kind: &str| Ok((pmf(&format!("{kind}_count"))?, pmf(&format!("{kind}_tokens"))?));
        let media = [media("image")?, media("audio")?, media("video")?];
        out.push((start_s, Lengths { input, output: pmf("output_tokens")?, reasoning: pmf("reason_ratio")?, media }));
    }
    out.sort_by(|a, b| a.0.total_cmp(&b.0));
    Ok(out)
}
