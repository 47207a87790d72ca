//! Series in CSV files: a header with names, a row a line.
//!
//! | column | what |
//! |---|---|
//! | `time` | RFC 3339, the same without a zone (UTC), or seconds since the epoch; may be left out, then rows are evenly apart |
//! | `label` | 1 in rows that belong to an incident, else 0; needed for detection, ignored by forecasts |
//! | any other | a value; empty or NaN: missing |

use std::path::{Path, PathBuf};

use csv::{ReaderBuilder, StringRecord, Trim};
use thalweg_schemas::time::parse_rfc3339;

use super::EvaluateError;

const TIME: &str = "time";
const LABEL: &str = "label";
/// Numbers from here on are no seconds since the epoch (the year 5138) but something finer.
const SECONDS_MAX: f64 = 1e11;
/// Where rows without a time begin: 2024-01-01, a Monday, microseconds since the epoch.
const START_US: i64 = 1_704_067_200_000_000;

/// A series as its file holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesFile {
    /// Its name: that of the file without ".csv"; no two of an evaluation have the same.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// The names of its values.
    pub columns: Vec<String>,
    /// Whether its rows have a time of their own.
    pub has_times: bool,
    /// The time of each row, microseconds since the epoch.
    pub times_us: Vec<i64>,
    /// The values, row by row; NaN: missing.
    values: Vec<f64>,
    /// Whether a row belongs to an incident; empty without a column of labels.
    pub labels: Vec<bool>,
}

impl SeriesFile {
    /// How many rows it has: at least one.
    pub fn rows(&self) -> usize {
        self.times_us.len()
    }

    /// The values of a row.
    pub fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.columns.len()..][..self.columns.len()]
    }

    /// The values of a column, row by row.
    pub fn column(&self, column: usize) -> Vec<f64> {
        self.values.iter().skip(column).step_by(self.columns.len()).copied().collect()
    }

    /// How far apart its rows are, microseconds: the median, at least 1.
    pub fn interval_us(&self) -> i64 {
        let mut gaps: Vec<i64> = self.times_us.windows(2).map(|pair| pair[1] - pair[0]).collect();
        gaps.sort_unstable();
        gaps.get(gaps.len() / 2).map_or(1, |gap| (*gap).max(1))
    }
}

