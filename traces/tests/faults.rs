//! What is wrong with a file is told where it is, or counted when that is asked for; and every trap is said.

mod common;

use common::{rows, text};
use tokentide_traces::error::FaultKind;
use tokentide_traces::import::ImportOptions;

const LOG: &str = concat!(
    r#"{"id": "a", "request_received_ts": 5.0, "prompt_tokens": 10, "completion_tokens": 3, "e2e_latency": 2.0, "#,
    r#""request_parameters": "{}"}"#,
    "\n"
);

fn log(id: u32, at: f64) -> String {
    LOG.replace("\"a\"", &format!("\"{id}\"")).replace("5.0", &format!("{at:?}"))
}

#[test]
fn what_is_wrong_is_located_or_counted() {
    let good = log(1, 5.0);
    for (bad, kind) in [
        (log(2, 6.0).replace("10", "-10"), FaultKind::Negative),
        (log(2, 6.0).replace("10", "NaN"), FaultKind::BadJson),
        (log(2, 6.0).replace("10", "\"many\""), FaultKind::NotANumber),
        (log(2, 6.0).replace("10", "1.5"), FaultKind::NotInteger),
        (log(2, 6.0).replace("\"prompt_tokens\": 10, ", ""), FaultKind::MissingValue),
        (log(2, 6.0).replace("2.0", "-2.0"), FaultKind::Negative),
        (log(2, 6.0)[..40].to_owned() + "\n", FaultKind::BadJson),
        (log(1, 6.0), FaultKind::Duplicate),
        ("garbage\n".to_owned(), FaultKind::BadJson),
    ] {
        let content = format!("{good}{bad}{}", log(9, 9.0));
        let error = text(&content, |_| {}).unwrap_err();
        assert_eq!((error.fault.kind, error.line), (kind, Some(2)), "{error}");
        let (report, kept) = text(&content, |o| o.skip_bad_rows = true).unwrap();
        assert_eq!((report.rows_read, kept.len(), report.left_out[0].rows), (3, 2, 1), "{kind:?}");
        assert!(report.left_out[0].first.as_ref().is_some_and(|first| first.ends_with(":2")));
    }
    let mut bytes = good.clone().into_bytes();
    bytes.extend_from_slice(b"\xff\xfe\n");
    bytes.extend_from_slice(log(3, 7.0).as_bytes());
    let error = text(&bytes, |_| {}).unwrap_err();
    assert_eq!((error.fault.kind, error.line), (FaultKind::NotUtf8, Some(2)));
    assert_eq!(text(&bytes, |o| o.skip_bad_rows = true).unwrap().1.len(), 2);
}

#[test]
fn files_that_are_no_traces() {
    let kind = |content: &[u8]| text(content, |_| {}).unwrap_err().fault.kind;
    for (content, want) in [
        (&b""[..], FaultKind::Empty),
        (b"arrival_s,input_tokens,output_tokens\n", FaultKind::Empty),
        (b"TIMESTAMP;ContextTokens;GeneratedTokens\n2023-11-16 18:15:46;1;2\n", FaultKind::UnknownFormat),
        (b"\xff\xfea\x00,\x00", FaultKind::NotUtf8),
        (b"PAR1....", FaultKind::Unsupported),
        (b"# HELP vllm:x x\n# TYPE vllm:x gauge\n", FaultKind::Unsupported),
        (b"{\"resourceSpans\": [{\"scopeSpans\": [{\"spans\": [{}]}]}]}", FaultKind::MissingValue),
        (b"{\n \"benchmarks\": 5", FaultKind::BadJson),
        (b"[[1]]", FaultKind::UnknownFormat),
        (b"[]", FaultKind::UnknownFormat),
    ] {
        assert_eq!(kind(content), want, "{}", String::from_utf8_lossy(content));
    }
    let error = text("TIMESTAMP;ContextTokens;GeneratedTokens\n", |_| {}).unwrap_err();
    assert!(error.to_string().contains("separated by commas"), "{error}");
}

