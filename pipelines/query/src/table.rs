//! A folder's files as a DataFusion table, as they are when a query starts.
//!
//! ```text
//!   folder ─▶ files ─▶ schema of the files + columns of the hive folders
//!                └─▶ without those whose folders can't match the filter ─▶ scan in as many parts as there are cores
//! ```
//!
//! Of a Delta table the log says which files, which columns and which values of partition columns there are.
//!
//! DataFusion's own listing table comes close, but knows no null in a hive folder, takes partition columns for
//! strings unless told, ignores files that lie outside the partitions, and remembers a listing while a job adds files.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, Result, ScalarValue, Statistics, project_schema};
use datafusion::datasource::TableType;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder};
use datafusion::datasource::table_schema::TableSchemaBuilder;
use datafusion::error::DataFusionError;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::object_store::path::Path;
use datafusion::object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use futures::{FutureExt, StreamExt, TryStreamExt};

use crate::QueryError;
use crate::folder::{FileKind, TableFolder};
use crate::partition;

/// How many files' footers are read at a time.
const FOOTERS_AT_ONCE: usize = 32;

/// A table: the files of a folder when it was opened.
#[derive(Debug)]
pub(crate) struct FolderTable {
    format: Arc<dyn FileFormat>,
    store: Arc<dyn ObjectStore>,
    files: Vec<TableFile>,
    file_schema: SchemaRef,
    partition_columns: Vec<FieldRef>,
    schema: SchemaRef,
}

#[derive(Debug)]
struct TableFile {
    meta: ObjectMeta,
    /// A value for each partition column.
    values: Vec<ScalarValue>,
}

impl FolderTable {
    /// Lists the files of `folder` and finds out their columns.
    ///
    /// # Errors
    /// The folder or a file in it can't be read, or the files' columns don't go together.
    pub(crate) async fn open(state: &dyn Session, folder: &TableFolder) -> Result<FolderTable> {
        let store = state.runtime_env().object_store(ObjectStoreUrl::local_filesystem())?;
        if folder.kind == FileKind::Delta {
            return FolderTable::open_delta(store, folder).await;
        }
        let failed = |source| QueryError::Folder { path: folder.path.clone(), source };
        let absolute = folder.path.canonicalize().map_err(|source| external(failed(source)))?;
        let prefix = Path::from_absolute_path(absolute)?;
        let mut metas: Vec<ObjectMeta> = store
            .list(Some(&prefix))
            .try_filter(|meta| futures::future::ready(is_part(meta, &prefix, folder.kind)))
            .try_collect()
            .await?;
        metas.sort_by(|a, b| a.location.cmp(&b.location));
        let format: Arc<dyn FileFormat> = match folder.kind {
            FileKind::Parquet | FileKind::Delta => Arc::new(ParquetFormat::default()),
            FileKind::JsonLines => Arc::new(JsonFormat::default()),
        };
        let file_schema = format.infer_schema(state, &store, &metas).await?;

        let paths: Vec<HashMap<String, Option<String>>> =
            metas.iter().map(|meta| columns_of(meta, &prefix).into_iter().collect()).collect();
        let partition_columns = partition_columns(&metas, &prefix, &paths, &file_schema);
        let files = metas
            .into_iter()
            .zip(&paths)
            .map(|(meta, path)| {
                // A file outside a column's folders has no value there.
                let text = |field: &FieldRef| path.get(field.name()).and_then(Option::as_deref);
                let values =
                    partition_columns.iter().map(|field| partition::value(text(field), field.data_type()));
                Ok(TableFile { meta, values: values.collect::<Result<_>>()? })
            })
            .collect::<Result<_>>()?;
        Ok(FolderTable::new(format, store, files, file_schema, partition_columns))
    }

