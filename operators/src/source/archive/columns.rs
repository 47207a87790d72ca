//! An archive's columns as other tools may have typed them, brought to the few types that the reader loops over. Columns of
//! our own files pass through untouched.

use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int32Array, Int64Array, StringArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimeUnit};
use arrow::record_batch::RecordBatch;

use super::inspect::ArchiveFile;
use super::{damaged, not_an_archive};
use crate::source::reader::{Header, SourceError};

/// A batch of one file without its values.
#[derive(Debug)]
pub(super) struct Columns {
    /// Only of files that hold several partitions.
    pub(super) partitions: Option<Int32Array>,
    pub(super) offsets: Int64Array,
    pub(super) timestamps: Option<Timestamps>,
    pub(super) keys: Option<BinaryArray>,
    pub(super) headers: Option<Headers>,
}

/// Timestamps in their file's unit.
#[derive(Debug, Clone)]
pub struct Timestamps {
    numbers: Int64Array,
    unit: TimeUnit,
}

/// Headers of a batch's rows: row r's are the entries `lists[r]..lists[r + 1]`.
#[derive(Debug, Clone)]
pub struct Headers {
    lists: OffsetBuffer<i32>,
    nulls: Option<NullBuffer>,
    names: StringArray,
    values: BinaryArray,
}

/// Refuses a file whose columns have types that can't be meant.
pub(super) fn check_types(file: &ArchiveFile) -> Result<(), SourceError> {
    let schema = file.metadata.schema();
    let check = |at: usize, good: fn(&DataType) -> bool, wanted: &str| {
        let field = schema.field(at);
        if good(field.data_type()) {
            return Ok(());
        }
        let detail = format!("its column {} is of type {}, not {wanted}", field.name(), field.data_type());
        Err(not_an_archive(&file.path, detail))
    };
    let bytes: fn(&DataType) -> bool =
        |of| matches!(of, DataType::Binary | DataType::Utf8 | DataType::FixedSizeBinary(_));
    check(file.partition, DataType::is_integer, "an integer")?;
    check(file.offset, DataType::is_integer, "an integer")?;
    check(file.value, bytes, "binary or text")?;
    if let Some(at) = file.key {
        check(at, bytes, "binary or text")?;
    }
    if let Some(at) = file.timestamp {
        check(at, |of| matches!(of, DataType::Timestamp(_, _) | DataType::Int64), "a timestamp")?;
    }
    if let Some(at) = file.headers {
        check(at, is_headers, "a list of structs of key (text) and value (binary or text)")?;
    }
    Ok(())
}

fn is_headers(of: &DataType) -> bool {
    let (DataType::List(entry) | DataType::Map(entry, _)) = of else { return false };
    let DataType::Struct(fields) = entry.data_type() else { return false };
    let typed =
        |at: usize, types: &[DataType]| fields.get(at).is_some_and(|field| types.contains(field.data_type()));
    fields.len() == 2 && typed(0, &[DataType::Utf8]) && typed(1, &[DataType::Binary, DataType::Utf8])
}

impl Columns {
    /// Takes the columns that were decoded out of a batch.
    pub(super) fn of(file: &ArchiveFile, batch: &RecordBatch, mixed: bool) -> Result<Columns, SourceError> {
        let path = &file.path;
        let bytes = |name: &str| batch.column_by_name(name).map(|column| to_binary(path, column)).transpose();
        Ok(Columns {
            partitions: if mixed { Some(partitions(path, batch)?) } else { None },
            offsets: offsets(path, batch)?,
            timestamps: Timestamps::in_batch(file, batch)?,
            keys: bytes("key")?,
            headers: batch.column_by_name("headers").map(|column| Headers::of(path, column)).transpose()?,
        })
    }
}

/// The values of a batch.
pub(super) fn values(file: &ArchiveFile, batch: &RecordBatch) -> Result<BinaryArray, SourceError> {
    let missing = || damaged(&file.path, &"the column value was not decoded");
    to_binary(&file.path, batch.column_by_name("value").ok_or_else(missing)?)
}

impl Timestamps {
    /// Those of some rows in a row.
    pub(super) fn slice(&self, first: usize, rows: usize) -> Timestamps {
        Timestamps { numbers: self.numbers.slice(first, rows), unit: self.unit }
    }

