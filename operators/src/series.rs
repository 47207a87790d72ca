//! Models over series: rows in, the same rows with what a model says of them out, once the job's watermark has passed them.
//!
//! ```text
//!            one worker                  the worker that owns the key's shard
//!   rows ─▶ keys → bytes, hash ─▶ exchange ─▶ held until the watermark ─▶ by key, in event-time order ─▶ model ─▶ rows
//!                                             passes them (held)          (held)                    (state by key)
//!   reports of the sources ────────────────── job's watermark
//!   siblings ──────────────────────────────── what other keys have shown, where a model goes by it (siblings)
//! ```
//!
//! A model sees the rows of a key in the order of event time, then of split and offset, then of their values: an order that
//! depends on neither ticks nor workers. What it says of a row depends on that key's rows up to it, and on nothing else; but for the first rows
//! of a key, which may be judged by what its siblings have shown in event time before.
//!
//! | file | what |
//! |---|---|
//! | `held` | rows that wait, and the order in which they go on |
//! | `states` | the state of each key, in memory and in checkpoints |
//! | `siblings` | what the keys of a step have shown while after while, for those that begin |
//! | `detect`, `forecast`, `converge` | the models of `thalweg-series` as columns |
//! | `window` | what a network sees of a key, as columns |

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef, TimestampMicrosecondType};
use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::Tz;
use thalweg_engine::checkpoint::{CutTracker, Cuts, Part};
use thalweg_engine::control::{Control, JobError};
use thalweg_engine::exchange::exchange;
use thalweg_engine::watermark::{EventTime, JobWatermark, Reports};
use thalweg_engine::{BatchStream, Batches, Out};
use thalweg_schemas::time::timestamp_type;
use thalweg_series::Observation;
use thalweg_series::bytes::StateError;
use thalweg_series::detect::Siblings;
use timely::PartialOrder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use crate::keyed::keys::{KEY_AT, KeyEncoder, TIME_AT};
use crate::keyed::{KeyedRows, RestoredState, snapshot};
use crate::rows::{OFFSET, SPLIT, TIME, map_batches};
use crate::stopwatch::Stopwatches;

mod columns;
mod converge;
mod detect;
mod forecast;
mod held;
mod siblings;
mod states;
#[cfg(test)]
mod tests;
mod window;

pub use converge::ConvergeModel;
pub use detect::DetectModel;
pub use forecast::ForecastModel;
use held::Held;
use siblings::Whiles;
pub use siblings::{SiblingsConfig, siblings};
use states::States;
pub use window::{ROW, WINDOW, WindowModel, window_columns};

/// What a model is to this operator.
pub trait SeriesModel: 'static {
    /// What it knows of one key.
    type State;

    /// The columns that it adds.
    fn columns(&self) -> Vec<Field>;

    /// Rows that it gives for each that it takes.
    fn rows_each(&self) -> usize {
        1
    }

    /// What is known of a key before its first row; `siblings`: where it is known what other keys have shown.
    fn begin(&self, siblings: Option<&Siblings>) -> Self::State;

    /// Takes in a row of a key; what is to be said of it is kept for [`SeriesModel::finish`].
    fn observe(&mut self, state: &mut Self::State, row: Observation<'_>);

    /// What was to be said of all rows since the last call: the arrays of [`SeriesModel::columns`].
    ///
    /// # Errors
    /// None that is not a bug.
    fn finish(&mut self) -> Result<Vec<ArrayRef>, JobError>;

    /// Appends a state's bytes.
    fn encode(&self, state: &Self::State, bytes: &mut Vec<u8>);

    /// The state of such bytes.
    ///
    /// # Errors
    /// Bytes that are none.
    fn decode(&self, bytes: &[u8]) -> Result<Self::State, StateError>;
}

/// A step with a model of series.
#[derive(Debug, Clone)]
pub struct SeriesConfig {
    /// The step's name, for operator names and logs.
    pub name: String,
    /// The key columns: names and types.
    pub keys: Vec<Field>,
    /// The columns that go on as they are.
    pub columns: Vec<Field>,
    /// Values of a row that the model reads.
    pub inputs: usize,
    /// A key of which there was no row for longer than this is a new one. Microseconds.
    pub forget_after_us: i64,
    /// By whose clock seasons are told; `None`: UTC.
    pub time_zone: Option<Tz>,
    /// Whether rows leave with [`SPLIT`] and [`OFFSET`].
    pub order: bool,
}

