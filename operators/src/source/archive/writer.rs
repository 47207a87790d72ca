//! Writes a topic as an archive: a file holds one partition, appears under its name only when it is whole, and is laid out
//! for being read once from front to back.
//!
//! ```text
//!   push ─▶ a batch a partition ─▶ row group ─▶ .part-00003-….parquet.tmp ─▶ part-00003-<first offset>-<last offset>.parquet
//!           1,024 rows, 256 KiB    in memory    hidden from readers          renamed, once it is whole
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{
    ArrayRef, BinaryArray, BinaryBuilder, Int32Array, Int64Array, ListArray, StringArray, StringBuilder,
    StructArray, TimestampMillisecondArray, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::hash::{ROWS_HASH, RowsHash};
use crate::source::reader::Header;

/// Records gathered before they are encoded: few enough to stay in the processor's cache meanwhile.
const BATCH_ROWS: usize = 1024;
/// Payload bytes gathered before they are encoded.
const BATCH_BYTES: usize = 256 << 10;

/// How values are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveCompression {
    /// LZ4_RAW.
    Lz4,
    /// Zstandard at a level from 1 to 22.
    Zstd(i32),
}

/// How an archive is laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveOptions {
    /// The compression of all columns.
    pub compression: ArchiveCompression,
    /// Rows in a row group. A partition's encoded row group is held in memory until it is full.
    pub row_group_rows: usize,
    /// A row group is full with so many encoded bytes too, however few rows they are.
    pub row_group_bytes: usize,
    /// A file is closed, and the next one begun, with the batch that brings it to this size.
    pub file_bytes_max: u64,
    /// Whether a file survives a loss of power from the moment that it has its name.
    pub durable: bool,
}

impl Default for ArchiveOptions {
    fn default() -> Self {
        ArchiveOptions {
            compression: ArchiveCompression::Zstd(1),
            row_group_rows: 65_536,
            row_group_bytes: 64 << 20,
            file_bytes_max: 256 << 20,
            durable: false,
        }
    }
}

/// What an archive's writing came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ArchiveSummary {
    /// Records written.
    pub records: u64,
    /// Bytes of their values, uncompressed.
    pub value_bytes: u64,
    /// Files written.
    pub files: u64,
    /// Their size in bytes.
    pub file_bytes: u64,
}

/// Why an archive can't be written.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveWriteError {
    /// A file or folder can't be written.
    #[error(
        "can't write {path}: {source}; check that the folder can be written to and that the disk has room"
    )]
    Io {
        /// The file or folder.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file can't be encoded.
    #[error("can't write {path}: {source}; values of a row group must stay below 2 GiB")]
    Parquet {
        /// The file.
        path: String,
        /// What Parquet said.
        source: ParquetError,
    },
    /// Offsets of a partition don't ascend.
    #[error(
        "offset {offset} of partition {partition} comes after offset {last}; push a partition's records in ascending order"
    )]
    Offset {
        /// The partition.
        partition: i32,
        /// The offset refused.
        offset: i64,
        /// The offset before it; -1: there was none.
        last: i64,
    },
    /// A compression level that does not exist.
    #[error("zstd has no level {level}; choose one from 1 to 22")]
    Level {
        /// The level asked for.
        level: i32,
    },
}

/// Writes records of a topic to a folder.
pub struct ArchiveWriter {
    folder: PathBuf,
    options: ArchiveOptions,
    properties: WriterProperties,
    schema: SchemaRef,
    partitions: BTreeMap<i32, PartitionWriter>,
    summary: ArchiveSummary,
}

/// One partition's records on their way to its file.
struct PartitionWriter {
    partition: i32,
    offset_last: i64,
    offsets: Vec<i64>,
    timestamps_ms: Vec<Option<i64>>,
    keys: BinaryBuilder,
    values: BinaryBuilder,
    bytes: usize,
    headers: HeadersBuilder,
    file: Option<OpenFile>,
    /// Since when it has records that are in no file with a name.
    since: Option<Instant>,
    /// Of the records since then.
    hash: RowsHash,
}

