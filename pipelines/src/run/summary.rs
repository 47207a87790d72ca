//! What a job did, in numbers that balance: read = accepted + late + rejected.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use serde::Serialize;

use super::Status;

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
            windows_fired: status.windows.fired.load(Relaxed),
            windows_open: status.windows.open_at_stop.load(Relaxed),
            sinks,
            workers,
            stopped,
            seconds: time.as_secs_f64(),
            cpu_seconds: cpu.as_secs_f64(),
            rows_per_second: read as f64 / time.as_secs_f64().max(1e-9),
            peak_memory_bytes: peak_memory_bytes(),
        }
    }
}

/// CPU time of this process so far, user and system, of all its threads. Zero where the system does not say.
pub(super) fn cpu_time() -> Duration {
    // /proc/self/stat: the fields after the command's closing parenthesis; utime and stime are the 12th and 13th of them, in
    // ticks of 1/100 s (USER_HZ, fixed on Linux).
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis(10 * (ticks(11) + ticks(12)))
}

fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}
