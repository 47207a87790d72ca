//! What SQL says of nulls, empty groups, special values and ties, and which types a function takes.

use std::slice::from_ref;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int32Array, Int64Array, StringArray, UInt8Array,
};
use arrow::datatypes::{DataType, Float64Type, Int64Type};

use super::super::AggregateError;
use super::{Aggregate, Function, RowOrder, Rows, aggregates, evaluate, float, floats};

fn strings(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn integers(values: &[Option<i64>]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

#[test]
fn a_group_without_values_is_null_and_counts_zero() {
    for aggregate in aggregates() {
        let mut accumulator = aggregate.accumulator();
        accumulator.resize(1);
        let result = accumulator.evaluate(&[0]);
        assert_eq!(result.is_null(0), aggregate.nullable(), "{aggregate:?}");
        if !aggregate.nullable() {
            assert_eq!(result.as_primitive::<Int64Type>().value(0), 0, "{aggregate:?}");
        }
    }
}

#[test]
fn count_leaves_out_nulls_and_what_the_filter_drops() {
    let values = strings(&[Some("a"), None, Some("b"), Some("c")]);
    assert_eq!(evaluate(Function::Count, from_ref(&values)).as_primitive::<Int64Type>().value(0), 3);
    for (types, arguments, expected) in [(&[][..], vec![], 2), (&[DataType::Utf8][..], vec![values], 1)] {
        let mut accumulator = Aggregate::new(Function::Count, types).unwrap().accumulator();
        accumulator.resize(1);
        let filter = BooleanArray::from(vec![Some(true), Some(true), Some(false), None]);
        let order = RowOrder { event_time_us: &[], split: &[], offset: &[] };
        accumulator.update(Rows { groups: &[0; 4], arguments: &arguments, filter: Some(&filter), order });
        assert_eq!(accumulator.evaluate(&[0]).as_primitive::<Int64Type>().value(0), expected);
    }
}

#[test]
fn special_floats_go_through_sums() {
    let (infinity, nan) = (f64::INFINITY, f64::NAN);
    let sum = |values: &[f64]| float(Function::Sum, &[floats(values)]).unwrap();
    assert_eq!(sum(&[1.0, infinity]), infinity);
    assert_eq!(sum(&[-infinity, 1.0]), -infinity);
    assert!(sum(&[infinity, -infinity]).is_nan());
    assert!(sum(&[1.0, nan]).is_nan());
    assert_eq!(sum(&[-0.0]).to_bits(), 0);
    assert_eq!(float(Function::Avg, &[floats(&[infinity, 1.0])]), Some(infinity));
    assert!(float(Function::VarPop, &[floats(&[infinity, 1.0])]).unwrap().is_nan());
    assert!(float(Function::Corr, &[floats(&[1.0, 2.0]), floats(&[nan, 2.0])]).unwrap().is_nan());
    assert_eq!(float(Function::RegrAvgY, &[floats(&[1.0, 2.0]), floats(&[nan, 2.0])]), Some(1.5));
}

#[test]
fn least_and_greatest_follow_the_total_order() {
    let extremes = |values: &[f64]| {
        [Function::Min, Function::Max].map(|function| float(function, &[floats(values)]).unwrap())
    };
    assert_eq!(extremes(&[2.0, -1.0, f64::INFINITY]), [-1.0, f64::INFINITY]);
    let [least, greatest] = extremes(&[2.0, -f64::NAN]);
    assert!(least == 2.0 && greatest.to_bits() == f64::NAN.to_bits());
    assert_eq!(extremes(&[-0.0]).map(f64::to_bits), [0, 0]);
    let words = strings(&[Some("b"), None, Some("a"), Some("ä")]);
    assert_eq!(evaluate(Function::Min, from_ref(&words)).as_string::<i32>().value(0), "a");
    assert_eq!(evaluate(Function::Max, &[words]).as_string::<i32>().value(0), "ä");
}

#[test]
fn booleans_and_bits_fold() {
    let boolean = |function, values: &[Option<bool>]| {
        let values: ArrayRef = Arc::new(BooleanArray::from(values.to_vec()));
        evaluate(function, &[values]).as_boolean().iter().next().unwrap()
    };
    assert_eq!(boolean(Function::BoolAnd, &[Some(true), None]), Some(true));
    assert_eq!(boolean(Function::BoolAnd, &[Some(true), Some(false)]), Some(false));
    assert_eq!(boolean(Function::BoolOr, &[Some(true), Some(false)]), Some(true));
    assert_eq!(boolean(Function::BoolOr, &[None]), None);
    let bytes: ArrayRef = Arc::new(UInt8Array::from(vec![0b1100, 0b1010, 0b1000]));
    let fold = |function| {
        evaluate(function, from_ref(&bytes)).as_primitive::<arrow::datatypes::UInt8Type>().value(0)
    };
    assert_eq!(fold(Function::BitAnd), 0b1000);
    assert_eq!(fold(Function::BitOr), 0b1110);
    assert_eq!(fold(Function::BitXor), 0b1110);
    let negative: ArrayRef = Arc::new(Int32Array::from(vec![-1, 5]));
    let xor = evaluate(Function::BitXor, &[negative]);
    assert_eq!(xor.as_primitive::<arrow::datatypes::Int32Type>().value(0), -6);
}

#[test]
fn a_statistic_of_too_few_points_is_null() {
    let (one, two) = (floats(&[1.0]), floats(&[1.0, 1.0]));
    assert_eq!(float(Function::VarSamp, from_ref(&one)), None);
    assert_eq!(float(Function::VarPop, from_ref(&one)), Some(0.0));
    assert_eq!(float(Function::CovarSamp, &[one.clone(), one.clone()]), None);
    assert_eq!(float(Function::RegrSlope, &[one.clone(), one.clone()]), None);
    assert_eq!(float(Function::RegrSxx, &[one.clone(), one]), Some(0.0));
    for function in [Function::Corr, Function::RegrSlope, Function::RegrIntercept, Function::RegrR2] {
        assert_eq!(float(function, &[floats(&[1.0, 2.0]), two.clone()]), None, "{function:?}");
    }
}

/// Pairs with a null in either place don't count, and y comes first.
#[test]
fn regression_takes_y_then_x() {
    let y: ArrayRef = Arc::new(Float64Array::from(vec![Some(5.0), Some(7.0), None, Some(100.0)]));
    let x: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), Some(2.0), Some(50.0), None]));
    assert_eq!(float(Function::RegrSlope, &[y.clone(), x.clone()]), Some(2.0));
    assert_eq!(float(Function::RegrIntercept, &[y.clone(), x.clone()]), Some(3.0));
    assert_eq!(float(Function::RegrAvgX, &[y.clone(), x.clone()]), Some(1.5));
    assert_eq!(float(Function::Corr, &[y.clone(), x.clone()]), Some(1.0));
    assert_eq!(evaluate(Function::RegrCount, &[y, x]).as_primitive::<Int64Type>().value(0), 2);
}

