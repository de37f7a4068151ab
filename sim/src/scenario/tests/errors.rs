//! Every kind of error: where it points, what it says.

use super::*;

/// Asserts that `text` has exactly one error: the text it points at, and its message.
fn one(text: &str, offending: &str, message: &str) -> ScenarioError {
    let mut errors = wrong(text);
    assert_eq!(errors.len(), 1, "{errors:#?}");
    let error = errors.remove(0);
    assert_eq!((error.offending(), error.message.as_str()), (offending, message));
    error
}

#[test]
fn the_place_is_a_line_and_a_column() {
    let error = one(&EXAMPLE.replace("replicas = 4", "replicas = 0"), "0", "`replicas` must be at least 1, not 0");
    assert_eq!(error.to_string(), "test.toml:14:12: `replicas` must be at least 1, not 0");
    let error = one(&EXAMPLE.replace("max_num_seqs", "max_num_seq"), "max_num_seq", "unknown key `max_num_seq`");
    assert_eq!(error.to_string(), "test.toml:10:1: unknown key `max_num_seq` (did you mean `max_num_seqs`?)");
}

#[test]
fn columns_count_characters() {
    let error =
        one(&with_section("trace = { path = \"ü\", rate_scale = 0 }"), "0", "`rate_scale` must be from 0.000001 to 1000000, not 0");
    assert_eq!(error.line_column(), Some((4, 36)));
}

#[test]
fn unknown_keys_are_found_everywhere_at_once() {
    let text = EXAMPLE
        .replace("name = \"support-rag\"", "nam = \"support-rag\"")
        .replace("tensor_parallel", "tensor_paralel")
        .replace("cv = 1.5", "cov = 1.5")
        .replace("ttft_p95", "ttft_95")
        .replace("chunk = 500", "chunks = 500")
        .replace("[class.output]", "[class.outputs]");
    let shown: Vec<String> =
        wrong(&text).iter().map(|e| format!("{} -> {}", e.offending(), e.help.as_deref().unwrap_or(""))).collect();
    assert_eq!(
        shown,
        [
            "nam -> did you mean `name`?",
            "tensor_paralel -> did you mean `tensor_parallel`?",
            "cov -> did you mean `cv`?",
            "ttft_95 -> did you mean `ttft_p95`?",
            "chunks -> did you mean `chunk`?",
            "outputs -> did you mean `output`?",
        ]
    );
}

#[test]
fn wrong_types_say_what_was_expected() {
    for (section, offending, message) in [
        ("engine = { max_num_seqs = \"many\" }", "\"many\"", "expected a whole number, 0 or more, found text \"many\""),
        ("engine = { max_num_seqs = 2.5 }", "2.5", "expected a whole number, 0 or more, found number `2.5`"),
        ("engine = { max_num_seqs = -1 }", "-1", "expected a whole number, 0 or more, found number `-1`"),
        ("engine = { watermark = true }", "true", "expected a number, found boolean `true`"),
        ("engine = { enforce_eager = 1 }", "1", "expected true or false, found number `1`"),
        ("engine = 5", "5", "expected a table, found number `5`"),
        ("name = 5", "5", "expected a text in quotes, found number `5`"),
        ("warmup = 5", "5", "a time needs a unit: write \"5s\" or \"5ms\", not 5"),
        ("warmup = \"5\"", "\"5\"", "\"5\" has no unit: write \"5s\" or \"5ms\""),
        ("warmup = true", "true", "expected a time with a unit, such as \"800ms\", found boolean `true`"),
        (
            "cluster = { router = \"rnd\" }",
            "\"rnd\"",
            "unknown value \"rnd\": expected \"round-robin\", \"random\", \"power-of-two\", \
             \"least-requests\", \"least-tokens\", \"prefix-affinity\" or \"session-affinity\"",
        ),
        ("engine = { scheduling_policy = \"lifo\" }", "\"lifo\"", "unknown value \"lifo\": expected \"fcfs\" or \"priority\""),
        ("engine = { version = \"new\" }", "\"new\"", "\"new\" is not a release: expected such as \"0.24\""),
        ("engine = { version = \"0.6\" }", "\"0.6\"", "vLLM 0.6 is not simulated: the v1 scheduler is the default since 0.9"),
        ("buckets = { input = 5 }", "5", "expected a list, found number `5`"),
    ] {
        one(&with_section(section), offending, message);
    }
    one(&with_class("prompt = { user = \"x\" }"), "\"x\"", "expected a number, found text \"x\"");
    one(
        &with_class("output = { tokens = [1] }"),
        "[1]",
        "expected a value, or a distribution such as { median = ..., p95 = ... }, found list",
    );
    one(&with_class("output = { tokens = { uniform = [1] } }"), "[1]", "expected a pair of values, found a list of length 1");
}

