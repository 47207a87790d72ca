//! What a timestamp is: microseconds since the epoch, UTC, in one Arrow type for the whole system, whatever it looked
//! like in the payload.
//!
//! ```text
//!   1767225600 (s) ─┐
//!   1767225600000 (ms), … µs, … ns ─┼─▶ i64 µs ─▶ Timestamp(Microsecond, "+00:00")
//!   2026-01-01T01:00:00+01:00 ─┘
//! ```
//!
//! Finer input is floored, towards the past also before 1970, so that a row never moves into a later window.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, TimeUnit};

/// The time zone of every timestamp column, as Arrow writes UTC.
pub const TIME_ZONE: &str = "+00:00";

/// Microseconds in a second.
pub const SECOND_US: i64 = 1_000_000;

static SHARED_ZONE: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from(TIME_ZONE));

/// The time zone as the shared string that arrays hold.
pub fn time_zone() -> Arc<str> {
    Arc::clone(&SHARED_ZONE)
}

/// The Arrow type of every timestamp column: `Timestamp(Microsecond, "+00:00")`.
pub fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(time_zone()))
}

/// Why a text is no timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeFault {
    /// Not of the form of RFC 3339, for instance without an offset.
    Malformed,
    /// Of the right form, but there is no such time: month 13, 30 February, 25 o'clock, year 0.
    OutOfRange,
}

/// Reads an RFC 3339 date-time, such as `2026-01-31T12:00:00.25+01:00`, into microseconds since the epoch.
///
/// `T` and `Z` may be in lower case and `T` may be a space (RFC 3339, section 5.6); the fraction may have any number of
/// digits and is floored. Years are 0001 to 9999. A leap second (23:59:60 UTC) counts as the second after it, as in POSIX.
///
/// # Errors
/// [`TimeFault`] says whether the form or the value is wrong.
///
/// ```
/// assert_eq!(thalweg_schemas::time::parse_rfc3339(b"1970-01-01T01:00:00.5+01:00"), Ok(500_000));
/// ```
pub fn parse_rfc3339(text: &[u8]) -> Result<i64, TimeFault> {
    use TimeFault::{Malformed, OutOfRange};
    let [
        y0,
        y1,
        y2,
        y3,
        b'-',
        mo0,
        mo1,
        b'-',
        d0,
        d1,
        b'T' | b't' | b' ',
        h0,
        h1,
        b':',
        mi0,
        mi1,
        b':',
        s0,
        s1,
        rest @ ..,
    ] = text
    else {
        return Err(Malformed);
    };
    let year = number(&[*y0, *y1, *y2, *y3])?;
    let month = number(&[*mo0, *mo1])?;
    let day = number(&[*d0, *d1])?;
    let hour = number(&[*h0, *h1])?;
    let minute = number(&[*mi0, *mi1])?;
    let second = number(&[*s0, *s1])?;
    let (fraction_us, rest) = fraction(rest)?;
    let offset_minutes = offset(rest)?;

    let date_exists = year >= 1 && (1..=12).contains(&month) && day >= 1 && day <= days_in_month(year, month);
    if !date_exists || hour > 23 || minute > 59 || second > 60 {
        return Err(OutOfRange);
    }
    let minutes = (days_from_civil(year, month, day) * 24 + hour) * 60 + minute - offset_minutes;
    if second == 60 && minutes.rem_euclid(24 * 60) != 24 * 60 - 1 {
        return Err(OutOfRange);
    }
    Ok((minutes * 60 + second) * SECOND_US + fraction_us)
}

