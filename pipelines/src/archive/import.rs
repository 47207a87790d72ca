//! Files of events become an archive: all of them, or nothing.
//!
//! ```text
//!   events.jsonl  each line as it is      ─┐
//!   events.csv    a JSON object a record  ─┼─▶ key, timestamp, partition ─▶ .archive/staged/part-….parquet
//!   events.parquet  a JSON object a row   ─┘     of its fields                │ import.json: "these are to be published"
//!                                                └─▶ rejects file             ▼
//!                                                    or an error            <archive>/part-….parquet
//! ```
//!
//! The book decides: a crash before it leaves nothing but staged files, which the next import throws away; after it, the next import
//! publishes what is left. It also says which files were imported, so that the same command does not import them twice.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value as Json;
use thalweg_engine::control::Control;
use thalweg_kafka::partition_of;
use thalweg_operators::source::archive::{ArchiveOptions, ArchiveWriter};
use thalweg_schemas::decoder::PAYLOAD_BYTES_MAX;
use thalweg_schemas::time::parse_rfc3339;

use self::target::{Imported, Target};
use super::{ArchiveError, unwritable};

mod rows;
mod target;

pub(super) const BOOK: &str = "import.json";
/// So much is shown of a row that is too long.
const BYTES_SHOWN: usize = 1024;

/// How a file of events is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputFormat {
    /// A JSON object a line.
    Jsonl,
    /// Comma-separated values under a line of names.
    Csv,
    /// Parquet.
    Parquet,
}

/// What a number in the timestamp field counts, since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EpochUnit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Millis,
    /// Microseconds.
    Micros,
    /// Nanoseconds.
    Nanos,
}

/// What to import, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportOptions {
    /// The files, in the order of their events.
    pub files: Vec<PathBuf>,
    /// How they are written; `None`: as their names end.
    pub format: Option<InputFormat>,
    /// The archive's folder, which is made where there is none.
    pub folder: PathBuf,
    /// The field that is the key; `None`: no keys.
    pub key: Option<String>,
    /// The field that is the timestamp; `None`: no timestamps.
    pub timestamp: Option<String>,
    /// What it counts where it is a number.
    pub timestamp_unit: EpochUnit,
    /// The field whose hash says the partition; `None`: the key's, and in turns where there are no keys.
    pub partition_by: Option<String>,
    /// How many partitions to spread over.
    pub partitions: i32,
    /// Where bad rows go; `None`: the first is an error.
    pub rejects: Option<PathBuf>,
    /// Import files that were imported before once more.
    pub again: bool,
}

/// What an import came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ImportSummary {
    /// The archive.
    pub folder: String,
    /// Files read.
    pub inputs: usize,
    /// Records written.
    pub records: u64,
    /// Rows in the rejects file.
    pub rejected: u64,
    /// Files written.
    pub files: u64,
    /// Their size in bytes.
    pub file_bytes: u64,
    /// Whether it was stopped: then nothing was imported.
    pub stopped: bool,
}

