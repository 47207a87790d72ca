//! What a job did, in numbers that balance: read = accepted + late + rejected.

use std::time::Duration;

use serde::Serialize;
use thalweg_engine::checkpoint::SourceCounts;
use thalweg_engine::checkpoint::coordinator::Account;

use super::{Status, process};

/// The closing account of a run. Of several processes the first knows what all have read and written; the rest is each one's own.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Of each source.
    pub sources: Vec<SourceSummary>,
    /// Of each source since the job began, where this run went on from an earlier one's checkpoint.
    pub since_the_beginning: Option<Vec<SourceSummary>>,
    /// Windows that fired, over all steps.
    pub windows_fired: u64,
    /// Keys (and, of hopping windows, panes) that had open windows when the job was stopped: its last checkpoint holds them.
    pub windows_open: u64,
    /// Of each sink; late and rejected rows last.
    pub sinks: Vec<SinkSummary>,
    /// Workers.
    pub workers: usize,
    /// Whether the job was stopped before its input ended.
    pub stopped: bool,
    /// From start to end.
    pub seconds: f64,
    /// CPU time of the process in that time, user and system.
    pub cpu_seconds: f64,
    /// Rows read a second, over all sources.
    pub rows_per_second: f64,
    /// The most memory that the process has held, where the system says.
    pub peak_memory_bytes: Option<u64>,
}

/// A source's account.
#[derive(Debug, Clone, Serialize)]
pub struct SourceSummary {
    /// Its name.
    pub name: String,
    /// Rows read: accepted + late + rejected.
    pub read: u64,
    /// Rows that went on.
    pub accepted: u64,
    /// Rows behind their split's watermark.
    pub late: u64,
    /// Rows that can't be decoded or whose event time is impossible.
    pub rejected: u64,
    /// Bytes of keys, values and headers; of decoded columns, their bytes in memory.
    pub bytes: u64,
    /// Bytes that this process has read of an archive's files, as they lie there; 0 of a topic.
    pub file_bytes: u64,
    /// The size of all of the archive's files.
    pub archive_bytes: u64,
}

/// A sink's account.
#[derive(Debug, Clone, Serialize)]
pub struct SinkSummary {
    /// Its name.
    pub name: String,
    /// Rows completed by this run.
    pub rows: u64,
    /// Files completed by this run.
    pub files: u64,
    /// Bytes completed by this run.
    pub bytes: u64,
}

impl SourceSummary {
    fn with(&self, counts: SourceCounts) -> SourceSummary {
        let SourceCounts { read, accepted, late, rejected, bytes } = counts;
        SourceSummary { read, accepted, late, rejected, bytes, ..self.clone() }
    }
}

impl Summary {
    // The account of the checkpoints, whether the run went on from one, and whether there are other processes.
    pub(super) fn new(
        status: &Status,
        account: Option<(Account, bool, bool)>,
        workers: usize,
        stopped: bool,
        time: Duration,
        cpu: Duration,
    ) -> Self {
        let mut sources: Vec<SourceSummary> = status
            .sources
            .iter()
            .map(|source| SourceSummary {
                name: source.name.clone(),
                read: source.read(),
                accepted: source.accepted(),
                late: source.late(),
                rejected: source.rejected(),
                bytes: source.bytes(),
                file_bytes: source.file_bytes(),
                archive_bytes: source.archive_bytes(),
            })
            .collect();
        let mut sinks: Vec<SinkSummary> = status
            .sinks
            .iter()
            .map(|(name, counters)| SinkSummary {
                name: name.clone(),
                rows: counters.rows(),
                files: counters.files(),
                bytes: counters.bytes(),
            })
            .collect();
        let mut since_the_beginning = None;
        if let Some((account, goes_on, has_others)) = account {
            let counted = |of: fn(&(SourceCounts, SourceCounts)) -> SourceCounts| {
                let counts = account.sources.iter().map(of);
                sources.iter().zip(counts).map(|(source, counts)| source.with(counts)).collect::<Vec<_>>()
            };
            since_the_beginning = goes_on.then(|| counted(|(_, job)| *job));
            if has_others {
                sources = counted(|(run, _)| *run);
                for sink in &mut sinks {
                    // What goes to standard output stages nothing.
                    let Some(written) = account.sinks.get(&sink.name).filter(|written| written.files > 0)
                    else {
                        continue;
                    };
                    (sink.rows, sink.files, sink.bytes) = (written.rows, written.files, written.bytes);
                }
            }
        }
        let read: u64 = sources.iter().map(|source| source.read).sum();
        Summary {
            sources,
            since_the_beginning,
            windows_fired: status.windows_fired(),
            windows_open: status.windows_open_at_stop(),
            sinks,
            workers,
            stopped,
            seconds: time.as_secs_f64(),
            cpu_seconds: cpu.as_secs_f64(),
            rows_per_second: read as f64 / time.as_secs_f64().max(1e-9),
            peak_memory_bytes: process::peak_memory_bytes(),
        }
    }
}
