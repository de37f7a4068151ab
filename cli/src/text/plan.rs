//! A plan as text: the answer in a sentence, how far it can be trusted, and only then latencies and the table.

use tokentide_sim::plan::{Day, Judgement, OptionRow, Plan, SplitRow, Verdict};

use super::style::{self, paint};
use super::table::{table, wrap};
use super::units::{NONE, digits, half_width, percent, percent_reached, rate, time, usd};

/// The whole plan, styled, at most `width` characters wide but for the table; ends with a line feed.
pub fn plan(plan: &Plan, width: usize) -> String {
    let mut page = Page { lines: Vec::new(), width: width.clamp(80, 100) };
    match plan.options.first() {
        Some(row) if row.replicas.is_some() => answer(&mut page, plan, row),
        _ => no_answer(&mut page, plan),
    }
    options(&mut page, plan);
    splits(&mut page, &plan.splits);
    if let Some(day) = &plan.day {
        windows(&mut page, day);
    }
    notes(&mut page, plan);
    page.lines.join("\n") + "\n"
}

struct Page {
    lines: Vec<String>,
    width: usize,
}

impl Page {
    fn heading(&mut self, title: &str) {
        self.lines.push(String::new());
        self.lines.push(paint(style::HEADING, title));
    }

    /// `  label  text`, the text wrapped.
    fn item(&mut self, label: &str, text: &str) {
        for (i, line) in wrap(text, self.width - 20).into_iter().enumerate() {
            let label = if i == 0 { label } else { "" };
            self.lines.push(format!("  {label:<18}{line}").trim_end().to_owned());
        }
    }

    fn table(&mut self, header: &[&str], rows: &[Vec<String>], left: usize) {
        for (i, line) in table(header, rows, left).into_iter().enumerate() {
            self.lines.push(if i == 0 { format!("  {}", paint(style::DIM, &line)) } else { format!("  {line}") });
        }
    }

    fn sentence(&mut self, style: clap::builder::styling::Style, text: &str) {
        let lines = wrap(text, self.width);
        self.lines.extend(lines.iter().map(|line| paint(style, line)));
    }
}

