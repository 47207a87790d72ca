//! What the aggregates' tests share: all functions over all types, and rows of any values.

mod damage;
mod distinct;
mod exact;
mod monoid;
mod quantile;
mod semantics;

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Float32Array, Float64Array, PrimitiveArray,
    StringArray,
};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType, TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use proptest::prelude::*;

use super::{Accumulator, Aggregate, Function, RowOrder, Rows};

/// The function after another, so that a new one can't be forgotten here: the match wouldn't compile.
fn next(function: Function) -> Option<Function> {
    Some(match function {
        Function::Count => Function::CountDistinct,
        Function::CountDistinct => Function::Sum,
        Function::Sum => Function::Avg,
        Function::Avg => Function::Min,
        Function::Min => Function::Max,
        Function::Max => Function::BoolAnd,
        Function::BoolAnd => Function::BoolOr,
        Function::BoolOr => Function::BitAnd,
        Function::BitAnd => Function::BitOr,
        Function::BitOr => Function::BitXor,
        Function::BitXor => Function::VarPop,
        Function::VarPop => Function::VarSamp,
        Function::VarSamp => Function::StddevPop,
        Function::StddevPop => Function::StddevSamp,
        Function::StddevSamp => Function::CovarPop,
        Function::CovarPop => Function::CovarSamp,
        Function::CovarSamp => Function::Corr,
        Function::Corr => Function::RegrSlope,
        Function::RegrSlope => Function::RegrIntercept,
        Function::RegrIntercept => Function::RegrCount,
        Function::RegrCount => Function::RegrR2,
        Function::RegrR2 => Function::RegrAvgX,
        Function::RegrAvgX => Function::RegrAvgY,
        Function::RegrAvgY => Function::RegrSxx,
        Function::RegrSxx => Function::RegrSyy,
        Function::RegrSyy => Function::RegrSxy,
        Function::RegrSxy => Function::Quantile(0.95),
        Function::Quantile(_) => Function::First,
        Function::First => Function::Last,
        Function::Last => Function::ArgMin,
        Function::ArgMin => Function::ArgMax,
        Function::ArgMax => Function::TopK(3),
        Function::TopK(_) => Function::Collect(50),
        Function::Collect(_) => return None,
    })
}

/// All functions, each applied to all types that it takes (of two types, to enough for each family of each).
fn aggregates() -> Vec<Aggregate> {
    let types = types();
    let pairs = [
        [DataType::Float64, DataType::Float64],
        [DataType::Int64, DataType::Decimal128(18, 6)],
        [DataType::UInt64, DataType::Float32],
        [DataType::Utf8, DataType::Float64],
        [DataType::Boolean, DataType::Utf8],
        [DataType::Decimal128(38, 10), DataType::Binary],
        [DataType::Binary, DataType::Decimal128(38, 10)],
        [DataType::Float64, DataType::Boolean],
        [DataType::Decimal128(18, 6), DataType::Decimal128(18, 6)],
        [DataType::Utf8, DataType::Utf8],
    ];
    let mut aggregates = vec![Aggregate::new(Function::Count, &[]).unwrap()];
    let functions = std::iter::successors(Some(Function::Count), |&function| next(function));
    for function in functions {
        let before = aggregates.len();
        let one = types.iter().map(std::slice::from_ref);
        let applied = one
            .chain(pairs.iter().map(|pair| &pair[..]))
            .filter_map(|types| Aggregate::new(function, types).ok());
        aggregates.extend(applied);
        assert!(aggregates.len() > before, "{function:?} takes no type");
    }
    aggregates
}

fn types() -> Vec<DataType> {
    vec![
        DataType::Boolean,
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
        DataType::UInt8,
        DataType::UInt16,
        DataType::UInt32,
        DataType::UInt64,
        DataType::Float32,
        DataType::Float64,
        DataType::Decimal128(18, 6),
        DataType::Decimal128(38, 10),
        DataType::Decimal128(5, -3),
        DataType::Date32,
        DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        DataType::Timestamp(TimeUnit::Nanosecond, None),
        DataType::Utf8,
        DataType::Binary,
    ]
}

/// A row whose arguments become values of any type.
#[derive(Debug, Clone)]
struct Cell {
    group: u32,
    kind: [u8; 2],
    bits: [u64; 2],
    place: u16,
}

