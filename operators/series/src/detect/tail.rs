//! How rare strangeness is: the upper tail of what a key has shown before, as counts that fade slowly.
//!
//! A value's p-value is the share of values before it that were at least as large, itself included (conformal prediction: Vovk, Gammerman,
//! Shafer, Algorithmic learning in a random world, 2005). Counts are kept cumulated (for each edge, the weight of values at or
//! above), so that looking up takes no sum; they fade by giving later values more weight, so that nothing is touched but what a value adds to.

use super::fields::Fields;
use super::numbers::{RARITY_MAX, ln};
use crate::bytes::StateError;

/// Values weigh less by this factor with each one that follows: the last 16,384 or so count.
const GROWTH: f32 = 1.0 + 1.0 / 16_384.0;

/// All weights are scaled down when one value's weighs so much.
const WEIGHT_MAX: f32 = (1u64 << 20) as f32;

/// What a step beyond all that was seen adds to −ln p: the tail is taken to go on as a power of the value.
const BEYOND_PER_STEP: f64 = 0.25;

/// Between these shares of values it is seen how the tail goes on; and their −ln.
const NEAR_SHARE: f64 = 0.1;
const FAR_SHARE: f64 = 0.02;
const NEAR: f64 = std::f64::consts::LN_10;
const FAR: f64 = 3.912_023_005_428_146;
const LOG2_FAR_OVER_NEAR: f64 = 0.764_660_381_670_054_1;

/// The tail of values on a scale of `STEPS` steps.
#[derive(Debug, Clone)]
pub(crate) struct Tail<const STEPS: usize> {
    /// Weight of the values at or above each step.
    above: [f32; STEPS],
    total: f32,
    weight: f32,
}

impl<const STEPS: usize> Tail<STEPS> {
    /// Of nothing.
    pub fn new() -> Self {
        Tail { above: [0.0; STEPS], total: 0.0, weight: 1.0 }
    }

    /// −ln p of a value at this place of the scale, 0 and up. Beyond all that was seen it goes on growing, slowly.
    pub fn rarity(&self, place: f64) -> f64 {
        let one = f64::from(self.weight);
        let total = f64::from(self.total) + one;
        let place = place.clamp(0.0, 1e6);
        let step = (place as usize).min(STEPS - 1);
        let part = (place - step as f64).min(1.0);
        let here = f64::from(self.above[step]);
        let next = if step + 1 < STEPS { f64::from(self.above[step + 1]) } else { 0.0 };
        let mut rarity = ln(total / (here + (next - here) * part + one));
        if next <= 0.0 && here <= 0.0 {
            let top = self.above.iter().rposition(|weight| *weight > 0.0).unwrap_or(0);
            rarity += BEYOND_PER_STEP * (place - top as f64 - 1.0).max(0.0);
        }
        rarity.min(RARITY_MAX)
    }

    /// −ln p of a value where the tail goes on beyond what is often seen as it does there: as a power of the value (Hill, A simple general
    /// approach to inference about the tail of a distribution, 1975), or exponentially where the scale is not logarithmic. Unlike
    /// [`Tail::rarity`] it does not end at the rarest thing seen, and values of another origin far out hardly change it.
    pub fn rarity_continued(&self, place: f64) -> f64 {
        let rarity = self.rarity(place);
        if rarity < FAR {
            return rarity;
        }
        match (self.place(NEAR_SHARE), self.place(FAR_SHARE)) {
            (Some(near), Some(far)) if place > far => {
                (FAR + (FAR - NEAR) / (far - near).max(0.25) * (place - far)).min(RARITY_MAX)
            }
            _ => rarity,
        }
    }

