//! As run: a checked plan becomes a timely dataflow, the same on every worker.
//!
//! ```text
//!   Plan ── prepare ──▶ Job: splits found, output folders claimed, counters made    (once)
//!                        │
//!                        └── build ──▶ operators on a worker, in the plan's order   (on each worker)
//! ```
//!
//! A stream's batches hold visible columns, then hidden ones: `__time`, and where order matters `__split` and `__offset`. Each step
//! arranges the columns that it reads ([`columns`]), filters, and computes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use thalweg_engine::control::{Control, JobError};
use thalweg_engine::gate::Gate;
use thalweg_engine::watermark::{Reports, broadcast, follow, keep_abreast};
use thalweg_engine::{BatchStream, Scope};
use thalweg_operators::keyed::{KeyedRows, RestoredState};
use thalweg_operators::rows::{OFFSET, SPLIT, StepCounters, TIME, map_batches};
use thalweg_operators::series::{
    ConvergeModel, DetectModel, ForecastModel, SeriesConfig, SeriesRows, series,
};
use thalweg_operators::sink::{SinkJob, sink};
use thalweg_operators::source::{SourceJob, source};
use thalweg_operators::window::{AggregateCall, Grid, Window, WindowConfig, WindowJob, window};
use thalweg_series::converge::Converger;
use thalweg_series::detect::Detector;
use thalweg_series::forecast::Forecaster;
use timely::dataflow::operators::core::concat::Concatenate;
use timely::worker::Worker;

use crate::plan::{
    NamedExpr, Plan, PlannedInput, PlannedScore, PlannedSeries, PlannedStep, PlannedWindow, Predicate,
    SeriesModelKind, SinkKind, StepKind, StreamId, WindowKind,
};
use crate::run::{JobContext, Since};
use columns::Arrangement;

mod columns;
mod network;
mod period;
mod score;
mod siblings;
pub(crate) mod sinks;
pub(crate) mod sources;

/// Why an expression failed on a batch.
#[derive(Debug, thiserror::Error)]
#[error(
    "step {step}: {sql}: {error}; guard against such values, for instance with nullif(…, 0) or try_cast(… as …)"
)]
struct ExpressionError {
    step: String,
    sql: String,
    error: String,
}

/// Builds the job's dataflow on this worker. Where a source can't be opened the job fails, and the dataflow is built all the
/// same: the other workers would wait for it for ever.
pub(crate) fn build(job: &JobContext, worker: &mut Worker) {
    let gate = Gate::new();
    let mut readers = Vec::new();
    for source in &job.sources {
        readers.push(source.reader(worker.index(), worker.peers(), &job.control).unwrap_or_else(|error| {
            job.control.fail(error);
            Box::new(sources::Nothing)
        }));
    }
    worker.dataflow(|scope| {
        let mut dataflow = Dataflow {
            job,
            scope,
            control: job.control.clone(),
            gate,
            sources: Vec::new(),
            steps: Vec::new(),
        };
        dataflow.build(readers);
    });
}

struct Dataflow<'job, 'scope> {
    job: &'job JobContext,
    scope: Scope<'scope>,
    control: Control,
    gate: Gate,
    sources: Vec<Built<'scope>>,
    steps: Vec<Built<'scope>>,
}

/// A stream and what its batches hold.
struct Built<'scope> {
    rows: BatchStream<'scope>,
    schema: SchemaRef,
}

