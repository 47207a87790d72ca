//! A session: a folder, the threads a query runs on, and the way to stop one.
//!
//! ```text
//!   caller's thread                       runtime's threads (large stacks)
//!   stream(sql, visit) ── spawn ────────▶ parse ─▶ refuse writes ─▶ plan ─▶ execute
//!        visit(batch) ◀── channel, 2 batches ──────────────────────────────────┘
//!   Interrupt::stop ───▶ the task is dropped at its next await
//! ```

use std::ops::{ControlFlow, Deref};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{ArrayRef, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::TableReference;
use datafusion::common::config::Dialect;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::dataframe::DataFrame;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::{FutureExt, StreamExt};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, mpsc};

use crate::QueryError;
use crate::catalog::{CATALOG, DEFAULT_SCHEMA, OutputCatalog};
use crate::folder::{discover, quoted, size_of};
use crate::statement::{self, Ask};

// Planning takes about 60 KiB a term of `a + b + c + …`, unoptimised as planners are built here. Only what is used is real memory.
const STACK_BYTES: usize = 64 << 20;
/// Batches that wait for whoever takes them, at most.
const BATCHES_AHEAD: usize = 2;

/// Queries over the tables of a folder.
pub struct Session {
    folder: PathBuf,
    context: SessionContext,
    interrupt: Interrupt,
}

/// A table of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name as SQL writes it: `sink`, `pipeline.sink`, `"topic-name"`.
    pub name: String,
    /// Complete files in it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name as SQL writes it.
    pub name: String,
    /// Its type as SQL writes it.
    pub data_type: String,
}

/// The rows of a query.
#[derive(Debug, Clone)]
pub struct QueryResult {
    /// The columns.
    pub schema: SchemaRef,
    /// The rows.
    pub batches: Vec<RecordBatch>,
}

impl QueryResult {
    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }
}

/// Stops a session's running query; from any thread, or a signal handler's.
#[derive(Clone, Default)]
pub struct Interrupt(Arc<InterruptState>);

#[derive(Default)]
struct InterruptState {
    running: AtomicBool,
    stop: Notify,
}

impl Interrupt {
    /// Stops the query that is running. False: none is.
    pub fn stop(&self) -> bool {
        let running = self.0.running.load(Ordering::SeqCst);
        if running {
            self.0.stop.notify_one();
        }
        running
    }

    fn start(&self) -> Running<'_> {
        // What stopped an earlier query too late does not stop this one.
        let _ = self.0.stop.notified().now_or_never();
        self.0.running.store(true, Ordering::SeqCst);
        Running(&self.0)
    }
}

struct Running<'a>(&'a InterruptState);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.store(false, Ordering::SeqCst);
    }
}

/// The threads of one query. One that can't be stopped at once (a join that finds no row among billions) does not hold
/// up the next, nor the program's end: its threads are left behind.
struct Threads(Option<Runtime>);

impl Threads {
    fn start() -> Result<Threads, QueryError> {
        let threads = Builder::new_multi_thread()
            .thread_name("thalweg-sql")
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build();
        Ok(Threads(Some(threads.map_err(QueryError::Threads)?)))
    }
}

impl Deref for Threads {
    type Target = Runtime;

