//! All rows that differ, as a file: a report shows the first of them.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use thalweg_query::Session;

use super::BacktestError;

/// Writes the rows of a query into `folder`, as they come.
///
/// # Errors
/// The query fails; the file can't be written.
pub(super) fn write(session: &Session, sql: &str, folder: &Path) -> Result<PathBuf, BacktestError> {
    let path = folder.join("rows.parquet");
    let io = |source| BacktestError::Io { path: path.display().to_string(), source };
    let failed = |error: ParquetError| io(std::io::Error::other(error));
    std::fs::create_dir_all(folder).map_err(io)?;
    let mut writer: Option<ArrowWriter<File>> = None;
    let mut written = Ok(());
    session.stream(sql, &mut |batch| {
        written = put(&mut writer, &path, &batch).map_err(failed);
        Ok(if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    written?;
    if let Some(writer) = writer {
        writer.close().map_err(failed)?;
    }
    Ok(path)
}

fn put(writer: &mut Option<ArrowWriter<File>>, path: &Path, batch: &RecordBatch) -> Result<(), ParquetError> {
    let open = match writer {
        Some(open) => open,
        None => {
            let properties = WriterProperties::builder();
            let properties = properties.set_compression(Compression::ZSTD(ZstdLevel::default())).build();
            writer.insert(ArrowWriter::try_new(File::create(path)?, batch.schema(), Some(properties))?)
        }
    };
    open.write(batch)
}
