//! `first_value`, `last_value`, `arg_min` and `arg_max`: the value of the extreme row of a total order.
//!
//! The order is (`by`, event time, split, offset, value), `by` only for `arg_*`. Where rows have no split and offset, the value
//! settles ties (null the least), so that equal rows are the only ones that are not told apart.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;

use super::Rows;
use super::bytes::{Reader, read_states, write_states};
use super::groups::{Family, Picked, Selection};
use super::values::Key;

/// The order's first part where there is no `by`: the same for all rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct NoBy;

/// A row's place in the order.
pub(super) struct Place<B, K> {
    by: B,
    event_time_us: i64,
    split: i64,
    offset: i64,
    value: Option<K>,
}

/// The state is the extreme row's place, if there was a row. The column: Binary; nothing, or `by`, event time, split and offset
/// (8 bytes each), 1 and the value or 0 for null.
pub(super) struct Ordered<B, K> {
    value_type: DataType,
    by_type: DataType,
    /// The side of a better row.
    better: Ordering,
    types: std::marker::PhantomData<fn() -> (B, K)>,
}

/// A row's place, borrowed from its columns or a state.
struct PlaceRef<'a, B: Key, K: Key> {
    by: B::Ref<'a>,
    stamp: (i64, i64, i64),
    value: Option<K::Ref<'a>>,
}

impl<B: Key, K: Key> PlaceRef<'_, B, K> {
    fn own(&self) -> Place<B, K> {
        let (event_time_us, split, offset) = self.stamp;
        Place { by: B::own(self.by), event_time_us, split, offset, value: self.value.map(K::own) }
    }
}

impl<B: Key, K: Key> Place<B, K> {
    fn borrow(&self) -> PlaceRef<'_, B, K> {
        PlaceRef {
            by: self.by.borrow(),
            stamp: (self.event_time_us, self.split, self.offset),
            value: self.value.as_ref().map(K::borrow),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        B::write(self.by.borrow(), out);
        for number in [self.event_time_us, self.split, self.offset] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.push(u8::from(self.value.is_some()));
        if let Some(value) = &self.value {
            K::write(value.borrow(), out);
        }
    }
}

impl<B: Key, K: Key> Ordered<B, K> {
    /// `better`: Less keeps the first row, Greater the last. `by_type` means nothing to [`NoBy`].
    pub(super) fn new(value_type: &DataType, by_type: &DataType, better: Ordering) -> Ordered<B, K> {
        let (value_type, by_type) = (value_type.clone(), by_type.clone());
        Ordered { value_type, by_type, better, types: std::marker::PhantomData }
    }

    #[inline(always)]
    fn offer(&self, state: &mut Option<Place<B, K>>, place: &PlaceRef<'_, B, K>) {
        let wins = match state {
            None => true,
            Some(best) => {
                let best = best.borrow();
                let by_value = || match (place.value, best.value) {
                    (Some(value), Some(best)) => K::compare(value, best),
                    (value, best) => value.is_some().cmp(&best.is_some()),
                };
                let by = B::compare(place.by, best.by);
                by.then(place.stamp.cmp(&best.stamp)).then_with(by_value) == self.better
            }
        };
        if wins {
            *state = Some(place.own());
        }
    }

    fn read(&self, bytes: &mut Reader<'_>) -> Result<Option<Place<B, K>>, String> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let by = B::read(&self.by_type, bytes)?;
        let (event_time_us, split, offset) = (bytes.i64()?, bytes.i64()?, bytes.i64()?);
        let value = match bytes.byte()? {
            0 => None,
            1 => Some(K::read(&self.value_type, bytes)?),
            other => return Err(format!("{other} is neither a value nor null")),
        };
        Ok(Some(Place { by, event_time_us, split, offset, value }))
    }
}

impl<B: Key, K: Key> Family for Ordered<B, K> {
    type State = Option<Place<B, K>>;
    const NAME: &'static str = "first_value, last_value, arg_min or arg_max";

    fn identity(&self) -> Self::State {
        None
    }

    fn update(&self, states: &mut [Self::State], rows: &Rows<'_>) {
        let (values, by) = (&rows.arguments[0], &rows.arguments[rows.arguments.len() - 1]);
        let (value_column, by_column) = (K::column(values), B::column(by));
        let nulls = values.logical_nulls();
        let number = |numbers: &[i64], row: usize| numbers.get(row).copied().unwrap_or(0);
        Selection::of(rows, &rows.arguments[1..]).for_each(|row| {
            let valid = nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
            let order = &rows.order;
            let place = PlaceRef {
                by: B::at(&by_column, row),
                stamp: (
                    number(order.event_time_us, row),
                    number(order.split, row),
                    number(order.offset, row),
                ),
                value: valid.then(|| K::at(&value_column, row)),
            };
            self.offer(&mut states[rows.groups[row] as usize], &place);
        });
    }

    fn merge(&self, into: &mut Self::State, from: &Self::State) {
        if let Some(place) = from {
            self.offer(into, &place.borrow());
        }
    }

    fn state_type(&self) -> DataType {
        DataType::Binary
    }

    fn encode(&self, states: Picked<'_, Self::State>) -> ArrayRef {
        write_states(states, |state, out| {
            if let Some(place) = state {
                place.write(out);
            }
        })
    }

    fn decode(&self, column: &ArrayRef, each: &mut dyn FnMut(usize, Self::State)) -> Result<(), String> {
        read_states(column, each, |bytes| self.read(bytes))
    }

    fn evaluate(&self, states: Picked<'_, Self::State>) -> ArrayRef {
        let value = |state: &'_ Self::State| -> Option<K> { state.as_ref()?.value.clone() };
        let values: Vec<Option<K>> = states.iter().map(value).collect();
        K::array(&self.value_type, values.iter().map(|value| value.as_ref().map(K::borrow)))
    }

    fn heap_bytes(&self, state: &Self::State) -> usize {
        let place =
            |place: &Place<B, K>| place.by.heap_bytes() + place.value.as_ref().map_or(0, K::heap_bytes);
        state.as_ref().map_or(0, place)
    }
}

impl Key for NoBy {
    type Ref<'a> = ();
    type Column<'a> = ();

    fn column(_: &ArrayRef) {}

    #[inline(always)]
    fn at(_: &(), _: usize) {}

    #[inline(always)]
    fn borrow(&self) {}

    #[inline(always)]
    fn own(_: ()) -> NoBy {
        NoBy
    }

    #[inline(always)]
    fn compare(_: (), _: ()) -> Ordering {
        Ordering::Equal
    }

    fn hash(_: ()) -> u64 {
        0
    }

    fn write(_: (), _: &mut Vec<u8>) {}

    fn read(_: &DataType, _: &mut Reader<'_>) -> Result<NoBy, String> {
        Ok(NoBy)
    }

    fn array<'a>(_: &DataType, keys: impl Iterator<Item = Option<Self::Ref<'a>>>) -> ArrayRef {
        std::sync::Arc::new(arrow::array::NullArray::new(keys.count()))
    }
}
