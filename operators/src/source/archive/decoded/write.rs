//! Decodes a file of an archive and keeps the columns beside it.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, SchemaRef};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use thalweg_schemas::{Decoder, Format, Schema};

use super::super::columns::values;
use super::super::inspect::ArchiveFile;
use super::super::{damaged, unreadable};
use super::{
    DecodedColumns, DecodedFile, IS_ROW, OF, SCHEMA, UNFINISHED, decoded_path, fingerprint, mark, signed,
};
use crate::source::reader::SourceError;

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeSummary {
    /// It was decoded.
    Decoded {
        /// Its records.
        rows: u64,
        /// Those of them that are no rows of the schema.
        refused: u64,
        /// The size of the decoded columns in bytes.
        bytes: u64,
    },
    /// It had been decoded before.
    There,
    /// It holds several partitions, or row groups without rows: such a file is read record by record.
    Mixed,
    /// It was removed meanwhile.
    Gone,
    /// It was stopped in between, and nothing was kept.
    Stopped,
}

/// Why a file can't be decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The archive's file can't be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Decoded columns can't be written.
    #[error(
        "can't write {path}: {source}; check that the folder can be written to and that the disk has room"
    )]
    Io {
        /// The file or folder.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// Decoded columns can't be encoded.
    #[error("can't write {path}: {source}")]
    Parquet {
        /// The file.
        path: String,
        /// What Parquet said.
        source: ParquetError,
    },
}

/// Decodes a file and keeps its columns, unless they are there. `stopped` is asked now and then whether to give up.
///
/// # Errors
/// A file that can't be read or written.
pub fn decode_file(
    path: &Path,
    schema: &Arc<Schema>,
    stopped: &dyn Fn() -> bool,
) -> Result<DecodeSummary, DecodeError> {
    let file = match ArchiveFile::open(path) {
        Err(_) if !path.exists() => return Ok(DecodeSummary::Gone),
        opened => opened?,
    };
    let fields: Vec<usize> = (0..schema.fields.len()).collect();
    let wanted = DecodedColumns { schema: Arc::clone(schema), fields };
    let fingerprint = fingerprint(schema);
    match DecodedFile::find(&file, &wanted, &fingerprint) {
        Ok(Some(_)) => return Ok(DecodeSummary::There),
        Ok(None) => {}
        Err(reason) => tracing::warn!(file = %path.display(), reason, "decoding again"),
    }
    let groups = 0..file.metadata.metadata().num_row_groups();
    if file.contents()?.len() > 1 || groups.clone().any(|group| file.rows(group) == 0) {
        return Ok(DecodeSummary::Mixed);
    }
    let target = decoded_path(path, &fingerprint);
    let folder = target.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(folder).map_err(|source| io_error(folder, source))?;
    let mut output = Output::create(&target, &file, schema)?;
    let mut decoder = Decoder::new(Format::Json, schema, &wanted.fields);
    let (mut rows, mut refused) = (0, 0);
    for group in groups {
        for batch in payloads(&file, group)? {
            if stopped() {
                return Ok(DecodeSummary::Stopped);
            }
            let batch = batch.map_err(|error| damaged(path, &error))?;
            let values = values(&file, &batch)?;
            let is_row: BooleanArray = (0..values.len())
                .map(|row| Some(decoder.push(values.is_valid(row).then(|| values.value(row))).is_ok()))
                .collect();
            rows += values.len() as u64;
            refused += (values.len() - is_row.true_count()) as u64;
            output.write(decoded(&mut decoder, is_row, &output.schema)?)?;
        }
        output.end_group()?;
    }
    let bytes = output.finish(&target)?;
    if !path.exists() {
        fs::remove_file(&target).map_err(|source| io_error(&target, source))?;
        return Ok(DecodeSummary::Gone);
    }
    Ok(DecodeSummary::Decoded { rows, refused, bytes })
}

