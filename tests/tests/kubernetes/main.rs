//! Manifests: what is read, what is refused and where, and that what is written is valid and read back the same.

mod random;
mod samples;

use std::collections::BTreeMap;
use std::path::Path;

use jsonschema::Validator;
use tokentide_autoscale::config::{Autoscaler, MetricSource, Select, Target};
use tokentide_autoscale::manifest::{About, ManifestError, read, write_hpa, write_scaled_object};

/// One of the restated schemas of `tests/data/kubernetes`.
fn schema(name: &str) -> Validator {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/kubernetes");
    let text = std::fs::read_to_string(folder.join(format!("{name}.schema.json"))).expect("the schema is part of the repository");
    jsonschema::validator_for(&serde_json::from_str(&text).expect("JSON")).expect("a schema")
}

/// YAML as JSON, by the parser alone.
fn json(yaml: &str) -> serde_json::Value {
    serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"))
}

fn good(text: &str) -> Autoscaler {
    read(text, "folder/scale.yaml", &BTreeMap::new()).unwrap_or_else(|errors| panic!("{text}\n{errors:?}"))
}

fn bad(text: &str) -> Vec<ManifestError> {
    read(text, "scale.yaml", &BTreeMap::new()).expect_err(text)
}

#[test]
fn an_hpa_gets_the_defaults_of_the_api() {
    let read = good(samples::HPA);
    assert_eq!((read.name.as_str(), read.hpa.min_replicas, read.hpa.max_replicas), ("scale.yaml", 1, 8));
    assert!(read.keda.is_none() && read.hpa.behavior.is_none() && read.notes.is_empty());
    let metric = &read.hpa.metrics[0];
    assert_eq!(metric.target, Target::AverageValue(12_500));
    let query = "sum(vllm:num_requests_waiting{engine=~\"0|1\\\\.5\",model_name=\"m\"})".to_owned();
    assert_eq!(metric.source, MetricSource::External { query });
}

#[test]
fn one_direction_of_behaviour_brings_the_other() {
    let text = samples::HPA.replace("  maxReplicas: 8\n", "  maxReplicas: 8\n  behavior:\n    scaleDown: {selectPolicy: Min}\n");
    let behavior = good(&text).hpa.behavior.unwrap();
    assert_eq!((behavior.scale_down.select, behavior.scale_down.stabilization.as_secs_f64()), (Select::Min, 300.0));
    let shape = |rules: &tokentide_autoscale::config::Rules| -> Vec<_> {
        rules.policies.iter().map(|p| (p.percent, p.value, p.period.as_secs_f64())).collect()
    };
    assert_eq!(shape(&behavior.scale_down), [(true, 100, 15.0)]);
    assert_eq!(shape(&behavior.scale_up), [(false, 4, 15.0), (true, 100, 15.0)]);
    assert_eq!((behavior.scale_up.select, behavior.scale_up.stabilization.as_secs_f64()), (Select::Max, 0.0));
    // Given, and empty, is given; null is not.
    let with = |value: &str| samples::HPA.replace("  maxReplicas: 8\n", &format!("  maxReplicas: 8\n  behavior: {value}\n"));
    assert!(good(&with("{}")).hpa.behavior.is_some());
    assert!(good(&with("null")).hpa.behavior.is_none());
}

#[test]
fn a_scaled_object_gets_the_defaults_of_keda() {
    let read = good(samples::SCALED_OBJECT);
    let keda = read.keda.unwrap();
    assert_eq!((keda.polling.as_secs_f64(), keda.cooldown.as_secs_f64(), keda.initial_cooldown.0), (30.0, 300.0, 0));
    assert_eq!((keda.min_replicas, read.hpa.min_replicas, read.hpa.max_replicas, keda.idle), (0, 1, 100, None));
    assert_eq!((keda.activation, keda.cached, keda.fallback), (vec![0.5], vec![false], None));
    assert_eq!(read.hpa.behavior, None);
    let metric = &read.hpa.metrics[0];
    assert_eq!((metric.name.as_str(), metric.target), ("s0-prometheus", Target::AverageValue(38_000)));
}

