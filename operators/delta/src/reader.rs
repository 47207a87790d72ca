//! Which files belong to a table now: for whoever reads Parquet and not Delta's log.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use deltalake_core::kernel::transaction::PROTOCOL;

use crate::log::Log;
use crate::{DeltaError, blocking, table};

/// A table's files at a version.
#[derive(Debug, Clone)]
pub struct DeltaFiles {
    /// The version.
    pub version: u64,
    /// All columns, also those that the files lack because they are folders.
    pub columns: SchemaRef,
    /// Those that are folders, outermost first.
    pub partition_by: Vec<String>,
    /// The files, by path.
    pub files: Vec<ActiveFile>,
}

/// A file that belongs to a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveFile {
    /// Where it lies.
    pub path: PathBuf,
    /// A value for each partition column, in their order; `None` is null.
    pub partition: Vec<Option<String>>,
    /// Its size.
    pub bytes: u64,
    /// Its rows, where the log says it.
    pub rows: Option<u64>,
}

/// Whether a folder is a Delta table.
pub fn is_table(folder: &Path) -> bool {
    Log::of(folder).is_begun()
}

/// The files of the table in `folder`, at its newest version. Blocks, and may be called from a future's thread.
///
/// # Errors
/// There is no table, it can't be read, or it has features (deletion vectors, mapped columns) that need more than its files.
pub fn active_files(folder: &Path) -> Result<DeltaFiles, DeltaError> {
    blocking(async || read(folder).await)
}

async fn read(folder: &Path) -> Result<DeltaFiles, DeltaError> {
    let unsupported =
        |detail: String| DeltaError::Unsupported { folder: folder.to_owned(), action: "read", detail };
    let table = table::load(folder, None).await?;
    let table = table.ok_or_else(|| unsupported("it has no log; is the folder right?".to_owned()))?;
    let failed =
        |source| DeltaError::Table { action: "read", folder: folder.to_owned(), source: Box::new(source) };
    let state = table.snapshot().map_err(failed)?;
    PROTOCOL.can_read_from(state).map_err(|error| unsupported(error.to_string()))?;
    let partition_by = state.metadata().partition_columns().to_vec();
    let mut files = Vec::new();
    for file in table::active(state, folder)? {
        let path = file.path();
        if file.deletion_vector_descriptor().is_some() {
            let detail = format!(
                "rows of {path} are marked as deleted; rewrite it with Delta's REORG … APPLY (PURGE)"
            );
            return Err(unsupported(detail));
        }
        if path.contains("://") || path.starts_with('/') {
            return Err(unsupported(format!("{path} lies outside the table; copy the table with its files")));
        }
        let mut values = file.partition_values_map();
        files.push(ActiveFile {
            path: folder.join(&*path),
            partition: partition_by.iter().map(|name| values.remove(name).flatten()).collect(),
            bytes: u64::try_from(file.size()).unwrap_or_default(),
            rows: file.num_records().map(|rows| rows as u64),
        });
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let columns = state.snapshot().arrow_schema();
    let columns = columns.fields().iter().map(|field| {
        let data_type = with_plain_zone(field.data_type());
        Field::new(field.name(), data_type, field.is_nullable())
    });
    let columns = Arc::new(Schema::new(columns.collect::<Vec<_>>()));
    Ok(DeltaFiles { version: state.version(), columns, partition_by, files })
}

// UTC under the name that it has everywhere else here: rows of a Delta table and of others then compare without a cast.
fn with_plain_zone(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Timestamp(unit, Some(zone)) if &**zone == "UTC" => {
            DataType::Timestamp(*unit, Some("+00:00".into()))
        }
        DataType::List(item) => {
            let item = Field::new(item.name(), with_plain_zone(item.data_type()), item.is_nullable());
            DataType::List(Arc::new(item))
        }
        other => other.clone(),
    }
}
