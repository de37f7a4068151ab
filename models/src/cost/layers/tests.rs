//! A small profile with round numbers, and what steps must come to on it.

use super::*;
use crate::architecture::{Architecture, Moe};
use crate::cost::testing::{decodes, h100, llama_8b, on, pieces_agree, prefill};
use crate::cost::{CostChoice, HostOverrides};
use crate::gpu::Gpu;

/// Of the H100, above its floor everywhere.
const EXAMPLE: &str = r#"
schema = 1
name = "small"
kind = "layers"
gpu = "h100-sxm"
model = "llama-3.1-8b"
weights = "bf16"
kv = "bf16"
tensor_parallel = 1
engine = "vllm"
engine_version = "0.19.0"
date = "2026-01-31"
source = "made up"
licence = "CC0"
attribution = ""
ranges = { decodes_max = 64, context_max = 16384, prefill_tokens_max = 1024 }
[errors]
decode = { points = 0, mean_percent = 0.0, p95_percent = 0.0, worst_percent = 0.0 }
prefill = { points = 0, mean_percent = 0.0, p95_percent = 0.0, worst_percent = 0.0 }
[layers]
count = 32
once = ["embedding"]
each = ["norm", "attn_proj", "norm", "mlp"]
[layers.tokens]
tokens = [1, 256, 2048]
us = { embedding = [5, 6, 10], norm = [2, 3, 10], attn_proj = [30, 32, 120], mlp = [110, 130, 1000] }
[layers.sequences]
sequences = [1, 128]
us = { lm_head = [400, 420], sampler = [20, 30] }
[layers.skew]
default = 0.5
decodes = [2, 8]
rate_percent = [50]
longest = [1023]
[[layers.skew.alphas]]
chunk = 0
alpha = [[0.1, 0.2, 0.3, 0.4], [0.5, 0.6, -0.1, 0.8], [0.25, 0.75, 0, 1.5]]
[[layers.attention]]
chunk = 0
decodes = [1, 8, 64]
history = [0]
context = [16, 1024, 16384]
us = [[5, 6, 25], [6, 14, 180], [8, 90, 1350]]
[[layers.attention]]
chunk = 16
decodes = [0]
history = [0, 1024]
context = [0]
us = [[6], [8]]
[[layers.attention]]
chunk = 1024
decodes = [0]
history = [0, 1024]
context = [0]
us = [[60], [130]]
[[layers.attention]]
chunk = 16
decodes = [1, 8]
history = [0]
context = [16, 1024]
us = [[9, 10], [12, 22]]
[[layers.attention]]
chunk = 16
decodes = [1, 8]
history = [1024]
context = [16, 1024, 16384]
us = [[12, 13, 30], [15, 25, 200]]
"#;

const EXPERTS: &str = r#"
[layers.experts]
gating = "uniform"
rows = [{ activated = 2, tokens = [1, 1024], us = [300, 600] }, { activated = 8, tokens = [1, 1024], us = [900, 1200] }]
"#;

fn profile(text: &str) -> Profile {
    Profile::parse("small", text).unwrap()
}

/// Without graphs, so that nothing is padded.
fn eager() -> Deployment {
    Deployment { cuda_graphs: false, max_num_seqs: 100, ..on(h100(), llama_8b(), 1) }
}

/// One layer's attention [us]: what a step lasts beyond its other kernels.
fn attention(layers: &Layers, batch: &BatchShape) -> f64 {
    (layers.iteration(batch).0 - layers.nonattention(batch)) as f64 / PS_PER_US / 32.0
}

/// Decodes of these contexts, the new token left out.
fn of(contexts: &[u64]) -> BatchShape {
    let mut batch = BatchShape::default();
    contexts.iter().for_each(|context| batch.add_decode(context + 1));
    batch
}

