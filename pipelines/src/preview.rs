//! A look at the rows of a source or step, as they come.
//!
//! ```text
//!   the spec's real sources ─▶ its steps up to the one looked at ─▶ Handover ─▶ whoever looks on ─▶ enough: the job is broken off
//! ```
//!
//! The real engine reads the real topics or archives, without a consumer group and without commits, and nothing is kept: the job's
//! checkpoints go into a temporary folder, and the pipeline's own sinks are left out. So windows fire as they do live: once the
//! watermark has passed their end.
//!
//! Of late and rejected rows ([`refused`]) the whole pipeline is run, into nothing: what it refuses is read from where the job writes it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use arrow::array::RecordBatch;
use thalweg_engine::checkpoint::StagedFile;
use thalweg_engine::control::Control;
use thalweg_operators::sink::{Sink, SinkError};

use self::refused::Refused;
use crate::lower::sinks::{LATE, REJECTED};
use crate::plan::{self, Connector, Plan, Position, SinkKind};
use crate::run::{self, RunError, RunOptions};
use crate::spec::{Problem, SinkSpec, Spec, suggest};

mod refused;

/// Batches that wait for whoever looks on; the job waits when there are more.
const WAITING_MAX: usize = 4;
/// How often it is looked whether to stop, where no rows come.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How often late and rejected rows are made visible, microseconds.
const REFUSED_EVERY_US: i64 = 200_000;

/// Hands rows over as they come, on any worker. Cheap to clone; equal to its clones alone.
#[derive(Clone)]
pub struct Handover(Arc<SyncSender<RecordBatch>>);

impl Handover {
    /// To whoever holds the other end, who has as much time as they like: the job waits where the channel is full.
    pub fn new(to: SyncSender<RecordBatch>) -> Self {
        Handover(Arc::new(to))
    }
}

impl fmt::Debug for Handover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handover")
    }
}

impl PartialEq for Handover {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Handover {}

impl Sink for Handover {
    fn write(&mut self, batch: RecordBatch) -> Result<(), SinkError> {
        // Nobody looks on any more: the job is about to end.
        let _ = self.0.send(batch);
        Ok(())
    }

    fn stage(&mut self, _checkpoint: u64) -> Result<Vec<StagedFile>, SinkError> {
        Ok(Vec::new())
    }
}

/// What to look at.
#[derive(Debug, Clone)]
pub struct PreviewOptions {
    /// The source, step or sink whose rows are looked at, or `_late` or `_rejected`; `None`: what the first sink writes.
    pub step: Option<String>,
    /// Rows to see.
    pub rows: usize,
    /// Worker threads.
    pub workers: usize,
    /// A folder of archives by topic, to read instead of Kafka.
    pub archives: Option<PathBuf>,
    /// Whether to begin at the end of Kafka's topics: with what comes now.
    pub latest: bool,
}

/// Why there is nothing to be seen.
#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    /// The pipeline has no such source, step or sink.
    #[error("the pipeline has no source, step or sink \"{name}\"; {hint}")]
    Unknown {
        /// The name.
        name: String,
        /// What was meant, or what there is.
        hint: String,
    },
    /// The pipeline has problems.
    #[error("the pipeline has problems")]
    Problems(Vec<Problem>),
    /// There is no temporary folder.
    #[error("can't make a temporary folder: {0}; set TMPDIR to a folder that can be written to")]
    Folder(std::io::Error),
    /// The job failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Late or rejected rows can't be read back.
    #[error("can't read {path}, where the job wrote it: {detail}; is there room in the folder of TMPDIR?")]
    Unreadable {
        /// The file or folder.
        path: String,
        /// What is wrong with it.
        detail: String,
    },
    /// Rows can't be shown.
    #[error(transparent)]
    Show(std::io::Error),
}

/// How a preview ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Previewed {
    /// Rows seen.
    pub rows: usize,
    /// Whether there are no more: the sources have ended.
    pub all: bool,
    /// Rows read so far, over all sources.
    pub read: u64,
    /// Late ones among them.
    pub late: u64,
    /// Rejected ones among them.
    pub rejected: u64,
}

// What the job is broken off with.
#[derive(Debug, thiserror::Error)]
#[error("enough was seen")]
struct Enough;

