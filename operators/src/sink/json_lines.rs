//! Rows as lines of JSON, for looking at: into a file a worker, or to standard output.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::json::writer::{LineDelimited, WriterBuilder};

use super::{Sink, SinkCounters, SinkError};

/// Where the lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A file, created anew.
    File(PathBuf),
    /// Standard output. Each batch is written at once, so that lines of several workers do not mix.
    Stdout,
}

/// A worker's part of a sink of JSON lines. Columns whose names begin with two underscores are left out.
pub struct JsonLinesSink {
    name: String,
    destination: Destination,
    file: Option<BufWriter<File>>,
    counters: Arc<SinkCounters>,
}

impl JsonLinesSink {
    /// Nothing is opened before the first row.
    pub fn new(name: impl Into<String>, destination: Destination, counters: Arc<SinkCounters>) -> Self {
        JsonLinesSink { name: name.into(), destination, file: None, counters }
    }

    fn io(&self, source: std::io::Error) -> SinkError {
        let path = match &self.destination {
            Destination::File(path) => path.display().to_string(),
            Destination::Stdout => "standard output".to_owned(),
        };
        SinkError::Io { sink: self.name.clone(), path, source }
    }

    fn put(&mut self, lines: &[u8]) -> std::io::Result<u64> {
        match &self.destination {
            Destination::Stdout => {
                let mut out = std::io::stdout().lock();
                out.write_all(lines)?;
                out.flush()?;
                Ok(0)
            }
            Destination::File(path) => match &mut self.file {
                Some(file) => file.write_all(lines).map(|()| 0),
                None => {
                    if let Some(folder) = path.parent() {
                        std::fs::create_dir_all(folder)?;
                    }
                    let mut file = BufWriter::new(File::create(path)?);
                    file.write_all(lines)?;
                    self.file = Some(file);
                    Ok(1)
                }
            },
        }
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
        let files = self.put(&lines).map_err(|error| self.io(error))?;
        self.counters.add(batch.num_rows() as u64, files, lines.len() as u64);
        Ok(())
    }

    fn idle(&mut self) -> Result<(), SinkError> {
        match &mut self.file {
            Some(file) => file.flush().map_err(|error| self.io(error)),
            None => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        self.idle()
    }
}
