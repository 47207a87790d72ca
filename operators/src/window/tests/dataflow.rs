//! The windows under test: a source over records in memory, the windowed step, and what comes out, on any number of workers.
//!
//! ```text
//!   events ─▶ JSON ─▶ Records (a SplitReader a worker) ─▶ source ─▶ window [─▶ window] ─▶ outputs
//! ```

use std::sync::{Arc, Mutex};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::kernels::cmp::gt;
use arrow::datatypes::{DataType, Decimal128Type, Field, Float64Type, Int64Type, TimestampMicrosecondType};
use thalweg_engine::checkpoint::Cuts;
use thalweg_engine::cluster::{Cluster, run};
use thalweg_engine::control::{Control, JobError};
use thalweg_engine::gate::Gate;
use thalweg_engine::tick::{TickClock, TickLimits};
use thalweg_engine::watermark::broadcast;
use thalweg_schemas::{Field as SchemaField, FieldType, Format, Schema, TimestampEncoding};

use super::model::{Event, Output};
use crate::aggregate::{Aggregate, Function};
use crate::keyed::{KeyedRows, RestoredState};
use crate::rows::{OFFSET, SPLIT, TIME, map_batches};
use crate::source::{
    EventTimeConfig, ReadProgress, ReadRequest, Record, SourceConfig, SourceCounters, SourceError, SourceJob,
    SplitInfo, SplitReader, source,
};
use crate::window::{AggregateCall, Window, WindowConfig, WindowCounters, WindowJob, window};

/// How a test's job is run. None of it may show in what comes out.
#[derive(Debug, Clone)]
pub(super) struct Conditions {
    pub(super) workers: usize,
    pub(super) rows_max: usize,
    pub(super) ahead_ticks_max: usize,
    /// Records that a split has at hand at a time.
    pub(super) burst: usize,
    /// Whether a reader goes by the order that is asked for, or always begins with the same split, so that it runs far ahead.
    pub(super) abreast: bool,
}

/// A job of a test.
#[derive(Debug, Clone)]
pub(super) struct TestJob {
    pub(super) splits: usize,
    pub(super) lateness: i64,
    pub(super) max_ahead: i64,
    pub(super) window: Window,
    pub(super) with_number: bool,
    /// A second windowed step, over the first one's output.
    pub(super) then: Option<Window>,
}

/// What a job did.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) outputs: Vec<Output>,
    /// Of the second window: start, end, rows, and the sum of their counts.
    pub(super) then: Vec<(i64, i64, i64, i64)>,
    /// Accepted, late, rejected.
    pub(super) counts: (u64, u64, u64),
}

struct Stored {
    offset: i64,
    stamp: Option<i64>,
    payload: Option<Vec<u8>>,
}

/// Records of some splits, in memory.
struct Records {
    infos: Vec<SplitInfo>,
    records: Vec<Vec<Stored>>,
    next: Vec<usize>,
    said_ended: Vec<bool>,
    conditions: Conditions,
}

impl SplitReader for Records {
    fn splits(&self) -> &[SplitInfo] {
        &self.infos
    }

    fn at_hand(&mut self, split: usize) -> bool {
        self.next[split] < self.records[split].len()
    }

