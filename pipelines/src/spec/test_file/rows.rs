//! Rows of a test file: records that go in, and rows that come out.

use saphyr_parser::ScalarStyle;
use thalweg_schemas::time::parse_rfc3339;

use super::{InputSpec, Kind, Node, Reader, Span, Spanned};
use crate::spec::reader::{Entry, Fields};

/// A record that goes in.
#[derive(Debug, Clone)]
pub struct RecordSpec {
    /// Where it stands.
    pub at: Span,
    /// The path of names, for problems.
    pub path: String,
    /// Its partition.
    pub partition: i32,
    /// Its topic; by default the source's first.
    pub topic: Option<Spanned<String>>,
    /// Its offset; by default the next one of its partition.
    pub offset: Option<Spanned<i64>>,
    /// Its timestamp.
    pub timestamp: Stamp,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its headers.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Its payload.
    pub payload: Payload,
}

/// A record's timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stamp {
    /// Nothing is said of it.
    ByDefault,
    /// The record has none.
    None,
    /// Microseconds since the epoch.
    At(i64),
}

/// A record's payload.
#[derive(Debug, Clone)]
pub enum Payload {
    /// Bytes; `None` is a tombstone.
    Bytes(Option<Vec<u8>>),
    /// JSON, repeated so many times.
    Json(JsonSpec, usize),
}

/// JSON, as YAML says it: what is written like JSON's numbers, booleans and null is that, all else a text. Numbers keep their digits.
#[derive(Debug, Clone)]
pub enum JsonSpec {
    /// A number, boolean or null.
    Word(String),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<JsonSpec>),
    /// An object, keys as often as they are written.
    Object(Vec<(Spanned<String>, JsonSpec)>),
}

impl JsonSpec {
    fn of(node: &Node) -> Self {
        match &node.kind {
            Kind::Null | Kind::Broken => JsonSpec::Word("null".to_owned()),
            Kind::Scalar(text, ScalarStyle::Plain) if is_json(text) => JsonSpec::Word(text.clone()),
            Kind::Scalar(text, _) => JsonSpec::Text(text.clone()),
            Kind::Sequence(items) => JsonSpec::List(items.iter().map(JsonSpec::of).collect()),
            Kind::Mapping(entries) => {
                let entries = readable(entries)
                    .map(|(key, value)| (Spanned::new(key_text(key), key.at), JsonSpec::of(value)));
                JsonSpec::Object(entries.collect())
            }
        }
    }

    /// The JSON's text. `instead` may give another value for a text, by the keys that lead to it.
    pub fn to_text(&self, instead: &dyn Fn(&[&str], &str) -> Option<String>) -> String {
        self.write(&mut Vec::new(), instead)
    }

    fn write<'a>(
        &'a self,
        keys: &mut Vec<&'a str>,
        instead: &dyn Fn(&[&str], &str) -> Option<String>,
    ) -> String {
        match self {
            JsonSpec::Word(word) => word.clone(),
            JsonSpec::Text(text) => instead(keys, text).unwrap_or_else(|| quoted(text)),
            JsonSpec::List(items) => {
                let items: Vec<String> =
                    items.iter().map(|item| item.write(&mut vec!["[]"], instead)).collect();
                format!("[{}]", items.join(","))
            }
            JsonSpec::Object(entries) => {
                let mut fields = Vec::with_capacity(entries.len());
                for (key, value) in entries {
                    keys.push(key);
                    fields.push(format!("{}:{}", quoted(key), value.write(keys, instead)));
                    keys.pop();
                }
                format!("{{{}}}", fields.join(","))
            }
        }
    }
}

/// A row that comes out.
#[derive(Debug, Clone)]
pub struct RowSpec {
    /// Where it stands.
    pub at: Span,
    /// The path of names, for problems.
    pub path: String,
    /// Its columns, as far as they are named.
    pub columns: Vec<(Spanned<String>, CellSpec)>,
    /// There may be further ones, which could not be read.
    pub is_incomplete: bool,
}

/// A value as written; what it means depends on its column's type.
#[derive(Debug, Clone)]
pub enum CellSpec {
    /// Nothing.
    Null(Span),
    /// A text, a number, a point in time …
    Scalar(Span, String),
    /// A list.
    List(Span, Vec<CellSpec>),
    /// A mapping, and what it is as JSON.
    Mapping(Span, Vec<(Spanned<String>, CellSpec)>, String),
}

