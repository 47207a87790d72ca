//! Rows in, columns out: the face of this crate that a source sees.
//!
//! A decoder belongs to one worker and one source. It only ever appends; a row that is refused, or that turns out late,
//! is taken back without a trace.

use std::mem;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field as ArrowField};

use crate::column::Column;
use crate::json::JsonRows;
use crate::rejection::{Reason, Rejection};
use crate::schema::Schema;

/// How long a payload may be unless [`Decoder::with_payload_bytes_max`] says otherwise: 8 MiB.
pub const PAYLOAD_BYTES_MAX: usize = 8 << 20;

/// Raised when a payload comes to mean another row, or to be refused where it was not: rows that were decoded and kept are decoded again.
pub const DECODER_VERSION: u32 = 1;

/// How a payload is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a payload.
    Json,
    /// Anything: the payload is one binary column, `value`. It has no schema.
    Raw,
}

impl Format {
    /// Every format, in the order in which messages list them.
    pub const ALL: [Format; 2] = [Format::Json, Format::Raw];

    /// As a pipeline writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::Raw => "raw",
        }
    }
}

/// The one column of the format `raw`: `value`, Binary, never null.
pub fn raw_field() -> ArrowField {
    ArrowField::new("value", DataType::Binary, false)
}

/// Turns payloads into columns, row by row.
///
/// ```
/// use arrow::array::AsArray;
/// use thalweg_schemas::{Decoder, Field, FieldType, Format, Reason, Schema};
///
/// let schema = Schema {
///     name: "call".into(),
///     description: None,
///     fields: vec![
///         Field::new("provider", FieldType::String).required(),
///         Field::new("user_id", FieldType::String).at("user.id"),
///     ],
/// };
/// let mut decoder = Decoder::new(Format::Json, &schema, &[1]);
/// decoder.push(Some(br#"{"user": {"id": "u7", "x": 1}, "provider": "a"}"#))?;
/// let fault = decoder.push(Some(br#"{"user": {"id": 7}, "provider": "a"}"#)).unwrap_err();
/// assert_eq!((fault.reason, fault.field.as_deref()), (Reason::WrongType, Some("user.id")));
/// assert_eq!(decoder.finish()[0].as_string::<i32>().value(0), "u7");
/// # Ok::<(), thalweg_schemas::Rejection>(())
/// ```
#[derive(Debug)]
pub struct Decoder {
    rows: usize,
    payload_bytes_max: usize,
    format: FormatRows,
}

#[derive(Debug)]
enum FormatRows {
    Json(JsonRows),
    Raw(Column),
}

impl Decoder {
    /// A decoder whose columns are those of `columns`: indexes into the schema's fields, in the order wanted. Fields that
    /// aren't among them are checked all the same, so that a row's fate does not hang on what a pipeline selects.
    ///
    /// With [`Format::Raw`] schema and columns don't matter: the one column is [`raw_field`].
    ///
    /// # Panics
    /// If an index is out of range or occurs twice, or the schema breaks the rules of [`Schema::check`].
    pub fn new(format: Format, schema: &Schema, columns: &[usize]) -> Decoder {
        let format = match format {
            Format::Json => FormatRows::Json(JsonRows::new(schema, columns)),
            Format::Raw => FormatRows::Raw(Column::binary()),
        };
        Decoder { rows: 0, payload_bytes_max: PAYLOAD_BYTES_MAX, format }
    }

    /// The same decoder, refusing payloads of more than `bytes` bytes.
    pub fn with_payload_bytes_max(mut self, bytes: usize) -> Decoder {
        self.payload_bytes_max = bytes;
        self
    }

