//! Publishing: a checkpoint's files become part of the table in one commit; sweeping: what is of no checkpoint goes.
//!
//! ```text
//!   publish(n):  table says txn ≥ n ─▶ nothing to do          sweep(n):  files of checkpoints > n in the table, or txn > n:
//!                 otherwise ─▶ add files, txn = n                          ─▶ remove them, txn = n
//!                     │ overtaken: read the table again                   otherwise, an older generation in it: ─▶ own generation
//!                     └──────────▶ …                                      then files of checkpoints > n that it never had: deleted
//! ```

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use arrow::datatypes::SchemaRef;
use deltalake_core::kernel::{Action, Add, StructType};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use serde_json::Value;
use thalweg_engine::checkpoint::{Publisher, StagedFile};
use thalweg_engine::control::JobError;
use thalweg_operators::sink::SinkError;

use crate::log::sync;
use crate::table::{Change, Table};
use crate::types::{delta_schema, written_schema};
use crate::{DeltaError, own_checkpoint, stats};

/// So often a commit is tried when other writers are faster.
const TRIES_MAX: usize = 64;

/// A Delta sink's table.
#[derive(Debug, Clone)]
pub struct DeltaConfig {
    /// The sink's name.
    pub sink: String,
    /// The table's folder.
    pub folder: PathBuf,
    /// The columns of the sink's rows, with those that become folders.
    pub columns: SchemaRef,
    /// Columns that become folders, outermost first.
    pub partition_by: Vec<String>,
    /// The name by which the table knows the job and its sink: the same for all runs of a job. Generations and checkpoints that
    /// begin anew need a new one.
    pub application: String,
    /// This run's generation.
    pub generation: u64,
}

/// Makes a sink's files part of its table.
pub struct DeltaPublisher {
    config: DeltaConfig,
    schema: StructType,
    /// As it was after the last commit.
    table: Option<Table>,
}

/// What a commit is for.
enum Intent<'a> {
    Publish { checkpoint: u64, files: &'a [StagedFile], adds: Option<Vec<Action>> },
    Sweep { newest: u64 },
}

impl DeltaPublisher {
    /// Nothing is opened or made yet.
    ///
    /// # Errors
    /// A column that a Delta table can't have.
    pub fn new(config: DeltaConfig) -> Result<Self, DeltaError> {
        let schema = delta_schema(written_schema(&config.sink, &config.columns)?.as_ref());
        Ok(DeltaPublisher { config, schema, table: None })
    }

    // Commits until the table is as `intent` wants it; the table, as it is then.
    fn reach(&mut self, mut intent: Intent<'_>) -> Result<&Table, DeltaError> {
        let DeltaPublisher { config, schema, table } = self;
        for _ in 0..TRIES_MAX {
            let mut open = match table.take() {
                Some(open) => open.caught_up(config, schema)?,
                None => Table::open(config, schema)?,
            };
            let newer = open.progress().generation;
            if newer > config.generation {
                let (sink, folder) = (config.sink.clone(), config.folder.clone());
                return Err(DeltaError::Fenced { sink, folder, own: config.generation, newer });
            }
            let done = match intent.change(config, &open)? {
                Some(change) => open.commit(config, change)?,
                None => true,
            };
            if done {
                return Ok(table.insert(open));
            }
            *table = Some(open);
        }
        let (sink, folder) = (config.sink.clone(), config.folder.clone());
        Err(DeltaError::Overtaken { sink, folder, tries: TRIES_MAX })
    }
}

// Deletes files of checkpoints after `newest` that the table does not know and never did. Those that it has known are left to
// VACUUM: somebody may be reading an earlier version.
fn delete_unknown(config: &DeltaConfig, table: &Table, newest: u64) -> Result<(), DeltaError> {
    let mut found = Vec::new();
    files_after(&config.folder, &mut String::new(), newest, &mut found)?;
    if found.is_empty() {
        return Ok(());
    }
    let files = table.files()?;
    let mut known = files.removed;
    known.extend(files.active.iter().map(|file| file.path().into_owned()));
    for path in found.into_iter().filter(|path| !known.contains(path)) {
        let path = config.folder.join(path);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                return Err(DeltaError::Io { action: "delete", path, source });
            }
            _ => {}
        }
    }
    Ok(())
}

