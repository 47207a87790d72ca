//! Durations, sizes, instants and names: texts with a grammar of their own.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// The longest duration that a spec may hold: a hundred years, far from the ends of what microseconds can count.
const DURATION_MAX_US: i64 = 36_525 * 86_400 * 1_000_000;
const DURATION_UNITS: [(&str, i64); 7] = [
    ("us", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("m", 60_000_000),
    ("h", 3_600_000_000),
    ("d", 86_400_000_000),
    ("w", 604_800_000_000),
];
const SIZE_UNITS: [(&str, u64); 8] = [
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// A length of time, such as `30s`, `5m` or `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration {
    /// Microseconds, not negative.
    pub us: i64,
}

/// A number of bytes, such as `64MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size {
    /// Bytes.
    pub bytes: u64,
}

/// A point in time, such as `2026-01-01T00:00:00Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant {
    /// Microseconds since the epoch.
    pub us: i64,
}

impl Duration {
    /// Parses a sum of numbers with units; the error is a message and a hint.
    pub(crate) fn parse(text: &str) -> Result<Duration, (String, String)> {
        let hint =
            || "write a number with a unit (us, ms, s, m, h, d, w), such as 30s, 5m or 1h30m".to_owned();
        let wrong = || (format!("\"{text}\" is not a duration"), hint());
        let mut us: i64 = 0;
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(wrong());
        }
        while !rest.is_empty() {
            let (number, after) = leading(rest, |c| c.is_ascii_digit());
            let (unit, after) = leading(after, |c| c.is_ascii_alphabetic());
            let number: i64 = number.parse().map_err(|_| wrong())?;
            let (_, unit_us) = DURATION_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
            us = number
                .checked_mul(*unit_us)
                .and_then(|part| us.checked_add(part))
                .filter(|us| *us <= DURATION_MAX_US)
                .ok_or_else(|| {
                    (format!("\"{text}\" is too long"), "a duration is a hundred years at most".into())
                })?;
            rest = after;
        }
        Ok(Duration { us })
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.us == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.us;
        // Weeks are left out: "7d" reads as well as "1w" and better than "1w3d".
        for (name, unit_us) in DURATION_UNITS[..6].iter().rev() {
            if rest >= *unit_us {
                write!(f, "{}{name}", rest / unit_us)?;
                rest %= unit_us;
            }
        }
        Ok(())
    }
}

impl Size {
    /// Parses a number with a unit; the error is a message and a hint.
    pub(crate) fn parse(text: &str) -> Result<Size, (String, String)> {
        let hint = || "write a number with a unit (B, KB, MB, GB, KiB, MiB, GiB), such as 128MiB".to_owned();
        let (number, unit) = leading(text.trim(), |c| c.is_ascii_digit());
        let number = number.parse::<u64>().ok();
        let unit = SIZE_UNITS.iter().find(|(name, _)| *name == unit.trim()).map(|(_, bytes)| *bytes);
        let bytes = number.zip(unit).and_then(|(number, unit)| number.checked_mul(unit));
        bytes.map(|bytes| Size { bytes }).ok_or_else(|| (format!("\"{text}\" is not a size"), hint()))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = ["GiB", "MiB", "KiB", "GB", "MB", "KB"];
        let sizes = units.iter().filter_map(|unit| SIZE_UNITS.iter().find(|(name, _)| name == unit));
        for (name, bytes) in sizes {
            if self.bytes >= *bytes && self.bytes.is_multiple_of(*bytes) {
                return write!(f, "{}{name}", self.bytes / bytes);
            }
        }
        write!(f, "{}B", self.bytes)
    }
}

impl Instant {
    /// Parses RFC 3339; finer than microseconds is cut off. The error is a message and a hint.
    pub(crate) fn parse(text: &str) -> Result<Instant, (String, String)> {
        let parsed = chrono::DateTime::parse_from_rfc3339(text.trim());
        parsed.map(|at| Instant { us: at.timestamp_micros() }).map_err(|error| {
            let hint = "write it as in RFC 3339, with an offset: 2026-01-01T00:00:00Z".to_owned();
            (format!("\"{text}\" is not a point in time ({error})"), hint)
        })
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match chrono::DateTime::from_timestamp_micros(self.us) {
            Some(at) => f.write_str(&at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)),
            None => write!(f, "{} µs", self.us),
        }
    }
}

