//! The plan's types: plain data and compiled expressions, in a fixed order, the same for every worker.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::common::DataFusionError;
use datafusion::common::cast::as_boolean_array;
use datafusion::physical_expr::PhysicalExpr;
use thalweg_engine::shard::hash_key;
use thalweg_operators::aggregate::Aggregate;
use thalweg_operators::series::{ConvergeModel, DetectModel, ForecastModel, SeriesModel, window_columns};
pub use thalweg_operators::source::MetadataColumn;
use thalweg_schemas::{Format, Schema};
use thalweg_series::converge::{Converger, ConvergerConfig};
use thalweg_series::detect::{ConfigError, Detector, DetectorConfig, Method};
use thalweg_series::forecast::{Forecaster, ForecasterConfig};
use thalweg_series::stream::{Windower, WindowerConfig};

use super::types::type_name;
use crate::preview::Handover;
use crate::spec::Problem;
use crate::testing::GivenRecords;

/// A checked pipeline. Sources and steps that no sink needs are left out.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The pipeline's name.
    pub name: String,
    /// Sources, in the order of the spec.
    pub sources: Vec<PlannedSource>,
    /// Steps, each after all that it reads.
    pub steps: Vec<PlannedStep>,
    /// Sinks, in the order of the spec.
    pub sinks: Vec<PlannedSink>,
    /// How the job is made safe against crashes.
    pub checkpoint: PlannedCheckpoint,
    /// Bytes of memory for rows on their way, in each process.
    pub memory_bytes: u64,
    /// What is allowed, but was probably not meant.
    pub warnings: Vec<Problem>,
}

/// How a job is made safe against crashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedCheckpoint {
    /// From one to the next, microseconds.
    pub interval_us: i64,
    /// Earlier, when a process has read so many rows.
    pub rows_max: Option<u64>,
    /// How many are kept.
    pub keep: usize,
    /// Where; `None`: in the output folder.
    pub storage: Option<String>,
}

/// A stream: what a source or a step gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StreamId {
    /// Index into [`Plan::sources`].
    Source(usize),
    /// Index into [`Plan::steps`].
    Step(usize),
}

/// A stream that a step or sink reads, and which of its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedInput {
    /// The stream.
    pub stream: StreamId,
    /// Indexes into the stream's visible columns. Hidden columns come after all visible ones and are kept.
    pub projection: Vec<usize>,
}

/// A source.
#[derive(Debug, Clone)]
pub struct PlannedSource {
    /// Its name.
    pub name: String,
    /// Where its records are.
    pub connector: Connector,
    /// The fields of a payload. That of a raw source has none.
    pub schema: Arc<Schema>,
    /// How a payload is written.
    pub format: Format,
    /// When a row happened.
    pub event_time: EventTime,
    /// Indexes of the schema's fields to decode, ascending: those in `columns`, and the event time's.
    pub fields: Vec<usize>,
    /// The record's own columns that something reads, in the order of `columns`, where they stand last.
    pub metadata: Vec<MetadataColumn>,
    /// Whether batches carry `__split` and `__offset`.
    pub order: bool,
    /// The visible columns of its batches: fields that something reads, then metadata. A raw source's `value` is one.
    pub columns: SchemaRef,
}

/// Where a source's records are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connector {
    /// Topics of a Kafka cluster.
    Kafka(KafkaConnector),
    /// A folder of Parquet files.
    Archive {
        /// The folder as written: a relative one starts at the working directory.
        path: PathBuf,
    },
    /// Records that are given: those of a test.
    Given(GivenRecords),
}

/// Topics of a Kafka cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaConnector {
    /// Topics, each once.
    pub topics: Vec<String>,
    /// host:port, with commas between.
    pub brokers: String,
    /// Where to begin.
    pub start: Position,
    /// Where to end; `None`: never.
    pub end: Option<Position>,
    /// Properties of librdkafka, in the order of the spec.
    pub properties: Vec<(String, String)>,
}

