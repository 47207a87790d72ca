//! `count(*)` and `count(x)`: rows, or rows whose arguments are all set.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Int64Type};

use super::Rows;
use super::groups::{Family, Picked, Selection};

/// The state is the count, the column an Int64.
pub(super) struct Count;

impl Family for Count {
    type State = i64;
    const NAME: &'static str = "count";

    fn identity(&self) -> i64 {
        0
    }

    fn update(&self, states: &mut [i64], rows: &Rows<'_>) {
        Selection::of(rows, rows.arguments).for_each(|row| states[rows.groups[row] as usize] += 1);
    }

    fn merge(&self, into: &mut i64, from: &i64) {
        *into = into.wrapping_add(*from);
    }

    fn state_type(&self) -> DataType {
        DataType::Int64
    }

    fn encode(&self, states: Picked<'_, i64>) -> ArrayRef {
        Arc::new(states.iter().copied().collect::<Int64Array>())
    }

    fn decode(&self, column: &ArrayRef, each: &mut dyn FnMut(usize, i64)) -> Result<(), String> {
        for (row, &count) in column.as_primitive::<Int64Type>().values().iter().enumerate() {
            if count < 0 {
                return Err(format!("a count of {count}"));
            }
            each(row, count);
        }
        Ok(())
    }

    fn evaluate(&self, states: Picked<'_, i64>) -> ArrayRef {
        self.encode(states)
    }
}
