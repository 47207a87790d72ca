//! JSON payloads straight into columns: no tree, no intermediate values, one pass over the bytes.
//!
//! ```text
//!   payload ─▶ UTF-8? ─▶ walk: key ─▶ layout's trie ─┬─ a field:   parse as its type ─▶ its column
//!                          ▲   │                     ├─ an object: walk on inside
//!                          └───┴──── next key ◀──────┴─ unknown:   check the grammar, skip
//!   at the end: what was absent becomes null (or the row is rejected) ; at a fault: all columns are cut back
//! ```
//!
//! **Key guess.** Producers write their keys in a fixed order. For each key the one that followed it last time is tried
//! first, with one comparison of bytes; only when that fails is the key's end looked for and the key looked up. The guess
//! can make a row slower, never different.
//!
//! **What is accepted.** RFC 8259, with: at most 128 levels of nesting; no lone surrogates; no fields of the schema
//! twice in an object (unknown keys may). Whole numbers may be written `3.0` or `1e3`. Decimals with more digits than
//! their scale are rounded, a half to even. Of unknown values only the grammar is checked.

use std::str;

use arrow::array::ArrayRef;

use crate::column::Column;
use crate::rejection::Rejection;
use crate::schema::Schema;

mod cursor;
mod fault;
mod layout;
mod number;
mod string;
mod walk;

use cursor::Cursor;
use layout::Layout;
use walk::{Memory, Walk};

/// The columns of JSON payloads.
#[derive(Debug)]
pub(crate) struct JsonRows {
    layout: Layout,
    memory: Memory,
    columns: Vec<Column>,
    /// For each field of the schema the column that holds it.
    column_of_field: Vec<Option<usize>>,
}

impl JsonRows {
    /// See [`Decoder::new`](crate::Decoder::new).
    pub(crate) fn new(schema: &Schema, columns: &[usize]) -> JsonRows {
        if let Err(faults) = schema.check() {
            panic!("invariant: a decoder is given a schema that was checked: {}", faults[0]);
        }
        let mut column_of_field = vec![None; schema.fields.len()];
        for (column, field) in columns.iter().enumerate() {
            let taken = column_of_field[*field].replace(column);
            assert_eq!(taken, None, "invariant: a decoder's columns are distinct");
        }
        let layout = Layout::new(schema, &column_of_field);
        let memory = Memory::new(&layout);
        let columns = columns.iter().map(|field| Column::new(&schema.fields[*field].field_type)).collect();
        JsonRows { layout, memory, columns, column_of_field }
    }

    /// Appends one row behind the `rows` there are, or leaves the columns as they were.
    #[inline]
    pub(crate) fn push(&mut self, payload: &[u8], rows: usize) -> Result<(), Rejection> {
        let text = str::from_utf8(payload).map_err(fault::invalid_utf8)?;
        let cursor = Cursor { bytes: payload, at: 0 };
        let mut walk = Walk::new(cursor, &self.layout, &mut self.memory, &mut self.columns);
        if let Err(fault) = walk.row() {
            self.truncate(rows);
            return Err(fault::rejection(fault, text, &self.layout));
        }
        Ok(())
    }

    /// Takes back all rows from `rows` on.
    pub(crate) fn truncate(&mut self, rows: usize) {
        for column in &mut self.columns {
            column.truncate(rows);
        }
    }

    /// The last row's value of a timestamp field, in microseconds.
    #[inline]
    pub(crate) fn last_timestamp(&self, field: usize) -> Option<i64> {
        self.columns[(*self.column_of_field.get(field)?)?].last_timestamp()
    }

    /// Bytes of values held.
    pub(crate) fn bytes(&self) -> usize {
        self.columns.iter().map(Column::bytes).sum()
    }

    /// The columns as arrays; none of the rows is left.
    pub(crate) fn finish(&mut self) -> Vec<ArrayRef> {
        self.columns.iter_mut().map(Column::finish).collect()
    }
}

#[cfg(test)]
mod tests;
