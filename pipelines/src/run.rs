//! A job: one run of a pipeline, from its first record to its closing summary.
//!
//! ```text
//!   Plan ─▶ prepare ─▶ Job ─▶ run ─▶ Summary
//!            finds splits      │
//!            claims folders    └─ status(): counters, readable from another thread while it runs
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use thalweg_engine::cluster::{self, Cluster, ClusterError};
use thalweg_engine::control::{Control, JobError};
use thalweg_engine::tick::{TickClock, TickLimits};
use thalweg_operators::sink::SinkCounters;
use thalweg_operators::source::{SourceCounters, SourceError};
use thalweg_operators::window::WindowCounters;

use crate::lower;
use crate::lower::sinks::{LATE, REJECTED};
use crate::lower::sources::LoweredSource;
use crate::plan::{Plan, SinkKind};

mod summary;

pub use summary::{SinkSummary, SourceSummary, Summary};

/// How to run a pipeline.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Where its workers run.
    pub cluster: Cluster,
    /// The folder of its outputs: `<output>/<sink>/…`.
    pub output: PathBuf,
    /// Whether to replace what an earlier run left there.
    pub overwrite: bool,
    /// A folder of archives by topic, to read instead of Kafka.
    pub archives: Option<PathBuf>,
    /// How much goes into a tick.
    pub limits: TickLimits,
}

impl RunOptions {
    /// `workers` threads, into `output`.
    pub fn new(workers: usize, output: impl Into<PathBuf>) -> Self {
        RunOptions {
            cluster: Cluster::Threads { workers },
            output: output.into(),
            overwrite: false,
            archives: None,
            limits: TickLimits::default(),
        }
    }
}

/// Why a job can't be run, or ended before its input.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A source can't be opened.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The output folder holds rows of an earlier run, which a new run would double.
    #[error(
        "{folder} holds rows of an earlier run; choose another folder with --output, or replace them with --overwrite"
    )]
    OutputInUse {
        /// The sink's folder.
        folder: String,
    },
    /// The output folder can't be used.
    #[error("can't use the output folder {folder}: {source}")]
    Output {
        /// The folder.
        folder: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The workers can't be started, or panicked.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// There is nobody to do the work, or too many.
    #[error("a job can't run with {workers} workers; choose from 1 to 256")]
    Workers {
        /// Workers over all processes.
        workers: usize,
    },
    /// A bounded piece of a topic is asked for, of which archives know nothing yet.
    #[error(
        "source {source_name} begins or ends at a timestamp or offset, but an archive is read as a whole; leave out start and end, or archive just that piece"
    )]
    ArchiveBounds {
        /// The source.
        source_name: String,
    },
    /// An operator failed.
    #[error(transparent)]
    Failed(JobError),
}

/// A job that is ready to run.
pub struct Job {
    pub(crate) plan: Arc<Plan>,
    pub(crate) sources: Vec<LoweredSource>,
    pub(crate) output: PathBuf,
    pub(crate) control: Control,
    pub(crate) clock: TickClock,
    pub(crate) windows: Arc<WindowCounters>,
    /// Of each sink, in the plan's order.
    pub(crate) sinks: Vec<Arc<SinkCounters>>,
    pub(crate) late: Arc<SinkCounters>,
    pub(crate) rejected: Arc<SinkCounters>,
    cluster: Cluster,
}

/// What a job has done so far. Cheap to clone; read it from any thread.
#[derive(Clone)]
pub struct Status {
    /// Of each source, in the plan's order.
    pub sources: Vec<Arc<SourceCounters>>,
    /// Windows of all steps.
    pub windows: Arc<WindowCounters>,
    /// Name and counts of each sink, the standing outputs last.
    pub sinks: Vec<(String, Arc<SinkCounters>)>,
    /// Whether every source has an end.
    pub bounded: bool,
}

