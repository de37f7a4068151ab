//! How fast, and in how much memory, a large trace is read: writes one as Kineto would, and reads it.
//!
//! ```text
//! cargo run --release -p tokentide-calibrate --example kernel_trace_speed -- write big.json 500   # MB
//! cargo run --release -p tokentide-calibrate --example kernel_trace_speed -- read big.json
//! ```
//!
//! `write` makes the trace of a 32-layer model: decodes whose kernels one graph launches, and every tenth step a prompt whose
//! kernels are launched one by one, with the operators and Python frames around them. Peak memory is Linux's (`VmHWM`).

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::time::Instant;

use tokentide_calibrate::kernels::{Rules, analyse};

/// Kernels of a layer, with their durations in a decode [us].
const LAYER: [(&str, f64); 8] = [
    (
        "void vllm::fused_add_rms_norm_kernel<c10::BFloat16, 8>(c10::BFloat16*, long, c10::BFloat16*, c10::BFloat16 const*, float)",
        3.1,
    ),
    ("nvjet_tst_128x64_64x8_2x1_v_bz_splitK_TNT", 14.2),
    ("void vllm::rotary_embedding_kernel<c10::BFloat16, true>(long const*, c10::BFloat16*, c10::BFloat16*, c10::BFloat16*)", 2.2),
    ("void vllm::reshape_and_cache_flash_kernel<__nv_bfloat16, __nv_bfloat16, (vllm::Fp8KVCacheDataType)0>(__nv_bfloat16*)", 2.4),
    (
        "void cutlass::device_kernel<flash::enable_sm90_or_later<flash::FlashAttnFwdSm90<flash::CollectiveMainloopFwdSm90<2> > > >",
        11.8,
    ),
    ("nvjet_tst_64x64_64x13_4x1_v_bz_TNT", 9.5),
    ("void vllm::act_and_mul_kernel<c10::BFloat16, &vllm::silu_kernel<c10::BFloat16>, true>(c10::BFloat16*, int)", 2.8),
    ("nvjet_tst_256x64_64x6_2x1_v_bz_TNT", 31.0),
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["write", file, megabytes] => write(file, megabytes.parse::<u64>()? * 1_000_000)?,
        ["read", ref files @ ..] if !files.is_empty() => read(&files.iter().map(PathBuf::from).collect::<Vec<_>>())?,
        _ => return Err("usage: kernel_trace_speed write FILE MEGABYTES, or read FILE...".into()),
    }
    Ok(())
}

fn read(files: &[PathBuf]) -> Result<(), Box<dyn std::error::Error>> {
    let begun = Instant::now();
    let report = analyse(files, &Rules::new(None)?)?;
    let seconds = begun.elapsed().as_secs_f64();
    let bytes: u64 = files.iter().filter_map(|file| Some(std::fs::metadata(file).ok()?.len())).sum();
    for rank in &report.ranks {
        let kernels: u64 = rank.classes.iter().map(|row| row.calls).sum();
        println!("{}: {} events, {kernels} kernels, {} steps", rank.file.display(), rank.events, rank.steps);
    }
    println!("{:.0} MB in {seconds:.2} s, {:.0} MB/s", bytes as f64 / 1e6, bytes as f64 / 1e6 / seconds);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    println!("peak memory {}", peak.map_or("unknown", str::trim));
    Ok(())
}

/// A file that counts what was written to it, and what was said in it.
struct Trace {
    file: BufWriter<File>,
    bytes: u64,
    correlation: u64,
    /// The host's and the GPU's clock [us].
    host: f64,
    gpu: f64,
}

impl Trace {
    fn event(&mut self, text: &str) -> io::Result<()> {
        let comma = if self.bytes > 0 { ",\n" } else { "" };
        self.bytes += (comma.len() + text.len()) as u64;
        write!(self.file, "{comma}{text}")
    }

