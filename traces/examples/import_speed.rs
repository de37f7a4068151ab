//! How fast, and in how much memory, large traces are read: writes one of a format as it is logged, and imports it.
//!
//! ```text
//! cargo run --release -p tokentide-traces --example import_speed -- write azure big.csv 1000   # MB; or litellm, mooncake
//! cargo run --release -p tokentide-traces --example import_speed -- read big.csv
//! ```
//!
//! `read` is one thread and writes nothing; `tokentide trace import big.csv -o big.parquet` writes on a thread beside it. Peak
//! memory is Linux's (`VmHWM`).

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::time::Instant;

use tokentide_models::hash::mix;
use tokentide_traces::import::{ImportOptions, import};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["write", format, file, megabytes] => write(format, file, megabytes.parse::<u64>()? * 1_000_000)?,
        ["read", file] => read(PathBuf::from(file))?,
        _ => return Err("usage: import_speed write azure|litellm|mooncake FILE MEGABYTES, or read FILE".into()),
    }
    Ok(())
}

fn read(file: PathBuf) -> Result<(), Box<dyn std::error::Error>> {
    let bytes = std::fs::metadata(&file)?.len() as f64;
    let begun = Instant::now();
    let mut tokens = 0u64;
    let report = import(&[file], &ImportOptions::default(), &mut |_| {}, &mut |row| -> Result<(), Infallible> {
        tokens += u64::from(row.input_tokens);
        Ok(())
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    println!("{}: {} rows, {} kept, {tokens} input tokens", report.format, report.rows_read, report.rows_kept);
    println!(
        "{:.0} MB in {seconds:.2} s: {:.0} MB/s, {:.2} million rows/s",
        bytes / 1e6,
        bytes / 1e6 / seconds,
        report.rows_read as f64 / 1e6 / seconds
    );
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    println!("peak memory {}", peak.map_or("unknown", str::trim));
    Ok(())
}

fn write(format: &str, file: &str, bytes: u64) -> Result<(), Box<dyn std::error::Error>> {
    let line: fn(u64) -> String = match format {
        "azure" => azure,
        "litellm" => litellm,
        "mooncake" => mooncake,
        _ => return Err(format!("no format {format}").into()),
    };
    let mut out = BufWriter::with_capacity(1 << 20, File::create(file)?);
    if format == "azure" {
        out.write_all(b"TIMESTAMP,ContextTokens,GeneratedTokens\n")?;
    }
    let mut written = 0;
    for i in 0.. {
        if written >= bytes {
            break;
        }
        let line = line(i);
        out.write_all(line.as_bytes())?;
        written += line.len() as u64;
    }
    Ok(io::Write::flush(&mut out)?)
}

/// A length that varies as lengths do.
fn tokens(i: u64, mean: u64) -> u64 {
    let u = (mix(i ^ mean) % 10_000) as f64 / 10_000.0;
    1 + (mean as f64 * -(1.0 - u).ln()) as u64
}

/// Forty requests a second.
fn azure(i: u64) -> String {
    let (second, tick) = (i / 40, i % 40 * 250_000);
    let (day, hour, minute) = (second / 86_400, second / 3600 % 24, second / 60 % 60);
    format!(
        "{}-{:02}-{:02} {hour:02}:{minute:02}:{:02}.{tick:07},{},{}\n",
        2024 + day / 336,
        1 + day / 28 % 12,
        1 + day % 28,
        second % 60,
        tokens(i, 1200),
        tokens(i, 200)
    )
}

fn litellm(i: u64) -> String {
    let start = 1_763_830_000.0 + i as f64 * 0.025;
    let (input, output) = (tokens(i, 1200), tokens(i, 200));
    format!(
        "{{\"call_type\": \"acompletion\", \"status\": \"success\", \"model\": \"llama\", \"model_group\": \"chat\", \
         \"custom_llm_provider\": \"hosted_vllm\", \"cache_hit\": null, \"end_user\": \"user-{}\", \"request_tags\": [], \
         \"model_parameters\": {{\"max_tokens\": 1024, \"temperature\": 0.7}}, \"id\": \"chatcmpl-{i}\", \
         \"trace_id\": \"trace-{i}\", \
         \"session_id\": \"session-{}\", \"stream\": true, \"prompt_tokens\": {input}, \"completion_tokens\": {output}, \
         \"total_tokens\": {}, \"startTime\": {start:.3}, \"completionStartTime\": {:.3}, \"endTime\": {:.3}, \
         \"response_time\": 0.09, \"metadata\": {{\"usage_object\": {{\"prompt_tokens\": {input}, \"completion_tokens\": {output}, \
         \"prompt_tokens_details\": {{\"cached_tokens\": 512}}}}}}}}\n",
        i % 50,
        i / 4,
        input + output,
        start + 0.09,
        start + 0.09 + output as f64 * 0.02
    )
}

/// Blocks of 512 tokens: eight that many share, then the request's own.
fn mooncake(i: u64) -> String {
    let input = 4096 + tokens(i, 8000).min(120_000);
    let group = mix(i) % 1000 * 8;
    let ids = (0..input.div_ceil(512)).map(|block| if block < 8 { group + block } else { 1_000_000 + i * 256 + block });
    let ids: Vec<String> = ids.map(|id| id.to_string()).collect();
    format!(
        "{{\"timestamp\": {}, \"input_length\": {input}, \"output_length\": {}, \"hash_ids\": [{}]}}\n",
        i * 25,
        tokens(i, 300),
        ids.join(", ")
    )
}
