//! A job: one run of a pipeline, from its first record, or its newest checkpoint, to its closing summary.
//!
//! ```text
//!   Plan ─▶ prepare ─▶ Job ─▶ run ─▶ Summary
//!            recovery.rs       │ └─ a thread makes checkpoints (thalweg_engine::checkpoint)
//!            finds splits      └─ status(): counters, readable from another thread while it runs
//! ```
//!
//! What happens after a crash stands in `recovery.rs`: newest checkpoint, its publishing finished, its state, its offsets.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use thalweg_engine::checkpoint::{
    CheckpointCounters, CheckpointError, Coordinator, CoordinatorConfig, Cuts, Leader, Manifest,
    SourcePosition, Store, state,
};
use thalweg_engine::cluster::links::Links;
use thalweg_engine::cluster::{self, Cluster, ClusterError, Mesh};
use thalweg_engine::control::{Control, JobError};
use thalweg_engine::tick::{TickClock, TickLimits};
use thalweg_engine::watermark::EventTime;
use thalweg_kafka::KafkaError;
use thalweg_operators::keyed::RestoredState;
use thalweg_operators::rows::StepCounters;
use thalweg_operators::sink::SinkCounters;
use thalweg_operators::source::SourceError;
use timely::worker::Worker;

use crate::lower;
use crate::lower::sources::LoweredSource;
use crate::plan::{Plan, SinkKind};

mod changes;
pub(crate) mod holdup;
mod memory;
pub(crate) mod process;
mod recovery;
mod seed;
mod starting;
mod status;
mod summary;

pub use changes::PlanChange;
pub(crate) use changes::Since;
pub(crate) use memory::MemoryShares;
pub use recovery::{CHECKPOINTS, GoOn, open_store};
pub use seed::seed;
pub use status::{JobState, Status, StepStatus};
pub use summary::{SinkSummary, SourceSummary, Summary};
pub use thalweg_engine::checkpoint::SourceCounts;

/// The variable that says to a process that it was started by another, which holds its standard input for as long as it is there.
pub(crate) const SUPERVISED: &str = "THALWEG_SUPERVISED";

/// How to run a pipeline.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Where its workers run.
    pub cluster: Cluster,
    /// The folder of its outputs: `<output>/<sink>/…`.
    pub output: PathBuf,
    /// Which checkpoint to go on from.
    pub go_on: GoOn,
    /// A folder of archives by topic, to read instead of Kafka.
    pub archives: Option<PathBuf>,
    /// The piece of the past that a backtest is about; it takes the place of where sources begin and end.
    pub period: Option<Period>,
    /// How far the sources of a job were that is replayed: they are read up to there, and rows behind the floors that they have had are
    /// late again.
    pub replays: Vec<SourcePosition>,
    /// How much goes into a tick.
    pub limits: TickLimits,
    /// Where trained models run: `cpu`, or `cuda:` and the number of a GPU.
    pub device: String,
}

/// A piece of the past, microseconds since the epoch. Records are chosen by their timestamps, results by their event time: a window's
/// is its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Period {
    /// In each split, reading begins with the first record that is not before this; `None`: with the first.
    pub read_from_us: Option<i64>,
    /// It ends before the first record that is not before this; `None`: where the split ends now.
    pub read_to_us: Option<i64>,
    /// Results before this are not written. What is read before serves to fill windows.
    pub from_us: Option<i64>,
    /// Nor are those that end after this.
    pub to_us: Option<i64>,
}

impl RunOptions {
    /// `workers` threads, into `output`, from the newest checkpoint if there is one.
    pub fn new(workers: usize, output: impl Into<PathBuf>) -> Self {
        RunOptions {
            cluster: Cluster::Threads { workers },
            output: output.into(),
            go_on: GoOn::Newest,
            archives: None,
            period: None,
            replays: Vec::new(),
            limits: TickLimits::default(),
            device: "cpu".to_owned(),
        }
    }
}

