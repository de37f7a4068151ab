//! Predicted against measured as a self-contained SVG: one panel each for TTFT and TPOT, both axes logarithmic, with the identity
//! and a band of 10 % around it.

use std::fmt::Write;

use tokentide_sim::validate::report::SetReport;

/// Side of a panel [px].
const SIDE: f64 = 400.0;
/// Left and top of the first panel, and distance from panel to panel [px].
const LEFT: f64 = 64.0;
const TOP: f64 = 44.0;
const STEP: f64 = SIDE + 84.0;
/// Height of a line of the legend [px].
const LINE: f64 = 20.0;
/// Half-width of the band around the identity.
const BAND: f64 = 0.10;
/// Distinct under the usual colour deficiencies (Okabe and Ito, "Color Universal Design", 2008); then round again.
const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];

/// One entry of the legend: pairs of (measured, predicted) [ms] for each panel.
struct Series {
    name: String,
    panels: [Vec<(f64, f64)>; 2],
}

/// The plot of all runs and points of `reports`; `None` if they have none.
pub fn svg(reports: &[SetReport]) -> Option<String> {
    let series = series(reports);
    if series.is_empty() {
        return None;
    }
    let (width, plot) = (LEFT + STEP + SIDE + 24.0, TOP + SIDE + 56.0);
    let height = plot + LINE * series.len() as f64 + 12.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\" fill=\"#333\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    for (index, title) in ["TTFT [ms]", "TPOT [ms]"].into_iter().enumerate() {
        panel(&mut out, index, title, &series);
    }
    for (i, one) in series.iter().enumerate() {
        let (y, count) = (plot + LINE * i as f64, one.panels[0].len());
        let (x, colour, name) = (LEFT + 6.0, colour(i), escaped(&one.name));
        let noun = if count == 1 { "value" } else { "values" };
        let _ = writeln!(out, "<circle cx=\"{x}\" cy=\"{y}\" r=\"5\" fill=\"{colour}\"/>");
        let _ = writeln!(out, "<text x=\"{}\" y=\"{}\">{name} ({count} {noun})</text>", x + 12.0, y + 4.0);
    }
    let (x, y) = (LEFT + STEP, plot + 4.0);
    let _ = writeln!(out, "<text x=\"{x}\" y=\"{y}\" fill=\"#777\">line: predicted = measured; band: within 10 %</text>");
    Some(out + "</svg>\n")
}

fn series(reports: &[SetReport]) -> Vec<Series> {
    let mut all = Vec::new();
    for report in reports {
        let runs = report.runs.iter().map(|run| Series { name: run.name.clone(), panels: run.pairs.clone() });
        all.extend(runs);
        for group in report.points.iter().flat_map(|points| points.groups.iter().map(move |group| (points, &group.name))) {
            let members: Vec<_> = group.0.points.iter().filter(|p| p.group == *group.1).collect();
            let pairs =
                |of: fn(&tokentide_sim::validate::report::PointReport) -> (f64, f64)| members.iter().map(|p| of(p)).collect();
            let panels = [pairs(|p| (p.ttft.measured, p.ttft.predicted)), pairs(|p| (p.tpot.measured, p.tpot.predicted))];
            all.extend((!members.is_empty()).then(|| Series { name: group.1.clone(), panels }));
        }
    }
    all
}

fn colour(series: usize) -> &'static str {
    COLOURS[series % COLOURS.len()]
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// A logarithmic axis, the same in both directions of a panel.
struct Axis {
    low: f64,
    high: f64,
}

impl Axis {
    /// Holds all positive values of panel `index`, with a margin.
    fn of(series: &[Series], index: usize) -> Axis {
        let values = || series.iter().flat_map(|s| &s.panels[index]).flat_map(|&(m, p)| [m, p]).filter(|v| *v > 0.0);
        let (low, high) = values().fold((f64::INFINITY, 0.0), |(low, high): (f64, f64), v| (low.min(v), high.max(v)));
        if low > high { Axis { low: 1.0, high: 10.0 } } else { Axis { low: low / 1.3, high: high * 1.3 } }
    }

    /// 0 to [`SIDE`].
    fn at(&self, value: f64) -> f64 {
        (value / self.low).ln() / (self.high / self.low).ln() * SIDE
    }

    /// 1, 2 and 5 of each decade; over more than three decades only 1.
    fn ticks(&self) -> Vec<f64> {
        let steps: &[f64] = if self.high / self.low > 1e3 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let decades = self.low.log10().floor() as i32..=self.high.log10().floor() as i32;
        let all = decades.flat_map(|decade| steps.iter().map(move |step| step * 10f64.powi(decade)));
        all.filter(|tick| (self.low..=self.high).contains(tick)).collect()
    }
}

