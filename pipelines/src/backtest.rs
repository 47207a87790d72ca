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

use thalweg_engine::control::Control;
use thalweg_engine::watermark::EventTime;
use thalweg_query::QueryError;

pub use self::live::{LiveOutput, LiveState};
pub use self::report::{
    ColumnDifference, Comparison, Difference, GroupDifference, Report, RunReport, SinkComparison,
};
use crate::plan::{Connector, Plan, PlannedSink, SinkKind, StepKind, WindowKind};
use crate::run::{self, GoOn, Period, RunError, RunOptions, Status};

mod against;
mod compare;
mod differences;
mod live;
mod report;
mod shape;

/// Which file size a variant's sinks write.
const TARGET_FILE_BYTES: u64 = crate::plan::TARGET_FILE_BYTES;
/// Records come so much later than they happened, besides what sources allow for.
pub(crate) const DELAY_US: i64 = 60_000_000;
/// The folder of what a live job has written.
const LIVE: &str = "live";
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
    /// Columns that are not compared.
    pub ignore: Vec<String>,
    /// Where a live job was: windows that were open then go on, and what it had read is not read again.
    pub state: Option<LiveState>,
    /// Worker threads.
    pub workers: usize,
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
    /// A checkpoint with which the input had ended.
    #[error(
        "checkpoint {checkpoint} is the live job's last, with which its input ended: nothing is left to read; take an earlier one (thalweg checkpoints lists them)"
    )]
    Finished {
        /// The checkpoint.
        checkpoint: u64,
    },
    /// The live job has no such source.
    #[error(
        "the live job has no source {source_name}: what it has read can't be read again; compare with another pipeline (--against FILE)"
    )]
    UnknownSource {
        /// The source.
        source_name: String,
    },
    /// What is read is given twice.
    #[error("a backtest that goes on from a checkpoint begins there; leave out --from and --warm-up")]
    StateAndFrom,
    /// Nothing was read, which proves nothing.
    #[error(
        "{variant}: no record was read: the sources hold none there; look at what they hold with thalweg archive info, and at --from, --to and --state"
    )]
    Nothing {
        /// The variant.
        variant: String,
    },
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
        Some(Reference::Live(live)) => Some(live.as_ref()),
        _ => None,
    };
    if let Some(live) = live {
        for source in variants.iter().flat_map(|variant| &variant.plan.sources) {
            if live.sources.iter().all(|known| known.name != source.name) {
                return Err(BacktestError::UnknownSource { source_name: source.name.clone() });
            }
        }
        live.hold(&options.output.join(LIVE))?;
    }
    // Before the live job forgets it.
    let state =
        options.state.as_ref().map(|state| state.copied(&options.output.join(".state"))).transpose()?;
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
            replays: live.map(|live| live.sources.clone()).unwrap_or_default(),
            ..RunOptions::new(options.workers, options.output.join(&variant.name))
        };
        if let Some(state) = &state {
            run::seed(&plan, &run_options, state.store(), &state.manifest)?;
        }
        let job = run::prepare(&plan, &run_options, control)?;
        let ended = watch(&variant.name, job.status());
        let summary = job.run();
        ended();
        let summary = summary?;
        if summary.stopped {
            return Err(BacktestError::Stopped { folder: options.output.display().to_string() });
        }
        if summary.sources.iter().all(|source| source.read == 0) {
            return Err(BacktestError::Nothing { variant: variant.name.clone() });
        }
        runs.push(RunReport { name: variant.name.clone(), about: variant.about.clone(), summary });
    }
    let mut comparisons = Vec::new();
    if let Some(reference) = reference {
        for variant in variants {
            comparisons.push(against::compare_with(options, reference, variant)?);
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
    // What a model says of a row depends on all rows of its series before.
    let has_model = |plan: &Plan| plan.steps.iter().any(|step| matches!(step.kind, StepKind::Series(_)));
    let all_before = options.warm_up_us.is_none() && plans().any(has_model);
    let read_from_us = options.from_us.map(|from| from.saturating_sub(warm_up));
    Period {
        read_from_us: read_from_us.filter(|_| !all_before),
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
