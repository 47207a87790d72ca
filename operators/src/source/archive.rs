//! The archive: a topic recorded as Parquet files in a folder, and read back as if it were the topic.
//!
//! A backtest must give the rows that the live job gave, so an archive keeps what Kafka kept: partition, offset, timestamp,
//! key, value and headers, byte for byte. [`ArchiveWriter`] writes one partition to a file; the reader also takes what other
//! tools wrote, as long as each partition's offsets ascend in the order of the files and rows.
//!
//! ```text
//!   folder ──▶ ArchiveConfig::resolve ──▶ ArchivePlan ──▶ reader(worker, workers) ──▶ SplitReader::read ──▶ Record
//!              footers only: which           splits,          its splits; one decoded
//!              partitions, first offsets     rows each        batch of each in memory
//! ```
//!
//! | column | type here | also read |
//! |---|---|---|
//! | `partition` | Int32 | any integer |
//! | `offset` | Int64 | any integer |
//! | `timestamp` | Timestamp(ms, UTC), nulls | any unit, no zone (taken as UTC), plain integers (taken as ms); may be missing |
//! | `key` | Binary, nulls | text, fixed size; may be missing |
//! | `value` | Binary, nulls are tombstones | text, fixed size |
//! | `headers` | List<Struct<key Utf8, value Binary>>, nulls | a map; may be missing |
//!
//! Beside it columns may lie that were decoded from the values beforehand (`archive/decoded.rs`).

mod columns;
mod decoded;
mod hash;
mod inspect;
mod range;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::columns::{Headers, Timestamps};
use self::decoded::DecodedFile;
pub use self::decoded::{
    DECODED_FOLDER, DecodeError, DecodeSummary, DecodedColumns, RawRecords, UNFINISHED, Verified,
    decode_file, decoded_of, decoded_path, fingerprint, schema_of, verify_decoded,
};
pub use self::hash::{ROWS_HASH, RowsHash};
use self::inspect::ArchiveFile;
pub use self::inspect::{is_sound, list};
pub use self::reader::ArchiveReader;
pub use self::writer::{
    ArchiveCompression, ArchiveOptions, ArchiveSummary, ArchiveWriteError, ArchiveWriter, is_left_over,
};
use super::reader::{SourceError, SplitInfo};

/// Where an archive lies and how to read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveConfig {
    /// The source's name in the pipeline, for messages.
    pub source_name: String,
    /// The folder, searched with its subfolders for files ending in `.parquet`; or one such file.
    pub path: PathBuf,
    /// What its records say their topic is; `None`: the folder's name (of a single file: its folder's).
    pub topic: Option<String>,
    /// Whether records come with their headers. Off, the column is not decoded.
    pub headers: bool,
    /// Which columns may be taken, where files have them, in place of values ([`SplitReader::decoded`](super::SplitReader::decoded)).
    pub decoded: Option<DecodedColumns>,
}

/// A file's share of a split.
#[derive(Debug, Clone)]
struct Part {
    /// Index into the plan's files.
    file: usize,
    first_offset: i64,
    last_offset: i64,
    rows: u64,
    /// Row groups that may hold rows of the split, ascending.
    groups: Vec<usize>,
    /// The file holds other partitions too, so that rows must be looked at one by one.
    mixed: bool,
}

/// What a file holds of a partition, as far as its footer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileContent {
    /// The file.
    pub path: PathBuf,
    /// The partition.
    pub partition: i32,
    /// The offset of its first record there.
    pub first_offset: i64,
    /// And that of its last.
    pub last_offset: i64,
    /// Records.
    pub rows: u64,
    /// Row groups with records of the partition.
    pub row_groups: usize,
    /// The file's size in bytes, whatever else is in it.
    pub file_bytes: u64,
    /// Whether it holds other partitions too.
    pub mixed: bool,
    /// The earliest and latest timestamp in it (of all partitions), microseconds since the epoch; `None` where no record has one, or
    /// the footer doesn't say.
    pub timestamps_us: Option<(i64, i64)>,
    /// What its rows' hash has to be; `None` of files that were not written here.
    pub rows_hash: Option<String>,
}

