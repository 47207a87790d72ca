//! A Delta table as the sink sees it: opened or made, its columns checked, committed to.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use deltalake_core::checkpoints::cleanup_metadata;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties, PROTOCOL, TransactionError};
use deltalake_core::kernel::{Action, LogicalFileView, StructType, Transaction, Version};
use deltalake_core::logstore::get_actions;
use deltalake_core::operations::create::CreateBuilder;
use deltalake_core::protocol::DeltaOperation;
use deltalake_core::table::config::TablePropertiesExt;
use deltalake_core::table::state::DeltaTableState;
use deltalake_core::{DeltaTable, DeltaTableBuilder, DeltaTableError, TableProperty};
use futures::TryStreamExt;
use serde_json::{Value, json};
use thalweg_engine::failpoint;
use url::Url;

use crate::publisher::DeltaConfig;
use crate::{DeltaError, own_checkpoint};

/// How long a table that a sink makes keeps its history: Delta's usual thirty days would be a quarter of a million commits at one
/// every ten seconds, which each commit has to list.
const LOG_RETENTION: &str = "interval 7 days";

/// A table.
pub(crate) struct Table {
    folder: PathBuf,
    delta: DeltaTable,
    /// As of a version.
    progress: Option<(Version, Progress)>,
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

/// Opens a table in `folder`; `None`: there is none.
pub(crate) async fn load(folder: &Path) -> Result<Option<DeltaTable>, DeltaError> {
    let absolute = folder.canonicalize().map_err(|source| DeltaError::Io {
        action: "read",
        path: folder.to_owned(),
        source,
    })?;
    let url = Url::from_directory_path(&absolute).map_err(|()| DeltaError::Io {
        action: "read",
        path: absolute,
        source: std::io::ErrorKind::InvalidInput.into(),
    })?;
    let open = async || {
        let mut table = DeltaTableBuilder::from_url(url)?.build()?;
        let exists = table.verify_deltatable_existence().await?;
        if exists {
            table.load().await?;
        }
        Ok(exists.then_some(table))
    };
    open().await.map_err(|source: DeltaTableError| failed("open", folder, source))
}

fn failed(action: &'static str, folder: &Path, source: DeltaTableError) -> DeltaError {
    DeltaError::Table { action, folder: folder.to_owned(), source: Box::new(source) }
}

/// Whether a commit failed because somebody else's was first.
pub(crate) fn was_overtaken(error: &DeltaTableError) -> bool {
    matches!(
        error,
        DeltaTableError::VersionAlreadyExists(_)
            | DeltaTableError::Transaction {
                source: TransactionError::CommitConflict(_) | TransactionError::MaxCommitAttempts(_)
            }
    )
}

impl Table {
    /// Opens the table of a sink, or makes it, and looks whether rows with the columns of `schema` fit into it.
    pub(crate) async fn open(config: &DeltaConfig, schema: &StructType) -> Result<Table, DeltaError> {
        let folder = config.folder.clone();
        fs::create_dir_all(&folder).map_err(|source| DeltaError::Io {
            action: "write",
            path: folder.clone(),
            source,
        })?;
        let delta = match load(&folder).await? {
            Some(delta) => delta,
            None => match make(config, schema).await {
                Ok(delta) => {
                    sync_log(&folder, 0)?;
                    delta
                }
                // Somebody else may have been faster.
                Err(error) => load(&folder).await?.ok_or_else(|| failed("write to", &folder, error))?,
            },
        };
        let table = Table { folder, delta, progress: None };
        table.check(config, schema)?;
        Ok(table)
    }

    /// The table as it is now.
    pub(crate) async fn refreshed(
        mut self,
        config: &DeltaConfig,
        schema: &StructType,
    ) -> Result<Self, DeltaError> {
        self.delta.update_state().await.map_err(|source| failed("read", &self.folder, source))?;
        self.check(config, schema)?;
        Ok(self)
    }

    fn state(&self) -> Result<&DeltaTableState, DeltaError> {
        self.delta.snapshot().map_err(|source| failed("read", &self.folder, source))
    }