struct OpenFile {
    writer: ArrowWriter<BufWriter<File>>,
    temporary: PathBuf,
    folder: PathBuf,
    first_offset: i64,
}

#[derive(Default)]
struct HeadersBuilder {
    /// The end of each row's entries.
    ends: Vec<i32>,
    names: StringBuilder,
    values: BinaryBuilder,
    entries: i32,
}

impl std::fmt::Debug for ArchiveWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArchiveWriter").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl ArchiveWriter {
    /// A writer to a folder, which is made if it is not there. Files of the same names are replaced, others left alone.
    ///
    /// # Errors
    /// When the folder can't be made, or the compression level does not exist.
    pub fn new(
        path: impl Into<PathBuf>,
        options: ArchiveOptions,
    ) -> Result<ArchiveWriter, ArchiveWriteError> {
        let folder = path.into();
        std::fs::create_dir_all(&folder).map_err(|source| io(&folder, source))?;
        Ok(ArchiveWriter {
            properties: properties(&options)?,
            schema: schema(),
            folder,
            options,
            partitions: BTreeMap::new(),
            summary: ArchiveSummary::default(),
        })
    }

    /// Takes a record. `timestamp_ms` is milliseconds since the epoch, or none; a value of `None` is a tombstone.
    ///
    /// # Errors
    /// When the offset does not ascend in its partition, or a file can't be written.
    pub fn push(
        &mut self,
        partition: i32,
        offset: i64,
        timestamp_ms: impl Into<Option<i64>>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> Result<(), ArchiveWriteError> {
        let into = self.partitions.entry(partition).or_insert_with(|| PartitionWriter::new(partition));
        if offset <= into.offset_last {
            return Err(ArchiveWriteError::Offset { partition, offset, last: into.offset_last });
        }
        let timestamp_ms = timestamp_ms.into();
        into.since.get_or_insert_with(Instant::now);
        into.hash.add(offset, timestamp_ms, key, value, headers);
        into.offset_last = offset;
        into.offsets.push(offset);
        into.timestamps_ms.push(timestamp_ms);
        into.keys.append_option(key);
        into.values.append_option(value);
        into.headers.append(headers);
        let value_bytes = value.map_or(0, <[u8]>::len);
        into.bytes += value_bytes + key.map_or(0, <[u8]>::len);
        self.summary.records += 1;
        self.summary.value_bytes += value_bytes as u64;
        if into.offsets.len() >= BATCH_ROWS || into.bytes >= BATCH_BYTES {
            into.encode(&self.folder, &self.schema, &self.properties)?;
            into.cut(&self.options, &mut self.summary)?;
        }
        Ok(())
    }

    /// Closes the files of partitions whose oldest record without a named file was pushed so long ago.
    ///
    /// # Errors
    /// When a file can't be written.
    pub fn close_older_than(&mut self, age: Duration) -> Result<(), ArchiveWriteError> {
        for partition in self.partitions.values_mut() {
            if partition.since.is_some_and(|since| since.elapsed() >= age) {
                partition.encode(&self.folder, &self.schema, &self.properties)?;
                partition.close(&self.options, &mut self.summary)?;
            }
        }
        Ok(())
    }

    /// What was written so far; files that are still open don't count.
    pub fn summary(&self) -> ArchiveSummary {
        self.summary
    }

    /// Closes all files. Without it, what was not closed yet is thrown away.
    ///
    /// # Errors
    /// When a file can't be written.
    pub fn finish(mut self) -> Result<ArchiveSummary, ArchiveWriteError> {
        for partition in self.partitions.values_mut() {
            partition.encode(&self.folder, &self.schema, &self.properties)?;
            partition.close(&self.options, &mut self.summary)?;
        }
        Ok(self.summary)
    }
}

impl PartitionWriter {
    fn new(partition: i32) -> PartitionWriter {
        PartitionWriter {
            partition,
            offset_last: -1,
            offsets: Vec::new(),
            timestamps_ms: Vec::new(),
            keys: BinaryBuilder::new(),
            values: BinaryBuilder::new(),
            bytes: 0,
            headers: HeadersBuilder::default(),
            file: None,
            since: None,
            hash: RowsHash::default(),
        }
    }

