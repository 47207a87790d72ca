//! A worker's part of the sink: Parquet files, in their final place from the start.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use thalweg_engine::checkpoint::StagedFile;
use thalweg_operators::sink::parquet::{ParquetConfig, ParquetSink};
use thalweg_operators::sink::{Sink, SinkCounters, SinkError};

use crate::DeltaError;
use crate::types::{written_batch, written_schema};

/// A worker's part of a Delta sink.
pub struct DeltaSink {
    name: String,
    written: SchemaRef,
    files: ParquetSink,
}

impl DeltaSink {
    /// A worker's part, in a job that goes on after checkpoint `from`. `columns` are those of its rows, with the ones that become
    /// folders; whatever `config.staging` says, files are written where they belong.
    ///
    /// # Errors
    /// A column whose name or type a Delta table does not have.
    pub fn new(
        mut config: ParquetConfig,
        columns: &Schema,
        from: u64,
        counters: Arc<SinkCounters>,
    ) -> Result<Self, DeltaError> {
        config.staging.in_place = true;
        let name = config.name.clone();
        let written = written_schema(&name, columns)?;
        Ok(DeltaSink { name, written, files: ParquetSink::new(config, from, counters) })
    }
}

impl Sink for DeltaSink {
    fn write(&mut self, batch: RecordBatch) -> Result<(), SinkError> {
        let batch = written_batch(&batch, &self.written).map_err(|error| SinkError::Format {
            sink: self.name.clone(),
            format: "Delta Lake",
            detail: error.to_string(),
        })?;
        self.files.write(batch)
    }

    fn stage(&mut self, checkpoint: u64) -> Result<Vec<StagedFile>, SinkError> {
        self.files.stage(checkpoint)
    }
}
