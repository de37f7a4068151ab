//! `tokentide trace inspect`

use clap::Args;
use serde_json::json;
use tokentide_models::architecture::Architecture;
use tokentide_sim::scenario::duration::parse_duration;
use tokentide_traces::inspect::{InspectOptions, Inspector};

use super::source::SourceArgs;
use crate::args::{Format, Global};
use crate::exit::{Failure, Verdict};
use crate::output::Output;
use crate::suggest::closest;
use crate::text::inspect;

/// What to look at.
#[derive(Args)]
pub struct InspectArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// Length of the windows that are compared, such as 5m [default: a tenth of the trace]
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    window: Option<f64>,
    /// Upper bounds of the buckets of prompt lengths [tokens]
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "512,2048,8192,32768")]
    buckets: Vec<u32>,
    /// Longest sequence that the model takes [tokens], to count prompts near it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "model")]
    max_model_len: Option<u32>,
    /// A model of the catalogue whose context is taken instead
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Share of the context from which a prompt is near it
    #[arg(long, value_name = "SHARE", default_value = "0.9")]
    near: f64,
    /// Tenants, routes, models and classes that are listed
    #[arg(long, value_name = "N", default_value = "10")]
    top: usize,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = parse_duration(text)?.as_secs_f64();
    if seconds >= 1.0 { Ok(seconds) } else { Err("a window lasts at least 1s".to_owned()) }
}

/// Reads the trace and shows it.
///
/// # Errors
/// If it cannot be read, or what to look at makes no sense.
pub fn run(args: &InspectArgs, global: &Global, output: &Output) -> Result<Verdict, Failure> {
    if args.buckets.is_empty() || !args.buckets.is_sorted_by(|a, b| a < b) {
        return Err(Failure::message("--buckets are bounds in ascending order, such as 512,2048,8192"));
    }
    if !(args.near > 0.0 && args.near <= 1.0) {
        return Err(Failure::message("--near is a share above 0 and up to 1, such as 0.9"));
    }
    let context = match &args.model {
        Some(name) => Some(context(name)?),
        None => args.max_model_len,
    };
    let options = InspectOptions { buckets: args.buckets.clone(), context, near: args.near, window_s: args.window, top: args.top };
    let mut inspector = Inspector::new(options);
    let report = args.source.read(global, &mut |row| {
        inspector.add(&row);
        Ok(())
    })?;
    let inspection = inspector.finish();
    match output.format {
        Format::Json => output.json(&json!({ "import": report, "inspection": inspection }))?,
        _ => output.text(&inspect::inspection(&report, &inspection, output.width()))?,
    }
    Ok(Verdict::Pass)
}

fn context(name: &str) -> Result<u32, Failure> {
    Architecture::find(name).map(|model| model.max_context).map_err(|_| {
        let known: Vec<String> = Architecture::all().iter().map(|model| model.name.clone()).collect();
        let help = closest(name, known.iter().map(String::as_str))
            .map_or("`tokentide models` lists them".to_owned(), |near| format!("did you mean `{near}`?"));
        Failure::with_help(format!("there is no model `{name}` in the catalogue"), help)
    })
}