/// A row group's values, batch by batch.
pub(super) fn payloads(file: &ArchiveFile, group: usize) -> Result<ParquetRecordBatchReader, SourceError> {
    let opened = File::open(&file.path).map_err(|error| unreadable(&file.path, error))?;
    ParquetRecordBatchReaderBuilder::new_with_metadata(opened, file.metadata.clone())
        .with_row_groups(vec![group])
        .with_projection(ProjectionMask::roots(file.metadata.parquet_schema(), [file.value]))
        .with_batch_size(file.batch_rows(group))
        .build()
        .map_err(|error| damaged(&file.path, &error))
}

/// What the decoder holds, with a row of nulls for each payload that it has refused.
pub(super) fn decoded(
    decoder: &mut Decoder,
    is_row: BooleanArray,
    schema: &SchemaRef,
) -> Result<RecordBatch, DecodeError> {
    let mut columns = decoder.finish();
    if is_row.false_count() > 0 {
        let mut next = 0..;
        let places: UInt32Array =
            is_row.iter().map(|is_row| is_row.filter(|is_row| *is_row).and_then(|_| next.next())).collect();
        for column in &mut columns {
            *column = take(column, &places, None).expect("invariant: as many rows as were decoded");
        }
    }
    columns.insert(0, Arc::new(is_row) as ArrayRef);
    Ok(RecordBatch::try_new(Arc::clone(schema), columns).expect("invariant: columns fit the schema"))
}

/// The columns of a file of decoded columns. All may be null: a payload that was refused has no values.
pub(super) fn columns_of(schema: &Schema) -> SchemaRef {
    let fields = schema.fields.iter().map(|field| field.arrow().with_nullable(true));
    let is_row = Field::new(IS_ROW, DataType::Boolean, false);
    Arc::new(ArrowSchema::new(std::iter::once(is_row).chain(fields).collect::<Vec<_>>()))
}

/// A file that gets its name when it is whole.
struct Output {
    writer: ArrowWriter<BufWriter<File>>,
    temporary: PathBuf,
    schema: SchemaRef,
}

impl Output {
    fn create(target: &Path, file: &ArchiveFile, schema: &Schema) -> Result<Output, DecodeError> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let temporary = target.with_file_name(format!(".{name}{UNFINISHED}"));
        let created = File::create(&temporary).map_err(|source| io_error(&temporary, source))?;
        let columns = columns_of(schema);
        let largest = file.metadata.metadata().row_groups().iter().map(|group| group.num_rows()).max();
        let zstd = ZstdLevel::try_new(1).expect("invariant: a level of zstd");
        let entries = [(SCHEMA, signed(schema)), (OF, mark(file))]
            .map(|(key, text)| KeyValue::new(key.to_owned(), text));
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(zstd))
            .set_max_row_group_row_count(Some(largest.map_or(1, |rows| rows.max(1).unsigned_abs() as usize)))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true)
            .set_key_value_metadata(Some(entries.to_vec()))
            .build();
        let writer = ArrowWriter::try_new(BufWriter::new(created), Arc::clone(&columns), Some(properties))
            .map_err(|source| parquet_error(&temporary, source))?;
        Ok(Output { writer, temporary, schema: columns })
    }

    fn write(&mut self, batch: RecordBatch) -> Result<(), DecodeError> {
        self.writer.write(&batch).map_err(|source| parquet_error(&self.temporary, source))
    }

    fn end_group(&mut self) -> Result<(), DecodeError> {
        self.writer.flush().map_err(|source| parquet_error(&self.temporary, source))
    }

    /// Gives back the file's size in bytes.
    fn finish(mut self, target: &Path) -> Result<u64, DecodeError> {
        self.writer.finish().map_err(|source| parquet_error(&self.temporary, source))?;
        let written = self.writer.inner_mut();
        written
            .flush()
            .and_then(|()| written.get_ref().sync_all())
            .and_then(|()| fs::rename(&self.temporary, target))
            .map_err(|source| io_error(target, source))?;
        Ok(self.writer.bytes_written() as u64)
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // After the rename there is nothing of that name: only a file that was given up is removed.
        let _ = fs::remove_file(&self.temporary);
    }
}

fn io_error(path: &Path, source: io::Error) -> DecodeError {
    DecodeError::Io { path: path.display().to_string(), source }
}

fn parquet_error(path: &Path, source: ParquetError) -> DecodeError {
    DecodeError::Parquet { path: path.display().to_string(), source }
}
