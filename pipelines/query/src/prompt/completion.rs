//! What Tab offers: tables where a table is due, else columns of the tables in sight, functions and SQL's own words.

use std::cell::RefCell;
use std::collections::BTreeMap;

use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper};

use crate::session::Session;
use crate::statement;

const WORDS: [&str; 62] = [
    "all",
    "and",
    "as",
    "asc",
    "between",
    "by",
    "case",
    "cast",
    "cross join",
    "current_timestamp",
    "date",
    "desc",
    "describe",
    "distinct",
    "else",
    "end",
    "except",
    "exists",
    "explain",
    "explain analyze",
    "false",
    "filter (where",
    "first",
    "from",
    "full join",
    "group by",
    "having",
    "ilike",
    "in",
    "inner join",
    "intersect",
    "interval",
    "is not null",
    "is null",
    "join",
    "last",
    "left join",
    "like",
    "limit",
    "not",
    "nulls first",
    "nulls last",
    "null",
    "offset",
    "on",
    "or",
    "order by",
    "over (",
    "partition by",
    "right join",
    "select",
    "show tables",
    "then",
    "timestamp",
    "true",
    "union all",
    "union",
    "unnest",
    "using",
    "when",
    "where",
    "with",
];
const COMMANDS: [&str; 7] =
    ["\\d", "\\format csv", "\\format json", "\\format table", "\\q", "\\?", "\\help"];
/// After these words a table is due.
const BEFORE_TABLE: [&str; 4] = ["from", "join", "describe", "\\d"];

/// Completes and tells whole input from half.
pub(super) struct SqlHelper<'s> {
    session: &'s Session,
    functions: Vec<String>,
    /// Tables and their columns, as SQL writes them; looked up when first wanted.
    names: RefCell<Option<BTreeMap<String, Option<Vec<String>>>>>,
}

impl<'s> SqlHelper<'s> {
    pub(super) fn new(session: &'s Session) -> Self {
        SqlHelper { session, functions: session.functions(), names: RefCell::new(None) }
    }

    /// A job may have added tables: look again for the next line.
    pub(super) fn forget(&mut self) {
        self.names.replace(None);
    }

    /// Where the word that ends at the end of `before` starts, and what it may become.
    pub(super) fn candidates(&self, before: &str) -> (usize, Vec<String>) {
        let start = before
            .char_indices()
            .rev()
            .take_while(|(_, c)| c.is_alphanumeric() || matches!(c, '_' | '.' | '"' | '\\' | '?'))
            .last()
            .map_or(before.len(), |(at, _)| at);
        let (sentence, word) = before.split_at(start);
        let last_word = sentence.split_whitespace().next_back().unwrap_or_default().to_lowercase();
        let mut candidates: Vec<String> = if word.starts_with('\\') && sentence.trim().is_empty() {
            COMMANDS.iter().map(|command| (*command).to_owned()).collect()
        } else if BEFORE_TABLE.contains(&last_word.as_str()) {
            self.tables()
        } else if let Some((owner, _)) = word.rsplit_once('.') {
            let columns = self.columns(owner).into_iter().map(|column| format!("{owner}.{column}"));
            columns.chain(self.tables()).collect()
        } else {
            let lower = before.to_lowercase();
            let tables = self.tables();
            let in_sight = tables.iter().filter(|table| lower.contains(&table.to_lowercase()));
            let columns: Vec<String> = in_sight.flat_map(|table| self.columns(table)).collect();
            let upper = word.starts_with(char::is_uppercase);
            let words = WORDS.iter().map(|word| if upper { word.to_uppercase() } else { (*word).to_owned() });
            let functions = self.functions.iter().map(|function| format!("{function}("));
            // With nothing typed, only what this folder knows: else all of SQL would scroll by.
            match word {
                "" => columns.into_iter().chain(tables).collect(),
                _ => columns.into_iter().chain(tables).chain(words).chain(functions).collect(),
            }
        };
        let plain = |text: &str| text.replace('"', "").to_lowercase();
        let wanted = plain(word);
        candidates.retain(|candidate| plain(candidate).starts_with(&wanted));
        candidates.sort();
        candidates.dedup();
        (start, candidates)
    }

    fn tables(&self) -> Vec<String> {
        let mut names = self.names.borrow_mut();
        let names = names.get_or_insert_with(|| {
            // A folder that can't be read offers nothing; the query will say why.
            let tables = self.session.tables().unwrap_or_default();
            tables.into_iter().map(|table| (table.name, None)).collect()
        });
        names.keys().cloned().collect()
    }

    fn columns(&self, table: &str) -> Vec<String> {
        if !self.tables().iter().any(|name| name == table) {
            return Vec::new();
        }
        let mut names = self.names.borrow_mut();
        let Some(columns) = names.as_mut().and_then(|names| names.get_mut(table)) else { return Vec::new() };
        let look_up = || {
            let columns = self.session.columns(table).unwrap_or_default();
            columns.into_iter().map(|column| column.name).collect()
        };
        columns.get_or_insert_with(look_up).clone()
    }
}

/// Whether `input` can run, or wants another line.
pub(super) fn is_whole(input: &str) -> bool {
    let line = input.trim();
    if line.starts_with('\\') || ["", "quit", "exit", "help"].contains(&line) {
        return true;
    }
    statement::is_blank(statement::split(input).1)
}

impl Completer for SqlHelper<'_> {
    type Candidate = String;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.candidates(&line[..pos]))
    }
}

impl Validator for SqlHelper<'_> {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(if is_whole(context.input()) {
            ValidationResult::Valid(None)
        } else {
            ValidationResult::Incomplete
        })
    }
}

impl Hinter for SqlHelper<'_> {
    type Hint = String;
}

impl Highlighter for SqlHelper<'_> {}

impl Helper for SqlHelper<'_> {}
