//! What operators with state by key share.
//!
//! ```text
//!   rows ─▶ key columns → bytes, hash (keys) ─▶ exchange ─▶ group number (groups) ─▶ state
//!                                                                checkpoint ◀─ (snapshot) ─▶ restart
//! ```
//!
//! | file | what |
//! |---|---|
//! | `keys` | key columns ↔ bytes and hash |
//! | `groups` | (key, pane) → group number |
//! | `snapshot` | when a file of state is full, what of files is wanted |

use arrow::array::ArrayRef;

pub(crate) mod groups;
pub(crate) mod keys;
pub(crate) mod snapshot;

pub use keys::is_key_type;
pub use snapshot::RestoredState;

/// What a keyed step takes from a batch; all arrays have the same length.
#[derive(Debug, Clone)]
pub struct KeyedRows {
    /// The key columns.
    pub keys: Vec<ArrayRef>,
    /// What the step reads of each row: arguments and filters of aggregates, inputs of a model.
    pub inputs: Vec<ArrayRef>,
    /// Event time, as a timestamp in microseconds.
    pub time: ArrayRef,
    /// [`SPLIT`](crate::rows::SPLIT) and [`OFFSET`](crate::rows::OFFSET), where the stream has them.
    pub order: Option<(ArrayRef, ArrayRef)>,
}
