//! The names of a query, looked up in the folder as it is when the query starts.
//!
//! A job may add files and sinks while somebody looks: so nothing is remembered from one query to the next.
//! (Footers of Parquet files are, by DataFusion: such a file never changes.)

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;

use crate::QueryError;
use crate::folder::{Found, discover};
use crate::table::FolderTable;

/// The catalogue's name in `information_schema` and in errors.
pub(crate) const CATALOG: &str = "output";
/// Where bare names are looked up.
pub(crate) const DEFAULT_SCHEMA: &str = "public";

/// The outputs of a folder: a schema each, and one for bare names.
#[derive(Debug)]
pub(crate) struct OutputCatalog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    state: SessionState,
    /// What may stand after `from` and is no table.
    functions: BTreeSet<String>,
}

impl OutputCatalog {
    /// Over `folder`; `state` opens the files.
    pub(crate) fn new(folder: PathBuf, state: SessionState) -> Self {
        let functions = state.table_functions().keys().cloned().collect();
        OutputCatalog { shared: Arc::new(Shared { folder, state, functions }) }
    }
}

impl CatalogProvider for OutputCatalog {
    fn schema_names(&self) -> Vec<String> {
        let found = self.shared.found();
        let outputs: BTreeSet<String> = found.tables.into_iter().filter_map(|table| table.output).collect();
        std::iter::once(DEFAULT_SCHEMA.to_owned()).chain(outputs).collect()
    }

    // Any name: what is wrong with it is said where the table is looked up.
    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let output = (name != DEFAULT_SCHEMA).then(|| name.to_owned());
        Some(Arc::new(OutputSchema { output, shared: Arc::clone(&self.shared) }))
    }
}

#[derive(Debug)]
struct OutputSchema {
    /// `None`: bare names.
    output: Option<String>,
    shared: Arc<Shared>,
}

impl Shared {
    // Where errors have no way out, an unreadable folder is an empty one.
    fn found(&self) -> Found {
        discover(&self.folder).unwrap_or_default()
    }
}

#[async_trait]
impl SchemaProvider for OutputSchema {
    fn table_names(&self) -> Vec<String> {
        let tables = self.shared.found().tables;
        tables.into_iter().filter(|table| table.output == self.output).map(|table| table.name).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let external = |error: QueryError| DataFusionError::External(Box::new(error));
        let found = discover(&self.shared.folder).map_err(external)?;
        match found.table(self.output.as_deref(), name, &self.shared.folder) {
            Ok(table) => Ok(Some(Arc::new(FolderTable::open(&self.shared.state, table).await?))),
            Err(QueryError::UnknownTable { .. }) if self.shared.functions.contains(name) => Ok(None),
            Err(error) => Err(external(error)),
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        self.shared.found().table(self.output.as_deref(), name, &self.shared.folder).is_ok()
    }
}
