//! The accumulators of an operator's groups, and the batch that leaves when windows fire.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::nullif;
use arrow::datatypes::{Field, Int64Type, SchemaRef, TimestampMicrosecondType};
use thalweg_engine::control::JobError;
use thalweg_engine::watermark::EventTime;
use thalweg_schemas::time::TIME_ZONE;

use super::{AggregateCall, WindowConfig};
use crate::aggregate::{Accumulator, RowOrder, Rows};
use crate::keyed::keys::{KeyDecoder, TIME_AT};

/// Windows that leave as one batch, at most: enough to be cheap a row, few enough not to be felt in memory.
pub(super) const FIRED_ROWS_MAX: usize = 16_384;

/// The accumulators of all aggregates of a step.
pub(super) struct Accumulators {
    calls: Vec<(AggregateCall, Box<dyn Accumulator>)>,
    order: bool,
}

impl Accumulators {
    pub(super) fn new(config: &WindowConfig) -> Self {
        let calls =
            config.aggregates.iter().map(|call| (call.clone(), call.aggregate.accumulator())).collect();
        Accumulators { calls, order: config.needs_order() }
    }

    pub(super) fn resize(&mut self, groups: usize) {
        self.calls.iter_mut().for_each(|(_, accumulator)| accumulator.resize(groups));
    }

    /// Adds the rows of a keyed batch, row `i` to `groups[i]`.
    pub(super) fn update(&mut self, batch: &RecordBatch, groups: &[u32]) {
        let time = batch.column(TIME_AT).as_primitive::<TimestampMicrosecondType>();
        let (split, offset): (&[i64], &[i64]) = if self.order {
            let column = |at: usize| batch.column(at).as_primitive::<Int64Type>().values().as_ref();
            (column(TIME_AT + 1), column(TIME_AT + 2))
        } else {
            (&[], &[])
        };
        let inputs = &batch.columns()[TIME_AT + 1 + 2 * usize::from(self.order)..];
        let order = RowOrder { event_time_us: time.values(), split, offset };
        for (call, accumulator) in &mut self.calls {
            let arguments: Vec<ArrayRef> = call.arguments.iter().map(|at| Arc::clone(&inputs[*at])).collect();
            let filter: Option<&BooleanArray> = call.filter.map(|at| inputs[at].as_boolean());
            accumulator.update(Rows { groups, arguments: &arguments, filter, order });
        }
    }

    /// Merges serialised states, one column per aggregate.
    pub(super) fn merge_states(&mut self, states: &[ArrayRef], groups: &[u32]) -> Result<(), JobError> {
        for ((_, accumulator), states) in self.calls.iter_mut().zip(states) {
            accumulator.merge_states(groups, states)?;
        }
        Ok(())
    }

    pub(super) fn merge_within(&mut self, into: u32, from: u32) {
        self.calls.iter_mut().for_each(|(_, accumulator)| accumulator.merge_within(into, from));
    }

    pub(super) fn reset(&mut self, groups: &[u32]) {
        self.calls.iter_mut().for_each(|(_, accumulator)| accumulator.reset(groups));
    }

    /// The states of groups, one column per aggregate.
    pub(super) fn states(&self, groups: &[u32]) -> Vec<ArrayRef> {
        self.calls.iter().map(|(_, accumulator)| accumulator.state(groups)).collect()
    }

    pub(super) fn state_types(&self) -> Vec<arrow::datatypes::DataType> {
        self.calls.iter().map(|(_, accumulator)| accumulator.state_type()).collect()
    }

    /// Merges the states that a checkpoint's batch holds; aggregates that it does not know stay as they are.
    pub(super) fn restore(&mut self, batch: &RecordBatch, groups: &[u32]) -> Result<(), JobError> {
        for (call, accumulator) in &mut self.calls {
            if let Some(states) = batch.column_by_name(&state_column(call)) {
                accumulator.merge_states(groups, states)?;
            }
        }
        Ok(())
    }

    /// The columns of a checkpoint's states.
    pub(super) fn state_fields(&self) -> impl Iterator<Item = Field> {
        self.calls
            .iter()
            .map(|(call, accumulator)| Field::new(state_column(call), accumulator.state_type(), true))
    }

    fn evaluate(&self, groups: &[u32], windows: &[Fired<'_>]) -> Result<Vec<ArrayRef>, JobError> {
        let column = |(call, accumulator): &(AggregateCall, Box<dyn Accumulator>)| {
            let values = accumulator.evaluate(groups);
            match call.since {
                Some(since) if windows.iter().any(|window| window.start < since) => {
                    let older: BooleanArray = windows.iter().map(|w| Some(w.start < since)).collect();
                    Ok(nullif(&values, &older)?)
                }
                _ => Ok(values),
            }
        };
        self.calls.iter().map(column).collect()
    }
}

fn state_column(call: &AggregateCall) -> String {
    format!("state of {}", call.label)
}

/// A window that fires.
pub(super) struct Fired<'a> {
    pub(super) group: u32,
    pub(super) start: EventTime,
    pub(super) end: EventTime,
    pub(super) key: &'a [u8],
}

/// Builds the batches of windows that fire.
pub(super) struct FiredBatch {
    schema: SchemaRef,
    decoder: KeyDecoder,
}

impl FiredBatch {
    pub(super) fn new(config: &WindowConfig) -> Self {
        FiredBatch { schema: config.output(), decoder: KeyDecoder::new(&config.keys) }
    }

    /// The results of windows, in the order given.
    pub(super) fn build(
        &self,
        windows: &[Fired<'_>],
        accumulators: &Accumulators,
    ) -> Result<RecordBatch, JobError> {
        let times = |of: fn(&Fired<'_>) -> EventTime| -> ArrayRef {
            let values = TimestampMicrosecondArray::from_iter_values(windows.iter().map(of));
            Arc::new(values.with_timezone(TIME_ZONE))
        };
        let groups: Vec<u32> = windows.iter().map(|window| window.group).collect();
        let mut columns = vec![times(|w| w.start), times(|w| w.end)];
        columns.extend(self.decoder.decode(windows.iter().map(|window| window.key))?);
        columns.extend(accumulators.evaluate(&groups, windows)?);
        columns.push(times(|w| w.end.saturating_sub(1)));
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}
