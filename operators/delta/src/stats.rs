//! What a file's footer says of its columns, as Delta keeps it in its log, so that readers can leave out files unopened.
//!
//! Only what is certain: no bounds for floats (a footer does not say whether there was a NaN) nor for lists; decimals with all
//! their digits; timestamps in milliseconds, as the protocol has them, rounded outwards.
//! See <https://github.com/delta-io/delta/blob/master/PROTOCOL.md#per-file-statistics>.

use std::fs::File;

use arrow::temporal_conversions::{date32_to_datetime, timestamp_us_to_datetime};
use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnDescriptor;

/// So many columns, the first ones, are described: what Delta's readers look at by default.
const COLUMNS_MAX: usize = 32;

/// A file's rows, and its statistics as JSON.
///
/// # Errors
/// It is no complete Parquet file.
pub(crate) fn of_file(file: &File) -> Result<(u64, String), ParquetError> {
    let metadata = ParquetMetaDataReader::new().parse_and_finish(file)?;
    Ok((metadata.file_metadata().num_rows() as u64, to_json(&metadata)))
}

fn to_json(metadata: &ParquetMetaData) -> String {
    let (mut min, mut max, mut nulls) = (Vec::new(), Vec::new(), Vec::new());
    let schema = metadata.file_metadata().schema_descr();
    let columns = schema.columns().iter().enumerate();
    for (index, column) in columns.filter(|(_, column)| column.path().parts().len() == 1).take(COLUMNS_MAX) {
        let Some(bounds) = Bounds::of(metadata.row_groups(), index, Kind::of(column)) else { continue };
        let name = quoted(column.name());
        nulls.push(format!("{name}:{}", bounds.nulls));
        // One without the other helps nobody.
        if let (Some(least), Some(most)) = (bounds.min, bounds.max) {
            min.push(format!("{name}:{least}"));
            max.push(format!("{name}:{most}"));
        }
    }
    format!(
        "{{\"numRecords\":{},\"minValues\":{{{}}},\"maxValues\":{{{}}},\"nullCount\":{{{}}}}}",
        metadata.file_metadata().num_rows(),
        min.join(","),
        max.join(","),
        nulls.join(",")
    )
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// How a column's bounds are compared and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Integer,
    Decimal {
        scale: usize,
    },
    Date,
    /// Microseconds.
    Timestamp,
    Text,
    /// Without bounds.
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Number(i128),
    Text(String),
}

struct Bounds {
    /// As JSON.
    min: Option<String>,
    max: Option<String>,
    nulls: u64,
}

impl Kind {
    fn of(column: &ColumnDescriptor) -> Kind {
        let is_number = matches!(column.physical_type(), Type::INT32 | Type::INT64);
        match (column.logical_type_ref(), column.converted_type()) {
            (Some(LogicalType::Decimal(decimal)), _) => {
                usize::try_from(decimal.scale).map_or(Kind::Other, |scale| Kind::Decimal { scale })
            }
            (Some(LogicalType::Date), _) => Kind::Date,
            (Some(LogicalType::Timestamp(timestamp)), _) if timestamp.unit == TimeUnit::MICROS => {
                Kind::Timestamp
            }
            (Some(LogicalType::String), _) => Kind::Text,
            (Some(LogicalType::Integer(integer)), _) if integer.is_signed => Kind::Integer,
            (None, ConvertedType::NONE) if is_number => Kind::Integer,
            _ => Kind::Other,
        }
    }

    fn value(self, bytes: &[u8], statistics: &Statistics) -> Option<Value> {
        match (self, statistics) {
            (Kind::Other, _) => None,
            (Kind::Text, Statistics::ByteArray(_)) => String::from_utf8(bytes.to_vec()).ok().map(Value::Text),
            (Kind::Text, _) => None,
            (_, Statistics::Int32(_)) => {
                Some(Value::Number(i32::from_le_bytes(bytes.try_into().ok()?).into()))
            }
            (_, Statistics::Int64(_)) => {
                Some(Value::Number(i64::from_le_bytes(bytes.try_into().ok()?).into()))
            }
            (Kind::Decimal { .. }, Statistics::FixedLenByteArray(_)) if (1..=16).contains(&bytes.len()) => {
                let negative = bytes[0] & 0x80 != 0;
                let mut wide = if negative { [0xff; 16] } else { [0; 16] };
                wide[16 - bytes.len()..].copy_from_slice(bytes);
                Some(Value::Number(i128::from_be_bytes(wide)))
            }
            _ => None,
        }
    }

    // As JSON; `is_max` says which way to round.
    fn write(self, value: Value, is_max: bool) -> Option<String> {
        match (self, value) {
            (Kind::Text, Value::Text(text)) => Some(quoted(&text)),
            (Kind::Integer, Value::Number(number)) => Some(number.to_string()),
            (Kind::Decimal { scale }, Value::Number(number)) => Some(decimal(number, scale)),
            (Kind::Date, Value::Number(days)) => {
                let date = date32_to_datetime(i32::try_from(days).ok()?)?.format("%Y-%m-%d").to_string();
                (date.len() == "2026-01-15".len()).then(|| quoted(&date))
            }
            (Kind::Timestamp, Value::Number(us)) => {
                let ms = if is_max { -(-us).div_euclid(1000) } else { us.div_euclid(1000) };
                let time = timestamp_us_to_datetime(i64::try_from(ms * 1000).ok()?)?;
                let time = time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
                (time.len() == "2026-01-15T00:00:00.000Z".len()).then(|| quoted(&time))
            }
            _ => None,
        }
    }
}

