//! A job's workers: threads of this process, or of several.
//!
//! Every worker runs the same closure and must build the same operators in the same order: timely pairs channels by counting.

use std::time::Duration;

use timely::communication::Config as Communication;
use timely::worker::Worker;
use timely::{Config, WorkerConfig};

/// Where the workers run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cluster {
    /// `workers` threads of this process.
    Threads {
        /// Number of workers, at least 1.
        workers: usize,
    },
    /// Several processes, each with the same number of workers. Their connections are neither encrypted nor authenticated: for
    /// a private network.
    Processes {
        /// Workers of each process, at least 1.
        workers: usize,
        /// Which process this is.
        process: usize,
        /// `host:port` of every process, in the same order everywhere.
        addresses: Vec<String>,
    },
}

impl Cluster {
    /// Workers over all processes.
    pub fn workers(&self) -> usize {
        match self {
            Cluster::Threads { workers } => *workers,
            Cluster::Processes { workers, addresses, .. } => workers * addresses.len(),
        }
    }
}

/// Why workers can't be started, or did not end as they should.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The workers can't be started.
    #[error("can't start the workers: {0}; check that the addresses are reachable and their ports free")]
    Start(String),
    /// A worker panicked: a bug.
    #[error(
        "a worker panicked: {0}; this is a bug in Thalweg, please report it with the pipeline and this message"
    )]
    Panicked(String),
}

/// Runs `build` on every worker, then the dataflows that it built, to their end. Gives back each local worker's result.
///
/// # Errors
/// When the workers can't be started, or one panicked. With more than one worker a panic ends the process: the others would
/// wait for it forever.
pub fn run<T, F>(cluster: &Cluster, build: F) -> Result<Vec<T>, ClusterError>
where
    T: Send + 'static,
    F: Fn(&mut Worker) -> T + Send + Sync + 'static,
{
    let communication = match cluster {
        Cluster::Threads { workers: 1 } => Communication::Thread,
        Cluster::Threads { workers } => Communication::Process(*workers),
        Cluster::Processes { workers, process, addresses } => Communication::Cluster {
            threads: *workers,
            process: *process,
            addresses: addresses.clone(),
            report: false,
            // In a process batches move as they are; only between processes do they become bytes.
            zerocopy: false,
        },
    };
    let config = Config { communication, worker: WorkerConfig::default().idle_spin(Duration::ZERO) };
    let alone = cluster.workers() == 1;
    let guards = timely::execute(config, move |worker| {
        let run = std::panic::AssertUnwindSafe(|| {
            let result = build(worker);
            while worker.has_dataflows() {
                worker.step_or_park(None);
            }
            result
        });
        match std::panic::catch_unwind(run) {
            Ok(result) => result,
            // The panic hook has said where and why.
            Err(panic) if alone => std::panic::resume_unwind(panic),
            Err(_) => std::process::abort(),
        }
    })
    .map_err(ClusterError::Start)?;
    guards.join().into_iter().map(|result| result.map_err(ClusterError::Panicked)).collect()
}
