//! Sums, means, variances and regressions against rational arithmetic.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array, Int64Array, UInt64Array};
use arrow::datatypes::{Decimal128Type, Int64Type, UInt64Type};
use num_bigint::BigInt;
use num_rational::BigRational;
use proptest::prelude::*;

use super::super::exact_sum::{ExactSum, ProductSum};
use super::{Function, evaluate, float, floats};

fn integer(number: impl Into<BigInt>) -> BigRational {
    BigRational::from_integer(number.into())
}

fn rational(value: f64) -> BigRational {
    BigRational::from_float(value).unwrap()
}

fn sum(values: impl IntoIterator<Item = BigRational>) -> BigRational {
    values.into_iter().fold(integer(0), |sum, value| sum + value)
}

/// Whether no f64 is nearer to a number, and of two that are as near this is the even one.
fn is_nearest(exact: &BigRational, found: f64) -> bool {
    // Half a unit above the greatest float, from where on a number is rounded to ∞.
    let half_above_max = rational(f64::MAX) + rational(2f64.powi(970));
    if found.is_infinite() {
        let magnitude = if found > 0.0 { exact.clone() } else { -exact.clone() };
        return magnitude >= half_above_max;
    }
    let distance = |value: f64| {
        let difference = exact.clone() - rational(value);
        if difference < integer(0) { -difference } else { difference }
    };
    let own = distance(found);
    [found.next_up(), found.next_down()].into_iter().filter(|other| other.is_finite()).all(|other| {
        let other = distance(other);
        own < other || (own == other && found.to_bits().is_multiple_of(2))
    }) && (found.abs() < f64::MAX || distance(0.0) < half_above_max)
}

/// Whether a root is within one unit in the last place: its neighbours' squares are on either side.
fn is_root(exact: &BigRational, found: f64) -> bool {
    let square = |value: f64| rational(value) * rational(value);
    if found.is_infinite() {
        return *exact > square(f64::MAX);
    }
    if found == f64::MAX {
        return *exact > square(found.next_down());
    }
    found >= 0.0 && square(found.next_up()) > *exact && (found == 0.0 || square(found.next_down()) < *exact)
}

/// Finite floats: any bits, near ones, cancelling ones, and extremes.
fn finite() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<u64>().prop_map(f64::from_bits).prop_filter("finite", |value| value.is_finite()),
        (-1000i32..1000).prop_map(|number| f64::from(number) / 8.0),
        -1e3..1e3f64,
        (-9.0..12.0f64).prop_map(|log| 10f64.powf(log)),
        Just(f64::MAX),
        Just(f64::MIN),
        Just(5e-324),
        Just(-0.0),
        Just(1e16),
        Just(-1e16),
    ]
}

