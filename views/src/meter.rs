//! Counts what happens on each engine core, by the sample that shows it first.
//!
//! A front end counts tokens and requests when it sees them, [`Scenario::egress`] after the end of their step, and a sample at `t`
//! shows what was counted by `t`. Events are told out of order, so each goes to the first sample that is not before it: samples
//! hold differences, and are added up when they are written.

use std::collections::BTreeMap;

use tokentide_models::cost::BatchShape;
use tokentide_models::units::{Duration, Time};
use tokentide_sim::cluster::Cluster;
use tokentide_sim::engine::{CoreId, Finish, Gaps, Levels, Observer, Outcome, Progression};
use tokentide_sim::scenario::Scenario;
use tokentide_sim::workload::Request;

use crate::buckets::Buckets;
use crate::families::{COUNTS, Count, SPREADS, Spread, bounds};

/// Most samples of all engine cores together: some 3 kB in memory and 320 lines of the file each.
pub const POINTS_MAX: usize = 50_000;

/// When samples are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// Once, at the end of the run.
    End,
    /// Once, at this time.
    At(Time),
    /// At 0 and at all multiples of this, until one is not before the end.
    Every(Duration),
}

impl Sampling {
    /// Index of the first sample that is not before `at`.
    fn index(self, at: Time) -> Option<usize> {
        match self {
            Sampling::End => Some(0),
            Sampling::At(time) => (at <= time).then_some(0),
            Sampling::Every(every) => usize::try_from(at.0.div_ceil(every.0)).ok(),
        }
    }

    /// Time of a sample.
    pub(crate) fn time(self, index: usize) -> Time {
        match self {
            Sampling::End => Time::NEVER,
            Sampling::At(time) => time,
            Sampling::Every(every) => Time(every.0.saturating_mul(index as u64)),
        }
    }
}

/// What a sample shows for the first time, and the levels at its time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Point {
    pub(crate) running: u32,
    pub(crate) waiting: u32,
    pub(crate) kv_used: u32,
    pub(crate) counts: [u64; COUNTS],
    pub(crate) spreads: [Buckets; SPREADS],
}

impl Point {
    fn count(&mut self, count: Count, more: u64) {
        self.counts[count as usize] += more;
    }
}

/// Counts a part of a progression and its length on a point, against the bounds of all distributions.
type CountPart<'a> = &'a mut dyn FnMut(&mut Point, &[Vec<u64>], Progression, u64);

/// Steps of one shape, told and not yet counted.
#[derive(Clone, Copy)]
struct Steps {
    steps: u64,
    /// What each is counted with.
    tokens: u64,
    /// From when on their durations add up to their ends, as the front end sees them; `None`: they have given nothing so far.
    ends: Option<(Time, Progression)>,
}

/// An engine core.
#[derive(Default)]
struct Core {
    points: Vec<Point>,
    steps: Option<Steps>,
}

/// The observer that counts.
pub struct Meter {
    pub(crate) sampling: Sampling,
    pub(crate) facts: Facts,
    pub(crate) bounds: Vec<Vec<u64>>,
    egress: Duration,
    max_model_len: u32,
    cores: BTreeMap<CoreId, Core>,
    /// From when until when each replica was there.
    pub(crate) served: Vec<(Time, Time)>,
    /// The run's end.
    pub(crate) end: Time,
    /// Latest time of anything counted.
    latest: Time,
    points: usize,
    /// Whether there were more samples than it keeps.
    pub(crate) overflowed: bool,
}

/// What is the same in all samples.
pub(crate) struct Facts {
    pub(crate) model: String,
    /// Engine cores of a replica.
    pub(crate) ranks: u32,
    pub(crate) block_size: u32,
    pub(crate) kv_blocks: u32,
    pub(crate) prefix_caching: bool,
}

impl Meter {
    /// Nothing counted yet in a run of `scenario`.
    pub fn new(scenario: &Scenario, sampling: Sampling) -> Meter {
        Meter::of(&scenario.deployment.model.name, &scenario.cluster(scenario.seed), sampling)
    }

