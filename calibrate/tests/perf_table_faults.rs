//! What a folder of operator tables can have wrong, each told with file, row, value and reason.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use polars::prelude::{DataFrame, NamedFrom, ParquetWriter, Series};
use tokentide_calibrate::predict::Coefficients;
use tokentide_calibrate::{ExpertsTable, PADDED_KERNEL, PerfSelection, Routing, import_perf_tables};
use tokentide_models::cost::{BatchShape, interpolate};
use tokentide_models::deployment::{KvDtype, WeightDtype};
use tokentide_models::padded_experts::PaddedExperts;

/// Columns of one table.
#[derive(Clone, Debug, Default)]
struct Columns {
    numbers: BTreeMap<&'static str, Vec<f64>>,
    texts: BTreeMap<&'static str, Vec<&'static str>>,
}

impl Columns {
    fn push(&mut self, numbers: &[(&'static str, f64)], texts: &[(&'static str, &'static str)]) {
        numbers.iter().for_each(|&(name, x)| self.numbers.entry(name).or_default().push(x));
        texts.iter().for_each(|&(name, x)| self.texts.entry(name).or_default().push(x));
    }

    fn column(&mut self, name: &str) -> &mut Vec<f64> {
        self.numbers.get_mut(name).unwrap()
    }

    fn write(&self, path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let numbers = self.numbers.iter().map(|(name, x)| Series::new((*name).into(), x.as_slice()).into());
        let texts = self.texts.iter().map(|(name, x)| Series::new((*name).into(), x.as_slice()).into());
        let mut frame = DataFrame::new_infer_height(numbers.chain(texts).collect()).unwrap();
        ParquetWriter::new(File::create(path).unwrap()).finish(&mut frame).unwrap();
    }
}

/// An H100's tables as a formula gives them: 0.7 of the peak arithmetic, 0.8 of the bandwidth.
#[derive(Clone, Debug)]
struct Tables {
    gemm: Columns,
    context: Columns,
    generation: Columns,
    reduce: Columns,
    experts: Columns,
    meta: &'static str,
    system: &'static str,
}

const FLOPS: f64 = 989e12 * 0.7;
const BANDWIDTH: f64 = 3.35e12 * 0.8;

impl Tables {
    fn sound() -> Tables {
        let empty = Columns::default;
        let mut tables = Tables {
            gemm: empty(),
            context: empty(),
            generation: empty(),
            reduce: empty(),
            experts: empty(),
            meta: "tables:\n  gemm_perf:\n    status: complete\n",
            system: "gpu:\n  mem_bw: 3350000000000 # 3.35TB/s\n",
        };
        for (dtype, bytes) in [("bfloat16", 2.0), ("fp8", 1.0)] {
            for (n, k) in
                [(6144.0, 4096.0), (4096.0, 4096.0), (28_672.0, 4096.0), (4096.0, 14_336.0), (128_256.0, 4096.0), (8.0, 4096.0)]
            {
                for m in [1.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 8192.0, 16_384.0] {
                    let ms = (2.0 * m * n * k / FLOPS).max(n * k * bytes / BANDWIDTH) * 1e3 + 0.003;
                    tables.gemm.push(&[("m", m), ("n", n), ("k", k), ("latency", ms)], &[("gemm_dtype", dtype)]);
                }
            }
        }
        for (heads, keys) in [(32.0, 8.0), (16.0, 4.0)] {
            tables.attend(heads, keys);
        }
        for (backend, ms) in [("vllm_graph", 0.004), ("vllm_eager", 0.022)] {
            for size in [128.0, 65_536.0, 16_777_216.0] {
                let time = ms + size * 2.0 / 2e11 * 1e3;
                let numbers = [("num_gpus", 2.0), ("message_size", size), ("latency", time)];
                tables.reduce.push(&numbers, &[("op_name", "all_reduce"), ("backend", backend)]);
            }
        }
        for (dtype, slower) in [("bfloat16", 1.0), ("fp8", 2.0)] {
            for tokens in [1.0, 64.0, 16_384.0] {
                tables.mix(dtype, "triton", (8.0, 2.0, 14_336.0), tokens, slower * (1.2 + tokens * 2e-3));
            }
        }
        tables
    }

    /// A row of experts of width 4,096: their number, how many a token takes, their inner width.
    fn mix(&mut self, dtype: &'static str, kernel: &'static str, shape: (f64, f64, f64), tokens: f64, ms: f64) {
        let (experts, top_k, inner) = shape;
        let numbers = [
            ("num_tokens", tokens),
            ("hidden_size", 4096.0),
            ("inter_size", inner),
            ("topk", top_k),
            ("num_experts", experts),
            ("moe_tp_size", 1.0),
            ("moe_ep_size", 1.0),
            ("latency", ms),
        ];
        let texts = [("moe_dtype", dtype), ("distribution", "power_law_1.2"), ("kernel_source", kernel)];
        self.experts.push(&numbers, &texts);
    }

    fn attend(&mut self, heads: f64, keys: f64) {
        let mut push = |prompts: bool, batch: f64, isl: f64, step: f64, ms: f64| {
            let table = if prompts { &mut self.context } else { &mut self.generation };
            let shape = [("num_heads", heads), ("num_key_value_heads", keys), ("head_dim", 128.0)];
            let numbers = [("batch_size", batch), ("isl", isl), ("step", step), ("latency", ms)];
            table.push(&[shape.as_slice(), &numbers].concat(), &[("kv_cache_dtype", "bfloat16")]);
        };
        for batch in [1.0, 2.0, 4.0] {
            for isl in [64.0, 256.0, 1024.0, 4096.0, 16_384.0] {
                push(true, batch, isl, 0.0, batch * isl * isl * 2.0 * heads * 128.0 / FLOPS * 1e3 + 0.012);
            }
        }
        for batch in [1.0, 4.0, 16.0, 64.0, 256.0] {
            for context in [128.0, 512.0, 2048.0, 8192.0, 32_768.0] {
                push(false, batch, 1.0, context - 1.0, batch * context * 512.0 * keys / BANDWIDTH * 1e3 + 0.012);
            }
        }
    }

    fn write(&self) -> PathBuf {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("tokentide-perf-{}-{number}", std::process::id()));
        self.gemm.write(&folder.join("gemm/vllm/0.24.0/gemm_perf.parquet"));
        self.context.write(&folder.join("attention/vllm/0.24.0/context_attention_perf.parquet"));
        self.generation.write(&folder.join("attention/vllm/0.24.0/generation_attention_perf.parquet"));
        self.reduce.write(&folder.join("comm/vllm/0.24.0/custom_allreduce_perf.parquet"));
        self.experts.write(&folder.join("moe/vllm/0.24.0/moe_perf.parquet"));
        fs::write(folder.join("gemm/vllm/0.24.0/collection_meta.yaml"), self.meta).unwrap();
        fs::write(folder.join("h100_sxm.yaml"), self.system).unwrap();
        folder
    }

    /// What importing says, with the profile on success.
    fn import(&self, selection: &PerfSelection<'_>) -> Result<tokentide_calibrate::PerfImport, String> {
        let folder = self.write();
        let imported = import_perf_tables(&folder, selection, "2026-11-25").map_err(|error| error.to_string());
        fs::remove_dir_all(&folder).unwrap();
        imported
    }

    fn refused(&self, selection: &PerfSelection<'_>) -> String {
        self.import(selection).expect_err("these tables cannot be")
    }
}

const LLAMA: PerfSelection<'static> = PerfSelection {
    gpu: "h100-sxm",
    model: "llama-3.1-8b",
    weights: WeightDtype::Bf16,
    kv: KvDtype::Bf16,
    tensor_parallel: 1,
    expert_parallel: false,
    routing: Routing::PowerLaw12,
    engine_version: None,
    experts: ExpertsTable { kernel: None, format: None, version: None },
};

