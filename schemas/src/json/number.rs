//! JSON numbers: one pass over the text that checks the grammar and, for the common short ones, has the value at its end.
//!
//! Nothing but a float field ever goes through f64: whole numbers and decimals come from the digits.

use super::cursor::Cursor;
use super::fault::Fault;

/// Powers of ten that u64 holds.
const POWERS: [u64; 20] = {
    let mut powers = [1; 20];
    let mut i = 1;
    while i < 20 {
        powers[i] = powers[i - 1] * 10;
        i += 1;
    }
    powers
};

/// Powers of ten that f64 holds exactly.
const FLOAT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// Exponents are cut to this: beyond it a number is zero or out of range, whatever its digits.
const EXPONENT_MAX: i64 = 1 << 40;

/// A number's parts. Its value is ±`mantissa` · 10^`exponent`, if `exact`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number {
    pub(super) start: usize,
    pub(super) end: usize,
    negative: bool,
    /// Whether `mantissa` holds all digits; the text has to be looked at again where not.
    exact: bool,
    mantissa: u64,
    exponent: i64,
}

/// Why a number is not one of the type wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NumberFault {
    /// It has a fraction, and may have none.
    Fractional,
    /// It is too large or too small.
    Range,
}

/// What becomes of digits behind the last one that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rounding {
    /// They must be zeros.
    Refused,
    /// To the nearest, a half to the even one.
    HalfEven,
    /// Towards minus infinity.
    Floor,
}

impl Number {
    /// Reads the number that begins at `start`.
    #[inline]
    pub(super) fn scan(bytes: &[u8], start: usize) -> Result<Number, Fault> {
        let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
        let negative = byte(start) == b'-';
        let first = start + usize::from(negative);
        let mut at = first;
        let mut mantissa: u64 = 0;
        let mut digit = byte(at).wrapping_sub(b'0');
        if digit == 0 {
            at += 1;
        } else {
            while digit < 10 {
                mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
                at += 1;
                digit = byte(at).wrapping_sub(b'0');
            }
        }
        if at == first {
            return Err(Fault::Syntax { at, what: "expected a digit" });
        }
        let mut digits = at - first;
        let mut exponent = 0;
        let mut next = byte(at);
        if next == b'.' {
            let point = at;
            at += 1;
            digit = byte(at).wrapping_sub(b'0');
            while digit < 10 {
                mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
                at += 1;
                digit = byte(at).wrapping_sub(b'0');
            }
            let fraction = at - point - 1;
            if fraction == 0 {
                return Err(Fault::Syntax { at, what: "expected a digit behind the point" });
            }
            digits += fraction;
            exponent = -(fraction as i64);
            next = byte(at);
        }
        if next == b'e' || next == b'E' {
            let (power, end) = scan_exponent(bytes, at + 1)?;
            exponent += power;
            at = end;
        } else if next.is_ascii_digit() {
            return Err(Fault::Syntax { at, what: "a number has no leading zeros" });
        }
        // Nineteen digits always fit u64.
        Ok(Number { start, end: at, negative, exact: digits <= 19, mantissa, exponent })
    }

