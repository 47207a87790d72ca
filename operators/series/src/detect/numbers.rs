//! Arithmetic that a row needs many times: cheap, and the same to the bit on every machine.

use std::f64::consts::{LN_2, SQRT_2};

/// Values and their deviations stay below this, so that their squares are finite.
const SIZE_MAX: f64 = 1e150;

/// A value of a series, kept from sizes whose squares overflow; NaN for what is no number.
pub(crate) fn tame(value: f64) -> f64 {
    if value.is_finite() { value.clamp(-SIZE_MAX, SIZE_MAX) } else { f64::NAN }
}

/// The natural logarithm of a positive normal number, relative error below 1e-8: ln 2^k + 2 artanh((m − 1)/(m + 1)) by the first terms of
/// the series. Anything else gives some finite number.
pub(crate) fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = ((bits >> 52) & 0x7ff) as i64 - 1023;
    let mut mantissa = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | 0x3ff0_0000_0000_0000);
    if mantissa > SQRT_2 {
        mantissa *= 0.5;
        exponent += 1;
    }
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let q = s * s;
    let series = 1.0 + q * (1.0 / 3.0 + q * (1.0 / 5.0 + q * (1.0 / 7.0 + q * (1.0 / 9.0))));
    exponent as f64 * LN_2 + 2.0 * s * series
}

/// Where a positive number lies on a scale with four steps to an octave, 0 at `2^lowest`; between steps it is linear.
pub(crate) fn quarter_octaves(x: f64, lowest: i64) -> f64 {
    let origin = (1023 + lowest) << 52;
    (x.to_bits() as i64 - origin) as f64 * (1.0 / (1u64 << 50) as f64)
}

/// The number at a place of [`quarter_octaves`]; for places from 0 to 400.
pub(crate) fn from_quarter_octaves(place: f64, lowest: i64) -> f64 {
    let origin = (1023 + lowest) << 52;
    f64::from_bits(((place * (1u64 << 50) as f64) as i64 + origin) as u64)
}

/// The gain of an exponentially weighted mean that has seen `count` values before this one and remembers about `memory` of
/// them: a plain mean at first.
pub(crate) fn gain(count: f64, memory: f64) -> f64 {
    (1.0 / (count + 1.0)).max(2.0 / (memory + 1.0))
}

/// −ln p at most: the p-value of anything is a number above 0.
pub(crate) const RARITY_MAX: f64 = 40.0;

/// Nothing is smaller, in parts of the values it comes from: below lies rounding.
const ROUNDING: f64 = 1.0 / (1u64 << 40) as f64;

/// A deviation where nothing ever deviated.
const Z_MAX: f64 = 1e6;

/// What differences of such values are but for rounding.
pub(crate) fn rounding(value: f64, other: f64) -> f64 {
    (value.abs() + other.abs()) * ROUNDING
}

/// A difference in standard deviations, where neither counts below `floor`.
pub(crate) fn in_deviations(difference: f64, variance: f64, floor: f64) -> f64 {
    let deviation = variance.sqrt();
    if deviation > floor {
        (difference / deviation).clamp(-Z_MAX, Z_MAX)
    } else if difference.abs() > floor {
        Z_MAX.copysign(difference)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_are_near_those_of_libm() {
        for x in [1e-300, 3e-5, 0.1, 0.7, 0.9999, 1.0, 1.5, 2.0, 7.3, 1e9, 1e300] {
            assert!((ln(x) - libm::log(x)).abs() <= 2e-8 * libm::log(x).abs().max(1.0), "{x}");
        }
        assert!([0.0, -1.0, f64::NAN, f64::INFINITY].iter().all(|x| ln(*x).is_finite()));
    }

    #[test]
    fn places_grow_by_four_an_octave_and_lead_back() {
        assert_eq!(quarter_octaves(0.25, -2), 0.0);
        assert_eq!(quarter_octaves(2.0, -2), 12.0);
        assert_eq!(quarter_octaves(2.5, -2), 13.0);
        assert!(quarter_octaves(0.0, -2) < 0.0);
        for x in [0.3, 1.1, 17.0, 250.0] {
            assert!((from_quarter_octaves(quarter_octaves(x, -2), -2) - x).abs() < 1e-9);
        }
    }

    #[test]
    fn values_are_tamed() {
        assert_eq!(tame(3.5), 3.5);
        assert_eq!(tame(-1e300), -1e150);
        assert!(tame(f64::INFINITY).is_nan() && tame(f64::NAN).is_nan());
    }
}
