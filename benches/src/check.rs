//! Whether a measured job was right: its windows, and what they add up to.

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use arrow::array::{AsArray, BooleanArray};
use arrow::compute::{cast, filter_record_batch, sum};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType};
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
    read_of(folder, None)
}

/// The same, of windows whose last moment lies in a period only, microseconds since the epoch.
///
/// # Errors
/// When a file can't be read.
pub(crate) fn read_of(folder: &Path, period: Option<Range<i64>>) -> anyhow::Result<Outcome> {
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
                    let mut batch = batch?;
                    if let Some(period) = &period {
                        let ends = batch["window_end"].as_primitive::<TimestampMicrosecondType>();
                        let inside: BooleanArray =
                            ends.iter().map(|end| end.map(|end| period.contains(&(end - 1)))).collect();
                        batch = filter_record_batch(&batch, &inside)?;
                    }
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
