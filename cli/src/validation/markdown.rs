//! `docs/accuracy.md`: every data set, what was fitted and what was held out, our errors with those of others beside them.

use tokentide_sim::validate::groups::LIGHT_QUEUE_SHARE;
use tokentide_sim::validate::measured::LeftOut;
use tokentide_sim::validate::report::{About, GroupReport, KvReport, MetricReport, Peer, PointsReport, RunReport, SetReport};

use super::text::{absolute, metric_name, signed};
use crate::text::units::{self, NONE};

/// The command that writes the document.
pub const REGENERATE: &str = "tokentide calibrate validate --all validation --markdown docs/accuracy.md";

/// The whole document. `plot` gives the link to a set's plot, if it has one.
pub fn document(reports: &[SetReport], plot: impl Fn(&SetReport) -> Option<String>) -> String {
    let mut out = introduction();
    for report in reports {
        out += &format!("\n## {}\n", capital(&report.title));
        report.runs.iter().for_each(|run| out += &run_section(run));
        report.points.iter().for_each(|points| out += &points_section(points));
        report.kv_blocks.iter().for_each(|kv| out += &kv_section(kv));
        if let Some(link) = plot(report) {
            out += &format!("\n![predicted against measured]({link})\n");
        }
    }
    out
}

fn introduction() -> String {
    format!(
        "# Accuracy\n\n\
         How far tokentide's predictions are from what real servers did, on every real data set that the project has. This file is \
         generated; a test compares it with what the program gives:\n\n\
         ```sh\n{REGENERATE}\n```\n\n\
         Errors are (predicted / measured - 1) in percent. *Median* and *MAPE* are the median and the mean of absolute errors over \
         distinct measurements, *bias* is the median of signed ones. TTFT and end-to-end time count from submission, TPOT is \
         (last - first token) / (output - 1). *Light load*: in the simulation less than {} % of TTFT is waiting to be scheduled; \
         there TTFT is prefill and host time, under queueing it is the order of batching. Near saturation a few percent of speed \
         are a factor in waiting time: look at the headroom first.\n",
        LIGHT_QUEUE_SHARE * 100.0
    )
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}

/// A table; the first column to the left, all others to the right.
fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let cells = |cells: &mut dyn Iterator<Item = String>| format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "));
    let mut out = cells(&mut header.iter().map(|h| (*h).to_owned()));
    out += &cells(&mut (0..header.len()).map(|i| if i == 0 { "---" } else { "---:" }.to_owned()));
    rows.iter().for_each(|row| out += &cells(&mut row.iter().map(|cell| cell.replace('|', "\\|"))));
    out
}

fn about_list(about: &About) -> String {
    let known =
        [("Fitted", &about.fitted), ("Held out", &about.held_out), ("Data", &about.provenance), ("Licence", &about.licence)];
    let named = known.iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| format!("- {name}: {text}.\n"));
    let caveats = about.caveats.iter().map(|caveat| format!("- Caveat: {caveat}.\n"));
    named.chain(caveats).chain(about.residuals.iter().map(|residual| format!("- What is left: {residual}.\n"))).collect()
}

fn left_out(list: &[LeftOut]) -> String {
    list.iter().map(|l| format!("- Left out, {}: {}.\n", l.rows, l.reason)).collect()
}

fn run_section(run: &RunReport) -> String {
    let times = if run.server.calibrated { &run.server.profile } else { "the roofline (uncalibrated)" };
    let mut out = format!("\n### {}\n\n{}.\n\n{}", run.name, run.about.title, about_list(&run.about));
    out += &format!(
        "- Server: {}, {} KV blocks, times from {times}.\n- Load: {}, headroom {}; {} of {} requests not served whole.\n",
        run.server.name,
        units::exact(run.server.kv_blocks.into()),
        run.state,
        units::percent(run.headroom),
        run.unserved,
        run.requests
    );
    run.out_of_range.iter().for_each(|o| out += &format!("- Beyond the profile: {o}.\n"));
    out += &left_out(&run.left_out);
    let mut rows: Vec<Vec<String>> = run.metrics.iter().map(metric_row).collect();
    for (name, pair) in [("output tok/s", run.throughput), ("makespan", run.makespan_s)] {
        if let Some(pair) = pair {
            let mut row = vec![name.to_owned(), run.requests.to_string(), signed(pair.error)];
            row.resize(7, String::new());
            rows.push(row);
        }
    }
    let own: Vec<Vec<String>> = rows;
    out += &format!("\n{}", table(&["", "requests", "mean", "p50", "p90", "p99", "MAPE per request"], &own));
    if !run.about.peers.is_empty() {
        out += &format!("\n{}", run_peers(run));
    }
    out
}

fn metric_row(m: &MetricReport) -> Vec<String> {
    let mut row = vec![metric_name(m.metric).to_owned(), m.measured.count.to_string()];
    row.extend(m.errors.map(signed));
    row.push(m.mape.map_or(NONE.to_owned(), absolute));
    row
}

/// Figures of a run that peers publish, by name and header.
const RUN_FIGURES: [(&str, &str); 11] = [
    ("ttft_mean", "TTFT mean"),
    ("ttft_p50", "p50"),
    ("ttft_p90", "p90"),
    ("ttft_p99", "p99"),
    ("ttft_mape", "MAPE"),
    ("tpot_mean", "TPOT mean"),
    ("tpot_p99", "p99"),
    ("tpot_mape", "MAPE"),
    ("e2e_mean", "e2e mean"),
    ("e2e_mape", "MAPE"),
    ("throughput", "tok/s"),
];

