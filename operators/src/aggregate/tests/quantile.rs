//! `quantile`: ranks, the error bound, and counters that go round.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Float64Type};
use proptest::prelude::*;

use super::super::quantile::Sketch;
use super::super::values::float_key;
use super::{Aggregate, Function, float, floats};

const ERROR_MAX: f64 = 1.0 / 129.0 + 1e-12;

fn quantile(share: f64, values: &[f64]) -> f64 {
    float(Function::Quantile(share), &[floats(values)]).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_quantile_is_near_the_value_of_its_rank(
        values in prop::collection::vec(
            prop_oneof![
                4 => (-60.0..60.0f64, any::<bool>()).prop_map(|(log, down)| log.exp2() * if down { -1.0 } else { 1.0 }),
                1 => prop_oneof![Just(0.0), Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(f64::NAN)],
            ],
            1..700,
        ),
        share_ppm in 0u64..=1_000_000,
    ) {
        let found = quantile(share_ppm as f64 / 1e6, &values);
        let mut sorted = values.clone();
        sorted.sort_by_key(|&value| float_key(value));
        let rank = (share_ppm * values.len() as u64).div_ceil(1_000_000).max(1);
        let wanted = sorted[rank as usize - 1];
        let near = (found - wanted).abs() <= ERROR_MAX * wanted.abs();
        prop_assert!(near || found == wanted || (found.is_nan() && wanted.is_nan()), "{found} for {wanted}");
    }
}

#[test]
fn ends_and_single_values_are_exact() {
    let values = [0.3, 7.77, 1e-3, 123.456, 99.9];
    assert_eq!(quantile(0.0, &values), 1e-3);
    assert_eq!(quantile(1.0, &values), 123.456);
    assert_eq!(quantile(0.5, &[0.123_456_789]), 0.123_456_789);
    assert_eq!(quantile(0.5, &[-4.2, -4.2, -4.2, -4.2]), -4.2);
    assert_eq!(quantile(0.5, &[1e300, 1e300, 1e300]), 1e300);
}

/// 0.07 · 100 is 7.000000000000001 in binary, and yet the rank is 7.
#[test]
fn the_rank_is_the_nearest_one_in_decimal() {
    let values: Vec<f64> = (0..100).map(|octave| f64::from(octave - 50).exp2()).collect();
    for percent in 1..=100 {
        let found = quantile(f64::from(percent) / 100.0, &values);
        let wanted = f64::from(percent - 51).exp2();
        assert!((found / wanted - 1.0).abs() <= ERROR_MAX, "p{percent}: {found} for {wanted}");
    }
}

#[test]
fn integers_and_decimals_have_quantiles() {
    let integers: ArrayRef = Arc::new(Int64Array::from(vec![Some(10), None, Some(30), Some(20)]));
    let median = float(Function::Quantile(0.5), &[integers]).unwrap();
    assert!((median / 20.0 - 1.0).abs() <= ERROR_MAX, "{median}");
    let decimals =
        arrow::array::Decimal128Array::from(vec![1_500, 1_500]).with_precision_and_scale(18, 3).unwrap();
    assert_eq!(float(Function::Quantile(0.5), &[Arc::new(decimals)]), Some(1.5));
}

/// 300 values doubled 30 times: counts beyond 32 bits.
#[test]
fn counts_beyond_32_bits_are_kept() {
    let aggregate = Aggregate::new(Function::Quantile(0.5), &[DataType::Float64]).unwrap();
    let mut accumulator = aggregate.accumulator();
    accumulator.resize(2);
    let arguments = [floats(&[vec![1.0; 100], vec![2.0; 101], vec![4.0; 99]].concat())];
    let order = super::RowOrder { event_time_us: &[], split: &[], offset: &[] };
    accumulator.update(super::Rows { groups: &[0; 300], arguments: &arguments, filter: None, order });
    for doubling in 0..30 {
        let (into, from) = if doubling % 2 == 0 { (1, 0) } else { (0, 1) };
        let state = accumulator.state(&[from]);
        accumulator.merge_states(&[into], &state).unwrap();
        accumulator.merge_within(into, from);
        accumulator.reset(&[from]);
    }
    let state = accumulator.state(&[0]);
    let bytes = state.as_binary::<i32>().value(0);
    let doubled = |count: u64| count << 30;
    let mut expected = [float_key(1.0), float_key(4.0)].map(u64::to_le_bytes).concat();
    // The codes of 1, 2 and 4 are 64 apart; that of 1 is 8194 + 64 · 64.
    for (distance, count) in [(8194 + 64 * 64, 100), (64, 101), (64, 99)] {
        super::super::bytes::write_varint(distance, &mut expected);
        super::super::bytes::write_varint(doubled(count), &mut expected);
    }
    assert_eq!(bytes, expected);
    let median = accumulator.evaluate(&[0]);
    assert!((median.as_primitive::<Float64Type>().value(0) / 2.0 - 1.0).abs() <= ERROR_MAX);
}

/// 200,000 groups of few values must fit: no block of counters for each.
#[test]
fn a_group_of_few_values_is_small() {
    assert!(size_of::<Sketch>() <= 40);
    let aggregate = Aggregate::new(Function::Quantile(0.5), &[DataType::Float64]).unwrap();
    let mut accumulator = aggregate.accumulator();
    accumulator.resize(1_000);
    let groups: Vec<u32> = (0..5_000).map(|row| row % 1_000).collect();
    let arguments = [floats(&(0..5_000).map(f64::from).collect::<Vec<_>>())];
    let order = super::RowOrder { event_time_us: &[], split: &[], offset: &[] };
    accumulator.update(super::Rows { groups: &groups, arguments: &arguments, filter: None, order });
    let bytes = accumulator.memory_bytes();
    assert!(bytes <= 60 * 1_000 && bytes > 40 * 1_000, "{bytes}");
    assert_eq!(accumulator.evaluate(&[0]).len(), 1);
}
