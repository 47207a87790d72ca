//! Planned sinks become writers.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Date32Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, TimestampMicrosecondType};
use thalweg_engine::control::JobError;
use thalweg_operators::sink::json_lines::{Destination, JsonLinesSink};
use thalweg_operators::sink::parquet::{ParquetConfig, ParquetSink};
use thalweg_operators::sink::{Sink, SinkCounters};

use crate::plan::{PartitionColumn, PlannedSink, SinkKind};

/// The standing output of late rows.
pub(crate) const LATE: &str = "_late";
/// The standing output of rejected rows.
pub(crate) const REJECTED: &str = "_rejected";

const WINDOW_DATE: &str = "window_date";
const DAY_US: i64 = 86_400_000_000;

/// A worker's writer of a planned sink.
pub(super) fn planned(
    output: &Path,
    planned: &PlannedSink,
    worker: usize,
    counters: &Arc<SinkCounters>,
) -> Box<dyn Sink> {
    let folder = output.join(&planned.name);
    match &planned.kind {
        SinkKind::Parquet { partition_by, target_file_bytes } => {
            let config = ParquetConfig {
                partition_by: partition_by.iter().map(|by| by.name(&planned.columns).to_owned()).collect(),
                file_bytes_target: *target_file_bytes as usize,
                ..ParquetConfig::new(&planned.name, folder)
            };
            Box::new(ParquetSink::new(config, worker, Arc::clone(counters)))
        }
        SinkKind::Jsonl => {
            let file = Destination::File(folder.join(format!("part-{worker:03}.jsonl")));
            Box::new(JsonLinesSink::new(&planned.name, file, Arc::clone(counters)))
        }
        SinkKind::Stdout => {
            Box::new(JsonLinesSink::new(&planned.name, Destination::Stdout, Arc::clone(counters)))
        }
    }
}

/// A worker's writer of late or rejected rows.
pub(super) fn standing(
    output: &Path,
    name: &str,
    worker: usize,
    counters: &Arc<SinkCounters>,
) -> Box<dyn Sink> {
    let config = ParquetConfig {
        sort_by: ["source", "topic", "partition", "offset"].map(str::to_owned).to_vec(),
        // Rows that something is wrong with may be large, and many at once.
        buffer_bytes_max: 32 << 20,
        ..ParquetConfig::new(name, output.join(name))
    };
    Box::new(ParquetSink::new(config, worker, Arc::clone(counters)))
}

/// Adds the column `window_date` where the sink makes folders of it.
pub(super) fn add_window_date(
    planned: &PlannedSink,
) -> impl Fn(RecordBatch) -> Result<RecordBatch, JobError> + 'static {
    let start = match &planned.kind {
        SinkKind::Parquet { partition_by, .. } => partition_by.iter().find_map(|by| match by {
            PartitionColumn::WindowDate(start) => Some(*start),
            PartitionColumn::Column(_) => None,
        }),
        SinkKind::Jsonl | SinkKind::Stdout => None,
    };
    move |batch| {
        let Some(start) = start else { return Ok(batch) };
        let starts = batch.column(start).as_primitive::<TimestampMicrosecondType>();
        let days: Date32Array = starts.unary(|start| start.div_euclid(DAY_US) as i32);
        let mut fields: Vec<_> = batch.schema_ref().fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new(WINDOW_DATE, DataType::Date32, false)));
        let mut columns = batch.columns().to_vec();
        columns.push(Arc::new(days) as ArrayRef);
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
    }
}