#[test]
fn kernels_are_counted_as_often_as_they_run() {
    let layers = Layers::new(&profile(EXAMPLE), &eager()).unwrap();
    let us = |batch: &BatchShape| layers.nonattention(batch) as f64 / PS_PER_US;
    assert!((us(&decodes(1, 100)) - (5.0 + 32.0 * (2.0 + 30.0 + 2.0 + 110.0) + 420.0)).abs() < 1e-6);
    // Halfway between 256 and 2,048 tokens, two sequences.
    let halfway = 8.0 + 32.0 * (6.5 + 76.0 + 6.5 + 565.0) + 420.0 + 30.0 / 127.0;
    assert!((us(&prefill(2, 0, 576)) - halfway).abs() < 1e-6);
    // Beyond the last point the secant from half of it, where kernels take 3 + 7 * 768 / 1792 us and the like.
    let at_half = 6.0 + 4.0 * 768.0 / 1792.0 + 32.0 * (2.0 * 6.0 + 32.0 + 88.0 * 768.0 / 1792.0 + 130.0 + 870.0 * 768.0 / 1792.0);
    let end = 10.0 + 32.0 * (20.0 + 120.0 + 1000.0);
    assert!((us(&prefill(1, 0, 4096)) - (end + 2.0 * (end - at_half) + 420.0)).abs() < 0.1);
}

#[test]
fn linear_layers_run_at_the_captured_size_and_the_head_on_sequences() {
    let graphs = Layers::new(&profile(EXAMPLE), &Deployment { cuda_graphs: true, ..eager() }).unwrap();
    let eager = Layers::new(&profile(EXAMPLE), &eager()).unwrap();
    let sequences = |layers: &Layers, n: u64| layers.sequences.at(n);
    assert_eq!(graphs.linear(57), eager.linear(64));
    assert_eq!(graphs.linear(201), eager.linear(201), "larger than 2 * 100 sequences");
    assert_eq!(graphs.nonattention(&decodes(57, 9)) - graphs.linear(57), sequences(&eager, 57));
}

#[test]
fn attention_is_bilinear_in_ragged_slices() {
    let layers = Layers::new(&profile(EXAMPLE), &eager()).unwrap();
    let alone = |n: u32, context: u64| attention(&layers, &decodes(n, context + 1));
    for (n, context, expected) in
        [(1, 16, 5.0), (1, 3, 5.0), (8, 1024, 14.0), (64, 520, 49.0), (36, 1024, 52.0), (8, 8704, 97.0), (8, 31_744, 346.0)]
    {
        assert!((alone(n, context) / expected - 1.0).abs() < 1e-4, "{n} {context}: {} {expected}", alone(n, context));
    }
    let chunk = |tokens: u64, history: u64| attention(&layers, &prefill(1, history, tokens));
    for (tokens, history, expected) in [(16, 0, 6.0), (520, 0, 33.0), (1024, 512, 95.0), (16, 2048, 10.0)] {
        assert!((chunk(tokens, history) - expected).abs() < 1e-4, "{tokens} {history}: {} {expected}", chunk(tokens, history));
    }
    let mixed = |n: u32, context: u64, history: u64, tokens: u64| {
        let mut batch = decodes(n, context + 1);
        batch.add_chunk(history, tokens, true);
        attention(&layers, &batch)
    };
    for (n, context, history, tokens, expected) in [
        (8, 16, 0, 16, 12.0),
        // Halfway between the histories, of which one knows contexts that the other does not.
        (8, 8704, 512, 16, (98.190_476 + 112.5) / 2.0),
        // More than 8 decodes with a chunk were not measured: the line from 1 to 8 goes on.
        (64, 1024, 0, 16, 10.0 + 12.0 * 63.0 / 7.0),
        // With a chunk of 1,024 tokens nothing but 0 decodes was measured.
        (8, 16, 0, 1024, 60.0),
    ] {
        let found = mixed(n, context, history, tokens);
        assert!((found - expected).abs() < 1e-3, "{n} {context} {history} {tokens}: {found} {expected}");
    }
}

#[test]
fn unequal_contexts_cost_more_by_their_bin() {
    let layers = Layers::new(&profile(EXAMPLE), &eager()).unwrap();
    assert!(layers.reads_spread());
    // Mean 520, longest 1,024 (in the last bin), rate exactly 50 %: alpha 0.2 for two decodes.
    let at = |n: f64, context: f64| layers.grid.at(0.0, n, 0.0, context);
    let found = attention(&layers, &of(&[16, 1024]));
    assert!((found - (at(2.0, 520.0) + 0.2 * (at(2.0, 1024.0) - at(2.0, 520.0)))).abs() < 1e-4, "{found}");
    // Three decodes, rate 66 %, longest 1,000: row of up to 8, third column.
    let found = attention(&layers, &of(&[16, 1000, 1000]));
    assert!((found - (at(3.0, 672.0) - 0.1 * (at(3.0, 1000.0) - at(3.0, 672.0)))).abs() < 1e-4, "{found}");
    assert!((attention(&layers, &of(&[700, 700])) - at(2.0, 700.0)).abs() < 1e-4);
    // With a chunk, more tokens than any bin has: the default.
    let mut batch = of(&[16, 1024]);
    batch.add_chunk(0, 16, true);
    let mixed = |context: f64| layers.grid.at(16.0, 2.0, 0.0, context);
    assert!((attention(&layers, &batch) - (mixed(520.0) + 0.5 * (mixed(1024.0) - mixed(520.0)))).abs() < 1e-4);
    assert!(!Layers::new(&profile(&without_skew()), &eager()).unwrap().reads_spread());
}

