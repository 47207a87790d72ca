//! Values of rows that came out and of rows that are expected, in one form that compares exactly.
//!
//! Expected values are read by the type of their column: a number column takes a number, also `NaN` and `-inf`; a timestamp RFC 3339
//! or whole microseconds since the epoch; bytes their text, `base64:…` where they are none, or a mapping, which is what they are as
//! JSON.

use std::collections::BTreeMap;
use std::fmt;

use arrow::array::{Array, AsArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Float64Type, Int32Type, Int64Type, UInt64Type};
use arrow::util::display::array_value_to_string;
use thalweg_schemas::time::{format_rfc3339, parse_rfc3339};

use crate::plan::type_name;
use crate::spec::test_file::{CellSpec, Tolerance, bytes_of};
use crate::spec::{Span, suggest};

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// A number with a fraction: equal are those of the same bits.
    Float(u64),
    /// A number with a fixed count of digits after the point.
    Decimal {
        /// The number without its point.
        unscaled: i128,
        /// Digits after it.
        scale: u32,
    },
    /// Text, and what has no form of its own here.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Of an expected value: bytes that are this JSON.
    Json(serde_json::Value),
    /// Microseconds since the epoch.
    Time(i64),
    /// A list.
    List(Vec<Value>),
    /// Values by name. Of an expected value: those that are named.
    Struct(BTreeMap<String, Value>),
}

/// Values by column.
pub type Row = BTreeMap<String, Value>;

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("null"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(value) => write!(f, "{value}"),
            Value::Float(bits) => write!(f, "{:?}", f64::from_bits(*bits)),
            Value::Decimal { unscaled, scale } => {
                let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = *scale as usize + 1);
                let (whole, fraction) = digits.split_at(digits.len() - *scale as usize);
                let (sign, point) = (if *unscaled < 0 { "-" } else { "" }, if *scale > 0 { "." } else { "" });
                write!(f, "{sign}{whole}{point}{fraction}")
            }
            Value::Text(value) if is_plain(value) => f.write_str(value),
            Value::Text(value) => write!(f, "{value:?}"),
            Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => write!(f, "{text:?}"),
                Err(_) => write!(f, "b\"{}\"", bytes.escape_ascii()),
            },
            Value::Json(value) => write!(f, "{value}"),
            Value::Time(value) => f.write_str(&format_rfc3339(*value)),
            Value::List(values) => {
                let values: Vec<String> = values.iter().map(ToString::to_string).collect();
                write!(f, "[{}]", values.join(", "))
            }
            Value::Struct(values) => f.write_str(&show(values)),
        }
    }
}

// A text that can't be taken for anything else.
fn is_plain(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphabetic())
        && text.chars().all(|c| c.is_alphanumeric() || "_-./:@ ".contains(c))
        && !text.contains(": ")
        && !matches!(text, "null" | "true" | "false" | "NaN" | "inf")
}

/// A row on one line.
pub fn show(row: &Row) -> String {
    let columns: Vec<String> = row.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    format!("{{{}}}", columns.join(", "))
}

/// A column's value as a person reads it.
pub fn shown(column: &dyn Array, row: usize) -> String {
    value_at(column, row).to_string()
}

/// A value of a column that came out.
pub(super) fn value_at(column: &dyn Array, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Boolean => Value::Bool(column.as_boolean().value(row)),
        DataType::Int32 => Value::Int(column.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => Value::Int(column.as_primitive::<Int64Type>().value(row).into()),
        DataType::UInt64 => Value::Int(column.as_primitive::<UInt64Type>().value(row).into()),
        DataType::Float64 => Value::Float(column.as_primitive::<Float64Type>().value(row).to_bits()),
        DataType::Decimal128(_, scale) if *scale >= 0 => Value::Decimal {
            unscaled: column.as_primitive::<Decimal128Type>().value(row),
            scale: u32::from(scale.unsigned_abs()),
        },
        DataType::Date32 => match column.as_primitive::<Date32Type>().value_as_date(row) {
            Some(date) => Value::Text(date.to_string()),
            None => other(column, row),
        },
        DataType::Timestamp(..) => match column.as_any().downcast_ref::<TimestampMicrosecondArray>() {
            Some(times) => Value::Time(times.value(row)),
            None => other(column, row),
        },
        DataType::Utf8 => Value::Text(column.as_string::<i32>().value(row).to_owned()),
        DataType::Binary => Value::Bytes(column.as_binary::<i32>().value(row).to_vec()),
        DataType::List(_) => {
            let values = column.as_list::<i32>().value(row);
            Value::List((0..values.len()).map(|at| value_at(&values, at)).collect())
        }
        DataType::Struct(fields) => {
            let columns = fields.iter().zip(column.as_struct().columns());
            Value::Struct(
                columns.map(|(field, column)| (field.name().clone(), value_at(column, row))).collect(),
            )
        }
        _ => other(column, row),
    }
}

