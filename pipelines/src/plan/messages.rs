//! DataFusion's errors in the words of a spec's reader.

use arrow::datatypes::Field;
use datafusion::common::{DataFusionError, SchemaError};
use datafusion::sql::sqlparser::parser::ParserError;

use crate::spec::suggest;

/// Something wrong with an expression, not yet tied to its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Finding {
    pub(super) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Finding { message: message.into(), hint: Some(hint.into()) }
    }
}

/// An error of DataFusion's planner. `functions` are the names that might have been meant.
pub(super) fn explain(error: &DataFusionError, columns: &[Field], functions: &[&str]) -> Finding {
    match error.find_root() {
        DataFusionError::Diagnostic(_, inner) => explain(inner, columns, functions),
        DataFusionError::SchemaError(inner, _) => match inner.as_ref() {
            SchemaError::FieldNotFound { field, .. } => {
                let written = field.flat_name().replace('"', "");
                unknown_column(&written, columns)
            }
            other => plain(&other.to_string()),
        },
        DataFusionError::SQL(parser, _) => {
            let detail = match parser.as_ref() {
                ParserError::ParserError(text) | ParserError::TokenizerError(text) => text.clone(),
                ParserError::RecursionLimitExceeded => "nested too deeply".into(),
            };
            let finding = plain(&detail);
            Finding {
                message: format!("not valid SQL: {}", finding.message),
                hint: finding.hint.or_else(|| slip(&detail)),
            }
        }
        other => {
            let text = other.strip_backtrace();
            match unknown_function(&text) {
                Some(name) => {
                    let hint = match suggest::nearest(&name, functions.iter().copied()) {
                        Some(near) => format!("did you mean \"{near}\"?"),
                        None => "expressions take DataFusion's scalar functions".to_owned(),
                    };
                    Finding::new(format!("unknown function \"{name}\""), hint)
                }
                None if text.contains("has no type information") => {
                    Finding::new("a variable (@…)", "fill values in from the environment: ${NAME}")
                }
                None => plain(&text),
            }
        }
    }
}

/// A column that is not there: the nearest one, one that only differs in case, or all of them.
pub(super) fn unknown_column(written: &str, columns: &[Field]) -> Finding {
    let names: Vec<&str> = columns.iter().map(|column| column.name().as_str()).collect();
    let last = written.rsplit('.').next().unwrap_or(written);
    let hint = if let Some(name) = names
        .iter()
        .find(|name| name.eq_ignore_ascii_case(last) && name.chars().any(|c| c.is_ascii_uppercase()))
    {
        Some(format!("a name with capitals stands in double quotes: \"{name}\""))
    } else if last != written && names.contains(&last) {
        Some(format!("write \"{last}\" alone"))
    } else {
        suggest::hint(last, &names, "columns")
    };
    let hint = match hint {
        // The nearest name alone leaves open what else there is.
        Some(near) if near.starts_with("did you mean") && names.len() > 1 => {
            Some(format!("{near} (columns: {})", suggest::list(&names)))
        }
        other => other,
    };
    Finding { message: format!("unknown column \"{written}\""), hint }
}

/// A message of DataFusion, without its decoration: first line, lower case, no full stop.
fn plain(text: &str) -> Finding {
    const PREFIXES: [&str; 9] = [
        "Internal error: ",
        "Error during planning: ",
        "type_coercion\ncaused by\n",
        "Execution error: ",
        "Arrow error: ",
        "Cast error: ",
        "Divide by zero error: ",
        "This feature is not implemented: ",
        "Optimizer rule 'simplify_expressions' failed\ncaused by\n",
    ];
    let mut text = text.trim();
    while let Some(rest) = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)) {
        text = rest.trim();
    }
    let (message, rest) = text.split_once('\n').unwrap_or((text, ""));
    let (message, candidates) =
        message.split_once(" No function matches").map_or((message, rest), |(m, _)| (m, rest));
    // Some messages end in a dump of the syntax tree.
    let message =
        message.split_once(" { expr").map_or(message, |(text, _)| text.trim_end_matches(char::is_alphabetic));
    let mut message = message.trim().trim_end_matches(['.', ':']).to_owned();
    let second_is_capital = message.chars().nth(1).is_some_and(char::is_uppercase);
    if let Some(first) = message.get(..1).filter(|_| !second_is_capital) {
        let lower = first.to_lowercase();
        message.replace_range(..1, &lower);
    }
    let candidates: Vec<&str> = candidates
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("Hint") && line.contains('('))
        .take(4)
        .collect();
    let hint = (!candidates.is_empty()).then(|| format!("it takes {}", candidates.join(" or ")));
    Finding { message, hint }
}

fn unknown_function(text: &str) -> Option<String> {
    let rest = text.split_once("Invalid function '")?.1;
    Some(rest.split_once('\'')?.0.to_owned())
}

/// The slips that make most syntax errors.
fn slip(detail: &str) -> Option<String> {
    if detail.contains("found: =") || detail.contains("==") {
        return Some("SQL compares with a single \"=\"".into());
    }
    if detail.contains("found: EOF") {
        return Some(
            "it ends too early; between { and } an expression with commas stands in double quotes".into(),
        );
    }
    if detail.contains("Unterminated string literal") {
        return Some("close the text with a single quote; a quote inside a text is written twice".into());
    }
    None
}