fn without_skew() -> String {
    let (head, rest) = EXAMPLE.split_once("[layers.skew]").unwrap();
    head.to_owned() + &rest[rest.find("[[layers.attention]]").unwrap()..]
}

/// With alphas below 0 and above 1, whose pieces may fall.
#[test]
fn pieces_agree_over_bins_and_segments() {
    for cuda_graphs in [false, true] {
        pieces_agree(&Layers::new(&profile(EXAMPLE), &Deployment { cuda_graphs, ..eager() }).unwrap(), 41);
    }
    pieces_agree(&Layers::new(&profile(&without_skew()), &eager()).unwrap(), 42);
    let piece = Layers::new(&profile(EXAMPLE), &eager()).unwrap().decode_piece(&of(&[100, 200]));
    // The longest context reaches the next bin at 1,024, the mean the next segment later.
    assert_eq!(piece.steps, 1023 - 200);
}

/// The last segment of one decode is faster than memory: far beyond it the floor holds, and pieces end where it takes over.
#[test]
fn extensions_stay_above_the_floor() {
    let text = EXAMPLE.replace("us = [[5, 6, 25]", "us = [[5, 22, 25]");
    let layers = Layers::new(&profile(&text), &eager()).unwrap();
    let far = decodes(1, 4_000_000);
    assert_eq!(layers.iteration(&far), layers.floor.of(&far));
    let near = decodes(1, 17_000);
    assert!(layers.iteration(&near) > layers.floor.of(&near));
    pieces_agree(&layers, 43);
}

fn mixture() -> Architecture {
    let moe = Moe { experts: 8, top_k: 2, intermediate: 1024, shared_intermediate: 0, dense_layers: 0 };
    Architecture { name: "mixture".into(), moe: Some(moe), ..llama_8b() }
}

fn of_mixture(text: &str, tensor_parallel: u32, expert_parallel: bool) -> Layers {
    let (head, blocks) = text.split_at(text.find("[layers.skew]").unwrap());
    let reduce =
        format!("[[layers.all_reduce]]\nranks = 2\nsource = \"made up\"\nbytes = [8192, 8388608]\nus = [{}, 110.0]\n", 10.0);
    let mut profile = Profile::parse("small", &(head.to_owned() + EXPERTS + &reduce + blocks)).unwrap();
    (profile.model, profile.tensor_parallel) = ("mixture".into(), tensor_parallel);
    Layers::new(&profile, &Deployment { expert_parallel, ..on(h100(), mixture(), tensor_parallel) }).unwrap()
}

#[test]
fn experts_are_those_that_routing_wakes() {
    let us = |layers: &Layers, tokens: u64| layers.experts.at(tokens) as f64 / PS_PER_US / 32.0;
    let uniform = of_mixture(EXAMPLE, 1, false);
    // 2 of 8 at one token; 8 (1 - 0.75^4) at four; all at very many.
    assert!((us(&uniform, 1) - 300.0).abs() < 1e-3);
    let woken = 8.0 * (1.0 - 0.75f64.powi(4));
    let expected = 300.0 + 600.0 * (woken - 2.0) / 6.0 + 300.0 * 3.0 / 1023.0;
    assert!((us(&uniform, 4) - expected).abs() < 1e-3, "{} {expected}", us(&uniform, 4));
    assert!((us(&uniform, 1024) - 1200.0).abs() < 1e-3);
    // Spread over two ranks: half of the experts, and rows of half of the tokens.
    let spread = of_mixture(EXAMPLE, 2, true);
    assert!((us(&spread, 1024) - (500.0 + 300.0 * 511.0 / 1023.0)).abs() < 1e-3, "{}", us(&spread, 1024));
    let sliced = of_mixture(EXAMPLE, 2, false);
    assert!((us(&sliced, 1024) - 600.0).abs() < 1e-3);
    let balanced = Experts::new(&profile_experts("balanced"), 8, 2);
    assert!((balanced.us(4.0, 1.0) - (900.0 + 300.0 * 3.0 / 1023.0)).abs() < 1e-6, "8 choices wake 8 experts");
    assert!((balanced.us(2.0, 2.0) - (300.0 + 300.0 / 1023.0)).abs() < 1e-6, "2 of 4, and 2 (1 - 1/4) tokens");
}

