//! Which requests: those that have all the labels that are asked for.

use tokentide_sim::scenario::file::check::WhereFile;
use tokentide_sim::scenario::{Scenario, did_you_mean};
use tokentide_sim::workload::Request;

use crate::metric::Narrowing;

/// Requests by their labels; the default is all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selection {
    /// Of this class.
    pub class: Option<String>,
    /// Of this tenant.
    pub tenant: Option<String>,
    /// Of this route.
    pub route: Option<String>,
    /// Of this bucket of prompt lengths.
    pub input_bucket: Option<String>,
}

impl Selection {
    /// The requests of a class.
    pub fn class(name: &str) -> Selection {
        Selection { class: Some(name.to_owned()), ..Selection::default() }
    }

    /// The requests of a bucket of prompt lengths.
    pub fn bucket(name: &str) -> Selection {
        Selection { input_bucket: Some(name.to_owned()), ..Selection::default() }
    }

    /// Those that a check names.
    pub fn of(file: &WhereFile) -> Selection {
        let text = |label: &Option<tokentide_sim::scenario::at::At<String>>| label.as_ref().map(|l| l.to_string());
        Selection {
            class: text(&file.class),
            tenant: text(&file.tenant),
            route: text(&file.route),
            input_bucket: text(&file.input_bucket),
        }
    }

    /// All of them.
    pub fn is_all(&self) -> bool {
        *self == Selection::default()
    }

    /// What a metric must allow to be narrowed to it.
    pub fn narrowing(&self) -> Narrowing {
        match self {
            all if all.is_all() => Narrowing::No,
            Selection { class: Some(_), tenant: None, route: None, input_bucket: None } => Narrowing::Class,
            _ => Narrowing::Requests,
        }
    }

    /// In words, such as `class rag, tenant acme`; empty for all.
    pub fn label(&self) -> String {
        let parts = [("class", &self.class), ("tenant", &self.tenant), ("route", &self.route), ("input", &self.input_bucket)];
        let named: Vec<String> = parts.iter().filter_map(|(key, value)| Some(format!("{key} {}", value.as_ref()?))).collect();
        named.join(", ")
    }

    /// Ready to be held against the requests of `scenario`; why not, if it has no such class or bucket.
    ///
    /// # Errors
    /// What the scenario does not have, and what it has.
    pub fn resolve(&self, scenario: &Scenario) -> Result<Filter, (String, Option<String>)> {
        let class = match &self.class {
            None => None,
            Some(name) => Some(position("class", name, scenario.classes.iter().map(|c| c.name.clone()).collect())? as u16),
        };
        let input = match &self.input_bucket {
            None => None,
            Some(name) => {
                let names = bucket_names(&scenario.input_buckets);
                let i = position("input bucket", name, names)?;
                let from = if i == 0 { 0 } else { scenario.input_buckets[i - 1] + 1 };
                Some((from, scenario.input_buckets.get(i).copied().unwrap_or(u32::MAX)))
            }
        };
        Ok(Filter { class, input, tenant: self.tenant.clone(), route: self.route.clone() })
    }
}

/// Index of `name` in `names`, or what there is instead.
fn position(what: &str, name: &str, names: Vec<String>) -> Result<usize, (String, Option<String>)> {
    names.iter().position(|n| n == name).ok_or_else(|| {
        let help = match did_you_mean(name, names.iter().map(String::as_str)) {
            Some(best) => format!("did you mean \"{best}\"?"),
            None if names.is_empty() => format!("it has no {what} at all"),
            None => format!("it has {}", names.join(", ")),
        };
        (format!("there is no {what} \"{name}\""), Some(help))
    })
}

/// The names of buckets, as in reports.
pub fn bucket_names(bounds: &[u32]) -> Vec<String> {
    let from = |i: usize| if i == 0 { 0 } else { bounds[i - 1] + 1 };
    (0..=bounds.len())
        .map(|i| match bounds.get(i) {
            Some(to) => format!("{}-{to}", from(i)),
            None => format!("{}+", from(i)),
        })
        .collect()
}

/// A selection, resolved for one scenario.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    class: Option<u16>,
    tenant: Option<String>,
    route: Option<String>,
    input: Option<(u32, u32)>,
}

impl Filter {
    /// No request at all.
    pub fn nothing() -> Filter {
        Filter { input: Some((1, 0)), ..Filter::default() }
    }

    /// Whether it has `request`, whose tenant and route are indices of `labels`.
    pub fn admits(&self, request: &Request, labels: &[String]) -> bool {
        let label = |wanted: &Option<String>, index: u16| {
            wanted.as_ref().is_none_or(|wanted| labels.get(usize::from(index)).is_some_and(|has| has == wanted))
        };
        self.class.is_none_or(|class| request.class == class)
            && self.input.is_none_or(|(from, to)| (from..=to).contains(&request.input_tokens))
            && label(&self.tenant, request.tenant)
            && label(&self.route, request.route)
    }
}
