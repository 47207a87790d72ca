//! Rows as lines of JSON, for looking at: in files, or on standard output.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::json::writer::{LineDelimited, WriterBuilder};
use thalweg_engine::checkpoint::{Publisher, StagedFile};
use thalweg_engine::control::JobError;

use super::staging::Staging;
use super::{Sink, SinkCounters, SinkError};

/// Where the lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Files of a folder, one a worker and checkpoint.
    Files(PathBuf, Staging),
    /// Standard output, at once: what was printed before a crash is printed again by the run after it.
    Stdout,
}

/// A worker's part of a sink of JSON lines. Columns whose names begin with two underscores are left out.
pub struct JsonLinesSink {
    name: String,
    destination: Destination,
    open: Option<Open>,
    counters: Arc<SinkCounters>,
}

struct Open {
    file: BufWriter<File>,
    path: PathBuf,
    rows: u64,
}

impl JsonLinesSink {
    /// Nothing is opened before the first row.
    pub fn new(name: impl Into<String>, destination: Destination, counters: Arc<SinkCounters>) -> Self {
        JsonLinesSink { name: name.into(), destination, open: None, counters }
    }

    fn io(&self, path: &Path, source: std::io::Error) -> SinkError {
        SinkError::Io { sink: self.name.clone(), path: path.display().to_string(), source }
    }

    fn put(&mut self, lines: &[u8], rows: u64) -> Result<(), SinkError> {
        let (folder, staging) = match &self.destination {
            Destination::Stdout => {
                let mut out = std::io::stdout().lock();
                let written = out.write_all(lines).and_then(|()| out.flush());
                self.counters.add(rows, 0, lines.len() as u64);
                return written.map_err(|error| self.io(Path::new("standard output"), error));
            }
            Destination::Files(folder, staging) => (folder, staging),
        };
        if self.open.is_none() {
            let (path, file) = staging.create(&self.name, folder)?;
            self.open = Some(Open { file: BufWriter::new(file), path, rows: 0 });
        }
        if let Some(open) = &mut self.open {
            open.rows += rows;
            if let Err(error) = open.file.write_all(lines) {
                let path = open.path.clone();
                return Err(self.io(&path, error));
            }
        }
        Ok(())
    }
}

impl Sink for JsonLinesSink {
    fn write(&mut self, batch: RecordBatch) -> Result<(), SinkError> {
        let batch = super::parquet::visible(&batch);
        let mut lines = Vec::new();
        let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(&mut lines);
        writer.write(&batch).and_then(|()| writer.finish()).map_err(|error| SinkError::Format {
            sink: self.name.clone(),
            format: "JSON lines",
            detail: error.to_string(),
        })?;
        self.put(&lines, batch.num_rows() as u64)
    }

    fn stage(&mut self, checkpoint: u64) -> Result<Vec<StagedFile>, SinkError> {
        let Destination::Files(folder, staging) = &self.destination else { return Ok(Vec::new()) };
        let Some(open) = self.open.take() else { return Ok(Vec::new()) };
        let Open { mut file, path, rows } = open;
        let complete = file
            .flush()
            .and_then(|()| staging.complete(folder, (&path, file.get_ref()), checkpoint, "jsonl", rows));
        let file = complete.map_err(|error| self.io(&path, error))?;
        self.counters.add(rows, 1, file.bytes);
        Ok(vec![file])
    }
}

/// Standard output has nothing to publish.
#[derive(Debug)]
pub struct StdoutPublisher(pub String);

impl Publisher for StdoutPublisher {
    fn sink(&self) -> &str {
        &self.0
    }

    fn publish(&mut self, _checkpoint: u64, _files: &[StagedFile]) -> Result<(), JobError> {
        Ok(())
    }

    fn sweep(&mut self, _newest: u64) -> Result<(), JobError> {
        Ok(())
    }
}
