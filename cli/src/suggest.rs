//! "Did you mean".

/// The candidate closest to what was typed, if any is close.
pub fn closest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_ascii_lowercase();
    let score = |candidate: &str| strsim::jaro_winkler(&typed, &candidate.to_ascii_lowercase());
    candidates.into_iter().map(|c| (score(c), c)).filter(|(s, _)| *s > 0.8).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, c)| c)
}

#[cfg(test)]
mod tests {
    use super::closest;

    #[test]
    fn near_misses_are_found_and_far_ones_are_not() {
        let names = ["ttft", "tpot", "headroom", "utilisation"];
        assert_eq!(closest("utilization", names), Some("utilisation"));
        assert_eq!(closest("TTFTs", names), Some("ttft"));
        assert_eq!(closest("banana", names), None);
    }
}
