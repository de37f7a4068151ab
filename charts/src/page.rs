//! One HTML file with tables and charts, which reads offline: it loads nothing, and its content security policy forbids it to.

use std::fmt::Write as _;
use std::io::{self, Read};

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use crate::spec::{items, text};
use crate::tables::tables;
use crate::{Chart, Kind, charts_of, warnings_of};

/// In the order in which they need each other.
const LIBRARIES: [&[u8]; 3] = [
    include_bytes!("../assets/vega.min.js.gz"),
    include_bytes!("../assets/vega-lite.min.js.gz"),
    include_bytes!("../assets/vega-embed.min.js.gz"),
];
const STYLE: &str = include_str!("../assets/page.css");
const DRAW: &str = include_str!("../assets/draw.js");

/// The page of a result: the same bytes for the same result.
///
/// # Errors
/// If the drawing libraries within the program do not unpack.
pub fn page(kind: Kind, result: &Value) -> io::Result<String> {
    let title = title(kind, result);
    let charts = charts_of(kind, result);
    let mut html = String::from("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    html += "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src 'unsafe-inline'; \
             style-src 'unsafe-inline'\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
    html += &format!("<title>{0}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{0}</h1>\n", escape(&title));
    html += &headline(result);
    html += &list("warnings", "Mind", &warnings_of(kind, result));
    html += &tables_of(kind, result);
    html += "<section class=\"charts\">\n";
    for chart in &charts {
        html += &format!("<figure>\n<div class=\"chart\" id=\"chart-{}\"></div>\n", escape(&chart.name));
        html += &format!("<figcaption>{}</figcaption>\n</figure>\n", escape(&chart.caption));
    }
    html += "</section>\n<noscript><p>The charts need JavaScript; the tables have their figures.</p></noscript>\n";
    let notes: Vec<String> = items(result, "/notes").iter().filter_map(Value::as_str).map(str::to_owned).collect();
    html += &list("notes", "Notes", &notes);
    html += &fingerprint(kind, result);
    let fitted = |chart: &Chart| {
        let mut spec = chart.spec.clone();
        spec["width"] = json!("container");
        json!({ "name": chart.name, "spec": spec })
    };
    let specs: Vec<Value> = charts.iter().map(fitted).collect();
    html += &format!("<script type=\"application/json\" id=\"specs\">{}</script>\n", in_script(&Value::from(specs)));
    for library in LIBRARIES {
        html += "<script>";
        GzDecoder::new(library).read_to_string(&mut html)?;
        html += "</script>\n";
    }
    html += &format!("<script>\n{DRAW}</script>\n</body>\n</html>\n");
    Ok(html)
}

fn title(kind: Kind, result: &Value) -> String {
    match kind {
        Kind::Simulate => format!("{}: simulated", text(result, "/scenario")),
        Kind::Plan => format!("{}: plan", text(result, "/scenario")),
        Kind::Diff => match text(result, "/base") {
            "" => text(result, "/head").to_owned(),
            base => format!("{base} against {}", text(result, "/head")),
        },
        Kind::Sweep => "Sweep".to_owned(),
    }
}

fn headline(result: &Value) -> String {
    match text(result, "/headline") {
        "" => String::new(),
        headline => format!("<p class=\"headline\">{}</p>\n", escape(headline)),
    }
}

fn list(class: &str, title: &str, entries: &[String]) -> String {
    if entries.is_empty() {
        return String::new();
    }
    let entries: String = entries.iter().map(|entry| format!("<li>{}</li>\n", escape(entry))).collect();
    format!("<section class=\"{class}\">\n<h2>{title}</h2>\n<ul>\n{entries}</ul>\n</section>\n")
}

fn tables_of(kind: Kind, result: &Value) -> String {
    let mut html = String::new();
    for table in tables(kind, result) {
        let cells = |tag: &str, cells: &[String]| -> String {
            let cell = |cell: &String| {
                let number = cell.parse::<f64>().is_ok() || cell == "-";
                format!("<{tag}{}>{}</{tag}>", if number { " class=\"number\"" } else { "" }, escape(cell))
            };
            cells.iter().map(cell).collect()
        };
        let rows: String = table.rows.iter().map(|row| format!("<tr>{}</tr>\n", cells("td", row))).collect();
        let _ = write!(
            html,
            "<h2>{}</h2>\n<div class=\"wide\"><table>\n<thead><tr>{}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n",
            escape(&table.title),
            cells("th", &table.head)
        );
    }
    html
}

/// What makes the result comparable with others.
fn fingerprint(kind: Kind, result: &Value) -> String {
    let mut of: Vec<(String, Value)> = Vec::new();
    match kind {
        Kind::Simulate => of.push((String::new(), result["fingerprint"].clone())),
        Kind::Plan => of.push((String::new(), result["provenance"].clone())),
        Kind::Diff => {
            for scenario in items(result, "/scenarios") {
                for side in ["base", "head"].into_iter().filter(|side| scenario[*side].is_object()) {
                    of.push((format!("{}, {side}: ", text(scenario, "/name")), scenario[side]["fingerprint"].clone()));
                }
            }
        }
        Kind::Sweep => {
            let common =
                ["version", "base", "base_profile", "seeds", "design"].map(|name| (name.to_owned(), result[name][0].clone()));
            of.push((String::new(), Value::Object(common.into_iter().collect())));
        }
    }
    let line = |(name, value): &(String, Value)| {
        let known = value.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
        let said = known
            .map(|(key, value)| format!("{key} {}", crate::sweep::said(value).replace(['"', '[', ']'], "").replace(',', ", ")));
        format!("{name}{}", said.collect::<Vec<_>>().join("; "))
    };
    list("fingerprint", "Fingerprint", &of.iter().map(line).collect::<Vec<_>>())
}

/// Text within HTML, attributes included.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\'' => safe += "&#39;",
            c => safe.push(c),
        }
    }
    safe
}

/// JSON within a script element: nothing in it can end the element or begin a comment.
fn in_script(value: &Value) -> String {
    value.to_string().replace('<', "\\u003c")
}
