//! Rows of files, each as one JSON object.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use arrow::json::WriterBuilder;
use arrow::json::writer::LineDelimited;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{InputFormat, Row};
use crate::archive::{ArchiveError, unreadable};

const BATCH_ROWS: usize = 1024;
/// Most bytes of a line, its end included: more is no line, but a file of another kind.
const LINE_BYTES_MAX: usize = 64 << 20;
/// So much of a longer one is shown.
const LINE_BYTES_SHOWN: usize = 1024;

/// Hands over the rows of a file, with their lines; `each` says whether to go on. Whether it came to the end.
pub(super) fn read(
    path: &Path,
    format: InputFormat,
    each: &mut dyn FnMut(u64, Row<'_>) -> Result<bool, ArchiveError>,
) -> Result<bool, ArchiveError> {
    match format {
        InputFormat::Jsonl => lines(path, each),
        InputFormat::Csv => csv(path, each),
        InputFormat::Parquet => parquet(path, each),
    }
}

fn lines(
    path: &Path,
    each: &mut dyn FnMut(u64, Row<'_>) -> Result<bool, ArchiveError>,
) -> Result<bool, ArchiveError> {
    let file = File::open(path).map_err(|error| unreadable(path, error))?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let (mut line, mut number) = (Vec::new(), 0);
    loop {
        line.clear();
        let mut bounded = reader.by_ref().take(LINE_BYTES_MAX as u64 + 1);
        if bounded.read_until(b'\n', &mut line).map_err(|error| unreadable(path, error))? == 0 {
            return Ok(true);
        }
        number += 1;
        if line.len() > LINE_BYTES_MAX {
            if !line.ends_with(b"\n") {
                reader.skip_until(b'\n').map_err(|error| unreadable(path, error))?;
            }
            let reason = format!(
                "it is longer than {} MiB (its first {LINE_BYTES_SHOWN} bytes are shown)",
                LINE_BYTES_MAX >> 20
            );
            if !each(number, Row::Bad { raw: &line[..LINE_BYTES_SHOWN], reason })? {
                return Ok(false);
            }
            continue;
        }
        let row = line.strip_suffix(b"\n").unwrap_or(&line);
        let row = row.strip_suffix(b"\r").unwrap_or(row);
        if !row.trim_ascii().is_empty() && !each(number, Row::Good(row))? {
            return Ok(false);
        }
    }
}

/// What all values of a column can be read as. The order is from the strictest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Bool,
    Number,
    Text,
}

impl Kind {
    fn of(cell: &str) -> Kind {
        // As JSON has numbers: 007 and +1 are texts, and stay what they are.
        let is_number = || cell.trim() == cell && serde_json::from_str::<serde_json::Number>(cell).is_ok();
        match cell {
            "true" | "false" => Kind::Bool,
            _ if is_number() => Kind::Number,
            _ => Kind::Text,
        }
    }
}

/// Twice through the file: a column is of numbers, or of true and false, only if all its values are. What is empty is null.
fn csv(
    path: &Path,
    each: &mut dyn FnMut(u64, Row<'_>) -> Result<bool, ArchiveError>,
) -> Result<bool, ArchiveError> {
    let input = |error: csv::Error| ArchiveError::Input {
        path: path.display().to_string(),
        detail: format!("{error}; check that it is CSV with a line of names"),
    };
    let open = || csv::ReaderBuilder::new().flexible(true).from_path(path).map_err(input);
    let mut reader = open()?;
    let names: Vec<String> = reader.headers().map_err(input)?.iter().map(str::to_owned).collect();
    let mut kinds: Vec<Option<Kind>> = vec![None; names.len()];
    let mut record = csv::ByteRecord::new();
    while reader.read_byte_record(&mut record).map_err(input)? {
        for (kind, cell) in kinds.iter_mut().zip(&record) {
            if let Ok(cell) = std::str::from_utf8(cell)
                && !cell.is_empty()
            {
                let found = Kind::of(cell);
                *kind = Some(kind.map_or(found, |kind| if kind == found { kind } else { Kind::Text }));
            }
        }
    }
    let keys: Vec<String> =
        names.iter().map(|name| serde_json::Value::from(name.as_str()).to_string()).collect();

    let mut reader = open()?;
    let mut json = String::new();
    while reader.read_byte_record(&mut record).map_err(input)? {
        let line = record.position().map_or(0, csv::Position::line);
        let raw = || record.iter().collect::<Vec<_>>().join(&b","[..]);
        let bad = |reason: String| (raw(), reason);
        let made = if record.len() == names.len() {
            object(&record, &keys, &kinds, &mut json)
                .map_err(|column| bad(format!("its field {} is no UTF-8", names[column])))
        } else {
            Err(bad(format!("it has {} fields, and the line of names {}", record.len(), names.len())))
        };
        let go_on = match made {
            Ok(()) => each(line, Row::Good(json.as_bytes()))?,
            Err((raw, reason)) => each(line, Row::Bad { raw: &raw, reason })?,
        };
        if !go_on {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Writes a record as an object; the error is the column that can't be.
fn object(
    record: &csv::ByteRecord,
    keys: &[String],
    kinds: &[Option<Kind>],
    json: &mut String,
) -> Result<(), usize> {
    json.clear();
    json.push('{');
    for (column, (cell, (key, kind))) in record.iter().zip(keys.iter().zip(kinds)).enumerate() {
        let cell = std::str::from_utf8(cell).map_err(|_| column)?;
        if column > 0 {
            json.push(',');
        }
        json.push_str(key);
        json.push(':');
        match kind {
            _ if cell.is_empty() => json.push_str("null"),
            Some(Kind::Bool | Kind::Number) => json.push_str(cell),
            _ => json.push_str(&serde_json::Value::from(cell).to_string()),
        }
    }
    json.push('}');
    Ok(())
}

fn parquet(
    path: &Path,
    each: &mut dyn FnMut(u64, Row<'_>) -> Result<bool, ArchiveError>,
) -> Result<bool, ArchiveError> {
    let input = |error: &dyn std::fmt::Display| ArchiveError::Input {
        path: path.display().to_string(),
        detail: format!("{error}; check that it is a whole Parquet file"),
    };
    let file = File::open(path).map_err(|error| unreadable(path, error))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .and_then(|builder| builder.with_batch_size(BATCH_ROWS).build())
        .map_err(|error| input(&error))?;
    let mut number = 0;
    let mut json = Vec::new();
    for batch in reader {
        let batch = batch.map_err(|error| input(&error))?;
        json.clear();
        let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(&mut json);
        writer.write(&batch).and_then(|()| writer.finish()).map_err(|error| input(&error))?;
        drop(writer);
        for row in json.split(|byte| *byte == b'\n').filter(|row| !row.is_empty()) {
            number += 1;
            if !each(number, Row::Good(row))? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}
