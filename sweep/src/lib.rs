//! Many variations of one scenario, each a *point*: a design says which there are, a sweep runs them, and a journal keeps what has
//! been run.
//!
//! Reading order: `axis` (the values of one setting) and `design` (which points there are), `point` (a point's identity and seeds),
//! `sweep` (a base and a design, and running one point), `columns` and `row` (what is kept of a run), `journal` (how it survives),
//! `shard` (a part of the points), `drive` (all points on all cores). `file` is `sweep.toml`.

pub mod axis;
pub mod columns;
pub mod design;
pub mod drive;
pub mod file;
pub mod journal;
pub mod point;
pub mod row;
pub mod sample;
pub mod shard;
pub mod sweep;