/// A position in topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Position {
    /// The oldest record that is kept.
    Earliest,
    /// The end when the job starts.
    Latest,
    /// The first record at or after it, microseconds since the epoch.
    Timestamp(i64),
    /// Offsets by topic and partition: every partition of the topics, and no other.
    Offsets(Vec<(String, Vec<(i32, i64)>)>),
}

/// When a source's rows happened, and how late they may be. Microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTime {
    /// The schema's field; `None`: the record's timestamp.
    pub field: Option<usize>,
    /// How far a split's watermark lies behind its highest event time.
    pub lateness_us: i64,
    /// How far an event time may lie past the record's timestamp.
    pub max_ahead_us: i64,
    /// After how long without records a split holds back no other; `None`: never.
    pub idle_after_us: Option<i64>,
}

/// A step: the rows of its inputs, filtered, then as its kind says.
#[derive(Debug, Clone)]
pub struct PlannedStep {
    /// Its name.
    pub name: String,
    /// The streams that it reads; several are a union. Each gives `input_columns`.
    pub inputs: Vec<PlannedInput>,
    /// The columns that its expressions see.
    pub input_columns: SchemaRef,
    /// Rows for which this is not true are left out.
    pub filter: Option<Predicate>,
    /// What is done with the others.
    pub kind: StepKind,
    /// The visible columns of its batches.
    pub columns: SchemaRef,
    /// Whether its batches carry `__split` and `__offset`; where they come out of a window, zeros.
    pub order: bool,
}

/// What a step does with its rows.
#[derive(Debug, Clone)]
pub enum StepKind {
    /// Hands them on as they are, with `input_columns`.
    Pass,
    /// Computes columns of each row.
    Project(Vec<NamedExpr>),
    /// Computes aggregates of windows.
    Window(Box<PlannedWindow>),
    /// Asks a model of series.
    Series(Box<PlannedSeries>),
    /// Asks a trained model of each row.
    Score(Box<PlannedScore>),
}

/// A step that asks a trained model of each row.
#[derive(Debug, Clone)]
pub struct PlannedScore {
    /// The model's file.
    pub file: Arc<ModelFile>,
    /// What the model reads, over the input, as doubles: input after input, in the model's order.
    pub inputs: Vec<NamedExpr>,
    /// How many of them make each input.
    pub widths: Vec<usize>,
    /// The columns of each of the model's outputs; none of those that are left out.
    pub outputs: Vec<Vec<String>>,
    /// The columns that go on as they are, as indexes into [`PlannedStep::input_columns`]; those of the model follow.
    pub passed: Vec<usize>,
    /// How long the model may take for a batch; `None`: any time.
    pub time_limit_us: Option<i64>,
    /// Over the step's columns: results for which this is not true are left out.
    pub having: Option<Predicate>,
}

/// A trained model as it was found when the pipeline was checked.
#[derive(Clone, PartialEq, Eq)]
pub struct ModelFile {
    /// What stands in the column `model_version`.
    pub version: String,
    /// Whether it is an ONNX model; a model of ours otherwise.
    pub is_onnx: bool,
    /// The file.
    pub bytes: Vec<u8>,
}

impl ModelFile {
    /// The version, and a hash of what it is: another registry may have another model under the same name.
    pub fn identity(&self) -> String {
        format!("{}#{:016x}", self.version, hash_key(&self.bytes))
    }
}

impl std::fmt::Debug for ModelFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ModelFile({}, {} bytes)", self.version, self.bytes.len())
    }
}

