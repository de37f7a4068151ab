//! A recorded run of a real server against the simulation of the same requests.
//!
//! vLLM 0.19.0, Llama-3.1-8B in bf16 on one RTX PRO 6000, 300 requests: overload, then drain (the data's README). Its arrivals and
//! lengths are replayed with the prefixes that its blocks share, on the shipped layer profile and the engine's defaults of that release.
//!
//! Nothing was fitted to the run but what the engine-wide default of the host's time per step already contains: 400 us, of the 0.3 to
//! 0.5 ms that fit this very run ([`tokentide_models::cost::HostOverhead::typical`]). The run has neither HTTP nor tokenizer.

use tokentide_models::architecture::Architecture;
use tokentide_models::cost::{CostChoice, HostOverrides, build};
use tokentide_models::deployment::{Deployment, KvDtype, WeightDtype};
use tokentide_models::gpu::Gpu;
use tokentide_models::memory;
use tokentide_models::units::Duration;
use tokentide_sim::cluster::Cluster;
use tokentide_sim::scenario::{ClusterConfig, EngineConfig, Policy, Router};
use tokentide_sim::workload::Listed;
use tokentide_tests::engine::{Engine, Fast};
use tokentide_tests::real_run::{FIGURES, Latency, errors, number, per_request, requests, rows};
use tokentide_tests::recorder::Recorder;
use tokentide_tests::shared::shared;