#[test]
fn impossible_numbers_are_refused() {
    for (section, offending, message) in [
        ("seed = -1", "-1", "expected a whole number, 0 or more, found number `-1`"),
        ("requests = 0", "0", "`requests` must be above 0"),
        ("near_context_limit = 1.5", "1.5", "`near_context_limit` must be above 0 and at most 1, not 1.5"),
        ("near_context_limit = nan", "nan", "`near_context_limit` must be above 0 and at most 1, not NaN"),
        ("warmup = \"10m\"", "\"10m\"", "`warmup` must be shorter than `duration` (600.000 s)"),
        ("engine = { gpu_memory_utilization = 0 }", "0", "`gpu_memory_utilization` must be above 0 and at most 1, not 0"),
        ("engine = { gpu_memory_utilization = 1.1 }", "1.1", "`gpu_memory_utilization` must be above 0 and at most 1, not 1.1"),
        ("engine = { watermark = 1.0 }", "1.0", "`watermark` must be at least 0 and below 1, not 1"),
        ("engine = { watermark = -0.1 }", "-0.1", "`watermark` must be at least 0 and below 1, not -0.1"),
        ("engine = { max_cudagraph_capture_size = 0 }", "0", "`max_cudagraph_capture_size` must be at least 1, not 0"),
        ("engine = { max_num_queued_reqs = 0 }", "0", "`max_num_queued_reqs` must be at least 1, not 0"),
        (
            "engine = { num_gpu_blocks_override = 1 }",
            "1",
            "`num_gpu_blocks_override` must be at least 2 (block 0 holds nothing), not 1",
        ),
        ("engine = { max_model_len = 1 }", "1", "`max_model_len` must be at least 2, a prompt and an answer, not 1"),
        (
            "engine = { max_model_len = 200000 }",
            "200000",
            "`max_model_len` must be at most the model's context, 131072, not 200000",
        ),
        (
            "engine = { max_num_seqs = 600, max_num_batched_tokens = 512 }",
            "600",
            "`max_num_seqs` must be at most `max_num_batched_tokens`, 512, not 600",
        ),
        (
            "engine = { max_num_batched_tokens = 512, enable_chunked_prefill = false }",
            "512",
            "without chunked prefill, `max_num_batched_tokens` must be at least `max_model_len`, 131072, not 512",
        ),
        ("host = { step_us = -1 }", "-1", "`step_us` must be between 0 and 60,000,000 us (a minute), not -1"),
        ("host = { token_us = inf }", "inf", "`token_us` must be between 0 and 60,000,000 us (a minute), not inf"),
        ("buckets = { input = [5, 5] }", "[5, 5]", "the bounds of buckets must be above 0 and ascending, and at least one"),
        ("buckets = { output = [] }", "[]", "the bounds of buckets must be above 0 and ascending, and at least one"),
    ] {
        one(&with_section(section), offending, message);
    }
    one(&with_section("").replace("\"10m\"", "\"0s\""), "\"0s\"", "`duration` must be above 0");
}

