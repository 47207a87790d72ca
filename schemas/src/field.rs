//! One field of a schema: where it lies in the payload, what may stand there, and the Arrow column it becomes.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field as ArrowField};

use crate::time;

/// Digits of every decimal column: `Decimal128(18, scale)`, so that a value fits 64 bits and sums fit 128.
pub const DECIMAL_PRECISION: u8 = 18;

/// A field of a [`Schema`](crate::Schema): a column's name, and where in the payload its value lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The column's name: `[a-z][a-z0-9_]*`.
    pub name: String,
    /// The keys that lead to the value, from the outermost object inwards. A key that ends in `[]` is an array of objects:
    /// the field then is the list of the values found in them, null where one lacks it.
    pub path: Vec<String>,
    /// What may stand there.
    pub field_type: FieldType,
    /// Whether a row without it, or with null, is rejected.
    pub required: bool,
    /// The unit of its numbers, such as `ms`, `bytes`, `USD`.
    pub unit: Option<String>,
    /// Whether it says something about a person.
    pub personal: bool,
    /// What it means, in a sentence.
    pub description: Option<String>,
}

impl Field {
    /// An optional field that lies at the top of the payload under its own name.
    pub fn new(name: impl Into<String>, field_type: FieldType) -> Field {
        let name = name.into();
        Field {
            path: vec![name.clone()],
            name,
            field_type,
            required: false,
            unit: None,
            personal: false,
            description: None,
        }
    }

    /// The same field, required in every row.
    pub fn required(mut self) -> Field {
        self.required = true;
        self
    }

    /// The same field, at another place of the payload: keys separated by dots.
    pub fn at(mut self, path: &str) -> Field {
        self.path = path.split('.').map(str::to_owned).collect();
        self
    }

    /// The Arrow field of its column: nullable unless required.
    pub fn arrow(&self) -> ArrowField {
        ArrowField::new(&self.name, self.field_type.arrow(), !self.required)
    }

    /// The path as one text, keys joined by dots: what messages name the field by.
    pub fn path_text(&self) -> String {
        self.path.join(".")
    }
}

/// What a field holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldType {
    /// `true` or `false`.
    Bool,
    /// A whole number, −2⁶³ to 2⁶³ − 1.
    Int64,
    /// A whole number, 0 to 2⁶⁴ − 1, exact.
    UInt64,
    /// A number, rounded to the nearest f64.
    Float64,
    /// A number of at most 18 digits, `scale` of them behind the point (at most 18), kept exactly: for money.
    Decimal {
        /// Digits behind the point.
        scale: u8,
    },
    /// Text.
    String,
    /// A point in time.
    Timestamp(TimestampEncoding),
    /// A list of scalars of one type; its elements may be null.
    List(Box<FieldType>),
}

impl FieldType {
    /// The Arrow type of its column.
    pub fn arrow(&self) -> DataType {
        match self {
            FieldType::Bool => DataType::Boolean,
            FieldType::Int64 => DataType::Int64,
            FieldType::UInt64 => DataType::UInt64,
            FieldType::Float64 => DataType::Float64,
            FieldType::Decimal { scale } => DataType::Decimal128(DECIMAL_PRECISION, *scale as i8),
            FieldType::String => DataType::Utf8,
            FieldType::Timestamp(_) => time::timestamp_type(),
            FieldType::List(element) => {
                DataType::List(Arc::new(ArrowField::new_list_field(element.arrow(), true)))
            }
        }
    }
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FieldType::Bool => f.write_str("bool"),
            FieldType::Int64 => f.write_str("int64"),
            FieldType::UInt64 => f.write_str("uint64"),
            FieldType::Float64 => f.write_str("float64"),
            FieldType::Decimal { scale } => write!(f, "decimal({scale})"),
            FieldType::String => f.write_str("string"),
            FieldType::Timestamp(encoding) => write!(f, "timestamp({encoding})"),
            FieldType::List(element) => write!(f, "list of {element}"),
        }
    }
}

/// How a timestamp is written in the payload. A number may have a fraction; what is finer than a microsecond is floored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampEncoding {
    /// Seconds since the epoch.
    Seconds,
    /// Milliseconds since the epoch.
    Millis,
    /// Microseconds since the epoch.
    Micros,
    /// Nanoseconds since the epoch.
    Nanos,
    /// A text of RFC 3339: `2026-01-31T12:00:00Z`.
    Rfc3339,
}

impl TimestampEncoding {
    /// Every encoding, in the order in which messages list them.
    pub const ALL: [TimestampEncoding; 5] = [
        TimestampEncoding::Seconds,
        TimestampEncoding::Millis,
        TimestampEncoding::Micros,
        TimestampEncoding::Nanos,
        TimestampEncoding::Rfc3339,
    ];

    /// As a schema file writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            TimestampEncoding::Seconds => "s",
            TimestampEncoding::Millis => "ms",
            TimestampEncoding::Micros => "us",
            TimestampEncoding::Nanos => "ns",
            TimestampEncoding::Rfc3339 => "rfc3339",
        }
    }
}

impl fmt::Display for TimestampEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrow_fields_carry_name_type_and_nullability() {
        let cost = Field::new("cost_usd", FieldType::Decimal { scale: 6 }).required();
        assert_eq!(cost.arrow(), ArrowField::new("cost_usd", DataType::Decimal128(18, 6), false));
        let at = Field::new("at", FieldType::Timestamp(TimestampEncoding::Nanos)).at("span.start");
        assert_eq!(at.arrow(), ArrowField::new("at", time::timestamp_type(), true));
        assert_eq!(at.path_text(), "span.start");
        let values = FieldType::List(Box::new(FieldType::Float64));
        let element = Arc::new(ArrowField::new("item", DataType::Float64, true));
        assert_eq!(values.arrow(), DataType::List(element));
        assert_eq!(values.to_string(), "list of float64");
    }
}
