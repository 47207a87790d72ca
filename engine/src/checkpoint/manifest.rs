//! What a checkpoint says, as JSON: offsets, watermarks, where state lies, what each sink has staged.

use serde::{Deserialize, Serialize};

use crate::watermark::EventTime;

/// The version of manifests and state files that this program writes, and the only one that it reads.
pub const FORMAT: u32 = 1;

/// A checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Its number: that of the epoch that it ends, 1 for the first.
    pub number: u64,
    /// The generation that wrote it.
    pub generation: u64,
    /// When it was begun, milliseconds since the epoch, by the clock of the machine that coordinates.
    pub begun_ms: i64,
    /// From the request to the manifest, milliseconds.
    pub took_ms: u64,
    /// Whether the input ended here: there is nothing to go on from.
    pub finished: bool,
    /// The job's watermark, microseconds since the epoch.
    pub watermark: EventTime,
    /// Workers that took part.
    pub workers: usize,
    /// What the pipeline was, as its planner describes it: compared before state is used again.
    pub plan: serde_json::Value,
    /// Of each source, in the plan's order.
    pub sources: Vec<SourcePosition>,
    /// The state files that a restart reads, oldest first.
    pub state: Vec<StateFile>,
    /// Of each sink, in the plan's order.
    pub sinks: Vec<StagedSink>,
}

impl Manifest {
    /// Bytes of all state files that a restart reads.
    pub fn state_bytes(&self) -> u64 {
        self.state.iter().map(|file| file.bytes).sum()
    }

    /// Bytes of the state files that were written for this checkpoint.
    pub fn state_bytes_written(&self) -> u64 {
        self.state.iter().filter(|file| file.checkpoint == self.number).map(|file| file.bytes).sum()
    }
}

/// How far a source was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcePosition {
    /// Its name.
    pub name: String,
    /// Its splits, by number.
    pub splits: Vec<SplitPosition>,
    /// Rows since the checkpoint before.
    pub since: SourceCounts,
    /// Rows since the job's beginning.
    pub total: SourceCounts,
}

/// How many rows went which way: read = accepted + late + rejected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceCounts {
    /// Rows read.
    pub read: u64,
    /// Rows that went on.
    pub accepted: u64,
    /// Rows behind their split's watermark.
    pub late: u64,
    /// Rows that can't be decoded, or whose event time is impossible.
    pub rejected: u64,
    /// Payload bytes.
    pub bytes: u64,
}

impl std::ops::AddAssign for SourceCounts {
    fn add_assign(&mut self, other: Self) {
        self.read += other.read;
        self.accepted += other.accepted;
        self.late += other.late;
        self.rejected += other.rejected;
        self.bytes += other.bytes;
    }
}

/// How far a split was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitPosition {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its number in its source.
    pub number: u32,
    /// The offset of the next record to read, or a lower one with no record between.
    pub next: i64,
    /// The offset before which reading ends; `None`: it doesn't.
    pub end: Option<i64>,
    /// The highest event time accepted, microseconds since the epoch; `None` before the first row.
    pub highest: Option<EventTime>,
    /// Rows below are late whatever `highest` says: the job's watermark when the split came back from idleness.
    pub floor: Option<EventTime>,
    /// Whether it has left the job's watermark, because nothing came for so long.
    pub idle: bool,
    /// Whether its end is reached.
    pub ended: bool,
    /// The offset from which on the job has read it; `None`: it began before that was noted.
    #[serde(default)]
    pub begin: Option<i64>,
    /// Each floor that it has had, in order; of very many the last: with them a replay finds the same rows late.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub floors: Vec<SplitFloor>,
}

/// From which offset of a split on rows below a time are late, because the job had gone on without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitFloor {
    /// The first offset.
    pub offset: i64,
    /// The time, microseconds since the epoch.
    pub time: EventTime,
}

/// A file of state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateFile {
    /// Its name in the store.
    pub path: String,
    /// The step whose state it is.
    pub step: String,
    /// The checkpoint for which it was written.
    pub checkpoint: u64,
    /// The worker that wrote it, of `workers`: its shards are those that are its number modulo `workers`.
    pub worker: usize,
    /// Workers at that time.
    pub workers: usize,
    /// Whether it holds all that the worker had; otherwise what had changed since its file before.
    pub full: bool,
    /// Rows.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
    /// XXH3 of the bytes, 64 bits, in hexadecimal.
    pub checksum: String,
}

/// What a sink has ready to be published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedSink {
    /// Its name.
    pub name: String,
    /// Files of this checkpoint.
    pub files: Vec<StagedFile>,
    /// Rows of all checkpoints, this one included.
    pub rows_total: u64,
}

/// A complete file that no reader sees yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedFile {
    /// Where it lies, relative to the sink's folder, with `/` between.
    pub staged: String,
    /// Where it belongs, likewise.
    pub target: String,
    /// Rows.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
    /// The columns that became folders and their values, outermost first; `None` is null.
    pub partition: Vec<(String, Option<String>)>,
}
