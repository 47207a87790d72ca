//! A case's `input.jsonl` becomes archives, one a source.
//!
//! ```text
//!   {"partition": 0, "value": {"at": "2026-03-02T12:00:00Z"}}     a JSON payload
//!   {"partition": 0, "raw": "{\"at\": "}                          a payload as it is; "times": n repeats it
//!   {"partition": 0, "base64": "/wD+"}                            bytes that are no text
//!   {"partition": 0, "tombstone": true}                           no payload
//!   {"partition": 1, "empty": true}                               a partition without records
//! ```
//!
//! Besides these: `source` (of several), `offset` (by default the next one), `key`, `headers` (pairs of name and value), and
//! `timestamp`, RFC 3339 or milliseconds, by default the payload's `at` if that is RFC 3339, else [`TIMESTAMP_MS`].

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use serde_json::{Map, Value};
use thalweg_operators::source::archive::{ArchiveOptions, ArchiveWriter};
use thalweg_schemas::time::parse_rfc3339;

/// 2026-03-02T12:00:00Z: the timestamp of records that say nothing of their time.
const TIMESTAMP_MS: i64 = 1_772_452_800_000;

/// A record of a case.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) source: Option<String>,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) timestamp_ms: i64,
    pub(super) key: Option<Vec<u8>>,
    pub(super) headers: Vec<(String, Option<Vec<u8>>)>,
    pub(super) payload: Option<Vec<u8>>,
}

/// The input of a case.
#[derive(Debug, Default)]
pub(super) struct Input {
    pub(super) records: Vec<Record>,
    /// Partitions that are there and hold nothing.
    pub(super) empty: Vec<(Option<String>, i32)>,
}

/// How partitions are numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Numbering {
    /// As the case says.
    AsGiven,
    /// In the opposite order, behind an empty partition 0, so that most of them go to other workers.
    Dealt,
}

impl Input {
    /// Reads the lines of an `input.jsonl`.
    pub(super) fn read(text: &str) -> Input {
        let mut input = Input::default();
        let mut next: BTreeMap<(Option<String>, i32), i64> = BTreeMap::new();
        for line in text.lines() {
            let mut fields: Map<String, Value> =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("input.jsonl: {error}: {line}"));
            let source = fields.remove("source").map(|source| text_of(&source).to_owned());
            let partition = fields.remove("partition").and_then(|number| number.as_i64());
            let partition = partition.unwrap_or_else(|| panic!("no partition: {line}")) as i32;
            if fields.remove("empty").is_some() {
                input.empty.push((source, partition));
                continue;
            }
            let next = next.entry((source.clone(), partition)).or_default();
            let offset = fields.remove("offset").map_or(*next, |offset| offset.as_i64().expect("an offset"));
            *next = offset + 1;
            let payload = payload(&mut fields).unwrap_or_else(|| panic!("no payload: {line}"));
            let timestamp_ms = match fields.remove("timestamp") {
                Some(Value::Number(ms)) => ms.as_i64().expect("milliseconds"),
                Some(text) => parse_rfc3339(text_of(&text).as_bytes()).expect("RFC 3339").div_euclid(1000),
                None => payload.as_deref().and_then(event_time_ms).unwrap_or(TIMESTAMP_MS),
            };
            let key = fields.remove("key").map(|key| text_of(&key).as_bytes().to_vec());
            let headers = fields.remove("headers").map_or_else(Vec::new, |headers| {
                headers.as_array().expect("a list of headers").iter().map(header).collect()
            });
            assert!(fields.is_empty(), "unknown fields {:?}: {line}", fields.keys());
            input.records.push(Record { source, partition, offset, timestamp_ms, key, headers, payload });
        }
        input
    }

    /// Writes the archives to `folder`, that of a source into a folder of its name; `only` is the name of a source that records
    /// don't name. Gives back what each partition is called now.
    pub(super) fn write(
        &self,
        folder: &Path,
        only: &str,
        numbering: Numbering,
    ) -> BTreeMap<(String, i32), i32> {
        let name = |source: &Option<String>| source.clone().unwrap_or_else(|| only.to_owned());
        let mut partitions: BTreeMap<String, BTreeSet<i32>> = BTreeMap::new();
        for (source, partition) in self
            .records
            .iter()
            .map(|r| (&r.source, r.partition))
            .chain(self.empty.iter().map(|(s, p)| (s, *p)))
        {
            partitions.entry(name(source)).or_default().insert(partition);
        }
        let mut numbers: BTreeMap<(String, i32), i32> = BTreeMap::new();
        for (source, partitions) in &partitions {
            let count = partitions.len() as i32;
            for (index, partition) in (0..).zip(partitions) {
                let number = if numbering == Numbering::AsGiven { *partition } else { count - index };
                numbers.insert((source.clone(), *partition), number);
            }
            let mut writer = ArchiveWriter::new(folder.join(source), ArchiveOptions::default())
                .expect("the archive's folder");
            for record in self.records.iter().filter(|record| name(&record.source) == *source) {
                let headers: Vec<_> =
                    record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
                let partition = numbers[&(source.clone(), record.partition)];
                let (key, payload) = (record.key.as_deref(), record.payload.as_deref());
                writer
                    .push(partition, record.offset, record.timestamp_ms, key, payload, &headers)
                    .expect("a record of the archive");
            }
            writer.finish().expect("the archive");
        }
        for (source, partition) in &self.empty {
            write_empty(&folder.join(name(source)), numbers[&(name(source), *partition)]);
        }
        if numbering == Numbering::Dealt {
            partitions.keys().for_each(|source| write_empty(&folder.join(source), 0));
        }
        numbers
    }
}

