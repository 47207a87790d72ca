//! A growing column: what a decoder appends to, and can take back from.
//!
//! Arrow's own builders can't be truncated, and a rejected row must leave no trace. A column here is a plain vector of
//! values (for texts and lists: offsets and what they point into) and the short list of the rows that are null. It moves
//! into Arrow without copying.

use std::mem;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, Decimal128Array, Float64Array, Int64Array,
    ListArray, StringArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field as ArrowField};

use crate::field::{DECIMAL_PRECISION, FieldType};
use crate::time;

/// A column under construction.
#[derive(Debug)]
pub(crate) struct Column {
    values: Values,
    /// The rows that are null, ascending: most columns have few, and none cost nothing.
    nulls: Vec<u32>,
}

#[derive(Debug)]
enum Values {
    Bool(Vec<bool>),
    Int64(Vec<i64>),
    UInt64(Vec<u64>),
    Float64(Vec<f64>),
    Decimal(Vec<i128>, u8),
    Timestamp(Vec<i64>),
    String(Spans, Vec<u8>),
    Binary(Spans, Vec<u8>),
    List(Spans, Box<Column>),
}

/// Arrow offsets: where each row's share of the values ends. Starts with a 0.
#[derive(Debug)]
struct Spans(Vec<i32>);

impl Spans {
    fn with_capacity(rows: usize) -> Spans {
        let mut ends = Vec::with_capacity(rows + 1);
        ends.push(0);
        Spans(ends)
    }

    fn rows(&self) -> usize {
        self.0.len() - 1
    }

    #[inline]
    fn close(&mut self, end: usize) {
        self.0
            .push(i32::try_from(end).expect("invariant: a decoder is finished before a column holds 2 GiB"));
    }

    /// Keeps `rows` rows and returns where the last of them ends.
    fn truncate(&mut self, rows: usize) -> usize {
        self.0.truncate(rows + 1);
        self.0[rows] as usize
    }

    /// The offsets; a fresh start with room for as many rows stays behind.
    fn take(&mut self) -> OffsetBuffer<i32> {
        let fresh = Spans::with_capacity(self.rows());
        OffsetBuffer::new(mem::replace(self, fresh).0.into())
    }
}

/// The vector's content; an empty one with the same room stays behind, so that the next batch need not grow again.
fn take<T>(values: &mut Vec<T>) -> Vec<T> {
    let fresh = Vec::with_capacity(values.len());
    mem::replace(values, fresh)
}

#[cold]
fn mistyped() -> ! {
    panic!("invariant: a value is appended to a column of its own type")
}

impl Column {
    /// An empty column for values of a type.
    pub(crate) fn new(field_type: &FieldType) -> Column {
        let values = match field_type {
            FieldType::Bool => Values::Bool(Vec::new()),
            FieldType::Int64 => Values::Int64(Vec::new()),
            FieldType::UInt64 => Values::UInt64(Vec::new()),
            FieldType::Float64 => Values::Float64(Vec::new()),
            FieldType::Decimal { scale } => Values::Decimal(Vec::new(), *scale),
            FieldType::Timestamp(_) => Values::Timestamp(Vec::new()),
            FieldType::String => Values::String(Spans::with_capacity(0), Vec::new()),
            FieldType::List(element) => Values::List(Spans::with_capacity(0), Box::new(Column::new(element))),
        };
        Column { values, nulls: Vec::new() }
    }

    /// An empty column of payloads as they are.
    pub(crate) fn binary() -> Column {
        Column { values: Values::Binary(Spans::with_capacity(0), Vec::new()), nulls: Vec::new() }
    }

    pub(crate) fn rows(&self) -> usize {
        match &self.values {
            Values::Bool(values) => values.len(),
            Values::Int64(values) | Values::Timestamp(values) => values.len(),
            Values::UInt64(values) => values.len(),
            Values::Float64(values) => values.len(),
            Values::Decimal(values, _) => values.len(),
            Values::String(spans, _) | Values::Binary(spans, _) | Values::List(spans, _) => spans.rows(),
        }
    }

    #[inline]
    pub(crate) fn push_bool(&mut self, value: bool) {
        match &mut self.values {
            Values::Bool(values) => values.push(value),
            _ => mistyped(),
        }
    }

    #[inline]
    pub(crate) fn push_i64(&mut self, value: i64) {
        match &mut self.values {
            Values::Int64(values) | Values::Timestamp(values) => values.push(value),
            _ => mistyped(),
        }
    }

