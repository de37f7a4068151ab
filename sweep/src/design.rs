//! Which points there are: every combination of a grid's values, typed-out points and drawn ones.

use std::collections::HashSet;

use serde_json::json;
use tokentide_models::hash::fnv1a_hex;
use toml::Value;

use crate::axis::Axis;
use crate::point::{Params, PointId, canonical, canonical_json};
use crate::sample::Sample;

/// A sweep has no more points than this.
pub const POINTS_MAX: u64 = 100_000_000;
/// Points that are not of a grid are held in memory, and are no more than this.
const HELD_MAX: usize = 1_000_000;

/// What a column of settings holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only `true` and `false`.
    Bool,
    /// Only whole numbers.
    Int,
    /// Only numbers.
    Float,
    /// Anything else: texts as they are, other values as JSON.
    Text,
}

/// The points of a sweep: grid × typed-out points × sampled points, of which each may be absent. Later factors change faster.
#[derive(Clone, Debug)]
pub struct Design {
    grid: Vec<(String, Vec<Value>)>,
    /// Empty: no such factor.
    list: Vec<Params>,
    /// Empty: no such factor.
    sampled: Vec<Params>,
    /// Drawn points that are equal to one drawn before, and left out.
    coincident: usize,
    paths: Vec<(String, Kind)>,
    hash: String,
    points: u64,
}

impl Design {
    /// From its factors; `list` is points typed out, which may have different settings.
    ///
    /// # Errors
    /// What is wrong with it: no points, too many, a setting in two factors, or one beside a part of itself.
    pub fn new(grid: &[Axis], list: Vec<Params>, sample: Option<&Sample>) -> Result<Design, String> {
        for axis in grid.iter().chain(sample.iter().flat_map(|sample| &sample.over)) {
            axis.check()?;
        }
        let values = |axis: &Axis| Ok((axis.path.clone(), axis.listed()?));
        let grid: Vec<(String, Vec<Value>)> = grid.iter().map(values).collect::<Result<_, String>>()?;
        let (drawn, points_asked) = match sample {
            Some(sample) if sample.over.is_empty() => return Err("a sample is drawn over at least one setting".to_owned()),
            Some(sample) if sample.points == 0 => return Err("a sample has at least one point".to_owned()),
            Some(sample) if sample.points as usize > HELD_MAX => return Err(format!("a sample has at most {HELD_MAX} points")),
            Some(sample) => (sample.draw(), sample.points as usize),
            None => (Vec::new(), 0),
        };
        // Drawn points that coincide, which whole numbers and words do, are one point.
        let mut seen = HashSet::new();
        let sampled: Vec<Params> = drawn.into_iter().filter(|point| seen.insert(PointId::of(point))).collect();
        let mut seen = HashSet::new();
        if let Some(twice) = list.iter().find(|point| !seen.insert(PointId::of(point))) {
            return Err(format!("the point {} is listed twice", canonical_json(twice)));
        }
        if list.iter().any(Vec::is_empty) {
            return Err("a listed point has no settings".to_owned());
        }
        let paths = paths(&grid, &list, &sampled)?;
        if paths.is_empty() {
            return Err("nothing is varied: give a grid, a list of points or a sample".to_owned());
        }
        let factors = grid.iter().map(|(_, values)| values.len()).chain([list.len(), sampled.len()].map(|n| n.max(1)));
        let points = factors.fold(1_u64, |points, n| points.saturating_mul(n as u64));
        if points > POINTS_MAX {
            return Err(format!("{points} points are more than the {POINTS_MAX} that a sweep can have"));
        }
        let coincident = points_asked - sampled.len();
        let hash = hash(&grid, &list, &sampled);
        Ok(Design { grid, list, sampled, coincident, paths, hash, points })
    }

    /// How many points there are; never 0.
    pub fn points(&self) -> u64 {
        self.points
    }

    /// Settings that are varied, in the order of the factors, and what their columns hold.
    pub fn paths(&self) -> &[(String, Kind)] {
        &self.paths
    }

