//! What decides how many replicas there are: every default filled in. Named policies and manifests both end here.

use tokentide_models::units::{Duration, Time};

/// An HPA with what stands around it.
#[derive(Clone, Debug, PartialEq)]
pub struct Autoscaler {
    /// Name in outputs: that of the policy, or of the manifest's file.
    pub name: String,
    /// The `HorizontalPodAutoscaler`; with KEDA, the one that KEDA makes.
    pub hpa: Hpa,
    /// Flags of the controller manager, the same for all HPAs of a cluster.
    pub flags: Flags,
    /// KEDA above the HPA.
    pub keda: Option<Keda>,
    /// Where metrics come from.
    pub prometheus: Prometheus,
    /// What the reading of a manifest has to tell the user.
    pub notes: Vec<String>,
}

/// `HorizontalPodAutoscaler.spec`.
#[derive(Clone, Debug, PartialEq)]
pub struct Hpa {
    /// `minReplicas`, at least 1.
    pub min_replicas: u32,
    /// `maxReplicas`.
    pub max_replicas: u32,
    /// `metrics`; the largest proposal wins.
    pub metrics: Vec<Metric>,
    /// `behavior`; `None`: not given, which is another path of the controller than its defaults.
    pub behavior: Option<Behavior>,
}

/// One entry of `metrics`.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Its name, in outputs.
    pub name: String,
    /// What is measured.
    pub source: MetricSource,
    /// What it is held to.
    pub target: Target,
}

/// What is measured.
#[derive(Clone, Debug, PartialEq)]
pub enum MetricSource {
    /// One number for all pods (`type: External` or `Object`): a PromQL query.
    External {
        /// Gives one sample.
        query: String,
    },
    /// A number for each pod (`type: Pods`): a PromQL query.
    Pods {
        /// Gives one sample for each pod, told by its label `pod`.
        query: String,
    },
    /// CPU (`type: Resource`), as metrics-server has it.
    Cpu {
        /// The containers' request [millicores].
        request: i64,
    },
}

/// What a metric is held to. Values are in thousandths, as the controller counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// `AverageValue`: the sum over this per replica [1/1000].
    AverageValue(i64),
    /// `Value`: the number itself [1/1000].
    Value(i64),
    /// `Utilization`: of the request [%].
    Utilization(u32),
}

/// `behavior`, its defaults filled in for the direction that was not given.
#[derive(Clone, Debug, PartialEq)]
pub struct Behavior {
    /// `scaleUp`.
    pub scale_up: Rules,
    /// `scaleDown`.
    pub scale_down: Rules,
}

/// How fast one direction may go.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// `stabilizationWindowSeconds`.
    pub stabilization: Duration,
    /// `selectPolicy`.
    pub select: Select,
    /// `policies`.
    pub policies: Vec<Policy>,
    /// `tolerance` [1/1000]; `None`: that of [`Flags`].
    pub tolerance: Option<i64>,
}

/// `selectPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Select {
    /// The policy that allows the largest change.
    Max,
    /// The smallest.
    Min,
    /// No change in this direction.
    Disabled,
}

/// One of `policies`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether `value` is in percent of the replicas (`Percent`), not in replicas (`Pods`).
    pub percent: bool,
    /// `value`, at least 1.
    pub value: u32,
    /// `periodSeconds`.
    pub period: Duration,
}

/// Flags of kube-controller-manager, at their defaults in [`Flags::default`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flags {
    /// `--horizontal-pod-autoscaler-sync-period`: 15 s.
    pub sync: Duration,
    /// `--horizontal-pod-autoscaler-tolerance` [1/1000]: 100.
    pub tolerance: i64,
    /// `--horizontal-pod-autoscaler-downscale-stabilization`: 300 s; only without `behavior`.
    pub downscale_stabilization: Duration,
    /// `--horizontal-pod-autoscaler-cpu-initialization-period`: 300 s.
    pub cpu_initialization: Duration,
    /// `--horizontal-pod-autoscaler-initial-readiness-delay`: 30 s.
    pub initial_readiness_delay: Duration,
    /// When the first sync is.
    pub first_sync: Time,
}

impl Default for Flags {
    fn default() -> Flags {
        let s = Duration::from_secs_f64;
        Flags {
            sync: s(15.0),
            tolerance: 100,
            downscale_stabilization: s(300.0),
            cpu_initialization: s(300.0),
            initial_readiness_delay: s(30.0),
            first_sync: Time::from_secs_f64(15.0),
        }
    }
}

/// `ScaledObject.spec`, as far as it is not the HPA's.
#[derive(Clone, Debug, PartialEq)]
pub struct Keda {
    /// `pollingInterval`: of the activation, and of metrics with `useCachedMetrics`.
    pub polling: Duration,
    /// `cooldownPeriod`: from the last active poll to the scaling to zero (or to `idle`).
    pub cooldown: Duration,
    /// `initialCooldownPeriod`.
    pub initial_cooldown: Duration,
    /// `minReplicaCount`.
    pub min_replicas: u32,
    /// `idleReplicaCount`.
    pub idle: Option<u32>,
    /// `activationThreshold` (or the like) of each of the HPA's metrics, in its order.
    pub activation: Vec<f64>,
    /// `useCachedMetrics` of each of the HPA's metrics.
    pub cached: Vec<bool>,
    /// `fallback`.
    pub fallback: Option<Fallback>,
}

/// `ScaledObject.spec.fallback`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// `failureThreshold`: consecutive failures after which it holds.
    pub failures: u32,
    /// `replicas`.
    pub replicas: u32,
}

/// A Prometheus.
#[derive(Clone, Debug, PartialEq)]
pub struct Prometheus {
    /// Between two scrapes of a pod; each has its own phase.
    pub scrape: Duration,
    /// How old a sample may be and still count (`--query.lookback-delta`).
    pub lookback: Duration,
    /// Recording rules.
    pub rules: Vec<RecordingRule>,
    /// Between two evaluations of the rules.
    pub evaluation: Duration,
}

impl Default for Prometheus {
    fn default() -> Prometheus {
        let s = Duration::from_secs_f64;
        Prometheus { scrape: s(15.0), lookback: s(300.0), rules: Vec::new(), evaluation: s(15.0) }
    }
}

/// A recording rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingRule {
    /// Name of the series it makes.
    pub record: String,
    /// PromQL.
    pub expr: String,
}