    async fn open_delta(store: Arc<dyn ObjectStore>, folder: &TableFolder) -> Result<FolderTable> {
        let path = folder.path.clone();
        let table = tokio::task::spawn_blocking(move || thalweg_delta::active_files(&path))
            .await
            .map_err(|error| DataFusionError::External(error.into()))?
            .map_err(|error| external(error.into()))?;
        let field = |name: &String| table.columns.field_with_name(name).map(|field| Arc::new(field.clone()));
        let partition_columns: Vec<FieldRef> =
            table.partition_by.iter().map(field).collect::<Result<_, _>>()?;
        let files = table.files.into_iter().map(|file| {
            let (store, columns) = (&store, &partition_columns);
            async move {
                let gone = |source| external(QueryError::Folder { path: file.path.clone(), source });
                let location = Path::from_absolute_path(file.path.canonicalize().map_err(gone)?)?;
                let values = columns.iter().zip(&file.partition);
                let values = values.map(|(field, text)| partition::value(text.as_deref(), field.data_type()));
                let values = values.collect::<Result<_>>()?;
                Ok::<_, DataFusionError>(TableFile { meta: store.head(&location).await?, values })
            }
            .boxed()
        });
        let files: Vec<TableFile> =
            futures::stream::iter(files).buffered(FOOTERS_AT_ONCE).try_collect().await?;
        let own = table.columns.fields().iter().filter(|field| !table.partition_by.contains(field.name()));
        let file_schema = Arc::new(Schema::new(own.cloned().collect::<Vec<_>>()));
        Ok(FolderTable::new(Arc::new(ParquetFormat::default()), store, files, file_schema, partition_columns))
    }

    fn new(
        format: Arc<dyn FileFormat>,
        store: Arc<dyn ObjectStore>,
        files: Vec<TableFile>,
        file_schema: SchemaRef,
        partition_columns: Vec<FieldRef>,
    ) -> Self {
        let fields = file_schema.fields().iter().chain(&partition_columns).cloned().collect::<Vec<_>>();
        let schema = Arc::new(Schema::new(fields));
        FolderTable { format, store, files, file_schema, partition_columns, schema }
    }

    // The files whose partition values satisfy all of `filters`.
    fn matching(&self, state: &dyn Session, filters: &[Expr]) -> Result<Vec<&TableFile>> {
        let filters = filters.iter().filter(|filter| self.is_about_partitions(filter)).cloned();
        let Some(filter) = conjunction(filters) else { return Ok(self.files.iter().collect()) };
        if self.files.is_empty() {
            return Ok(Vec::new());
        }
        let schema = Arc::new(Schema::new(self.partition_columns.clone()));
        let columns = (0..self.partition_columns.len())
            .map(|column| {
                ScalarValue::iter_to_array(self.files.iter().map(|file| file.values[column].clone()))
            })
            .collect::<Result<Vec<ArrayRef>>>()?;
        let values = RecordBatch::try_new(Arc::clone(&schema), columns)?;
        let filter = state.create_physical_expr(filter, &DFSchema::try_from(schema)?)?;
        let matches = filter.evaluate(&values)?.into_array(values.num_rows())?;
        let matches = matches.as_boolean();
        Ok(self
            .files
            .iter()
            .zip(matches)
            .filter(|(_, matches)| *matches == Some(true))
            .map(|(file, _)| file)
            .collect())
    }

    fn is_about_partitions(&self, filter: &Expr) -> bool {
        let columns = filter.column_refs();
        let all = columns
            .iter()
            .all(|column| self.partition_columns.iter().any(|field| field.name() == column.name()));
        let simple = !filter.is_volatile() && !filter.exists(|part| Ok(is_query(part))).unwrap_or(true);
        !columns.is_empty() && all && simple
    }

