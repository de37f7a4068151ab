//! Views of a trace without a simulation: by the token, not by the request.
//!
//! Everything is counted as rows pass, in order of arrival. Memory grows with the labels (the busiest ones are told, all are
//! counted) and with the seconds of the trace.

pub mod labels;
pub mod windows;

use std::collections::BTreeMap;

use serde::Serialize;
use tokentide_models::units::PS_PER_S;

use self::labels::{ByLabel, LabelRow};
use self::windows::{Drift, Seconds, Twins};
use crate::row::{Ended, TraceRow};
use crate::source::Source;
use crate::survey::counts::{Counts, Quantiles};
use crate::survey::{Figures, Survey};

/// What to look at.
#[derive(Clone, Debug)]
pub struct InspectOptions {
    /// Upper bounds of input buckets [tokens], ascending.
    pub buckets: Vec<u32>,
    /// Longest sequence that the model takes [tokens]; unknown without.
    pub context: Option<u32>,
    /// Share of it from which a prompt is near the limit.
    pub near: f64,
    /// Length of windows that are compared [s]; by default a tenth of the span.
    pub window_s: Option<f64>,
    /// Labels that are listed of each kind.
    pub top: usize,
}

impl Default for InspectOptions {
    fn default() -> InspectOptions {
        InspectOptions { buckets: vec![512, 2048, 8192, 32_768], context: None, near: 0.9, window_s: None, top: 10 }
    }
}

/// A bucket of prompt lengths.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Bucket {
    /// Prompts longer than this are in it [tokens].
    pub above: u32,
    /// Up to this [tokens]; none: without end.
    pub up_to: Option<u32>,
    /// Requests.
    pub rows: u64,
    /// Their input tokens.
    pub input_tokens: u64,
    /// Their output tokens.
    pub output_tokens: u64,
}

/// How answers stand against what was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Caps {
    /// Rows with a requested maximum.
    pub rows: u64,
    /// Of them, answers that reached it.
    pub reached: u64,
    /// Of all rows, those that a limit ended, as observed.
    pub ended_by_length: u64,
    /// Output tokens over requested ones, of rows with a maximum.
    pub used_share: f64,
    /// Median of an answer's share of what was asked for.
    pub used_p50: f64,
}

/// How prompts stand against the context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Context {
    /// Longest sequence [tokens].
    pub tokens: u32,
    /// Prompts of at least `near` of it.
    pub near: u64,
    /// Prompts that leave no room for an answer.
    pub over: u64,
    /// Prompts whose requested maximum does not fit beside them.
    pub max_tokens_over: u64,
}

/// Tokens of a source of prompts.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SourceRow {
    /// Name.
    pub source: &'static str,
    /// Of all input tokens of the rows that tell.
    pub share: f64,
    /// Per request [tokens].
    pub tokens: Quantiles,
}

/// What the views show.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Inspection {
    /// The trace as a whole.
    pub figures: Figures,
    /// By prompt length.
    pub buckets: Vec<Bucket>,
    /// Sources of prompts, of rows that tell them; empty if none does.
    pub sources: Vec<SourceRow>,
    /// Rows that tell sources.
    pub rows_with_sources: u64,
    /// Against the context, if it is known.
    pub context: Option<Context>,
    /// Against what was asked for.
    pub caps: Caps,
    /// By label: tenants, routes, models, classes; those with most tokens first.
    pub labels: BTreeMap<&'static str, Vec<LabelRow>>,
    /// Labels of each kind, those included that are not listed.
    pub label_counts: BTreeMap<&'static str, usize>,
    /// Window by window.
    pub windows: Vec<Drift>,
    /// Length of the windows [s].
    pub window_s: f64,
    /// Two windows with as many requests and unlike tokens.
    pub twins: Option<Twins>,
    /// R^2 of tokens a minute on requests a minute: input, output.
    pub explained: Option<[f64; 2]>,
}

/// Looks at rows as they pass.
#[derive(Debug)]
pub struct Inspector {
    options: InspectOptions,
    survey: Survey,
    first: Option<i128>,
    buckets: Vec<Bucket>,
    sources: [Counts; 8],
    rows_with_sources: u64,
    context: Context,
    caps: Caps,
    asked: u64,
    given: u64,
    /// Per mille of what was asked for.
    used: Counts,
    labels: [ByLabel; 4],
    seconds: Seconds,
}

/// Kinds of labels.
const KINDS: [&str; 4] = ["tenant", "route", "model", "class"];