/// Writes microseconds since the epoch as RFC 3339 in UTC, with a fraction only where there is one; for messages.
///
/// ```
/// assert_eq!(thalweg_schemas::time::format_rfc3339(1_500_000), "1970-01-01T00:00:01.500000Z");
/// ```
pub fn format_rfc3339(time_us: i64) -> String {
    let (seconds, fraction) = (time_us.div_euclid(SECOND_US), time_us.rem_euclid(SECOND_US));
    let (days, second_of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil_from_days(days);
    let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
    let fraction = if fraction == 0 { String::new() } else { format!(".{fraction:06}") };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// The value of a few ASCII digits.
fn number(digits: &[u8]) -> Result<i64, TimeFault> {
    digits.iter().try_fold(0, |value, digit| match digit {
        b'0'..=b'9' => Ok(value * 10 + i64::from(digit - b'0')),
        _ => Err(TimeFault::Malformed),
    })
}

/// An optional `.digits`, floored to microseconds, and what follows it.
fn fraction(rest: &[u8]) -> Result<(i64, &[u8]), TimeFault> {
    let [b'.', digits @ ..] = rest else { return Ok((0, rest)) };
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 {
        return Err(TimeFault::Malformed);
    }
    let kept = count.min(6);
    let value = number(&digits[..kept])? * 10_i64.pow(6 - kept as u32);
    Ok((value, &digits[count..]))
}

/// `Z`, or `+hh:mm`, in minutes east of UTC.
fn offset(rest: &[u8]) -> Result<i64, TimeFault> {
    match rest {
        [b'Z' | b'z'] => Ok(0),
        [sign @ (b'+' | b'-'), h0, h1, b':', m0, m1] => {
            let (hours, minutes) = (number(&[*h0, *h1])?, number(&[*m0, *m1])?);
            if hours > 23 || minutes > 59 {
                return Err(TimeFault::OutOfRange);
            }
            let total = hours * 60 + minutes;
            Ok(if *sign == b'-' { -total } else { total })
        }
        _ => Err(TimeFault::Malformed),
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar.
///
/// Formula: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of a day since 1970-01-01: `civil_from_days` of the same paper.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_offsets_fractions_and_case() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01t00:00:00z", 0),
            ("1970-01-01 00:00:00Z", 0),
            ("1970-01-01T02:00:00+02:00", 0),
            ("1969-12-31T23:30:00-00:30", 0),
            ("1970-01-01T00:00:00.000001999Z", 1),
            ("1969-12-31T23:59:59.9999999Z", -1),
            ("2000-02-29T12:34:56.7Z", 951_827_696_700_000),
            ("0001-01-01T00:00:00Z", -62_135_596_800_000_000),
            ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999),
            ("2016-12-31T23:59:60Z", 1_483_228_800_000_000),
        ] {
            assert_eq!(parse_rfc3339(text.as_bytes()), Ok(expected), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_time() {
        use TimeFault::{Malformed, OutOfRange};
        for (text, fault) in [
            ("", Malformed),
            ("2026-01-01", Malformed),
            ("2026-01-01T00:00:00", Malformed),
            ("2026-01-01T00:00Z", Malformed),
            ("2026-01-01T00:00:00.Z", Malformed),
            ("2026-01-01T00:00:00+0100", Malformed),
            ("2026-01-01T00:00:00Zz", Malformed),
            ("20x6-01-01T00:00:00Z", Malformed),
            ("0000-01-01T00:00:00Z", OutOfRange),
            ("2026-13-01T00:00:00Z", OutOfRange),
            ("2026-00-01T00:00:00Z", OutOfRange),
            ("2026-02-29T00:00:00Z", OutOfRange),
            ("1900-02-29T00:00:00Z", OutOfRange),
            ("2026-01-01T24:00:00Z", OutOfRange),
            ("2026-01-01T12:00:60Z", OutOfRange),
            ("2026-01-01T00:00:00+24:00", OutOfRange),
        ] {
            assert_eq!(parse_rfc3339(text.as_bytes()), Err(fault), "{text}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_chrono(
            time_us in -62_135_596_800_000_000_i64..=253_402_300_799_999_999,
            offset_minutes in -1439_i32..1440,
        ) {
            let utc = chrono::DateTime::from_timestamp_micros(time_us).expect("in chrono's range");
            prop_assert_eq!(parse_rfc3339(format_rfc3339(time_us).as_bytes()), Ok(time_us));
            prop_assert_eq!(parse_rfc3339(utc.to_rfc3339().as_bytes()), Ok(time_us));
            let zone = chrono::FixedOffset::east_opt(offset_minutes * 60).expect("less than a day");
            let local = utc.with_timezone(&zone).to_rfc3339();
            // Shifted out of years 0001–9999, chrono writes five digits or a sign, which RFC 3339 does not know.
            if local.starts_with(|c: char| c.is_ascii_digit()) && !local.starts_with("0000") {
                prop_assert_eq!(parse_rfc3339(local.as_bytes()), Ok(time_us));
            }
        }
    }
}
