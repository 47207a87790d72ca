//! Incidents that are known: a list in YAML, as `thalweg generate --incidents-file` writes it.
//!
//! ```yaml
//! - { name: outage, from: 2026-03-02T12:25:00Z, to: 2026-03-02T12:37:00Z, provider: anthropic, model: claude-sonnet-4 }
//! - { name: all slow, from: 2026-03-02T13:00:00Z, to: 2026-03-02T13:10:00Z }
//! ```
//!
//! All but `name`, `from` and `to` are values of key columns: the incident is in the series that have them. Without any it is in all.

use std::io::Write;
use std::path::Path;

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};
use thalweg_schemas::time::{format_rfc3339, parse_rfc3339};

use super::EvaluateError;
use crate::spec::suggest;

const FIELDS: [&str; 3] = ["name", "from", "to"];

/// Something that went wrong, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownIncident {
    /// What it is called.
    pub name: String,
    /// Its first moment, microseconds since the epoch.
    pub from_us: i64,
    /// The moment after its last.
    pub to_us: i64,
    /// Columns and values of the series it is in.
    pub of: Vec<(String, String)>,
}

/// Reads a list of incidents; with them the number of those left out, since they are of other columns than `keys`.
///
/// # Errors
/// What is wrong first, with its line.
pub fn read(path: &Path, keys: &[String]) -> Result<(Vec<KnownIncident>, usize), EvaluateError> {
    let text = std::fs::read_to_string(path).map_err(|source| EvaluateError::Io {
        what: "read",
        path: path.to_owned(),
        source,
    })?;
    let wrong = |line: usize, message: String, hint: String| EvaluateError::File {
        path: path.to_owned(),
        line: Some(line as u64),
        message,
        hint,
    };
    let example = || {
        "write a list of { name: outage, from: 2026-03-02T12:25:00Z, to: 2026-03-02T12:37:00Z }".to_owned()
    };
    let documents = MarkedYaml::load_from_str(&text).map_err(|error| {
        wrong(error.marker().line(), format!("it is not YAML: {}", error.info()), example())
    })?;
    let Some(document) = documents.first() else {
        return Err(wrong(1, "the file is empty".to_owned(), example()));
    };
    let YamlData::Sequence(items) = &document.data else {
        return Err(wrong(document.span.start.line(), "it is no list".to_owned(), example()));
    };
    let mut incidents = Vec::new();
    let mut left_out = 0;
    for item in items {
        let YamlData::Mapping(fields) = &item.data else {
            return Err(wrong(item.span.start.line(), "an incident is a mapping".to_owned(), example()));
        };
        let mut known =
            KnownIncident { name: String::new(), from_us: i64::MIN, to_us: i64::MIN, of: Vec::new() };
        let mut is_of_others = false;
        let line = item.span.start.line();
        for (key, value) in fields {
            let line = key.span.start.line();
            let name = scalar(key).unwrap_or_default();
            let Some(text) = scalar(value) else {
                let hint = "write one text or number".to_owned();
                return Err(wrong(line, format!("the value of {name} is no text"), hint));
            };
            let time = || {
                let hint = "write it with a zone, as 2026-03-02T12:00:00Z".to_owned();
                parse_rfc3339(text.as_bytes())
                    .map_err(|_| wrong(line, format!("{name}: \"{text}\" is no time"), hint))
            };
            match name.as_str() {
                "name" => known.name = text,
                "from" => known.from_us = time()?,
                "to" => known.to_us = time()?,
                _ if keys.contains(&name) => known.of.push((name, text)),
                _ => {
                    let others = keys.iter().map(String::as_str).chain(FIELDS);
                    if let Some(near) = suggest::nearest(&name, others) {
                        let message = format!("there is no key column {name}");
                        return Err(wrong(line, message, format!("did you mean {near}?")));
                    }
                    is_of_others = true;
                }
            }
        }
        for (field, is_there) in [
            ("name", !known.name.is_empty()),
            ("from", known.from_us != i64::MIN),
            ("to", known.to_us != i64::MIN),
        ] {
            if !is_there {
                return Err(wrong(line, format!("the incident has no {field}"), example()));
            }
        }
        if known.to_us <= known.from_us {
            let hint = "let it end after its begin".to_owned();
            return Err(wrong(line, format!("{} ends before it begins", known.name), hint));
        }
        if is_of_others {
            left_out += 1;
        } else {
            incidents.push(known);
        }
    }
    Ok((incidents, left_out))
}