impl SeriesConfig {
    /// The columns that leave: the input's, then the model's, then the hidden ones.
    pub fn output(&self, model: &[Field]) -> SchemaRef {
        let mut fields: Vec<Field> = self.columns.iter().chain(model).cloned().collect();
        fields.push(Field::new(TIME, timestamp_type(), false));
        if self.order {
            fields.push(Field::new(SPLIT, DataType::Int64, false));
            fields.push(Field::new(OFFSET, DataType::Int64, false));
        }
        Arc::new(Schema::new(fields))
    }
}

/// What a step takes from a batch; all arrays have the same length.
#[derive(Debug, Clone)]
pub struct SeriesRows {
    /// The key columns.
    pub keys: Vec<ArrayRef>,
    /// The columns that go on as they are.
    pub columns: Vec<ArrayRef>,
    /// When a row's values were, as a timestamp in microseconds: for the row of a window, its start.
    pub at: ArrayRef,
    /// The model's inputs, as `Float64`.
    pub inputs: Vec<ArrayRef>,
    /// Event time, as a timestamp in microseconds.
    pub time: ArrayRef,
    /// [`SPLIT`] and [`OFFSET`], where the stream has them.
    pub order: Option<(ArrayRef, ArrayRef)>,
}

/// What a step with a model has done, over all workers of a process.
#[derive(Debug, Default)]
pub struct SeriesCounters {
    /// Keys of which something is known.
    pub keys: AtomicU64,
    /// Rows that wait for the watermark.
    pub held: AtomicU64,
    /// Rows of which a model said nothing, since it failed or took too long.
    pub failed: AtomicU64,
    /// At work.
    pub busy: Stopwatches,
}

/// What a step with a model needs to know of its job.
#[derive(Clone)]
pub struct SeriesJob {
    /// The job's sources, whose reports make the watermark.
    pub sources: usize,
    /// Where an error goes.
    pub control: Control,
    /// Where keys are counted.
    pub counters: Arc<SeriesCounters>,
    /// Whether they are: not where another stage of the step has counted them.
    pub counts: bool,
    /// Where state is handed over.
    pub cuts: Cuts,
    /// What this worker knew of keys at the checkpoint from which the job goes on.
    pub restored: RestoredState,
    /// The rows that waited then.
    pub restored_held: RestoredState,
    /// What siblings had shown until then.
    pub restored_siblings: RestoredState,
}

/// The name under which waiting rows stand in a checkpoint: those of a step, or of a stage of one.
pub fn held_part(stage: &str) -> String {
    format!("{stage}.held")
}

/// The name under which it stands in a checkpoint what siblings have shown.
pub fn siblings_part(stage: &str) -> String {
    format!("{stage}.siblings_known")
}

/// The name of a stage of a step, where a step has several that keep state.
pub fn stage(step: &str, name: &str) -> String {
    format!("{step}.{name}")
}

/// The step to which a part of a checkpoint belongs.
pub fn step_of_part(part: &str) -> &str {
    // No name of a step has a full stop.
    part.split_once('.').map_or(part, |(step, _)| step)
}

// When a row's values were.
const AT: &str = "__at";

// Where the inputs of a keyed batch stand: the time of a row's values, the columns, the model's inputs.
const SPLIT_AT: usize = TIME_AT + 1;
const AT_AT: usize = TIME_AT + 3;
const COLUMNS_AT: usize = AT_AT + 1;

/// Has `model` judge `rows` by key, in event-time order. `rows_of` takes what is wanted out of a batch (`None`: nothing). The columns
/// that leave are [`SeriesConfig::output`]. `others`: what [`siblings`] tells, where a model goes by it.
pub fn series<'scope, M: SeriesModel>(
    rows: BatchStream<'scope>,
    reports: Reports<'scope>,
    config: SeriesConfig,
    model: M,
    job: SeriesJob,
    others: Option<BatchStream<'scope>>,
    mut rows_of: impl FnMut(&RecordBatch) -> Result<Option<SeriesRows>, JobError> + 'static,
) -> BatchStream<'scope> {
    let mut inputs = vec![Field::new(AT, timestamp_type(), false)];
    inputs.extend(config.columns.iter().cloned());
    inputs.extend((0..config.inputs).map(|i| Field::new(format!("__in_{i}"), DataType::Float64, true)));
    let mut encoder = KeyEncoder::new(&config.keys, inputs, true);
    let schema = encoder.schema();
    let busy = job.counters.busy.add();
    let key = format!("{}: key", config.name);
    let keyed = map_batches(rows, &key, job.control.clone(), move |batch| {
        busy.time(|| {
            let Some(rows) = rows_of(&batch)? else { return Ok(None) };
            let mut inputs = vec![rows.at];
            inputs.extend(rows.columns);
            inputs.extend(rows.inputs);
            encoder
                .encode(KeyedRows { keys: rows.keys, inputs, time: rows.time, order: rows.order })
                .map(Some)
        })
    });
    let scoring = Scoring::new(schema, model, config.inputs);
    gather(keyed, reports, others, config, scoring, job)
}

