//! Rows become records: a batch at a time, with one writer for all its rows.

use std::io::Write;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::json::writer::{LineDelimited, WriterBuilder};
use thalweg_operators::rows::TIME;

/// What Kafka calls a record without a timestamp.
const NO_TIMESTAMP: i64 = -1;
const WINDOW_END: &str = "window_end";

/// Which columns make what of a record.
#[derive(Debug)]
pub(super) struct Layout {
    values: Vec<usize>,
    key: Vec<usize>,
    time: Option<usize>,
}

impl Layout {
    /// The layout for rows of a schema. Columns whose names begin with two underscores are no values.
    pub(super) fn new(
        schema: &Schema,
        key: &[String],
        timestamp: Option<&str>,
    ) -> Result<Layout, ArrowError> {
        let is_time = |at: &usize| matches!(schema.field(*at).data_type(), DataType::Timestamp(..));
        let time = match timestamp {
            Some(name) => Some(schema.index_of(name)?),
            None => [WINDOW_END, TIME].iter().filter_map(|name| schema.index_of(name).ok()).find(is_time),
        };
        if let Some(at) = time.filter(|at| !is_time(at)) {
            let field = schema.field(at);
            let message = format!("{} is of type {}, no timestamp", field.name(), field.data_type());
            return Err(ArrowError::SchemaError(message));
        }
        Ok(Layout {
            values: (0..schema.fields().len())
                .filter(|at| !schema.field(*at).name().starts_with("__"))
                .collect(),
            key: key.iter().map(|name| schema.index_of(name)).collect::<Result<_, _>>()?,
            time,
        })
    }

    /// The records of a batch.
    pub(super) fn records(&self, batch: &RecordBatch) -> Result<Records, ArrowError> {
        let key = match self.key[..] {
            [] => Keys::None,
            [only] => single(batch.column(only))?,
            _ => Keys::Objects(lines(&batch.project(&self.key)?)?),
        };
        let times = self.time.map(|at| times(batch.column(at))).transpose()?;
        Ok(Records { values: lines(&batch.project(&self.values)?)?, key, times })
    }
}

/// The records of a batch, ready to be written.
#[derive(Debug)]
pub(super) struct Records {
    /// JSON objects, a line each. A line break inside of a text is escaped in JSON.
    values: Vec<u8>,
    key: Keys,
    times: Option<Int64Array>,
}

#[derive(Debug)]
enum Keys {
    None,
    Texts(StringArray),
    Bytes(BinaryArray),
    /// As the values.
    Objects(Vec<u8>),
}

/// A record: what goes into it, borrowed from its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RowRecord<'a> {
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: &'a [u8],
    pub(super) timestamp_ms: i64,
}

impl Records {
    /// Each record, in the batch's order.
    pub(super) fn iter(&self) -> impl Iterator<Item = RowRecord<'_>> {
        let mut objects = match &self.key {
            Keys::Objects(lines) => split(lines),
            _ => split(&[]),
        };
        split(&self.values).enumerate().map(move |(row, value)| RowRecord {
            key: match &self.key {
                Keys::None => None,
                Keys::Texts(texts) => texts.is_valid(row).then(|| texts.value(row).as_bytes()),
                Keys::Bytes(bytes) => bytes.is_valid(row).then(|| bytes.value(row)),
                Keys::Objects(_) => objects.next(),
            },
            value,
            timestamp_ms: self.times.as_ref().map_or(NO_TIMESTAMP, |times| times.value(row)),
        })
    }
}

fn split(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    lines.split_inclusive(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\n").unwrap_or(line))
}

fn lines(batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut lines = Vec::with_capacity(batch.get_array_memory_size());
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(&mut lines);
    writer.write(batch)?;
    writer.finish()?;
    lines.flush()?;
    Ok(lines)
}

/// A key of one column: bytes as they are, everything else as text, which is that of its JSON without the quotes.
fn single(column: &ArrayRef) -> Result<Keys, ArrowError> {
    match column.data_type() {
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            Ok(Keys::Bytes(cast(column, &DataType::Binary)?.as_binary::<i32>().clone()))
        }
        _ => Ok(Keys::Texts(cast(column, &DataType::Utf8)?.as_string::<i32>().clone())),
    }
}

