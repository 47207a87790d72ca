//! DataFusion's errors in the words of a spec's reader: what is wrong, where, and what to write instead.
//!
//! ```text
//!   error of the parser ───▶ syntax.rs     a position, the token that was found, what it was probably meant to be
//!   unknown name ──────────▶ functions.rs  the nearest one, or what other databases' functions are called here
//!   types that don't fit ──▶ operands.rs   which operands, of which types, and the cast that makes them fit
//! ```

use arrow::datatypes::Field;
use datafusion::common::{DataFusionError, SchemaError};

use crate::spec::suggest;

mod functions;
mod operands;
mod syntax;
#[cfg(test)]
mod tests;

pub(super) use self::functions::{is_of_elsewhere, unknown as unknown_function};
pub(super) use self::operands::{explain_types, texts_as_numbers, written};

/// Something wrong with an expression, not yet tied to its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) message: String,
    pub(super) hint: Option<String>,
    /// Where in the expression; by default all of it.
    pub(super) spot: Option<Spot>,
    /// Whether it is that a column is not known.
    pub(super) is_unknown_column: bool,
}

/// A place in an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Spot {
    /// The character of this number, from 0.
    Character(usize),
    /// Where this stands for the first time.
    Text(String),
}

impl Finding {
    pub(super) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Finding { hint: Some(hint.into()), ..Finding::without_hint(message) }
    }

    pub(super) fn without_hint(message: impl Into<String>) -> Self {
        Finding { message: message.into(), hint: None, spot: None, is_unknown_column: false }
    }

    pub(super) fn at(self, spot: Spot) -> Self {
        Finding { spot: Some(spot), ..self }
    }

    /// Names that stand for parts of the expression, spelled out.
    pub(super) fn rename(&mut self, parts: &[(String, String)]) {
        let spelled = |text: &str| {
            // A name may begin as another: the later ones are longer.
            parts.iter().rev().fold(text.to_owned(), |text, (name, part)| text.replace(name.as_str(), part))
        };
        self.message = spelled(&self.message);
        self.hint = self.hint.as_deref().map(spelled);
        if let Some(Spot::Text(text)) = &mut self.spot {
            *text = spelled(text);
        }
    }

    /// The same of an expression in which a function has another of its names.
    pub(super) fn named_as_in(mut self, sql: &str, names: impl Fn(&str) -> Vec<String>) -> Self {
        let Some(Spot::Text(name)) = &self.spot else { return self };
        let is_there = |name: &str| syntax::find(sql, name).is_some();
        let written = names(name).into_iter().find(|other| is_there(other) && !is_there(name));
        if let Some(written) = written {
            self.message = self.message.replacen(name.as_str(), &written, 1);
            self.hint = self.hint.map(|hint| hint.replacen(name.as_str(), &written, 1));
            self.spot = Some(Spot::Text(written));
        }
        self
    }

    /// Where in the expression's text it is, in characters, as (start, length).
    pub(super) fn place(&self, sql: &str) -> Option<(usize, usize)> {
        match self.spot.as_ref()? {
            Spot::Character(start) => Some((*start, syntax::token_length(sql, *start))),
            Spot::Text(text) => syntax::find(sql, text).map(|start| (start, text.chars().count())),
        }
    }
}

/// The first of several findings.
pub(super) fn first(findings: Vec<Finding>) -> Finding {
    let found = findings.into_iter().next();
    found.unwrap_or_else(|| Finding::new("not an expression", "write one, such as status = 'error'"))
}

/// What is known where an error is explained.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    /// The expression as it was written; empty where that is not known.
    pub(super) sql: &'a str,
    pub(super) columns: &'a [Field],
    /// The names of functions that might have been meant.
    pub(super) functions: &'a [&'a str],
    /// How a function's call is written: `round(numeric_expression[, decimal_places])`.
    pub(super) usage: &'a dyn Fn(&str) -> Option<String>,
}

