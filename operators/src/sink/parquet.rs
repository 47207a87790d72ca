//! Parquet files in hive folders: `<sink>/window_date=2026-01-15/part-….parquet`.
//!
//! ```text
//!   rows ─▶ buffer of their partition ─▶ full, or a checkpoint ─▶ sort ─▶ .staging/…/part-….parquet ─▶ published: part-….parquet
//! ```
//!
//! A reader sees a whole file or none. Rows are sorted inside a file; which rows share a file depends on the workers and on
//! checkpoints, and is nothing to rely on.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, RecordBatch, UInt32Array};
use arrow::compute::{SortColumn, concat_batches, lexsort_to_indices, take_record_batch};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use thalweg_engine::checkpoint::StagedFile;

use super::staging::{self, Staging};
use super::{Sink, SinkCounters, SinkError};

/// A Parquet sink.
#[derive(Debug, Clone)]
pub struct ParquetConfig {
    /// The sink's name.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Columns that become folders, outermost first; they leave the files.
    pub partition_by: Vec<String>,
    /// Columns to sort a file's rows by; all others follow, so that the order is total.
    pub sort_by: Vec<String>,
    /// About how large a file gets, at most: a checkpoint ends all files, and memory may (see `buffer_bytes_max`).
    pub file_bytes_target: usize,
    /// Bytes of rows (uncompressed) that a worker holds back for this sink, at most: a file is sorted as a whole.
    pub buffer_bytes_max: usize,
    /// How files are named, and where they lie until they are published.
    pub staging: Staging,
}

impl ParquetConfig {
    /// A sink with the usual sizes: files of 32 MiB, 256 MiB of buffer.
    pub fn new(name: impl Into<String>, folder: impl Into<PathBuf>, staging: Staging) -> Self {
        ParquetConfig {
            name: name.into(),
            folder: folder.into(),
            partition_by: Vec::new(),
            sort_by: Vec::new(),
            file_bytes_target: 32 << 20,
            buffer_bytes_max: 256 << 20,
            staging,
        }
    }
}

/// The batch without hidden columns, those whose names begin with two underscores.
pub fn visible(batch: &RecordBatch) -> RecordBatch {
    let keep: Vec<usize> = (0..batch.num_columns())
        .filter(|at| !batch.schema_ref().field(*at).name().starts_with("__"))
        .collect();
    batch.project(&keep).expect("invariant: the indexes are the batch's own")
}

/// A worker's part of a Parquet sink.
pub struct ParquetSink {
    config: ParquetConfig,
    /// By the values of the columns that become folders.
    partitions: BTreeMap<Vec<(String, Option<String>)>, Buffer>,
    buffered: usize,
    /// Bytes on disk for a byte of rows, as seen in the files so far.
    shrinks_to: f64,
    /// The checkpoint that the next files belong to.
    checkpoint: u64,
    staged: Vec<StagedFile>,
    counters: Arc<SinkCounters>,
}

type Partition = Vec<(String, Option<String>)>;

#[derive(Default)]
struct Buffer {
    batches: Vec<RecordBatch>,
    bytes: usize,
}

impl ParquetSink {
    /// A worker's part, in a job that goes on after checkpoint `from`.
    pub fn new(config: ParquetConfig, from: u64, counters: Arc<SinkCounters>) -> Self {
        ParquetSink {
            config,
            partitions: BTreeMap::new(),
            buffered: 0,
            shrinks_to: 0.2,
            checkpoint: from + 1,
            staged: Vec::new(),
            counters,
        }
    }

    fn buffer(&mut self, partition: Partition, batch: RecordBatch) -> Result<(), SinkError> {
        let bytes = batch.get_array_memory_size();
        let buffer = self.partitions.entry(partition.clone()).or_default();
        buffer.batches.push(batch);
        buffer.bytes += bytes;
        self.buffered += bytes;
        let full = self.buffered > self.config.buffer_bytes_max;
        let low = if full { self.config.buffer_bytes_max / 2 } else { usize::MAX };
        if buffer.bytes as f64 * self.shrinks_to >= self.config.file_bytes_target as f64 {
            self.complete(&partition)?;
        }
        // Down to half, so that a full buffer of many partitions does not become a file a row.
        while self.buffered > low {
            let largest = self.partitions.iter().max_by_key(|(_, buffer)| buffer.bytes);
            let Some(partition) = largest.map(|(partition, _)| partition.clone()) else { break };
            self.complete(&partition)?;
        }
        Ok(())
    }

