//! `tokentide calibrate import vidur`, and a simulation under one of Vidur's schedulers with what it wrote.

use std::process::Command;

use tokentide_calibrate::shipped::shared_folder;

/// Exit code, standard output, standard error.
fn run(args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tokentide")).args(args).env_remove("CI").output().expect("the binary starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn import<'a>(folder: &'a str, model: &'a str, output: &'a str) -> [&'a str; 11] {
    ["calibrate", "import", "vidur", "--dir", folder, "--gpu", "a100-80gb", "--model", model, "-o", output]
}

const SCENARIO: &str = r#"# Under Vidur's version of Sarathi.
requests = 200
model = { name = "llama-3.1-8b" }
gpu = { name = "a100-80gb", pipeline_parallel = 2 }
engine = { scheduler = "sarathi", max_model_len = 4096 }
[[class]]
name = "a"
arrivals = { rate = 5.0 }
prompt = { user = 1024 }
output = { tokens = 128 }
"#;

#[test]
fn tables_are_imported_and_simulated_with() {
    let Some(tables) = shared_folder("data/vidur/cost_model") else {
        eprintln!("skipped: no data/vidur in $TOKENTIDE_SHARED");
        return;
    };
    let folder = std::env::temp_dir().join(format!("tokentide-cli-vidur-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = |name: &str| folder.join(name).display().to_string();
    let (profile, scenario) = (path("vidur.toml"), path("s.toml"));
    let (code, _, told) = run(&import(&tables.display().to_string(), "llama-3.1-8b", &profile));
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("up to 128 decodes, 4096 tokens of mean context, 4096 tokens in a step"), "{told}");
    std::fs::write(&scenario, SCENARIO).expect("a file");
    let (code, json, told) = run(&["simulate", &scenario, "--format", "json", "--set", &format!("cost.profile={profile}")]);
    let (wrong, _, why) = run(&["simulate", &scenario, "--set", &format!("cost.profile={profile}"), "--set", "gpu.name=l40s"]);
    std::fs::remove_dir_all(&folder).expect("the folder");
    assert_eq!(code, Some(0), "{told}");
    let report: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(report["summary"]["requests"]["completed"], 200);
    let cost = &report["model"]["cost"];
    let cost = if cost.is_null() { &report["model"] } else { cost };
    assert_eq!((cost["kind"].as_str(), cost["calibrated"].as_bool()), (Some("vidur"), Some(false)), "{}", report["model"]);
    assert!(wrong == Some(2) && why.contains("a100-80gb") && why.contains("l40s"), "{why}");
}

#[test]
fn what_cannot_be_imported_is_refused() {
    let output = std::env::temp_dir().join(format!("tokentide-cli-vidur-{}.toml", std::process::id())).display().to_string();
    for (args, expected) in [
        (import("absent", "llama-3.1-8b", &output), ["cannot read the table", "attn_pre_proj.csv.gz"]),
        (import("absent", "llama-3.1-8", &output), ["the tables have no model `llama-3.1-8`", "did you mean `llama-3.1-8b`?"]),
        (import("absent", "llama-3.1-8b", "p.json"), ["a profile is TOML", "-o profile.toml"]),
    ] {
        let (code, stdout, stderr) = run(&args);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
        assert!(expected.iter().all(|text| stderr.contains(text)), "{stderr}");
    }
}
