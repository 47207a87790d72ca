//! Points in time, as cards and promotions have them: RFC 3339, in UTC, to the microsecond, as rows have them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

const SECOND_US: i64 = 1_000_000;
const DAY_S: i64 = 86_400;
/// 0001-01-01T00:00:00Z.
const FIRST_S: i64 = -62_135_596_800;
/// 9999-12-31T23:59:59Z.
const LAST_S: i64 = 253_402_300_799;

/// A point in time of the years 1 to 9999: `2026-11-30T12:00:00Z`, or `2026-11-30T12:00:00.250000Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Time {
    us: i64,
}

impl Time {
    /// Of microseconds since 1970 in UTC; what lies outside the years 1 to 9999 is taken as the first or the last time of them.
    pub fn from_us(us: i64) -> Time {
        Time { us: us.clamp(FIRST_S * SECOND_US, LAST_S * SECOND_US + SECOND_US - 1) }
    }

    /// Microseconds since 1970 in UTC.
    pub fn us(self) -> i64 {
        self.us
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, fraction) = (self.us.div_euclid(SECOND_US), self.us.rem_euclid(SECOND_US));
        let (year, month, day) = civil(seconds.div_euclid(DAY_S));
        let second = seconds.rem_euclid(DAY_S);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if fraction != 0 {
            write!(f, ".{fraction:06}")?;
        }
        f.write_str("Z")
    }
}

impl FromStr for Time {
    type Err = String;

    /// Reads what [`Time`] prints, and nothing else.
    fn from_str(text: &str) -> Result<Time, String> {
        let read = || {
            let number = |from: usize, to: usize| {
                let digits = text.get(from..to)?;
                digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<i64>().ok())?
            };
            let seconds = DAY_S * days(number(0, 4)?, number(5, 7)?, number(8, 10)?)
                + 3600 * number(11, 13)?
                + 60 * number(14, 16)?
                + number(17, 19)?;
            let fraction = if text.len() > 20 { number(20, 26)? } else { 0 };
            Some(Time::from_us(seconds * SECOND_US + fraction))
        };
        // The 31st of April, or 25 o'clock, would be printed as another time.
        read()
            .filter(|time| time.to_string() == text)
            .ok_or_else(|| format!("\"{text}\" is no time such as 2026-11-30T12:00:00Z"))
    }
}

impl From<Time> for String {
    fn from(time: Time) -> String {
        time.to_string()
    }
}

impl TryFrom<String> for Time {
    type Error = String;

    fn try_from(text: String) -> Result<Time, String> {
        text.parse()
    }
}

/// Year, month and day of a number of days since 1970-01-01 (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms":
/// `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The inverse of [`civil`] (there: `days_from_civil`).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Time;

    #[test]
    fn known_times_are_printed() {
        for (us, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00Z"),
            (1_772_452_800_250_000, "2026-03-02T12:00:00.250000Z"),
            (i64::MAX, "9999-12-31T23:59:59.999999Z"),
            (i64::MIN, "0001-01-01T00:00:00Z"),
        ] {
            assert_eq!(Time::from_us(us).to_string(), text);
            assert_eq!(text.parse(), Ok(Time::from_us(us)));
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2026",
            "2026-04-31T00:00:00Z",
            "2026-01-01T25:00:00Z",
            "2026-01-01 00:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.5Z",
            "+026-01-01T00:00:00Z",
            "2026-01-01T00:00:00Zé",
        ] {
            assert!(text.parse::<Time>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn times_come_back_and_sort_as_their_texts(a: i64, b: i64) {
            let (a, b) = (Time::from_us(a), Time::from_us(b));
            prop_assert_eq!(a.to_string().parse(), Ok(a));
            if a.us() % 1_000_000 != 0 && b.us() % 1_000_000 != 0 {
                prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
            }
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,30}") {
            let _ = text.parse::<Time>();
        }
    }
}