/// Floats of moderate range, some of them equal.
fn moderate() -> impl Strategy<Value = f64> {
    prop_oneof![
        -1e3..1e3f64,
        (0i32..3).prop_map(f64::from),
        1e8..1.000_000_1e8f64,
        (-40.0..40.0f64).prop_map(f64::exp2)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sum_and_mean_are_the_nearest_floats(values in prop::collection::vec(finite(), 1..30)) {
        let exact = sum(values.iter().copied().map(rational));
        let arguments = [floats(&values)];
        let found = float(Function::Sum, &arguments).unwrap();
        prop_assert!(is_nearest(&exact, found), "{found:e}");
        let found = float(Function::Avg, &arguments).unwrap();
        prop_assert!(is_nearest(&(exact / integer(values.len())), found), "{found:e}");
    }

    #[test]
    fn sums_survive_being_written_whatever_their_form(
        parts in prop::collection::vec(prop::collection::vec(finite(), 0..6), 1..8),
    ) {
        let mut straight = ExactSum::default();
        parts.iter().flatten().for_each(|&value| straight.add(value));
        let mut merged = ExactSum::default();
        for part in parts.iter().rev() {
            let mut sum = ExactSum::default();
            part.iter().for_each(|&value| sum.add(value));
            merged.merge(&sum);
        }
        let bytes = |sum: &ExactSum| { let mut out = Vec::new(); sum.write(&mut out); out };
        prop_assert_eq!(bytes(&straight), bytes(&merged));
        prop_assert_eq!(straight.value().to_bits(), merged.value().to_bits());
    }

    #[test]
    fn variance_is_the_nearest_float(values in prop::collection::vec(moderate(), 2..20)) {
        check_variance(&values)?;
    }

    #[test]
    fn variance_of_any_floats_is_the_nearest(values in prop::collection::vec(finite(), 2..6)) {
        check_variance(&values)?;
    }

    #[test]
    fn pairs_are_the_nearest_floats(pairs in prop::collection::vec((moderate(), moderate()), 2..20)) {
        check_pairs(&pairs)?;
    }

    #[test]
    fn pairs_of_any_floats_are_the_nearest(pairs in prop::collection::vec((finite(), finite()), 2..5)) {
        check_pairs(&pairs)?;
    }

    #[test]
    fn integer_sums_are_exact_or_null(values in prop::collection::vec(
        prop_oneof![any::<i64>(), Just(i64::MAX), Just(i64::MIN), -5i64..5], 1..20,
    )) {
        let exact: i128 = values.iter().map(|&value| i128::from(value)).sum();
        let arguments: [ArrayRef; 1] = [Arc::new(Int64Array::from(values.clone()))];
        let found = evaluate(Function::Sum, &arguments);
        let found = found.as_primitive::<Int64Type>().iter().next().unwrap();
        prop_assert_eq!(found, i64::try_from(exact).ok());
        let found = float(Function::Avg, &arguments).unwrap();
        prop_assert!(is_nearest(&(integer(exact) / integer(values.len())), found), "{found:e}");
    }

    #[test]
    fn decimal_sums_and_means_are_exact(
        values in prop::collection::vec(-(10i128.pow(38) - 1)..10i128.pow(38), 1..6),
        scale in -5i8..38,
    ) {
        let decimals = Decimal128Array::from(values.clone()).with_precision_and_scale(38, scale).unwrap();
        let arguments: [ArrayRef; 1] = [Arc::new(decimals)];
        let exact: BigInt = values.iter().map(|&value| BigInt::from(value)).sum();
        let found = evaluate(Function::Sum, &arguments);
        let found = found.as_primitive::<Decimal128Type>().iter().next().unwrap();
        prop_assert_eq!(found, i128::try_from(exact.clone()).ok().filter(|sum| sum.unsigned_abs() < 10u128.pow(38)));
        let power = integer(10).pow(scale.into());
        let found = float(Function::Avg, &arguments).unwrap();
        prop_assert!(is_nearest(&(integer(exact) / integer(values.len()) / &power), found), "{found:e}");
        let found = float(Function::Quantile(0.0), &arguments).unwrap();
        let least = integer(*values.iter().min().unwrap()) / power;
        prop_assert!(is_nearest(&least, found), "{found:e}");
    }
}

fn check_variance(values: &[f64]) -> Result<(), TestCaseError> {
    let n = integer(values.len());
    let mean = sum(values.iter().copied().map(rational)) / &n;
    let squares = sum(values.iter().map(|&value| (rational(value) - &mean).pow(2)));
    let arguments = [floats(values)];
    for (function, root, exact) in [
        (Function::VarPop, Function::StddevPop, &squares / &n),
        (Function::VarSamp, Function::StddevSamp, &squares / (n - integer(1))),
    ] {
        let found = float(function, &arguments).unwrap();
        prop_assert!(is_nearest(&exact, found), "{function:?}: {found:e}");
        let found = float(root, &arguments).unwrap();
        prop_assert!(is_root(&exact, found), "{root:?}: {found:e}");
    }
    Ok(())
}

fn check_pairs(pairs: &[(f64, f64)]) -> Result<(), TestCaseError> {
    let n = integer(pairs.len());
    let (ys, xs): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let mean = |values: &[f64]| sum(values.iter().copied().map(rational)) / &n;
    let (y_mean, x_mean) = (mean(&ys), mean(&xs));
    let centred = |(y, x): &(f64, f64)| (rational(*y) - &y_mean, rational(*x) - &x_mean);
    let sxx = sum(pairs.iter().map(|pair| centred(pair).1.pow(2)));
    let syy = sum(pairs.iter().map(|pair| centred(pair).0.pow(2)));
    let sxy = sum(pairs.iter().map(|pair| {
        let (y, x) = centred(pair);
        x * y
    }));
    let zero = integer(0);
    let line = (sxx != zero).then(|| &sxy / &sxx);
    let r_squared = (sxx != zero && syy != zero).then(|| sxy.pow(2) / (&sxx * &syy));
    let arguments = [floats(&ys), floats(&xs)];
    for (function, exact) in [
        (Function::CovarPop, Some(&sxy / &n)),
        (Function::CovarSamp, Some(&sxy / (&n - integer(1)))),
        (Function::RegrAvgX, Some(x_mean.clone())),
        (Function::RegrAvgY, Some(y_mean.clone())),
        (Function::RegrIntercept, line.as_ref().map(|slope| &y_mean - slope * &x_mean)),
        (Function::RegrSlope, line),
        (Function::RegrR2, r_squared.clone()),
        (Function::RegrSxx, Some(sxx)),
        (Function::RegrSyy, Some(syy)),
        (Function::RegrSxy, Some(sxy.clone())),
    ] {
        let found = float(function, &arguments);
        prop_assert_eq!(found.is_some(), exact.is_some(), "{:?}", function);
        if let (Some(found), Some(exact)) = (found, exact) {
            prop_assert!(is_nearest(&exact, found), "{function:?}: {found:e}");
        }
    }
    let correlation = float(Function::Corr, &arguments);
    prop_assert_eq!(correlation.is_some(), r_squared.is_some());
    if let (Some(found), Some(exact)) = (correlation, r_squared) {
        prop_assert!((found < 0.0) == (sxy < zero) || found == 0.0);
        prop_assert!(is_root(&exact, found.abs()) && found.abs() <= 1.0, "{found:e}");
    }
    Ok(())
}

#[test]
fn unsigned_sums_hold_what_their_type_holds() {
    let sum = |values: &[u64]| {
        let found = evaluate(Function::Sum, &[Arc::new(UInt64Array::from(values.to_vec()))]);
        found.as_primitive::<UInt64Type>().iter().next().unwrap()
    };
    assert_eq!(sum(&[u64::MAX - 1, 1]), Some(u64::MAX));
    assert_eq!(sum(&[u64::MAX, 1]), None);
}

#[test]
fn nothing_cancels() {
    assert_eq!(float(Function::Sum, &[floats(&[1e16, 1.0, -1e16])]), Some(1.0));
    assert_eq!(float(Function::Sum, &[floats(&[0.1; 10])]), Some(1.0));
    // Σx² alone would have lost all of this.
    assert_eq!(float(Function::VarPop, &[floats(&[1e9 + 1.0, 1e9 + 2.0, 1e9 + 3.0])]), Some(2.0 / 3.0));
    assert_eq!(float(Function::Avg, &[floats(&[f64::MAX, f64::MAX])]), Some(f64::MAX));
    assert_eq!(float(Function::Sum, &[floats(&[f64::MAX, f64::MAX])]), Some(f64::INFINITY));
    assert_eq!(float(Function::StddevPop, &[floats(&[1e300, -1e300])]), Some(1e300));
}

/// 200,000 groups: what a group costs.
#[test]
fn sums_are_small_until_they_spill() {
    assert_eq!(size_of::<ExactSum>(), 24);
    assert_eq!(size_of::<ProductSum>(), 40);
    let mut sum = ExactSum::default();
    (0..1_000).for_each(|row| sum.add(f64::from(row) * 1e-3));
    assert_eq!(sum.heap_bytes(), 0);
    sum.add(1e300);
    assert!(sum.heap_bytes() > 0);
}

/// States are kept in checkpoints, so their bytes stay what they are: 0.1 + 0.2, and its exact value.
#[test]
fn the_bytes_of_a_sum_are_pinned() {
    let mut sum = ExactSum::default();
    sum.add(0.1);
    sum.add(0.2);
    let mut bytes = Vec::new();
    sum.write(&mut bytes);
    // 0.1 is 0x1999999999999a · 2^−56, 0.2 twice that; the sum 3 · 0xccccccccccccd · 2^−55.
    let magnitude = 3 * 0xc_cccc_cccc_cccdu64;
    let mut expected = vec![1 | 64];
    expected.extend((-55i16).to_le_bytes());
    expected.push(7);
    expected.extend(&magnitude.to_le_bytes()[..7]);
    assert_eq!(bytes, expected);
}
