//! Values of any type as keys in their total order: what `min`, `first`, `arg_max`, `top_k` and `count(distinct)` hold.
//!
//! ```text
//!   Boolean, integers, floats, Date32, Timestamp ─▶ u64        order-preserving bits
//!   Decimal128                                   ─▶ i128       the unscaled number
//!   Utf8, Binary                                 ─▶ Box<[u8]>  the bytes: Utf8 in code point order
//! ```
//!
//! Floats: −0 counts as +0, every NaN as one NaN, which is greater than +∞ (Arrow's total order, with those two merged).

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, Decimal128Array, PrimitiveArray, StringBuilder,
};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use xxhash_rust::xxh3::xxh3_64;

use super::bytes::{Reader, write_varint};

/// Which [`Key`] a type's values become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyKind {
    Narrow,
    Wide,
    Bytes,
}

impl KeyKind {
    /// `None`: values of this type have no key.
    pub(super) fn of(data_type: &DataType) -> Option<KeyKind> {
        match data_type {
            DataType::Boolean | DataType::Float32 | DataType::Float64 | DataType::Date32 => {
                Some(KeyKind::Narrow)
            }
            DataType::Timestamp(..) => Some(KeyKind::Narrow),
            integer if integer.is_integer() => Some(KeyKind::Narrow),
            DataType::Decimal128(..) => Some(KeyKind::Wide),
            DataType::Utf8 | DataType::Binary => Some(KeyKind::Bytes),
            _ => None,
        }
    }
}

/// A value as a key. Its methods that take a type take the type whose [`KeyKind`] leads here.
pub(super) trait Key: Clone + Send + Sized + 'static {
    /// A key in its column.
    type Ref<'a>: Copy;
    /// A column's keys; where the column is null, any.
    type Column<'a>;

    fn column(array: &ArrayRef) -> Self::Column<'_>;
    fn at<'a>(column: &'a Self::Column<'_>, row: usize) -> Self::Ref<'a>;
    fn borrow(&self) -> Self::Ref<'_>;
    fn own(key: Self::Ref<'_>) -> Self;
    fn compare(left: Self::Ref<'_>, right: Self::Ref<'_>) -> Ordering;
    /// xxh3_64 of the canonical bytes: 8 or 16 little-endian ones of a key, or the bytes themselves. Pinned: states hold it.
    fn hash(key: Self::Ref<'_>) -> u64;
    fn heap_bytes(&self) -> usize {
        0
    }
    fn write(key: Self::Ref<'_>, out: &mut Vec<u8>);
    fn read(data_type: &DataType, bytes: &mut Reader<'_>) -> Result<Self, String>;
    /// Keys back as values.
    fn array<'a>(data_type: &DataType, keys: impl Iterator<Item = Option<Self::Ref<'a>>>) -> ArrayRef;
}

/// The bits of a float, ordered as the module says.
#[inline(always)]
pub(super) fn float_key(value: f64) -> u64 {
    let canonical = if value.is_nan() { f64::NAN.to_bits() } else { (value + 0.0).to_bits() };
    // Negative: all bits flipped, so that a greater magnitude is less. Others: above all negative ones.
    canonical ^ (((canonical as i64) >> 63) as u64 | 1 << 63)
}

/// The float of a [`float_key`].
#[inline(always)]
pub(super) fn key_float(key: u64) -> f64 {
    f64::from_bits(key ^ (((!key as i64) >> 63) as u64 | 1 << 63))
}

const SIGN: u64 = 1 << 63;

/// How a primitive type's values become keys and come back.
trait Narrow: ArrowPrimitiveType {
    fn key(value: Self::Native) -> u64;
    fn value(key: u64) -> Self::Native;
}

macro_rules! narrow {
    ($($kind:ty),+; $key:expr, $value:expr) => {
        $(impl Narrow for $kind {
            #[inline(always)]
            fn key(value: Self::Native) -> u64 { ($key)(value.into()) }
            #[inline(always)]
            fn value(key: u64) -> Self::Native { ($value)(key) as Self::Native }
        })+
    };
}
narrow!(Int8Type, Int16Type, Int32Type, Int64Type, Date32Type, TimestampSecondType, TimestampMillisecondType,
    TimestampMicrosecondType, TimestampNanosecondType; |v: i64| v as u64 ^ SIGN, |k: u64| (k ^ SIGN) as i64);
narrow!(UInt8Type, UInt16Type, UInt32Type, UInt64Type; |v: u64| v, |k: u64| k);
narrow!(Float32Type, Float64Type; float_key, key_float);

/// Runs `$body` with `$kind` as the Arrow type of a narrow primitive data type; Boolean is the caller's.
macro_rules! with_narrow {
    ($data_type:expr, $kind:ident => $body:expr) => {
        match $data_type {
            DataType::Int8 => {
                type $kind = Int8Type;
                $body
            }
            DataType::Int16 => {
                type $kind = Int16Type;
                $body
            }
            DataType::Int32 => {
                type $kind = Int32Type;
                $body
            }
            DataType::Int64 => {
                type $kind = Int64Type;
                $body
            }
            DataType::UInt8 => {
                type $kind = UInt8Type;
                $body
            }
            DataType::UInt16 => {
                type $kind = UInt16Type;
                $body
            }
            DataType::UInt32 => {
                type $kind = UInt32Type;
                $body
            }
            DataType::UInt64 => {
                type $kind = UInt64Type;
                $body
            }
            DataType::Float32 => {
                type $kind = Float32Type;
                $body
            }
            DataType::Float64 => {
                type $kind = Float64Type;
                $body
            }
            DataType::Date32 => {
                type $kind = Date32Type;
                $body
            }
            DataType::Timestamp(TimeUnit::Second, _) => {
                type $kind = TimestampSecondType;
                $body
            }
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                type $kind = TimestampMillisecondType;
                $body
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                type $kind = TimestampMicrosecondType;
                $body
            }
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                type $kind = TimestampNanosecondType;
                $body
            }
            other => unreachable!("invariant: {other} has no narrow key, and Aggregate::new refused it"),
        }
    };
}

