//! Manifests as people write them, and what can be wrong with them.

pub const HPA: &str = r#"
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: chat
  labels: {app: chat}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: chat}
  maxReplicas: 8
  metrics:
  - type: External
    external:
      metric:
        name: vllm_num_requests_waiting
        selector:
          matchLabels: {model_name: m}
          matchExpressions:
          - {key: engine, operator: In, values: ["0", "1.5"]}
      target: {type: AverageValue, averageValue: 12500m}
"#;

pub const SCALED_OBJECT: &str = r#"apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: chat
spec:
  scaleTargetRef:
    name: chat
  triggers:
  - type: prometheus
    authenticationRef: {name: prometheus}
    metadata:
      serverAddress: http://prometheus.monitoring:9090
      query: sum(vllm:num_requests_running + vllm:num_requests_waiting)
      threshold: "38"
      activationThreshold: "0.5"
"#;

pub const CPU_WITH_DEPLOYMENT: &str = r#"apiVersion: apps/v1
kind: Deployment
metadata: {name: chat}
spec:
  template:
    spec:
      containers:
      - name: vllm
        resources: {requests: {cpu: 4}}
      - name: proxy
        resources: {limits: {cpu: 500m}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: chat}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: chat}
  minReplicas: 2
  maxReplicas: 8
  metrics:
  - type: Resource
    resource: {name: cpu, target: {type: Utilization, averageUtilization: 70}}
"#;

/// A change.
type Change = (&'static str, &'static str);