/// An error of DataFusion's planner.
pub(super) fn explain(error: &DataFusionError, context: &Context<'_>) -> Finding {
    match error.find_root() {
        DataFusionError::Diagnostic(_, inner) => explain(inner, context),
        DataFusionError::SchemaError(inner, _) => match inner.as_ref() {
            SchemaError::FieldNotFound { field, .. } => {
                let written = field.flat_name().replace('"', "");
                let finding = unknown_column(&written, context.columns).at(Spot::Text(written.clone()));
                quoted_text(finding, &written, context.sql)
            }
            other => Finding::without_hint(plain(&other.to_string())),
        },
        DataFusionError::SQL(parser, _) => syntax::explain(parser, context),
        other => {
            let text = other.strip_backtrace();
            let known = functions::explain(&text, context).or_else(|| known(&text, context));
            known.unwrap_or_else(|| {
                let hint =
                    "change this part, or cast what it is given: cast(… as double), cast(… as varchar)";
                Finding::new(in_words(&plain(&text)), hint)
            })
        }
    }
}

/// Errors of planning that have a cause of their own.
fn known(text: &str, context: &Context<'_>) -> Option<Finding> {
    let has = |part: &str| text.contains(part);
    if has("has no type information") {
        return Some(Finding::new("a variable (@…)", "fill values in from the environment: ${NAME}"));
    }
    let (message, hint) = if has("PGOverlap") {
        return Some(Finding::new("the operator &&", "write \"and\"").at(Spot::Text("&&".into())));
    } else if has("Unsupported SQL type") {
        let types = "varchar, bigint, double, boolean, timestamp, date, decimal(18, 6)";
        (plain(text).replace("unsupported SQL type", "unknown type"), format!("write one of {types}"))
    } else if has("Unary operator 'NOT'") {
        (in_words(&plain(text)), "compare it with something: not (… > 0), not (… = 'x')".to_owned())
    } else if has("Unary operator '+'") {
        (in_words(&plain(text)), "leave out the +, or make a number of it: cast(… as double)".to_owned())
    } else if has("Unary operator") {
        (in_words(&plain(text)), "cast a text to a number: -cast(… as double)".to_owned())
    } else if has("BETWEEN expression") || has("compatible types to compare") {
        (in_words(&plain(text)), "give all values one type: cast(… as double), cast(… as varchar)".to_owned())
    } else if has("annot access field") {
        let hint = "only a struct has fields: give the field a line of its own in the schema, with its path";
        ("a field of something that is no struct".to_owned(), hint.to_owned())
    } else if has("Substring without") {
        ("substring without a place to begin".to_owned(), "write substr(…, 1, 3)".to_owned())
    } else if has("type interval") {
        (plain(text), "write interval '5 minutes'".to_owned())
    } else if has("regex parse error") {
        let hint =
            "in a regular expression \\ stands before a bracket, a dot or a star that is meant as it is";
        let why =
            text.lines().find_map(|line| line.trim().strip_prefix("error: ")).unwrap_or("it can't be read");
        (format!("not a regular expression: {why}"), hint.to_owned())
    } else if has("s not yet supported") || has("Unsupported") || has("not implemented") {
        let hint = "write it with the operators and, or, not, =, <>, <, >, +, -, *, /, %, ||, like, in, between, and functions";
        (in_words(&plain(text)), hint.to_owned())
    } else {
        return operands::constant(text, context.columns);
    };
    Some(Finding::new(message, hint))
}

/// A column that is not there: the nearest one, one that only differs in case, or all of them.
pub(super) fn unknown_column(written: &str, columns: &[Field]) -> Finding {
    let names: Vec<&str> = columns.iter().map(|column| column.name().as_str()).collect();
    unknown_name(written, &names)
}

