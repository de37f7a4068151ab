//! A trace to replay.

use super::Context;
use super::check::{at_least_one, number};
use crate::scenario::at::At;
use crate::scenario::file::trace::TraceFile;
use crate::scenario::{TraceConfig, TraceFormat};

/// Resolves the trace section; the file itself is opened when it is replayed.
pub(super) fn trace(file: Option<&At<TraceFile>>, context: &mut Context<'_>) -> Option<TraceConfig> {
    let file = file?;
    if file.path.is_none() {
        context.problems.missing(Some(file.span()), "path", "a trace needs a `path`", None);
    }
    let format = file.format.as_ref().map_or(TraceFormat::Detect, |format| **format);
    match (&file.columns, &file.format) {
        (None, Some(given)) if format == TraceFormat::Mapped => {
            let message = "a mapped trace needs `columns`, such as { arrival_s = \"timestamp:ms\" }";
            context.problems.missing(Some(given.span()), "columns", message, None);
        }
        (Some(columns), Some(_)) if format != TraceFormat::Mapped => {
            context.problems.at(columns.span(), "`columns` goes with format = \"mapped\" only");
        }
        _ => {}
    }
    if let Some(window) = &file.window
        && window.0 >= window.1
    {
        context.problems.at(window.span(), "`window` must be [start, end] with the start before the end");
    }
    let rate_scale =
        number("rate_scale", file.rate_scale.as_ref(), context, "from 0.000001 to 1000000", |x| (1e-6..=1e6).contains(&x));
    Some(TraceConfig {
        path: context.base_dir.join(file.path.as_ref()?.get()),
        // A column map is what makes a trace a mapped one.
        format: if file.columns.is_some() { TraceFormat::Mapped } else { format },
        columns: file
            .columns
            .iter()
            .flat_map(|columns| columns.iter())
            .map(|(ours, theirs)| (ours.clone(), theirs.clone()))
            .collect(),
        rate_scale: rate_scale.unwrap_or(1.0),
        window: file.window.as_ref().map(|window| (window.0.seconds(), window.1.seconds())),
        jitter: file.jitter.as_ref().map(|jitter| jitter.0).filter(|jitter| jitter.0 > 0),
        block_tokens: at_least_one("block_tokens", file.block_tokens.as_ref(), context),
        skip_bad_rows: file.skip_bad_rows.as_ref().is_some_and(|skip| **skip),
    })
}
