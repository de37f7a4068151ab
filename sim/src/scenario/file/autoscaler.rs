//! `[autoscaler]`

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scenario::at::At;
use crate::scenario::duration::TimeSpan;

/// Who decides how many replicas there are: a policy by name, or a manifest of Kubernetes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AutoscalerFile {
    /// What an HPA looks at: "inflight", "queue", "rps", "token-rate", "cpu", "kv", "saturation", "waiting-tokens", "token-backlog"
    /// or "slo-aware".
    #[schemars(example = &"inflight", example = &"token-backlog")]
    pub policy: Option<At<String>>,
    /// What the policy's figure is held to, in its own unit (`tokentide explain autoscaler`).
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub target: Option<At<f64>>,
    /// Path of a `HorizontalPodAutoscaler` (autoscaling/v2) or of a KEDA `ScaledObject` in YAML, relative to the scenario; in place
    /// of `policy`.
    pub file: Option<At<String>>,
    /// PromQL of metrics that the manifest has only names of.
    pub queries: Option<At<BTreeMap<String, String>>>,
    /// PromQL of recording rules that the manifest's queries read, by the name of the series that they make.
    pub rules: Option<At<BTreeMap<String, String>>>,
    /// Fewest replicas; 1 by default. With a manifest, its own.
    #[schemars(range(min = 1))]
    pub min_replicas: Option<At<u32>>,
    /// Most replicas. With a manifest, its own.
    #[schemars(range(min = 1))]
    pub max_replicas: Option<At<u32>>,
    /// Between two scrapes of a replica's metrics; "15s" by default.
    pub scrape: Option<At<TimeSpan>>,
    /// Between two decisions of the HPA (`--horizontal-pod-autoscaler-sync-period`); "15s" by default.
    pub sync: Option<At<TimeSpan>>,
    /// CPU request of a replica's container [cores], of which a CPU metric is a share; 8 by default.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub cpu_request: Option<At<f64>>,
}