    #[inline]
    pub(crate) fn push_u64(&mut self, value: u64) {
        match &mut self.values {
            Values::UInt64(values) => values.push(value),
            _ => mistyped(),
        }
    }

    #[inline]
    pub(crate) fn push_f64(&mut self, value: f64) {
        match &mut self.values {
            Values::Float64(values) => values.push(value),
            _ => mistyped(),
        }
    }

    /// Appends a decimal, in units of its last digit.
    #[inline]
    pub(crate) fn push_decimal(&mut self, unscaled: i64) {
        match &mut self.values {
            Values::Decimal(values, _) => values.push(i128::from(unscaled)),
            _ => mistyped(),
        }
    }

    /// Appends a text or a payload whole. For a text the bytes must be UTF-8.
    #[inline]
    pub(crate) fn push_bytes(&mut self, value: &[u8]) {
        match &mut self.values {
            Values::String(spans, bytes) | Values::Binary(spans, bytes) => {
                bytes.extend_from_slice(value);
                spans.close(bytes.len());
            }
            _ => mistyped(),
        }
    }

    /// Appends a text that `write` puts at the end of the column's bytes.
    pub(crate) fn push_text_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        match &mut self.values {
            Values::String(spans, bytes) => {
                write(bytes);
                spans.close(bytes.len());
            }
            _ => mistyped(),
        }
    }

    /// The column of a list's elements. What is appended there belongs to the row that [`Column::close_list`] ends.
    #[inline]
    pub(crate) fn elements(&mut self) -> &mut Column {
        match &mut self.values {
            Values::List(_, elements) => elements,
            _ => mistyped(),
        }
    }

    /// Ends a row of a list column.
    pub(crate) fn close_list(&mut self) {
        match &mut self.values {
            Values::List(spans, elements) => spans.close(elements.rows()),
            _ => mistyped(),
        }
    }

    pub(crate) fn push_null(&mut self) {
        self.nulls.push(self.rows() as u32);
        match &mut self.values {
            Values::Bool(values) => values.push(false),
            Values::Int64(values) | Values::Timestamp(values) => values.push(0),
            Values::UInt64(values) => values.push(0),
            Values::Float64(values) => values.push(0.0),
            Values::Decimal(values, _) => values.push(0),
            Values::String(spans, bytes) | Values::Binary(spans, bytes) => spans.close(bytes.len()),
            Values::List(spans, elements) => spans.close(elements.rows()),
        }
    }

    /// Takes back all rows from `rows` on, and what a list's unfinished row has gathered.
    pub(crate) fn truncate(&mut self, rows: usize) {
        if self.rows() < rows {
            return;
        }
        while self.nulls.last().is_some_and(|row| *row as usize >= rows) {
            self.nulls.pop();
        }
        match &mut self.values {
            Values::Bool(values) => values.truncate(rows),
            Values::Int64(values) | Values::Timestamp(values) => values.truncate(rows),
            Values::UInt64(values) => values.truncate(rows),
            Values::Float64(values) => values.truncate(rows),
            Values::Decimal(values, _) => values.truncate(rows),
            Values::String(spans, bytes) | Values::Binary(spans, bytes) => {
                bytes.truncate(spans.truncate(rows))
            }
            Values::List(spans, elements) => elements.truncate(spans.truncate(rows)),
        }
    }

    /// The last row's value, where it is a timestamp and not null. Microseconds.
    pub(crate) fn last_timestamp(&self) -> Option<i64> {
        match &self.values {
            Values::Timestamp(values) => {
                let last = values.len().checked_sub(1)?;
                (self.nulls.last() != Some(&(last as u32))).then(|| values[last])
            }
            _ => None,
        }
    }

    /// Bytes of values held, for deciding when a batch is large enough.
    pub(crate) fn bytes(&self) -> usize {
        match &self.values {
            Values::Bool(values) => values.len(),
            Values::Int64(values) | Values::Timestamp(values) => values.len() * 8,
            Values::UInt64(values) => values.len() * 8,
            Values::Float64(values) => values.len() * 8,
            Values::Decimal(values, _) => values.len() * 16,
            Values::String(spans, bytes) | Values::Binary(spans, bytes) => spans.rows() * 4 + bytes.len(),
            Values::List(spans, elements) => spans.rows() * 4 + elements.bytes(),
        }
    }

    /// The column as an Arrow array; it is empty afterwards.
    pub(crate) fn finish(&mut self) -> ArrayRef {
        let nulls = null_buffer(self.rows(), &mut self.nulls);
        match &mut self.values {
            Values::Bool(values) => Arc::new(BooleanArray::new(BooleanBuffer::from(take(values)), nulls)),
            Values::Int64(values) => Arc::new(Int64Array::new(take(values).into(), nulls)),
            Values::UInt64(values) => Arc::new(UInt64Array::new(take(values).into(), nulls)),
            Values::Float64(values) => Arc::new(Float64Array::new(take(values).into(), nulls)),
            Values::Decimal(values, scale) => {
                let data_type = DataType::Decimal128(DECIMAL_PRECISION, *scale as i8);
                Arc::new(Decimal128Array::new(take(values).into(), nulls).with_data_type(data_type))
            }
            Values::Timestamp(values) => Arc::new(
                TimestampMicrosecondArray::new(take(values).into(), nulls).with_timezone(time::time_zone()),
            ),
            Values::String(spans, bytes) => {
                Arc::new(StringArray::new(spans.take(), Buffer::from_vec(take(bytes)), nulls))
            }
            Values::Binary(spans, bytes) => {
                Arc::new(BinaryArray::new(spans.take(), Buffer::from_vec(take(bytes)), nulls))
            }
            Values::List(spans, elements) => {
                let elements = elements.finish();
                let element = Arc::new(ArrowField::new_list_field(elements.data_type().clone(), true));
                Arc::new(ListArray::new(element, spans.take(), elements, nulls))
            }
        }
    }
}