/// As [`unknown_column`], of columns that are known by their names alone.
pub(super) fn unknown_name(written: &str, names: &[&str]) -> Finding {
    let last = written.rsplit('.').next().unwrap_or(written);
    let hint = if let Some(name) = names
        .iter()
        .find(|name| name.eq_ignore_ascii_case(last) && name.chars().any(|c| c.is_ascii_uppercase()))
    {
        Some(format!("a name with capitals stands in double quotes: \"{name}\""))
    } else if last != written && names.contains(&last) {
        Some(format!("write \"{last}\" alone"))
    } else {
        suggest::hint(last, names, "columns")
    };
    let hint = match hint {
        // The nearest name alone leaves open what else there is.
        Some(near) if near.starts_with("did you mean") && names.len() > 1 => {
            Some(format!("{near} (columns: {})", suggest::list(names)))
        }
        other => other,
    };
    let finding = Finding::without_hint(format!("unknown column \"{written}\""));
    Finding { hint, is_unknown_column: true, ..finding }
}

// In double quotes it is a column to SQL, whatever was meant.
fn quoted_text(mut finding: Finding, written: &str, sql: &str) -> Finding {
    let quoted = format!("\"{written}\"");
    let is_meant = finding.hint.as_ref().is_none_or(|hint| !hint.starts_with("did you mean"));
    if is_meant && sql.trim() != quoted && sql.contains(&quoted) {
        let text = format!("a text stands in single quotes: '{written}'");
        finding.hint = Some(finding.hint.map_or_else(|| text.clone(), |hint| format!("{text} ({hint})")));
    }
    finding
}

/// A message of DataFusion, without its decoration: first line, lower case, no full stop.
fn plain(text: &str) -> String {
    const PREFIXES: [&str; 11] = [
        "Internal error: ",
        "Error during planning: ",
        "type_coercion\ncaused by\n",
        "Execution error: ",
        "Arrow error: ",
        "Cast error: ",
        "Parser error: ",
        "External error: ",
        "Divide by zero error: ",
        "This feature is not implemented: ",
        "Optimizer rule 'simplify_expressions' failed\ncaused by\n",
    ];
    let mut text = text.trim();
    while let Some(rest) = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)) {
        text = rest.trim();
    }
    let (message, _) = text.split_once('\n').unwrap_or((text, ""));
    let (message, _) = message.split_once(" No function matches").unwrap_or((message, ""));
    // Some messages end in a dump of the syntax tree.
    let message =
        message.split_once(" { expr").map_or(message, |(text, _)| text.trim_end_matches(char::is_alphabetic));
    let mut message = message.trim().trim_end_matches(['.', ':']).to_owned();
    let second_is_capital = message.chars().nth(1).is_some_and(char::is_uppercase);
    if let Some(first) = message.get(..1).filter(|_| !second_is_capital) {
        let lower = first.to_lowercase();
        message.replace_range(..1, &lower);
    }
    message
}

/// A message with Arrow's names of types as a spec has them.
fn in_words(message: &str) -> String {
    const WORDS: [(&str, &str); 24] = [
        ("Timestamp(µs, \"+00:00\")", "timestamp"),
        ("Timestamp(ns)", "timestamp"),
        ("Duration(µs)", "duration"),
        ("Interval(MonthDayNano)", "interval"),
        ("LargeUtf8", "string"),
        ("Utf8View", "string"),
        ("Utf8", "string"),
        ("UInt8", "uint8"),
        ("UInt16", "uint16"),
        ("UInt32", "uint32"),
        ("UInt64", "uint64"),
        ("Int8", "int8"),
        ("Int16", "int16"),
        ("Int32", "int32"),
        ("Int64", "int64"),
        ("Float32", "float32"),
        ("Float64", "float64"),
        ("Decimal128", "decimal"),
        ("Boolean", "bool"),
        ("LargeBinary", "binary"),
        ("Binary", "binary"),
        ("Date32", "date"),
        ("String", "string"),
        ("Null", "null"),
    ];
    let words = WORDS.iter().fold(message.to_owned(), |text, (arrow, word)| text.replace(arrow, word));
    // A list's item stands in brackets: List(string).
    match words.split_once("List(") {
        Some((before, after)) => match after.split_once(')') {
            Some((item, after)) => format!("{before}list of {item}{after}"),
            None => words,
        },
        None => words,
    }
}
