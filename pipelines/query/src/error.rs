//! What can go wrong with a query, in one line a person can act on.

use std::path::PathBuf;

use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;

/// Why a query gave no result.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The folder to query is not there.
    #[error("no folder {}: run a pipeline into it first, or name another one with --data", .0.display())]
    NoFolder(PathBuf),
    /// A folder or file can't be read.
    #[error("can't read {}: {source}", path.display())]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A Delta table can't be read.
    #[error(transparent)]
    Delta(#[from] thalweg_delta::DeltaError),
    /// The query names a table that is not there.
    #[error("{}", unknown_table(name, folder, tables, *empty))]
    UnknownTable {
        /// The name in the query.
        name: String,
        /// Where it was looked for.
        folder: PathBuf,
        /// The tables that are there, as SQL writes them.
        tables: Vec<String>,
        /// Its folder is there, but holds no file yet.
        empty: bool,
    },
    /// The query names a table that several outputs have.
    #[error("table {name:?} is in several outputs: write {}", candidates.join(" or "))]
    AmbiguousTable {
        /// The name in the query.
        name: String,
        /// The full names, as SQL writes them.
        candidates: Vec<String>,
    },
    /// The statement is no query.
    #[error(
        "{statement} is refused: here run only select, explain, describe and show; files are written by sinks"
    )]
    Refused {
        /// The statement's first word.
        statement: String,
    },
    /// The query is wrong, or failed.
    #[error("{0}")]
    Sql(String),
    /// The query was stopped while it ran.
    #[error("stopped")]
    Interrupted,
    /// The result can't be put into the output format.
    #[error("can't show the result as {format}: {detail}")]
    Format {
        /// The format.
        format: &'static str,
        /// What the writer said.
        detail: String,
    },
    /// The system has no threads for the query.
    #[error("can't start the query's threads: {0}; the limit on processes (ulimit -u) may be too low")]
    Threads(std::io::Error),
    /// The result, or the prompt, can't be written.
    #[error("can't write: {0}")]
    Output(#[from] std::io::Error),
    /// The terminal or its history gives trouble.
    #[error("the prompt failed: {0}; give the query as an argument instead")]
    Prompt(String),
}

fn unknown_table(name: &str, folder: &std::path::Path, tables: &[String], empty: bool) -> String {
    let folder = folder.display();
    if empty {
        return format!(
            "table {name:?} has no file yet in {folder}: rows appear when its first file is complete"
        );
    }
    if tables.is_empty() {
        return format!(
            "no table {name:?} in {folder}: it holds no Parquet or JSON lines file yet; name another folder with --data"
        );
    }
    let mut message = format!("no table {name:?} in {folder}; there are: {}", tables.join(", "));
    if let Some(meant) = closest(name, tables.iter().map(String::as_str)) {
        message.push_str(&format!("; did you mean {meant}?"));
    }
    message
}

/// What was probably meant by `name`, quotes and letter case aside; `None` when nothing is near.
pub(crate) fn closest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |name: &str| name.replace('"', "").to_lowercase();
    // A bare name may be meant for the last part of a full one, and the other way round.
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let wanted = plain(name);
    let near = candidates.map(|candidate| {
        let full = plain(candidate);
        let pairs = [(wanted.clone(), full.clone()), (wanted.clone(), last(&full)), (last(&wanted), full)];
        let distance =
            pairs.iter().map(|(a, b)| strsim::damerau_levenshtein(a, b)).min().unwrap_or(usize::MAX);
        (distance, candidate)
    });
    near.min_by_key(|(distance, _)| *distance)
        .filter(|(distance, candidate)| *distance <= 1 + wanted.len().min(candidate.len()) / 4)
        .map(|(_, candidate)| candidate)
}

impl From<DataFusionError> for QueryError {
    fn from(error: DataFusionError) -> Self {
        match innermost(error) {
            DataFusionError::External(source) => match source.downcast::<QueryError>() {
                Ok(error) => *error,
                Err(source) => QueryError::Sql(one_line(&source.to_string())),
            },
            other => QueryError::Sql(one_line(&said(&other))),
        }
    }
}

// The error that carries the message, without what was wrapped around it on its way up.
fn innermost(error: DataFusionError) -> DataFusionError {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => innermost(*inner),
        DataFusionError::Collection(mut errors) if !errors.is_empty() => innermost(errors.swap_remove(0)),
        other => other,
    }
}

fn said(error: &DataFusionError) -> String {
    match error {
        DataFusionError::SQL(error, _) => match error.as_ref() {
            ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.clone(),
            ParserError::RecursionLimitExceeded => "the query is nested too deeply".to_owned(),
        },
        DataFusionError::Shared(error) => said(error),
        DataFusionError::Context(_, error) | DataFusionError::Diagnostic(_, error) => said(error),
        DataFusionError::ArrowError(error, _) => error.to_string(),
        // `message` leaves the kind out ("Error during planning: …"), which says nothing to the person who asks.
        other => other.message().split(DataFusionError::BACK_TRACE_SEP).next().unwrap_or_default().to_owned(),
    }
}

/// Messages of libraries end in full stops and break into lines; ours do not.
fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = line.trim_end_matches('.');
    let mut chars = line.chars();
    match (chars.next(), chars.next()) {
        // Not `SUM(…)`: only a sentence's first letter goes small.
        (Some(first), Some(second)) if first.is_uppercase() && (second.is_lowercase() || second == ' ') => {
            first.to_lowercase().chain(line.chars().skip(1)).collect()
        }
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_found_past_quotes_and_outputs() {
        let tables = ["provider_health.per_minute", "\"tool-calls\"", "sessions"];
        let meant = |name| closest(name, tables.into_iter());
        assert_eq!(meant("per_minut"), Some("provider_health.per_minute"));
        assert_eq!(meant("tool_calls"), Some("\"tool-calls\""));
        assert_eq!(meant("session"), Some("sessions"));
        assert_eq!(meant("weather"), None);
    }

    #[test]
    fn messages_lose_their_wrapping() {
        let inner = DataFusionError::Plan("No such\n  thing..".to_owned());
        let error = QueryError::from(DataFusionError::Context("while".to_owned(), Box::new(inner)));
        assert_eq!(error.to_string(), "no such thing");
    }
}
