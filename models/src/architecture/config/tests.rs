//! Tests of reading `config.json`.

use super::*;
use serde_json::json;

fn read(config: Value) -> Result<Architecture, ConfigError> {
    Architecture::from_config_json(&config.to_string(), "test")
}

/// The shape that the catalogue has under `name`, called as [`read`] calls it.
fn catalogue(name: &str) -> Architecture {
    Architecture { name: "test".into(), ..Architecture::find(name).unwrap() }
}

fn llama() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256,
        "max_position_embeddings": 131072, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
        "rope_scaling": {"factor": 8.0, "rope_type": "llama3", "original_max_position_embeddings": 8192}
    })
}

fn without(mut config: Value, key: &str) -> Value {
    config.as_object_mut().unwrap().remove(key);
    config
}

fn with(mut config: Value, key: &str, value: Value) -> Value {
    config[key] = value;
    config
}

fn qwen3_moe() -> Value {
    json!({
        "model_type": "qwen3_moe", "hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 48, "head_dim": 128,
        "num_attention_heads": 32, "num_key_value_heads": 4, "vocab_size": 151936, "max_position_embeddings": 40960,
        "tie_word_embeddings": false, "num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768,
        "decoder_sparse_step": 1, "mlp_only_layers": [], "sliding_window": null,
        "use_sliding_window": false, "max_window_layers": 48
    })
}

fn deepseek() -> Value {
    json!({
        "model_type": "deepseek_v3", "hidden_size": 7168, "intermediate_size": 18432, "num_hidden_layers": 61,
        "num_attention_heads": 128, "num_key_value_heads": 128, "vocab_size": 129280, "max_position_embeddings": 163840,
        "tie_word_embeddings": false, "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
        "v_head_dim": 128, "n_routed_experts": 256, "n_shared_experts": 1, "num_experts_per_tok": 8, "moe_intermediate_size": 2048,
        "first_k_dense_replace": 3, "moe_layer_freq": 1,
        "rope_scaling": {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096},
        "quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]}
    })
}