/// Why a job can't be run, or ended before its input.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A source can't be opened.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The output folder holds rows, and no checkpoint says whose.
    #[error(
        "{folder} holds files, but no checkpoint of this pipeline; choose another folder with --output, or replace them with --fresh"
    )]
    OutputInUse {
        /// The sink's folder.
        folder: String,
    },
    /// The output folder is another pipeline's.
    #[error(
        "{folder} holds the checkpoints of another pipeline, {other}; choose another folder with --output"
    )]
    OtherPipeline {
        /// The output folder.
        folder: String,
        /// The name of the pipeline whose it is.
        other: String,
    },
    /// The output folder can't be used.
    #[error("can't use the output folder {folder}: {source}")]
    Output {
        /// The folder.
        folder: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A checkpoint can't be found, read or made.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The pipeline was changed in a way that its state does not fit any more.
    #[error(
        "{pipeline} was changed since its checkpoint {checkpoint}, and what it holds does not fit any more:\n{changes}\nundo the change, give the pipeline or the step another name, or start over with --fresh"
    )]
    Changed {
        /// The pipeline.
        pipeline: String,
        /// The checkpoint.
        checkpoint: u64,
        /// What was changed, a line each.
        changes: String,
    },
    /// The job's input has ended: there is nothing left to do.
    #[error(
        "{pipeline} has read all its input, at checkpoint {checkpoint}{}; to run it once more from the start: --fresh",
        if *.changed { ", and was changed since" } else { "" }
    )]
    Finished {
        /// The pipeline.
        pipeline: String,
        /// The last checkpoint.
        checkpoint: u64,
        /// Whether the pipeline is another one now.
        changed: bool,
    },
    /// Another run of the job does not get on with its beginning.
    #[error(
        "{by} is just beginning a run into {folder}, and does not get on; end it (it may be stopped: kill -CONT, or kill -9), then run this again"
    )]
    Starting {
        /// The output folder.
        folder: String,
        /// The other run's process.
        by: String,
    },
    /// The job was asked to stop before it had begun.
    #[error("stopped before the job had begun")]
    StoppedBefore,
    /// A sink can't finish publishing the newest checkpoint, or clear away what came after it.
    #[error("can't go on from checkpoint {checkpoint}: {error}")]
    Publish {
        /// The checkpoint; 0: the beginning.
        checkpoint: u64,
        /// What the sink said.
        error: JobError,
    },
    /// The workers can't be started, or panicked.
    #[error(transparent)]
    Cluster(ClusterError),
    /// There is nobody to do the work, or too many.
    #[error("a job can't run with {workers} workers; choose from 1 to 256")]
    Workers {
        /// Workers over all processes.
        workers: usize,
    },
    /// What came after the checkpoint to go back to can't be taken back.
    #[error(
        "can't go back to checkpoint {checkpoint}: sink {sink} has sent rows to its topic up to checkpoint {sent}, and they can't be taken back; go on from the newest checkpoint, or start over with --fresh into another topic"
    )]
    AlreadySent {
        /// The sink.
        sink: String,
        /// The newest checkpoint with rows of the sink.
        sent: u64,
        /// The checkpoint to go back to.
        checkpoint: u64,
    },
    /// A Kafka sink can't be used.
    #[error(transparent)]
    KafkaSink(#[from] KafkaError),
    /// A run over recorded topics would send what it computes of the past to where consumers expect the present.
    #[error(
        "sink {sink} sends to the topic {topic}, and a run over archives would mix the past into it; leave the sink out, or write it as jsonl: {{}}"
    )]
    LiveTopic {
        /// The sink.
        sink: String,
        /// The topic.
        topic: String,
    },
    /// An operator failed.
    #[error(transparent)]
    Failed(JobError),
}

/// A job that is ready to run.
pub struct Job {
    context: Arc<JobContext>,
    leader: Option<Leader>,
    links: Links,
    mesh: Option<Mesh>,
    cluster: Cluster,
}