    /// −ln p of a value on a scale of quarter octaves where −ln p goes on beyond what is often seen as a power of the value, which has the exponent seen
    /// there, at most that of the normal distribution (Weibull tails: Gardes, Girard, Comparison of Weibull tail-coefficient estimators, 2006): for
    /// means, whose tails are thinner than those of what they are means of.
    pub fn rarity_of_mean(&self, place: f64) -> f64 {
        let rarity = self.rarity(place);
        if rarity < FAR {
            return rarity;
        }
        match (self.place(NEAR_SHARE), self.place(FAR_SHARE)) {
            (Some(near), Some(far)) if place > far => {
                let exponent = (4.0 * LOG2_FAR_OVER_NEAR / (far - near).max(0.25)).clamp(0.5, 2.0);
                (FAR * libm::exp2(exponent * ((place - far) / 4.0).min(100.0))).min(RARITY_MAX)
            }
            _ => rarity,
        }
    }

    /// Adds a value.
    pub fn add(&mut self, place: f64) {
        let step = place.clamp(0.0, (STEPS - 1) as f64) as u32;
        for (number, above) in self.above.iter_mut().enumerate() {
            *above += if number as u32 <= step { self.weight } else { 0.0 };
        }
        self.total += self.weight;
        self.weight *= GROWTH;
        if self.weight > WEIGHT_MAX {
            let scale = 1.0 / WEIGHT_MAX;
            self.above.iter_mut().for_each(|above| *above *= scale);
            self.total *= scale;
            self.weight *= scale;
        }
    }

    /// The place that this share of values lies beyond, if that few can have been seen.
    pub fn place(&self, share: f64) -> Option<f64> {
        let one = f64::from(self.weight);
        let wanted = share * (f64::from(self.total) + one) - one;
        if wanted < 0.0 {
            return None;
        }
        // Nothing lies above the end of the scale.
        let step = self.above.iter().position(|above| f64::from(*above) <= wanted).unwrap_or(STEPS);
        let here = self.above.get(step).map_or(0.0, |above| f64::from(*above));
        let before =
            step.checked_sub(1).map_or(f64::from(self.total), |before| f64::from(self.above[before]));
        let part = if before > here { (before - wanted) / (before - here) } else { 1.0 };
        Some((step as f64 - 1.0 + part).max(0.0))
    }

    /// Walks over its fields.
    pub fn fields(&mut self, fields: &mut Fields<'_, '_>) -> Result<(), StateError> {
        fields.f32s(&mut self.above)?;
        fields.f32(&mut self.total)?;
        fields.f32(&mut self.weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::Random;

    #[test]
    fn a_value_is_as_rare_as_its_share_of_the_past() {
        let mut random = Random::new(3);
        let mut tail = Tail::<40>::new();
        (0..5000).for_each(|_| tail.add(40.0 * random.uniform()));
        for share in [0.5, 0.1, 0.02] {
            let rarity = tail.rarity(40.0 * (1.0 - share));
            assert!((rarity + libm::log(share)).abs() < 0.15, "{share}: {rarity}");
            let place = tail.place(share).unwrap();
            assert!((place - 40.0 * (1.0 - share)).abs() < 1.0, "{share}: {place}");
        }
        assert!(tail.place(1e-6).is_none());
    }

    #[test]
    fn what_was_never_seen_is_rarer_the_farther_it_lies() {
        let mut tail = Tail::<40>::new();
        (0..1000).for_each(|number| tail.add(f64::from(number % 10)));
        let near = tail.rarity(12.0);
        assert!((near - libm::log(1000.0)).abs() < 0.5, "{near}");
        assert!(tail.rarity(30.0) > near + 3.0);
        assert!(tail.rarity(1e300) <= RARITY_MAX && tail.rarity(-5.0) < 0.01);
    }

    #[test]
    fn the_past_fades() {
        let mut tail = Tail::<40>::new();
        (0..2000).for_each(|_| tail.add(30.0));
        (0..400_000).for_each(|_| tail.add(2.0));
        assert!(tail.rarity(30.0) > 8.0);
        assert!(tail.total.is_finite() && tail.weight <= WEIGHT_MAX);
    }
}
