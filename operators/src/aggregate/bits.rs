//! `bit_and`, `bit_or` and `bit_xor` of integers.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;

use super::Rows;
use super::groups::{Family, Picked, Selection};
use super::numbers::Numbers;
use super::values::Key;

/// Which of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BitOperation {
    And,
    Or,
    Xor,
}

/// The state is the bits so far, sign-extended; the column one of the argument's type, null where there was no value.
pub(super) struct Bits {
    pub(super) operation: BitOperation,
    pub(super) data_type: DataType,
}

impl Bits {
    #[inline(always)]
    fn apply(&self, state: &mut Option<u64>, bits: u64) {
        *state = Some(match (*state, self.operation) {
            (None, _) => bits,
            (Some(so_far), BitOperation::And) => so_far & bits,
            (Some(so_far), BitOperation::Or) => so_far | bits,
            (Some(so_far), BitOperation::Xor) => so_far ^ bits,
        });
    }
}

/// An integer column's values as sign-extended bits.
fn bits_of(array: &ArrayRef) -> Vec<u64> {
    match Numbers::of(array) {
        Numbers::Signed(values) => values.iter().map(|&value| value as u64).collect(),
        Numbers::Unsigned(values) => values.into_owned(),
        Numbers::Float(_) | Numbers::Decimal(..) => {
            unreachable!("invariant: Aggregate::new takes integers only")
        }
    }
}

impl Family for Bits {
    type State = Option<u64>;
    const NAME: &'static str = "bit_and, bit_or or bit_xor";
    const NULL_IS_A_STATE: bool = true;

    fn identity(&self) -> Option<u64> {
        None
    }

    fn update(&self, states: &mut [Option<u64>], rows: &Rows<'_>) {
        let bits = bits_of(&rows.arguments[0]);
        let selection = Selection::of(rows, rows.arguments);
        selection.for_each_value(rows.groups, &bits, |group, bits| self.apply(&mut states[group], bits));
    }

    fn merge(&self, into: &mut Option<u64>, from: &Option<u64>) {
        if let Some(bits) = from {
            self.apply(into, *bits);
        }
    }

    fn state_type(&self) -> DataType {
        self.data_type.clone()
    }

    fn encode(&self, states: Picked<'_, Option<u64>>) -> ArrayRef {
        // A key of a signed integer is the number with its sign bit flipped.
        let sign = u64::from(self.data_type.is_signed_integer()) << 63;
        u64::array(&self.data_type, states.iter().map(|state| state.map(|bits| bits ^ sign)))
    }

    fn decode(&self, column: &ArrayRef, each: &mut dyn FnMut(usize, Option<u64>)) -> Result<(), String> {
        for (row, bits) in bits_of(column).into_iter().enumerate() {
            each(row, column.is_valid(row).then_some(bits));
        }
        Ok(())
    }

    fn evaluate(&self, states: Picked<'_, Option<u64>>) -> ArrayRef {
        self.encode(states)
    }
}
