//! What is no SQL at all: where it stops being SQL, and what was probably meant.

use datafusion::sql::sqlparser::parser::ParserError;

use super::{Context, Finding, Spot, plain};

const BETWEEN_BRACES: &str = "between { and } an expression with commas stands in double quotes";

/// An error of the parser.
pub(super) fn explain(error: &ParserError, context: &Context<'_>) -> Finding {
    let text = match error {
        ParserError::ParserError(text) | ParserError::TokenizerError(text) => text.as_str(),
        ParserError::RecursionLimitExceeded => {
            return Finding::new(
                "not valid SQL: nested too deeply",
                "compute parts of it in a step of its own before",
            );
        }
    };
    let (detail, spot) = located(text, context.sql);
    let (expected, found) = detail.split_once(", found: ").unwrap_or((detail, ""));
    let expected = expected.strip_prefix("Expected: ").unwrap_or("");
    let error = Found { expected, found, spot, context };
    let (hint, spot) = error.slip(detail);
    let message = match found {
        "" => plain(detail),
        found => format!("expected {}, found {}", in_words(expected), in_words(found)),
    };
    let finding = Finding::new(format!("not valid SQL: {message}"), hint);
    match spot {
        Some(spot) => finding.at(Spot::Character(spot)),
        None => finding,
    }
}

fn in_words(token: &str) -> String {
    match token {
        "EOF" | "end of expression" => "the end".to_owned(),
        other if other.chars().any(|c| c.is_alphanumeric() || c == '\'') => other.to_owned(),
        sign => format!("\"{sign}\""),
    }
}

/// The message without its position, and the position as a number of a character.
fn located<'t>(text: &'t str, sql: &str) -> (&'t str, Option<usize>) {
    let Some((detail, place)) = text.rsplit_once(" at Line: ") else { return (text, None) };
    let numbers = place.split_once(", Column: ");
    let parsed = numbers.and_then(|(line, column)| {
        let (line, column): (usize, usize) = (line.parse().ok()?, column.trim().parse().ok()?);
        let before = sql.split_inclusive('\n').take(line.checked_sub(1)?).map(|line| line.chars().count());
        Some(before.sum::<usize>() + column.checked_sub(1)?)
    });
    (detail, parsed.filter(|spot| *spot < sql.chars().count()))
}

/// Where the parser stopped, and at what.
struct Found<'a> {
    expected: &'a str,
    found: &'a str,
    spot: Option<usize>,
    context: &'a Context<'a>,
}

