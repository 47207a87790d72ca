//! Windows over rows that are columns already: J1's minutes and J2's sessions, on one worker.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch, Scalar, StringArray};
use arrow::compute::kernels::cmp::eq;
use arrow::datatypes::{DataType, Field, TimestampMicrosecondType};
use thalweg_engine::checkpoint::Cuts;
use thalweg_engine::cluster::{Cluster, run};
use thalweg_engine::control::Control;
use thalweg_engine::tick::TickClock;
use thalweg_engine::watermark::{BEGINNING, END, WatermarkReport};
use thalweg_engine::{Batches, Out, Tick};
use thalweg_operators::aggregate::{Aggregate, Function};
use thalweg_operators::keyed::{KeyedRows, RestoredState};
use thalweg_operators::window::{AggregateCall, Grid, Window, WindowConfig, WindowJob, window};
use thalweg_schemas::{Decoder, Format, Schema};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::{Part, nanoseconds_each, thread_time};
use crate::data::{LATENESS_US, call_schema};
use crate::reference::Job;

const BATCH_ROWS: usize = 8192;
const MINUTE_US: i64 = 60_000_000;
const RUNS: usize = 3;

/// Keys, hashes, accumulators and firing; decoding and filters left out.
pub(crate) fn windows(payloads: &[Vec<u8>]) -> anyhow::Result<Vec<Part>> {
    let schema = call_schema();
    let all: Vec<usize> = (0..schema.fields.len()).collect();
    let arrow =
        Arc::new(arrow::datatypes::Schema::new(schema.fields.iter().map(|f| f.arrow()).collect::<Vec<_>>()));
    let mut decoder = Decoder::new(Format::Json, &schema, &all);
    let mut batches = Vec::new();
    for part in payloads.chunks(BATCH_ROWS) {
        for payload in part {
            decoder.push(Some(payload)).expect("invariant: generated events decode");
        }
        batches.push(RecordBatch::try_new(Arc::clone(&arrow), decoder.finish())?);
    }
    let mut parts = Vec::new();
    for (job, name) in [(Job::J1, "window: J1's eight aggregates"), (Job::J2, "window: J2's sessions")] {
        let rows = prepared(job, &schema, &batches)?;
        let time = (0..RUNS).map(|_| one_run(job, rows.clone())).sum::<anyhow::Result<Duration>>()?;
        parts.push(Part::new(name, nanoseconds_each(time, RUNS * payloads.len())));
    }
    Ok(parts)
}

// What the step's expressions would make of the batches.
fn prepared(job: Job, schema: &Schema, batches: &[RecordBatch]) -> anyhow::Result<Vec<KeyedRows>> {
    let keys: &[&str] = match job {
        Job::J1 => &["provider", "model"],
        Job::J2 => &["session_id"],
    };
    let error = Scalar::new(StringArray::from(vec!["error"]));
    batches
        .iter()
        .map(|batch| {
            let columns = |names: &[&str]| -> Vec<_> {
                names
                    .iter()
                    .filter_map(|name| schema.index_of(name))
                    .map(|at| Arc::clone(batch.column(at)))
                    .collect()
            };
            let mut inputs = columns(&["cost_usd", "latency_ms", "prompt_tokens", "completion_tokens"]);
            if job == Job::J1 {
                inputs.push(Arc::new(eq(&columns(&["status"])[0], &error)?));
            }
            Ok(KeyedRows {
                keys: columns(keys),
                inputs,
                time: columns(&["started_at"]).remove(0),
                order: None,
            })
        })
        .collect()
}

