//! The values of one setting.

use toml::Value;

/// A setting by its path, and the values that it is to have.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// As of `--set`: `class.rag.prompt.retrieved.top_k`.
    pub path: String,
    /// Which.
    pub values: Values,
}

/// The values of an axis.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// These.
    List(Vec<Value>),
    /// Numbers between two ends, both included.
    Range(Range),
}

/// Numbers between two ends, both included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// The first.
    pub from: f64,
    /// The last; not below the first.
    pub to: f64,
    /// From one value of a grid to the next; 1 where none is given and both ends are whole.
    pub step: Option<f64>,
    /// Sampled evenly in the logarithm.
    pub log: bool,
    /// Only whole numbers.
    pub whole: bool,
}

/// A grid along one axis has no more values than this.
const VALUES_MAX: f64 = 1e6;

impl Axis {
    /// From `path=4,8,12`, `path=1..8`, `path=0.5..2:0.5` (a step) or `path=1..64:log` (for samples). A value is TOML, else a text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Axis, String> {
        let (path, values) = text.split_once('=').ok_or("expected PATH=VALUES, such as cluster.replicas=1..8")?;
        let (path, values) = (path.trim(), values.trim());
        if path.is_empty() || path.split('.').any(|key| key.trim().is_empty()) {
            return Err("the path before `=` is empty or has an empty key".to_owned());
        }
        let values = match Range::parse(values) {
            Some(range) => Values::Range(range?),
            None => Values::List(split(values).into_iter().map(value).collect::<Result<_, _>>()?),
        };
        let axis = Axis { path: path.to_owned(), values };
        axis.check()?;
        Ok(axis)
    }

    /// Whether the values can be used.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), String> {
        match &self.values {
            Values::List(list) if list.is_empty() => Err(format!("`{}` has no values", self.path)),
            Values::List(list) => {
                let seen: Vec<String> = list.iter().map(|v| crate::point::canonical(v).to_string()).collect();
                match seen.iter().enumerate().find(|(i, text)| seen[..*i].contains(text)) {
                    Some((_, twice)) => Err(format!("`{}` has the value {twice} twice", self.path)),
                    None => Ok(()),
                }
            }
            Values::Range(range) => range.check().map_err(|why| format!("`{}`: {why}", self.path)),
        }
    }

    /// All values, for a grid.
    ///
    /// # Errors
    /// If a range has no step, or would have too many values.
    pub fn listed(&self) -> Result<Vec<Value>, String> {
        match &self.values {
            Values::List(list) => Ok(list.clone()),
            Values::Range(range) => range.listed().map_err(|why| format!("`{}`: {why}", self.path)),
        }
    }

    /// The value at `u`, from 0 up to 1, of evenly spread ones.
    pub fn at(&self, u: f64) -> Value {
        match &self.values {
            Values::List(list) => list[((u * list.len() as f64) as usize).min(list.len() - 1)].clone(),
            Values::Range(range) => range.at(u),
        }
    }
}

impl Range {
    /// `A..B`, `A..B:STEP` or `A..B:log`; none if it is something else.
    fn parse(text: &str) -> Option<Result<Range, String>> {
        let (ends, how) = text.split_once(':').map_or((text, None), |(ends, how)| (ends, Some(how.trim())));
        let (from, to) = ends.split_once("..")?;
        let number = |text: &str| text.trim().parse::<f64>().ok().filter(|x| x.is_finite());
        let (from_number, to_number) = (number(from)?, number(to)?);
        let whole = |text: &str| text.trim().parse::<i64>().is_ok();
        let ends_whole = whole(from) && whole(to);
        let range = Range { from: from_number, to: to_number, step: None, log: false, whole: ends_whole };
        Some(match how {
            None => Ok(range),
            Some("log") => Ok(Range { log: true, ..range }),
            Some(step) => match number(step) {
                Some(size) => Ok(Range { step: Some(size), whole: ends_whole && whole(step), ..range }),
                None => Err(format!("after `:` comes a step or `log`, not `{step}`")),
            },
        })
    }

    fn check(&self) -> Result<(), String> {
        let Range { from, to, step, log, .. } = *self;
        if !(from.is_finite() && to.is_finite()) {
            return Err("the ends of a range are finite numbers".to_owned());
        }
        if to < from {
            return Err(format!("the range {from}..{to} ends before it begins"));
        }
        if step.is_some_and(|step| !(step > 0.0 && step.is_finite())) {
            return Err("a step is above 0".to_owned());
        }
        if log && from <= 0.0 {
            return Err(format!("a logarithmic range begins above 0, not at {from}"));
        }
        Ok(())
    }

