//! Every kind of fault, where it is, and what it says.

use super::*;
use crate::stream::{Purpose, Stream};

const HEADER: &str = "arrival_s,input_tokens,output_tokens\n";

/// The error of a file of this content.
fn fault(content: impl AsRef<[u8]>, change: impl FnOnce(&mut TraceConfig)) -> TraceError {
    match open_text(content, change) {
        Err(error) => error,
        Ok((source, _)) => panic!("no error: {:?}", source.summary()),
    }
}

fn assert_fault(content: &str, kind: FaultKind, line: u64, column: Option<&str>, text: Option<&str>) {
    let error = fault(content, |_| {});
    assert_eq!((error.fault.kind, error.line), (kind, Some(line)), "{error}");
    assert_eq!((error.fault.column.as_deref(), error.fault.text.as_deref()), (column, text), "{error}");
    assert!(error.to_string().contains(&format!(":{line}: ")) && !error.fault.expected.is_empty(), "{error}");
    // What spoils one row can be left out, if another one is good.
    if kind.of_a_row() {
        let (source, _) = open_text(format!("{content}\n9e6,1,1\n"), |c| c.skip_bad_rows = true).unwrap();
        assert_eq!(source.summary().rejected.get(kind.reason()), Some(&1));
        assert_eq!(source.summary().rows_read, source.summary().rows_kept + 1);
    }
}

#[test]
fn bad_values_name_line_column_and_text() {
    let cases = [
        ("0,abc,6", FaultKind::NotANumber, "input_tokens", "abc"),
        ("0,5,NaN", FaultKind::NotFinite, "output_tokens", "NaN"),
        ("inf,5,6", FaultKind::NotFinite, "arrival_s", "inf"),
        ("0,-5,6", FaultKind::Negative, "input_tokens", "-5"),
        ("0,5.5,6", FaultKind::NotInteger, "input_tokens", "5.5"),
        ("0,4294967296,6", FaultKind::TooLarge, "input_tokens", "4294967296"),
        ("1e25,5,6", FaultKind::TooLarge, "arrival_s", "1e25"),
    ];
    for (row, kind, column, text) in cases {
        assert_fault(&format!("{HEADER}0,1,1\n\n{row}"), kind, 4, Some(column), Some(text));
    }
    assert_fault(&format!("{HEADER}0,,6"), FaultKind::MissingValue, 2, Some("input_tokens"), None);
    assert_fault(&format!("{HEADER}0,0,6"), FaultKind::ZeroInput, 2, None, None);
    assert_fault(&format!("{HEADER}0,5,0"), FaultKind::ZeroOutput, 2, None, None);
    assert_fault(&format!("{HEADER}0,5"), FaultKind::FieldCount, 2, None, Some("0,5"));
    assert_fault(&format!("{HEADER}0,5,6,7"), FaultKind::FieldCount, 2, None, Some("0,5,6,7"));
    assert_fault(&format!("{HEADER}0,5,\"6"), FaultKind::BadCsv, 2, None, Some("0,5,\"6"));
    let error = fault("TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,374,44", |_| {});
    assert_eq!((error.fault.kind, error.line, error.fault.text.as_deref()), (FaultKind::BadTime, Some(2), Some("yesterday")));
}

#[test]
fn optional_columns_are_checked_too() {
    let with =
        |column: &str, value: &str| fault(format!("arrival_s,input_tokens,output_tokens,{column}\n0,50,6,{value}\n"), |_| {});
    assert_eq!(with("max_tokens", "0").fault.kind, FaultKind::ZeroMaxTokens);
    assert_eq!(with("max_tokens", "x").fault.column.as_deref(), Some("max_tokens"));
    assert_eq!(with("in_user", "49").fault.kind, FaultKind::BadSources);
    assert_eq!(with("prefix_hashes", "1 2").fault.kind, FaultKind::BadBlocks);
    let error = with("class", "chatt");
    assert_eq!(error.fault.kind, FaultKind::UnknownClass);
    assert!(error.to_string().contains("did you mean `chat`?"), "{error}");
    let many = fault(format!("arrival_s,input_tokens,output_tokens,prefix_hashes\n0,50,6,{}\n", "1 ".repeat(5)), |c| {
        c.block_tokens = Some(16)
    });
    assert_eq!(many.fault.kind, FaultKind::BadBlocks);
    let labels: String = (0..65_536).map(|i| format!("{i},5,6,t{i}\n")).collect();
    let error = fault(format!("arrival_s,input_tokens,output_tokens,tenant\n{labels}"), |_| {});
    assert_eq!((error.fault.kind, error.fault.text.as_deref()), (FaultKind::TooManyLabels, Some("t65535")));
}

