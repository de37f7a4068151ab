//! A point of the experiment, as it is planned.

use std::time::Duration;

use crate::observation::PointKind;

/// One setting, to be repeated.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Such as `decode/8x512`.
    pub name: String,
    /// What it measures.
    pub kind: PointKind,
    /// Decodes kept running, or clients of a closed loop; 0 if none.
    pub batch: u32,
    /// Prompt of each decode, or of prefills [tokens].
    pub context: u32,
    /// Offered load [requests/s].
    pub rate: Option<f64>,
    /// What is sent when.
    pub shape: Shape,
}

/// What is sent when.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Prompts of `context` tokens, one after the other, one output token each.
    Alone {
        /// How many.
        count: u32,
    },
    /// `batch` requests at once.
    Together {
        /// Answer of each [tokens].
        output: u32,
    },
    /// `batch` requests at once; when all of them decode, prompts one by one.
    Injected {
        /// Answer of each of the first [tokens].
        output: u32,
        /// The prompts, in order [tokens]; one output token each.
        prompts: Vec<u32>,
        /// From a prompt's token to the next prompt.
        pause: Duration,
    },
    /// `batch` clients, each sending its next request when its last one ended.
    Closed {
        /// Prompts and answers, taken in order [tokens].
        lengths: Vec<(u32, u32)>,
        /// Nothing is sent after so long.
        time: Duration,
    },
    /// Requests at their own times.
    Open {
        /// When, from the beginning [ns]; prompt and answer [tokens].
        requests: Vec<(u64, u32, u32)>,
    },
}
