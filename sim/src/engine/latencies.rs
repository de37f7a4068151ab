//! Latencies of a request, by the definitions that all outputs share.

use super::Outcome;

/// Latencies of one outcome [ps], as far as it has them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latencies {
    /// Arrival to first scheduling.
    pub queue: Option<u64>,
    /// Arrival to first token.
    pub ttft: Option<u64>,
    /// Time per output token: of completed requests of more than one token.
    pub tpot: Option<u64>,
    /// Arrival to last token: of completed requests.
    pub e2e: Option<u64>,
}

impl Latencies {
    /// Those of `outcome`.
    pub fn of(outcome: &Outcome) -> Latencies {
        let arrival = outcome.request.arrival;
        let completed = outcome.finish.completed();
        let tokens = u64::from(outcome.output_tokens);
        let tpot = match outcome.first_token {
            Some(first) if completed && tokens > 1 => Some((outcome.ended - first).0 / (tokens - 1)),
            _ => None,
        };
        Latencies {
            queue: outcome.scheduled.map(|t| (t - arrival).0),
            ttft: outcome.first_token.map(|t| (t - arrival).0),
            tpot,
            e2e: completed.then(|| (outcome.ended - arrival).0),
        }
    }
}
