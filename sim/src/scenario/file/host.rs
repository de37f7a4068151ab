//! `[host]`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scenario::at::At;

/// Host time, which belongs to the machine and the engine's release; what is not given comes from the cost profile.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostFile {
    /// Added to every step [us].
    #[schemars(range(min = 0))]
    pub step_us: Option<At<f64>>,
    /// Launching the kernels of one layer, where a step runs as no CUDA graph: such a step lasts at least this for each layer [us].
    #[schemars(range(min = 0))]
    pub layer_us: Option<At<f64>>,
    /// Agreement of data-parallel ranks in lockstep on their token counts, added to every step of such ranks [us].
    #[schemars(range(min = 0))]
    pub sync_us: Option<At<f64>>,
    /// Scheduling and bookkeeping of a step: added with synchronous scheduling, hidden behind the GPU with asynchronous [us].
    #[schemars(range(min = 0))]
    pub schedule_us: Option<At<f64>>,
    /// The same, per sequence in the step [us].
    #[schemars(range(min = 0))]
    pub schedule_sequence_us: Option<At<f64>>,
    /// From arrival at the front end until the engine sees the request, but for its tokenisation [us].
    #[schemars(range(min = 0))]
    pub request_us: Option<At<f64>>,
    /// What a request's coming and going take from the engine's steps, added to the step that completes its prompt [us].
    #[schemars(range(min = 0))]
    pub arrival_us: Option<At<f64>>,
    /// Tokenisation of a prompt, per token; prompts of a replica one after the other. 0 for clients that send token ids [us].
    #[schemars(range(min = 0))]
    pub prompt_token_us: Option<At<f64>>,
    /// From the end of a step until its tokens reach the client [us].
    #[schemars(range(min = 0))]
    pub token_us: Option<At<f64>>,
}