/// The files that are meant by files and folders (of which each `.csv` file, by name), with a name for each.
///
/// # Errors
/// A folder that can't be read or holds none.
pub fn find(given: &[PathBuf]) -> Result<Vec<(String, PathBuf)>, EvaluateError> {
    let mut paths = Vec::new();
    for path in given {
        if !path.is_dir() {
            paths.push(path.clone());
            continue;
        }
        let failed = |source| EvaluateError::Io { what: "read", path: path.clone(), source };
        let entries = std::fs::read_dir(path).map_err(failed)?;
        let entries: Vec<_> = entries.collect::<Result<_, _>>().map_err(failed)?;
        let mut inside: Vec<PathBuf> = entries.iter().map(std::fs::DirEntry::path).collect();
        inside.retain(|path| path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv")));
        if inside.is_empty() {
            let hint = "name a folder that does, or the files themselves";
            return Err(wrong(path, None, "the folder holds no .csv file", hint));
        }
        inside.sort();
        paths.extend(inside);
    }
    let mut named: Vec<(String, PathBuf)> = Vec::new();
    for path in paths {
        let stem = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let taken = |name: &str| named.iter().any(|(other, _)| other == name);
        let numbered = (2..).map(|number| format!("{stem}_{number}"));
        let name = std::iter::once(stem.clone()).chain(numbered).find(|name| !taken(name));
        named.push((name.unwrap_or(stem), path));
    }
    Ok(named)
}

/// Reads a file. Rows without a time are `every_us` apart.
///
/// # Errors
/// The first thing that is wrong with the file, with its line.
pub fn read(name: &str, path: &Path, every_us: i64, wants_labels: bool) -> Result<SeriesFile, EvaluateError> {
    let bytes = std::fs::read(path).map_err(|source| EvaluateError::Io {
        what: "read",
        path: path.to_owned(),
        source,
    })?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let mut reader =
        ReaderBuilder::new().has_headers(false).flexible(true).trim(Trim::All).from_reader(bytes);
    let mut record = StringRecord::new();
    if !next(&mut reader, &mut record, bytes, path)? {
        return Err(wrong(path, None, "the file is empty", "begin it with a line of names: value,label"));
    }
    let header = Header::read(&record, path, wants_labels)?;
    let mut series = SeriesFile {
        name: name.to_owned(),
        path: path.to_owned(),
        columns: header.values.iter().map(|(_, name)| name.clone()).collect(),
        has_times: header.time.is_some(),
        times_us: Vec::new(),
        values: Vec::new(),
        labels: Vec::new(),
    };
    while next(&mut reader, &mut record, bytes, path)? {
        let line = record.position().map(|position| line_of(bytes, position));
        if record.len() != header.fields {
            let message = format!("{} fields, where the first line has {}", record.len(), header.fields);
            return Err(wrong(
                path,
                line,
                &message,
                "give each row one field for each name, empty if missing",
            ));
        }
        let field = |at: usize| record.get(at).unwrap_or_default();
        let time_us = match header.time {
            Some(at) => time(field(at)).map_err(|(message, hint)| wrong(path, line, &message, hint))?,
            None => START_US.saturating_add((series.rows() as i64).saturating_mul(every_us)),
        };
        if series.times_us.last().is_some_and(|before| *before > time_us) {
            let message =
                format!("the time {} is before that of the row above", field(header.time.unwrap_or(0)));
            return Err(wrong(path, line, &message, "sort the rows by time"));
        }
        series.times_us.push(time_us);
        for (at, column) in &header.values {
            let value = value(field(*at)).ok_or_else(|| {
                let message = format!("\"{}\" in column {column} is no number", field(*at));
                wrong(
                    path,
                    line,
                    &message,
                    "write one such as 12.5, or leave the field empty where it is missing",
                )
            })?;
            series.values.push(value);
        }
        if let Some(at) = header.label {
            let label = label(field(at)).ok_or_else(|| {
                let message = format!("the label \"{}\" is neither 0 nor 1", field(at));
                wrong(path, line, &message, "write 1 in rows of an incident, and 0 in all others")
            })?;
            series.labels.push(label);
        }
    }
    if series.rows() == 0 {
        return Err(wrong(path, None, "the file has names and no row", "give it a row a line"));
    }
    Ok(series)
}

/// Which column is what.
struct Header {
    fields: usize,
    time: Option<usize>,
    label: Option<usize>,
    values: Vec<(usize, String)>,
}

impl Header {
    fn read(record: &StringRecord, path: &Path, wants_labels: bool) -> Result<Header, EvaluateError> {
        let at_line_1 = |message: &str, hint: &str| Err(wrong(path, Some(1), message, hint));
        let mut header = Header { fields: record.len(), time: None, label: None, values: Vec::new() };
        if let [only] = record.iter().collect::<Vec<_>>()[..]
            && let Some(separator) = [';', '\t'].into_iter().find(|separator| only.contains(*separator))
        {
            let message = format!("its columns are separated by {separator:?}");
            return at_line_1(&message, "separate them by commas");
        }
        if record.iter().all(|name| value(name).is_some()) {
            return at_line_1("it has no names but numbers", "begin the file with names: value,label");
        }
        let mut names: Vec<String> = Vec::new();
        for (at, name) in record.iter().enumerate() {
            let plain = name.to_lowercase();
            if names.contains(&plain) {
                return at_line_1(&format!("two columns are called {name}"), "give each a name of its own");
            }
            match plain.as_str() {
                TIME => header.time = Some(at),
                LABEL => header.label = Some(at),
                "" => {
                    let hint = "name each column, such as time,value,label";
                    return at_line_1(&format!("column {} has no name", at + 1), hint);
                }
                _ => header.values.push((at, name.to_owned())),
            }
            names.push(plain);
        }
        if header.values.is_empty() {
            return at_line_1("there is no column of values", "name one: value,label or time,value,label");
        }
        if wants_labels && header.label.is_none() {
            let message = format!("there is no column {LABEL} (but {})", names.join(", "));
            let hint = "add one with 1 in rows of an incident and 0 elsewhere, or judge forecasts: --forecast --horizon 1h";
            return at_line_1(&message, hint);
        }
        Ok(header)
    }
}

fn next(
    reader: &mut csv::Reader<&[u8]>,
    record: &mut StringRecord,
    bytes: &[u8],
    path: &Path,
) -> Result<bool, EvaluateError> {
    reader.read_record(record).map_err(|error| {
        let line = error.position().map(|position| line_of(bytes, position));
        match error.kind() {
            csv::ErrorKind::Utf8 { .. } => wrong(path, line, "it is not UTF-8", "save the file as UTF-8"),
            _ => wrong(path, line, &error.to_string(), "write it as CSV"),
        }
    })
}

/// The line of a record. The reader says where it began to look for it: before the empty lines that it skips.
fn line_of(bytes: &[u8], position: &csv::Position) -> u64 {
    let rest = usize::try_from(position.byte()).ok().and_then(|byte| bytes.get(byte..)).unwrap_or_default();
    let ends = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    position.line() + ends.filter(|byte| **byte == b'\n').count() as u64
}

fn wrong(path: &Path, line: Option<u64>, message: &str, hint: &str) -> EvaluateError {
    let (message, hint) = (message.to_owned(), hint.to_owned());
    EvaluateError::File { path: path.to_owned(), line, message, hint }
}

/// A value; NaN for a missing one.
fn value(text: &str) -> Option<f64> {
    match text.to_lowercase().as_str() {
        "" | "null" | "na" | "none" => Some(f64::NAN),
        text => text.parse().ok(),
    }
}

fn label(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "0" | "0.0" | "false" => Some(false),
        "1" | "1.0" | "true" => Some(true),
        _ => None,
    }
}

