//! The shipped profiles are what the fit makes of the source tables.

use std::fs;

use tokentide_calibrate::fit::errors;
use tokentide_calibrate::predict::Coefficients;
use tokentide_calibrate::shipped::{DATE, SHIPPED, profiles_folder, tables_folder};
use tokentide_calibrate::shipped_layers::{SHIPPED_LAYERS, layers_folder, ship};
use tokentide_calibrate::{OpTables, Selection, fit_profile};
use tokentide_models::cost::Profile;

#[test]
fn shipped_profiles_are_reproduced() {
    let Some(tables) = tables_folder() else {
        println!("skipped: no operator tables (set TOKENTIDE_SHARED)");
        return;
    };
    let mut committed: Vec<String> = fs::read_dir(profiles_folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".toml"))
        .collect();
    for selection in SHIPPED {
        let points = OpTables::read(&tables, selection).unwrap();
        let made = fit_profile(&points, selection, DATE).unwrap();
        let file = format!("{}.toml", made.name);
        let shipped = fs::read_to_string(profiles_folder().join(&file)).unwrap();
        assert_eq!(made.to_toml().unwrap(), shipped, "{file}: write it again with the example shipped_profiles");
        committed.retain(|name| *name != file);
        // On all points, the fitted ones included.
        let all = errors(&Coefficients::of(&Profile::parse(&file, &shipped).unwrap()).unwrap(), &points);
        assert!(all.decode.mean_percent < 2.5 && all.prefill.mean_percent < 3.5, "{file}: {all:?}");
    }
    let (folder, collectives) = layers_folder().expect("the layer tables lie beside the operator tables");
    for combination in SHIPPED_LAYERS {
        let made = ship(combination, &folder, &collectives).unwrap().profile;
        let file = format!("{}.toml", made.name);
        let (made, shipped) = (made.to_toml().unwrap(), fs::read_to_string(profiles_folder().join(&file)).unwrap());
        assert!(made == shipped, "{file}: write it again with the example shipped_profiles");
        assert!(shipped.len() < 150_000, "{file}: {} bytes are too many to be read", shipped.len());
        committed.retain(|name| *name != file);
    }
    assert!(committed.is_empty(), "made by no selection: {committed:?}");
}

#[test]
fn unknown_combinations_are_errors() {
    let Some(tables) = tables_folder() else {
        println!("skipped: no operator tables (set TOKENTIDE_SHARED)");
        return;
    };
    let fit = |selection: Selection<'_>| {
        OpTables::read(&tables, &selection).and_then(|points| fit_profile(&points, &selection, DATE)).unwrap_err().to_string()
    };
    let known = SHIPPED[0];
    assert!(fit(Selection { gpu: "h101", ..known }).contains("gpu h101 is not in the tables; known are a100-80gb, b200"));
    assert!(fit(Selection { tensor_parallel: 3, ..known }).contains("decode: 0 points of a100-80gb llama-3.1-8b bf16 tp 3"));
    assert!(fit(Selection { quant: "int3", gpu: "h100-sxm", ..known }).contains("0 points"));
}

#[test]
fn absent_and_malformed_tables_are_errors() {
    let folder = std::env::temp_dir().join(format!("tokentide-op-tables-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let absent = OpTables::read(&folder, &SHIPPED[0]).unwrap_err().to_string();
    fs::write(folder.join("decode_vllm.csv.gz"), b"not gzip").unwrap();
    let malformed = OpTables::read(&folder, &SHIPPED[0]).unwrap_err().to_string();
    fs::remove_dir_all(&folder).unwrap();
    assert!(absent.contains("decode_vllm.csv.gz"), "{absent}");
    assert!(malformed.contains("decode_vllm.csv.gz"), "{malformed}");
}
