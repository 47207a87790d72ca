//! Key columns ↔ bytes: any number of columns of any scalar type become one byte string, compared and hashed as a whole.
//!
//! The bytes are Arrow's row format, in which equal rows have equal bytes, nulls included. Floats are made canonical before:
//! −0 is the key +0, and all NaNs are one key, as in SQL's `group by`.

use std::ops::Deref;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch, UInt64Array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};
use thalweg_engine::control::JobError;
use thalweg_engine::exchange::HASH;
use thalweg_engine::shard::hash_key;
use thalweg_schemas::time::timestamp_type;

use super::KeyedRows;
use crate::rows::{OFFSET, SPLIT, TIME};

/// The name of the column of key bytes.
pub(crate) const KEY: &str = "__key";
/// Where the columns of a keyed batch stand; then come split and offset where wanted, and the inputs.
pub(crate) const KEY_AT: usize = 1;
pub(crate) const TIME_AT: usize = 2;

/// Makes keyed batches: hash, key bytes, event time, [split, offset,] inputs.
pub(crate) struct KeyEncoder {
    converter: Option<RowConverter>,
    order: bool,
    schema: SchemaRef,
}

impl KeyEncoder {
    /// For these key columns, and these columns of [`KeyedRows::inputs`]; `order`: with split and offset.
    pub(crate) fn new(keys: &[Field], inputs: impl IntoIterator<Item = Field>, order: bool) -> Self {
        let mut fields = vec![
            Field::new(HASH, DataType::UInt64, false),
            Field::new(KEY, DataType::Binary, false),
            Field::new(TIME, timestamp_type(), false),
        ];
        if order {
            fields.extend([
                Field::new(SPLIT, DataType::Int64, false),
                Field::new(OFFSET, DataType::Int64, false),
            ]);
        }
        fields.extend(inputs);
        KeyEncoder { converter: converter(keys), order, schema: Arc::new(Schema::new(fields)) }
    }

    /// The columns of a keyed batch.
    pub(crate) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// A keyed batch of the rows.
    pub(crate) fn encode(&mut self, rows: KeyedRows) -> Result<RecordBatch, JobError> {
        let count = rows.time.len();
        let keys = match &mut self.converter {
            Some(converter) => {
                let columns: Vec<ArrayRef> = rows.keys.iter().map(canonical).collect();
                converter.convert_columns(&columns)?.try_into_binary()?
            }
            None => BinaryArray::new(OffsetBuffer::new_zeroed(count), Vec::<u8>::new().into(), None),
        };
        let hashes = UInt64Array::from_iter_values((0..count).map(|row| hash_key(keys.value(row))));
        let mut columns: Vec<ArrayRef> = vec![Arc::new(hashes), Arc::new(keys), rows.time];
        if self.order {
            // A stream that came out of a window has no splits: its rows are told apart by time and value.
            let (split, offset) = rows.order.unwrap_or_else(|| {
                let zeros: ArrayRef = Arc::new(Int64Array::from(vec![0; count]));
                (Arc::clone(&zeros), zeros)
            });
            columns.extend([split, offset]);
        }
        columns.extend(rows.inputs);
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

/// Turns key bytes back into key columns.
pub(crate) struct KeyDecoder {
    converter: Option<RowConverter>,
}

impl KeyDecoder {
    pub(crate) fn new(keys: &[Field]) -> Self {
        KeyDecoder { converter: converter(keys) }
    }

    /// The key columns of the given keys, in their order.
    pub(crate) fn decode<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>, JobError> {
        match &self.converter {
            Some(converter) => {
                let parser = converter.parser();
                Ok(converter.convert_rows(keys.map(|key| parser.parse(key)))?)
            }
            None => Ok(Vec::new()),
        }
    }
}

/// A key's bytes, kept. Most keys are short: they lie where they are compared, not on the heap.
#[derive(Clone)]
pub(crate) enum Key {
    Short { length: u8, bytes: [u8; Key::SHORT_MAX] },
    Long(Box<[u8]>),
}

impl Key {
    /// As many bytes as fit beside a box's tag and length.
    const SHORT_MAX: usize = 22;
}

impl Default for Key {
    fn default() -> Self {
        Key::Short { length: 0, bytes: [0; Key::SHORT_MAX] }
    }
}

impl From<&[u8]> for Key {
    fn from(key: &[u8]) -> Self {
        if key.len() > Key::SHORT_MAX {
            return Key::Long(key.into());
        }
        let mut bytes = [0; Key::SHORT_MAX];
        bytes[..key.len()].copy_from_slice(key);
        Key::Short { length: key.len() as u8, bytes }
    }
}

impl Deref for Key {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        match self {
            Key::Short { length, bytes } => &bytes[..usize::from(*length)],
            Key::Long(bytes) => bytes,
        }
    }
}

fn converter(keys: &[Field]) -> Option<RowConverter> {
    let fields: Vec<SortField> = keys.iter().map(|key| SortField::new(key.data_type().clone())).collect();
    (!fields.is_empty())
        .then(|| RowConverter::new(fields).expect("invariant: a checked key type has a row format"))
}

/// Whether columns of this type can be keys.
pub fn is_key_type(data_type: &DataType) -> bool {
    !data_type.is_nested() && RowConverter::new(vec![SortField::new(data_type.clone())]).is_ok()
}

fn canonical(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float64 => {
            let values = column.as_primitive::<Float64Type>();
            Arc::new(values.unary::<_, Float64Type>(|x| if x.is_nan() { f64::NAN } else { x + 0.0 }))
        }
        DataType::Float32 => {
            let values = column.as_primitive::<Float32Type>();
            Arc::new(values.unary::<_, Float32Type>(|x| if x.is_nan() { f32::NAN } else { x + 0.0 }))
        }
        _ => Arc::clone(column),
    }
}
