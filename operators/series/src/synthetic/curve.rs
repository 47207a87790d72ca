//! Learning curves of known shape, whose end is known.

use super::Random;

/// How a curve goes from where it begins towards where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CurveShape {
    /// As a power of the step.
    Power,
    /// Exponentially.
    Exponential,
    /// A plateau, then exponentially.
    Delayed,
    /// Down to a bottom, then slowly up again, as losses of an overfitting model.
    Overfit,
    /// Nothing is learnt.
    Flat,
}

impl CurveShape {
    /// All of them.
    pub const ALL: [CurveShape; 5] = [
        CurveShape::Power,
        CurveShape::Exponential,
        CurveShape::Delayed,
        CurveShape::Overfit,
        CurveShape::Flat,
    ];
}

/// Which curve to make.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CurveRecipe {
    /// How it goes.
    pub shape: CurveShape,
    /// How many steps it has.
    pub steps: usize,
    /// The standard deviation of its noise, in parts of the way that it could go, which is about 1.
    pub noise: f64,
    /// Which of all curves of the shape.
    pub seed: u64,
}

/// A falling curve.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// One value a step, from step 0 on.
    pub values: Vec<f64>,
    /// The same without noise.
    pub pattern: Vec<f64>,
}

impl CurveRecipe {
    /// The curve: begins about 1 and falls.
    pub fn generate(&self) -> Curve {
        let mut random = Random::new(self.seed);
        let steps = self.steps.max(1) as f64;
        let (from, way) = (random.between(0.8, 1.2), random.between(0.2, 1.0));
        let time = steps * libm::exp(random.between(libm::log(0.02), libm::log(2.0)));
        let (power, delay) = (random.between(0.3, 1.5), steps * random.between(0.02, 0.4));
        let (rise, bottom) = (way * random.between(0.2, 0.8), steps * random.between(0.1, 0.6));
        let left = |step: f64| match self.shape {
            CurveShape::Power => libm::pow(1.0 + step / time, -power),
            CurveShape::Exponential => libm::exp(-step / time),
            CurveShape::Delayed => libm::exp(-(step - delay).max(0.0) / time),
            CurveShape::Overfit => libm::exp(-step / (0.3 * bottom)),
            CurveShape::Flat => 1.0,
        };
        let pattern: Vec<f64> = (0..self.steps)
            .map(|step| {
                let step = step as f64;
                let again =
                    if self.shape == CurveShape::Overfit { (step - bottom).max(0.0) / steps } else { 0.0 };
                from - way * (1.0 - left(step)) + rise * again
            })
            .collect();
        let values = pattern.iter().map(|mean| mean + self.noise * random.normal()).collect();
        Curve { values, pattern }
    }
}
