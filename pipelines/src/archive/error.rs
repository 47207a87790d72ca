//! What can go wrong with an archive, and what to do about it.

use std::path::Path;

use thalweg_kafka::KafkaError;
use thalweg_operators::source::SourceError;
use thalweg_operators::source::archive::{ArchiveWriteError, DecodeError};

use super::books::BookError;

/// Why a command over an archive failed.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The archive or the topic can't be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A file of the archive can't be written.
    #[error(transparent)]
    Write(#[from] ArchiveWriteError),
    /// Decoded columns can't be written.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The topic can't be written to.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// A book can't be read or written.
    #[error("{0}; without it nobody knows how far the archive is: restore it, or begin with another folder")]
    Book(#[from] BookError),
    /// A file or folder can't be read or written.
    #[error("can't {action} {path}: {source}")]
    Io {
        /// `read`, `write` or `remove`.
        action: &'static str,
        /// The file or folder.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Somebody else is writing to the archive.
    #[error("another command is writing to {folder}; wait until it has ended, or write to another folder")]
    Busy {
        /// The archive.
        folder: String,
    },
    /// The folder holds rows of something else.
    #[error("{folder} {detail}; {hint}")]
    Folder {
        /// The archive.
        folder: String,
        /// What is in it.
        detail: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// The topic that was recorded is gone, and another has its name.
    #[error(
        "topic {topic} is not the one that {folder} holds: {detail}; it was made anew, or these are other brokers: name the right ones, or record it into another folder"
    )]
    MadeAnew {
        /// The topic.
        topic: String,
        /// The archive.
        folder: String,
        /// How that is known.
        detail: String,
    },
    /// Records were deleted before they were recorded.
    #[error(
        "topic {topic}, partition {partition}: offsets {from} to {to} were deleted before they were recorded, for its retention is shorter than the recorder was behind; with --skip-lost it goes on from what is left, and the archive notes the gap; raise the topic's retention.ms so that it does not happen again"
    )]
    Lost {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The first offset that is lost.
        from: i64,
        /// The last.
        to: i64,
    },
    /// Reading the topic came to an end that was not asked for.
    #[error(
        "{source}. What was read before is in {folder}: run the same command again to go on; a topic that was made anew needs another folder"
    )]
    Broken {
        /// The archive.
        folder: String,
        /// What the client said.
        source: SourceError,
    },
    /// An option that does not go with what is there.
    #[error("{option} {detail}; {hint}")]
    Option {
        /// The option.
        option: &'static str,
        /// What is wrong with it.
        detail: String,
        /// What to write instead.
        hint: String,
    },
    /// A row of a file to import is not what it has to be.
    #[error(
        "{path}, line {line}: {detail}; mend it, or let --rejects FILE take such rows and import the others"
    )]
    Row {
        /// The file.
        path: String,
        /// Its line, from 1; of Parquet the row.
        line: u64,
        /// What is wrong with it.
        detail: String,
    },
    /// A file to import can't be read.
    #[error("{path} can't be imported: {detail}")]
    Input {
        /// The file.
        path: String,
        /// What is wrong with it, and how to mend it.
        detail: String,
    },
}

pub(super) fn unreadable(path: &Path, source: std::io::Error) -> ArchiveError {
    ArchiveError::Io { action: "read", path: path.display().to_string(), source }
}

pub(super) fn unwritable(path: &Path, source: std::io::Error) -> ArchiveError {
    ArchiveError::Io { action: "write", path: path.display().to_string(), source }
}
