//! JUnit XML: a test case per check, in a suite per scenario.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use tokentide_compare::report::Comparison;
use tokentide_compare::verdict::Verdict;

use super::text::line;

/// The report. Fragile and inconclusive checks have passed as far as JUnit can say, and tell what they are in their output; a diff
/// without checks has a case per scenario, which holds its headline.
///
/// # Errors
/// If it cannot be written.
pub fn junit(comparison: &Comparison) -> Result<String, String> {
    let mut report = Report::new("tokentide");
    for scenario in &comparison.scenarios {
        let mut suite = TestSuite::new(scenario.name.as_str());
        for check in comparison.checks.iter().filter(|check| check.scenario == scenario.name) {
            let said = line(check, comparison);
            let status = match check.verdict {
                Verdict::Fail => {
                    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                    status.set_message(said.as_str()).set_type("budget");
                    status
                }
                Verdict::Skipped => {
                    let mut status = TestCaseStatus::skipped();
                    status.set_message(said.as_str());
                    status
                }
                _ => TestCaseStatus::success(),
            };
            let mut case = TestCase::new(check.id.as_str(), status);
            case.set_classname(scenario.name.as_str());
            case.set_system_out(format!("{}: {said}", check.verdict.name()));
            suite.add_test_case(case);
        }
        if comparison.checks.is_empty() {
            let mut case = TestCase::new("diff", TestCaseStatus::success());
            case.set_classname(scenario.name.as_str()).set_system_out(scenario.headline.as_str());
            suite.add_test_case(case);
        }
        if !suite.test_cases.is_empty() {
            report.add_test_suite(suite);
        }
    }
    let xml = report.to_string().map_err(|e| format!("cannot write JUnit XML: {e}"))?;
    Ok(if xml.ends_with('\n') { xml } else { xml + "\n" })
}
