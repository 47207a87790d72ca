//! Decoded columns beside an archive: a Parquet file for each of its files, so that a replay reads the columns that it needs and no JSON.
//!
//! ```text
//!   part-00003-….parquet                             offset, timestamp, key, headers, value: the truth
//!   _decoded/<fingerprint>/part-00003-….parquet      the schema's fields, the same rows in the same row groups
//! ```
//!
//! A fingerprint stands for the schema's [canonical](Schema::canonical) text and the decoder's version: what decides which row a payload
//! becomes. The footer says which file was decoded; where that is not the one beside it, or anything else does not fit, the columns are
//! left out and the payloads decoded.

mod raw;
mod verify;
mod write;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::ParquetMetaData;
use thalweg_engine::shard::hash_key;
use thalweg_schemas::{DECODER_VERSION, Schema};

use super::inspect::{ArchiveFile, is_sound};
use super::unreadable;
use crate::source::reader::SourceError;

pub use self::raw::RawRecords;
pub use self::verify::{Verified, schema_of, verify_decoded};
pub use self::write::{DecodeError, DecodeSummary, decode_file};

/// Where decoded columns lie, in the folder of the file that they belong to.
pub const DECODED_FOLDER: &str = "_decoded";
/// The column that says whether a payload could be decoded. A field can't have that name.
pub const IS_ROW: &str = "_decoded";

/// What the name of a file ends with until it is whole: where nobody decodes, it is what a crash has left.
pub const UNFINISHED: &str = ".unfinished";

/// Footer entries: the schema's canonical text, and which file was decoded.
const SCHEMA: &str = "thalweg.decoded.schema";
const OF: &str = "thalweg.decoded.of";

/// Which decoded columns a reader can use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodedColumns {
    /// The schema of the JSON payloads.
    pub schema: Arc<Schema>,
    /// The fields wanted, by index, in this order.
    pub fields: Vec<usize>,
}

/// The name of the folder for a schema's columns, 16 hexadecimal digits.
pub fn fingerprint(schema: &Schema) -> String {
    format!("{:016x}", hash_key(signed(schema).as_bytes()))
}

/// The schema's text with the decoder's version.
fn signed(schema: &Schema) -> String {
    format!("# decoder {DECODER_VERSION}\n{}", schema.canonical())
}

/// Where a file's decoded columns lie, if they are there.
pub fn decoded_path(file: &Path, fingerprint: &str) -> PathBuf {
    let folder = file.parent().unwrap_or(Path::new(""));
    folder.join(DECODED_FOLDER).join(fingerprint).join(file.file_name().unwrap_or_default())
}

/// The decoded columns of a file, whatever their schema: their paths, sorted.
pub fn decoded_of(file: &Path) -> Vec<PathBuf> {
    let folder = file.parent().unwrap_or(Path::new("")).join(DECODED_FOLDER);
    let Ok(fingerprints) = std::fs::read_dir(folder) else { return Vec::new() };
    let name = file.file_name().unwrap_or_default();
    let mut found: Vec<PathBuf> = fingerprints
        .filter_map(|entry| Some(entry.ok()?.path().join(name)))
        .filter(|path| path.is_file())
        .collect();
    found.sort();
    found
}

/// A file's decoded columns, their footer read.
#[derive(Debug, Clone)]
pub(super) struct DecodedFile {
    pub(super) path: PathBuf,
    pub(super) metadata: ArrowReaderMetadata,
    /// Positions among the file's root columns: [`IS_ROW`], then the fields wanted, in the order in which they are wanted.
    pub(super) roots: Vec<usize>,
    /// Their names.
    pub(super) names: Vec<String>,
}

impl DecodedFile {
    /// The decoded columns of `file`; `None`: there are none.
    ///
    /// # Errors
    /// Why they can't be used.
    pub(super) fn find(
        file: &ArchiveFile,
        wanted: &DecodedColumns,
        fingerprint: &str,
    ) -> Result<Option<DecodedFile>, String> {
        let path = decoded_path(&file.path, fingerprint);
        if !path.is_file() {
            return Ok(None);
        }
        let metadata = footer(&path)?;
        let parquet = metadata.metadata();
        if entry(parquet, SCHEMA) != Some(signed(&wanted.schema).as_str()) {
            return Err("it was decoded with another schema".to_owned());
        }
        if entry(parquet, OF) != Some(mark(file).as_str()) {
            return Err(format!("it was decoded from another file than {}", file.path.display()));
        }
        let rows =
            |of: &ParquetMetaData| of.row_groups().iter().map(|group| group.num_rows()).collect::<Vec<_>>();
        if rows(parquet) != rows(file.metadata.metadata()) {
            return Err("its row groups are not those of the file that was decoded".to_owned());
        }
        let columns = metadata.schema().fields();
        let position = |name: &str| columns.iter().position(|column| column.name() == name);
        let mut roots = vec![position(IS_ROW).ok_or_else(|| format!("it has no column {IS_ROW}"))?];
        let mut names = vec![IS_ROW.to_owned()];
        for field in wanted.fields.iter().map(|at| &wanted.schema.fields[*at]) {
            let at = position(&field.name).ok_or_else(|| format!("it has no column {}", field.name))?;
            if *columns[at].data_type() != field.field_type.arrow() {
                return Err(format!("its column {} is of type {}", field.name, columns[at].data_type()));
            }
            roots.push(at);
            names.push(field.name.clone());
        }
        Ok(Some(DecodedFile { path, metadata, roots, names }))
    }

    /// The file is not what its footer says.
    pub(super) fn damaged(&self, cause: &dyn std::fmt::Display) -> SourceError {
        let text = format!(
            "the decoded columns are damaged or cut short: {cause}; remove this file, or the folder {DECODED_FOLDER}: they can be made \
             again (thalweg archive decode)"
        );
        unreadable(&self.path, std::io::Error::new(std::io::ErrorKind::InvalidData, text))
    }
}

fn footer(path: &Path) -> Result<ArrowReaderMetadata, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let metadata =
        ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).map_err(|error| error.to_string())?;
    if !is_sound(metadata.metadata()) {
        return Err("a column lies before the file's beginning".to_owned());
    }
    Ok(metadata)
}

fn entry<'a>(metadata: &'a ParquetMetaData, key: &str) -> Option<&'a str> {
    let entries = metadata.file_metadata().key_value_metadata()?;
    entries.iter().find(|entry| entry.key == key)?.value.as_deref()
}

/// What tells a file of an archive from any other that might take its place: its size, where its pages lie and how large they are, and
/// where there is one the hash of its rows. Files that others have written have none: of these the time of writing counts.
fn mark(file: &ArchiveFile) -> String {
    let mut text = match file.rows_hash() {
        Some(hash) => format!("{} {hash}", file.bytes),
        None => format!("{} {:?}", file.bytes, file.modified),
    };
    for group in file.metadata.metadata().row_groups() {
        for column in group.columns() {
            text.push_str(&format!(" {} {}", column.data_page_offset(), column.compressed_size()));
        }
    }
    format!("{:016x}", hash_key(text.as_bytes()))
}
