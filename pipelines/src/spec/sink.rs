//! Sinks: where rows go.

use schemars::JsonSchema;

use super::reader::{Entry, Reader};
use super::units::Size;
use super::yaml::{Kind, Node};
use super::{Span, Spanned, source};

/// Where rows go: parquet, delta, kafka, jsonl or stdout.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(rename = "Sink", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["parquet"] }, { "required": ["delta"] }, { "required": ["kafka"] }, { "required": ["jsonl"] }, { "required": ["stdout"] }]))]
pub struct SinkSpec {
    /// The sink's name: its folder, and its table in SQL.
    #[schemars(skip)]
    pub name: Spanned<String>,
    /// The step or source whose rows go there.
    pub from: Spanned<String>,
    /// Parquet files.
    pub parquet: Option<ParquetSpec>,
    /// A Delta Lake table.
    pub delta: Option<DeltaSpec>,
    /// A topic of a Kafka cluster.
    pub kafka: Option<KafkaSinkSpec>,
    /// A file of JSON objects, one a line.
    pub jsonl: Option<JsonlSpec>,
    /// Standard output, as JSON objects, one a line.
    pub stdout: Option<StdoutSpec>,
    /// Something in it was wrong, and has been said.
    #[schemars(skip)]
    pub incomplete: bool,
}

impl SinkSpec {
    /// A sink that no file has: for whoever takes the rows of a stream.
    pub(crate) fn of_stream(from: &str) -> Self {
        let spanned = |text: &str| Spanned::new(text.to_owned(), Span::default());
        SinkSpec {
            name: spanned("rows"),
            from: spanned(from),
            parquet: None,
            delta: None,
            kafka: None,
            jsonl: None,
            stdout: Some(StdoutSpec {}),
            incomplete: false,
        }
    }
}

/// Parquet files.
#[derive(Debug, Clone, Default, JsonSchema)]
#[schemars(rename = "Parquet", deny_unknown_fields)]
pub struct ParquetSpec {
    /// Columns whose values make folders (provider=openai/…); window_date is the day of window_start, in UTC.
    #[schemars(default)]
    pub partition_by: Vec<Spanned<String>>,
    /// About how large a file grows before the next one is begun; by default 32MiB. A file is sorted as a whole, so `memory` may keep
    /// it smaller, and a checkpoint ends it.
    pub target_file_size: Option<Spanned<Size>>,
}

/// A Delta Lake table: the rows of a checkpoint become part of it in one commit.
#[derive(Debug, Clone, Default, JsonSchema)]
#[schemars(rename = "Delta", deny_unknown_fields)]
pub struct DeltaSpec {
    /// The table's partition columns; window_date is the day of window_start, in UTC.
    #[schemars(default)]
    pub partition_by: Vec<Spanned<String>>,
    /// About how large a file grows before the next one is begun; by default 32MiB. A file is sorted as a whole, so `memory` may keep
    /// it smaller, and a checkpoint ends it.
    pub target_file_size: Option<Spanned<Size>>,
}

/// A topic of a Kafka cluster: a record a row, its value a JSON object of the columns. Rows appear when a checkpoint is made, each
/// once to consumers in read_committed.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(rename = "KafkaSink", deny_unknown_fields)]
pub struct KafkaSinkSpec {
    /// The topic, which must be there.
    pub topic: Spanned<String>,
    /// Brokers to connect to first: host:port, with commas between.
    pub brokers: Spanned<String>,
    /// The columns that make a record's key and so choose its partition: one column's value as text, several as a JSON object. By
    /// default records have no key, and go by their value.
    #[schemars(default)]
    pub key: Vec<Spanned<String>>,
    /// Properties of librdkafka, passed on as they are (security.protocol: sasl_ssl).
    #[schemars(with = "std::collections::BTreeMap<String, super::Expression>", default)]
    pub properties: Vec<(Spanned<String>, Spanned<String>)>,
}

/// A file of JSON objects, one a line.
#[derive(Debug, Clone, Default, JsonSchema)]
#[schemars(rename = "Jsonl", deny_unknown_fields)]
pub struct JsonlSpec {}

/// Standard output, as JSON objects, one a line.
#[derive(Debug, Clone, Default, JsonSchema)]
#[schemars(rename = "Stdout", deny_unknown_fields)]
pub struct StdoutSpec {}

const KINDS: [&str; 5] = ["parquet", "delta", "kafka", "jsonl", "stdout"];