// The operator on the owner of a shard. It holds one capability, kept at its input frontier.
fn gather<'scope, M: SeriesModel>(
    keyed: BatchStream<'scope>,
    reports: Reports<'scope>,
    others: Option<BatchStream<'scope>>,
    config: SeriesConfig,
    mut scoring: Scoring<M>,
    job: SeriesJob,
) -> BatchStream<'scope> {
    let (worker, peers) = (keyed.scope().index(), keyed.scope().peers());
    if let Err(error) = scoring.restore(&job, worker, peers) {
        job.control.fail(error);
    }
    let participants = [job.cuts.join(), job.cuts.join()];
    let of_siblings = others.as_ref().map(|_| job.cuts.join());
    let busy = job.counters.busy.add();
    let mut builder = OperatorBuilder::new(format!("{}: model", config.name), keyed.scope());
    let mut rows_in = builder.new_input(keyed, exchange());
    let mut reports_in = builder.new_input(reports, Pipeline);
    let mut others_in = others.map(|others| builder.new_input(others, exchange()));
    let (output, stream) = builder.new_output();
    let mut output = OutputBuilder::<_, Out>::from(output);
    builder.build(move |mut capabilities| {
        let mut cap = capabilities.pop();
        let mut watermark = JobWatermark::new(job.sources, peers);
        let mut cuts_taken = CutTracker::new(job.cuts.first());
        let mut counted = (0, 0);
        move |frontiers| {
            rows_in.for_each(|_, container| {
                container.take().into_iter().for_each(|batch| scoring.held.push(batch));
            });
            reports_in.for_each(|at, reports| {
                let tick = *at.least().expect("invariant: a message has a tick");
                reports.drain(..).for_each(|report| watermark.report(tick, report));
            });
            if let Some(others) = &mut others_in {
                others.for_each(|_, container| {
                    for batch in container.take() {
                        scoring.whiles.push(&batch);
                    }
                });
            }
            let Some(held) = &mut cap else { return };
            let next = frontiers.iter().filter_map(|input| input.frontier().first().copied()).min();
            if next.is_some_and(|next| next.less_equal(held.time())) {
                return;
            }
            let mut out = output.activate();
            busy.start();
            let now = watermark.advance(next);
            // At the end of a job that was stopped all that is held belongs to the run that goes on.
            if !job.control.ending() {
                let scored = scoring.advance(now, &config, &mut |batch| {
                    out.session(held).give_container(&mut Batches::one(batch));
                });
                if let Err(error) = scored {
                    job.control.fail(error);
                }
            }
            if let Some(cut) = cuts_taken.due(next)
                && !job.control.ending()
            {
                match scoring.snapshot() {
                    Ok((full, states)) => {
                        let part = |step: &str, full, batches| {
                            Part::State(snapshot::part(step, worker, peers, full, batches))
                        };
                        job.cuts.give(cut, participants[0], part(&config.name, full, states));
                        let waiting = part(&held_part(&config.name), true, scoring.held.snapshot());
                        job.cuts.give(cut, participants[1], waiting);
                        if let Some(participant) = of_siblings {
                            let known =
                                part(&siblings_part(&config.name), true, vec![scoring.whiles.snapshot()]);
                            job.cuts.give(cut, participant, known);
                        }
                    }
                    Err(error) => job.control.fail(error),
                }
            }
            // Added before what was there is taken away: the sum over all workers is never below 0.
            let keys = if job.counts { scoring.states.len() as u64 } else { 0 };
            let counts = (keys, scoring.held.rows() as u64);
            job.counters.keys.fetch_add(counts.0, Ordering::Relaxed);
            job.counters.held.fetch_add(counts.1, Ordering::Relaxed);
            let before = std::mem::replace(&mut counted, counts);
            job.counters.keys.fetch_sub(before.0, Ordering::Relaxed);
            job.counters.held.fetch_sub(before.1, Ordering::Relaxed);
            busy.stop();
            match next {
                Some(next) => held.downgrade(&next),
                None => cap = None,
            }
        }
    });
    stream
}

/// A model, what it knows of each key, and the rows that it is still to see.
struct Scoring<M: SeriesModel> {
    model: M,
    states: States<M::State>,
    held: Held,
    whiles: Whiles,
    clock: Clock,
}

