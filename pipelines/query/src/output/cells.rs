//! A value as a person reads it in a table.

use std::fmt::Write as _;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// A column's cells, one line each, and whether they are numbers.
///
/// # Errors
/// Arrow has no way to show the column.
pub(super) fn cells(column: &ArrayRef) -> Result<Vec<String>, ArrowError> {
    match column.data_type() {
        DataType::Float64 => {
            let values = column.as_primitive::<Float64Type>();
            Ok(values.iter().map(|value| value.map_or_else(null, short)).collect())
        }
        DataType::Float32 => {
            let values = column.as_primitive::<Float32Type>();
            Ok(values.iter().map(|value| value.map_or_else(null, |value| short(f64::from(value)))).collect())
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            let values = arrow::compute::cast(column, &DataType::LargeBinary)?;
            Ok(values.as_binary::<i64>().iter().map(|value| value.map_or_else(null, bytes)).collect())
        }
        data_type => {
            let plain = "%Y-%m-%d %H:%M:%S%.f";
            let zoned = if is_utc(data_type) { plain } else { "%Y-%m-%d %H:%M:%S%.f%:z" };
            let options = FormatOptions::new()
                .with_null("null")
                .with_timestamp_format(Some(plain))
                .with_datetime_format(Some(plain))
                .with_timestamp_tz_format(Some(zoned));
            let formatter = ArrayFormatter::try_new(column.as_ref(), &options)?;
            (0..column.len()).map(|row| Ok(printable(&formatter.value(row).try_to_string()?))).collect()
        }
    }
}

fn null() -> String {
    "null".to_owned()
}

// Lists of timestamps and the like: ours are in UTC.
fn is_utc(data_type: &DataType) -> bool {
    match data_type {
        DataType::Timestamp(_, Some(zone)) => {
            matches!(zone.as_ref(), "+00:00" | "UTC" | "Z" | "+00" | "Etc/UTC")
        }
        DataType::List(item) | DataType::LargeList(item) | DataType::ListView(item) => {
            is_utc(item.data_type())
        }
        DataType::Struct(fields) => fields.iter().all(|field| is_utc(field.data_type())),
        _ => true,
    }
}

/// Six digits, but never fewer than two decimals: enough to compare, and cents stay.
pub(super) fn short(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || !value.is_finite() {
        // -0 too is nothing more than 0 to a reader.
        return if value == 0.0 { "0".to_owned() } else { value.to_string() };
    }
    if !(1e-4..1e15).contains(&size) {
        let text = format!("{value:.5e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        return format!("{}e{exponent}", digits.trim_end_matches('0').trim_end_matches('.'));
    }
    let whole_digits = if size < 1.0 { 0 } else { size.log10() as usize + 1 };
    let decimals = 6usize.saturating_sub(whole_digits).max(2);
    let text = format!("{value:.decimals$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn bytes(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) => printable(text),
        Err(_) => value.iter().fold("\\x".to_owned(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        }),
    }
}

// A cell stays on its line, and a payload moves no cursor.
fn printable(text: &str) -> String {
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    text.chars().fold(String::with_capacity(text.len() + 8), |mut out, char| {
        if char.is_control() {
            out.extend(char.escape_default())
        } else {
            out.push(char)
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_short_but_keep_cents() {
        let check = |value: f64, expected: &str| assert_eq!(short(value), expected);
        check(0.0, "0");
        check(-0.0, "0");
        check(2.0, "2");
        check(0.1 + 0.2, "0.3");
        check(-1.0 / 3.0, "-0.333333");
        check(1234.56789, "1234.57");
        check(123_456_789.126, "123456789.13");
        check(0.000_123_456, "0.000123");
        check(0.000_012_345_6, "1.23456e-5");
        check(2e-7, "2e-7");
        check(6.02e23, "6.02e23");
        check(f64::NAN, "NaN");
        check(f64::NEG_INFINITY, "-inf");
    }

    #[test]
    fn payloads_are_text_or_hexadecimal_and_move_no_cursor() {
        assert_eq!(bytes(b"{\"a\":1}"), "{\"a\":1}");
        assert_eq!(bytes(b"a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(bytes(&[0xff, 0x00]), "\\xff00");
    }
}
