//! The distribution of past errors, in units of their usual size: counts in buckets that widen with the distance from 0.
//!
//! Four buckets an octave from 1/32 to 32 on either side, one around 0. Old errors are forgotten by giving newer ones more weight. Quantiles
//! lie within 12 % of exact ones, and what is off by that is mended by adapting the level at which they are taken.

use crate::bytes::{Reader, StateError, Writer};

use super::damaged;

const PER_OCTAVE: usize = 4;
const OCTAVES: usize = 10;
const SIDE: usize = OCTAVES * PER_OCTAVE;
const BUCKETS: usize = 2 * SIDE + 1;

/// The exponent of the smallest bound, 1/32, as bits of an f64 have it.
const EXPONENT_MIN: u64 = 1023 - 5;

/// Weights beyond it are scaled down, all of them.
const WEIGHT_MAX: f32 = 1e12;

/// Counts of errors.
#[derive(Debug, Clone)]
pub(super) struct Errors {
    counts: [f32; BUCKETS],
    /// The weight of the newest error.
    newest: f32,
}

/// The lower bound of a bucket of one side: 1/32 for the first.
fn bound(bucket: usize) -> f64 {
    let octave = f64::from_bits((EXPONENT_MIN + (bucket / PER_OCTAVE) as u64) << 52);
    octave * (1.0 + (bucket % PER_OCTAVE) as f64 / PER_OCTAVE as f64)
}

impl Errors {
    pub fn new() -> Self {
        Errors { counts: [0.0; BUCKETS], newest: 1.0 }
    }

    fn bucket(error: f64) -> usize {
        let bits = error.abs().to_bits();
        let (exponent, part) = (bits >> 52, (bits >> 50) as usize & (PER_OCTAVE - 1));
        if exponent < EXPONENT_MIN {
            return SIDE;
        }
        let side = ((exponent - EXPONENT_MIN) as usize * PER_OCTAVE + part).min(SIDE - 1);
        if error > 0.0 { SIDE + 1 + side } else { SIDE - 1 - side }
    }

    /// Between which errors a bucket lies.
    fn bounds(bucket: usize) -> (f64, f64) {
        match bucket {
            SIDE => (-bound(0), bound(0)),
            below if below < SIDE => (-bound(SIDE - below), -bound(SIDE - 1 - below)),
            above => (bound(above - SIDE - 1), bound(above - SIDE)),
        }
    }

    /// Counts an error; `keep`: how much older ones count from now on.
    pub fn learn(&mut self, error: f64, keep: f64) {
        self.newest = (f64::from(self.newest) / keep) as f32;
        self.counts[Self::bucket(error)] += self.newest;
        if self.newest > WEIGHT_MAX {
            self.counts.iter_mut().for_each(|count| *count /= self.newest);
            self.newest = 1.0;
        }
    }

    /// The error that a share `level` of errors lies below; NaN without errors. Levels beyond 0 and 1 go on beyond the farthest error.
    pub fn quantile(&self, level: f64) -> f64 {
        let total: f64 = self.counts.iter().map(|count| f64::from(*count)).sum();
        let target = level.clamp(0.0, 1.0) * total;
        let mut below = 0.0;
        let mut farthest = f64::NAN;
        for (bucket, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0.0) {
            let count = f64::from(*count);
            let (from, to) = Self::bounds(bucket);
            if below + count >= target {
                farthest = from + (to - from) * ((target - below) / count);
                break;
            }
            below += count;
            farthest = to;
        }
        farthest + farthest.abs() * 2.0 * (level - level.clamp(0.0, 1.0))
    }

    /// The share of errors at or above `error`, where one more is counted half on either side.
    pub fn share_from(&self, error: f64) -> f64 {
        let here = Self::bucket(error);
        let sum = |counts: &[f32]| counts.iter().map(|count| f64::from(*count)).sum::<f64>();
        let (above, total) = (sum(&self.counts[here + 1..]), sum(&self.counts));
        let (from, to) = Self::bounds(here);
        let part = ((to - error) / (to - from)).clamp(0.0, 1.0);
        let newest = f64::from(self.newest);
        (above + part * f64::from(self.counts[here]) + newest / 2.0) / (total + newest)
    }

    pub fn encode(&self, writer: &mut Writer<'_>) {
        self.counts.iter().for_each(|count| writer.f32(*count));
        writer.f32(self.newest);
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, StateError> {
        let mut errors = Errors::new();
        for count in &mut errors.counts {
            *count = reader.f32()?;
        }
        errors.newest = reader.f32()?;
        let sound = |count: &f32| (0.0..=f32::MAX).contains(count);
        if !errors.counts.iter().all(sound) || !(1.0..=f32::MAX).contains(&errors.newest) {
            return Err(damaged("a count of errors that is none"));
        }
        Ok(errors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::Random;

    #[test]
    fn quantiles_and_shares_are_near_those_of_the_errors_themselves() {
        let mut random = Random::new(4);
        let mut errors = Errors::new();
        let mut all: Vec<f64> = (0..20_000).map(|_| 1.25 * random.normal()).collect();
        all.iter().for_each(|error| errors.learn(*error, 1.0));
        all.sort_by(f64::total_cmp);
        for level in [0.01, 0.05, 0.25, 0.5, 0.9, 0.95, 0.99] {
            let exact = all[(level * all.len() as f64) as usize];
            let near = errors.quantile(level);
            assert!((near - exact).abs() < 0.03 + 0.05 * exact.abs(), "{level}: {near} for {exact}");
            let share = errors.share_from(exact);
            assert!((share - (1.0 - level)).abs() < 0.015, "{level}: {share}");
        }
        assert!(errors.quantile(1.2) > errors.quantile(1.0) && errors.quantile(-0.1) < errors.quantile(0.0));
    }

    #[test]
    fn newer_errors_outweigh_older_ones_however_many() {
        let mut errors = Errors::new();
        (0..200_000).for_each(|_| errors.learn(-4.0, 0.99));
        (0..700).for_each(|_| errors.learn(2.0, 0.99));
        assert!((2.0..2.5).contains(&errors.quantile(0.01)), "{}", errors.quantile(0.01));
    }

    #[test]
    fn no_errors_and_endless_ones_are_no_accident() {
        let mut errors = Errors::new();
        assert!(errors.quantile(0.5).is_nan());
        for error in [f64::INFINITY, f64::NEG_INFINITY, 0.0, f64::MIN_POSITIVE] {
            errors.learn(error, 0.9);
            assert!(errors.quantile(0.5).is_finite());
        }
        assert!((0.0..=1.0).contains(&errors.share_from(f64::INFINITY)));
        assert!((0.0..=1.0).contains(&errors.share_from(f64::NEG_INFINITY)));
    }
}
