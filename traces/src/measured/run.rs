//! What a benchmark measured, whatever the tool: one row per request.

use serde::Serialize;

use crate::document::Node;

/// One request as it was measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MeasuredRequest {
    /// Name in the file, or its row.
    pub id: String,
    /// Submission [s] from any origin; `None` where the file has no times.
    pub arrival_s: Option<f64>,
    /// Prompt [tokens].
    pub input_tokens: u32,
    /// Answer [tokens].
    pub output_tokens: u32,
    /// Submission to first token [ms].
    pub ttft_ms: Option<f64>,
    /// (last - first token) / (output - 1) [ms]; `None` for one token.
    pub tpot_ms: Option<f64>,
    /// Submission to last token [ms].
    pub e2e_ms: Option<f64>,
    /// Gaps between consecutive tokens, where the tool recorded them [ms].
    pub itl_ms: Vec<f64>,
    /// It contains the server's warm-up: left out of the statistics of TTFT.
    pub cold: bool,
    /// Identities of the prompt's full blocks, for exact replay of the prefix cache; empty if unknown.
    pub blocks: Vec<u64>,
}

/// How requests were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pacing {
    /// At their recorded times.
    Recorded,
    /// So many clients, each sending the next request of the list when its last one has ended.
    Closed(u32),
}

/// A request that got no answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FailedRequest {
    /// Submission [s], from the origin of the others.
    pub arrival_s: f64,
    /// Prompt [tokens].
    pub input_tokens: u32,
}

/// A benchmark with all its requests.
#[derive(Clone, Debug)]
pub struct Run {
    /// Format of the file, as users call it.
    pub format: &'static str,
    /// In order of submission.
    pub requests: Vec<MeasuredRequest>,
    /// How they were sent.
    pub pacing: Pacing,
    /// Tokens per identity of `blocks`.
    pub block_tokens: u32,
    /// Rows that are not in `requests`, and why.
    pub left_out: Vec<LeftOut>,
    /// Those of them that failed, and of which the file says when they came and how long they were.
    pub failed: Vec<FailedRequest>,
}

impl Run {
    /// Why a failed request is left out.
    pub const FAILED: &str = "failed: no answer";

    /// A run without requests yet, of blocks of 16 tokens.
    pub fn new(format: &'static str, pacing: Pacing) -> Run {
        Run { format, requests: Vec::new(), pacing, block_tokens: 16, left_out: Vec::new(), failed: Vec::new() }
    }

    /// Leaves out a request that got no answer. Its time, of so many units `per_second`, and its length are what the file says of
    /// them, if it does.
    pub fn leave_out_failed(&mut self, sent: Option<Node<'_>>, per_second: f64, input: Option<Node<'_>>) {
        LeftOut::count(&mut self.left_out, Run::FAILED);
        let arrival_s = sent.and_then(|sent| sent.number().ok()).map(|sent| sent / per_second);
        let input = input.and_then(|input| input.count(1).ok());
        self.failed.extend(arrival_s.zip(input).map(|(arrival_s, input_tokens)| FailedRequest { arrival_s, input_tokens }));
    }

    /// The same run in units of `unit` seconds. A server that is slower than another by some factor in everything is that other one
    /// under a load that comes faster by it, seen by a clock that runs slower: so a run is corrected for how slow its server was.
    pub fn in_units_of(&self, unit: f64) -> Run {
        let mut run = self.clone();
        for r in &mut run.requests {
            for time in [&mut r.arrival_s, &mut r.ttft_ms, &mut r.tpot_ms, &mut r.e2e_ms] {
                *time = time.map(|time| time / unit);
            }
            r.itl_ms.iter_mut().for_each(|gap| *gap /= unit);
        }
        run.failed.iter_mut().for_each(|request| request.arrival_s /= unit);
        run
    }
}

/// Rows left out of a comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Why.
    pub reason: String,
    /// How many.
    pub rows: usize,
}

impl LeftOut {
    /// Counts one more row of `reason`; the list stays in order of first mention.
    pub fn count(list: &mut Vec<LeftOut>, reason: &str) {
        match list.iter_mut().find(|l| l.reason == reason) {
            Some(known) => known.rows += 1,
            None => list.push(LeftOut { reason: reason.to_owned(), rows: 1 }),
        }
    }
}
