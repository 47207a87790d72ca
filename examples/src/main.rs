//! The operators as a library: a dataflow in Rust, with an operator of its own.
//!
//! ```text
//!   archive ─▶ source ─▶ window (a minute, by provider) ─▶ spikes (ours) ─▶ standard output, as JSON lines
//! ```
//!
//! It writes a small archive to a temporary folder, reads it with two workers, and prints the minutes in which a provider was three
//! times slower than in the minutes before; examples/README.md says how to run it. Everything that a pipeline in YAML becomes is
//! built of the same parts.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Float64Type};
use thalweg_engine::checkpoint::Cuts;
use thalweg_engine::cluster::{self, Cluster};
use thalweg_engine::control::{Control, JobError};
use thalweg_engine::gate::Gate;
use thalweg_engine::tick::{TickClock, TickLimits};
use thalweg_engine::watermark::broadcast;
use thalweg_engine::{BatchStream, Tick};
use thalweg_operators::aggregate::{Aggregate, Function};
use thalweg_operators::keyed::{KeyedRows, RestoredState};
use thalweg_operators::rows::map_batches;
use thalweg_operators::sink::json_lines::{Destination, JsonLinesSink};
use thalweg_operators::sink::{SinkCounters, SinkJob, sink};
use thalweg_operators::source::archive::{ArchiveConfig, ArchiveOptions, ArchivePlan, ArchiveWriter};
use thalweg_operators::source::{EventTimeConfig, SourceConfig, SourceCounters, SourceJob, source};
use thalweg_operators::window::{
    AggregateCall, Grid, Window, WindowConfig, WindowCounters, WindowJob, window,
};
use thalweg_schemas::{Format, Schema};

const SCHEMA: &str = "schema: call
fields:
  - { name: at, type: timestamp, encoding: ms, required: true }
  - { name: provider, type: string, required: true }
  - { name: latency_ms, type: float64 }
";

const MINUTE_US: i64 = 60_000_000;

fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    write_archive(folder.path())?;

    let archive = ArchiveConfig {
        source_name: "calls".to_owned(),
        path: folder.path().to_owned(),
        topic: Some("provider-requests".to_owned()),
        headers: false,
        decoded: None,
    };
    let archive = archive.resolve()?;
    let schema = Schema::from_yaml(SCHEMA, "call").map_err(|errors| {
        anyhow::anyhow!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })?;
    let calls = SourceConfig {
        name: "calls".to_owned(),
        number: 0,
        format: Format::Json,
        schema: Arc::new(schema),
        fields: vec![0, 1, 2],
        metadata: Vec::new(),
        event_time: EventTimeConfig {
            field: Some(0),
            lateness_us: 5_000_000,
            max_ahead_us: 60 * MINUTE_US,
            idle_after: None,
        },
        order: false,
        limits: TickLimits::default(),
    };
    let control = Control::new();
    run(archive, calls, control.clone())?;
    match control.take_error() {
        Some(error) => Err(anyhow::anyhow!(error)),
        None => Ok(()),
    }
}

