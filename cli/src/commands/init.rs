//! `tokentide init`

use std::path::{Path, PathBuf};

use clap::Args;

use crate::engine::DEFAULT_SCENARIO;
use crate::exit::{Failure, Verdict};
use crate::output::Output;

/// What is written, relative to the folder.
const FILES: [(&str, &str); 6] = [
    (".github/workflows/tokentide.yml", include_str!("../../../docs/ci/github.yml")),
    ("tokentide.toml", include_str!("../../assets/init/tokentide.toml")),
    ("README.md", include_str!("../../assets/init/README.md")),
    ("prompts/system.md", include_str!("../../assets/init/prompts/system.md")),
    ("scenarios/chat.toml", include_str!("../../assets/init/scenarios/chat.toml")),
    ("scenarios/support-rag.toml", DEFAULT_SCENARIO),
];

/// Where to.
#[derive(Args)]
pub struct InitArgs {
    /// Folder; made if it is not there
    #[arg(default_value = ".")]
    dir: PathBuf,
}

/// Writes a project that can be simulated at once. Overwrites nothing: if any file is there, none is written.
pub fn run(args: &InitArgs, output: &Output) -> Result<Verdict, Failure> {
    let present: Vec<String> =
        FILES.iter().map(|(name, _)| args.dir.join(name)).filter(|p| p.exists()).map(|p| format!("`{}`", p.display())).collect();
    if !present.is_empty() {
        return Err(Failure::with_help(
            format!("{} already there: nothing was written", present.join(", ") + if present.len() == 1 { " is" } else { " are" }),
            "name another folder: tokentide init DIR",
        ));
    }
    let mut text = String::new();
    for (name, content) in FILES {
        let path = args.dir.join(name);
        write(&path, content).map_err(|e| Failure::message(format!("cannot write `{}`: {e}", path.display())))?;
        text += &format!("{}\n", path.display());
    }
    output.text(&text)?;
    let scenario = args.dir.join("scenarios/support-rag.toml");
    let scenario = scenario.display();
    output.note(&format!(
        "next:\n  tokentide simulate {scenario}\n  tokentide diff {scenario} --set class.rag.prompt.retrieved.top_k=12\n  \
            tokentide check {dir}        (in a git repository it compares with the branch's base)",
        dir = args.dir.display()
    ));
    Ok(Verdict::Pass)
}

fn write(path: &Path, content: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    // `create_new`: what appeared since the check above is not overwritten either.
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(path)?;
    std::io::Write::write_all(&mut file, content.as_bytes())
}
