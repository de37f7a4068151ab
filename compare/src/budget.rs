//! A budget: an assertion about some requests, and what its breach means.

use std::ops::Range;

use schemars::JsonSchema;
use serde::Serialize;
use tokentide_sim::scenario::Scenario;
use tokentide_sim::scenario::file::check::{CheckFile, Level};

use crate::assertion::{self, Assertion};
use crate::metric::Narrowing;
use crate::selection::Selection;

/// Where a budget is written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Place {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
}

/// A budget, understood.
#[derive(Clone, Debug)]
pub struct Budget {
    /// What it is called.
    pub id: String,
    /// The assertion as written.
    pub text: String,
    /// The assertion as understood.
    pub assertion: Assertion,
    /// Whose requests.
    pub selection: Selection,
    /// Only of the scenario of this name.
    pub scenario: Option<String>,
    /// Only of scenarios with this model.
    pub model: Option<String>,
    /// What a breach means; never off.
    pub level: Level,
    /// Where it is written.
    pub place: Place,
    /// Where its `where` is, in the file's text [bytes].
    pub only: Range<usize>,
}

/// What is wrong with a budget.
#[derive(Clone, Debug, PartialEq)]
pub struct BudgetError {
    /// What.
    pub message: String,
    /// Where, in the file's text [bytes].
    pub span: Option<Range<usize>>,
    /// What to do about it.
    pub help: Option<String>,
}

/// Understands the budgets of a file; those that are off are left out once they were understood.
///
/// # Errors
/// All that is wrong with them.
pub fn budgets(files: &[CheckFile], filename: &str, text: &str) -> Result<Vec<Budget>, Vec<BudgetError>> {
    let (mut found, mut wrong): (Vec<Budget>, Vec<BudgetError>) = (Vec::new(), Vec::new());
    for file in files {
        match budget(file, filename, text) {
            Ok(budget) => {
                if let Some(twin) = found.iter().find(|b| b.id == budget.id) {
                    let span = file.id.as_ref().or(file.assert.as_ref()).map(|id| id.span());
                    let help = Some("give it an `id` of its own".to_owned());
                    wrong.push(BudgetError { message: format!("there are two checks `{}`", twin.id), span, help });
                }
                found.push(budget);
            }
            Err(error) => wrong.push(error),
        }
    }
    found.retain(|budget| budget.level != Level::Off);
    if wrong.is_empty() { Ok(found) } else { Err(wrong) }
}

fn budget(file: &CheckFile, filename: &str, text: &str) -> Result<Budget, BudgetError> {
    let error = |message: String, span, help| BudgetError { message, span, help };
    let Some(assert) = &file.assert else {
        let help = Some("such as assert = \"ttft.p95 <= 800ms\"".to_owned());
        return Err(error("a check has no `assert`".to_owned(), file.id.as_ref().map(|id| id.span()), help));
    };
    let assertion = assertion::parse(assert).map_err(|wrong| {
        let span = within(text, &assert.span(), assert, &wrong.span);
        error(wrong.message, Some(span), wrong.help)
    })?;
    let only = file.only.as_ref();
    let selection = only.map(|only| Selection::of(only)).unwrap_or_default();
    let span = only.map_or(assert.span(), |only| only.span());
    let (name, allowed) = (assertion.figure.of.name, assertion.figure.of.narrowing);
    if selection.narrowing() > allowed {
        let (what, help) = match allowed {
            Narrowing::No => ("is one of the whole system", "leave `where` out, or name a scenario in it"),
            _ => ("is known by class only", "narrow it by `class` alone"),
        };
        return Err(error(format!("`{name}` {what}"), Some(span), Some(help.to_owned())));
    }
    let line = text.get(..assert.span().start).unwrap_or(text).matches('\n').count() + 1;
    let label = |of: fn(&tokentide_sim::scenario::file::check::WhereFile) -> &Option<tokentide_sim::scenario::at::At<String>>| {
        only.and_then(|only| of(only).as_ref()).map(|text| text.to_string())
    };
    Ok(Budget {
        id: file.id.as_ref().map_or_else(|| default_id(assert, &selection), |id| id.to_string()),
        text: assert.to_string(),
        assertion,
        selection,
        scenario: label(|w| &w.scenario),
        model: label(|w| &w.model),
        level: file.level.unwrap_or_default(),
        place: Place { file: filename.to_owned(), line },
        only: span,
    })
}

fn default_id(assert: &str, selection: &Selection) -> String {
    match selection.is_all() {
        true => assert.to_owned(),
        false => format!("{assert} ({})", selection.label()),
    }
}

/// The span of a part of a typed text: exact where it is written plainly between quotes, else that of the whole.
fn within(text: &str, whole: &Range<usize>, value: &str, part: &Range<usize>) -> Range<usize> {
    let raw = text.get(whole.clone()).unwrap_or_default();
    match raw.find(value) {
        Some(at) if !value.is_empty() => whole.start + at + part.start..whole.start + at + part.end,
        _ => whole.clone(),
    }
}

impl Budget {
    /// Whether it is about this scenario.
    pub fn is_for(&self, scenario: &Scenario) -> bool {
        let is = |wanted: &Option<String>, name: &str| wanted.as_ref().is_none_or(|wanted| wanted == name);
        is(&self.scenario, &scenario.name) && is(&self.model, &scenario.deployment.model.name)
    }
}
