//! `top_k` and `collect`: the best values by the total order of [`super::values`], each as often as it occurs, up to a limit.
//!
//! Values are gathered unsorted, and cut back to the limit when there are twice as many: a constant number of steps a value.
//! What is kept beyond the limit never shows.

use std::cmp::Ordering;
use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field};

use super::Rows;
use super::bytes::{Reader, read_states, write_states, write_varint};
use super::groups::{Family, Picked, Selection};
use super::values::Key;

/// The state of one group.
#[derive(Debug, Clone)]
pub(super) struct Kept<K> {
    values: Vec<K>,
    /// Values were cut: the first `limit` ones are the best of all so far but those behind them, the worst of them last.
    cut: bool,
}

/// The best values. The column: Binary, their number and they themselves, the best first.
pub(super) struct Bounded<K> {
    data_type: DataType,
    limit: usize,
    /// The side of a better value.
    better: Ordering,
    key: PhantomData<fn() -> K>,
}

impl<K: Key> Bounded<K> {
    /// Less: the least values, ascending. Greater: the greatest, descending.
    pub(super) fn new(data_type: &DataType, limit: usize, better: Ordering) -> Bounded<K> {
        Bounded { data_type: data_type.clone(), limit, better, key: PhantomData }
    }

    /// Best first.
    #[inline(always)]
    fn compare(&self, left: K::Ref<'_>, right: K::Ref<'_>) -> Ordering {
        let order = K::compare(left, right);
        if self.better == Ordering::Less { order } else { order.reverse() }
    }

    #[inline(always)]
    fn offer(&self, state: &mut Kept<K>, key: K::Ref<'_>) {
        if state.cut && self.compare(key, state.values[self.limit - 1].borrow()) != Ordering::Less {
            return;
        }
        state.values.push(K::own(key));
        if state.values.len() >= 2 * self.limit {
            let best_first = |left: &K, right: &K| self.compare(left.borrow(), right.borrow());
            state.values.select_nth_unstable_by(self.limit - 1, best_first);
            state.values.truncate(self.limit);
            state.cut = true;
        }
    }

    /// What is kept, best first.
    fn sorted<'a>(&self, state: &'a Kept<K>) -> Vec<&'a K> {
        let mut values: Vec<&K> = state.values.iter().collect();
        values.sort_unstable_by(|left, right| self.compare(left.borrow(), right.borrow()));
        values.truncate(self.limit);
        values
    }

    fn read(&self, bytes: &mut Reader<'_>) -> Result<Kept<K>, String> {
        let count = bytes.varint()?;
        if count > self.limit as u64 {
            return Err(format!("{count} values, where {} are kept", self.limit));
        }
        let mut state = self.identity();
        for _ in 0..count {
            let value = K::read(&self.data_type, bytes)?;
            if let Some(before) = state.values.last()
                && self.compare(before.borrow(), value.borrow()) == Ordering::Greater
            {
                return Err("its values aren't sorted".to_owned());
            }
            state.values.push(value);
        }
        Ok(state)
    }
}

impl<K: Key> Family for Bounded<K> {
    type State = Kept<K>;
    const NAME: &'static str = "top_k or collect";

    fn identity(&self) -> Kept<K> {
        Kept { values: Vec::new(), cut: false }
    }

    fn update(&self, states: &mut [Kept<K>], rows: &Rows<'_>) {
        let column = K::column(&rows.arguments[0]);
        let selection = Selection::of(rows, rows.arguments);
        selection.for_each(|row| self.offer(&mut states[rows.groups[row] as usize], K::at(&column, row)));
    }

    fn merge(&self, into: &mut Kept<K>, from: &Kept<K>) {
        from.values.iter().for_each(|value| self.offer(into, value.borrow()));
    }

    fn state_type(&self) -> DataType {
        DataType::Binary
    }

    fn encode(&self, states: Picked<'_, Kept<K>>) -> ArrayRef {
        write_states(states, |state, out| {
            let values = self.sorted(state);
            write_varint(values.len() as u64, out);
            values.iter().for_each(|value| K::write(value.borrow(), out));
        })
    }

    fn decode(&self, column: &ArrayRef, each: &mut dyn FnMut(usize, Kept<K>)) -> Result<(), String> {
        read_states(column, each, |bytes| self.read(bytes))
    }

    fn evaluate(&self, states: Picked<'_, Kept<K>>) -> ArrayRef {
        let lists: Vec<Vec<&K>> = states.iter().map(|state| self.sorted(state)).collect();
        let values = K::array(&self.data_type, lists.iter().flatten().map(|value| Some(value.borrow())));
        let offsets = OffsetBuffer::from_lengths(lists.iter().map(Vec::len));
        let nulls = NullBuffer::from_iter(lists.iter().map(|list| !list.is_empty()));
        let field = Arc::new(Field::new_list_field(self.data_type.clone(), true));
        Arc::new(ListArray::new(field, offsets, values, Some(nulls)))
    }

    fn heap_bytes(&self, state: &Kept<K>) -> usize {
        let values: usize = state.values.iter().map(K::heap_bytes).sum();
        values + state.values.capacity() * size_of::<K>()
    }
}
