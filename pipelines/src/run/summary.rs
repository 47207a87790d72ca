//! What a job did, in numbers that balance: read = accepted + late + rejected.

use std::time::Duration;

use serde::Serialize;

use super::{Status, process};

/// The closing account of a job.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Of each source.
    pub sources: Vec<SourceSummary>,
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
    /// Payload bytes.
    pub bytes: u64,
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

impl Summary {
    pub(super) fn new(status: &Status, workers: usize, stopped: bool, time: Duration, cpu: Duration) -> Self {
        let sources: Vec<SourceSummary> = status
            .sources
            .iter()
            .map(|source| SourceSummary {
                name: source.name.clone(),
                read: source.read(),
                accepted: source.accepted(),
                late: source.late(),
                rejected: source.rejected(),
                bytes: source.bytes(),
            })
            .collect();
        let sinks = status
            .sinks
            .iter()
            .map(|(name, counters)| SinkSummary {
                name: name.clone(),
                rows: counters.rows(),
                files: counters.files(),
                bytes: counters.bytes(),
            })
            .collect();
        let read: u64 = sources.iter().map(|source| source.read).sum();
        Summary {
            sources,
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
