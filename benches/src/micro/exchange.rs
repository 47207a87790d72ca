//! The keyed exchange between two workers.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, UInt64Array};
use thalweg_engine::cluster::{Cluster, run};
use thalweg_engine::exchange::{HASH, exchange as by_hash};
use thalweg_engine::shard::hash_key;
use thalweg_engine::{Batches, Out, Tick};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::generic::operator::source;

use super::{Part, nanoseconds_each, thread_time};

const BATCH_ROWS: usize = 8192;
const BATCHES: usize = 2000;
const WORKERS: usize = 2;

/// Sends every row of each worker through the exchange: hash, two strings, six numbers. Nanoseconds of both workers for
/// a row, the making of the batches left out.
pub(crate) fn exchange() -> anyhow::Result<Vec<Part>> {
    let (with, without) = (one_run(true)?, one_run(false)?);
    let each = |time| nanoseconds_each(time, WORKERS * BATCHES * BATCH_ROWS);
    let (with, without) = (each(with), each(without));
    Ok(vec![
        Part::new("exchange: 2 workers, 8 columns", with),
        Part::new("  the same dataflow without it", without),
    ])
}

fn one_run(exchanged: bool) -> anyhow::Result<Duration> {
    let times = run(&Cluster::Threads { workers: WORKERS }, move |worker| {
        let batch = batch(worker.index());
        let started = thread_time()?;
        worker.dataflow::<Tick, _, _>(|scope| {
            let rows = source::<_, Out, _, _>(scope, "batches", |cap, info| {
                let activator = scope.activator_for(info.address);
                let (mut cap, mut left) = (Some(cap), BATCHES);
                move |output| {
                    let Some(held) = &mut cap else { return };
                    output.session(held).give_container(&mut Batches::one(batch.clone()));
                    held.downgrade(&(held.time() + 1));
                    left -= 1;
                    if left == 0 { cap = None } else { activator.activate() }
                }
            });
            let end = |rows: &mut usize, container: &mut Batches| *rows += container.rows();
            let mut count = 0;
            if exchanged {
                rows.unary::<Out, _, _, _>(by_hash(), "end", |_, _| {
                    move |input, _| input.for_each(|_, container| end(&mut count, container))
                });
            } else {
                rows.unary::<Out, _, _, _>(Pipeline, "end", |_, _| {
                    move |input, _| input.for_each(|_, container| end(&mut count, container))
                });
            }
        });
        while worker.has_dataflows() {
            worker.step_or_park(None);
        }
        Ok(thread_time()? - started)
    })?;
    times.into_iter().sum()
}

fn batch(worker: usize) -> RecordBatch {
    let keys: Vec<String> = (0..BATCH_ROWS).map(|row| format!("s-{:012x}", row * 7919 + worker)).collect();
    let hashes = UInt64Array::from_iter_values(keys.iter().map(|key| hash_key(key.as_bytes())));
    let integers = || Arc::new(Int64Array::from_iter_values(0..BATCH_ROWS as i64)) as ArrayRef;
    let floats =
        || Arc::new(Float64Array::from_iter_values((0..BATCH_ROWS).map(|row| row as f64))) as ArrayRef;
    RecordBatch::try_from_iter([
        (HASH, Arc::new(hashes) as ArrayRef),
        ("session_id", Arc::new(StringArray::from_iter_values(&keys))),
        ("model", Arc::new(StringArray::from_iter_values(keys.iter().map(|key| &key[..12])))),
        ("started_at", integers()),
        ("prompt_tokens", integers()),
        ("completion_tokens", integers()),
        ("latency_ms", floats()),
        ("cost_usd", floats()),
    ])
    .expect("invariant: columns of one length")
}
