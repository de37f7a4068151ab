//! Open-loop load of its own, so that what is predicted was not measured by the program that predicts.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rand::RngExt;
use tokentide_sim::stream::{Purpose, Stream};
use tokentide_sim::validate::measured::MeasuredRequest;

use super::server::Server;

/// Token ids of prompts: words of the tiny model's vocabulary, the special ones left out.
const IDS: std::ops::Range<u32> = 4..4096;

/// A request to send.
#[derive(Clone, Copy, Debug)]
pub struct Planned {
    /// When, from the start.
    pub at: Duration,
    /// Prompt [tokens].
    pub input: u32,
    /// Answer [tokens].
    pub output: u32,
}

/// Sends all requests at their times, a thread each, with prompts of random ids, and returns what was measured in the same order.
pub fn run(server: &Server, plan: &[Planned], seed: u64) -> Vec<MeasuredRequest> {
    let random = |index| Stream::new(seed, Purpose::Lengths, 0, index);
    let bodies: Vec<String> = plan.iter().zip(0..).map(|(planned, index)| body(planned, random(index))).collect();
    let start = Instant::now() + Duration::from_millis(500);
    std::thread::scope(|scope| {
        let one = |(index, (planned, body)): (usize, (&Planned, &String))| {
            let (planned, body) = (*planned, body.clone());
            scope.spawn(move || {
                std::thread::sleep((start + planned.at).saturating_duration_since(Instant::now()));
                measure(index, &planned, start, || server.send("POST", "/v1/completions", &body))
            })
        };
        let threads: Vec<_> = plan.iter().zip(&bodies).enumerate().map(one).collect();
        threads.into_iter().map(|thread| thread.join().expect("its panic is above")).collect()
    })
}

fn body(planned: &Planned, mut random: Stream) -> String {
    let mut ids = String::new();
    for _ in 0..planned.input {
        let _ = write!(ids, "{},", random.random_range(IDS));
    }
    ids.pop();
    super::completion(&ids, planned.output)
}

/// Sends a request and takes the times of its first and last token as they come.
fn measure(index: usize, planned: &Planned, start: Instant, send: impl Fn() -> TcpStream) -> MeasuredRequest {
    let sent = Instant::now();
    let (mut first, mut last, mut all) = (None, sent, String::new());
    let mut lines = BufReader::new(send());
    let mut line = String::new();
    while lines.read_line(&mut line).expect("the answer goes on to its end") > 0 {
        // A token, with the count of them so far. The last event counts them once more, and has none.
        if line.starts_with("data: ") && line.contains("\"text\"") {
            last = Instant::now();
            first.get_or_insert(last);
        }
        all.push_str(&line);
        line.clear();
    }
    let counted = format!("\"completion_tokens\":{}}}", planned.output);
    assert!(all.starts_with("HTTP/1.1 200 ") && all.contains(&counted), "request {index} went wrong:\n{all}");
    let ms = |from: Instant, to: Instant| (to - from).as_secs_f64() * 1e3;
    let first = first.expect("it has a token");
    MeasuredRequest {
        id: index.to_string(),
        arrival_s: Some((sent - start).as_secs_f64()),
        input_tokens: planned.input,
        output_tokens: planned.output,
        ttft_ms: Some(ms(sent, first)),
        tpot_ms: (planned.output > 1).then(|| ms(first, last) / f64::from(planned.output - 1)),
        e2e_ms: Some(ms(sent, last)),
        ..MeasuredRequest::default()
    }
}
