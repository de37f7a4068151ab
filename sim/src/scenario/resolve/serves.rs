//! Whom a cluster serves.

use super::Context;
use crate::scenario::error::did_you_mean;
use crate::scenario::file::ScenarioFile;
use crate::scenario::{Class, Serves};

/// Resolves `cluster.serves`.
pub(super) fn serves(file: &ScenarioFile, classes: &[Class], context: &mut Context<'_>) -> Serves {
    let Some(given) = file.cluster.as_ref().and_then(|cluster| cluster.serves.as_ref()) else { return Serves::default() };
    let least = given.input_min.as_ref().map(|bound| **bound);
    let most = given.input_max.as_ref().map(|bound| **bound);
    if let (Some(least), Some(most)) = (least, most)
        && least > most
    {
        context.problems.at(given.span(), format!("`input_min` ({least}) must not be above `input_max` ({most})"));
    }
    let by_length = least.is_some() || most.is_some();
    if let Some(class) = classes.iter().find(|class| by_length && class.waits_for_answers()) {
        let message = format!(
            "class \"{}\" has sessions or a closed loop, which wait for answers: a pool by length leaves requests without any",
            class.name
        );
        context.problems.add(Some(given.span()), message, Some("serve whole classes: classes = [...]".to_owned()));
    }
    let chosen = given.classes.as_ref().map(|names| {
        for name in names.iter().filter(|name| classes.iter().all(|class| class.name != **name)) {
            let known = classes.iter().map(|class| class.name.as_str());
            let help = match did_you_mean(name, known.clone()) {
                Some(best) => format!("did you mean \"{best}\"?"),
                None => format!("there are {}", known.collect::<Vec<_>>().join(", ")),
            };
            context.problems.add(Some(names.span()), format!("there is no class named \"{name}\""), Some(help));
        }
        if names.is_empty() {
            context.problems.at(names.span(), "a pool that serves no class has nothing to do");
        }
        classes.iter().map(|class| names.contains(&class.name)).collect()
    });
    context.notes.push("only part of the workload is served here (cluster.serves): the other requests are left out".to_owned());
    Serves { input: by_length.then(|| (least.unwrap_or(0), most.unwrap_or(u32::MAX))), classes: chosen }
}
