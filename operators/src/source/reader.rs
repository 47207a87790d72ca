//! What a source must be able to do to feed a job: hand over its records, split by split, in offset order.
//!
//! ```text
//!   Kafka partition queues ─┐
//!                           ├─▶ SplitReader::read ─▶ Record ─▶ decode, lateness (source.rs) ─▶ batches at ticks
//!   archive Parquet files  ─┘
//! ```
//!
//! A reader belongs to one worker and holds that worker's splits only. It borrows every record out for the length of a
//! call, so that nothing of a fetched message set is kept alive by a row.

use std::sync::Arc;
use std::time::Duration;

use super::decoded::DecodedRows;

/// A header of a record: its name, and its value where there is one.
pub type Header<'a> = (&'a str, Option<&'a [u8]>);

/// One record as it lies in its split, borrowed from the reader's buffers.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Index into [`SplitReader::splits`].
    pub split: usize,
    /// Position in the split. Ascending within a split, with gaps.
    pub offset: i64,
    /// The record's own timestamp (Kafka's create or append time), microseconds since the epoch; `None` where it has none.
    pub timestamp_us: Option<i64>,
    /// The record's key.
    pub key: Option<&'a [u8]>,
    /// The payload; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers; empty unless the reader was asked for them.
    pub headers: &'a [Header<'a>],
}

/// A split: one partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitInfo {
    /// The topic, or for an archive its folder's name.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The split's number in its source: the same whatever the number of workers (topics in the order of the
    /// configuration, then partitions ascending).
    pub number: u32,
    /// The offset of the first record to read, or a lower one with no record between.
    pub start: i64,
    /// The offset before which reading ends; `None`: it doesn't, or the end is that of the files of an archive.
    pub end: Option<i64>,
    /// Records known to lie ahead when reading began, for progress; `None` for an unbounded split. An upper bound where
    /// offsets have gaps.
    pub records_ahead: Option<u64>,
}

/// What a record weighs: key, value and headers, bytes. All of them count, so that large keys can't slip past a limit.
pub fn record_bytes(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header<'_>]) -> usize {
    let of = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
    let headers: usize = headers.iter().map(|(name, value)| name.len() + of(*value)).sum();
    of(key) + of(value) + headers
}

/// How much to read, and from where first.
#[derive(Debug, Clone, Copy)]
pub struct ReadRequest<'a> {
    /// Stop after the record with which this many bytes are reached, as [`record_bytes`] counts them.
    pub bytes_max: usize,
    /// Stop after this many records.
    pub records_max: usize,
    /// How long to wait for the first record when none is there. Zero: don't.
    pub wait: Duration,
    /// Indexes of all splits that have not ended, the one furthest behind in event time first: read from the first that
    /// has records, and go on to the next ones only when it has none left at hand. Keeps splits abreast, and so the
    /// number of open windows small.
    pub order: &'a [usize],
}

/// What a call of [`SplitReader::read`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadProgress {
    /// Records handed over.
    pub records: usize,
    /// Their bytes, as [`record_bytes`] counts them.
    pub bytes: usize,
    /// Splits that reached their end with this call: no record of theirs follows.
    pub ended: Vec<usize>,
}

/// A worker's share of a source.
///
/// # Errors
/// [`SplitReader::read`] fails with a [`SourceError`] when the source can't go on; what was handed over before stays valid.
pub trait SplitReader {
    /// This worker's splits. Constant for the life of the reader.
    fn splits(&self) -> &[SplitInfo];

    /// Whether a record of a split is at hand, by its index. Asked of splits that [`SplitReader::read`] leaves out for a while.
    fn at_hand(&mut self, split: usize) -> bool;

    /// Whether it is known that a split has no record beyond those that were handed over: one that can't be asked at the moment may have.
    /// A reader that has to find out first says no, and is asked again and again.
    fn is_silent(&mut self, split: usize) -> bool {
        !self.at_hand(split)
    }

    /// The next rows of the split that comes first in the request's order, where they were decoded beforehand, as many as the request
    /// takes. `None`: they were not, and [`SplitReader::read`] has the records; there too a split ends.
    fn decoded(&mut self, _request: ReadRequest<'_>) -> Result<Option<DecodedRows>, SourceError> {
        Ok(None)
    }

    /// Bytes of files that were read so far; a topic has none.
    fn file_bytes(&self) -> u64 {
        0
    }

    /// Hands records to `each`, in offset order per split, until the request is met or nothing is at hand.
    fn read(
        &mut self,
        request: ReadRequest<'_>,
        each: &mut dyn FnMut(Record<'_>),
    ) -> Result<ReadProgress, SourceError>;
}

/// Why a source can't be opened or read on.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A file or folder can't be read.
    #[error("can't read {path}: {source}")]
    Io {
        /// The file or folder.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// An archive's file is not what an archive holds.
    #[error(
        "{path} is not an archive file: {detail}; an archive holds the columns partition, offset, timestamp, key, value, headers"
    )]
    NotAnArchive {
        /// The file or folder.
        path: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The broker or the connection failed for good.
    #[error("{source_name}: {detail}; {hint}")]
    Connection {
        /// The source's name in the pipeline.
        source_name: String,
        /// What failed, in the client's words.
        detail: String,
        /// What to do about it.
        hint: String,
    },
    /// A topic or partition of the configuration does not exist.
    #[error("{source_name}: topic {topic} {detail}; {hint}")]
    Topic {
        /// The source's name in the pipeline.
        source_name: String,
        /// The topic.
        topic: String,
        /// What is wrong with it.
        detail: String,
        /// What to do about it.
        hint: String,
    },
}