#[test]
fn compressed_files_that_are_cut() {
    let content: String = (0..20_000).map(|i| log(i, f64::from(i))).collect();
    let gzip = {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = zstd::encode_all(content.as_bytes(), 1).unwrap();
    for whole in [gzip, zstd] {
        assert_eq!(text(&whole, |_| {}).unwrap().0.rows_kept, 20_000);
        for cut in [whole.len() / 2, whole.len() - 3] {
            let error = text(&whole[..cut], |o| o.skip_bad_rows = true).unwrap_err();
            assert_eq!(error.fault.kind, FaultKind::Truncated, "{error}");
        }
    }
}

#[test]
fn rows_are_put_in_order_as_far_as_they_are_held() {
    let content = [log(1, 9.0), log(2, 5.0), log(3, 7.0)].concat();
    let (report, kept) = text(&content, |_| {}).unwrap();
    assert_eq!(kept.iter().map(|row| row.arrival_ps / 1_000_000_000_000).collect::<Vec<_>>(), [5, 7, 9]);
    assert_eq!(report.moved, 2);
    assert!(report.warnings.iter().any(|w| w.starts_with("2 rows stood behind")));
    // Later than all that are held.
    let far: String = (0..140_000).map(|i| log(i, 100.0 + f64::from(i))).chain([log(200_000, 1.0)]).collect();
    let error = text(&far, |_| {}).unwrap_err();
    assert_eq!((error.fault.kind, error.line), (FaultKind::Backwards, Some(140_001)));
    assert!(error.to_string().contains("--sort"), "{error}");
    let (_, kept) = text(&far, |o| o.sort = true).unwrap();
    assert_eq!((kept.len(), kept[0].arrival_ps), (140_001, 1_000_000_000_000));
}

#[test]
fn files_are_read_one_after_another_and_of_one_format() {
    let write = |content: &str| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        file
    };
    let (a, b) = (write(&log(1, 9.0)), write(&log(2, 5.0)));
    let other = write("arrival_s,input_tokens,output_tokens\n1,1,1\n");
    let paths = |files: &[&tempfile::NamedTempFile]| files.iter().map(|f| f.path().to_owned()).collect::<Vec<_>>();
    let (report, kept) = rows(&paths(&[&a, &b]), &ImportOptions::default()).unwrap();
    assert_eq!((report.files, kept.len(), kept[0].arrival_ps), (2, 2, 5_000_000_000_000));
    let error = rows(&paths(&[&a, &other]), &ImportOptions::default()).unwrap_err();
    assert!(error.to_string().contains("the first file is sglang-log, this one native"), "{error}");
}

/// Warnings of a mapped CSV with these columns.
fn warnings(header: &str, map: &[(&str, &str)], row: impl Fn(u32) -> String) -> Vec<String> {
    let content = format!("{header}\n{}", (0..300).map(|i| row(i) + "\n").collect::<String>());
    let columns = map.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    text(content, |o| o.read.columns = columns).unwrap().0.warnings
}

#[test]
fn every_trap_is_said() {
    let has = |warnings: &[String], text: &str| assert!(warnings.iter().any(|w| w.contains(text)), "{text}: {warnings:?}");
    let plain = [("arrival", "t:s"), ("input", "i"), ("output", "o"), ("session", "s")];
    // Ticks.
    has(&warnings("t,i,o,s", &plain, |i| format!("{},500,10,", i / 10 * 3)), "on ticks of 3 s");
    // Deltas read as whole prompts.
    has(&warnings("t,i,o,s", &plain, |i| format!("{i},{},400,c{}", 500 - i, i % 20)), "shorter than what their session said");
    // A unit that is not the right one.
    has(&warnings("t,i,o,s", &plain, |i| format!("{},500,10,", i * 86_400)), "is the unit of the time stamps (s) right?");
    // Completion for arrival.
    let end = [("arrival", "end_time:s"), ("input", "i"), ("output", "o")];
    has(&warnings("end_time,i,o", &end, |i| format!("{i},500,10")), "sounds like the time of completion");
    // The user's message for the prompt.
    let user = [("arrival", "t:s"), ("input", "user_tokens"), ("output", "o")];
    has(&warnings("t,user_tokens,o", &user, |i| format!("{i},50,100")), "the user's message alone");
    has(&warnings("t,i,o,s", &plain, |i| format!("{i},20,300,")), "is that the whole prompt");
    // Nothing known of prefixes is no hit rate of zero.
    has(&warnings("t,i,o,s", &plain, |i| format!("{i},500,10,")), "nothing is known of shared prefixes");
}