#[test]
fn time_going_backwards_names_both_lines() {
    let error = fault(format!("{HEADER}0,1,1\n5,1,1\n\n4.5,1,1\n6,1,1\n"), |_| {});
    assert_eq!((error.fault.kind, error.line), (FaultKind::Backwards, Some(5)));
    assert!(error.to_string().contains("line 5 comes 0.5 s before line 3"), "{error}");
    let (source, requests) =
        open_text(format!("{HEADER}0,1,1\n5,1,1\n\n4.5,1,1\n5,2,1\n6,1,1\n"), |c| c.skip_bad_rows = true).unwrap();
    assert_eq!((requests.len(), source.summary().rows_read), (4, 5));
    assert_eq!(source.summary().rejected.iter().collect::<Vec<_>>(), [(&"time goes backwards", &1)]);
    assert!(source.summary().warnings(false).iter().any(|w| w.contains("1 of 5 trace rows left out")));
}

#[test]
fn damaged_files() {
    let text: String = HEADER.to_owned() + &(0..5000).map(|i| format!("{i},{},6\n", i % 977 + 1)).collect::<String>();
    let packed = gzip(text.as_bytes());
    for length in [2, 5, 100, packed.len() / 2, packed.len() - 1] {
        assert_eq!(fault(&packed[..length], |_| {}).fault.kind, FaultKind::Truncated, "{length}");
    }
    let mut damaged = packed.clone();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 8].copy_from_slice(&[0xff; 8]);
    // Damage in the middle may decode to other text before the checksum is reached: an error it is in any case.
    fault(&damaged, |_| {});
    let mut checksum = packed.clone();
    let place = checksum.len() - 6;
    checksum[place] ^= 1;
    assert_eq!(fault(&checksum, |_| {}).fault.kind, FaultKind::Damaged);
    assert_eq!(fault([&packed[..], b"garbage behind the last member"].concat(), |_| {}).fault.kind, FaultKind::Damaged);
    let cut = fault([0x28, 0xb5, 0x2f, 0xfd, 0, 0], |_| {}).fault.kind;
    assert!(matches!(cut, FaultKind::Truncated | FaultKind::Damaged), "{cut:?}");
    assert_eq!(fault(b"PAR1....", |_| {}).fault.kind, FaultKind::Unsupported);
    assert_eq!(fault("", |c| c.path = "/no/such/file.csv".into()).fault.kind, FaultKind::Unreadable);

    let mut bytes = format!("{HEADER}0,1,1\n").into_bytes();
    bytes.extend_from_slice(b"1,\xff\xfe,1\n2,1,1\n");
    let error = fault(&bytes, |_| {});
    assert_eq!((error.fault.kind, error.line), (FaultKind::NotUtf8, Some(3)));
    assert_eq!(open_text(&bytes, |c| c.skip_bad_rows = true).unwrap().1.len(), 2);

    let error = fault(format!("{HEADER}0,1,{}", "1".repeat(11 << 20)), |c| c.skip_bad_rows = true);
    assert_eq!((error.fault.kind, error.line), (FaultKind::LineTooLong, Some(2)));
}

#[test]
fn empty_files() {
    for content in ["", "\n\n", HEADER, "\u{feff}"] {
        assert_eq!(fault(content, |_| {}).fault.kind, FaultKind::Empty, "{content:?}");
    }
    assert_eq!(fault(gzip(b""), |_| {}).fault.kind, FaultKind::Empty);
    let error = fault(format!("{HEADER}0,0,1\n"), |c| c.skip_bad_rows = true);
    assert!(error.to_string().contains("all 1 rows were left out"), "{error}");
    let error = fault(format!("{HEADER}0,1,1\n9,1,1\n"), |c| c.window = Some((100.0, 200.0)));
    assert!(error.to_string().contains("none of 2 rows lies in the window"), "{error}");
}

