//! What a file of an archive holds, found out with as little reading as possible: from its footer's statistics, and where
//! other tools wrote none, from its two small columns.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use arrow::datatypes::{DataType, TimeUnit};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;

use super::decoded::DecodedFile;
use super::hash::ROWS_HASH;
use super::{columns, damaged, not_an_archive, unreadable};
use crate::source::reader::SourceError;

/// Rows decoded at once when a column is scanned.
pub(super) const SCAN_ROWS: usize = 65_536;

/// A file of an archive, its footer read.
#[derive(Debug, Clone)]
pub(super) struct ArchiveFile {
    pub(super) path: PathBuf,
    pub(super) metadata: ArrowReaderMetadata,
    /// Positions among the file's root columns.
    pub(super) partition: usize,
    pub(super) offset: usize,
    pub(super) timestamp: Option<usize>,
    /// What a number in the column `timestamp` counts.
    pub(super) timestamp_unit: TimeUnit,
    pub(super) key: Option<usize>,
    pub(super) value: usize,
    pub(super) headers: Option<usize>,
    /// Its size.
    pub(super) bytes: u64,
    /// When it was written last, where the system knows.
    pub(super) modified: Option<SystemTime>,
    /// Its decoded columns, where a reader can use them.
    pub(super) decoded: Option<DecodedFile>,
}

/// What a file holds of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) partition: i32,
    pub(super) first_offset: i64,
    /// Below the first where there are no rows.
    pub(super) last_offset: i64,
    pub(super) rows: u64,
    pub(super) groups: Vec<usize>,
}

/// The `.parquet` files of a folder and its subfolders, sorted; hidden ones and those starting with `_` are others' business.
///
/// # Errors
/// [`SourceError::Io`] where the folder can't be read.
pub fn list(path: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(path, error))?;
    if metadata.is_file() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|error| unreadable(path, error))? {
        let entry = entry.map_err(|error| unreadable(path, error))?.path();
        let name = entry.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with(['.', '_']) {
            continue;
        }
        if entry.is_dir() {
            found.extend(list(&entry)?);
        } else if name.ends_with(".parquet") {
            found.push(entry);
        }
    }
    found.sort();
    Ok(found)
}

/// Whether all columns of a file have a place; Parquet's reader panics where one has not.
pub fn is_sound(footer: &ParquetMetaData) -> bool {
    footer.row_groups().iter().flat_map(|group| group.columns()).all(|column| {
        let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
        start >= 0 && column.compressed_size() >= 0
    })
}

/// Decoded bytes aimed at for a batch, by the mean row of its row group.
const BATCH_BYTES: usize = 4 << 20;
/// Most rows decoded at once; fewer where values are large.
const BATCH_ROWS_MAX: usize = 8192;

/// The size in bytes, as they lie in the file, of root columns of a row group.
pub(super) fn column_bytes(metadata: &ArrowReaderMetadata, group: usize, roots: &[usize]) -> u64 {
    let schema = metadata.parquet_schema();
    let columns = metadata.metadata().row_group(group).columns().iter().enumerate();
    let wanted = columns.filter(|(leaf, _)| roots.contains(&schema.get_column_root_idx(*leaf)));
    wanted.map(|(_, column)| column.compressed_size().unsigned_abs()).sum()
}

/// Partition, first and last offset from a name of the form `part-00003-00000000000000001024-00000000000000002047.parquet`; the last
/// offset may be missing.
pub(super) fn parse_name(path: &Path) -> Option<(i32, i64, Option<i64>)> {
    let stem = path.file_name()?.to_str()?.strip_prefix("part-")?.strip_suffix(".parquet")?;
    let mut parts = stem.split('-');
    let (partition, first, last) = (parts.next()?, parts.next()?, parts.next());
    let is_offset = |text: &str| text.len() == 20;
    if partition.len() < 5 || !is_offset(first) || !last.is_none_or(is_offset) || parts.next().is_some() {
        return None;
    }
    let last = last.map(str::parse).transpose().ok()?;
    Some((partition.parse().ok()?, first.parse().ok()?, last))
}