    /// The same of a cluster that serves `model`.
    pub fn of(model: &str, cluster: &Cluster<'_>, sampling: Sampling) -> Meter {
        let engine = cluster.engine;
        let facts = Facts {
            model: model.to_owned(),
            ranks: cluster.layout.ranks,
            block_size: engine.block_size,
            kv_blocks: cluster.kv_blocks,
            prefix_caching: engine.enable_prefix_caching,
        };
        Meter {
            sampling,
            facts,
            bounds: bounds(engine.max_model_len),
            egress: cluster.egress,
            max_model_len: engine.max_model_len,
            cores: BTreeMap::new(),
            served: Vec::new(),
            end: Time::ZERO,
            latest: Time::ZERO,
            points: 0,
            overflowed: false,
        }
    }

    /// Time by which all is shown.
    pub(crate) fn last(&self) -> Time {
        self.end.max(self.latest)
    }

    /// Samples of an engine core, those behind the last event left out.
    pub(crate) fn points(&self, core: CoreId) -> &[Point] {
        self.cores.get(&core).map_or(&[], |core| &core.points)
    }

    /// Counts the steps that were told last.
    pub(crate) fn settle(&mut self) {
        let cores: Vec<CoreId> = self.cores.keys().copied().collect();
        cores.into_iter().for_each(|core| self.count_steps(core, None));
    }

    /// The sample of `core` that first shows what happens at `at`, and the bounds of its distributions.
    fn point(&mut self, core: CoreId, at: Time) -> Option<(&mut Point, &[Vec<u64>])> {
        let index = self.sampling.index(at)?;
        let points = &mut self.cores.entry(core).or_default().points;
        let missing = (index + 1).saturating_sub(points.len());
        if self.points + missing > POINTS_MAX {
            self.overflowed = true;
            return None;
        }
        self.points += missing;
        self.latest = self.latest.max(at);
        points.resize_with(points.len() + missing, Point::default);
        Some((&mut points[index], &self.bounds))
    }

    /// Tells `count` of each sample how many of the events belong to it that end one after the other, from `from` on, in a
    /// progression of durations: their part of the progression, and their number.
    fn split(&mut self, core: CoreId, (mut from, mut durations): (Time, Progression), mut left: u64, count: CountPart<'_>) {
        while left > 0 {
            let Some(index) = self.sampling.index(from + Duration(durations.first)) else { return };
            let shown = self.sampling.time(index);
            // Those whose end is not behind it.
            let steps = match shown {
                Time::NEVER => left,
                shown => durations.steps_before(Duration(shown.since(from).0 + 1), left),
            };
            let part = durations;
            from += durations.sum(steps);
            durations.first += durations.slope * steps;
            left -= steps;
            let Some((point, bounds)) = self.point(core, from) else { return };
            count(point, bounds, part, steps);
        }
    }

    /// Counts the steps told last, of which nothing more will be told, and goes on to `next`.
    fn count_steps(&mut self, core: CoreId, next: Option<Steps>) {
        let told = std::mem::replace(&mut self.cores.entry(core).or_default().steps, next);
        if let Some(Steps { steps, tokens, ends: Some(ends) }) = told {
            self.split(core, ends, steps, &mut |point, bounds, _, steps| {
                point.spreads[Spread::StepTokens as usize].observe_times(&bounds[Spread::StepTokens as usize], tokens, steps);
            });
        }
    }

    /// The steps under way give `tokens` more each.
    fn step_gives(&mut self, core: CoreId, ends: (Time, Progression), tokens: u64) {
        if let Some(told) = &mut self.cores.entry(core).or_default().steps {
            told.ends = Some(ends);
            told.tokens += tokens;
        }
    }