#[test]
fn impossible_distributions_are_refused() {
    for (tokens, offending, message) in [
        ("-5", "-5", "`tokens` must be between 1 and 16777216, not -5"),
        ("0", "0", "`tokens` must be between 1 and 16777216, not 0"),
        ("nan", "nan", "`tokens` must be between 1 and 16777216, not NaN"),
        ("inf", "inf", "`tokens` must be between 1 and 16777216, not inf"),
        ("{ median = 50, p95 = 40 }", "40", "`p95` of `tokens` must be at least its median, 50, not 40"),
        ("{ median = 50 }", "{ median = 50 }", "`tokens` has `median` without `p95`"),
        ("{ p95 = 50 }", "{ p95 = 50 }", "`tokens` has `p95` without `median`"),
        ("{ median = 50, p95 = 90, max = 20 }", "20", "`max` of `tokens` must be at least the median, 50"),
        ("{ median = 50, p95 = 90, min = 60 }", "60", "`min` of `tokens` must be at most the median, 50"),
        ("{ fixed = 50, max = 20 }", "20", "`max` goes with `median` and `p95` only"),
        ("{ uniform = [9, 3] }", "[9, 3]", "`uniform` of `tokens` must be [lowest, highest], not [9, 3]"),
        ("{ fixed = 3, mean = 2 }", "{ fixed = 3, mean = 2 }", "`tokens` has more than one distribution: fixed and mean"),
        ("{}", "{}", "`tokens` has no distribution: expected one of fixed, uniform, median with p95, mean, quantiles or pmf"),
        (
            "{ quantiles = [[0, 5], [0.5, 9]] }",
            "[[0, 5], [0.5, 9]]",
            "`quantiles` of `tokens` must begin at probability 0 and end at 1",
        ),
        (
            "{ quantiles = [[0, 5], [0.5, 3], [1, 9]] }",
            "[[0, 5], [0.5, 3], [1, 9]]",
            "`quantiles` of `tokens` must ascend in probability, and not descend in value",
        ),
        (
            "{ quantiles = [[0, 5], [nan, 6], [1, 9]] }",
            "[[0, 5], [nan, 6], [1, 9]]",
            "`quantiles` of `tokens` must ascend in probability, and not descend in value",
        ),
        ("{ pmf = [[5, 0], [6, 0]] }", "[[5, 0], [6, 0]]", "the weights of `tokens` must sum to more than 0"),
        ("{ pmf = [] }", "[]", "the weights of `tokens` must sum to more than 0"),
        ("{ pmf = [[5, -1], [6, 2]] }", "[[5, -1], [6, 2]]", "the weights of `tokens` must be 0 or more"),
    ] {
        one(&with_class(&format!("output = {{ tokens = {tokens} }}")), offending, message);
    }
    one(&with_class("prompt = { user = { mean = 0 } }"), "0", "`mean` of `user` must be above 0");
    one(&with_class("prompt = { user = { median = 0, p95 = 9 } }"), "0", "`median` of `user` must be above 0");
}

#[test]
fn impossible_classes_are_refused() {
    for (line, offending, message) in [
        ("name = \" \"", "\" \"", "a class needs a name that is not empty"),
        ("correlation = 1.5", "1.5", "`correlation` must be between -1 and 1, not 1.5"),
        ("timeout = \"0s\"", "\"0s\"", "`timeout` must be longer than 0"),
        ("slo = { ttft_p95 = \"0ms\" }", "\"0ms\"", "a target must be longer than 0"),
        ("output = { max_tokens = 0, tokens = 5 }", "0", "`max_tokens` must be at least 1, not 0"),
        ("output = { max_tokens = 5 }", "{ max_tokens = 5 }", "the output has no `tokens`"),
        ("prompt = {}", "{}", "the prompt has no source of tokens"),
        ("prompt = { retrieved = { top_k = 4 } }", "{ top_k = 4 }", "`retrieved` has `top_k` without `chunk`"),
        ("prompt = { retrieved = { chunk = 4 } }", "{ chunk = 4 }", "`retrieved` has `chunk` without `top_k`"),
        ("prompt = { retrieved = { top_k = 20000, chunk = 4 } }", "20000", "`top_k` must be at most 10000, not 20000"),
        (
            "prompt = { retrieved = { top_k = 4, chunk = 4, fixed = 4 } }",
            "{ top_k = 4, chunk = 4, fixed = 4 }",
            "`retrieved` has chunks and a distribution of all its tokens: give one of them",
        ),
        (
            "prompt = { user = 1, system = 1, order = [\"user\"] }",
            "[\"user\"]",
            "`order` leaves out \"system\", which the prompt has",
        ),
        ("prompt = { user = 1, order = [\"user\", \"user\"] }", "[\"user\", \"user\"]", "`order` names \"user\" twice"),
        ("session = { think = \"1s\" }", "{ think = \"1s\" }", "a session needs `turns`"),
        ("session = { turns = 0 }", "0", "`turns` must be between 1 and 16777216, not 0"),
    ] {
        one(&with_class(line), offending, message);
    }
}

