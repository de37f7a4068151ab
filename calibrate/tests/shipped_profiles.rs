//! The shipped profiles are what the fit makes of the source tables.

use std::fs;

use tokentide_calibrate::between::Between;
use tokentide_calibrate::fit::{Target, errors};
use tokentide_calibrate::predict::Coefficients;
use tokentide_calibrate::shipped::{DATE, LeftOut, combinations, profiles_folder, shipped, tables_folder};
use tokentide_calibrate::shipped_experts::{TABLES_VARIABLE, experts_folder, ship_experts, shipped_experts};
use tokentide_calibrate::shipped_layers::{SHIPPED_LAYERS, layers_folder, ship};
use tokentide_calibrate::{ComposedTables, OpTables, Selection, fit_profile};
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
    let (composed, between) = (ComposedTables::read(&tables).unwrap(), Between::open(&tables));
    for selection in shipped().unwrap() {
        let points = between.complete(composed.of(&selection).unwrap(), &selection).unwrap();
        let made = fit_profile(&points, &selection, DATE).unwrap();
        let file = format!("{}.toml", made.name);
        let shipped = fs::read_to_string(profiles_folder().join(&file)).unwrap();
        assert!(made.to_toml().unwrap() == shipped, "{file}: write it again with the example shipped_profiles");
        assert!(shipped.len() < 4096, "{file}: {} bytes", shipped.len());
        committed.retain(|name| *name != file);
        // On all points, the fitted ones included.
        let all = errors(&Coefficients::of(&Profile::parse(&file, &shipped).unwrap()).unwrap(), &points);
        // Above 3.5 % are fp8 on B200, whose tables have single batch sizes at twice their neighbours' time, Mixtral, whose kernels
        // switch, and fp8 prompts, which lie on the cheap side of each tile.
        assert!(all.decode.mean_percent < 8.0 && all.prefill.mean_percent < 9.5, "{file}: {all:?}");
    }
    let experts = experts_folder();
    if experts.is_none() {
        println!("not made again: the mixtures of AIConfigurator's own tables ({TABLES_VARIABLE} names no folder)");
    }
    for mixture in shipped_experts().unwrap() {
        let selection = &mixture.selection;
        let file = format!("{}{}.toml", Target::of(selection).unwrap().name(), mixture.suffix);
        let shipped = fs::read_to_string(profiles_folder().join(&file)).unwrap();
        if let Some(folder) = &experts {
            let made = ship_experts(&mixture, folder).unwrap();
            assert!(made.to_toml().unwrap() == shipped, "{file}: write it again with the example shipped_profiles");
        }
        assert!(shipped.len() < 4096, "{file}: {} bytes", shipped.len());
        committed.retain(|name| *name != file);
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

/// Each reason keeps out what it names, and nothing else: counted by hand from the tables' README.
#[test]
fn what_is_left_out_is_for_a_reason() {
    let all = combinations().unwrap();
    let count = |wanted: Option<LeftOut>| all.iter().filter(|(_, left_out)| *left_out == wanted).count();
    let reasons = [LeftOut::DoesNotFit, LeftOut::NotMeasured, LeftOut::OverPcie, LeftOut::Fp8Experts];
    assert_eq!(count(None) + reasons.map(|reason| count(Some(reason))).iter().sum::<usize>(), all.len());
    assert!(reasons.iter().all(|&reason| count(Some(reason)) > 0 && !reason.reason().is_empty()));
    let of = |gpu: &str, model: &str, quant: &str, ranks: u32| {
        let wanted = Selection { gpu, model, quant, tensor_parallel: ranks };
        all.iter().find(|(selection, _)| *selection == wanted).unwrap().1
    };
    assert_eq!(of("h100-sxm", "llama-3.1-70b", "bf16", 1), Some(LeftOut::DoesNotFit));
    assert_eq!(of("h100-sxm", "llama-3.1-70b", "bf16", 4), None);
    assert_eq!(of("h200-sxm", "mixtral-8x7b", "fp8", 2), Some(LeftOut::Fp8Experts));
    assert_eq!(of("l40s", "llama-3.1-8b", "bf16", 2), Some(LeftOut::OverPcie));
    assert_eq!(of("a100-80gb", "llama-3.1-8b", "fp8", 1), Some(LeftOut::NotMeasured));
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
    let known = Selection { gpu: "a100-80gb", model: "llama-3.1-8b", quant: "bf16", tensor_parallel: 1 };
    assert!(fit(Selection { gpu: "h101", ..known }).contains("gpu h101 is not in the tables; known are a100-80gb, b200"));
    assert!(fit(Selection { tensor_parallel: 3, ..known }).contains("decode: 0 points of a100-80gb llama-3.1-8b bf16 tp 3"));
    assert!(fit(Selection { quant: "int3", ..known }).contains("quant int3 is not in the tables; known are bf16, fp8"));
}

#[test]
fn absent_and_malformed_tables_are_errors() {
    let folder = std::env::temp_dir().join(format!("tokentide-op-tables-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let absent = OpTables::read(&folder, &shipped().unwrap()[0]).unwrap_err().to_string();
    fs::write(folder.join("decode_vllm.csv.gz"), b"not gzip").unwrap();
    let malformed = OpTables::read(&folder, &shipped().unwrap()[0]).unwrap_err().to_string();
    fs::remove_dir_all(&folder).unwrap();
    assert!(absent.contains("decode_vllm.csv.gz"), "{absent}");
    assert!(malformed.contains("decode_vllm.csv.gz"), "{malformed}");
}

#[test]
fn tables_in_two_units_are_refused() {
    let Some(tables) = tables_folder() else {
        println!("skipped: no operator tables (set TOKENTIDE_SHARED)");
        return;
    };
    let selection = Selection { gpu: "h100-sxm", model: "llama-3.1-8b", quant: "bf16", tensor_parallel: 1 };
    let mut points = OpTables::read(&tables, &selection).unwrap();
    fit_profile(&points, &selection, DATE).unwrap();
    points.decode.iter_mut().for_each(|point| point.ms *= 1000.0);
    let message = fit_profile(&points, &selection, DATE).unwrap_err().to_string();
    assert!(message.contains("contradict each other") && message.contains("another unit than ms"), "{message}");
}