#[test]
fn missing_and_misspelt_columns() {
    let error = fault("arrival_s,input_tokns,output_tokens\n0,1,1\n", |_| {});
    assert_eq!((error.fault.kind, error.fault.column.as_deref()), (FaultKind::MissingColumn, Some("input_tokens")));
    assert!(error.to_string().contains("did you mean `input_tokns`?"), "{error}");
    let error = fault("arrival_s,input_tokens,output_tokens,tennant\n0,1,1,x\n", |_| {});
    assert_eq!((error.fault.kind, error.fault.column.as_deref()), (FaultKind::MisspeltColumn, Some("tennant")));
    let error = fault(r#"{"arrival_s": 0, "input_tokens": 5}"#, |_| {});
    assert_eq!((error.fault.kind, error.fault.column.as_deref()), (FaultKind::MissingColumn, Some("output_tokens")));
    let error = fault("a,b,c\n1,2,3\n", |_| {});
    assert_eq!((error.fault.kind, error.fault.text.as_deref()), (FaultKind::UnknownFormat, Some("a, b, c")));
    // A key that the user named and that no row has.
    let columns = map(&[("arrival", "t:s"), ("input", "i"), ("output", "o"), ("tenant", "custmer")]);
    let error = fault("{\"t\": 0, \"i\": 1, \"o\": 1, \"customer\": \"a\"}\n", |c| c.columns = columns);
    assert_eq!((error.fault.kind, error.fault.column.as_deref()), (FaultKind::MissingColumn, Some("custmer")));
    assert!(error.to_string().contains("did you mean `customer`?"), "{error}");
}

#[test]
fn json_lines_that_are_none() {
    let good = "{\"arrival_s\": 0, \"input_tokens\": 5, \"output_tokens\": 6}\n";
    for bad in ["{\"arrival_s\": 0", "7", "[1]", "{\"arrival_s\": NaN}", "nonsense"] {
        let text = format!("{good}{bad}\n{good}");
        let error = fault(&text, |_| {});
        assert_eq!((error.fault.kind, error.line), (FaultKind::BadJson, Some(2)), "{bad}: {error}");
        assert_eq!(open_text(&text, |c| c.skip_bad_rows = true).unwrap().1.len(), 2);
    }
    let error = fault(format!("{good}{}", good.replace("5", "[5]")), |_| {});
    assert_eq!((error.fault.kind, error.fault.text.as_deref()), (FaultKind::NotANumber, Some("[5]")));
    let error = fault(format!("{good}{}", good.replace("\"input_tokens\": 5,", "")), |_| {});
    assert_eq!((error.fault.kind, error.line), (FaultKind::MissingValue, Some(2)));
    assert_eq!(fault("[{\"arrival_s\": 0}]", |_| {}).fault.kind, FaultKind::Unsupported);
}

#[test]
fn units_and_settings() {
    let error = fault("{\"timestamp\": 0.5, \"input_length\": 5, \"output_length\": 6}\n", |c| c.skip_bad_rows = true);
    assert_eq!(error.fault.kind, FaultKind::AmbiguousUnit);
    assert!(error.to_string().contains("timestamp:s"), "{error}");
    let settings: [(&[(&str, &str)], FaultKind); 6] = [
        (&[("arrival", "t"), ("input", "i"), ("output", "o")], FaultKind::AmbiguousUnit),
        (&[("arrival", "t:hours"), ("input", "i"), ("output", "o")], FaultKind::BadSetting),
        (&[("arrival", "t:s"), ("input", "i")], FaultKind::BadSetting),
        (&[("arrival", "t:s"), ("input", "i"), ("output", "o"), ("tenent", "i")], FaultKind::BadSetting),
        (&[("arrival", "t:s"), ("input", "i"), ("input_tokens", "o"), ("output", "o")], FaultKind::BadSetting),
        (&[("arrival", "t:s"), ("input", "in"), ("output", "o")], FaultKind::MissingColumn),
    ];
    for (columns, kind) in settings {
        let error = fault("t,i,o\n0,1,1\n", |c| c.columns = map(columns));
        assert_eq!(error.fault.kind, kind, "{error}");
    }
    for rate_scale in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-300] {
        assert_eq!(fault(format!("{HEADER}0,1,1\n1,1,1\n"), |c| c.rate_scale = rate_scale).fault.kind, FaultKind::BadSetting);
    }
    for window in [(5.0, 5.0), (-1.0, 5.0), (f64::NAN, 5.0), (0.0, f64::NAN)] {
        assert_eq!(fault(format!("{HEADER}0,1,1\n"), |c| c.window = Some(window)).fault.kind, FaultKind::BadSetting);
    }
}