    fn listed(&self) -> Result<Vec<Value>, String> {
        let Range { from, to, step, log, whole } = *self;
        if log {
            return Err("a logarithmic range is for samples; a grid lists its values".to_owned());
        }
        let step = match step {
            Some(step) => step,
            None if whole => 1.0,
            None => return Err(format!("the range {from}..{to} needs a step, such as {from}..{to}:0.5")),
        };
        // A step that should end at `to` does, though it is no sum of powers of two.
        let count = ((to - from) / step + 1e-9).floor() + 1.0;
        if count > VALUES_MAX {
            return Err(format!("the range {from}..{to} would have {count:.0} values"));
        }
        Ok((0..count as u64).map(|i| self.value(rounded(from + i as f64 * step))).collect())
    }

    fn at(&self, u: f64) -> Value {
        let Range { from, to, log, whole, .. } = *self;
        let (low, high) = if whole { (from - 0.5, to + 0.5) } else { (from, to) };
        let x = if log { (low.max(from / 2.0).ln() * (1.0 - u) + high.ln() * u).exp() } else { low + u * (high - low) };
        let x = if whole { x.round() } else { x };
        self.value(x.clamp(from, to))
    }

    fn value(&self, x: f64) -> Value {
        if self.whole { Value::Integer(x as i64) } else { Value::Float(x) }
    }
}

/// To 12 significant digits: 0.1 + 2 × 0.1 is meant to be 0.3.
fn rounded(x: f64) -> f64 {
    format!("{x:.11e}").parse().unwrap_or(x)
}

/// The parts of a list, at commas outside of brackets and quotes.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth, mut quote) = (Vec::new(), 0, 0_i32, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => depth -= 1,
            (None, ',') if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// A value as TOML, or else a text.
pub(crate) fn value(text: &str) -> Result<Value, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("a value of the list is empty".to_owned());
    }
    let parsed = format!("v = {text}").parse::<toml::Table>().ok().filter(|table| table.len() == 1);
    Ok(parsed.and_then(|mut table| table.remove("v")).unwrap_or_else(|| Value::String(text.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(text: &str) -> Vec<String> {
        Axis::parse(text).and_then(|axis| axis.listed()).unwrap().iter().map(Value::to_string).collect()
    }

    #[test]
    fn values_are_typed_as_after_set() {
        assert_eq!(listed("a.b=4,8,12"), ["4", "8", "12"]);
        assert_eq!(listed("gpu.name=h100-sxm, h200-sxm"), ["\"h100-sxm\"", "\"h200-sxm\""]);
        assert_eq!(listed("x={ median = 25, p95 = 120 },[1, 2],\"a,b\""), ["{ median = 25, p95 = 120 }", "[1, 2]", "\"a,b\""]);
        assert_eq!(listed("x=true"), ["true"]);
    }

    #[test]
    fn ranges_have_both_ends() {
        assert_eq!(listed("r=1..4"), ["1", "2", "3", "4"]);
        assert_eq!(listed("r=2..9:3"), ["2", "5", "8"]);
        assert_eq!(listed("r=0.1..0.5:0.1"), ["0.1", "0.2", "0.3", "0.4", "0.5"]);
        assert_eq!(listed("r=-1..1"), ["-1", "0", "1"]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let wrong = |text: &str| Axis::parse(text).and_then(|axis| axis.listed()).unwrap_err();
        assert!(wrong("cluster.replicas").contains("PATH=VALUES"));
        assert!(wrong("=4").contains("empty"));
        assert!(wrong("a..b=4").contains("empty key"));
        assert!(wrong("a=4,,5").contains("empty"));
        assert!(wrong("a=4,8,4.0").contains("4 twice"));
        assert!(wrong("a=8..1").contains("ends before it begins"));
        assert!(wrong("a=0.5..2").contains("needs a step"));
        assert!(wrong("a=1..8:0").contains("above 0"));
        assert!(wrong("a=1..8:fast").contains("a step or `log`"));
        assert!(wrong("a=0..8:log").contains("begins above 0"));
        assert!(wrong("a=1..8:log").contains("for samples"));
        assert!(wrong("a=0..1e9:1").contains("would have"));
    }

    #[test]
    fn samples_reach_both_ends_evenly() {
        let at = |text: &str, u: f64| Axis::parse(text).unwrap().at(u).to_string();
        assert_eq!((at("r=1..4", 0.0), at("r=1..4", 0.999_999)), ("1".to_owned(), "4".to_owned()));
        let counts: Vec<usize> =
            (1..=4).map(|n| (0..400).filter(|i| at("r=1..4", f64::from(*i) / 400.0) == n.to_string()).count()).collect();
        assert_eq!(counts, [100; 4]);
        // The middle, in the logarithm, of 0.5 to 100.5, which is what rounds to 1 to 100.
        assert_eq!(at("x=1..100:log", 0.5), "7");
        let middle = Axis::parse("x=1.0..100.0:log").unwrap().at(0.5).as_float().unwrap();
        assert!((middle - 10.0).abs() < 1e-9);
        assert_eq!(at("g=a,b", 0.49), "\"a\"");
        assert_eq!(at("g=a,b", 0.5), "\"b\"");
    }
}
