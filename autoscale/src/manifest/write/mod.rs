//! Writing manifests. What is written, read again, is the same configuration.

mod about;
mod behavior;
mod hpa;
mod scaled_object;

pub use about::About;
pub use hpa::write_hpa;
pub use scaled_object::write_scaled_object;
use serde::Serialize;

/// A configuration that a manifest of this kind cannot say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteError(pub String);

impl std::fmt::Display for WriteError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WriteError {}

/// The YAML of an object, under its comment.
fn document(about: &About, object: &impl Serialize) -> Result<String, WriteError> {
    // Queries stay on one line: broken ones are hard to copy.
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    let yaml = serde_saphyr::to_string_with_options(object, options).map_err(|error| WriteError(error.to_string()))?;
    let lines = about.head.iter().flat_map(|text| text.lines());
    let head: String = lines.map(|line| if line.is_empty() { "#\n".to_owned() } else { format!("# {line}\n") }).collect();
    Ok(head + &yaml)
}

/// Whole seconds of a duration; the API has no others.
fn seconds(duration: tokentide_models::units::Duration, field: &str) -> Result<u32, WriteError> {
    let seconds = duration.as_secs_f64();
    if seconds.fract() != 0.0 || seconds > f64::from(i32::MAX) {
        return Err(WriteError(format!("{field}: {seconds} s is no whole number of seconds")));
    }
    // In range, as just seen.
    Ok(seconds as u32)
}