/// Hands rows of a pipeline's source or step to `show` as they come, until there are enough, the sources end, or `control` is told to stop.
///
/// # Errors
/// A name that is not there, sources that can't be read, an expression that fails; what `show` fails with.
pub fn preview(
    spec: &Spec,
    options: &PreviewOptions,
    control: &Control,
    show: &mut dyn FnMut(&RecordBatch) -> std::io::Result<()>,
) -> Result<Previewed, PreviewError> {
    let looked_at = looked_at(spec, options.step.as_deref())?;
    let (handover, rows) = sync_channel(WAITING_MAX);
    let plan = planned(spec, &looked_at, options, Handover::new(handover))?;
    let folder = tempfile::tempdir().map_err(PreviewError::Folder)?;
    let archives = options.archives.clone();
    let run_options = RunOptions { archives, ..RunOptions::new(options.workers, folder.path()) };
    let inner = Control::new();
    let job = run::prepare(&plan, &run_options, &inner)?;
    // The job alone holds the other end: when it is over, so are its rows.
    drop(plan);
    let status = job.status();
    let mut seen = 0;
    let (ran, looked) = std::thread::scope(|scope| {
        let ran = scope.spawn(move || job.run());
        let looked = match looked_at {
            LookedAt::Stream(_) => {
                // Gone when there is enough: the job does not wait for anybody to take more.
                let rows = rows;
                look(options.rows, control, &mut seen, show, &mut || next(&rows))
            }
            LookedAt::Refused(name) => {
                // Nobody takes what the sinks are given.
                drop(rows);
                let mut refused = Refused::new(folder.path().join(name));
                look(options.rows, control, &mut seen, show, &mut || refused.next(ran.is_finished()))
            }
        };
        if !matches!(looked, Ok(Looked::AtAll)) {
            inner.fail(Enough);
        }
        (ran.join(), looked)
    });
    looked?;
    let all = match ran {
        Ok(Ok(_)) => true,
        Ok(Err(RunError::Failed(error))) if error.is::<Enough>() => false,
        Ok(Err(error)) => return Err(error.into()),
        Err(panic) => std::panic::resume_unwind(panic),
    };
    let sum = |of: &dyn Fn(&thalweg_operators::source::SourceCounters) -> u64| {
        status.sources.iter().map(|source| of(source)).sum()
    };
    Ok(Previewed {
        rows: seen,
        all,
        read: sum(&|source| source.read()),
        late: sum(&|source| source.late()),
        rejected: sum(&|source| source.rejected()),
    })
}

/// How looking came to its end.
enum Looked {
    /// There are no more.
    AtAll,
    AtEnough,
}

/// What may come next.
enum Next {
    Rows(RecordBatch),
    /// Nothing yet.
    Wait,
    End,
}

fn next(rows: &Receiver<RecordBatch>) -> Result<Next, PreviewError> {
    Ok(match rows.recv_timeout(LOOK_AGAIN) {
        Ok(batch) => Next::Rows(batch),
        Err(RecvTimeoutError::Timeout) => Next::Wait,
        Err(RecvTimeoutError::Disconnected) => Next::End,
    })
}

fn look(
    wanted: usize,
    control: &Control,
    seen: &mut usize,
    show: &mut dyn FnMut(&RecordBatch) -> std::io::Result<()>,
    next: &mut dyn FnMut() -> Result<Next, PreviewError>,
) -> Result<Looked, PreviewError> {
    while *seen < wanted && !control.stop_asked() {
        match next()? {
            Next::Rows(batch) => {
                let batch = batch.slice(0, batch.num_rows().min(wanted - *seen));
                *seen += batch.num_rows();
                show(&batch).map_err(PreviewError::Show)?;
            }
            Next::Wait => {}
            Next::End => return Ok(Looked::AtAll),
        }
    }
    Ok(Looked::AtEnough)
}

// The plan of what leads to the rows, and no further.
fn planned(
    spec: &Spec,
    looked_at: &LookedAt,
    options: &PreviewOptions,
    handover: Handover,
) -> Result<Plan, PreviewError> {
    let mut plan = plan::check(spec).map_err(PreviewError::Problems)?;
    match looked_at {
        LookedAt::Stream(from) => {
            let mut spec = spec.clone();
            spec.sinks.0 = vec![SinkSpec::of_stream(from)];
            plan = plan::check(&spec).map_err(PreviewError::Problems)?;
        }
        // All of it: what is rejected depends on the fields that it reads. With each checkpoint they are there to be seen.
        LookedAt::Refused(_) => {
            (plan.checkpoint.interval_us, plan.checkpoint.rows_max) = (REFUSED_EVERY_US, None);
        }
    }
    plan.checkpoint.storage = None;
    for sink in &mut plan.sinks {
        sink.kind = SinkKind::Handed(handover.clone());
    }
    for source in &mut plan.sources {
        if let (Connector::Kafka(kafka), true) = (&mut source.connector, options.latest) {
            (kafka.start, kafka.end) = (Position::Latest, None);
        }
    }
    Ok(plan)
}

/// Whose rows.
enum LookedAt {
    /// A source's or a step's.
    Stream(String),
    /// Those of a standing output.
    Refused(&'static str),
}

fn looked_at(spec: &Spec, name: Option<&str>) -> Result<LookedAt, PreviewError> {
    let sinks = || spec.sinks.iter().map(|sink| (sink.name.value.as_str(), sink.from.value.as_str()));
    let stream = |name: &str| Ok(LookedAt::Stream(name.to_owned()));
    let Some(name) = name else {
        return stream(sinks().map(|(_, from)| from).next().unwrap_or_default());
    };
    if let Some(refused) = [LATE, REJECTED].into_iter().find(|refused| *refused == name) {
        return Ok(LookedAt::Refused(refused));
    }
    let steps = spec.steps.iter().map(|step| step.name.value.as_str());
    let streams: Vec<&str> =
        steps.chain(spec.sources.iter().map(|source| source.name.value.as_str())).collect();
    if streams.contains(&name) {
        return stream(name);
    }
    if let Some((_, from)) = sinks().find(|(sink, _)| *sink == name) {
        return stream(from);
    }
    let sinks = sinks().map(|(sink, _)| sink);
    let names: Vec<&str> = streams.iter().copied().chain(sinks).chain([LATE, REJECTED]).collect();
    let hint = suggest::hint(name, &names, "sources, steps and sinks").unwrap_or_default();
    Err(PreviewError::Unknown { name: name.to_owned(), hint })
}