/// The validity of a column, and its list of nulls emptied. `None`: no null.
fn null_buffer(rows: usize, nulls: &mut Vec<u32>) -> Option<NullBuffer> {
    if nulls.is_empty() {
        return None;
    }
    let mut valid = BooleanBufferBuilder::new(rows);
    valid.append_n(rows, true);
    for row in nulls.drain(..) {
        valid.set_bit(row as usize, false);
    }
    Some(NullBuffer::new(valid.finish()))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};

    use super::*;
    use crate::field::TimestampEncoding;

    #[test]
    fn truncation_takes_back_values_nulls_and_open_lists() {
        let mut column = Column::new(&FieldType::List(Box::new(FieldType::String)));
        column.elements().push_bytes(b"a");
        column.elements().push_null();
        column.close_list();
        column.push_null();
        column.elements().push_bytes(b"never closed");
        column.truncate(2);
        assert_eq!(column.rows(), 2);
        column.elements().push_bytes(b"b");
        column.close_list();
        column.truncate(3);
        column.truncate(9);

        let array = column.finish();
        let list = array.as_list::<i32>();
        assert_eq!(list.len(), 3);
        assert!(list.is_null(1));
        assert_eq!(list.value(0).as_string::<i32>().iter().collect::<Vec<_>>(), [Some("a"), None]);
        assert_eq!(list.value(2).as_string::<i32>().iter().collect::<Vec<_>>(), [Some("b")]);
        assert_eq!(column.rows(), 0);
        assert_eq!(column.finish().len(), 0);
    }

    #[test]
    fn every_type_finishes_as_its_arrow_type() {
        let scalars = [
            FieldType::Bool,
            FieldType::Int64,
            FieldType::UInt64,
            FieldType::Float64,
            FieldType::Decimal { scale: 6 },
            FieldType::String,
            FieldType::Timestamp(TimestampEncoding::Millis),
        ];
        let lists = scalars.clone().map(|scalar| FieldType::List(Box::new(scalar)));
        for field_type in scalars.iter().chain(&lists) {
            let mut column = Column::new(field_type);
            column.push_null();
            let array = column.finish();
            assert_eq!(array.data_type(), &field_type.arrow());
            assert_eq!((array.len(), array.null_count()), (1, 1));
        }
    }

    #[test]
    fn last_timestamp_sees_nulls_and_roll_back() {
        let mut column = Column::new(&FieldType::Timestamp(TimestampEncoding::Micros));
        assert_eq!(column.last_timestamp(), None);
        column.push_i64(7);
        column.push_null();
        assert_eq!(column.last_timestamp(), None);
        column.truncate(1);
        assert_eq!(column.last_timestamp(), Some(7));
    }
}