fn panel(out: &mut String, index: usize, title: &str, series: &[Series]) {
    let axis = Axis::of(series, index);
    let (left, bottom) = (LEFT + STEP * index as f64, TOP + SIDE);
    let (right, middle) = (left + SIDE, left + SIDE / 2.0);
    let _ =
        writeln!(out, "<clipPath id=\"p{index}\"><rect x=\"{left}\" y=\"{TOP}\" width=\"{SIDE}\" height=\"{SIDE}\"/></clipPath>");
    let _ = writeln!(out, "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\" font-size=\"14\">{title}</text>", TOP - 16.0);
    for tick in axis.ticks() {
        let (x, y) = (left + axis.at(tick), bottom - axis.at(tick));
        let _ = writeln!(out, "<path d=\"M{x:.1} {TOP}V{bottom}M{left} {y:.1}H{right}\" stroke=\"#e5e5e5\" fill=\"none\"/>");
        let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{tick}</text>", bottom + 16.0);
        let _ = writeln!(out, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{tick}</text>", left - 6.0, y + 4.0);
    }
    // Parallel to the identity: a factor is a distance on logarithmic axes.
    let (up, down) = (axis.at(axis.low * (1.0 + BAND)), -axis.at(axis.low * (1.0 - BAND)));
    let _ = writeln!(out, "<g clip-path=\"url(#p{index})\">");
    let (y0, y1) = (bottom - up, TOP - up);
    let (y2, y3) = (TOP + down, bottom + down);
    let _ =
        writeln!(out, "<path d=\"M{left} {y0:.1}L{right} {y1:.1}V{y2:.1}L{left} {y3:.1}Z\" fill=\"#999\" fill-opacity=\"0.2\"/>");
    let _ = writeln!(out, "<path d=\"M{left} {bottom}L{right} {TOP}\" stroke=\"#777\" fill=\"none\"/>");
    for (i, one) in series.iter().enumerate() {
        let _ = writeln!(out, "<g fill=\"{}\" fill-opacity=\"0.65\">", colour(i));
        for (measured, predicted) in one.panels[index].iter().filter(|(m, p)| *m > 0.0 && *p > 0.0) {
            let (x, y) = (left + axis.at(*measured), bottom - axis.at(*predicted));
            let _ = writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.6\"/>");
        }
        let _ = writeln!(out, "</g>");
    }
    let _ =
        writeln!(out, "</g>\n<rect x=\"{left}\" y=\"{TOP}\" width=\"{SIDE}\" height=\"{SIDE}\" fill=\"none\" stroke=\"#777\"/>");
    let _ = writeln!(out, "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">measured</text>", bottom + 34.0);
    let (x, y) = (left - 46.0, TOP + SIDE / 2.0);
    let turned = format!("transform=\"rotate(-90 {x} {y})\"");
    let _ = writeln!(out, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\" {turned}>predicted</text>");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(pairs: &[(f64, f64)]) -> String {
        let mut out = String::new();
        let series = [Series { name: "a".to_owned(), panels: [pairs.to_vec(), pairs.to_vec()] }];
        panel(&mut out, 0, "TTFT", &series);
        out
    }

    /// A perfect prediction lies on the diagonal, one 10 % too high on the upper edge of the band.
    #[test]
    fn geometry_is_that_of_the_axes() {
        let axis = Axis { low: 10.0, high: 1000.0 };
        assert_eq!((axis.at(10.0), axis.at(1000.0)), (0.0, SIDE));
        assert!((axis.at(100.0) - SIDE / 2.0).abs() < 1e-9);
        let svg = drawn(&[(13.0, 13.0), (1000.0, 1100.0)]);
        let centre = |n: usize| {
            let circle = svg.lines().filter(|l| l.starts_with("<circle")).nth(n).unwrap();
            let numbers: Vec<f64> = circle.split('"').filter_map(|part| part.parse().ok()).collect();
            (numbers[0] - LEFT, TOP + SIDE - numbers[1])
        };
        let (x, y) = centre(0);
        assert!((x - y).abs() < 0.15, "{x} {y}");
        let band = svg.lines().find(|l| l.contains("fill-opacity=\"0.2\"")).unwrap();
        let edge: f64 = band.split(['M', ' ', 'L']).nth(3).unwrap().parse().unwrap();
        let (x, y) = centre(1);
        assert!((TOP + SIDE - edge - (y - x)).abs() < 0.2, "{band} {x} {y}");
    }

    #[test]
    fn ticks_lie_within_the_axis() {
        assert_eq!(Axis { low: 8.0, high: 90.0 }.ticks(), [10.0, 20.0, 50.0]);
        assert_eq!(Axis { low: 8.0, high: 90e3 }.ticks(), [10.0, 100.0, 1000.0, 10_000.0]);
        assert_eq!(escaped("a<b & c"), "a&lt;b &amp; c");
    }
}