impl CellSpec {
    /// Where it stands.
    pub fn at(&self) -> Span {
        match self {
            CellSpec::Null(at)
            | CellSpec::Scalar(at, _)
            | CellSpec::List(at, _)
            | CellSpec::Mapping(at, ..) => *at,
        }
    }
}

const RECORD_FIELDS: [&str; 10] =
    ["value", "text", "base64", "tombstone", "times", "key", "headers", "timestamp", "offset", "topic"];
const PAYLOADS: [&str; 4] = ["value", "text", "base64", "tombstone"];
/// A payload that `times` makes longer than this was not meant.
const PAYLOAD_BYTES_MAX: usize = 64 << 20;

/// Reads the records of a partition.
pub(super) fn read_records(
    reader: &mut Reader,
    node: &Node,
    path: &str,
    partition: i32,
    into: &mut InputSpec,
) {
    if !into.partitions.contains(&partition) {
        into.partitions.push(partition);
    }
    for (path, node) in reader.items(node, path).unwrap_or_default() {
        into.records.extend(read_record(reader, node, &path, partition));
    }
}

fn read_record(reader: &mut Reader, node: &Node, path: &str, partition: i32) -> Option<RecordSpec> {
    let mut record = RecordSpec {
        at: node.at,
        path: path.to_owned(),
        partition,
        topic: None,
        offset: None,
        timestamp: Stamp::ByDefault,
        key: None,
        headers: Vec::new(),
        payload: Payload::Bytes(None),
    };
    let fields = reader.mapping(node, path)?;
    let [entry] = fields.entries.as_slice() else {
        record.payload = Payload::Json(JsonSpec::of(node), 1);
        return Some(record);
    };
    if entry.key.value != "record" {
        record.payload = Payload::Json(JsonSpec::of(node), 1);
        return Some(record);
    }
    let fields = reader.fields(entry.value, &entry.path, &RECORD_FIELDS)?;
    record.payload = read_payload(reader, &fields)?;
    record.topic = fields.get("topic").and_then(|entry| reader.text(entry.value, &entry.path, "a topic"));
    record.offset = fields.get("offset").and_then(|entry| {
        reader.parsed(entry, "an offset", |text| {
            let offset = text.parse::<i64>().ok().filter(|offset| (0..1 << 62).contains(offset));
            offset.ok_or_else(|| (format!("\"{text}\" is not an offset"), "write a whole number".to_owned()))
        })
    });
    if fields.seems_to_have("timestamp") {
        let stamp = fields.get("timestamp").and_then(|entry| reader.parsed(entry, "a time", parse_stamp));
        // Of one that could not be read it is not said that it is missing.
        record.timestamp = stamp.map_or(Stamp::None, |stamp| stamp.value);
    }
    record.key = fields.get("key").and_then(|entry| read_bytes(reader, entry));
    let headers = fields.get("headers").and_then(|entry| reader.mapping(entry.value, &entry.path));
    for entry in headers.map_or_else(Vec::new, |headers| headers.entries) {
        record.headers.push((entry.key.value.to_owned(), read_bytes(reader, &entry)));
    }
    Some(record)
}

// `None`: there is none, which has been said.
fn read_payload(reader: &mut Reader, fields: &Fields<'_>) -> Option<Payload> {
    let given: Vec<&Entry<'_>> = PAYLOADS.iter().filter_map(|name| fields.get(name)).collect();
    let [entry] = given.as_slice() else {
        if !given.is_empty() || !PAYLOADS.iter().any(|name| fields.seems_to_have(name)) {
            let hint =
                "write one of value: (JSON), text: (as it is), base64: (bytes), tombstone: true".to_owned();
            let message = if given.is_empty() { "a record without a payload" } else { "several payloads" };
            reader.problem(fields.at, &fields.path, message, Some(hint));
        }
        return None;
    };
    let bytes = match entry.key.value {
        "value" => None,
        "tombstone" => return reader.choice(entry, &[("true", ())]).map(|_| Payload::Bytes(None)),
        "text" => Some(reader.text(entry.value, &entry.path, "a text")?.value.into_bytes()),
        _ => Some(reader.parsed(entry, "base64", parse_base64)?.value),
    };
    let times = fields.get("times").and_then(|times| {
        let most = PAYLOAD_BYTES_MAX / bytes.as_ref().map_or(64, |bytes| bytes.len().max(1));
        reader.parsed(times, "a number of times", |text| {
            let times = text.parse::<usize>().ok().filter(|times| *times <= most);
            times.ok_or_else(|| {
                (
                    format!("\"{text}\" is not a number of times"),
                    format!("write a whole number, {most} at most"),
                )
            })
        })
    });
    let times = times.map_or(1, |times| times.value);
    Some(match bytes {
        Some(bytes) => Payload::Bytes(Some(bytes.repeat(times))),
        None => Payload::Json(JsonSpec::of(entry.value), times),
    })
}