    // Sorts and writes the rows of a partition as one file.
    fn complete(&mut self, partition: &Partition) -> Result<(), SinkError> {
        let Some(buffer) = self.partitions.remove(partition) else { return Ok(()) };
        self.buffered -= buffer.bytes;
        let sorted = self.sorted(&buffer.batches)?;
        let staging = &self.config.staging;
        let folders: Vec<String> =
            partition.iter().map(|(column, value)| hive_folder(column, value.as_deref())).collect();
        let name = staging.file_name(self.checkpoint, self.staged.len() as u64, "parquet");
        let (staged, target) = staging.places(&folders.join("/"), &name);
        let path = self.config.folder.join(&staged);
        let made = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| File::create(&path));
        let file = made.map_err(|error| self.io(&path, error))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(1 << 17))
            .build();
        let written =
            ArrowWriter::try_new(&file, sorted.schema(), Some(properties)).and_then(|mut writer| {
                writer.write(&sorted)?;
                writer.close()
            });
        written.map_err(|error| match error {
            ParquetError::External(source) => match source.downcast::<std::io::Error>() {
                Ok(source) => self.io(&path, *source),
                Err(other) => self.format(other),
            },
            other => self.format(other),
        })?;
        staging::sync(&file).map_err(|error| self.io(&path, error))?;
        let bytes = file.metadata().map_err(|error| self.io(&path, error))?.len();
        self.shrinks_to = (bytes as f64 / buffer.bytes.max(1) as f64).clamp(0.01, 1.0);
        let rows = sorted.num_rows() as u64;
        self.counters.add(rows, 1, bytes);
        self.staged.push(StagedFile { staged, target, rows, bytes, partition: partition.clone() });
        Ok(())
    }

    fn sorted(&self, batches: &[RecordBatch]) -> Result<RecordBatch, SinkError> {
        let all = concat_batches(batches[0].schema_ref(), batches).map_err(|error| self.format(error))?;
        let named = self.config.sort_by.iter().filter_map(|name| all.schema_ref().index_of(name).ok());
        let mut order: Vec<usize> = named.collect();
        order.extend(
            (0..all.num_columns())
                .filter(|at| !self.config.sort_by.contains(all.schema_ref().field(*at).name())),
        );
        // Lists have no order of their own here; what stands before them orders all but equal rows.
        let columns: Vec<SortColumn> = order
            .into_iter()
            .map(|at| Arc::clone(all.column(at)))
            .filter(|column| !column.data_type().is_nested())
            .map(|values| SortColumn { values, options: None })
            .collect();
        if columns.is_empty() {
            return Ok(all);
        }
        lexsort_to_indices(&columns, None)
            .and_then(|rows| take_record_batch(&all, &rows))
            .map_err(|error| self.format(error))
    }

    // Deals a batch to its folders: `column=value/…`.
    fn dealt(&self, batch: &RecordBatch) -> Result<Vec<(Partition, RecordBatch)>, SinkError> {
        if self.config.partition_by.is_empty() {
            return Ok(vec![(Partition::new(), batch.clone())]);
        }
        let schema = batch.schema_ref();
        let at: Vec<usize> =
            self.config.partition_by.iter().filter_map(|name| schema.index_of(name).ok()).collect();
        let options = FormatOptions::new().with_null("");
        let formatters: Vec<_> = at
            .iter()
            .map(|at| ArrayFormatter::try_new(batch.column(*at), &options))
            .collect::<Result<_, _>>()
            .map_err(|error| self.format(error))?;
        let mut rows_of: BTreeMap<Partition, Vec<u32>> = BTreeMap::new();
        for row in 0..batch.num_rows() {
            let columns = self.config.partition_by.iter().zip(&at).zip(&formatters);
            let partition = columns
                .map(|((name, at), formatter)| {
                    // Hive knows no empty value: it is null's.
                    let value = (!batch.column(*at).is_null(row)).then(|| formatter.value(row).to_string());
                    (name.clone(), value.filter(|value| !value.is_empty()))
                })
                .collect();
            rows_of.entry(partition).or_default().push(row as u32);
        }
        let keep: Vec<usize> = (0..batch.num_columns()).filter(|column| !at.contains(column)).collect();
        let rest = batch.project(&keep).map_err(|error| self.format(error))?;
        rows_of
            .into_iter()
            .map(|(partition, rows)| {
                let part = take_record_batch(&rest, &UInt32Array::from(rows));
                part.map(|part| (partition, part)).map_err(|error| self.format(error))
            })
            .collect()
    }

    fn io(&self, path: &Path, source: std::io::Error) -> SinkError {
        SinkError::Io { sink: self.config.name.clone(), path: path.display().to_string(), source }
    }

    fn format(&self, error: impl std::fmt::Display) -> SinkError {
        SinkError::Format { sink: self.config.name.clone(), format: "Parquet", detail: error.to_string() }
    }
}

