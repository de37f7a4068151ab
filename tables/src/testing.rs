//! What the tests of this crate share.

use std::path::PathBuf;

use tokentide_models::units::Time;
use tokentide_sim::engine::{Finish, Outcome};
use tokentide_sim::workload::{Prefix, Request};

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
        finish: Finish::Stop,
        scheduled: Some(at(10)),
        first_token: Some(at(100)),
        ended: at(300),
        output_tokens: 11,
        cached_tokens: 0,
        preemptions: 2,
    }
}
