//! Prompts that are counted from files.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use tokentide_models::show::exact;
use tokentide_prompts::error::Unknown;
use tokentide_prompts::variable::Place;
use tokentide_prompts::{Kind, PromptError, PromptFile, Rendered, Segment, Tokenizer, Variable, Variables};

use super::Context;
use super::distribution::{distribution_table, fixed};
use super::prompt::shared_by_default;
use crate::scenario::at::At;
use crate::scenario::error::did_you_mean;
use crate::scenario::file::prompt::{TemplateName, TextFile};
use crate::scenario::file::variable::VariableFile;
use crate::scenario::{Assumed, Distribution, PromptPart, Source};

/// The parts of a source whose table, at `span`, names a file: the text that requests share, what else is of known or fixed length,
/// and one for each text whose length varies. `None` if it names none. `more`: it gives its tokens in another way, too.
pub(super) fn text(
    source: Source,
    text: &TextFile<'_>,
    more: bool,
    span: Range<usize>,
    class: &str,
    context: &mut Context<'_>,
) -> Option<Vec<PromptPart>> {
    let Some(path) = text.file else {
        for (key, span) in [("template", text.template.map(At::span)), ("variables", text.variables.map(At::span))] {
            if let Some(span) = span {
                context.problems.missing(Some(span), "file", format!("`{key}` goes with `file` only"), None);
            }
        }
        return None;
    };
    if more {
        let message = format!("`{}` has a file and a number of tokens or a distribution: give one of them", source.name());
        context.problems.at(span, message);
        return Some(unusable(source));
    }
    let mut lengths = BTreeMap::new();
    let variables = text.variables.map(|given| table(given, &Place::default(), &mut lengths, context)).unwrap_or_default();
    let name = path.display().to_string();
    let kind = text.template.map(|template| kind(**template));
    let file = PromptFile { path: &context.base_dir.join(path.get()), name: &name, kind };
    let rendered = file.render(&variables).map_err(|error| explain(error, path, text, context)).ok();
    let tokenizer = context.counting.tokenizer(context.problems);
    let (Some(rendered), Some(tokenizer)) = (rendered, tokenizer) else { return Some(unusable(source)) };
    let counted = rendered.count(&tokenizer).map_err(|error| context.problems.at(path.span(), format!("{name}: {error}")));
    let segments = counted.unwrap_or_default();
    context.counting.keep(class, source, &segments);
    let what = format!("{} of class {class}: {name}", source.name());
    if let Some(line) = file.like_a_template(&rendered) {
        let hint =
            "it looks like a template and is counted as a plain text; say `template = \"jinja\"`, \"handlebars\" or \"none\"";
        context.notes.push(format!("{what}:{line}: {hint}"));
    }
    let counted = note(&what, &rendered, &segments, &tokenizer, context.counting.declared());
    context.notes.push(counted);
    Some(parts(source, &segments, &lengths, text.cacheable.map(|typed| **typed)))
}

/// In place of what could not be counted, so that its source is not missing as well.
fn unusable(source: Source) -> Vec<PromptPart> {
    vec![PromptPart { source, tokens: Distribution::Fixed(0.0), count: 1, shared: false, assumed: None }]
}

fn kind(name: TemplateName) -> Kind {
    match name {
        TemplateName::Jinja => Kind::Jinja,
        TemplateName::Handlebars => Kind::Handlebars,
        TemplateName::None => Kind::Plain,
    }
}

/// The variables as a template takes them. Assumed lengths are put into `lengths`, by the names of their places [tokens].
fn table(
    file: &BTreeMap<String, At<VariableFile>>,
    place: &Place,
    lengths: &mut BTreeMap<String, Distribution>,
    context: &mut Context<'_>,
) -> Variables {
    file.iter().map(|(key, value)| (key.clone(), variable(value, place.key(key), lengths, context))).collect()
}

fn variable(
    file: &At<VariableFile>,
    place: Place,
    lengths: &mut BTreeMap<String, Distribution>,
    context: &mut Context<'_>,
) -> Variable {
    let span = file.span();
    let length = match file.get() {
        VariableFile::Text(text) => return Variable::Text(text.clone()),
        VariableFile::Flag(flag) => return Variable::Flag(*flag),
        VariableFile::List(entries) => {
            let entry = |(i, value): (usize, &At<VariableFile>)| variable(value, place.entry(i), lengths, context);
            return Variable::List(entries.iter().enumerate().map(entry).collect());
        }
        VariableFile::Table(entries) => return Variable::Table(table(entries, &place, lengths, context)),
        VariableFile::Length(tokens) => fixed(&place.clone().name(), *tokens, span, 0.0, context),
        VariableFile::Distribution(table) => distribution_table(&place.clone().name(), table, span, 0.0, context),
    };
    lengths.insert(place.name(), length);
    Variable::Length
}