impl ArchiveFile {
    /// Reads the footer and finds the columns.
    pub(super) fn open(path: &Path) -> Result<ArchiveFile, SourceError> {
        let file = File::open(path).map_err(|error| unreadable(path, error))?;
        // An embedded Arrow schema would bring dictionaries, views and large types back; the Parquet types are fewer.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = ArrowReaderMetadata::load(&file, options).map_err(|error| damaged(path, &error))?;
        if !is_sound(metadata.metadata()) {
            return Err(damaged(path, &"a column lies before the file's beginning"));
        }

        let schema = metadata.schema().clone();
        let position = |name: &str| schema.fields().iter().position(|field| field.name() == name);
        let optional =
            |name: &str| position(name).filter(|&at| schema.field(at).data_type() != &DataType::Null);
        let required = |name: &str| {
            position(name).ok_or_else(|| {
                let there: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
                not_an_archive(path, format!("it has no column {name} (it has {})", there.join(", ")))
            })
        };
        let of_file = file.metadata().map_err(|error| unreadable(path, error))?;
        let found = ArchiveFile {
            partition: required("partition")?,
            offset: required("offset")?,
            timestamp: optional("timestamp"),
            timestamp_unit: timestamp_unit(&metadata),
            key: optional("key"),
            value: required("value")?,
            headers: optional("headers"),
            bytes: of_file.len(),
            modified: of_file.modified().ok(),
            path: path.to_path_buf(),
            metadata: metadata.clone(),
            decoded: None,
        };
        columns::check_types(&found)?;
        Ok(found)
    }

    /// What the file holds, partitions ascending; checked against its name where that says something. Behind each last offset there is
    /// room for another.
    pub(super) fn contents(&self) -> Result<Vec<Content>, SourceError> {
        let contents = self.contents_unbounded()?;
        for Content { partition, first_offset, last_offset, .. } in &contents {
            let found = match (*first_offset, first_offset.max(last_offset)) {
                (first, _) if first < 0 => format!("the negative offset {first}"),
                (_, &i64::MAX) => format!("offset {}, behind which there is none", i64::MAX),
                _ => continue,
            };
            let detail = format!(
                "partition {partition} has {found}; write it with offsets from 0 to {}, as topics have them",
                i64::MAX - 1
            );
            return Err(not_an_archive(&self.path, detail));
        }
        Ok(contents)
    }

    fn contents_unbounded(&self) -> Result<Vec<Content>, SourceError> {
        let rows = self.parquet().file_metadata().num_rows();
        if rows == 0 {
            let of_name = |(partition, first_offset, _): (i32, i64, Option<i64>)| Content {
                partition,
                first_offset,
                last_offset: first_offset.saturating_sub(1),
                rows: 0,
                groups: Vec::new(),
            };
            return Ok(parse_name(&self.path).map(of_name).into_iter().collect());
        }
        let contents = match self.contents_by_statistics() {
            Some(content) => vec![content],
            None => self.contents_by_scan()?,
        };
        if let Some((partition, first_offset, last_offset)) = parse_name(&self.path) {
            let rows_hold = |what: String| {
                not_an_archive(
                    &self.path,
                    format!("its rows hold {what}, which its name contradicts; rename it"),
                )
            };
            if contents.len() != 1 || contents[0].partition != partition {
                let found: Vec<String> =
                    contents.iter().map(|content| content.partition.to_string()).collect();
                return Err(rows_hold(format!("partition {}", found.join(", "))));
            }
            if contents[0].first_offset != first_offset {
                return Err(rows_hold(format!("offsets from {} on", contents[0].first_offset)));
            }
            if last_offset.is_some_and(|last| last != contents[0].last_offset) {
                return Err(rows_hold(format!("offsets up to {}", contents[0].last_offset)));
            }
        }
        Ok(contents)
    }

    fn parquet(&self) -> &ParquetMetaData {
        self.metadata.metadata()
    }

    /// The leaf column of a root column of a plain type.
    fn leaf(&self, root: usize) -> Option<usize> {
        let schema = self.metadata.parquet_schema();
        (0..schema.num_columns()).find(|&leaf| schema.get_column_root_idx(leaf) == root)
    }

    /// Smallest and greatest value of an integer column in a row group; `None` where the footer doesn't say.
    fn bounds(&self, root: usize, group: usize) -> Option<(i64, i64)> {
        let column = self.parquet().row_group(group).column(self.leaf(root)?);
        let signed = matches!(
            self.metadata.schema().field(root).data_type(),
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64
        );
        if !signed {
            return None;
        }
        match column.statistics()? {
            Statistics::Int32(statistics) => {
                Some((i64::from(*statistics.min_opt()?), i64::from(*statistics.max_opt()?)))
            }
            Statistics::Int64(statistics) => Some((*statistics.min_opt()?, *statistics.max_opt()?)),
            _ => None,
        }
    }

    /// The earliest and latest timestamp of row groups, in microseconds; `None` where there is none, or the footer doesn't say.
    pub(super) fn timestamps_us(&self, groups: &[usize]) -> Option<(i64, i64)> {
        let column = self.timestamp?;
        let mut found: Option<(i64, i64)> = None;
        for &group in groups {
            let statistics = self.parquet().row_group(group).column(self.leaf(column)?).statistics()?;
            // All of them are null.
            if statistics.null_count_opt() == Some(self.rows(group)) {
                continue;
            }
            let (low, high) = match statistics {
                Statistics::Int64(statistics) => (*statistics.min_opt()?, *statistics.max_opt()?),
                _ => return None,
            };
            let (low, high) =
                (columns::micros(low, &self.timestamp_unit), columns::micros(high, &self.timestamp_unit));
            found = Some(found.map_or((low, high), |(first, last)| (first.min(low), last.max(high))));
        }
        found
    }

