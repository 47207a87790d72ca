//! A Delta table as the sink sees it: opened or made, its columns checked, committed to.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use deltalake_core::checkpoints::create_checkpoint_from_table_url_and_cleanup;
use deltalake_core::kernel::transaction::{CommitData, PROTOCOL, TransactionError};
use deltalake_core::kernel::{Action, LogicalFileView, MetadataExt, StructType, Transaction, new_metadata};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::table::config::TablePropertiesExt;
use deltalake_core::table::state::DeltaTableState;
use deltalake_core::{DeltaTable, DeltaTableBuilder, DeltaTableError};
use futures::TryStreamExt;
use serde_json::{Value, json};
use thalweg_engine::failpoint;
use url::Url;

use crate::log::Log;
use crate::publisher::DeltaConfig;
use crate::{DeltaError, blocking, own_checkpoint};

/// How long a table that a sink makes keeps its history. Delta's usual thirty days would be a quarter of a million entries at a
/// commit every ten seconds.
const LOG_RETENTION: (&str, &str) = ("delta.logRetentionDuration", "interval 7 days");

/// A table, at a version.
pub(crate) struct Table {
    folder: PathBuf,
    log: Log,
    version: u64,
    progress: Progress,
    /// After so many commits the log is summed up.
    summed_up_every: u64,
}

/// How far the job is in a table, by the table's own word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The newest checkpoint that is in it; 0: none.
    pub(crate) checkpoint: u64,
    /// The newest generation that has written to it.
    pub(crate) generation: u64,
}

/// What a commit does.
pub(crate) struct Change {
    pub(crate) actions: Vec<Action>,
    pub(crate) operation: DeltaOperation,
    /// The checkpoint that the table holds then; `None`: as before.
    pub(crate) checkpoint: Option<u64>,
    /// For whoever reads the table's history.
    pub(crate) metadata: Vec<(String, Value)>,
}

/// The files of a table.
pub(crate) struct Files {
    /// Those that belong to it.
    pub(crate) active: Vec<LogicalFileView>,
    /// Those that did, as long as the log knows them.
    pub(crate) removed: HashSet<String>,
}

impl Progress {
    fn note(&mut self, config: &DeltaConfig, application: &str, version: i64) {
        let version = u64::try_from(version).unwrap_or_default();
        if application == config.application {
            self.checkpoint = version;
        } else if application == generation_of(&config.application) {
            self.generation = version;
        }
    }
}

/// The application under which a table knows a job's generations.
fn generation_of(application: &str) -> String {
    format!("{application}/generation")
}

fn url_of(folder: &Path) -> Result<Url, DeltaError> {
    let failed = |source| DeltaError::Io { action: "read", path: folder.to_owned(), source };
    let absolute = folder.canonicalize().map_err(failed)?;
    Url::from_directory_path(absolute).map_err(|()| failed(std::io::ErrorKind::InvalidInput.into()))
}

fn failed(action: &'static str, folder: &Path, source: impl Into<DeltaTableError>) -> DeltaError {
    DeltaError::Table { action, folder: folder.to_owned(), source: Box::new(source.into()) }
}

/// Reads the log of the table in `folder` as a whole, up to `version` or its end; `None`: there is no table.
pub(crate) async fn load(folder: &Path, version: Option<u64>) -> Result<Option<DeltaTable>, DeltaError> {
    let url = url_of(folder)?;
    let open = async || {
        let mut table = DeltaTableBuilder::from_url(url)?.build()?;
        let exists = table.verify_deltatable_existence().await?;
        match version {
            _ if !exists => return Ok(None),
            Some(version) => table.load_version(version).await?,
            None => table.load().await?,
        }
        Ok(Some(table))
    };
    open().await.map_err(|source: DeltaTableError| failed("open", folder, source))
}

/// The files that belong to a table at a version.
pub(crate) fn active(state: &DeltaTableState, folder: &Path) -> Result<Vec<LogicalFileView>, DeltaError> {
    let log = state.snapshot().try_log_data().map_err(|source| failed("read", folder, source))?;
    Ok(log.iter().collect())
}