impl Inspector {
    /// Before any row.
    pub fn new(options: InspectOptions) -> Inspector {
        let bounds = options.buckets.iter().copied().map(Some).chain([None]);
        let above = std::iter::once(0).chain(options.buckets.iter().copied());
        let buckets = above.zip(bounds).map(|(above, up_to)| Bucket { above, up_to, ..Bucket::default() }).collect();
        let context = Context { tokens: options.context.unwrap_or(0), ..Context::default() };
        Inspector {
            options,
            survey: Survey::default(),
            first: None,
            buckets,
            sources: Default::default(),
            rows_with_sources: 0,
            context,
            caps: Caps::default(),
            asked: 0,
            given: 0,
            used: Counts::default(),
            labels: Default::default(),
            seconds: Seconds::default(),
        }
    }

    /// Takes a row, in order of arrival.
    pub fn add(&mut self, row: &TraceRow) {
        self.survey.add(row);
        let first = *self.first.get_or_insert(row.arrival_ps);
        let place = self.options.buckets.partition_point(|bound| row.input_tokens > *bound);
        let bucket = &mut self.buckets[place];
        bucket.rows += 1;
        bucket.input_tokens += u64::from(row.input_tokens);
        bucket.output_tokens += u64::from(row.output_tokens);
        if row.sources.iter().any(|tokens| *tokens > 0) {
            self.rows_with_sources += 1;
            self.sources.iter_mut().zip(row.sources).for_each(|(counts, tokens)| counts.add(tokens));
        }
        self.limits(row);
        let second = ((row.arrival_ps - first).clamp(0, i128::from(u64::MAX)) as u64 / PS_PER_S) as usize;
        let names = [&row.tenant, &row.route, &row.model, &row.class];
        for (labels, name) in self.labels.iter_mut().zip(names) {
            labels.add(name.as_deref(), row, second);
        }
        self.seconds.add(second, row);
    }

    fn limits(&mut self, row: &TraceRow) {
        if let Some(context) = self.options.context {
            self.context.near += u64::from(f64::from(row.input_tokens) >= self.options.near * f64::from(context));
            self.context.over += u64::from(row.input_tokens >= context);
            let asked = row.max_tokens.map_or(0, u64::from);
            self.context.max_tokens_over += u64::from(u64::from(row.input_tokens) + asked > u64::from(context));
        }
        self.caps.ended_by_length += u64::from(row.observed.finish == Some(Ended::Length));
        if let Some(max) = row.max_tokens {
            self.caps.rows += 1;
            self.caps.reached += u64::from(row.output_tokens >= max);
            self.asked += u64::from(max);
            self.given += u64::from(row.output_tokens);
            self.used.add((f64::from(row.output_tokens) / f64::from(max) * 1000.0).round() as u32);
        }
    }

    /// What was seen.
    pub fn finish(self) -> Inspection {
        let figures = self.survey.figures();
        let window_s = self.options.window_s.unwrap_or((figures.arrivals.span_s / 10.0).ceil()).max(1.0);
        let windows = self.seconds.windows(window_s as usize);
        let total: u64 = self.sources.iter().map(Counts::sum).sum();
        let sources = Source::ALL.into_iter().zip(&self.sources).filter(|(_, counts)| counts.sum() > 0).map(|(source, counts)| {
            SourceRow { source: source.name(), share: counts.sum() as f64 / total as f64, tokens: counts.quantiles() }
        });
        let mut caps = self.caps;
        if caps.rows > 0 {
            caps.used_share = self.given as f64 / self.asked as f64;
            caps.used_p50 = f64::from(self.used.quantiles_at([0.5])[0]) / 1000.0;
        }
        let named = || KINDS.into_iter().zip(&self.labels).filter(|(_, labels)| labels.is_named());
        Inspection {
            buckets: self.buckets,
            sources: sources.collect(),
            rows_with_sources: self.rows_with_sources,
            context: self.options.context.map(|_| self.context),
            caps,
            labels: named().map(|(kind, labels)| (kind, labels.top(self.options.top))).collect(),
            label_counts: named().map(|(kind, labels)| (kind, labels.different())).collect(),
            window_s: windows.first().map_or(window_s, |first| first.length_s.max(window_s)),
            windows,
            // Turns that wait have no place in time.
            twins: (figures.waiting == 0).then(|| self.seconds.twins(window_s as usize)).flatten(),
            explained: (figures.waiting == 0).then(|| self.seconds.explained()).flatten(),
            figures,
        }
    }
}
