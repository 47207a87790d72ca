//! A thread's Parquet file.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

/// One file, made with the first batch.
pub(super) struct Output {
    path: PathBuf,
    writer: Option<ArrowWriter<File>>,
}

impl Output {
    pub(super) fn new(folder: &Path, thread: usize) -> Output {
        Output { path: folder.join(format!("part-{thread}.parquet")), writer: None }
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> anyhow::Result<()> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => {
                let zstd = Compression::ZSTD(ZstdLevel::try_new(1)?);
                let properties = WriterProperties::builder().set_compression(zstd).build();
                none.insert(ArrowWriter::try_new(
                    File::create(&self.path)?,
                    batch.schema(),
                    Some(properties),
                )?)
            }
        };
        Ok(writer.write(batch)?)
    }

    pub(super) fn finish(self) -> anyhow::Result<()> {
        if let Some(writer) = self.writer {
            writer.close()?;
        }
        Ok(())
    }
}
