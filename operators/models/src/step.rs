//! A step that asks a model of each row: rows in, the same rows with the model's outputs out, at the ticks they belong to.
//!
//! ```text
//!   batch ─▶ inputs as f32 ─▶ worker's queue ─▶ the model's thread ─▶ outputs ─▶ batch with outputs, at its tick
//!              └─ kept with its capability until its outputs are there, in order ─┘
//! ```
//!
//! The dataflow's worker never waits for the model: it hands a batch over and goes on. What it keeps holds back the frontier, and through
//! it the sources: a slow model slows the reading and fills no memory. It holds no state of its own, as every batch of an epoch has left
//! before the epoch's cut is complete.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Schema, SchemaRef};
use thalweg_engine::control::{Control, JobError};
use thalweg_engine::{BatchStream, Batches, Out, Tick};
use thalweg_operators::series::SeriesCounters;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;

use crate::infer::{Infer, Outputs};
use crate::worker::{Batch, Done, Failure, Wake, Worker, WorkerConfig};

/// Rows of a batch for the model, at most: results of a large batch come soon enough, and a time limit means about the same for each.
const ROWS_MAX: usize = 4_096;

/// A step with a model of rows.
#[derive(Debug, Clone)]
pub struct ScoreConfig {
    /// The step's name, for operator names and logs.
    pub name: String,
    /// The columns that go on as they are.
    pub columns: Vec<Field>,
    /// How many numbers make each input of the model.
    pub inputs: Vec<usize>,
    /// The columns of each output of the model.
    pub outputs: Vec<Vec<String>>,
    /// The hidden columns that leave: time, and where order matters split and offset.
    pub hidden: Vec<Field>,
    /// What stands in the column `model_version`.
    pub version: String,
    /// How the model is run.
    pub worker: WorkerConfig,
}

impl ScoreConfig {
    /// The columns that the model adds.
    pub fn added(outputs: &[Vec<String>]) -> Vec<Field> {
        let mut fields: Vec<Field> =
            outputs.iter().flatten().map(|name| Field::new(name, DataType::Float64, true)).collect();
        fields.push(Field::new("status", DataType::Utf8, false));
        fields.push(Field::new("model_version", DataType::Utf8, false));
        fields
    }

    /// The columns that leave.
    pub fn output(&self) -> SchemaRef {
        let mut fields = self.columns.clone();
        fields.extend(Self::added(&self.outputs));
        fields.extend(self.hidden.iter().cloned());
        Arc::new(Schema::new(fields))
    }
}

/// What the step takes from a batch; all arrays have the same length.
#[derive(Debug, Clone)]
pub struct ScoreRows {
    /// The columns that go on as they are.
    pub columns: Vec<ArrayRef>,
    /// The model's inputs, one after the other: each column a number as `Float64`, or a whole input as a list of `Float32` of fixed size, which is
    /// missing where it is null.
    pub inputs: Vec<ArrayRef>,
    /// The hidden columns.
    pub hidden: Vec<ArrayRef>,
}

/// Asks `model` of each row that `rows_of` takes out of a batch (`None`: nothing of it). The columns that leave are
/// [`ScoreConfig::output`].
pub fn score<'scope>(
    rows: BatchStream<'scope>,
    config: ScoreConfig,
    model: Box<dyn Infer>,
    control: Control,
    counters: Arc<SeriesCounters>,
    mut rows_of: impl FnMut(&RecordBatch) -> Result<Option<ScoreRows>, JobError> + 'static,
) -> BatchStream<'scope> {
    let scope = rows.scope();
    let busy = counters.busy.add();
    let name = format!("{}: model", config.name);
    rows.unary_frontier::<Out, _, _, _>(Pipeline, &name, move |cap, info| {
        drop(cap);
        let activator = scope.worker().sync_activator_for(info.address.to_vec());
        let wake: Wake = Box::new(move || {
            // The dataflow may be gone by now.
            let _ = activator.activate();
        });
        let mut asked = match Worker::start(model, config.worker, wake) {
            Ok(worker) => Some(Asked::new(worker, config.clone(), counters)),
            Err(error) => {
                control.fail(error);
                None
            }
        };
        move |(input, _frontier), output| {
            if control.failed() {
                // Nothing is waited for any more, be it a model that never comes back.
                asked = None;
            }
            let Some(asked) = &mut asked else {
                input.for_each(|_, container| drop(container.take()));
                return;
            };
            busy.start();
            input.for_each(|at, container| {
                let held = at.retain_least(0).expect("invariant: a message has a tick");
                for batch in container.take() {
                    match rows_of(&batch) {
                        Ok(Some(rows)) => asked.take(&held, &rows),
                        Ok(None) => {}
                        Err(error) => control.fail(error),
                    }
                }
            });
            loop {
                asked.submit();
                match asked.next_done() {
                    Some(Ok((at, batch))) => output.session(&at).give_container(&mut Batches::one(batch)),
                    Some(Err(error)) => control.fail(error),
                    None => break,
                }
            }
            busy.stop();
        }
    })
}

/// Batches that wait for the model or its results, in order.
struct Asked {
    worker: Worker,
    config: ScoreConfig,
    schema: SchemaRef,
    counters: Arc<SeriesCounters>,
    /// With the model.
    under_way: VecDeque<Part>,
    /// Not with the model yet: its queue is full.
    waiting: VecDeque<Part>,
    next_id: u64,
}

/// Some rows of a batch, and where they belong.
struct Part {
    at: Capability<Tick>,
    rows: ScoreRows,
    /// Rows that lack no input: those that the model sees.
    complete: Vec<usize>,
}