#[test]
fn impossible_arrivals_are_refused() {
    for (arrivals, offending, message) in [
        ("{ rate = 0.0 }", "0.0", "`rate` must be above 0, not 0"),
        ("{ rate = -2 }", "-2", "`rate` must be above 0, not -2"),
        ("{ process = \"poisson\" }", "{ process = \"poisson\" }", "arrivals have no `rate`"),
        ("{ rate = 1, cv = 2 }", "2", "`cv` goes with process = \"gamma\" or \"weibull\" only"),
        (
            "{ process = \"gamma\", rate = 1 }",
            "{ process = \"gamma\", rate = 1 }",
            "gamma and weibull gaps need a `cv`, such as cv = 1.5",
        ),
        ("{ process = \"gamma\", rate = 1, cv = 0 }", "0", "`cv` must be between 0.01 and 100, not 0"),
        ("{ rate = 1, concurrency = 5 }", "5", "`concurrency` goes with process = \"closed\" only"),
        ("{ process = \"closed\" }", "{ process = \"closed\" }", "closed arrivals need `concurrency`, the number of clients"),
        ("{ process = \"closed\", concurrency = 0 }", "0", "`concurrency` must be at least 1, not 0"),
        (
            "{ process = \"closed\", concurrency = 2, rate = 7 }",
            "7",
            "`rate` does not go with process = \"closed\": clients wait for answers",
        ),
        ("{ process = \"closed\", concurrency = 2, think = 7 }", "7", "a time needs a unit: write \"7s\" or \"7ms\", not 7"),
        ("{ rate = { base = 1 } }", "{ base = 1 }", "a rate's curve needs `amplitude` (a day), `points`, or `peak` (bursts)"),
        ("{ rate = { base = 1, amplitude = 2 } }", "2", "`amplitude` must be between 0 and 1, not 2"),
        ("{ rate = { amplitude = 1 } }", "{ amplitude = 1 }", "this rate needs `base`"),
        ("{ rate = { base = 1, amplitude = 1, period = \"0s\" } }", "\"0s\"", "`period` must be longer than 0"),
        (
            "{ rate = { base = 1, amplitude = 1, peak = 2 } }",
            "{ base = 1, amplitude = 1, peak = 2 }",
            "a rate has one curve: a day (amplitude, phase), points, or bursts (peak, every, length)",
        ),
        ("{ rate = { points = [[\"1s\", 2]] } }", "[[\"1s\", 2]]", "`points` must begin at \"0s\""),
        ("{ rate = { points = [] } }", "[]", "`points` must begin at \"0s\""),
        ("{ rate = { points = [[\"0s\", 2], [\"0s\", 3]] } }", "[[\"0s\", 2], [\"0s\", 3]]", "`points` must ascend in time"),
        ("{ rate = { points = [[\"0s\", 0]] } }", "[[\"0s\", 0]]", "the rates of `points` are all 0: nothing would ever arrive"),
        ("{ rate = { points = [[\"0s\", -1]] } }", "[[\"0s\", -1]]", "the rates of `points` must be 0 or more"),
        (
            "{ rate = { points = [[\"0s\", 1], [\"9s\", 2]], period = \"8s\" } }",
            "\"8s\"",
            "`period` must not end before the last of `points`",
        ),
        ("{ rate = { peak = 5, every = \"1m\", length = \"2m\" } }", "\"2m\"", "`length` of a burst must be at most `every`"),
        ("{ rate = { peak = 5, length = \"2m\" } }", "{ peak = 5, length = \"2m\" }", "this rate needs `every`"),
    ] {
        one(&with_class(&format!("arrivals = {arrivals}")), offending, message);
    }
}