impl Intent<'_> {
    // What there is to do; `None`: nothing.
    fn change(&mut self, config: &DeltaConfig, table: &Table) -> Result<Option<Change>, DeltaError> {
        let progress = table.progress();
        let commit = |actions: Vec<Action>, operation: DeltaOperation, checkpoint: Option<u64>| {
            let is_append = matches!(operation, DeltaOperation::Write { .. });
            let mut metadata = vec![
                ("isBlindAppend".to_owned(), Value::from(is_append)),
                ("thalweg.sink".to_owned(), Value::from(config.sink.as_str())),
                ("thalweg.generation".to_owned(), Value::from(config.generation)),
            ];
            metadata.extend(checkpoint.map(|at| ("thalweg.checkpoint".to_owned(), Value::from(at))));
            Change { actions, operation, checkpoint, metadata }
        };
        let partition_by = (!config.partition_by.is_empty()).then(|| config.partition_by.clone());
        let append = DeltaOperation::Write { mode: SaveMode::Append, partition_by, predicate: None };
        match self {
            Intent::Publish { checkpoint, .. } if progress.checkpoint >= *checkpoint => Ok(None),
            Intent::Publish { checkpoint, files, adds } => {
                let adds = match adds {
                    Some(adds) => adds.clone(),
                    None => adds.insert(add_actions(config, *checkpoint, files)?).clone(),
                };
                Ok(Some(commit(adds, append, Some(*checkpoint))))
            }
            Intent::Sweep { newest } => {
                let files = table.files()?;
                let newer: Vec<Action> = files
                    .active
                    .iter()
                    .filter(|file| {
                        own_checkpoint(&file.path()).is_some_and(|checkpoint| checkpoint > *newest)
                    })
                    .map(|file| Action::Remove(file.remove_action(true)))
                    .collect();
                if newer.is_empty() && progress.checkpoint <= *newest {
                    let is_first = progress.generation < config.generation;
                    return Ok(is_first.then(|| commit(Vec::new(), append, None)));
                }
                table.check_not_rewritten(config, &files, *newest)?;
                let back = DeltaOperation::Restore { version: None, datetime: None };
                Ok(Some(commit(newer, back, Some(*newest))))
            }
        }
    }
}

// The files as Delta takes them, and on disk with the folders that they lie in.
fn add_actions(
    config: &DeltaConfig,
    checkpoint: u64,
    files: &[StagedFile],
) -> Result<Vec<Action>, DeltaError> {
    let mut folders: BTreeSet<PathBuf> = BTreeSet::new();
    let mut adds = Vec::with_capacity(files.len());
    for staged in files {
        let path = config.folder.join(&staged.target);
        let read = |source| DeltaError::Io { action: "read", path: path.clone(), source };
        let damaged = |detail: String| DeltaError::Damaged {
            sink: config.sink.clone(),
            path: path.display().to_string(),
            detail,
        };
        let file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let (sink, path) = (config.sink.clone(), path.display().to_string());
                return Err(SinkError::StagedFileGone { sink, path, checkpoint }.into());
            }
            opened => opened.map_err(read)?,
        };
        let metadata = file.metadata().map_err(read)?;
        if metadata.len() != staged.bytes {
            return Err(damaged(format!("it had {} bytes, and has {}", staged.bytes, metadata.len())));
        }
        let (rows, stats) = stats::of_file(&file).map_err(|error| damaged(error.to_string()))?;
        if rows != staged.rows {
            return Err(damaged(format!("it had {} rows, and has {rows}", staged.rows)));
        }
        let written = metadata.modified().map_err(read)?.duration_since(UNIX_EPOCH).unwrap_or_default();
        let in_table = path.ancestors().skip(1).take_while(|folder| folder.starts_with(&config.folder));
        folders.extend(in_table.map(Path::to_owned));
        adds.push(Action::Add(Add {
            path: staged.target.clone(),
            partition_values: staged.partition.iter().cloned().collect::<HashMap<_, _>>(),
            size: i64::try_from(staged.bytes).unwrap_or(i64::MAX),
            modification_time: i64::try_from(written.as_millis()).unwrap_or(i64::MAX),
            data_change: true,
            stats: Some(stats),
            ..Add::default()
        }));
    }
    folders.iter().try_for_each(|folder| sync(folder))?;
    Ok(adds)
}

// Jobs' files of checkpoints after `newest`, in `root` and below, as paths relative to it.
fn files_after(
    root: &Path,
    below: &mut String,
    newest: u64,
    found: &mut Vec<String>,
) -> Result<(), DeltaError> {
    let folder = root.join(&*below);
    let failed = |source| DeltaError::Io { action: "list", path: folder.clone(), source };
    for entry in fs::read_dir(&folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        // A name that is no UTF-8 is none of ours.
        let Ok(name) = entry.file_name().into_string() else { continue };
        let length = below.len();
        if !below.is_empty() {
            below.push('/');
        }
        below.push_str(&name);
        if entry.file_type().map_err(failed)?.is_dir() {
            // The log, and what other writers keep beside the rows.
            if !name.starts_with(['_', '.']) || name.contains('=') {
                files_after(root, below, newest, found)?;
            }
        } else if own_checkpoint(&name).is_some_and(|checkpoint| checkpoint > newest) {
            found.push(below.clone());
        }
        below.truncate(length);
    }
    Ok(())
}

impl Publisher for DeltaPublisher {
    fn sink(&self) -> &str {
        &self.config.sink
    }

    fn publish(&mut self, checkpoint: u64, files: &[StagedFile]) -> Result<(), JobError> {
        // No commit says nothing: what is published later bears a higher number.
        if !files.is_empty() {
            self.reach(Intent::Publish { checkpoint, files, adds: None })?;
        }
        Ok(())
    }

    fn sweep(&mut self, newest: u64) -> Result<(), JobError> {
        // The commit first: it keeps out an older run, which could publish what is deleted here.
        let config = self.config.clone();
        let table = self.reach(Intent::Sweep { newest })?;
        table.sweep_log()?;
        Ok(delete_unknown(&config, table, newest)?)
    }
}