    /// Drawn points that were left out since they are equal to another one.
    pub fn coincident(&self) -> usize {
        self.coincident
    }

    /// Identity of the design: 16 hexadecimal digits.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The settings of a point, by its index from 0.
    ///
    /// # Panics
    /// If there is no such point.
    pub fn point(&self, index: u64) -> Params {
        assert!(index < self.points, "point {index} of {}", self.points);
        let mut rest = index as usize;
        let mut digit = |n: usize| {
            let digit = rest % n;
            rest /= n;
            digit
        };
        let sampled = (!self.sampled.is_empty()).then(|| &self.sampled[digit(self.sampled.len())]);
        let listed = (!self.list.is_empty()).then(|| &self.list[digit(self.list.len())]);
        let mut grid: Params = self.grid.iter().rev().map(|(path, v)| (path.clone(), v[digit(v.len())].clone())).collect();
        grid.reverse();
        grid.extend(listed.into_iter().chain(sampled).flatten().cloned());
        grid
    }

    /// For each setting or listed point alone, its first values: what a look at a few points can find wrong with all of them.
    pub fn probes(&self, at_most: usize) -> Vec<(String, Vec<Params>)> {
        let alone = |path: &str, values: &[Value]| {
            let values = values.iter().take(at_most).map(|value| vec![(path.to_owned(), value.clone())]).collect();
            (path.to_owned(), values)
        };
        let mut probes: Vec<(String, Vec<Params>)> = self.grid.iter().map(|(path, values)| alone(path, values)).collect();
        for factor in [&self.list, &self.sampled] {
            if let Some(first) = factor.first() {
                let names: Vec<&str> = first.iter().map(|(path, _)| path.as_str()).collect();
                probes.push((names.join(", "), factor.iter().take(at_most).cloned().collect()));
            }
        }
        probes
    }
}

/// All settings with what their columns hold, in the order of the factors.
fn paths(grid: &[(String, Vec<Value>)], list: &[Params], sampled: &[Params]) -> Result<Vec<(String, Kind)>, String> {
    let of_grid = grid.iter().map(|(path, values)| (path.clone(), values.iter().collect::<Vec<_>>()));
    let mut factors: Vec<Vec<(String, Vec<&Value>)>> = of_grid.map(|axis| vec![axis]).collect();
    for points in [list, sampled] {
        let mut axes: Vec<(String, Vec<&Value>)> = Vec::new();
        for (path, value) in points.iter().flatten() {
            match axes.iter_mut().find(|(known, _)| known == path) {
                Some((_, values)) => values.push(value),
                None => axes.push((path.clone(), vec![value])),
            }
        }
        factors.push(axes);
    }
    let mut paths: Vec<(String, Kind)> = Vec::new();
    for factor in factors {
        for (path, values) in factor {
            if let Some((other, _)) = paths.iter().find(|(other, _)| *other == path || within(other, &path) || within(&path, other))
            {
                return Err(match *other == path {
                    true => format!("`{path}` is varied twice"),
                    false => format!("`{other}` and `{path}` cannot both be varied: one is a part of the other"),
                });
            }
            if path == "seed" {
                return Err("`seed` is not varied but repeated: use replications".to_owned());
            }
            paths.push((path, kind(&values)));
        }
    }
    Ok(paths)
}

/// Whether `inner` lies in the section `outer`.
fn within(inner: &str, outer: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('.'))
}

fn kind(values: &[&Value]) -> Kind {
    let all = |is: fn(&Value) -> bool| values.iter().all(|value| is(value));
    match () {
        () if all(Value::is_bool) => Kind::Bool,
        () if all(Value::is_integer) => Kind::Int,
        () if all(|v| v.is_integer() || v.is_float()) => Kind::Float,
        () => Kind::Text,
    }
}