// As Hive writes it, and DataFusion, DuckDB and Spark read it: what is no letter, digit, `-`, `_`, `.` or space is percent-encoded.
fn hive_folder(column: &str, value: Option<&str>) -> String {
    let value = match value {
        None | Some("") => "__HIVE_DEFAULT_PARTITION__".to_owned(),
        Some(value) => value
            .bytes()
            .map(|byte| match byte {
                b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'_' | b'.' | b' ' => {
                    char::from(byte).to_string()
                }
                _ => format!("%{byte:02X}"),
            })
            .collect(),
    };
    format!("{column}={value}")
}

impl Sink for ParquetSink {
    fn write(&mut self, batch: RecordBatch) -> Result<(), SinkError> {
        for (partition, part) in self.dealt(&visible(&batch))? {
            self.buffer(partition, part)?;
        }
        Ok(())
    }

    fn stage(&mut self, checkpoint: u64) -> Result<Vec<StagedFile>, SinkError> {
        while let Some((partition, _)) = self.partitions.first_key_value() {
            let partition = partition.clone();
            self.complete(&partition)?;
        }
        self.checkpoint = checkpoint + 1;
        Ok(std::mem::take(&mut self.staged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray};
    use arrow::datatypes::Int64Type;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use thalweg_engine::checkpoint::Publisher;

    use crate::sink::staging::FolderPublisher;

    const STAGING_OF_TESTS: Staging = Staging { generation: 1, worker: 0, in_place: false };

    fn batch(rows: &[(Option<&str>, i64)]) -> RecordBatch {
        let names: ArrayRef = Arc::new(StringArray::from_iter(rows.iter().map(|(name, _)| *name)));
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|(_, value)| *value)));
        let hidden: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|_| 1)));
        RecordBatch::try_from_iter([("name", names), ("value", values), ("__time", hidden)]).unwrap()
    }

    fn values(file: &Path) -> Vec<i64> {
        let reader =
            ParquetRecordBatchReaderBuilder::try_new(File::open(file).unwrap()).unwrap().build().unwrap();
        reader
            .flat_map(|batch| batch.unwrap()["value"].as_primitive::<Int64Type>().values().to_vec())
            .collect()
    }

    fn files(folder: &Path) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    #[test]
    fn rows_are_sorted_in_hive_folders_and_nothing_unfinished_stays() {
        let folder = tempfile::tempdir().unwrap();
        let config = ParquetConfig {
            partition_by: vec!["name".to_owned()],
            sort_by: vec!["value".to_owned()],
            ..ParquetConfig::new("test", folder.path(), STAGING_OF_TESTS)
        };
        let counters = Arc::new(SinkCounters::default());
        let mut sink = ParquetSink::new(config, 0, Arc::clone(&counters));
        sink.write(batch(&[(Some("a/ü"), 3), (None, 7), (Some("b"), 5)])).unwrap();
        sink.write(batch(&[(Some("b"), 4), (Some("a/ü"), 1)])).unwrap();
        let staged = sink.stage(1).unwrap();
        assert_eq!(files(folder.path()), [folder.path().join(".staging")], "staged, and not to be seen");
        let null = staged.iter().find(|file| file.partition == [("name".to_owned(), None)]).unwrap();
        assert_eq!(null.rows, 1);
        let mut publisher = FolderPublisher::new("test", folder.path(), 2);
        publisher.publish(1, &staged).unwrap();
        publisher.sweep(1).unwrap();
        let folders = ["name=__HIVE_DEFAULT_PARTITION__", "name=a%2F%C3%BC", "name=b"];
        assert_eq!(files(folder.path()), folders.map(|f| folder.path().join(f)));
        let found: Vec<Vec<i64>> = folders
            .iter()
            .map(|f| {
                let files = files(&folder.path().join(f));
                assert_eq!(files.len(), 1);
                values(&files[0])
            })
            .collect();
        assert_eq!(found, [vec![7], vec![1, 3], vec![4, 5]]);
        assert_eq!((counters.rows(), counters.files()), (5, 3));
    }

    #[test]
    fn a_full_buffer_becomes_a_file_before_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let config = ParquetConfig {
            buffer_bytes_max: 100_000,
            ..ParquetConfig::new("test", folder.path(), STAGING_OF_TESTS)
        };
        let counters = Arc::new(SinkCounters::default());
        let mut sink = ParquetSink::new(config, 0, Arc::clone(&counters));
        let rows: Vec<(Option<&str>, i64)> = (0..1000).map(|i| (Some("x"), i)).collect();
        for _ in 0..20 {
            sink.write(batch(&rows)).unwrap();
        }
        assert!(counters.files() >= 2, "{} files", counters.files());
        let staged = sink.stage(1).unwrap();
        assert_eq!(staged.iter().map(|file| file.rows).sum::<u64>(), 20_000);
        assert_eq!(counters.rows(), 20_000);
    }
}
