//! Targets, shares and splits as typed on the command line.

use tokentide_sim::scenario::duration::parse_duration;
use tokentide_sim::scenario::{SloMetric, SloTarget};

/// `ttft_p95=800ms`
pub fn target(text: &str) -> Result<SloTarget, String> {
    let expected = "expected FIGURE_pPERCENT=TIME, such as ttft_p95=800ms";
    let (figure, limit) = text.split_once('=').ok_or(expected)?;
    let (metric, percent) = figure.trim().rsplit_once("_p").ok_or(expected)?;
    let metric = match metric {
        "ttft" => SloMetric::Ttft,
        "tpot" => SloMetric::Tpot,
        "e2e" => SloMetric::E2e,
        "queue" => SloMetric::Queue,
        other => return Err(format!("`{other}` is no figure of a target: expected ttft, tpot, e2e or queue")),
    };
    let percent: f64 = percent.parse().map_err(|_| expected.to_owned())?;
    if !(percent > 0.0 && percent < 100.0) {
        return Err(format!("a percentile is above 0 and below 100, not {percent}"));
    }
    let limit = parse_duration(limit.trim())?;
    if limit.0 == 0 {
        return Err("a target must be longer than 0".to_owned());
    }
    Ok(SloTarget { metric, quantile: percent / 100.0, limit })
}

/// A number of percent, with or without the sign, as a share.
fn percent(text: &str, range: std::ops::RangeInclusive<f64>) -> Result<f64, String> {
    let number: f64 = text.trim().trim_end_matches('%').trim().parse().map_err(|_| format!("`{text}` is no number of percent"))?;
    if !range.contains(&number) {
        return Err(format!("expected {} to {} percent, not {number}", range.start(), range.end()));
    }
    Ok(number / 100.0)
}

/// `95`
pub fn confidence(text: &str) -> Result<f64, String> {
    percent(text, 50.0..=99.9)
}

/// `15`
pub fn model_error(text: &str) -> Result<f64, String> {
    percent(text, 0.0..=90.0)
}

/// `a,b:c`
pub fn classes(text: &str) -> Result<[Vec<String>; 2], String> {
    let (one, other) = text.split_once(':').ok_or("expected two lists of classes, such as chat,search:rag")?;
    let names = |list: &str| list.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
    let pools: [Vec<String>; 2] = [names(one), names(other)];
    if pools.iter().any(Vec::is_empty) {
        return Err("each of the two pools needs a class".to_owned());
    }
    Ok(pools)
}

#[cfg(test)]
mod tests {
    use tokentide_models::units::Duration;

    use super::*;

    #[test]
    fn targets_are_read_as_in_scenarios() {
        let read = target("ttft_p95=800ms").unwrap();
        assert_eq!((read.metric, read.limit), (SloMetric::Ttft, Duration::from_millis_f64(800.0)));
        assert!((read.quantile - 0.95).abs() < 1e-12);
        assert!((target("e2e_p99.9 = 30s").unwrap().quantile - 0.999).abs() < 1e-12);
        for wrong in ["ttft", "ttft_p95", "ttft=1s", "ttft_p95=1", "itl_p95=1s", "ttft_p100=1s", "ttft_p0=1s", "ttft_p95=0s"] {
            assert!(target(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn shares_and_splits_are_checked() {
        assert_eq!((confidence("95"), model_error("20 %")), (Ok(0.95), Ok(0.2)));
        assert!(confidence("100").is_err() && confidence("0.95").is_err() && model_error("x").is_err());
        assert_eq!(classes("a, b:c"), Ok([vec!["a".to_owned(), "b".to_owned()], vec!["c".to_owned()]]));
        assert!(classes("a,b").is_err() && classes(":c").is_err());
    }
}