#[test]
fn sound_tables_give_the_sum_of_their_operators() {
    let profile = Tables::sound().import(&LLAMA).unwrap().profile;
    assert_eq!((profile.name.as_str(), profile.engine_version.as_str()), ("h100-sxm_llama-3.1-8b_bf16_tp1", "0.24.0"));
    // Weights of a step of one token at 0.8 of the bandwidth, four launches, and two norms and an activation at 3 us.
    let weights = 32.0 * (6144.0 + 4096.0 + 28_672.0 + 14_336.0) * 4096.0 * 2.0 / BANDWIDTH * 1e3;
    let expected = weights + 32.0 * (4.0 * 0.003 + 3.0 * 0.003) + 0.003;
    assert!((profile.nonattention.ms[0] / expected - 1.0).abs() < 1e-3, "{} {expected}", profile.nonattention.ms[0]);
    let head = profile.lm_head.as_ref().unwrap().ms[0];
    let head_expected = 128_256.0 * 4096.0 * 2.0 / BANDWIDTH * 1e3 + 0.003;
    assert!((head / head_expected - 1.0).abs() < 1e-3, "{head}");
    let mut step = BatchShape::default();
    (0..64).for_each(|_| step.add_decode(2048));
    let attention = 32.0 * (64.0 * 2048.0 * 4096.0 / BANDWIDTH * 1e3 + 0.012);
    let found = Coefficients::of(&profile).unwrap().predict(&step);
    assert!((found / (expected + head_expected + attention) - 1.0).abs() < 0.01, "{found}");
}