/// What an archive holds: its files' footers have been read, its rows not.
#[derive(Debug, Clone)]
pub struct ArchivePlan {
    files: Arc<Vec<ArchiveFile>>,
    splits: Vec<SplitInfo>,
    /// Of each split, in the order of their first offsets.
    parts: Vec<Vec<Part>>,
    headers: bool,
    /// Bytes that were read to look for times.
    looked_bytes: u64,
}

impl ArchiveConfig {
    /// Lists the archive's files and finds out which partitions they hold, and from which offset on.
    ///
    /// # Errors
    /// [`SourceError::Io`] where a file can't be read or is damaged, [`SourceError::NotAnArchive`] where there are none, a
    /// column is missing or of a type that can't be meant, a file's name contradicts its rows, or two files hold the same offsets.
    pub fn resolve(&self) -> Result<ArchivePlan, SourceError> {
        let paths = inspect::list(&self.path)?;
        if paths.is_empty() {
            return Err(not_an_archive(&self.path, "the folder holds no file ending in .parquet"));
        }
        let mut files = paths.iter().map(|path| ArchiveFile::open(path)).collect::<Result<Vec<_>, _>>()?;
        if let Some(wanted) = &self.decoded {
            find_decoded(&mut files, wanted);
        }

        let mut parts: Vec<(i32, Part)> = Vec::new();
        for (index, file) in files.iter().enumerate() {
            let contents = file.contents()?;
            let mixed = contents.len() > 1;
            parts.extend(contents.into_iter().map(|content| {
                let inspect::Content { partition, first_offset, last_offset, rows, groups } = content;
                (partition, Part { file: index, first_offset, last_offset, rows, groups, mixed })
            }));
        }
        parts.sort_by_key(|(partition, part)| (*partition, part.first_offset, part.file));
        refuse_overlaps(&files, &parts)?;

        let topic: Arc<str> = self.topic_name().into();
        let mut plan = ArchivePlan {
            files: Arc::new(files),
            splits: Vec::new(),
            parts: Vec::new(),
            headers: self.headers,
            looked_bytes: 0,
        };
        for (partition, part) in parts {
            if plan.splits.last().is_none_or(|split| split.partition != partition) {
                let number = u32::try_from(plan.splits.len()).expect("invariant: partitions are i32");
                plan.splits.push(SplitInfo {
                    topic: topic.clone(),
                    partition,
                    number,
                    start: part.first_offset,
                    end: None,
                    records_ahead: Some(0),
                });
                plan.parts.push(Vec::new());
            }
            let last = plan.splits.len() - 1;
            plan.splits[last].records_ahead = plan.splits[last].records_ahead.map(|rows| rows + part.rows);
            plan.parts[last].push(part);
        }
        Ok(plan)
    }

    fn topic_name(&self) -> String {
        if let Some(topic) = &self.topic {
            return topic.clone();
        }
        let absolute = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
        let folder = if absolute.is_file() { absolute.parent() } else { Some(absolute.as_path()) };
        folder
            .and_then(Path::file_name)
            .map_or_else(|| self.source_name.clone(), |name| name.to_string_lossy().into_owned())
    }
}

impl ArchivePlan {
    /// All splits, one a partition, ascending; of all workers.
    pub fn splits(&self) -> &[SplitInfo] {
        &self.splits
    }

    /// The offset after the last record of each partition that the archive holds, for whoever adds to it.
    pub fn ends(&self) -> impl Iterator<Item = (i32, i64)> {
        self.splits.iter().zip(&self.parts).map(|(split, parts)| {
            let last = parts.iter().map(|part| part.last_offset).max();
            (split.partition, last.map_or(split.start, |last| last.saturating_add(1)))
        })
    }

