//! The keyed exchange: every row to the worker that owns its key's shard, a batch at a time.
//!
//! ```text
//!   batch ─▶ shard of each row's hash ─▶ one list of row numbers per worker ─▶ take ─▶ batches of ≥ 4096 rows ─▶ worker
//! ```
//!
//! Rows carry their key's hash in their first column ([`HASH`]), computed once by the operator before the exchange and used
//! again by the one behind it. With a single worker timely does not call a distributor at all: results may rely neither on
//! the order that it leaves nor on it having run.

use arrow::array::{Array, RecordBatch, UInt32Array, UInt64Array};
use arrow::compute::take_record_batch;
use timely::communication::Push;
use timely::dataflow::channels::Message;
use timely::dataflow::channels::pact::DistributorPact;
use timely::dataflow::channels::pushers::exchange::Distributor;
use timely::progress::Stamp;

use crate::batch::Batches;
use crate::shard::{shard_of, worker_of};

/// The name of the first column of a batch that goes through a keyed exchange: its key's hash, `UInt64`.
pub const HASH: &str = "__hash";

/// Rows gathered for a worker before they are sent: below some thousands, sending costs two to three times as much a row.
const ROWS_TARGET: usize = 4096;

/// The pact of a keyed exchange: `stream.unary_frontier(exchange(), …)`.
pub fn exchange() -> DistributorPact<fn(usize) -> HashSplit> {
    DistributorPact(HashSplit::new)
}

/// Splits batches by the shard of their rows' hash.
pub struct HashSplit {
    rows_of: Vec<Vec<u32>>,
    gathered: Vec<Batches>,
}

impl HashSplit {
    fn new(peers: usize) -> Self {
        HashSplit { rows_of: vec![Vec::new(); peers], gathered: vec![Batches::default(); peers] }
    }

    fn deal(&mut self, batch: &RecordBatch) {
        let hashes = batch
            .column(0)
            .as_any()
            .downcast_ref::<UInt64Array>()
            .expect("invariant: the first column of an exchanged batch is its hash");
        self.rows_of.iter_mut().for_each(Vec::clear);
        let peers = self.rows_of.len();
        for (row, hash) in hashes.values().iter().enumerate() {
            self.rows_of[worker_of(shard_of(*hash), peers)].push(row as u32);
        }
    }
}

impl Distributor<Batches> for HashSplit {
    fn partition<T: Clone, P: Push<Message<T, Batches>>>(
        &mut self,
        container: &mut Batches,
        stamp: &Stamp<T>,
        pushers: &mut [P],
    ) {
        for batch in container.take() {
            self.deal(&batch);
            for (worker, pusher) in pushers.iter_mut().enumerate() {
                let rows = &self.rows_of[worker];
                if rows.is_empty() {
                    continue;
                }
                let part = if rows.len() == batch.num_rows() {
                    batch.clone()
                } else {
                    take_record_batch(&batch, &UInt32Array::from(rows.clone()))
                        .expect("invariant: row numbers lie within the batch")
                };
                self.gathered[worker].push(part);
                if self.gathered[worker].rows() >= ROWS_TARGET {
                    send(&mut self.gathered[worker], stamp, pusher);
                }
            }
        }
    }

    fn flush<T: Clone, P: Push<Message<T, Batches>>>(&mut self, stamp: &Stamp<T>, pushers: &mut [P]) {
        for (gathered, pusher) in self.gathered.iter_mut().zip(pushers) {
            if gathered.rows() > 0 {
                send(gathered, stamp, pusher);
            }
        }
    }
}

// `push_at` leaves the data in the buffer when the target is another process: send a local that is dropped.
fn send<T: Clone, P: Push<Message<T, Batches>>>(gathered: &mut Batches, stamp: &Stamp<T>, pusher: &mut P) {
    let mut container = std::mem::take(gathered);
    Message::push_at(&mut container, stamp.clone(), pusher);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::hash_key;
    use arrow::array::{ArrayRef, Int64Array};
    use std::sync::Arc;

    #[derive(Default)]
    struct Received(Vec<Batches>);
    impl Push<Message<u64, Batches>> for Received {
        fn push(&mut self, message: &mut Option<Message<u64, Batches>>) {
            if let Some(message) = message.take() {
                self.0.push(message.data);
            }
        }
    }

    fn batch(rows: std::ops::Range<i64>) -> RecordBatch {
        let hashes: ArrayRef =
            Arc::new(UInt64Array::from_iter_values(rows.clone().map(|i| hash_key(&(i / 3).to_le_bytes()))));
        RecordBatch::try_from_iter([
            (HASH, hashes),
            ("id", Arc::new(Int64Array::from_iter_values(rows)) as ArrayRef),
        ])
        .unwrap()
    }

    // timely does not notice a wrong count, not even in a debug build: rows in must equal rows out.
    #[test]
    fn every_row_arrives_once_at_the_owner_of_its_key() {
        for peers in [2, 3, 5] {
            let mut split = HashSplit::new(peers);
            let mut out: Vec<Received> = (0..peers).map(|_| Received::default()).collect();
            let stamp = Stamp::from(timely::progress::Antichain::from_elem(0u64));
            let mut rows_in = 0;
            for part in [0..1, 1..5000, 5000..5001, 5001..30_000] {
                let mut container = Batches::from(vec![batch(part.clone())]);
                rows_in += container.rows();
                split.partition(&mut container, &stamp, &mut out);
                assert_eq!(container.rows(), 0);
            }
            split.flush(&stamp, &mut out);
            assert_eq!(out.iter().flat_map(|r| &r.0).map(Batches::rows).sum::<usize>(), rows_in);
            let mut seen = vec![None; 10_000];
            for (worker, received) in out.iter().enumerate() {
                for batch in received.0.iter().flat_map(Batches::batches) {
                    let ids = batch.column(1).as_any().downcast_ref::<Int64Array>().unwrap();
                    for id in ids.values() {
                        let key = seen[(id / 3) as usize].get_or_insert(worker);
                        assert_eq!(*key, worker, "rows of one key meet at one worker");
                    }
                }
            }
        }
    }
}