#[test]
fn times_in_other_units_are_refused() {
    let mut tables = Tables::sound();
    tables.gemm.column("latency").iter_mut().for_each(|ms| *ms *= 1e3);
    assert!(tables.refused(&LLAMA).contains("are the times microseconds?"), "{}", tables.refused(&LLAMA));
    let mut tables = Tables::sound();
    tables.generation.column("latency").iter_mut().for_each(|ms| *ms /= 1e3);
    assert!(tables.refused(&LLAMA).contains("are the times seconds?"), "{}", tables.refused(&LLAMA));
}

#[test]
fn impossible_rows_are_named() {
    for (row, value, expected) in [
        (3, -1.0, "gemm_perf.parquet: row 4: latency is -1 ms, expected a positive time"),
        (0, f64::NAN, "gemm_perf.parquet: row 1: latency is NaN ms"),
        // 28,672 x 4,096 weights of two bytes.
        (16, 0.05, "row 17: a bfloat16 product takes 0.05 ms; reading its bytes needs 0.0701 ms"),
        (22, 0.5, "row 23: a bfloat16 product takes 0.5 ms; its arithmetic needs 1.9455 ms"),
    ] {
        let mut tables = Tables::sound();
        tables.gemm.column("latency")[row] = value;
        let message = tables.refused(&LLAMA);
        assert!(message.contains(expected), "{message}");
    }
    let mut tables = Tables::sound();
    tables.gemm.column("m")[2] = 1.5;
    assert!(tables.refused(&LLAMA).contains("row 3: m is 1.5, expected a count"));
    let mut tables = Tables::sound();
    tables.gemm.numbers.remove("m");
    assert!(tables.refused(&LLAMA).contains("gemm_perf.parquet: has no column m; its columns are"));
    tables.gemm.numbers.remove("latency");
    assert!(tables.refused(&LLAMA).contains("has no column latency"));
}

#[test]
fn rows_from_the_cache_are_flagged() {
    let mut tables = Tables::sound();
    // 4,096 x 4,096 weights of two bytes fit 50 MB: 10 us from memory.
    tables.gemm.column("latency")[8] = 0.009;
    let flags = tables.import(&LLAMA).unwrap().flags;
    assert!(flags.iter().any(|flag| flag.contains("1 rows of a bfloat16 product beat the memory bandwidth")), "{flags:?}");
}

#[test]
fn collections_that_waited_for_the_host_are_refused() {
    let fp8 = PerfSelection { weights: WeightDtype::Fp8, ..LLAMA };
    let mut tables = Tables::sound();
    tables.gemm.texts.get_mut("gemm_dtype").unwrap().iter_mut().filter(|d| **d == "fp8").for_each(|d| *d = "fp8_block");
    assert!(tables.refused(&fp8).contains("fp8_block is not taken for it"));
    let mut tables = Tables::sound();
    tables.gemm.column("latency").iter_mut().for_each(|ms| *ms += 0.06);
    assert!(
        tables.refused(&LLAMA).contains("the fastest bfloat16 product of all takes 63.0 us: the collection waited for the host")
    );
}

