//! What is said beside the results, on standard error: the log, and notices for whoever runs the program.
//!
//! | | text | JSON |
//! |---|---|---|
//! | log | a line an event: time, level, target, message | an object a line, with the same and the event's fields |
//! | notices, progress, errors | lines of plain words | as the log, with the target `thalweg::notice` |
//!
//! Times are RFC 3339, in UTC. Nothing of this goes to standard output.

use std::fmt;
use std::io::{IsTerminal, Write};
use std::sync::OnceLock;

use tracing_subscriber::EnvFilter;

/// How what is said beside the results is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LogFormat {
    /// Lines for people.
    Text,
    /// An object a line, for what gathers logs.
    Json,
}

/// The target of what is said to whoever runs the program, in a log of JSON.
pub(super) const NOTICE: &str = "thalweg::notice";

// As global as the log itself: set once, when the program begins.
static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// Begins to log. `verbose`: 0 for warnings, 1 for what a job does, 2 for details; the variable RUST_LOG has the last word.
pub(super) fn begin(format: LogFormat, verbose: u8) {
    FORMAT.get_or_init(|| format);
    let level = ["warn", "info", "debug"][usize::from(verbose.min(2))];
    // A target is also the beginning of others: thalweg_engine's, thalweg_kafka's and so on.
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("warn,thalweg={level},{NOTICE}=info")));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => {
            log.json().flatten_event(true).with_current_span(false).with_span_list(false).init()
        }
    }
}

/// Whether the log is JSON: then all that is said is.
pub(super) fn is_json() -> bool {
    FORMAT.get() == Some(&LogFormat::Json)
}

/// Says something to whoever runs the program.
pub(super) fn notice(text: fmt::Arguments<'_>) {
    if is_json() {
        tracing::info!(target: NOTICE, "{text}");
    } else {
        // Who closed standard error does not want to know.
        let _ = writeln!(std::io::stderr(), "{text}");
    }
}

/// Says what may be wrong.
pub(super) fn warning(text: fmt::Arguments<'_>) {
    if is_json() {
        tracing::warn!(target: NOTICE, "{text}");
    } else {
        let _ = writeln!(std::io::stderr(), "warning: {text}");
    }
}

/// Says why the program failed.
pub(super) fn error(text: fmt::Arguments<'_>) {
    if is_json() {
        tracing::error!(target: NOTICE, "{text}");
    } else {
        let _ = writeln!(std::io::stderr(), "error: {text}");
    }
}
