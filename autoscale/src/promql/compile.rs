//! From text to nodes: refuses what is not supported.

use std::time::Duration as StdDuration;

use promql_parser::label::MatchOp;
use promql_parser::parser::{self, BinaryExpr, Call, Expr, LabelModifier, Offset, VectorMatchCardinality, VectorSelector};
use tokentide_models::units::Duration;

use super::over_time::Function;
use super::{Aggregation, Map, Node, Operator, Query, QueryError, Range, Selector};
use crate::exposition::{self, LABELS};

/// Prometheus' evaluation interval where a subquery names no step: its default.
const STEP: StdDuration = StdDuration::from_secs(60);

/// What is collected while a query is read.
struct Compiler<'a> {
    recorded: &'a [String],
    names: Vec<String>,
    reach: Duration,
    notes: Vec<String>,
}

pub(super) fn compile(text: &str, recorded: &[String]) -> Result<Query, QueryError> {
    let expr = parser::parse(text).map_err(|error| QueryError(format!("not PromQL: {error}")))?;
    let mut compiler = Compiler { recorded, names: Vec::new(), reach: Duration::ZERO, notes: Vec::new() };
    let node = compiler.node(&expr, Duration::ZERO)?;
    Ok(Query { node, names: compiler.names, reach: compiler.reach, notes: compiler.notes })
}

fn unsupported(what: impl std::fmt::Display) -> QueryError {
    QueryError(format!("{what} is not supported"))
}

fn duration(std: StdDuration) -> Duration {
    Duration::from_secs_f64(std.as_secs_f64())
}

fn offset(given: &Option<Offset>) -> Result<Duration, QueryError> {
    match given {
        None => Ok(Duration::ZERO),
        Some(Offset::Pos(offset)) => Ok(duration(*offset)),
        Some(Offset::Neg(_)) => Err(unsupported("a negative offset, which looks into the future,")),
    }
}