impl Table {
    /// Opens the table of a sink, or makes it, and looks whether rows with the columns of `schema` fit into it.
    pub(crate) fn open(config: &DeltaConfig, schema: &StructType) -> Result<Table, DeltaError> {
        let folder = &config.folder;
        fs::create_dir_all(folder).map_err(|source| DeltaError::Io {
            action: "write",
            path: folder.clone(),
            source,
        })?;
        let log = Log::of(folder);
        blocking(async || {
            let table = match load(folder, None).await? {
                Some(table) => table,
                None => {
                    // When it is not made now, somebody else was faster.
                    log.create(0, &first_entry(config, schema)?)?;
                    let missing = || DeltaTableError::NotATable(folder.display().to_string());
                    load(folder, None).await?.ok_or_else(|| failed("open", folder, missing()))?
                }
            };
            let state = table.snapshot().map_err(|source| failed("read", folder, source))?;
            check(config, schema, state)?;
            let mut progress = Progress::default();
            for application in [config.application.clone(), generation_of(&config.application)] {
                let version = state.transaction_version(table.log_store().as_ref(), &application).await;
                let version = version.map_err(|source| failed("read", folder, source))?;
                progress.note(config, &application, version.unwrap_or_default());
            }
            Ok(Table {
                folder: folder.clone(),
                log: log.clone(),
                version: state.version(),
                progress,
                summed_up_every: state.table_config().checkpoint_interval().get(),
            })
        })
    }

    /// Reads what was committed since.
    pub(crate) fn caught_up(
        mut self,
        config: &DeltaConfig,
        schema: &StructType,
    ) -> Result<Table, DeltaError> {
        // Cleaned up, after a very long sleep: the version that follows it may be gone too, though not free.
        if !self.log.has(self.version) {
            return Table::open(config, schema);
        }
        while let Some(entry) = self.log.read(self.version + 1)? {
            if entry.changes_table {
                return Table::open(config, schema);
            }
            for (application, version) in &entry.transactions {
                self.progress.note(config, application, *version);
            }
            self.version += 1;
        }
        Ok(self)
    }

    /// How far the job is.
    pub(crate) fn progress(&self) -> Progress {
        self.progress
    }

    /// The table's files.
    pub(crate) fn files(&self) -> Result<Files, DeltaError> {
        let (folder, version) = (self.folder.as_path(), self.version);
        blocking(async || {
            let missing = || DeltaTableError::NotATable(folder.display().to_string());
            let table =
                load(folder, Some(version)).await?.ok_or_else(|| failed("open", folder, missing()))?;
            let (log, read) = (table.log_store(), |source| failed("read", folder, source));
            let state = table.snapshot().map_err(read)?;
            let removed = state.all_tombstones(log.as_ref()).map_ok(|file| file.path().into_owned());
            Ok(Files { active: active(state, folder)?, removed: removed.try_collect().await.map_err(read)? })
        })
    }

    /// Looks for rows of checkpoints after `newest` in files of somebody else's, who has rewritten ours: they can't be told from
    /// others any more.
    pub(crate) fn check_not_rewritten(
        &self,
        config: &DeltaConfig,
        files: &Files,
        newest: u64,
    ) -> Result<(), DeltaError> {
        let rewritten = |detail: String| DeltaError::Rewritten {
            sink: config.sink.clone(),
            folder: self.folder.clone(),
            newest,
            detail,
        };
        if files.active.iter().all(|file| own_checkpoint(&file.path()).is_some()) {
            return Ok(());
        }
        let generation = generation_of(&config.application);
        for version in (0..=self.version).rev() {
            let Some(entry) = self.log.read(version)? else {
                return Err(rewritten(format!(
                    "it holds files of other writers, and its log does not reach back far enough to tell what is in them: \
                     version {version} is forgotten"
                )));
            };
            let of_job = |(application, _): &&(String, i64)| *application == config.application;
            if let Some((_, at)) = entry.transactions.iter().find(of_job)
                && u64::try_from(*at).is_ok_and(|at| at <= newest)
            {
                return Ok(());
            }
            let is_own = entry
                .transactions
                .iter()
                .any(|(application, _)| *application == config.application || *application == generation);
            let newer = entry.removed.iter().filter_map(|path| own_checkpoint(path)).find(|at| *at > newest);
            if let Some(checkpoint) = newer.filter(|_| !is_own) {
                return Err(rewritten(format!(
                    "version {version} has rewritten rows of checkpoint {checkpoint}"
                )));
            }
        }
        Ok(())
    }

