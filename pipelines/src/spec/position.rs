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
        self.text.lines().nth(line.checked_sub(1)?)
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
