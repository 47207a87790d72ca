//! Backtests: a pipeline over a piece of the past, and what would have been different.
//!
//! ```text
//!   pipeline.yaml + --set … ─▶ variants ─▶ a job each, from archives or Kafka, into a folder of its own ─▶ compare ─▶ Report
//!                                              ▲ a reference among them, or what the live job has written ──▲
//! ```
//!
//! What a job reads and writes otherwise is left alone: the sinks of a variant are folders of Parquet below the backtest's own, no
//! consumer group is used and nothing is committed.
//!
//! A period chooses records by their timestamps and results by their event time (see [`Period`]): more is read than is shown,
//! before it so that windows are full, and after it so that they are complete.

use std::path::{Path, PathBuf};

use serde::Serialize;
use thalweg_engine::checkpoint::{History, Manifest, SplitPosition, Store};
use thalweg_engine::control::Control;
use thalweg_engine::watermark::EventTime;
use thalweg_query::QueryError;

pub use self::compare::{ColumnDifference, Comparison, Difference, GroupDifference, SinkComparison};
pub use self::html::html;
use crate::plan::{Connector, Plan, PlannedSink, SinkKind, StepKind, WindowKind};
use crate::run::{self, GoOn, Period, RunError, RunOptions, Status, Summary, open_store};

mod compare;
mod html;
mod shape;

/// Which file size a variant's sinks write.
const TARGET_FILE_BYTES: u64 = crate::plan::TARGET_FILE_BYTES;
/// Records come so much later than they happened, besides what sources allow for.
const DELAY_US: i64 = 60_000_000;
/// Marks a folder as a backtest's own, to be written anew.
const MARK: &str = ".backtest";

/// What to run.
#[derive(Debug, Clone)]
pub struct BacktestOptions {
    /// The folder of all that it writes: `<output>/<variant>/<sink>/…`.
    pub output: PathBuf,
    /// A folder of archives by topic, to read instead of Kafka.
    pub archives: Option<PathBuf>,
    /// Results before this are not shown, microseconds since the epoch.
    pub from_us: Option<EventTime>,
    /// Nor are those after this.
    pub to_us: Option<EventTime>,
    /// How much before `from_us` is read; `None`: as much as the longest window and the lateness of sources ask for.
    pub warm_up_us: Option<i64>,
    /// How much after `to_us` is read; `None`: the lateness of sources, and a minute.
    pub cool_down_us: Option<i64>,
    /// Where a live job was: windows that were open then go on, and what it had read is not read again.
    pub state: Option<LiveState>,
    /// Worker threads.
    pub workers: usize,
}

/// A checkpoint of a live job.
#[derive(Clone)]
pub struct LiveState {
    store: Store,
    manifest: Manifest,
}

/// A pipeline to run, by a name of its own.
#[derive(Debug, Clone)]
pub struct Variant {
    /// The name: that of its folder.
    pub name: String,
    /// What is different about it, for people.
    pub about: String,
    /// What it is.
    pub plan: Plan,
}

/// What to compare with.
#[derive(Debug, Clone)]
pub enum Reference {
    /// Another pipeline over the same period.
    Variant(Box<Variant>),
    /// What a live job has written until its newest checkpoint.
    Live(Box<LiveOutput>),
}

/// The outputs of a live job.
#[derive(Debug, Clone)]
pub struct LiveOutput {
    /// Its folder.
    folder: PathBuf,
    plan: Plan,
    /// How far its newest checkpoint was.
    splits: Vec<SplitPosition>,
    /// Windows that end later have not fired there; `None`: all have.
    watermark: Option<EventTime>,
}

