//! `tokentide trace` from the outside: import, look, change, replay.

use std::process::{Command, Output};

use serde_json::Value;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().expect("a temporary folder"))
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.0.path().join(name), content).expect("a file");
    }

    fn run(&self, line: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tokentide"));
        for variable in ["TOKENTIDE_SEED", "TOKENTIDE_THREADS"] {
            command.env_remove(variable);
        }
        command.args(line.split(' ')).current_dir(self.0.path()).output().expect("the binary starts")
    }

    fn stdout(&self, line: &str) -> String {
        let run = self.run(line);
        assert!(run.status.success(), "{line}: {}", String::from_utf8_lossy(&run.stderr));
        String::from_utf8(run.stdout).expect("UTF-8")
    }

    fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.stdout(&format!("{line} --format json"))).expect("JSON")
    }

    fn fails(&self, line: &str) -> String {
        let run = self.run(line);
        assert_eq!(run.status.code(), Some(2), "{line}");
        String::from_utf8(run.stderr).expect("UTF-8")
    }
}

/// A gateway's log: two tenants, one of them with retrieved text.
fn log() -> String {
    let row = |i: u32| {
        let (tenant, retrieved) = if i.is_multiple_of(4) { ("rag", 2000) } else { ("chat", 0) };
        format!(
            r#"{{"ts": {}, "w": "{tenant}", "in": {}, "out": {}, "cap": 99, "parts": {{"system": 500, "retrieved": {retrieved}, "#,
            1_700_000_000_000_u64 + u64::from(i) * 500,
            550 + retrieved,
            20 + i % 80
        ) + "\"user\": 50}}\n"
    };
    (0..400).map(row).collect()
}

const MAP: &str = "--map arrival=ts:unix_ms,input=in,output=out,tenant=w,max_tokens=cap,in_system=parts.system,\
                   in_retrieved=parts.retrieved,in_user=parts.user";

#[test]
fn a_log_becomes_a_trace_that_is_looked_at_changed_and_replayed() {
    let folder = Folder::new();
    folder.write("log.jsonl", &log());
    let text = folder.stdout(&format!("trace import log.jsonl {MAP} -o trace.parquet"));
    for says in ["mapped format, 1 file, times in ms: 400 records read, 400 rows kept", "Written to trace.parquet", "span 200 s"] {
        assert!(text.contains(says), "{says}\n{text}");
    }
    let seen = folder.json("trace inspect trace.parquet --max-model-len 2600 --window 1m");
    let seen = &seen["inspection"];
    assert_eq!(seen["figures"]["input"]["total"], 300 * 550 + 100 * 2550);
    assert_eq!(seen["labels"]["tenant"][0]["name"], "rag");
    assert_eq!((seen["context"]["near"].as_u64(), seen["caps"]["rows"].as_u64()), (Some(100), Some(400)));
    let retrieved = seen["sources"].as_array().unwrap().iter().find(|s| s["source"] == "retrieved").unwrap();
    assert!((retrieved["share"].as_f64().unwrap() - 200_000.0 / 420_000.0).abs() < 1e-9);
    let text = folder.stdout("trace inspect trace.parquet");
    for says in ["By prompt length", "Where input tokens come from", "By tenant (2 in all)", "Over time", "max_tokens"] {
        assert!(text.contains(says), "{says}\n{text}");
    }

    let text = folder.stdout("trace transform trace.parquet --top-k 4:12 -o head.parquet");
    assert!(text.contains("2.90x the input tokens") || text.contains("1.95x the input tokens"), "{text}");
    let run = |trace: &str| folder.json(&format!("simulate --trace {trace}"));
    let (base, head) = (run("trace.parquet"), run("head.parquet"));
    assert_eq!(base["summary"]["input_tokens"], 420_000);
    assert_eq!(head["summary"]["input_tokens"], 820_000);
}

