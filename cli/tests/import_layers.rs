//! `tokentide calibrate import vllm-layers` as it is typed.

use std::path::PathBuf;
use std::process::{Command, Output};

use tokentide_calibrate::shipped::shared_folder;

fn tokentide(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tokentide")).args(args).env_remove("TOKENTIDE_SEED").output().expect("tokentide runs")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// The arguments of an import.
fn import<'a>(folder: &'a str, gpu: &'a str, output: &'a str) -> [&'a str; 11] {
    ["calibrate", "import", "vllm-layers", "--dir", folder, "--gpu", gpu, "--model", "llama-3.1-8b", "-o", output]
}

#[test]
fn wrong_folders_and_names_are_refused() {
    let empty = std::env::temp_dir().join(format!("tokentide-import-{}", std::process::id()));
    std::fs::create_dir_all(&empty).unwrap();
    let folder = empty.display().to_string();
    let profile = empty.join("p.toml").display().to_string();
    let refused = |args: &[&str], parts: &[&str]| {
        let output = tokentide(args);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{text}");
        parts.iter().for_each(|part| assert!(text.contains(part), "no {part:?} in\n{text}"));
    };
    refused(&import(&format!("{folder}/absent"), "h100-sxm", &profile), &["no such folder", "absent"]);
    refused(&import(&folder, "h100-sxn", &profile), &["no gpu `h100-sxn`", "did you mean `h100-sxm`?"]);
    refused(&import(&folder, "h100-sxm", &profile), &["neither bundles.json nor dense.parquet"]);
    refused(&import(&folder, "h100-sxm", &format!("{folder}/p.json")), &["TOML", "-o profile.toml"]);
    assert!(!PathBuf::from(profile).exists());
    std::fs::remove_dir_all(empty).unwrap();
}

#[test]
fn a_profile_is_made_and_what_is_odd_is_told() {
    let Some(layers) = shared_folder("data/profiles/vllm-layers") else {
        eprintln!("skipped: no profiles/vllm-layers in $TOKENTIDE_SHARED");
        return;
    };
    let profile = std::env::temp_dir().join(format!("tokentide-layers-{}.toml", std::process::id()));
    let (folder, output) = (layers.display().to_string(), profile.display().to_string());
    let made = tokentide(&import(&folder, "rtx-4090", &output));
    let text = stderr(&made);
    assert!(made.status.success() && made.stdout.is_empty(), "{text}");
    for part in ["odd: ", "more of the kind (--verbose lists all)", "decode   mean ", "mixed    mean ", "--set cost.profile="] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    let shipped = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../models/data/profiles/rtx-4090_llama-3.1-8b_bf16_tp1.toml"
    ));
    let undated = |text: &str| text.lines().filter(|line| !line.starts_with("date = ")).map(str::to_owned).collect::<Vec<_>>();
    let mine = std::fs::read_to_string(&profile).unwrap();
    std::fs::remove_file(&profile).unwrap();
    // Without a table of collectives there is nothing else to differ: one GPU needs none.
    assert!(undated(&mine) == undated(&shipped.unwrap()), "it is not the shipped profile");
}