    fn read(
        &mut self,
        request: ReadRequest<'_>,
        each: &mut dyn FnMut(Record<'_>),
    ) -> Result<ReadProgress, SourceError> {
        let mut progress = ReadProgress::default();
        let mut order = request.order.to_vec();
        if !self.conditions.abreast {
            order.sort_unstable();
        }
        for split in order {
            let records = &self.records[split];
            let until = records
                .len()
                .min(self.next[split] + self.conditions.burst.min(request.records_max - progress.records));
            for stored in &records[self.next[split]..until] {
                progress.records += 1;
                progress.bytes += stored.payload.as_ref().map_or(0, Vec::len);
                let value = stored.payload.as_deref();
                each(Record {
                    split,
                    offset: stored.offset,
                    timestamp_us: stored.stamp,
                    key: None,
                    value,
                    headers: &[],
                });
            }
            self.next[split] = until;
            if until == records.len() && !self.said_ended[split] {
                self.said_ended[split] = true;
                progress.ended.push(split);
            }
            if progress.records >= request.records_max {
                break;
            }
        }
        Ok(progress)
    }
}

fn reader(events: &[Event], splits: usize, worker: usize, conditions: &Conditions) -> Records {
    let numbers: Vec<usize> = (0..splits).filter(|split| split % conditions.workers == worker).collect();
    let stored = |event: &Event| Stored {
        offset: event.offset,
        stamp: event.stamp_after.map(|after| event.time + after),
        payload: event.sound.then(|| payload(event)),
    };
    let of_split = |split: &usize| events.iter().filter(|event| event.split == *split).map(stored).collect();
    Records {
        infos: numbers.iter().map(|number| split_info(*number)).collect(),
        records: numbers.iter().map(of_split).collect(),
        next: vec![0; numbers.len()],
        said_ended: vec![false; numbers.len()],
        conditions: conditions.clone(),
    }
}

fn split_info(number: usize) -> SplitInfo {
    SplitInfo {
        topic: "events".into(),
        partition: number as i32,
        number: number as u32,
        start: 0,
        end: None,
        records_ahead: None,
    }
}

fn payload(event: &Event) -> Vec<u8> {
    let text = |name: &str| format!("\"{name}\"");
    let or_null = |value: Option<String>| value.unwrap_or_else(|| "null".to_owned());
    let name = or_null(event.name.as_deref().map(text));
    let number = or_null(event.number.map(|number| number.to_string()));
    let float = or_null(event.float.map(|float| format!("{float:?}")));
    let cost = or_null(event.cost.map(|cost| format!("{cost}e-2")));
    format!(
        r#"{{"time": {}, "name": {name}, "number": {number}, "float": {float}, "cost": {cost}}}"#,
        event.time
    )
    .into_bytes()
}

const COST: FieldType = FieldType::Decimal { scale: 2 };

fn source_config(job: &TestJob, conditions: &Conditions) -> SourceConfig {
    let fields = vec![
        SchemaField::new("time", FieldType::Timestamp(TimestampEncoding::Micros)).required(),
        SchemaField::new("name", FieldType::String),
        SchemaField::new("number", FieldType::Int64),
        SchemaField::new("float", FieldType::Float64),
        SchemaField::new("cost", COST),
    ];
    SourceConfig {
        name: "events".into(),
        number: 0,
        format: Format::Json,
        fields: (0..fields.len()).collect(),
        schema: Arc::new(Schema { name: "event".into(), description: None, fields }),
        metadata: Vec::new(),
        event_time: EventTimeConfig {
            field: Some(0),
            lateness_us: job.lateness,
            max_ahead_us: job.max_ahead,
            idle_after: None,
        },
        order: true,
        limits: TickLimits {
            rows_max: conditions.rows_max,
            ahead_ticks_max: conditions.ahead_ticks_max,
            ..TickLimits::default()
        },
    }
}

// The inputs of the window: float, cost, number, name, cost > 0.
fn window_config(job: &TestJob) -> WindowConfig {
    let inputs = vec![DataType::Float64, COST.arrow(), DataType::Int64, DataType::Utf8, DataType::Boolean];
    let call = |function: Function, arguments: &[usize], filter: Option<usize>| {
        let types: Vec<DataType> = arguments.iter().map(|at| inputs[*at].clone()).collect();
        let aggregate = Aggregate::new(function, &types).expect("a function of these types");
        let label = format!("{function:?} of {arguments:?} where {filter:?}");
        AggregateCall { aggregate, arguments: arguments.to_vec(), filter, label, since: None }
    };
    let aggregates = vec![
        call(Function::Count, &[], None),
        call(Function::Count, &[], Some(4)),
        call(Function::Sum, &[0], None),
        call(Function::Sum, &[1], None),
        call(Function::Min, &[0], None),
        call(Function::Max, &[3], None),
        call(Function::First, &[0], None),
        call(Function::Last, &[0], None),
        call(Function::ArgMax, &[0, 1], None),
        call(Function::CountDistinct, &[2], None),
        call(Function::Collect(3), &[2], None),
    ];
    let mut keys = vec![Field::new("name", DataType::Utf8, true)];
    if job.with_number {
        keys.push(Field::new("number", DataType::Int64, true));
    }
    WindowConfig { name: "window".into(), window: job.window.clone(), keys, inputs, aggregates }
}

fn rows_of(batch: &RecordBatch, with_number: bool) -> Result<Option<KeyedRows>, JobError> {
    let column = |name: &str| -> ArrayRef { Arc::clone(&batch[name]) };
    let cost = batch["cost"].as_primitive::<Decimal128Type>();
    let nothing = arrow::array::Decimal128Array::new_scalar(0);
    let nothing = nothing.into_inner().with_data_type(cost.data_type().clone());
    let paid = gt(cost, &arrow::array::Scalar::new(nothing))?;
    let mut keys = vec![column("name")];
    if with_number {
        keys.push(column("number"));
    }
    let inputs = vec![column("float"), column("cost"), column("number"), column("name"), Arc::new(paid)];
    Ok(Some(KeyedRows { keys, inputs, time: column(TIME), order: Some((column(SPLIT), column(OFFSET))) }))
}

fn then_config(window: Window) -> WindowConfig {
    let sum = Aggregate::new(Function::Sum, &[DataType::Int64]).expect("a sum of integers");
    let count = Aggregate::new(Function::Count, &[]).expect("a count");
    WindowConfig {
        name: "then".into(),
        window,
        keys: Vec::new(),
        inputs: vec![DataType::Int64],
        aggregates: vec![
            AggregateCall {
                aggregate: count,
                arguments: Vec::new(),
                filter: None,
                label: "count".into(),
                since: None,
            },
            AggregateCall {
                aggregate: sum,
                arguments: vec![0],
                filter: None,
                label: "sum".into(),
                since: None,
            },
        ],
    }
}

fn then_rows_of(batch: &RecordBatch) -> Result<Option<KeyedRows>, JobError> {
    let column = |name: &str| -> ArrayRef { Arc::clone(&batch[name]) };
    Ok(Some(KeyedRows { keys: Vec::new(), inputs: vec![column("__agg_0")], time: column(TIME), order: None }))
}

/// Runs a job over the events, which lie in their splits in the order given.
pub(super) fn run_job(events: &[Event], job: &TestJob, conditions: &Conditions) -> Done {
    let control = Control::new();
    let splits = (0..job.splits).map(split_info).collect();
    let counters = Arc::new(SourceCounters::new("events", splits));
    let windows = Arc::new(WindowCounters::default());
    let cuts = Cuts::new(0, conditions.workers, TickClock::default());
    let (first, second) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
    let shared: (Vec<Event>, TestJob, Conditions) = (events.to_vec(), job.clone(), conditions.clone());
    let (build_control, build_counters) = (control.clone(), Arc::clone(&counters));
    let (build_windows, build_first, build_second) =
        (Arc::clone(&windows), Arc::clone(&first), Arc::clone(&second));
    run(&Cluster::Threads { workers: conditions.workers }, move |worker| {
        let (events, job, conditions) = &shared;
        let reader = Box::new(reader(events, job.splits, worker.index(), conditions));
        let (control, gate) = (build_control.clone(), Gate::new());
        let source_job = SourceJob {
            control: control.clone(),
            gate: gate.clone(),
            cuts: cuts.clone(),
            positions: Arc::default(),
            counters: Arc::clone(&build_counters),
        };
        let window_job = || WindowJob {
            sources: 1,
            control: control.clone(),
            counters: Arc::clone(&build_windows),
            cuts: cuts.clone(),
            restored: RestoredState::nothing(),
        };
        worker.dataflow(|scope| {
            let streams = source(scope, source_config(job, conditions), reader, source_job);
            let reports = broadcast(scope, streams.reports);
            let with_number = job.with_number;
            let rows =
                window(streams.rows, reports.clone(), window_config(job), window_job(), move |batch| {
                    rows_of(batch, with_number)
                });
            gate.watch(kept(rows.clone(), control.clone(), Arc::clone(&build_first)));
            if let Some(then) = &job.then {
                let rows = window(rows, reports, then_config(then.clone()), window_job(), then_rows_of);
                gate.watch(kept(rows, control.clone(), Arc::clone(&build_second)));
            }
            gate.watch(streams.late);
            gate.watch(streams.rejected);
        });
    })
    .expect("workers that end");
    if let Some(error) = control.take_error() {
        panic!("the job failed: {error}");
    }
    assert_eq!(windows.open_at_stop.load(std::sync::atomic::Ordering::Relaxed), 0, "every window has fired");
    let mut outputs: Vec<Output> =
        first.lock().expect("no panic").iter().flat_map(|batch| outputs_of(batch, job.with_number)).collect();
    outputs.sort();
    let mut then: Vec<_> = second.lock().expect("no panic").iter().flat_map(then_of).collect();
    then.sort_unstable();
    Done { outputs, then, counts: (counters.accepted(), counters.late(), counters.rejected()) }
}

// Keeps what passes.
fn kept<'scope>(
    rows: thalweg_engine::BatchStream<'scope>,
    control: Control,
    into: Arc<Mutex<Vec<RecordBatch>>>,
) -> thalweg_engine::BatchStream<'scope> {
    map_batches(rows, "kept", control, move |batch| {
        into.lock().expect("no panic").push(batch.clone());
        Ok(Some(batch))
    })
}

