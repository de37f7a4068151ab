//! The formats, well formed.

use super::*;

#[test]
fn native_csv_with_every_column() {
    let text = "arrival_s,input_tokens,output_tokens,max_tokens,class,tenant,route,session,\
                prefix_hashes,prefix_block_tokens,in_system,in_user,note\n\
                10.5,40,7,100,batch,acme,\"a, b\",s1,1 2;3,16,30,10,x\n\
                \n\
                11,20,8,,,,,s1,,,,,\n";
    let (source, requests) = open_text(text, |_| {}).unwrap();
    let [a, b] = &requests[..] else { panic!("two rows") };
    assert_eq!((a.arrival, a.input_tokens, a.output_tokens, a.max_tokens, a.class), (Time(0), 40, 7, 100, 1));
    assert_eq!((source.labels()[usize::from(a.tenant)].as_str(), source.labels()[usize::from(a.route)].as_str()), ("acme", "a, b"));
    let Prefix::Hashes { ids, block_tokens } = &a.prefix else { panic!("hashes") };
    assert_eq!((&ids[..], *block_tokens, a.shared_tokens()), (&[1, 2, 3][..], 16, 40));
    assert_eq!(a.sources, [30, 0, 0, 0, 0, 10, 0, 0]);
    assert_eq!((b.arrival, b.max_tokens, b.class, b.tenant, b.route), (Time(500 * MS), u32::MAX, 0, NO_LABEL, NO_LABEL));
    assert!(matches!(b.prefix, Prefix::None) && b.sources == [0; 8]);
    assert_eq!((a.session.unwrap().0, a.session.unwrap().1, b.session.unwrap().1), (b.session.unwrap().0, 0, 1));
    assert_ne!(a.private, b.private);
    let summary = source.summary();
    assert_eq!((summary.format.as_str(), summary.unit.as_str(), summary.rows_read, summary.rows_kept), ("native", "s", 2, 2));
    assert_eq!((summary.input_tokens, summary.output_tokens, summary.span_s, summary.rows_with_prefix), (60, 15, 0.5, 1));
    assert_eq!(summary.ignored_columns, ["note"]);
}

#[test]
fn native_jsonl_with_keys_that_come_late() {
    let text = concat!(
        r#"{"arrival_s": 1e1, "input_tokens": 40, "output_tokens": 7, "prompt": {"no": ["business", "of ours"]}}"#,
        "\n",
        r#"{"arrival_s": 10.25, "input_tokens": 40.0, "output_tokens": 7, "tenant": "acme", "prefix_hashes": [7, "deadbeef"], "#,
        r#""prefix_block_tokens": 32, "class": null}"#,
    );
    let (source, requests) = open_text(text, |_| {}).unwrap();
    assert_eq!(requests[1].arrival, Time(250 * MS));
    assert_eq!(source.labels(), ["acme"]);
    let Prefix::Hashes { ids, .. } = &requests[1].prefix else { panic!("hashes") };
    assert_eq!((ids.len(), ids[0]), (2, 7));
}

#[test]
fn azure_of_both_years() {
    let old =
        "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:15:46.6805900,374,44\r\n2023-11-16 18:15:50.9951690,396,109";
    let (source, requests) = open_text(old, |_| {}).unwrap();
    assert_eq!((requests[0].arrival, requests[1].arrival), (Time(0), Time(4_314_579_000_000)));
    assert_eq!((requests[1].input_tokens, requests[1].output_tokens, source.summary().format.as_str()), (396, 109, "azure"));
    let new = "TIMESTAMP,NumImages,ContextTokens,GeneratedTokens\n\
               2024-05-11 23:59:59.750000+00:00,0,2162,5\n2024-05-12 00:00:00+00:00,1,10,6\n";
    let (source, requests) = open_text(new, |_| {}).unwrap();
    assert_eq!((requests[1].arrival, requests[1].input_tokens), (Time(250 * MS), 10));
    assert!(source.summary().ignored_columns.is_empty());
}