fn counted(n: u32, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// `5 (4 to 6)`: the answer, and what it is on a faster and a slower server.
fn with_band(row: &OptionRow) -> String {
    let (Some(n), Some(band)) = (row.replicas, &row.band) else { return NONE.to_owned() };
    let end = |n: Option<u32>| n.map_or("none".to_owned(), |n| n.to_string());
    match (band.faster, band.slower) {
        (Some(faster), Some(slower)) if faster == n && slower == n => n.to_string(),
        (faster, slower) => format!("{n} ({} to {})", end(faster), end(slower)),
    }
}

fn verdict(verdict: Verdict) -> (clap::builder::styling::Style, &'static str) {
    match verdict {
        Verdict::Holds => (style::GOOD, "holds"),
        Verdict::Fragile => (style::WARN, "fragile"),
        Verdict::Uncertain => (style::WARN, "uncertain"),
        Verdict::OutOfReach => (style::BAD, "out of reach"),
        Verdict::DoesNotFit => (style::BAD, "does not fit"),
    }
}

fn answer(page: &mut Page, plan: &Plan, row: &OptionRow) {
    let n = row.replicas.unwrap_or_default();
    let cost = row.usd_per_hour.map_or("price unknown".to_owned(), |usd_h| format!("{}/hour", usd(usd_h)));
    let gpus = counted(row.gpus.unwrap_or_default(), "GPU");
    let sure = match row.verdict {
        Verdict::Uncertain => format!("it meets every target; whether {} would do is too close to call", n - 1),
        _ if n == 1 => "it meets every target".to_owned(),
        _ => format!("it meets every target and {} would not", n - 1),
    };
    let named = match row.option.as_str() {
        option if plan.options.len() > 1 && !row.deployment.contains(option) => format!(" ({option})"),
        _ => String::new(),
    };
    let text = format!(
        "{}: {} of {} on {}{named}, {gpus}, {cost}: {sure} ({} confidence, {} seeds).",
        plan.scenario,
        counted(n, "replica"),
        plan.model,
        row.deployment,
        percent(plan.settings.confidence),
        row.seeds
    );
    page.sentence(style::HEADING, &text);
    page.lines.push(String::new());
    headroom(page, row);
    fragility(page, row);
    failures(page, row);
    latencies(page, row);
}

fn headroom(page: &mut Page, row: &OptionRow) {
    let Some(room) = &row.room else { return };
    let first = room.breaks_first.as_deref().unwrap_or("nothing");
    let text = match room.headroom {
        None => "more than 16 times the load breaks no target".to_owned(),
        Some(share) if share <= 0.0 => format!("none with the scenario's own seed: {first} breaks first"),
        Some(share) => format!("{} more load until a target breaks: {first} first", percent(share)),
    };
    page.item("headroom", &text);
    let capacity = format!(
        "{} req/s, {} output tok/s per replica within the targets, which is {} of the knee; load now {} of the knee",
        rate(room.requests_per_s_per_replica),
        rate(room.output_tokens_per_s_per_replica),
        percent(room.load_at_limit),
        row.load.map_or(NONE.to_owned(), percent),
    );
    page.item("capacity", &capacity);
}

fn fragility(page: &mut Page, row: &OptionRow) {
    let (Some(n), Some(band)) = (row.replicas, &row.band) else { return };
    let error = percent(band.model_error);
    let times = if row.calibrated { format!("calibrated on {}", row.profile) } else { "UNCALIBRATED estimates".to_owned() };
    let settle = match (row.calibrated, band.slower) {
        (_, None) => {
            "no count of replicas would do then: measure this server (`tokentide calibrate run`) before promising".to_owned()
        }
        (false, Some(slower)) => {
            format!("`tokentide calibrate run` on this server would settle it, or {}", counted(slower, "replica"))
        }
        (true, Some(slower)) => {
            format!("a profile of your own server (`tokentide calibrate run`) would settle it, or {}", counted(slower, "replica"))
        }
    };
    let faster = band.faster.map_or("none".to_owned(), |n| n.to_string());
    let text = match band.slower {
        Some(slower) if slower <= n => format!("times are {times}; steps {error} slower need no more ({error} faster: {faster})"),
        slower => format!(
            "{}: times are {times}; with steps {error} slower it takes {}, {error} faster {faster}; {settle}",
            paint(style::WARN, "fragile"),
            slower.map_or("more than any count gives".to_owned(), |n| n.to_string()),
        ),
    };
    page.item("if times are off", &text);
}

fn failures(page: &mut Page, row: &OptionRow) {
    let Some(failures) = &row.failures else { return };
    let missed = failures.targets_with_one_down.iter().find(|t| t.attainment < t.quantile);
    let now = match (failures.holds_with_one_down, missed) {
        (Judgement::Meets, _) => "every target holds".to_owned(),
        (Judgement::Uncertain, _) => "too close to call".to_owned(),
        _ if failures.targets_with_one_down.is_empty() => "nothing is left".to_owned(),
        _ if failures.unstable_with_one_down => "more work than the others can do".to_owned(),
        (_, Some(target)) => format!(
            "{} {}: at most {} instead of {}",
            target.class,
            target.target,
            percent_reached(target.attainment),
            percent_reached(target.quantile)
        ),
        (_, None) => "a target is missed".to_owned(),
    };
    page.item("one replica down", &format!("{now}; {} bear it", counted(failures.replicas_for_one_down, "replica")));
    if let Some(zones) = &failures.zones {
        let needed = zones.replicas.map_or("no count bears it".to_owned(), |n| format!("{} bear it", counted(n, "replica")));
        page.item("one zone down", &format!("of {} zones: {} left; {needed}", zones.zones, counted(zones.left, "replica")));
    }
}

fn latencies(page: &mut Page, row: &OptionRow) {
    page.heading("Targets");
    let cells = |t: &tokentide_sim::plan::TargetMargin| {
        let half = t.half_width.map(|h| format!(" ± {}", half_width(h * 100.0))).unwrap_or_default();
        let value = if row.unstable { NONE.to_owned() } else { t.value_ms.map_or(NONE.to_owned(), time) };
        vec![
            t.class.clone(),
            t.target.clone(),
            time(t.limit_ms),
            value,
            percent_reached(t.attainment).replace(" %", "") + &half + " %",
        ]
    };
    let rows: Vec<Vec<String>> = row.targets.iter().map(cells).collect();
    page.table(&["class", "target", "limit", "observed", "within limit"], &rows, 2);
}

fn no_answer(page: &mut Page, plan: &Plan) {
    let text = format!(
        "{}: no number of replicas up to {} meets every target{}.",
        plan.scenario,
        plan.settings.replicas_max,
        if plan.options.len() > 1 { " on any option" } else { "" }
    );
    page.sentence(style::BAD, &text);
    if let [row] = plan.options.as_slice() {
        page.lines.push(String::new());
        page.item(if row.unstable { "unstable" } else { "why" }, row.reason.as_deref().unwrap_or("the targets are missed"));
    }
}

fn cells(row: &OptionRow) -> Vec<String> {
    let share = |share: Option<f64>| share.map_or(NONE.to_owned(), percent);
    let headroom = row.room.as_ref().map_or(NONE.to_owned(), |room| match room.headroom {
        None => "> 1500 %".to_owned(),
        Some(share) => percent(share),
    });
    let option = if row.option.is_empty() { row.deployment.clone() } else { row.option.clone() };
    let times = match (row.verdict, row.calibrated) {
        (Verdict::DoesNotFit, _) => NONE,
        (_, true) => "calibrated",
        (_, false) => "UNCALIBRATED",
    };
    vec![
        format!("{}{option}", if row.pareto { "* " } else { "  " }),
        with_band(row),
        row.gpus.map_or(NONE.to_owned(), |n| n.to_string()),
        row.usd_per_hour.map_or(NONE.to_owned(), usd),
        row.usd_per_million_output_tokens.map_or(NONE.to_owned(), usd),
        share(row.utilisation),
        share(row.load),
        headroom,
        verdict(row.verdict).1.to_owned(),
        times.to_owned(),
    ]
}

fn options(page: &mut Page, plan: &Plan) {
    page.heading("Options");
    let rows: Vec<Vec<String>> = plan.options.iter().map(cells).collect();
    let header = ["  option", "replicas", "GPUs", "$/hour", "$/M output", "busy", "load / knee", "headroom", "verdict", "times"];
    page.table(&header, &rows, 1);
    if plan.options.iter().filter(|row| row.pareto).count() > 0 && plan.options.len() > 1 {
        page.lines.push(paint(style::DIM, "  * no other option is at once as cheap, with as much headroom and as low latency"));
    }
    for row in plan.options.iter().filter(|row| row.reason.is_some() && plan.options.len() > 1) {
        let name = if row.option.is_empty() { &row.deployment } else { &row.option };
        let text = format!("{name}: {}", row.reason.as_deref().unwrap_or_default());
        let label = verdict(row.verdict).1;
        page.item(if row.unstable { "unstable" } else { label }, &text);
    }
}

fn splits(page: &mut Page, splits: &[SplitRow]) {
    for split in splits {
        let cost = split.usd_per_hour.map_or("no price".to_owned(), |usd_h| format!("{}/hour", usd(usd_h)));
        let gpus = split.gpus.map_or("no answer".to_owned(), |n| counted(n, "GPU"));
        page.heading(&format!("Two pools: {gpus}, {cost}"));
        let header = ["  pool", "replicas", "GPUs", "$/hour", "$/M output", "busy", "load / knee", "headroom", "verdict", "times"];
        let rows: Vec<Vec<String>> = split.pools.iter().map(|row| cells(&OptionRow { pareto: false, ..row.clone() })).collect();
        page.table(&header, &rows, 1);
        for row in split.pools.iter().filter(|row| row.reason.is_some()) {
            page.item(verdict(row.verdict).1, &format!("{}: {}", row.option, row.reason.as_deref().unwrap_or_default()));
        }
    }
}

fn windows(page: &mut Page, day: &Day) {
    page.heading("Over time");
    let clock = |s: f64| time(s * 1e3);
    let cells = |w: &tokentide_sim::plan::Window| {
        let replicas = w.replicas.map_or(NONE.to_owned(), |n| n.to_string());
        let sure = if w.sure { "" } else { "uncertain" };
        let start = if w.start_s == 0.0 { "start".to_owned() } else { clock(w.start_s) };
        vec![format!("{start} to {}", clock(w.end_s)), w.requests.to_string(), replicas, sure.to_owned()]
    };
    let rows: Vec<Vec<String>> = day.windows.iter().map(cells).collect();
    page.table(&["window", "requests", "replicas", ""], &rows, 1);
    if let (Some(peak), Some(at)) = (day.peak_replicas, day.peak_start_s) {
        page.item(
            "peak",
            &format!("{} from {} on", counted(peak, "replica"), if at == 0.0 { "the start".to_owned() } else { clock(at) }),
        );
    }
    if let (Some(following), Some(peak)) = (day.replica_hours_following, day.replica_hours_at_peak) {
        let saved = if peak > 0.0 { 1.0 - following / peak } else { 0.0 };
        let text = format!(
            "{} following the curve, {} staying at the peak: {} less at best",
            digits(following),
            digits(peak),
            percent(saved)
        );
        page.item("replica-hours", &text);
    }
}

fn notes(page: &mut Page, plan: &Plan) {
    page.heading("Notes");
    for note in &plan.notes {
        for (i, line) in wrap(note, page.width - 4).into_iter().enumerate() {
            let mark = if i == 0 { paint(style::DIM, "-") } else { " ".to_owned() };
            page.lines.push(format!("  {mark} {line}"));
        }
    }
}
