//! `tokentide models`, `gpus` and `profiles`: what is in the catalogues, and where each number comes from.

use clap::Args;
use serde_json::{Value, json};
use tokentide_models::architecture::{Architecture, Attention};
use tokentide_models::cost::{self, Profile};
use tokentide_models::gpu::Gpu;

use crate::args::Format;
use crate::exit::{Failure, Verdict};
use crate::output::Output;
use crate::suggest::closest;
use crate::text::style::{self, paint};
use crate::text::table::{table, wrap};
use crate::text::units::{NONE, count, digits, usd};

/// All of them, or one in detail.
#[derive(Args)]
pub struct ListArgs {
    /// Only this one, with its sources
    name: Option<String>,
}

/// One entry of a catalogue.
struct Entry {
    name: String,
    row: Vec<String>,
    /// Label and text.
    details: Vec<(String, String)>,
    json: Value,
}

/// Lists GPUs.
pub fn gpus(args: &ListArgs, output: &Output) -> Result<Verdict, Failure> {
    // Through the catalogue, which knows other names too.
    let name = args.name.as_ref().map(|name| Gpu::find(name).map_or(name.clone(), |gpu| gpu.name));
    let header = ["name", "memory", "TB/s", "bf16 TFLOP/s", "fp8", "fp4", "link GB/s", "W", "$/h"];
    list("GPU", "gpus", &header, 1, Gpu::all().iter().map(gpu).collect(), &name, output)
}

/// Lists models.
pub fn models(args: &ListArgs, output: &Output) -> Result<Verdict, Failure> {
    let name = args.name.as_ref().map(|name| Architecture::find(name).map_or(name.clone(), |model| model.name));
    let header = ["name", "attention", "parameters", "layers", "hidden", "heads", "KV heads", "experts", "context"];
    list("model", "models", &header, 2, Architecture::all().iter().map(model).collect(), &name, output)
}

/// Lists cost profiles.
pub fn profiles(args: &ListArgs, output: &Output) -> Result<Verdict, Failure> {
    let header = ["name", "kind", "engine", "date", "error against its own data"];
    let profiles = cost::profiles().map_err(|e| Failure::message(e.to_string()))?;
    list("profile", "profiles", &header, 5, profiles.iter().map(|p| profile(&p.profile)).collect(), &args.name, output)
}

fn list(
    kind: &str,
    command: &str,
    header: &[&str],
    left: usize,
    mut entries: Vec<Entry>,
    only: &Option<String>,
    output: &Output,
) -> Result<Verdict, Failure> {
    if let Some(name) = only {
        let known: Vec<String> = entries.iter().map(|e| e.name.clone()).collect();
        entries.retain(|e| e.name.eq_ignore_ascii_case(name));
        if entries.is_empty() {
            let help = match closest(name, known.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("`tokentide {command}` lists them"),
            };
            return Err(Failure::with_help(format!("there is no {kind} `{name}` in the catalogue"), help));
        }
    }
    if output.format == Format::Json {
        output.json(&entries.into_iter().map(|e| e.json).collect::<Vec<_>>())?;
        return Ok(Verdict::Pass);
    }
    let rows: Vec<Vec<String>> = entries.iter().map(|e| e.row.clone()).collect();
    let mut lines = table(header, &rows, left);
    lines[0] = paint(style::HEADING, &lines[0]);
    if only.is_some() {
        entries.iter().for_each(|e| details(e, output.width(), &mut lines));
    } else {
        lines.push(String::new());
        lines.push(paint(style::DIM, &format!("Sources: tokentide {command} NAME, or --format json.")));
    }
    output.text(&(lines.join("\n") + "\n"))?;
    Ok(Verdict::Pass)
}

fn details(entry: &Entry, width: usize, lines: &mut Vec<String>) {
    let label = entry.details.iter().map(|(l, _)| l.chars().count()).max().unwrap_or(0) + 2;
    lines.push(String::new());
    for (name, text) in &entry.details {
        for (i, line) in wrap(text, width.saturating_sub(label).max(40)).into_iter().enumerate() {
            lines.push(format!("{:<label$}{line}", if i == 0 { name.as_str() } else { "" }));
        }
    }
}