fn other(column: &dyn Array, row: usize) -> Value {
    Value::Text(array_value_to_string(column, row).unwrap_or_default())
}

/// What is wrong with an expected value: where, what, and what to write instead.
pub(super) type ValueProblem = (Span, String, Option<String>);

/// An expected value of a column of some type.
pub(super) fn expected(cell: &CellSpec, data_type: &DataType) -> Result<Value, ValueProblem> {
    let wrong = |shown: &str, hint: &str| {
        let hint = (!hint.is_empty()).then(|| hint.to_owned());
        (cell.at(), format!("{shown} is no {}", type_name(data_type)), hint)
    };
    match (cell, data_type) {
        (CellSpec::Null(_), _) => Ok(Value::Null),
        (CellSpec::Scalar(_, text), DataType::List(_) | DataType::Struct(_)) => {
            Err(wrong(&format!("\"{text}\""), "write a list as [ … ], a struct as { name: value }"))
        }
        (CellSpec::Scalar(_, text), _) => {
            scalar(text, data_type).map_err(|hint| wrong(&format!("\"{text}\""), &hint))
        }
        (CellSpec::List(_, items), DataType::List(item)) => items
            .iter()
            .map(|each| expected(each, item.data_type()))
            .collect::<Result<_, _>>()
            .map(Value::List),
        (CellSpec::Mapping(_, _, json), DataType::Binary) => match serde_json::from_str(json) {
            Ok(json) => Ok(Value::Json(json)),
            Err(error) => Err(wrong("the mapping", &format!("it is no JSON: {error}"))),
        },
        (CellSpec::Mapping(_, entries, _), DataType::Struct(fields)) => {
            let mut values = BTreeMap::new();
            for (name, cell) in entries {
                let Some(field) = fields.iter().find(|field| *field.name() == name.value) else {
                    let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
                    return Err((
                        name.at,
                        format!("there is no field \"{}\"", name.value),
                        suggest::hint(name, &names, "fields"),
                    ));
                };
                values.insert(name.value.clone(), expected(cell, field.data_type())?);
            }
            Ok(Value::Struct(values))
        }
        (CellSpec::List(..), _) => Err(wrong("a list", "")),
        (CellSpec::Mapping(..), _) => Err(wrong("a mapping", "")),
    }
}

// The error is a hint.
pub(super) fn scalar(text: &str, data_type: &DataType) -> Result<Value, String> {
    let value = match data_type {
        DataType::Boolean => text.parse().ok().map(Value::Bool),
        DataType::Int32 | DataType::Int64 | DataType::UInt64 => text.parse().ok().map(Value::Int),
        DataType::Float64 => {
            // As YAML writes them.
            let named = match text {
                ".nan" | ".NaN" | ".NAN" => "NaN",
                ".inf" | ".Inf" | ".INF" => "inf",
                "-.inf" | "-.Inf" | "-.INF" => "-inf",
                text => text,
            };
            named.parse::<f64>().ok().map(|number| Value::Float(number.to_bits()))
        }
        DataType::Decimal128(_, scale) if *scale >= 0 => decimal(text, u32::from(scale.unsigned_abs())),
        DataType::Timestamp(..) => match text.parse::<i64>() {
            Ok(time_us) => Some(Value::Time(time_us)),
            Err(_) => parse_rfc3339(text.as_bytes()).ok().map(Value::Time),
        },
        DataType::Binary => return bytes_of(text).map(Value::Bytes).map_err(|(_, hint)| hint),
        _ => Some(Value::Text(text.to_owned())),
    };
    value.ok_or_else(|| {
        let hint = match data_type {
            DataType::Boolean => "write true or false",
            DataType::Float64 => "write a number, NaN, inf or -inf",
            DataType::Timestamp(..) => {
                "write it as in RFC 3339 (2026-01-01T00:00:00Z), or as microseconds since the epoch"
            }
            DataType::Decimal128(..) => {
                "write a number with no more digits after the point than the column has"
            }
            _ => "write a whole number",
        };
        hint.to_owned()
    })
}

