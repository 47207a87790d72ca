//! What all accumulators share: one state per group, held in a vector.
//!
//! A [`Family`] says what a state is and how rows, states and bytes enter it; [`Groups`] makes an [`Accumulator`] of it.

use std::ops::Range;

use arrow::array::{Array, ArrayRef};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::DataType;

use super::{Accumulator, AggregateError, Rows};

/// One kind of state, with its columnar loops.
pub(super) trait Family: Send {
    /// The state of one group.
    type State: Send;

    /// The name that errors show.
    const NAME: &'static str;
    /// Whether a null in a state column is a state.
    const NULL_IS_A_STATE: bool = false;

    /// The state of no rows.
    fn identity(&self) -> Self::State;
    /// Adds rows; `states` is indexed by group.
    fn update(&self, states: &mut [Self::State], rows: &Rows<'_>);
    /// Merges one state into another.
    fn merge(&self, into: &mut Self::State, from: &Self::State);
    /// The type of what `encode` makes.
    fn state_type(&self) -> DataType;
    /// States as a column, canonical.
    fn encode(&self, states: Picked<'_, Self::State>) -> ArrayRef;
    /// Hands over the states of a column that has the type `state_type`, with their positions in it. The error says what is
    /// damaged.
    fn decode(&self, column: &ArrayRef, each: &mut dyn FnMut(usize, Self::State)) -> Result<(), String>;
    /// The results of states.
    fn evaluate(&self, states: Picked<'_, Self::State>) -> ArrayRef;
    /// Bytes that a state holds on the heap, about.
    fn heap_bytes(&self, _state: &Self::State) -> usize {
        0
    }
}

/// Some groups' states, in the order asked for.
pub(super) struct Picked<'a, S> {
    states: &'a [S],
    groups: &'a [u32],
}

impl<'a, S> Picked<'a, S> {
    /// The states, as many as groups were asked for.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &'a S> + use<'a, S> {
        let states = self.states;
        self.groups.iter().map(move |&group| &states[group as usize])
    }
}

/// The accumulator of a family.
pub(super) struct Groups<F: Family> {
    family: F,
    states: Vec<F::State>,
}

impl<F: Family> Groups<F> {
    pub(super) fn new(family: F) -> Groups<F> {
        Groups { family, states: Vec::new() }
    }

    fn damaged(detail: String) -> AggregateError {
        AggregateError::Damaged { aggregate: F::NAME, detail }
    }
}

impl<F: Family> Accumulator for Groups<F> {
    fn resize(&mut self, groups: usize) {
        if groups > self.states.len() {
            self.states.resize_with(groups, || self.family.identity());
        }
    }

    fn update(&mut self, rows: Rows<'_>) {
        self.family.update(&mut self.states, &rows);
    }

    fn merge_states(&mut self, groups: &[u32], states: &ArrayRef) -> Result<(), AggregateError> {
        if states.data_type() != &self.family.state_type() {
            let detail = format!("it has the type {}, not {}", states.data_type(), self.family.state_type());
            return Err(Self::damaged(detail));
        }
        if states.len() != groups.len() {
            return Err(Self::damaged(format!("{} states for {} groups", states.len(), groups.len())));
        }
        if !F::NULL_IS_A_STATE && states.null_count() > 0 {
            return Err(Self::damaged("it is null".to_owned()));
        }
        let (family, own) = (&self.family, &mut self.states);
        let mut merge = |row: usize, state: F::State| family.merge(&mut own[groups[row] as usize], &state);
        family.decode(states, &mut merge).map_err(Self::damaged)
    }

    fn merge_within(&mut self, into: u32, from: u32) {
        let [into, from] = self
            .states
            .get_disjoint_mut([into as usize, from as usize])
            .expect("invariant: two groups that exist and differ");
        self.family.merge(into, from);
    }

    fn reset(&mut self, groups: &[u32]) {
        for &group in groups {
            self.states[group as usize] = self.family.identity();
        }
    }

    fn state(&self, groups: &[u32]) -> ArrayRef {
        self.family.encode(Picked { states: &self.states, groups })
    }

    fn state_type(&self) -> DataType {
        self.family.state_type()
    }

    fn evaluate(&self, groups: &[u32]) -> ArrayRef {
        self.family.evaluate(Picked { states: &self.states, groups })
    }

    fn memory_bytes(&self) -> usize {
        let heap: usize = self.states.iter().map(|state| self.family.heap_bytes(state)).sum();
        heap + self.states.capacity() * size_of::<F::State>()
    }
}

/// The rows of an update that count: let through by the filter, and with no null among some arguments.
pub(super) enum Selection {
    /// So many rows, all of them.
    All(usize),
    /// The rows whose bit is set.
    Some(BooleanBuffer),
}

impl Selection {
    /// The rows that the filter lets through and whose `arguments` are all set.
    pub(super) fn of(rows: &Rows<'_>, arguments: &[ArrayRef]) -> Selection {
        let mut bits: Option<BooleanBuffer> = None;
        let mut narrow = |other: &BooleanBuffer| {
            bits = Some(match &bits {
                None => other.clone(),
                Some(bits) => bits & other,
            });
        };
        if let Some(filter) = rows.filter {
            narrow(filter.values());
            if let Some(nulls) = filter.nulls() {
                narrow(nulls.inner());
            }
        }
        for argument in arguments {
            if let Some(nulls) = argument.logical_nulls()
                && nulls.null_count() > 0
            {
                narrow(nulls.inner());
            }
        }
        match bits {
            None => Selection::All(rows.groups.len()),
            Some(bits) => Selection::Some(bits),
        }
    }

    /// Calls `each` with every selected row's number, ascending.
    #[inline(always)]
    pub(super) fn for_each(&self, mut each: impl FnMut(usize)) {
        self.for_each_run(|run| run.for_each(&mut each));
    }

    /// Calls `each` with the group and the value of every selected row.
    #[inline(always)]
    pub(super) fn for_each_value<T: Copy>(
        &self,
        groups: &[u32],
        values: &[T],
        mut each: impl FnMut(usize, T),
    ) {
        self.for_each_run(|run| {
            for (&group, &value) in groups[run.clone()].iter().zip(&values[run]) {
                each(group as usize, value);
            }
        });
    }

    /// Calls `each` with every run of selected rows.
    #[inline(always)]
    fn for_each_run(&self, mut each: impl FnMut(Range<usize>)) {
        let (mut whole, mut runs) = match self {
            Selection::All(rows) => (Some((0, *rows)), None),
            Selection::Some(bits) => (None, Some(bits.set_slices())),
        };
        // One place for both: what is called at two places isn't inlined, which costs more than most of the loops it is.
        while let Some((start, end)) = whole.take().or_else(|| runs.as_mut()?.next()) {
            each(start..end);
        }
    }
}
