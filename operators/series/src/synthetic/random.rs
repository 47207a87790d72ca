//! Seeded random numbers, the same on every machine.

use std::f64::consts::TAU;

/// Random numbers by SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The numbers of a seed. Near seeds give unrelated numbers.
    pub fn new(seed: u64) -> Self {
        let mut random = Random(seed ^ 0x5851_f42d_4c95_7f2d);
        random.0 = random.u64();
        random
    }

    /// 64 random bits.
    pub fn u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Uniform in [0, 1).
    pub fn uniform(&mut self) -> f64 {
        (self.u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in [from, to).
    pub fn between(&mut self, from: f64, to: f64) -> f64 {
        from + (to - from) * self.uniform()
    }

    /// A whole number below `count`; 0 for none. The bias, count / 2^64, does not matter here.
    pub fn below(&mut self, count: usize) -> usize {
        ((u128::from(self.u64()) * count as u128) >> 64) as usize
    }

    /// Standard normal, by Box and Muller (1958).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * libm::log(1.0 - self.uniform())).sqrt();
        radius * libm::cos(TAU * self.uniform())
    }

    /// Student's t with a whole number of degrees of freedom, above 0.
    pub fn student_t(&mut self, degrees: u32) -> f64 {
        let normal = self.normal();
        let squares: f64 = (0..degrees).map(|_| self.normal()).map(|x| x * x).sum();
        normal / (squares / f64::from(degrees)).sqrt()
    }

    /// Exponential with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -libm::log(1.0 - self.uniform())
    }

    /// Poisson, by counting arrivals of the unit rate: takes time in proportion to the mean.
    pub fn poisson(&mut self, mean: f64) -> f64 {
        let (mut count, mut time) = (0.0, self.exponential());
        while time < mean {
            count += 1.0;
            time += self.exponential();
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_and_variance(draw: impl FnMut() -> f64) -> (f64, f64) {
        let values: Vec<f64> = std::iter::repeat_with(draw).take(40_000).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        (mean, values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / values.len() as f64)
    }

    #[test]
    fn means_and_variances_are_those_of_the_distributions() {
        let mut random = Random::new(1);
        let near = |(mean, variance): (f64, f64), m: f64, v: f64| {
            assert!(
                (mean - m).abs() < 0.05 * v.sqrt() && (variance / v - 1.0).abs() < 0.05,
                "{mean} {variance}"
            );
        };
        near(mean_and_variance(|| random.uniform()), 0.5, 1.0 / 12.0);
        near(mean_and_variance(|| random.normal()), 0.0, 1.0);
        near(mean_and_variance(|| random.exponential()), 1.0, 1.0);
        near(mean_and_variance(|| random.poisson(6.0)), 6.0, 6.0);
        near(mean_and_variance(|| random.student_t(10)), 0.0, 10.0 / 8.0);
        near(mean_and_variance(|| random.below(3) as f64), 1.0, 2.0 / 3.0);
    }
}