/// A step that asks a model of series.
#[derive(Debug, Clone)]
pub struct PlannedSeries {
    /// The model.
    pub model: SeriesModelKind,
    /// Which rows are one series, over the input.
    pub keys: Vec<NamedExpr>,
    /// What the model reads, over the input, as doubles.
    pub inputs: Vec<NamedExpr>,
    /// The network that the model asks, where its method has one.
    pub network: Option<Arc<PlannedNetwork>>,
    /// The columns that go on as they are, as indexes into [`PlannedStep::input_columns`]; those of the model follow.
    pub passed: Vec<usize>,
    /// The column that says when a row's values were: its window's start; `None`: its event time.
    pub at: Option<usize>,
    /// By whose clock seasons are told; `None`: UTC.
    pub time_zone: Option<chrono_tz::Tz>,
    /// A series without rows for longer begins anew, microseconds.
    pub forget_after_us: i64,
    /// Over the step's columns: results for which this is not true are left out.
    pub having: Option<Predicate>,
}

impl PlannedSeries {
    /// The names of the model's inputs.
    pub fn input_names(&self) -> Vec<String> {
        self.inputs.iter().map(|input| input.name.clone()).collect()
    }

    /// How long a while is in which siblings show something to the series that begin after it, microseconds: sixty rows, or an hour where it is not
    /// known how far rows are apart. `None`: the model does not go by siblings, or there are none.
    pub fn siblings_while_us(&self) -> Option<i64> {
        const ROWS: i64 = 60;
        const HOUR_US: i64 = 3_600_000_000;
        let SeriesModelKind::Detect(config) = &self.model else { return None };
        let goes_by_them = config.method == Method::Auto && !self.keys.is_empty();
        goes_by_them
            .then(|| config.interval_us.map_or(HOUR_US, |interval_us| interval_us.saturating_mul(ROWS)))
    }
}

/// A network that a model of series asks of each row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedNetwork {
    /// Its file.
    pub file: ModelFile,
    /// That of the version in its shadow, which sees the same windows.
    pub shadow: Option<ModelFile>,
    /// What it sees of a key.
    pub windows: WindowerConfig,
    /// How long it may take for a batch; `None`: any time.
    pub time_limit_us: Option<i64>,
    /// The model as the spec names it.
    pub model: String,
    /// When new versions of it are trained; `None`: not by the job.
    pub retrain: Option<Retrain>,
}

/// When a job trains new versions of a model. Microseconds of event time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retrain {
    /// From one to the next.
    pub every_us: i64,
    /// How much of what lies before each is learnt from.
    pub over_us: i64,
}

/// A model of series.
#[derive(Debug, Clone, PartialEq)]
pub enum SeriesModelKind {
    /// Anomalies.
    Detect(DetectorConfig),
    /// Forecasts.
    Forecast(ForecasterConfig),
    /// Where learning curves end.
    Converge(ConvergerConfig),
    /// What a network is trained on: no spec asks for it.
    Windows(WindowerConfig),
}

impl SeriesModelKind {
    /// As in a spec.
    pub fn name(&self) -> &'static str {
        match self {
            SeriesModelKind::Detect(_) => "detect",
            SeriesModelKind::Forecast(_) => "forecast",
            SeriesModelKind::Converge(_) => "converge",
            SeriesModelKind::Windows(_) => "windows",
        }
    }

    /// The columns that it adds, and the version of its state and scores.
    ///
    /// # Errors
    /// A configuration that makes no model.
    pub fn describe(&self, inputs: &[String]) -> Result<(Vec<Field>, String), ConfigError> {
        Ok(match self {
            SeriesModelKind::Detect(config) => {
                let detector = Detector::new(config.clone())?;
                let version = detector.version();
                (DetectModel::new(detector, inputs).columns(), version)
            }
            SeriesModelKind::Forecast(config) => {
                let forecaster = Forecaster::new(config.clone())?;
                let version = forecaster.version();
                (ForecastModel::new(forecaster, config).columns(), version)
            }
            SeriesModelKind::Converge(config) => {
                let converger = Converger::new(config.clone())?;
                let version = converger.version();
                (ConvergeModel::new(converger).columns(), version)
            }
            SeriesModelKind::Windows(config) => {
                (window_columns(config.rows, config.inputs), Windower::new(config.clone()).version())
            }
        })
    }
}