/// Which sample (H, K or C), a change, the path of the fault and a part of what is said of it.
pub const FAULTS: &[(char, Change, &str, &str)] = &[
    ('H', ("maxReplicas: 8", "maxReplicas: many"), "spec.maxReplicas", "`many` is not an integer"),
    ('H', ("maxReplicas: 8", "maxReplicas: 0"), "spec.maxReplicas", "at least 1"),
    ('H', ("maxReplicas: 8", "minReplicas: 8"), "spec.maxReplicas", "is missing"),
    ('H', ("maxReplicas: 8", "maxReplicas: 8\n  minReplicas: 9"), "spec.maxReplicas", "`8` is below minReplicas, 9"),
    ('H', ("maxReplicas: 8", "maxReplicas: 8\n  minReplicas: 0"), "spec.minReplicas", "HPAScaleToZero"),
    ('H', ("maxReplicas: 8", "maxReplicas: 8\n  minReplica: 1"), "spec.minReplica", "did you mean `minReplicas`?"),
    (
        'H',
        ("maxReplicas: 8", "maxReplicas: 8\n  behavior: {scaleUp: {policies: []}}"),
        "spec.behavior.scaleUp.policies",
        "at least one",
    ),
    (
        'H',
        ("maxReplicas: 8", "maxReplicas: 8\n  behavior: {scaleUp: {stabilizationWindowSeconds: 3601}}"),
        "spec.behavior.scaleUp.stabilizationWindowSeconds",
        "`3601` is not an integer from 0 to 3600",
    ),
    (
        'H',
        ("maxReplicas: 8", "maxReplicas: 8\n  behavior: {scaleUp: {policies: [{type: Pods, value: 0, periodSeconds: 15}]}}"),
        "spec.behavior.scaleUp.policies[0].value",
        "`0` is not an integer at least 1",
    ),
    (
        'H',
        ("maxReplicas: 8", "maxReplicas: 8\n  behavior: {scaleDown: {selectPolicy: Off}}"),
        "spec.behavior.scaleDown.selectPolicy",
        "`false` is no text",
    ),
    (
        'H',
        ("maxReplicas: 8", "maxReplicas: 8\n  behavior: {scaleDown: {tolerance: -1}}"),
        "spec.behavior.scaleDown.tolerance",
        "below 0",
    ),
    ('H', ("type: External", "type: Gauge"), "spec.metrics[0].type", "`Gauge` is none of External, Object, Pods"),
    ('H', ("type: External", "type: ContainerResource"), "spec.metrics[0]", "ContainerResource metrics are not simulated"),
    ('H', ("    external:", "    extern:"), "spec.metrics[0].external", "is missing"),
    ('H', ("12500m", "twelve"), "spec.metrics[0].external.target.averageValue", "`twelve` is no quantity"),
    ('H', ("12500m", "0"), "spec.metrics[0].external.target.averageValue", "`0` must be above 0"),
    (
        'H',
        ("{type: AverageValue", "{type: Value"),
        "spec.metrics[0].external.target.averageValue",
        "belongs to a target of type AverageValue",
    ),
    ('H', ("{type: AverageValue", "{type: Utilization"), "spec.metrics[0].external.target.type", "`Utilization` is none of"),
    ('H', ("vllm_num_requests_waiting", "tokens"), "spec.metrics[0].external.metric.name", "tokentide/queries"),
    ('H', ("operator: In", "operator: Near"), "spec.metrics[0].external.metric.selector.matchExpressions[0].operator", "`Near`"),
    ('H', ("{model_name: m}", "{model-name: m}"), "spec.metrics[0].external.metric.selector", "`model-name` is no label name"),
    (
        'H',
        ("{app: chat}", "{app: chat}\n  annotations: {tokentide/queries: \"x\"}"),
        "metadata.annotations[\"tokentide/queries\"]",
        "METRIC: QUERY",
    ),
    ('K', ("\"38\"", "38"), "spec.triggers[0].metadata.threshold", "`38` is no text (put it in quotes)"),
    ('K', ("\"38\"", "\"3 8\""), "spec.triggers[0].metadata.threshold", "`3 8` is no number"),
    ('K', ("\"38\"", "\"0.0001\""), "spec.triggers[0].metadata.threshold", "from 0.001 up"),
    ('K', ("threshold: \"38\"", "treshold: \"38\""), "spec.triggers[0].metadata.treshold", "did you mean `threshold`?"),
    ('K', ("threshold: \"38\"", "treshold: \"38\""), "spec.triggers[0].metadata.threshold", "is missing"),
    (
        'K',
        ("activationThreshold: \"0.5\"", "ignoreNullValues: \"false\""),
        "spec.triggers[0].metadata.ignoreNullValues",
        "is not simulated",
    ),
    (
        'K',
        ("query: sum(vllm:num_requests_running + vllm:num_requests_waiting)", "query: \"\""),
        "spec.triggers[0].metadata.query",
        "is empty",
    ),
    ('K', ("type: prometheus", "type: rabbitmq"), "spec.triggers[0].type", "`rabbitmq` is not simulated"),
    (
        'K',
        ("type: prometheus", "type: prometheus\n    metricType: Utilization"),
        "spec.triggers[0].metricType",
        "AverageValue, Value",
    ),
    (
        'K',
        ("  triggers:", "  advanced: {scalingModifiers: {formula: a}}\n  triggers:"),
        "spec.advanced.scalingModifiers",
        "not simulated",
    ),
    ('K', ("  triggers:", "  fallback: {replicas: 1}\n  triggers:"), "spec.fallback.failureThreshold", "is missing"),
    ('K', ("  triggers:", "  minReplicaCount: 200\n  triggers:"), "spec.minReplicaCount", "`200` is above maxReplicaCount, 100"),
    ('K', ("  triggers:", "  idleReplicaCount: 0\n  triggers:"), "spec.idleReplicaCount", "below minReplicaCount, 0"),
    (
        'K',
        ("metadata:\n  name: chat", "metadata:\n  annotations: {autoscaling.keda.sh/paused: \"true\"}"),
        "metadata.annotations[\"autoscaling.keda.sh/paused\"]",
        "pauses",
    ),
    (
        'C',
        ("name: vllm\n        resources: {requests: {cpu: 4}}", "name: vllm"),
        "spec.metrics[0].resource",
        "tokentide/cpu-request",
    ),
    ('C', ("{name: cpu,", "{name: memory,"), "spec.metrics[0].resource.name", "`memory` is not simulated"),
    ('C', ("averageUtilization: 70", "averageUtilization: 70%"), "spec.metrics[0].resource.target.averageUtilization", "`70%`"),
];
