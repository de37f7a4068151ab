//! What a class's prompt is made of.

use super::Context;
use super::distribution::{distribution, distribution_table, fixed};
use super::text::text;
use crate::scenario::at::At;
use crate::scenario::file::prompt::{PartFile, PromptFile, RetrievedFile, RetrievedTable};
use crate::scenario::{Distribution, PromptPart, Source};

/// Most chunks that can be retrieved: with the largest chunk, their sum stays far inside 64 bits, and the draws stay affordable.
const TOP_K_MAX: u32 = 10_000;

/// Whether a source's text is the same in every request unless the scenario says otherwise.
pub(super) fn shared_by_default(source: Source) -> bool {
    matches!(source, Source::System | Source::Developer | Source::Tools)
}

/// The parts in prompt order.
pub(super) fn prompt(file: &At<PromptFile>, class: &str, context: &mut Context<'_>) -> Vec<PromptPart> {
    let plain = [
        (Source::System, &file.system),
        (Source::Developer, &file.developer),
        (Source::History, &file.history),
        (Source::Tools, &file.tools),
        (Source::User, &file.user),
        (Source::Metadata, &file.metadata),
        (Source::Formatting, &file.formatting),
    ];
    let mut parts: Vec<PromptPart> =
        plain.into_iter().filter_map(|(source, part)| Some(plain_part(source, part.as_ref()?, class, context))).flatten().collect();
    parts.extend(file.retrieved.iter().flat_map(|part| retrieved_part(part, class, context)));
    parts.sort_by_key(|part| part.source);
    if parts.is_empty() {
        let anything_unreadable = !context.problems.unreadable.is_empty();
        if !anything_unreadable {
            context.problems.add(
                Some(file.span()),
                "the prompt has no source of tokens",
                Some("give at least one, such as `user = 50`".to_owned()),
            );
        }
    }
    if let Some(order) = &file.order {
        reorder(&mut parts, order, context);
    }
    parts
}

fn plain_part(source: Source, file: &At<PartFile>, class: &str, context: &mut Context<'_>) -> Vec<PromptPart> {
    let (tokens, cacheable) = match file.get() {
        PartFile::Fixed(value) => (fixed(source.name(), *value, file.span(), 0.0, context), None),
        PartFile::Table(table) => {
            if let Some(parts) =
                text(source, &table.text(), table.distribution() != Default::default(), file.span(), class, context)
            {
                return parts;
            }
            (distribution_table(source.name(), &table.distribution(), file.span(), 0.0, context), table.cacheable.as_ref())
        }
    };
    vec![whole(source, tokens, 1, cacheable)]
}

fn retrieved_part(file: &At<RetrievedFile>, class: &str, context: &mut Context<'_>) -> Vec<PromptPart> {
    let source = Source::Retrieved;
    let (tokens, count, cacheable) = match file.get() {
        RetrievedFile::Fixed(value) => (fixed(source.name(), *value, file.span(), 0.0, context), 1, None),
        RetrievedFile::Table(table) => {
            let more = table.distribution() != Default::default() || table.top_k.is_some() || table.chunk.is_some();
            if let Some(parts) = text(source, &table.text(), more, file.span(), class, context) {
                return parts;
            }
            let (tokens, count) = chunks(table, file, context);
            (tokens, count, table.cacheable.as_ref())
        }
    };
    vec![whole(source, tokens, count, cacheable)]
}

/// A part that is all of its source.
fn whole(source: Source, tokens: Distribution, count: u32, cacheable: Option<&At<bool>>) -> PromptPart {
    PromptPart { source, tokens, count, shared: cacheable.map_or(shared_by_default(source), |c| **c), assumed: None }
}

/// `top_k` draws of `chunk`, or one draw of the whole.
fn chunks(table: &RetrievedTable, file: &At<RetrievedFile>, context: &mut Context<'_>) -> (Distribution, u32) {
    match (&table.top_k, &table.chunk) {
        (None, None) => (distribution_table("retrieved", &table.distribution(), file.span(), 0.0, context), 1),
        (Some(top_k), Some(chunk)) => {
            if **top_k > TOP_K_MAX {
                context.problems.at(top_k.span(), format!("`top_k` must be at most {TOP_K_MAX}, not {}", **top_k));
            }
            let plain = table.distribution();
            if plain != Default::default() {
                context.problems.at(file.span(), "`retrieved` has chunks and a distribution of all its tokens: give one of them");
            }
            (distribution("chunk", chunk, 0.0, context), **top_k)
        }
        (top_k, _) => {
            let (there, missing) = if top_k.is_some() { ("top_k", "chunk") } else { ("chunk", "top_k") };
            let message = format!("`retrieved` has `{there}` without `{missing}`");
            context.problems.missing(Some(file.span()), missing, message, None);
            (Distribution::Fixed(0.0), 1)
        }
    }
}

/// Puts the parts into the order given.
fn reorder(parts: &mut [PromptPart], order: &At<Vec<Source>>, context: &mut Context<'_>) {
    for (i, source) in order.iter().enumerate() {
        if order[..i].contains(source) {
            context.problems.at(order.span(), format!("`order` names \"{}\" twice", source.name()));
        }
    }
    for part in parts.iter().filter(|part| !order.contains(&part.source)) {
        let name = part.source.name();
        context.problems.at(order.span(), format!("`order` leaves out \"{name}\", which the prompt has"));
    }
    parts.sort_by_key(|part| order.iter().position(|source| *source == part.source).unwrap_or(usize::MAX));
}