#[test]
fn sessions_are_replayed_by_their_delays() {
    let folder = Folder::new();
    let turn = |session: u32, turn: u32| {
        let time = if turn == 0 { r#""timestamp": 0"# } else { r#""delay": 1500"# };
        format!(r#"{{"session_id": "s{session}", {time}, "input_length": 600, "output_length": 40}}"#) + "\n"
    };
    let sessions: String = (0..20).flat_map(|s| (0..3).map(move |t| turn(s, t))).collect();
    folder.write("sessions.jsonl", &sessions);
    let text = folder.stdout("trace import sessions.jsonl");
    assert!(text.contains("--session-rate") && text.contains("Nothing was written"), "{text}");
    folder.stdout("trace import sessions.jsonl --session-rate 2 -o trace.parquet");
    folder.stdout("simulate --trace trace.parquet --records records.csv");
    let records = std::fs::read_to_string(folder.0.path().join("records.csv")).unwrap();
    let mut lines = records.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let at = |name: &str| header.iter().position(|h| *h == name).unwrap();
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 60);
    let number = |row: &[&str], name: &str| row[at(name)].parse::<f64>().unwrap();
    for row in &rows {
        let turn = number(row, "turn");
        // 600 new tokens a turn, behind what was said before.
        assert_eq!(number(row, "input_tokens"), 600.0 + 640.0 * turn);
        if turn == 0.0 {
            continue;
        }
        let before = rows.iter().find(|r| r[at("session")] == row[at("session")] && number(r, "turn") == turn - 1.0).unwrap();
        let end = number(before, "arrival_s") + number(before, "e2e_ms") / 1e3;
        assert!((number(row, "arrival_s") - end - 1.5).abs() < 1e-3, "{} {end}", row[at("arrival_s")]);
        // The conversation is found in the cache, to a block.
        let said = number(before, "input_tokens") + 40.0;
        assert!(number(row, "cached_tokens") > said - 20.0, "{}", row[at("cached_tokens")]);
    }
}

#[test]
fn what_is_wrong_is_said_and_nothing_is_left_behind() {
    let folder = Folder::new();
    folder.write("bad.csv", "arrival_s,input_tokens,output_tokens\n0,5,6\n1,-5,6\n");
    let error = folder.fails("trace import bad.csv -o out.parquet");
    assert!(error.contains("bad.csv:3") && error.contains("negative"), "{error}");
    assert!(!folder.0.path().join("out.parquet").exists());
    let left: Vec<_> = std::fs::read_dir(folder.0.path()).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert_eq!(left, ["bad.csv"]);
    let text = folder.stdout("trace import bad.csv --skip-bad-rows -o out.csv");
    assert!(text.contains("negative (first: bad.csv:3)"), "{text}");
    for (line, says) in [
        ("trace import none.csv", "cannot be read"),
        ("trace import bad.csv --from azur", "did you mean `azure`?"),
        ("trace import bad.csv --map arrival", "expected OURS=THEIRS"),
        ("trace import bad.csv -o out.xlsx", "use `.parquet` or `.csv`"),
        ("trace transform bad.csv", "-o FILE.parquet"),
        ("trace transform out.csv --top-k 4:12 -o x.parquet", "in_retrieved"),
        ("trace transform out.csv --top-k 0:12 -o x.parquet", "FROM above 0"),
        ("trace transform out.csv --window 1h,2h -o x.parquet", "no row is left"),
        ("trace inspect out.csv --buckets 5,3", "ascending order"),
        ("trace inspect out.csv --model llama-3.1-8", "did you mean"),
    ] {
        let error = folder.fails(line);
        assert!(error.contains(says), "{line}: {error}");
    }
}

#[test]
fn a_fitted_scenario_stands_for_its_trace() {
    let folder = Folder::new();
    folder.write("log.jsonl", &log());
    let fit = folder.json(&format!("trace fit log.jsonl {MAP} --by tenant"));
    let goodness = &fit["goodness"];
    assert_eq!(goodness["trace"]["rows"], 400);
    let simulated = &goodness["simulated"];
    let number = |key: &str| simulated[key].as_f64().unwrap();
    assert!((number("load") - 0.6).abs() < 0.02);
    let range: Vec<f64> = simulated["fitted_range_ms"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    assert!(range[0] > 0.0 && (range[0]..=range[1]).contains(&number("fitted_ttft_p95_ms")), "{simulated}");
    let text = folder.stdout(&format!("trace fit log.jsonl {MAP} -o fitted.toml"));
    assert!(text.contains("quantiles p5 to p99") && text.contains("simulated at 60 % load"), "{text}");
    let report = folder.json("simulate fitted.toml");
    assert_eq!(report["classes"].as_array().unwrap().len(), 2);
    // Of a single request most draws have one, and some have none.
    folder.write("one.csv", "arrival_s,input_tokens,output_tokens\n0,100,3\n");
    let one = folder.json("trace fit one.csv");
    assert_eq!((&one["goodness"]["trace"]["rows"], one["goodness"]["simulated"].is_object()), (&serde_json::json!(1), true));
    // What a trace leaves in a scenario: no name but those of labels.
    assert!(!std::fs::read_to_string(folder.0.path().join("fitted.toml")).unwrap().contains("1700000000"));
}

/// Prompts with hashes: conversations, and questions behind the prompt of one of three products. What a cache finds in the trace
/// it finds in the fit.
#[test]
fn prefixes_are_fitted() {
    let mut rows: Vec<(f64, String)> = Vec::new();
    let mut state = 7u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let row = |at: f64, input: u64, ids: Vec<u64>| {
        let ids: Vec<String> = ids.iter().map(u64::to_string).collect();
        (at, format!("{at:.3},{input},100,{},64", ids.join(" ")))
    };
    let mut start = 0.0;
    for k in 0..800u64 {
        start -= 2.0 * ((random(1_000_000) + 1) as f64 / 1e6).ln();
        // A document of its own, and four questions.
        let mut input = 1000 + random(1000);
        for turn in 0..4 {
            rows.push(row(
                start + 20.0 * turn as f64 + random(5000) as f64 / 1000.0,
                input,
                (0..input / 64).map(|b| k * 1000 + b).collect(),
            ));
            input += 110 + random(100);
        }
        let product = random(3);
        let mut ids: Vec<u64> = (0..10).map(|block| 10_000_000 + product * 100 + block).collect();
        ids.push(20_000_000 + k);
        rows.push(row(start + random(10_000) as f64 / 1000.0, 704 + random(60), ids));
    }
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    let lines: Vec<String> = rows.into_iter().map(|(_, line)| line).collect();
    let folder = Folder::new();
    folder
        .write("t.csv", &format!("arrival_s,input_tokens,output_tokens,prefix_hashes,prefix_block_tokens\n{}\n", lines.join("\n")));
    let fit = folder.json("trace fit t.csv");
    let ceiling = |of: &str| fit["goodness"][of]["prefix"]["hit_ceiling"].as_f64().unwrap();
    assert!(
        ceiling("trace") > 0.6 && (ceiling("trace") - ceiling("fitted")).abs() < 0.02,
        "{} {}",
        ceiling("trace"),
        ceiling("fitted")
    );
    let simulated = &fit["goodness"]["simulated"];
    let [trace, fitted] = [0, 1].map(|k| simulated["hit_shares"][k].as_f64().unwrap());
    assert!(trace > 0.3 && (trace - fitted).abs() < 0.03, "{trace} {fitted}");
    let ratio = simulated["fitted_ttft_p95_ms"].as_f64().unwrap() / simulated["trace_ttft_p95_ms"].as_f64().unwrap();
    println!("ceilings {} {}, found {trace} {fitted}, TTFT p95 {ratio}", ceiling("trace"), ceiling("fitted"));
    assert!((ratio - 1.0).abs() < 0.1, "{ratio}");
    assert!(fit["goodness"]["quantile_error"].as_f64().unwrap() < 0.03, "{}", fit["goodness"]["quantile_error"]);
    let toml = fit["scenario"].as_str().unwrap();
    assert!(toml.contains("first_user = ") && toml.contains("developer = { pmf = "), "{toml}");
    assert!(toml.contains("# 3200 requests are 800 conversations") && !toml.contains("prefill work"), "{toml}");
}

/// The published traces, where they are at hand: quantiles within 3 %, TTFT p95 within 10 % at 60 % load, with what a cache finds.
#[test]
fn published_traces_are_fitted() {
    let root = std::env::var("TOKENTIDE_SHARED").unwrap_or(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared").to_owned());
    let folder = Folder::new();
    for name in
        ["azure2023_conv.csv.gz", "azure2023_code.csv.gz", "mooncake_conversation.jsonl.gz", "servegen_r1_1h_x0.25_seed1.csv.gz"]
    {
        let path = format!("{root}/data/traces/{name}");
        if !std::path::Path::new(&path).exists() {
            println!("skipped: no file {path} (set TOKENTIDE_SHARED)");
            continue;
        }
        let goodness = &folder.json(&format!("trace fit {path}"))["goodness"];
        let simulated = &goodness["simulated"];
        let ttft = simulated["fitted_ttft_p95_ms"].as_f64().unwrap() / simulated["trace_ttft_p95_ms"].as_f64().unwrap() - 1.0;
        println!("{name}: quantiles {}, TTFT p95 {ttft:+.3}", goodness["quantile_error"]);
        assert!(goodness["quantile_error"].as_f64().unwrap() < 0.03, "{name}");
        assert!(ttft.abs() < 0.1, "{name}: {ttft}");
        if let Some([trace, fitted]) = simulated["hit_shares"].as_array().map(|h| [0, 1].map(|k| h[k].as_f64().unwrap())) {
            println!("{name}: found in the cache {trace:.3}, {fitted:.3}");
            assert!((trace - fitted).abs() < 0.01, "{name}: {trace} {fitted}");
        }
    }
}

/// A server whose requests are known: what its metrics say of them is fitted, and served the same.
const SERVED: &str = "name = \"served\"\nduration = \"10m\"\n[model]\nname = \"llama-3.1-8b\"\n[gpu]\nname = \"h100-sxm\"\n\
    [[class]]\nname = \"chat\"\narrivals = { rate = 12.0 }\nprompt = { system = 400, user = { median = 600, p95 = 2400 } }\n\
    output = { tokens = { median = 150, p95 = 500 } }\n";

#[test]
fn metrics_of_a_server_become_a_scenario_that_is_served_alike() {
    let folder = Folder::new();
    folder.write("served.toml", SERVED);
    let served = folder.json("simulate served.toml --metrics series.om");
    let fit = folder.json("trace fit series.om --on served.toml");
    let goodness = &fit["goodness"];
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value}"));
    assert!((number(&goodness["page"]["rate"]) / 12.0 - 1.0).abs() < 0.05, "{goodness}");
    for (page, fitted) in [("prompt_mean", 0), ("generation_mean", 1)] {
        assert!((number(&goodness["fitted_means"][fitted]) / number(&goodness["page"][page]) - 1.0).abs() < 0.02, "{goodness}");
        assert!(number(&goodness["share_errors"][fitted]) < 0.02, "{goodness}");
    }
    let found = number(&goodness["simulated_hit_share"]) - number(&goodness["page"]["hit_share"]);
    assert!(found.abs() < 0.03 && number(&goodness["page"]["hit_share"]) > 0.2, "{goodness}");
    for row in goodness["latencies"].as_array().unwrap().iter().filter(|row| row["name"] != "queue") {
        let ratio = number(&row["simulated_mean_ms"]) / number(&row["page_mean_ms"]);
        println!("{}: {ratio:.3} of the server's mean", row["name"]);
        assert!((0.85..1.15).contains(&ratio), "{row}");
    }
    // And used like any other scenario.
    folder.stdout("trace fit series.om --on served.toml -o fitted.toml");
    let again = folder.json("simulate fitted.toml");
    let p95 = |report: &Value| number(&report["summary"]["ttft_ms"]["p95"]);
    let ratio = p95(&again) / p95(&served);
    println!("TTFT p95 {ratio:.3} of the server's");
    assert!((0.8..1.25).contains(&ratio), "{ratio}");
    assert_eq!(folder.stdout("trace fit series.om"), folder.stdout("trace fit series.om"));
}

#[test]
fn pages_that_do_not_tell_a_rate_ask_for_one() {
    let folder = Folder::new();
    folder.write("served.toml", SERVED);
    folder.stdout("simulate served.toml --metrics a.prom --metrics-at 5m");
    folder.stdout("simulate served.toml --metrics b.prom");
    for (line, says) in [
        ("trace fit a.prom", "give a second page"),
        ("trace fit a.prom b.prom", "--interval is the time between them"),
        ("trace fit a.prom --interval 0s", "expected some time"),
        ("trace fit a.prom --rate 2 --served-model x", "no model `x` is served, but llama-3.1-8b"),
        ("trace import a.prom", "tokentide trace fit"),
        ("trace fit served.toml --rate 3", "for metrics pages"),
    ] {
        let error = folder.fails(line);
        assert!(error.contains(says), "{line}: {error}");
    }
    let text = folder.stdout("trace fit a.prom b.prom --interval 5m -o fitted.toml");
    for says in ["1 engine, 2 scrapes", "found in the prefix cache", "assumed: arrivals are Poisson", "not simulated: --on"] {
        assert!(text.contains(says), "{says}: {text}");
    }
    let toml = std::fs::read_to_string(folder.0.path().join("fitted.toml")).unwrap();
    assert!(toml.starts_with("# Fitted by `tokentide trace fit` to a.prom, b.prom: "), "{toml}");
    let alone = folder.stdout("trace fit b.prom --rate 3 -o fitted.toml");
    assert!(alone.contains("the rate of 3 requests/s was given"), "{alone}");
}