    /// Its text.
    fn text<'a>(&self, payload: &'a [u8]) -> &'a str {
        // The grammar has let ASCII through only.
        std::str::from_utf8(&payload[self.start..self.end]).expect("invariant: a number is ASCII")
    }

    /// As a signed whole number. `3.0` and `1e3` are whole.
    #[inline]
    pub(super) fn to_i64(self, payload: &[u8]) -> Result<i64, NumberFault> {
        if self.exact && self.exponent == 0 && self.mantissa <= i64::MAX as u64 {
            let magnitude = self.mantissa as i64;
            return Ok(if self.negative { -magnitude } else { magnitude });
        }
        self.scaled(payload, 0, Rounding::Refused).and_then(in_range)
    }

    /// As an unsigned whole number. `-0` is zero.
    #[inline]
    pub(super) fn to_u64(self, payload: &[u8]) -> Result<u64, NumberFault> {
        if self.exact && self.exponent == 0 && !self.negative {
            return Ok(self.mantissa);
        }
        self.scaled(payload, 0, Rounding::Refused).and_then(in_range)
    }

    /// As the nearest f64. Too small becomes zero, too large is out of range.
    #[inline]
    pub(super) fn to_f64(self, payload: &[u8]) -> Result<f64, NumberFault> {
        // Both operands are exact, so that the one rounding is right (Clinger, "How to read floating point numbers
        // accurately", 1990).
        if self.exact && self.mantissa <= 1 << 53 && (-22..=22).contains(&self.exponent) {
            let magnitude = self.mantissa as f64;
            let magnitude = if self.exponent < 0 {
                magnitude / FLOAT_POWERS[-self.exponent as usize]
            } else {
                magnitude * FLOAT_POWERS[self.exponent as usize]
            };
            return Ok(if self.negative { -magnitude } else { magnitude });
        }
        let value: f64 = self.text(payload).parse().expect("invariant: JSON's numbers are a part of Rust's");
        if value.is_finite() { Ok(value) } else { Err(NumberFault::Range) }
    }

    /// As a decimal, in units of 10^-`scale`: digits further behind are rounded, a half to even. At most 18 digits.
    #[inline]
    pub(super) fn to_decimal(self, payload: &[u8], scale: u8) -> Result<i64, NumberFault> {
        let limit = POWERS[18] as i128;
        let power = i64::from(scale) + self.exponent;
        let unscaled = if self.exact && (0..=18).contains(&power) {
            let magnitude = i128::from(self.mantissa) * i128::from(POWERS[power as usize]);
            if self.negative { -magnitude } else { magnitude }
        } else {
            self.scaled(payload, i64::from(scale), Rounding::HalfEven)?
        };
        if unscaled <= -limit || unscaled >= limit {
            return Err(NumberFault::Range);
        }
        in_range(unscaled)
    }

    /// As a time in microseconds, of a number that counts 10^`power` microseconds; floored.
    #[inline]
    pub(super) fn to_micros(self, payload: &[u8], power: i8) -> Result<i64, NumberFault> {
        if self.exact && self.exponent == 0 && self.mantissa <= i64::MAX as u64 {
            let magnitude = self.mantissa as i64;
            let value = if self.negative { -magnitude } else { magnitude };
            let factor = POWERS[power.unsigned_abs() as usize] as i64;
            return match power {
                0.. => value.checked_mul(factor).ok_or(NumberFault::Range),
                _ => Ok(value.div_euclid(factor)),
            };
        }
        self.scaled(payload, i64::from(power), Rounding::Floor).and_then(in_range)
    }

    /// The number times 10^`power` from its digits, however many there are.
    #[cold]
    fn scaled(self, payload: &[u8], power: i64, rounding: Rounding) -> Result<i128, NumberFault> {
        let text = &payload[self.start + usize::from(self.negative)..self.end];
        let text = text.split(|byte| matches!(byte, b'e' | b'E')).next().unwrap_or_default();
        let fraction = text.iter().position(|byte| *byte == b'.').map_or(0, |point| text.len() - point - 1);
        let digits: Vec<u8> = text.iter().filter(|byte| **byte != b'.').map(|digit| digit - b'0').collect();
        let (Some(first), Some(last)) =
            (digits.iter().position(|digit| *digit != 0), digits.iter().rposition(|digit| *digit != 0))
        else {
            return Ok(0);
        };
        // The value is 0.d₁d₂… · 10^point, with neither a leading nor a trailing zero among the digits.
        let written_exponent = self.exponent + fraction as i64;
        let point = (digits.len() - fraction) as i64 - first as i64 + written_exponent + power;
        let digits = &digits[first..=last];
        if point > 38 {
            return Err(NumberFault::Range);
        }
        let kept = digits.len().min(point.max(0) as usize);
        let whole = digits[..kept].iter().fold(0_i128, |whole, digit| whole * 10 + i128::from(*digit));
        let whole = whole * 10_i128.pow((point.max(0) as usize - kept) as u32);
        let rest = &digits[kept..];
        let up = match rounding {
            _ if rest.is_empty() => false,
            Rounding::Refused => return Err(NumberFault::Fractional),
            Rounding::HalfEven if point < 0 => false,
            Rounding::HalfEven => rest[0] > 5 || rest[0] == 5 && (rest.len() > 1 || whole % 2 == 1),
            Rounding::Floor => self.negative,
        };
        let magnitude = whole + i128::from(up);
        Ok(if self.negative { -magnitude } else { magnitude })
    }
}

