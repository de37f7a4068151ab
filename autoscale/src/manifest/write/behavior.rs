//! `behavior`, in full: both directions with all their fields, so that no reader has to know the defaults.

use serde::Serialize;
use serde_saphyr::Commented;

use super::{About, WriteError, seconds};
use crate::config::{self, Select};
use crate::manifest::quantity;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Behavior {
    scale_up: Rules,
    scale_down: Rules,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rules {
    stabilization_window_seconds: Commented<u32>,
    select_policy: Commented<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tolerance: Option<Commented<String>>,
    policies: Vec<Policy>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Policy {
    #[serde(rename = "type")]
    kind: &'static str,
    value: Commented<u32>,
    period_seconds: Commented<u32>,
}

/// The field `behavior` at this path.
pub fn behavior(about: &About, path: &str, behavior: &config::Behavior) -> Result<Behavior, WriteError> {
    Ok(Behavior {
        scale_up: rules(about, &format!("{path}.scaleUp"), &behavior.scale_up)?,
        scale_down: rules(about, &format!("{path}.scaleDown"), &behavior.scale_down)?,
    })
}

fn rules(about: &About, path: &str, rules: &config::Rules) -> Result<Rules, WriteError> {
    let select = match rules.select {
        Select::Max => "Max",
        Select::Min => "Min",
        Select::Disabled => "Disabled",
    };
    let window = format!("{path}.stabilizationWindowSeconds");
    let policy = |(i, policy): (usize, &config::Policy)| {
        let path = format!("{path}.policies[{i}]");
        let period = format!("{path}.periodSeconds");
        Ok(Policy {
            kind: if policy.percent { "Percent" } else { "Pods" },
            value: about.at(&format!("{path}.value"), policy.value),
            period_seconds: about.at(&period, seconds(policy.period, &period)?),
        })
    };
    Ok(Rules {
        stabilization_window_seconds: about.at(&window, seconds(rules.stabilization, &window)?),
        select_policy: about.at(&format!("{path}.selectPolicy"), select),
        tolerance: rules.tolerance.map(|value| about.at(&format!("{path}.tolerance"), quantity::text(value))),
        policies: rules.policies.iter().enumerate().map(policy).collect::<Result<_, _>>()?,
    })
}
