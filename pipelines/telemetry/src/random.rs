//! Random numbers that are the same everywhere: a small generator a thing (an event, a user, a session), seeded by what the
//! thing is, so that nothing depends on the order in which things are made.

/// What a number is drawn for. Keeps the draws of different things apart.
#[derive(Debug, Clone, Copy)]
#[repr(u64)]
pub(crate) enum For {
    Rate = 1,
    User,
    Request,
    Interaction,
    Feedback,
    Trace,
    Health,
    System,
    Population,
    Agent,
    Node,
    Signal,
    TestRun,
    Delay,
    Bench,
}

/// splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014). A ChaCha block costs more than
/// a whole event here, and one generator for a whole topic would tie its events together.
#[derive(Debug, Clone)]
pub(crate) struct Draw(u64);

/// The finishing function of splitmix64: a bijection that spreads every bit.
pub(crate) fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Draw {
    pub(crate) fn new(seed: u64, what: For, index: u64) -> Draw {
        Draw(mix(seed ^ mix(index.wrapping_add((what as u64) << 56))))
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Uniform in 0..n.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(n)) >> 64) as u64
    }

    /// Uniform in low..high.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low).max(1) as u64) as i64
    }

    /// Uniform in [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Nearly standard normal: the sum of eight uniform numbers of 16 bits (Irwin–Hall), so within ±4.9.
    pub(crate) fn normal(&mut self) -> f64 {
        let (a, b) = (self.bits(), self.bits());
        let sum = |x: u64| (x & 0xffff) + (x >> 16 & 0xffff) + (x >> 32 & 0xffff) + (x >> 48);
        const MEAN: f64 = 4.0 * 65_535.0;
        const DEVIATION: f64 = 53_509.92;
        ((sum(a) + sum(b)) as f64 - MEAN) / DEVIATION
    }

    /// Log-normal with a median and the standard deviation of its logarithm.
    pub(crate) fn log_normal(&mut self, median: f64, sigma: f64) -> f64 {
        median * exp(sigma * self.normal())
    }

    /// One of a few, by weights that add up to `total`.
    pub(crate) fn weighted<T>(&mut self, of: &[T], weight: impl Fn(&T) -> u64, total: u64) -> usize {
        let mut left = self.below(total);
        for (index, item) in of.iter().enumerate() {
            let weight = weight(item);
            if left < weight {
                return index;
            }
            left -= weight;
        }
        of.len() - 1
    }
}

/// e to the power of x, for |x| < 700, to about 1e-12: 2^k times the Taylor series of the rest.
pub(crate) fn exp(x: f64) -> f64 {
    const LN2: f64 = std::f64::consts::LN_2;
    /// 1/n! from n = 10 down.
    const COEFFICIENTS: [f64; 10] = [
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        1.0 / 2.0,
        1.0,
    ];
    let k = rounded(x * (1.0 / LN2));
    let r = x - k as f64 * LN2;
    let sum = COEFFICIENTS.iter().fold(0.0, |sum, coefficient| sum * r + coefficient) * r + 1.0;
    sum * f64::from_bits(((k + 1023) as u64) << 52)
}

/// The nearest integer, halves away from zero.
pub(crate) fn rounded(x: f64) -> i64 {
    (x + 0.5f64.copysign(x)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_to_the_systems() {
        for x in [-20.0, -1.5, -0.3, 0.0, 1e-9, 0.34, 0.35, 1.0, 5.5, 30.0] {
            assert!((exp(x) / f64::exp(x) - 1.0).abs() < 1e-11, "{x}");
        }
    }

    #[test]
    fn draws_have_the_moments_they_claim() {
        let mut draw = Draw::new(1, For::Rate, 0);
        let n = 200_000;
        let (mut sum, mut squares, mut units) = (0.0, 0.0, 0.0);
        for _ in 0..n {
            let z = draw.normal();
            sum += z;
            squares += z * z;
            units += draw.unit();
        }
        let n = f64::from(n);
        assert!(
            (sum / n).abs() < 0.01 && (squares / n - 1.0).abs() < 0.01 && (units / n - 0.5).abs() < 0.005
        );
    }
}
