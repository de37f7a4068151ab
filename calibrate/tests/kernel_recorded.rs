//! Recorded traces of a real vLLM on a CPU, against the profiler's own table of the same run.

use std::collections::BTreeMap;
use std::path::Path;

use tokentide_calibrate::kernels::annotation::{Composition, Marker};
use tokentide_calibrate::kernels::nesting::own_times;
use tokentide_calibrate::kernels::{Rules, analyse, reader};
use tokentide_calibrate::shipped::shared_folder;

/// Rows of the profiler's table by name: own time [us] and calls, summed over the shapes of the inputs.
fn totals(path: &Path) -> BTreeMap<String, (f64, u64)> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut rows: BTreeMap<String, (f64, u64)> = BTreeMap::new();
    for line in text.lines() {
        let mut cells = line.split_whitespace();
        let (Some(name), Some(percent), Some(own)) = (cells.next(), cells.next(), cells.next()) else { continue };
        if !percent.ends_with('%') {
            continue;
        }
        // Total %, total, mean; then the calls.
        let calls = cells.nth(3).unwrap().parse::<u64>().unwrap();
        let row = rows.entry(name.to_owned()).or_default();
        *row = (row.0 + microseconds(own), row.1 + calls);
    }
    rows
}

/// Own time of all rows, those that the table leaves out included [us].
fn total(path: &Path) -> f64 {
    let text = std::fs::read_to_string(path).unwrap();
    microseconds(text.lines().find_map(|line| line.strip_prefix("Self CPU time total: ")).unwrap().trim())
}

/// `34.898ms` or `812.620us`.
fn microseconds(text: &str) -> f64 {
    let number = |unit: &str| text.strip_suffix(unit).and_then(|number| number.parse::<f64>().ok());
    number("us").or_else(|| number("ms").map(|ms| ms * 1000.0)).unwrap_or_else(|| panic!("no time: {text}"))
}

#[test]
fn own_times_are_those_of_the_profilers_table() {
    let Some(traces) = shared_folder("data/vllm_cpu/traces") else {
        println!("skipped: no recorded traces ($TOKENTIDE_SHARED is not set and there is no ../shared)");
        return;
    };
    let decodes = Composition { decodes: 8, decode_tokens: 8, ..Composition::default() };
    let with_prompt = |tokens| Composition { prefill_requests: 1, prefill_tokens: tokens, ..decodes };
    for (name, compositions) in
        [("trace_decode", vec![decodes; 8]), ("trace_mixed", vec![decodes, with_prompt(96), decodes, with_prompt(384), decodes])]
    {
        let file = traces.join(format!("{name}.json.gz"));
        let told = totals(&traces.join(format!("{name}.totals.txt")));
        let trace = reader::read(&file).unwrap();
        let names = trace.names.clone();
        let mut own: BTreeMap<&str, (f64, u64)> = BTreeMap::new();
        for of in own_times(trace.operators) {
            let row = own.entry(names.name(of.operator.name)).or_default();
            *row = (row.0 + of.time as f64 / 1000.0, row.1 + 1);
        }
        let all: f64 = own.values().map(|row| row.0).sum();
        let mut compared = 0.0;
        for (operator, (time, calls)) in &own {
            // The table ends after its longest rows, so that of some names it holds a part only, or nothing.
            let Some((expected, expected_calls)) = told.get(*operator) else { continue };
            // It rounds each of its rows to a microsecond, the trace each time to a nanosecond.
            let rounding = 0.5 * 10.0 + 0.001 * *calls as f64;
            assert!(time + rounding >= *expected, "{name} {operator}: {time} us, the table says {expected} us");
            if calls == expected_calls {
                assert!((time - expected).abs() <= rounding, "{name} {operator}: {time} us, the table says {expected} us");
                compared += time;
            }
        }
        assert!(compared > 0.7 * all, "{compared} of {all} us");

        let report = analyse(&[file], &Rules::new(None).unwrap()).unwrap();
        let rank = &report.ranks[0];
        assert_eq!((rank.marker, rank.device, rank.rank, rank.warnings.len()), (Marker::Vllm, "cpu", 0, 0));
        let found: Vec<Composition> = rank.detail.steps.iter().filter_map(|step| step.composition).collect();
        assert_eq!(found, compositions);
        assert!(rank.unclassified.is_empty(), "{:?}", rank.unclassified);
        // What no operator covers of a span is the span's own time in the table.
        let spans = told.iter().filter(|(row, _)| row.starts_with("execute_context"));
        let expected: f64 = spans.map(|(_, (time, _))| time).sum();
        let found: f64 = rank.detail.steps.iter().map(|step| step.launch_gap as f64 / 1000.0).sum();
        assert!((found - expected).abs() < 2.0, "{found} us, the table says {expected} us");
        let total = total(&traces.join(format!("{name}.totals.txt")));
        assert!((all + found - total).abs() < 2.0, "{} us, the table says {total} us", all + found);
    }
}
