//! SQL over the sinks of an output folder: what `thalweg sql` runs.
//!
//! ```text
//!   output/                       Session::open          tables by their sinks' names
//!   ├─ provider_health/      ──▶  session.query(sql) ──▶ rows ──▶ write: table | json | csv
//!   │  └─ provider_health/…       session.stream          ▲
//!   └─ user_sessions/…            prompt ── lines, Tab, \d ┘   Ctrl-C: Interrupt
//! ```
//!
//! A crate of its own, with no async function in its API, because DataFusion's async bodies are compiled in the crate
//! that awaits them: whoever changes the rest of the binary need not compile them again.
//!
//! # Reading while a job writes
//!
//! A query sees the folder as it is when the query starts: complete files only (a sink renames a file when it is whole),
//! and sinks that have appeared since. Nothing is written: statements other than queries are refused.
//!
//! # Where a query runs
//!
//! On a runtime of its own, whose threads have stacks of 64 MiB: DataFusion's planner recurses along the query, and is
//! built here without the checks that would grow a stack on the way.

mod args;
mod catalog;
mod console;
mod error;
mod folder;
mod output;
mod partition;
mod prompt;
mod session;
mod statement;
mod table;

pub use args::{SqlArgs, run};
pub use error::QueryError;
pub use output::{Format, terminal_width, write};
pub use prompt::prompt;
pub use session::{Column, Interrupt, QueryResult, Session, Table};
