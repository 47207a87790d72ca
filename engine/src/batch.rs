//! What timely carries: record batches, counted in rows.
//!
//! Inside a process a [`Batches`] moves as it is, its columns shared. Between processes each batch goes as an Arrow IPC
//! stream of its own, schema included, so that the receiver needs no registry:
//!
//! ```text
//!   u64 number of batches │ per batch: u64 length │ IPC stream │ zeros to a multiple of 8
//! ```

use std::cell::OnceCell;
use std::io::Write;

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use timely::Accountable;
use timely::bytes::arc::Bytes;
use timely::dataflow::channels::ContainerBytes;

/// A container of record batches. Its record count is its number of rows, which timely's progress tracking relies on.
#[derive(Clone, Default)]
pub struct Batches {
    rows: usize,
    batches: Vec<RecordBatch>,
    /// The bytes, made when timely asks for their length and used when it asks to write them.
    encoded: OnceCell<Vec<u8>>,
}

impl Batches {
    /// A container of one batch.
    pub fn one(batch: RecordBatch) -> Self {
        Batches { rows: batch.num_rows(), batches: vec![batch], encoded: OnceCell::new() }
    }

    /// Adds a batch; one without rows is dropped, as it has nothing to say.
    pub fn push(&mut self, batch: RecordBatch) {
        if batch.num_rows() > 0 {
            self.rows += batch.num_rows();
            self.batches.push(batch);
            self.encoded.take();
        }
    }

    /// Takes all batches out, leaving the container empty.
    pub fn take(&mut self) -> Vec<RecordBatch> {
        self.rows = 0;
        self.encoded.take();
        std::mem::take(&mut self.batches)
    }

    /// Rows in all batches.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The batches.
    pub fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    fn encode(&self) -> &[u8] {
        self.encoded.get_or_init(|| {
            let mut bytes = Vec::new();
            bytes.extend_from_slice(&(self.batches.len() as u64).to_le_bytes());
            for batch in &self.batches {
                let at = bytes.len();
                bytes.extend_from_slice(&[0; 8]);
                let mut writer = StreamWriter::try_new(&mut bytes, batch.schema_ref())
                    .expect("invariant: a batch's schema can be written as IPC");
                writer.write(batch).expect("invariant: a batch can be written as IPC to memory");
                writer.finish().expect("invariant: an IPC stream to memory can be finished");
                drop(writer);
                let length = (bytes.len() - at - 8) as u64;
                bytes[at..at + 8].copy_from_slice(&length.to_le_bytes());
                bytes.resize(bytes.len().next_multiple_of(8), 0);
            }
            bytes
        })
    }
}

impl From<Vec<RecordBatch>> for Batches {
    fn from(batches: Vec<RecordBatch>) -> Self {
        let mut all = Batches::default();
        batches.into_iter().for_each(|b| all.push(b));
        all
    }
}

impl std::fmt::Debug for Batches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Batches({} batches, {} rows)", self.batches.len(), self.rows)
    }
}

impl Accountable for Batches {
    fn record_count(&self) -> i64 {
        self.rows as i64
    }
}

impl ContainerBytes for Batches {
    fn from_bytes(bytes: Bytes) -> Self {
        // The reader copies into aligned buffers of its own, so that no kept batch pins timely's slab.
        let mut all = Batches::default();
        let word = |at: usize| {
            u64::from_le_bytes(bytes[at..at + 8].try_into().expect("invariant: eight bytes")) as usize
        };
        let mut at = 8;
        for _ in 0..word(0) {
            let length = word(at);
            let stream = &bytes[at + 8..at + 8 + length];
            let reader =
                StreamReader::try_new(stream, None).expect("invariant: a peer sends whole IPC streams");
            for batch in reader {
                all.push(batch.expect("invariant: a peer sends whole IPC batches"));
            }
            at = (at + 8 + length).next_multiple_of(8);
        }
        all
    }

    fn length_in_bytes(&self) -> usize {
        self.encode().len()
    }

    fn into_bytes<W: Write>(&self, writer: &mut W) {
        writer.write_all(self.encode()).expect("invariant: timely's buffer has the length it was told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Float64Array, Int32Array, StringArray};
    use std::sync::Arc;
    use timely::bytes::arc::BytesMut;

    fn batch(n: i32) -> RecordBatch {
        let ids: ArrayRef = Arc::new(Int32Array::from_iter((0..n).map(|i| (i % 3 != 0).then_some(i))));
        let names: ArrayRef =
            Arc::new(StringArray::from_iter((0..n).map(|i| Some("ü".repeat(i as usize % 5)))));
        let values: ArrayRef = Arc::new(Float64Array::from_iter_values((0..n).map(|i| f64::from(i) / 3.0)));
        RecordBatch::try_from_iter([("id", ids), ("name", names), ("value", values)]).unwrap()
    }

    fn round_trip(batches: &Batches) -> Batches {
        let mut bytes = Vec::new();
        let length = batches.length_in_bytes();
        batches.into_bytes(&mut bytes);
        assert_eq!(bytes.len(), length);
        assert_eq!(length % 8, 0, "timely's messages are aligned to eight bytes");
        Batches::from_bytes(BytesMut::from(bytes).freeze())
    }

    #[test]
    fn bytes_round_trip_keeps_rows_and_slices() {
        let all = Batches::from(vec![batch(7), batch(100).slice(13, 50), batch(1)]);
        let back = round_trip(&all);
        assert_eq!(back.rows(), 58);
        assert_eq!(back.batches(), all.batches());
    }

    #[test]
    fn encoding_follows_a_push() {
        let mut all = Batches::one(batch(2));
        let first = all.length_in_bytes();
        all.push(batch(3));
        assert!(all.length_in_bytes() > first);
        assert_eq!(round_trip(&all).rows(), 5);
    }

    #[test]
    fn a_batch_without_rows_is_dropped() {
        let mut all = Batches::default();
        all.push(batch(0));
        assert_eq!((all.rows(), all.batches().len()), (0, 0));
    }
}