/// Writes a list of incidents as [`read`] takes it.
///
/// # Errors
/// Where it can't be written.
pub fn write(incidents: &[KnownIncident], mut out: impl Write) -> std::io::Result<()> {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    for incident in incidents {
        let (from, to) = (format_rfc3339(incident.from_us), format_rfc3339(incident.to_us));
        write!(out, "- {{ name: {}, from: {from}, to: {to}", quoted(&incident.name))?;
        for (column, value) in &incident.of {
            write!(out, ", {column}: {}", quoted(value))?;
        }
        writeln!(out, " }}")?;
    }
    out.flush()
}

/// A scalar as it reads.
fn scalar(node: &MarkedYaml<'_>) -> Option<String> {
    match &node.data {
        YamlData::Representation(text, _, _) => Some(text.to_string()),
        YamlData::Value(scalar) => Some(match scalar {
            Scalar::Null => "null".to_owned(),
            Scalar::Boolean(flag) => flag.to_string(),
            Scalar::Integer(number) => number.to_string(),
            Scalar::FloatingPoint(number) => number.to_string(),
            Scalar::String(text) => text.to_string(),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_text(text: &str) -> Result<(Vec<KnownIncident>, usize), String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("i.yaml");
        std::fs::write(&path, text).expect("a file");
        let keys = ["provider", "model"].map(str::to_owned);
        read(&path, &keys).map_err(|error| error.to_string().replace(&path.display().to_string(), "i.yaml"))
    }

    #[test]
    fn incidents_name_the_series_they_are_in() {
        let (all, left_out) = of_text(
            "\
- { name: outage, from: 1970-01-01T00:00:01Z, to: 1970-01-01T00:00:02Z, provider: a, model: 5 }
- name: slow
  from: 1970-01-01T00:00:00Z
  to: '1970-01-01T00:01:00Z'
- { name: leak, from: 1970-01-01T00:00:01Z, to: 1970-01-01T00:00:02Z, node: gpu-1 }
",
        )
        .unwrap();
        assert_eq!((all.len(), left_out), (2, 1));
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(all[0].of, [pair("provider", "a"), pair("model", "5")]);
        assert_eq!((all[1].name.as_str(), all[1].from_us, all[1].to_us), ("slow", 0, 60_000_000));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let of = vec![("provider".to_owned(), "it's: a".to_owned()), ("model".to_owned(), "5".to_owned())];
        let all = vec![
            KnownIncident { name: "out".to_owned(), from_us: 1_500_000, to_us: 2_000_000, of },
            KnownIncident { name: "null".to_owned(), from_us: 0, to_us: 1, of: Vec::new() },
        ];
        let mut text = Vec::new();
        write(&all, &mut text).expect("written");
        assert_eq!(of_text(&String::from_utf8(text).expect("text")), Ok((all, 0)));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, expected) in [
            ("", "i.yaml:1: the file is empty; write a list of"),
            ("name: x\n", "i.yaml:1: it is no list; write a list of"),
            ("- 5\n", "i.yaml:1: an incident is a mapping; "),
            (
                "- { name: x, from: noon, to: 1970-01-01T00:00:02Z }",
                "i.yaml:1: from: \"noon\" is no time; write it",
            ),
            (
                "- name: x\n  from: 1970-01-01T00:00:01Z\n  to: 1970-01-01T00:00:02Z\n  provder: a\n",
                "i.yaml:4: there is no key column provder; did you mean provider?",
            ),
            ("- { name: x, from: 1970-01-01T00:00:01Z }", "i.yaml:1: the incident has no to; "),
            (
                "\n- { name: x, from: 1970-01-01T00:00:03Z, to: 1970-01-01T00:00:02Z }",
                "i.yaml:2: x ends before it begins; ",
            ),
        ] {
            let error = of_text(text).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
        assert!(of_text("- [\n").unwrap_err().contains("it is not YAML"));
    }
}