/// A file without rows, named after its partition.
fn write_empty(folder: &Path, partition: i32) {
    let schema = Arc::new(Schema::new(vec![
        Field::new("partition", DataType::Int32, false),
        Field::new("offset", DataType::Int64, false),
        Field::new("value", DataType::Binary, true),
    ]));
    fs::create_dir_all(folder).expect("the archive's folder");
    let file =
        File::create(folder.join(format!("part-{partition:05}-{:020}.parquet", 0))).expect("an empty file");
    ArrowWriter::try_new(file, schema, None).and_then(ArrowWriter::close).expect("an empty Parquet file");
}

/// `None`: the line says nothing of a payload; `Some(None)`: it is a tombstone.
fn payload(fields: &mut Map<String, Value>) -> Option<Option<Vec<u8>>> {
    if let Some(value) = fields.remove("value") {
        return Some(Some(value.to_string().into_bytes()));
    }
    if let Some(raw) = fields.remove("raw") {
        let times = fields.remove("times").map_or(1, |times| times.as_u64().expect("a number of times"));
        return Some(Some(text_of(&raw).repeat(times as usize).into_bytes()));
    }
    if let Some(encoded) = fields.remove("base64") {
        return Some(Some(decode_base64(text_of(&encoded))));
    }
    fields.remove("tombstone").map(|_| None)
}

fn event_time_ms(payload: &[u8]) -> Option<i64> {
    let payload: Value = serde_json::from_slice(payload).ok()?;
    let time_us = parse_rfc3339(payload.get("at")?.as_str()?.as_bytes()).ok()?;
    Some(time_us.div_euclid(1000))
}

fn header(pair: &Value) -> (String, Option<Vec<u8>>) {
    (text_of(&pair[0]).to_owned(), pair[1].as_str().map(|value| value.as_bytes().to_vec()))
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// Base64 as in RFC 4648, section 4.
pub(super) fn decode_base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |byte: u8| DIGITS.iter().position(|digit| *digit == byte).expect("a digit of base64") as u32;
    let mut bytes = Vec::new();
    for group in text.trim_end_matches('=').as_bytes().chunks(4) {
        let bits = group.iter().fold(0, |bits, byte| bits << 6 | digit(*byte)) << (6 * (4 - group.len()));
        bytes.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    bytes
}
