//! How the memory that a pipeline may take for rows on their way is dealt out.
//!
//! | share | for |
//! |---|---|
//! | a half | what sinks hold back to sort it: each worker's part of each sink |
//! | a quarter | what is read and not yet taken by the sinks: each worker's part of each source |
//! | an eighth | what clients of brokers have fetched ahead: each worker's part of each source |
//!
//! The rest is for what nobody counts: batches between operators, buffers of writers. The state of open windows is not in it: it
//! grows with the keys, not with the rows.

use crate::plan::{Plan, SinkKind, TARGET_FILE_BYTES};

/// The shares of one worker's part of a sink or source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MemoryShares {
    /// Rows that a sink holds back, bytes.
    pub(crate) sink_buffer_bytes: usize,
    /// Payloads that a source has read and the sinks not taken, bytes.
    pub(crate) ahead_bytes: usize,
    /// Records that a broker's client has fetched and the source not read, bytes.
    pub(crate) fetched_bytes: usize,
}

/// Bytes of a Parquet file for a byte of rows, about.
const SHRINKS_TO: f64 = 0.2;

impl MemoryShares {
    /// Says in the log which sinks' files will stay smaller than they are meant to be.
    pub(crate) fn warn(self, plan: &Plan) {
        for sink in &plan.sinks {
            let (SinkKind::Parquet { target_file_bytes, .. } | SinkKind::Delta { target_file_bytes, .. }) =
                sink.kind
            else {
                continue;
            };
            let most = self.sink_buffer_bytes as f64 * SHRINKS_TO;
            // Nobody has asked for the default.
            if target_file_bytes > TARGET_FILE_BYTES && target_file_bytes as f64 > most {
                tracing::warn!(
                    "sink {}: files are to grow to {} MiB, but rows of about {} MiB fit into memory before they are sorted; give the pipeline more `memory`",
                    sink.name,
                    target_file_bytes >> 20,
                    most as u64 >> 20,
                );
            }
        }
    }

    pub(crate) fn new(plan: &Plan, workers: usize) -> Self {
        let total = usize::try_from(plan.memory_bytes).unwrap_or(usize::MAX);
        let workers = workers.max(1);
        let (sinks, sources) = (plan.sinks.len().max(1), plan.sources.len().max(1));
        MemoryShares {
            sink_buffer_bytes: (total / 2 / workers / sinks).max(1 << 20),
            // Decoded and on their way rows take several times their payload.
            ahead_bytes: (total / 4 / 4 / workers / sources).clamp(1 << 20, 32 << 20),
            fetched_bytes: (total / 8 / workers / sources).clamp(1 << 20, 64 << 20),
        }
    }
}
