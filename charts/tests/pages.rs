//! Pages of every kind of result: what is in them, and what a browser makes of them.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use tokentide_charts::{Kind, charts_of, line, page, pareto, warnings_of};

/// A name that would end a script, an element and an attribute.
const HOSTILE: &str = "</script><script>console.error('pwned')</script><!--\"'&";

fn quantiles(scale: f64) -> Value {
    json!({ "count": 9, "mean": scale, "p50": scale, "p90": scale * 2.0, "p95": scale * 3.0, "p99": scale * 4.0,
        "max": scale * 5.0 })
}

fn simulated() -> Value {
    let group = |name: &str| {
        json!({ "name": name, "requests": 9, "input_tokens_by_source": { "system": 90, "user": 45 },
            "ttft_ms": quantiles(50.0), "tpot_ms": quantiles(9.0), "e2e_ms": quantiles(900.0), "queue_ms": quantiles(1.0) })
    };
    let series = json!([1.0, 2.0, 3.0]);
    json!({
        "scenario": HOSTILE,
        "summary": { "ttft_ms": quantiles(60.0), "tpot_ms": quantiles(9.0), "e2e_ms": quantiles(900.0),
            "capacity": { "state": "overloaded", "load": 1.2 },
            "slo": { "targets": [{ "class": HOSTILE, "target": "ttft_p95", "limit_ms": 100.0, "value_ms": 150.0,
                "met": false }] } },
        "classes": [group(HOSTILE), group("rag")], "buckets": [group("0-512"), group("513-2048")],
        "timeline": { "bin_s": 1.0, "input_tokens": series, "output_tokens": series, "running": series, "waiting_requests": series,
            "waiting_tokens": series, "kv_use": series, "kv_use_max": series },
        "fleet": { "wanted": series, "ready": series, "starting": series, "draining": series },
        "model": { "calibrated": false, "out_of_range": [HOSTILE] }, "fingerprint": { "seeds": [1, 2] }, "notes": [HOSTILE],
    })
}

fn planned() -> Value {
    let option = |name: &str, usd: f64, pareto: bool| {
        json!({ "option": name, "verdict": "holds", "usd_per_hour": usd, "replicas": 2, "gpus": 2, "pareto": pareto,
            "calibrated": true,
            "targets": [{ "class": "a", "target": "ttft_p95", "limit_ms": 100.0, "value_ms": 80.0 }] })
    };
    json!({ "scenario": "s", "settings": {}, "options": [option(HOSTILE, 4.0, true), option("b", 6.0, false)],
        "provenance": { "seed": 1 } })
}

fn compared() -> Value {
    let side = json!({ "state": "stable", "calibrated": true, "out_of_range": [], "fingerprint": { "seeds": [1] } });
    json!({ "base": "a", "head": HOSTILE, "headline": HOSTILE, "scenarios": [{
        "name": HOSTILE, "base": side, "head": side,
        "rows": [{ "label": "TTFT p95", "only": "", "unit": "milliseconds", "base": 1.0, "head": 2.0,
            "difference": 1.0, "low": 0.5, "high": 1.5 }],
        "sources": [{ "class": "", "source": "system", "base": 10.0, "head": 20.0 }],
        "buckets": [{ "bucket": "0-512", "ttft_p95_ms": [1.0, 2.0] }] }] })
}

fn swept() -> Value {
    json!({
        "point": ["a", "b", "c", "d"], "index": [0, 1, 2, 3], "replication": [0, 0, 0, 0], "seed": [1, 2, 3, 4],
        "replicas": [1, 2, 1, 2], HOSTILE: ["4", "4", "12", "12"], "error": [null, null, null, null],
        "capacity_state": ["stable", "stable", "overloaded", "stable"], "capacity_load": [0.9, 0.4, 1.3, 0.7],
        "ttft_ms_p95": [300.0, 100.0, 9000.0, 200.0], "cost_usd_per_million_output_tokens": [1.0, 2.0, 0.5, 3.0],
        "version": ["0", "0", "0", "0"],
    })
}

