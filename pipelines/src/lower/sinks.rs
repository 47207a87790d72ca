//! Planned sinks become writers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Date32Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimestampMicrosecondType};
use thalweg_delta::{DeltaConfig, DeltaPublisher, DeltaSink};
use thalweg_engine::checkpoint::Claim;
use thalweg_engine::control::JobError;
use thalweg_kafka::{KafkaPublisher, KafkaSinkConfig};
use thalweg_operators::sink::ipc::IpcSink;
use thalweg_operators::sink::json_lines::{Destination, JsonLinesSink, StdoutPublisher};
use thalweg_operators::sink::parquet::{ParquetConfig, ParquetSink};
use thalweg_operators::sink::staging::{FolderPublisher, Staging};
use thalweg_operators::sink::{Publisher, Sink, SinkCounters};

use crate::plan::{PartitionColumn, Plan, PlannedSink, SinkKind};
use crate::run::{JobContext, RunError};

/// The standing output of late rows.
pub(crate) const LATE: &str = "_late";
/// The standing output of rejected rows.
pub(crate) const REJECTED: &str = "_rejected";

/// How long the brokers of a sink may take to say that its topic is there.
const CHECK_TIMEOUT: Duration = Duration::from_secs(20);
const WINDOW_DATE: &str = "window_date";
const DELTA_CHECKED: &str = "invariant: the plan has checked a Delta table's columns";
const DAY_US: i64 = 86_400_000_000;

/// A worker's writer of a planned sink.
pub(super) fn planned(
    job: &JobContext,
    planned: &PlannedSink,
    worker: usize,
    counters: &Arc<SinkCounters>,
) -> Box<dyn Sink> {
    let folder = job.output.join(&planned.name);
    let staging = staging(job, worker);
    match &planned.kind {
        SinkKind::Parquet { partition_by, target_file_bytes }
        | SinkKind::Delta { partition_by, target_file_bytes } => {
            let config = ParquetConfig {
                partition_by: names(partition_by, planned),
                file_bytes_target: *target_file_bytes as usize,
                buffer_bytes_max: job.memory.sink_buffer_bytes,
                ..ParquetConfig::new(&planned.name, folder, staging)
            };
            let (from, counters) = (job.cuts.first(), Arc::clone(counters));
            match planned.kind {
                SinkKind::Delta { .. } => Box::new(
                    DeltaSink::new(config, &with_window_date(planned), from, counters).expect(DELTA_CHECKED),
                ),
                _ => Box::new(ParquetSink::new(config, from, counters)),
            }
        }
        SinkKind::Kafka { .. } => {
            Box::new(IpcSink::new(&planned.name, folder, staging, Arc::clone(counters)))
        }
        SinkKind::Jsonl => {
            let files = Destination::Files(folder, staging);
            Box::new(JsonLinesSink::new(&planned.name, files, Arc::clone(counters)))
        }
        SinkKind::Stdout => {
            Box::new(JsonLinesSink::new(&planned.name, Destination::Stdout, Arc::clone(counters)))
        }
        SinkKind::Handed(handover) => Box::new(handover.clone()),
    }
}

/// A worker's writer of late or rejected rows.
pub(super) fn standing(
    job: &JobContext,
    name: &str,
    worker: usize,
    counters: &Arc<SinkCounters>,
) -> Box<dyn Sink> {
    let config = ParquetConfig {
        sort_by: ["source", "topic", "partition", "offset"].map(str::to_owned).to_vec(),
        // Rows that something is wrong with may be large, and many at once.
        buffer_bytes_max: job.memory.sink_buffer_bytes.min(32 << 20),
        ..ParquetConfig::new(name, job.output.join(name), staging(job, worker))
    };
    Box::new(ParquetSink::new(config, job.cuts.first(), Arc::clone(counters)))
}

fn names(partition_by: &[PartitionColumn], planned: &PlannedSink) -> Vec<String> {
    partition_by.iter().map(|by| by.name(&planned.columns).to_owned()).collect()
}

