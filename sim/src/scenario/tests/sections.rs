//! What each section means.

use tokentide_models::deployment::{KvDtype, WeightDtype};
use tokentide_models::units::{Duration, Time};

use super::*;
use crate::cluster::Ingress;
use crate::scenario::{Arrivals, Distribution, Gaps, Policy, Rate, Router, SloMetric, SloTarget, Source, TraceFormat};

const S: u64 = 1_000_000_000_000;

#[test]
fn the_documented_example_is_understood() {
    let scenario = right(EXAMPLE);
    assert_eq!(scenario.name, "support-rag");
    assert_eq!(scenario.seed, 42);
    assert_eq!(scenario.horizon.duration, Some(Time(600 * S)));
    assert_eq!(scenario.warmup, Time::ZERO);
    assert_eq!((scenario.cluster.replicas, scenario.cluster.router), (4, Router::LeastTokens));
    assert_eq!((scenario.engine.max_num_seqs, scenario.engine.max_num_batched_tokens), (256, 8192));
    assert_eq!(scenario.engine.max_model_len, 131_072, "the model's context");
    assert_eq!(scenario.deployment.gpu_memory_utilization, 0.9);
    assert_eq!(scenario.input_buckets, [512, 2048, 8192, 32768]);
    let class = &scenario.classes[0];
    assert!(matches!(class.arrivals, Some(Arrivals::Open { gaps: Gaps::Gamma { cv: 1.5 }, rate: Rate::Constant(6.0) })));
    let parts: Vec<_> = class.prompt.iter().map(|part| (part.source, part.count, part.shared)).collect();
    assert_eq!(
        parts,
        [(Source::System, 1, true), (Source::History, 1, false), (Source::Retrieved, 4, false), (Source::User, 1, false)]
    );
    assert_eq!(class.prompt[0].tokens, Distribution::Fixed(700.0));
    assert_eq!(class.prompt[2].tokens, Distribution::Fixed(500.0));
    let expected = Distribution::LogNormal { median: 25.0, p95: 120.0, min: 0.0, max: 16_777_216.0 };
    assert_eq!(class.prompt[3].tokens, expected);
    assert_eq!(class.output.max_tokens, Some(1024));
    assert_eq!(class.output.tokens, Distribution::LogNormal { median: 220.0, p95: 900.0, min: 1.0, max: 16_777_216.0 });
    let target = |metric, ms| SloTarget { metric, quantile: 0.95, limit: Duration::from_millis_f64(ms) };
    assert_eq!(class.slo.targets, [target(SloMetric::Ttft, 800.0), target(SloMetric::Tpot, 50.0)]);
}

#[test]
fn without_a_horizon_the_example_has_exactly_that_error() {
    let errors = wrong(&EXAMPLE.replace("duration = \"10m\"\n", ""));
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(errors[0].message, "nothing says when arrivals stop");
    assert_eq!(errors[0].offending(), "{ process = \"gamma\", rate = 6.0, cv = 1.5 }");
}

#[test]
fn the_top_level_keys_are_taken() {
    let text = format!(
        "name = \"n\"\nseed = 7\nrequests = 100\nwarmup = \"30s\"\nnear_context_limit = 0.5\n{}",
        with_section("buckets = { input = [10, 20], output = [5] }")
    );
    let scenario = right(&text);
    assert_eq!((scenario.name.as_str(), scenario.seed, scenario.horizon.requests), ("n", 7, Some(100)));
    assert_eq!((scenario.warmup, scenario.near_context_limit), (Time(30 * S), 0.5));
    assert_eq!((scenario.input_buckets, scenario.output_buckets), (vec![10, 20], vec![5]));
}

#[test]
fn an_unnamed_scenario_has_its_files_name() {
    assert_eq!(right(&with_section("")).name, "test");
}

