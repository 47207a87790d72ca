//! Rows that a job wrote and rows that a case expects, in one form that compares exactly.
//!
//! Expected values are read by the type of their column: a float column takes a number with a point or an exponent, or a text such as
//! `"NaN"` (and must, where a number has more digits than JSON readers keep); an integer column a whole number; decimals, binary
//! (`"base64:…"` where it is no text) and dates a text; timestamps RFC 3339, or whole microseconds.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
    UInt64Type,
};
use arrow::util::display::array_value_to_string;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value as Json;
use thalweg_schemas::time::{format_rfc3339, parse_rfc3339};

use super::input::decode_base64;

/// What a null becomes as a folder's name.
const HIVE_NULL: &str = "__HIVE_DEFAULT_PARTITION__";
/// Digits of a number that every JSON reader keeps.
const DIGITS_MAX: usize = 15;

/// A value, floats by their bits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i128),
    Float(u64),
    /// A decimal with all digits of its scale, or a date.
    Exact(String),
    Text(String),
    Bytes(Vec<u8>),
    /// Microseconds since the epoch.
    Time(i64),
    List(Vec<Value>),
    Struct(BTreeMap<String, Value>),
}

/// A row: values by column.
pub(super) type Row = BTreeMap<String, Value>;

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("null"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(value) => write!(f, "{value}"),
            Value::Float(bits) if f64::from_bits(*bits).is_nan() => write!(f, "NaN (bits {bits:x})"),
            Value::Float(bits) => write!(f, "{:?}", f64::from_bits(*bits)),
            Value::Exact(text) => write!(f, "'{text}'"),
            Value::Text(text) => write!(f, "{text:?}"),
            Value::Bytes(bytes) => write!(f, "b\"{}\"", bytes.escape_ascii()),
            Value::Time(time_us) => f.write_str(&format_rfc3339(*time_us)),
            Value::List(values) => {
                let values: Vec<String> = values.iter().map(ToString::to_string).collect();
                write!(f, "[{}]", values.join(", "))
            }
            Value::Struct(values) => f.write_str(&show(values)),
        }
    }
}

/// A row as one line.
pub(super) fn show(row: &Row) -> String {
    let columns: Vec<String> = row.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    format!("{{{}}}", columns.join(", "))
}

/// What a sink wrote.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) rows: Vec<Row>,
    /// The types of the columns; empty where nothing was written.
    pub(super) types: BTreeMap<String, DataType>,
}

impl Written {
    /// Reads a sink's folder, hive folders included.
    pub(super) fn read(folder: &Path) -> Written {
        let mut written = Written::default();
        let mut files = Vec::new();
        list(folder, &mut files);
        for path in files {
            written.add_file(&path, folder);
        }
        written.rows.sort();
        written
    }

    fn add_file(&mut self, path: &Path, root: &Path) {
        let file = File::open(path).expect("a file that was just listed");
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|builder| builder.build());
        let folders = path.strip_prefix(root).ok().and_then(Path::parent).unwrap_or(Path::new(""));
        let hive: Vec<(String, Value)> =
            folders.iter().map(|folder| hive_column(&folder.to_string_lossy())).collect();
        self.types.extend(hive.iter().map(|(name, _)| (name.clone(), DataType::Utf8)));
        for batch in reader.unwrap_or_else(|error| panic!("{}: {error}", path.display())) {
            let batch = batch.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            for row in 0..batch.num_rows() {
                let columns = batch.schema_ref().fields().iter().zip(batch.columns());
                let values = columns.map(|(field, column)| (field.name().clone(), value(column, row)));
                self.rows.push(values.chain(hive.iter().cloned()).collect());
            }
            let fields = batch.schema_ref().fields().iter();
            self.types.extend(fields.map(|field| (field.name().clone(), field.data_type().clone())));
        }
    }

    /// A line of `expected.jsonl` as a row of this sink.
    pub(super) fn expected(&self, columns: &serde_json::Map<String, Json>) -> Result<Row, String> {
        let value = |(name, json): (&String, &Json)| match self.types.get(name) {
            Some(data_type) => typed(json, data_type).map(|value| (name.clone(), value)),
            None => Err(format!("there is no column {name}")),
        };
        columns.iter().map(value).collect()
    }
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("a folder's entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            list(&path, files);
        } else {
            let is_finished = name.ends_with(".parquet") && !name.starts_with('.');
            assert!(is_finished, "{} is not a finished Parquet file", path.display());
            files.push(path);
        }
    }
}