    fn deref(&self) -> &Runtime {
        self.0.as_ref().expect("invariant: taken by drop alone")
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

enum Part {
    Schema(SchemaRef),
    Rows(RecordBatch),
}

impl Session {
    /// Opens `folder`: an output folder, one that holds several, or one of topic archives.
    ///
    /// # Errors
    /// There is no such folder, or it can't be read.
    pub fn open(folder: &Path) -> Result<Session, QueryError> {
        discover(folder)?;
        let config = SessionConfig::new()
            .with_default_catalog_and_schema(CATALOG, DEFAULT_SCHEMA)
            .with_create_default_catalog_and_schema(false)
            .with_information_schema(true)
            .with_collect_statistics(true);
        let state = SessionStateBuilder::new_with_default_features().with_config(config).build();
        let context = SessionContext::new_with_state(state.clone());
        context.register_catalog(CATALOG, Arc::new(OutputCatalog::new(folder.to_owned(), state)));
        Ok(Session { folder: folder.to_owned(), context, interrupt: Interrupt::default() })
    }

    /// Lets queries name the tables of another folder too: `name.public.table`.
    ///
    /// # Errors
    /// There is no such folder, or it can't be read.
    pub fn beside(&mut self, name: &str, folder: &Path) -> Result<(), QueryError> {
        discover(folder)?;
        let catalog = OutputCatalog::new(folder.to_owned(), self.context.state());
        self.context.register_catalog(name, Arc::new(catalog));
        Ok(())
    }

    /// The folder it was opened on.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What stops this session's queries.
    pub fn interrupt(&self) -> Interrupt {
        self.interrupt.clone()
    }

    /// The tables there are now, by name.
    ///
    /// # Errors
    /// The folder can't be read.
    pub fn tables(&self) -> Result<Vec<Table>, QueryError> {
        tables(&self.folder)
    }

    /// The columns of `table`, named as in SQL.
    ///
    /// # Errors
    /// There is no such table, or its files can't be read.
    pub fn columns(&self, table: &str) -> Result<Vec<Column>, QueryError> {
        let (context, table) = (self.context.clone(), table.to_owned());
        let runtime = Threads::start()?;
        let task = runtime.spawn(async move { columns(&context, &table).await });
        runtime.block_on(task).map_err(|error| QueryError::Sql(error.to_string()))?
    }

    /// Words that queries may contain: the names of functions.
    pub fn functions(&self) -> Vec<String> {
        let state = self.context.state();
        let scalar = state.scalar_functions().keys();
        let names = scalar.chain(state.aggregate_functions().keys()).chain(state.window_functions().keys());
        let mut names: Vec<String> = names.cloned().collect();
        names.sort();
        names.dedup();
        names
    }

    /// Runs `sql`, one statement, and collects its rows.
    ///
    /// # Errors
    /// As [`Session::stream`].
    pub fn query(&self, sql: &str) -> Result<QueryResult, QueryError> {
        let mut batches = Vec::new();
        let schema = self.stream(sql, &mut |batch| {
            batches.push(batch);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(QueryResult { schema, batches })
    }

    /// Runs `sql`, one statement, and hands its rows to `visit` as they come, until it breaks off. Blocks.
    /// Returns the columns, which hold for results without a row too.
    ///
    /// # Errors
    /// The statement is no query, is wrong, fails, or was stopped ([`Interrupt::stop`]); or what `visit` returns.
    pub fn stream(
        &self,
        sql: &str,
        visit: &mut dyn FnMut(RecordBatch) -> Result<ControlFlow<()>, QueryError>,
    ) -> Result<SchemaRef, QueryError> {
        let _running = self.interrupt.start();
        let runtime = Threads::start()?;
        let (sender, mut parts) = mpsc::channel(BATCHES_AHEAD);
        // Not on this thread: its stack may be small.
        let task = runtime.spawn(answer(self.context.clone(), self.folder.clone(), sql.to_owned(), sender));
        let mut schema = None;
        let stopped = loop {
            let part = runtime.block_on(async {
                tokio::select! {
                    biased;
                    () = self.interrupt.0.stop.notified() => Err(QueryError::Interrupted),
                    part = parts.recv() => Ok(part),
                }
            });
            match part {
                Ok(Some(Part::Schema(columns))) => schema = Some(columns),
                Ok(Some(Part::Rows(batch))) => match visit(batch) {
                    Ok(ControlFlow::Continue(())) => {}
                    Ok(ControlFlow::Break(())) => break Some(Ok(())),
                    Err(error) => break Some(Err(error)),
                },
                Ok(None) => break None,
                Err(error) => break Some(Err(error)),
            }
        };
        match stopped {
            Some(result) => {
                task.abort();
                result?;
            }
            None => runtime.block_on(task).map_err(|error| QueryError::Sql(error.to_string()))??,
        }
        schema.ok_or_else(|| QueryError::Sql("the query gave no columns".to_owned()))
    }
}

async fn answer(
    context: SessionContext,
    folder: PathBuf,
    sql: String,
    sender: mpsc::Sender<Part>,
) -> Result<(), QueryError> {
    let state = context.state();
    let statement = state.sql_to_statement(&sql, &Dialect::Generic)?;
    // Nobody listens any more: then neither is there an error to tell.
    let rows = match statement::ask(&statement)? {
        Ask::Tables => tables_batch(&tables(&folder)?),
        Ask::Columns(table) => columns_batch(&columns(&context, &table).await?),
        Ask::Rows => {
            let plan = state.statement_to_plan(statement).await?;
            let queries =
                SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
            queries.verify_plan(&plan)?;
            let query = DataFrame::new(state, plan);
            let tasks = Arc::new(query.task_ctx());
            let mut stream = execute_stream(yielding(query.create_physical_plan().await?)?, tasks)?;
            let _ = sender.send(Part::Schema(stream.schema())).await;
            while let Some(batch) = stream.next().await {
                if sender.send(Part::Rows(batch?)).await.is_err() {
                    break;
                }
            }
            return Ok(());
        }
    };
    let _ = sender.send(Part::Schema(rows.schema())).await;
    let _ = sender.send(Part::Rows(rows)).await;
    Ok(())
}

// A join can make rows for hours from one batch of its input, and would be deaf to a stop all the while.
fn yielding(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>, QueryError> {
    let yields = |plan: Arc<dyn ExecutionPlan>| {
        Ok(match plan.name().ends_with("JoinExec") {
            true => Transformed::yes(Arc::new(CooperativeExec::new(plan)) as Arc<dyn ExecutionPlan>),
            false => Transformed::no(plan),
        })
    };
    Ok(plan.transform_up(yields)?.data)
}

fn tables(folder: &Path) -> Result<Vec<Table>, QueryError> {
    let found = discover(folder)?;
    let table = |table: &crate::folder::TableFolder| {
        let (files, bytes) = size_of(&table.path, table.kind)?;
        Ok(Table { name: table.sql_name(), files, bytes })
    };
    found.tables.iter().map(table).collect()
}

async fn columns(context: &SessionContext, table: &str) -> Result<Vec<Column>, QueryError> {
    let provider = context.table_provider(TableReference::from(table)).await?;
    let column =
        |field: &Arc<Field>| Column { name: quoted(field.name()), data_type: sql_type(field.data_type()) };
    Ok(provider.schema().fields().iter().map(column).collect())
}

fn strings<'a>(values: impl Iterator<Item = &'a String>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn tables_batch(tables: &[Table]) -> RecordBatch {
    let counts = |of: fn(&Table) -> u64| -> ArrayRef {
        Arc::new(UInt64Array::from_iter_values(tables.iter().map(of)))
    };
    batch(vec![
        ("table", strings(tables.iter().map(|table| &table.name))),
        ("files", counts(|table| table.files)),
        ("bytes", counts(|table| table.bytes)),
    ])
}

fn columns_batch(columns: &[Column]) -> RecordBatch {
    batch(vec![
        ("column", strings(columns.iter().map(|column| &column.name))),
        ("type", strings(columns.iter().map(|column| &column.data_type))),
    ])
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let field = |(name, array): &(&str, ArrayRef)| Field::new(*name, array.data_type().clone(), false);
    let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(schema), arrays).expect("invariant: columns of equal length, without nulls")
}

// The name SQL has for a type, as `cast` would take it.
fn sql_type(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "varchar".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            "bytea".to_owned()
        }
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int8 => "tinyint".to_owned(),
        DataType::Int16 => "smallint".to_owned(),
        DataType::Int32 => "int".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::UInt8 => "tinyint unsigned".to_owned(),
        DataType::UInt16 => "smallint unsigned".to_owned(),
        DataType::UInt32 => "int unsigned".to_owned(),
        DataType::UInt64 => "bigint unsigned".to_owned(),
        DataType::Float32 => "float".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Decimal128(digits, scale) => format!("decimal({digits}, {scale})"),
        DataType::Date32 | DataType::Date64 => "date".to_owned(),
        DataType::Timestamp(_, None) => "timestamp".to_owned(),
        DataType::Timestamp(_, Some(_)) => "timestamp with time zone".to_owned(),
        DataType::List(item) | DataType::LargeList(item) | DataType::ListView(item) => {
            format!("{}[]", sql_type(item.data_type()))
        }
        DataType::Struct(fields) => {
            let fields = fields
                .iter()
                .map(|field| format!("{} {}", quoted(field.name()), sql_type(field.data_type())));
            format!("struct({})", fields.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}