/// What all workers of a process know of their job.
pub(crate) struct JobContext {
    pub(crate) plan: Plan,
    pub(crate) sources: Vec<LoweredSource>,
    pub(crate) output: PathBuf,
    pub(crate) period: Option<Period>,
    pub(crate) control: Control,
    pub(crate) cuts: Cuts,
    pub(crate) generation: u64,
    pub(crate) memory: MemoryShares,
    /// Where trained models run.
    #[cfg_attr(not(feature = "models"), allow(dead_code, reason = "without models nothing runs there"))]
    pub(crate) device: String,
    /// Of each step, in the plan's order.
    pub(crate) steps: Vec<Arc<StepCounters>>,
    /// Of each sink, in the plan's order.
    pub(crate) sinks: Vec<Arc<SinkCounters>>,
    pub(crate) late: Arc<SinkCounters>,
    pub(crate) rejected: Arc<SinkCounters>,
    /// From when on aggregates count that are newer than the job.
    pub(crate) since: Since,
    checkpoints: Arc<CheckpointCounters>,
    store: Store,
    /// The checkpoint from which the job goes on.
    base: Option<Manifest>,
}

/// Finds the checkpoint from which the job goes on, finishes what its run had not published, claims the job for this run, and finds
/// its splits.
///
/// # Errors
/// A source that can't be opened; an output folder that can't be used; a checkpoint that can't be read, or that does not fit the plan.
pub fn prepare(plan: &Plan, options: &RunOptions, control: &Control) -> Result<Job, RunError> {
    let workers = options.cluster.workers();
    if !(1..=256).contains(&workers) {
        return Err(RunError::Workers { workers });
    }
    for sink in plan.sinks.iter().filter(|_| options.archives.is_some()) {
        if let SinkKind::Kafka { topic, .. } = &sink.kind {
            return Err(RunError::LiveTopic { sink: sink.name.clone(), topic: topic.clone() });
        }
    }
    let recovered = recovery::recover(plan, options, control)?;
    let from = recovered.base.as_ref().map_or(0, |base| base.number);
    let memory = MemoryShares::new(plan, options.cluster.own_workers());
    memory.warn(plan);
    let cuts = Cuts::new(from, options.cluster.own_workers(), TickClock::default());
    if let Some(base) = &recovered.base {
        // Before any split reports: one that comes back from idleness may not come back behind it.
        cuts.set_watermark(base.watermark);
    }
    let context = JobContext {
        plan: plan.clone(),
        sources: recovered.sources,
        output: options.output.clone(),
        period: options.period,
        control: control.clone(),
        cuts,
        generation: recovered.generation,
        memory,
        device: options.device.clone(),
        steps: plan.steps.iter().map(|_| Arc::default()).collect(),
        sinks: plan.sinks.iter().map(|_| Arc::default()).collect(),
        late: Arc::default(),
        rejected: Arc::default(),
        since: recovered.since,
        checkpoints: Arc::default(),
        store: recovered.store,
        base: recovered.base,
    };
    Ok(Job {
        context: Arc::new(context),
        leader: recovered.leader,
        links: recovered.links,
        mesh: recovered.mesh,
        cluster: options.cluster.clone(),
    })
}

impl From<ClusterError> for RunError {
    fn from(error: ClusterError) -> Self {
        match error {
            ClusterError::Stopped => RunError::StoppedBefore,
            error => RunError::Cluster(error),
        }
    }
}

impl JobContext {
    /// What worker `worker` of `workers` held of a step at the checkpoint from which the job goes on.
    pub(crate) fn restored(
        &self,
        step: &str,
        worker: usize,
        workers: usize,
    ) -> Result<RestoredState, CheckpointError> {
        let Some(base) = &self.base else { return Ok(RestoredState::nothing()) };
        let wanted = base.state.iter().filter(|file| file.step == step);
        let files = wanted
            .filter(|file| state::holds_shards_of(file, worker, workers))
            .map(|file| state::read(&self.store, file))
            .collect::<Result<_, _>>()?;
        Ok(RestoredState { files, watermark: base.watermark })
    }
}

