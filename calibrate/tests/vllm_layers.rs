//! Layer tables of one combination in a folder: what becomes of them, and what is refused.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use tokentide_calibrate::vllm_layers::LLMSERVINGSIM_LINK;
use tokentide_calibrate::{CalibrateError, LayerImport, LayerSelection, import_vllm_layers};
use tokentide_models::cost::{Gating, Profile};

/// Kernels of Llama-3.1-8B on one GPU: name, inputs, outputs.
const PRODUCTS: [(&str, f64, f64); 4] =
    [("qkv_proj", 4096.0, 6144.0), ("o_proj", 4096.0, 4096.0), ("gate_up_proj", 4096.0, 28_672.0), ("down_proj", 14_336.0, 4096.0)];

/// A folder that is removed in the end.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Folder {
    /// The tables of an H100 at four fifths of its bandwidth and peak, in microseconds.
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("tokentide-layers-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let product = |rows: f64, inputs: f64, outputs: f64| {
            let (read, compute) = (2.0 * inputs * outputs / 3.35e12, 2.0 * rows * inputs * outputs / 989e12);
            3.0 + read.max(compute) / 0.8 * 1e6
        };
        let (mut dense, mut sequences) = ("layer,tokens,time_us\n".to_owned(), "layer,sequences,time_us\n".to_owned());
        for tokens in [1, 8, 64, 256, 1024, 2048] {
            for (kernel, inputs, outputs) in PRODUCTS {
                writeln!(dense, "{kernel},{tokens},{}", product(f64::from(tokens), inputs, outputs)).unwrap();
            }
            for kernel in ["embedding", "layernorm", "rotary_emb", "act_fn", "final_layernorm"] {
                writeln!(dense, "{kernel},{tokens},{}", 2.0 + f64::from(tokens) / 500.0).unwrap();
            }
        }
        for n in [1, 16, 256] {
            writeln!(sequences, "lm_head,{n},{}\nsampler,{n},{}", product(f64::from(n), 4096.0, 128_256.0), 20 + n / 2).unwrap();
        }
        fs::write(folder.join("dense.csv"), dense).unwrap();
        fs::write(folder.join("per_sequence.csv"), sequences).unwrap();
        fs::write(folder.join("attention.csv"), attention()).unwrap();
        Folder(folder)
    }

    fn import(&self) -> Result<LayerImport, CalibrateError> {
        import_vllm_layers(&self.0, &selection(), "2026-01-31")
    }

    /// The error once a table's text is changed in one place, and set back.
    fn refused(&self, file: &str, from: &str, to: &str) -> String {
        let path = self.0.join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no {from}");
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
        let error = self.import().unwrap_err().to_string();
        fs::write(&path, text).unwrap();
        error
    }
}

/// Chunks alone and decodes alone on grids, and mixed batches whose histories have contexts of their own.
fn attention() -> String {
    let mut text = "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n".to_owned();
    let us =
        |c: f64, h: f64, n: f64, k: f64| 8.0 + (n * k + h) * 4096.0 / 3.35e6 / 0.8 + c * (h + c / 2.0) * 16_384.0 / 989e6 / 0.5;
    let mut row = |c: u32, h: u32, n: u32, k: u32| {
        writeln!(text, "{c},{h},{n},{k},{:.3}", us(c.into(), h.into(), n.into(), k.into())).unwrap();
    };
    for n in [1, 2, 4, 8, 16] {
        [16, 64, 256, 1024, 4096].into_iter().for_each(|k| row(0, 0, n, k));
    }
    for c in [16, 64, 256, 1024, 2048] {
        [0, 512, 2048].into_iter().for_each(|h| row(c, h, 0, 0));
        for n in [1, 4, 16] {
            [(0, 16), (0, 1024), (512, 16), (512, 300), (512, 1024)].into_iter().for_each(|(h, k)| row(c, h, n, k));
        }
    }
    text
}

fn selection() -> LayerSelection<'static> {
    LayerSelection {
        gpu: "h100-sxm",
        model: "llama-3.1-8b",
        dtype: "bf16",
        tensor_parallel: 1,
        collectives: None,
        as_llmservingsim: false,
    }
}

