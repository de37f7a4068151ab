//! A Grafana dashboard over the recording rules and vLLM's own metrics.

use serde_json::{Value, json};

use super::{Job, head, matcher, rules};

/// Grid of Grafana: columns, and what a panel takes of it.
const COLUMNS: usize = 24;
const WIDTH: usize = 12;
const HEIGHT: usize = 8;
/// Grafana's format since 10.
const SCHEMA_VERSION: u32 = 39;

/// A panel: title, unit of Grafana, queries with their legends, and the value from which it is red.
struct Panel {
    title: &'static str,
    unit: &'static str,
    queries: Vec<(String, String)>,
    red_from: Option<f64>,
}

/// The dashboard as JSON.
pub fn text(job: &Job) -> String {
    let scenario = &job.loaded.scenario;
    let mut panels = panels(job.model_name);
    let ratios = rules::rules(scenario, job.model_name).into_iter().filter(|rule| rule.record.starts_with("pool:slo_"));
    let ratios: Vec<_> = ratios.map(|rule| (rule.record.clone(), rule.record)).collect();
    if !ratios.is_empty() {
        panels.insert(0, Panel { title: "Latency over its limit", unit: "none", queries: ratios, red_from: Some(1.0) });
    }
    let panels: Vec<Value> = panels.iter().enumerate().map(|(i, panel)| of_panel(i, panel)).collect();
    let dashboard = json!({
        "title": format!("LLM pool: {}", scenario.name),
        "description": format!("{} It needs the rules of `tokentide emit promrules`.", head::origin(scenario)),
        "tags": ["tokentide", "vllm"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": true,
        "refresh": "30s",
        "time": { "from": "now-1h", "to": "now" },
        "templating": { "list": [{
            "name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "refresh": 1, "hide": 0,
        }] },
        "panels": panels,
    });
    format!("{dashboard:#}\n")
}

fn panels(model: Option<&str>) -> Vec<Panel> {
    let queries = |list: &[(&str, &str)]| -> Vec<(String, String)> {
        list.iter().map(|(query, legend)| (matcher::of_model(query, model), (*legend).to_owned())).collect()
    };
    let panel = |title, unit, list: &[(&str, &str)]| Panel { title, unit, queries: queries(list), red_from: None };
    vec![
        panel(
            "Tokens per second",
            "short",
            &[("pool:prompt_tokens:rate1m", "prompt"), ("pool:generation_tokens:rate1m", "output")],
        ),
        panel(
            "Tokens per request",
            "short",
            &[
                ("pool:request_prompt_tokens:p50", "prompt p50"),
                ("pool:request_prompt_tokens:p95", "prompt p95"),
                ("pool:request_generation_tokens:p50", "output p50"),
                ("pool:request_generation_tokens:p95", "output p95"),
            ],
        ),
        panel("Prompt tokens that wait (estimate)", "short", &[("pool:waiting_tokens:estimate", "tokens")]),
        panel(
            "Requests in flight",
            "short",
            &[("sum(vllm:num_requests_running)", "running"), ("sum(vllm:num_requests_waiting)", "waiting")],
        ),
        panel(
            "Share of KV memory in use",
            "percentunit",
            &[("pool:kv_cache_usage:max", "fullest replica"), ("pool:kv_cache_usage:mean", "mean")],
        ),
        panel("Share of prompt tokens from the prefix cache", "percentunit", &[("pool:prefix_cache_hits:ratio10m", "share")]),
        panel("Preemptions per second", "short", &[("sum(rate(vllm:num_preemptions_total[5m]))", "preemptions")]),
    ]
}

fn of_panel(index: usize, panel: &Panel) -> Value {
    let datasource = json!({ "type": "prometheus", "uid": "${datasource}" });
    let target = |(i, (expr, legend)): (usize, &(String, String))| {
        // A to Z: no panel has more queries.
        let letter = char::from(b'A' + (i % 26) as u8).to_string();
        json!({ "refId": letter, "datasource": datasource, "expr": expr, "legendFormat": legend })
    };
    let mut steps = vec![json!({ "color": "green", "value": null })];
    steps.extend(panel.red_from.map(|value| json!({ "color": "red", "value": value })));
    let per_row = COLUMNS / WIDTH;
    json!({
        "id": index + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": datasource,
        "gridPos": { "x": index % per_row * WIDTH, "y": index / per_row * HEIGHT, "w": WIDTH, "h": HEIGHT },
        "fieldConfig": { "defaults": {
            "unit": panel.unit,
            "min": 0,
            "thresholds": { "mode": "absolute", "steps": steps },
            "custom": { "thresholdsStyle": { "mode": if panel.red_from.is_some() { "line" } else { "off" } } },
        }, "overrides": [] },
        "targets": panel.queries.iter().enumerate().map(target).collect::<Vec<_>>(),
    })
}