#[test]
fn eager_all_reduce_is_never_taken() {
    let two = PerfSelection { tensor_parallel: 2, ..LLAMA };
    let mut tables = Tables::sound();
    let both = tables.import(&two).unwrap().profile;
    tables.reduce.column("latency").iter_mut().skip(3).for_each(|ms| *ms *= 4.0);
    assert_eq!(both, tables.import(&two).unwrap().profile);
    tables.reduce.texts.get_mut("backend").unwrap().iter_mut().for_each(|backend| *backend = "vllm_eager");
    let message = tables.refused(&two);
    assert!(message.contains("has no all-reduce of 2 GPUs in a CUDA graph"), "{message}");
}

/// Experts by a kernel that was measured at another shape only: here at one of twice the experts, of which a token takes as many.
#[test]
fn experts_of_a_kernel_are_scaled_from_the_shape_that_it_has() {
    let mixtral = PerfSelection { model: "mixtral-8x7b", ..LLAMA };
    let by = |kernel| PerfSelection { experts: ExpertsTable { kernel: Some(kernel), ..mixtral.experts }, ..mixtral };
    let with = |ms: fn(f64) -> f64| {
        let mut tables = Tables::sound();
        for tokens in [2.0, 128.0, 32_768.0] {
            tables.mix("bfloat16", "marlin_experts", (16.0, 2.0, 14_336.0), tokens, ms(tokens));
        }
        tables
    };
    // As many tokens for each expert are half of the tokens, and half of the weights are read: 32 layers of 2 * (1.2 + 2e-3 t).
    let slow = with(|tokens| 4.0 * (1.2 + 1e-3 * tokens));
    let (plain, marlin) = (slow.import(&mixtral).unwrap(), slow.import(&by("marlin")).unwrap());
    let at = |import: &tokentide_calibrate::PerfImport, tokens: u32| {
        let knots = &import.profile.nonattention;
        let xs: Vec<f64> = knots.tokens.iter().map(|&t| f64::from(t)).collect();
        interpolate(&xs, &knots.ms, f64::from(tokens))
    };
    for tokens in [1, 64, 16_384] {
        let (more, expected) = (at(&marlin, tokens) - at(&plain, tokens), 32.0 * (1.2 + 2e-3 * f64::from(tokens)));
        assert!((more / expected - 1.0).abs() < 0.01, "{tokens} tokens: {more} {expected}");
    }
    let flag = marlin.flags.iter().find(|flag| flag.contains("marlin")).expect("it is said");
    assert!(flag.contains("those of 16 experts of 4096 x 14336, 2 a token, are taken") && flag.contains("times 0.500"), "{flag}");
    // No kernel reads the same bytes faster than one that was measured at this very shape.
    let fast = with(|tokens| 0.4 * (1.2 + 1e-3 * tokens)).import(&by("marlin")).unwrap();
    assert!((at(&fast, 64) / at(&plain, 64) - 1.0).abs() < 1e-6);
    // Where it was measured at this shape, it is what was measured.
    assert!((at(&slow.import(&by("triton")).unwrap(), 64) / at(&plain, 64) - 1.0).abs() < 1e-6);
    assert!(slow.refused(&by("cutlass")).contains("has no bfloat16 experts by a kernel `cutlass`, at any shape"));
    let older = ExpertsTable { version: Some("0.19.0"), ..mixtral.experts };
    assert!(slow.refused(&PerfSelection { experts: older, ..mixtral }).contains("has no rows of version 0.19.0"));
    let blocks = ExpertsTable { format: Some("fp8_block"), ..mixtral.experts };
    assert!(slow.refused(&PerfSelection { experts: blocks, ..mixtral }).contains("has no fp8_block mixture"));
}

