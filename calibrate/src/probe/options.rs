//! What a probe is asked to do.

use std::path::PathBuf;
use std::time::Duration;

/// What to measure, how long, and where to write it.
#[derive(Clone, Debug)]
pub struct ProbeOptions {
    /// Root of the server, such as `http://localhost:8000`.
    pub url: String,
    /// Name of the model; the first of `/v1/models` if absent.
    pub model: Option<String>,
    /// Bearer key; it is sent to the server and written nowhere.
    pub api_key: Option<String>,
    /// Time for everything.
    pub budget: Duration,
    /// The log.
    pub log: PathBuf,
    /// Whether to go on with a log that is there.
    pub resume: bool,
    /// Of order, lengths and arrivals.
    pub seed: u64,
    /// Token ids of prompts: from the first up to, not including, the second.
    pub vocab: (u32, u32),
    /// The server's, if it does not tell it [tokens].
    pub max_model_len: Option<u32>,
    /// The server's; measured if absent [tokens].
    pub max_num_batched_tokens: Option<u32>,
    /// The server's; measured if absent.
    pub max_num_seqs: Option<u32>,
    /// Decodes at once, at most.
    pub max_batch: u32,
    /// Longest prompt [tokens].
    pub max_prompt: u32,
    /// Of the capacity found, for the open-loop run.
    pub load: f64,
    /// Mean prompt of the open-loop run [tokens].
    pub input_mean: f64,
    /// Mean answer of the open-loop run [tokens].
    pub output_mean: f64,
    /// A point is repeated until the 95 % interval of its figure is within this share of it.
    pub precision: f64,
    /// A read of nothing for so long is an error.
    pub patience: Duration,
    /// Release of the program, for the log.
    pub program: String,
}

impl ProbeOptions {
    /// The usual ones, for the server at `url` and a log at `log`.
    pub fn new(url: impl Into<String>, log: impl Into<PathBuf>) -> ProbeOptions {
        ProbeOptions {
            url: url.into(),
            model: None,
            api_key: None,
            budget: Duration::from_secs(300),
            log: log.into(),
            resume: false,
            seed: 42,
            vocab: (1000, 4000),
            max_model_len: None,
            max_num_batched_tokens: None,
            max_num_seqs: None,
            max_batch: 256,
            max_prompt: 16_384,
            load: 0.5,
            input_mean: 512.0,
            output_mean: 128.0,
            precision: 0.02,
            patience: Duration::from_secs(120),
            program: concat!("tokentide ", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}
