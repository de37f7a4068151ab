//! A validation set as text: what was compared, how far off it is, what was left out, what others reached.

use tokentide_sim::validate::measured::LeftOut;
use tokentide_sim::validate::report::{About, GroupReport, KvReport, MetricReport, Pair, PointsReport, RunReport, SetReport};

use crate::text::style::{DIM, HEADING, WARN, paint};
use crate::text::table::table;
use crate::text::units::{self, NONE};

/// The whole report, styled; ends with a line feed. `verbose`: every point.
pub fn report(report: &SetReport, verbose: bool) -> String {
    let mut lines = vec![format!("{}: {}", report.name, report.title)];
    report.runs.iter().for_each(|run| lines.extend(run_lines(run)));
    report.points.iter().for_each(|points| lines.extend(points_lines(points, verbose)));
    report.kv_blocks.iter().for_each(|kv| lines.extend(kv_lines(kv)));
    lines.join("\n") + "\n"
}

/// A signed error: `+3.1 %`.
pub fn signed(error: Option<f64>) -> String {
    // Nothing is minus zero.
    error.map_or(NONE.to_owned(), |e| format!("{:+.1} %", if e.abs() < 0.05 { 0.0 } else { e }))
}

/// An absolute error: `3.1 %`.
pub fn absolute(error: f64) -> String {
    format!("{error:.1} %")
}

/// A metric as people write it.
pub fn metric_name(metric: &str) -> &str {
    match metric {
        "ttft" => "TTFT",
        "ttft_light" => "TTFT, light load",
        "ttft_queued" => "TTFT, queueing",
        "tpot" => "TPOT",
        "itl" => "ITL",
        other => other,
    }
}

fn heading(lines: &mut Vec<String>, title: &str) {
    lines.push(String::new());
    lines.push(paint(HEADING, title));
}

fn about_lines(about: &About) -> Vec<String> {
    let known =
        [("fitted", &about.fitted), ("held out", &about.held_out), ("data", &about.provenance), ("licence", &about.licence)];
    let named = known.iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| format!("  {name:<9} {text}"));
    let caveats = about.caveats.iter().map(|caveat| format!("  caveat    {caveat}"));
    named.chain(caveats).chain(about.residuals.iter().map(|residual| format!("  residual  {residual}"))).collect()
}

fn indented(header: &[&str], rows: &[Vec<String>], left: usize) -> Vec<String> {
    table(header, rows, left).into_iter().map(|line| format!("  {line}").trim_end().to_owned()).collect()
}

fn run_lines(run: &RunReport) -> Vec<String> {
    let mut lines = Vec::new();
    heading(&mut lines, &format!("{}: {}", run.name, run.about.title));
    lines.extend(about_lines(&run.about));
    let cost = if run.server.calibrated { run.server.profile.clone() } else { paint(WARN, "uncalibrated (roofline)") };
    lines.push(format!(
        "  server    {}, {} KV blocks, times from {cost}",
        run.server.name,
        units::exact(run.server.kv_blocks.into())
    ));
    lines.push(format!(
        "  requests  {} measured ({}), {} not served whole in the simulation",
        run.requests, run.format, run.unserved
    ));
    lines.push(format!("  load      {}, headroom {}", run.state, units::percent(run.headroom)));
    let mut rows: Vec<Vec<String>> = run.metrics.iter().map(metric_row).collect();
    for (name, pair, unit) in [("output tok/s", run.throughput, ""), ("makespan", run.makespan_s, " s")] {
        rows.extend(pair.map(|pair| pair_row(name, pair, unit)));
    }
    let header = ["", "requests", "measured", "predicted", "mean", "p50", "p90", "p99", "per request"];
    lines.extend(indented(&header, &rows, 1));
    lines.extend(peer_lines(&run.about));
    lines.extend(reasons(&run.left_out, &run.out_of_range));
    lines
}

fn metric_row(m: &MetricReport) -> Vec<String> {
    let mut row = vec![metric_name(m.metric).to_owned(), m.measured.count.to_string()];
    row.extend([units::time(m.measured.mean), units::time(m.predicted.mean)]);
    row.extend(m.errors.map(signed));
    row.push(m.mape.map_or(NONE.to_owned(), absolute));
    row
}

fn pair_row(name: &str, pair: Pair, unit: &str) -> Vec<String> {
    let value = |v: f64| format!("{}{unit}", units::rate(v));
    let mut row = vec![name.to_owned(), String::new(), value(pair.measured), value(pair.predicted), signed(pair.error)];
    row.resize(9, String::new());
    row
}

