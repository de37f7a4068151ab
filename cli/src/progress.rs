//! How far the work is, for whoever waits at a terminal or reads a log; always on stderr.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// Work shorter than this is not worth an indicator.
const PATIENCE: Duration = Duration::from_secs(1);
const STEPS: u64 = 1000;
/// Characters of a label that changes.
const LABEL: usize = 28;

/// Shows nothing until [`PATIENCE`] is over.
pub struct Progress {
    label: String,
    mode: Mode,
    started: Instant,
    bar: Option<ProgressBar>,
    tenths: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Hidden,
    /// On a terminal.
    Bar,
    /// In a log: a line for every tenth.
    Lines,
}

impl Mode {
    fn choose(hidden: bool, ci: bool, terminal: bool) -> Mode {
        match (hidden, ci, terminal) {
            (true, _, _) => Mode::Hidden,
            (false, true, _) => Mode::Lines,
            (false, false, true) => Mode::Bar,
            (false, false, false) => Mode::Hidden,
        }
    }
}

impl Progress {
    /// An indicator for work called `label`, unless it is to be `hidden`. With `CI` set it writes lines.
    pub fn new(label: &str, hidden: bool) -> Progress {
        let ci = std::env::var_os("CI").is_some_and(|v| !v.is_empty() && v != "false");
        let mode = Mode::choose(hidden, ci, io::stderr().is_terminal());
        Progress { label: label.to_owned(), mode, started: Instant::now(), bar: None, tenths: 0 }
    }

    /// What is being done now.
    pub fn set_label(&mut self, label: &str) {
        if self.label != label {
            label.clone_into(&mut self.label);
            if let Some(bar) = &self.bar {
                // Labels of unlike lengths would make the bar jump.
                bar.set_prefix(format!("{label:<LABEL$}"));
            }
        }
    }

    /// The work is done to this share, 0 to 1.
    pub fn set(&mut self, share: f64) {
        let share = share.clamp(0.0, 1.0);
        if self.mode == Mode::Hidden || self.started.elapsed() < PATIENCE {
            return;
        }
        if self.mode == Mode::Lines {
            if let Some(line) = self.tenth(share) {
                let _ = writeln!(io::stderr(), "{line}");
            }
            return;
        }
        let label = &self.label;
        let bar = self.bar.get_or_insert_with(|| {
            let style = ProgressStyle::with_template("{prefix} {bar:32} {percent:>3} %  {elapsed} elapsed, {left} left");
            let bar = ProgressBar::with_draw_target(Some(STEPS), ProgressDrawTarget::stderr()).with_prefix(label.clone());
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            bar.set_style(style.with_key("left", |state: &ProgressState, to: &mut dyn fmt::Write| {
                let _ = write!(to, "{:#}", HumanDuration(left(state.elapsed(), f64::from(state.fraction()))));
            }));
            bar.with_elapsed(PATIENCE)
        });
        bar.set_position((share * STEPS as f64) as u64);
    }

    /// The line for a tenth that was not reached before.
    fn tenth(&mut self, share: f64) -> Option<String> {
        let tenths = (share * 10.0).floor() as u64;
        if tenths <= self.tenths {
            return None;
        }
        self.tenths = tenths;
        Some(format!("{}: {} % after {:.0} s", self.label, tenths * 10, self.started.elapsed().as_secs_f64()))
    }
}

/// At the pace so far. The library's own estimate takes what was done before the bar appeared for done at once.
fn left(elapsed: Duration, share: f64) -> Duration {
    let left = elapsed.as_secs_f64() * (1.0 - share) / share;
    Duration::try_from_secs_f64(left.ceil()).unwrap_or_default()
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_needs_a_terminal_and_a_log_gets_lines() {
        assert_eq!(Mode::choose(false, false, true), Mode::Bar);
        assert_eq!(Mode::choose(false, false, false), Mode::Hidden);
        assert_eq!(Mode::choose(false, true, false), Mode::Lines);
        assert_eq!(Mode::choose(false, true, true), Mode::Lines);
        assert_eq!(Mode::choose(true, true, true), Mode::Hidden);
    }

    #[test]
    fn what_is_left_goes_on_as_before() {
        let seconds = Duration::from_secs;
        assert_eq!(left(seconds(2), 0.25), seconds(6));
        assert_eq!(left(seconds(2), 1.0), seconds(0));
        assert_eq!(left(seconds(2), 0.0), seconds(0), "nobody knows");
    }

    #[test]
    fn each_tenth_is_told_once() {
        let mut progress = Progress::new("simulating", true);
        let lines: Vec<_> = (0..=1000).filter_map(|i| progress.tenth(f64::from(i) / 1000.0)).collect();
        assert_eq!(lines.len(), 10);
        assert!(lines[9].starts_with("simulating: 100 %"));
    }
}
