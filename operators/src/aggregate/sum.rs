//! `sum` and `avg`.
//!
//! Integers and decimals are added as integers of 192 bits, floats as [`ExactSum`]. A sum of integers or decimals that its type
//! can't hold is null; `avg` divides the exact sum and rounds the quotient once, so it is right even where `sum` is null
//! or overflows to ∞.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Decimal128Array, FixedSizeBinaryBuilder, Float64Array, Int64Array, UInt64Array,
};
use arrow::datatypes::DataType;

use super::Rows;
use super::bytes::{read_states, write_states, write_varint};
use super::exact_sum::ExactSum;
use super::groups::{Family, Picked, Selection};
use super::limbs::{Exact, Natural};
use super::numbers::{Numbers, scaled_quotient};

/// What becomes of a sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Sum,
    Average,
}

/// Counted integers, their sum in two's complement. Two limbs would do for 64-bit integers, not for decimals of 38 digits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct IntegerTotal {
    limbs: [u64; 3],
    count: u64,
}

impl IntegerTotal {
    const BYTES: usize = 32;

    #[inline(always)]
    fn add(&mut self, value: i128) {
        self.merge(&IntegerTotal {
            limbs: [value as u64, (value >> 64) as u64, (value >> 127) as u64],
            count: 1,
        });
    }

    #[inline(always)]
    fn merge(&mut self, other: &IntegerTotal) {
        let mut carry = false;
        for (limb, added) in self.limbs.iter_mut().zip(other.limbs) {
            (*limb, carry) = limb.carrying_add(added, carry);
        }
        self.count = self.count.wrapping_add(other.count);
    }

    /// The sum, where an i128 holds it.
    fn total(&self) -> Option<i128> {
        let low = i128::from(self.limbs[0]) | i128::from(self.limbs[1]) << 64;
        (self.limbs[2] == (low >> 127) as u64).then_some(low)
    }

    fn exact(&self) -> Exact {
        let negative = self.limbs[2] >> 63 == 1;
        let mut limbs = self.limbs;
        if negative {
            let mut carry = true;
            for limb in &mut limbs {
                (*limb, carry) = (!*limb).carrying_add(0, carry);
            }
        }
        Exact { negative, magnitude: Natural::new(limbs.to_vec()), exponent: 0 }
    }
}

/// `sum` and `avg` of integers and decimals. The column: FixedSizeBinary(32), three limbs and the count, little-endian.
pub(super) struct IntegerSum {
    /// The argument's scale; 0 for integers.
    pub(super) scale: i8,
    pub(super) outcome: Outcome,
    /// The type of the sum: Int64, UInt64 or Decimal128(38, scale).
    pub(super) sum_type: DataType,
}

impl Family for IntegerSum {
    type State = IntegerTotal;
    const NAME: &'static str = "sum or avg";

    fn identity(&self) -> IntegerTotal {
        IntegerTotal::default()
    }

    fn update(&self, states: &mut [IntegerTotal], rows: &Rows<'_>) {
        let selection = Selection::of(rows, rows.arguments);
        match Numbers::of(&rows.arguments[0]) {
            Numbers::Signed(values) => {
                selection
                    .for_each_value(rows.groups, &values, |group, value| states[group].add(value.into()));
            }
            Numbers::Unsigned(values) => {
                selection
                    .for_each_value(rows.groups, &values, |group, value| states[group].add(value.into()));
            }
            Numbers::Decimal(values, _) => {
                selection.for_each_value(rows.groups, values, |group, value| states[group].add(value));
            }
            Numbers::Float(_) => unreachable!("invariant: floats have a family of their own"),
        }
    }

    fn merge(&self, into: &mut IntegerTotal, from: &IntegerTotal) {
        into.merge(from);
    }

    fn state_type(&self) -> DataType {
        DataType::FixedSizeBinary(IntegerTotal::BYTES as i32)
    }

    fn encode(&self, states: Picked<'_, IntegerTotal>) -> ArrayRef {
        let states = states.iter();
        let mut builder = FixedSizeBinaryBuilder::with_capacity(states.len(), IntegerTotal::BYTES as i32);
        for state in states {
            let [low, middle, high] = state.limbs;
            let mut bytes = [0; IntegerTotal::BYTES];
            for (chunk, number) in bytes.chunks_exact_mut(8).zip([low, middle, high, state.count]) {
                chunk.copy_from_slice(&number.to_le_bytes());
            }
            builder.append_value(bytes).expect("invariant: 32 bytes");
        }
        Arc::new(builder.finish())
    }

    fn decode(&self, column: &ArrayRef, each: &mut dyn FnMut(usize, IntegerTotal)) -> Result<(), String> {
        for (row, bytes) in column.as_fixed_size_binary().iter().enumerate() {
            let mut numbers = [0; 4];
            for (number, chunk) in numbers.iter_mut().zip(bytes.unwrap_or_default().chunks_exact(8)) {
                *number = u64::from_le_bytes(chunk.try_into().expect("invariant: chunks of 8 bytes"));
            }
            let [low, middle, high, count] = numbers;
            if count == 0 && numbers != [0; 4] {
                return Err("a sum of no values that isn't zero".to_owned());
            }
            each(row, IntegerTotal { limbs: [low, middle, high], count });
        }
        Ok(())
    }

