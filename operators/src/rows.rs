//! Rows in, rows out, a batch at a time: filters, projections and computed columns.

use arrow::array::RecordBatch;
use thalweg_engine::control::{Control, JobError};
use thalweg_engine::{BatchStream, Batches, Out};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;

pub mod counters;

pub use counters::{StepCounters, StepMeter};

/// The hidden column that carries event time through a dataflow.
pub const TIME: &str = "__time";
/// The hidden column of a row's source and split: source number << 32 | split number.
pub const SPLIT: &str = "__split";
/// The hidden column of a row's offset in its split.
pub const OFFSET: &str = "__offset";

/// Applies `logic` to each batch; what it gives (`None`: nothing) goes on at the same tick. Batches that end up empty are dropped.
///
/// ```text
///   batch ─▶ logic ─▶ Some(batch) ─▶ on
///                  ├▶ None        ─▶ dropped
///                  └▶ error       ─▶ the job fails
/// ```
pub fn map_batches<'scope>(
    rows: BatchStream<'scope>,
    name: &str,
    control: Control,
    mut logic: impl FnMut(RecordBatch) -> Result<Option<RecordBatch>, JobError> + 'static,
) -> BatchStream<'scope> {
    rows.unary::<Out, _, _, _>(Pipeline, name, move |cap, _| {
        drop(cap);
        move |input, output| {
            input.for_each_stamp(|at, containers| {
                let mut done = Batches::default();
                for batch in containers.flat_map(Batches::take) {
                    match logic(batch) {
                        Ok(batch) => batch.into_iter().for_each(|batch| done.push(batch)),
                        Err(error) => control.fail(error),
                    }
                }
                if done.rows() > 0 {
                    output.session(&at).give_container(&mut done);
                }
            });
        }
    })
}
