//! What manifests hold of a plan, in the words of its spec.
//!
//! Manifests hold it in a form of their own, which stays as it is for as long as there are checkpoints: it is compared. People read
//! this.

use crate::spec::Duration;

/// A property's value as a spec has it; what is none of the known forms stays as it is.
pub(super) fn in_words(property: &str, value: &str) -> String {
    let words = match property {
        "window" => window(value),
        "lateness" | "max_ahead" => value.strip_suffix(" us").and_then(duration),
        "format" => Some(value.to_lowercase()),
        "kind" => value.strip_suffix(" by ()").map(|kind| kind.trim_end_matches(" in folders").to_owned()),
        _ => None,
    };
    words.unwrap_or_else(|| value.to_owned())
}

/// `Session { gap_us: 300000000, max_us: None }` is `session: 5m`.
fn window(value: &str) -> Option<String> {
    let (kind, fields) = value.strip_suffix(" }")?.split_once(" { ")?;
    let mut words = Vec::new();
    for field in fields.split(", ") {
        let (name, value) = field.split_once(": ")?;
        let value = value.strip_prefix("Some(").and_then(|value| value.strip_suffix(')')).unwrap_or(value);
        let (name, value) = match (name, value) {
            (_, "None") | ("offset_us", "0") => continue,
            ("size_us" | "gap_us", us) => (kind.to_lowercase(), duration(us)?),
            ("time_zone", zone) => (name.to_owned(), zone.to_owned()),
            (name, us) => (name.strip_suffix("_us")?.to_owned(), duration(us)?),
        };
        words.push(format!("{name}: {value}"));
    }
    Some(words.join(", "))
}

fn duration(us: &str) -> Option<String> {
    us.parse().ok().map(|us| Duration { us }.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::WindowKind;

    #[test]
    fn windows_are_said_as_they_are_written() {
        let minute = 60_000_000;
        let berlin = Some(chrono_tz::Europe::Berlin);
        for (kind, written) in [
            (WindowKind::Session { gap_us: 5 * minute, max_us: None }, "session: 5m"),
            (
                WindowKind::Session { gap_us: 5 * minute, max_us: Some(90 * minute) },
                "session: 5m, max: 1h30m",
            ),
            (WindowKind::Tumbling { size_us: minute, offset_us: 0, time_zone: None }, "tumbling: 1m"),
            (
                WindowKind::Tumbling { size_us: 1440 * minute, offset_us: minute, time_zone: berlin },
                "tumbling: 1d, offset: 1m, time_zone: Europe/Berlin",
            ),
            (
                WindowKind::Hopping { size_us: 10 * minute, every_us: minute, offset_us: minute / 2 },
                "hopping: 10m, every: 1m, offset: 30s",
            ),
        ] {
            assert_eq!(in_words("window", &format!("{kind:?}")), written);
        }
    }

    #[test]
    fn the_rest_is_said_as_it_is_written_too() {
        for (property, value, written) in [
            ("lateness", "30000000 us", "30s"),
            ("max_ahead", "0 us", "0s"),
            ("format", "Json", "json"),
            ("kind", "parquet in folders by ()", "parquet"),
            ("kind", "parquet in folders by (model)", "parquet in folders by (model)"),
            ("kind", "delta table by ()", "delta table"),
            ("where", "x = 'Json'", "x = 'Json'"),
            ("window", "of some later version", "of some later version"),
        ] {
            assert_eq!(in_words(property, value), written, "{property}");
        }
    }
}
