//! What can go wrong, and what to do about it.

use std::path::Path;

use thalweg_kafka::KafkaError;
use thalweg_operators::source::SourceError;
use thalweg_operators::source::archive::ArchiveWriteError;

use crate::plan::MendProblem;

/// Why refused rows can't be sent.
#[derive(Debug, thiserror::Error)]
pub enum ReinjectError {
    /// A condition or a new value is wrong, or fails for a row.
    #[error(transparent)]
    Mend(#[from] MendProblem),
    /// The folder is not where a job writes.
    #[error("{folder} is not the output folder of a job; name one with --from{hint}")]
    NotAnOutput {
        /// The folder.
        folder: String,
        /// Those that are, in words; may be empty.
        hint: String,
    },
    /// A file or folder can't be read or written.
    #[error("can't {action} {path}: {source}")]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file or folder.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not what a job has written.
    #[error("{path} is not a file of refused rows: {detail}; take it out of the folder")]
    NotRefused {
        /// The file.
        path: String,
        /// What is wrong with it.
        detail: String,
    },
    /// What was sent is not there any more.
    #[error(
        "the files of checkpoint {checkpoint} in {folder}, up to which all was sent before, are {how}: the job has gone back or begun anew since (--from, --fresh), and what was sent can't be told from what was not; to send all that is there now, give the reinjection another --name"
    )]
    Changed {
        /// The folder.
        folder: String,
        /// The checkpoint.
        checkpoint: u64,
        /// `gone` or `others`.
        how: &'static str,
    },
    /// The name can't be one.
    #[error(
        "\"{name}\" can't be a name; choose one of up to 100 letters, digits, dots, dashes and underscores"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// A property that is not the user's.
    #[error("property \"{name}\" can't be set: {why}; take it out")]
    Property {
        /// The property.
        name: String,
        /// Why.
        why: &'static str,
    },
    /// Somebody else is writing to the archive.
    #[error("another reinjection is writing to {folder}; wait until it has ended")]
    Busy {
        /// The archive.
        folder: String,
    },
    /// The archive's offsets are those of a topic or an import.
    #[error(
        "{folder} is a recorded or imported archive, and what is reinjected would take the offsets of what comes next; name another folder: a pipeline reads both as two sources"
    )]
    Recorded {
        /// The archive.
        folder: String,
    },
    /// What says how far a reinjection is can't be understood.
    #[error("{path} can't be understood: {detail}; it says what was sent: without it all is sent again")]
    Ledger {
        /// The file.
        path: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A staged file that counts is nowhere.
    #[error("{path} was to be published, and is gone; send all again into another archive")]
    StagedFileGone {
        /// The file.
        path: String,
    },
    /// The archive can't be read.
    #[error(transparent)]
    Archive(#[from] SourceError),
    /// The archive can't be written.
    #[error(transparent)]
    ArchiveWrite(#[from] ArchiveWriteError),
    /// The topic can't be written to.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
}

pub(super) fn unreadable(path: &Path, source: std::io::Error) -> ReinjectError {
    ReinjectError::Io { action: "read", path: path.display().to_string(), source }
}

pub(super) fn unwritable(path: &Path, source: std::io::Error) -> ReinjectError {
    ReinjectError::Io { action: "write", path: path.display().to_string(), source }
}
