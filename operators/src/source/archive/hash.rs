//! A hash of a file's rows, kept in its footer: Parquet's pages have no checksums here, and a flipped bit in a payload decodes as well
//! as any other.

use std::fmt;

use thalweg_engine::shard::hash_key;

use crate::source::reader::Header;

/// The footer's entry, 16 hexadecimal digits.
pub const ROWS_HASH: &str = "thalweg.rows_hash";

/// The hash of rows, one after the other: of each its offset, timestamp, key, value and headers, and that some of them are null.
/// Pieces are hashed by XXH3 and folded in by a multiplication (the odd constant is 2^64 divided by the golden ratio).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowsHash(u64);

impl RowsHash {
    /// Adds a row; the timestamp in milliseconds.
    pub fn add(
        &mut self,
        offset: i64,
        timestamp_ms: Option<i64>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) {
        self.fold(offset.cast_unsigned());
        self.fold(timestamp_ms.map_or(1, |at| at.cast_unsigned().rotate_left(1)));
        self.piece(key);
        self.piece(value);
        self.fold(headers.len() as u64);
        for (name, value) in headers {
            self.piece(Some(name.as_bytes()));
            self.piece(*value);
        }
    }

    fn piece(&mut self, bytes: Option<&[u8]>) {
        self.fold(bytes.map_or(0, |bytes| hash_key(bytes) | 1));
    }

    fn fold(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(29) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl fmt::Display for RowsHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