impl<'scope> Dataflow<'_, 'scope> {
    fn build(&mut self, readers: Vec<Box<dyn thalweg_operators::source::SplitReader>>) {
        let job = self.job;
        let plan = &job.plan;
        let (mut late, mut rejected, mut reports) = (Vec::new(), Vec::new(), Vec::new());
        for (reader, lowered) in readers.into_iter().zip(&self.job.sources) {
            let source_job = SourceJob {
                control: self.control.clone(),
                gate: self.gate.clone(),
                cuts: self.job.cuts.clone(),
                positions: Arc::clone(&lowered.positions),
                counters: Arc::clone(&lowered.counters),
            };
            let schema = lowered.config.columns();
            let streams = source(self.scope, lowered.config.clone(), reader, source_job);
            self.sources.push(Built { rows: streams.rows, schema });
            late.push(streams.late);
            rejected.push(streams.rejected);
            reports.push(streams.reports);
        }
        let reports = broadcast(self.scope, self.scope.concatenate(reports));
        let reports = keep_abreast(reports, self.job.cuts.clock().clone());
        self.gate.watch(follow(reports.clone(), plan.sources.len(), self.job.cuts.clone()));
        for (step, counters) in plan.steps.iter().zip(&job.steps) {
            let built = self.step(plan, step, counters, reports.clone());
            self.steps.push(built);
        }
        for (number, planned) in plan.sinks.iter().enumerate() {
            let built = self.stream(planned.input.stream);
            let arranged = Arrangement::new(plan, &planned.input, &built.schema);
            let rows = built.rows.clone();
            let with_folders = sinks::add_window_date(planned);
            let shown = period::of_results(job.period);
            // A record's timestamp is the row's event time.
            let keeps_hidden = matches!(planned.kind, SinkKind::Kafka { .. });
            let rows = map_batches(
                rows,
                &format!("{}: columns", planned.name),
                self.control.clone(),
                move |batch| {
                    let Some(batch) = shown(batch)? else { return Ok(None) };
                    match keeps_hidden {
                        true => arranged.arrange(&batch).map(Some),
                        false => with_folders(arranged.visible(&batch)?).map(Some),
                    }
                },
            );
            let counters = &self.job.sinks[number];
            let out = sinks::planned(self.job, planned, self.scope.index(), counters);
            sink(rows, &planned.name, counters.timed(out), self.sink_job());
        }
        for (name, streams, counters) in
            [(sinks::LATE, late, &self.job.late), (sinks::REJECTED, rejected, &self.job.rejected)]
        {
            let out = sinks::standing(self.job, name, self.scope.index(), counters);
            let shown = period::of_records(job.period);
            let streams = self.scope.concatenate(streams);
            let rows = map_batches(streams, &format!("{name}: period"), self.control.clone(), shown);
            sink(rows, name, counters.timed(out), self.sink_job());
        }
        self.job.cuts.built();
    }

    fn sink_job(&self) -> SinkJob {
        SinkJob { control: self.control.clone(), gate: self.gate.clone(), cuts: self.job.cuts.clone() }
    }

    // What this worker held of a step at the checkpoint from which the job goes on.
    fn restored(&self, step: &str) -> RestoredState {
        self.job.restored(step, self.scope.index(), self.scope.peers()).unwrap_or_else(|error| {
            self.control.fail(error);
            RestoredState::nothing()
        })
    }

    fn stream(&self, id: StreamId) -> &Built<'scope> {
        match id {
            StreamId::Source(at) => &self.sources[at],
            StreamId::Step(at) => &self.steps[at],
        }
    }

    // One stream of the columns that the step reads. Streams of a union hold theirs in different places, so each is arranged first.
    fn input(&self, plan: &Plan, step: &PlannedStep) -> (BatchStream<'scope>, Arrangement) {
        let arrangement =
            |input: &PlannedInput| Arrangement::new(plan, input, &self.stream(input.stream).schema);
        if let [only] = step.inputs.as_slice() {
            return (self.stream(only.stream).rows.clone(), arrangement(only));
        }
        let order = step.inputs.iter().all(|input| plan.order(input.stream));
        let streams: Vec<_> = step
            .inputs
            .iter()
            .map(|input| {
                let arranged = arrangement(input);
                let columns = Arc::clone(&step.input_columns);
                let rows = self.stream(input.stream).rows.clone();
                map_batches(rows, &format!("{}: union", step.name), self.control.clone(), move |batch| {
                    arranged.with_hidden(&batch, &columns, order).map(Some)
                })
            })
            .collect();
        let schema = columns::with_hidden(&step.input_columns, order);
        (self.scope.concatenate(streams), Arrangement::identity(&schema, step.input_columns.fields().len()))
    }

    fn step(
        &self,
        plan: &Plan,
        step: &PlannedStep,
        counters: &Arc<StepCounters>,
        reports: Reports<'scope>,
    ) -> Built<'scope> {
        let (rows, arranged) = self.input(plan, step);
        match &step.kind {
            StepKind::Pass | StepKind::Project(_) => {
                let schema = columns::with_hidden(&step.columns, step.order);
                let (step, out, meter) = (step.clone(), Arc::clone(&schema), counters.meter());
                let rows = map_batches(rows, &step.name.clone(), self.control.clone(), move |batch| {
                    meter.takes(&batch);
                    meter.gives(meter.work(|| pass_or_project(&step, &arranged, &batch, &out)))
                });
                Built { rows, schema }
            }
            StepKind::Window(planned) => self.window(step, planned, counters, rows, arranged, reports),
            StepKind::Series(planned) => self.series(step, planned, counters, rows, arranged, reports),
            StepKind::Score(planned) => self.score(step, planned, counters, rows, arranged),
        }
    }

    fn series(
        &self,
        step: &PlannedStep,
        planned: &PlannedSeries,
        counters: &Arc<StepCounters>,
        rows: BatchStream<'scope>,
        arranged: Arrangement,
        reports: Reports<'scope>,
    ) -> Built<'scope> {
        let schema = columns::with_hidden(&step.columns, step.order);
        let config = SeriesConfig {
            name: step.name.clone(),
            keys: planned.keys.iter().map(NamedExpr::field).collect(),
            // Those of rows that waited at a checkpoint may be new: see `thalweg_operators::series`.
            columns: planned
                .passed
                .iter()
                .map(|at| step.input_columns.field(*at).clone().with_nullable(true))
                .collect(),
            inputs: planned.inputs.len(),
            forget_after_us: planned.forget_after_us,
            time_zone: planned.time_zone,
            order: step.order,
        };
        let names = planned.input_names();
        let checked = "invariant: a plan's models are checked";
        let job = || self.series_job(&step.name, counters);
        let take = |arranged| series_rows(step, planned, arranged, counters);
        let scored = match (&planned.model, planned.network.as_deref()) {
            (SeriesModelKind::Detect(of), Some(network)) => {
                self.network(step, planned, (of, network), counters, (rows, arranged), reports)
            }
            (SeriesModelKind::Detect(of), None) => {
                let others = self.siblings(step, planned, (&rows, &arranged), &reports);
                let detector = Detector::new(of.clone()).expect(checked);
                let model = DetectModel::new(detector, &names);
                series(rows, reports, config, model, job(), others, take(arranged))
            }
            (SeriesModelKind::Forecast(of), _) => {
                let forecaster = Forecaster::new(of.clone()).expect(checked);
                series(rows, reports, config, ForecastModel::new(forecaster, of), job(), None, take(arranged))
            }
            (SeriesModelKind::Converge(of), _) => {
                let converger = Converger::new(of.clone()).expect(checked);
                series(rows, reports, config, ConvergeModel::new(converger), job(), None, take(arranged))
            }
            (SeriesModelKind::Windows(windows), _) => {
                return self.training(step, planned, windows, counters, (rows, arranged), reports);
            }
        };
        let (name, having, meter) = (step.name.clone(), planned.having.clone(), counters.meter());
        let operator = format!("{}: having", step.name);
        let rows = map_batches(scored, &operator, self.control.clone(), move |batch| {
            meter.gives(meter.work(|| filtered(&name, batch, having.as_ref())))
        });
        Built { rows, schema }
    }

    fn score(
        &self,
        step: &PlannedStep,
        planned: &PlannedScore,
        counters: &Arc<StepCounters>,
        rows: BatchStream<'scope>,
        arranged: Arrangement,
    ) -> Built<'scope> {
        let schema = columns::with_hidden(&step.columns, step.order);
        let scored = score::score(rows, step, planned, &schema, arranged, counters, self.job);
        let (name, having, meter) = (step.name.clone(), planned.having.clone(), counters.meter());
        let operator = format!("{}: having", step.name);
        let rows = map_batches(scored, &operator, self.control.clone(), move |batch| {
            meter.gives(meter.work(|| filtered(&name, batch, having.as_ref())))
        });
        Built { rows, schema }
    }

    fn window(
        &self,
        step: &PlannedStep,
        planned: &PlannedWindow,
        counters: &Arc<StepCounters>,
        rows: BatchStream<'scope>,
        arranged: Arrangement,
        reports: Reports<'scope>,
    ) -> Built<'scope> {
        let config = window_config(step, planned, &self.job.since);
        let job = WindowJob {
            sources: self.job.sources.len(),
            control: self.control.clone(),
            counters: Arc::clone(&counters.windows),
            cuts: self.job.cuts.clone(),
            restored: self.restored(&step.name),
        };
        let (name, filter, keys, inputs) =
            (step.name.clone(), step.filter.clone(), planned.keys.clone(), planned.inputs.clone());
        let meter = counters.meter();
        let windows = window(rows, reports, config, job, move |batch| {
            meter.takes(batch);
            let Some(batch) = filtered(&name, arranged.arrange(batch)?, filter.as_ref())? else {
                return Ok(None);
            };
            Ok(Some(KeyedRows {
                keys: evaluate(&name, &keys, &batch)?,
                inputs: evaluate(&name, &inputs, &batch)?,
                time: Arc::clone(arranged.hidden(&batch, TIME)?),
                order: match (arranged.hidden(&batch, SPLIT), arranged.hidden(&batch, OFFSET)) {
                    (Ok(split), Ok(offset)) => Some((Arc::clone(split), Arc::clone(offset))),
                    _ => None,
                },
            }))
        });
        let schema = columns::with_hidden(&step.columns, step.order);
        let (name, output, having, order, out) = (
            step.name.clone(),
            planned.output.clone(),
            planned.having.clone(),
            step.order,
            Arc::clone(&schema),
        );
        let meter = counters.meter();
        let select = move |batch: RecordBatch| {
            let mut columns = evaluate(&name, &output, &batch)?;
            columns.push(Arc::clone(&batch[TIME]));
            if order {
                let zeros: ArrayRef = Arc::new(Int64Array::from(vec![0; batch.num_rows()]));
                columns.extend([Arc::clone(&zeros), zeros]);
            }
            filtered(&name, RecordBatch::try_new(Arc::clone(&out), columns)?, having.as_ref())
        };
        let operator = format!("{}: select", step.name);
        let rows = map_batches(windows, &operator, self.control.clone(), move |batch| {
            meter.gives(meter.work(|| select(batch)))
        });
        Built { rows, schema }
    }
}