/// Imports files. `advance` hears of rows as they are read.
///
/// # Errors
/// The first thing that went wrong; then nothing was imported.
pub fn import(
    options: &ImportOptions,
    control: &Control,
    advance: &dyn Fn(u64),
) -> Result<ImportSummary, ArchiveError> {
    let inputs = inputs(options)?;
    let target = Target::open(options)?;
    let fresh: Vec<Imported> =
        options.files.iter().map(|path| Imported::of(path)).collect::<Result<_, _>>()?;
    if let Some(before) = fresh.iter().find(|file| target.book.imported.contains(file) && !options.again) {
        return Err(ArchiveError::Option {
            option: "FILE",
            detail: format!(
                "{} was imported into {} before",
                before.path.display(),
                options.folder.display()
            ),
            hint: "leave it out, or import it once more with --again".to_owned(),
        });
    }
    let mut summary =
        ImportSummary { folder: options.folder.display().to_string(), ..ImportSummary::default() };
    let mut import = Import {
        options,
        writer: ArchiveWriter::new(
            target.staged(),
            ArchiveOptions { durable: true, ..ArchiveOptions::default() },
        )?,
        offsets: target.ends()?,
        rejects: None,
        turn: 0,
        rejected: 0,
    };
    for (path, format) in &inputs {
        let mut read = 0;
        let ended = rows::read(path, *format, &mut |line, row| {
            import.take(path, line, row)?;
            read += 1;
            if read % 1000 == 0 {
                advance(1000);
            }
            Ok(!control.stop_asked())
        })?;
        advance(read % 1000);
        if !ended {
            summary.stopped = true;
            return Ok(summary);
        }
        summary.inputs += 1;
    }
    summary.rejected = import.rejected;
    if let (Some(mut rejects), Some(path)) = (import.rejects, &options.rejects) {
        rejects.flush().map_err(|error| unwritable(path, error))?;
    }
    let written = import.writer.finish()?;
    (summary.records, summary.files, summary.file_bytes) =
        (written.records, written.files, written.file_bytes);
    target.publish(fresh)?;
    Ok(summary)
}

fn inputs(options: &ImportOptions) -> Result<Vec<(PathBuf, InputFormat)>, ArchiveError> {
    let of = |path: &PathBuf| {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        let by_name = match ending.as_deref() {
            Some("jsonl" | "ndjson" | "json") => Some(InputFormat::Jsonl),
            Some("csv") => Some(InputFormat::Csv),
            Some("parquet") => Some(InputFormat::Parquet),
            _ => None,
        };
        let format = options.format.or(by_name).ok_or_else(|| ArchiveError::Input {
            path: path.display().to_string(),
            detail: "its name does not say how it is written; name --input-format".to_owned(),
        })?;
        Ok((path.clone(), format))
    };
    options.files.iter().map(of).collect()
}

/// A row on its way: its JSON, or why it is none.
enum Row<'a> {
    Good(&'a [u8]),
    Bad { raw: &'a [u8], reason: String },
}

struct Import<'a> {
    options: &'a ImportOptions,
    writer: ArchiveWriter,
    /// The next offset of each partition.
    offsets: BTreeMap<i32, i64>,
    rejects: Option<io::BufWriter<File>>,
    /// Of rows without a key.
    turn: i32,
    rejected: u64,
}

/// What a row's fields say.
struct Fields {
    key: Option<Vec<u8>>,
    timestamp_ms: Option<i64>,
    partition: Option<i32>,
}