/// Microseconds since the epoch; the error is a message and a hint.
fn time(text: &str) -> Result<i64, (String, &'static str)> {
    let with_zone = parse_rfc3339(text.as_bytes());
    if let Ok(time_us) = with_zone.or_else(|_| parse_rfc3339(format!("{text}Z").as_bytes())) {
        return Ok(time_us);
    }
    match text.parse::<f64>() {
        Ok(seconds) if seconds.abs() < SECONDS_MAX => Ok((seconds * super::SECOND_US).round() as i64),
        Ok(_) => {
            let hint =
                "write seconds since the epoch (milliseconds divided by 1000), or 2026-03-02T12:00:00Z";
            Err((format!("the time {text} is too large to be seconds since the epoch"), hint))
        }
        Err(_) => {
            let hint = "write it as 2026-03-02T12:00:00Z, or as seconds since the epoch";
            Err((format!("\"{text}\" is no time"), hint))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, wants_labels: bool) -> Result<SeriesFile, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.csv");
        std::fs::write(&path, text).expect("a file");
        let read = read("a", &path, 60_000_000, wants_labels);
        read.map_err(|error| error.to_string().replace(&path.display().to_string(), "a.csv"))
    }

    #[test]
    fn columns_are_found_by_name() {
        let series = of("\u{feff}Label, b,time,a\n1,2.5,1970-01-01 00:00:01,\n0,3,60,nan\n", true).unwrap();
        assert_eq!((series.columns.join(" "), series.has_times), ("b a".to_owned(), true));
        assert_eq!(series.times_us, [1_000_000, 60_000_000]);
        assert_eq!(
            (series.labels.as_slice(), series.column(0).as_slice()),
            (&[true, false][..], &[2.5, 3.0][..])
        );
        assert!(series.row(1)[1].is_nan() && series.row(0)[1].is_nan());
        assert_eq!(series.interval_us(), 59_000_000);
    }

    #[test]
    fn rows_without_a_time_are_evenly_apart() {
        let series = of("value\n1\n2\n3\n", false).unwrap();
        assert_eq!(series.times_us[2] - series.times_us[0], 120_000_000);
        assert!(!series.has_times && series.labels.is_empty());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_what_to_write() {
        for (text, expected) in [
            ("", "a.csv: the file is empty; begin it with a line of names: value,label"),
            ("value,label\n", "a.csv: the file has names and no row; give it a row a line"),
            ("1,0\n2,0\n", "a.csv:1: it has no names but numbers; begin the file with names: value,label"),
            ("value;label\n1;0\n", "a.csv:1: its columns are separated by ';'; separate them by commas"),
            ("value,Value,label\n", "a.csv:1: two columns are called Value; give each a name of its own"),
            (
                "time,label\n",
                "a.csv:1: there is no column of values; name one: value,label or time,value,label",
            ),
            (
                "value,label\n1,0\n\n2\n",
                "a.csv:4: 1 fields, where the first line has 2; give each row one field for each name, empty if missing",
            ),
            (
                "value,label\n1,0\nx,0\n",
                "a.csv:3: \"x\" in column value is no number; write one such as 12.5, or leave the field empty where it is missing",
            ),
            (
                "value,label\r\n1,0\r\n1,yes\r\n",
                "a.csv:3: the label \"yes\" is neither 0 nor 1; write 1 in rows of an incident, and 0 in all others",
            ),
            (
                "time,value,label\nnoon,1,0\n",
                "a.csv:2: \"noon\" is no time; write it as 2026-03-02T12:00:00Z, or as seconds since the epoch",
            ),
            (
                "time,value,label\n60,1,0\n0,1,0\n",
                "a.csv:3: the time 0 is before that of the row above; sort the rows by time",
            ),
        ] {
            assert_eq!(of(text, true).unwrap_err(), expected);
        }
        let unlabelled = of("value\n1\n", true).unwrap_err();
        assert!(
            unlabelled.starts_with("a.csv:1: there is no column label (but value); add one"),
            "{unlabelled}"
        );
        let fine = of("time,value,label\n1700000000000,1,0\n", true).unwrap_err();
        assert!(fine.contains("too large to be seconds"), "{fine}");
    }

    #[test]
    fn files_of_the_same_name_are_told_apart() {
        let paths = ["a/x.csv", "b/x.csv", "y"].map(PathBuf::from);
        let names: Vec<String> = find(&paths).unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["x", "x_2", "y"]);
        let empty = tempfile::tempdir().expect("a folder");
        let error = find(&[empty.path().to_owned()]).unwrap_err().to_string();
        assert!(error.contains("the folder holds no .csv file"), "{error}");
    }
}