fn cells(rows: impl Into<prop::collection::SizeRange>) -> impl Strategy<Value = Vec<Cell>> {
    let cell = (0u32..3, any::<[u8; 2]>(), any::<[u64; 2]>(), any::<u16>());
    let cell = cell.prop_map(|(group, kind, bits, place)| Cell { group, kind, bits, place });
    prop::collection::vec(cell, rows)
}

impl Cell {
    fn null(&self, argument: usize) -> bool {
        self.kind[argument] >= 240
    }

    fn float(&self, argument: usize) -> f64 {
        const SPECIAL: [f64; 16] = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            0.1,
            -0.3,
            f64::MAX,
            f64::MIN,
            5e-324,
            -5e-324,
            f64::MIN_POSITIVE,
            1e300,
            -1e-300,
            9_007_199_254_740_993.0,
            1e16,
            -1e16,
        ];
        let bits = self.bits[argument];
        match self.kind[argument] {
            0 => f64::NAN,
            1 => f64::from_bits(0xfff0_0000_0000_0001 | bits),
            2 => f64::INFINITY,
            3 => f64::NEG_INFINITY,
            4..40 => SPECIAL[bits as usize % SPECIAL.len()],
            40..80 => Some(f64::from_bits(bits)).filter(|value| value.is_finite()).unwrap_or(0.5),
            80..120 => (bits % 100_000) as f64 / 1e3,
            120..160 => -((bits % 1_000) as f64),
            // Latencies and the like: some octaves, full mantissas.
            _ => f64::from_bits(bits % (20 << 52) + (1010 << 52)),
        }
    }

    fn integer(&self, argument: usize) -> i128 {
        const SPECIAL: [i128; 8] = [
            0,
            1,
            -1,
            i64::MAX as i128,
            i64::MIN as i128,
            u64::MAX as i128,
            i32::MIN as i128,
            10i128.pow(38) - 1,
        ];
        let bits = self.bits[argument];
        match self.kind[argument] {
            0..40 => SPECIAL[bits as usize % SPECIAL.len()],
            40..120 => i128::from(bits as i64),
            120..140 => i128::from(bits) * i128::from(bits >> 2) % 10i128.pow(38),
            _ => i128::from(bits % 100) - 30,
        }
    }

    fn text(&self, argument: usize) -> String {
        let bits = self.bits[argument];
        match self.kind[argument] {
            0..20 => String::new(),
            20..40 => "né\u{1f30a}\0".repeat(bits as usize % 7),
            40..200 => format!("{}", bits % 40),
            _ => format!("{bits:x}"),
        }
    }

    /// Few different ones, so that there are ties.
    fn place(&self) -> (i64, i64, i64) {
        let place = i64::from(self.place);
        (place % 5 - 2, place / 5 % 3, place / 15 % 4)
    }
}