    // The file as DataFusion takes it, with what its footer says about its rows.
    async fn part(&self, state: &dyn Session, file: &TableFile) -> Result<PartitionedFile> {
        let part =
            PartitionedFile::new_from_meta(file.meta.clone()).with_partition_values(file.values.clone());
        if !state.config().collect_statistics() {
            return Ok(part);
        }
        let schema = Arc::clone(&self.file_schema);
        let statistics = self.format.infer_stats(state, &self.store, schema, &file.meta).await?;
        let mut part = part.with_statistics(Arc::new(statistics));
        // DataFusion takes for granted that no partition value is null, and would count such rows.
        if let Some(statistics) = part.statistics.as_mut().map(Arc::make_mut) {
            let rows = statistics.num_rows;
            let columns = statistics.column_statistics.iter_mut().skip(self.file_schema.fields().len());
            for (column, _) in columns.zip(&file.values).filter(|(_, value)| value.is_null()) {
                column.null_count = rows;
                column.min_value = Precision::Absent;
                column.max_value = Precision::Absent;
                column.distinct_count = Precision::Absent;
            }
        }
        Ok(part)
    }
}

fn external(error: QueryError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

// Part of the table: a complete file, with no hidden folder on the way to it.
fn is_part(meta: &ObjectMeta, prefix: &Path, kind: FileKind) -> bool {
    let hidden = meta
        .location
        .prefix_match(prefix)
        .is_none_or(|mut below| below.any(|part| part.as_ref().starts_with('.')));
    meta.size > 0 && !hidden && meta.location.as_ref().ends_with(kind.suffix())
}

fn columns_of(meta: &ObjectMeta, prefix: &Path) -> Vec<(String, Option<String>)> {
    let below: Vec<_> = meta.location.prefix_match(prefix).into_iter().flatten().collect();
    let folders = below.len().saturating_sub(1);
    partition::columns_of(below[..folders].iter().map(AsRef::as_ref))
}

// The partition columns of all files in order of their appearance. A column that the files hold themselves is no such column.
fn partition_columns(
    metas: &[ObjectMeta],
    prefix: &Path,
    paths: &[HashMap<String, Option<String>>],
    file_schema: &Schema,
) -> Vec<FieldRef> {
    let mut names: Vec<String> = Vec::new();
    for (name, _) in metas.iter().flat_map(|meta| columns_of(meta, prefix)) {
        if !names.contains(&name) && file_schema.index_of(&name).is_err() {
            names.push(name);
        }
    }
    let data_type = |name: &str| -> DataType {
        partition::type_of(paths.iter().filter_map(|path| path.get(name).and_then(Option::as_deref)))
    };
    names.iter().map(|name| Arc::new(Field::new(name, data_type(name), true))).collect()
}

// Whether an expression needs more than a file's own values.
fn is_query(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::ScalarSubquery(_)
            | Expr::Exists(_)
            | Expr::InSubquery(_)
            | Expr::SetComparison(_)
            | Expr::OuterReferenceColumn(..)
            | Expr::Placeholder(_)
            | Expr::AggregateFunction(_)
            | Expr::WindowFunction(_)
    )
}

#[async_trait]
impl TableProvider for FolderTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let files = self.matching(state, filters)?;
        if files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(project_schema(&self.schema, projection)?)));
        }
        let parts: Vec<_> = files.into_iter().map(|file| self.part(state, file).boxed()).collect();
        let parts: Vec<PartitionedFile> =
            futures::stream::iter(parts).buffered(FOOTERS_AT_ONCE).try_collect().await?;
        let statistics = Statistics::try_merge_iter(
            parts.iter().filter_map(|part| part.statistics.as_deref()),
            &self.schema,
        )?;
        let schema = TableSchemaBuilder::from(&self.file_schema)
            .with_table_partition_cols(self.partition_columns.clone())
            .build();
        let groups = FileGroup::new(parts).split_files(state.config().target_partitions());
        let scan =
            FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), self.format.file_source(schema))
                .with_file_groups(groups)
                .with_statistics(statistics)
                .with_projection_indices(projection.cloned())?
                .with_limit(limit)
                .build();
        self.format.create_physical_plan(state, scan).await
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = filters.iter().map(|filter| match self.is_about_partitions(filter) {
            true => TableProviderFilterPushDown::Exact,
            false => TableProviderFilterPushDown::Inexact,
        });
        Ok(support.collect())
    }
}
