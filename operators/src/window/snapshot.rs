//! What a window holds, as rows of a checkpoint, and back.
//!
//! ```text
//!   groups that changed since the cut before ─▶ rows: hash, key, pane or (start, last, waiting), one state an aggregate
//!   files of a checkpoint, newest first ─▶ rows of own shards, not fired, not seen in a newer file ─▶ groups
//! ```
//!
//! No row says that something is gone: whatever ended at or before the cut's watermark has fired, so such rows are passed over when
//! a window is restored. The watermark of a unit's older row never lies behind that of a newer one, so none comes back.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use thalweg_engine::control::JobError;
use thalweg_engine::exchange::HASH;

use super::fired::Accumulators;
use crate::keyed::keys::KEY;
use crate::keyed::snapshot::STATE_ROWS_MAX;

/// The columns that a row of state begins with; `then` follow, and a state of each aggregate.
pub(super) fn schema(then: Vec<Field>, accumulators: &Accumulators) -> SchemaRef {
    let mut fields =
        vec![Field::new(HASH, DataType::UInt64, false), Field::new(KEY, DataType::Binary, false)];
    fields.extend(then);
    fields.extend(accumulators.state_fields());
    Arc::new(Schema::new(fields))
}

/// Batches of rows for groups; `columns` makes the columns before the states.
pub(super) fn batches(
    groups: &[u32],
    schema: &SchemaRef,
    accumulators: &Accumulators,
    columns: impl Fn(&[u32]) -> Vec<ArrayRef>,
) -> Result<Vec<RecordBatch>, JobError> {
    if groups.is_empty() {
        return Ok(vec![RecordBatch::new_empty(Arc::clone(schema))]);
    }
    let batch = |part: &[u32]| {
        let mut all = columns(part);
        all.extend(accumulators.states(part));
        Ok(RecordBatch::try_new(Arc::clone(schema), all)?)
    };
    groups.chunks(STATE_ROWS_MAX).map(batch).collect()
}
