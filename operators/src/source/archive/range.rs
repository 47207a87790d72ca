//! A piece of an archive: between two times or offsets, reading only what holds it.
//!
//! ```text
//!   files of a split     ▒▒▒▒▒▒▒▒ ▒▒▒▒████ ████████ ███▒▒▒▒▒ ▒▒▒▒▒▒▒▒
//!                                     ▲ start         ▲ end
//!   footers say which row groups may hold them; of those, offsets and timestamps are read
//! ```
//!
//! A time means what it means in Kafka: the first offset whose record has that timestamp or a later one. Timestamps need not ascend.

use std::fs::File;

use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::inspect::{ArchiveFile, SCAN_ROWS, column_bytes};
use super::{ArchivePlan, Part, columns, damaged, not_an_archive, unreadable};
use crate::source::reader::SourceError;

impl ArchivePlan {
    /// Lets reading begin at an offset of each partition, where `offset_of` names one, instead of at the first.
    pub fn start_at(&mut self, offset_of: impl Fn(i32) -> Option<i64>) {
        for split in 0..self.splits.len() {
            if let Some(start) = offset_of(self.splits[split].partition) {
                self.begin(split, start);
            }
        }
    }

    /// Lets reading end before an offset of each partition, where `offset_of` names one.
    pub fn end_at(&mut self, offset_of: impl Fn(i32) -> Option<i64>) {
        for split in 0..self.splits.len() {
            if let Some(end) = offset_of(self.splits[split].partition) {
                self.finish(split, end);
            }
        }
    }

    /// Lets reading begin, in each split, with the first record whose timestamp is not before `from_us`, and end before the first whose
    /// timestamp is not before `to_us`; microseconds since the epoch.
    ///
    /// # Errors
    /// A file that can't be read, or has no timestamps.
    pub fn between(&mut self, from_us: Option<i64>, to_us: Option<i64>) -> Result<(), SourceError> {
        let ends: Vec<i64> = self.ends().map(|(_, end)| end).collect();
        for (split, archive_end) in ends.into_iter().enumerate() {
            let mut first = |us: i64| Ok(self.first_at(split, us)?.unwrap_or(archive_end));
            let start = from_us.map(&mut first).transpose()?;
            let end = to_us.map(first).transpose()?;
            if let Some(start) = start {
                self.begin(split, start);
            }
            if let Some(end) = end {
                // Where a record of a later time comes before one of an earlier time.
                self.finish(split, end.max(start.unwrap_or(end)));
            }
        }
        Ok(())
    }

    fn begin(&mut self, split: usize, start: i64) {
        // Never wider than before.
        let start = start.max(self.splits[split].start);
        self.splits[split].start = start;
        let parts = &mut self.parts[split];
        // A file whose successor begins at or before the start holds nothing that is wanted.
        let unwanted = parts.windows(2).take_while(|pair| pair[1].first_offset <= start).count();
        parts.drain(..unwanted);
        parts.retain(|part| part.last_offset >= start);
        let files = &self.files;
        for part in parts.iter_mut() {
            let file = &files[part.file];
            leave_out(file, part, |group| file.offsets(group).is_some_and(|(_, last)| last < start));
        }
        self.count(split);
    }

    fn finish(&mut self, split: usize, end: i64) {
        let end = self.splits[split].end.map_or(end, |own| own.min(end));
        self.splits[split].end = Some(end);
        self.parts[split].retain(|part| part.first_offset < end);
        let files = &self.files;
        for part in &mut self.parts[split] {
            let file = &files[part.file];
            leave_out(file, part, |group| file.offsets(group).is_some_and(|(first, _)| first >= end));
        }
        self.count(split);
    }

    fn count(&mut self, split: usize) {
        self.splits[split].records_ahead = Some(self.parts[split].iter().map(|part| part.rows).sum());
    }

    /// The first offset of a split whose record has this timestamp or a later one; `None`: there is none.
    fn first_at(&mut self, split: usize, us: i64) -> Result<Option<i64>, SourceError> {
        let partition = self.splits[split].partition;
        let mut looked_bytes = 0;
        let found = self.look_for(split, partition, us, &mut looked_bytes);
        self.looked_bytes += looked_bytes;
        found
    }

    fn look_for(
        &self,
        split: usize,
        partition: i32,
        us: i64,
        looked_bytes: &mut u64,
    ) -> Result<Option<i64>, SourceError> {
        for part in &self.parts[split] {
            let file = &self.files[part.file];
            if file.timestamp.is_none() {
                let detail = "it has no column timestamp, so nothing can be looked up by time; begin and end at offsets";
                return Err(not_an_archive(&file.path, detail));
            }
            for &group in &part.groups {
                if file.timestamps_us(&[group]).is_some_and(|(_, last)| last < us) {
                    continue;
                }
                if let Some(offset) = first_in_group(file, part, group, partition, us, looked_bytes)? {
                    return Ok(Some(offset));
                }
            }
        }
        Ok(None)
    }
}

// Of a file of several partitions nobody knows how many rows of a group are whose.
fn leave_out(file: &ArchiveFile, part: &mut Part, unwanted: impl Fn(usize) -> bool) {
    if !part.mixed {
        let skipped: u64 =
            part.groups.iter().filter(|group| unwanted(**group)).map(|group| file.rows(*group)).sum();
        part.groups.retain(|group| !unwanted(*group));
        part.rows -= skipped.min(part.rows);
    }
}

fn first_in_group(
    file: &ArchiveFile,
    part: &Part,
    group: usize,
    partition: i32,
    us: i64,
    looked_bytes: &mut u64,
) -> Result<Option<i64>, SourceError> {
    let mut wanted = vec![file.offset];
    wanted.extend(file.timestamp);
    wanted.extend(part.mixed.then_some(file.partition));
    *looked_bytes += column_bytes(&file.metadata, group, &wanted);
    let opened = File::open(&file.path).map_err(|error| unreadable(&file.path, error))?;
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(opened, file.metadata.clone())
        .with_row_groups(vec![group])
        .with_projection(ProjectionMask::roots(file.metadata.parquet_schema(), wanted))
        .with_batch_size(SCAN_ROWS)
        .build()
        .map_err(|error| damaged(&file.path, &error))?;
    for batch in reader {
        let batch = batch.map_err(|error| damaged(&file.path, &error))?;
        let offsets = columns::offsets(&file.path, &batch)?;
        let partitions = if part.mixed { Some(columns::partitions(&file.path, &batch)?) } else { None };
        let Some(timestamps) = columns::Timestamps::in_batch(file, &batch)? else { return Ok(None) };
        let own = |row: usize| partitions.as_ref().is_none_or(|all| all.value(row) == partition);
        let found = (0..batch.num_rows())
            .find(|row| own(*row) && timestamps.micros(*row).is_some_and(|timestamp| timestamp >= us));
        if let Some(row) = found {
            return Ok(Some(offsets.value(row)));
        }
    }
    Ok(None)
}
