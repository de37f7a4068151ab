//! `tokentide schema`

use crate::exit::{Failure, Verdict};
use crate::output::Output;

/// Prints the JSON Schema of scenario files.
pub fn run(output: &Output) -> Result<Verdict, Failure> {
    output.json(&tokentide_sim::scenario::schema())?;
    Ok(Verdict::Pass)
}
