//! How a job begins: at its beginning, or at its newest checkpoint, as if nothing had happened since.
//!
//! ```text
//!   log ─▶ newest manifest ─▶ does the plan fit? ─▶ claim a generation ─▶ publish what it staged ─▶ sweep what came after
//!                                                   (older runs are fenced off)                          │
//!   workers: state files ◀── splits from its offsets ◀────────────────────────────────────────────────────┘
//! ```
//!
//! Of several processes the first does all this, and tells the others where they are.
//!
//! Nothing is thrown away unless [`GoOn::Fresh`] says so: a checkpoint that can't be read, or does not fit the pipeline, is an error
//! that says what to do.

use std::path::Path;

use serde::{Deserialize, Serialize};
use thalweg_engine::checkpoint::coordinator::{now_ms, publish};
use thalweg_engine::checkpoint::{
    CheckpointCounters, CheckpointError, Claim, History, Leader, Log, Manifest, SplitPosition, Store, state,
};
use thalweg_engine::cluster::links::Links;
use thalweg_engine::cluster::{Cluster, ClusterError, Mesh, ProcessCluster, Welcome, bootstrap};
use thalweg_engine::control::Control;
use thalweg_engine::shard::hash_key;
use thalweg_engine::watermark::{BEGINNING, EventTime};
use thalweg_operators::sink::staging::remove_folder;

use super::starting::Starting;
use super::{MemoryShares, RunError, RunOptions, Since, changes, holds_files};
use crate::lower::sinks::{LATE, REJECTED, publishers};
use crate::lower::sources::{Floor, Known, LoweredSource};
use crate::plan::{Plan, SinkKind};

/// The folder of checkpoints in an output folder.
pub const CHECKPOINTS: &str = "_checkpoints";

/// Which checkpoint a job goes on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoOn {
    /// The newest; at the beginning where there is none.
    Newest,
    /// An earlier one. What later ones have published is taken back.
    From(u64),
    /// None: state and outputs are thrown away.
    Fresh,
}

/// What a job begins with.
pub(super) struct Recovered {
    pub(super) store: Store,
    pub(super) base: Option<Manifest>,
    pub(super) generation: u64,
    pub(super) leader: Option<Leader>,
    pub(super) links: Links,
    /// The connections with the job's other processes.
    pub(super) mesh: Option<Mesh>,
    pub(super) since: Since,
    pub(super) sources: Vec<LoweredSource>,
}

/// The storage of a pipeline's checkpoints.
///
/// # Errors
/// [`CheckpointError::Location`].
pub fn open_store(plan: &Plan, output: &Path) -> Result<Store, CheckpointError> {
    match &plan.checkpoint.storage {
        Some(location) => Store::open(location),
        None => Store::open(&output.join(CHECKPOINTS).display().to_string()),
    }
}

/// Makes a job ready to begin, in the process that leads it or in another one.
pub(super) fn recover(plan: &Plan, options: &RunOptions, control: &Control) -> Result<Recovered, RunError> {
    match &options.cluster {
        Cluster::Threads { .. } => lead(plan, options),
        Cluster::Processes(cluster) if cluster.process == 0 => {
            let welcome = |generation, from, agreed: Agreed| Welcome {
                generation,
                from,
                payload: serde_json::to_value(agreed).expect("invariant: positions can be written as JSON"),
            };
            let connect = |welcome| bootstrap::lead(cluster, fingerprint(plan, options), welcome, control);
            let mut recovered = match lead(plan, options) {
                Err(finished @ RunError::Finished { checkpoint, changed, .. }) => {
                    // The others are told, since they can't know. Those that do not come have missed nothing.
                    drop(connect(welcome(0, checkpoint, Agreed::Finished { changed })));
                    return Err(finished);
                }
                recovered => recovered?,
            };
            let agreed = Agreed::GoesOn {
                positions: recovered.sources.iter().map(|source| source.positions.to_vec()).collect(),
                since: recovered
                    .since
                    .iter()
                    .map(|((step, label), at)| (step.clone(), label.clone(), *at))
                    .collect(),
            };
            let from = recovered.base.as_ref().map_or(0, |base| base.number);
            let connected = connect(welcome(recovered.generation, from, agreed))?;
            (recovered.links, recovered.mesh) = (connected.links, Some(connected.mesh));
            Ok(recovered)
        }
        Cluster::Processes(cluster) => follow(plan, options, cluster, control),
    }
}

/// What all processes of a job must know alike, besides generation and checkpoint.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Agreed {
    GoesOn {
        /// Of each source.
        positions: Vec<Vec<SplitPosition>>,
        since: Vec<(String, String, EventTime)>,
    },
    /// There is nothing left to do.
    Finished { changed: bool },
}