fn profile_experts(gating: &str) -> crate::cost::ExpertTable {
    let text = EXPERTS.replace("[layers.experts]", "").replace("uniform", gating);
    toml::from_str(&text).unwrap()
}

#[test]
fn ranks_that_step_together_share_experts_and_wait_for_the_slowest() {
    let layers = of_mixture(EXAMPLE, 1, true);
    let ps = |us: f64| (us * PS_PER_US) as u64;
    let (small, large, idle) = (decodes(1, 100), prefill(1, 0, 1000), BatchShape::default());
    // 1,000 and 1 tokens without a graph: the dense layers of the larger batch, experts of all 1,001, moved as an all-reduce.
    let found = layers.together(&[small, large]).0;
    let own = layers.tokens.at(1000) + layers.sequences.at(1) + layers.mixed_attention(&large);
    let woken = 500.0 + 300.0 * (500.5 - 1.0) / 1023.0;
    let exchange = 10.0 + 100.0 * (1001.0 * 8192.0 - 8192.0) / (8_388_608.0 - 8192.0);
    assert!(found.abs_diff(own + ps(32.0 * (woken + exchange))) < 100_000, "{found}");
    assert_eq!(layers.together(&[large, idle]), layers.together(&[idle, large]));
    // As a graph both run at the padded size of the larger one, and an idle rank costs as much as a busy one.
    let graph = layers.together(&[decodes(5, 100), decodes(3, 100)]);
    assert_eq!(graph, layers.together(&[decodes(5, 100), idle]));
    assert!(graph > layers.together(&[decodes(4, 100), idle]));
}

/// The deployment of a group: its steps are those of equal ranks, never below the floor of the group, and no other profile stands
/// for it.
#[test]
fn a_group_is_priced_by_the_layers_of_one_rank() {
    let model = Architecture::find("qwen3-30b-a3b").unwrap();
    let gpu = Gpu::find("rtx-pro-6000").unwrap();
    let deployment = Deployment { data_parallel: 2, expert_parallel: true, ..on(gpu, model, 1) };
    let (cost, info) = crate::cost::build(&deployment, &CostChoice::Auto, &HostOverrides::default(), true).unwrap();
    assert_eq!((info.kind, info.host.sync_us), ("layers", 200.0));
    assert!(info.source.contains("put together of one rank's layers"), "{}", info.source);
    let floor = Floor::new(&deployment).unwrap();
    for batch in [decodes(1, 100), decodes(64, 1000), prefill(1, 0, 4000)] {
        let both = cost.lockstep(&[batch, batch]);
        assert!(cost.iteration(&batch).0.abs_diff(both.0) <= 100, "{batch:?}");
        let idle = cost.lockstep(&[batch, BatchShape::default()]);
        assert!(idle <= both && idle >= floor.of_lockstep(&[batch, BatchShape::default()]), "{batch:?}");
    }
    let alone = Deployment { data_parallel: 1, expert_parallel: false, ..deployment.clone() };
    let (single, _) = crate::cost::build(&alone, &CostChoice::Auto, &HostOverrides::default(), true).unwrap();
    let ms = |cost: &dyn CostModel, n: u32| cost.iteration(&decodes(n, 1000)).as_millis_f64();
    println!("decode of 2 x 32 on two ranks {:.2} ms, of 64 on one {:.2} ms", ms(cost.as_ref(), 32), ms(single.as_ref(), 64));
    assert!(ms(cost.as_ref(), 32) < ms(single.as_ref(), 64));
    let other = CostChoice::Profile("h100-sxm_llama-3.1-8b_bf16_tp1".into());
    assert!(crate::cost::build(&deployment, &other, &HostOverrides::default(), true).is_err());
}

