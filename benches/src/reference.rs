//! What a good programmer would write by hand for J1 and J2, and nothing more: the reference that Thalweg is held to.
//!
//! ```text
//!   thread ─▶ its partitions ─▶ batches of messages ─▶ sonic-rs into a borrowed struct ─▶ one hash map ─▶ Parquet
//!                                                       (the job's fields only)           closed by a watermark
//! ```
//!
//! It is fast because it leaves out: columns nobody asked for are not checked, sums of floats depend on the order of arrival,
//! nothing is kept of rows that are late or broken, no row crosses threads. J1 merges the threads' windows at the end. J2 relies
//! on the topic being partitioned by session, so that a session's calls all come to one thread.

use std::path::Path;
use std::time::Instant;

mod health;
mod input;
mod output;
mod sessions;

pub(crate) use input::{Input, Share, Taken};

use crate::data::LATENESS_US;

/// The two jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Job {
    /// A minute's calls by provider and model: eight aggregates, one of them a percentile.
    J1,
    /// Sessions by session id, five minutes apart: five aggregates.
    J2,
}

impl Job {
    /// Its short name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Job::J1 => "J1",
            Job::J2 => "J2",
        }
    }
}

/// Runs a job on `threads` threads and writes its result into `output`. Gives back the events and the seconds.
///
/// # Errors
/// When the input can't be read or the output not be written.
pub(crate) fn run(job: Job, input: &Input, threads: usize, output: &Path) -> anyhow::Result<(u64, f64)> {
    std::fs::create_dir_all(output)?;
    let shares = input.shares(threads)?;
    let started = Instant::now();
    let events = match job {
        Job::J1 => health::run(shares, output)?,
        Job::J2 => sessions::run(shares, output)?,
    };
    Ok((events, started.elapsed().as_secs_f64()))
}

/// The lowest of the partitions' highest event times, less the lateness.
struct Watermark {
    highest_ms: Vec<i64>,
}

impl Watermark {
    fn new(partitions: usize) -> Watermark {
        Watermark { highest_ms: vec![i64::MIN; partitions] }
    }

    #[inline]
    fn see(&mut self, partition: usize, time_ms: i64) {
        self.highest_ms[partition] = self.highest_ms[partition].max(time_ms);
    }

    fn end(&mut self, partition: usize) {
        self.highest_ms[partition] = i64::MAX;
    }

    fn get(&self) -> i64 {
        self.highest_ms.iter().min().map_or(i64::MAX, |lowest| lowest.saturating_sub(LATENESS_US / 1000))
    }
}