    /// Encodes what was gathered, opening a file first where none is open.
    fn encode(
        &mut self,
        folder: &Path,
        schema: &SchemaRef,
        properties: &WriterProperties,
    ) -> Result<(), ArchiveWriteError> {
        let Some(&first) = self.offsets.first() else { return Ok(()) };
        let file = match &mut self.file {
            Some(file) => file,
            closed => closed.insert(OpenFile::create(folder, self.partition, first, schema, properties)?),
        };
        let rows = self.offsets.len();
        self.bytes = 0;
        let (keys, values) = (self.keys.finish(), self.values.finish());
        // The next batch will be about as large: no growing from nothing.
        self.keys = BinaryBuilder::with_capacity(rows, keys.value_data().len());
        self.values = BinaryBuilder::with_capacity(rows, values.value_data().len());
        let timestamps =
            TimestampMillisecondArray::from(std::mem::take(&mut self.timestamps_ms)).with_timezone("UTC");
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from_value(self.partition, rows)),
            Arc::new(Int64Array::from(std::mem::take(&mut self.offsets))),
            Arc::new(timestamps),
            Arc::new(keys),
            Arc::new(values),
            self.headers.finish(rows),
        ];
        let batch = RecordBatch::try_new(schema.clone(), columns)
            .expect("invariant: columns fit the archive's schema");
        file.writer.write(&batch).map_err(|source| parquet_error(&file.temporary, source))
    }

    /// Ends the row group or the file that is full.
    fn cut(
        &mut self,
        options: &ArchiveOptions,
        summary: &mut ArchiveSummary,
    ) -> Result<(), ArchiveWriteError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let group_bytes = file.writer.in_progress_size();
        if (file.writer.bytes_written() + group_bytes) as u64 >= options.file_bytes_max {
            return self.close(options, summary);
        }
        if group_bytes >= options.row_group_bytes {
            file.writer.flush().map_err(|source| parquet_error(&file.temporary, source))?;
        }
        Ok(())
    }

    fn close(
        &mut self,
        options: &ArchiveOptions,
        summary: &mut ArchiveSummary,
    ) -> Result<(), ArchiveWriteError> {
        let Some(mut file) = self.file.take() else { return Ok(()) };
        let hash = std::mem::take(&mut self.hash).to_string();
        self.since = None;
        file.writer.append_key_value_metadata(KeyValue::new(ROWS_HASH.to_owned(), hash));
        file.writer.finish().map_err(|source| parquet_error(&file.temporary, source))?;
        let path = file.folder.join(file_name(self.partition, file.first_offset, self.offset_last));
        let written = file.writer.inner_mut();
        let named = written.flush().and_then(|()| {
            if options.durable {
                written.get_ref().sync_all()?;
            }
            std::fs::rename(&file.temporary, &path)?;
            if options.durable { File::open(&file.folder)?.sync_all() } else { Ok(()) }
        });
        named.map_err(|source| io(&path, source))?;
        summary.files += 1;
        summary.file_bytes += file.writer.bytes_written() as u64;
        Ok(())
    }
}

/// The name of a file: its partition, and the offsets of its first and last record.
pub(super) fn file_name(partition: i32, first_offset: i64, last_offset: i64) -> String {
    format!("part-{partition:05}-{first_offset:020}-{last_offset:020}.parquet")
}

/// Whether a file is one that a writer has left behind when it was killed: nobody will ever finish it.
pub fn is_left_over(name: &str) -> bool {
    name.starts_with(".part-") && name.ends_with(".parquet.tmp")
}

