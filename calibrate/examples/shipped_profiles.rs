//! Writes the shipped profiles from the source tables and prints their errors.

use std::error::Error;

use tokentide_calibrate::fit::errors;
use tokentide_calibrate::predict::Coefficients;
use tokentide_calibrate::shipped::{DATE, SHIPPED, profiles_folder, tables_folder};
use tokentide_calibrate::shipped_layers::{SHIPPED_LAYERS, layers_folder, ship};
use tokentide_calibrate::{OpTables, fit_profile};
use tokentide_models::cost::Profile;

fn main() -> Result<(), Box<dyn Error>> {
    let tables = tables_folder().ok_or("no tables: set TOKENTIDE_SHARED")?;
    for selection in SHIPPED {
        let points = OpTables::read(&tables, selection)?;
        let profile = fit_profile(&points, selection, DATE)?;
        std::fs::write(profiles_folder().join(format!("{}.toml", profile.name)), profile.to_toml()?)?;
        let all = Coefficients::of(&profile).map(|fit| errors(&fit, &points));
        let all = all.map(|errors| Profile { errors, ..profile.clone() }.error_line()).unwrap_or_default();
        println!("{:40} held out: {}\n{:40} all:      {all}", profile.name, profile.error_line(), "");
    }
    let (folder, collectives) = layers_folder().ok_or("no layer tables: set TOKENTIDE_SHARED")?;
    for combination in SHIPPED_LAYERS {
        let profile = ship(combination, &folder, &collectives)?.profile;
        std::fs::write(profiles_folder().join(format!("{}.toml", profile.name)), profile.to_toml()?)?;
        println!("{:40} held out: {}", profile.name, profile.error_line());
    }
    Ok(())
}