impl Asked {
    fn new(worker: Worker, config: ScoreConfig, counters: Arc<SeriesCounters>) -> Self {
        Asked {
            schema: config.output(),
            worker,
            config,
            counters,
            under_way: VecDeque::new(),
            waiting: VecDeque::new(),
            next_id: 0,
        }
    }

    fn take(&mut self, at: &Capability<Tick>, rows: &ScoreRows) {
        let count = rows.hidden.first().map_or(0, |column| column.len());
        for from in (0..count).step_by(ROWS_MAX) {
            let length = ROWS_MAX.min(count - from);
            let part =
                |columns: &[ArrayRef]| columns.iter().map(|column| column.slice(from, length)).collect();
            let rows = ScoreRows {
                columns: part(&rows.columns),
                inputs: part(&rows.inputs),
                hidden: part(&rows.hidden),
            };
            let complete = complete(&rows.inputs, length);
            self.waiting.push_back(Part { at: at.clone(), rows, complete });
        }
    }

    fn submit(&mut self) {
        while self.worker.has_room() {
            let Some(part) = self.waiting.pop_front() else { return };
            if !part.complete.is_empty() {
                let inputs = laid_out(&part.rows.inputs, &self.config.inputs, &part.complete);
                let batch = Batch { id: self.next_id, rows: part.complete.len(), inputs };
                if self.worker.submit(batch).is_err() {
                    self.waiting.push_front(part);
                    return;
                }
                self.next_id += 1;
            }
            self.under_way.push_back(part);
        }
    }

    fn next_done(&mut self) -> Option<Result<(Capability<Tick>, RecordBatch), JobError>> {
        let is_empty = self.under_way.front()?.complete.is_empty();
        let done = if is_empty { None } else { Some(self.worker.try_recv()?) };
        let Part { at, rows, complete } = self.under_way.pop_front()?;
        Some(self.with_outputs(rows, &complete, done.as_ref()).map(|batch| (at, batch)))
    }

    fn with_outputs(
        &self,
        rows: ScoreRows,
        complete: &[usize],
        done: Option<&Done>,
    ) -> Result<RecordBatch, JobError> {
        let count = rows.hidden.first().map_or(0, |column| column.len());
        let mut status = vec!["missing"; count];
        complete.iter().for_each(|row| status[*row] = "ok");
        let mut columns = rows.columns;
        let outputs = match done.map(|done| (&done.result, &done.failed)) {
            Some((Ok(outputs), failed)) => {
                failed.iter().for_each(|(at, failure)| status[complete[*at]] = failure.status());
                if let Some((_, failure)) = failed.first() {
                    self.failed(failed.len(), failure);
                }
                Some(outputs)
            }
            Some((Err(failure), _)) => {
                complete.iter().for_each(|row| status[*row] = failure.status());
                self.failed(complete.len(), failure);
                None
            }
            None => None,
        };
        columns.extend(self.outputs(outputs, complete, count));
        columns.push(Arc::new(StringArray::from_iter_values(status)));
        let versions = std::iter::repeat_n(&self.config.version, count);
        columns.push(Arc::new(StringArray::from_iter_values(versions)));
        columns.extend(rows.hidden);
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    fn failed(&self, rows: usize, failure: &Failure) {
        self.counters.failed.fetch_add(rows as u64, Ordering::Relaxed);
        tracing::warn!(step = self.config.name, rows, "{failure}");
    }

    // A column for each value of each output; null where nothing is said.
    fn outputs(&self, outputs: Option<&Outputs>, complete: &[usize], count: usize) -> Vec<ArrayRef> {
        let mut columns: Vec<ArrayRef> = Vec::new();
        for (port, names) in self.config.outputs.iter().enumerate() {
            for at in 0..names.len() {
                let mut said = vec![None; count];
                let values = outputs.and_then(|outputs| outputs.columns.get(port));
                for (number, row) in complete.iter().enumerate() {
                    let value = values.and_then(|values| values.get(number * names.len() + at));
                    said[*row] = value.filter(|value| !value.is_nan()).map(|value| f64::from(*value));
                }
                columns.push(Arc::new(Float64Array::from(said)));
            }
        }
        columns
    }
}

// The rows that lack no input: none is null, none is no number. A list may hold such.
fn complete(inputs: &[ArrayRef], rows: usize) -> Vec<usize> {
    let has = |column: &ArrayRef, row: usize| {
        let is_number = |column: &Float64Array| !column.value(row).is_nan();
        column.is_valid(row) && column.as_primitive_opt::<Float64Type>().is_none_or(is_number)
    };
    (0..rows).filter(|row| inputs.iter().all(|column| has(column, *row))).collect()
}

// Rows × width values for each input of the model.
fn laid_out(columns: &[ArrayRef], widths: &[usize], rows: &[usize]) -> Vec<Vec<f32>> {
    let mut columns = columns.iter().peekable();
    let mut input = |width: &usize| -> Vec<f32> {
        if let Some(list) = columns.next_if(|column| column.as_fixed_size_list_opt().is_some()) {
            return of_list(list.as_fixed_size_list(), *width, rows);
        }
        let of: Vec<&Float64Array> =
            columns.by_ref().take(*width).map(|column| column.as_primitive()).collect();
        rows.iter().flat_map(|row| of.iter().map(|column| column.value(*row) as f32)).collect()
    };
    widths.iter().map(&mut input).collect()
}

fn of_list(list: &FixedSizeListArray, width: usize, rows: &[usize]) -> Vec<f32> {
    let values = list.values().as_primitive::<Float32Type>().values();
    let mut laid_out = Vec::with_capacity(rows.len() * width);
    for row in rows {
        let from = list.value_offset(*row) as usize;
        laid_out.extend_from_slice(&values[from..from + width]);
    }
    laid_out
}
