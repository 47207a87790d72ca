//! Sinks: where rows go.

use schemars::JsonSchema;

use super::Spanned;
use super::reader::{Entry, Reader};
use super::units::Size;
use super::yaml::{Kind, Node};

/// Where rows go: parquet, jsonl or stdout.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(rename = "Sink", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["parquet"] }, { "required": ["jsonl"] }, { "required": ["stdout"] }]))]
pub struct SinkSpec {
    /// The sink's name: its folder, and its table in SQL.
    #[schemars(skip)]
    pub name: Spanned<String>,
    /// The step or source whose rows go there.
    pub from: Spanned<String>,
    /// Parquet files.
    pub parquet: Option<ParquetSpec>,
    /// A file of JSON objects, one a line.
    pub jsonl: Option<JsonlSpec>,
    /// Standard output, as JSON objects, one a line.
    pub stdout: Option<StdoutSpec>,
    /// Something in it was wrong, and has been said.
    #[schemars(skip)]
    pub incomplete: bool,
}

/// Parquet files.
#[derive(Debug, Clone, Default, JsonSchema)]
#[schemars(rename = "Parquet", deny_unknown_fields)]
pub struct ParquetSpec {
    /// Columns whose values make folders (provider=openai/…); window_date is the day of window_start, in UTC.
    #[schemars(default)]
    pub partition_by: Vec<Spanned<String>>,
    /// About how large a file grows before the next one is begun; by default 128MiB.
    pub target_file_size: Option<Spanned<Size>>,
}

/// A file of JSON objects, one a line.
#[derive(Debug, Clone, Default, JsonSchema)]
#[schemars(rename = "Jsonl", deny_unknown_fields)]
pub struct JsonlSpec {}

/// Standard output, as JSON objects, one a line.
#[derive(Debug, Clone, Default, JsonSchema)]
#[schemars(rename = "Stdout", deny_unknown_fields)]
pub struct StdoutSpec {}

const KINDS: [&str; 3] = ["parquet", "jsonl", "stdout"];

pub(super) fn read(reader: &mut Reader, name: Spanned<String>, node: &Node, path: &str) -> SinkSpec {
    let before = reader.failures();
    let nowhere = Spanned::new(String::new(), node.at);
    let mut sink =
        SinkSpec { name, from: nowhere, parquet: None, jsonl: None, stdout: None, incomplete: true };
    let Some(fields) = reader.fields(node, path, &["from", "parquet", "jsonl", "stdout"]) else {
        return sink;
    };
    let from =
        reader.required(&fields, "from", "name the step whose rows go there: \"from: per_model\"").cloned();
    if let Some(from) = from.and_then(|entry| reader.text(entry.value, &entry.path, "a source or a step")) {
        sink.from = from;
    }
    let kinds: Vec<&str> = KINDS.into_iter().filter(|kind| fields.get(kind).is_some()).collect();
    let is_misspelt = kinds.is_empty() && KINDS.iter().any(|kind| fields.seems_to_have(kind));
    if kinds.len() != 1 && !is_misspelt {
        let message = match kinds.len() {
            0 => "no kind of sink".to_owned(),
            _ => format!("several kinds of sinks ({})", kinds.join(", ")),
        };
        let hint =
            "write one of parquet: {}, jsonl: {}, stdout: {}; several sinks may have the same \"from\""
                .to_owned();
        reader.problem(sink.name.at, path, message, Some(hint));
    }
    sink.parquet = fields.get("parquet").and_then(|entry| read_parquet(reader, entry));
    sink.jsonl = fields.get("jsonl").and_then(|entry| read_empty(reader, entry)).map(|()| JsonlSpec {});
    sink.stdout = fields.get("stdout").and_then(|entry| read_empty(reader, entry)).map(|()| StdoutSpec {});
    sink.incomplete = reader.failures() != before;
    sink
}

fn read_parquet(reader: &mut Reader, entry: &Entry<'_>) -> Option<ParquetSpec> {
    if matches!(entry.value.kind, Kind::Null) {
        return Some(ParquetSpec::default());
    }
    let fields = reader.fields(entry.value, &entry.path, &["partition_by", "target_file_size"])?;
    let mut partition_by: Vec<Spanned<String>> = Vec::new();
    if let Some(entry) = fields.get("partition_by") {
        for (path, item) in reader.items(entry.value, &entry.path).unwrap_or_default() {
            let Some(column) = reader.text(item, &path, "a column's name") else { continue };
            if partition_by.iter().any(|other| other.value == column.value) {
                reader.problem(
                    column.at,
                    &path,
                    format!("\"{}\" is given twice", *column),
                    Some("keep one".into()),
                );
            } else {
                partition_by.push(column);
            }
        }
    }
    let target_file_size =
        fields.get("target_file_size").and_then(|entry| reader.parsed(entry, "a size", Size::parse));
    Some(ParquetSpec { partition_by, target_file_size })
}

/// `{}`, or nothing at all.
fn read_empty(reader: &mut Reader, entry: &Entry<'_>) -> Option<()> {
    match entry.value.kind {
        Kind::Null => Some(()),
        _ => reader.fields(entry.value, &entry.path, &[]).map(|_| ()),
    }
}
