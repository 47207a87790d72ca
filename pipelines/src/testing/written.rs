//! What a job's sinks have published, read back as anyone would who reads the folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::datatypes::{DataType, SchemaRef};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::TestError;
use super::values::{Row, Value, scalar, value_at};

/// What a null becomes as a folder's name.
const HIVE_NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// The folder of a sink, and what of it was read.
#[derive(Debug, Default)]
pub(super) struct Written {
    seen: BTreeSet<PathBuf>,
    /// Rows of all files so far.
    pub(super) rows_total: u64,
}

impl Written {
    /// The rows of files that were published since the last call. `columns`: the types of columns that may have become folders.
    pub(super) fn new_rows(&mut self, folder: &Path, columns: &SchemaRef) -> Result<Vec<Row>, TestError> {
        let mut files = Vec::new();
        list(folder, &mut files).map_err(|error| unreadable(folder, &error))?;
        let mut rows = Vec::new();
        for file in files {
            if self.seen.insert(file.clone()) {
                read(&file, folder, columns, &mut rows)?;
            }
        }
        self.rows_total += rows.len() as u64;
        Ok(rows)
    }
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> TestError {
    TestError::Unreadable { path: path.display().to_string(), detail: error.to_string() }
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            list(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

fn read(path: &Path, root: &Path, columns: &SchemaRef, rows: &mut Vec<Row>) -> Result<(), TestError> {
    let failed = |error: &dyn std::fmt::Display| unreadable(path, error);
    let file = File::open(path).map_err(|error| failed(&error))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|builder| builder.build());
    let folders = path.strip_prefix(root).ok().and_then(Path::parent).unwrap_or(Path::new(""));
    let hive = folders.iter().map(|folder| hive_column(&folder.to_string_lossy(), columns));
    let hive: BTreeMap<String, Value> =
        hive.collect::<Option<_>>().ok_or_else(|| failed(&"its folder's name is no column=value"))?;
    for batch in reader.map_err(|error| failed(&error))? {
        let batch = batch.map_err(|error| failed(&error))?;
        for at in 0..batch.num_rows() {
            let fields = batch.schema_ref().fields().iter().zip(batch.columns());
            let mut row = hive.clone();
            row.extend(fields.map(|(field, column)| (field.name().clone(), value_at(column, at))));
            rows.push(row);
        }
    }
    Ok(())
}

/// `column=value`, percent-decoded.
fn hive_column(folder: &str, columns: &SchemaRef) -> Option<(String, Value)> {
    let (name, value) = folder.split_once('=')?;
    if value == HIVE_NULL {
        return Some((name.to_owned(), Value::Null));
    }
    let mut bytes = Vec::new();
    let mut parts = value.split('%');
    bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let code = part.get(..2).and_then(|code| u8::from_str_radix(code, 16).ok())?;
        bytes.push(code);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    let text = String::from_utf8(bytes).ok()?;
    let data_type = columns.field_with_name(name).map_or(&DataType::Utf8, |field| field.data_type());
    let value = scalar(&text, data_type).unwrap_or(Value::Text(text));
    Some((name.to_owned(), value))
}
