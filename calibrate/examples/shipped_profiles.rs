//! Writes the shipped profiles from the source tables, and prints their errors and what is left out.

use std::error::Error;

use tokentide_calibrate::between::Between;
use tokentide_calibrate::fit::errors;
use tokentide_calibrate::predict::Coefficients;
use tokentide_calibrate::shipped::{DATE, combinations, profiles_folder, tables_folder};
use tokentide_calibrate::shipped_experts::{TABLES_VARIABLE, experts_folder, ship_experts, shipped_experts};
use tokentide_calibrate::shipped_layers::{SHIPPED_LAYERS, layers_folder, ship};
use tokentide_calibrate::{ComposedTables, fit_profile};
use tokentide_models::cost::Profile;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tables_folder().ok_or("no tables: set TOKENTIDE_SHARED")?;
    let (tables, between) = (ComposedTables::read(&folder)?, Between::open(&folder));
    for (selection, left_out) in combinations()? {
        if let Some(left_out) = left_out {
            println!("{:40} left out: {}", selection.describe(), left_out.reason());
            continue;
        }
        let points = between.complete(tables.of(&selection)?, &selection)?;
        let profile = match fit_profile(&points, &selection, DATE) {
            Ok(profile) => profile,
            Err(error) => {
                println!("{:40} FAILED: {error}", selection.describe());
                continue;
            }
        };
        std::fs::write(profiles_folder().join(format!("{}.toml", profile.name)), profile.to_toml()?)?;
        let all = Coefficients::of(&profile).map(|fit| errors(&fit, &points));
        let all = all.map(|errors| Profile { errors, ..profile.clone() }.error_line()).unwrap_or_default();
        println!("{:40} held out: {}\n{:40} all:      {all}", profile.name, profile.error_line(), "");
    }
    match experts_folder() {
        None => println!("mixtures of AIConfigurator's own tables stay as they are: {TABLES_VARIABLE} names no folder"),
        Some(folder) => {
            for shipped in shipped_experts()? {
                let described = format!("{}{}", shipped.selection.describe(), shipped.suffix);
                match ship_experts(&shipped, &folder) {
                    Ok(profile) => {
                        std::fs::write(profiles_folder().join(format!("{}.toml", profile.name)), profile.to_toml()?)?;
                        println!("{:40} held out: {}", profile.name, profile.error_line());
                    }
                    Err(error) => println!("{described:40} FAILED: {error}"),
                }
            }
        }
    }
    let (folder, collectives) = layers_folder().ok_or("no layer tables: set TOKENTIDE_SHARED")?;
    for combination in SHIPPED_LAYERS {
        let profile = ship(combination, &folder, &collectives)?.profile;
        std::fs::write(profiles_folder().join(format!("{}.toml", profile.name)), profile.to_toml()?)?;
        println!("{:40} held out: {}", profile.name, profile.error_line());
    }
    Ok(())
}