    fn evaluate(&self, states: Picked<'_, IntegerTotal>) -> ArrayRef {
        let filled = states.iter().map(|state| (state.count > 0).then_some(state));
        if self.outcome == Outcome::Average {
            let average = |state: &IntegerTotal| scaled_quotient(&state.exact(), self.scale, state.count);
            return Arc::new(filled.map(|state| state.map(average)).collect::<Float64Array>());
        }
        let totals = filled.map(|state| state.and_then(IntegerTotal::total));
        match &self.sum_type {
            DataType::Int64 => Arc::new(
                totals.map(|total| total.and_then(|total| i64::try_from(total).ok())).collect::<Int64Array>(),
            ),
            DataType::UInt64 => Arc::new(
                totals
                    .map(|total| total.and_then(|total| u64::try_from(total).ok()))
                    .collect::<UInt64Array>(),
            ),
            decimal => {
                let fits = |total: &i128| total.unsigned_abs() < 10u128.pow(38);
                let totals: Decimal128Array = totals.map(|total| total.filter(fits)).collect();
                Arc::new(totals.with_data_type(decimal.clone()))
            }
        }
    }
}

/// `sum` of floats. The column: Binary, as [`ExactSum::write`] says.
pub(super) struct FloatSum;

impl Family for FloatSum {
    type State = ExactSum;
    const NAME: &'static str = "sum";

    fn identity(&self) -> ExactSum {
        ExactSum::default()
    }

    fn update(&self, states: &mut [ExactSum], rows: &Rows<'_>) {
        let values = Numbers::of(&rows.arguments[0]).into_floats();
        let selection = Selection::of(rows, rows.arguments);
        selection.for_each_value(rows.groups, &values, |group, value| states[group].add(value));
    }

    fn merge(&self, into: &mut ExactSum, from: &ExactSum) {
        into.merge(from);
    }

    fn state_type(&self) -> DataType {
        DataType::Binary
    }

    fn encode(&self, states: Picked<'_, ExactSum>) -> ArrayRef {
        write_states(states, ExactSum::write)
    }

    fn decode(&self, column: &ArrayRef, each: &mut dyn FnMut(usize, ExactSum)) -> Result<(), String> {
        read_states(column, each, ExactSum::read)
    }

    fn evaluate(&self, states: Picked<'_, ExactSum>) -> ArrayRef {
        let sums = states.iter().map(|sum| (!sum.is_empty()).then(|| sum.value()));
        Arc::new(sums.collect::<Float64Array>())
    }

    fn heap_bytes(&self, state: &ExactSum) -> usize {
        state.heap_bytes()
    }
}

/// `avg` of floats. The column: Binary, the count and the sum.
pub(super) struct FloatAverage;

/// Counted floats.
#[derive(Debug, Clone, Default)]
pub(super) struct FloatTotal {
    sum: ExactSum,
    count: u64,
}

impl Family for FloatAverage {
    type State = FloatTotal;
    const NAME: &'static str = "avg";

    fn identity(&self) -> FloatTotal {
        FloatTotal::default()
    }

    fn update(&self, states: &mut [FloatTotal], rows: &Rows<'_>) {
        let values = Numbers::of(&rows.arguments[0]).into_floats();
        let selection = Selection::of(rows, rows.arguments);
        selection.for_each_value(rows.groups, &values, |group, value| {
            let state = &mut states[group];
            state.sum.add(value);
            state.count += 1;
        });
    }

    fn merge(&self, into: &mut FloatTotal, from: &FloatTotal) {
        into.sum.merge(&from.sum);
        into.count = into.count.wrapping_add(from.count);
    }

    fn state_type(&self) -> DataType {
        DataType::Binary
    }

    fn encode(&self, states: Picked<'_, FloatTotal>) -> ArrayRef {
        write_states(states, |state, out| {
            write_varint(state.count, out);
            state.sum.write(out);
        })
    }

    fn decode(&self, column: &ArrayRef, each: &mut dyn FnMut(usize, FloatTotal)) -> Result<(), String> {
        read_states(column, each, |bytes| {
            let (count, sum) = (bytes.varint()?, ExactSum::read(bytes)?);
            if (count == 0) != sum.is_empty() {
                return Err("count and sum don't belong together".to_owned());
            }
            Ok(FloatTotal { sum, count })
        })
    }

    fn evaluate(&self, states: Picked<'_, FloatTotal>) -> ArrayRef {
        let averages = states.iter().map(|state| (state.count > 0).then(|| state.sum.mean(state.count)));
        Arc::new(averages.collect::<Float64Array>())
    }

    fn heap_bytes(&self, state: &FloatTotal) -> usize {
        state.sum.heap_bytes()
    }
}
