//! What exactness costs: nanoseconds a value of aggregates over 1, 2,400 and 200,000 groups, against a plain `+=`.
//! Processor time of the one thread, with the making of the groups.
//!
//! ```text
//! cargo run --profile demo -p thalweg-operators --example sum_speed
//! ```
#![allow(clippy::print_stdout, reason = "the table is what this program is for")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, Float64Array, Int64Array};
use thalweg_operators::aggregate::{Aggregate, AggregateError, Function, RowOrder, Rows};

const BATCH_ROWS: usize = 8_192;
const BATCHES: usize = 128;
const ROUNDS: usize = 10;
const VALUES: usize = BATCH_ROWS * BATCHES * ROUNDS;

/// Numbers in a fixed, scattered order. Source: Steele, Lea, Flood, SplitMix64 (OOPSLA 2014).
fn scatter(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// A latency in milliseconds, log-normal, with three decimals.
fn latency_ms(state: &mut u64) -> f64 {
    // Twelve uniform numbers less six: near enough to a normal one.
    let normal = (0..12).map(|_| (scatter(state) >> 11) as f64 / (1u64 << 53) as f64).sum::<f64>() - 6.0;
    ((900.0 * normal.exp()) * 1e3).round() / 1e3
}

struct Batch {
    groups: Vec<u32>,
    floats: [ArrayRef; 1],
    integers: [ArrayRef; 1],
}

fn batches(groups: u32) -> Vec<Batch> {
    let mut state = u64::from(groups);
    let batch = |_| {
        let values: Vec<f64> = (0..BATCH_ROWS).map(|_| latency_ms(&mut state)).collect();
        Batch {
            groups: (0..BATCH_ROWS).map(|_| (scatter(&mut state) % u64::from(groups)) as u32).collect(),
            integers: [Arc::new(Int64Array::from_iter_values(values.iter().map(|&value| value as i64)))],
            floats: [Arc::new(Float64Array::from(values))],
        }
    };
    (0..BATCHES).map(batch).collect()
}

/// Nanoseconds that this thread has spent on a processor, where the system tells it: others share the machine.
fn processor_nanoseconds() -> Option<u64> {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    statistics.split_whitespace().next()?.parse().ok()
}

/// The median of five runs over all values.
fn nanoseconds_a_value(mut run: impl FnMut()) -> f64 {
    let mut times = [0.0; 5].map(|_: f64| {
        let (start, on_processor) = (Instant::now(), processor_nanoseconds());
        run();
        let elapsed = start.elapsed().as_nanos() as f64;
        let on_processor = processor_nanoseconds().zip(on_processor).map(|(end, start)| (end - start) as f64);
        on_processor.unwrap_or(elapsed) / VALUES as f64
    });
    times.sort_by(f64::total_cmp);
    times[2]
}

fn plain_sum(batches: &[Batch], groups: u32) -> f64 {
    nanoseconds_a_value(|| {
        let mut sums = vec![0.0; groups as usize];
        for batch in (0..ROUNDS).flat_map(|_| batches) {
            let values: &Float64Array =
                batch.floats[0].as_any().downcast_ref().expect("invariant: made as floats");
            for (&group, value) in batch.groups.iter().zip(values.values()) {
                sums[group as usize] += value;
            }
        }
        black_box(&sums);
    })
}

/// Nanoseconds a value, and bytes a group at the end.
fn aggregate(
    function: Function,
    integers: bool,
    batches: &[Batch],
    groups: u32,
) -> Result<(f64, usize), AggregateError> {
    let arguments = |batch: &'_ Batch| if integers { batch.integers.clone() } else { batch.floats.clone() };
    let aggregate = Aggregate::new(function, &[arguments(&batches[0])[0].data_type().clone()])?;
    let order = RowOrder { event_time_us: &[], split: &[], offset: &[] };
    let mut bytes = 0;
    let nanoseconds = nanoseconds_a_value(|| {
        let mut accumulator = aggregate.accumulator();
        accumulator.resize(groups as usize);
        for batch in (0..ROUNDS).flat_map(|_| batches) {
            let arguments = arguments(batch);
            accumulator.update(Rows { groups: &batch.groups, arguments: &arguments, filter: None, order });
        }
        bytes = black_box(accumulator.memory_bytes()) / groups as usize;
    });
    Ok((nanoseconds, bytes))
}

fn main() -> Result<(), AggregateError> {
    const GROUPS: [u32; 3] = [1, 2_400, 200_000];
    let batches = GROUPS.map(batches);
    println!("{:<22}{:>12}{:>12}{:>12}", "ns a value, groups:", GROUPS[0], GROUPS[1], GROUPS[2]);
    print!("{:<22}", "plain += (f64)");
    for (batches, groups) in batches.iter().zip(GROUPS) {
        print!("{:>12.2}", plain_sum(batches, groups));
    }
    println!();
    for (function, integers) in [
        (Function::Sum, false),
        (Function::Sum, true),
        (Function::Avg, false),
        (Function::StddevSamp, false),
        (Function::Max, false),
        (Function::Quantile(0.95), false),
        (Function::CountDistinct, true),
    ] {
        print!("{:<22}", format!("{} ({})", function.name(), if integers { "i64" } else { "f64" }));
        let mut bytes_a_group = Vec::new();
        for (batches, groups) in batches.iter().zip(GROUPS) {
            let (nanoseconds, bytes) = aggregate(function, integers, batches, groups)?;
            print!("{nanoseconds:>12.2}");
            bytes_a_group.push(bytes.to_string());
        }
        println!("   bytes a group: {}", bytes_a_group.join(", "));
    }
    Ok(())
}