#[test]
fn all_reduces_are_measured_or_by_formula() {
    let two = |link: &str| {
        let (head, rest) = EXAMPLE.split_once("[layers.tokens]").unwrap();
        let mut profile =
            Profile::parse("small", &(head.replace("parallel = 1", "parallel = 2") + link + "[layers.tokens]" + rest))?;
        profile.tensor_parallel = 2;
        Layers::new(&profile, &Deployment { cuda_graphs: false, ..on(h100(), llama_8b(), 2) })
    };
    let reduce = "[[layers.all_reduce]]\nranks = 2\nsource = \"made up\"\nbytes = [8192, 16384]\nus = [10, 14]\n";
    let single = Layers::new(&profile(EXAMPLE), &eager()).unwrap();
    let added = |layers: &Layers, tokens: u64| (layers.linear(tokens) - single.linear(tokens)) as f64 / PS_PER_US / 64.0;
    let measured = two(reduce).unwrap();
    // A token is 8,192 bytes.
    assert!((added(&measured, 1) - 10.0).abs() < 1e-6 && (added(&measured, 3) - 18.0).abs() < 1e-6);
    let link = two("[layers.link]\nlatency_us = 20\ngib_per_s = 16\nmemory_gb_per_s = 1597\n").unwrap();
    let expected = 2.0 * (20.0 + 4096.0 / (16.0 * 1.073_741_824e3)) + 3.0 * 4096.0 / 1597e3;
    assert!((added(&link, 1) - expected).abs() < 1e-6, "{} {expected}", added(&link, 1));
    assert!(two("").err().unwrap().to_string().contains("layers.all_reduce has none of 2 ranks"));
}

#[test]
fn impossible_or_foreign_profiles_are_refused() {
    let refused = |from: &str, to: &str| {
        assert!(EXAMPLE.contains(from));
        let profile = Profile::parse("small", &EXAMPLE.replace(from, to));
        profile.and_then(|profile| Layers::new(&profile, &eager())).err().unwrap().to_string()
    };
    for (from, to, expected) in [
        ("mlp = [110, 130, 1000]", "mlp = [70, 130, 1000]", "faster than physics allows: a step of 1 tokens in"),
        ("mlp = [110, 130, 1000]", "mlp = [110, 130, 600]", "a step of 2048 tokens in"),
        ("90, 1350]]", "90, 1050]]", "decode attention of 64 sequences of 16384 tokens in 1050 us a layer"),
        ("count = 32", "count = 31", "layers.count = 31, llama-3.1-8b has 32 layers"),
        ("\"norm\", \"mlp\"", "\"norm\", \"mpl\"", "names the kernel mpl, which layers.tokens.us lacks"),
        ("\"norm\", \"mlp\"", "\"norm\"", "layers.tokens.us.mlp is in neither"),
        ("mlp = [110, 130, 1000]", "mlp = [110, 130]", "the axis has 3 values, the kernel 2"),
        ("us = [[5, 6, 25]", "us = [[5, 4, 25]", "us falls from 5 to 4 between contexts 16 and 1024"),
        ("us = [[5, 6, 25]", "us = [[5, nan, 25]", "holds NaN"),
        ("us = [[9, 10], [12, 22]]", "us = [[9, 10]]", "decodes x history has 2 values, us 1"),
        ("0.1, 0.2", "0.1, 20", "an alpha of 20"),
        ("kind = \"layers\"", "kind = \"table\"", "layers does not belong into a profile of this kind"),
    ] {
        let message = refused(from, to);
        assert!(message.contains(expected), "{to}: {message}");
    }
    let with_experts = profile(&(EXAMPLE.replace("[layers.skew]", &(EXPERTS.to_owned() + "[layers.skew]"))));
    let message = Layers::new(&with_experts, &eager()).unwrap_err().to_string();
    assert!(message.contains("layers.experts must be there if and only if llama-3.1-8b is a mixture"), "{message}");
}

#[test]
fn survives_a_round_trip_one_row_of_times_a_line() {
    let profile = profile(EXAMPLE);
    let text = profile.to_toml().unwrap();
    assert!(text.contains("\n    [5,6,25],\n    [6,14,180],\n"), "{text}");
    assert_eq!(Profile::parse("again", &text).unwrap(), profile);
}
