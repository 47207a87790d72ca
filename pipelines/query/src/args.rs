//! `thalweg sql`: its arguments, and what it does with them.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::QueryError;
use crate::output::Format;
use crate::prompt::{prompt, run_script};
use crate::session::Session;

/// What a shell expects of a program that Ctrl-C has stopped: 128 + SIGINT.
const EXIT_INTERRUPTED: u8 = 130;

/// Query the sinks of an output folder with SQL.
///
/// Every sink is a table: by its own name, or as pipeline.sink where the folder holds the outputs of several
/// pipelines. So are _late and _rejected, and the topics of an archive folder. Without a query, asks for
/// statements (\? for help), or runs those on standard input.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Examples:
  thalweg sql \"select * from provider_health order by errors desc limit 10\"
  thalweg sql \"show tables\"
  thalweg sql --data output/user_sessions --format csv \"select * from user_sessions\" > sessions.csv
  thalweg sql --data archive \"select count(*), max(timestamp) from \\\"provider-requests\\\"\"
  thalweg sql < report.sql")]
pub struct SqlArgs {
    /// The folder: an output, a folder of outputs, or one of topic archives.
    #[arg(long, value_name = "DIR", default_value = "output")]
    pub data: PathBuf,
    /// How results are written.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// One or more statements, with semicolons between them.
    #[arg(value_name = "QUERY")]
    pub query: Option<String>,
}

/// Runs `thalweg sql`. Takes over Ctrl-C: it stops the query that is running.
///
/// # Errors
/// There is no such folder, or a query fails. Being stopped is no error, but gives the exit code 130.
pub fn run(args: SqlArgs) -> Result<ExitCode, QueryError> {
    let session = Session::open(&args.data)?;
    let interrupt = session.interrupt();
    let handler = move || {
        if !interrupt.stop() {
            std::process::exit(i32::from(EXIT_INTERRUPTED));
        }
    };
    // Fails where the program has set one before: then that one decides.
    let _ = ctrlc::try_set_handler(handler);
    let result = match &args.query {
        Some(query) => run_script(&session, query, args.format, &mut std::io::stdout().lock()),
        None => prompt(&session, args.format),
    };
    match result {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(QueryError::Interrupted) => Ok(ExitCode::from(EXIT_INTERRUPTED)),
        // Whoever read us has seen enough: `thalweg sql … | head`.
        Err(QueryError::Output(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error),
    }
}
