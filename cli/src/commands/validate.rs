//! `tokentide validate`

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::describe::{self, Setting};
use super::simulate::assignment;
use crate::args::{Format, Global};
use crate::diagnostics::Diagnostic;
use crate::engine::{self, Input, Loaded};
use crate::exit::{Failure, Verdict};
use crate::output::Output;
use crate::text::style::{self, paint};
use crate::text::table::table;

/// Which files.
#[derive(Args)]
pub struct ValidateArgs {
    /// Scenario files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print every value of the resolved scenario and where it comes from
    #[arg(long)]
    show_config: bool,
    /// Change a value of the scenarios first (repeatable)
    #[arg(long, value_name = "PATH=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
}

/// Checks each file; all that is wrong in any of them is told.
pub fn run(args: &ValidateArgs, global: &Global, output: &Output) -> Result<Verdict, Failure> {
    let mut wrong: Vec<Diagnostic> = Vec::new();
    let (mut text, mut values) = (String::new(), Vec::new());
    for path in &args.files {
        let input = Input { scenario: Some(path.clone()), set: args.set.clone(), seed: global.seed, ..Input::default() };
        match engine::load(&input) {
            Ok(loaded) => {
                let settings = if args.show_config {
                    describe::settings(&loaded.scenario, &loaded.text, &args.set, global.seed)
                } else {
                    Vec::new()
                };
                text += &valid(path, &loaded, &settings);
                values.push(json!({"file": path, "valid": true, "errors": [], "settings": settings}));
            }
            Err(Failure::Input(errors)) => {
                values.push(json!({"file": path, "valid": false, "errors": errors, "settings": []}));
                wrong.extend(errors);
            }
            Err(other) => return Err(other),
        }
    }
    match output.format {
        Format::Json => output.json(&values)?,
        _ => output.text(&text)?,
    }
    if wrong.is_empty() { Ok(Verdict::Pass) } else { Err(Failure::Input(wrong)) }
}

fn valid(path: &Path, loaded: &Loaded, settings: &[Setting]) -> String {
    let mut text = format!("{}  {}: {}\n", paint(style::GOOD, "ok"), path.display(), describe::one_line(&loaded.scenario));
    if !settings.is_empty() {
        let rows: Vec<Vec<String>> = settings.iter().map(|s| vec![s.path.clone(), s.value.clone(), s.origin.to_owned()]).collect();
        for line in table(&["setting", "value", "from"], &rows, 3) {
            text += &format!("    {line}\n");
        }
    }
    for note in &loaded.scenario.notes {
        text += &format!("    note: {note}\n");
    }
    text
}
