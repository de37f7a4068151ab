//! Small tables written for the test, and what is wrong with broken ones.

use std::io::Write;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

/// A folder of tables of 16 tokens, 2 decodes, 2 contexts and 2 histories; removed at the end.
struct Tables(PathBuf);

impl Tables {
    fn new(name: &str) -> Tables {
        let tables = Tables(std::env::temp_dir().join(format!("tokentide-vidur-{}-{name}", std::process::id())));
        std::fs::create_dir_all(&tables.0).unwrap();
        for operator in TOKEN_OPERATORS.iter().chain(&["attn_kv_cache_save", "all_reduce", "send_recv"]) {
            tables.write(operator, &by_tokens_text(16));
        }
        let mut decode = "batch_size,kv_cache_size,ms_per_layer\n".to_owned();
        (1..3).for_each(|b| (0..2).for_each(|c| decode += &format!("{b},{},{b}.{c}\n", 64 * c)));
        tables.write("attn_decode", &decode);
        let mut prefill = "kv_cache_size,prefill_chunk_size_squared,ms_per_layer\n".to_owned();
        (0..2).for_each(|h| (1..17).for_each(|c| prefill += &format!("{},{},{}.{}\n", 64 * h, c * c, h + 1, c / 8)));
        tables.write("attn_prefill", &prefill);
        tables
    }

    fn write(&self, operator: &str, text: &str) {
        let file = std::fs::File::create(self.0.join(format!("{operator}.csv.gz"))).unwrap();
        let mut encoder = GzEncoder::new(file, Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap();
    }

    fn import(&self, tensor_parallel: u32) -> Result<VidurProfile, CalibrateError> {
        import_vidur(&self.0, &VidurSelection { gpu: "a100-80gb", model: "llama-3.1-8b", tensor_parallel }, "2026-01-01")
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A millisecond per 128 tokens.
fn by_tokens_text(tokens: u32) -> String {
    let row = |t: u32| format!("{t},{}\n", f64::from(t) / 128.0);
    (1..=tokens).fold("num_tokens,ms_per_layer\n".to_owned(), |text, t| text + &row(t))
}

#[test]
fn tables_become_a_profile() {
    let tables = Tables::new("good");
    let profile = tables.import(1).unwrap();
    assert_eq!(profile.name, "vidur_a100-80gb_llama-3.1-8b_bf16_tp1");
    assert_eq!(profile.token_operators_ms, [0.5625, 1.125]);
    assert_eq!(profile.send_recv_ms.as_deref(), Some(&[0.0625, 0.125][..]));
    assert_eq!(profile.decode.ms, [[1.0, 1.1], [2.0, 2.1]]);
    assert_eq!((&profile.prefill.rows[1].until[..], &profile.prefill.rows[1].ms[..]), (&[7, 15, 16][..], &[2.0, 2.1, 2.2][..]));
    let ranges = profile.ranges();
    assert_eq!((ranges.decodes_max, ranges.context_max, ranges.prefill_tokens_max), (2, 64, 16));
    // Two all-reduces a layer, with their launch.
    assert_eq!(tables.import(4).unwrap().token_operators_ms, [0.5625 + 2.0 * 0.0825, 1.125 + 2.0 * 0.145]);
    std::fs::remove_file(tables.0.join("send_recv.csv.gz")).unwrap();
    assert_eq!(tables.import(1).unwrap().send_recv_ms, None);
    std::fs::remove_file(tables.0.join("all_reduce.csv.gz")).unwrap();
    assert!(tables.import(2).unwrap_err().to_string().contains("all_reduce.csv.gz: "));
}

#[test]
fn broken_tables_are_refused_with_row_value_and_reason() {
    let good = by_tokens_text(16);
    for (operator, text, expected) in [
        ("add", good.replace("num_tokens", "tokens"), "add.csv.gz: has no column num_tokens; its columns are ms_per_layer, tokens"),
        ("add", good.replace("\n5,0.0390625\n", "\n5,-5\n"), "row 5: ms_per_layer is -5, expected milliseconds of 0 or more"),
        ("add", good.replace("\n5,0.0390625\n", "\n5,NaN\n"), "row 5: ms_per_layer is NaN, expected"),
        ("add", good.replace("\n5,0.0390625\n", "\n"), "row 5: num_tokens is 6, expected 5: 1, 2, 3, ... without a gap"),
        ("add", by_tokens_text(8), "the table ends here, attn_pre_proj has 16 rows"),
        ("attn_pre_proj", by_tokens_text(12), "the table ends here, not at a multiple of 8"),
        (
            "attn_decode",
            "batch_size,kv_cache_size,ms_per_layer\n1,0,1\n1,128,1\n".into(),
            "row 2: (batch_size, kv_cache_size) is (1, 128), expected (1, 64): a grid without a gap",
        ),
        (
            "attn_decode",
            "batch_size,kv_cache_size,ms_per_layer\n1,0,1\n1,64,1\n2,0,1\n".into(),
            "3 rows are no full grid of 2 columns",
        ),
        ("attn_decode", "batch_size,kv_cache_size,ms_per_layer\n".into(), "0 rows are no full grid"),
        (
            "attn_prefill",
            "kv_cache_size,prefill_chunk_size_squared,ms_per_layer\n0,1,1\n0,2,1\n".into(),
            "is (0, 2), expected (0, 4)",
        ),
    ] {
        let tables = Tables::new("bad");
        tables.write(operator, &text);
        let message = tables.import(1).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn tables_in_another_unit_are_refused() {
    let tables = Tables::new("unit");
    tables.write("add", &by_tokens_text(16).replace("\n16,0.125\n", "\n16,125000\n"));
    let message = tables.import(1).unwrap_err().to_string();
    assert!(message.contains("in another unit?"), "{message}");
}

#[test]
fn what_the_catalogue_lacks_is_named() {
    let selection = VidurSelection { gpu: "a100-80gb", model: "llama-9", tensor_parallel: 1 };
    let message = import_vidur(Path::new("nowhere"), &selection, "2026-01-01").unwrap_err().to_string();
    assert!(message.starts_with("model llama-9 is not in the tables; known are "), "{message}");
}
