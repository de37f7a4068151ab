//! `tokentide schema`

use crate::engine;
use crate::exit::{Failure, Verdict};
use crate::output::Output;

/// Prints the JSON Schema of scenario files.
pub fn run(output: &Output) -> Result<Verdict, Failure> {
    output.json(&engine::schema()?)?;
    Ok(Verdict::Pass)
}
