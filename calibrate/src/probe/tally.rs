//! What is known of each point so far.

use std::collections::BTreeMap;

use super::figure::{Figure, figure, interval};
use super::marks::BUNCHED;
use super::point::Plan;
use crate::observation::{Mark, Observations, PointKind, PointRecord, RequestRecord};
use crate::solve::median;

/// One point.
#[derive(Clone, Debug)]
pub struct Tally {
    /// What it measures.
    pub kind: PointKind,
    /// How to repeat it; absent for one that is only in the log so far.
    pub plan: Option<Plan>,
    /// Figures of repeats in which nothing failed.
    pub figures: Vec<Figure>,
    /// Repeats in the log, those that failed included: the number of the next.
    pub repeats: u32,
    /// Requests in them.
    pub requests: usize,
    /// Marks of its repeats.
    pub marks: Vec<Mark>,
    /// Tokens by which answers have to be longer than reckoned, so that all decodes are together.
    pub more: u32,
    /// Whether it failed for good.
    pub failed: bool,
}

impl Tally {
    fn new(kind: PointKind) -> Tally {
        Tally { kind, plan: None, figures: Vec::new(), repeats: 0, requests: 0, marks: Vec::new(), more: 0, failed: false }
    }

    /// Takes a repeat.
    pub fn add(&mut self, record: &PointRecord, requests: &[RequestRecord], figure: Option<Figure>) {
        self.repeats = self.repeats.max(record.rep + 1);
        self.requests += requests.len();
        self.marks.extend(&record.marks);
        if !record.marks.contains(&Mark::Failed) {
            self.figures.extend(figure);
        }
    }

    /// Values of its repeats [s]: of those whose tokens came one by one, if there are any.
    fn values(&self) -> Vec<f64> {
        let single = |figure: &&Figure| figure.bunched <= BUNCHED;
        let any = self.figures.iter().any(|figure| single(&figure));
        self.figures.iter().filter(|figure| !any || single(figure)).map(|figure| figure.value).collect()
    }

    /// The middle of them [s].
    pub fn value(&self) -> Option<f64> {
        median(&self.values())
    }

    /// Half-width of their 95 % interval, relative.
    pub fn interval(&self) -> f64 {
        interval(&self.values())
    }

    /// Greatest over least of them.
    pub fn spread(&self) -> Option<f64> {
        let values = self.values();
        let (least, most) = (values.iter().copied().reduce(f64::min)?, values.iter().copied().reduce(f64::max)?);
        (values.len() > 1).then_some(most / least)
    }
}

/// All points, by name.
pub type Tallies = BTreeMap<String, Tally>;

/// The point of such a name, new if it is.
pub fn of<'a>(tallies: &'a mut Tallies, name: &str, kind: PointKind) -> &'a mut Tally {
    tallies.entry(name.to_owned()).or_insert_with(|| Tally::new(kind))
}

/// What a log knows.
pub fn from_log(log: &Observations) -> Tallies {
    let mut tallies = Tallies::new();
    for (record, requests) in &log.points {
        let figure = figure(record.kind, record.batch, requests);
        of(&mut tallies, &record.point, record.kind).add(record, requests, figure);
    }
    tallies
}
