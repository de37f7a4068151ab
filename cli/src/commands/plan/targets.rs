//! Shares and splits as typed on the command line.

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
    use super::*;

    #[test]
    fn shares_and_splits_are_checked() {
        assert_eq!((confidence("95"), model_error("20 %")), (Ok(0.95), Ok(0.2)));
        assert!(confidence("100").is_err() && confidence("0.95").is_err() && model_error("x").is_err());
        assert_eq!(classes("a, b:c"), Ok([vec!["a".to_owned(), "b".to_owned()], vec!["c".to_owned()]]));
        assert!(classes("a,b").is_err() && classes(":c").is_err());
    }
}
