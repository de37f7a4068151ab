//! A line of a metrics page: Prometheus text, or OpenMetrics.

use std::collections::BTreeMap;

/// A value of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample<'a> {
    /// Name of the metric.
    pub name: &'a str,
    /// Labels, their escapes resolved.
    pub labels: BTreeMap<&'a str, String>,
    /// Value; may be infinite or NaN.
    pub value: f64,
    /// Time stamp in the page's own unit: ms in Prometheus text, s in OpenMetrics.
    pub time: Option<f64>,
}

/// The name that a line begins with; none of a comment or an empty line.
pub fn name(line: &str) -> Option<&str> {
    let name = line.trim_start();
    let end = name.find(|c: char| c == '{' || c.is_ascii_whitespace()).unwrap_or(name.len());
    Some(&name[..end]).filter(|name| !name.is_empty() && !name.starts_with('#'))
}

/// The sample on a line, which has one.
///
/// # Errors
/// What is wrong with it.
pub fn sample(line: &str) -> Result<Sample<'_>, &'static str> {
    let name = name(line).ok_or("expected a metric's name, labels and a value")?;
    let mut rest = line.trim_start()[name.len()..].trim_start();
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = self::labels(inside, &mut labels)?;
    }
    let mut words = rest.split_ascii_whitespace();
    let number = |word: &str| word.parse::<f64>().ok();
    let value = words.next().and_then(number).ok_or("expected a number behind the labels")?;
    // What follows a `#` is an exemplar.
    let time = match words.next().filter(|word| *word != "#") {
        Some(word) => Some(number(word).filter(|time| time.is_finite()).ok_or("expected a time stamp behind the value")?),
        None => None,
    };
    Ok(Sample { name, labels, value, time })
}

/// Labels up to the closing brace, and what is behind it.
fn labels<'a>(mut rest: &'a str, labels: &mut BTreeMap<&'a str, String>) -> Result<&'a str, &'static str> {
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(behind) = rest.strip_prefix('}') {
            return Ok(behind);
        }
        let (name, tail) = rest.split_once('=').ok_or("expected labels as name=\"value\", and a closing brace")?;
        let text = tail.trim_start().strip_prefix('"').ok_or("expected a label's value in double quotes")?;
        let mut value = String::new();
        let mut chars = text.char_indices();
        loop {
            match chars.next().ok_or("a label's value does not end")? {
                (at, '"') => {
                    rest = &text[at + 1..];
                    break;
                }
                (_, '\\') => match chars.next().ok_or("a label's value does not end")?.1 {
                    'n' => value.push('\n'),
                    escaped => value.push(escaped),
                },
                (_, c) => value.push(c),
            }
        }
        labels.insert(name.trim(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_both_formats_are_read() {
        let s = sample(r#"vllm:x_bucket{engine="0",le="+Inf",note="a \"b\"\n, c}",} 1.5e+03 1700000000123"#).unwrap();
        assert_eq!((s.name, s.value, s.time), ("vllm:x_bucket", 1500.0, Some(1.700000000123e12)));
        assert_eq!((&s.labels["note"][..], &s.labels["le"][..]), ("a \"b\"\n, c}", "+Inf"));
        let s = sample(r#"a { b = "c" } NaN 17.5 # {trace="x"} 0.5"#).unwrap();
        assert!((s.name, s.time, s.labels["b"].as_str()) == ("a", Some(17.5), "c") && s.value.is_nan());
        let s = sample(r#"a +Inf # {trace="x"} 0.5"#).unwrap();
        assert_eq!((s.value, s.time, s.labels.len()), (f64::INFINITY, None, 0));
        assert_eq!((name("# TYPE a gauge"), name("  "), name("a{"), name("a 1")), (None, None, Some("a"), Some("a")));
        for wrong in
            ["a", "a{b=\"c\"}", "a{b=\"c\" 1", "a{b=c} 1", "a{b=\"c} 1", "a{b} 1", "a b", "a 1 b", "a 1 NaN", "{} 1", "a{b=\"\\"]
        {
            assert!(sample(wrong).is_err(), "{wrong}");
        }
    }
}