// What a model takes of a batch.
fn series_rows(
    step: &PlannedStep,
    planned: &PlannedSeries,
    arranged: Arrangement,
    counters: &Arc<StepCounters>,
) -> impl FnMut(&RecordBatch) -> Result<Option<SeriesRows>, JobError> + 'static {
    let (name, filter, planned) = (step.name.clone(), step.filter.clone(), planned.clone());
    let meter = counters.meter();
    move |batch| {
        meter.takes(batch);
        let Some(batch) = filtered(&name, arranged.arrange(batch)?, filter.as_ref())? else {
            return Ok(None);
        };
        let time = Arc::clone(arranged.hidden(&batch, TIME)?);
        Ok(Some(SeriesRows {
            keys: evaluate(&name, &planned.keys, &batch)?,
            columns: planned.passed.iter().map(|at| Arc::clone(batch.column(*at))).collect(),
            at: planned.at.map_or_else(|| Arc::clone(&time), |at| Arc::clone(batch.column(at))),
            inputs: evaluate(&name, &planned.inputs, &batch)?,
            time,
            order: match (arranged.hidden(&batch, SPLIT), arranged.hidden(&batch, OFFSET)) {
                (Ok(split), Ok(offset)) => Some((Arc::clone(split), Arc::clone(offset))),
                _ => None,
            },
        }))
    }
}