/// No table has DeepGEMM's product over padded rows: it is derived, for the deployments that can have it.
#[test]
fn padded_experts_are_derived_and_said_to_be() {
    let padded = ExpertsTable { kernel: Some(PADDED_KERNEL), ..LLAMA.experts };
    let mixture = PerfSelection { model: "mixtral-8x7b", experts: padded, weights: WeightDtype::Fp8, ..LLAMA };
    let message = Tables::sound().refused(&mixture);
    assert!(message.contains("`deepgemm` computes experts in block fp8"), "{message}");
    for experts in [ExpertsTable { version: Some("0.19.0"), ..padded }, ExpertsTable { format: Some("bfloat16"), ..padded }] {
        let message = Tables::sound().refused(&PerfSelection { experts, ..mixture });
        assert!(
            message.contains("`deepgemm` is derived, not measured: it has no version, and no format but fp8_block"),
            "{message}"
        );
    }
    // The shapes of qwen3-30b-a3b, which the tables have when they are told to.
    let mut tables = Tables::sound();
    for m in [1.0, 16.0, 256.0, 4096.0, 16_384.0] {
        for (n, k, bytes, dtype) in [
            (5120.0, 2048.0, 1.0, "fp8"),
            (2048.0, 4096.0, 1.0, "fp8"),
            (128.0, 2048.0, 2.0, "bfloat16"),
            (151_936.0, 2048.0, 2.0, "bfloat16"),
        ] {
            let ms = (2.0 * m * n * k / FLOPS).max(n * k * bytes / BANDWIDTH) * 1e3 + 0.003;
            tables.gemm.push(&[("m", m), ("n", n), ("k", k), ("latency", ms)], &[("gemm_dtype", dtype)]);
        }
    }
    tables.attend(32.0, 4.0);
    let selection = PerfSelection { model: "qwen3-30b-a3b", ..mixture };
    let profile = tables.import(&selection).unwrap().profile;
    assert!(profile.source.contains("experts derived from the rows that vLLM 0.12 to 0.14 pads them to"), "{}", profile.source);
    let experts = PaddedExperts::of_layout(&selection.deployment().unwrap()).unwrap();
    // 48 layers: experts, three products, two norms; and the embedding.
    let products = ((5120.0 + 4096.0) * 2048.0 + 128.0 * 2048.0 * 2.0) / BANDWIDTH * 1e3 + 3.0 * 0.003;
    let expected = 48.0 * (experts.seconds(1.0) * 1e3 + products + 2.0 * 0.003) + 0.003;
    assert!((profile.nonattention.ms[0] / expected - 1.0).abs() < 1e-3, "{} {expected}", profile.nonattention.ms[0]);
}

#[test]
fn experts_slower_in_fp8_are_refused() {
    let mixtral = PerfSelection { model: "mixtral-8x7b", ..LLAMA };
    assert!(Tables::sound().import(&mixtral).unwrap().profile.source.contains("experts routed power_law_1.2"));
    let message = Tables::sound().refused(&PerfSelection { weights: WeightDtype::Fp8, ..mixtral });
    assert!(message.contains("row 4: 1 tokens take 2.404 ms in fp8 and 1.202 ms in bf16: a bad kernel"), "{message}");
    let message = Tables::sound().refused(&PerfSelection { routing: Routing::Balanced, ..mixtral });
    assert!(
        message.contains("routed balanced; of this shape there are formats bfloat16, fp8 and routings power_law_1.2"),
        "{message}"
    );
}

#[test]
fn other_gpus_versions_and_parts_of_collections_are_refused() {
    let mut tables = Tables::sound();
    tables.meta = "tables:\n  gemm_perf:\n    status: partial\n";
    assert!(tables.refused(&LLAMA).contains("collection_meta.yaml: the status of gemm_perf is `partial`, not `complete`"));
    let mut tables = Tables::sound();
    tables.system = "gpu:\n  mem_bw: 2039000000000\n";
    assert!(tables.refused(&LLAMA).contains("mem_bw is 2.039e12 bytes/s"), "{}", tables.refused(&LLAMA));
    let tables = Tables::sound();
    assert!(tables.refused(&PerfSelection { gpu: "a100-80gb", ..LLAMA }).contains("the folder is of another GPU than a100_sxm"));
    let message = tables.refused(&PerfSelection { engine_version: Some("0.9.1"), ..LLAMA });
    assert!(message.contains("has no rows of version 0.9.1; versions there are: 0.24.0"), "{message}");
    let message = tables.refused(&PerfSelection { model: "llama-2-7b", ..LLAMA });
    assert!(message.contains("has no bfloat16 attention of 32 query and 32 KV heads of 128"), "{message}");
    let message = tables.refused(&PerfSelection { model: "deepseek-v3", ..LLAMA });
    assert!(message.contains("shared experts") || message.contains("latent attention"), "{message}");
}