fn gpu(gpu: &Gpu) -> Entry {
    let tera = |v: Option<f64>| v.map_or(NONE.to_owned(), |v| format!("{:.0}", v / 1e12));
    Entry {
        name: gpu.name.clone(),
        row: vec![
            gpu.name.clone(),
            format!("{:.1} GiB", gpu.memory_bytes as f64 / f64::from(1 << 30)),
            digits(gpu.memory_bandwidth / 1e12),
            tera(Some(gpu.bf16_flops)),
            tera(gpu.fp8_flops),
            tera(gpu.fp4_flops),
            format!("{:.0}", gpu.link_bandwidth / 1e9),
            format!("{:.0}", gpu.power_w),
            usd(gpu.price_per_hour),
        ],
        details: std::iter::once(("title".to_owned(), gpu.title.clone()))
            .chain(gpu.source.iter().map(|(field, source)| (field.clone(), source.clone())))
            .collect(),
        json: json!({
            "name": gpu.name, "title": gpu.title, "memory_bytes": gpu.memory_bytes, "memory_bandwidth": gpu.memory_bandwidth,
            "bf16_flops": gpu.bf16_flops, "fp8_flops": gpu.fp8_flops, "int8_ops": gpu.int8_ops, "fp4_flops": gpu.fp4_flops,
            "link_bandwidth": gpu.link_bandwidth, "l2_bytes": gpu.l2_bytes, "l2_bandwidth": gpu.l2_bandwidth,
            "power_w": gpu.power_w, "price_per_hour": gpu.price_per_hour, "source": gpu.source,
        }),
    }
}

fn model(model: &Architecture) -> Entry {
    let attention = match &model.attention {
        Attention::Full => "full".to_owned(),
        Attention::Sliding { window, local_layers } => format!("window {window} in {local_layers}"),
        Attention::Latent { kv_rank, .. } => format!("latent {kv_rank}"),
    };
    let experts = model.moe.as_ref().map(|m| format!("{} of {}", m.top_k, m.experts));
    let (parameters, source) = (model.parameters().total(), model.source());
    let mut details = vec![("source".to_owned(), source.unwrap_or("not stated").to_owned())];
    details.extend(model.approximate.iter().map(|a| ("approximate".to_owned(), a.clone())));
    Entry {
        name: model.name.clone(),
        row: vec![
            model.name.clone(),
            attention.clone(),
            count(parameters as f64).replace('G', "B"),
            model.layers.to_string(),
            model.hidden.to_string(),
            model.heads.to_string(),
            model.kv_heads.to_string(),
            experts.unwrap_or_else(|| NONE.to_owned()),
            model.max_context.to_string(),
        ],
        details,
        json: json!({
            "name": model.name, "parameters": parameters, "layers": model.layers, "hidden": model.hidden, "heads": model.heads,
            "kv_heads": model.kv_heads, "head_dim": model.head_dim, "intermediate": model.intermediate, "vocab": model.vocab,
            "tied_embeddings": model.tied_embeddings, "attention": attention, "max_context": model.max_context,
            "experts": model.moe.as_ref().map(|m| json!({
                "experts": m.experts, "top_k": m.top_k, "intermediate": m.intermediate,
                "shared_intermediate": m.shared_intermediate, "dense_layers": m.dense_layers,
            })),
            "approximate": model.approximate, "source": source,
        }),
    }
}

fn profile(profile: &Profile) -> Entry {
    let kind = json!(profile.kind).as_str().unwrap_or_default().to_owned();
    let engine = format!("{} {}", profile.engine, profile.engine_version);
    let ranges = profile.ranges;
    let measured = format!(
        "{} decodes, {} tokens of context, {} prefill tokens per step",
        count(f64::from(ranges.decodes_max)),
        count(f64::from(ranges.context_max)),
        count(f64::from(ranges.prefill_tokens_max))
    );
    let details = [
        ("model", profile.model.clone()),
        ("GPU", format!("{}, {} per replica", profile.gpu, profile.tensor_parallel)),
        ("formats", format!("weights {}, KV cache {}", profile.weights, profile.kv)),
        ("measured to", measured),
        ("source", profile.source.clone()),
        ("licence", profile.licence.clone()),
        ("attribution", profile.attribution.clone()),
    ];
    Entry {
        name: profile.name.clone(),
        row: vec![profile.name.clone(), kind.clone(), engine, profile.date.clone(), profile.error_line()],
        details: details.map(|(label, text)| (label.to_owned(), text)).into(),
        json: json!({
            "name": profile.name, "kind": kind, "gpu": profile.gpu, "model": profile.model,
            "weights": profile.weights, "kv": profile.kv,
            "tensor_parallel": profile.tensor_parallel, "engine": profile.engine, "engine_version": profile.engine_version,
            "date": profile.date, "error": profile.error_line(), "ranges": ranges, "source": profile.source,
            "licence": profile.licence,
            "attribution": profile.attribution,
        }),
    }
}
