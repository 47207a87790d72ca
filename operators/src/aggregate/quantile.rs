//! `quantile`, `approx_percentile_cont`, `approx_median`: counts in log-linear buckets, 64 to an octave.
//!
//! ```text
//!   code  0    1 … 8192            8193   8194 … 16385         16386  16387
//!         −∞   −2^64 … −2^−64      ±0     2^−64 … 2^64         +∞     NaN
//!   a bucket of x > 0: the exponent and the first six bits of the mantissa, bits(x) >> 46
//!
//!   up to 256 values: their codes as they came (2 bytes each); more: one counter per code, octave by octave
//! ```
//!
//! No logarithm is taken, so buckets are the same on every machine. A bucket [a, b) answers with its harmonic midpoint 2ab / (a + b),
//! off by at most (b − a) / (b + a) ≤ 1/129 = 0.78 %. Magnitudes beyond 2^±64 (all of i64 and u64 is within) count in the
//! outermost buckets. The exact least and greatest value are kept, and no answer leaves their range.
//! Source: Masson, Rim, Lee, DDSketch (VLDB 2019), with its logarithm interpolated linearly between powers of two, and a
//! fixed range in place of collapsing, which would depend on the order.

mod sketch;

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array};
use arrow::datatypes::DataType;

use super::Rows;
use super::bytes::{read_states, write_states};
use super::groups::{Family, Picked, Selection};
use super::numbers::Numbers;
pub(super) use sketch::Sketch;

/// `quantile` of one share. The column: Binary, as [`Sketch::write`] says.
pub(super) struct Quantile {
    /// The share, in billionths: p · n must not depend on how 0.07 is rounded to binary.
    share_ppb: u64,
}

const BILLION: u64 = 1_000_000_000;

impl Quantile {
    /// Of a share from 0 to 1.
    pub(super) fn new(share: f64) -> Quantile {
        Quantile { share_ppb: (share * BILLION as f64).round() as u64 }
    }

    /// ⌈p · n⌉, but at least 1.
    fn rank(&self, total: u64) -> u64 {
        let rank = (u128::from(self.share_ppb) * u128::from(total)).div_ceil(u128::from(BILLION));
        rank.clamp(1, u128::from(total)) as u64
    }
}

impl Family for Quantile {
    type State = Sketch;
    const NAME: &'static str = "quantile";

    fn identity(&self) -> Sketch {
        Sketch::default()
    }

    fn update(&self, states: &mut [Sketch], rows: &Rows<'_>) {
        let values = Numbers::of(&rows.arguments[0]).into_floats();
        let selection = Selection::of(rows, rows.arguments);
        selection.for_each_value(rows.groups, &values, |group, value| states[group].add(value));
    }

    fn merge(&self, into: &mut Sketch, from: &Sketch) {
        into.merge(from);
    }

    fn state_type(&self) -> DataType {
        DataType::Binary
    }

    fn encode(&self, states: Picked<'_, Sketch>) -> ArrayRef {
        write_states(states, Sketch::write)
    }

    fn decode(&self, column: &ArrayRef, each: &mut dyn FnMut(usize, Sketch)) -> Result<(), String> {
        read_states(column, each, Sketch::read)
    }

    fn evaluate(&self, states: Picked<'_, Sketch>) -> ArrayRef {
        let values = states.iter().map(|state| {
            let total = state.total();
            (total > 0).then(|| state.at_rank(self.rank(total)))
        });
        Arc::new(values.collect::<Float64Array>())
    }

    fn heap_bytes(&self, state: &Sketch) -> usize {
        state.heap_bytes()
    }
}