impl Import<'_> {
    fn take(&mut self, path: &Path, line: u64, row: Row<'_>) -> Result<(), ArchiveError> {
        let (value, fields) = match row {
            Row::Good(value) => match self.fields(value) {
                Ok(fields) => (value, fields),
                Err(reason) => return self.reject(path, line, value, reason),
            },
            Row::Bad { raw, reason } => return self.reject(path, line, raw, reason),
        };
        let partitions = self.options.partitions;
        let partition = fields.partition.unwrap_or_else(|| match &fields.key {
            Some(key) => partition_of(key, partitions),
            None => {
                self.turn = (self.turn + 1) % partitions;
                (self.turn + partitions - 1) % partitions
            }
        });
        let offset = self.offsets.entry(partition).or_default();
        let next = offset.checked_add(1).ok_or_else(|| ArchiveError::Folder {
            folder: self.options.folder.display().to_string(),
            detail: format!("has no offset left in partition {partition}"),
            hint: "import into another folder: give --topic another name",
        })?;
        self.writer.push(partition, *offset, fields.timestamp_ms, fields.key.as_deref(), Some(value), &[])?;
        *offset = next;
        Ok(())
    }

    fn fields(&self, value: &[u8]) -> Result<Fields, String> {
        let options = self.options;
        if value.len() > PAYLOAD_BYTES_MAX {
            return Err(rows::too_long());
        }
        let row: Json = serde_json::from_slice(value).map_err(|error| format!("it is no JSON: {error}"))?;
        if !row.is_object() {
            return Err("it is no JSON object".to_owned());
        }
        let key = options.key.as_ref().and_then(|name| bytes_of(field(&row, name)));
        let timestamp_ms = match &options.timestamp {
            Some(name) => Some(timestamp(name, field(&row, name), options.timestamp_unit)?),
            None => None,
        };
        let partition = match &options.partition_by {
            Some(name) => {
                let found = bytes_of(field(&row, name));
                let found =
                    found.ok_or_else(|| format!("it has no field {name}, which says its partition"))?;
                Some(partition_of(&found, options.partitions))
            }
            None => None,
        };
        Ok(Fields { key, timestamp_ms, partition })
    }

    fn reject(&mut self, path: &Path, line: u64, raw: &[u8], reason: String) -> Result<(), ArchiveError> {
        let Some(rejects_path) = &self.options.rejects else {
            return Err(ArchiveError::Row { path: path.display().to_string(), line, detail: reason });
        };
        let shown = if raw.len() > PAYLOAD_BYTES_MAX { &raw[..BYTES_SHOWN] } else { raw };
        let failed = |error| unwritable(rejects_path, error);
        let rejects = match &mut self.rejects {
            Some(rejects) => rejects,
            none => none.insert(io::BufWriter::new(File::create(rejects_path).map_err(failed)?)),
        };
        let row = serde_json::json!({
            "file": path.display().to_string(),
            "line": line,
            "reason": reason,
            "row": String::from_utf8_lossy(shown),
        });
        self.rejected += 1;
        writeln!(rejects, "{row}").map_err(failed)
    }
}

/// A field by its name, or by the path to it: `user.id`.
fn field<'a>(row: &'a Json, name: &str) -> &'a Json {
    match row.get(name) {
        Some(found) => found,
        None => name.split('.').fold(row, |at, part| at.get(part).unwrap_or(&Json::Null)),
    }
}

/// A text as it is, all else as JSON; `None`: null.
fn bytes_of(field: &Json) -> Option<Vec<u8>> {
    match field {
        Json::Null => None,
        Json::String(text) => Some(text.as_bytes().to_vec()),
        other => Some(other.to_string().into_bytes()),
    }
}

fn timestamp(name: &str, field: &Json, unit: EpochUnit) -> Result<i64, String> {
    let wrong = || format!("its field {name} is no timestamp: {field}; it has to be RFC 3339, or a number");
    let ms = match field {
        // A column of CSV in which one value is no number is one of texts.
        Json::String(text) if let Ok(number) = text.parse::<serde_json::Number>() => {
            return timestamp(name, &Json::Number(number), unit);
        }
        Json::String(text) => {
            // Parquet's timestamps without a zone are printed without one: they are taken as UTC.
            let parsed =
                parse_rfc3339(text.as_bytes()).or_else(|_| parse_rfc3339(format!("{text}Z").as_bytes()));
            Some(parsed.map_err(|_| wrong())?.div_euclid(1000))
        }
        Json::Number(number) => match (number.as_i64(), unit) {
            (Some(number), EpochUnit::Seconds) => number.checked_mul(1000),
            (Some(number), EpochUnit::Millis) => Some(number),
            (Some(number), EpochUnit::Micros) => Some(number.div_euclid(1000)),
            (Some(number), EpochUnit::Nanos) => Some(number.div_euclid(1_000_000)),
            (None, unit) => number.as_f64().map(|number| {
                let to_ms = match unit {
                    EpochUnit::Seconds => 1e3,
                    EpochUnit::Millis => 1.0,
                    EpochUnit::Micros => 1e-3,
                    EpochUnit::Nanos => 1e-6,
                };
                (number * to_ms).floor() as i64
            }),
        },
        _ => None,
    };
    ms.ok_or_else(wrong)
}

#[cfg(test)]
mod tests;
