//! What can go wrong with a Delta table.

use std::path::PathBuf;

use deltalake_core::DeltaTableError;
use thalweg_operators::sink::SinkError;

/// Why rows can't become part of a Delta table, or a table can't be read.
#[derive(Debug, thiserror::Error)]
pub enum DeltaError {
    /// A column has a type that Delta Lake does not know.
    #[error(
        "sink {sink}: column {column} is of type {found}, which a Delta table does not have; cast it, or leave it out"
    )]
    Type {
        /// The sink.
        sink: String,
        /// The column.
        column: String,
        /// Its Arrow type.
        found: String,
    },
    /// A column has a name that a Delta table can't have.
    #[error("sink {sink}: a Delta table has no column called {column:?}: {detail}; give it another name")]
    Name {
        /// The sink.
        sink: String,
        /// The column.
        column: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The table that is there has other columns.
    #[error(
        "sink {sink}: the Delta table {} has other columns: {detail}; change the table, give the sink another name, or move the folder away",
        folder.display()
    )]
    Schema {
        /// The sink.
        sink: String,
        /// The table's folder.
        folder: PathBuf,
        /// What differs.
        detail: String,
    },
    /// The table that is there has a feature that the sink, or a query, can't honour.
    #[error("the Delta table {} can't be {action} here: {detail}", folder.display())]
    Unsupported {
        /// The table's folder.
        folder: PathBuf,
        /// `read` or `written`.
        action: &'static str,
        /// The feature, and what to do about it.
        detail: String,
    },
    /// A newer run writes to the table.
    #[error(
        "sink {sink}: generation {own} of this job was replaced by generation {newer}: a newer run writes to the Delta table {}, and this one publishes nothing more",
        folder.display()
    )]
    Fenced {
        /// The sink.
        sink: String,
        /// The table's folder.
        folder: PathBuf,
        /// This run's generation.
        own: u64,
        /// The newest in the table.
        newer: u64,
    },
    /// Somebody has put rows of the checkpoints that a run goes back behind into files of their own.
    #[error(
        "sink {sink}: can't go back to checkpoint {newest} in the Delta table {}: {detail}; restore the table to a version from before with Delta's RESTORE, or move the folder away and start over with --fresh",
        folder.display()
    )]
    Rewritten {
        /// The sink.
        sink: String,
        /// The table's folder.
        folder: PathBuf,
        /// The checkpoint that the run goes on from.
        newest: u64,
        /// What has happened.
        detail: String,
    },
    /// Other writers were faster every time.
    #[error("sink {sink}: {tries} commits to the Delta table {} were overtaken by other writers; the next run tries again", folder.display())]
    Overtaken {
        /// The sink.
        sink: String,
        /// The table's folder.
        folder: PathBuf,
        /// How often it was tried.
        tries: usize,
    },
    /// A staged file is not the one that was staged.
    #[error(
        "sink {sink}: {path} is damaged: {detail}; restore the file, go back to an earlier checkpoint with --from N, or start over with --fresh"
    )]
    Damaged {
        /// The sink.
        sink: String,
        /// The file.
        path: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A file or folder can't be read or written.
    #[error("can't {action} {}: {source}", path.display())]
    Io {
        /// `read`, `write`, `list` or `delete`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Delta's own library fails.
    #[error("can't {action} the Delta table {}: {source}", folder.display())]
    Table {
        /// What can't be done with it: `open`, `read`, `make` …
        action: &'static str,
        /// The table's folder.
        folder: PathBuf,
        /// What it said.
        source: Box<DeltaTableError>,
    },
    /// A staged file is gone, or can't be written.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The system has no threads for it.
    #[error(
        "can't start the threads for a Delta table: {0}; the limit on processes (ulimit -u) may be too low"
    )]
    Threads(std::io::Error),
}
