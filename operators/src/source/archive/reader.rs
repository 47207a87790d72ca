//! Reads a worker's splits of an archive: of each split one row group is open and one batch in memory, and a record borrows its bytes
//! from that batch. Where a file's decoded columns can be used, its values are not read: a batch of these columns goes beside one of
//! offsets, timestamps and keys.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};

use super::columns::{Columns, values};
use super::decoded::{DecodedFile, IS_ROW, RawRecords};
use super::inspect::{ArchiveFile, column_bytes};
use super::{Part, damaged, not_an_archive, unreadable};
use crate::source::decoded::DecodedRows;
use crate::source::reader::{
    Header, ReadProgress, ReadRequest, Record, SourceError, SplitInfo, SplitReader, record_bytes,
};

/// A worker's splits of an archive.
pub struct ArchiveReader {
    files: Arc<Vec<ArchiveFile>>,
    infos: Vec<SplitInfo>,
    splits: Vec<Split>,
    headers: bool,
    file_bytes: u64,
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
    /// Gives the decoded columns of the same rows.
    decoded: Option<ParquetRecordBatchReader>,
    file: usize,
    group: usize,
    /// The number, in its file, of the group's first row.
    first: u64,
    mixed: bool,
    /// The number, in its file, of the row that the next batch starts with.
    row: u64,
    /// Rows of the group that were not decoded yet.
    rows_left: u64,
}

struct Batch {
    columns: Columns,
    payload: Payload,
    next: usize,
    file: usize,
    group: usize,
    /// The number, in its group, of the batch's first row.
    first: u64,
    /// The number, in its file, of the batch's first row.
    row: u64,
}

/// What the records of a batch say.
enum Payload {
    Values(BinaryArray),
    Decoded(Decoded),
}

struct Decoded {
    columns: Vec<ArrayRef>,
    is_row: BooleanArray,
    /// Bytes of a row in memory, as their mean.
    row_bytes: usize,
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
        ArchiveReader { files, infos, splits, headers, file_bytes: 0 }
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

    fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    fn decoded(&mut self, request: ReadRequest<'_>) -> Result<Option<DecodedRows>, SourceError> {
        let Some(&index) = request.order.first() else { return Ok(None) };
        let split = &mut self.splits[index];
        while !split.ended && split.rows_left > 0 {
            if split.batch.is_none() {
                split.batch = Some(split.decode(&self.files, self.headers, &mut self.file_bytes)?);
            }
            if !split.is_decoded() {
                return Ok(None);
            }
            let found = split.take(index, &self.files, &request, self.headers)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
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
                    split.batch = Some(split.decode(&self.files, self.headers, &mut self.file_bytes)?);
                }
                if split.is_decoded() {
                    return Ok(progress);
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
    fn decode(
        &mut self,
        files: &[ArchiveFile],
        headers: bool,
        file_bytes: &mut u64,
    ) -> Result<Batch, SourceError> {
        loop {
            let Some(open) = &mut self.open else {
                *file_bytes += self.open_next(files, headers)?;
                continue;
            };
            let file = &files[open.file];
            match open.reader.next() {
                Some(batch) => {
                    let batch = batch.map_err(|error| damaged(&file.path, &error))?;
                    let columns = Columns::of(file, &batch, open.mixed)?;
                    let payload = match (&mut open.decoded, &file.decoded) {
                        (Some(reader), Some(decoded)) => {
                            Payload::Decoded(Decoded::next(reader, decoded, batch.num_rows())?)
                        }
                        _ => Payload::Values(values(file, &batch)?),
                    };
                    let (file, row, group, first) = (open.file, open.row, open.group, open.row - open.first);
                    open.row += batch.num_rows() as u64;
                    open.rows_left = open.rows_left.saturating_sub(batch.num_rows() as u64);
                    return Ok(Batch { columns, payload, next: 0, file, group, first, row });
                }
                None if open.rows_left > 0 => {
                    return Err(damaged(&file.path, &format!("{} rows are missing", open.rows_left)));
                }
                None => self.open = None,
            }
        }
    }

    /// Gives back the bytes of the columns that are read.
    fn open_next(&mut self, files: &[ArchiveFile], headers: bool) -> Result<u64, SourceError> {
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
        let (open, bytes) = open_group(file, part, group, headers)?;
        self.open = Some(open);
        self.next_group += 1;
        Ok(bytes)
    }

    fn is_decoded(&self) -> bool {
        self.batch.as_ref().is_some_and(|batch| matches!(batch.payload, Payload::Decoded(_)))
    }

    /// The next decoded rows of the batch, as many as the request takes; `None`: none of them lies between start and end.
    fn take(
        &mut self,
        index: usize,
        files: &Arc<Vec<ArchiveFile>>,
        request: &ReadRequest<'_>,
        headers: bool,
    ) -> Result<Option<DecodedRows>, SourceError> {
        let Some(Batch { columns, payload: Payload::Decoded(decoded), next, file, group, first, row }) =
            &mut self.batch
        else {
            return Ok(None);
        };
        let room = (request.bytes_max / decoded.row_bytes).min(request.records_max).max(1);
        let all = columns.offsets.values();
        let piece = &all[*next..all.len().min(*next + room)];
        for (at, offset) in piece.iter().enumerate() {
            if *offset <= self.offset_last {
                let row = *row + (*next + at) as u64;
                return Err(descending(&files[*file], row, *offset, self.offset_last));
            }
            self.offset_last = *offset;
            // What lies behind is not looked at.
            if *offset >= self.end {
                break;
            }
        }
        let to = piece.iter().position(|offset| *offset >= self.end).unwrap_or(piece.len());
        let from = piece[..to].partition_point(|offset| *offset < self.start);
        let is_over = to < piece.len();
        let (begin, rows) = (*next + from, to - from);
        let found = (rows > 0).then(|| DecodedRows {
            split: index,
            bytes: rows * decoded.row_bytes,
            columns: decoded.columns.iter().map(|column| column.slice(begin, rows)).collect(),
            offsets: columns.offsets.slice(begin, rows),
            timestamps: columns.timestamps.as_ref().map(|timestamps| timestamps.slice(begin, rows)),
            keys: columns.keys.as_ref().map(|keys| keys.slice(begin, rows)),
            headers: columns.headers.as_ref().map(|of_rows| of_rows.slice(begin, rows)),
            is_row: decoded.is_row.slice(begin, rows),
            records: RawRecords {
                files: Arc::clone(files),
                file: *file,
                group: *group,
                first: *first as usize + begin,
                headers,
            },
        });
        self.rows_left = if is_over { 0 } else { self.rows_left.saturating_sub(piece.len() as u64) };
        *next += piece.len();
        if is_over || *next >= all.len() {
            self.batch = None;
        }
        Ok(found)
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
        let Payload::Values(values) = &batch.payload else { return Ok(()) };
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
            let value = values.is_valid(row).then(|| values.value(row));
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

impl Decoded {
    /// The decoded columns of the next `rows` rows.
    fn next(
        reader: &mut ParquetRecordBatchReader,
        file: &DecodedFile,
        rows: usize,
    ) -> Result<Decoded, SourceError> {
        let found = reader.next().transpose().map_err(|error| file.damaged(&error))?;
        let fits = |batch: &RecordBatch| batch.num_rows() == rows;
        let batch = found.filter(fits).ok_or_else(|| file.damaged(&"rows are missing"))?;
        let column = |name: &String| batch.column_by_name(name).cloned();
        let columns: Option<Vec<ArrayRef>> = file.names.iter().map(column).collect();
        let mut columns = columns.ok_or_else(|| file.damaged(&"a column was not decoded"))?;
        let is_row = columns.remove(0);
        let is_row = is_row.as_boolean_opt().filter(|is_row| is_row.null_count() == 0).cloned();
        let is_row =
            is_row.ok_or_else(|| file.damaged(&format!("the column {IS_ROW} is not true or false")))?;
        let bytes: usize =
            columns.iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or_default()).sum();
        Ok(Decoded { columns, is_row, row_bytes: (bytes / rows.max(1)).max(1) })
    }
}

/// Opens a row group, and gives the bytes of the columns that are read of it.
fn open_group(
    file: &ArchiveFile,
    part: &Part,
    group: usize,
    headers: bool,
) -> Result<(OpenGroup, u64), SourceError> {
    let groups = file.metadata.metadata().row_groups();
    let rows = |group: usize| u64::try_from(groups[group].num_rows()).unwrap_or(0);
    // Of a file of several partitions each row is looked at.
    let decoded = file.decoded.as_ref().filter(|_| !part.mixed);
    let mut wanted = vec![file.offset];
    wanted.extend(decoded.is_none().then_some(file.value));
    wanted.extend(part.mixed.then_some(file.partition));
    wanted.extend(file.timestamp);
    wanted.extend(file.key);
    wanted.extend(file.headers.filter(|_| headers));

    let reader = |path: &Path, metadata: &ArrowReaderMetadata, roots: &[usize]| {
        let opened = File::open(path).map_err(|error| unreadable(path, error))?;
        ParquetRecordBatchReaderBuilder::new_with_metadata(opened, metadata.clone())
            .with_row_groups(vec![group])
            .with_projection(ProjectionMask::roots(metadata.parquet_schema(), roots.iter().copied()))
            .with_batch_size(file.batch_rows(group))
            .build()
            .map_err(|error| damaged(path, &error))
    };
    let mut read_bytes = column_bytes(&file.metadata, group, &wanted);
    let columns = reader(&file.path, &file.metadata, &wanted)?;
    let decoded = decoded.map(|decoded| {
        read_bytes += column_bytes(&decoded.metadata, group, &decoded.roots);
        reader(&decoded.path, &decoded.metadata, &decoded.roots)
    });
    let (decoded, row) = (decoded.transpose()?, (0..group).map(rows).sum());
    let (file, mixed, rows_left) = (part.file, part.mixed, rows(group));
    Ok((OpenGroup { reader: columns, decoded, file, group, first: row, mixed, row, rows_left }, read_bytes))
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
