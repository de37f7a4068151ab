//! A point: which settings it has, what identifies it, and the seeds that follow from that.

use serde_json::{Map, Number, Value as Json};
use tokentide_models::hash::{FNV_OFFSET, fnv1a, mix};
use toml::Value;

/// Settings of a point, in the order of the design: path and value.
pub type Params = Vec<(String, Value)>;

/// Whole numbers up to here are equal as integers and as floats.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A value as JSON in its one canonical form: keys in order, whole numbers as integers however they were typed.
pub fn canonical(value: &Value) -> Json {
    match value {
        Value::String(text) => Json::String(text.clone()),
        Value::Integer(n) => Json::from(*n),
        Value::Float(x) if x.fract() == 0.0 && x.abs() <= EXACT => Json::from(*x as i64),
        // JSON has no infinities: their names stand for them.
        Value::Float(x) => Number::from_f64(*x).map_or_else(|| Json::String(x.to_string()), Json::Number),
        Value::Boolean(flag) => Json::Bool(*flag),
        Value::Datetime(time) => Json::String(time.to_string()),
        Value::Array(items) => Json::Array(items.iter().map(canonical).collect()),
        Value::Table(table) => {
            let mut sorted: Vec<_> = table.iter().collect();
            sorted.sort_unstable_by_key(|(key, _)| key.as_str());
            Json::Object(sorted.into_iter().map(|(key, value)| (key.clone(), canonical(value))).collect())
        }
    }
}

/// The canonical JSON of a point: an object from path to value, in the order of the paths.
pub fn canonical_json(params: &Params) -> String {
    let mut sorted: Vec<_> = params.iter().collect();
    sorted.sort_unstable_by_key(|(path, _)| path.as_str());
    Json::Object(sorted.into_iter().map(|(path, value)| (path.clone(), canonical(value))).collect::<Map<_, _>>()).to_string()
}

/// What identifies a point, whatever else the design has: the hash of its canonical JSON (FNV-1a, 64 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PointId(pub u64);

impl PointId {
    /// Of these settings.
    pub fn of(params: &Params) -> PointId {
        PointId(fnv1a(FNV_OFFSET, canonical_json(params).as_bytes()))
    }

    /// From 16 hexadecimal digits.
    pub fn parse(text: &str) -> Option<PointId> {
        u64::from_str_radix(text, 16).ok().filter(|_| text.len() == 16).map(PointId)
    }
}

impl std::fmt::Display for PointId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Where the seeds of a point's replications come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Seeds {
    /// From the point's identity and the scenario's seed: every point draws requests of its own, as a sample needs.
    #[default]
    Derived,
    /// The scenario's seed and those after it, for every point: points see the same requests wherever they have them in common, so
    /// that differences between them are due to the settings.
    Common,
}

impl Seeds {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Seeds::Derived => "derived",
            Seeds::Common => "common",
        }
    }

    /// From its word.
    pub fn parse(word: &str) -> Option<Seeds> {
        [Seeds::Derived, Seeds::Common].into_iter().find(|seeds| seeds.name() == word)
    }

    /// The seed of a replication; `base` is the scenario's. Derived seeds have 53 bits: floating point holds them exactly, as
    /// spreadsheets and JavaScript do with every number.
    pub fn seed(self, base: u64, point: PointId, replication: u32) -> u64 {
        match self {
            Seeds::Derived => mix(mix(point.0 ^ mix(base)).wrapping_add(u64::from(replication))) >> 11,
            Seeds::Common => base.wrapping_add(u64::from(replication)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, Value)]) -> Params {
        pairs.iter().map(|(path, value)| ((*path).to_owned(), value.clone())).collect()
    }

    #[test]
    fn identity_is_of_what_is_meant_and_not_of_how_it_is_typed() {
        let a = params(&[("b.top_k", Value::Integer(4)), ("a.rate", Value::Float(2.0))]);
        let b = params(&[("a.rate", Value::Integer(2)), ("b.top_k", Value::Float(4.0))]);
        assert_eq!(canonical_json(&a), r#"{"a.rate":2,"b.top_k":4}"#);
        assert_eq!(PointId::of(&a), PointId::of(&b));
        let table = |text: &str| Value::Table(text.parse().unwrap());
        let (c, d) = (params(&[("x", table("p = 1.5\nq = 2"))]), params(&[("x", table("q = 2\np = 1.5"))]));
        assert_eq!(canonical_json(&c), r#"{"x":{"p":1.5,"q":2}}"#);
        assert_eq!(PointId::of(&c), PointId::of(&d));
        assert_ne!(PointId::of(&a), PointId::of(&params(&[("a.rate", Value::Integer(2))])));
        assert_ne!(
            canonical_json(&params(&[("x", Value::Integer(4))])),
            canonical_json(&params(&[("x", Value::String("4".into()))]))
        );
    }

    #[test]
    fn an_identity_can_be_read_back() {
        let id = PointId::of(&params(&[("x", Value::Integer(1))]));
        assert_eq!(PointId::parse(&id.to_string()), Some(id));
        // The identity is part of stored results: FNV-1a of {"x":1}.
        assert_eq!(id.0, fnv1a(FNV_OFFSET, br#"{"x":1}"#));
        assert_eq!(PointId::parse("12"), None);
        assert_eq!(PointId::parse("zzzzzzzzzzzzzzzz"), None);
    }

    #[test]
    fn seeds_depend_on_point_base_and_replication() {
        let (a, b) = (PointId(1), PointId(2));
        let seeds = [(42, a, 0), (42, a, 1), (42, b, 0), (43, a, 0)].map(|(base, p, r)| Seeds::Derived.seed(base, p, r));
        for (i, x) in seeds.iter().enumerate() {
            assert!(*x < 1 << 53);
            assert!(seeds[..i].iter().all(|y| x != y));
        }
        assert_eq!([0, 1].map(|r| Seeds::Common.seed(42, a, r)), [42, 43]);
    }
}
