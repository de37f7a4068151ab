//! `tokentide schema`

use clap::{Args, ValueEnum};

use crate::exit::{Failure, Verdict};
use crate::output::Output;

/// Of what.
#[derive(Args)]
pub struct SchemaArgs {
    /// Scenario files, sweep files, a project's tokentide.toml, or the JSON that `diff` and `check` write
    #[arg(value_enum, default_value_t = Of::Scenario)]
    of: Of,
}

/// What a schema is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Of {
    Scenario,
    Sweep,
    Project,
    Comparison,
}

/// Prints a JSON Schema.
pub fn run(args: &SchemaArgs, output: &Output) -> Result<Verdict, Failure> {
    output.json(&match args.of {
        Of::Scenario => tokentide_sim::scenario::schema(),
        Of::Sweep => tokentide_sweep::file::schema(),
        Of::Project => tokentide_compare::project::project_schema(),
        Of::Comparison => tokentide_compare::project::comparison_schema(),
    })?;
    Ok(Verdict::Pass)
}