fn results() -> [(Kind, Value); 4] {
    [(Kind::Simulate, simulated()), (Kind::Plan, planned()), (Kind::Diff, compared()), (Kind::Sweep, swept())]
}

#[test]
fn kinds_are_told_apart() {
    for (kind, result) in results() {
        assert_eq!(Kind::of(&result), Some(kind));
    }
    for other in [json!({}), json!([]), json!(null), json!({ "summary": {} }), json!("text")] {
        assert_eq!(Kind::of(&other), None, "{other}");
    }
}

#[test]
fn every_chart_says_what_makes_it_doubtful() {
    let warnings = warnings_of(Kind::Simulate, &simulated());
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    for chart in charts_of(Kind::Simulate, &simulated()) {
        assert_eq!(chart.spec["title"]["subtitle"], json!(warnings), "{}", chart.name);
    }
}

#[test]
fn an_overloaded_point_has_no_latency() {
    let table = swept();
    let front = pareto(&table, "cost_usd_per_million_output_tokens", "ttft_ms_p95").expect("a chart");
    let values = front.spec["data"]["values"].as_array().expect("rows");
    let shown: Vec<(f64, &str)> =
        values.iter().map(|v| (v["latency"].as_f64().expect("a latency"), v["front"].as_str().expect("a side"))).collect();
    assert_eq!(shown, [(300.0, "on the front"), (100.0, "on the front"), (200.0, "beaten by another")]);
    for chart in charts_of(Kind::Sweep, &table) {
        assert!(!chart.spec.to_string().contains("9000"), "{} draws the latency of an overloaded point", chart.name);
    }
}

#[test]
fn a_server_full_by_design_has_its_latency() {
    let mut table = swept();
    table["capacity_state"][0] = json!("saturated by design");
    table["capacity_load"][0] = json!(1.02);
    let lines = line(&table, "replicas", "ttft_ms_p95", None).expect("a chart");
    assert_eq!(lines.spec["data"]["values"][0]["figure"], 300.0);
}

#[test]
fn pages_are_safe_small_and_the_same_each_time() {
    for (kind, result) in results() {
        let html = page(kind, &result).expect("a page");
        assert_eq!(html, page(kind, &result).expect("a page"));
        assert!(html.len() < 1_500_000, "{kind:?}: {} bytes", html.len());
        assert!(!html.contains("<script>console.error('pwned')"), "{kind:?}");
        assert!(html.contains("default-src 'none'"));
    }
}

#[test]
fn a_browser_draws_every_chart() {
    let browsers = ["chromium", "chromium-browser", "google-chrome"];
    let Some(browser) = browsers.iter().find(|name| Command::new(name).arg("--version").output().is_ok()) else {
        println!("skipped: no chromium on this machine");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    for (kind, result) in results() {
        let file = folder.path().join("page.html");
        fs::write(&file, page(kind, &result).expect("a page")).expect("a file");
        let options =
            ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--virtual-time-budget=8000", "--dump-dom"];
        let profile = format!("--user-data-dir={}", folder.path().join("profile").display());
        let told =
            Command::new(browser).args(options).arg(profile).arg(format!("file://{}", file.display())).output().expect("a run");
        let (dom, log) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
        // Errors, warnings and what the content security policy refused, requests included, all go to the console.
        let said: Vec<&str> = log.lines().filter(|line| line.contains("CONSOLE")).collect();
        assert!(said.is_empty(), "{kind:?}: {said:#?}");
        let charts = charts_of(kind, &result);
        assert!(!charts.is_empty());
        for chart in charts {
            let start = dom.find(&format!("id=\"chart-{}\"", chart.name)).expect("its place");
            let drawn = &dom[start..start + dom[start..].find("</figure>").expect("its end")];
            assert!(drawn.contains("role-mark"), "{kind:?}: {} has no marks", chart.name);
        }
    }
}
