//! `min`, `max`, and with them `bool_and` (the least) and `bool_or` (the greatest).
//!
//! The order is that of [`super::values`]: −0 and +0 are one value (+0), NaN is greater than +∞. So `max` is NaN where any
//! value is, and `min` only where all are, as in DataFusion.

use std::cmp::Ordering;
use std::marker::PhantomData;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;

use super::Rows;
use super::groups::{Family, Picked, Selection};
use super::values::Key;

/// The state is the extreme value so far, the column one of the argument's type; null where there was no value.
pub(super) struct Extremum<K> {
    data_type: DataType,
    /// The side of a better value.
    better: Ordering,
    key: PhantomData<fn() -> K>,
}

impl<K: Key> Extremum<K> {
    /// Less keeps the least value, Greater the greatest.
    pub(super) fn new(data_type: &DataType, better: Ordering) -> Extremum<K> {
        Extremum { data_type: data_type.clone(), better, key: PhantomData }
    }

    #[inline(always)]
    fn offer(better: Ordering, state: &mut Option<K>, key: K::Ref<'_>) {
        let wins = match state {
            None => true,
            Some(best) => K::compare(key, best.borrow()) == better,
        };
        if wins {
            *state = Some(K::own(key));
        }
    }
}

impl<K: Key> Family for Extremum<K> {
    type State = Option<K>;
    const NAME: &'static str = "min or max";
    const NULL_IS_A_STATE: bool = true;

    fn identity(&self) -> Option<K> {
        None
    }

    fn update(&self, states: &mut [Option<K>], rows: &Rows<'_>) {
        let column = K::column(&rows.arguments[0]);
        let selection = Selection::of(rows, rows.arguments);
        // The side as a constant, so that the loop compares once and doesn't ask which way.
        if self.better == Ordering::Less {
            selection.for_each(|row| {
                Self::offer(Ordering::Less, &mut states[rows.groups[row] as usize], K::at(&column, row));
            });
        } else {
            selection.for_each(|row| {
                Self::offer(Ordering::Greater, &mut states[rows.groups[row] as usize], K::at(&column, row));
            });
        }
    }

    fn merge(&self, into: &mut Option<K>, from: &Option<K>) {
        if let Some(key) = from {
            Self::offer(self.better, into, key.borrow());
        }
    }

    fn state_type(&self) -> DataType {
        self.data_type.clone()
    }

    fn encode(&self, states: Picked<'_, Option<K>>) -> ArrayRef {
        K::array(&self.data_type, states.iter().map(|state| state.as_ref().map(K::borrow)))
    }

    fn decode(&self, column: &ArrayRef, each: &mut dyn FnMut(usize, Option<K>)) -> Result<(), String> {
        let keys = K::column(column);
        for row in 0..column.len() {
            each(row, column.is_valid(row).then(|| K::own(K::at(&keys, row))));
        }
        Ok(())
    }

    fn evaluate(&self, states: Picked<'_, Option<K>>) -> ArrayRef {
        self.encode(states)
    }

    fn heap_bytes(&self, state: &Option<K>) -> usize {
        state.as_ref().map_or(0, K::heap_bytes)
    }
}