fn peer_lines(about: &About) -> Vec<String> {
    let each = about.peers.iter().map(|peer| {
        let figures: Vec<String> = peer.errors.iter().map(|(name, value)| format!("{name} {value}")).collect();
        let group = peer.group.as_ref().map(|g| format!(", {g}")).unwrap_or_default();
        let count = peer.count.map(|n| format!(", {n} measurements")).unwrap_or_default();
        paint(DIM, &format!("  peer      {}{group}{count}: {} [%]", peer.name, figures.join(", ")))
    });
    each.collect()
}

/// What was left out or extrapolated.
fn reasons(left_out: &[LeftOut], out_of_range: &[String]) -> Vec<String> {
    let out = left_out.iter().map(|l| format!("  left out  {}: {}", l.rows, l.reason));
    out.chain(out_of_range.iter().map(|o| format!("  {}  {o}", paint(WARN, "beyond")))).collect()
}

fn points_lines(points: &PointsReport, verbose: bool) -> Vec<String> {
    let mut lines = Vec::new();
    heading(&mut lines, &format!("{}: {}", points.name, points.about.title));
    lines.extend(about_lines(&points.about));
    for (title, groups) in
        [("group", &points.groups), ("clients", &points.bands), ("load", &points.by_load), ("times from", &points.by_cost)]
    {
        lines.push(String::new());
        lines.extend(group_table(title, groups));
    }
    lines.extend(peer_lines(&points.about));
    let unserved = points.points.iter().filter(|p| p.unserved > 0).count();
    if unserved > 0 {
        lines.push(format!("  in {unserved} points the simulation did not serve every request whole"));
    }
    for beyond in &points.beyond {
        lines.push(format!("  {}    {} points leave the measured range of {}", paint(WARN, "beyond"), beyond.rows, beyond.reason));
    }
    lines.extend(reasons(&points.left_out, &[]));
    if verbose {
        lines.push(String::new());
        lines.extend(point_table(points));
    }
    lines
}

fn group_table(title: &str, groups: &[GroupReport]) -> Vec<String> {
    let row = |g: &GroupReport| {
        let mut row = vec![g.name.clone(), g.count.to_string()];
        for e in [&g.ttft, &g.tpot] {
            row.extend([absolute(e.median_absolute), absolute(e.mean_absolute), signed(Some(e.median_signed))]);
        }
        row
    };
    let rows: Vec<Vec<String>> = groups.iter().map(row).collect();
    indented(&[title, "n", "TTFT median", "mean", "bias", "TPOT median", "mean", "bias"], &rows, 1)
}

fn point_table(points: &PointsReport) -> Vec<String> {
    let row = |p: &tokentide_sim::validate::report::PointReport| {
        vec![
            p.server.name.clone(),
            p.server.profile.clone(),
            format!("{}/{}", p.isl, p.osl),
            p.concurrency.to_string(),
            units::time(p.ttft.measured),
            units::time(p.ttft.predicted),
            signed(p.ttft.error),
            units::time(p.tpot.measured),
            units::time(p.tpot.predicted),
            signed(p.tpot.error),
            units::percent(p.queue_share),
            units::percent(p.kv_use_peak),
            p.out_of_range.join("; "),
        ]
    };
    let rows: Vec<Vec<String>> = points.points.iter().map(row).collect();
    let header = [
        "server",
        "times from",
        "in/out",
        "clients",
        "TTFT",
        "predicted",
        "error",
        "TPOT",
        "predicted",
        "error",
        "queued",
        "KV peak",
        "beyond the profile",
    ];
    indented(&header, &rows, 2)
}

fn kv_lines(kv: &KvReport) -> Vec<String> {
    let mut lines = Vec::new();
    heading(&mut lines, &format!("{}: {}", kv.name, kv.about.title));
    lines.extend(about_lines(&kv.about));
    let row = |s: &tokentide_sim::validate::report::KvServer| {
        let blocks = |n: f64| units::exact(n as u64);
        let budget = units::exact(s.max_num_batched_tokens.into());
        vec![s.name.clone(), budget, blocks(s.blocks.measured), blocks(s.blocks.predicted), signed(s.blocks.error)]
    };
    let rows: Vec<Vec<String>> = kv.servers.iter().map(row).collect();
    lines.extend(indented(&["server", "token budget", "blocks", "formula", "error"], &rows, 1));
    lines.extend(peer_lines(&kv.about));
    lines
}
