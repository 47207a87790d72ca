//! Hive folders: `window_date=2026-01-15/provider=open%20ai/…` are columns whose values stand in the path.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{Result, ScalarValue};

/// The value of a folder whose rows have none, as Hive and our Parquet sink write it.
const NO_VALUE: &str = "__HIVE_DEFAULT_PARTITION__";

/// The columns in a path's folders, outermost first; a null is `None`. Folders without `=` say nothing.
pub(crate) fn columns_of<'a>(folders: impl Iterator<Item = &'a str>) -> Vec<(String, Option<String>)> {
    folders
        .filter_map(|folder| folder.split_once('='))
        .map(|(column, value)| (decoded(column), (value != NO_VALUE).then(|| decoded(value))))
        .collect()
}

// Undoes percent-encoding. What is no UTF-8 after it stays as it was.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

/// The narrowest type that shows all `values` just as they are written: a date, a whole number, a boolean,
/// a timestamp in UTC; else a string. No value at all gives a string.
pub(crate) fn type_of<'a>(values: impl Iterator<Item = &'a str> + Clone) -> DataType {
    if values.clone().next().is_none() {
        return DataType::Utf8;
    }
    type Fits = fn(&str) -> bool;
    let fits: [(Fits, DataType); 4] = [
        (is_date, DataType::Date32),
        // `007` is no number: it would come back as 7.
        (|text| text.parse::<i64>().is_ok_and(|number| number.to_string() == text), DataType::Int64),
        (|text| matches!(text, "true" | "false"), DataType::Boolean),
        (is_timestamp, timestamp()),
    ];
    let found = fits.into_iter().find(|(fits, _)| values.clone().all(fits));
    found.map_or(DataType::Utf8, |(_, data_type)| data_type)
}

fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
}

fn parses(text: &str, data_type: &DataType) -> bool {
    ScalarValue::try_from_string(text.to_owned(), data_type).is_ok_and(|value| !value.is_null())
}

fn is_date(text: &str) -> bool {
    let shape = text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    shape && parses(text, &DataType::Date32)
}

fn is_timestamp(text: &str) -> bool {
    text.len() >= 20 && text.as_bytes()[10] == b'T' && text.ends_with('Z') && parses(text, &timestamp())
}

/// A column's value in a file's path, as its type has it.
///
/// # Errors
/// The text is no value of that type.
pub(crate) fn value(text: Option<&str>, data_type: &DataType) -> Result<ScalarValue> {
    match text {
        None => ScalarValue::try_from(data_type),
        Some(text) => ScalarValue::try_from_string(text.to_owned(), data_type),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_become_columns() {
        let path =
            ["2026", "window_date=2026-01-15", "name=a%2F%C3%BC %zz=%25", "x=__HIVE_DEFAULT_PARTITION__"];
        let expected = [
            ("window_date".to_owned(), Some("2026-01-15".to_owned())),
            ("name".to_owned(), Some("a/ü %zz=%".to_owned())),
            ("x".to_owned(), None),
        ];
        assert_eq!(columns_of(path.into_iter()), expected);
        assert_eq!(columns_of(["b=%FF"].into_iter()), [("b".to_owned(), Some("%FF".to_owned()))]);
    }

    #[test]
    fn types_are_the_narrowest_that_lose_nothing() {
        let check = |values: &[&str], expected: DataType| {
            assert_eq!(type_of(values.iter().copied()), expected, "{values:?}")
        };
        check(&["2026-01-15", "2024-02-29"], DataType::Date32);
        check(&["2026-01-15", "2023-02-29"], DataType::Utf8);
        check(&["1", "-20"], DataType::Int64);
        check(&["1", "02"], DataType::Utf8);
        check(&["+1"], DataType::Utf8);
        check(&["true", "false"], DataType::Boolean);
        check(&["2026-01-15T10:00:00Z"], timestamp());
        check(&["2026-01-15", "x"], DataType::Utf8);
        check(&[], DataType::Utf8);
    }
}
