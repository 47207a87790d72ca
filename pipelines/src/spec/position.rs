//! Where something stands in a file, so that whatever is found wrong with it later can be shown in place.

use std::borrow::Cow;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::Problem;

/// A place in a file: where a YAML node begins, and how far it goes on its first line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Characters to underline, at least 1.
    pub length: usize,
}

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub at: Span,
}

impl<T> Spanned<T> {
    /// A value at a place.
    pub fn new(value: T, at: Span) -> Self {
        Spanned { value, at }
    }

    /// The same place, another value.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Spanned<U> {
        Spanned { value: make(self.value), at: self.at }
    }
}

impl<T> Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// A position is no part of what is written: the schema is the value's.
impl<T: JsonSchema> JsonSchema for Spanned<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A file's name and text, shared by all that quote from it.
#[derive(Debug, Clone)]
pub struct SourceText {
    /// The file as the user named it.
    pub file: Arc<Path>,
    /// Its text.
    pub text: Arc<str>,
}

impl SourceText {
    /// A file's text.
    pub fn new(file: &Path, text: &str) -> Self {
        SourceText { file: file.into(), text: text.into() }
    }

    /// Line `line`, counted from 1, without its end; `None` past the last.
    pub fn line(&self, line: usize) -> Option<&str> {
        self.lines().nth(line.checked_sub(1)?)
    }

    /// The lines without their ends, which are those of YAML: `\n`, `\r\n`, and `\r` alone.
    pub(in crate::spec) fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.split_inclusive('\n').flat_map(|line| {
            let line = line.strip_suffix('\n').unwrap_or(line);
            line.strip_suffix('\r').unwrap_or(line).split('\r')
        })
    }

    /// Where a part of a scalar stands. `at` is the scalar, `text` what was read of it, `start` and `length` the part, in characters.
    /// `None` where the file has something else there: a variable that was filled in, a character written in another way.
    pub fn part_of(&self, at: Span, text: &str, start: usize, length: usize) -> Option<Span> {
        let first = self.line(at.line)?.chars().nth(at.column.checked_sub(1)?)?;
        let as_written = |quote| self.walk(at, quote, text.chars().take(start + 1), start);
        let part = as_written(None).or_else(|| as_written(Some(first).filter(|c| "\"'".contains(*c))))?;
        let room = self.line(part.line)?.chars().count().saturating_sub(part.column - 1);
        Some(Span { length: length.clamp(1, room.max(1)), ..part })
    }

    // White space may be written in another way: lines are folded and indented.
    fn walk(
        &self,
        at: Span,
        quote: Option<char>,
        wanted: impl Iterator<Item = char>,
        start: usize,
    ) -> Option<Span> {
        let (mut line, mut column) = (at.line, at.column + usize::from(quote.is_some()));
        let mut next = || loop {
            let Some(c) = self.line(line)?.chars().nth(column - 1) else {
                (line, column) = (line + 1, 1);
                continue;
            };
            column += 1;
            if !c.is_whitespace() {
                return Some((c, Span { line, column: column - 1, length: 1 }));
            }
        };
        let mut last = None;
        for (index, wanted) in wanted.enumerate() {
            if wanted.is_whitespace() {
                continue;
            }
            let (mut found, mut place) = next()?;
            let is_escaped = (found == '\\' && quote == Some('"')) || (found == '\'' && quote == Some('\''));
            if is_escaped {
                (found, _) = next()?;
            }
            if found != wanted {
                return None;
            }
            place.length = 1;
            last = (index == start).then_some(place);
        }
        last
    }

    /// A problem in this file. `step` is the path of what it is about (`steps.per_model.where`), or empty.
    pub fn problem(
        &self,
        at: Span,
        step: impl Into<String>,
        message: impl Into<String>,
        hint: Option<String>,
    ) -> Problem {
        let step = step.into();
        Problem {
            file: self.file.display().to_string(),
            line: at.line,
            column: at.column,
            length: at.length.max(1),
            step: (!step.is_empty()).then_some(step),
            message: message.into(),
            hint,
            source_line: self.line(at.line).map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_where_yaml_ends_them() {
        for (text, lines) in [
            ("", vec![]),
            ("a", vec!["a"]),
            ("a\n\n", vec!["a", ""]),
            ("\r", vec![""]),
            ("a\nb\r\n\rc\r\r\nd\r", vec!["a", "b", "", "c", "", "d"]),
        ] {
            let source = SourceText::new(Path::new("p.yaml"), text);
            assert_eq!(source.lines().collect::<Vec<_>>(), lines, "{text:?}");
            assert_eq!(source.line(0), None, "{text:?}");
            assert_eq!(source.line(lines.len()), lines.last().copied(), "{text:?}");
            assert_eq!(source.line(lines.len() + 1), None, "{text:?}");
        }
    }

    #[test]
    fn parts_of_scalars_are_found_however_they_are_written() {
        let text = "a: x > 1\n\
                    b: x >\n     1 and y\n\
                    c: >-\n  x > 1\n  and y\n\
                    d: 'x = ''it'' and y'\n\
                    e: \"\\\"x\\\" = 1 and y\"\n\
                    f: x = ${N} and y\n\
                    g: '\"x\" = 1 and y'\n";
        let source = SourceText::new(Path::new("p.yaml"), text);
        let find = |line, column, text: &str, part: &str| {
            let start = text.find(part).unwrap();
            let found = source.part_of(Span { line, column, length: 1 }, text, start, part.len())?;
            Some((found.line, found.column, found.length))
        };
        assert_eq!(find(1, 4, "x > 1", "1"), Some((1, 8, 1)));
        assert_eq!(find(2, 4, "x > 1 and y", "and"), Some((3, 8, 3)));
        assert_eq!(find(5, 3, "x > 1 and y", "y"), Some((6, 7, 1)));
        assert_eq!(find(7, 4, "x = 'it' and y", "y"), Some((7, 20, 1)));
        assert_eq!(find(8, 4, "\"x\" = 1 and y", "y"), Some((8, 19, 1)));
        assert_eq!(find(9, 4, "x = 1 and y", "x"), Some((9, 4, 1)));
        assert_eq!(find(9, 4, "x = 1 and y", "y"), None, "the text is not the file's");
        assert_eq!(find(10, 4, "\"x\" = 1 and y", "1"), Some((10, 11, 1)));
    }
}
