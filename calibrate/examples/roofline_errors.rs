//! Errors of the uncalibrated roofline against composed operator tables, per GPU and model.
//!
//! `cargo run --release -p tokentide-calibrate --example roofline_errors`

use std::error::Error;

use tokentide_calibrate::predict::stated_error;
use tokentide_calibrate::shipped::tables_folder;
use tokentide_calibrate::{ComposedTables, OpTables, Selection};
use tokentide_models::cost::{CostModel, Roofline};
use tokentide_models::deployment::Deployment;

fn main() -> Result<(), Box<dyn Error>> {
    let tables = ComposedTables::read(&tables_folder().ok_or("no tables: set TOKENTIDE_SHARED")?)?;
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
                let points = tables.of(&selection)?;
                if !points.decode.is_empty() {
                    report(&selection, &points)?;
                }
            }
        }
    }
    Ok(())
}

fn report(selection: &Selection<'_>, points: &OpTables) -> Result<(), Box<dyn Error>> {
    let deployment = Deployment { max_num_batched_tokens: 8192, max_num_seqs: 512, ..selection.perf()?.deployment()? };
    let roofline = Roofline::new(&deployment)?;
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
