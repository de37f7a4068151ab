//! What each figure of the report means. Tools disagree on these words; here is what they mean in this one.

mod fleet;
mod latency;
mod load;
mod money;
mod run;
mod tokens;

use crate::suggest::closest;

/// The definition of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Metric {
    /// What it is called.
    pub name: &'static str,
    /// Unit; empty where there is none.
    pub unit: &'static str,
    /// In a sentence or two.
    pub definition: &'static str,
    /// As arithmetic; empty where the definition says it all.
    pub formula: &'static str,
    /// What is often misunderstood; empty if nothing.
    pub caveat: &'static str,
    /// Keys of the JSON report that hold it, the first one first in the report.
    pub fields: &'static [&'static str],
    /// Other words for it.
    pub aliases: &'static [&'static str],
}

/// A metric without formula, caveat and aliases.
const fn metric(name: &'static str, unit: &'static str, definition: &'static str, fields: &'static [&'static str]) -> Metric {
    Metric { name, unit, definition, formula: "", caveat: "", fields, aliases: &[] }
}

impl Metric {
    const fn formula(self, formula: &'static str) -> Metric {
        Metric { formula, ..self }
    }

    const fn caveat(self, caveat: &'static str) -> Metric {
        Metric { caveat, ..self }
    }

    const fn aliases(self, aliases: &'static [&'static str]) -> Metric {
        Metric { aliases, ..self }
    }

    /// Every word that finds it.
    fn words(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.fields.iter().copied()).chain(self.aliases.iter().copied())
    }
}

/// Groups of metrics, in the order of the report.
pub const GROUPS: [(&str, &[Metric]); 6] = [
    ("Load", load::METRICS),
    ("Latency", latency::METRICS),
    ("Tokens", tokens::METRICS),
    ("Service levels and cost", money::METRICS),
    ("Replicas that come and go", fleet::METRICS),
    ("About the run", run::METRICS),
];

/// All metrics.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    GROUPS.iter().flat_map(|(_, metrics)| metrics.iter())
}

/// The metric called `word`: by its name, its field in the report, a path such as `summary.ttft_ms.p95`, or another word for it,
/// in any case.
pub fn find(word: &str) -> Option<&'static Metric> {
    let plain = |w: &str| w.to_ascii_lowercase().replace([' ', '-', '/'], "_");
    let exact = |word: &str| all().find(|m| m.words().any(|w| plain(w) == word));
    let word = plain(word);
    exact(&word)
        .or_else(|| word.rsplit('.').map(|part| part.trim_end_matches("[]")).find_map(exact_path(&exact)))
        .or_else(|| column(&word, &exact))
}

/// That of a sweep's column: a path joined with `_`, of which the longest part that is a metric counts, the earlier the better.
fn column(word: &str, exact: &impl Fn(&str) -> Option<&'static Metric>) -> Option<&'static Metric> {
    let parts: Vec<&str> = word.split('_').collect();
    let spans = (2..parts.len()).rev().flat_map(|length| (0..=parts.len() - length).map(move |start| (start, start + length)));
    spans.map(|(start, end)| parts[start..end].join("_")).find_map(|part| exact_path(exact)(&part))
}

/// Of the parts of a path, from the last to the first: statistics are no metric unless nothing else is left.
fn exact_path<'a>(exact: &'a impl Fn(&str) -> Option<&'static Metric>) -> impl FnMut(&str) -> Option<&'static Metric> + 'a {
    |part| exact(part).filter(|m| m.name != "quantiles")
}

/// The word that was probably meant.
pub fn suggestion(word: &str) -> Option<&'static str> {
    closest(word, all().flat_map(Metric::words))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::text::sample;

    /// Maps whose keys are data, not names of figures.
    const DATA: [&str; 3] = ["by_finish", "input_tokens_by_source", "ci95"];

    fn keys(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                for (key, inner) in map {
                    found.push(key.clone());
                    if !DATA.contains(&key.as_str()) {
                        keys(inner, found);
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| keys(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_field_of_the_report_is_defined() {
        let mut fields = Vec::new();
        for report in [sample::replicated(), sample::overloaded(), sample::scaled()] {
            keys(&serde_json::to_value(report).unwrap(), &mut fields);
        }
        fields.sort();
        fields.dedup();
        let undefined: Vec<_> = fields.iter().filter(|f| !all().any(|m| m.fields.contains(&f.as_str()))).collect();
        assert!(undefined.is_empty(), "no definition of {undefined:?}");
        let unknown: Vec<_> = all().flat_map(|m| m.fields).filter(|f| !fields.iter().any(|k| k == *f)).collect();
        assert!(unknown.is_empty(), "defined, but in no report: {unknown:?}");
    }

    #[test]
    fn a_metric_is_found_by_any_of_its_words() {
        for word in ["ttft", "TTFT", "ttft_ms", "summary.ttft_ms.p95", "time to first token", "classes[].ttft_ms"] {
            assert_eq!(find(word).map(|m| m.name), Some("ttft"), "{word}");
        }
        for (column, name) in [("ttft_ms_p95", "ttft"), ("class_chat_ttft_ms_p95", "ttft"), ("cost_usd_per_hour", "usd_per_hour")] {
            assert_eq!(find(column).map(|m| m.name), Some(name), "{column}");
        }
        assert_eq!(find("no_such_figure"), None);
        assert_eq!(find("p95").map(|m| m.name), Some("quantiles"));
        assert_eq!(find("V_P").map(|m| m.name), Some("prefill_tokens_per_s"));
        assert_eq!(find("nonsense"), None);
        assert_eq!(suggestion("utilization_"), Some("utilization"));
    }

    #[test]
    fn no_word_means_two_things() {
        let mut words: Vec<_> = all().flat_map(|m| m.words().map(move |w| (w.to_ascii_lowercase(), m.name))).collect();
        words.sort();
        words.dedup();
        for pair in words.windows(2) {
            assert!(pair[0].0 != pair[1].0, "{} is {} and {}", pair[0].0, pair[0].1, pair[1].1);
        }
    }
}