    /// The entry of the footer that holds the hash of the file's rows.
    pub(super) fn rows_hash(&self) -> Option<&str> {
        let entries = self.parquet().file_metadata().key_value_metadata()?;
        entries.iter().find(|entry| entry.key == ROWS_HASH)?.value.as_deref()
    }

    /// The first and last offset of a row group; `None` where the footer doesn't say.
    pub(super) fn offsets(&self, group: usize) -> Option<(i64, i64)> {
        self.bounds(self.offset, group)
    }

    /// Rows of a row group.
    pub(super) fn rows(&self, group: usize) -> u64 {
        u64::try_from(self.parquet().row_group(group).num_rows()).unwrap_or(0)
    }

    /// How many rows of a row group to decode at once. Columns that were decoded from their values are no larger.
    pub(super) fn batch_rows(&self, group: usize) -> usize {
        let bytes = usize::try_from(self.parquet().row_group(group).total_byte_size()).unwrap_or(0);
        let row_bytes = bytes / usize::try_from(self.rows(group)).unwrap_or(1).max(1);
        (BATCH_BYTES / row_bytes.max(1)).clamp(1, BATCH_ROWS_MAX)
    }

    /// The content of a file of one partition whose statistics are complete.
    fn contents_by_statistics(&self) -> Option<Content> {
        let mut partition = None;
        let (mut first_offset, mut last_offset) = (i64::MAX, i64::MIN);
        for group in 0..self.parquet().num_row_groups() {
            if self.parquet().row_group(group).num_rows() == 0 {
                continue;
            }
            let (low, high) = self.bounds(self.partition, group)?;
            if low != high || *partition.get_or_insert(low) != low {
                return None;
            }
            let (first, last) = self.bounds(self.offset, group)?;
            (first_offset, last_offset) = (first_offset.min(first), last_offset.max(last));
        }
        Some(Content {
            partition: i32::try_from(partition?).ok()?,
            first_offset,
            last_offset,
            rows: u64::try_from(self.parquet().file_metadata().num_rows()).ok()?,
            groups: (0..self.parquet().num_row_groups()).collect(),
        })
    }

    /// The contents of any file, by decoding its columns `partition` and `offset`.
    fn contents_by_scan(&self) -> Result<Vec<Content>, SourceError> {
        let mut found: BTreeMap<i32, Content> = BTreeMap::new();
        for group in 0..self.parquet().num_row_groups() {
            let file = File::open(&self.path).map_err(|error| unreadable(&self.path, error))?;
            let mask = ProjectionMask::roots(self.metadata.parquet_schema(), [self.partition, self.offset]);
            let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
                .with_row_groups(vec![group])
                .with_projection(mask)
                .with_batch_size(SCAN_ROWS)
                .build()
                .map_err(|error| damaged(&self.path, &error))?;
            for batch in reader {
                let batch = batch.map_err(|error| damaged(&self.path, &error))?;
                let partitions = columns::partitions(&self.path, &batch)?;
                let offsets = columns::offsets(&self.path, &batch)?;
                for (&partition, &offset) in partitions.values().iter().zip(offsets.values()) {
                    let content = found.entry(partition).or_insert_with(|| Content {
                        partition,
                        first_offset: offset,
                        last_offset: offset,
                        rows: 0,
                        groups: Vec::new(),
                    });
                    content.rows += 1;
                    content.last_offset = content.last_offset.max(offset);
                    if content.groups.last() != Some(&group) {
                        content.groups.push(group);
                    }
                }
            }
        }
        Ok(found.into_values().collect())
    }
}

/// The unit of the column `timestamp`. Parquet has no seconds: a writer of Arrow's then leaves plain integers, and only the
/// embedded Arrow schema says what they are.
fn timestamp_unit(metadata: &ArrowReaderMetadata) -> TimeUnit {
    let unit = |metadata: &ArrowReaderMetadata| match metadata
        .schema()
        .field_with_name("timestamp")
        .ok()?
        .data_type()
    {
        DataType::Timestamp(unit, _) => Some(*unit),
        _ => None,
    };
    let embedded =
        || ArrowReaderMetadata::try_new(metadata.metadata().clone(), ArrowReaderOptions::new()).ok();
    unit(metadata).or_else(|| unit(&embedded()?)).unwrap_or(TimeUnit::Millisecond)
}
