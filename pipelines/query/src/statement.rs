//! Statements: where one ends, and which may run.

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast;

use crate::QueryError;

/// What a statement asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Rows, from DataFusion.
    Rows,
    /// The tables.
    Tables,
    /// A table's columns; its name as written.
    Columns(String),
}

/// Finds out what `statement` asks for.
///
/// # Errors
/// [`QueryError::Refused`] for anything that is no query.
pub(crate) fn ask(statement: &Statement) -> Result<Ask, QueryError> {
    match statement {
        Statement::Statement(statement) => ask_sql(statement),
        // Only what is explained counts: `explain analyze` runs it.
        Statement::Explain(explain) => ask(&explain.statement).map(|_| Ask::Rows),
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => refused(statement),
    }
}

fn ask_sql(statement: &ast::Statement) -> Result<Ask, QueryError> {
    match statement {
        ast::Statement::Query(_)
        | ast::Statement::ShowColumns { .. }
        | ast::Statement::ShowFunctions { .. }
        | ast::Statement::ShowVariable { .. } => Ok(Ask::Rows),
        ast::Statement::Explain { statement, .. } => ask_sql(statement).map(|_| Ask::Rows),
        ast::Statement::ExplainTable { table_name, .. } => Ok(Ask::Columns(table_name.to_string())),
        ast::Statement::ShowTables { .. } => Ok(Ask::Tables),
        other => refused(other),
    }
}

fn refused<T>(statement: &impl ToString) -> Result<T, QueryError> {
    let text = statement.to_string();
    let word = text.split_whitespace().next().unwrap_or_default().to_lowercase();
    Err(QueryError::Refused { statement: word })
}

/// Cuts `text` at the semicolons that end statements: the whole ones, and what follows the last.
/// Semicolons in strings, quoted names and comments end nothing.
pub(crate) fn split(text: &str) -> (Vec<&str>, &str) {
    let (mut statements, mut start) = (Vec::new(), 0);
    let mut chars = text.char_indices().peekable();
    while let Some((at, char)) = chars.next() {
        let next = chars.peek().map(|(_, next)| *next);
        match (char, next) {
            (';', _) => {
                statements.push(&text[start..at]);
                start = at + 1;
            }
            ('\'' | '"', _) => {
                // A doubled quote ends one string and starts another: the same to us.
                chars.by_ref().find(|(_, inner)| *inner == char);
            }
            ('-', Some('-')) => {
                chars.by_ref().find(|(_, inner)| *inner == '\n');
            }
            ('/', Some('*')) => {
                chars.next();
                let mut before = ' ';
                chars
                    .by_ref()
                    .find(|(_, inner)| std::mem::replace(&mut before, *inner) == '*' && *inner == '/');
            }
            _ => {}
        }
    }
    (statements.into_iter().filter(|statement| !is_blank(statement)).collect(), &text[start..])
}

/// Whether there is nothing to run in `text`: white space and comments.
pub(crate) fn is_blank(text: &str) -> bool {
    let mut rest = text.trim_start();
    loop {
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.split_once('\n').map_or("", |(_, after)| after).trim_start();
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/").map_or("", |(_, after)| after).trim_start();
        } else {
            return rest.is_empty();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_semicolons_between_statements_cut() {
        let text = "select ';' as \"a;b\"; -- no; \n select 'it''s;' /* ; */ ;; select 3";
        let (whole, rest) = split(text);
        assert_eq!(whole, ["select ';' as \"a;b\"", " -- no; \n select 'it''s;' /* ; */ "]);
        assert_eq!(rest, " select 3");
        assert_eq!(split("select 'open;"), (vec![], "select 'open;"));
    }

    #[test]
    fn comments_alone_are_nothing_to_run() {
        assert!(is_blank(" -- a\n/* b */ "));
        assert!(!is_blank("-- a\nselect 1"));
    }
}