#[test]
fn the_gpu_section_is_taken() {
    let text = EXAMPLE.replace("llama-3.1-8b", "qwen3-30b-a3b").replace(
        "tensor_parallel = 1",
        "tensor_parallel = 2\npipeline_parallel = 2\nexpert_parallel = true\nprice_per_hour = 1.25\nmemory = \"94GiB\"",
    );
    let deployment = right(&text).deployment;
    assert_eq!((deployment.tensor_parallel, deployment.pipeline_parallel, deployment.gpus()), (2, 2, 4));
    assert!(deployment.expert_parallel);
    assert_eq!((deployment.gpu.price_per_hour, deployment.gpu.memory_bytes), (1.25, 94 << 30));
    assert_eq!(deployment.gpu.source["price_per_hour"], "the scenario");
}

#[test]
fn a_gpu_that_the_catalogue_lacks_is_described() {
    let custom = |gpu: &str| EXAMPLE.replace("name = \"h100-sxm\"", gpu);
    let peaks = "custom = { memory_gb_per_s = 1000.0, bf16_tflops = 200.0, cache_mb = 32.0 }";
    let deployment = right(&custom(&format!("name = \"mine\"\nmemory = \"40GiB\"\n{peaks}"))).deployment;
    let gpu = &deployment.gpu;
    assert_eq!((gpu.name.as_str(), gpu.memory_bytes, gpu.memory_bandwidth, gpu.bf16_flops), ("mine", 40 << 30, 1e12, 2e14));
    assert_eq!((gpu.fp8_flops, gpu.link_bandwidth, gpu.l2_bytes, gpu.price_per_hour), (None, 32e9, 32_000_000, 0.0));
    let says = |gpu: &str, message: &str| {
        let errors = wrong(&custom(gpu));
        assert!(errors.iter().any(|e| e.message.contains(message)), "{message}: {errors:?}");
    };
    says(&format!("name = \"mine\"\n{peaks}"), "a custom GPU needs its `memory`");
    says(&format!("name = \"h100\"\nmemory = \"40GiB\"\n{peaks}"), "`h100` is in the catalogue");
    let none = peaks.replace("1000.0", "0");
    says(&format!("name = \"mine\"\nmemory = \"40GiB\"\n{none}"), "`memory_gb_per_s` must be above 0, not 0");
    says(&format!("name = \"mine\"\n{peaks}").replace("bf16_tflops", "bf16"), "unknown key `bf16`");
}

#[test]
fn the_engine_section_is_taken() {
    let scenario = right(&with_section(
        r#"[engine]
version = "0.30"
max_num_seqs = 8
max_num_batched_tokens = 512
max_model_len = 4096
enable_prefix_caching = false
enable_chunked_prefill = true
scheduling_policy = "priority"
async_scheduling = false
long_prefill_token_threshold = 256
kv_cache_dtype = "fp8"
block_size = 32
num_gpu_blocks_override = 1001
watermark = 0.01
max_num_queued_reqs = 9
enforce_eager = true
scheduler_reserve_full_isl = false
gpu_memory_utilization = 0.8"#,
    ));
    let engine = &scenario.engine;
    assert_eq!((engine.max_num_seqs, engine.max_num_batched_tokens, engine.max_model_len, engine.block_size), (8, 512, 4096, 32));
    assert!(!engine.enable_prefix_caching && engine.enable_chunked_prefill && !engine.async_scheduling);
    assert_eq!((engine.policy, engine.long_prefill_token_threshold, engine.max_num_queued_reqs), (Policy::Priority, 256, Some(9)));
    assert!(engine.lone_prefill_uncapped && engine.free_unhashed_first && !engine.reserve_full_isl);
    assert_eq!(engine.watermark, 0.01);
    let deployment = &scenario.deployment;
    assert_eq!((deployment.kv, deployment.block_size, deployment.cuda_graphs), (KvDtype::Fp8, 32, false));
    assert_eq!((deployment.max_num_seqs, deployment.max_num_batched_tokens, deployment.max_model_len), (8, 512, 4096));
    assert_eq!((deployment.gpu_memory_utilization, scenario.kv_blocks), (0.8, 1000), "block 0 holds nothing");
}

