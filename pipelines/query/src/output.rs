//! Results as text: a table for people, JSON lines and CSV for programs.
//!
//! | | table | json | csv |
//! |---|---|---|---|
//! | timestamp | `2026-01-15 10:00:00.5`, in UTC; another zone with its offset | RFC 3339 | RFC 3339 |
//! | float | six digits, and cents | all digits | all digits |
//! | null | `null` | `null` | empty |
//! | bytes | as text where they are text, else `\xc0ff` | hexadecimal | hexadecimal |
//! | list, struct | as Arrow shows them | JSON | JSON |

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use arrow::json::writer::LineDelimited;

use crate::QueryError;
use crate::session::QueryResult;

mod cells;
mod layout;

/// How a result is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// Columns under their names, for reading.
    #[default]
    Table,
    /// A JSON object a line.
    Json,
    /// Comma-separated values, the first line being the columns' names.
    Csv,
}

/// The columns of the terminal that standard output is; `None` where it is none.
pub fn terminal_width() -> Option<usize> {
    let terminal = std::io::stdout().is_terminal();
    let size = terminal.then(terminal_size::terminal_size).flatten();
    size.map(|(width, _)| usize::from(width.0))
}

/// Writes `result`. `width`: columns that a table may take; what is wider is shortened, and says so. `None`: any.
///
/// # Errors
/// `out` can't be written, or the format has no way to show a column.
pub fn write(
    result: &QueryResult,
    format: Format,
    width: Option<usize>,
    out: &mut dyn Write,
) -> Result<(), QueryError> {
    match format {
        Format::Table => layout::write(result, width, out),
        Format::Json => result.batches.iter().try_for_each(|batch| write_json(batch, out)),
        Format::Csv => {
            write_csv_header(&result.schema, out)?;
            result.batches.iter().try_for_each(|batch| write_csv(batch, out))
        }
    }
}

/// Writes rows as JSON lines.
///
/// # Errors
/// As [`write`].
pub(crate) fn write_json(batch: &RecordBatch, out: &mut dyn Write) -> Result<(), QueryError> {
    Ok(out.write_all(&json_lines(batch).map_err(|error| format_error("JSON", &error))?)?)
}

fn json_lines(batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut lines = Vec::new();
    let mut writer =
        arrow::json::WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(&mut lines);
    writer.write(batch)?;
    writer.finish()?;
    drop(writer);
    Ok(lines)
}

/// Writes the columns' names as the first line of CSV.
///
/// # Errors
/// As [`write`].
pub(crate) fn write_csv_header(schema: &Schema, out: &mut dyn Write) -> Result<(), QueryError> {
    // As strings, which CSV always has a way to show.
    let fields: Vec<Field> =
        schema.fields().iter().map(|field| Field::new(field.name(), DataType::Utf8, true)).collect();
    let empty = RecordBatch::new_empty(Arc::new(Schema::new(fields)));
    csv(&empty, true, out)
}

/// Writes rows as CSV, without a header.
///
/// # Errors
/// As [`write`].
pub(crate) fn write_csv(batch: &RecordBatch, out: &mut dyn Write) -> Result<(), QueryError> {
    let flat = flat(batch).map_err(|error| format_error("CSV", &error))?;
    csv(&flat, false, out)
}

fn csv(batch: &RecordBatch, header: bool, out: &mut dyn Write) -> Result<(), QueryError> {
    let mut lines = Vec::new();
    let mut writer = arrow::csv::WriterBuilder::new().with_header(header).build(&mut lines);
    writer.write(batch).map_err(|error| format_error("CSV", &error))?;
    drop(writer);
    Ok(out.write_all(&lines)?)
}

fn format_error(format: &'static str, error: &ArrowError) -> QueryError {
    QueryError::Format { format, detail: error.to_string() }
}

// CSV has no lists: they become JSON.
fn flat(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema();
    if !schema.fields().iter().any(|field| field.data_type().is_nested()) {
        return Ok(batch.clone());
    }
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
        if !field.data_type().is_nested() {
            return Ok((Arc::clone(field), Arc::clone(column)));
        }
        let column: ArrayRef = Arc::new(json_values(column)?);
        Ok((Arc::new(Field::new(field.name(), DataType::Utf8, true)), column))
    });
    let (fields, columns): (Vec<_>, Vec<_>) =
        columns.collect::<Result<Vec<_>, ArrowError>>()?.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

// Each value as JSON: that of a row with this one column, without the braces and the name.
fn json_values(column: &ArrayRef) -> Result<StringArray, ArrowError> {
    let lines = json_lines(&RecordBatch::try_from_iter([("v", Arc::clone(column))])?)?;
    let lines = String::from_utf8(lines).map_err(|error| ArrowError::JsonError(error.to_string()))?;
    let values = lines.lines().map(|line| {
        let value = line.strip_prefix("{\"v\":").and_then(|line| line.strip_suffix('}'));
        value.filter(|value| *value != "null")
    });
    Ok(values.collect())
}
