//! The requests that a cluster serves, out of all that its workload sends.

use std::cell::Cell;

use tokentide_models::units::Time;

use super::{Request, RequestSource};
use crate::engine::Outcome;
use crate::scenario::Serves;

/// Passes on what is served, until it is told to stop.
pub struct Served<'a, S> {
    source: &'a mut S,
    serves: &'a Serves,
    stop: &'a Cell<bool>,
    ahead: Option<Request>,
}

impl<'a, S: RequestSource> Served<'a, S> {
    /// What `serves` admits of `source`; nothing more once `stop` is set.
    pub fn new(source: &'a mut S, serves: &'a Serves, stop: &'a Cell<bool>) -> Served<'a, S> {
        Served { source, serves, stop, ahead: None }
    }

    /// The next one that is admitted, out of the source.
    fn find(&mut self) -> Option<Request> {
        while !self.stop.get() {
            let request = self.source.next()?;
            if self.serves.admits(&request) {
                return Some(request);
            }
        }
        None
    }
}

impl<S: RequestSource> RequestSource for Served<'_, S> {
    fn peek(&mut self) -> Option<Time> {
        if self.stop.get() {
            return None;
        }
        if self.serves.everybody() || self.source.feedback() {
            return self.source.peek();
        }
        if self.ahead.is_none() {
            self.ahead = self.find();
        }
        self.ahead.as_ref().map(|request| request.arrival)
    }

    fn next(&mut self) -> Option<Request> {
        if self.stop.get() {
            return None;
        }
        self.ahead.take().or_else(|| self.find())
    }

    fn feedback(&self) -> bool {
        self.source.feedback()
    }

    fn ended(&mut self, outcome: &Outcome, known: Time) {
        self.source.ended(outcome, known);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokentide_models::units::Time;

    use crate::engine::Outcome;
    use crate::run::{RunOptions, simulate};
    use crate::scenario::parse;

    /// A class that waits for answers beside one that does not.
    const MIXED: &str = r#"
duration = "2m"
model = { name = "llama-3.1-8b" }
gpu = { name = "h100-sxm" }
[[class]]
name = "agent"
arrivals = { rate = 0.2 }
session = { turns = 4, think = "5s" }
prompt = { user = 200 }
output = { tokens = 20 }
[[class]]
name = "chat"
arrivals = { rate = 3.0 }
prompt = { user = { median = 300, p95 = 900 } }
output = { tokens = 30 }
"#;

    /// Class, arrival and prompt length of what is served.
    fn served(set: &[(&str, &str)]) -> Vec<(u16, Time, u32)> {
        let set: Vec<(String, String)> = set.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect();
        let loaded = parse(MIXED, "mixed.toml", Path::new("."), &set).unwrap_or_else(|e| panic!("{e}"));
        let mut found = Vec::new();
        let mut keep = |outcome: &Outcome, _: &[String]| {
            let request = &outcome.request;
            found.push((request.class, request.arrival, request.input_tokens));
        };
        simulate(&loaded.scenario, None, RunOptions::default(), &|_| {}, Some(&mut keep)).expect("no trace to fail");
        found.sort();
        found
    }

    /// The source then waits for ends, and what is not served has none.
    #[test]
    fn classes_are_told_apart_beside_sessions() {
        let all = served(&[]);
        let chat = served(&[("cluster.serves.classes", "[\"chat\"]")]);
        assert!(chat.len() > 300 && chat == all.iter().filter(|request| request.0 == 1).copied().collect::<Vec<_>>());
        let agents = served(&[("cluster.serves.classes", "[\"agent\"]")]);
        assert!(agents.len() > 60 && agents.iter().all(|request| request.0 == 0), "{}", agents.len());
    }
}