    fn host(&mut self, category: &str, name: &str, duration: f64, arguments: &str) -> io::Result<()> {
        let head = format!(r#"  {{"ph": "X", "cat": "{category}", "name": "{name}", "pid": 431, "tid": 431"#);
        let ts = self.host;
        self.event(&format!(r#"{head}, "ts": {ts:.3}, "dur": {duration:.3}, "args": {{{arguments}}}}}"#))
    }

    fn kernel(&mut self, name: &str, duration: f64) -> io::Result<()> {
        let (ts, correlation) = (self.gpu, self.correlation);
        self.gpu += duration + 0.8;
        let head =
            format!(r#"  {{"ph": "X", "cat": "kernel", "name": "{name}", "pid": 0, "tid": 7, "ts": {ts:.3}, "dur": {duration:.3}"#);
        let place = format!(r#""queued": 0, "device": 0, "context": 1, "stream": 7, "correlation": {correlation}"#);
        let size = r#""registers per thread": 168, "shared memory": 213248, "blocks per SM": 0.969697, "warps per SM": 11.636364"#;
        let grid = r#""grid": [128, 1, 1], "block": [384, 1, 1], "est. achieved occupancy %": 18"#;
        self.event(&format!(r#"{head}, "args": {{"External id": 0, {place}, {size}, {grid}}}}}"#))?;
        let flow = format!(r#"  {{"ph": "f", "id": {correlation}, "pid": 0, "tid": 7, "ts": {ts:.3}"#);
        self.event(&format!(r#"{flow}, "cat": "ac2g", "name": "ac2g", "bp": "e"}}"#))
    }

    fn launch(&mut self, call: &str) -> io::Result<()> {
        self.correlation += 1;
        let correlation = self.correlation;
        self.host("cuda_runtime", call, 4.0, &format!(r#""External id": {correlation}, "cbid": 211, "correlation": {correlation}"#))
    }
}

fn write(path: &str, bytes: u64) -> io::Result<()> {
    let mut trace = Trace { file: BufWriter::new(File::create(path)?), bytes: 0, correlation: 0, host: 4.5e12, gpu: 4.5e12 };
    writeln!(trace.file, r#"{{"schemaVersion": 1, "deviceProperties": [{{"id": 0, "name": "NVIDIA H100 80GB HBM3"}}],"#)?;
    writeln!(trace.file, r#""distributedInfo": {{"backend": "nccl", "rank": 0, "world_size": 1}}, "traceEvents": ["#)?;
    for step in 0.. {
        if trace.bytes >= bytes {
            break;
        }
        let prompt = step % 10 == 9;
        let name = if prompt { "execute_context_1(512)_generation_31(31)" } else { "execute_context_0(0)_generation_32(32)" };
        trace.gpu = trace.gpu.max(trace.host + 150.0);
        trace.host("user_annotation", name, 900.0, "")?;
        if !prompt {
            trace.host += 100.0;
            trace.launch("cudaGraphLaunch")?;
        }
        for _ in 0..32 {
            for (kernel, duration) in LAYER {
                if prompt {
                    trace.host += 12.0;
                    trace.host(
                        "python_function",
                        "vllm/model_executor/layers/linear.py(500): forward",
                        11.0,
                        r#""Python id": 12"#,
                    )?;
                    trace.host(
                        "cpu_op",
                        "vllm::unified_attention_with_output",
                        9.0,
                        r#""Input Dims": [[512, 4096], [4096, 4096]]"#,
                    )?;
                    trace.launch("cudaLaunchKernelExC")?;
                }
                trace.kernel(kernel, if prompt { 6.0 * duration } else { duration })?;
            }
        }
        trace.host = trace.gpu + 60.0;
        trace.launch("cudaLaunchKernel")?;
        trace.gpu = trace.host;
        trace.kernel("_gumbel_sample_kernel", 18.0)?;
        trace.host += 90.0;
    }
    writeln!(trace.file, "\n]}}")?;
    trace.file.flush()
}