#[test]
fn impossible_traces_are_refused() {
    for (trace, offending, message) in [
        ("{}", "{}", "a trace needs a `path`"),
        ("{ path = \"t\", rate_scale = 0 }", "0", "`rate_scale` must be from 0.000001 to 1000000, not 0"),
        (
            "{ path = \"t\", window = [\"5s\", \"5s\"] }",
            "[\"5s\", \"5s\"]",
            "`window` must be [start, end] with the start before the end",
        ),
        ("{ path = \"t\", block_tokens = 0 }", "0", "`block_tokens` must be at least 1, not 0"),
        (
            "{ path = \"t\", format = \"mapped\" }",
            "\"mapped\"",
            "a mapped trace needs `columns`, such as { arrival_s = \"timestamp:ms\" }",
        ),
        ("{ path = \"t\", format = \"azure\", columns = {} }", "{}", "`columns` goes with format = \"mapped\" only"),
    ] {
        one(&format!("{BASE}trace = {trace}"), offending, message);
    }
}

#[test]
fn what_is_missing_is_named() {
    one(BASE, "", "the scenario has no workload: no [[class]] and no [trace]");
    let class = CLASS;
    one(&format!("{}{class}", BASE.replace("model = { name = \"llama-3.1-8b\" }\n", "")), "", "the scenario names no model");
    one(&format!("{}{class}", BASE.replace("gpu = { name = \"h100-sxm\" }\n", "")), "", "the scenario names no GPU");
    one(&format!("{}{class}", BASE.replace("{ name = \"h100-sxm\" }", "{}")), "{}", "[gpu] has no `name`");
    one(&format!("{}{class}", BASE.replace("{ name = \"llama-3.1-8b\" }", "{}")), "{}", "[model] has neither `name` nor `config`");
    for key in ["arrivals", "prompt", "output"] {
        let text = with_class(&format!("{key} "));
        let text = text.trim_end().strip_suffix(key).unwrap();
        one(text, "[[class]]", &format!("class \"a\" has no `{key}`"));
    }
    let unnamed = with_section("").replace("name = \"a\"\n", "");
    one(&unnamed, "[[class]]", "a class needs a `name`");
}

#[test]
fn names_of_classes_are_unique() {
    let error = one(&format!("{BASE}{CLASS}{CLASS}"), "\"a\"", "two classes are named \"a\"");
    assert_eq!(error.line_column(), Some((10, 8)), "the second one");
}

#[test]
fn unknown_catalogue_names_point_at_the_name() {
    for (text, offending, message) in [
        (
            EXAMPLE.replace("llama-3.1-8b", "llama-3.1-8"),
            "\"llama-3.1-8\"",
            "unknown model `llama-3.1-8`, did you mean `llama-3.1-8b`?",
        ),
        (EXAMPLE.replace("h100-sxm", "h10-sxm"), "\"h10-sxm\"", "unknown GPU `h10-sxm`, did you mean `h100-sxm`?"),
        (with_section("cost = { profile = \"none-such\" }"), "\"none-such\"", "no profile is named none-such"),
        (with_section("cost = { profile = \"./none.toml\" }"), "\"./none.toml\"", "profile ././none.toml: "),
    ] {
        let errors = wrong(&text);
        assert_eq!((errors.len(), errors[0].offending()), (1, offending));
        assert!(errors[0].message.starts_with(message), "{}", errors[0]);
    }
    let both = EXAMPLE.replace("h100-sxm", "h10").replace("replicas = 4", "replicas = 0").replace("= 256", "= 0");
    assert_eq!(wrong(&both).len(), 3, "a wrong GPU hides nothing else");
}