    // Whether rows with the columns of `schema` fit into the table, and we honour all that it asks of writers.
    fn check(&self, config: &DeltaConfig, schema: &StructType) -> Result<(), DeltaError> {
        let state = self.state()?;
        let unsupported = |detail: String| DeltaError::Unsupported {
            folder: self.folder.clone(),
            action: "written",
            detail: format!(
                "{detail}; give sink {} another name, or remove that from the table",
                config.sink
            ),
        };
        let differs = |detail: String| DeltaError::Schema {
            sink: config.sink.clone(),
            folder: self.folder.clone(),
            detail,
        };
        let there = state.schema();
        PROTOCOL.can_write_to(state).map_err(|error| unsupported(error.to_string()))?;
        for field in schema.fields() {
            match there.field(&field.name) {
                None => return Err(differs(format!("{} {} is not in it", field.name, field.data_type))),
                Some(other) if other.data_type != field.data_type => {
                    let (name, own, other) = (&field.name, &field.data_type, &other.data_type);
                    return Err(differs(format!("{name} is {own} here and {other} there")));
                }
                Some(other) if !other.nullable => {
                    return Err(differs(format!("{} is not null there", field.name)));
                }
                Some(_) => {}
            }
        }
        if let Some(more) = there.fields().find(|field| schema.field(&field.name).is_none()) {
            return Err(differs(format!("the sink has no {} {}", more.name, more.data_type)));
        }
        let partitions = state.metadata().partition_columns();
        if partitions != &config.partition_by {
            let list = |names: &[String]| match names {
                [] => "none".to_owned(),
                names => names.join(", "),
            };
            let (own, other) = (list(&config.partition_by), list(partitions));
            return Err(differs(format!("partition columns are {own} here and {other} there")));
        }
        Ok(())
    }

    /// How far `config`'s job is.
    pub(crate) async fn progress(&mut self, config: &DeltaConfig) -> Result<Progress, DeltaError> {
        let state = self.state()?;
        let version = state.version();
        if let Some((at, progress)) = self.progress
            && at == version
        {
            return Ok(progress);
        }
        let log = self.delta.log_store();
        let mut found = [0; 2];
        for (found, application) in
            found.iter_mut().zip([config.application.clone(), generation_of(&config.application)])
        {
            let transaction = state.transaction_version(log.as_ref(), application).await;
            let transaction = transaction.map_err(|source| failed("read", &self.folder, source))?;
            *found = transaction.and_then(|version| u64::try_from(version).ok()).unwrap_or_default();
        }
        let progress = Progress { checkpoint: found[0], generation: found[1] };
        self.progress = Some((version, progress));
        Ok(progress)
    }

    /// The files that belong to the table.
    pub(crate) fn active(&self) -> Result<Vec<LogicalFileView>, DeltaError> {
        active(self.state()?, &self.folder)
    }

    /// The files that did, as long as the log knows them.
    pub(crate) async fn removed(&self) -> Result<HashSet<String>, DeltaError> {
        let log = self.delta.log_store();
        let paths = self.state()?.all_tombstones(log.as_ref()).map_ok(|file| file.path().into_owned());
        paths.try_collect().await.map_err(|source| failed("read", &self.folder, source))
    }

    /// Looks for rows of checkpoints after `newest` in files of somebody else's, who has rewritten ours: they can't be told from
    /// others any more.
    pub(crate) async fn check_not_rewritten(
        &self,
        config: &DeltaConfig,
        newest: u64,
    ) -> Result<(), DeltaError> {
        let rewritten = |detail: String| DeltaError::Rewritten {
            sink: config.sink.clone(),
            folder: self.folder.clone(),
            newest,
            detail,
        };
        if self.active()?.iter().all(|file| own_checkpoint(&file.path()).is_some()) {
            return Ok(());
        }
        let (log, generation) = (self.delta.log_store(), generation_of(&config.application));
        for version in (0..=self.state()?.version()).rev() {
            let entry = log.read_commit_entry(version).await;
            let entry = entry.map_err(|source| failed("read", &self.folder, source))?;
            let Some(entry) = entry else {
                let detail = format!(
                    "it holds files of other writers, and its log says no more since when: version {version} is forgotten"
                );
                return Err(rewritten(detail));
            };
            let actions =
                get_actions(version, &entry).map_err(|source| failed("read", &self.folder, source))?;
            let mut is_own = false;
            for action in &actions {
                if let Action::Txn(transaction) = action {
                    let is_job = transaction.app_id == config.application;
                    if is_job && u64::try_from(transaction.version).is_ok_and(|at| at <= newest) {
                        return Ok(());
                    }
                    is_own |= is_job || transaction.app_id == generation;
                }
            }
            let newer = actions.iter().find_map(|action| match action {
                Action::Remove(file) if !is_own => {
                    own_checkpoint(&file.path).filter(|checkpoint| *checkpoint > newest)
                }
                _ => None,
            });
            if let Some(checkpoint) = newer {
                return Err(rewritten(format!(
                    "version {version} has rewritten rows of checkpoint {checkpoint}"
                )));
            }
        }
        Ok(())
    }

