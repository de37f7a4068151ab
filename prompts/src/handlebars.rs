//! Handlebars templates.

use std::collections::BTreeSet;

use handlebars::{Handlebars, RenderError, RenderErrorReason, TemplateError, no_escape};
use serde_json::Value;

use crate::error::PromptError;
use crate::file::{Folder, Kind};
use crate::scan;
use crate::variable::{Variable, Variables};

/// The prompt file of `folder` with `values` put in.
pub(crate) fn render(folder: &Folder, variables: &Variables, values: &Value) -> Result<String, PromptError> {
    let mut registry = Handlebars::new();
    registry.set_strict_mode(true);
    registry.register_escape_fn(no_escape);
    for (name, text) in &folder.texts {
        registry.register_template_string(name, text).map_err(|error| malformed(&error, &folder.shown(name)))?;
    }
    for (name, text) in &folder.texts {
        conditions(text, folder, name, variables)?;
        whole_values(text, &folder.shown(name), variables)?;
    }
    registry.render(&folder.name, values).map_err(|error| explain(&error, folder, variables))
}

/// Lists and tables that a tag puts in as a whole, which would become "[object]".
fn whole_values(text: &str, file: &str, variables: &Variables) -> Result<(), PromptError> {
    for (line, tag) in scan::tags(text, Kind::Handlebars) {
        let name = tag.trim_matches(['~', '&', ' ']);
        let reason = match variables.get(name) {
            Some(Variable::List(_)) => format!("`{name}`: a list is no text: loop over it"),
            Some(Variable::Table(_)) => format!("`{name}`: a table is no text: put in one of its keys, or loop over it"),
            _ => continue,
        };
        return Err(PromptError { line: Some(line), ..PromptError::of(file, reason) });
    }
    Ok(())
}

/// Conditions and loops on what is not known anywhere: Handlebars takes them for false and empty, even where it is strict.
fn conditions(text: &str, folder: &Folder, name: &str, variables: &Variables) -> Result<(), PromptError> {
    let mut known = BTreeSet::new();
    keys(variables, &mut known);
    let all = || folder.texts.values().flat_map(|text| scan::tags(text, Kind::Handlebars));
    known.extend(all().flat_map(|(_, tag)| scan::bound(tag)));
    for (line, tag) in scan::tags(text, Kind::Handlebars) {
        let Some(subject) = scan::subject(tag) else { continue };
        let root = subject.split(['.', '/']).next().unwrap_or(subject);
        if !known.contains(root) {
            let given = variables.keys().cloned().collect();
            return Err(PromptError::no_value(&folder.shown(name), Some(line), subject, given));
        }
    }
    Ok(())
}

/// All keys of the variables and of tables in them.
fn keys<'a>(table: &'a Variables, found: &mut BTreeSet<&'a str>) {
    for (key, value) in table {
        found.insert(key);
        below(value, found);
    }
}

fn below<'a>(value: &'a Variable, found: &mut BTreeSet<&'a str>) {
    match value {
        Variable::Table(table) => keys(table, found),
        Variable::List(entries) => entries.iter().for_each(|entry| below(entry, found)),
        _ => {}
    }
}

fn malformed(error: &TemplateError, file: &str) -> PromptError {
    let line = error.pos().map(|(line, _)| line);
    PromptError { line, ..PromptError::of(file, format!("not valid Handlebars: {}", error.reason())) }
}

/// An error in the words of a prompt file.
fn explain(error: &RenderError, folder: &Folder, variables: &Variables) -> PromptError {
    let file = folder.shown(error.template_name.as_deref().unwrap_or(&folder.name));
    let line = error.line_no;
    let reason = match error.reason() {
        RenderErrorReason::MissingVariable(Some(name)) => {
            return PromptError::no_value(&file, line, name, variables.keys().cloned().collect());
        }
        RenderErrorReason::PartialNotFound(name) => {
            format!("there is no partial `{name}`: only files in the folder of the prompt, and folders in it, can be included")
        }
        other => other.to_string(),
    };
    PromptError { line, ..PromptError::of(&file, reason) }
}
