//! A recorded run of a real server, request by request: what came, and what was measured.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use flate2::read::GzDecoder;
use tokentide_models::units::Time;
use tokentide_sim::engine::Outcome;
use tokentide_sim::validate::stats::{Stats, error_percent};
use tokentide_sim::workload::{Prefix, Request};

use crate::small::request;

/// A row by column.
pub type Row = HashMap<String, String>;

/// Tokens of a block in the lists of blocks.
const BLOCK: u32 = 16;

/// The rows of a CSV file, gzipped or not.
pub fn rows(path: &Path) -> Vec<Row> {
    let file = BufReader::new(File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())));
    let reader: Box<dyn Read> =
        if path.extension().is_some_and(|ext| ext == "gz") { Box::new(GzDecoder::new(file)) } else { Box::new(file) };
    let mut reader = csv::Reader::from_reader(reader);
    reader.deserialize().map(|row| row.unwrap_or_else(|error| panic!("{}: {error}", path.display()))).collect()
}

/// A number of a row.
pub fn number(row: &Row, column: &str) -> f64 {
    row[column].parse().unwrap_or_else(|_| panic!("{column}: {:?} is no number", row[column]))
}

/// The requests of a run, arriving at the times in the column `arrival` [s], with the prefixes that its list of blocks knows.
pub fn requests(requests: &[Row], blocks: &[Row], arrival: &str) -> Vec<Request> {
    let chains: HashMap<&str, &str> = blocks.iter().map(|row| (row["request_id"].as_str(), row["block_ids"].as_str())).collect();
    let one = |(i, row): (usize, &Row)| {
        let (input, output) = (number(row, "input_tokens") as u32, number(row, "output_tokens") as u32);
        let chain = chains[row["request_id"].as_str()].split(';').take((input / BLOCK) as usize);
        let ids: Arc<[u64]> = chain.map(|id| id.parse().expect("a block's id")).collect();
        Request {
            arrival: Time((number(row, arrival) * 1e12).round() as u64),
            prefix: Prefix::Hashes { ids, block_tokens: BLOCK },
            ..request(i as u64, input, output)
        }
    };
    let mut list: Vec<Request> = requests.iter().enumerate().map(one).collect();
    list.sort_by_key(|request| (request.arrival, request.id));
    list
}

/// Latencies of a request [ms].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latency {
    /// From arrival to the first token.
    pub ttft: f64,
    /// Mean time from token to token.
    pub tpot: f64,
    /// From arrival to the last token.
    pub e2e: f64,
}

impl Latency {
    /// As a row says.
    pub fn measured(row: &Row) -> Latency {
        Latency { ttft: number(row, "ttft_ms"), tpot: number(row, "tpot_ms"), e2e: number(row, "e2e_ms") }
    }

    /// As a simulation has it.
    pub fn simulated(outcome: &Outcome) -> Latency {
        let ms = |from: Time, to: Time| (to - from).as_millis_f64();
        let first = outcome.first_token.expect("the request was served");
        let gaps = f64::from(outcome.output_tokens - 1);
        let arrival = outcome.request.arrival;
        Latency { ttft: ms(arrival, first), tpot: ms(first, outcome.ended) / gaps, e2e: ms(arrival, outcome.ended) }
    }
}

/// One figure of a request's latencies.
pub type Figure = fn(&Latency) -> f64;

/// The figures compared, by name.
pub const FIGURES: [(&str, Figure); 3] = [("TTFT", |l| l.ttft), ("TPOT", |l| l.tpot), ("e2e", |l| l.e2e)];

/// Mean absolute relative error per request [%].
pub fn per_request(pairs: &[(Latency, Latency)], figure: Figure) -> f64 {
    100.0 * pairs.iter().map(|(mine, real)| (figure(mine) / figure(real) - 1.0).abs()).sum::<f64>() / pairs.len() as f64
}

/// Signed errors [%] of mean, median, 90th and 99th percentile.
pub fn errors(pairs: &[(Latency, Latency)], figure: Figure) -> [f64; 4] {
    let stats = |values: Vec<f64>| {
        let Stats { mean, p50, p90, p99, .. } = Stats::of(&values).expect("there are requests");
        [mean, p50, p90, p99]
    };
    let mine = stats(pairs.iter().map(|p| figure(&p.0)).collect());
    let real = stats(pairs.iter().map(|p| figure(&p.1)).collect());
    std::array::from_fn(|i| error_percent(mine[i], real[i]).expect("latencies are above zero"))
}