fn decimal(text: &str, scale: u32) -> Option<Value> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let kept = fraction.trim_end_matches('0');
    let is_number = !whole.is_empty() && (whole.to_owned() + fraction).bytes().all(|b| b.is_ascii_digit());
    if !is_number || kept.len() > scale as usize {
        return None;
    }
    let unscaled: i128 = format!("{whole}{kept:0<width$}", width = scale as usize).parse().ok()?;
    Some(Value::Decimal { unscaled: sign * unscaled, scale })
}

/// Whether a value is the expected one.
pub(super) fn matches(expected: &Value, found: &Value, tolerance: Option<Tolerance>) -> bool {
    match (expected, found) {
        (Value::Json(json), Value::Bytes(bytes)) => {
            serde_json::from_slice::<serde_json::Value>(bytes).is_ok_and(|found| found == *json)
        }
        (Value::List(expected), Value::List(found)) => {
            expected.len() == found.len()
                && expected.iter().zip(found).all(|(expected, found)| matches(expected, found, tolerance))
        }
        (Value::Struct(expected), Value::Struct(found)) => expected
            .iter()
            .all(|(name, expected)| found.get(name).is_some_and(|found| matches(expected, found, tolerance))),
        _ if expected == found => true,
        _ => match (tolerance, off_by(expected, found)) {
            (Some(Tolerance::Absolute(most)), Some((off, _))) => off <= most,
            (Some(Tolerance::Relative(part)), Some((off, expected))) => off <= part * expected.abs(),
            _ => false,
        },
    }
}

/// By how much a number is off, and the expected one.
pub(super) fn off_by(expected: &Value, found: &Value) -> Option<(f64, f64)> {
    let number = |value: &Value| match value {
        Value::Int(value) => Some(*value as f64),
        Value::Float(bits) => Some(f64::from_bits(*bits)),
        Value::Decimal { unscaled, scale } => Some(*unscaled as f64 / 10f64.powi(*scale as i32)),
        _ => None,
    };
    let (expected, found) = (number(expected)?, number(found)?);
    let off = (expected - found).abs();
    off.is_finite().then_some((off, expected))
}

/// Whether a tolerance says anything about a type.
pub(super) fn is_number(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) => is_number(item.data_type()),
        DataType::Struct(_) => true,
        other => other.is_numeric(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_compared_by_value_and_shown_with_their_digits() {
        for (text, scale, unscaled, shown) in
            [("1.5", 2, 150, "1.50"), ("-0.05", 2, -5, "-0.05"), ("3", 0, 3, "3"), ("7.10", 1, 71, "7.1")]
        {
            let value = decimal(text, scale).unwrap();
            assert_eq!(value, Value::Decimal { unscaled, scale }, "{text}");
            assert_eq!(value.to_string(), shown);
        }
        for text in ["", "1.234", "x", ".5", "1e3", "--1"] {
            assert_eq!(decimal(text, 2), None, "{text}");
        }
    }

    #[test]
    fn tolerances_are_for_numbers_alone() {
        let float = |value: f64| Value::Float(value.to_bits());
        let (one, near) = (float(100.0), float(100.5));
        assert!(!matches(&one, &near, None));
        assert!(matches(&one, &near, Some(Tolerance::Absolute(0.5))));
        assert!(!matches(&one, &near, Some(Tolerance::Absolute(0.4))));
        assert!(matches(&one, &near, Some(Tolerance::Relative(0.005))));
        assert!(!matches(&one, &near, Some(Tolerance::Relative(0.004))));
        assert!(!matches(&Value::Null, &one, Some(Tolerance::Absolute(1e9))));
        assert!(!matches(&float(f64::NAN), &one, Some(Tolerance::Absolute(1e9))));
        assert!(matches(&float(f64::NAN), &float(f64::NAN), None));
        let text = |value: &str| Value::Text(value.to_owned());
        assert!(!matches(&text("1"), &text("2"), Some(Tolerance::Absolute(5.0))));
    }
}
