//! All points of a shard on all cores.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::point::PointId;
use crate::row::{PointRows, Row};
use crate::shard::Shard;
use crate::sweep::Sweep;

/// How far a sweep is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Points of the shard.
    pub points: u64,
    /// Of those, there before.
    pub before: u64,
    /// Of those, run now.
    pub run: u64,
    /// Of those run now, at least one replication failed.
    pub failed: u64,
}

/// Where results are kept.
pub trait Store: Send {
    /// Why it fails.
    type Error: Send;

    /// What is there of a point.
    ///
    /// # Errors
    /// If it cannot be read.
    fn have(&mut self, point: PointId) -> Result<Vec<Row>, Self::Error>;

    /// Keeps a point.
    ///
    /// # Errors
    /// If it cannot.
    fn keep(&mut self, rows: PointRows) -> Result<(), Self::Error>;
}

impl Store for crate::journal::Journal {
    type Error = crate::journal::JournalError;

    fn have(&mut self, point: PointId) -> Result<Vec<Row>, Self::Error> {
        match self.count(point) {
            0 => Ok(Vec::new()),
            _ => Ok(self.rows(point)?.map(|rows| rows.rows).unwrap_or_default()),
        }
    }

    fn keep(&mut self, rows: PointRows) -> Result<(), Self::Error> {
        self.push(&rows)
    }
}

/// Runs what is not there yet, on the threads of the current rayon pool, each of which takes the next point as it is done with one.
/// Ends early once `cancelled` is set. `progress` is called after each point, by one thread at a time.
///
/// # Errors
/// If results cannot be kept.
pub fn drive<'a, S: Store>(
    sweep: &Sweep,
    shard: Shard,
    store: &'a mut S,
    cancelled: &AtomicBool,
    progress: &'a mut (dyn FnMut(Standing) + Send),
) -> Result<Standing, S::Error> {
    let all = sweep.design().points();
    let shared = Mutex::new((store, Standing { points: shard.points(all), ..Standing::default() }, progress, None));
    let next = AtomicU64::new(0);
    let work = || {
        loop {
            let index = shard.number - 1 + shard.of * next.fetch_add(1, Ordering::Relaxed);
            if index >= all || cancelled.load(Ordering::Relaxed) {
                return;
            }
            let Some(have) = lock(&shared).have(PointId::of(&sweep.design().point(index)), sweep.replications()) else { continue };
            let Some(rows) = sweep.run(index, have, cancelled) else { return };
            lock(&shared).keep(rows, cancelled);
        }
    };
    rayon::broadcast(|_| work());
    let (_, standing, _, failure) = shared.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    match failure {
        Some(error) => Err(error),
        None => Ok(standing),
    }
}

type Shared<'a, S> = (&'a mut S, Standing, &'a mut (dyn FnMut(Standing) + Send), Option<<S as Store>::Error>);

/// The shared part, held.
struct Held<'a, 'b, S: Store>(std::sync::MutexGuard<'a, Shared<'b, S>>);

fn lock<'a, 'b, S: Store>(shared: &'a Mutex<Shared<'b, S>>) -> Held<'a, 'b, S> {
    Held(shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
}

impl<S: Store> Held<'_, '_, S> {
    /// What is there of a point; none if that is all.
    fn have(&mut self, point: PointId, replications: u32) -> Option<Vec<Row>> {
        let (store, standing, progress, failure) = &mut *self.0;
        match store.have(point) {
            Ok(rows) if rows.len() >= replications as usize => {
                standing.before += 1;
                progress(*standing);
                None
            }
            Ok(rows) => Some(rows),
            Err(error) => {
                failure.get_or_insert(error);
                None
            }
        }
    }

    fn keep(&mut self, rows: PointRows, cancelled: &AtomicBool) {
        let (store, standing, progress, failure) = &mut *self.0;
        standing.run += 1;
        standing.failed += u64::from(rows.rows.iter().any(|row| row.result.is_err()));
        if let Err(error) = store.keep(rows) {
            failure.get_or_insert(error);
            cancelled.store(true, Ordering::Relaxed);
        }
        progress(*standing);
    }
}