fn read_bytes(reader: &mut Reader, entry: &Entry<'_>) -> Option<Vec<u8>> {
    match entry.value.kind {
        Kind::Null => None,
        _ => reader.parsed(entry, "a text", bytes_of).map(|bytes| bytes.value),
    }
}

/// A text's bytes; those that are no text stand behind `base64:`.
pub(crate) fn bytes_of(text: &str) -> Result<Vec<u8>, (String, String)> {
    match text.strip_prefix("base64:") {
        Some(encoded) => parse_base64(encoded),
        None => Ok(text.as_bytes().to_vec()),
    }
}

fn parse_stamp(text: &str) -> Result<Stamp, (String, String)> {
    if text == "none" {
        return Ok(Stamp::None);
    }
    if let Some(stamp) = text.parse::<i64>().ok().and_then(|ms| ms.checked_mul(1000)) {
        return Ok(Stamp::At(stamp));
    }
    parse_rfc3339(text.as_bytes()).map(Stamp::At).map_err(|_| {
        let hint = "write it as in RFC 3339 (2026-01-01T00:00:00Z), as milliseconds since the epoch, or none";
        (format!("\"{text}\" is not a timestamp"), hint.to_owned())
    })
}

/// Base64 as in RFC 4648, section 4.
fn parse_base64(text: &str) -> Result<Vec<u8>, (String, String)> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let wrong = || (format!("\"{text}\" is not base64"), "write it as in RFC 4648, with + and /".to_owned());
    let mut bytes = Vec::new();
    for group in text.trim_end_matches('=').as_bytes().chunks(4) {
        if group.len() == 1 {
            return Err(wrong());
        }
        let mut bits: u32 = 0;
        for byte in group {
            let digit = DIGITS.iter().position(|digit| digit == byte).ok_or_else(wrong)?;
            bits = bits << 6 | digit as u32;
        }
        bits <<= 6 * (4 - group.len());
        bytes.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    Ok(bytes)
}

/// Reads expected rows.
pub(super) fn read_rows(reader: &mut Reader, node: &Node, path: &str) -> Vec<RowSpec> {
    let mut rows = Vec::new();
    for (path, node) in reader.items(node, path).unwrap_or_default() {
        let Some(fields) = reader.mapping(node, &path) else { continue };
        let columns =
            fields.entries.iter().map(|entry| (entry.key.clone().map(str::to_owned), cell(entry.value)));
        let columns = columns.collect();
        rows.push(RowSpec { at: node.at, path, columns, is_incomplete: fields.incomplete });
    }
    rows
}

fn cell(node: &Node) -> CellSpec {
    match &node.kind {
        Kind::Null | Kind::Broken => CellSpec::Null(node.at),
        Kind::Scalar(text, _) => CellSpec::Scalar(node.at, text.clone()),
        Kind::Sequence(items) => CellSpec::List(node.at, items.iter().map(cell).collect()),
        Kind::Mapping(entries) => {
            let entries =
                readable(entries).map(|(key, value)| (Spanned::new(key_text(key), key.at), cell(value)));
            CellSpec::Mapping(node.at, entries.collect(), JsonSpec::of(node).to_text(&|_, _| None))
        }
    }
}

/// The entries of which the keys could be read.
fn readable(entries: &[(Node, Node)]) -> impl Iterator<Item = &(Node, Node)> {
    entries.iter().filter(|(key, _)| !matches!(key.kind, Kind::Broken))
}

fn key_text(key: &Node) -> String {
    match &key.kind {
        Kind::Scalar(text, _) => text.clone(),
        _ => key.describe(),
    }
}

fn is_json(text: &str) -> bool {
    let is_number = || {
        text.starts_with(|first: char| first == '-' || first.is_ascii_digit())
            && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
    };
    matches!(text, "true" | "false") || is_number()
}

fn quoted(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}