fn outputs_of(batch: &RecordBatch, with_number: bool) -> Vec<Output> {
    let time = |name: &str, row: usize| batch[name].as_primitive::<TimestampMicrosecondType>().value(row);
    let agg = |at: usize| &batch[format!("__agg_{at}").as_str()];
    let set = |column: &ArrayRef, row: usize| column.is_valid(row);
    let integer = |column: &ArrayRef, row: usize| {
        set(column, row).then(|| column.as_primitive::<Int64Type>().value(row))
    };
    let float = |column: &ArrayRef, row: usize| {
        set(column, row).then(|| column.as_primitive::<Float64Type>().value(row).to_bits())
    };
    let text = |column: &ArrayRef, row: usize| {
        set(column, row).then(|| column.as_string::<i32>().value(row).to_owned())
    };
    let list = |column: &ArrayRef, row: usize| {
        set(column, row)
            .then(|| column.as_list::<i32>().value(row).as_primitive::<Int64Type>().values().to_vec())
    };
    let output = |row: usize| {
        assert_eq!(time(TIME, row), time("window_end", row) - 1, "a window's row lies just before its end");
        Output {
            key: (text(&batch["name"], row), with_number.then(|| integer(&batch["number"], row))),
            start: time("window_start", row),
            end: time("window_end", row),
            count: integer(agg(0), row).expect("a count is never null"),
            paid: integer(agg(1), row).expect("a count is never null"),
            float_sum: float(agg(2), row),
            cost_sum: set(agg(3), row).then(|| agg(3).as_primitive::<Decimal128Type>().value(row)),
            float_min: float(agg(4), row),
            name_max: text(agg(5), row),
            float_first: float(agg(6), row),
            float_last: float(agg(7), row),
            float_of_cost_max: float(agg(8), row),
            numbers_distinct: integer(agg(9), row).expect("a count is never null"),
            numbers: list(agg(10), row),
        }
    };
    (0..batch.num_rows()).map(output).collect()
}

fn then_of(batch: &RecordBatch) -> Vec<(i64, i64, i64, i64)> {
    let time = |name: &str, row: usize| batch[name].as_primitive::<TimestampMicrosecondType>().value(row);
    let agg = |name: &str, row: usize| batch[name].as_primitive::<Int64Type>().value(row);
    let of_row =
        |row| (time("window_start", row), time("window_end", row), agg("__agg_0", row), agg("__agg_1", row));
    (0..batch.num_rows()).map(of_row).collect()
}
