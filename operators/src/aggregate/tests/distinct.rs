//! `count(distinct)`: exact below its limit, within its error above, and the hash it is built on.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, StringArray};
use arrow::datatypes::Int64Type;

use super::super::values::{Key, float_key};
use super::{Function, evaluate};

fn distinct(values: ArrayRef) -> i64 {
    evaluate(Function::CountDistinct, &[values]).as_primitive::<Int64Type>().value(0)
}

/// States hold hashes, so these must be the same for ever. Computed with another implementation, python-xxhash.
#[test]
fn the_hash_is_pinned() {
    assert_eq!(<Box<[u8]>>::hash(b""), 0x2d06_8005_38d3_94c2);
    assert_eq!(<Box<[u8]>>::hash(b"thalweg"), 0x6a51_8fb8_93bd_6729);
    assert_eq!(u64::hash(42 ^ 1 << 63), 0x0d1b_f728_3aa0_4699);
    assert_eq!(u64::hash(float_key(0.5)), 0x0d19_7b27_77fe_20cf);
    assert_eq!(i128::hash(-1_250_000), 0xf3c3_ebc4_3d53_f617);
}

#[test]
fn few_values_are_counted_exactly() {
    for count in [1, 2, 255, 256, 511, 512] {
        let values: Vec<i64> = (0..count).chain(0..count).map(|value| value * 1_000_003 - 77).collect();
        assert_eq!(distinct(Arc::new(Int64Array::from(values))), count);
    }
    assert_eq!(distinct(Arc::new(StringArray::from(vec![Some("a"), None, Some("a"), Some("")]))), 2);
    assert_eq!(distinct(Arc::new(Float64Array::from(vec![0.0, -0.0, f64::NAN, -f64::NAN, 1.0]))), 3);
    assert_eq!(distinct(Arc::new(Int64Array::from(vec![None, None]))), 0);
}

#[test]
fn many_values_are_counted_within_the_error() {
    for count in [513, 2_000, 20_000, 200_000] {
        let counted = distinct(Arc::new((0..count).map(Some).collect::<Int64Array>()));
        // Four standard errors.
        let error_max = (count as f64 * 0.0325) as i64;
        assert!((counted - count).abs() <= error_max, "{counted} of {count}");
    }
}

/// The estimate has no function in it that machines compute differently.
#[test]
fn the_estimate_is_pinned() {
    assert_eq!(distinct(Arc::new((0..100_000).map(Some).collect::<Int64Array>())), 99_523);
}
