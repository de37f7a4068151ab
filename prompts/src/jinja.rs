//! Jinja templates.

use std::collections::BTreeMap;

use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, escape_formatter};
use serde_json::Value;

use crate::error::PromptError;
use crate::file::Folder;
use crate::variable::Variables;

/// The prompt file of `folder` with `values` put in.
pub(crate) fn render(folder: &Folder, variables: &Variables, values: &Value) -> Result<String, PromptError> {
    let environment = environment(&folder.texts);
    let rendered = environment.get_template(&folder.name).and_then(|template| template.render(value(values)));
    rendered.map_err(|error| explain(&error, folder, variables))
}

/// As minijinja has it. Numbers do not occur.
fn value(of: &Value) -> minijinja::Value {
    match of {
        Value::Object(table) => minijinja::Value::from_pairs(table.iter().map(|(key, entry)| (key.as_str(), value(entry)))),
        Value::Array(entries) => entries.iter().map(value).collect(),
        Value::Bool(flag) => minijinja::Value::from(*flag),
        text => minijinja::Value::from(text.as_str().unwrap_or_default()),
    }
}

/// Strict, without escapes, over the files that were read.
fn environment(texts: &BTreeMap<String, String>) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    let texts = texts.clone();
    environment.set_loader(move |name| Ok(texts.get(name).cloned()));
    environment.set_formatter(|out, state, value| match value.kind() {
        ValueKind::Map => {
            Err(Error::new(ErrorKind::InvalidOperation, "a table is no text: put in one of its keys, or loop over it"))
        }
        ValueKind::Seq | ValueKind::Iterable => Err(Error::new(ErrorKind::InvalidOperation, "a list is no text: loop over it")),
        _ => escape_formatter(out, state, value),
    });
    environment
}

/// An error in the words of a prompt file.
fn explain(error: &Error, folder: &Folder, variables: &Variables) -> PromptError {
    let error = innermost(error);
    let name = error.name().unwrap_or(&folder.name);
    let (file, line) = (folder.shown(name), error.line());
    if error.kind() == ErrorKind::UndefinedError
        && let Some(expression) = expression(error, folder, name)
    {
        return PromptError::no_value(&file, line, expression, variables.keys().cloned().collect());
    }
    let reason = match (error.kind(), error.detail()) {
        (ErrorKind::TemplateNotFound, _) => {
            format!(
                "{}: only files in the folder of the prompt, and folders in it, can be included",
                error.detail().unwrap_or("no template")
            )
        }
        (ErrorKind::SyntaxError, Some(detail)) => format!("not valid Jinja: {detail}"),
        (kind, Some(detail)) => match expression(error, folder, name) {
            Some(expression) if kind == ErrorKind::InvalidOperation => format!("`{expression}`: {detail}"),
            _ => format!("{kind}: {detail}"),
        },
        (kind, None) => kind.to_string(),
    };
    PromptError { line, ..PromptError::of(&file, reason) }
}

/// What went wrong first: errors in included files are wrapped.
fn innermost(error: &Error) -> &Error {
    let inner = std::error::Error::source(error).and_then(|source| source.downcast_ref::<Error>());
    inner.filter(|inner| inner.line().is_some()).map_or(error, innermost)
}

/// The expression of the template that an error is about.
fn expression<'a>(error: &Error, folder: &'a Folder, name: &str) -> Option<&'a str> {
    let text = folder.texts.get(name)?.get(error.range()?)?;
    let text = text.trim_start_matches("{{").trim_end_matches("}}").trim_matches(['-', '+', ' ']);
    Some(text).filter(|text| !text.is_empty() && !text.contains('\n'))
}