#[test]
fn first_and_last_follow_event_time_and_keep_nulls() {
    let values = strings(&[Some("late"), Some("early"), None, Some("tie")]);
    let pick = |function, event_time_us: &[i64], split: &[i64], offset: &[i64]| {
        let mut accumulator = Aggregate::new(function, &[DataType::Utf8]).unwrap().accumulator();
        accumulator.resize(1);
        let order = RowOrder { event_time_us, split, offset };
        accumulator.update(Rows { groups: &[0; 4], arguments: from_ref(&values), filter: None, order });
        accumulator.evaluate(&[0]).as_string::<i32>().iter().next().unwrap().map(str::to_owned)
    };
    assert_eq!(pick(Function::First, &[9, 1, 5, 1], &[0; 4], &[0, 1, 2, 3]).as_deref(), Some("early"));
    assert_eq!(pick(Function::First, &[9, 1, 5, 1], &[0, 2, 0, 1], &[0, 1, 2, 3]).as_deref(), Some("tie"));
    assert_eq!(pick(Function::Last, &[9, 1, 5, 1], &[0; 4], &[0, 1, 2, 3]).as_deref(), Some("late"));
    assert_eq!(pick(Function::Last, &[3, 1, 5, 1], &[], &[]), None);
}

#[test]
fn arg_min_and_arg_max_leave_out_null_keys_and_keep_null_values() {
    let values = strings(&[Some("a"), Some("b"), None, Some("d"), Some("e")]);
    let pick = |function, by: &[Option<i64>]| {
        let result = evaluate(function, &[values.clone(), integers(by)]);
        result.as_string::<i32>().iter().next().unwrap().map(str::to_owned)
    };
    let by = [Some(2), Some(2), Some(3), None, Some(9)];
    assert_eq!(pick(Function::ArgMin, &by).as_deref(), Some("a"));
    assert_eq!(pick(Function::ArgMax, &by).as_deref(), Some("e"));
    assert_eq!(pick(Function::ArgMax, &[Some(1), Some(1), Some(0), None, None]).as_deref(), Some("b"));
    assert_eq!(pick(Function::ArgMin, &[Some(1), Some(1), Some(0), None, None]), None);
}

