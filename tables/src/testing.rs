//! What the tests of this crate share.

use std::path::PathBuf;

use tokentide_models::units::Time;
use tokentide_sim::engine::{Finish, Outcome};
use tokentide_sim::scenario::Scenario;
use tokentide_sim::workload::trace::TraceRow;
use tokentide_sim::workload::{Prefix, Request};
use tokentide_sweep::axis::Axis;
use tokentide_sweep::design::Design;
use tokentide_sweep::point::Seeds;
use tokentide_sweep::sweep::{Base, Surroundings, Sweep};

use crate::Labels;

/// A folder of its own, removed at the end.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new(name: &str) -> TempDir {
        let dir = std::env::temp_dir().join(format!("tokentide-tables-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        TempDir(dir)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn labels() -> Labels {
    Labels {
        model: "llama-3.1-8b".to_owned(),
        model_version: None,
        deployment: "h100-sxm tp1".to_owned(),
        classes: vec!["chat".to_owned()],
        strings: vec!["acme".to_owned()],
    }
}

/// Arrives at 1.5 s + id, runs after 10 ms, first token after 100 ms, the last of 11 after 300 ms.
pub(crate) fn outcome(id: u64) -> Outcome {
    let at = |ms: u64| Time((1_500 + 1_000 * id + ms) * 1_000_000_000);
    Outcome {
        request: Request {
            id,
            arrival: at(0),
            class: 0,
            tenant: 0,
            route: u16::MAX,
            priority: 0,
            input_tokens: 1000,
            output_tokens: 11,
            max_tokens: u32::MAX,
            deadline: Time::NEVER,
            session: Some((7, 1)),
            prefix: Prefix::None,
            private: id,
            private_reused: false,
            sources: [900, 0, 0, 0, 0, 100, 0, 0],
        },
        replica: 0,
        rank: 0,
        finish: Finish::Stop,
        queued: None,
        scheduled: Some(at(10)),
        first_token: Some(at(100)),
        ended: at(300),
        output_tokens: 11,
        cached_tokens: 0,
        preemptions: 2,
    }
}

/// Ten seconds of a small model, for tests that run many.
const SCENARIO: &str = r#"
duration = "10s"
[model]
name = "llama-3.1-8b"
[gpu]
name = "h100-sxm"
[[class]]
name = "chat"
arrivals = { process = "poisson", rate = 2.0 }
slo = { ttft_p95 = "1s" }
prompt = { user = 100 }
output = { tokens = 20 }
"#;

struct Plain;

impl Surroundings for Plain {
    fn rows(&self, _: &Scenario) -> Result<Option<std::sync::Arc<Vec<TraceRow>>>, String> {
        Ok(None)
    }

    fn toml(&self, _: &str, value: &toml::Value) -> Result<String, String> {
        Ok(value.to_string())
    }
}

/// A sweep over a small scenario, two runs of each point. `changes` are those that every point has.
pub(crate) fn sweep_of(axes: &[&str], changes: &[(&str, &str)], look: impl FnOnce(&Sweep)) {
    let axes: Vec<Axis> = axes.iter().map(|axis| Axis::parse(axis).unwrap()).collect();
    let design = Design::new(&axes, Vec::new(), None).unwrap();
    let overrides = changes.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect();
    let base = Base { text: SCENARIO.to_owned(), filename: "s.toml".to_owned(), folder: ".".into(), overrides };
    look(&Sweep::new(base, design, 2, Seeds::Derived, Box::new(Plain)).unwrap());
}
