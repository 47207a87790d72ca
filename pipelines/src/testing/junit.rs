//! What tests have found, as JUnit XML for machines that gather test results.

use std::path::Path;
use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::TestReport;
use super::diff::{Painter, write_failure};
use crate::spec::Problem;

/// The reports of files' tests, and what is wrong with the files: a suite a file, named after it.
///
/// # Errors
/// XML that can't be written, in words.
pub fn to_xml<'a>(
    files: impl IntoIterator<Item = (&'a Path, &'a [TestReport], &'a [Problem])>,
) -> Result<String, String> {
    let mut report = Report::new("thalweg test");
    for (file, tests, problems) in files {
        let mut suite = TestSuite::new(file.display().to_string());
        suite.set_time(seconds(tests.iter().map(|test| test.seconds).sum()));
        for test in tests {
            let mut case = TestCase::new(test.name.as_str(), status(test));
            case.set_classname(file.display().to_string());
            case.set_time(seconds(test.seconds));
            suite.add_test_case(case);
        }
        // What can't be run has not passed.
        for problem in problems {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_message(problem.to_string());
            let mut case = TestCase::new(format!("line {}", problem.line), status);
            case.set_classname(file.display().to_string());
            suite.add_test_case(case);
        }
        report.add_test_suite(suite);
    }
    report.to_string().map_err(|error| error.to_string())
}

fn status(test: &TestReport) -> TestCaseStatus {
    let plain = Painter { colour: false };
    if let Some(error) = &test.error {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_message(error.as_str());
        return status;
    }
    let Some(first) = test.failures.first() else { return TestCaseStatus::success() };
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    status.set_message(format!("{}, {}: rows are not as expected", first.when, first.stream));
    let text: String = test.failures.iter().map(|failure| write_failure(failure, plain)).collect();
    status.set_description(text);
    status
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
