//! Checks of single numbers. Each names the key, what was expected and what was found.

use super::Context;
use crate::scenario::at::At;

/// A number for which `ok` holds; `None` if it is absent or wrong (which is noted). NaN and infinity are always wrong.
pub(super) fn number(
    key: &str,
    value: Option<&At<f64>>,
    context: &mut Context<'_>,
    expected: &str,
    ok: impl Fn(f64) -> bool,
) -> Option<f64> {
    let value = value?;
    if value.is_finite() && ok(**value) {
        return Some(**value);
    }
    context.problems.at(value.span(), format!("`{key}` must be {expected}, not {}", **value));
    None
}

/// A number above 0.
pub(super) fn positive(key: &str, value: Option<&At<f64>>, context: &mut Context<'_>) -> Option<f64> {
    number(key, value, context, "above 0", |x| x > 0.0)
}

/// A number of at least 0.
pub(super) fn non_negative(key: &str, value: Option<&At<f64>>, context: &mut Context<'_>) -> Option<f64> {
    number(key, value, context, "0 or more", |x| x >= 0.0)
}

/// A count of at least 1.
pub(super) fn at_least_one(key: &str, value: Option<&At<u32>>, context: &mut Context<'_>) -> Option<u32> {
    let value = value?;
    if **value == 0 {
        context.problems.at(value.span(), format!("`{key}` must be at least 1, not 0"));
    }
    Some(**value).filter(|v| *v > 0)
}
