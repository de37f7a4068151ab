//! `--set`.

use super::*;
use crate::scenario::{Arrivals, Distribution, Rate, Router};

fn set(pairs: &[(&str, &str)]) -> Result<Scenario, Vec<ScenarioError>> {
    let pairs: Vec<_> = pairs.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect();
    parse(EXAMPLE, "test.toml", Path::new("."), &pairs).map(|loaded| loaded.scenario).map_err(|errors| errors.0)
}

fn refused(path: &str, value: &str) -> ScenarioError {
    let mut errors = set(&[(path, value)]).err().expect("the override has no error");
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.remove(0)
}

#[test]
fn values_are_toml_or_else_text() {
    let scenario = set(&[
        ("class.rag-chat.prompt.retrieved.top_k", "12"),
        ("cluster.router", "random"),
        ("duration", "5m"),
        ("class.rag-chat.output.tokens", "{ mean = 80 }"),
        ("class.rag-chat.arrivals.rate", "9.5"),
        ("engine.enable_prefix_caching", "false"),
        ("class.\"rag-chat\".tenant", "\"t\""),
        ("class.rag-chat.prompt.order", "[\"user\", \"system\", \"history\", \"retrieved\"]"),
        ("seed", "3"),
    ])
    .unwrap();
    let class = &scenario.classes[0];
    assert_eq!(class.prompt.iter().map(|part| part.count).collect::<Vec<_>>(), [1, 1, 1, 12]);
    assert_eq!((scenario.cluster.router, scenario.seed), (Router::Random, 3));
    assert_eq!(scenario.horizon.duration.unwrap().as_secs_f64(), 300.0);
    assert_eq!(class.output.tokens, Distribution::Exponential { mean: 80.0 });
    assert!(matches!(class.arrivals, Some(Arrivals::Open { rate: Rate::Constant(9.5), .. })));
    assert!(!scenario.engine.enable_prefix_caching);
    assert_eq!(class.tenant.as_deref(), Some("t"));
}

#[test]
fn missing_sections_are_made() {
    let scenario = set(&[("host.token_us", "7"), ("buckets.input", "[1, 2]")]).unwrap();
    assert_eq!((scenario.cost_info.host.token_us, scenario.input_buckets), (7.0, vec![1, 2]));
}

#[test]
fn the_last_of_equal_paths_wins() {
    assert_eq!(set(&[("cluster.replicas", "2"), ("cluster.replicas", "3")]).unwrap().cluster.replicas, 3);
}

#[test]
fn an_override_changes_the_hash() {
    assert_ne!(set(&[("cluster.replicas", "2")]).unwrap().hash, set(&[]).unwrap().hash);
    assert_eq!(set(&[("cluster.replicas", "4")]).unwrap().hash, set(&[]).unwrap().hash);
}

#[test]
fn an_unknown_path_is_refused_with_what_was_meant() {
    let error = refused("class.rag-chat.prompt.retrieved.topk", "12");
    assert_eq!(error.file, "--set");
    assert_eq!(&*error.text, "class.rag-chat.prompt.retrieved.topk=12");
    assert_eq!((error.offending(), error.message.as_str()), ("topk", "unknown key `topk`"));
    assert_eq!(error.help.as_deref(), Some("did you mean `top_k`?"));
    let error = refused("clusters.replicas", "2");
    assert_eq!((error.offending(), error.help.as_deref()), ("clusters", Some("did you mean `cluster`?")));
    let error = refused("class.rag-chta.priority", "2");
    assert_eq!((error.offending(), error.help.as_deref()), ("rag-chta", Some("did you mean `rag-chat`?")));
    assert_eq!(error.message, "there is no class named `rag-chta`");
}

#[test]
fn a_wrong_value_is_shown_in_the_override() {
    let error = refused("cluster.replicas", "0");
    assert_eq!(error.to_string(), "--set:1:18: `replicas` must be at least 1, not 0");
    assert_eq!(error.offending(), "0");
    let error = refused("warmup", "5");
    assert_eq!((error.file.as_str(), error.offending()), ("--set", "5"));
    assert!(error.message.contains("a time needs a unit"), "{error}");
}

#[test]
fn errors_of_the_file_keep_their_place_beside_overrides() {
    let text = EXAMPLE.replace("replicas = 4", "replicas = 0");
    let overrides = [("engine.block_size".to_owned(), "0".to_owned()), ("engine.watermark".to_owned(), "1".to_owned())];
    let errors = parse(&text, "test.toml", Path::new("."), &overrides).err().unwrap();
    let shown: Vec<String> = errors.0.iter().map(ScenarioError::to_string).collect();
    assert_eq!(
        shown,
        [
            "test.toml:14:12: `replicas` must be at least 1, not 0",
            "--set:1:19: `block_size` must be at least 1, not 0",
            "--set:1:18: `watermark` must be at least 0 and below 1, not 1",
        ]
    );
}

#[test]
fn a_path_must_be_one() {
    for path in ["", " ", "a b", "class", "class.rag-chat", "a..b", "=", "x\ny", "[a]"] {
        let errors = set(&[(path, "1")]).err();
        assert!(errors.is_some_and(|errors| errors[0].file == "--set"), "{path:?}");
    }
    let error = refused("class.rag-chat.prompt.system.cacheable", "false");
    assert_eq!(error.message, "`system` is a plain value: it has no key `cacheable`");
    assert_eq!(error.help.as_deref(), Some("set `system` as a whole, such as system='{ ... }'"));
}