fn staging(job: &JobContext, worker: usize) -> Staging {
    Staging { generation: job.generation, worker, in_place: false }
}

/// What makes the files of each sink visible: those of the plan in its order, then the standing outputs.
///
/// # Errors
/// A sink whose other side can't be reached, or is not as it must be.
pub(crate) fn publishers(
    plan: &Plan,
    output: &Path,
    claim: &Claim,
) -> Result<Vec<Box<dyn Publisher>>, RunError> {
    let mut all: Vec<Box<dyn Publisher>> = Vec::new();
    for sink in &plan.sinks {
        let folder = output.join(&sink.name);
        all.push(match &sink.kind {
            SinkKind::Parquet { .. } | SinkKind::Jsonl => {
                Box::new(FolderPublisher::new(&sink.name, folder, claim.generation))
            }
            SinkKind::Delta { partition_by, .. } => {
                let config = DeltaConfig {
                    sink: sink.name.clone(),
                    folder,
                    columns: with_window_date(sink),
                    partition_by: names(partition_by, sink),
                    application: format!("{}/{}", claim.job, sink.name),
                    generation: claim.generation,
                };
                Box::new(DeltaPublisher::new(config).expect(DELTA_CHECKED))
            }
            SinkKind::Kafka { brokers, topic, key, properties } => {
                let config = KafkaSinkConfig {
                    job: claim.job.clone(),
                    sink: sink.name.clone(),
                    brokers: brokers.clone(),
                    topic: topic.clone(),
                    key: key.iter().map(|at| sink.columns.field(*at).name().clone()).collect(),
                    timestamp: None,
                    properties: properties.iter().cloned().collect(),
                };
                config.check(CHECK_TIMEOUT)?;
                Box::new(KafkaPublisher::new(config, folder, claim.generation))
            }
            SinkKind::Stdout | SinkKind::Handed(_) => Box::new(StdoutPublisher(sink.name.clone())),
        });
    }
    for name in [LATE, REJECTED] {
        all.push(Box::new(FolderPublisher::new(name, output.join(name), claim.generation)));
    }
    Ok(all)
}

// Where the sink makes folders of the day of `window_start`: that column's index.
fn window_start(planned: &PlannedSink) -> Option<usize> {
    match &planned.kind {
        SinkKind::Parquet { partition_by, .. } | SinkKind::Delta { partition_by, .. } => {
            partition_by.iter().find_map(|by| match by {
                PartitionColumn::WindowDate(start) => Some(*start),
                PartitionColumn::Column(_) => None,
            })
        }
        SinkKind::Kafka { .. } | SinkKind::Jsonl | SinkKind::Stdout | SinkKind::Handed(_) => None,
    }
}

fn window_date() -> Arc<Field> {
    Arc::new(Field::new(WINDOW_DATE, DataType::Date32, false))
}

// The columns that a sink's rows have after `add_window_date`.
fn with_window_date(planned: &PlannedSink) -> SchemaRef {
    let date = window_start(planned).map(|_| window_date());
    Arc::new(Schema::new(planned.columns.fields().iter().cloned().chain(date).collect::<Vec<_>>()))
}

/// Adds the column `window_date` where the sink makes folders of it.
pub(super) fn add_window_date(
    planned: &PlannedSink,
) -> impl Fn(RecordBatch) -> Result<RecordBatch, JobError> + 'static {
    let start = window_start(planned);
    move |batch| {
        let Some(start) = start else { return Ok(batch) };
        let starts = batch.column(start).as_primitive::<TimestampMicrosecondType>();
        let days: Date32Array = starts.unary(|start| start.div_euclid(DAY_US) as i32);
        let mut fields: Vec<_> = batch.schema_ref().fields().iter().cloned().collect();
        fields.push(window_date());
        let mut columns = batch.columns().to_vec();
        columns.push(Arc::new(days) as ArrayRef);
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
    }
}
