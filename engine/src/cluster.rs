//! A job's workers: threads of this process, or of several.
//!
//! Every worker runs the same closure and must build the same operators in the same order: timely pairs channels by counting.
//!
//! ```text
//!   process 0 ── two connections to each other process ──▶ process 1 …
//!   workers  ◀═══ data: batches and progress, timely's own ═══▶  workers            data.rs
//!   coordinator ◀── link: messages, and a heartbeat ──▶  coordinator                links.rs, mesh.rs
//! ```
//!
//! A job that loses a process ends as a whole, in every process, and goes on from its newest checkpoint when it is started again.
//! The connections are neither encrypted nor authenticated: they are for a private network.
//!
//! | file | what |
//! |---|---|
//! | [`bootstrap`] | connects the processes; the leader tells the others where the job goes on |
//! | `handshake`, `wire` | what two processes say before they trust each other, and how it is written |
//! | [`mesh`] | the connections of a process, and how a lost one is noticed |
//! | `data` | a connection as timely sees it |
//! | [`links`] | what coordinators say to each other |

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use timely::communication::Config as Communication;
use timely::communication::allocator::zero_copy::initialize::initialize_networking_from_sockets;
use timely::communication::allocator::{AllocatorBuilder, ProcessBuilder};
use timely::communication::{Hooks, WorkerGuards};
use timely::worker::Worker;
use timely::{Config, WorkerConfig};

use crate::control::Control;

pub mod bootstrap;
mod data;
mod handshake;
pub mod links;
pub mod mesh;
mod wire;

pub use bootstrap::{Connected, Welcome};
pub use handshake::Difference;
pub use mesh::Mesh;

/// How long an idle worker of several processes sleeps before it looks whether a process is lost.
const PATIENCE: Duration = Duration::from_millis(100);

/// Where the workers run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cluster {
    /// `workers` threads of this process.
    Threads {
        /// Number of workers, at least 1.
        workers: usize,
    },
    /// Several processes, each with the same number of workers.
    Processes(ProcessCluster),
}

/// A job's processes, as one of them knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessCluster {
    /// Workers of each process, at least 1.
    pub workers: usize,
    /// Which process this is; 0 leads.
    pub process: usize,
    /// `host:port` of every process, in the same order everywhere. Each listens on its own while the job starts.
    pub addresses: Vec<String>,
    /// How long a process may be silent before it counts as lost.
    pub lease: Duration,
    /// How long the processes wait for each other when the job starts.
    pub start_limit: Duration,
}

impl ProcessCluster {
    /// With a lease of 10 s, and 30 s to start.
    pub fn new(workers: usize, process: usize, addresses: Vec<String>) -> Self {
        let (lease, start_limit) = (Duration::from_secs(10), Duration::from_secs(30));
        ProcessCluster { workers, process, addresses, lease, start_limit }
    }

    /// Number of processes.
    pub fn processes(&self) -> usize {
        self.addresses.len()
    }
}

impl Cluster {
    /// Workers of this process.
    pub fn own_workers(&self) -> usize {
        match self {
            Cluster::Threads { workers } => *workers,
            Cluster::Processes(cluster) => cluster.workers,
        }
    }

    /// Workers over all processes.
    pub fn workers(&self) -> usize {
        match self {
            Cluster::Threads { workers } => *workers,
            Cluster::Processes(cluster) => cluster.workers * cluster.processes(),
        }
    }
}

/// Why workers can't be started, or did not end as they should.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The list of processes makes no sense.
    #[error("the list of processes can't be used: {detail}")]
    Addresses {
        /// What is wrong with it.
        detail: String,
    },
    /// This process can't listen on its own address.
    #[error(
        "process {process} can't listen on {address}: {source}; give each process a free port of its own machine"
    )]
    Listen {
        /// This process.
        process: usize,
        /// Its address.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process can't be spoken to.
    #[error(
        "process {own} can't reach process {process} at {address}: {detail}; check that it runs, and that nothing between the machines blocks its port"
    )]
    Unreachable {
        /// This process.
        own: usize,
        /// The other one.
        process: usize,
        /// Where it should be.
        address: String,
        /// What happens instead.
        detail: String,
    },
    /// Other processes did not come.
    #[error(
        "process {own} waited {limit_s} s for {missing}; start all processes of a job at about the same time, with the same list of processes"
    )]
    Missing {
        /// This process.
        own: usize,
        /// The others, with their addresses.
        missing: String,
        /// How long it waited.
        limit_s: u64,
    },
    /// Another process is not of this job.
    #[error(
        "process {process} at {address} {difference}: it can't share a job with process {own}; start all processes with the same pipeline, options and version of thalweg"
    )]
    Mismatch {
        /// This process.
        own: usize,
        /// The other one.
        process: usize,
        /// Where it is.
        address: String,
        /// In what they differ.
        difference: Difference,
    },
    /// Another version of thalweg.
    #[error(
        "the thalweg at {peer} speaks version {theirs} of the protocol between processes, not {ours}; start all processes with the same version"
    )]
    Protocol {
        /// Its address.
        peer: String,
        /// The version that it speaks.
        theirs: u8,
        /// The version that this process speaks.
        ours: u8,
    },
    /// Something else has the address of another process.
    #[error(
        "what answers at {address} is not process {process} of a job, nor thalweg at all; correct the list of processes"
    )]
    Foreign {
        /// The process that should be there.
        process: usize,
        /// Its address.
        address: String,
    },
    /// Another process knows why the job can't start.
    #[error("the job does not start, says process {by}: {reason}")]
    Refused {
        /// The other process.
        by: usize,
        /// Why.
        reason: String,
    },
    /// The job was asked to stop before its processes were connected.
    #[error("stopped before the processes of the job were connected")]
    Stopped,
    /// Another process has died, stopped, or can't be reached any more.
    #[error(
        "process {process} ({address}) is gone; this process ends, and the job goes on from the newest checkpoint when it is started again"
    )]
    Lost {
        /// The other process.
        process: usize,
        /// Where it was.
        address: String,
    },
    /// The workers can't be started.
    #[error("can't start the workers: {0}")]
    Start(String),
    /// A worker panicked: a bug.
    #[error(
        "a worker panicked: {0}; this is a bug in Thalweg, please report it with the pipeline and this message"
    )]
    Panicked(String),
}

