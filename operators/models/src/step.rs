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

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef};
use thalweg_engine::control::{Control, JobError};
use thalweg_engine::{BatchStream, Batches, Out, Tick};
use thalweg_operators::series::SeriesCounters;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;

use crate::infer::{Infer, Outputs};
use crate::worker::{Batch, Done, Wake, Worker, WorkerConfig};

/// Rows of a batch for the model, at most: results of a large batch come soon enough, and a time limit means about the same for each.
const ROWS_MAX: usize = 4_096;

/// A step with a model of rows.
#[derive(Debug, Clone)]
pub struct ScoreConfig {
    /// The step's name, for operator names and logs.
    pub name: String,
    /// The columns that go on as they are.
    pub columns: Vec<Field>,
    /// How many columns make each input of the model.
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
    /// The model's inputs, one after the other, as `Float64`.
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
    under_way: VecDeque<(Capability<Tick>, ScoreRows)>,
    /// Not with the model yet: its queue is full.
    waiting: VecDeque<(Capability<Tick>, ScoreRows)>,
    next_id: u64,
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
            self.waiting.push_back((at.clone(), rows));
        }
    }

    fn submit(&mut self) {
        while self.worker.has_room() {
            let Some((at, rows)) = self.waiting.pop_front() else { return };
            let count = rows.hidden[0].len();
            let batch =
                Batch { id: self.next_id, rows: count, inputs: laid_out(&rows.inputs, &self.config.inputs) };
            if self.worker.submit(batch).is_err() {
                self.waiting.push_front((at, rows));
                return;
            }
            self.next_id += 1;
            self.under_way.push_back((at, rows));
        }
    }

    fn next_done(&mut self) -> Option<Result<(Capability<Tick>, RecordBatch), JobError>> {
        let done = self.worker.try_recv()?;
        let (at, rows) = self.under_way.pop_front().expect("invariant: results come for what was submitted");
        Some(self.with_outputs(rows, &done).map(|batch| (at, batch)))
    }

    fn with_outputs(&self, rows: ScoreRows, done: &Done) -> Result<RecordBatch, JobError> {
        let missing: Vec<bool> =
            (0..done.rows).map(|row| rows.inputs.iter().any(|column| column.is_null(row))).collect();
        let mut columns = rows.columns;
        let status: Vec<&str> = match &done.result {
            Ok(outputs) => {
                columns.extend(self.outputs(outputs, &missing));
                missing.iter().map(|missing| if *missing { "missing" } else { "ok" }).collect()
            }
            Err(failure) => {
                self.counters.failed.fetch_add(done.rows as u64, Ordering::Relaxed);
                tracing::warn!(step = self.config.name, rows = done.rows, "{failure}");
                let nothing: ArrayRef = Arc::new(Float64Array::new_null(done.rows));
                columns.extend(self.config.outputs.iter().flatten().map(|_| Arc::clone(&nothing)));
                vec![failure.status(); done.rows]
            }
        };
        columns.push(Arc::new(StringArray::from_iter_values(status)));
        let versions = std::iter::repeat_n(&self.config.version, done.rows);
        columns.push(Arc::new(StringArray::from_iter_values(versions)));
        columns.extend(rows.hidden);
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    // A column for each value of each output; of rows that lack an input nothing is said.
    fn outputs(&self, outputs: &Outputs, missing: &[bool]) -> Vec<ArrayRef> {
        let mut columns: Vec<ArrayRef> = Vec::new();
        for (names, values) in self.config.outputs.iter().zip(&outputs.columns) {
            for at in 0..names.len() {
                let value = |row: usize| {
                    let value = values.get(row * names.len() + at).copied().map(f64::from);
                    value.filter(|value| !value.is_nan() && !missing[row])
                };
                columns.push(Arc::new((0..outputs.rows).map(value).collect::<Float64Array>()));
            }
        }
        columns
    }
}

// Rows × width values for each input of the model. A null is a zero here; what the model says of such a row is left out.
fn laid_out(columns: &[ArrayRef], widths: &[usize]) -> Vec<Vec<f32>> {
    let mut from = 0;
    let mut inputs = Vec::with_capacity(widths.len());
    for width in widths {
        let of: Vec<_> =
            columns[from..from + width].iter().map(|column| column.as_primitive::<Float64Type>()).collect();
        from += width;
        let rows = of.first().map_or(0, |column| column.len());
        let value = |row: usize, column: &&Float64Array| {
            if column.is_null(row) { 0.0 } else { column.value(row) as f32 }
        };
        inputs.push((0..rows).flat_map(|row| of.iter().map(move |column| value(row, column))).collect());
    }
    inputs
}
