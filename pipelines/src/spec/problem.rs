//! What is wrong with a spec: one line that says where, what, and what to write instead.
//!
//! ```text
//! provider_health.yaml:14:5: steps.per_model.wher: unknown field; did you mean "where"?
//!    14 |     wher: status <> 'cancelled'
//!       |     ^^^^
//! ```

use std::fmt;

use serde::Serialize;

/// One thing that is wrong with a spec, or, as a warning, that is not as it was probably meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file, as the user named it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Characters to underline.
    pub length: usize,
    /// What it is about: the path of names from the top of the file, such as `steps.per_model.select.p95_ms`.
    pub step: Option<String>,
    /// What is wrong, in lower case and without a full stop.
    pub message: String,
    /// How to mend it.
    pub hint: Option<String>,
    /// The line of the file, for [`Problem::excerpt`].
    #[serde(skip)]
    pub source_line: Option<String>,
}

impl Problem {
    /// The line of the file with a caret below the place, for a terminal; `None` where the line is not known.
    pub fn excerpt(&self) -> Option<String> {
        let line = self.source_line.as_deref()?;
        let before = line.chars().take(self.column.saturating_sub(1));
        // A tab stays a tab, so that the caret stands below its character whatever the tab width.
        let indent: String = before.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let room = line.chars().count().saturating_sub(self.column.saturating_sub(1)).max(1);
        let carets = "^".repeat(self.length.clamp(1, room));
        Some(format!("{:>5} | {line}\n      | {indent}{carets}", self.line))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        if let Some(step) = &self.step {
            write!(f, "{step}: ")?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Problem {}

/// Brings problems into the order of the file, and drops those said twice.
pub fn in_file_order(problems: &mut Vec<Problem>) {
    problems.sort_by(|a, b| {
        (&a.file, a.line, a.column, &a.step, &a.message)
            .cmp(&(&b.file, b.line, b.column, &b.step, &b.message))
    });
    problems.dedup();
}