    /// Appends one row, or leaves the decoder as it was.
    ///
    /// # Errors
    /// The row's [`Rejection`]. Where several things are wrong with a payload it names the first in this order: no
    /// payload, too large, not UTF-8, then faults in the order of the bytes, then fields that are absent.
    ///
    /// # Panics
    /// If a column comes to hold 2 GiB: finish the decoder long before, by [`Decoder::len`] or [`Decoder::bytes`].
    #[inline]
    pub fn push(&mut self, payload: Option<&[u8]>) -> Result<(), Rejection> {
        let Some(payload) = payload else { return Err(no_value()) };
        if payload.len() > self.payload_bytes_max {
            return Err(too_large(payload.len(), self.payload_bytes_max));
        }
        match &mut self.format {
            FormatRows::Json(rows) => rows.push(payload, self.rows)?,
            FormatRows::Raw(column) => column.push_bytes(payload),
        }
        self.rows += 1;
        Ok(())
    }

    /// Takes back the row pushed last. Does nothing when the decoder is empty.
    pub fn pop(&mut self) {
        self.rows = self.rows.saturating_sub(1);
        match &mut self.format {
            FormatRows::Json(rows) => rows.truncate(self.rows),
            FormatRows::Raw(column) => column.truncate(self.rows),
        }
    }

    /// What the row pushed last holds in a timestamp field (an index into the schema's fields), in microseconds since
    /// the epoch. `None` if it is null there, there is no row, or the field is no timestamp among the decoder's columns.
    #[inline]
    pub fn last_timestamp(&self, field: usize) -> Option<i64> {
        match &self.format {
            FormatRows::Json(rows) => rows.last_timestamp(field),
            FormatRows::Raw(_) => None,
        }
    }

    /// Rows held.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether no row is held.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Bytes of values held, about as large as the arrays that [`Decoder::finish`] would give.
    pub fn bytes(&self) -> usize {
        match &self.format {
            FormatRows::Json(rows) => rows.bytes(),
            FormatRows::Raw(column) => column.bytes(),
        }
    }

    /// The columns, [`Decoder::len`] rows each, in the order given to [`Decoder::new`]; the decoder is empty again.
    pub fn finish(&mut self) -> Vec<ArrayRef> {
        mem::take(&mut self.rows);
        match &mut self.format {
            FormatRows::Json(rows) => rows.finish(),
            FormatRows::Raw(column) => vec![column.finish()],
        }
    }
}

#[cold]
fn no_value() -> Rejection {
    let detail = "the record has no payload (a tombstone)".to_owned();
    Rejection { reason: Reason::NoValue, field: None, detail }
}

#[cold]
fn too_large(bytes: usize, bytes_max: usize) -> Rejection {
    let detail = format!("the payload has {bytes} bytes, more than the {bytes_max} allowed");
    Rejection { reason: Reason::TooLarge, field: None, detail }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};

    use super::*;

    fn raw() -> Decoder {
        let schema = Schema { name: "raw".into(), description: None, fields: Vec::new() };
        Decoder::new(Format::Raw, &schema, &[])
    }

    #[test]
    fn raw_keeps_any_bytes() {
        let mut decoder = raw();
        for payload in [&b"\xff\x00"[..], b"", b"late", b"x"] {
            decoder.push(Some(payload)).expect("raw takes anything");
            if payload == b"late" {
                decoder.pop();
            }
        }
        assert_eq!(decoder.len(), 3);
        let columns = decoder.finish();
        assert_eq!(columns.len(), 1);
        assert_eq!(columns[0].data_type(), raw_field().data_type());
        let values: Vec<_> = columns[0].as_binary::<i32>().iter().flatten().collect();
        assert_eq!(values, [&b"\xff\x00"[..], b"", b"x"]);
        assert!(decoder.is_empty());
    }

    #[test]
    fn tombstones_and_giants_are_refused_in_every_format() {
        let mut decoder = raw().with_payload_bytes_max(3);
        assert_eq!(decoder.push(None).unwrap_err().reason, Reason::NoValue);
        let fault = decoder.push(Some(b"four")).unwrap_err();
        assert_eq!(fault.reason, Reason::TooLarge);
        assert_eq!(fault.detail, "the payload has 4 bytes, more than the 3 allowed");
        assert_eq!(decoder.len(), 0);
        decoder.pop();
        assert_eq!(decoder.len(), 0);
    }
}
