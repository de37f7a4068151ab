//! The requests of a scenario without any server: what arrives, as if every answer came at once.

use tokentide_models::units::Time;
use tokentide_sim::engine::{Finish, Outcome};
use tokentide_sim::run::RunError;
use tokentide_sim::scenario::{Arrivals, Scenario};
use tokentide_sim::workload::generator::Generator;
use tokentide_sim::workload::trace::{TraceRow, TraceSource};
use tokentide_sim::workload::{Request, RequestSource};

/// Whether the requests can be known without a simulation: those of clients in a closed loop come as fast as they are answered.
pub fn is_known(scenario: &Scenario) -> bool {
    scenario.trace.is_some() || !scenario.classes.iter().any(|class| matches!(class.arrivals, Some(Arrivals::Closed { .. })))
}

/// Visits every request that is served and counted, with the names that tenant and route index, and tokens of its answer: `None`
/// if its prompt does not fit the context. Of conversations that the horizon cuts, more turns may arrive than with real answers,
/// which take time. Returns the hash of the trace, if one is replayed.
///
/// # Errors
/// If the trace cannot be read.
pub fn play(
    scenario: &Scenario,
    rows: Option<&[TraceRow]>,
    mut visit: impl FnMut(&Request, &[String], Option<u32>),
) -> Result<Option<String>, RunError> {
    let Some(config) = &scenario.trace else {
        let mut source = Generator::new(scenario);
        let labels = source.labels().to_vec();
        drive(scenario, &mut source, &labels, &mut visit);
        return Ok(None);
    };
    let mut source = match rows {
        Some(rows) => TraceSource::from_rows(rows.iter().cloned(), config, scenario)?,
        None => TraceSource::open(config, scenario)?,
    };
    let labels = source.labels().to_vec();
    drive(scenario, &mut source, &labels, &mut visit);
    match source.failure() {
        Some(failure) => Err(failure.clone().into()),
        None => Ok(Some(format!("{:016x}", source.summary().content_hash))),
    }
}

fn drive(
    scenario: &Scenario,
    source: &mut impl RequestSource,
    labels: &[String],
    visit: &mut impl FnMut(&Request, &[String], Option<u32>),
) {
    while let Some(request) = source.next() {
        let answer = answer(scenario, &request);
        let counted = request.arrival >= scenario.warmup && request.arrival < Time::NEVER;
        if counted && scenario.serves.admits(&request) {
            visit(&request, labels, answer);
        }
        if source.feedback() {
            let now = request.arrival;
            let outcome = Outcome {
                request,
                replica: 0,
                rank: 0,
                finish: if answer.is_some() { Finish::Stop } else { Finish::RejectedContext },
                queued: None,
                scheduled: Some(now),
                first_token: Some(now),
                ended: now,
                output_tokens: answer.unwrap_or(0),
                cached_tokens: 0,
                preemptions: 0,
            };
            source.ended(&outcome, now);
        }
    }
}

/// Tokens of the answer under the engine's limits; `None` if the prompt leaves no room for any.
pub fn answer(scenario: &Scenario, request: &Request) -> Option<u32> {
    let room = scenario.engine.max_model_len.checked_sub(request.input_tokens).filter(|room| *room > 0)?;
    Some(request.output_tokens.min(request.max_tokens.min(room)))
}