/// The exponent behind an `e`, cut to ±[`EXPONENT_MAX`], and where it ends.
#[cold]
fn scan_exponent(bytes: &[u8], start: usize) -> Result<(i64, usize), Fault> {
    let mut cursor = Cursor { bytes, at: start };
    let negative = cursor.byte() == b'-';
    if negative || cursor.byte() == b'+' {
        cursor.at += 1;
    }
    if !cursor.byte().is_ascii_digit() {
        return Err(cursor.syntax("expected a digit of the exponent"));
    }
    let mut power: i64 = 0;
    while cursor.byte().is_ascii_digit() {
        power = (power * 10 + i64::from(cursor.byte() - b'0')).min(EXPONENT_MAX);
        cursor.at += 1;
    }
    Ok((if negative { -power } else { power }, cursor.at))
}

fn in_range<T: TryFrom<i128>>(value: i128) -> Result<T, NumberFault> {
    T::try_from(value).map_err(|_| NumberFault::Range)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::NumberFault::{Fractional, Range};
    use super::*;

    fn scan(text: &str) -> Number {
        let number = Number::scan(text.as_bytes(), 0).expect("a number");
        assert_eq!(number.end, text.len(), "{text} is read to its end");
        number
    }

    fn i64_of(text: &str) -> Result<i64, NumberFault> {
        scan(text).to_i64(text.as_bytes())
    }

    fn u64_of(text: &str) -> Result<u64, NumberFault> {
        scan(text).to_u64(text.as_bytes())
    }

    fn decimal_of(text: &str, scale: u8) -> Result<i64, NumberFault> {
        scan(text).to_decimal(text.as_bytes(), scale)
    }

    fn micros_of(text: &str, power: i8) -> Result<i64, NumberFault> {
        scan(text).to_micros(text.as_bytes(), power)
    }

    #[test]
    fn whole_numbers_are_exact_to_the_last_digit() {
        assert_eq!(i64_of("9223372036854775807"), Ok(i64::MAX));
        assert_eq!(i64_of("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(i64_of("9223372036854775808"), Err(Range));
        assert_eq!(i64_of("-9223372036854775809"), Err(Range));
        assert_eq!(i64_of("-0"), Ok(0));
        assert_eq!(u64_of("18446744073709551615"), Ok(u64::MAX));
        assert_eq!(u64_of("18446744073709551616"), Err(Range));
        assert_eq!(u64_of("9007199254740993"), Ok((1 << 53) + 1));
        assert_eq!(u64_of("-1"), Err(Range));
        assert_eq!(u64_of("-0"), Ok(0));
        assert_eq!(u64_of("-0.0e3"), Ok(0));
    }

    #[test]
    fn a_whole_number_may_be_written_with_point_and_exponent() {
        assert_eq!(i64_of("3.0"), Ok(3));
        assert_eq!(i64_of("1e3"), Ok(1000));
        assert_eq!(i64_of("1.5E+1"), Ok(15));
        assert_eq!(i64_of("1200e-2"), Ok(12));
        assert_eq!(i64_of("-9.223372036854775808e18"), Ok(i64::MIN));
        assert_eq!(i64_of("3.5"), Err(Fractional));
        assert_eq!(i64_of("1e-1"), Err(Fractional));
        assert_eq!(i64_of("1e400"), Err(Range));
        assert_eq!(i64_of("1e99999999999999999999"), Err(Range));
        assert_eq!(i64_of("0e99999999999999999999"), Ok(0));
        assert_eq!(i64_of("1e-99999999999999999999"), Err(Fractional));
        let long = format!("{}.{}", "1".repeat(3), "0".repeat(1000));
        assert_eq!(i64_of(&long), Ok(111));
    }

    #[test]
    fn decimals_round_half_to_even() {
        for (text, expected) in [
            ("0.1", Ok(10)),
            ("12", Ok(1200)),
            ("-0.005", Ok(0)),
            ("0.005", Ok(0)),
            ("0.015", Ok(2)),
            ("0.0250", Ok(2)),
            ("0.0250001", Ok(3)),
            ("-0.035", Ok(-4)),
            ("0.0049999999999999999999999", Ok(0)),
            ("0.00005", Ok(0)),
            ("1e-2", Ok(1)),
            ("1e13", Ok(1_000_000_000_000_000)),
            ("9999999999999999.99", Ok(999_999_999_999_999_999)),
            ("9999999999999999.994", Ok(999_999_999_999_999_999)),
            ("9999999999999999.995", Err(Range)),
            ("10000000000000000", Err(Range)),
            ("-10000000000000000", Err(Range)),
            ("1e30", Err(Range)),
        ] {
            assert_eq!(decimal_of(text, 2), expected, "{text}");
        }
        assert_eq!(decimal_of("0.1234567890123456785", 18), Ok(123_456_789_012_345_678));
    }

    #[test]
    fn times_are_floored() {
        assert_eq!(micros_of("1767225600", 6), Ok(1_767_225_600_000_000));
        assert_eq!(micros_of("1767225600.1234567", 6), Ok(1_767_225_600_123_456));
        assert_eq!(micros_of("-0.0000001", 6), Ok(-1));
        assert_eq!(micros_of("1.5", 3), Ok(1500));
        assert_eq!(micros_of("1999", -3), Ok(1));
        assert_eq!(micros_of("-1", -3), Ok(-1));
        assert_eq!(micros_of("-1999.5", -3), Ok(-2));
        assert_eq!(micros_of("9223372036854775807", 0), Ok(i64::MAX));
        assert_eq!(micros_of("9223372036854775807", 3), Err(Range));
        assert_eq!(micros_of("9223372036854775807999", -3), Ok(i64::MAX));
    }

    #[test]
    fn refuses_what_is_no_number() {
        for text in ["-", "+1", ".5", "1.", "1.e3", "1e", "1e+", "00", "01", "-01", "1.0.0e", "--1", "e5"] {
            let end = Number::scan(text.as_bytes(), 0).map(|number| number.end);
            assert_ne!(end.ok(), Some(text.len()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn floats_equal_the_standard_librarys(text in "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,24})?([eE][-+]?[0-9]{1,3})?") {
            let expected: f64 = text.parse().expect("a float");
            match scan(&text).to_f64(text.as_bytes()) {
                Ok(value) => prop_assert_eq!(value.to_bits(), expected.to_bits()),
                Err(fault) => prop_assert!(fault == Range && expected.is_infinite()),
            }
        }

        #[test]
        fn written_floats_come_back(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            let text = serde_json::to_string(&value).expect("floats serialise");
            prop_assert_eq!(scan(&text).to_f64(text.as_bytes()).map(f64::to_bits), Ok(bits));
        }

        #[test]
        fn decimals_of_any_split_are_exact(unscaled in -999_999_999_999_999_999_i64..=999_999_999_999_999_999, scale in 0_u8..=18) {
            let digits = format!("{:0width$}", unscaled.unsigned_abs(), width = usize::from(scale) + 1);
            let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
            let sign = if unscaled < 0 { "-" } else { "" };
            let text = if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") };
            prop_assert_eq!(decimal_of(&text, scale), Ok(unscaled));
            let shifted = format!("{sign}{}e-{scale}", unscaled.unsigned_abs());
            prop_assert_eq!(decimal_of(&shifted, scale), Ok(unscaled));
        }
    }
}
