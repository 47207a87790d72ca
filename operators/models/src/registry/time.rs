//! Points in time, as cards and promotions have them: RFC 3339, in UTC, to the microsecond, as rows have them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thalweg_schemas::time::{format_rfc3339, parse_rfc3339};

const SECOND_US: i64 = 1_000_000;
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
        f.write_str(&format_rfc3339(self.us))
    }
}

impl FromStr for Time {
    type Err = String;

    /// Reads what [`Time`] prints, and nothing else.
    fn from_str(text: &str) -> Result<Time, String> {
        let time = parse_rfc3339(text.as_bytes()).ok().map(Time::from_us);
        time.filter(|time| time.to_string() == text)
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
