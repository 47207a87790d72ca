//! Numeric arguments as slices of as few types as possible.

use std::borrow::Cow;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};

use super::limbs::{Exact, Natural};

/// Whether a type is one that [`Numbers`] takes.
pub(super) fn is_number(data_type: &DataType) -> bool {
    let float = matches!(data_type, DataType::Float32 | DataType::Float64);
    float || data_type.is_integer() || matches!(data_type, DataType::Decimal128(..))
}

/// A numeric column, widened without loss.
pub(super) enum Numbers<'a> {
    Float(Cow<'a, [f64]>),
    Signed(Cow<'a, [i64]>),
    Unsigned(Cow<'a, [u64]>),
    /// Unscaled numbers, and the scale.
    Decimal(&'a [i128], i8),
}

impl<'a> Numbers<'a> {
    pub(super) fn of(array: &'a ArrayRef) -> Numbers<'a> {
        fn wide<'a, T: ArrowPrimitiveType, W: Clone + From<T::Native>>(array: &'a ArrayRef) -> Cow<'a, [W]> {
            array.as_primitive::<T>().values().iter().map(|&value| W::from(value)).collect()
        }
        match array.data_type() {
            DataType::Float64 => Numbers::Float(Cow::Borrowed(array.as_primitive::<Float64Type>().values())),
            DataType::Float32 => Numbers::Float(wide::<Float32Type, f64>(array)),
            DataType::Int64 => Numbers::Signed(Cow::Borrowed(array.as_primitive::<Int64Type>().values())),
            DataType::Int32 => Numbers::Signed(wide::<Int32Type, i64>(array)),
            DataType::Int16 => Numbers::Signed(wide::<Int16Type, i64>(array)),
            DataType::Int8 => Numbers::Signed(wide::<Int8Type, i64>(array)),
            DataType::UInt64 => Numbers::Unsigned(Cow::Borrowed(array.as_primitive::<UInt64Type>().values())),
            DataType::UInt32 => Numbers::Unsigned(wide::<UInt32Type, u64>(array)),
            DataType::UInt16 => Numbers::Unsigned(wide::<UInt16Type, u64>(array)),
            DataType::UInt8 => Numbers::Unsigned(wide::<UInt8Type, u64>(array)),
            DataType::Decimal128(_, scale) => {
                Numbers::Decimal(array.as_primitive::<Decimal128Type>().values(), *scale)
            }
            other => unreachable!("invariant: {other} is no number, and Aggregate::new refused it"),
        }
    }

    /// The numbers as f64, each rounded once.
    pub(super) fn into_floats(self) -> Cow<'a, [f64]> {
        match self {
            Numbers::Float(values) => values,
            Numbers::Signed(values) => values.iter().map(|&value| value as f64).collect(),
            Numbers::Unsigned(values) => values.iter().map(|&value| value as f64).collect(),
            Numbers::Decimal(values, scale) => {
                values.iter().map(|&value| decimal_to_float(value, scale)).collect()
            }
        }
    }
}

/// The f64 nearest to unscaled · 10^−scale.
fn decimal_to_float(unscaled: i128, scale: i8) -> f64 {
    /// Up to here, powers of ten are f64.
    const EXACT_POWERS: [f64; 23] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17,
        1e18, 1e19, 1e20, 1e21, 1e22,
    ];
    let small = unscaled.unsigned_abs() <= 1 << 53;
    match EXACT_POWERS.get(usize::from(scale.unsigned_abs())) {
        // Both operands are exact, so the one operation rounds once.
        Some(power) if small && scale >= 0 => unscaled as f64 / power,
        Some(power) if small => unscaled as f64 * power,
        _ => {
            let number = Exact {
                negative: unscaled < 0,
                magnitude: Natural::of(unscaled.unsigned_abs()),
                exponent: 0,
            };
            scaled_quotient(&number, scale, 1)
        }
    }
}

/// The f64 nearest to number · 10^−scale / count.
pub(super) fn scaled_quotient(number: &Exact, scale: i8, count: u64) -> f64 {
    let power = Natural::power_of_ten(scale.unsigned_abs().into());
    let power = Exact { negative: false, magnitude: power, exponent: 0 };
    if scale >= 0 {
        number.round_quotient(&power.times(&Exact::of(count)))
    } else {
        number.times(&power).round_quotient(&Exact::of(count))
    }
}