#[test]
fn mooncake_blocks_are_of_the_size_that_fits_and_no_other() {
    let row = |at: u32, input: u32, ids: u32| {
        let ids: Vec<String> = (0..ids).map(|id| id.to_string()).collect();
        let ids = ids.join(",");
        format!("{{\"timestamp\": {at}, \"input_length\": {input}, \"output_length\": 6, \"hash_ids\": [{ids}]}}\n")
    };
    let (_, requests) = open_text(row(0, 100, 7), |_| {}).unwrap();
    assert!(matches!(requests[0].prefix, Prefix::Hashes { block_tokens: 16, .. }));
    let text = (0..200).map(|i| row(i, 1000 + i, (1000 + i).div_ceil(512))).collect::<String>() + &row(200, 100, 7);
    let error = fault(&text, |_| {});
    assert_eq!((error.fault.kind, error.line), (FaultKind::BadBlocks, Some(201)));
    assert!(error.to_string().contains("ceil(100 / 512) = 1; 16 tokens per hash would fit: set block_tokens"), "{error}");
    // Of prompts that are shorter than any block nobody can tell.
    assert_eq!(fault(row(0, 10, 1), |_| {}).fault.kind, FaultKind::BadBlocks);
    assert_eq!(open_text(row(0, 10, 1), |c| c.block_tokens = Some(512)).unwrap().1.len(), 1);
}

/// Longer than what is read ahead, so that rows appended after the check are met by the replay.
#[test]
fn a_file_that_changes_after_the_check_ends_the_replay_with_an_error() {
    let rows: String = (0..30_000).map(|i| format!("{i},1,1\n")).collect();
    for (more, kind) in [("30000,1,1\n", FaultKind::Changed), ("30000,0,0\n", FaultKind::ZeroInput)] {
        let file = Temporary::new(format!("{HEADER}{rows}"));
        let mut source = open(&config(&file.0)).unwrap();
        let mut end = std::fs::OpenOptions::new().append(true).open(&file.0).unwrap();
        std::io::Write::write_all(&mut end, more.as_bytes()).unwrap();
        assert!(std::iter::from_fn(|| source.next()).count() >= 30_000);
        assert_eq!(source.failure().map(|e| e.fault.kind), Some(kind));
    }
}

/// Whatever bytes a file holds: rows or an error, never a panic; and what the check counted is what the replay gives.
#[test]
fn damaged_bytes_give_rows_or_errors() {
    use rand::RngExt;
    let samples = [
        "arrival_s,input_tokens,output_tokens,class,prefix_hashes,prefix_block_tokens,in_user\n\
         0,40,7,chat,1 2;3,16,40\n1.5,9,2,batch,,,\n2e0,1,1,,,,1\n",
        "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:15:46.6805900,374,44\r\n2024-05-12T00:00:00+00:00,396,109",
        "{\"timestamp\": 0, \"input_length\": 100, \"output_length\": 6, \"hash_ids\": [1]}\n\
         {\"timestamp\": 9, \"input_length\": 1024, \"output_length\": 5, \"hash_ids\": [1, 2]}\n",
    ];
    let (mut good, mut bad) = (0, 0);
    for round in 0..1500 {
        let mut rng = Stream::new(1, Purpose::Trace, 99, round);
        let mut bytes = samples[round as usize % 3].as_bytes().to_vec();
        for _ in 0..rng.random_range(1..4) {
            let place = rng.random_range(0..bytes.len());
            match rng.random_range(0..4) {
                0 => bytes[place] = rng.random(),
                1 => bytes[place] = b"0123456789-+.eE,;\"{}[]: \n"[rng.random_range(0..25)],
                2 => drop(bytes.remove(place)),
                _ => bytes.insert(place, b"09-.eE,\n"[rng.random_range(0..8)]),
            }
        }
        let bytes = if round % 5 == 0 { gzip(&bytes) } else { bytes };
        // Of two rows, one of them damaged, nobody could tell the size of blocks.
        let change = |c: &mut TraceConfig| (c.skip_bad_rows, c.block_tokens) = (round % 2 == 0, (round % 3 == 2).then_some(512));
        match open_text(&bytes, change) {
            Ok((source, requests)) => {
                good += 1;
                assert_eq!(requests.len() as u64, source.summary().rows_in_window);
                let rejected: u64 = source.summary().rejected.values().sum();
                assert_eq!(source.summary().rows_read, source.summary().rows_kept + rejected);
            }
            Err(error) => {
                bad += 1;
                assert!(!error.to_string().is_empty());
            }
        }
    }
    assert!(good > 200 && bad > 200, "{good} {bad}");
}