// Processes of one job run one pipeline, by one version of the program.
fn fingerprint(plan: &Plan, options: &RunOptions) -> u64 {
    let description = changes::describe(plan, options.archives.is_some());
    let sinks: Vec<String> = plan.sinks.iter().map(|sink| format!("{} {:?}", sink.name, sink.kind)).collect();
    let text = format!("{}\n{description}\n{sinks:?}\n{}", env!("CARGO_PKG_VERSION"), options.device);
    hash_key(text.as_bytes())
}

fn follow(
    plan: &Plan,
    options: &RunOptions,
    cluster: &ProcessCluster,
    control: &Control,
) -> Result<Recovered, RunError> {
    let connected = bootstrap::join(cluster, fingerprint(plan, options), control)?;
    let Welcome { generation, from, payload } = connected.welcome;
    let unread = |error: serde_json::Error| {
        RunError::Cluster(ClusterError::Start(format!("what process 0 says can't be read: {error}")))
    };
    let (positions, since) = match serde_json::from_value(payload).map_err(unread)? {
        Agreed::GoesOn { positions, since } => (positions, since),
        Agreed::Finished { changed } => {
            return Err(RunError::Finished { pipeline: plan.name.clone(), checkpoint: from, changed });
        }
    };
    let store = open_store(plan, &options.output)?;
    let base = match from {
        0 => None,
        number => Some(History::read(&store)?.checkpoint(number)?.clone()),
    };
    let memory = MemoryShares::new(plan, options.cluster.own_workers());
    let sources = plan
        .sources
        .iter()
        .zip(&positions)
        .enumerate()
        .map(|(number, (source, splits))| {
            let known = Known { splits, floor: Floor::AllKnown };
            LoweredSource::new(number, source, options, memory, &known)
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Recovered {
        store,
        base,
        generation,
        leader: None,
        links: connected.links,
        mesh: Some(connected.mesh),
        since: since.into_iter().map(|(step, label, at)| ((step, label), at)).collect(),
        sources,
    })
}

fn lead(plan: &Plan, options: &RunOptions) -> Result<Recovered, RunError> {
    let failed = |source| RunError::Output { folder: options.output.display().to_string(), source };
    std::fs::create_dir_all(&options.output).map_err(failed)?;
    let fresh = options.go_on == GoOn::Fresh;
    let store = open_store(plan, &options.output)?;
    let mut description = changes::describe(plan, options.archives.is_some());
    let job = new_job_name(plan);
    let mut base = None;
    let (log, history) = Log::claim::<RunError>(&store, |history| {
        // A job's name is its pipeline's, and a number.
        let other = history.claim().and_then(|claim| claim.job.rsplit_once('-')).map(|(name, _)| name);
        if let Some(other) = other.filter(|name| *name != plan.name) {
            let (folder, other) = (options.output.display().to_string(), other.to_owned());
            return Err(RunError::OtherPipeline { folder, other });
        }
        base = if fresh { None } else { choose(plan, options, history, &description)? };
        if let Some(base) = &mut base {
            let before = base.plan.clone();
            base.state.retain(|file| changes::keeps_state(&before, &description, &file.step));
        }
        let same_job = history.claim().filter(|_| !fresh);
        Ok(Claim {
            generation: history.newest_generation() + 1,
            from: base.as_ref().map(|base: &Manifest| base.number),
            at_ms: now_ms(),
            by: who(),
            job: same_job.map_or_else(|| job.clone(), |claim| claim.job.clone()),
        })
    })?;
    if let Some(before) = history.claim() {
        tracing::info!(generation = log.own().generation, before = before.by, "the job is taken over");
    }
    // Until all is cleared up and published; only then is it known that nobody was taken over in the midst of it.
    let starting = Starting::wait(&options.output, &who())?;
    // What is left to do is the newest run's.
    if let Some(replaced) = log.replaced()? {
        return Err(replaced.into());
    }
    if fresh || history.is_thrown_away() {
        // Older runs are fenced off by now, and a run that was killed in the midst of it is made good.
        throw_away(plan, options)?;
        state::sweep(&store, &[], log.own().generation)?;
        log.forget_earlier()?;
    }
    let since = base.as_ref().map_or_else(Since::new, |base| changes::newer(base, &mut description));
    let from = base.as_ref().map_or(0, |base| base.number);
    let mut publishers = publishers(plan, &options.output, log.own())?;
    let wrong = |error| RunError::Publish { checkpoint: from, error };
    if let Some(base) = &base {
        publish(&mut publishers, base, &CheckpointCounters::default()).map_err(wrong)?;
    }
    publishers.iter_mut().try_for_each(|publisher| publisher.sweep(from)).map_err(wrong)?;
    drop(starting);
    if let Some(base) = base.as_ref().filter(|base| base.finished && options.go_on == GoOn::Newest) {
        // Its run may have been killed before all of it was published, so this is known only now.
        log.retention().forget_old(plan.checkpoint.keep)?;
        return Err(RunError::Finished {
            pipeline: plan.name.clone(),
            checkpoint: base.number,
            changed: base.plan.get("all").is_some_and(|all| *all != description["all"]),
        });
    }
    // Those of checkpoints that could still be gone back to are kept.
    let kept = if base.is_some() { history.checkpoints() } else { Vec::new() };
    state::sweep(&store, &kept, log.own().generation)?;
    let memory = MemoryShares::new(plan, options.cluster.own_workers());
    let sources = plan
        .sources
        .iter()
        .enumerate()
        .map(|(number, source)| {
            let known = known(base.as_ref(), &source.name);
            LoweredSource::new(number, source, options, memory, &known)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let generation = log.own().generation;
    let leader = Leader {
        log,
        base: base.clone(),
        plan: description,
        sources: plan.sources.iter().map(|source| source.name.clone()).collect(),
        publishers,
        workers: options.cluster.workers(),
    };
    Ok(Recovered {
        store,
        base,
        generation,
        leader: Some(leader),
        links: Links::none(),
        mesh: None,
        since,
        sources,
    })
}

fn known<'a>(base: Option<&'a Manifest>, source: &str) -> Known<'a> {
    let Some(base) = base else { return Known { splits: &[], floor: Floor::None } };
    let found = base.sources.iter().find(|position| position.name == source);
    let floor = match base.watermark {
        BEGINNING => Floor::None,
        watermark => Floor::At(watermark),
    };
    Known { splits: found.map_or(&[], |position| &position.splits), floor }
}

// The checkpoint to go on from, if the plan fits it.
fn choose(
    plan: &Plan,
    options: &RunOptions,
    history: &History,
    description: &serde_json::Value,
) -> Result<Option<Manifest>, RunError> {
    history.must_have_claim()?;
    let base = match options.go_on {
        GoOn::From(number) => Some(history.checkpoint(number)?),
        GoOn::Newest | GoOn::Fresh => history.newest()?,
    };
    if history.is_empty() {
        claim_folders(plan, options)?;
    }
    let Some(base) = base else { return Ok(None) };
    // Found out before the job is claimed: what was sent to a topic can't be taken back.
    for sink in plan.sinks.iter().filter(|sink| matches!(sink.kind, SinkKind::Kafka { .. })) {
        let sent = |manifest: &&&Manifest| {
            manifest.number > base.number
                && manifest.sinks.iter().any(|staged| staged.name == sink.name && !staged.files.is_empty())
        };
        if let Some(last) = history.checkpoints().iter().rev().find(sent) {
            return Err(RunError::AlreadySent {
                sink: sink.name.clone(),
                sent: last.number,
                checkpoint: base.number,
            });
        }
    }
    let changed = changes::refused(&base.plan, description);
    if !changed.is_empty() {
        let changes: Vec<String> = changed.iter().map(ToString::to_string).collect();
        return Err(RunError::Changed {
            pipeline: plan.name.clone(),
            checkpoint: base.number,
            changes: changes.join("\n"),
        });
    }
    Ok(Some(base.clone()))
}

// Rows of somebody else are not to be mixed with this job's.
fn claim_folders(plan: &Plan, options: &RunOptions) -> Result<(), RunError> {
    for name in folders(plan) {
        let folder = options.output.join(name);
        let failed = |source| RunError::Output { folder: folder.display().to_string(), source };
        if folder.exists() && holds_files(&folder).map_err(failed)? {
            return Err(RunError::OutputInUse { folder: folder.display().to_string() });
        }
    }
    Ok(())
}

fn folders(plan: &Plan) -> impl Iterator<Item = &str> {
    let sinks = plan.sinks.iter().filter(|sink| sink.kind != SinkKind::Stdout).map(|sink| sink.name.as_str());
    sinks.chain([LATE, REJECTED])
}

fn throw_away(plan: &Plan, options: &RunOptions) -> Result<(), RunError> {
    for name in folders(plan) {
        let folder = options.output.join(name);
        let failed = |source| RunError::Output { folder: folder.display().to_string(), source };
        remove_folder(&folder).map_err(failed)?;
    }
    Ok(())
}

// Names what the job leaves in other systems, so it must differ from that of a job that was thrown away.
pub(super) fn new_job_name(plan: &Plan) -> String {
    let seed = format!("{}-{}-{}", plan.name, now_ms(), who());
    format!("{}-{:08x}", plan.name, hash_key(seed.as_bytes()) as u32)
}

pub(super) fn who() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("process {} on {}", std::process::id(), host.trim())
}