/// Why there is no backtest.
#[derive(Debug, thiserror::Error)]
pub enum BacktestError {
    /// A job can't run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// What was written can't be compared.
    #[error("can't compare: {0}")]
    Query(#[from] QueryError),
    /// A file can't be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The output folder is somebody else's.
    #[error("{folder} holds files that are no backtest's; name another folder with --output")]
    Foreign {
        /// The folder.
        folder: String,
    },
    /// There is nothing live to compare with.
    #[error(
        "{folder} holds no checkpoint of {pipeline}: nothing live to compare with; name the folder of its outputs with --live-output"
    )]
    NotLive {
        /// The folder.
        folder: String,
        /// The pipeline.
        pipeline: String,
    },
    /// Topics go on while a backtest reads them.
    #[error(
        "to go on from a checkpoint, record the topics first (thalweg archive record), and give their folder with --archives"
    )]
    NoArchives,
    /// What is read is given twice.
    #[error("a backtest that goes on from a checkpoint begins there; leave out --from and --warm-up")]
    StateAndFrom,
    /// The period ends before it begins.
    #[error("the period ends before it begins; let --to be later than --from")]
    EmptyPeriod,
    /// It was told to stop.
    #[error("stopped; what was written until then is in {folder}")]
    Stopped {
        /// The output folder.
        folder: String,
    },
}

/// Sees each job begin, and gives back what is to be called at its end.
pub type Watch<'a> = &'a mut dyn FnMut(&str, Status) -> Box<dyn FnOnce()>;

/// What came of a backtest.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The pipeline.
    pub pipeline: String,
    /// Results are shown from here …
    pub from: Option<String>,
    /// … to here.
    pub to: Option<String>,
    /// Each job that ran, the reference first.
    pub runs: Vec<RunReport>,
    /// Each variant against the reference, where there is one.
    pub comparisons: Vec<Comparison>,
}

/// A job of a backtest.
#[derive(Debug, Clone, Serialize)]
pub struct RunReport {
    /// The variant's name.
    pub name: String,
    /// What is different about it.
    pub about: String,
    /// What it did, with what was read to fill and complete windows.
    pub summary: Summary,
}

impl Report {
    /// Whether any variant gives other rows than the reference.
    pub fn differs(&self) -> bool {
        self.comparisons.iter().any(|comparison| comparison.sinks.iter().any(SinkComparison::differs))
    }
}

impl std::fmt::Debug for LiveState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveState").field("checkpoint", &self.manifest.number).finish_non_exhaustive()
    }
}

impl LiveState {
    /// Checkpoint `number` of the job of `plan`, whose outputs are in `folder`.
    ///
    /// # Errors
    /// It has no such checkpoint, or one that can't be read.
    pub fn open(plan: &Plan, folder: &Path, number: u64) -> Result<LiveState, BacktestError> {
        let (store, history) = checkpoints(plan, folder)?;
        let manifest = history.checkpoint(number).map_err(RunError::from)?.clone();
        Ok(LiveState { store, manifest })
    }
}

// Looking makes no folders.
fn checkpoints(plan: &Plan, folder: &Path) -> Result<(Store, History), BacktestError> {
    if plan.checkpoint.storage.is_none() && !folder.join(run::CHECKPOINTS).exists() {
        return Err(BacktestError::NotLive {
            folder: folder.display().to_string(),
            pipeline: plan.name.clone(),
        });
    }
    let store = open_store(plan, folder).map_err(RunError::from)?;
    let history = History::read(&store).map_err(RunError::from)?;
    Ok((store, history))
}

impl LiveOutput {
    /// What the job of `plan` has written into `folder`.
    ///
    /// # Errors
    /// It has no checkpoint there, or one that can't be read.
    pub fn open(plan: &Plan, folder: &Path) -> Result<LiveOutput, BacktestError> {
        let (_, history) = checkpoints(plan, folder)?;
        let newest = history.newest().map_err(RunError::from)?.ok_or_else(|| BacktestError::NotLive {
            folder: folder.display().to_string(),
            pipeline: plan.name.clone(),
        })?;
        Ok(LiveOutput {
            folder: folder.to_owned(),
            plan: plan.clone(),
            splits: newest.sources.iter().flat_map(|source| source.splits.clone()).collect(),
            watermark: (!newest.finished).then_some(newest.watermark),
        })
    }
}

