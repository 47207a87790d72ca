//! Rows kept as Arrow IPC files until their checkpoint exists: for sinks that are no folder of files, and send them then.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::ipc::writer::StreamWriter;
use thalweg_engine::checkpoint::StagedFile;

use super::staging::Staging;
use super::{Sink, SinkCounters, SinkError};

/// A worker's part of such a sink; hidden columns are kept. One file a checkpoint, staged under the sink's folder; its target is where it is staged.
pub struct IpcSink {
    name: String,
    folder: PathBuf,
    staging: Staging,
    open: Option<Open>,
    counters: Arc<SinkCounters>,
}

struct Open {
    writer: StreamWriter<BufWriter<File>>,
    path: PathBuf,
    rows: u64,
}

impl IpcSink {
    /// Nothing is opened before the first row.
    pub fn new(
        name: impl Into<String>,
        folder: impl Into<PathBuf>,
        staging: Staging,
        counters: Arc<SinkCounters>,
    ) -> Self {
        IpcSink { name: name.into(), folder: folder.into(), staging, open: None, counters }
    }

    fn io(&self, path: &Path, source: std::io::Error) -> SinkError {
        SinkError::Io { sink: self.name.clone(), path: path.display().to_string(), source }
    }

    fn format(&self, error: impl std::fmt::Display) -> SinkError {
        SinkError::Format { sink: self.name.clone(), format: "Arrow IPC", detail: error.to_string() }
    }
}

impl Sink for IpcSink {
    fn write(&mut self, batch: RecordBatch) -> Result<(), SinkError> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => {
                let (path, file) = self.staging.create(&self.name, &self.folder)?;
                let file = BufWriter::with_capacity(1 << 18, file);
                let writer = StreamWriter::try_new(file, batch.schema_ref());
                Open { writer: writer.map_err(|error| self.format(error))?, path, rows: 0 }
            }
        };
        open.writer.write(&batch).map_err(|error| self.format(error))?;
        open.rows += batch.num_rows() as u64;
        self.open = Some(open);
        Ok(())
    }

    fn stage(&mut self, checkpoint: u64) -> Result<Vec<StagedFile>, SinkError> {
        let Some(Open { writer, path, rows }) = self.open.take() else { return Ok(Vec::new()) };
        let file = writer.into_inner().map_err(|error| self.format(error))?;
        let file = file.into_inner().map_err(|error| self.io(&path, error.into_error()))?;
        let complete = self.staging.complete(&self.folder, (&path, &file), checkpoint, "arrow", rows);
        let file = complete.map_err(|error| self.io(&path, error))?;
        self.counters.add(rows, 1, file.bytes);
        Ok(vec![StagedFile { target: file.staged.clone(), ..file }])
    }
}