/// Finds the job's splits and claims its output folders.
///
/// # Errors
/// A source that can't be opened; an output folder that holds rows already or can't be written to.
pub fn prepare(plan: &Plan, options: &RunOptions, control: &Control) -> Result<Job, RunError> {
    let workers = options.cluster.workers();
    if !(1..=256).contains(&workers) {
        return Err(RunError::Workers { workers });
    }
    for source in plan.sources.iter().filter(|_| options.archives.is_some()) {
        if source.connector.is_bounded_by_place() {
            return Err(RunError::ArchiveBounds { source_name: source.name.clone() });
        }
    }
    let sources = plan
        .sources
        .iter()
        .enumerate()
        .map(|(number, source)| {
            LoweredSource::new(number, source, options.archives.as_deref(), options.limits)
        })
        .collect::<Result<Vec<_>, _>>()?;
    claim_folders(plan, options)?;
    Ok(Job {
        plan: Arc::new(plan.clone()),
        sources,
        output: options.output.clone(),
        control: control.clone(),
        clock: TickClock::default(),
        windows: Arc::default(),
        sinks: plan.sinks.iter().map(|_| Arc::default()).collect(),
        late: Arc::default(),
        rejected: Arc::default(),
        cluster: options.cluster.clone(),
    })
}

impl Job {
    /// The job's counters.
    pub fn status(&self) -> Status {
        let names = self.plan.sinks.iter().map(|sink| sink.name.clone());
        let mut sinks: Vec<_> = names.zip(self.sinks.iter().cloned()).collect();
        sinks.push((LATE.to_owned(), Arc::clone(&self.late)));
        sinks.push((REJECTED.to_owned(), Arc::clone(&self.rejected)));
        Status {
            sources: self.sources.iter().map(|source| Arc::clone(&source.counters)).collect(),
            windows: Arc::clone(&self.windows),
            sinks,
            bounded: self.sources.iter().all(LoweredSource::bounded),
        }
    }

    /// Runs to the end of the input, or until the job's [`Control`] is told to stop.
    ///
    /// # Errors
    /// The first thing that failed. What was published before stays.
    pub fn run(self) -> Result<Summary, RunError> {
        let (status, control, workers) = (self.status(), self.control.clone(), self.cluster.workers());
        let (started, cpu) = (Instant::now(), summary::cpu_time());
        let cluster = self.cluster.clone();
        let job = Arc::new(self);
        cluster::run(&cluster, move |worker| lower::build(&job, worker))?;
        if let Some(error) = control.take_error() {
            return Err(RunError::Failed(error));
        }
        let cpu = summary::cpu_time().saturating_sub(cpu);
        Ok(Summary::new(&status, workers, control.stopping(), started.elapsed(), cpu))
    }
}

/// Prepares and runs a pipeline.
///
/// # Errors
/// As [`prepare`] and [`Job::run`].
pub fn run(plan: &Plan, options: &RunOptions, control: &Control) -> Result<Summary, RunError> {
    prepare(plan, options, control)?.run()
}

fn claim_folders(plan: &Plan, options: &RunOptions) -> Result<(), RunError> {
    let sinks = plan.sinks.iter().filter(|sink| sink.kind != SinkKind::Stdout).map(|sink| sink.name.as_str());
    for name in sinks.chain([LATE, REJECTED]) {
        let folder = options.output.join(name);
        let failed = |source| RunError::Output { folder: folder.display().to_string(), source };
        if !folder.exists() {
            continue;
        }
        if options.overwrite {
            std::fs::remove_dir_all(&folder).map_err(failed)?;
        } else if holds_files(&folder).map_err(failed)? {
            return Err(RunError::OutputInUse { folder: folder.display().to_string() });
        }
    }
    let failed = |source| RunError::Output { folder: options.output.display().to_string(), source };
    std::fs::create_dir_all(&options.output).map_err(failed)
}

fn holds_files(folder: &Path) -> std::io::Result<bool> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() || holds_files(&entry.path())? {
            return Ok(true);
        }
    }
    Ok(false)
}
