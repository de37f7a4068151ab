//! Workload classes.

use tokentide_models::units::Duration;

use super::Context;
use super::arrivals::arrivals;
use super::check::{at_least_one, number};
use super::distribution::distribution;
use super::prompt::prompt;
use crate::scenario::at::At;
use crate::scenario::file::ScenarioFile;
use crate::scenario::file::class::ClassFile;
use crate::scenario::file::output::OutputFile;
use crate::scenario::file::session::SessionFile;
use crate::scenario::{Class, Distribution, Output, Policy, Session, Slo, Source};

/// Classes are numbered in 16 bits.
const CLASSES_MAX: usize = 10_000;

/// All classes. Without a trace there is at least one, and each is complete.
pub(super) fn classes(file: &ScenarioFile, context: &mut Context<'_>) -> Vec<Class> {
    let traced = file.trace.is_some();
    if file.class.is_empty() && !traced {
        let unreadable = context.problems.unreadable.iter().any(|key| key == "class" || key == "trace");
        if !unreadable {
            let help = Some("add a [[class]] with arrivals, prompt and output, or a [trace]".to_owned());
            context.problems.add(None, "the scenario has no workload: no [[class]] and no [trace]", help);
        }
    }
    if file.class.len() > CLASSES_MAX {
        context.problems.add(None, format!("{} classes are too many: at most {CLASSES_MAX}", file.class.len()), None);
    }
    for (i, class) in file.class.iter().enumerate() {
        if let Some(name) = &class.name
            && file.class[..i].iter().any(|other| other.name.as_ref() == Some(name))
        {
            context.problems.at(name.span(), format!("two classes are named \"{}\"", **name));
        }
    }
    let by_priority = file.engine.as_ref().and_then(|e| e.scheduling_policy.as_ref()).is_some_and(|p| **p == Policy::Priority);
    if !by_priority && file.class.iter().any(|class| class.priority.is_some()) {
        context.notes.push("priorities have no effect: scheduling_policy is \"fcfs\"".to_owned());
    }
    file.class.iter().map(|class| resolve_class(class, traced, context)).collect()
}

fn resolve_class(file: &At<ClassFile>, traced: bool, context: &mut Context<'_>) -> Class {
    let name = class_name(file, context);
    let mut arrivals_given = file.arrivals.as_ref().and_then(|given| arrivals(given, context));
    if traced && arrivals_given.take().is_some() {
        context.notes.push(format!("the arrivals of class \"{name}\" are not used: the trace has its own"));
    }
    if !traced {
        for (key, there, example) in [
            ("arrivals", file.arrivals.is_some(), "arrivals = { process = \"poisson\", rate = 2.0 }"),
            ("prompt", file.prompt.is_some(), "prompt = { system = 500, user = { median = 40, p95 = 200 } }"),
            ("output", file.output.is_some(), "output = { tokens = { median = 200, p95 = 900 } }"),
        ] {
            if !there {
                let help = Some(format!("such as {example}"));
                context.problems.missing(Some(file.span()), key, format!("class \"{name}\" has no `{key}`"), help);
            }
        }
    }
    if let Some(slo) = &file.slo {
        for (target, limit) in slo.targets() {
            if target.limit == Duration::ZERO {
                context.problems.at(limit.span(), "a target must be longer than 0");
            }
        }
    }
    if let Some(timeout) = file.timeout.as_ref().filter(|timeout| timeout.0 == Duration::ZERO) {
        context.problems.at(timeout.span(), "`timeout` must be longer than 0");
    }
    let correlation = number("correlation", file.correlation.as_ref(), context, "between -1 and 1", |x| (-1.0..=1.0).contains(&x));
    let parts = file.prompt.as_ref().map(|given| prompt(given, &name, context)).unwrap_or_default();
    if let Some(first) = file.session.as_ref().and_then(|session| session.first_user.as_ref())
        && parts.iter().any(|part| part.source == Source::User && part.shared)
    {
        let help = Some("`first_user` stands in place of a text that is the client's own".to_owned());
        context.problems.add(
            Some(first.span()),
            "the prompt's `user` is cacheable, so that the first turn has it as all others",
            help,
        );
    }
    Class {
        name,
        tenant: file.tenant.as_ref().map(|t| t.to_string()),
        route: file.route.as_ref().map(|r| r.to_string()),
        priority: file.priority.as_ref().map_or(0, |p| **p),
        arrivals: arrivals_given,
        prompt: parts,
        output: output(file.output.as_ref(), &file.span(), context),
        correlation: correlation.unwrap_or(0.0),
        session: file.session.as_ref().map(|given| session(given, context)),
        timeout: file.timeout.as_ref().map(|timeout| timeout.0),
        slo: file.slo.as_deref().map(Slo::from).unwrap_or_default(),
    }
}

fn class_name(file: &At<ClassFile>, context: &mut Context<'_>) -> String {
    match &file.name {
        Some(name) if name.trim().is_empty() => {
            context.problems.at(name.span(), "a class needs a name that is not empty");
            String::new()
        }
        Some(name) => name.to_string(),
        None => {
            context.problems.missing(Some(file.span()), "name", "a class needs a `name`", None);
            String::new()
        }
    }
}

fn output(file: Option<&At<OutputFile>>, class: &std::ops::Range<usize>, context: &mut Context<'_>) -> Output {
    // Only seen with a trace, whose rows bring their own lengths.
    let Some(file) = file else { return Output { max_tokens: None, tokens: Distribution::Fixed(1.0) } };
    if file.tokens.is_none() {
        // An `[class.output]` without any key has no place of its own worth showing.
        let span = if file.span().is_empty() { class.clone() } else { file.span() };
        let help = Some("such as `tokens = { median = 220, p95 = 900 }`: what the model would give without max_tokens".to_owned());
        context.problems.missing(Some(span), "tokens", "the output has no `tokens`", help);
    }
    Output {
        max_tokens: at_least_one("max_tokens", file.max_tokens.as_ref(), context),
        tokens: file.tokens.as_ref().map_or(Distribution::Fixed(1.0), |tokens| distribution("tokens", tokens, 1.0, context)),
    }
}

fn session(file: &At<SessionFile>, context: &mut Context<'_>) -> Session {
    if file.turns.is_none() {
        let help = Some("such as `turns = { median = 4, p95 = 12 }`".to_owned());
        context.problems.missing(Some(file.span()), "turns", "a session needs `turns`", help);
    }
    Session {
        turns: file.turns.as_ref().map_or(Distribution::Fixed(1.0), |turns| distribution("turns", turns, 1.0, context)),
        think: file.think.as_ref().map_or(Distribution::Fixed(0.0), |think| distribution("think", think, 0.0, context)),
        first_user: file.first_user.as_ref().map(|tokens| distribution("first_user", tokens, 0.0, context)),
        history_max: file.history_max.as_ref().map(|max| **max),
    }
}
