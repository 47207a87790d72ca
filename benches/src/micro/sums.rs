//! Exact sums of floats, against sums that depend on the order.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array};
use arrow::datatypes::DataType;
use thalweg_operators::aggregate::{Aggregate, Function, RowOrder, Rows};

use super::{Part, mean_of_runs, nanoseconds_each};

const VALUES: usize = 2_000_000;
const BATCH: usize = 8192;
const GROUPS: [u32; 3] = [1, 2_400, 200_000];
/// Over so many groups a value may take so many nanoseconds.
const MARK: (u32, f64) = (2_400, 10.0);

/// Sums of latencies and costs by random groups.
pub(crate) fn sums() -> anyhow::Result<Vec<Part>> {
    // A multiplicative generator: plain, and the same everywhere.
    let random = |i: usize| (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
    let values: Vec<f64> = (0..VALUES).map(|i| (random(i) % 30_000_000) as f64 / 1000.0).collect();
    let mut parts = Vec::new();
    for count in GROUPS {
        let groups: Vec<u32> = (0..VALUES).map(|i| ((random(i) >> 12) % u64::from(count)) as u32).collect();
        let exact = Part::new(format!("exact sum: {count} groups"), exact(&values, &groups, count)?);
        parts.push(if count == MARK.0 { exact.held_to(MARK.1) } else { exact });
        parts.push(Part::new(format!("  += : {count} groups"), plain(&values, &groups, count)?));
    }
    Ok(parts)
}

fn exact(values: &[f64], groups: &[u32], count: u32) -> anyhow::Result<f64> {
    let aggregate =
        Aggregate::new(Function::Sum, &[DataType::Float64]).expect("invariant: floats have a sum");
    let batches: Vec<ArrayRef> =
        values.chunks(BATCH).map(|batch| Arc::new(Float64Array::from(batch.to_vec())) as ArrayRef).collect();
    let mut accumulator = aggregate.accumulator();
    accumulator.resize(count as usize);
    let order = RowOrder { event_time_us: &[], split: &[], offset: &[] };
    let time = mean_of_runs(|| {
        for (batch, groups) in batches.iter().zip(groups.chunks(BATCH)) {
            let arguments = std::slice::from_ref(batch);
            accumulator.update(Rows { groups, arguments, filter: None, order });
        }
    })?;
    std::hint::black_box(accumulator.evaluate(&[0]));
    Ok(nanoseconds_each(time, values.len()))
}

fn plain(values: &[f64], groups: &[u32], count: u32) -> anyhow::Result<f64> {
    let mut sums = vec![0.0; count as usize];
    let time = mean_of_runs(|| {
        for (value, group) in values.iter().zip(groups) {
            sums[*group as usize] += *value;
        }
        std::hint::black_box(&mut sums);
    })?;
    Ok(nanoseconds_each(time, values.len()))
}