    /// A request ended with its whole answer.
    fn finished(&mut self, core: CoreId, outcome: &Outcome) {
        let Outcome { request, queued: Some(queued), scheduled: Some(scheduled), first_token: Some(first), ended, .. } = outcome
        else {
            return;
        };
        let decode = ended.since(*first).0;
        let values = [
            (Spread::EndToEnd, ended.since(request.arrival).0),
            (Spread::Tpot, decode / u64::from(outcome.output_tokens - 1).max(1)),
            (Spread::Queue, scheduled.since(*queued).0),
            (Spread::Prefill, first.since(*scheduled + self.egress).0),
            (Spread::Decode, decode),
            (Spread::Inference, ended.since(*scheduled + self.egress).0),
            (Spread::PromptLength, request.input_tokens.into()),
            (Spread::ComputedLength, (request.input_tokens - outcome.cached_tokens).into()),
            (Spread::GenerationLength, outcome.output_tokens.into()),
            // What the front end makes of a limit that is missing or does not fit.
            (Spread::MaxTokens, request.max_tokens.min(self.max_model_len - request.input_tokens).into()),
            (Spread::Preempted, outcome.preemptions.into()),
        ];
        if let Some((point, bounds)) = self.point(core, *ended) {
            point.count(if outcome.finish == Finish::Stop { Count::Stopped } else { Count::CutOff }, 1);
            for (spread, value) in values {
                point.spreads[spread as usize].observe(&bounds[spread as usize], value);
            }
        }
    }
}

impl Observer for Meter {
    fn outcome(&mut self, outcome: Outcome) {
        let core = CoreId { replica: outcome.replica, rank: outcome.rank };
        if outcome.finish.completed() {
            self.finished(core, &outcome);
        } else if outcome.finish == Finish::TimedOut
            && outcome.queued.is_some()
            && let Some((point, _)) = self.point(core, outcome.ended)
        {
            point.count(Count::Aborted, 1);
        }
    }

    fn first_token(&mut self, core: CoreId, at: Time, request: &Request, cached: u32) {
        let (prompt, cached, caching) = (u64::from(request.input_tokens), u64::from(cached), self.facts.prefix_caching);
        self.step_gives(core, (at, Progression { first: 0, slope: 0 }), 1 + prompt - cached);
        if let Some((point, bounds)) = self.point(core, at) {
            point.count(Count::PromptTokens, prompt);
            point.count(Count::ComputedTokens, prompt - cached);
            point.count(Count::CachedTokens, cached);
            point.count(Count::QueriedTokens, if caching { prompt } else { 0 });
            point.count(Count::GenerationTokens, 1);
            point.spreads[Spread::Ttft as usize].observe(&bounds[Spread::Ttft as usize], at.since(request.arrival).0);
        }
    }

    fn gaps(&mut self, core: CoreId, _class: u16, gaps: Gaps) {
        let ends = (gaps.from + self.egress, gaps.progression());
        let count = u64::from(gaps.count);
        self.step_gives(core, ends, count);
        self.split(core, ends, gaps.steps, &mut |point, bounds, part, steps| {
            point.count(Count::GenerationTokens, steps * count);
            point.spreads[Spread::Itl as usize].observe_progression(&bounds[Spread::Itl as usize], part, steps, count);
        });
    }

    fn batch(&mut self, core: CoreId, _shape: &BatchShape, steps: u64) {
        self.count_steps(core, Some(Steps { steps, tokens: 0, ends: None }));
    }

    fn levels(&mut self, core: CoreId, from: Time, to: Time, levels: &Levels) {
        if levels.preemptions > 0
            && let Some((point, _)) = self.point(core, from)
        {
            point.count(Count::Preemptions, levels.preemptions);
        }
        // Levels at the end of a run are those of an idle replica.
        let Some(first) = self.sampling.index(from).filter(|_| self.sampling != Sampling::End) else { return };
        for index in first.. {
            let at = self.sampling.time(index);
            if at >= to {
                break;
            }
            let Some((point, _)) = self.point(core, at) else { break };
            let share = u128::from(at.since(from).0) * u128::from(levels.kv_used_to.saturating_sub(levels.kv_used_from));
            point.kv_used = levels.kv_used_from + (share / u128::from(to.since(from).0)) as u32;
            (point.running, point.waiting) = (levels.running, levels.waiting);
            if matches!(self.sampling, Sampling::At(_)) {
                break;
            }
        }
    }

    fn served(&mut self, _replica: u32, from: Time, until: Time, end: Time) {
        self.served.push((from, until));
        self.end = end;
    }
}