pub(crate) fn config(job: Job) -> WindowConfig {
    let decimal = DataType::Decimal128(18, 6);
    let mut inputs = vec![decimal.clone(), DataType::Float64, DataType::Int64, DataType::Int64];
    let call = |function: Function, argument: Option<usize>, filter: Option<usize>| {
        let types: Vec<DataType> = argument.map(|at| inputs[at].clone()).into_iter().collect();
        let aggregate = Aggregate::new(function, &types).expect("invariant: the types fit");
        let label = format!("{function:?} of {argument:?} where {filter:?}");
        AggregateCall { aggregate, arguments: argument.into_iter().collect(), filter, label, since: None }
    };
    let (cost, latency, prompt, completion) = (Some(0), Some(1), Some(2), Some(3));
    let mut aggregates = vec![
        call(Function::Count, None, None),
        call(Function::Sum, cost, None),
        call(Function::Max, latency, None),
        call(Function::Sum, prompt, None),
        call(Function::Sum, completion, None),
    ];
    let utf8 = |name: &str| Field::new(name, DataType::Utf8, false);
    let (window, keys) = match job {
        Job::J1 => {
            aggregates.extend([
                call(Function::Count, None, Some(4)),
                call(Function::Avg, latency, None),
                call(Function::Quantile(0.95), latency, None),
            ]);
            inputs.push(DataType::Boolean);
            let grid = Grid::Fixed { size_us: MINUTE_US, offset_us: 0 };
            (Window::Tumbling(grid), vec![utf8("provider"), utf8("model")])
        }
        Job::J2 => (Window::Session { gap_us: 5 * MINUTE_US, max_us: None }, vec![utf8("session_id")]),
    };
    WindowConfig { name: job.name().to_owned(), window, keys, inputs, aggregates }
}

fn one_run(job: Job, rows: Vec<KeyedRows>) -> anyhow::Result<Duration> {
    // Taken by the one worker that there is.
    let rows = Mutex::new(Some(rows));
    let control = Control::new();
    let failed = control.clone();
    let times = run(&Cluster::Threads { workers: 1 }, move |worker| {
        let rows =
            rows.lock().expect("invariant: no thread panics with the lock held").take().unwrap_or_default();
        let started = thread_time()?;
        worker.dataflow::<Tick, _, _>(|scope| feed(scope, job, rows, &control));
        while worker.has_dataflows() {
            worker.step_or_park(None);
        }
        Ok(thread_time()? - started)
    })?;
    match failed.take_error() {
        Some(error) => Err(anyhow::anyhow!("{error}")),
        None => times.into_iter().sum::<anyhow::Result<Duration>>(),
    }
}

// A source of batches without columns, which stand for the rows in turn.
fn feed(scope: thalweg_engine::Scope<'_>, job: Job, rows: Vec<KeyedRows>, control: &Control) {
    let mut builder = OperatorBuilder::new("rows".to_owned(), scope);
    let (rows_out, batches) = builder.new_output();
    let (reports_out, reports) = builder.new_output();
    let mut rows_out = OutputBuilder::<_, Out>::from(rows_out);
    let mut reports_out =
        OutputBuilder::<_, CapacityContainerBuilder<Vec<WatermarkReport>>>::from(reports_out);
    let activator = scope.activator_for(builder.operator_info().address);
    let times: Vec<_> = rows.iter().map(|rows| Arc::clone(&rows.time)).collect();
    builder.build(move |mut capabilities| {
        let (mut at, mut highest) = (0, i64::MIN);
        move |_| {
            let Some(time) = times.get(at) else { return };
            let batch = RecordBatch::try_from_iter([("time", Arc::clone(time))])
                .expect("invariant: one column makes a batch");
            rows_out.activate().session(&capabilities[0]).give_container(&mut Batches::one(batch));
            let latest = time.as_primitive::<TimestampMicrosecondType>().values().iter().max();
            highest = highest.max(latest.map_or(highest, |time| time - LATENESS_US));
            at += 1;
            let ended = at == times.len();
            let watermark = if ended { END } else { highest };
            let report = WatermarkReport { source: 0, worker: 0, watermark, idle: BEGINNING };
            reports_out.activate().session(&capabilities[1]).give(report);
            if ended {
                capabilities.clear();
            } else {
                capabilities.iter_mut().for_each(|cap| cap.downgrade(&(cap.time() + 1)));
                activator.activate();
            }
        }
    });
    let job_of_window = WindowJob {
        sources: 1,
        control: control.clone(),
        counters: Arc::default(),
        cuts: Cuts::new(0, 1, TickClock::default()),
        restored: RestoredState::nothing(),
    };
    let mut rows = rows.into_iter();
    let fired = window(batches, reports, config(job), job_of_window, move |_| Ok(rows.next()));
    fired.unary::<Out, _, _, _>(Pipeline, "end", |_, _| {
        move |input, _| input.for_each(|_, container| drop(std::hint::black_box(container.take())))
    });
}