impl ClusterError {
    /// The exit status of a process that ends because another one is lost: it is worth while to start it again.
    pub const LOST_STATUS: u8 = 3;

    fn start(error: impl Display) -> Self {
        ClusterError::Start(error.to_string())
    }
}

/// Runs `build` on every worker, then the dataflows that it built, to their end. Gives back each local worker's result.
///
/// Processes are connected first, as those of a job without checkpoints; one with checkpoints does that by itself (see
/// [`bootstrap`]) and then calls [`run_connected`].
///
/// # Errors
/// When the workers can't be started, or one panicked. With more than one worker a panic ends the process: the others would
/// wait for it forever. With several processes, those of [`run_connected`].
pub fn run<T, F>(cluster: &Cluster, build: F) -> Result<Vec<T>, ClusterError>
where
    T: Send + 'static,
    F: Fn(&mut Worker) -> T + Send + Sync + 'static,
{
    let workers = match cluster {
        Cluster::Threads { workers } => *workers,
        Cluster::Processes(processes) => {
            let connected = match processes.process {
                0 => bootstrap::lead(processes, 0, Welcome::default(), &Control::new())?,
                _ => bootstrap::join(processes, 0, &Control::new())?,
            };
            return run_connected(connected.mesh, build);
        }
    };
    let alone = workers == 1;
    let communication = if alone { Communication::Thread } else { Communication::Process(workers) };
    let config = Config { communication, worker: worker_config() };
    let guards = timely::execute(config, move |worker| {
        guarded(alone, || {
            let result = build(worker);
            while worker.has_dataflows() {
                worker.step_or_park(None);
            }
            result
        })
    })
    .map_err(ClusterError::Start)?;
    results(guards)
}

/// As [`run`], on the workers of this process, which is connected with the others of its job.
///
/// ```text
///   a process dies ─▶ its connections break  ┐             ┌▶ Failed to the coordinator ─▶ the job's control
///   it is stopped  ─▶ its heartbeat is missed ┴▶ mesh: lost ┼▶ all other processes: who it was
///                                                           └▶ workers let go of their dataflows ─▶ ClusterError::Lost
/// ```
///
/// # Errors
/// [`ClusterError::Lost`] when a process is lost before the dataflows have ended: with a peer gone they never would. Where a worker is
/// stuck, the process exits with [`ClusterError::LOST_STATUS`] a few seconds later. Otherwise as [`run`].
pub fn run_connected<T, F>(mesh: Mesh, build: F) -> Result<Vec<T>, ClusterError>
where
    T: Send + 'static,
    F: Fn(&mut Worker) -> T + Send + Sync + 'static,
{
    let last_resort = mesh.exit_when_stuck();
    let (cluster, hooks) = (mesh.cluster(), Hooks::default());
    // In a process batches move as they are; only between processes do they become bytes.
    let within = ProcessBuilder::new_typed_vector(cluster.workers, hooks.refill.clone(), hooks.spill.clone());
    let (builders, network) = initialize_networking_from_sockets(
        within,
        mesh.data_streams(),
        cluster.process,
        cluster.workers,
        hooks,
    )
    .map_err(ClusterError::start)?;
    let builders = builders.into_iter().map(AllocatorBuilder::Tcp).collect();
    let watch = Arc::clone(mesh.watch());
    let guards = timely::execute::execute_from(builders, Box::new(()), worker_config(), move |worker| {
        guarded(false, || {
            let result = build(worker);
            while worker.has_dataflows() && watch.lost().is_none() {
                worker.step_or_park(Some(PATIENCE));
            }
            let ended = !worker.has_dataflows();
            // Dropped, not stepped: it must not seem to anybody as if this worker had no more rows.
            worker.installed_dataflows().into_iter().for_each(|dataflow| worker.drop_dataflow(dataflow));
            ended.then_some(result)
        })
    })
    .map_err(ClusterError::Start)?;
    let results = results(guards);
    if mesh.watch().wait_for_end_of_data() {
        // Joins timely's network threads, which have nothing left to do.
        drop(network);
    } else {
        // One that hears no end from a lost process never ends, and this process will.
        std::mem::forget(network);
    }
    drop(last_resort);
    let results: Option<Vec<T>> = results?.into_iter().collect();
    results.ok_or_else(|| mesh.watch().error())
}

fn worker_config() -> WorkerConfig {
    WorkerConfig::default().idle_spin(Duration::ZERO)
}

// A worker's panic is a bug. The panic hook has said where and why.
fn guarded<T>(alone: bool, work: impl FnOnce() -> T) -> T {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
        Ok(result) => result,
        Err(panic) if alone => std::panic::resume_unwind(panic),
        Err(_) => std::process::abort(),
    }
}

fn results<T: Send + 'static>(guards: WorkerGuards<T>) -> Result<Vec<T>, ClusterError> {
    guards.join().into_iter().map(|result| result.map_err(ClusterError::Panicked)).collect()
}

#[cfg(test)]
mod tests;
