//! Whether a measured job was right: its windows, and what they add up to.

use std::fs::File;
use std::path::Path;

use arrow::array::AsArray;
use arrow::compute::{cast, sum};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// What a result amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Windows.
    pub windows: u64,
    /// Events in them.
    pub requests: i64,
    /// Their cost, cents: coarse enough that sums of floats agree.
    pub cents: i64,
}

/// Reads a result, all Parquet files in a folder and below; those of late and rejected rows left out.
///
/// # Errors
/// When a file can't be read.
pub(crate) fn read(folder: &Path) -> anyhow::Result<Outcome> {
    let (mut windows, mut requests, mut dollars) = (0, 0, 0.0);
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let standing = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('_'));
            if path.is_dir() && !standing {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "parquet") {
                for batch in ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?.build()? {
                    let batch = batch?;
                    let costs = cast(&batch["cost_usd"], &DataType::Float64)?;
                    windows += batch.num_rows() as u64;
                    requests += sum(batch["requests"].as_primitive::<Int64Type>()).unwrap_or(0);
                    dollars += sum(costs.as_primitive::<Float64Type>()).unwrap_or(0.0);
                }
            }
        }
    }
    Ok(Outcome { windows, requests, cents: (dollars * 100.0).round() as i64 })
}
