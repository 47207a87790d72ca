//! Tables and numbers as people read them.

use comfy_table::{CellAlignment, Table, presets};

use crate::run::{SinkSummary, SourceSummary};

/// Digits in groups of three.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// How many of something whose plural takes an s.
pub(super) fn things(number: usize, name: &str) -> String {
    format!("{} {name}{}", count(number as u64), if number == 1 { "" } else { "s" })
}

/// Bytes in a fitting unit.
pub(super) fn bytes(number: u64) -> String {
    indicatif::BinaryBytes(number).to_string()
}

/// What was read.
pub(super) fn sources(sources: &[SourceSummary]) -> Table {
    let mut table = numbers(&["source", "read", "= accepted", "+ late", "+ rejected", "bytes"]);
    for source in sources {
        let counts = [source.read, source.accepted, source.late, source.rejected].map(count);
        table.add_row([vec![source.name.clone()], counts.to_vec(), vec![bytes(source.bytes)]].concat());
    }
    table
}

/// What was written.
pub(super) fn sinks(sinks: &[SinkSummary]) -> Table {
    let mut table = numbers(&["sink", "rows", "files", "bytes"]);
    for sink in sinks {
        table.add_row([sink.name.clone(), count(sink.rows), count(sink.files), bytes(sink.bytes)]);
    }
    table
}

/// A table whose first column is text and whose others are numbers.
pub(super) fn numbers(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped() {
        assert_eq!([0, 1, 1000].map(|number| things(number, "step")), ["0 steps", "1 step", "1,000 steps"]);
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    }
}