impl Job {
    /// The job's counters.
    pub fn status(&self) -> Status {
        Status::of(&self.context)
    }

    /// The checkpoint from which the job goes on; `None`: its beginning.
    pub fn goes_on_from(&self) -> Option<&Manifest> {
        self.context.base.as_ref()
    }

    /// Aggregates that are newer than the job: step, aggregate, and from which time on windows have it; older ones have null.
    pub fn newer_aggregates(&self) -> impl Iterator<Item = (&str, &str, EventTime)> {
        self.context.since.iter().map(|((step, label), since)| (step.as_str(), label.as_str(), *since))
    }

    /// Runs to the end of the input, or until the job's [`Control`] is told to stop.
    ///
    /// # Errors
    /// The first thing that failed. What was published before stays.
    pub fn run(self) -> Result<Summary, RunError> {
        let status = self.status();
        let (started, cpu) = (Instant::now(), process::cpu_time());
        let Job { context, leader, links, mesh, cluster } = self;
        let (control, cuts) = (context.control.clone(), context.cuts.clone());
        let goes_on = context.base.is_some();
        tracing::info!(
            pipeline = status.pipeline,
            generation = status.generation,
            checkpoint = cuts.first(),
            workers = cluster.workers(),
            "{}",
            if cuts.first() == 0 { "the job begins" } else { "the job goes on from a checkpoint" }
        );
        let coordinator = coordinator(&context, &status, leader, links);
        let checkpoints = std::thread::spawn(move || coordinator.run());
        let build = move |worker: &mut Worker| lower::build(&context, worker);
        let ran = match mesh {
            Some(mesh) => cluster::run_connected(mesh, build),
            None => cluster::run(&cluster, build),
        };
        if let Err(error) = ran {
            control.fail(error);
        }
        cuts.close();
        let account = checkpoints.join().unwrap_or_else(|_| {
            control.fail("the thread that makes checkpoints panicked; this is a bug in Thalweg");
            None
        });
        if let Some(error) = control.take_error() {
            return Err(RunError::Failed(error));
        }
        let cpu = process::cpu_time().saturating_sub(cpu);
        let account = account.map(|account| (account, goes_on, matches!(cluster, Cluster::Processes(_))));
        let summary =
            Summary::new(&status, account, cluster.workers(), control.stop_asked(), started.elapsed(), cpu);
        let read: u64 = summary.sources.iter().map(|source| source.read).sum();
        tracing::info!(
            pipeline = status.pipeline,
            checkpoint = status.checkpoint(),
            read,
            seconds = summary.seconds,
            stopped = summary.stopped,
            "the job has ended"
        );
        Ok(summary)
    }
}

fn coordinator(context: &JobContext, status: &Status, leader: Option<Leader>, links: Links) -> Coordinator {
    let (sources, planned) = (status.sources.clone(), &context.plan.checkpoint);
    Coordinator {
        config: CoordinatorConfig {
            interval: Duration::from_micros(planned.interval_us.unsigned_abs()),
            rows_max: planned.rows_max,
            keep: planned.keep,
        },
        cuts: context.cuts.clone(),
        store: context.store.clone(),
        generation: context.generation,
        leader,
        links,
        control: context.control.clone(),
        counters: Arc::clone(&context.checkpoints),
        rows_read: Box::new(move || sources.iter().map(|source| source.read()).sum()),
    }
}

/// Prepares and runs a pipeline.
///
/// # Errors
/// As [`prepare`] and [`Job::run`].
pub fn run(plan: &Plan, options: &RunOptions, control: &Control) -> Result<Summary, RunError> {
    prepare(plan, options, control)?.run()
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
