//! Reads a worker's splits of an archive: of each split one row group is open and one batch decoded, and a record borrows
//! its bytes from that batch.

use std::fs::File;
use std::sync::Arc;

use arrow::array::Array;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::columns::Columns;
use super::inspect::ArchiveFile;
use super::{Part, damaged, not_an_archive, unreadable};
use crate::source::reader::{
    Header, ReadProgress, ReadRequest, Record, SourceError, SplitInfo, SplitReader, record_bytes,
};

/// Most rows decoded at once; fewer where values are large.
const BATCH_ROWS_MAX: usize = 8192;

/// Decoded bytes aimed at for a batch, by the mean row of its row group.
const BATCH_BYTES: usize = 4 << 20;

/// A worker's splits of an archive.
pub struct ArchiveReader {
    files: Arc<Vec<ArchiveFile>>,
    infos: Vec<SplitInfo>,
    splits: Vec<Split>,
    headers: bool,
}

/// Where a split's reading stands.
struct Split {
    partition: i32,
    /// Rows below are passed over.
    start: i64,
    /// The split ends before this offset.
    end: i64,
    parts: Vec<Part>,
    /// The next row group to open: a part, and a position in its groups.
    next_part: usize,
    next_group: usize,
    /// The open row group.
    open: Option<OpenGroup>,
    batch: Option<Batch>,
    /// Rows not handed over yet.
    rows_left: u64,
    offset_last: i64,
    ended: bool,
}

struct OpenGroup {
    reader: ParquetRecordBatchReader,
    file: usize,
    mixed: bool,
    /// The number, in its file, of the row that the next batch starts with.
    row: u64,
    /// Rows of the group that were not decoded yet.
    rows_left: u64,
}

struct Batch {
    columns: Columns,
    next: usize,
    file: usize,
    /// The number, in its file, of the batch's first row.
    row: u64,
}

impl std::fmt::Debug for ArchiveReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArchiveReader").field("splits", &self.infos).finish_non_exhaustive()
    }
}

impl ArchiveReader {
    pub(super) fn new(
        files: Arc<Vec<ArchiveFile>>,
        infos: Vec<SplitInfo>,
        parts: Vec<Vec<Part>>,
        headers: bool,
    ) -> ArchiveReader {
        let split = |(info, parts): (&SplitInfo, Vec<Part>)| Split {
            partition: info.partition,
            start: info.start,
            end: info.end.unwrap_or(i64::MAX),
            rows_left: parts.iter().map(|part| part.rows).sum(),
            parts,
            next_part: 0,
            next_group: 0,
            open: None,
            batch: None,
            offset_last: -1,
            ended: false,
        };
        let splits = infos.iter().zip(parts).map(split).collect();
        ArchiveReader { files, infos, splits, headers }
    }

    /// Rows of the largest batch that is decoded now.
    #[cfg(test)]
    pub(super) fn decoded_rows_max(&self) -> usize {
        let rows = |split: &Split| split.batch.as_ref().map_or(0, |batch| batch.columns.offsets.len());
        self.splits.iter().map(rows).max().unwrap_or(0)
    }
}

impl SplitReader for ArchiveReader {
    fn splits(&self) -> &[SplitInfo] {
        &self.infos
    }

    fn at_hand(&mut self, split: usize) -> bool {
        self.splits[split].rows_left > 0
    }

    fn read(
        &mut self,
        request: ReadRequest<'_>,
        each: &mut dyn FnMut(Record<'_>),
    ) -> Result<ReadProgress, SourceError> {
        let mut progress = ReadProgress::default();
        let met = |progress: &ReadProgress| {
            progress.records >= request.records_max
                || (progress.records > 0 && progress.bytes >= request.bytes_max)
        };
        for &index in request.order {
            let split = &mut self.splits[index];
            while !split.ended && split.rows_left > 0 && !met(&progress) {
                if split.batch.is_none() {
                    split.batch = Some(split.decode(&self.files, self.headers)?);
                }
                split.hand_over(index, &self.files, &request, &mut progress, each)?;
            }
            if !split.ended && split.rows_left == 0 {
                split.ended = true;
                split.batch = None;
                split.open = None;
                progress.ended.push(index);
            }
            if met(&progress) {
                break;
            }
        }
        Ok(progress)
    }
}

impl Split {
    /// The next batch, of the open row group or the next one.
    fn decode(&mut self, files: &[ArchiveFile], headers: bool) -> Result<Batch, SourceError> {
        loop {
            let Some(open) = &mut self.open else {
                self.open_next(files, headers)?;
                continue;
            };
            let file = &files[open.file];
            match open.reader.next() {
                Some(batch) => {
                    let batch = batch.map_err(|error| damaged(&file.path, &error))?;
                    let columns = Columns::of(file, &batch, open.mixed)?;
                    let (file, row) = (open.file, open.row);
                    open.row += batch.num_rows() as u64;
                    open.rows_left = open.rows_left.saturating_sub(batch.num_rows() as u64);
                    return Ok(Batch { columns, next: 0, file, row });
                }
                None if open.rows_left > 0 => {
                    return Err(damaged(&file.path, &format!("{} rows are missing", open.rows_left)));
                }
                None => self.open = None,
            }
        }
    }