fn gpt_oss(layers: u32, experts: u32) -> Value {
    let kinds: Vec<&str> = (0..layers).map(|layer| if layer % 2 == 0 { "sliding_attention" } else { "full_attention" }).collect();
    json!({
        "model_type": "gpt_oss", "hidden_size": 2880, "intermediate_size": 2880, "num_hidden_layers": layers, "head_dim": 64,
        "num_attention_heads": 64, "num_key_value_heads": 8, "vocab_size": 201088, "max_position_embeddings": 131072,
        "sliding_window": 128, "layer_types": kinds, "num_local_experts": experts, "num_experts_per_tok": 4,
        "experts_per_token": 4, "tie_word_embeddings": false,
        "rope_scaling": {"rope_type": "yarn", "factor": 32.0, "original_max_position_embeddings": 4096},
        "quantization_config": {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn"]}
    })
}

/// Leaves out, as the published file does, what equals the defaults of its class.
fn gemma3_27b() -> Value {
    json!({
        "architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3",
        "text_config": {
            "model_type": "gemma3_text", "hidden_size": 5376, "intermediate_size": 21504, "num_hidden_layers": 62, "head_dim": 128,
            "num_attention_heads": 32, "num_key_value_heads": 16, "sliding_window": 1024, "query_pre_attn_scalar": 168,
            "rope_scaling": {"factor": 8.0, "rope_type": "linear"}
        },
        "vision_config": {"model_type": "siglip_vision_model", "hidden_size": 1152, "num_hidden_layers": 27}
    })
}

fn mixtral() -> Value {
    json!({
        "model_type": "mixtral", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 32000, "max_position_embeddings": 32768,
        "num_local_experts": 8, "num_experts_per_tok": 2, "sliding_window": null, "tie_word_embeddings": false
    })
}

#[test]
fn published_files_give_the_catalogues_shapes() {
    assert_eq!(read(llama()), Ok(catalogue("llama-3.1-8b")));
    // Its weights in bf16 and in fp8 are two checkpoints; the catalogue has what both are.
    assert_eq!(read(qwen3_moe()), Ok(Architecture { fp8_blocks: false, ..catalogue("qwen3-30b-a3b") }));
    let blocks = json!({"quant_method": "fp8", "weight_block_size": [128, 128]});
    assert_eq!(read(with(qwen3_moe(), "quantization_config", blocks)), Ok(catalogue("qwen3-30b-a3b")));
    assert_eq!(read(deepseek()), Ok(catalogue("deepseek-v3")));
    assert_eq!(read(gpt_oss(24, 32)), Ok(catalogue("gpt-oss-20b")));
    assert_eq!(read(gpt_oss(36, 128)), Ok(catalogue("gpt-oss-120b")));
    assert_eq!(read(mixtral()), Ok(catalogue("mixtral-8x7b")));
    let gemma = read(gemma3_27b()).unwrap();
    assert!(gemma.approximate.as_ref().is_some_and(|note| note.contains("tower") && note.contains("1024")));
    assert_eq!(Architecture { approximate: None, ..gemma }, Architecture { approximate: None, ..catalogue("gemma-3-27b") });
}

#[test]
fn the_config_of_a_real_server_is_read() {
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared");
    let shared = std::env::var("TOKENTIDE_SHARED").unwrap_or_else(|_| here.to_owned());
    let Ok(text) = std::fs::read_to_string(format!("{shared}/servers/h200/model-8b/config.json")) else {
        println!("skipped: no shared folder here");
        return;
    };
    let model = Architecture::from_config_json(&text, "test").unwrap();
    let expected = Architecture { vocab: 32000, max_context: 32768, ..catalogue("llama-3.1-8b") };
    assert_eq!(model, expected);
}

#[test]
fn sparse_gemma_and_older_classes_take_the_defaults_of_their_class() {
    let text = json!({"model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34});
    let gemma = read(json!({"model_type": "gemma3", "text_config": text, "vision_config": {}})).unwrap();
    assert_eq!((gemma.heads, gemma.kv_heads, gemma.head_dim, gemma.vocab), (8, 4, 256, 262_208));
    assert_eq!((gemma.tied_embeddings, gemma.max_context), (true, 131_072));
    assert_eq!(gemma.attention, Attention::Sliding { window: 4096, local_layers: 29 });
    let gemma2 = json!({
        "model_type": "gemma2", "hidden_size": 3584, "intermediate_size": 14336, "num_hidden_layers": 42, "head_dim": 256,
        "num_attention_heads": 16, "num_key_value_heads": 8, "vocab_size": 256000, "max_position_embeddings": 8192,
        "sliding_window": 4096
    });
    let gemma2 = read(gemma2).unwrap();
    assert_eq!((gemma2.local_layers(), gemma2.window(), gemma2.tied_embeddings), (21, Some(4096), true));
    // Gemma-2-9B: 9.24e9 parameters.
    assert!((gemma2.parameters().total() as f64 / 9.24e9 - 1.0).abs() < 0.005);
}

#[test]
fn windows_count_only_where_they_are_used() {
    let qwen = |key: &str, value: Value| {
        let config = with(with(llama(), "model_type", json!("qwen2")), "sliding_window", json!(4096));
        read(with(config, key, value)).unwrap().attention
    };
    assert_eq!(qwen("use_sliding_window", json!(false)), Attention::Full);
    let config = with(with(llama(), "model_type", json!("qwen2")), "sliding_window", json!(4096));
    let config = with(with(config, "use_sliding_window", json!(true)), "max_window_layers", json!(20));
    assert_eq!(read(config).unwrap().attention, Attention::Sliding { window: 4096, local_layers: 12 });
    let mistral = with(llama(), "model_type", json!("mistral"));
    let local = read(with(mistral.clone(), "sliding_window", json!(4096))).unwrap();
    assert_eq!(local.attention, Attention::Sliding { window: 4096, local_layers: 32 });
    assert_eq!(read(with(mistral, "sliding_window", json!(131072))).unwrap().attention, Attention::Full);
    let llama4 = with(with(llama(), "model_type", json!("llama4_text")), "attention_chunk_size", json!(8192));
    assert_eq!(read(llama4).unwrap().attention, Attention::Sliding { window: 8192, local_layers: 24 });
    let other = with(llama(), "layer_types", json!(vec!["linear_attention"; 32]));
    assert!(read(other).unwrap().approximate.unwrap().contains("32 layers of kind linear_attention"));
}

#[test]
fn an_explicit_head_dim_wins() {
    assert_eq!(read(llama()).unwrap().head_dim, 128);
    assert_eq!(read(with(llama(), "head_dim", json!(96))).unwrap().head_dim, 96);
    assert_eq!(read(with(llama(), "head_dim", Value::Null)).unwrap().head_dim, 128);
    // 30 heads do not divide 4096, but need not where the width is given.
    let odd = with(with(llama(), "num_attention_heads", json!(30)), "num_key_value_heads", json!(10));
    assert_eq!(
        read(odd.clone()).unwrap_err().to_string(),
        "`num_attention_heads` = 30: does not divide `hidden_size` = 4096, and there is no `head_dim`"
    );
    assert_eq!(read(with(odd, "head_dim", json!(128))).unwrap().head_dim, 128);
}

#[test]
fn generic_keys_do_for_unknown_classes() {
    let mut config = with(without(llama(), "num_key_value_heads"), "model_type", json!("brand_new"));
    assert_eq!(read(config.clone()).unwrap().kv_heads, 32);
    config["multi_query"] = json!(true);
    assert_eq!(read(config).unwrap().kv_heads, 1);
    let old = json!({"n_layer": 12, "n_embd": 768, "n_head": 12, "n_positions": 1024, "vocab_size": 50257, "n_inner": 3072});
    let old = read(old).unwrap();
    assert_eq!((old.layers, old.hidden, old.heads, old.head_dim, old.intermediate, old.max_context), (12, 768, 12, 64, 3072, 1024));
    assert!(read(with(llama(), "model_type", json!("starcoder2"))).unwrap().approximate.unwrap().contains("two"));
}

#[test]
fn scaled_positions_are_the_engines() {
    let scaled = |positions: u32, scaling: Value| {
        read(with(with(llama(), "max_position_embeddings", json!(positions)), "rope_scaling", scaling)).unwrap().max_context
    };
    assert_eq!(scaled(32768, json!({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768})), 131_072);
    assert_eq!(scaled(131_072, json!({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768})), 131_072);
    assert_eq!(scaled(4096, json!({"type": "linear", "factor": 2.0})), 8192);
    assert_eq!(scaled(131_072, json!({"rope_type": "llama3", "factor": 8.0})), 131_072);
    assert_eq!(scaled(4096, Value::Null), 4096);
    let v5 =
        with(without(llama(), "rope_scaling"), "rope_parameters", json!({"rope_type": "linear", "factor": 2, "rope_theta": 1e4}));
    assert_eq!(read(v5).unwrap().max_context, 262_144);
}

#[test]
fn patterns_of_dense_and_sparse_layers_are_counted() {
    let dense = |config: Value| read(config).unwrap().moe.map(|moe| moe.dense_layers);
    assert_eq!(dense(with(qwen3_moe(), "decoder_sparse_step", json!(2))), Some(24));
    assert_eq!(dense(with(qwen3_moe(), "mlp_only_layers", json!([0, 1, 47]))), Some(3));
    assert_eq!(dense(with(deepseek(), "moe_layer_freq", json!(2))), Some(61 - 29));
    assert_eq!(dense(with(deepseek(), "moe_layer_freq", json!([0, 1, 1, 0]))), Some(2));
    assert_eq!(dense(with(qwen3_moe(), "num_experts", json!(0))), None);
    let shared = read(with(qwen3_moe(), "shared_expert_intermediate_size", json!(5632))).unwrap();
    assert_eq!(shared.moe.unwrap().shared_intermediate, 5632);
}

#[test]
fn llama4_has_its_own_names_for_the_widths() {
    let scout = json!({"model_type": "llama4", "vision_config": {}, "text_config": {
        "model_type": "llama4_text", "hidden_size": 5120, "intermediate_size": 8192, "intermediate_size_mlp": 16384,
        "num_hidden_layers": 48, "num_attention_heads": 40, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 202048,
        "max_position_embeddings": 10485760, "attention_chunk_size": 8192, "num_local_experts": 16, "num_experts_per_tok": 1,
        "interleave_moe_layer_step": 1, "tie_word_embeddings": false
    }});
    let scout = read(scout).unwrap();
    assert_eq!((scout.intermediate, scout.local_layers()), (16384, 36));
    // 107.8e9 in the language model, 17.2e9 active.
    assert!((scout.parameters().total() as f64 / 107.8e9 - 1.0).abs() < 0.01);
    assert!((scout.parameters().active() as f64 / 17.2e9 - 1.0).abs() < 0.01);
}

#[test]
fn a_missing_key_is_named() {
    let required =
        ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size", "max_position_embeddings"];
    for key in required {
        let error = read(without(llama(), key)).unwrap_err().to_string();
        assert!(error.starts_with(&format!("`{key}` is missing")), "{error}");
    }
    for key in ["qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim", "num_experts_per_tok"] {
        let error = read(without(deepseek(), key)).unwrap_err().to_string();
        assert!(error.starts_with(&format!("`{key}` is missing")), "{error}");
    }
    let nested = json!({"model_type": "llava", "text_config": without(llama(), "hidden_size")});
    assert_eq!(read(nested).unwrap_err().to_string(), "`text_config.hidden_size` is missing (also read: `n_embd`, `d_model`)");
}

/// Every key that is read, with every value that cannot be meant: an error that names the key, and no panic.
#[test]
fn nonsense_is_an_error_that_names_the_key() {
    let bad = [json!(0), json!(-1), json!(1.5), json!("many"), json!([1]), json!({}), json!(true), json!(1e300), json!(u64::MAX)];
    let dense = [
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "vocab_size",
        "max_position_embeddings",
        "head_dim",
    ];
    let latent =
        ["kv_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim", "moe_intermediate_size", "num_experts_per_tok"];
    let cases = dense.map(|key| (llama(), key)).into_iter().chain(latent.map(|key| (deepseek(), key)));
    for (config, key) in cases {
        for value in &bad {
            let error = read(with(config.clone(), key, value.clone())).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{key}` ")), "{key} = {value}: {error}");
        }
    }
    for (key, value) in [
        ("tie_word_embeddings", json!("no")),
        ("rope_scaling", json!(4)),
        ("layer_types", json!("full")),
        ("layer_types", json!(["full_attention"])),
        ("layer_types", json!(vec![1; 32])),
        ("sliding_window", json!(-4)),
        ("num_local_experts", json!(-8)),
        ("text_config", json!(7)),
        ("is_encoder_decoder", json!(true)),
    ] {
        let error = read(with(llama(), key, value)).unwrap_err().to_string();
        assert!(error.starts_with(&format!("`{key}`")), "{key}: {error}");
    }
}

#[test]
fn numbers_at_odds_are_errors() {
    let error = read(with(llama(), "num_key_value_heads", json!(5))).unwrap_err().to_string();
    assert_eq!(error, "`num_key_value_heads` = 5: does not divide `num_attention_heads` = 32");
    let error = read(with(mixtral(), "num_experts_per_tok", json!(9))).unwrap_err().to_string();
    assert_eq!(error, "`num_experts_per_tok` = 9: a token cannot use more than all 8 experts");
    for scaling in [json!({"type": "linear", "factor": 0}), json!({"type": "linear", "factor": "2"})] {
        assert!(read(with(llama(), "rope_scaling", scaling)).unwrap_err().to_string().contains("rope_scaling.factor"));
    }
    let mut huge = deepseek();
    for key in ["hidden_size", "intermediate_size", "moe_intermediate_size", "vocab_size", "n_routed_experts", "kv_lora_rank"] {
        huge[key] = json!(1 << 30);
    }
    assert!(read(huge).unwrap_err().to_string().starts_with("`hidden_size` = 1073741824: with its other sizes"));
    let error = read(with(llama(), "num_hidden_layers", json!(10_001))).unwrap_err().to_string();
    assert_eq!(error, "`num_hidden_layers` = 10001: no model has that many (at most 10000 are read)");
}

#[test]
fn what_is_no_object_is_refused() {
    for text in ["", "{", "nonsense", "{\"hidden_size\": }"] {
        assert!(matches!(Architecture::from_config_json(text, "x"), Err(ConfigError::Json(_))), "{text}");
    }
    for text in ["[]", "4", "null", "\"llama\""] {
        assert!(matches!(Architecture::from_config_json(text, "x"), Err(ConfigError::NotObject(_))), "{text}");
    }
    let marked = format!("\u{feff}{}", llama());
    assert!(Architecture::from_config_json(&marked, "x").is_ok());
}

#[test]
fn formats_of_checkpoints_are_read() {
    let dtype = |config: Value| weight_dtype(&config.to_string());
    assert_eq!(dtype(llama()), Ok(None));
    assert_eq!(dtype(deepseek()), Ok(Some(WeightDtype::Fp8)));
    assert_eq!(dtype(gpt_oss(24, 32)), Ok(Some(WeightDtype::Mxfp4)));
    let quantised = |config: Value| dtype(with(llama(), "quantization_config", config));
    assert_eq!(quantised(json!({"quant_method": "awq", "bits": 4, "group_size": 128})), Ok(Some(WeightDtype::Int4)));
    assert_eq!(quantised(json!({"quant_method": "gptq", "bits": 8})), Ok(Some(WeightDtype::Int8)));
    assert_eq!(quantised(json!({"quant_method": "modelopt", "quant_algo": "FP8"})), Ok(Some(WeightDtype::Fp8)));
    let compressed = |kind: &str, bits: u32| {
        let groups = json!({"group_0": {"weights": {"num_bits": bits, "type": kind}}});
        quantised(json!({"quant_method": "compressed-tensors", "config_groups": groups}))
    };
    assert_eq!(compressed("float", 8), Ok(Some(WeightDtype::Fp8)));
    assert_eq!(compressed("int", 8), Ok(Some(WeightDtype::Int8)));
    assert_eq!(compressed("int", 4), Ok(Some(WeightDtype::Int4)));
    assert_eq!(compressed("float", 4), Ok(Some(WeightDtype::Nvfp4)));
    assert_eq!(quantised(json!({"quant_method": "modelopt", "quant_algo": "NVFP4"})), Ok(Some(WeightDtype::Nvfp4)));
    for error in [
        compressed("float", 6),
        quantised(json!({"quant_method": "exl2"})),
        quantised(json!({})),
        quantised(json!(3)),
        quantised(json!({"quant_method": "awq"})),
        quantised(json!({"quant_method": "modelopt", "quant_algo": "W4A16"})),
    ] {
        assert!(error.as_ref().is_err_and(|error| error.to_string().contains("quant")), "{error:?}");
    }
}