impl Found<'_> {
    /// What was probably meant, and where.
    fn slip(&self, detail: &str) -> (String, Option<usize>) {
        let sql = self.context.sql;
        let before =
            self.spot.map_or(sql, |spot| sql.char_indices().nth(spot).map_or(sql, |(byte, _)| &sql[..byte]));
        let before = before.trim_end();
        let last_word =
            before.rsplit(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("").to_lowercase();
        let at = self.spot;
        let found = self.found;
        let here = |hint: &str| (hint.to_owned(), at);
        if detail.contains("Unterminated string literal") {
            return here(
                "close the text with a single quote; a quote inside a text is written twice: 'it''s'",
            );
        }
        if detail.contains("close delimiter") {
            return here("close the name with another double quote; a text stands in single quotes");
        }
        if sql.trim().is_empty() {
            return here("write an expression, such as count(*) or status = 'error'");
        }
        if let Some(hint) = self.of_a_construct(before, &last_word) {
            return (hint, at);
        }
        match found {
            "EOF" => self.ends_too_early(before),
            ";" => here("leave out the semicolon"),
            ")" if self.expected == "an expression" && before.ends_with(',') => {
                here("leave out the comma before the )")
            }
            ")" if self.expected == "an expression" => here("write what is missing before the )"),
            ")" => here("leave the ) out, or write the ( that it closes"),
            _ if self.expected.starts_with("AND") => here("write between 1 and 2"),
            "," => (
                format!(
                    "a field holds one expression: join conditions with and, or give it a line of its own; {BETWEEN_BRACES}"
                ),
                at,
            ),
            "=>" => here("write >="),
            "<" | ">" if before.ends_with('=') => (format!("write {found}="), at),
            "=" | "!" if before.ends_with(['=', '!', '<', '>']) => here("write =, <>, <= or >="),
            "*" if before.ends_with('*') => here("write power(…, …)"),
            "*" => here("name the columns; a count of rows is count(*)"),
            "?" => here("write case when … then … else … end"),
            "where" | "WHERE" => {
                here("leave out \"where\", or write it behind an aggregate: count(*) filter (where …)")
            }
            _ if self.expected == "(" => here("write the brackets: ( … )"),
            _ if self.expected == "AS" => here("write cast(… as bigint)"),
            _ if self.expected == "an expression" => {
                let found = in_words(found);
                (format!("write what is missing before {found}, or leave {found} out"), at)
            }
            _ => (
                format!(
                    "write what is missing before {}: a comma, a bracket, or an operator such as and, or, =, +",
                    in_words(found)
                ),
                at,
            ),
        }
    }

    /// Constructs of SQL that are written in another way than it was thought.
    fn of_a_construct(&self, before: &str, last_word: &str) -> Option<String> {
        let (sql, found) = (self.context.sql, self.found);
        let lower = sql.to_lowercase();
        let first_word = lower.split_whitespace().next().unwrap_or("");
        let has_word = |word: &str| find(&lower, word).is_some();
        if matches!(first_word, "select" | "from") {
            return Some(format!(
                "leave out \"{first_word}\": a field is one expression, and a step's rows come from \"from:\""
            ));
        }
        if has_word("case") && !has_word("end") {
            return Some("a case ends with end: case when … then … else … end".to_owned());
        }
        if before.to_lowercase().ends_with("filter")
            || before.to_lowercase().ends_with("filter (")
            || before.to_lowercase().ends_with("filter(")
        {
            return Some("write count(*) filter (where …)".to_owned());
        }
        if self.expected == "(" && last_word == "in" {
            let column = self.context.columns.iter().find(|column| column.name() == found);
            return Some(match column {
                Some(_) => {
                    format!("write array_has({found}, …), or brackets around the values: in ('a', 'b')")
                }
                None => format!("write the brackets: in ({found})"),
            });
        }
        if last_word == "is" || self.expected.contains("NORMALIZED") {
            return Some(
                "write is null, is not null, is true or is false; values are compared with =".to_owned(),
            );
        }
        let is_column = self.context.columns.iter().any(|column| column.name().eq_ignore_ascii_case(found));
        if is_column && self.expected == "an expression" {
            let name = found.to_lowercase();
            return Some(format!(
                "{name} is a word of SQL, too: as a column it stands in double quotes, \"{name}\", and the whole in single ones where it begins so"
            ));
        }
        let is_number = before.chars().next_back().is_some_and(|c| c.is_ascii_digit());
        if is_number && found.starts_with('_') {
            return Some("write numbers without _".to_owned());
        }
        None
    }

    fn ends_too_early(&self, before: &str) -> (String, Option<usize>) {
        if let Some(open) = unclosed(self.context.sql) {
            return (format!("write the missing \")\"; {BETWEEN_BRACES}"), Some(open));
        }
        let tail: String =
            before.chars().rev().take_while(|c| !c.is_whitespace() && !c.is_alphanumeric()).collect();
        let tail: String = tail.chars().rev().collect();
        let last = if tail.is_empty() { before.rsplit(' ').next().unwrap_or(before) } else { &tail };
        let hint = format!("it ends too early: write what is missing after {last}; {BETWEEN_BRACES}");
        (hint, (before.chars().count()).checked_sub(last.chars().count()))
    }
}

/// The last bracket that is never closed.
fn unclosed(sql: &str) -> Option<usize> {
    let mut open = Vec::new();
    let mut quote = None;
    for (index, c) in sql.chars().enumerate() {
        match (quote, c) {
            (Some(closing), c) if closing == c => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '(') => open.push(index),
            (None, ')') => drop(open.pop()),
            (None, _) => {}
        }
    }
    open.pop()
}

/// Where a text stands in an expression for the first time, as a number of a character: as a word, and outside of texts.
pub(super) fn find(sql: &str, text: &str) -> Option<usize> {
    let characters: Vec<char> = sql.chars().collect();
    let wanted: Vec<char> = text.chars().collect();
    let is_word = |c: &char| c.is_alphanumeric() || *c == '_';
    let (first, last) = (wanted.first()?, wanted.last()?);
    let mut in_text = false;
    (0..characters.len()).find(|start| {
        let was_in_text = in_text;
        in_text ^= characters[*start] == '\'';
        let end = start + wanted.len();
        let is_same = characters.get(*start..end).is_some_and(|found| {
            found.iter().zip(&wanted).all(|(found, wanted)| found.eq_ignore_ascii_case(wanted))
        });
        let before = start.checked_sub(1).and_then(|before| characters.get(before));
        let begins = !is_word(first) || !before.is_some_and(is_word);
        let ends = !is_word(last) || !characters.get(end).is_some_and(is_word);
        is_same && begins && ends && !was_in_text
    })
}

/// How many characters belong to what begins at a character.
pub(super) fn token_length(sql: &str, start: usize) -> usize {
    let mut rest = sql.chars().skip(start).peekable();
    match rest.peek() {
        Some(quote @ ('\'' | '"')) => {
            let quote = *quote;
            let inside = rest.skip(1).take_while(|c| *c != quote).count();
            (inside + 2).min(sql.chars().count() - start)
        }
        _ => rest.take_while(|c| c.is_alphanumeric() || *c == '_').count().max(1),
    }
}
