//! The interactive prompt.
//!
//! ```text
//!   line ─▶ whole? (ends in `;`, or begins with `\`) ──no──▶ another line
//!             └─yes─▶ \command, or statement ─▶ result ─▶ rows and time
//! ```
//!
//! A terminal in the prompt is in raw mode, where Ctrl-C is a key that clears the line; while a query runs it is not,
//! and Ctrl-C is a signal, which stops the query.

use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;

use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};

use crate::QueryError;
use crate::console::answer;
use crate::output::{Format, terminal_width};
use crate::session::Session;
use crate::statement;

mod completion;

use completion::SqlHelper;

/// A table in the prompt shows no more rows: nobody reads them, and all of them would have to be held.
const ROWS_MAX: usize = 1000;

const HELP: &str = "\
  select …;          a query; it ends with a semicolon and may take several lines
  \\d                 the tables, with their files and bytes
  \\d TABLE           a table's columns and their types
  \\format FORMAT     how results are shown: table, json or csv
  \\q                 quit (or Ctrl-D)
  \\?                 this help
  Tab completes tables, columns and functions; Ctrl-C clears the line or stops the query; Ctrl-R searches the history.
";

/// Asks for statements at the terminal until its user quits. Where standard input is no terminal, runs the statements
/// that it holds and stops at the first that fails.
///
/// # Errors
/// The terminal fails, or output can't be written; from a file or pipe, the first statement's that fails.
pub fn prompt(session: &Session, format: Format) -> Result<(), QueryError> {
    let mut out = std::io::stdout().lock();
    if !std::io::stdin().is_terminal() {
        let mut script = String::new();
        std::io::stdin().read_to_string(&mut script)?;
        return run_script(session, &script, format, &mut out);
    }
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .max_history_size(10_000)
        .and_then(|config| config.history_ignore_dups(true))
        .map_err(failed)?
        .build();
    let mut editor: Editor<SqlHelper<'_>, FileHistory> = Editor::with_config(config).map_err(failed)?;
    editor.set_helper(Some(SqlHelper::new(session)));
    let history = history_file();
    if let Some(history) = &history {
        // There is none on the first day.
        let _ = editor.load_history(history);
    }
    writeln!(out, "{}: {}. \\? for help.", session.folder().display(), tables_line(session)?)?;
    let mut console = Console { session, format };
    loop {
        match editor.readline("thalweg> ") {
            Ok(line) if line.trim().is_empty() => {}
            Ok(line) => {
                let _ = editor.add_history_entry(line.trim());
                if let Some(helper) = editor.helper_mut() {
                    helper.forget();
                }
                if console.line(&line, terminal_width(), &mut out)? == Flow::Quit {
                    break;
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(failed(error)),
        }
    }
    if let Some(history) = &history {
        let saved =
            history.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(|error| error.to_string());
        if let Err(error) =
            saved.and_then(|()| editor.append_history(history).map_err(|error| error.to_string()))
        {
            writeln!(out, "the history was not saved to {}: {error}", history.display())?;
        }
    }
    Ok(())
}

/// Runs the statements in `script`; the last may lack its semicolon.
///
/// # Errors
/// The first statement's that fails.
pub(crate) fn run_script(
    session: &Session,
    script: &str,
    format: Format,
    out: &mut dyn Write,
) -> Result<(), QueryError> {
    let (mut statements, rest) = statement::split(script);
    if !statement::is_blank(rest) {
        statements.push(rest);
    }
    for (at, sql) in statements.into_iter().enumerate() {
        if at > 0 && format == Format::Table {
            writeln!(out)?;
        }
        answer(session, sql, format, terminal_width(), usize::MAX, out)?;
    }
    Ok(())
}

fn failed(error: ReadlineError) -> QueryError {
    QueryError::Prompt(error.to_string())
}

// `$XDG_DATA_HOME/thalweg/history`, by default in `~/.local/share`; none without a home.
fn history_file() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = set("XDG_DATA_HOME").or_else(|| Some(set("HOME")?.join(".local/share")))?;
    Some(data.join("thalweg/history"))
}

fn tables_line(session: &Session) -> Result<String, QueryError> {
    let tables = session.tables()?;
    Ok(match tables.len() {
        0 => "no table yet".to_owned(),
        1..=8 => {
            format!("tables {}", tables.into_iter().map(|table| table.name).collect::<Vec<_>>().join(", "))
        }
        count => format!("{count} tables, \\d lists them"),
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Quit,
}

struct Console<'s> {
    session: &'s Session,
    format: Format,
}

impl Console<'_> {
    // Runs what was entered. Only a terminal that can't be written to ends the prompt.
    fn line(&mut self, line: &str, width: Option<usize>, out: &mut dyn Write) -> Result<Flow, QueryError> {
        let line = line.trim();
        let bare = line.trim_end_matches(';').trim_end();
        match bare.strip_prefix('\\').or(["quit", "exit", "help"].contains(&bare).then_some(bare)) {
            Some(command) => self.command(command, width, out),
            None => {
                let (mut statements, rest) = statement::split(line);
                if !statement::is_blank(rest) {
                    statements.push(rest);
                }
                for sql in statements {
                    if !self.show(sql, width, out)? {
                        break;
                    }
                }
                Ok(Flow::On)
            }
        }
    }

    fn command(
        &mut self,
        command: &str,
        width: Option<usize>,
        out: &mut dyn Write,
    ) -> Result<Flow, QueryError> {
        let (name, argument) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        match (name, argument.trim()) {
            ("q" | "quit" | "exit", _) => return Ok(Flow::Quit),
            ("d", "") => {
                self.show("show tables", width, out)?;
            }
            ("d", table) => {
                self.show(&format!("describe {table}"), width, out)?;
            }
            ("format", format) => match <Format as clap::ValueEnum>::from_str(format, true) {
                Ok(format) => self.format = format,
                Err(_) => writeln!(out, "error: no format {format:?}; there are: table, json, csv")?,
            },
            ("?" | "h" | "help", _) => out.write_all(HELP.as_bytes())?,
            _ => writeln!(out, "error: no command \\{name}; \\? lists them")?,
        }
        Ok(Flow::On)
    }

    // Whether the statement gave a result.
    fn show(&self, sql: &str, width: Option<usize>, out: &mut dyn Write) -> Result<bool, QueryError> {
        match answer(self.session, sql, self.format, width, ROWS_MAX, out) {
            Ok(answered) => {
                writeln!(out, "({answered})\n")?;
                Ok(true)
            }
            Err(QueryError::Output(error)) => Err(QueryError::Output(error)),
            Err(error) => {
                writeln!(out, "error: {error}\n")?;
                Ok(false)
            }
        }
    }
}

#[cfg(test)]
mod tests;