#[test]
fn lists_are_bounded_and_sorted() {
    let values = integers(&[Some(3), None, Some(1), Some(3), Some(2), Some(-7), Some(3)]);
    let list = |function| {
        let lists = evaluate(function, from_ref(&values));
        lists.as_list::<i32>().value(0).as_primitive::<Int64Type>().values().to_vec()
    };
    assert_eq!(list(Function::TopK(2)), [3, 3]);
    assert_eq!(list(Function::TopK(5)), [3, 3, 3, 2, 1]);
    assert_eq!(list(Function::Collect(3)), [-7, 1, 2]);
    assert_eq!(list(Function::Collect(100)), [-7, 1, 2, 3, 3, 3]);
    let words = evaluate(Function::TopK(1), &[strings(&[Some("x"), Some("y")])]);
    assert_eq!(words.as_list::<i32>().value(0).as_string::<i32>().value(0), "y");
}

#[test]
fn decimals_become_float_in_means() {
    let cents =
        arrow::array::Decimal128Array::from(vec![10, 20, 40]).with_precision_and_scale(18, 2).unwrap();
    let mean = evaluate(Function::Avg, &[Arc::new(cents)]);
    // 0.70 / 3, rounded once: 0.7 / 3.0 would be rounded twice.
    assert_eq!(mean.as_primitive::<Float64Type>().value(0), 7.0 / 30.0);
}

#[test]
fn errors_say_what_a_function_takes() {
    let message = |function, types: &[DataType]| Aggregate::new(function, types).unwrap_err().to_string();
    assert_eq!(
        message(Function::Sum, &[DataType::Utf8]),
        "sum of (Utf8) doesn't exist: it takes one number: an integer, a float or a Decimal128; cast the argument to one"
    );
    assert!(message(Function::Corr, &[DataType::Float64]).contains("two numbers"));
    assert!(message(Function::BoolAnd, &[DataType::Int64]).contains("one Boolean"));
    assert!(message(Function::Quantile(95.0), &[DataType::Float64]).contains("from 0 to 1, not 95"));
    assert!(message(Function::Quantile(f64::NAN), &[DataType::Float64]).contains("NaN"));
    assert!(message(Function::TopK(0), &[DataType::Int64]).contains("from 1 to 65536"));
    let parameter = Aggregate::new(Function::Collect(70_000), &[DataType::Int64]);
    assert!(matches!(parameter, Err(AggregateError::Parameter { .. })));
}

/// A function with its parameters is a key of maps.
#[test]
fn functions_are_equal_by_their_parameters() {
    assert_eq!(Function::Quantile(0.5), Function::Quantile(0.5));
    assert_ne!(Function::Quantile(0.5), Function::Quantile(0.95));
    assert_ne!(Function::TopK(3), Function::Collect(3));
    assert_ne!(Function::Min, Function::Max);
}