/// Whether a value of a type has this key.
fn is_canonical(data_type: &DataType, key: u64) -> bool {
    fn survives<T: Narrow>(key: u64) -> bool {
        T::key(T::value(key)) == key
    }
    match data_type {
        DataType::Boolean => key <= 1,
        other => with_narrow!(other, T => survives::<T>(key)),
    }
}

impl Key for u64 {
    type Ref<'a> = u64;
    type Column<'a> = Vec<u64>;

    fn column(array: &ArrayRef) -> Vec<u64> {
        fn keys<T: Narrow>(array: &ArrayRef) -> Vec<u64> {
            array.as_primitive::<T>().values().iter().map(|&value| T::key(value)).collect()
        }
        match array.data_type() {
            DataType::Boolean => array.as_boolean().values().iter().map(u64::from).collect(),
            other => with_narrow!(other, T => keys::<T>(array)),
        }
    }

    #[inline(always)]
    fn at(column: &Vec<u64>, row: usize) -> u64 {
        column[row]
    }

    #[inline(always)]
    fn borrow(&self) -> u64 {
        *self
    }

    #[inline(always)]
    fn own(key: u64) -> u64 {
        key
    }

    #[inline(always)]
    fn compare(left: u64, right: u64) -> Ordering {
        left.cmp(&right)
    }

    #[inline(always)]
    fn hash(key: u64) -> u64 {
        xxh3_64(&key.to_le_bytes())
    }

    fn write(key: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&key.to_le_bytes());
    }

    fn read(data_type: &DataType, bytes: &mut Reader<'_>) -> Result<u64, String> {
        let key = bytes.u64()?;
        if is_canonical(data_type, key) { Ok(key) } else { Err(format!("{key:#x} is no {data_type}")) }
    }

    fn array<'a>(data_type: &DataType, keys: impl Iterator<Item = Option<Self::Ref<'a>>>) -> ArrayRef {
        fn values<T: Narrow>(data_type: &DataType, keys: impl Iterator<Item = Option<u64>>) -> ArrayRef {
            let values: PrimitiveArray<T> = keys.map(|key| key.map(T::value)).collect();
            Arc::new(values.with_data_type(data_type.clone()))
        }
        match data_type {
            DataType::Boolean => Arc::new(keys.map(|key| key.map(|key| key != 0)).collect::<BooleanArray>()),
            other => with_narrow!(other, T => values::<T>(other, keys)),
        }
    }
}

impl Key for i128 {
    type Ref<'a> = i128;
    type Column<'a> = &'a [i128];

    fn column(array: &ArrayRef) -> &[i128] {
        array.as_primitive::<Decimal128Type>().values()
    }

