//! How far off a foretold value may be: a symmetric distribution with tails that are the heavier the less was seen.
//!
//! The sinh of a scaled normal (a sinh-arcsinh distribution: Jones and Pewsey, Biometrika 96, 2009): quantiles and
//! probabilities are closed forms, and one number sets the tails.

/// Standard normal quantiles of the upper ends of the central 80 % and 95 %.
pub(super) const Z_80: f64 = 1.281_551_565_544_600_4;
pub(super) const Z_95: f64 = 1.959_963_984_540_054;

/// A distribution around 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    /// Factor of the sinh, in units of the value.
    scale: f64,
    /// How heavy the tails are, above 0; the limit at 0 is the normal distribution.
    tails: f64,
}

impl Spread {
    /// The distribution whose central 80 % are within `half_80` of 0, after so many rows.
    ///
    /// The quantile of 95 % is then 1.8 times that after many rows, and 3 times after 6.
    pub fn new(half_80: f64, rows: f64) -> Self {
        let tails = 0.6 + 6.0 / rows.max(3.0);
        Spread { scale: half_80 / libm::sinh(tails * Z_80), tails }
    }

    /// The quantile at the level of the standard normal's quantile `z`.
    pub fn quantile(&self, z: f64) -> f64 {
        self.scale * libm::sinh(self.tails * z)
    }

    /// The probability of a value at or below `x`.
    pub fn at_most(&self, x: f64) -> f64 {
        if x == 0.0 {
            return 0.5;
        }
        let z = libm::asinh(x / self.scale) / self.tails;
        if z.is_nan() { f64::from(u8::from(x > 0.0)) } else { normal_at_most(z) }
    }
}

/// The probability of a standard normal value at or below `z`.
pub(super) fn normal_at_most(z: f64) -> f64 {
    0.5 * libm::erfc(-z / std::f64::consts::SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_and_quantiles_agree() {
        for rows in [1.0, 6.0, 50.0, 1e6] {
            let spread = Spread::new(2.0, rows);
            assert!((spread.quantile(Z_80) - 2.0).abs() < 1e-12);
            assert!((spread.at_most(2.0) - 0.9).abs() < 1e-9);
            assert!((spread.at_most(spread.quantile(Z_95)) - 0.975).abs() < 1e-9);
            assert!((spread.at_most(spread.quantile(-Z_95)) - 0.025).abs() < 1e-9);
        }
    }

    #[test]
    fn no_spread_is_a_step() {
        let none = Spread::new(0.0, 10.0);
        assert_eq!([-1.0, 0.0, 1.0].map(|x| none.at_most(x)), [0.0, 0.5, 1.0]);
    }
}
