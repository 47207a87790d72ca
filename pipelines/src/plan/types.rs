//! The names that types have in specs, messages and explanations.

use arrow::datatypes::{DataType, Field, TimeUnit};

use super::check::is_unjudged;

/// A type in the words of a schema: `string`, `timestamp`, `decimal(18, 6)`, `list of float64`.
pub fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "bool".into(),
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => "string".into(),
        DataType::Binary | DataType::BinaryView | DataType::LargeBinary => "binary".into(),
        DataType::Date32 | DataType::Date64 => "date".into(),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => "timestamp".into(),
        DataType::Timestamp(unit, zone) => match zone {
            Some(zone) => format!("timestamp({unit:?}, {zone})").to_lowercase(),
            None => format!("timestamp({unit:?})").to_lowercase(),
        },
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            format!("decimal({precision}, {scale})")
        }
        DataType::List(item) | DataType::LargeList(item) => {
            format!("list of {}", type_name(item.data_type()))
        }
        DataType::Struct(fields) => {
            let fields: Vec<String> = fields.iter().map(|field| column_name(field)).collect();
            format!("struct of {}", fields.join(", "))
        }
        DataType::Duration(_) => "duration".into(),
        DataType::Interval(_) => "interval".into(),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// A column with its type: `provider string`, with `?` where it may be null.
pub(super) fn column_name(field: &Field) -> String {
    if is_unjudged(field) {
        return field.name().clone();
    }
    let question = if field.is_nullable() { "?" } else { "" };
    format!("{} {}{question}", field.name(), type_name(field.data_type()))
}