    /// Makes a commit, durably. Other writers' commits may come first; when one of them is of the same application, or in conflict
    /// otherwise, this fails.
    pub(crate) async fn commit(
        &mut self,
        config: &DeltaConfig,
        change: Change,
    ) -> Result<(), DeltaTableError> {
        let state = self.delta.snapshot()?.clone();
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let mut transactions =
            vec![Transaction::new(generation_of(&config.application), number(config.generation))];
        let checkpoint = change.checkpoint.map(|at| Transaction::new(&config.application, number(at)));
        transactions.extend(checkpoint);
        let properties = CommitProperties::default()
            .with_application_transactions(transactions)
            .with_metadata(change.metadata)
            // It would list the whole log at every commit: see below.
            .with_cleanup_expired_logs(Some(false));
        failpoint!("delta::before_commit");
        let done = CommitBuilder::from(properties)
            .with_actions(change.actions)
            .build(Some(&state), self.delta.log_store(), change.operation)
            .await?;
        failpoint!("delta::committed");
        sync_log(&self.folder, done.version())
            .map_err(|error| DeltaTableError::generic(error.to_string()))?;
        self.delta.state = Some(done.snapshot());
        if done.metrics.new_checkpoint_created && state.table_config().enable_expired_log_cleanup() {
            // The log may as well be shortened the next time.
            if let Err(error) = cleanup_metadata(&self.delta, None).await {
                tracing::warn!(folder = %self.folder.display(), %error, "old entries of a Delta log stay");
            }
        }
        Ok(())
    }
}

async fn make(config: &DeltaConfig, schema: &StructType) -> Result<DeltaTable, DeltaTableError> {
    let url =
        Url::from_directory_path(config.folder.canonicalize().unwrap_or_else(|_| config.folder.clone()))
            .map_err(|()| DeltaTableError::InvalidTableLocation(config.folder.display().to_string()))?;
    // All readers read it and all writers write it. Writer version 2, which is usual, asks for invariants of columns to be honoured,
    // and the library as it is built here can't.
    let protocol = json!({"minReaderVersion": 1, "minWriterVersion": 1});
    CreateBuilder::new()
        .with_log_store(DeltaTableBuilder::from_url(url)?.build_storage()?)
        .with_table_name(&config.sink)
        .with_columns(schema.fields().cloned())
        .with_partition_columns(&config.partition_by)
        .with_actions([Action::Protocol(serde_json::from_value(protocol)?)])
        .with_configuration_property(TableProperty::LogRetentionDuration, Some(LOG_RETENTION))
        // With retries, the loser of a race would put its columns into the winner's table.
        .with_commit_properties(CommitProperties::default().with_max_retries(0))
        .await
}

/// The application under which a table knows a job's generations.
fn generation_of(application: &str) -> String {
    format!("{application}/generation")
}

/// The files that belong to a table at a version.
pub(crate) fn active(state: &DeltaTableState, folder: &Path) -> Result<Vec<LogicalFileView>, DeltaError> {
    let log = state.snapshot().try_log_data().map_err(|source| failed("read", folder, source))?;
    Ok(log.iter().collect())
}

// Delta's library leaves a commit to the system's caches; a loss of power must not take it back, nor leave it empty.
fn sync_log(folder: &Path, version: Version) -> Result<(), DeltaError> {
    let log = folder.join("_delta_log");
    for path in [log.join(format!("{version:020}.json")), log] {
        File::open(&path).and_then(|file| file.sync_all()).map_err(|source| DeltaError::Io {
            action: "write",
            path,
            source,
        })?;
    }
    Ok(())
}