/// The argument of all rows as a column.
fn column(data_type: &DataType, cells: &[Cell], argument: usize) -> ArrayRef {
    fn integers<T: ArrowPrimitiveType>(
        data_type: &DataType,
        cells: &[Cell],
        argument: usize,
        cut: fn(i128) -> T::Native,
    ) -> ArrayRef {
        let values = cells.iter().map(|cell| (!cell.null(argument)).then(|| cut(cell.integer(argument))));
        Arc::new(values.collect::<PrimitiveArray<T>>().with_data_type(data_type.clone()))
    }
    let valid = |cell: &Cell| !cell.null(argument);
    let floats = cells.iter().map(|cell| valid(cell).then(|| cell.float(argument)));
    let texts = cells.iter().map(|cell| valid(cell).then(|| cell.text(argument)));
    match data_type {
        DataType::Boolean => Arc::new(
            cells
                .iter()
                .map(|cell| valid(cell).then(|| cell.bits[argument] % 4 > 0))
                .collect::<BooleanArray>(),
        ),
        DataType::Int8 => integers::<Int8Type>(data_type, cells, argument, |value| value as i8),
        DataType::Int16 => integers::<Int16Type>(data_type, cells, argument, |value| value as i16),
        DataType::Int32 => integers::<Int32Type>(data_type, cells, argument, |value| value as i32),
        DataType::Int64 => integers::<Int64Type>(data_type, cells, argument, |value| value as i64),
        DataType::UInt8 => integers::<UInt8Type>(data_type, cells, argument, |value| value as u8),
        DataType::UInt16 => integers::<UInt16Type>(data_type, cells, argument, |value| value as u16),
        DataType::UInt32 => integers::<UInt32Type>(data_type, cells, argument, |value| value as u32),
        DataType::UInt64 => integers::<UInt64Type>(data_type, cells, argument, |value| value as u64),
        DataType::Date32 => integers::<Date32Type>(data_type, cells, argument, |value| value as i32),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            integers::<TimestampMicrosecondType>(data_type, cells, argument, |value| value as i64)
        }
        DataType::Timestamp(..) => {
            integers::<TimestampNanosecondType>(data_type, cells, argument, |value| value as i64)
        }
        DataType::Float32 => {
            Arc::new(floats.map(|value| value.map(|value| value as f32)).collect::<Float32Array>())
        }
        DataType::Float64 => Arc::new(floats.collect::<Float64Array>()),
        DataType::Decimal128(precision, _) => {
            let bound = 10i128.pow(u32::from(*precision));
            let values = cells.iter().map(|cell| valid(cell).then(|| cell.integer(argument) % bound));
            Arc::new(values.collect::<Decimal128Array>().with_data_type(data_type.clone()))
        }
        DataType::Utf8 => Arc::new(texts.collect::<StringArray>()),
        DataType::Binary => {
            let bytes: Vec<Option<String>> = texts.collect();
            Arc::new(bytes.iter().map(|text| text.as_ref().map(String::as_bytes)).collect::<BinaryArray>())
        }
        other => unreachable!("{other} isn't among the types"),
    }
}

/// Adds cells to an accumulator; row `i` to group `groups[i]`.
fn update(
    aggregate: &Aggregate,
    accumulator: &mut dyn Accumulator,
    cells: &[Cell],
    groups: &[u32],
    filter: Option<&BooleanArray>,
) {
    let arguments: Vec<ArrayRef> = (aggregate.argument_types().iter().enumerate())
        .map(|(argument, data_type)| column(data_type, cells, argument))
        .collect();
    let places: Vec<(i64, i64, i64)> = cells.iter().map(Cell::place).collect();
    let event_time_us: Vec<i64> = places.iter().map(|place| place.0).collect();
    let split: Vec<i64> = places.iter().map(|place| place.1).collect();
    let offset: Vec<i64> = places.iter().map(|place| place.2).collect();
    let order = RowOrder { event_time_us: &event_time_us, split: &split, offset: &offset };
    accumulator.update(Rows { groups, arguments: &arguments, filter, order });
}

/// The result of one group with these arguments, in row order.
fn evaluate(function: Function, arguments: &[ArrayRef]) -> ArrayRef {
    let types: Vec<DataType> = arguments.iter().map(|argument| argument.data_type().clone()).collect();
    let aggregate = Aggregate::new(function, &types).unwrap();
    let mut accumulator = aggregate.accumulator();
    accumulator.resize(1);
    let rows = arguments.first().map_or(0, |argument| argument.len());
    let event_time_us: Vec<i64> = (0..rows as i64).collect();
    let order = RowOrder { event_time_us: &event_time_us, split: &[], offset: &[] };
    accumulator.update(Rows { groups: &vec![0; rows], arguments, filter: None, order });
    let result = accumulator.evaluate(&[0]);
    assert_eq!(result.data_type(), &aggregate.result_type(), "{aggregate:?}");
    assert!(aggregate.nullable() || result.null_count() == 0, "{aggregate:?}");
    result
}

/// The Float64 result of one group.
fn float(function: Function, arguments: &[ArrayRef]) -> Option<f64> {
    use arrow::array::{Array, AsArray};
    let result = evaluate(function, arguments);
    let result = result.as_primitive::<arrow::datatypes::Float64Type>();
    result.is_valid(0).then(|| result.value(0))
}

/// A Float64 column without nulls.
fn floats(values: &[f64]) -> ArrayRef {
    Arc::new(Float64Array::from(values.to_vec()))
}

/// Numbers in a fixed, scattered order. Source: Steele, Lea, Flood, SplitMix64 (OOPSLA 2014).
struct Scatter(u64);

impl Scatter {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}