#[test]
fn cpu_comes_with_the_request_of_the_deployment() {
    let read = good(samples::CPU_WITH_DEPLOYMENT);
    assert_eq!(read.hpa.metrics[0].source, MetricSource::Cpu { request: 4_500 });
    assert_eq!(read.hpa.metrics[0].target, Target::Utilization(70));
    assert_eq!(read.notes, ["Deployment is passed over: an HPA or a ScaledObject is read"]);
    // An HPA without metrics scales on CPU, by the API's default.
    let start = samples::CPU_WITH_DEPLOYMENT.find("  metrics:").unwrap();
    let read = good(&samples::CPU_WITH_DEPLOYMENT[..start]);
    assert_eq!(read.hpa.metrics[0].target, Target::Utilization(80));
    assert!(read.notes.iter().any(|note| note.contains("spec.metrics")), "{:?}", read.notes);
}

#[test]
fn a_name_of_the_users_own_needs_its_query() {
    let text = samples::HPA.replace("vllm_num_requests_waiting", "backlog");
    let errors = bad(&text);
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].path, "spec.metrics[0].external.metric.name");
    let given = BTreeMap::from([("backlog".to_owned(), "sum(rate(x[1m]))".to_owned())]);
    let read = read(&text, "x.yaml", &given).unwrap();
    assert_eq!(read.hpa.metrics[0].source, MetricSource::External { query: given["backlog"].clone() });
    assert_eq!(read.notes.len(), 1, "its selector is not applied: {:?}", read.notes);
}

#[test]
fn lists_are_looked_through() {
    let indented: String = samples::HPA.trim_start().lines().map(|line| format!("    {line}\n")).collect();
    let text = format!("apiVersion: v1\nkind: List\nitems:\n  -\n{indented}");
    assert_eq!(good(&text).hpa, good(samples::HPA).hpa);
}

#[test]
fn every_fault_is_told_with_its_path_value_and_line() {
    for (what, (from, to), path, part) in samples::FAULTS {
        let text = match what {
            'H' => samples::HPA,
            'K' => samples::SCALED_OBJECT,
            _ => samples::CPU_WITH_DEPLOYMENT,
        };
        assert!(text.contains(from), "{from}");
        let changed = text.replacen(from, to, 1);
        let errors = bad(&changed);
        let found = errors.iter().find(|error| error.path == *path && error.to_string().contains(part));
        let found = found.unwrap_or_else(|| panic!("{from} -> {to}: {errors:#?}"));
        assert!(found.line.is_some_and(|line| line as usize <= changed.lines().count()), "{found:?}");
    }
}

#[test]
fn all_faults_are_told_at_once_in_the_order_of_the_file() {
    let text = samples::SCALED_OBJECT
        .replace("\"38\"", "38")
        .replace("name: chat\n  triggers", "name: chat\n  minReplicas: 1\n  triggers");
    let text = text.replace("type: prometheus", "type: kafka\n    metricTyp: Value");
    let text: Vec<_> = bad(&text).iter().map(ToString::to_string).collect();
    assert_eq!(
        text,
        [
            "scale.yaml:8: spec.minReplicas: is no field of the API (did you mean `minReplicaCount`?)",
            "scale.yaml:10: spec.triggers[0].type: `kafka` is not simulated: triggers of type prometheus and cpu are",
            "scale.yaml:11: spec.triggers[0].metricTyp: is no field of the API (did you mean `metricType`?)",
        ]
    );
}

#[test]
fn files_without_one_object_that_scales_are_refused() {
    for (text, part) in [
        ("", "holds no HorizontalPodAutoscaler"),
        ("# nothing\n", "holds no HorizontalPodAutoscaler"),
        ("kind: Service\napiVersion: v1\n", "holds no HorizontalPodAutoscaler"),
        ("- 1\n- 2\n", "where a mapping is expected"),
        ("apiVersion: autoscaling/v2beta2\nkind: HorizontalPodAutoscaler\n", "`autoscaling/v2beta2` is not read"),
        ("a: [\n", "scale.yaml:"),
        ("kind: a\nkind: b\n", "scale.yaml:2"),
    ] {
        let errors = bad(text);
        assert!(errors[0].to_string().contains(part), "{errors:?}");
    }
    let both = format!("{}\n---\n{}", samples::HPA, samples::SCALED_OBJECT);
    assert!(bad(&both)[0].message.contains("second object"));
}

