//! What was simulated, how it stands, and how far the times can be trusted.

use super::style::{self, paint};
use super::units::{count, percent, time};
use super::{Page, table};

pub(super) fn write(page: &mut Page) {
    let report = page.report;
    let (model, summary) = (&report.model, &report.summary);
    let replicas = match &report.fleet {
        Some(fleet) if fleet.ready_min < fleet.ready_max => format!("{} to {} replicas", fleet.ready_min, fleet.ready_max),
        _ if model.replicas == 1 => "1 replica".to_owned(),
        _ => format!("{} replicas", model.replicas),
    };
    let what = format!(
        "{}: {} requests in {}, {} on {replicas} of {} ({}), {}",
        report.scenario,
        count(summary.requests.total as f64),
        time(summary.duration_s * 1e3),
        model.name,
        model.gpu,
        model.layout,
        model.router,
    );
    for line in table::wrap(&what, page.layout.width) {
        page.line(paint(style::HEADING, &line));
    }
    let runs = report.fingerprint.seeds.len();
    let seeds = match report.fingerprint.seeds.as_slice() {
        [seed] => format!("seed {seed}"),
        seeds => format!("means of {runs} replications ± 95 % confidence, seeds {}", short_list(seeds)),
    };
    let print = &report.fingerprint;
    let trace = print.trace.as_ref().map(|t| format!(", trace {}", table::clip(t, 13))).unwrap_or_default();
    let identity = format!(
        "tokentide {}, scenario {}, profile {}{trace}, {seeds}",
        print.version,
        table::clip(&print.scenario, 13),
        table::clip(&print.profile, 13),
    );
    for line in table::wrap(&identity, page.layout.width) {
        page.line(paint(style::DIM, &line));
    }
    page.line("");
    state(page);
    calibration(page);
}

fn short_list(seeds: &[u64]) -> String {
    match seeds {
        [] => "none".to_owned(),
        [first, .., last] if seeds.len() > 4 => format!("{first}..{last}"),
        _ => seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", "),
    }
}

fn state(page: &mut Page) {
    let capacity = &page.report.summary.capacity;
    let (style, means) = match capacity.state.as_str() {
        "stable" => (style::GOOD, format!("{} headroom to the knee", percent(capacity.headroom))),
        "overloaded" => {
            (style::BAD, format!("more work arrives than can be done ({} of the knee): queues grow", percent(capacity.load)))
        }
        "saturated by design" => (style::WARN, format!("a closed loop whose clients use {} of the knee", percent(capacity.load))),
        "idle" => (style::WARN, "no request ran".to_owned()),
        _ => (style::WARN, format!("{} headroom to the knee: small changes move latency a lot", percent(capacity.headroom))),
    };
    page.line(format!("{}  {means}", paint(style, &capacity.state.to_uppercase())));
}

fn calibration(page: &mut Page) {
    let cost = &page.report.model.cost;
    if cost.calibrated {
        let profile = cost.profile.as_deref().unwrap_or("measurements");
        let error = cost.error.as_ref().map(|e| format!(", error {e}")).unwrap_or_default();
        let engine = cost.engine.as_ref().map(|engine| format!(", measured in {engine}")).unwrap_or_default();
        let text = format!("calibrated: times fitted to {profile}{engine}{error}");
        for line in table::wrap(&text, page.layout.width) {
            page.line(paint(style::DIM, &line));
        }
        return;
    }
    let text = format!(
        "times are estimates ({}: {}), not fitted to measurements of this GPU and model: compare with them, do not promise them",
        cost.kind, cost.source
    );
    let label = "UNCALIBRATED";
    for (i, line) in table::wrap(&text, page.layout.width - label.len() - 2).into_iter().enumerate() {
        let head = if i == 0 { paint(style::WARN, label) } else { " ".repeat(label.len()) };
        page.line(format!("{head}  {line}"));
    }
}
