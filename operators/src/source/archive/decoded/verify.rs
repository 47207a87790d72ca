//! Whether decoded columns are still what the payloads beside them decode to.

use std::fs::File;
use std::path::Path;

use arrow::array::{Array, BooleanArray, RecordBatch};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use thalweg_schemas::{Decoder, Format, Schema};

use super::super::columns::values;
use super::super::damaged;
use super::super::inspect::ArchiveFile;
use super::write::{columns_of, decoded, payloads};
use super::{DecodedColumns, DecodedFile, SCHEMA, decoded_path, entry, fingerprint, footer};
use crate::source::reader::SourceError;

/// What came of a comparison that has found nothing wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verified {
    /// Every row was compared.
    Compared,
    /// No reader uses these columns: they are of another decoder, or their file is read record by record.
    Unused,
    /// It was stopped in between.
    Stopped,
}

/// Decodes a file's payloads again, and compares.
///
/// # Errors
/// What is wrong with the columns, or with the file.
pub fn verify_decoded(
    path: &Path,
    decoded_file: &Path,
    stopped: &dyn Fn() -> bool,
) -> Result<Verified, String> {
    let schema = schema_of(decoded_file)?;
    let print = fingerprint(&schema);
    if decoded_path(path, &print) != decoded_file {
        return Ok(Verified::Unused);
    }
    let told = |error: SourceError| error.to_string();
    let file = ArchiveFile::open(path).map_err(told)?;
    let fields: Vec<usize> = (0..schema.fields.len()).collect();
    let wanted = DecodedColumns { schema: schema.into(), fields };
    let Some(found) = DecodedFile::find(&file, &wanted, &print)? else { return Ok(Verified::Unused) };
    let arrow_schema = columns_of(&wanted.schema);
    let mut decoder = Decoder::new(Format::Json, &wanted.schema, &wanted.fields);
    let mut rows = 0;
    for group in 0..file.metadata.metadata().num_row_groups() {
        let opened = File::open(&found.path).map_err(|error| error.to_string())?;
        let mut kept = ParquetRecordBatchReaderBuilder::new_with_metadata(opened, found.metadata.clone())
            .with_row_groups(vec![group])
            .with_batch_size(file.batch_rows(group))
            .build()
            .map_err(|error| found.damaged(&error).to_string())?;
        for batch in payloads(&file, group).map_err(told)? {
            if stopped() {
                return Ok(Verified::Stopped);
            }
            let batch = batch.map_err(|error| damaged(path, &error).to_string())?;
            let values = values(&file, &batch).map_err(told)?;
            let is_row: BooleanArray = (0..values.len())
                .map(|row| Some(decoder.push(values.is_valid(row).then(|| values.value(row))).is_ok()))
                .collect();
            let again = decoded(&mut decoder, is_row, &arrow_schema).map_err(|error| error.to_string())?;
            let kept = kept.next().transpose().map_err(|error| found.damaged(&error).to_string())?;
            let same = |kept: &RecordBatch| kept.columns() == again.columns();
            if !kept.as_ref().is_some_and(same) {
                let cause = format!(
                    "among rows {rows} to {} they are not what the payloads say",
                    rows + values.len()
                );
                return Err(found.damaged(&cause).to_string());
            }
            rows += values.len();
        }
    }
    Ok(Verified::Compared)
}

/// The schema that a file of decoded columns was decoded with.
///
/// # Errors
/// What is wrong with the file.
pub fn schema_of(path: &Path) -> Result<Schema, String> {
    let metadata = footer(path)?;
    let signed =
        entry(metadata.metadata(), SCHEMA).ok_or("it does not say which schema it was decoded with")?;
    Schema::from_yaml(signed, "decoded.yaml")
        .map_err(|errors| format!("its schema can't be read: {}", errors[0]))
}