fn decimal(unscaled: i128, scale: usize) -> String {
    let sign = if unscaled < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, part) = digits.split_at(digits.len() - scale);
    if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part}") }
}

impl Bounds {
    // Over all row groups; `None`: the footer says too little.
    fn of(groups: &[RowGroupMetaData], index: usize, kind: Kind) -> Option<Bounds> {
        let (mut min, mut max): (Option<Value>, Option<Value>) = (None, None);
        let (mut nulls, mut known) = (0, true);
        for group in groups {
            let column = group.column(index);
            let statistics = column.statistics()?;
            let here = statistics.null_count_opt()?;
            nulls += here;
            if here == group.num_rows() as u64 {
                continue;
            }
            let value = |bytes: Option<&[u8]>| bytes.and_then(|bytes| kind.value(bytes, statistics));
            match (value(statistics.min_bytes_opt()), value(statistics.max_bytes_opt())) {
                (Some(least), Some(most)) => {
                    min = Some(min.map_or(least.clone(), |min| min.min(least)));
                    max = Some(max.map_or(most.clone(), |max| max.max(most)));
                }
                _ => known = false,
            }
        }
        let bound =
            |value: Option<Value>, is_max| value.filter(|_| known).and_then(|v| kind.write(v, is_max));
        Some(Bounds { min: bound(min, false), max: bound(max, true), nulls })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch,
        StringArray, TimestampMicrosecondArray,
    };
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::WriterProperties;
    use serde_json::json;

    use super::*;

    fn stats(columns: Vec<(&str, ArrayRef)>, group_rows: usize) -> serde_json::Value {
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, column)| (name, column, true)),
        )
        .unwrap();
        let file = tempfile::tempfile().unwrap();
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group_rows)).build();
        let mut writer = ArrowWriter::try_new(&file, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let (rows, json) = of_file(&file).unwrap();
        assert_eq!(rows, batch.num_rows() as u64);
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn bounds_over_row_groups_are_exact_or_wider() {
        let decimals = Decimal128Array::from(vec![Some(-5), None, Some(1_234_567)]);
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("n", Arc::new(Int64Array::from(vec![Some(i64::MAX), None, Some(-7)]))),
            ("cost", Arc::new(decimals.with_precision_and_scale(38, 3).unwrap())),
            ("day", Arc::new(Date32Array::from(vec![0, 20_000, -1]))),
            (
                "at",
                Arc::new(
                    TimestampMicrosecondArray::from(vec![-1, 1_001, 2_000]).with_timezone("UTC".to_owned()),
                ),
            ),
            ("name", Arc::new(StringArray::from(vec!["b\"", "ä", "c"]))),
            ("x", Arc::new(Float64Array::from(vec![f64::NAN, 1.0, 2.0]))),
            ("yes", Arc::new(BooleanArray::from(vec![Some(true), None, None]))),
            ("none", Arc::new(Int64Array::from(vec![None, None, None]))),
        ];
        for group_rows in [1, 2, 10] {
            let found = stats(columns.clone(), group_rows);
            assert_eq!(found["numRecords"], 3);
            assert_eq!(
                found["nullCount"],
                json!({"n": 1, "cost": 1, "day": 0, "at": 0, "name": 0, "x": 0, "yes": 2, "none": 3})
            );
            let expected_min = json!({
                "n": -7, "cost": -0.005, "day": "1969-12-31", "at": "1969-12-31T23:59:59.999Z", "name": "b\"",
            });
            let expected_max = json!({
                "n": i64::MAX, "cost": 1234.567, "day": "2024-10-04", "at": "1970-01-01T00:00:00.002Z", "name": "ä",
            });
            assert_eq!(
                (&found["minValues"], &found["maxValues"]),
                (&expected_min, &expected_max),
                "{group_rows}"
            );
        }
    }

    #[test]
    fn decimals_keep_their_digits() {
        assert_eq!(decimal(-5, 3), "-0.005");
        assert_eq!(decimal(99_999_999_999_999_999_999, 0), "99999999999999999999");
        assert_eq!(decimal(12_345_678_901_234_567_890_123, 6), "12345678901234567.890123");
        assert_eq!(decimal(0, 2), "0.00");
    }

    #[test]
    fn long_texts_are_bounded_from_both_sides() {
        let (low, high) = ("a".repeat(200), "z".repeat(200));
        let found = stats(vec![("t", Arc::new(StringArray::from(vec![low.as_str(), high.as_str()])))], 10);
        let (min, max) =
            (found["minValues"]["t"].as_str().unwrap(), found["maxValues"]["t"].as_str().unwrap());
        assert!(min <= low.as_str() && max >= high.as_str(), "{min} {max}");
    }
}