/// `column=value`, percent-decoded.
fn hive_column(folder: &str) -> (String, Value) {
    let (name, value) = folder.split_once('=').unwrap_or_else(|| panic!("{folder} is no folder of a column"));
    if value == HIVE_NULL {
        return (name.to_owned(), Value::Null);
    }
    let mut bytes = Vec::new();
    let mut parts = value.split('%');
    bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let (code, rest) = part.split_at(2);
        bytes.push(u8::from_str_radix(code, 16).expect("a percent-encoded byte"));
        bytes.extend_from_slice(rest.as_bytes());
    }
    (name.to_owned(), Value::Text(String::from_utf8(bytes).expect("text in a folder's name")))
}

/// A value of a column.
fn value(column: &dyn Array, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Boolean => Value::Bool(column.as_boolean().value(row)),
        DataType::Int32 => Value::Int(column.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => Value::Int(column.as_primitive::<Int64Type>().value(row).into()),
        DataType::UInt64 => Value::Int(column.as_primitive::<UInt64Type>().value(row).into()),
        DataType::Float64 => Value::Float(column.as_primitive::<Float64Type>().value(row).to_bits()),
        DataType::Decimal128(..) => {
            Value::Exact(column.as_primitive::<Decimal128Type>().value_as_string(row))
        }
        DataType::Date32 => {
            let date = column.as_primitive::<Date32Type>().value_as_date(row);
            Value::Exact(date.expect("a date of the calendar").to_string())
        }
        DataType::Timestamp(..) => Value::Time(column.as_primitive::<TimestampMicrosecondType>().value(row)),
        DataType::Utf8 => Value::Text(column.as_string::<i32>().value(row).to_owned()),
        DataType::Binary => Value::Bytes(column.as_binary::<i32>().value(row).to_vec()),
        DataType::List(_) => {
            let values = column.as_list::<i32>().value(row);
            Value::List((0..values.len()).map(|at| value(&values, at)).collect())
        }
        DataType::Struct(fields) => {
            let columns = fields.iter().zip(column.as_struct().columns());
            Value::Struct(columns.map(|(field, column)| (field.name().clone(), value(column, row))).collect())
        }
        other => {
            let shown = array_value_to_string(column, row).unwrap_or_default();
            panic!("a sink wrote {shown} of type {other}, which no stream carries")
        }
    }
}

/// An expected value of a column of some type.
fn typed(json: &Json, data_type: &DataType) -> Result<Value, String> {
    let wrong = || Err(format!("{json} is no value of type {data_type}"));
    Ok(match (json, data_type) {
        (Json::Null, _) => Value::Null,
        (Json::Bool(value), DataType::Boolean) => Value::Bool(*value),
        (Json::Number(number), DataType::Int32 | DataType::Int64 | DataType::UInt64) => {
            match (number.as_i64(), number.as_u64()) {
                (Some(value), _) => Value::Int(value.into()),
                (_, Some(value)) => Value::Int(value.into()),
                _ => return wrong(),
            }
        }
        (Json::Number(number), DataType::Float64) if number.is_f64() => {
            let value = number.as_f64().unwrap_or_default();
            let shown = format!("{value:e}");
            let digits =
                shown.split('e').next().unwrap_or_default().chars().filter(char::is_ascii_digit).count();
            if digits > DIGITS_MAX {
                return Err(format!("{json} has more than {DIGITS_MAX} digits: write it as a text"));
            }
            Value::Float(value.to_bits())
        }
        (Json::String(text), DataType::Float64) => match text.parse::<f64>() {
            Ok(value) => Value::Float(value.to_bits()),
            Err(_) => return wrong(),
        },
        (Json::Number(time_us), DataType::Timestamp(..)) => match time_us.as_i64() {
            Some(time_us) => Value::Time(time_us),
            None => return wrong(),
        },
        (Json::String(text), DataType::Timestamp(..)) => match parse_rfc3339(text.as_bytes()) {
            Ok(time_us) => Value::Time(time_us),
            Err(_) => return wrong(),
        },
        (Json::String(text), DataType::Decimal128(..) | DataType::Date32) => Value::Exact(text.clone()),
        (Json::String(text), DataType::Utf8) => Value::Text(text.clone()),
        (Json::String(text), DataType::Binary) => match text.strip_prefix("base64:") {
            Some(encoded) => Value::Bytes(decode_base64(encoded)),
            None => Value::Bytes(text.as_bytes().to_vec()),
        },
        (Json::Array(values), DataType::List(item)) => {
            Value::List(values.iter().map(|value| typed(value, item.data_type())).collect::<Result<_, _>>()?)
        }
        (Json::Object(values), DataType::Struct(fields)) => {
            let field = |name: &str| fields.iter().find(|field| field.name() == name);
            let value = |(name, value): (&String, &Json)| match field(name) {
                Some(field) => typed(value, field.data_type()).map(|value| (name.clone(), value)),
                None => Err(format!("there is no field {name} in {data_type}")),
            };
            Value::Struct(values.iter().map(value).collect::<Result<_, _>>()?)
        }
        _ => return wrong(),
    })
}