    /// What each file holds, by partition and offset; a file of several partitions comes once for each.
    ///
    /// # Errors
    /// [`SourceError::Io`] where a file is not there any more.
    pub fn contents(&self) -> Result<Vec<FileContent>, SourceError> {
        let mut found = Vec::new();
        for (split, parts) in self.splits.iter().zip(&self.parts) {
            for part in parts {
                let file = &self.files[part.file];
                let metadata =
                    std::fs::metadata(&file.path).map_err(|error| unreadable(&file.path, error))?;
                found.push(FileContent {
                    path: file.path.clone(),
                    partition: split.partition,
                    first_offset: part.first_offset,
                    last_offset: part.last_offset,
                    rows: part.rows,
                    row_groups: part.groups.len(),
                    file_bytes: metadata.len(),
                    mixed: part.mixed,
                    timestamps_us: file.timestamps_us(&part.groups),
                    rows_hash: file.rows_hash().map(str::to_owned),
                });
            }
        }
        Ok(found)
    }

    /// Rows in all splits.
    pub fn rows(&self) -> u64 {
        self.splits.iter().filter_map(|split| split.records_ahead).sum()
    }

    /// Files of the archive.
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// The size of all files of the archive, whatever part of it is read; without decoded columns.
    pub fn file_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Bytes that were read, beyond footers, to find where a time lies.
    pub fn looked_bytes(&self) -> u64 {
        self.looked_bytes
    }

    /// How many files have decoded columns that will be read in place of their values.
    pub fn decoded_files(&self) -> usize {
        self.files.iter().filter(|file| file.decoded.is_some()).count()
    }

    /// The reader of one worker's splits: those whose number leaves `worker` when divided by `workers`.
    ///
    /// # Errors
    /// None today: files are opened when they are read. It stays fallible for archives that are not on a disk.
    ///
    /// # Panics
    /// When `workers` is zero.
    pub fn reader(&self, worker: usize, workers: usize) -> Result<ArchiveReader, SourceError> {
        let mine = |split: &&SplitInfo| split.number as usize % workers == worker;
        let splits: Vec<SplitInfo> = self.splits.iter().filter(mine).cloned().collect();
        let parts = splits.iter().map(|split| self.parts[split.number as usize].clone()).collect();
        Ok(ArchiveReader::new(self.files.clone(), splits, parts, self.headers))
    }
}

/// Finds the decoded columns of each file. Those that can't be used are told of once.
fn find_decoded(files: &mut [ArchiveFile], wanted: &DecodedColumns) {
    let fingerprint = fingerprint(&wanted.schema);
    let mut refused = Vec::new();
    for file in files {
        match DecodedFile::find(file, wanted, &fingerprint) {
            Ok(found) => file.decoded = found,
            Err(reason) => refused.push((decoded_path(&file.path, &fingerprint), reason)),
        }
    }
    if let Some((path, reason)) = refused.first() {
        tracing::warn!(
            file = %path.display(),
            reason,
            files = refused.len(),
            "decoded columns can't be used, the payloads are decoded instead; `thalweg archive decode` makes them again"
        );
    }
}

/// Two files with the same offsets of a partition: rows would come twice, or, where reading begins behind, not at all.
fn refuse_overlaps(files: &[ArchiveFile], parts: &[(i32, Part)]) -> Result<(), SourceError> {
    let mut before: Option<&(i32, Part)> = None;
    for next in parts.iter().filter(|(_, part)| part.rows > 0) {
        if let Some((partition, part)) = before
            && *partition == next.0
            && next.1.first_offset <= part.last_offset
        {
            let detail = format!(
                "its offsets of partition {partition} begin at {}, and {} holds those up to {}: two files hold the same; take one of \
                 them out of the folder",
                next.1.first_offset,
                files[part.file].path.display(),
                part.last_offset
            );
            return Err(not_an_archive(&files[next.1.file].path, detail));
        }
        before = Some(next);
    }
    Ok(())
}

fn not_an_archive(path: &Path, detail: impl Into<String>) -> SourceError {
    SourceError::NotAnArchive { path: path.display().to_string(), detail: detail.into() }
}

fn unreadable(path: &Path, source: std::io::Error) -> SourceError {
    SourceError::Io { path: path.display().to_string(), source }
}

/// A file that is no Parquet, or was cut short or changed.
fn damaged(path: &Path, cause: &dyn std::fmt::Display) -> SourceError {
    let text = format!("the Parquet file is damaged or cut short: {cause}; write or copy it again");
    unreadable(path, std::io::Error::new(std::io::ErrorKind::InvalidData, text))
}
