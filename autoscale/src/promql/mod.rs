//! PromQL, as far as scaling needs it, with Prometheus' semantics. Whatever is not supported is an error when a query is read,
//! never a value that is wrong.
//!
//! Supported: instant and range selectors with matchers and `offset`; `rate`, `irate`, `increase`, `delta`, `avg_over_time` and its
//! like; subqueries; `sum`, `avg`, `min`, `max`, `count`, `quantile` `by` and `without`; arithmetic, comparisons and `and`, `or`,
//! `unless`, one to one, with `on` and `ignoring`; `scalar`, `vector`, `clamp` and its like, `abs`, `ceil`, `floor`, `round`,
//! `sqrt`, `histogram_quantile`; numbers.
//!
//! Labels that no simulation knows (namespace, job, model_name, ...) are taken to match whatever a query asks of them; its notes
//! say so.

mod compile;
mod eval;
mod over_time;
#[cfg(test)]
mod tests;
mod vector;

use tokentide_models::units::{Duration, Time};

pub use eval::{Labels, Sample, Series, Source, Value};

/// A query that can be evaluated.
#[derive(Clone, Debug)]
pub struct Query {
    node: Node,
    /// Names of the series that it reads.
    pub names: Vec<String>,
    /// How far back it looks.
    pub reach: Duration,
    /// What it asks that is taken to match.
    pub notes: Vec<String>,
}

/// Why a query cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct QueryError(pub String);

impl Query {
    /// Reads a query. `recorded` are names of recording rules, beside those of [`crate::exposition::names`].
    ///
    /// # Errors
    /// If it is not PromQL, uses what is not supported, or names a metric that there is not.
    pub fn parse(text: &str, recorded: &[String]) -> Result<Query, QueryError> {
        compile::compile(text, recorded)
    }

    /// Its value at `now`.
    ///
    /// # Errors
    /// If two vectors do not match one to one.
    pub fn value(&self, source: &dyn Source, now: Time) -> Result<Value, QueryError> {
        eval::evaluate(&self.node, source, now)
    }

    /// The one number that it gives at `now`.
    ///
    /// # Errors
    /// If it gives none, several, or one that is no number.
    pub fn number(&self, source: &dyn Source, now: Time) -> Result<f64, QueryError> {
        let value = match self.value(source, now)? {
            Value::Scalar(value) => value,
            Value::Vector(samples) => match samples.as_slice() {
                [sample] => sample.value,
                [] => return Err(QueryError("the query gives nothing".to_owned())),
                many => return Err(QueryError(format!("the query gives {} samples, not one", many.len()))),
            },
        };
        if value.is_finite() { Ok(value) } else { Err(QueryError(format!("the query gives {value}"))) }
    }
}

/// A node of a query.
#[derive(Clone, Debug)]
enum Node {
    Number(f64),
    Select(Selector),
    OverTime(over_time::Function, Box<Range>),
    Aggregate { op: Aggregation, by: Option<Vec<String>>, without: Vec<String>, inner: Box<Node>, parameter: Option<Box<Node>> },
    Binary { op: Operator, left: Box<Node>, right: Box<Node>, on: Option<Vec<String>>, ignoring: Vec<String>, to_bool: bool },
    Map(Map, Box<Node>, Vec<Node>),
    Scalar(Box<Node>),
    Vector(Box<Node>),
    HistogramQuantile(Box<Node>, Box<Node>),
}

/// Series of a name whose labels match.
#[derive(Clone, Debug)]
struct Selector {
    name: String,
    matchers: Vec<promql_parser::label::Matcher>,
    offset: Duration,
}

/// What a function over time looks at.
#[derive(Clone, Debug)]
enum Range {
    Samples(Selector, Duration),
    Subquery { node: Node, range: Duration, step: Duration, offset: Duration },
}

/// How samples of a group become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aggregation {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    /// Of its parameter.
    Quantile,
}

/// What stands between two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterEqual,
    LessEqual,
    And,
    Or,
    Unless,
}

/// A function of each value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Map {
    Abs,
    Ceil,
    Floor,
    Round,
    Sqrt,
    Clamp,
    ClampMin,
    ClampMax,
}