    fn open_next(&mut self, files: &[ArchiveFile], headers: bool) -> Result<(), SourceError> {
        let part = loop {
            let Some(part) = self.parts.get(self.next_part) else {
                // Only a file that was changed since the plan was made has fewer rows than its statistics say.
                let path = &files[self.parts.last().map_or(0, |part| part.file)].path;
                return Err(damaged(
                    path,
                    &format!("{} rows of partition {} are missing", self.rows_left, self.partition),
                ));
            };
            if self.next_group < part.groups.len() {
                break part;
            }
            self.next_part += 1;
            self.next_group = 0;
        };
        let group = part.groups[self.next_group];
        let file = &files[part.file];
        self.open = Some(open_group(file, part, group, headers)?);
        self.next_group += 1;
        Ok(())
    }

    /// Hands rows of the decoded batch over until the request is met or the batch used up.
    fn hand_over(
        &mut self,
        index: usize,
        files: &[ArchiveFile],
        request: &ReadRequest<'_>,
        progress: &mut ReadProgress,
        each: &mut dyn FnMut(Record<'_>),
    ) -> Result<(), SourceError> {
        let Some(batch) = &mut self.batch else { return Ok(()) };
        let columns = &batch.columns;
        let offsets = columns.offsets.values();
        let partitions = columns.partitions.as_ref().map(|partitions| partitions.values());
        let mut headers: Vec<Header<'_>> = Vec::new();
        while batch.next < offsets.len() {
            let row = batch.next;
            batch.next += 1;
            if partitions.is_some_and(|partitions| partitions[row] != self.partition) {
                continue;
            }
            let offset = offsets[row];
            if offset <= self.offset_last {
                return Err(descending(&files[batch.file], batch.row + row as u64, offset, self.offset_last));
            }
            self.offset_last = offset;
            if offset >= self.end {
                (self.rows_left, self.batch) = (0, None);
                return Ok(());
            }
            if offset < self.start {
                self.rows_left = self.rows_left.saturating_sub(1);
                continue;
            }
            let value = columns.values.is_valid(row).then(|| columns.values.value(row));
            let key = match &columns.keys {
                Some(keys) if keys.is_valid(row) => Some(keys.value(row)),
                _ => None,
            };
            if let Some(of_rows) = &columns.headers {
                of_rows.collect(row, &mut headers);
            }
            each(Record {
                split: index,
                offset,
                timestamp_us: columns.timestamps.as_ref().and_then(|timestamps| timestamps.micros(row)),
                key,
                value,
                headers: &headers,
            });
            self.rows_left = self.rows_left.saturating_sub(1);
            progress.records += 1;
            progress.bytes += record_bytes(key, value, &headers);
            if progress.records >= request.records_max || progress.bytes >= request.bytes_max {
                break;
            }
        }
        if batch.next >= offsets.len() {
            self.batch = None;
        }
        Ok(())
    }
}

fn open_group(
    file: &ArchiveFile,
    part: &Part,
    group: usize,
    headers: bool,
) -> Result<OpenGroup, SourceError> {
    let groups = file.metadata.metadata().row_groups();
    let rows = |group: usize| u64::try_from(groups[group].num_rows()).unwrap_or(0);
    let mut wanted = vec![file.offset, file.value];
    wanted.extend(part.mixed.then_some(file.partition));
    wanted.extend(file.timestamp);
    wanted.extend(file.key);
    wanted.extend(file.headers.filter(|_| headers));

    let bytes = usize::try_from(groups[group].total_byte_size()).unwrap_or(0);
    let row_bytes = (bytes / usize::try_from(rows(group)).unwrap_or(1).max(1)).max(1);
    let opened = File::open(&file.path).map_err(|error| unreadable(&file.path, error))?;
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(opened, file.metadata.clone())
        .with_row_groups(vec![group])
        .with_projection(ProjectionMask::roots(file.metadata.parquet_schema(), wanted))
        .with_batch_size((BATCH_BYTES / row_bytes).clamp(1, BATCH_ROWS_MAX))
        .build()
        .map_err(|error| damaged(&file.path, &error))?;
    let row = (0..group).map(rows).sum();
    Ok(OpenGroup { reader, file: part.file, mixed: part.mixed, row, rows_left: rows(group) })
}

fn descending(file: &ArchiveFile, row: u64, offset: i64, last: i64) -> SourceError {
    let detail = if offset < 0 {
        format!("row {row} (counted from 0) has the negative offset {offset}")
    } else {
        format!(
            "row {row} (counted from 0) has offset {offset} after offset {last}; offsets of a partition must ascend through \
             its files and rows: sort them by partition and offset"
        )
    };
    not_an_archive(&file.path, detail)
}