fn pass_or_project(
    step: &PlannedStep,
    arranged: &Arrangement,
    batch: &RecordBatch,
    out: &SchemaRef,
) -> Result<Option<RecordBatch>, JobError> {
    let Some(batch) = filtered(&step.name, arranged.arrange(batch)?, step.filter.as_ref())? else {
        return Ok(None);
    };
    let mut columns = match &step.kind {
        StepKind::Project(expressions) => evaluate(&step.name, expressions, &batch)?,
        _ => batch.columns()[..step.columns.fields().len()].to_vec(),
    };
    for hidden in &out.fields()[step.columns.fields().len()..] {
        columns.push(Arc::clone(arranged.hidden(&batch, hidden.name())?));
    }
    Ok(Some(RecordBatch::try_new(Arc::clone(out), columns)?))
}

// The rows for which the predicate is true; `None` when there are none.
fn filtered(
    step: &str,
    batch: RecordBatch,
    predicate: Option<&Predicate>,
) -> Result<Option<RecordBatch>, JobError> {
    let Some(predicate) = predicate else { return Ok(Some(batch)) };
    let keep = predicate.evaluate(&batch).map_err(|error| ExpressionError {
        step: step.to_owned(),
        sql: predicate.sql.clone(),
        error: error.to_string(),
    })?;
    if keep.null_count() == 0 && keep.true_count() == batch.num_rows() {
        return Ok(Some(batch));
    }
    let kept = filter_record_batch(&batch, &keep)?;
    Ok((kept.num_rows() > 0).then_some(kept))
}

