//! The records behind decoded rows: few are wanted, those that are refused, so only the pages that hold them are decoded.

use std::fs::File;
use std::sync::Arc;

use arrow::array::Array;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReaderBuilder, RowSelection, RowSelector};

use super::super::columns::{Columns, values};
use super::super::inspect::{ArchiveFile, column_bytes};
use super::super::{damaged, unreadable};
use crate::source::reader::{Header, Record, SourceError};

/// Where the records of some decoded rows lie.
#[derive(Debug, Clone)]
pub struct RawRecords {
    pub(in super::super) files: Arc<Vec<ArchiveFile>>,
    pub(in super::super) file: usize,
    pub(in super::super) group: usize,
    /// The number, in its row group, of the first of these rows.
    pub(in super::super) first: usize,
    pub(in super::super) headers: bool,
}

impl RawRecords {
    /// Hands over the records of `rows`, ascending, as numbers among these rows.
    ///
    /// # Errors
    /// A file that can't be read, or holds fewer records than when it was opened.
    pub(in crate::source) fn read(
        &self,
        split: usize,
        rows: &[usize],
        each: &mut dyn FnMut(Record<'_>),
    ) -> Result<(), SourceError> {
        if rows.is_empty() {
            return Ok(());
        }
        let file = &self.files[self.file];
        let opened = File::open(&file.path).map_err(|error| unreadable(&file.path, error))?;
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(opened, file.metadata.clone())
            .with_row_groups(vec![self.group])
            .with_projection(ProjectionMask::roots(file.metadata.parquet_schema(), self.roots()))
            .with_row_selection(selection(rows.iter().map(|row| self.first + row)))
            .with_batch_size(rows.len())
            .build()
            .map_err(|error| damaged(&file.path, &error))?;
        let mut found = 0;
        for batch in reader {
            let batch = batch.map_err(|error| damaged(&file.path, &error))?;
            let columns = Columns::of(file, &batch, false)?;
            let values = values(file, &batch)?;
            let mut headers: Vec<Header<'_>> = Vec::new();
            for row in 0..batch.num_rows() {
                if let Some(of_rows) = &columns.headers {
                    of_rows.collect(row, &mut headers);
                }
                each(Record {
                    split,
                    offset: columns.offsets.value(row),
                    timestamp_us: columns.timestamps.as_ref().and_then(|timestamps| timestamps.micros(row)),
                    key: columns.keys.as_ref().filter(|keys| keys.is_valid(row)).map(|keys| keys.value(row)),
                    value: values.is_valid(row).then(|| values.value(row)),
                    headers: &headers,
                });
            }
            found += batch.num_rows();
        }
        if found < rows.len() {
            return Err(damaged(&file.path, &format!("{} rows are missing", rows.len() - found)));
        }
        Ok(())
    }
}

impl RawRecords {
    /// The root columns that make a record.
    fn roots(&self) -> Vec<usize> {
        let file = &self.files[self.file];
        let mut roots = vec![file.offset, file.value];
        roots.extend(file.timestamp);
        roots.extend(file.key);
        roots.extend(file.headers.filter(|_| self.headers));
        roots
    }

    /// The share of `rows` rows in the bytes of these columns.
    pub(in crate::source) fn file_bytes(&self, rows: usize) -> u64 {
        let file = &self.files[self.file];
        let bytes = column_bytes(&file.metadata, self.group, &self.roots());
        let share = u128::from(bytes) * rows as u128 / u128::from(file.rows(self.group).max(1));
        u64::try_from(share).unwrap_or(bytes)
    }

    pub(in crate::source) fn contradicted(&self, offset: i64) -> SourceError {
        let file = &self.files[self.file];
        let cause = format!("the record at offset {offset} can be decoded, and they say that it can't");
        match &file.decoded {
            Some(decoded) => decoded.damaged(&cause),
            None => damaged(&file.path, &cause),
        }
    }
}

fn selection(rows: impl Iterator<Item = usize>) -> RowSelection {
    let mut next = 0;
    let mut selectors = Vec::new();
    for row in rows {
        if row > next {
            selectors.push(RowSelector::skip(row - next));
        }
        selectors.push(RowSelector::select(1));
        next = row + 1;
    }
    RowSelection::from(selectors)
}