#[test]
fn tables_in_a_folder_become_a_profile() {
    let folder = Folder::new("whole");
    fs::write(folder.0.join("meta.yaml"), "profiler_version: 1\nvllm_version: '0.19.0'\n").unwrap();
    let LayerImport { profile, flags } = folder.import().unwrap();
    assert!(flags.is_empty(), "{flags:?}");
    assert_eq!((profile.name.as_str(), profile.engine_version.as_str()), ("h100-sxm_llama-3.1-8b_bf16_tp1", "0.19.0"));
    let ranges = profile.ranges;
    assert_eq!((ranges.decodes_max, ranges.context_max, ranges.prefill_tokens_max), (16, 4096, 2048));
    // The times are linear in everything but the square of the chunk, which prefill errors are made of.
    let errors = &profile.errors;
    assert!(errors.decode.points == 15 && errors.decode.worst_percent < 0.1, "{errors:?}");
    assert!(errors.prefill.mean_percent < 1.5 && errors.prefill.worst_percent > errors.decode.worst_percent, "{errors:?}");
    assert!(errors.mixed.is_some_and(|mixed| mixed.points > 20));
    let layers = profile.layers.as_ref().unwrap();
    assert_eq!(layers.once, ["embedding", "final_layernorm"]);
    assert_eq!(layers.each.iter().filter(|kernel| *kernel == "layernorm").count(), 2);
    // Mixed batches of one size are two blocks: their histories differ in contexts.
    assert_eq!(layers.attention.iter().filter(|block| block.chunk == 64).count(), 3);
    assert!(layers.skew.is_none() && layers.link.is_none() && layers.experts.is_none());
    let text = profile.to_toml().unwrap();
    assert_eq!(Profile::parse("again", &text).unwrap(), profile);
}

#[test]
fn wrong_rows_are_refused_with_row_value_and_reason() {
    let folder = Folder::new("wrong");
    let qkv = "qkv_proj,1,21.";
    for (file, from, to, expected) in [
        ("dense.csv", "layer,tokens", "kernel,tokens", "has no column layer; its columns are kernel, time_us, tokens"),
        ("dense.csv", qkv, "qkv_proj,1,-21.", "row 1: qkv_proj at 1 tokens: time_us is -21."),
        ("dense.csv", qkv, "qkv_proj,1,nan\nqkv_proj,4,21.", "row 1: qkv_proj at 1 tokens: time_us is NaN"),
        ("dense.csv", qkv, "qkv_proj,1.5,21.", "row 1: tokens is 1.5, expected an integer from 1 on"),
        ("dense.csv", qkv, "qkv_proj,8,21.", "row 10: qkv_proj at 8 tokens was given before"),
        ("dense.csv", "gate_up_proj,1,90.", "gate_up_proj,1,0.090", "time_us is 0.090"),
        ("dense.csv", "gate_up_proj,1,90.", "gate_up_proj,1,90000", "over 1000 times the 70.1"),
        ("dense.csv", "rotary_emb,64,2", "rotary_emb,65,2", "differ in whether tokens = 64 was measured"),
        ("per_sequence.csv", "lm_head,16,395", "lm_head,16,0", "memory and arithmetic need"),
        ("attention.csv", "0,0,1,16,8", "0,0,0,16,8", "chunk 0 after 0 with 0 decodes of 16 is no batch"),
        ("attention.csv", "0,0,16,4096,108", "0,0,16,4096,0", "is the column in milliseconds?"),
        ("attention.csv", "0,0,16,4096,", "0,0,16,4096,99999", "is it in nanoseconds?"),
        ("attention.csv", "0,0,1,64,", "0,0,1,16,", "was given twice"),
        ("attention.csv", "0,0,1,64,", "0,0,1,x,", "kv_decode is `x`, expected a number"),
    ] {
        let message = folder.refused(file, from, to);
        assert!(message.contains(file) && message.contains(expected), "{to}: {message}");
    }
    let path = folder.0.join("dense.csv");
    fs::write(&path, fs::read_to_string(&path).unwrap().replace("rotary_emb", "rotary")).unwrap();
    let message = folder.import().unwrap_err().to_string();
    assert!(message.contains("has no rows of the layer rotary_emb; its layers are act_fn, down_proj"), "{message}");
    let path = folder.0.join("per_sequence.csv");
    fs::remove_file(&path).unwrap();
    assert!(folder.import().unwrap_err().to_string().contains("neither bundles.json nor per_sequence.parquet"));
}