/// Runs the reference, where it is to be run, and each variant; then compares each with it.
///
/// # Errors
/// The first job that fails; outputs that can't be compared.
pub fn backtest(
    options: &BacktestOptions,
    reference: Option<&Reference>,
    variants: &[Variant],
    control: &Control,
    watch: Watch<'_>,
) -> Result<Report, BacktestError> {
    if let (Some(from), Some(to)) = (options.from_us, options.to_us)
        && to <= from
    {
        return Err(BacktestError::EmptyPeriod);
    }
    let kafka = |variant: &Variant| {
        variant.plan.sources.iter().any(|source| matches!(source.connector, Connector::Kafka(_)))
    };
    if options.state.is_some() && options.archives.is_none() && variants.iter().any(kafka) {
        return Err(BacktestError::NoArchives);
    }
    if options.state.is_some() && (options.from_us.is_some() || options.warm_up_us.is_some()) {
        return Err(BacktestError::StateAndFrom);
    }
    claim(&options.output)?;
    let live = match reference {
        Some(Reference::Live(live)) => Some(&**live),
        _ => None,
    };
    let first = match reference {
        Some(Reference::Variant(variant)) => Some(&**variant),
        _ => None,
    };
    let all: Vec<&Variant> = first.into_iter().chain(variants).collect();
    // All of them read the same records.
    let period = period(options, &all);
    let mut runs = Vec::new();
    for variant in &all {
        let plan = detached(&variant.plan);
        let run_options = RunOptions {
            go_on: if options.state.is_some() { GoOn::Newest } else { GoOn::Fresh },
            archives: options.archives.clone(),
            period: Some(period),
            replays: live.map(|live| live.splits.clone()).unwrap_or_default(),
            ..RunOptions::new(options.workers, options.output.join(&variant.name))
        };
        if let Some(LiveState { store, manifest }) = &options.state {
            run::seed(&plan, &run_options, store, manifest)?;
        }
        let job = run::prepare(&plan, &run_options, control)?;
        let ended = watch(&variant.name, job.status());
        let summary = job.run();
        ended();
        let summary = summary?;
        if summary.stopped {
            return Err(BacktestError::Stopped { folder: options.output.display().to_string() });
        }
        runs.push(RunReport { name: variant.name.clone(), about: variant.about.clone(), summary });
    }
    let mut comparisons = Vec::new();
    if let Some(reference) = reference {
        for variant in variants {
            comparisons.push(compare_with(options, reference, variant)?);
        }
    }
    let shown = |time: Option<EventTime>| time.map(thalweg_schemas::time::format_rfc3339);
    Ok(Report {
        pipeline: variants.first().map(|variant| variant.plan.name.clone()).unwrap_or_default(),
        from: shown(options.from_us),
        to: shown(options.to_us),
        runs,
        comparisons,
    })
}