fn evaluate(step: &str, expressions: &[NamedExpr], batch: &RecordBatch) -> Result<Vec<ArrayRef>, JobError> {
    expressions
        .iter()
        .map(|expression| {
            expression.evaluate(batch).map_err(|error| {
                let (step, sql) = (step.to_owned(), expression.sql.clone());
                ExpressionError { step, sql, error: error.to_string() }.into()
            })
        })
        .collect()
}

fn window_config(step: &PlannedStep, planned: &PlannedWindow, since: &Since) -> WindowConfig {
    let window = match &planned.window {
        WindowKind::Tumbling { size_us, offset_us, time_zone: None } => {
            Window::Tumbling(Grid::Fixed { size_us: *size_us, offset_us: *offset_us })
        }
        WindowKind::Tumbling { size_us, offset_us, time_zone: Some(zone) } => {
            Window::Tumbling(Grid::Days { days: size_us / DAY_US, offset_us: *offset_us, zone: *zone })
        }
        WindowKind::Hopping { size_us, every_us, offset_us } => {
            Window::Hopping { size_us: *size_us, every_us: *every_us, offset_us: *offset_us }
        }
        WindowKind::Session { gap_us, max_us } => Window::Session { gap_us: *gap_us, max_us: *max_us },
    };
    WindowConfig {
        name: step.name.clone(),
        window,
        keys: planned.keys.iter().map(NamedExpr::field).collect(),
        inputs: planned.inputs.iter().map(|input| input.data_type.clone()).collect(),
        aggregates: planned
            .aggregates
            .iter()
            .map(|call| AggregateCall {
                aggregate: call.aggregate.clone(),
                arguments: call.arguments.clone(),
                filter: call.filter,
                label: planned.label(call),
                since: since.get(&(step.name.clone(), planned.label(call))).copied(),
            })
            .collect(),
    }
}

const DAY_US: i64 = 86_400_000_000;
