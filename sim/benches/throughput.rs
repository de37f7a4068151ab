//! How fast the engine is: requests per CPU-second of one thread, from drawing the requests to the finished report.
//!
//! `cargo bench -p tokentide-sim` runs every case; `-- 40000000 chat-1` one case of so many requests. Loads are 85 % of the
//! analytic knee.

use std::path::Path;

use cpu_time::ThreadTime;
use tokentide_sim::run::{RunOptions, simulate};
use tokentide_sim::scenario;

struct Case {
    name: &'static str,
    lengths: &'static str,
    engine: &'static str,
    replicas: u32,
}

const CHAT: &str = "prompt = { user = { median = 121, p95 = 700 } }\noutput = { tokens = { median = 134, p95 = 600 } }";
const REASONING: &str = "prompt = { user = { median = 403, p95 = 2500 } }\noutput = { tokens = { median = 2981, p95 = 9000 } }";
const SHARED: &str =
    "prompt = { system = 700, user = { median = 121, p95 = 700 } }\noutput = { tokens = { median = 134, p95 = 600 } }";
const OFF: &str = "enable_prefix_caching = false";
const ON: &str = "enable_prefix_caching = true";

const CASES: [Case; 6] = [
    Case { name: "chat-1", lengths: CHAT, engine: OFF, replicas: 1 },
    Case { name: "chat-16", lengths: CHAT, engine: OFF, replicas: 16 },
    Case { name: "reasoning-1", lengths: REASONING, engine: OFF, replicas: 1 },
    Case { name: "reasoning-16", lengths: REASONING, engine: OFF, replicas: 16 },
    Case { name: "shared-prompt-1", lengths: SHARED, engine: ON, replicas: 1 },
    Case { name: "shared-prompt-16", lengths: SHARED, engine: ON, replicas: 16 },
];

fn text(case: &Case, rate: f64, requests: u64) -> String {
    format!(
        "name = \"{}\"\nrequests = {requests}\n[model]\nname = \"llama-3.1-8b\"\n[gpu]\nname = \"h100-sxm\"\n[engine]\n\
         {}\nmax_model_len = 32768\n\
         [cluster]\nreplicas = {}\nrouter = \"least-tokens\"\n[[class]]\nname = \"all\"\n\
         arrivals = {{ process = \"poisson\", rate = {rate} }}\n{}\n",
        case.name, case.engine, case.replicas, case.lengths
    )
}

fn run(case: &Case, rate: f64, requests: u64) -> (tokentide_sim::report::Report, f64) {
    let text = text(case, rate, requests);
    let loaded = scenario::parse(&text, "bench.toml", Path::new("."), &[]).unwrap_or_else(|e| panic!("{e}"));
    let start = ThreadTime::now();
    let report = simulate(&loaded.scenario, None, RunOptions::default(), &|_| {}, None).expect("no trace to fail on");
    (report, start.elapsed().as_secs_f64())
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let requests = args.iter().find_map(|a| a.parse().ok()).unwrap_or(1_000_000);
    let wanted = |name: &str| args.iter().all(|a| a.parse::<u64>().is_ok() || name.contains(a.as_str()));
    println!(
        "{:<18} {:>10} {:>12} {:>14} {:>7} {:>12} {:>12}",
        "case", "requests", "steps", "output tokens", "load", "CPU s", "requests/s"
    );
    for case in CASES.iter().filter(|c| wanted(c.name)) {
        let probe = run(case, f64::from(case.replicas), 20_000).0;
        let rate = 0.85 * probe.summary.capacity.knee_requests_per_s;
        let (report, cpu) = run(case, rate, requests);
        let s = &report.summary;
        println!(
            "{:<18} {:>10} {:>12} {:>14} {:>12} {:>6.1}% {:>8.2} {:>12.0}",
            case.name,
            s.requests.total,
            s.iterations,
            s.output_tokens,
            s.preemptions,
            100.0 * s.capacity.load,
            cpu,
            s.requests.total as f64 / cpu
        );
    }
}
