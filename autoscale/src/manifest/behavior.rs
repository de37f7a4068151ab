//! `behavior`, the same in an HPA and in KEDA's `horizontalPodAutoscalerConfig`, with the API's defaults.

use tokentide_models::units::Duration;

use super::reader::{INT32_MAX, Item};
use crate::config::{Behavior, Flags, Policy, Rules, Select};

/// Longest `stabilizationWindowSeconds` [s].
const WINDOW_MAX: u32 = 3600;
/// Longest `periodSeconds` [s].
const PERIOD_MAX: u32 = 1800;

/// Reads it. Once it is given, even empty, the API fills in both directions.
pub fn read(item: &Item) -> Option<Behavior> {
    let fields = item.fields()?;
    let up = fields.optional("scaleUp").map_or(Some(up_defaults()), |item| rules(&item, up_defaults()));
    let down = fields.optional("scaleDown").map_or(Some(down_defaults()), |item| rules(&item, down_defaults()));
    fields.end();
    Some(Behavior { scale_up: up?, scale_down: down? })
}

/// A whole number of seconds.
pub fn seconds(seconds: u32) -> Duration {
    Duration::from_secs_f64(f64::from(seconds))
}

/// Source: `pkg/apis/autoscaling/v2/defaults.go`: the larger of 4 pods and 100 % each 15 s, at once.
pub fn up_defaults() -> Rules {
    let policies = vec![policy(false, 4), policy(true, 100)];
    Rules { stabilization: Duration(0), select: Select::Max, policies, tolerance: None }
}

/// The same for the other way: 100 % each 15 s. The API leaves the window open, and the controller's flag fills it.
pub fn down_defaults() -> Rules {
    let stabilization = Flags::default().downscale_stabilization;
    Rules { stabilization, select: Select::Max, policies: vec![policy(true, 100)], tolerance: None }
}

fn policy(percent: bool, value: u32) -> Policy {
    Policy { percent, value, period: seconds(15) }
}

fn rules(item: &Item, defaults: Rules) -> Option<Rules> {
    let fields = item.fields()?;
    let mut rules = defaults;
    if let Some(window) = fields.optional("stabilizationWindowSeconds").and_then(|item| item.integer(0..=WINDOW_MAX)) {
        rules.stabilization = seconds(window);
    }
    let select = [("Max", Select::Max), ("Min", Select::Min), ("Disabled", Select::Disabled)];
    if let Some(select) = fields.optional("selectPolicy").and_then(|item| item.one_of(&select)) {
        rules.select = select;
    }
    if let Some(tolerance) = fields.optional("tolerance").and_then(|item| tolerance(&item)) {
        rules.tolerance = Some(tolerance);
    }
    if let Some(list) = fields.optional("policies") {
        let elements = list.elements();
        if elements.is_empty() {
            list.fault("needs at least one policy", None);
        }
        rules.policies = elements.iter().filter_map(one_policy).collect();
    }
    fields.end();
    Some(rules)
}

fn tolerance(item: &Item) -> Option<i64> {
    let value = item.quantity()?;
    if value < 0 {
        item.wrong("must not be below 0");
    }
    Some(value).filter(|value| *value >= 0)
}

fn one_policy(item: &Item) -> Option<Policy> {
    let fields = item.fields()?;
    let percent = fields.required("type").and_then(|item| item.one_of(&[("Pods", false), ("Percent", true)]));
    let value = fields.required("value").and_then(|item| item.integer(1..=INT32_MAX));
    let period = fields.required("periodSeconds").and_then(|item| item.integer(1..=PERIOD_MAX));
    fields.end();
    Some(Policy { percent: percent?, value: value?, period: seconds(period?) })
}