#[test]
fn engine_defaults_go_by_release() {
    let at = |version: &str| right(&with_section(&format!("engine = {{ version = \"{version}\" }}"))).engine;
    let (old, new) = (at("0.9"), at("0.32"));
    assert!(!old.async_scheduling && !old.reserve_full_isl && !old.free_unhashed_first && !old.lone_prefill_uncapped);
    assert!(new.async_scheduling && new.reserve_full_isl && new.free_unhashed_first && new.lone_prefill_uncapped);
    assert_eq!((new.block_size, new.watermark, new.policy), (16, 0.0, Policy::Fcfs));
    assert!(new.enable_prefix_caching && new.enable_chunked_prefill);
}

#[test]
fn default_limits_bend_to_the_typed_ones_as_in_vllm() {
    let engine = |keys: &str| right(&with_section(&format!("engine = {{ {keys} }}"))).engine;
    assert_eq!(engine("max_num_batched_tokens = 64").max_num_seqs, 64);
    assert_eq!(engine("max_num_seqs = 20000").max_num_batched_tokens, 20_000);
    assert_eq!(engine("enable_chunked_prefill = false").max_num_batched_tokens, 131_072);
}

#[test]
fn host_terms_replace_the_profiles_one_by_one() {
    let plain = right(&with_section(""));
    let scenario = right(&with_section("host = { request_us = 250.0, prompt_token_us = 2.5, token_us = 20 }"));
    let ingress = Ingress { request: Duration(250_000_000), prompt_token: Duration(2_500_000) };
    assert_eq!((scenario.ingress(), scenario.egress()), (ingress, Duration(20_000_000)));
    assert_eq!(scenario.cost_info.host.step_us, plain.cost_info.host.step_us);
    let cluster = scenario.cluster(9);
    assert_eq!((cluster.ingress, cluster.egress, cluster.seed), (ingress, Duration(20_000_000), 9));
}

#[test]
fn weights_have_their_names() {
    for (name, dtype) in [
        ("bf16", WeightDtype::Bf16),
        ("bfloat16", WeightDtype::Bf16),
        ("fp8", WeightDtype::Fp8),
        ("int8", WeightDtype::Int8),
        ("int4", WeightDtype::Int4),
    ] {
        let text = with_section("").replace("name = \"llama-3.1-8b\"", &format!("name = \"llama-3.1-8b\", weights = \"{name}\""));
        assert_eq!(right(&text).deployment.weights, dtype);
    }
}

#[test]
fn models_come_in_the_format_that_they_are_published_in() {
    for (name, weights) in
        [("gpt-oss-20b", WeightDtype::Mxfp4), ("minimax-m2.5", WeightDtype::Fp8), ("qwen3-8b", WeightDtype::Bf16)]
    {
        let text = EXAMPLE.replace("llama-3.1-8b", name).replace("tensor_parallel = 1", "tensor_parallel = 4");
        let scenario = right(&text);
        assert_eq!(scenario.deployment.weights, weights, "{name}");
        let said = scenario.notes.iter().any(|note| note.contains(weights.name()) && note.contains("it is published in"));
        assert_eq!(said, weights != WeightDtype::Bf16, "{name}: {:?}", scenario.notes);
    }
}