#[test]
fn times_that_fall_are_told_and_made_monotone_where_steps_are_leapt_over() {
    let folder = Folder::new("falling");
    let path = folder.0.join("attention.csv");
    let text = fs::read_to_string(&path).unwrap();
    let line = text.lines().find(|line| line.starts_with("0,0,8,256,")).unwrap();
    fs::write(&path, text.replace(line, "0,0,8,256,7.9")).unwrap();
    let LayerImport { profile, flags } = folder.import().unwrap();
    assert!(flags.len() == 1 && flags[0].contains("attention of 8 decodes, made non-decreasing: 1 times fall"), "{flags:?}");
    let decodes = &profile.layers.unwrap().attention[0];
    assert_eq!((decodes.chunk, decodes.decodes[3]), (0, 8));
    // Pooled with the point before, weighted by the squares of relative errors.
    assert!(decodes.us[3][1] == decodes.us[3][2] && (7.9..8.8).contains(&decodes.us[3][1]), "{:?}", decodes.us[3]);
}

#[test]
fn unequal_batches_are_fitted_by_bin() {
    let folder = Folder::new("skew");
    let mut text = "n,pc,kp,kvs,kv_big,kv_mean,t_mean_us,t_max_us,t_skew_us,alpha\n".to_owned();
    for (n, pc, alpha) in [(4, 0, 0.2), (64, 0, -0.1), (4, 256, 0.5)] {
        for longest in [600.0, 900.0, 1000.0, 2000.0] {
            writeln!(text, "{n},{pc},0,100,{longest},{},50,150,{},", 100.0 + (longest - 100.0) / 4.0, 50.0 + 100.0 * alpha)
                .unwrap();
        }
    }
    fs::write(folder.0.join("skew.csv"), text).unwrap();
    let skew = folder.import().unwrap().profile.layers.unwrap().skew.unwrap();
    let at = |class: usize, decodes: usize, column: usize| skew.alphas[class].alpha[decodes][column];
    assert_eq!((skew.alphas[0].chunk, skew.alphas.len()), (0, 2));
    // Up to 4 decodes, up to 40 %; the bin of up to 1,024 tokens has three samples, so all of the rate are pooled.
    assert_eq!((at(0, 1, 2 * 4), at(1, 1, 2 * 4)), (0.2, 0.5));
    // Never faster for being unequal; and a bin without samples has the alpha of all of its class.
    assert_eq!(at(0, 5, 2 * 4), 0.0);
    assert_eq!(at(0, 8, 0), 0.05);
}

#[test]
fn what_is_not_there_is_said() {
    let folder = Folder::new("absent");
    let import = |selection: &LayerSelection<'_>| import_vllm_layers(&folder.0, selection, "2026-01-31").unwrap_err().to_string();
    assert!(import(&LayerSelection { gpu: "h101", ..selection() }).contains("gpu h101 is not in the tables; known are h100-sxm"));
    assert!(import(&LayerSelection { dtype: "fp8", ..selection() }).contains("number format fp8"));
    assert!(import(&LayerSelection { tensor_parallel: 3, ..selection() }).contains("tensor_parallel 3"));
    // All-reduces of two ranks are needed, and in no table.
    assert!(import(&LayerSelection { tensor_parallel: 2, ..selection() }).contains("a table of collectives"));
    let table = folder.0.join("reduce.csv");
    let row = "h100_sxm,vllm,unknown,graph,2,8192,0.005\nh100_sxm,vllm,unknown,graph,2,16384,0.006\n";
    fs::write(&table, "gpu,backend,backend_version,mode,num_gpus,message_bytes,latency_ms\n".to_owned() + row).unwrap();
    let with = LayerSelection { collectives: Some(table.clone()), ..selection() };
    let reduce = &import_vllm_layers(&folder.0, &with, "2026-01-31").unwrap().profile.layers.unwrap().all_reduce[0];
    assert_eq!(
        (reduce.ranks, reduce.bytes.as_slice(), reduce.us.as_slice()),
        (2, [8192, 16_384].as_slice(), [5.0, 6.0].as_slice())
    );
    fs::write(&table, fs::read_to_string(&table).unwrap().replace("0.006", "-1")).unwrap();
    assert!(import(&with).contains("row 2: 16384 bytes in -1 ms"));
    assert_eq!(Gating::default(), Gating::Uniform);
    assert!(LLMSERVINGSIM_LINK.gib_per_s > 0.0 && Path::new(&folder.0).is_dir());
}
