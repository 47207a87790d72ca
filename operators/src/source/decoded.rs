//! Rows that were decoded beforehand: a piece of a split as columns, in place of its records.
//!
//! ```text
//!   archive with decoded columns ─▶ SplitReader::decoded ─▶ DecodedRows ─▶ accepted? a slice of the columns, not copied
//!                                                                └─ late, rejected ─▶ their records, read from the raw file
//! ```
//!
//! The record stays the truth: what is refused is given out with its bytes, and a row that could not be decoded is tried again, so that
//! its reason is what it always was.

use arrow::array::{Array, ArrayRef, BinaryArray, BooleanArray, Int64Array};

use super::archive::{Headers, RawRecords, Timestamps};
use super::reader::{Header, Record, SourceError};

/// Rows of one split, in the order of their offsets; all columns are of one length.
#[derive(Debug)]
pub struct DecodedRows {
    /// Index into [`SplitReader::splits`](super::SplitReader::splits).
    pub split: usize,
    /// Their bytes in memory, about.
    pub bytes: usize,
    /// The source's fields, as [`SourceConfig::fields`](super::SourceConfig::fields) lists them; all null where a record could not be decoded.
    pub columns: Vec<ArrayRef>,
    pub(super) offsets: Int64Array,
    pub(super) timestamps: Option<Timestamps>,
    pub(super) keys: Option<BinaryArray>,
    pub(super) headers: Option<Headers>,
    /// Whether the record could be decoded.
    pub(super) is_row: BooleanArray,
    pub(super) records: RawRecords,
}

impl DecodedRows {
    /// Rows, those that could not be decoded among them.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The offset of each row.
    pub fn offsets(&self) -> &[i64] {
        self.offsets.values()
    }

    /// The timestamp of a row's record, microseconds since the epoch.
    #[inline]
    pub fn timestamp_us(&self, row: usize) -> Option<i64> {
        self.timestamps.as_ref().and_then(|timestamps| timestamps.micros(row))
    }

    /// Whether the record of a row could be decoded.
    #[inline]
    pub fn is_row(&self, row: usize) -> bool {
        self.is_row.value(row)
    }

    /// Puts the headers of a row's record into `into`, which is emptied first where headers are read.
    #[inline]
    pub(super) fn collect_headers<'a>(&'a self, row: usize, into: &mut Vec<Header<'a>>) {
        if let Some(of_rows) = &self.headers {
            of_rows.collect(row, into);
        }
    }

    /// A row's record without its value.
    #[inline]
    pub(super) fn record<'a>(&'a self, row: usize, headers: &'a [Header<'a>]) -> Record<'a> {
        Record {
            split: self.split,
            offset: self.offsets.value(row),
            timestamp_us: self.timestamp_us(row),
            key: self.keys.as_ref().filter(|keys| keys.is_valid(row)).map(|keys| keys.value(row)),
            value: None,
            headers,
        }
    }

    /// Reads the records of some rows, ascending, from where the archive holds them as they were.
    ///
    /// # Errors
    /// A file that can't be read, or is not the one that was decoded.
    pub fn records(&self, rows: &[usize], each: &mut dyn FnMut(Record<'_>)) -> Result<(), SourceError> {
        self.records.read(self.split, rows, each)
    }

    /// What reading records behind these rows reads of the file, bytes: all pages between the first and the last, at most.
    pub(super) fn record_file_bytes(&self) -> u64 {
        self.records.file_bytes(self.len())
    }

    /// A record can be decoded, and its row says that it can't.
    pub(super) fn contradicted(&self, offset: i64) -> SourceError {
        self.records.contradicted(offset)
    }
}