#[test]
fn a_model_can_be_a_config_of_hugging_face() {
    let folder = std::env::temp_dir().join(format!("tokentide-config-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("my-model")).unwrap();
    let config = |layers: u32| {
        format!(
            r#"{{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": {layers}, "hidden_size": 1024,
                "num_attention_heads": 16, "num_key_value_heads": 4, "intermediate_size": 4096, "vocab_size": 32000,
                "max_position_embeddings": 8192}}"#
        )
    };
    let text = with_section("").replace("name = \"llama-3.1-8b\"", "config = \"my-model/config.json\"");
    let load = || parse(&text, "x.toml", &folder, &[]);
    let missing = load().err().unwrap();
    assert!(missing.0[0].message.starts_with("cannot read "), "{missing}");
    assert_eq!(missing.0[0].offending(), "\"my-model/config.json\"");
    std::fs::write(folder.join("my-model/config.json"), config(12)).unwrap();
    let first = load().unwrap().scenario;
    assert_eq!((first.deployment.model.name.as_str(), first.deployment.model.layers), ("my-model", 12));
    assert_eq!(first.engine.max_model_len, 8192);
    std::fs::write(folder.join("my-model/config.json"), config(13)).unwrap();
    assert_ne!(load().unwrap().scenario.hash, first.hash, "the config's content is part of the identity");
    let quantised = |method: &str| config(12).replacen('{', &format!("{{\"quantization_config\": {method}, "), 1);
    std::fs::write(folder.join("my-model/config.json"), quantised(r#"{"quant_method": "fp8"}"#)).unwrap();
    let fp8 = load().unwrap().scenario;
    assert_eq!((first.deployment.weights, fp8.deployment.weights), (WeightDtype::Bf16, WeightDtype::Fp8));
    assert!(fp8.notes.iter().any(|note| note.contains("taken as fp8, as its config.json says")), "{:?}", fp8.notes);
    std::fs::write(folder.join("my-model/config.json"), quantised(r#"{"quant_method": "hqq"}"#)).unwrap();
    let unknown = load().err().unwrap();
    assert!(unknown.0[0].message.contains("choose the nearest by hand"), "{unknown}");
    assert!(unknown.to_string().contains("`weights` in [model]"), "{unknown}");
    let by_hand = parse(&text, "x.toml", &folder, &[("model.weights".to_owned(), "int4".to_owned())]).unwrap().scenario;
    assert_eq!(by_hand.deployment.weights, WeightDtype::Int4);
    std::fs::write(folder.join("my-model/config.json"), "{").unwrap();
    assert_eq!(load().err().unwrap().0[0].offending(), "\"my-model/config.json\"");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn every_router_has_its_name() {
    for (name, router) in [
        ("round-robin", Router::RoundRobin),
        ("random", Router::Random),
        ("power-of-two", Router::PowerOfTwo),
        ("least-requests", Router::LeastRequests),
        ("least-tokens", Router::LeastTokens),
        ("prefix-affinity", Router::PrefixAffinity),
        ("session-affinity", Router::SessionAffinity),
    ] {
        assert_eq!(right(&with_section(&format!("cluster = {{ router = \"{name}\" }}"))).cluster.router, router);
    }
}

#[test]
fn every_distribution_is_understood() {
    for (typed, expected) in [
        ("50", Distribution::Fixed(50.0)),
        ("{ fixed = 50 }", Distribution::Fixed(50.0)),
        ("{ uniform = [1, 9] }", Distribution::Uniform { min: 1.0, max: 9.0 }),
        ("{ mean = 80.5 }", Distribution::Exponential { mean: 80.5 }),
        ("{ median = 5, p95 = 5, min = 2, max = 8 }", Distribution::LogNormal { median: 5.0, p95: 5.0, min: 2.0, max: 8.0 }),
        ("{ quantiles = [[0, 1], [0.5, 20], [1.0, 300]] }", Distribution::Quantiles(vec![(0.0, 1.0), (0.5, 20.0), (1.0, 300.0)])),
        ("{ pmf = [[10, 3], [20, 0.5]] }", Distribution::Pmf(vec![(10.0, 3.0), (20.0, 0.5)])),
    ] {
        let scenario = right(&with_class(&format!("output = {{ tokens = {typed} }}")));
        assert_eq!(scenario.classes[0].output.tokens, expected, "{typed}");
        let scenario = right(&with_class(&format!("prompt = {{ user = 1, history = {typed} }}")));
        assert_eq!(format!("{:?}", scenario.classes[0].prompt[0].tokens), format!("{expected:?}"), "{typed}");
    }
}

#[test]
fn prompts_have_an_order_and_shared_parts() {
    let parts = |prompt: &str| -> Vec<_> {
        let scenario = right(&with_class(&format!("prompt = {{ {prompt} }}")));
        scenario.classes[0].prompt.iter().map(|part| (part.source.name(), part.shared, part.count)).collect()
    };
    assert_eq!(
        parts("formatting = 1, metadata = 1, user = 1, tools = 1, retrieved = 1, history = 1, developer = 1, system = 1"),
        [
            ("system", true, 1),
            ("developer", true, 1),
            ("history", false, 1),
            ("retrieved", false, 1),
            ("tools", true, 1),
            ("user", false, 1),
            ("metadata", false, 1),
            ("formatting", false, 1)
        ]
    );
    assert_eq!(
        parts("user = 1, system = { fixed = 9, cacheable = false }, order = [\"user\", \"tools\", \"system\"]"),
        [("user", false, 1), ("system", false, 1)]
    );
    assert_eq!(
        parts("retrieved = { top_k = 0, chunk = { mean = 400 }, cacheable = true }"),
        [("retrieved", true, 0)],
        "no retrieval is a legal setting"
    );
    assert_eq!(parts("retrieved = { median = 2000, p95 = 6000 }"), [("retrieved", false, 1)]);
}

#[test]
fn every_arrival_process_is_understood() {
    let arrivals = |typed: &str| {
        let scenario = right(&with_class(&format!("arrivals = {{ {typed} }}")));
        format!("{:?}", scenario.classes[0].arrivals.as_ref().unwrap())
    };
    let open = |gaps, rate| format!("{:?}", Arrivals::Open { gaps, rate });
    assert_eq!(arrivals("rate = 2"), open(Gaps::Poisson, Rate::Constant(2.0)));
    assert_eq!(arrivals("process = \"constant\", rate = 2"), open(Gaps::Constant, Rate::Constant(2.0)));
    assert_eq!(arrivals("process = \"weibull\", rate = 2, cv = 2"), open(Gaps::Weibull { cv: 2.0 }, Rate::Constant(2.0)));
    assert_eq!(
        arrivals("rate = { base = 3.0, amplitude = 0.5, period = \"1h\", phase = 0.25 }"),
        open(Gaps::Poisson, Rate::Diurnal { base: 3.0, amplitude: 0.5, period: Time(3600 * S), phase: 0.25 })
    );
    assert_eq!(
        arrivals("rate = { base = 3.0, amplitude = 1 }"),
        open(Gaps::Poisson, Rate::Diurnal { base: 3.0, amplitude: 1.0, period: Time(86400 * S), phase: 0.0 })
    );
    assert_eq!(
        arrivals("rate = { points = [[\"0s\", 2], [\"1m\", 8.0]], period = \"2m\" }"),
        open(Gaps::Poisson, Rate::Piecewise { points: vec![(Time::ZERO, 2.0), (Time(60 * S), 8.0)], period: Some(Time(120 * S)) })
    );
    assert_eq!(
        arrivals("rate = { base = 1, peak = 20, every = \"5m\", length = \"10s\" }"),
        open(Gaps::Poisson, Rate::Bursts { base: 1.0, peak: 20.0, every: Time(300 * S), length: Time(10 * S) })
    );
    assert_eq!(
        arrivals("process = \"closed\", concurrency = 16, think = { mean = \"2s\" }"),
        format!("{:?}", Arrivals::Closed { concurrency: 16, think: Distribution::Exponential { mean: 2.0 } })
    );
}

#[test]
fn the_other_class_keys_are_taken() {
    let scenario = right(&format!(
        "{}tenant = \"t\"\nroute = \"/r\"\npriority = -3\ncorrelation = -0.5\ntimeout = \"30s\"\n\
         session = {{ turns = {{ median = 4, p95 = 12 }}, think = \"5s\", first_user = 900, history_max = 8000 }}\n\
         slo = {{ ttft_p95 = \"1s\", tpot_p99 = \"50ms\", e2e_p90 = \"1m\", queue_p50 = \"100ms\" }}",
        with_section("")
    ));
    let class = &scenario.classes[0];
    assert_eq!((class.tenant.as_deref(), class.route.as_deref(), class.priority), (Some("t"), Some("/r"), -3));
    assert_eq!((class.correlation, class.timeout), (-0.5, Some(Duration(30 * S))));
    let session = class.session.as_ref().unwrap();
    assert_eq!(session.turns, Distribution::LogNormal { median: 4.0, p95: 12.0, min: 1.0, max: 16_777_216.0 });
    assert_eq!((&session.think, session.history_max), (&Distribution::Fixed(5.0), Some(8000)));
    assert_eq!(session.first_user, Some(Distribution::Fixed(900.0)));
    let targets: Vec<_> = class.slo.targets.iter().map(|t| (t.metric, t.quantile, t.limit.as_millis_f64())).collect();
    assert_eq!(
        targets,
        [
            (SloMetric::Ttft, 0.95, 1000.0),
            (SloMetric::Tpot, 0.99, 50.0),
            (SloMetric::E2e, 0.9, 60_000.0),
            (SloMetric::Queue, 0.5, 100.0)
        ]
    );
    assert_eq!(scenario.notes, ["priorities have no effect: scheduling_policy is \"fcfs\""]);
}

#[test]
fn a_trace_needs_no_class() {
    let text = "model = { name = \"llama-3.1-8b\" }\ngpu = { name = \"h100-sxm\" }\n[trace]\npath = \"t.csv\"\nrate_scale = 2\n\
                window = [\"10s\", \"1m\"]\njitter = \"3s\"\nblock_tokens = 512\nskip_bad_rows = true\n\
                columns = { arrival_s = \"ts:ms\", input_tokens = \"in\" }";
    let loaded = parse(text, "x.toml", Path::new("/data"), &[]).unwrap();
    let trace = loaded.scenario.trace.unwrap();
    assert_eq!(trace.path, Path::new("/data/t.csv"));
    assert_eq!((trace.format, trace.rate_scale, trace.window), (TraceFormat::Mapped, 2.0, Some((10.0, 60.0))));
    assert_eq!((trace.jitter, trace.block_tokens, trace.skip_bad_rows), (Some(Duration(3 * S)), Some(512), true));
    let columns = [("arrival_s", "ts:ms"), ("input_tokens", "in")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(trace.columns, columns);
    let labelled = right(&format!("{text}\n[[class]]\nname = \"only a label\"\nslo = {{ ttft_p95 = \"1s\" }}"));
    assert_eq!((labelled.classes.len(), labelled.notes.len()), (1, 0));
}

#[test]
fn the_hash_is_of_the_meaning_not_of_the_spelling() {
    let hash = |text: &str| right(text).hash;
    let plain = hash(EXAMPLE);
    assert_eq!(plain.len(), 16);
    for same in [
        EXAMPLE.replace("# vLLM's own names", ""),
        EXAMPLE.replace("\"10m\"", "\"600s\""),
        EXAMPLE.replace("rate = 6.0, cv = 1.5", "cv = 1.5, rate = 6"),
        format!("seed = 9\n{EXAMPLE}"),
    ] {
        assert_eq!(hash(&same), plain);
    }
    for other in [EXAMPLE.replace("top_k = 4", "top_k = 12"), EXAMPLE.replace("rag-chat", "rag")] {
        assert_ne!(hash(&other), plain);
    }
}