/// Milliseconds since the epoch, rounded down. Kafka knows no time before 1970, and librdkafka takes 0 for "now".
fn times(column: &ArrayRef) -> Result<Int64Array, ArrowError> {
    let zone = match column.data_type() {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    };
    let times_us = cast(column, &DataType::Timestamp(TimeUnit::Microsecond, zone))?;
    let times_us = times_us.as_primitive::<TimestampMicrosecondType>();
    let timestamp_ms = |time_us: Option<i64>| {
        time_us.map(|time_us| time_us.div_euclid(1000)).filter(|time_ms| *time_ms > 0).unwrap_or(NO_TIMESTAMP)
    };
    Ok(Int64Array::from_iter_values(times_us.iter().map(timestamp_ms)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, StringArray,
        TimestampMicrosecondArray,
    };

    use super::*;

    fn batch() -> RecordBatch {
        let times = |values: Vec<Option<i64>>| {
            Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC")) as ArrayRef
        };
        let cost = Decimal128Array::from(vec![Some(1_234_500), None]).with_precision_and_scale(18, 6);
        let columns: [(&str, ArrayRef); 10] = [
            ("window_end", times(vec![Some(1_768_471_200_000_000), Some(1_768_471_200_123_456)])),
            ("name", Arc::new(StringArray::from(vec![Some("line\nbreak \"é\""), None]))),
            ("rows", Arc::new(Int64Array::from(vec![3, -4]))),
            ("mean", Arc::new(Float64Array::from(vec![Some(0.1), Some(f64::NAN)]))),
            ("cost", Arc::new(cost.unwrap())),
            ("ok", Arc::new(BooleanArray::from(vec![Some(true), None]))),
            ("day", Arc::new(Date32Array::from(vec![20_468, 0]))),
            ("raw", Arc::new(BinaryArray::from_vec(vec![b"\x00\n\xff", b""]))),
            ("at", times(vec![Some(-1), None])),
            (TIME, times(vec![Some(1_768_471_199_999_999), Some(1)])),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
    }

    fn records(
        key: &[&str],
        timestamp: Option<&str>,
        batch: &RecordBatch,
    ) -> Vec<(Option<Vec<u8>>, String, i64)> {
        let key: Vec<String> = key.iter().map(|name| (*name).to_owned()).collect();
        let layout = Layout::new(batch.schema_ref(), &key, timestamp).unwrap();
        let records = layout.records(batch).unwrap();
        let owned = |record: RowRecord<'_>| {
            let value = String::from_utf8(record.value.to_vec()).unwrap();
            (record.key.map(<[u8]>::to_vec), value, record.timestamp_ms)
        };
        records.iter().map(owned).collect()
    }

    fn keys(key: &[&str]) -> [Option<Vec<u8>>; 2] {
        records(key, None, &batch()).into_iter().map(|(key, ..)| key).collect::<Vec<_>>().try_into().unwrap()
    }

    #[test]
    fn a_value_is_a_json_object_of_the_visible_columns() {
        let values: Vec<String> =
            records(&[], None, &batch()).into_iter().map(|(_, value, _)| value).collect();
        assert_eq!(
            values,
            [
                r#"{"window_end":"2026-01-15T10:00:00Z","name":"line\nbreak \"é\"","rows":3,"mean":0.1,"cost":1.234500,"ok":true,"day":"2026-01-15","raw":"000aff","at":"1969-12-31T23:59:59.999999Z"}"#,
                r#"{"window_end":"2026-01-15T10:00:00.123456Z","name":null,"rows":-4,"mean":null,"cost":null,"ok":null,"day":"1970-01-01","raw":"","at":null}"#,
            ]
        );
    }

    #[test]
    fn one_key_column_is_its_text_or_bytes() {
        let text = |text: &str| Some(text.as_bytes().to_vec());
        assert_eq!(keys(&[]), [None, None]);
        assert_eq!(keys(&["name"]), [text("line\nbreak \"é\""), None]);
        assert_eq!(keys(&["raw"]), [Some(b"\x00\n\xff".to_vec()), Some(Vec::new())]);
        assert_eq!(keys(&["rows"]), [text("3"), text("-4")]);
        assert_eq!(keys(&["ok"]), [text("true"), None]);
        assert_eq!(keys(&["cost"]), [text("1.234500"), None]);
        assert_eq!(keys(&["day"]), [text("2026-01-15"), text("1970-01-01")]);
        assert_eq!(
            keys(&["window_end"]),
            [text("2026-01-15T10:00:00Z"), text("2026-01-15T10:00:00.123456Z")]
        );
    }

    #[test]
    fn several_key_columns_are_a_json_object_in_their_order() {
        let text = |text: &str| Some(text.as_bytes().to_vec());
        assert_eq!(
            keys(&["rows", "name"]),
            [text(r#"{"rows":3,"name":"line\nbreak \"é\""}"#), text(r#"{"rows":-4,"name":null}"#)]
        );
    }

    #[test]
    fn a_timestamp_is_the_column_asked_for_the_windows_end_or_the_event_time() {
        let times = |timestamp, batch: &RecordBatch| {
            records(&[], timestamp, batch).into_iter().map(|(.., time)| time).collect::<Vec<_>>()
        };
        let all = batch();
        assert_eq!(times(None, &all), [1_768_471_200_000, 1_768_471_200_123]);
        assert_eq!(
            times(Some(TIME), &all),
            [1_768_471_199_999, NO_TIMESTAMP],
            "rounded down; 1970 is no time"
        );
        assert_eq!(times(Some("at"), &all), [NO_TIMESTAMP, NO_TIMESTAMP]);
        let windowless = all.project(&[1, 2, 9]).unwrap();
        assert_eq!(times(None, &windowless), [1_768_471_199_999, NO_TIMESTAMP]);
        assert_eq!(times(None, &all.project(&[1]).unwrap()), [NO_TIMESTAMP, NO_TIMESTAMP]);
    }

    #[test]
    fn columns_that_are_not_there_or_no_times_are_errors() {
        let schema = batch().schema();
        let error = |key: &[&str], timestamp| {
            let key: Vec<String> = key.iter().map(|name| (*name).to_owned()).collect();
            Layout::new(&schema, &key, timestamp).unwrap_err().to_string()
        };
        assert!(error(&["nobody"], None).contains("nobody"));
        assert!(error(&[], Some("nobody")).contains("nobody"));
        assert!(error(&[], Some("rows")).contains("rows is of type Int64, no timestamp"));
    }
}