fn hash(grid: &[(String, Vec<Value>)], list: &[Params], sampled: &[Params]) -> String {
    let grid: Vec<_> = grid.iter().map(|(path, values)| json!([path, values.iter().map(canonical).collect::<Vec<_>>()])).collect();
    let points = |points: &[Params]| points.iter().map(canonical_json).collect::<Vec<_>>();
    fnv1a_hex(&json!([grid, points(list), points(sampled)]).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Method;

    fn axes(texts: &[&str]) -> Vec<Axis> {
        texts.iter().map(|text| Axis::parse(text).unwrap()).collect()
    }

    fn listed(points: &[&[(&str, i64)]]) -> Vec<Params> {
        let params = |point: &&[(&str, i64)]| point.iter().map(|(p, n)| ((*p).to_owned(), Value::Integer(*n))).collect();
        points.iter().map(params).collect()
    }

    #[test]
    fn a_grid_is_every_combination_and_the_last_axis_changes_fastest() {
        let design = Design::new(&axes(&["a=1,2", "b=x,y,z"]), Vec::new(), None).unwrap();
        let all: Vec<String> = (0..design.points()).map(|i| canonical_json(&design.point(i))).collect();
        assert_eq!(all.len(), 6);
        assert_eq!(all[0], r#"{"a":1,"b":"x"}"#);
        assert_eq!(all[1], r#"{"a":1,"b":"y"}"#);
        assert_eq!(all[5], r#"{"a":2,"b":"z"}"#);
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 6);
        assert_eq!(design.paths(), [("a".to_owned(), Kind::Int), ("b".to_owned(), Kind::Text)]);
    }

    #[test]
    fn factors_multiply() {
        let sample = Sample { method: Method::LatinHypercube, points: 5, seed: 1, over: axes(&["s=0.0..1.0"]) };
        let design = Design::new(&axes(&["a=1,2"]), listed(&[&[("b", 1)], &[("b", 2), ("c", 3)]]), Some(&sample)).unwrap();
        assert_eq!(design.points(), 2 * 2 * 5);
        let ids: HashSet<_> = (0..20).map(|i| PointId::of(&design.point(i))).collect();
        assert_eq!(ids.len(), 20);
        let kinds: Vec<_> = design.paths().iter().map(|(path, kind)| (path.as_str(), *kind)).collect();
        assert_eq!(kinds, [("a", Kind::Int), ("b", Kind::Int), ("c", Kind::Int), ("s", Kind::Float)]);
    }

    #[test]
    fn drawn_points_that_coincide_are_one() {
        let sample = Sample { method: Method::Random, points: 100, seed: 1, over: axes(&["a=1..3"]) };
        let design = Design::new(&[], Vec::new(), Some(&sample)).unwrap();
        assert_eq!((design.points(), design.coincident()), (3, 97));
    }

    #[test]
    fn another_design_has_another_hash() {
        let hash = |texts: &[&str]| Design::new(&axes(texts), Vec::new(), None).unwrap().hash().to_owned();
        assert_eq!(hash(&["a=1,2"]), hash(&["a=1..2"]));
        assert_ne!(hash(&["a=1,2"]), hash(&["a=2,1"]));
        assert_ne!(hash(&["a=1,2"]), hash(&["b=1,2"]));
    }

    #[test]
    fn contradictions_are_told() {
        let wrong = |texts: &[&str], list: Vec<Params>| Design::new(&axes(texts), list, None).unwrap_err();
        assert!(wrong(&[], Vec::new()).contains("nothing is varied"));
        assert!(wrong(&["a=1", "a=2"], Vec::new()).contains("varied twice"));
        assert!(wrong(&["a=1"], listed(&[&[("a", 2)]])).contains("varied twice"));
        assert!(wrong(&["a.b=1", "a.b.c=2"], Vec::new()).contains("a part of the other"));
        assert!(wrong(&["seed=1,2"], Vec::new()).contains("use replications"));
        assert!(wrong(&[], listed(&[&[("a", 2)], &[("a", 2)]])).contains("listed twice"));
        assert!(wrong(&[], listed(&[&[]])).contains("no settings"));
        assert!(wrong(&["a=1..100000", "b=1..100000"], Vec::new()).contains("more than"));
        assert!(Design::new(&axes(&["a.b=1", "a.bc=2"]), Vec::new(), None).is_ok());
    }
}