/// What a pipeline, source, step or sink may be called: it names folders and tables.
pub(super) fn check_name(text: &str) -> Result<(), (String, String)> {
    const LENGTH_MAX: usize = 64;
    let starts = text.chars().next().is_some_and(|c| c.is_ascii_lowercase());
    let goes_on = text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if starts && goes_on && text.len() <= LENGTH_MAX {
        return Ok(());
    }
    let mut mended: String = text
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '_' })
        .collect();
    mended = mended
        .trim_start_matches(|c: char| c == '_' || c.is_ascii_digit())
        .chars()
        .take(LENGTH_MAX)
        .collect();
    let rule = "a name is a lower-case letter, then letters, digits and _, 64 at most";
    let hint = if mended.is_empty() { rule.to_owned() } else { format!("{rule}; write \"{mended}\"") };
    Err((format!("\"{text}\" is not a name"), hint))
}

/// What a column may be called.
pub(super) fn check_column_name(text: &str) -> Result<(), (String, String)> {
    let starts = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    let goes_on = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !starts || !goes_on {
        let hint = "a column's name is a letter or _, then letters, digits and _; an expression needs a name: { name: expression }";
        return Err((format!("\"{text}\" is not a column's name"), hint.into()));
    }
    if text.starts_with("__") {
        return Err((
            format!("\"{text}\" starts with two underscores"),
            "such names are the engine's own".into(),
        ));
    }
    Ok(())
}

fn leading(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A length of time: a number with a unit (us, ms, s, m, h, d, w), or a sum of them, such as 30s or 1h30m.",
            "pattern": r"^([0-9]+(us|ms|s|m|h|d|w))+$|\$\{",
            "examples": ["30s", "5m", "1h30m", "1d"],
        })
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A number of bytes with a unit: B, KB, MB, GB (powers of 1000), KiB, MiB, GiB (powers of 1024).",
            "pattern": r"^[0-9]+ ?(B|kB|KB|MB|GB|KiB|MiB|GiB)$|\$\{",
            "examples": ["128MiB", "1GB"],
        })
    }
}

impl JsonSchema for Instant {
    fn schema_name() -> Cow<'static, str> {
        "Instant".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A point in time as in RFC 3339, with an offset.",
            "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})$|\$\{",
            "examples": ["2026-01-01T00:00:00Z"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, us, shown) in [
            ("500ms", 500_000, "500ms"),
            ("0s", 0, "0s"),
            ("1h30m", 5_400_000_000, "1h30m"),
            ("90m", 5_400_000_000, "1h30m"),
            ("1w", 604_800_000_000, "7d"),
            ("1us", 1, "1us"),
        ] {
            let parsed = Duration::parse(text).unwrap();
            assert_eq!((parsed.us, parsed.to_string().as_str()), (us, shown), "{text}");
        }
        for text in ["", "5", "m", "5 m", "-5m", "1.5h", "5min", "101w1x"] {
            assert!(Duration::parse(text).is_err(), "{text}");
        }
        assert!(Duration::parse("99999999999999999w").is_err());
        assert!(Duration::parse("5300w").unwrap_err().0.contains("too long"));
    }

    #[test]
    fn sizes() {
        for (text, bytes, shown) in [
            ("128MiB", 128 << 20, "128MiB"),
            ("10MB", 10_000_000, "10MB"),
            ("1 GiB", 1 << 30, "1GiB"),
            ("5B", 5, "5B"),
        ] {
            let parsed = Size::parse(text).unwrap();
            assert_eq!((parsed.bytes, parsed.to_string().as_str()), (bytes, shown), "{text}");
        }
        for text in ["", "5", "MiB", "-1MB", "1TiB", "99999999999999GB"] {
            assert!(Size::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn instants_and_names() {
        assert_eq!(Instant::parse("1970-01-01T00:00:01.0000019Z").unwrap().us, 1_000_001);
        assert_eq!(Instant::parse("1970-01-01T01:00:00+01:00").unwrap().us, 0);
        assert!(Instant::parse("2026-01-01").is_err());
        assert!(check_name("provider_health2").is_ok());
        assert!(check_name("Provider-Health").unwrap_err().1.ends_with("write \"provider_health\""));
        assert!(check_name("_late").is_err());
        assert!(check_column_name("p95_ms").is_ok());
        assert!(check_column_name("count(*)").is_err());
        assert!(check_column_name("__time").is_err());
    }
}
