//! Aggregates: every one an exact commutative monoid, so that partial aggregation, panes, session merges and any dealing
//! of rows to workers give the same result to the last bit.
//!
//! ```text
//!   rows ──update──▶ state of a group ──evaluate──▶ result column
//!                      ▲    │
//!                      │    └─state──▶ canonical bytes ──(exchange, checkpoint)──▶ merge_states ─▶ state of a group
//!                      └─merge_within── another group of the same accumulator (panes, sessions)
//! ```
//!
//! States are columnar: an [`Accumulator`] holds one aggregate's states for all groups of an operator, indexed by group
//! number. To add an aggregate: a variant of [`Function`], its types in [`Aggregate::new`], an accumulator in a file of its
//! own, and a line in the property test that all share.

mod bits;
mod bounded;
mod bytes;
mod count;
mod distinct;
mod exact_sum;
mod function;
mod groups;
mod limbs;
mod min_max;
mod moments;
mod numbers;
mod ordered;
mod quantile;
mod sum;
#[cfg(test)]
mod tests;
mod values;

use arrow::array::{ArrayRef, BooleanArray};

pub use function::{Aggregate, Function};

/// Where the rows of an update stand among all rows: what `first_value`, `last_value`, `arg_min` and `arg_max` order by.
///
/// All slices have the length of the batch. Where a stream has no split and offset (a window's output), they are empty, and
/// ties are settled by the value itself.
#[derive(Debug, Clone, Copy)]
pub struct RowOrder<'a> {
    /// Event time, microseconds since the epoch.
    pub event_time_us: &'a [i64],
    /// Source and split number.
    pub split: &'a [i64],
    /// Offset in the split.
    pub offset: &'a [i64],
}

/// The rows of one update: row `i` belongs to group `groups[i]`.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// Group number of each row.
    pub groups: &'a [u32],
    /// The aggregate's arguments, each of the length of `groups`.
    pub arguments: &'a [ArrayRef],
    /// Rows for which this is not true (false or null) are left out: SQL's `filter (where …)`.
    pub filter: Option<&'a BooleanArray>,
    /// The rows' order.
    pub order: RowOrder<'a>,
}

/// One aggregate's states for all groups of an operator.
///
/// `update` and `merge_*` commute and associate exactly: whatever the order and the partition of the rows into updates and
/// merges, `state` gives the same bytes and `evaluate` the same values.
pub trait Accumulator: Send {
    /// Makes room for groups `0..groups`; new ones hold the identity. Never shrinks.
    fn resize(&mut self, groups: usize);
    /// Adds rows to their groups.
    fn update(&mut self, rows: Rows<'_>);
    /// Merges serialised states, as [`Accumulator::state`] wrote them, into groups: `states[i]` into `groups[i]`.
    ///
    /// # Errors
    /// Bytes that no accumulator of this kind wrote.
    fn merge_states(&mut self, groups: &[u32], states: &ArrayRef) -> Result<(), AggregateError>;
    /// Merges group `from` into group `into` (`from` keeps its state).
    fn merge_within(&mut self, into: u32, from: u32);
    /// Sets groups back to the identity, giving back what they held on the heap.
    fn reset(&mut self, groups: &[u32]);
    /// The states of groups, canonical: equal states give equal bytes. Its type is [`Accumulator::state_type`].
    fn state(&self, groups: &[u32]) -> ArrayRef;
    /// The Arrow type of [`Accumulator::state`].
    fn state_type(&self) -> arrow::datatypes::DataType;
    /// The results of groups, of the type [`Aggregate::result_type`].
    fn evaluate(&self, groups: &[u32]) -> ArrayRef;
    /// Bytes held, about.
    fn memory_bytes(&self) -> usize;
}

/// Why an aggregate can't be built or a state can't be read.
#[derive(Debug, thiserror::Error)]
pub enum AggregateError {
    /// A function was applied to types that it doesn't take.
    #[error("{function} of ({given}) doesn't exist: it takes {takes}")]
    ArgumentTypes {
        /// The function's name.
        function: &'static str,
        /// What it takes, and how to get there.
        takes: &'static str,
        /// The types it was given, separated by commas.
        given: String,
    },
    /// A function's parameter is out of range.
    #[error("{function} {detail}")]
    Parameter {
        /// The function's name.
        function: &'static str,
        /// What it takes instead.
        detail: String,
    },
    /// A serialised state is damaged.
    #[error("a state of {aggregate} is damaged: {detail}")]
    Damaged {
        /// The aggregate's name.
        aggregate: &'static str,
        /// What is wrong.
        detail: String,
    },
}
