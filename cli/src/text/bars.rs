//! Bars and sparklines of block characters.

const EIGHTHS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A horizontal bar of `width` cells, filled to `share` (clamped to 0 to 1; anything above 0 shows at least one cell).
pub fn bar(share: f64, width: usize) -> String {
    let cells = (share.clamp(0.0, 1.0) * width as f64).round() as usize;
    let cells = if share > 0.0 { cells.max(1) } else { cells };
    "█".repeat(cells) + &"░".repeat(width - cells)
}

/// `values` over time in at most `width` cells, each the largest of its span, so that no peak is lost; full height is `top`.
/// A space is zero.
pub fn sparkline(values: &[f64], top: f64, width: usize) -> String {
    let cells = width.min(values.len());
    (0..cells)
        .map(|i| {
            let span = &values[i * values.len() / cells..(i + 1) * values.len() / cells];
            let peak = span.iter().copied().fold(0.0, f64::max);
            if peak <= 0.0 || top <= 0.0 {
                return ' ';
            }
            EIGHTHS[((peak / top * 8.0).ceil() as usize).clamp(1, 8) - 1]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_shows_its_share() {
        assert_eq!(bar(0.5, 10), "█████░░░░░");
        assert_eq!((bar(0.001, 4).as_str(), bar(0.0, 4).as_str(), bar(1.8, 4).as_str()), ("█░░░", "░░░░", "████"));
    }

    #[test]
    fn a_sparkline_keeps_peaks() {
        assert_eq!(sparkline(&[0.0, 0.125, 0.5, 1.0], 1.0, 10), " ▁▄█");
        let mut long = vec![0.1; 1000];
        long[501] = 1.0;
        let line = sparkline(&long, 1.0, 20);
        assert_eq!((line.chars().count(), line.matches('█').count()), (20, 1));
        assert_eq!(sparkline(&[], 1.0, 10), "");
        assert_eq!(sparkline(&[0.0, 0.0], 0.0, 10), "  ");
    }
}