fn run(archive: ArchivePlan, calls: SourceConfig, control: Control) -> Result<()> {
    let p95 = Aggregate::new(Function::Quantile(0.95), &[DataType::Float64])?;
    let per_minute = WindowConfig {
        name: "per_minute".to_owned(),
        window: Window::Tumbling(Grid::Fixed { size_us: MINUTE_US, offset_us: 0 }),
        keys: vec![Field::new("provider", DataType::Utf8, false)],
        inputs: vec![DataType::Float64],
        aggregates: vec![AggregateCall {
            aggregate: p95,
            arguments: vec![0],
            filter: None,
            label: "p95 of latency_ms".to_owned(),
            since: None,
        }],
    };
    // Shared by all workers of the process; each builds its own gate and dataflow.
    let cuts = Cuts::new(0, 2, TickClock::default());
    let read = Arc::new(SourceCounters::new("calls", archive.splits().to_vec()));
    let fired = Arc::new(WindowCounters::default());
    let written = Arc::new(SinkCounters::default());

    cluster::run(&Cluster::Threads { workers: 2 }, move |worker| {
        let reader = match archive.reader(worker.index(), worker.peers()) {
            Ok(reader) => reader,
            Err(error) => return control.fail(error),
        };
        let gate = Gate::new();
        let source_job = SourceJob {
            control: control.clone(),
            gate: gate.clone(),
            cuts: cuts.clone(),
            positions: Arc::default(),
            counters: Arc::clone(&read),
        };
        let window_job = WindowJob {
            sources: 1,
            control: control.clone(),
            counters: Arc::clone(&fired),
            cuts: cuts.clone(),
            restored: RestoredState::nothing(),
        };
        let sink_job = SinkJob { control: control.clone(), gate: gate.clone(), cuts: cuts.clone() };
        worker.dataflow::<Tick, _, _>(|scope| {
            let calls = source(scope, calls.clone(), Box::new(reader), source_job);
            let reports = broadcast(scope, calls.reports);
            let minutes = window(calls.rows, reports, per_minute.clone(), window_job, |batch| {
                // The columns of a source: its fields, then event time.
                Ok(Some(KeyedRows {
                    keys: vec![Arc::clone(batch.column(1))],
                    inputs: vec![Arc::clone(batch.column(2))],
                    time: Arc::clone(batch.column(3)),
                    order: None,
                }))
            });
            let out = JsonLinesSink::new("spikes", Destination::Stdout, Arc::clone(&written));
            sink(spikes(minutes, control.clone()), "spikes", Box::new(out), sink_job);
        });
    })
    .context("the workers failed")?;
    Ok(())
}

/// An operator of our own: lets through the minutes whose p95 is three times the mean of the provider's minutes so far.
///
/// All windows of a key leave from the worker that owns it, one after the other in event time, so the state can be a map in the
/// closure, and the result does not depend on the number of workers.
fn spikes<'scope>(minutes: BatchStream<'scope>, control: Control) -> BatchStream<'scope> {
    let mut history: HashMap<String, (f64, f64)> = HashMap::new();
    map_batches(minutes, "spikes", control, move |batch| {
        let providers = batch["provider"].as_string::<i32>();
        let p95 = batch["__agg_0"].as_primitive::<Float64Type>();
        let spike: BooleanArray = (0..batch.num_rows())
            .map(|row| {
                let (sum, count) = history.entry(providers.value(row).to_owned()).or_default();
                let value = if p95.is_null(row) { 0.0 } else { p95.value(row) };
                let spike = *count >= 5.0 && value > 3.0 * *sum / *count;
                (*sum, *count) = (*sum + value, *count + 1.0);
                Some(spike)
            })
            .collect();
        named(filter_record_batch(&batch, &spike)?)
    })
}

// The aggregate's column gets a name of its own; hidden columns do not leave.
fn named(batch: RecordBatch) -> Result<Option<RecordBatch>, JobError> {
    let columns = ["window_start", "provider", "__agg_0"].map(|name| Arc::clone(&batch[name]));
    let [start, provider, p95] = columns;
    let batch = RecordBatch::try_from_iter([("minute", start), ("provider", provider), ("p95_ms", p95)])?;
    Ok((batch.num_rows() > 0).then_some(batch))
}

// Half an hour of calls to three providers in two partitions; "mistral" is slow in the twentieth minute.
fn write_archive(folder: &Path) -> Result<()> {
    let start_ms = 1_768_467_600_000_i64;
    let mut archive = ArchiveWriter::new(folder, ArchiveOptions::default())?;
    for i in 0..36_000_i64 {
        let at = start_ms + i * 50;
        let provider = ["openai", "anthropic", "mistral"][(i % 3) as usize];
        let slow = provider == "mistral" && i / 1200 == 20;
        let latency = 200 + (i * 7919) % 300 + if slow { 4000 } else { 0 };
        let value = format!(r#"{{"at":{at},"provider":"{provider}","latency_ms":{latency}}}"#);
        archive.push((i % 2) as i32, i / 2, at + 3, None, Some(value.as_bytes()), &[])?;
    }
    archive.finish()?;
    Ok(())
}