impl Compiler<'_> {
    /// A node that is evaluated up to `back` before the query's time.
    fn node(&mut self, expr: &Expr, back: Duration) -> Result<Node, QueryError> {
        match expr {
            Expr::NumberLiteral(number) => Ok(Node::Number(number.val)),
            Expr::Paren(paren) => self.node(&paren.expr, back),
            Expr::Unary(unary) => {
                let (left, right) = (Box::new(Node::Number(-1.0)), Box::new(self.node(&unary.expr, back)?));
                Ok(Node::Binary { op: Operator::Mul, left, right, on: None, ignoring: Vec::new(), to_bool: false })
            }
            Expr::VectorSelector(selector) => Ok(Node::Select(self.selector(selector, back)?)),
            Expr::Aggregate(aggregate) => {
                let op = match aggregate.op.to_string().as_str() {
                    "sum" => Aggregation::Sum,
                    "avg" => Aggregation::Avg,
                    "min" => Aggregation::Min,
                    "max" => Aggregation::Max,
                    "count" => Aggregation::Count,
                    "quantile" => Aggregation::Quantile,
                    other => return Err(unsupported(format!("the aggregation `{other}`"))),
                };
                let (by, without) = match &aggregate.modifier {
                    None => (Some(Vec::new()), Vec::new()),
                    Some(LabelModifier::Include(labels)) => (Some(labels.labels.clone()), Vec::new()),
                    Some(LabelModifier::Exclude(labels)) => (None, labels.labels.clone()),
                };
                let parameter = aggregate.param.as_ref().map(|param| self.node(param, back)).transpose()?.map(Box::new);
                Ok(Node::Aggregate { op, by, without, inner: Box::new(self.node(&aggregate.expr, back)?), parameter })
            }
            Expr::Binary(binary) => self.binary(binary, back),
            Expr::Call(call) => self.call(call, back),
            Expr::MatrixSelector(_) => Err(QueryError("a range such as `[5m]` goes into a function such as rate()".to_owned())),
            Expr::Subquery(_) => Err(QueryError("a subquery goes into a function such as avg_over_time()".to_owned())),
            Expr::StringLiteral(_) => Err(unsupported("a text")),
            Expr::Extension(_) => Err(unsupported("an extension")),
        }
    }

    fn selector(&mut self, selector: &VectorSelector, back: Duration) -> Result<Selector, QueryError> {
        if selector.at.is_some() {
            return Err(unsupported("the modifier `@`"));
        }
        let by_label = selector.matchers.matchers.iter().find(|m| m.name == "__name__" && m.op == MatchOp::Equal);
        let Some(name) = selector.name.clone().or_else(|| by_label.map(|m| m.value.clone())) else {
            return Err(unsupported("a selector without a metric's name"));
        };
        if !selector.matchers.or_matchers.is_empty() {
            return Err(unsupported("`or` between matchers"));
        }
        self.known(&name)?;
        let mut matchers = Vec::new();
        for matcher in &selector.matchers.matchers {
            if matcher.name == "__name__" {
                continue;
            }
            let known = LABELS.contains(&matcher.name.as_str());
            let note = match matcher.name.as_str() {
                "pod" => format!("pods are named `replica-0`, `replica-1` and so on, of which the query asks `{matcher}`"),
                name if !known => format!("the label `{name}` is taken to match what the query asks of it"),
                _ => String::new(),
            };
            if known {
                matchers.push(matcher.clone());
            }
            if !note.is_empty() && !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
        let offset = offset(&selector.offset)?;
        self.reach = self.reach.max(Duration(back.0 + offset.0));
        Ok(Selector { name, matchers, offset })
    }

    fn known(&mut self, name: &str) -> Result<(), QueryError> {
        let all = exposition::names();
        if !self.names.iter().any(|n| n == name) {
            self.names.push(name.to_owned());
        }
        if all.iter().chain(self.recorded).any(|known| known == name) {
            return Ok(());
        }
        let likeness = |known: &String| (strsim::jaro_winkler(known, name) * 1e6) as u64;
        let mut near: Vec<&String> = all.iter().chain(self.recorded).collect();
        near.sort_by_key(|known| std::cmp::Reverse(likeness(known)));
        let near: Vec<String> = near.iter().take(3).map(|known| format!("`{known}`")).collect();
        Err(QueryError(format!("there is no metric `{name}` in a simulation; near it are {}", near.join(", "))))
    }

    fn binary(&mut self, binary: &BinaryExpr, back: Duration) -> Result<Node, QueryError> {
        let op = match binary.op.to_string().as_str() {
            "+" => Operator::Add,
            "-" => Operator::Sub,
            "*" => Operator::Mul,
            "/" => Operator::Div,
            "%" => Operator::Mod,
            "^" => Operator::Pow,
            "==" => Operator::Equal,
            "!=" => Operator::NotEqual,
            ">" => Operator::Greater,
            "<" => Operator::Less,
            ">=" => Operator::GreaterEqual,
            "<=" => Operator::LessEqual,
            "and" => Operator::And,
            "or" => Operator::Or,
            "unless" => Operator::Unless,
            other => return Err(unsupported(format!("the operator `{other}`"))),
        };
        let (mut on, mut ignoring, mut to_bool) = (None, Vec::new(), false);
        if let Some(modifier) = &binary.modifier {
            if matches!(modifier.card, VectorMatchCardinality::ManyToOne(_) | VectorMatchCardinality::OneToMany(_)) {
                return Err(unsupported("matching of many to one (group_left, group_right)"));
            }
            if modifier.fill_values.lhs.is_some() || modifier.fill_values.rhs.is_some() {
                return Err(unsupported("`fill`"));
            }
            match &modifier.matching {
                Some(LabelModifier::Include(labels)) => on = Some(labels.labels.clone()),
                Some(LabelModifier::Exclude(labels)) => ignoring = labels.labels.clone(),
                None => {}
            }
            to_bool = modifier.return_bool;
        }
        let (left, right) = (Box::new(self.node(&binary.lhs, back)?), Box::new(self.node(&binary.rhs, back)?));
        Ok(Node::Binary { op, left, right, on, ignoring, to_bool })
    }

    fn call(&mut self, call: &Call, back: Duration) -> Result<Node, QueryError> {
        let (name, args) = (call.func.name, &call.args.args);
        if let Some(function) = Function::named(name) {
            return Ok(Node::OverTime(function, Box::new(self.range(&args[0], back)?)));
        }
        let map = match name {
            "abs" => Map::Abs,
            "ceil" => Map::Ceil,
            "floor" => Map::Floor,
            "round" => Map::Round,
            "sqrt" => Map::Sqrt,
            "clamp" => Map::Clamp,
            "clamp_min" => Map::ClampMin,
            "clamp_max" => Map::ClampMax,
            "scalar" => return Ok(Node::Scalar(Box::new(self.node(&args[0], back)?))),
            "vector" => return Ok(Node::Vector(Box::new(self.node(&args[0], back)?))),
            "histogram_quantile" => {
                let (quantile, buckets) = (self.node(&args[0], back)?, self.node(&args[1], back)?);
                return Ok(Node::HistogramQuantile(Box::new(quantile), Box::new(buckets)));
            }
            other => return Err(unsupported(format!("the function `{other}`"))),
        };
        let inner = Box::new(self.node(&args[0], back)?);
        let rest: Result<Vec<Node>, QueryError> = args[1..].iter().map(|arg| self.node(arg, back)).collect();
        Ok(Node::Map(map, inner, rest?))
    }

    fn range(&mut self, expr: &Expr, back: Duration) -> Result<Range, QueryError> {
        match expr {
            Expr::Paren(paren) => self.range(&paren.expr, back),
            Expr::MatrixSelector(matrix) => {
                let range = duration(matrix.range);
                Ok(Range::Samples(self.selector(&matrix.vs, Duration(back.0 + range.0))?, range))
            }
            Expr::Subquery(subquery) => {
                if subquery.at.is_some() {
                    return Err(unsupported("the modifier `@`"));
                }
                let (range, offset) = (duration(subquery.range), offset(&subquery.offset)?);
                let step = duration(subquery.step.unwrap_or(STEP));
                let node = self.node(&subquery.expr, Duration(back.0 + range.0 + offset.0))?;
                Ok(Range::Subquery { node, range, step, offset })
            }
            _ => Err(QueryError("a function over time needs a range such as `[5m]`".to_owned())),
        }
    }
}