fn run_peers(run: &RunReport) -> String {
    let own = |name: &str| {
        let (metric, stat) = name.split_once('_').unwrap_or((name, ""));
        let found = run.metrics.iter().find(|m| m.metric == metric)?;
        match stat {
            "mean" => found.errors[0],
            "p50" => found.errors[1],
            "p90" => found.errors[2],
            "p99" => found.errors[3],
            _ => found.mape,
        }
    };
    let figure = |name: &str, value: Option<f64>| value.map_or(NONE.to_owned(), |v| cell(name, v));
    let ours = |name: &str| figure(name, if name == "throughput" { run.throughput.and_then(|p| p.error) } else { own(name) });
    let mut rows = vec![std::iter::once("**tokentide**".to_owned()).chain(RUN_FIGURES.iter().map(|(n, _)| ours(n))).collect()];
    for peer in &run.about.peers {
        let theirs = RUN_FIGURES.iter().map(|(name, _)| figure(name, peer.errors.get(*name).copied()));
        rows.push(std::iter::once(peer.name.clone()).chain(theirs).collect());
    }
    let header: Vec<&str> = std::iter::once("errors [%]").chain(RUN_FIGURES.iter().map(|(_, h)| *h)).collect();
    table(&header, &rows) + &sources(&run.about.peers)
}

/// Absolute errors without a sign.
fn cell(name: &str, value: f64) -> String {
    if name.ends_with("mape") { format!("{value:.1}") } else { format!("{value:+.1}") }
}

fn sources(peers: &[Peer]) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in peers.iter().map(|peer| format!("{}: {}", peer.name, peer.source)) {
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    format!("\n<sub>Sources of others' figures. {}.</sub>\n", lines.join(". "))
}

fn points_section(points: &PointsReport) -> String {
    let mut out = format!("\n### {}\n\n{}.\n\n{}", points.name, capital(&points.about.title), about_list(&points.about));
    out += &left_out(&points.left_out);
    for beyond in &points.beyond {
        out += &format!("- Beyond the profile, {} points: {}; there times are extrapolated.\n", beyond.rows, beyond.reason);
    }
    let unserved = points.points.iter().filter(|p| p.unserved > 0).count();
    if unserved > 0 {
        out += &format!("- In {unserved} points the simulation did not serve every request whole.\n");
    }
    out += &format!("\n{}", group_table(points));
    if !points.about.peers.is_empty() {
        out += &sources(&points.about.peers);
    }
    for (title, groups) in [("by clients", &points.bands), ("by load", &points.by_load), ("by origin of times", &points.by_cost)] {
        let rows: Vec<Vec<String>> = groups.iter().map(|g| group_row(&g.name, g)).collect();
        out += &format!("\n{}", table(&[title, "n", "TTFT median", "MAPE", "bias", "TPOT median", "MAPE", "bias"], &rows));
    }
    out
}

fn group_row(name: &str, g: &GroupReport) -> Vec<String> {
    let mut row = vec![name.to_owned(), g.count.to_string()];
    for e in [&g.ttft, &g.tpot] {
        row.extend([absolute(e.median_absolute), absolute(e.mean_absolute), signed(Some(e.median_signed))]);
    }
    row
}

/// Each group with its peers right below it.
fn group_table(points: &PointsReport) -> String {
    let mut rows = Vec::new();
    for group in &points.groups {
        rows.push(group_row(&format!("**{}**", group.name), group));
        let whole = group.name == "all";
        let peers = points.about.peers.iter();
        rows.extend(peers.filter(|p| p.group.as_deref().map_or(whole, |g| g == group.name)).map(peer_row));
    }
    // What others reached on groups that are left out here.
    let known = |name: &str| points.groups.iter().any(|group| group.name == name);
    for peer in points.about.peers.iter().filter(|p| p.group.as_deref().is_some_and(|g| !known(g))) {
        rows.push(std::iter::once(format!("*{}*, not compared here", peer.group.as_deref().unwrap_or(NONE))).collect());
        rows.last_mut().expect("just pushed").resize(8, String::new());
        rows.push(peer_row(peer));
    }
    table(&["group", "n", "TTFT median", "MAPE", "bias", "TPOT median", "MAPE", "bias"], &rows)
}

fn peer_row(peer: &Peer) -> Vec<String> {
    let value = |name: &str| peer.errors.get(name).copied();
    let mut row = vec![format!("{} (published)", peer.name), peer.count.map_or(NONE.to_owned(), |n| n.to_string())];
    for metric in ["ttft", "tpot"] {
        let median = value(&format!("{metric}_median")).map_or(NONE.to_owned(), absolute);
        let mape = value(&format!("{metric}_mape")).map_or(NONE.to_owned(), absolute);
        row.extend([median, mape, signed(value(&format!("{metric}_signed")))]);
    }
    row
}

fn kv_section(kv: &KvReport) -> String {
    let mut out = format!("\n### {}\n\n{}.\n\n{}\n", kv.name, capital(&kv.about.title), about_list(&kv.about));
    let row = |s: &tokentide_sim::validate::report::KvServer| {
        let blocks = |n: f64| units::exact(n as u64);
        let theirs = kv.about.peers.iter().map(|peer| peer.errors.get(&s.id).map_or(NONE.to_owned(), |e| signed(Some(*e))));
        let budget = units::exact(s.max_num_batched_tokens.into());
        let own = [s.name.clone(), budget, blocks(s.blocks.measured), blocks(s.blocks.predicted), signed(s.blocks.error)];
        own.into_iter().chain(theirs).collect()
    };
    let rows: Vec<Vec<String>> = kv.servers.iter().map(row).collect();
    let peers = kv.about.peers.iter().map(|p| p.name.as_str());
    let header: Vec<&str> = ["server", "token budget", "blocks", "formula", "error"].into_iter().chain(peers).collect();
    out += &table(&header, &rows);
    out + &sources(&kv.about.peers)
}