impl<M: SeriesModel> Scoring<M> {
    fn new(schema: SchemaRef, model: M, inputs: usize) -> Self {
        Scoring {
            model,
            states: States::default(),
            held: Held::new(schema),
            whiles: Whiles::new(inputs),
            clock: Clock::default(),
        }
    }

    fn restore(&mut self, job: &SeriesJob, worker: usize, peers: usize) -> Result<(), JobError> {
        self.held.restore(&job.restored_held, worker, peers)?;
        self.whiles.restore(&job.restored_siblings)?;
        let model = &self.model;
        self.states.restore(&job.restored, worker, peers, |bytes| model.decode(bytes))
    }

    fn snapshot(&mut self) -> Result<(bool, Vec<RecordBatch>), JobError> {
        let model = &self.model;
        self.states.snapshot(|state, bytes| model.encode(state, bytes))
    }

    // Judges all rows before the watermark.
    fn advance(
        &mut self,
        watermark: EventTime,
        config: &SeriesConfig,
        emit: &mut dyn FnMut(RecordBatch),
    ) -> Result<(), JobError> {
        self.whiles.end_before(watermark);
        let mut released = self.held.release(watermark, self.model.rows_each())?;
        while let Some(batch) = released.next_batch()? {
            emit(self.judge(&batch, config)?);
        }
        self.whiles.forget_before(watermark);
        self.states.forget(watermark, config.forget_after_us);
        Ok(())
    }

    fn judge(&mut self, batch: &RecordBatch, config: &SeriesConfig) -> Result<RecordBatch, JobError> {
        let hashes = batch.column(0).as_primitive::<arrow::datatypes::UInt64Type>().values();
        let keys: &arrow::array::BinaryArray = batch.column(KEY_AT).as_binary();
        let times = batch.column(TIME_AT).as_primitive::<TimestampMicrosecondType>().values();
        let at = batch.column(AT_AT).as_primitive::<TimestampMicrosecondType>().values();
        let inputs: Vec<_> = batch.columns()[COLUMNS_AT + config.columns.len()..]
            .iter()
            .map(|column| column.as_primitive::<Float64Type>())
            .collect();
        let mut values = vec![f64::NAN; inputs.len()];
        for row in 0..batch.num_rows() {
            for (value, column) in values.iter_mut().zip(&inputs) {
                *value = if column.is_null(row) { f64::NAN } else { column.value(row) };
            }
            let observation = Observation {
                time_us: at[row],
                local_us: self.clock.local(at[row], config.time_zone),
                values: &values,
            };
            let begin = || self.model.begin(self.whiles.at(times[row]));
            let key = (hashes[row], keys.value(row));
            let state = self.states.of(key, times[row], config.forget_after_us, begin);
            self.model.observe(state, observation);
        }
        let said = self.model.finish()?;
        let kept = COLUMNS_AT..COLUMNS_AT + config.columns.len();
        let mut columns: Vec<ArrayRef> = batch.columns()[kept].to_vec();
        let hidden = [TIME_AT, SPLIT_AT, SPLIT_AT + 1];
        let hidden = &hidden[..if config.order { 3 } else { 1 }];
        let mut hidden: Vec<ArrayRef> = hidden.iter().map(|at| Arc::clone(batch.column(*at))).collect();
        let each = self.model.rows_each();
        if each != 1 {
            let rows = UInt32Array::from_iter_values(
                (0..batch.num_rows() as u32).flat_map(|row| std::iter::repeat_n(row, each)),
            );
            for column in columns.iter_mut().chain(&mut hidden) {
                *column = take(column, &rows, None)?;
            }
        }
        columns.extend(said);
        columns.extend(hidden);
        Ok(RecordBatch::try_new(config.output(&self.model.columns()), columns)?)
    }
}

/// The local clock of a time zone. Its shift from UTC is looked up once a quarter of an hour of event time: clocks are
/// changed at whole quarters.
#[derive(Default)]
struct Clock {
    quarter: Option<i64>,
    shift_us: i64,
}

impl Clock {
    const QUARTER_US: i64 = 900_000_000;

    fn local(&mut self, time_us: i64, zone: Option<Tz>) -> i64 {
        let Some(zone) = zone else { return time_us };
        let quarter = time_us.div_euclid(Self::QUARTER_US);
        if self.quarter != Some(quarter) {
            self.quarter = Some(quarter);
            let shift = DateTime::from_timestamp_micros(time_us)
                .map_or(0, |utc| zone.offset_from_utc_datetime(&utc.naive_utc()).fix().local_minus_utc());
            self.shift_us = i64::from(shift) * 1_000_000;
        }
        time_us.saturating_add(self.shift_us)
    }
}
