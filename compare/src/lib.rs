//! Two sides of a change, compared.
pub mod assertion;
pub mod bound;
pub mod budget;
pub mod changes;
mod compare;
pub mod estimate;
mod headline;
pub mod metric;
pub mod observed;
pub mod project;
pub mod report;
pub mod rows;
pub mod selection;
pub mod show;
pub mod side;
mod stored;
pub mod tokens;
pub mod verdict;

pub use compare::{CompareError, Pair, Question, Replications, compare};
pub use stored::{Stored, StoredError, compare_stored};
