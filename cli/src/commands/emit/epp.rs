//! The two constants that an endpoint picker (llm-d, Gateway API Inference Extension) has to be told of a replica.

use super::peak::Peak;
use super::{Job, head};
use crate::text::units::digits;

/// Both, as YAML.
pub fn text(job: &Job, peak: &Peak) -> String {
    let mut lines = vec![head::fingerprint(&job.loaded.scenario, &peak.report.fingerprint)];
    lines.extend(head::found(peak));
    lines.push("Both change with the GPU, the model and the prompts: write them anew then.".to_owned());
    let concurrency = peak.in_flight.p95.floor().max(1.0);
    format!(
        "{}# Prompt tokens per second that a replica computes with nothing else to do (V_P)\npeakPrefillThroughput: {:.0}\n\
         # Requests in flight that a replica has at most in 95 % of the time under the highest load that meets all targets ({})\n\
         maxConcurrency: {concurrency}\n",
        head::commented(&lines),
        peak.prefill_tokens_per_s,
        digits(peak.in_flight.p95),
    )
}
