//! What a live job has written, and where it was: held still while a backtest looks at it.
//!
//! A job that runs writes on, forgets old checkpoints and deletes their state. So what is compared is its outputs as of one checkpoint,
//! linked into the backtest's own folder, and the state that a backtest goes on from is copied before anything runs.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use thalweg_engine::checkpoint::{History, Manifest, SourcePosition, Store};
use thalweg_engine::watermark::EventTime;
use thalweg_operators::sink::staging::{STAGING, checkpoint_of};

use super::BacktestError;
use crate::lower::sinks::{LATE, REJECTED};
use crate::plan::{Plan, SinkKind};
use crate::run::{self, RunError, open_store};

/// The outputs of a live job, as of a checkpoint.
#[derive(Debug, Clone)]
pub struct LiveOutput {
    pub(super) plan: Plan,
    /// How far its sources were.
    pub(super) sources: Vec<SourcePosition>,
    /// Windows that end later have not fired there; `None`: all have.
    pub(super) watermark: Option<EventTime>,
    /// Its folder.
    folder: PathBuf,
    checkpoint: u64,
}

/// A checkpoint of a live job.
#[derive(Clone)]
pub struct LiveState {
    store: Store,
    pub(super) manifest: Manifest,
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
    /// It has no such checkpoint, or one that can't be read; there is nothing left to read behind it.
    pub fn open(plan: &Plan, folder: &Path, number: u64) -> Result<LiveState, BacktestError> {
        let (store, history) = checkpoints(plan, folder)?;
        let manifest = history.checkpoint(number).map_err(RunError::from)?.clone();
        if manifest.finished {
            return Err(BacktestError::Finished { checkpoint: number });
        }
        Ok(LiveState { store, manifest })
    }

    /// The same, with its state in a folder of one's own.
    pub(super) fn copied(&self, folder: &Path) -> Result<LiveState, BacktestError> {
        let store = Store::open(&folder.display().to_string()).map_err(RunError::from)?;
        for file in &self.manifest.state {
            let bytes = self.store.get(&file.path).map_err(RunError::from)?;
            store.put(&file.path, bytes.to_vec()).map_err(RunError::from)?;
        }
        Ok(LiveState { store, manifest: self.manifest.clone() })
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }
}

// Looking makes no folders.
fn checkpoints(plan: &Plan, folder: &Path) -> Result<(Store, History), BacktestError> {
    if plan.checkpoint.storage.is_none() && !folder.join(run::CHECKPOINTS).exists() {
        return Err(not_live(plan, folder));
    }
    let store = open_store(plan, folder).map_err(RunError::from)?;
    let history = History::read(&store).map_err(RunError::from)?;
    Ok((store, history))
}

fn not_live(plan: &Plan, folder: &Path) -> BacktestError {
    BacktestError::NotLive { folder: folder.display().to_string(), pipeline: plan.name.clone() }
}

fn in_files(plan: &Plan) -> impl Iterator<Item = &str> {
    let parquet = |kind: &SinkKind| matches!(kind, SinkKind::Parquet { .. });
    plan.sinks
        .iter()
        .filter(move |sink| parquet(&sink.kind))
        .map(|sink| sink.name.as_str())
        .chain([LATE, REJECTED])
}

impl LiveOutput {
    /// What the job of `plan` has written into `folder`, until the newest checkpoint that all its sinks have published.
    ///
    /// # Errors
    /// It has no such checkpoint, or one that can't be read.
    pub fn open(plan: &Plan, folder: &Path) -> Result<LiveOutput, BacktestError> {
        let (_, history) = checkpoints(plan, folder)?;
        history.newest().map_err(RunError::from)?;
        // A job may be about to publish its newest, or was killed before it had.
        let is_published = |manifest: &&&Manifest| {
            in_files(plan).all(|name| {
                let staged =
                    manifest.sinks.iter().filter(|sink| sink.name == name).flat_map(|sink| &sink.files);
                staged.into_iter().all(|file| folder.join(name).join(&file.target).exists())
            })
        };
        let all = history.checkpoints();
        let newest = all.iter().rev().find(is_published).ok_or_else(|| not_live(plan, folder))?;
        Ok(LiveOutput {
            plan: plan.clone(),
            sources: newest.sources.clone(),
            watermark: (!newest.finished).then_some(newest.watermark),
            folder: folder.to_owned(),
            checkpoint: newest.number,
        })
    }

    /// Links what belongs to the checkpoint into a folder of one's own.
    pub(super) fn hold(&self, folder: &Path) -> Result<(), BacktestError> {
        for name in in_files(&self.plan) {
            let (from, to) = (self.folder.join(name), folder.join(name));
            link(&from, &to, self.checkpoint)
                .map_err(|source| BacktestError::Io { path: from.display().to_string(), source })?;
        }
        Ok(())
    }

    /// Where a Delta sink's table is. What the job has added meanwhile is in it too.
    pub(super) fn table(&self) -> &Path {
        &self.folder
    }

    /// Whether the job has gone on since.
    ///
    /// # Errors
    /// Its checkpoints can't be read any more.
    pub(super) fn has_gone_on(&self) -> Result<bool, BacktestError> {
        let (_, history) = checkpoints(&self.plan, &self.folder)?;
        Ok(history.checkpoints().last().is_none_or(|newest| newest.number != self.checkpoint))
    }
}

fn link(from: &Path, to: &Path, checkpoint: u64) -> io::Result<()> {
    let entries = match fs::read_dir(from) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let (source, target) = (entry.path(), to.join(&name));
        if entry.file_type()?.is_dir() {
            if name != STAGING {
                link(&source, &target, checkpoint)?;
            }
        } else if checkpoint_of(&name.to_string_lossy()).is_some_and(|of| of <= checkpoint) {
            fs::create_dir_all(to)?;
            // Another file system has no links to this one.
            fs::hard_link(&source, &target).or_else(|_| fs::copy(&source, &target).map(drop))?;
        }
    }
    Ok(())
}