#[test]
fn mooncake_with_its_blocks() {
    let text = r#"{"timestamp": 27482, "input_length": 1024, "output_length": 52, "hash_ids": [46, 47]}
{"timestamp": 30482, "input_length": 1025, "output_length": 5, "hash_ids": [46, 47, 99]}"#;
    let (source, requests) = open_text(text, |_| {}).unwrap();
    assert_eq!((requests[0].arrival, requests[1].arrival, source.summary().unit.as_str()), (Time(0), Time(3000 * MS), "ms"));
    let (a, b) = (requests[0].shared_block_keys(16), requests[1].shared_block_keys(16));
    assert_eq!((a.len(), b.len()), (64, 64));
    assert_eq!(a, b);
    // The same without hashes at all.
    let (_, requests) = open_text(r#"{"timestamp": 1, "input_length": 1024, "output_length": 52}"#, |_| {}).unwrap();
    assert!(matches!(requests[0].prefix, Prefix::None));
}

#[test]
fn mapped_csv_and_jsonl() {
    let columns = map(&[
        ("arrival", "arrived_at:s"),
        ("input_tokens", "num_prefill_tokens"),
        ("output_tokens", "num_decode_tokens"),
        ("tenant", "client_id"),
    ]);
    let vidur = "arrived_at,num_prefill_tokens,num_decode_tokens,client_id\n4.314579,396,109,5\n5.8926549999999995,10,1,35\n";
    let (source, requests) = open_text(vidur, |c| c.columns = columns).unwrap();
    assert_eq!(
        (requests[1].arrival, source.labels(), source.summary().format.as_str()),
        (Time(1_578_076_000_000), &["5".to_owned(), "35".to_owned()][..], "mapped")
    );

    let log = r#"{"startTime": 1700000000.5, "usage": {"prompt_tokens": 12, "completion_tokens": 3}}
{"startTime": 1700000001, "usage": {"prompt_tokens": 13, "completion_tokens": 4}, "user": "bob"}"#;
    let columns = [
        ("arrival", "startTime:unix_s"),
        ("input", "usage.prompt_tokens"),
        ("output", "usage.completion_tokens"),
        ("session", "user"),
    ];
    let (_, requests) = open_text(log, |c| c.columns = map(&columns)).unwrap();
    assert_eq!((requests[0].input_tokens, requests[1].output_tokens, requests[1].arrival), (12, 4, Time(500 * MS)));
    assert!(requests[0].session.is_none() && requests[1].session.is_some());

    for (unit, step) in [("ns", 1_000), ("us", 1_000_000), ("ms", MS), ("unix_ms", MS), ("unix_ns", 1000)] {
        let columns = [
            ("arrival".to_owned(), format!("t:{unit}")),
            ("input".to_owned(), "i".to_owned()),
            ("output".to_owned(), "o".to_owned()),
        ];
        let (_, requests) = open_text("t,i,o\n100,1,1\n101,1,1\n", |c| c.columns = columns.to_vec()).unwrap();
        assert_eq!(requests[1].arrival, Time(step), "{unit}");
    }
    // A colon in the column's name; and `arrival_s` needs no unit.
    let columns = [("arrival_s", "a:b"), ("input_tokens", "i"), ("output_tokens", "o")];
    assert_eq!(open_text("a:b,i,o\n2,1,1\n", |c| c.columns = map(&columns)).unwrap().1.len(), 1);
}

#[test]
fn marks_blank_lines_and_compression_change_nothing() {
    let plain = "arrival_s,input_tokens,output_tokens\n0,5,6\n1,7,8\n";
    let facts = |content: &[u8]| {
        let (source, requests) = open_text(content, |_| {}).unwrap();
        let summary = TraceSummary { content_hash: 0, ..source.summary().clone() };
        (summary, requests.iter().map(|r| (r.arrival, r.input_tokens, r.output_tokens)).collect::<Vec<_>>())
    };
    let want = facts(plain.as_bytes());
    for same in [
        "\u{feff}arrival_s,input_tokens,output_tokens\r\n\r\n0,5,6\r\n   \r\n1,7,8",
        "\n\narrival_s , input_tokens,\"output_tokens\"\n0, 5 ,6\n1,7,8\n\n\n",
    ] {
        assert_eq!(facts(same.as_bytes()), want);
        assert_eq!(facts(&gzip(same.as_bytes())), want);
    }
    // Several members one after another, as `cat a.gz b.gz` gives.
    let (head, tail) = plain.split_at(44);
    assert_eq!(facts(&[gzip(head.as_bytes()), gzip(tail.as_bytes())].concat()), want);
}

#[test]
fn the_hash_is_of_the_bytes() {
    let hash = |content: &str| open_text(content, |_| {}).unwrap().0.summary().content_hash;
    let text = "arrival_s,input_tokens,output_tokens\n0,5,6\n";
    assert_eq!(hash(text), hash(text));
    assert_eq!(hash(text), fnv1a(FNV_OFFSET, text.as_bytes()));
    assert_ne!(hash(text), hash(&format!("{text}\n")));
    // Known values of FNV-1a.
    assert_eq!((fnv1a(FNV_OFFSET, b""), fnv1a(FNV_OFFSET, b"a")), (0xcbf29ce484222325, 0xaf63dc4c8601ec8c));
}
