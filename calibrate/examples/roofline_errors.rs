//! Errors of the uncalibrated roofline against composed operator tables, per GPU and model.
//!
//! `cargo run --release -p tokentide-calibrate --example roofline_errors`

use std::collections::BTreeMap;
use std::error::Error;

use tokentide_calibrate::predict::stated_error;
use tokentide_calibrate::shipped::tables_folder;
use tokentide_calibrate::{OpTables, Selection};
use tokentide_models::architecture::{Architecture, Attention, Moe};
use tokentide_models::cost::{CostModel, Roofline};
use tokentide_models::deployment::{Deployment, KvDtype, WeightDtype};
use tokentide_models::gpu::Gpu;

fn main() -> Result<(), Box<dyn Error>> {
    let tables = tables_folder().ok_or("no tables: set TOKENTIDE_SHARED")?;
    for gpu in ["a100-80gb", "h100-sxm", "h200-sxm", "b200", "l40s"] {
        for (model, quant) in [
            ("llama-3.1-8b", "bf16"),
            ("llama-3.1-8b", "fp8"),
            ("llama-3.1-70b", "bf16"),
            ("llama-3.1-70b", "fp8"),
            ("qwen3-32b", "bf16"),
            ("mixtral-8x7b", "bf16"),
            ("qwen3-30b-a3b", "bf16"),
            ("gpt-oss-120b", "bf16_mxfp4moe"),
        ] {
            for tensor_parallel in [1, 4, 8] {
                let selection = Selection { gpu, model, quant, tensor_parallel };
                let points = OpTables::read(&tables, &selection)?;
                if !points.decode.is_empty() {
                    report(&selection, &points)?;
                }
            }
        }
    }
    Ok(())
}

fn report(selection: &Selection<'_>, points: &OpTables) -> Result<(), Box<dyn Error>> {
    let roofline = Roofline::new(&deployment(selection)?)?;
    let ms = |shape| roofline.iteration(&shape).as_millis_f64();
    let decode: Vec<_> = points.decode.iter().filter(|p| p.context <= 16_384).map(|p| (ms(p.shape()), p.ms)).collect();
    let prefill: Vec<_> = points.prefill.iter().filter(|p| p.step_tokens() <= 8192).map(|p| (ms(p.shape()), p.ms)).collect();
    let bias = |pairs: &[(f64, f64)]| 100.0 * (pairs.iter().map(|(a, b)| (a / b).ln()).sum::<f64>() / pairs.len() as f64).exp_m1();
    let (d, p) = (stated_error(decode.iter().copied()), stated_error(prefill.iter().copied()));
    println!(
        "{:45} decode {:5.1} % mean {:+6.1} bias {:6.1} worst; prefill {:5.1} % mean {:+6.1} bias {:6.1} worst",
        selection.describe(),
        d.mean_percent,
        bias(&decode),
        d.worst_percent,
        p.mean_percent,
        bias(&prefill),
        p.worst_percent
    );
    Ok(())
}

fn deployment(selection: &Selection<'_>) -> Result<Deployment, Box<dyn Error>> {
    Ok(Deployment {
        model: model(selection.model)?,
        gpu: gpu(selection.gpu)?,
        tensor_parallel: selection.tensor_parallel,
        pipeline_parallel: 1,
        data_parallel: 1,
        expert_parallel: false,
        weights: match selection.quant {
            "fp8" => WeightDtype::Fp8,
            "bf16_mxfp4moe" => WeightDtype::Mxfp4,
            _ => WeightDtype::Bf16,
        },
        kv: KvDtype::Bf16,
        block_size: 16,
        gpu_memory_utilization: 0.9,
        max_model_len: 32_768,
        max_num_batched_tokens: 8192,
        max_num_seqs: 512,
        cuda_graphs: true,
        num_gpu_blocks: None,
    })
}

/// Dense peaks and links of the tables' own system files.
fn gpu(name: &str) -> Result<Gpu, Box<dyn Error>> {
    let (memory_bandwidth, bf16_flops, fp8_flops, link_bandwidth) = match name {
        "a100-80gb" => (2.039e12, 312e12, None, 300e9),
        "h100-sxm" => (3.35e12, 989e12, Some(1978e12), 450e9),
        "h200-sxm" => (4.8e12, 989e12, Some(1978e12), 450e9),
        "b200" => (7.7e12, 2250e12, Some(4500e12), 900e9),
        "l40s" => (0.864e12, 362.05e12, Some(733e12), 32e9),
        other => return Err(format!("gpu {other}").into()),
    };
    Ok(Gpu {
        name: name.into(),
        title: name.into(),
        memory_bytes: 80 << 30,
        memory_bandwidth,
        bf16_flops,
        fp8_flops,
        int8_ops: None,
        fp4_flops: None,
        link_bandwidth,
        l2_bytes: 96 << 20,
        power_w: 700.0,
        price_per_hour: 1.0,
        source: BTreeMap::new(),
    })
}

/// Shapes from the models' `config.json`.
fn model(name: &str) -> Result<Architecture, Box<dyn Error>> {
    let moe = |experts, top_k, intermediate| Some(Moe { experts, top_k, intermediate, shared_intermediate: 0, dense_layers: 0 });
    let full = Attention::Full;
    let window = Attention::Sliding { window: 128, local_layers: 18 };
    let (layers, hidden, heads, kv_heads, head_dim, intermediate, vocab, attention, moe) = match name {
        "llama-3.1-8b" => (32, 4096, 32, 8, 128, 14_336, 128_256, full, None),
        "llama-3.1-70b" => (80, 8192, 64, 8, 128, 28_672, 128_256, full, None),
        "qwen3-32b" => (64, 5120, 64, 8, 128, 25_600, 151_936, full, None),
        "mixtral-8x7b" => (32, 4096, 32, 8, 128, 0, 32_000, full, moe(8, 2, 14_336)),
        "qwen3-30b-a3b" => (48, 2048, 32, 4, 128, 0, 151_936, full, moe(128, 8, 768)),
        "gpt-oss-120b" => (36, 2880, 64, 8, 64, 0, 201_088, window, moe(128, 4, 2880)),
        other => return Err(format!("model {other}").into()),
    };
    Ok(Architecture {
        name: name.into(),
        layers,
        hidden,
        heads,
        kv_heads,
        head_dim,
        intermediate,
        vocab,
        tied_embeddings: false,
        attention,
        moe,
        max_context: 131_072,
        approximate: None,
    })
}