impl OpenFile {
    fn create(
        folder: &Path,
        partition: i32,
        first_offset: i64,
        schema: &SchemaRef,
        properties: &WriterProperties,
    ) -> Result<OpenFile, ArchiveWriteError> {
        let temporary = folder.join(format!(".part-{partition:05}-{first_offset:020}.parquet.tmp"));
        let file = File::create(&temporary).map_err(|source| io(&temporary, source))?;
        let writer = ArrowWriter::try_new(BufWriter::new(file), schema.clone(), Some(properties.clone()))
            .map_err(|source| parquet_error(&temporary, source))?;
        Ok(OpenFile { writer, temporary, folder: folder.to_owned(), first_offset })
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        // After the rename there is nothing of that name: only a file that was given up is removed.
        let _ = std::fs::remove_file(&self.temporary);
    }
}

impl HeadersBuilder {
    fn append(&mut self, headers: &[Header<'_>]) {
        for (name, value) in headers {
            self.names.append_value(name);
            self.values.append_option(*value);
            self.entries += 1;
        }
        self.ends.push(self.entries);
    }

    /// A list a row; null where a record has no headers.
    fn finish(&mut self, rows: usize) -> ArrayRef {
        let ends = std::mem::take(&mut self.ends);
        if std::mem::take(&mut self.entries) == 0 {
            return new_null_array(&headers_type(), rows);
        }
        let offsets: Vec<i32> = std::iter::once(0).chain(ends).collect();
        let nulls: NullBuffer = offsets.windows(2).map(|ends| ends[0] < ends[1]).collect();
        let names: StringArray = self.names.finish();
        let values: BinaryArray = self.values.finish();
        let entries =
            StructArray::new(entry_fields(), vec![Arc::new(names) as ArrayRef, Arc::new(values)], None);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        Arc::new(ListArray::new(entry_field(), offsets, Arc::new(entries), Some(nulls)))
    }
}

fn entry_fields() -> Fields {
    Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Binary, true)])
}

fn entry_field() -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Struct(entry_fields()), false))
}

fn headers_type() -> DataType {
    DataType::List(entry_field())
}

fn schema() -> SchemaRef {
    let timestamp = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("partition", DataType::Int32, false),
        Field::new("offset", DataType::Int64, false),
        Field::new("timestamp", timestamp, true),
        Field::new("key", DataType::Binary, true),
        Field::new("value", DataType::Binary, true),
        Field::new("headers", headers_type(), true),
    ]))
}

/// The layout: a run-length encoded partition, delta-encoded offsets and timestamps, keys as numbers of a dictionary (plain where
/// there are too many), values one after the other. Only the columns that a reader plans with have statistics, by which it leaves out
/// row groups; of JSON payloads they say nothing and cost a comparison a row.
fn properties(options: &ArchiveOptions) -> Result<WriterProperties, ArchiveWriteError> {
    let column = |name: &str| ColumnPath::from(name);
    let compression = match options.compression {
        ArchiveCompression::Lz4 => Compression::LZ4_RAW,
        ArchiveCompression::Zstd(level) => {
            Compression::ZSTD(ZstdLevel::try_new(level).map_err(|_| ArchiveWriteError::Level { level })?)
        }
    };
    Ok(WriterProperties::builder()
        .set_compression(compression)
        .set_max_row_group_row_count(Some(options.row_group_rows.max(1)))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .set_dictionary_enabled(false)
        .set_column_dictionary_enabled(column("partition"), true)
        .set_column_dictionary_enabled(column("key"), true)
        .set_column_statistics_enabled(column("partition"), EnabledStatistics::Chunk)
        .set_column_statistics_enabled(column("offset"), EnabledStatistics::Chunk)
        .set_column_statistics_enabled(column("timestamp"), EnabledStatistics::Chunk)
        .set_column_encoding(column("offset"), Encoding::DELTA_BINARY_PACKED)
        .set_column_encoding(column("timestamp"), Encoding::DELTA_BINARY_PACKED)
        .set_column_encoding(column("key"), Encoding::PLAIN)
        .set_column_encoding(column("value"), Encoding::PLAIN)
        .build())
}

fn io(path: &Path, source: std::io::Error) -> ArchiveWriteError {
    ArchiveWriteError::Io { path: path.display().to_string(), source }
}

fn parquet_error(path: &Path, source: ParquetError) -> ArchiveWriteError {
    ArchiveWriteError::Parquet { path: path.display().to_string(), source }
}