fn compare_with(
    options: &BacktestOptions,
    reference: &Reference,
    variant: &Variant,
) -> Result<Comparison, BacktestError> {
    let folder = options.output.join(&variant.name);
    let (name, reference_folder, plan, live) = match reference {
        Reference::Variant(other) => {
            (other.name.as_str(), options.output.join(&other.name), &other.plan, None)
        }
        Reference::Live(live) => ("live", live.folder.clone(), &live.plan, Some(live)),
    };
    let until = live.and_then(|live| live.watermark);
    // Windows that had fired before are not there a second time.
    let from_us = options.state.as_ref().map(|state| state.manifest.watermark).or(options.from_us);
    let mut sinks = Vec::new();
    for sink in &variant.plan.sinks {
        let Some(other) = plan.sinks.iter().find(|other| other.name == sink.name) else { continue };
        let (own_shape, other_shape) = (shape::of(&variant.plan, sink), shape::of(plan, other));
        // What a live job has written is not marked with its event time: only windows can be told apart by it.
        if live.is_some()
            && !own_shape.has_window_end
            && (own_shape.is_windowed && until.is_some() || from_us.is_some() || options.to_us.is_some())
        {
            sinks.push(SinkComparison::not_comparable(
                &sink.name,
                "its rows do not say where they lie in time; keep window_end in select, or compare without a period",
            ));
            continue;
        }
        let fired = until.filter(|_| own_shape.is_windowed);
        let range = live.map(|_| compare::Range { from_us, to_us: options.to_us, fired });
        sinks.push(compare::sink(
            &reference_folder,
            &folder,
            &sink.name,
            &other_shape.common(&own_shape),
            range.as_ref(),
        )?);
    }
    for name in [crate::lower::sinks::LATE, crate::lower::sinks::REJECTED] {
        if live.is_some() && options.state.is_some() {
            let why = "which of them the live job had seen before the checkpoint is not known";
            sinks.push(SinkComparison::not_comparable(name, why));
            continue;
        }
        let range =
            live.map(|_| compare::Range { from_us: options.from_us, to_us: options.to_us, fired: None });
        sinks.push(compare::sink(&reference_folder, &folder, name, &shape::of_refused(), range.as_ref())?);
    }
    Ok(Comparison {
        reference: name.to_owned(),
        variant: variant.name.clone(),
        about: variant.about.clone(),
        sinks,
    })
}

// The folder is the backtest's own, and what an earlier one has left there goes.
fn claim(output: &Path) -> Result<(), BacktestError> {
    let io = |source| BacktestError::Io { path: output.display().to_string(), source };
    let mark = output.join(MARK);
    let is_used = match std::fs::read_dir(output) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => return Err(io(error)),
    };
    if is_used && !mark.exists() {
        return Err(BacktestError::Foreign { folder: output.display().to_string() });
    }
    if is_used {
        std::fs::remove_dir_all(output).map_err(io)?;
    }
    std::fs::create_dir_all(output).and_then(|()| std::fs::write(mark, "")).map_err(io)
}

// A plan that writes into its own folder, and nowhere else.
fn detached(plan: &Plan) -> Plan {
    let mut plan = plan.clone();
    plan.checkpoint.storage = None;
    for PlannedSink { kind, .. } in &mut plan.sinks {
        *kind = SinkKind::Parquet { partition_by: Vec::new(), target_file_bytes: TARGET_FILE_BYTES };
    }
    plan
}

fn period(options: &BacktestOptions, variants: &[&Variant]) -> Period {
    let plans = || variants.iter().map(|variant| &variant.plan);
    let lateness = plans().flat_map(|plan| &plan.sources).map(|source| source.event_time.lateness_us);
    let lateness = lateness.max().unwrap_or(0);
    let warm_up = options.warm_up_us.unwrap_or_else(|| {
        let longest = plans().map(|plan| plan.steps.iter().filter_map(window_us).sum::<i64>()).max();
        longest.unwrap_or(0).saturating_add(lateness)
    });
    let cool_down = options.cool_down_us.unwrap_or(lateness.saturating_add(DELAY_US));
    Period {
        read_from_us: options.from_us.map(|from| from.saturating_sub(warm_up)),
        read_to_us: options.to_us.map(|to| to.saturating_add(cool_down)),
        from_us: options.from_us,
        to_us: options.to_us,
    }
}

// How far back the rows of a window may lie; of a session without a limit, two of its gaps.
fn window_us(step: &crate::plan::PlannedStep) -> Option<i64> {
    let StepKind::Window(window) = &step.kind else { return None };
    Some(match &window.window {
        WindowKind::Tumbling { size_us, .. } | WindowKind::Hopping { size_us, .. } => *size_us,
        WindowKind::Session { gap_us, max_us } => max_us.unwrap_or(gap_us.saturating_mul(2)),
    })
}
