//! Rules that give a kernel its class by its name.

use std::path::Path;

use regex::RegexSet;
use serde::Deserialize;

use super::class::Class;
use crate::CalibrateError;

/// The rules that come with the program.
const SHIPPED: &str = include_str!("../../data/kernel_classes.toml");

/// Ordered rules: the first pattern found in a name decides.
#[derive(Clone, Debug)]
pub struct Rules {
    patterns: RegexSet,
    /// Class of each pattern.
    classes: Vec<Class>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rule: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    class: String,
    r#match: Vec<String>,
}

impl Rules {
    /// The shipped rules, after those of `own`, a TOML file like `calibrate/data/kernel_classes.toml`, if one is given.
    ///
    /// # Errors
    ///
    /// [`CalibrateError::Open`] if the file cannot be read, [`CalibrateError::Value`] for TOML that is none, a class that is none,
    /// a pattern that is no regular expression, or a file without a rule.
    pub fn new(own: Option<&Path>) -> Result<Rules, CalibrateError> {
        let mut pairs = Vec::new();
        if let Some(path) = own {
            let shown = path.display().to_string();
            let text = std::fs::read_to_string(path).map_err(|source| CalibrateError::Open { path: shown.clone(), source })?;
            let read = parse(&text).and_then(|pairs| if pairs.is_empty() { Err("has no [[rule]]".into()) } else { Ok(pairs) });
            pairs.extend(read.map_err(|message| CalibrateError::Value { path: shown, message })?);
        }
        pairs.extend(parse(SHIPPED).expect("data/kernel_classes.toml is well formed"));
        let patterns = RegexSet::new(pairs.iter().map(|(_, pattern)| pattern)).expect("each was compiled alone");
        Ok(Rules { patterns, classes: pairs.into_iter().map(|(class, _)| class).collect() })
    }

    /// Class of the kernel of this name; `None` if no rule knows it.
    pub fn class(&self, name: &str) -> Option<Class> {
        self.patterns.matches(name).iter().next().map(|first| self.classes[first])
    }
}

/// Classes and patterns, in order.
fn parse(text: &str) -> Result<Vec<(Class, String)>, String> {
    let File { rule } = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
    let mut pairs = Vec::new();
    for (i, Rule { class, r#match }) in rule.into_iter().enumerate() {
        let known = || Class::ALL.map(Class::name).join(", ");
        let class =
            Class::named(&class).ok_or_else(|| format!("rule {}: class `{class}` is none; known are {}", i + 1, known()))?;
        for pattern in r#match {
            regex::Regex::new(&pattern)
                .map_err(|error| format!("rule {}: match `{pattern}` is no regular expression: {error}", i + 1))?;
            pairs.push((class, pattern));
        }
    }
    Ok(pairs)
}

/// A pattern that finds `name` whatever its arguments and template parameters are, which change from launch to launch.
pub fn pattern_of(name: &str) -> String {
    let plain = name.strip_prefix("void ").unwrap_or(name).replace("(anonymous namespace)::", "").replace("<unnamed>::", "");
    let stem = plain.split(['<', '(']).next().unwrap_or_default().trim();
    regex::escape(if stem.is_empty() { name } else { stem })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("tokentide-rules-{}-{name}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn own_rules_come_first() {
        let path = file("own", &format!("[[rule]]\nclass = \"norm\"\nmatch = ['{}']\n", pattern_of("void my::nvjet_like<3>(int)")));
        let (own, shipped) = (Rules::new(Some(&path)).unwrap(), Rules::new(None).unwrap());
        std::fs::remove_file(path).unwrap();
        assert_eq!(own.class("void my::nvjet_like<4>(int)"), Some(Class::Norm));
        assert_eq!((shipped.class("my::nvjet_like"), own.class("nvjet_tst_8x64")), (None, Some(Class::Gemm)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, says) in [
            ("", "has no [[rule]]"),
            ("[[rule]]\nclass = \"gems\"\nmatch = ['a']", "class `gems` is none; known are gemm, attention_prefill"),
            ("[[rule]]\nclass = \"gemm\"\nmatch = ['a(']", "match `a(` is no regular expression"),
            ("[[rule]]\nclass = \"gemm\"\npattern = ['a']", "unknown field `pattern`"),
        ] {
            let path = file("wrong", text);
            let message = Rules::new(Some(&path)).unwrap_err().to_string();
            assert!(message.contains(says) && message.contains("wrong.toml"), "{message}");
        }
        assert!(Rules::new(Some(Path::new("nowhere.toml"))).unwrap_err().to_string().contains("nowhere.toml"));
    }
}