    #[inline(always)]
    fn at(column: &&[i128], row: usize) -> i128 {
        column[row]
    }

    #[inline(always)]
    fn borrow(&self) -> i128 {
        *self
    }

    #[inline(always)]
    fn own(key: i128) -> i128 {
        key
    }

    #[inline(always)]
    fn compare(left: i128, right: i128) -> Ordering {
        left.cmp(&right)
    }

    fn hash(key: i128) -> u64 {
        xxh3_64(&key.to_le_bytes())
    }

    fn write(key: i128, out: &mut Vec<u8>) {
        out.extend_from_slice(&key.to_le_bytes());
    }

    fn read(_: &DataType, bytes: &mut Reader<'_>) -> Result<i128, String> {
        Ok(i128::from_le_bytes(bytes.array()?))
    }

    fn array<'a>(data_type: &DataType, keys: impl Iterator<Item = Option<Self::Ref<'a>>>) -> ArrayRef {
        Arc::new(keys.collect::<Decimal128Array>().with_data_type(data_type.clone()))
    }
}

/// The keys of a Utf8 or Binary column: where each begins, and all bytes.
pub(super) struct BytesColumn<'a> {
    offsets: &'a [i32],
    bytes: &'a [u8],
}

impl Key for Box<[u8]> {
    type Ref<'a> = &'a [u8];
    type Column<'a> = BytesColumn<'a>;

    fn column(array: &ArrayRef) -> BytesColumn<'_> {
        if array.data_type() == &DataType::Utf8 {
            let array = array.as_string::<i32>();
            BytesColumn { offsets: array.value_offsets(), bytes: array.value_data() }
        } else {
            let array = array.as_binary::<i32>();
            BytesColumn { offsets: array.value_offsets(), bytes: array.value_data() }
        }
    }

    #[inline(always)]
    fn at<'a>(column: &'a BytesColumn<'_>, row: usize) -> &'a [u8] {
        &column.bytes[column.offsets[row] as usize..column.offsets[row + 1] as usize]
    }

    fn borrow(&self) -> &[u8] {
        self
    }

    fn own(key: &[u8]) -> Box<[u8]> {
        key.into()
    }

    #[inline(always)]
    fn compare(left: &[u8], right: &[u8]) -> Ordering {
        left.cmp(right)
    }

    fn hash(key: &[u8]) -> u64 {
        xxh3_64(key)
    }

    fn heap_bytes(&self) -> usize {
        self.len()
    }

    fn write(key: &[u8], out: &mut Vec<u8>) {
        write_varint(key.len() as u64, out);
        out.extend_from_slice(key);
    }

    fn read(data_type: &DataType, bytes: &mut Reader<'_>) -> Result<Box<[u8]>, String> {
        let length = usize::try_from(bytes.varint()?).map_err(|_| "a length is too large")?;
        let key = bytes.take(length)?;
        if data_type == &DataType::Utf8 && std::str::from_utf8(key).is_err() {
            return Err("a string is not UTF-8".to_owned());
        }
        Ok(key.into())
    }

    fn array<'a>(data_type: &DataType, keys: impl Iterator<Item = Option<&'a [u8]>>) -> ArrayRef {
        if data_type == &DataType::Utf8 {
            let mut builder = StringBuilder::new();
            for key in keys {
                let text = key.map(|key| std::str::from_utf8(key).expect("invariant: a Utf8 column's bytes"));
                builder.append_option(text);
            }
            Arc::new(builder.finish())
        } else {
            let mut builder = BinaryBuilder::new();
            keys.for_each(|key| builder.append_option(key));
            Arc::new(builder.finish())
        }
    }
}

/// Runs `$body` with `$key` as the [`Key`] of a data type that has one.
macro_rules! with_key {
    ($data_type:expr, $key:ident => $body:expr) => {
        match $crate::aggregate::values::KeyKind::of($data_type)
            .expect("invariant: Aggregate::new checked the types")
        {
            $crate::aggregate::values::KeyKind::Narrow => {
                type $key = u64;
                $body
            }
            $crate::aggregate::values::KeyKind::Wide => {
                type $key = i128;
                $body
            }
            $crate::aggregate::values::KeyKind::Bytes => {
                type $key = Box<[u8]>;
                $body
            }
        }
    };
}
pub(super) use with_key;
