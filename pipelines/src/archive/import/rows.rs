//! Rows of files, each as one JSON object.
//!
//! A row takes as many bytes as a payload may have, and no more are held of it, whatever a file is: of one without an end of a line,
//! the rest is passed over; of CSV in which a quote stays open, nobody knows where the next row begins, and it is refused.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use arrow::json::WriterBuilder;
use arrow::json::writer::LineDelimited;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use thalweg_schemas::decoder::PAYLOAD_BYTES_MAX;

use super::{InputFormat, Row};
use crate::archive::{ArchiveError, unreadable};

const BATCH_ROWS: usize = 1024;
/// Bytes of the end of a line.
const LINE_END_BYTES: usize = 2;

/// Why a row is bad that no job could read.
pub(super) fn too_long() -> String {
    format!("it is longer than {} MiB, and so than a payload may be", PAYLOAD_BYTES_MAX >> 20)
}

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
        let mut bounded = reader.by_ref().take((PAYLOAD_BYTES_MAX + LINE_END_BYTES) as u64);
        if bounded.read_until(b'\n', &mut line).map_err(|error| unreadable(path, error))? == 0 {
            return Ok(true);
        }
        number += 1;
        let row = line.strip_suffix(b"\n").unwrap_or(&line);
        let row = row.strip_suffix(b"\r").unwrap_or(row);
        if row.len() > PAYLOAD_BYTES_MAX {
            if !each(number, Row::Bad { raw: row, reason: too_long() })? {
                return Ok(false);
            }
            if !line.ends_with(b"\n") {
                reader.skip_until(b'\n').map_err(|error| unreadable(path, error))?;
            }
            continue;
        }
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

/// A file of which only so much is read: where a quote stays open, all that follows is one record.
struct Bounded {
    file: File,
    read: u64,
    read_max: u64,
    exceeded: bool,
}

impl Read for Bounded {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.read >= self.read_max {
            self.exceeded = true;
            return Err(io::Error::other("a record is too long"));
        }
        let read = self.file.read(into)?;
        self.read += read as u64;
        Ok(read)
    }
}

/// The records of a file of CSV, behind its line of names.
struct CsvFile<'a> {
    path: &'a Path,
    reader: csv::Reader<Bounded>,
    names: Vec<String>,
}

impl CsvFile<'_> {
    fn open(path: &Path) -> Result<CsvFile<'_>, ArchiveError> {
        let file = File::open(path).map_err(|error| unreadable(path, error))?;
        let bounded = Bounded { file, read: 0, read_max: PAYLOAD_BYTES_MAX as u64, exceeded: false };
        let reader = csv::ReaderBuilder::new().flexible(true).from_reader(bounded);
        let mut opened = CsvFile { path, reader, names: Vec::new() };
        let names = opened.reader.headers().map(|names| names.iter().map(str::to_owned).collect());
        opened.names = names.map_err(|error| opened.told(&error, 1))?;
        Ok(opened)
    }

    /// Whether there is another record.
    fn next(&mut self, record: &mut csv::ByteRecord) -> Result<bool, ArchiveError> {
        let (begin, line) = (self.reader.position().byte(), self.reader.position().line());
        self.reader.get_mut().read_max = begin + PAYLOAD_BYTES_MAX as u64;
        self.reader.read_byte_record(record).map_err(|error| self.told(&error, line))
    }

    fn told(&self, error: &csv::Error, line: u64) -> ArchiveError {
        let detail = if self.reader.get_ref().exceeded {
            format!(
                "line {line}: what begins there has no end within {} MiB; close the quote that is open, or take the row out",
                PAYLOAD_BYTES_MAX >> 20
            )
        } else {
            format!("{error}; check that it is CSV with a line of names")
        };
        ArchiveError::Input { path: self.path.display().to_string(), detail }
    }
}

/// Twice through the file: a column is of numbers, or of true and false, only if all its values are. What is empty is null.
fn csv(
    path: &Path,
    each: &mut dyn FnMut(u64, Row<'_>) -> Result<bool, ArchiveError>,
) -> Result<bool, ArchiveError> {
    let mut file = CsvFile::open(path)?;
    let mut kinds: Vec<Option<Kind>> = vec![None; file.names.len()];
    let mut record = csv::ByteRecord::new();
    while file.next(&mut record)? {
        for (kind, cell) in kinds.iter_mut().zip(&record) {
            if let Ok(cell) = std::str::from_utf8(cell)
                && !cell.is_empty()
            {
                let found = Kind::of(cell);
                *kind = Some(kind.map_or(found, |kind| if kind == found { kind } else { Kind::Text }));
            }
        }
    }
    file = CsvFile::open(path)?;
    let names = file.names.clone();
    let keys: Vec<String> =
        names.iter().map(|name| serde_json::Value::from(name.as_str()).to_string()).collect();
    let mut json = String::new();
    while file.next(&mut record)? {
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
