//! Tables small enough to look up by hand.

use super::*;
use crate::cost::testing::{decodes, gpu, llama_8b, on, pieces_agree, prefill};

/// Some GPU that tables of round numbers are possible on.
fn slow() -> Deployment {
    on(gpu("slow", 1e12, 3e14, None), llama_8b(), 1)
}

fn profile() -> VidurProfile {
    let text = r#"
schema = 1
name = "small"
kind = "vidur"
gpu = "slow"
model = "llama-3.1-8b"
weights = "bf16"
kv = "bf16"
tensor_parallel = 1
date = "2026-01-01"
source = "by hand"
licence = "none"
attribution = ""
token_operators_ms = [1.0, 2.0, 3.0, 4.0]
send_recv_ms = [0.1, 0.2, 0.3, 0.4]

[kv_cache_save]
until = [4, 32]
ms = [0.01, 0.02]

[decode]
ms = [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]

[prefill]
rows = [{ until = [7, 32], ms = [0.001, 0.002] }, { until = [32], ms = [0.003] }, { until = [32], ms = [0.004] }]
"#;
    VidurProfile::parse("small", text).unwrap()
}

fn close(found: Duration, ms: f64) {
    assert!((found.as_millis_f64() - ms).abs() < 2e-9, "{found:?} is not {ms} ms");
}

#[test]
fn rules_are_those_of_the_text() {
    let tables = VidurTables::new(&profile(), &slow()).unwrap();
    // 1 token: row 8; mean context 64 is looked up at 64, 65 at 128.
    close(tables.iteration(&decodes(1, 64)), 32.0 * (1.0 + 0.01 + 0.2));
    close(tables.iteration(&decodes(1, 65)), 32.0 * (1.0 + 0.01 + 0.3));
    // Two decodes of 64 and 65: the mean, 64.5, counts as 64, and both together take 1.1 times as long.
    let mixed = BatchShape { decode_context: 129, ..decodes(2, 1) };
    close(tables.iteration(&mixed), 32.0 * (1.0 + 0.01 + 0.5 * 1.1));
    // 9 tokens: row 16, the second run of kv cache save.
    close(tables.iteration(&prefill(1, 0, 9)), 32.0 * (2.0 + 0.02 + 0.002));
    close(tables.iteration(&prefill(1, 1, 7)), 32.0 * (1.0 + 0.02 + 0.003));
    // Chunks of 6 and 3: sqrt 45 is 6.7, rounded 7; histories of 1 and 64 are 64 each, 128 together.
    let mut two = BatchShape::default();
    two.add_chunk(1, 6, false);
    two.add_chunk(64, 3, true);
    two.add_decode(10);
    close(tables.iteration(&two), 32.0 * (2.0 + 0.02 + 0.004 * 1.1 + 0.2));
}

#[test]
fn stages_share_the_layers_and_all_but_the_last_send() {
    let two = Deployment { pipeline_parallel: 2, ..slow() };
    let tables = VidurTables::new(&profile(), &two).unwrap();
    let batch = decodes(1, 64);
    let mut times = [Duration::ZERO; 2];
    tables.stages(&batch, &mut times);
    close(times[0], 16.0 * 1.21 + 0.1);
    close(times[1], 16.0 * 1.21);
    assert_eq!(tables.iteration(&batch), times[0] + times[1]);
    let odd = Deployment { pipeline_parallel: 3, ..slow() };
    let message = VidurTables::new(&profile(), &odd).unwrap_err().to_string();
    assert!(message.contains("32 layers do not divide into 3"), "{message}");
    let alone = VidurProfile { send_recv_ms: None, ..profile() };
    assert!(VidurTables::new(&alone, &two).unwrap_err().to_string().contains("send_recv_ms"));
    VidurTables::new(&alone, &slow()).unwrap();
}

#[test]
fn beyond_the_tables_values_grow() {
    let tables = VidurTables::new(&profile(), &slow()).unwrap();
    // 64 tokens: twice the last row of 32, twice the last kv cache save; 4 times the last chunk.
    close(tables.iteration(&prefill(1, 0, 64)), 32.0 * (8.0 + 0.04 + 0.002 * 4.0));
    // Twice the last context, twice the last number of decodes.
    close(tables.iteration(&decodes(4, 256)), 32.0 * (1.0 + 0.01 + 0.6 * 2.0 * 2.0 * 1.1));
    // The history's mean slope goes on: from 0.002 at 0 to 0.004 at 128, so 0.006 at 256.
    close(tables.iteration(&prefill(1, 256, 8)), 32.0 * (1.0 + 0.02 + 0.006));
}

#[test]
fn pieces_are_level_up_to_the_next_step() {
    let tables = VidurTables::new(&profile(), &slow()).unwrap();
    assert_eq!(tables.decode_piece(&decodes(2, 64)).steps, 0);
    assert_eq!(tables.decode_piece(&BatchShape { decode_context: 130, ..decodes(2, 1) }).steps, 63);
    pieces_agree(&tables, 3);
}

#[test]
fn profiles_are_read_back_to_the_bit() {
    let mut profile = profile();
    profile.token_operators_ms[0] = 0.1 + 0.2;
    let text = profile.to_toml().unwrap();
    assert!(VidurProfile::is(&text) && !VidurProfile::is("name = \"a\"\nkind = \"table\"\n[x]\nkind = \"vidur\"\n"));
    assert_eq!(VidurProfile::parse("again", &text).unwrap(), profile);
    let values = [0.5, 0.5, 0.25, 0.25, 0.25, 0.5];
    assert_eq!(VidurRuns::of(&values).until, [2, 5, 6]);
    assert_eq!(VidurRuns::of(&values).values(), values);
}

#[test]
fn bad_tables_are_refused_with_place_and_value() {
    type Change = fn(&mut VidurProfile);
    let wrong: [(Change, &str); 6] = [
        (|p| p.token_operators_ms[2] = f64::NAN, "token_operators_ms[2] = NaN must be"),
        (|p| p.decode.ms[1][2] = -0.5, "decode.ms[1][2] = -0.5 must be"),
        (|p| _ = p.decode.ms[1].pop(), "decode.ms[1] has 2 values, the first row 3"),
        (|p| p.kv_cache_save.until[0] = 32, "kv_cache_save.until must increase strictly: 32 is followed by 32"),
        (|p| p.prefill.rows[2].until[0] = 16, "prefill.rows[2] has 16 values, the first row 32"),
        (|p| p.prefill.rows[0].ms.truncate(1), "prefill.rows[0] has 2 values of until and 1 of ms"),
    ];
    for (change, expected) in wrong {
        let mut profile = profile();
        change(&mut profile);
        let message = profile.to_toml().unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn what_is_faster_than_the_hardware_is_refused() {
    let mut profile = profile();
    profile.decode.ms[1][2] = 1e-5;
    let message = VidurTables::new(&profile, &slow()).unwrap_err().to_string();
    assert!(message.contains("decode attention of 2 sequences with a mean context of 128 in"), "{message}");
    profile.token_operators_ms[1] = 0.05;
    let message = VidurTables::new(&profile, &slow()).unwrap_err().to_string();
    assert!(message.contains("operators of 9 tokens in"), "{message}");
    profile.token_operators_ms.iter_mut().for_each(|ms| *ms *= 1e3);
    let message = VidurTables::new(&profile, &slow()).unwrap_err().to_string();
    assert!(message.contains("in another unit"), "{message}");
}