#[test]
fn samples_are_valid_and_their_faults_are_not() {
    let (hpa, keda) = (schema("hpa-v2"), schema("scaled-object"));
    assert!(hpa.is_valid(&json(samples::HPA)));
    assert!(keda.is_valid(&json(samples::SCALED_OBJECT)));
    for (text, schema, changes) in [
        (samples::HPA, &hpa, [("maxReplicas: 8", "maxReplicas: x"), ("type: External", "type: Extern"), ("averageValue", "value")]),
        (samples::SCALED_OBJECT, &keda, [("\"38\"", "38"), ("name: chat", "nam: chat"), ("type: prometheus", "typ: prometheus")]),
    ] {
        for (from, to) in changes {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text);
            let changed = if from == "name: chat" { text.replace(from, to) } else { changed };
            assert!(!schema.is_valid(&json(&changed)), "{from} -> {to}");
            bad(&changed);
        }
    }
}

#[test]
fn what_is_written_is_valid_and_read_back_the_same() {
    let (hpa, keda) = (schema("hpa-v2"), schema("scaled-object"));
    for seed in 0..2_000 {
        let autoscaler = random::autoscaler(seed);
        let about = random::about(seed);
        let (text, schema) = match &autoscaler.keda {
            None => (write_hpa(&autoscaler, &about), &hpa),
            Some(_) => (write_scaled_object(&autoscaler, &about), &keda),
        };
        let text = text.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let errors: Vec<_> = schema.iter_errors(&json(&text)).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(errors.is_empty(), "seed {seed}: {errors:?}\n{text}");
        let read = read(&text, &autoscaler.name, &BTreeMap::new());
        assert_eq!(read.as_ref(), Ok(&autoscaler), "seed {seed}\n{text}");
        for comment in about.comments.values().chain(&about.head).filter(|comment| !comment.contains("nowhere")) {
            assert!(text.contains(&format!("# {comment}\n")), "seed {seed}: {comment}\n{text}");
        }
    }
}

#[test]
fn what_a_manifest_cannot_say_is_refused() {
    let mut autoscaler = good(samples::SCALED_OBJECT);
    autoscaler.hpa.metrics[0].source = MetricSource::Pods { query: "vllm:num_requests_waiting".to_owned() };
    assert!(write_scaled_object(&autoscaler, &About::new("x")).is_err());
    let mut autoscaler = good(samples::HPA);
    assert!(write_scaled_object(&autoscaler, &About::new("x")).is_err(), "no KEDA");
    let mut other = autoscaler.hpa.metrics[0].clone();
    other.source = MetricSource::External { query: "other".to_owned() };
    autoscaler.hpa.metrics.push(other);
    assert!(write_hpa(&autoscaler, &About::new("x")).is_err(), "one name, two queries");
}

#[test]
fn no_text_makes_it_panic() {
    for text in [samples::HPA, samples::SCALED_OBJECT, samples::CPU_WITH_DEPLOYMENT] {
        let lines: Vec<&str> = text.lines().collect();
        for i in 0..lines.len() {
            for value in [None, Some("[]"), Some("{}"), Some("null"), Some("-1"), Some("0"), Some("99999999999"), Some("\"x\"")] {
                let mut changed: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
                match value {
                    None => drop(changed.remove(i)),
                    Some(value) => {
                        changed[i] = lines[i].split_once(':').map_or(value.to_owned(), |(key, _)| format!("{key}: {value}"))
                    }
                }
                let text = changed.join("\n");
                if let Err(errors) = read(&text, "x.yaml", &BTreeMap::new()) {
                    assert!(!errors.is_empty(), "{text}");
                }
            }
        }
    }
}