    /// Those of a batch; `None`: it has none.
    pub(super) fn in_batch(
        file: &ArchiveFile,
        batch: &RecordBatch,
    ) -> Result<Option<Timestamps>, SourceError> {
        let Some(column) = batch.column_by_name("timestamp") else { return Ok(None) };
        let numbers = cast(&file.path, column, &DataType::Int64)?.as_primitive::<Int64Type>().clone();
        Ok(Some(Timestamps { numbers, unit: file.timestamp_unit }))
    }

    /// A row's timestamp in microseconds, finer ones floored.
    #[inline]
    pub(in crate::source) fn micros(&self, row: usize) -> Option<i64> {
        if self.numbers.is_null(row) {
            return None;
        }
        Some(micros(self.numbers.value(row), &self.unit))
    }
}

/// A timestamp in microseconds, finer ones floored.
pub(super) fn micros(number: i64, unit: &TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => number.saturating_mul(1_000_000),
        TimeUnit::Millisecond => number.saturating_mul(1_000),
        TimeUnit::Microsecond => number,
        TimeUnit::Nanosecond => number.div_euclid(1_000),
    }
}

impl Headers {
    /// Those of some rows in a row.
    pub(super) fn slice(&self, first: usize, rows: usize) -> Headers {
        Headers {
            lists: self.lists.slice(first, rows),
            nulls: self.nulls.as_ref().map(|nulls| nulls.slice(first, rows)),
            names: self.names.clone(),
            values: self.values.clone(),
        }
    }

    fn of(path: &Path, column: &ArrayRef) -> Result<Headers, SourceError> {
        let (lists, entries): (_, StructArray) = match column.data_type() {
            DataType::Map(_, _) => (column.as_map().offsets().clone(), column.as_map().entries().clone()),
            _ => {
                let list = column.as_list::<i32>();
                (list.offsets().clone(), list.values().as_struct().clone())
            }
        };
        Ok(Headers {
            lists,
            nulls: column.nulls().cloned(),
            names: entries.column(0).as_string::<i32>().clone(),
            values: to_binary(path, entries.column(1))?,
        })
    }

    /// Puts a row's headers into `into`, which is emptied first.
    pub(in crate::source) fn collect<'a>(&'a self, row: usize, into: &mut Vec<Header<'a>>) {
        into.clear();
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return;
        }
        for entry in self.lists[row] as usize..self.lists[row + 1] as usize {
            let value = self.values.is_valid(entry).then(|| self.values.value(entry));
            into.push((self.names.value(entry), value));
        }
    }
}

/// The column `partition`, without nulls.
pub(super) fn partitions(path: &Path, batch: &RecordBatch) -> Result<Int32Array, SourceError> {
    let column = whole(path, batch, "partition")?;
    Ok(cast(path, column, &DataType::Int32)?.as_primitive::<Int32Type>().clone())
}

/// The column `offset`, without nulls.
pub(super) fn offsets(path: &Path, batch: &RecordBatch) -> Result<Int64Array, SourceError> {
    let column = whole(path, batch, "offset")?;
    Ok(cast(path, column, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

fn whole<'a>(path: &Path, batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, SourceError> {
    let column = batch
        .column_by_name(name)
        .ok_or_else(|| damaged(path, &format!("the column {name} was not decoded")))?;
    if column.null_count() > 0 {
        return Err(not_an_archive(path, format!("its column {name} holds {} nulls", column.null_count())));
    }
    Ok(column)
}

fn to_binary(path: &Path, column: &ArrayRef) -> Result<BinaryArray, SourceError> {
    Ok(match column.data_type() {
        DataType::Binary => column.as_binary::<i32>().clone(),
        DataType::Utf8 => BinaryArray::from(column.as_string::<i32>().clone()),
        _ => cast(path, column, &DataType::Binary)?.as_binary::<i32>().clone(),
    })
}

fn cast(path: &Path, column: &ArrayRef, to: &DataType) -> Result<ArrayRef, SourceError> {
    if column.data_type() == to {
        return Ok(column.clone());
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(column, to, &options).map_err(|error| not_an_archive(path, error.to_string()))
}
