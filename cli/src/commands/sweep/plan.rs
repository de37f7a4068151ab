//! What was typed, as a base and a design.

use std::path::{Path, PathBuf};

use tokentide_sweep::axis::Axis;
use tokentide_sweep::design::Design;
use tokentide_sweep::file::{self, Parsed};
use tokentide_sweep::point::{Params, Seeds};
use tokentide_sweep::sample::{Method, Sample};
use tokentide_sweep::shard::Shard;
use tokentide_sweep::sweep::Base;

use super::SweepArgs;
use crate::args::Global;
use crate::engine::{self, Input};
use crate::exit::Failure;

/// A sweep that is to be made.
pub struct Asked {
    pub base: Base,
    pub design: Design,
    pub replications: u32,
    pub seeds: Seeds,
    /// What values of settings that name a file are relative to.
    pub folder: PathBuf,
}

/// `a=1,b=2`: a point.
pub fn point(text: &str) -> Result<Params, String> {
    // The commas between settings are those before a path and `=`; others belong to values.
    let mut settings: Vec<String> = Vec::new();
    for piece in text.split(',') {
        match (piece.contains('='), settings.last_mut()) {
            (false, Some(last)) => *last += &format!(",{piece}"),
            _ => settings.push(piece.to_owned()),
        }
    }
    let setting = |text: &String| {
        let Axis { path, .. } = Axis::parse(text)?;
        let value = text.split_once('=').map_or("", |(_, value)| value.trim());
        let parsed = format!("v = {value}").parse::<toml::Table>().ok().and_then(|mut table| table.remove("v"));
        Ok((path, parsed.unwrap_or_else(|| toml::Value::String(value.to_owned()))))
    };
    settings.iter().map(setting).collect()
}

/// Where seeds come from.
pub fn seeds(text: &str) -> Result<Seeds, String> {
    Seeds::parse(text).ok_or_else(|| "expected derived or common".to_owned())
}

/// A part, as typed or as the environment says.
pub fn shard(text: &str) -> Result<Shard, String> {
    Shard::parse(text, &|name| std::env::var(name).ok())
}

/// The output's name with the shard's number in it.
pub fn named(path: &Path, shard: Shard, sharded: bool) -> Result<PathBuf, Failure> {
    let text = path.to_string_lossy();
    if !text.contains("{shard}") {
        return Ok(path.to_owned());
    }
    if !sharded {
        return Err(Failure::message(format!("`{text}` names a shard, and there is no --shard")));
    }
    Ok(PathBuf::from(text.replace("{shard}", &shard.padded())))
}

/// The sweep that the file and the options ask for together.
pub fn understand(args: &SweepArgs, global: &Global) -> Result<Asked, Failure> {
    let typed = args.file.as_deref().map(|path| std::fs::read_to_string(path).map(|text| (path, text)));
    let of_file: Option<(&Path, Parsed)> = match typed {
        // What cannot be read is told where scenarios are read.
        Some(Ok((path, text))) if file::is_sweep(&text) => {
            Some((path, file::parse(&text, &path.display().to_string()).map_err(engine::diagnostics)?))
        }
        _ => None,
    };
    let folder = |path: &Path| path.parent().unwrap_or(Path::new(".")).to_owned();
    let (scenario, values) = match &of_file {
        Some((path, parsed)) => (parsed.scenario.as_ref().map(|scenario| folder(path).join(scenario)), folder(path)),
        None => (args.file.clone(), PathBuf::from(".")),
    };
    let input = Input { scenario, set: args.set.clone(), seed: global.seed, ..Input::default() };
    let (filename, text, scenario_folder) = engine::source(&input)?;
    let parsed = of_file.map(|(_, parsed)| parsed);
    let mut overrides: Vec<(String, String)> = Vec::new();
    for (path, value) in parsed.iter().flat_map(|parsed| &parsed.set) {
        overrides.push((path.clone(), engine::typed_value(path, value, &values)));
    }
    overrides.extend(engine::overrides(&input)?);
    let mut grid = parsed.as_ref().map(|parsed| parsed.grid.clone()).unwrap_or_default();
    // What is typed takes the place of the file's axis of the same setting.
    grid.retain(|axis| args.grid.iter().all(|typed| typed.path != axis.path));
    grid.extend(args.grid.iter().cloned());
    let mut list = parsed.as_ref().map(|parsed| parsed.list.clone()).unwrap_or_default();
    list.extend(args.point.iter().cloned());
    let sample = sample(args).or_else(|| parsed.as_ref().and_then(|parsed| parsed.sample.clone()));
    let design = Design::new(&grid, list, sample.as_ref()).map_err(|why| match why.starts_with("nothing is varied") {
        true => Failure::with_help(why, "such as --grid class.rag.prompt.retrieved.top_k=4,8,12 --grid cluster.replicas=1..8"),
        false => Failure::message(why),
    })?;
    Ok(Asked {
        base: Base { text, filename, folder: scenario_folder, overrides },
        design,
        replications: args.replications.or(parsed.as_ref().map(|parsed| parsed.replications)).unwrap_or(1),
        seeds: args.seeds.or(parsed.as_ref().map(|parsed| parsed.seeds)).unwrap_or_default(),
        folder: values,
    })
}

fn sample(args: &SweepArgs) -> Option<Sample> {
    let (method, points) = match (args.lhs, args.random) {
        (Some(points), _) => (Method::LatinHypercube, points),
        (None, Some(points)) => (Method::Random, points),
        (None, None) => return None,
    };
    Some(Sample { method, points, seed: args.sample_seed.unwrap_or(1), over: args.over.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_split_at_settings() {
        let params = point("cluster.replicas=2,gpu.name=h200-sxm,x=[1,2]").unwrap();
        let shown: Vec<String> = params.iter().map(|(path, value)| format!("{path}={value}")).collect();
        assert_eq!(shown, ["cluster.replicas=2", "gpu.name=\"h200-sxm\"", "x=[1, 2]"]);
        assert!(point("replicas").is_err());
    }

    #[test]
    fn outputs_are_named_by_shard() {
        let shard = Shard { number: 3, of: 64 };
        assert_eq!(named(Path::new("part-{shard}.csv"), shard, true).unwrap(), Path::new("part-03.csv"));
        assert_eq!(named(Path::new("all.csv"), shard, true).unwrap(), Path::new("all.csv"));
        assert!(named(Path::new("part-{shard}.csv"), Shard::WHOLE, false).is_err());
    }
}
