//! What a test has found, for people.
//!
//! ```text
//! FAIL errors are counted (provider_health.test.yaml:4) 0.03 s
//!   at the end, sink provider_health: 1 row differs, 1 is missing
//!   ~ {provider: a, window_start: 2026-03-02T12:00:00Z}                          line 11
//!       errors    expected 2, came 1   (off by 1)
//!   - {provider: b, errors: 0}                                                   line 12
//!   + {provider: c, errors: 0, …}
//! ```

use std::fmt::Write as _;
use std::path::Path;

use super::compare::Differences;
use super::{Failure, TestReport};

/// Rows of a kind that are shown: the others are counted.
const SHOWN_MAX: usize = 20;
/// A row's width, characters: longer ones are cut.
const WIDTH_MAX: usize = 400;

/// Whether to colour.
#[derive(Debug, Clone, Copy)]
pub struct Painter {
    /// For a terminal.
    pub colour: bool,
}

impl Painter {
    fn paint(self, colour: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn red(self, text: &str) -> String {
        self.paint("31", text)
    }

    fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    fn yellow(self, text: &str) -> String {
        self.paint("33", text)
    }

    fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }
}

/// A test's report in words.
pub fn write_report(report: &TestReport, file: &Path, painter: Painter) -> String {
    let (name, place) = (&report.name, format!("({}:{})", file.display(), report.line));
    let time = painter.dim(&format!("{place} {:.2} s", report.seconds));
    if report.passed() {
        return format!("{} {name} {time}\n", painter.green("ok  "));
    }
    let mut out = format!("{} {name} {time}\n", painter.paint("31;1", "FAIL"));
    if let Some(error) = &report.error {
        let _ = writeln!(out, "  {}", painter.red(&error.replace('\n', "\n  ")));
    }
    report.failures.iter().for_each(|failure| out.push_str(&write_failure(failure, painter)));
    out
}

/// What is not as expected, in words.
pub(super) fn write_failure(failure: &Failure, painter: Painter) -> String {
    let Differences { missing, unexpected, differing } = &failure.differences;
    let counts = [
        (differing.len(), ("row differs", "rows differ")),
        (missing.len(), ("row is missing", "rows are missing")),
        (unexpected.len(), ("row is unexpected", "rows are unexpected")),
    ];
    let said: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, (one, many))| format!("{count} {}", if *count == 1 { one } else { many }))
        .collect();
    let mut out = format!("  {}, {}: {}\n", failure.when, failure.stream, said.join(", "));
    for row in differing.iter().take(SHOWN_MAX) {
        let same = braces(&row.same);
        let _ =
            writeln!(out, "  {} {same} {}", painter.yellow("~"), painter.dim(&format!("line {}", row.line)));
        let width = row.columns.iter().map(|column| column.name.chars().count()).max().unwrap_or(0);
        for column in &row.columns {
            let (expected, found) = (painter.red(&column.expected), painter.green(&column.found));
            let off = match (column.off_by, &column.tolerance) {
                (Some(off), Some(most)) => format!("  (off by {}, may be by {most})", short(off)),
                (Some(off), None) => format!("  (off by {})", short(off)),
                (None, _) => String::new(),
            };
            let name = painter.yellow(&format!("{:<width$}", column.name));
            let _ = writeln!(out, "      {name}  expected {expected}, came {found}{}", painter.dim(&off));
        }
    }
    more(&mut out, differing.len());
    for row in missing.iter().take(SHOWN_MAX) {
        let line = painter.dim(&format!("line {}", row.line));
        let _ = writeln!(out, "  {} {line}", painter.red(&format!("- {}", braces(&row.columns))));
    }
    more(&mut out, missing.len());
    for row in unexpected.iter().take(SHOWN_MAX) {
        let _ = writeln!(out, "  {}", painter.green(&format!("+ {}", braces(row))));
    }
    more(&mut out, unexpected.len());
    out
}

fn more(out: &mut String, count: usize) {
    if count > SHOWN_MAX {
        let _ = writeln!(out, "    … and {} more", count - SHOWN_MAX);
    }
}

fn braces(columns: &[(String, String)]) -> String {
    let columns: Vec<String> = columns.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let text = format!("{{{}}}", columns.join(", "));
    match text.char_indices().nth(WIDTH_MAX) {
        Some((end, _)) => format!("{}…}}", &text[..end]),
        None => text,
    }
}

// Six digits are enough to see how far a number is off.
fn short(number: f64) -> String {
    if number != 0.0 && !(1e-4..1e9).contains(&number) {
        return format!("{number:.5e}");
    }
    let text = format!("{number:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