/// A windowed step.
#[derive(Debug, Clone)]
pub struct PlannedWindow {
    /// How rows are cut into windows.
    pub window: WindowKind,
    /// The keys, over the input.
    pub keys: Vec<NamedExpr>,
    /// The aggregates, each once. `__agg_0`, `__agg_1`, … are their results.
    pub aggregates: Vec<AggregateCall>,
    /// The different arguments and filters of the aggregates, over the input.
    pub inputs: Vec<NamedExpr>,
    /// The columns over which `output` is computed: window_start, window_end, keys, `__agg_0`, …
    pub result_columns: SchemaRef,
    /// The step's columns: window_start, window_end and the keys as they are, then the select.
    pub output: Vec<NamedExpr>,
    /// Over the step's columns: results for which this is not true are left out.
    pub having: Option<Predicate>,
}

impl PlannedWindow {
    /// An aggregate in words that no other one of the step has, and that stay the same as long as it does.
    pub fn label(&self, call: &AggregateCall) -> String {
        let input =
            |at: &usize| format!("{} as {}", self.inputs[*at].sql, type_name(&self.inputs[*at].data_type));
        let arguments: Vec<String> = call.arguments.iter().map(input).collect();
        let filter = call.filter.map_or(String::new(), |at| format!(" where {}", self.inputs[at].sql));
        format!("{:?} of ({}){filter}", call.aggregate.function(), arguments.join(", "))
    }
}

/// An aggregate of a windowed step.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AggregateCall {
    /// The function and its argument types.
    pub aggregate: Aggregate,
    /// Its arguments: indexes into [`PlannedWindow::inputs`].
    pub arguments: Vec<usize>,
    /// Its filter, of type Boolean: an index into [`PlannedWindow::inputs`].
    pub filter: Option<usize>,
}

/// How rows are cut into windows. Microseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WindowKind {
    /// `[offset + n·size, offset + (n+1)·size)`, from the epoch.
    Tumbling {
        /// Length.
        size_us: i64,
        /// Where windows begin, less than `size_us`.
        offset_us: i64,
        /// Whose days are meant, an IANA name; the size is whole days then.
        time_zone: Option<chrono_tz::Tz>,
    },
    /// `[offset + n·every, offset + n·every + size)`, from the epoch.
    Hopping {
        /// Length.
        size_us: i64,
        /// From start to start, at most `size_us`.
        every_us: i64,
        /// Where windows begin, less than `every_us`.
        offset_us: i64,
    },
    /// Rows of a key less than `gap_us` apart.
    Session {
        /// The gap that ends a session.
        gap_us: i64,
        /// The longest session, at least `gap_us`; `None`: for ever.
        max_us: Option<i64>,
    },
}

/// A compiled expression with its name.
#[derive(Debug, Clone)]
pub struct NamedExpr {
    /// The column's name.
    pub name: String,
    /// The SQL that it was compiled from.
    pub sql: String,
    /// The type of its values.
    pub data_type: DataType,
    /// Whether they may be null.
    pub nullable: bool,
    /// The compiled expression. Columns are found by position: batches may hold more of them after those it was compiled for.
    pub expr: Arc<dyn PhysicalExpr>,
}

impl NamedExpr {
    /// The column's values, one a row.
    ///
    /// # Errors
    /// A value that the expression can't take: a division by zero, a failed cast.
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef, DataFusionError> {
        evaluate(&self.expr, batch)
    }

    /// The column.
    pub fn field(&self) -> Field {
        Field::new(&self.name, self.data_type.clone(), self.nullable)
    }
}

/// A compiled condition.
#[derive(Debug, Clone)]
pub struct Predicate {
    /// The SQL that it was compiled from.
    pub sql: String,
    /// The compiled expression, of type Boolean.
    pub expr: Arc<dyn PhysicalExpr>,
}