/// Notes what is wrong with a prompt file: at the variable that is not used, or at the file's name.
fn explain(error: PromptError, path: &At<PathBuf>, text: &TextFile<'_>, context: &mut Context<'_>) {
    let root = |unknown: &Unknown| unknown.name.split(['.', '[']).next().unwrap_or_default().to_owned();
    if error.unknown.as_ref().is_some_and(|unknown| context.problems.unreadable.contains(&root(unknown))) {
        // It has a value, which could not be read.
        return;
    }
    let unused = error.unknown.as_ref().filter(|unknown| unknown.unused);
    let variable = unused.and_then(|unknown| text.variables?.get().get(&unknown.name));
    let meant = error.unknown.as_ref().and_then(|unknown| did_you_mean(&unknown.name, unknown.known.iter().map(String::as_str)));
    let help = meant.map(|best| format!("did you mean `{best}`?"));
    context.problems.add(Some(variable.map_or(path.span(), At::span)), error.to_string(), help);
}

/// What the user must know of a file that was counted: `what` names it.
fn note(what: &str, rendered: &Rendered, segments: &[Segment], tokenizer: &Tokenizer, declared: bool) -> String {
    let tokens: u64 = segments.iter().map(|segment| if let Segment::Text(tokens) = segment { *tokens } else { 0 }).sum();
    let mut names: Vec<&str> = Vec::new();
    for segment in segments {
        if let Segment::Variable(name) = segment
            && !names.contains(&name.as_str())
        {
            names.push(name);
        }
    }
    let assumed = if names.is_empty() { String::new() } else { format!(" and the assumed lengths of {}", names.join(", ")) };
    let (tokens, id) = (exact(tokens), tokenizer.id());
    if !tokenizer.approximate() {
        return format!("{what}, {tokens} tokens{assumed} ({id})");
    }
    let characters = exact(rendered.characters() as u64);
    let hint = if declared { "" } else { "; give [tokenizer] to count" };
    format!("{what}, {characters} characters, about {tokens} tokens{assumed} ({id}: approximate{hint})")
}

/// Text is shared up to the first that a request brings; with `cacheable = true` typed, a text of one fixed length is taken to be
/// the same in every request.
fn parts(
    source: Source,
    segments: &[Segment],
    lengths: &BTreeMap<String, Distribution>,
    cacheable: Option<bool>,
) -> Vec<PromptPart> {
    let mut leading = cacheable.unwrap_or(shared_by_default(source));
    let (mut shared, mut private) = (0.0, 0.0);
    let mut varying: Vec<PromptPart> = Vec::new();
    for segment in segments {
        let tokens = match segment {
            Segment::Text(tokens) => *tokens as f64,
            Segment::Variable(name) => match lengths.get(name) {
                Some(Distribution::Fixed(tokens)) => {
                    leading &= cacheable == Some(true);
                    (tokens + 0.5).floor()
                }
                Some(distribution) => {
                    leading = false;
                    put_in(&mut varying, source, name, distribution);
                    0.0
                }
                None => 0.0,
            },
        };
        *(if leading { &mut shared } else { &mut private }) += tokens;
    }
    let known =
        |tokens: f64, shared: bool| PromptPart { source, tokens: Distribution::Fixed(tokens), count: 1, shared, assumed: None };
    // An empty file is a part, too.
    let first = (shared > 0.0 || private == 0.0 && varying.is_empty()).then(|| known(shared, leading || shared > 0.0));
    let second = (private > 0.0).then(|| known(private, false));
    first.into_iter().chain(second).chain(varying).collect()
}

/// One more place of a text whose length varies.
fn put_in(varying: &mut Vec<PromptPart>, source: Source, name: &str, tokens: &Distribution) {
    for part in varying.iter_mut() {
        if let Some(assumed) = part.assumed.as_mut().filter(|assumed| assumed.name == name) {
            assumed.times += 1;
            return;
        }
    }
    let assumed = Some(Assumed { name: name.to_owned(), times: 1 });
    varying.push(PromptPart { source, tokens: tokens.clone(), count: 1, shared: false, assumed });
}