    /// Makes the commit that follows all that this has seen; false: somebody else's was first.
    pub(crate) fn commit(&mut self, config: &DeltaConfig, change: Change) -> Result<bool, DeltaError> {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let mut transactions =
            vec![Transaction::new(generation_of(&config.application), number(config.generation))];
        transactions.extend(change.checkpoint.map(|at| Transaction::new(&config.application, number(at))));
        let metadata = change.metadata.into_iter().collect();
        let data = CommitData::new(change.actions, change.operation, metadata, transactions);
        let entry = data.get_bytes().map_err(|error| failed("write to", &self.folder, error))?;
        failpoint!("delta::before_commit");
        if !self.log.create(self.version + 1, &entry)? {
            return Ok(false);
        }
        failpoint!("delta::committed");
        self.version += 1;
        self.progress.generation = config.generation;
        self.progress.checkpoint = change.checkpoint.unwrap_or(self.progress.checkpoint);
        if (self.version + 1).is_multiple_of(self.summed_up_every) {
            self.sum_up();
        }
        Ok(true)
    }

    /// Deletes what crashed runs have left in its log.
    pub(crate) fn sweep_log(&self) -> Result<(), DeltaError> {
        self.log.sweep()
    }

    // A checkpoint in Delta's sense: readers then read it and what came after it. Entries that are older than the table's retention go.
    fn sum_up(&self) {
        let (folder, version) = (self.folder.as_path(), self.version);
        let summed_up = url_of(folder).and_then(|url| {
            blocking(async || {
                let made = create_checkpoint_from_table_url_and_cleanup(url, version, None, None).await;
                made.map_err(|source| failed("sum up the log of", folder, source))
            })?;
            self.log.sync_summary(version)
        });
        // Rows are safe without it, and the next one makes good for it.
        if let Err(error) = summed_up {
            tracing::warn!(%error, version, "a Delta table's log grows");
        }
    }
}

// The entry that makes a table.
fn first_entry(config: &DeltaConfig, schema: &StructType) -> Result<Vec<u8>, DeltaError> {
    let bytes = || {
        // All readers read it and all writers write it. Writer version 2, which is usual, asks for invariants of columns to be
        // honoured, and the library as it is built here can't.
        let protocol: deltalake_core::kernel::Protocol =
            serde_json::from_value(json!({"minReaderVersion": 1, "minWriterVersion": 1}))?;
        let metadata = new_metadata(schema, &config.partition_by, [LOG_RETENTION])?;
        let metadata = metadata.with_name(config.sink.clone())?;
        let actions = vec![Action::Protocol(protocol.clone()), Action::Metadata(metadata.clone())];
        let location = url_of(&config.folder).map_err(|error| DeltaTableError::generic(error.to_string()))?;
        let operation =
            DeltaOperation::Create { mode: SaveMode::ErrorIfExists, location, protocol, metadata };
        let data = CommitData::new(actions, operation, Default::default(), Vec::new());
        Ok(data.get_bytes()?.to_vec())
    };
    bytes().map_err(|source: DeltaTableError| failed("make", &config.folder, source))
}

// Whether rows with the columns of `schema` fit into the table, and we honour all that it asks of writers.
fn check(config: &DeltaConfig, schema: &StructType, state: &DeltaTableState) -> Result<(), DeltaError> {
    let differs = |detail: String| {
        let (sink, folder) = (config.sink.clone(), config.folder.clone());
        Err(DeltaError::Schema { sink, folder, detail })
    };
    let there = state.schema();
    PROTOCOL.can_write_to(state).map_err(|error: TransactionError| DeltaError::Unsupported {
        folder: config.folder.clone(),
        action: "written",
        detail: format!("{error}; give sink {} another name, or remove that from the table", config.sink),
    })?;
    for field in schema.fields() {
        match there.field(&field.name) {
            None => return differs(format!("{} {} is not in it", field.name, field.data_type)),
            Some(other) if other.data_type != field.data_type => {
                let (name, own, other) = (&field.name, &field.data_type, &other.data_type);
                return differs(format!("{name} is {own} here and {other} there"));
            }
            Some(other) if !other.nullable => {
                return differs(format!("{} is not null there", field.name));
            }
            Some(_) => {}
        }
    }
    if let Some(more) = there.fields().find(|field| schema.field(&field.name).is_none()) {
        return differs(format!("the sink has no {} {}", more.name, more.data_type));
    }
    let partitions = state.metadata().partition_columns();
    if *partitions != config.partition_by {
        let list = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let (own, other) = (list(&config.partition_by), list(partitions));
        return differs(format!("partition columns are {own} here and {other} there"));
    }
    Ok(())
}
