//! Tests of the scenario as a whole: what is typed, what it means, and what is said when it is wrong.

mod dynamics;
mod errors;
mod overrides;
mod prompts;
mod scheduler;
mod schema;
mod sections;

use std::path::Path;

use super::{Loaded, Scenario, ScenarioError, parse};

/// The example of the documentation, with a horizon.
const EXAMPLE: &str = r#"name = "support-rag"
duration = "10m"

[model]
name = "llama-3.1-8b"                    # catalogue, or config = "path/to/config.json"
[gpu]
name = "h100-sxm"
tensor_parallel = 1
[engine]                                 # vLLM's own names
max_num_seqs = 256
max_num_batched_tokens = 8192
gpu_memory_utilization = 0.9
[cluster]
replicas = 4
router = "least-tokens"

[[class]]
name = "rag-chat"
arrivals = { process = "gamma", rate = 6.0, cv = 1.5 }
slo = { ttft_p95 = "800ms", tpot_p95 = "50ms" }
[class.prompt]                           # where the input tokens come from
system = 700
history = { median = 900, p95 = 4000 }
retrieved = { top_k = 4, chunk = 500 }
user = { median = 25, p95 = 120 }
[class.output]
max_tokens = 1024
tokens = { median = 220, p95 = 900 }
"#;

/// The sections that every small test needs; class keys come behind.
const BASE: &str = r#"duration = "10m"
model = { name = "llama-3.1-8b" }
gpu = { name = "h100-sxm" }
"#;

/// A complete class, on one line each.
const CLASS: &str = r#"[[class]]
name = "a"
arrivals = { rate = 1.0 }
prompt = { user = 100 }
output = { tokens = 50 }
"#;

fn load(text: &str) -> Result<Loaded, Vec<ScenarioError>> {
    parse(text, "test.toml", Path::new("."), &[]).map_err(|errors| errors.0)
}

/// A scenario that must be right.
fn right(text: &str) -> Scenario {
    load(text).unwrap_or_else(|errors| panic!("{}", super::ScenarioErrors(errors))).scenario
}

/// The errors of a scenario that must be wrong.
fn wrong(text: &str) -> Vec<ScenarioError> {
    load(text).err().expect("the scenario has no error")
}

/// `BASE`, `top`, and a class of which `line` replaces the line with the same key, or is added.
fn with_class(line: &str) -> String {
    let key = line.split(' ').next().unwrap_or_default();
    let kept: String = CLASS.lines().filter(|l| !l.starts_with(&format!("{key} "))).map(|l| format!("{l}\n")).collect();
    format!("{BASE}{kept}{line}\n")
}

/// `BASE` with `lines` put before a complete class.
fn with_section(lines: &str) -> String {
    format!("{BASE}{lines}\n{CLASS}")
}