impl Predicate {
    /// Which rows it holds for; null counts as false to a filter.
    ///
    /// # Errors
    /// As [`NamedExpr::evaluate`].
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<BooleanArray, DataFusionError> {
        Ok(as_boolean_array(&evaluate(&self.expr, batch)?)?.clone())
    }
}

// Whether an expression fails may not depend on which rows share a batch: DataFusion leaves out the right side of an `and` only
// where enough of the batch decides so. A batch that fails is therefore halved, down to single rows, on which `and`, `or` and
// `case` always leave out what does not matter; what fails then fails by itself.
fn evaluate(expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<ArrayRef, DataFusionError> {
    let rows = batch.num_rows();
    match expr.evaluate(batch).and_then(|values| values.into_array(rows)) {
        Err(_) if rows > 1 => {
            let (first, second) = (batch.slice(0, rows / 2), batch.slice(rows / 2, rows - rows / 2));
            let halves = [evaluate(expr, &first)?, evaluate(expr, &second)?];
            Ok(concat(&[&halves[0], &halves[1]])?)
        }
        result => result,
    }
}

/// A sink.
#[derive(Debug, Clone)]
pub struct PlannedSink {
    /// Its name: its folder, and its table in SQL.
    pub name: String,
    /// What it reads; its projection gives `columns`.
    pub input: PlannedInput,
    /// The columns that it writes.
    pub columns: SchemaRef,
    /// How it writes them.
    pub kind: SinkKind,
}

/// How a sink writes rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkKind {
    /// Parquet files.
    Parquet {
        /// What makes folders, from the outermost inwards.
        partition_by: Vec<PartitionColumn>,
        /// About how large a file grows, in bytes.
        target_file_bytes: u64,
    },
    /// A Delta Lake table.
    Delta {
        /// Its partition columns, in their order.
        partition_by: Vec<PartitionColumn>,
        /// About how large a file grows, in bytes.
        target_file_bytes: u64,
    },
    /// Records of a Kafka topic.
    Kafka {
        /// `host:port`, several separated by commas.
        brokers: String,
        /// The topic.
        topic: String,
        /// What makes a record's key, as indexes into [`PlannedSink::columns`].
        key: Vec<usize>,
        /// librdkafka's properties.
        properties: Vec<(String, String)>,
    },
    /// A file of JSON objects, one a line.
    Jsonl,
    /// Standard output, as JSON objects, one a line.
    Stdout,
    /// Whoever looks on: rows are handed over as they come, and kept nowhere.
    Handed(Handover),
}

/// What makes a folder of a Parquet sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionColumn {
    /// A column, as an index into [`PlannedSink::columns`]; not written into the files.
    Column(usize),
    /// `window_date`: the day, in UTC, of window_start, whose index into [`PlannedSink::columns`] this is.
    WindowDate(usize),
}

impl PartitionColumn {
    /// The folder's key: the column's name, or `window_date`.
    pub fn name(self, columns: &SchemaRef) -> &str {
        match self {
            PartitionColumn::Column(index) => columns.field(index).name(),
            PartitionColumn::WindowDate(_) => "window_date",
        }
    }
}

impl Plan {
    /// The visible columns of a stream's batches.
    pub fn columns(&self, stream: StreamId) -> &SchemaRef {
        match stream {
            StreamId::Source(index) => &self.sources[index].columns,
            StreamId::Step(index) => &self.steps[index].columns,
        }
    }

    /// Whether a stream's batches carry `__split` and `__offset`.
    pub fn order(&self, stream: StreamId) -> bool {
        match stream {
            StreamId::Source(index) => self.sources[index].order,
            StreamId::Step(index) => self.steps[index].order,
        }
    }

    /// A stream's name.
    pub fn stream_name(&self, stream: StreamId) -> &str {
        match stream {
            StreamId::Source(index) => &self.sources[index].name,
            StreamId::Step(index) => &self.steps[index].name,
        }
    }
}
