//! `slo = { ttft_p95 = "800ms" }`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scenario::at::At;
use crate::scenario::duration::TimeSpan;
use crate::scenario::{Slo, SloMetric, SloTarget};

/// Declares one optional key per figure and percentile, and how they become targets.
macro_rules! slo_keys {
    ($($key:ident: $metric:ident, $quantile:literal, $text:literal;)*) => {
        /// Targets: each is met if that share of all requests, not only of the completed ones, is within the limit.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct SloFile {
            $(#[doc = $text] pub $key: Option<At<TimeSpan>>,)*
        }

        impl SloFile {
            /// The targets given, with their place.
            pub(crate) fn targets(&self) -> Vec<(SloTarget, &At<TimeSpan>)> {
                let mut targets = Vec::new();
                $(if let Some(limit) = &self.$key {
                    targets.push((SloTarget { metric: SloMetric::$metric, quantile: $quantile, limit: limit.0 }, limit));
                })*
                targets
            }
        }
    };
}

slo_keys! {
    ttft_p50: Ttft, 0.50, "Time to first token of half of the requests, such as \"200ms\".";
    ttft_p90: Ttft, 0.90, "Time to first token of 90 % of the requests.";
    ttft_p95: Ttft, 0.95, "Time to first token of 95 % of the requests, such as \"800ms\".";
    ttft_p99: Ttft, 0.99, "Time to first token of 99 % of the requests.";
    tpot_p50: Tpot, 0.50, "Time per output token after the first, of half of the requests.";
    tpot_p90: Tpot, 0.90, "Time per output token after the first, of 90 % of the requests.";
    tpot_p95: Tpot, 0.95, "Time per output token after the first, of 95 % of the requests, such as \"50ms\".";
    tpot_p99: Tpot, 0.99, "Time per output token after the first, of 99 % of the requests.";
    e2e_p50: E2e, 0.50, "Arrival to last token, of half of the requests.";
    e2e_p90: E2e, 0.90, "Arrival to last token, of 90 % of the requests.";
    e2e_p95: E2e, 0.95, "Arrival to last token, of 95 % of the requests.";
    e2e_p99: E2e, 0.99, "Arrival to last token, of 99 % of the requests, such as \"30s\".";
    queue_p50: Queue, 0.50, "Arrival to first scheduling, of half of the requests.";
    queue_p90: Queue, 0.90, "Arrival to first scheduling, of 90 % of the requests.";
    queue_p95: Queue, 0.95, "Arrival to first scheduling, of 95 % of the requests.";
    queue_p99: Queue, 0.99, "Arrival to first scheduling, of 99 % of the requests.";
}

impl From<&SloFile> for Slo {
    fn from(file: &SloFile) -> Slo {
        Slo { targets: file.targets().into_iter().map(|(target, _)| target).collect() }
    }
}