#[test]
fn layouts_must_fit_the_model() {
    let tensor = EXAMPLE.replace("tensor_parallel = 1", "tensor_parallel = 3");
    one(&tensor, "3", "`tensor_parallel` must divide the 32 attention heads of llama-3.1-8b, which 3 does not");
    let pipeline = EXAMPLE.replace("tensor_parallel = 1", "pipeline_parallel = 33");
    one(&pipeline, "33", "`pipeline_parallel` must be at most the 32 layers of llama-3.1-8b, not 33");
    let both =
        EXAMPLE.replace("tensor_parallel = 1", "pipeline_parallel = 2").replace("[engine]", "[engine]\nasync_scheduling = true");
    one(&both, "true", "`async_scheduling` with pipeline stages is not modelled: they keep several batches in flight anyway");
    let mixture = EXAMPLE.replace("llama-3.1-8b", "qwen3-30b-a3b");
    let ranks = |keys: &str| mixture.replace("tensor_parallel = 1", keys);
    one(
        &ranks("data_parallel = 129\nexpert_parallel = true"),
        "129",
        "`data_parallel` = 129 makes 129 ranks for the 128 experts of qwen3-30b-a3b",
    );
    let width = "`data_parallel` = 5 makes 5 ranks, which do not divide the width 768 of the experts of qwen3-30b-a3b";
    one(&ranks("data_parallel = 5"), "5", &format!("{width}; expert_parallel = true keeps experts whole"));
    one(
        &ranks("data_parallel = 2\npipeline_parallel = 2"),
        "2",
        "`data_parallel` ranks of a mixture in pipeline stages are not modelled",
    );
    one(&ranks("data_parallel = 0"), "0", "`data_parallel` must be at least 1, not 0");
}

#[test]
fn a_value_that_cannot_be_read_is_not_missing_as_well() {
    one(&with_class("output = { tokens = \"x\" }"), "\"x\"", "expected a number, found text \"x\"");
    one(&with_class("arrivals = { rate = \"x\" }"), "\"x\"", "expected a number, found text \"x\"");
    one(
        &with_class("prompt = { user = true }"),
        "true",
        "expected a number of tokens, or a distribution such as { median = 900, p95 = 4000 }, found boolean `true`",
    );
    one(&with_section("").replace("{ name = \"h100-sxm\" }", "{ name = 5 }"), "5", "expected a text in quotes, found number `5`");
}

#[test]
fn broken_toml_is_shown_alone() {
    let errors = wrong(&EXAMPLE.replace("replicas = 4", "replicas = = 4"));
    assert!(errors.iter().all(|error| error.message.starts_with("not valid TOML")), "{errors:?}");
    assert_eq!(errors[0].line_column().map(|(line, _)| line), Some(14));
    let errors = wrong(&format!("{EXAMPLE}\n[model]\nname = \"x\""));
    assert!(errors[0].message.starts_with("not valid TOML"), "{errors:?}");
}

#[test]
fn nothing_typed_makes_it_panic() {
    // Every prefix of the example, and every single character of it replaced by others, is an error or a scenario.
    for end in (0..EXAMPLE.len()).filter(|end| EXAMPLE.is_char_boundary(*end)) {
        let _ = load(&EXAMPLE[..end]);
    }
    for at in (0..EXAMPLE.len()).step_by(3) {
        for other in ["", "0", "-", "\"", "[", "ü"] {
            let text = format!("{}{other}{}", &EXAMPLE[..at], &EXAMPLE[at + 1..]);
            if let Err(errors) = load(&text) {
                assert!(!errors.is_empty());
                for error in errors {
                    let _ = (error.to_string(), error.offending().len());
                }
            }
        }
    }
}

#[test]
fn a_file_that_is_not_there_is_an_error_without_a_place() {
    let errors = crate::scenario::load(Path::new("/nonexistent/s.toml")).err().unwrap();
    assert!(errors.to_string().starts_with("/nonexistent/s.toml: cannot read the scenario: "), "{errors}");
}

#[test]
fn a_sequence_that_the_usable_blocks_cannot_hold_is_refused() {
    // vLLM's own check counts block 0, which is never used: with 64 blocks 1,024 tokens pass it and can never end.
    let flags = |len: u32| format!("engine = {{ max_model_len = {len}, num_gpu_blocks_override = 64 }}");
    let errors = wrong(&with_section(&flags(1024)));
    assert_eq!(errors[0].message, "one sequence of max_model_len = 1024 tokens needs 64 KV blocks of 16, and 63 can be used");
    assert_eq!(errors[0].help.as_deref(), Some("the longest sequence that fits has 1009 tokens: set max_model_len"));
    assert!(load(&with_section(&flags(1009))).is_ok());
}