pub(super) fn read(reader: &mut Reader, name: Spanned<String>, node: &Node, path: &str) -> SinkSpec {
    let before = reader.failures();
    let nowhere = Spanned::new(String::new(), node.at);
    let mut sink = SinkSpec {
        name,
        from: nowhere,
        parquet: None,
        delta: None,
        kafka: None,
        jsonl: None,
        stdout: None,
        incomplete: true,
    };
    let Some(fields) = reader.fields(node, path, &["from", "parquet", "delta", "kafka", "jsonl", "stdout"])
    else {
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
            "write one of parquet: {}, delta: {}, kafka: {…}, jsonl: {}, stdout: {}; several sinks may have the same \"from\""
                .to_owned();
        reader.problem(sink.name.at, path, message, Some(hint));
    }
    sink.parquet = fields
        .get("parquet")
        .and_then(|entry| read_files(reader, entry))
        .map(|(partition_by, target_file_size)| ParquetSpec { partition_by, target_file_size });
    sink.delta = fields
        .get("delta")
        .and_then(|entry| read_files(reader, entry))
        .map(|(partition_by, target_file_size)| DeltaSpec { partition_by, target_file_size });
    sink.kafka = fields.get("kafka").and_then(|entry| read_kafka(reader, entry));
    sink.jsonl = fields.get("jsonl").and_then(|entry| read_empty(reader, entry)).map(|()| JsonlSpec {});
    sink.stdout = fields.get("stdout").and_then(|entry| read_empty(reader, entry)).map(|()| StdoutSpec {});
    sink.incomplete = reader.failures() != before;
    sink
}

/// What Parquet files and tables of them have in common: partition columns and the files' size.
type FilesSpec = (Vec<Spanned<String>>, Option<Spanned<Size>>);

fn read_files(reader: &mut Reader, entry: &Entry<'_>) -> Option<FilesSpec> {
    if matches!(entry.value.kind, Kind::Null) {
        return Some(FilesSpec::default());
    }
    let fields = reader.fields(entry.value, &entry.path, &["partition_by", "target_file_size"])?;
    let partition_by = read_columns(reader, fields.get("partition_by"));
    let target_file_size =
        fields.get("target_file_size").and_then(|entry| reader.parsed(entry, "a size", Size::parse));
    Some((partition_by, target_file_size))
}

fn read_kafka(reader: &mut Reader, entry: &Entry<'_>) -> Option<KafkaSinkSpec> {
    let fields = reader.fields(entry.value, &entry.path, &["topic", "brokers", "key", "properties"])?;
    let topic = reader.required(&fields, "topic", "name the topic that rows go to: topic: alerts");
    let topic = topic.and_then(|entry| reader.text(entry.value, &entry.path, "a topic"));
    let hint = "write where the cluster is: brokers: \"localhost:9092\"";
    let brokers = reader.required(&fields, "brokers", hint);
    let brokers = brokers.and_then(|entry| reader.text(entry.value, &entry.path, "brokers"));
    let key = read_columns(reader, fields.get("key"));
    let properties = source::read_properties(reader, fields.get("properties"));
    // What could not be read is empty: the rest is looked at all the same.
    let nothing = || Spanned::new(String::new(), entry.key.at);
    let (topic, brokers) = (topic.unwrap_or_else(nothing), brokers.unwrap_or_else(nothing));
    Some(KafkaSinkSpec { topic, brokers, key, properties })
}

/// A list of columns, each once.
fn read_columns(reader: &mut Reader, entry: Option<&Entry<'_>>) -> Vec<Spanned<String>> {
    let mut columns: Vec<Spanned<String>> = Vec::new();
    let items = entry.and_then(|entry| reader.items(entry.value, &entry.path)).unwrap_or_default();
    for (path, item) in items {
        let Some(column) = reader.text(item, &path, "a column's name") else { continue };
        if columns.iter().any(|other| other.value == column.value) {
            let message = format!("\"{}\" is given twice", *column);
            reader.problem(column.at, &path, message, Some("keep one".into()));
        } else {
            columns.push(column);
        }
    }
    columns
}

/// `{}`, or nothing at all.
fn read_empty(reader: &mut Reader, entry: &Entry<'_>) -> Option<()> {
    match entry.value.kind {
        Kind::Null => Some(()),
        _ => reader.fields(entry.value, &entry.path, &[]).map(|_| ()),
    }
}
