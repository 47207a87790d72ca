//! Sources: where rows come from, what they are, and when they happened.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::reader::{Entry, Reader};
use super::units::{Duration, Instant};
use super::yaml::{Kind, Node};
use super::{Span, Spanned, suggest};

/// Where rows come from: kafka or archive.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(rename = "Source", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["kafka"] }, { "required": ["archive"] }]))]
pub struct SourceSpec {
    /// The source's name.
    #[schemars(skip)]
    pub name: Spanned<String>,
    /// Topics of a Kafka cluster.
    pub kafka: Option<KafkaSpec>,
    /// A topic recorded as Parquet files.
    pub archive: Option<ArchiveSpec>,
    /// What a payload holds: a name under schemas, a built-in name, or a path ending in .yaml, relative to this file.
    pub schema: Option<Spanned<String>>,
    /// How a payload is written; by default json.
    pub format: Option<Spanned<FormatSpec>>,
    /// When a row happened.
    pub event_time: Option<EventTimeSpec>,
    /// Something in it was wrong, and has been said.
    #[schemars(skip)]
    pub incomplete: bool,
}

/// Topics of a Kafka cluster.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(rename = "Kafka", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["topic"] }, { "required": ["topics"] }]))]
pub struct KafkaSpec {
    /// Where `kafka:` stands.
    #[schemars(skip)]
    pub at: Span,
    /// The topic.
    pub topic: Option<Spanned<String>>,
    /// Several topics of the same schema.
    #[schemars(length(min = 1))]
    pub topics: Option<Vec<Spanned<String>>>,
    /// Brokers to connect to first: host:port, with commas between.
    pub brokers: Spanned<String>,
    /// Where to begin; by default earliest.
    pub start: Option<Spanned<PositionSpec>>,
    /// Where to end. A source with an end is bounded; without it the job runs until it is stopped.
    pub end: Option<Spanned<PositionSpec>>,
    /// Properties of librdkafka, passed on as they are (security.protocol: sasl_ssl).
    #[schemars(with = "std::collections::BTreeMap<String, super::Expression>", default)]
    pub properties: Vec<(Spanned<String>, Spanned<String>)>,
}

impl KafkaSpec {
    /// The topics, in the order of the file.
    pub fn all_topics(&self) -> impl Iterator<Item = &Spanned<String>> {
        self.topic.iter().chain(self.topics.iter().flatten())
    }
}

/// A topic recorded as Parquet files: a folder of them.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(rename = "Archive", deny_unknown_fields)]
pub struct ArchiveSpec {
    /// The folder. A relative path starts where the job is started.
    pub path: Spanned<String>,
}

/// When a row happened. Windows go by it.
#[derive(Debug, Clone, Default, JsonSchema)]
#[schemars(rename = "EventTime", deny_unknown_fields)]
pub struct EventTimeSpec {
    /// The timestamp field of the schema that says it; by default the record's own timestamp.
    pub field: Option<Spanned<String>>,
    /// How far behind the newest row of its split a row may lie without being late; by default 0s.
    pub lateness: Option<Spanned<Duration>>,
    /// How far past its record's timestamp a row's event time may lie before the row is rejected; by default 1h.
    pub max_ahead: Option<Spanned<Duration>>,
    /// After how long without records a split stops holding back the others, from the next checkpoint on; by default never.
    pub idle_after: Option<Spanned<Duration>>,
}

/// How a payload is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(rename = "Format", rename_all = "lowercase")]
pub enum FormatSpec {
    /// A JSON object.
    Json,
    /// Bytes, as one column called value.
    Raw,
}

/// A position in a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PositionSpec {
    /// The oldest record that is kept.
    Earliest,
    /// The end of the topic when the job starts.
    Latest,
    /// The first record at or after a point in time.
    Timestamp(Instant),
    /// An offset for each partition.
    Offsets(Vec<TopicOffsets>),
}

/// A topic and its partitions' offsets, as (partition, offset).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicOffsets {
    /// The topic.
    pub topic: Spanned<String>,
    /// Partition and offset.
    pub partitions: Vec<(i32, i64)>,
}

impl JsonSchema for PositionSpec {
    fn schema_name() -> Cow<'static, str> {
        "Position".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A position in a topic.",
            "anyOf": [
                { "type": "string", "enum": ["earliest", "latest"] },
                { "type": "string", "pattern": r"\$\{" },
                {
                    "description": "The first record at or after a point in time.",
                    "type": "object",
                    "required": ["timestamp"],
                    "properties": { "timestamp": generator.subschema_for::<Instant>() },
                    "additionalProperties": false,
                },
                {
                    "description": "Offsets by topic and partition.",
                    "type": "object",
                    "required": ["offsets"],
                    "properties": {
                        "offsets": {
                            "type": "object",
                            "additionalProperties": {
                                "type": "object",
                                "propertyNames": { "pattern": "^[0-9]+$" },
                                "additionalProperties": { "type": "integer", "minimum": 0 },
                            },
                        },
                    },
                    "additionalProperties": false,
                },
            ],
        })
    }
}

const SOURCE_FIELDS: [&str; 5] = ["kafka", "archive", "schema", "format", "event_time"];
const KAFKA_FIELDS: [&str; 6] = ["topic", "topics", "brokers", "start", "end", "properties"];
const EVENT_TIME_FIELDS: [&str; 4] = ["field", "lateness", "max_ahead", "idle_after"];

pub(super) fn read(reader: &mut Reader, name: Spanned<String>, node: &Node, path: &str) -> SourceSpec {
    let before = reader.failures();
    let mut source = SourceSpec {
        name,
        kafka: None,
        archive: None,
        schema: None,
        format: None,
        event_time: None,
        incomplete: true,
    };
    let Some(fields) = reader.fields(node, path, &SOURCE_FIELDS) else { return source };
    match (fields.get("kafka"), fields.get("archive")) {
        (Some(_), Some(archive)) => {
            let hint = "keep one of kafka and archive; two sources make a union: from: [a, b]".to_owned();
            reader.problem(archive.key.at, path, "both kafka and archive", Some(hint));
        }
        (None, None) if !fields.seems_to_have("kafka") && !fields.seems_to_have("archive") => {
            let hint = "write kafka: { topic: …, brokers: … } or archive: { path: … }".to_owned();
            reader.problem(source.name.at, path, "neither kafka nor archive", Some(hint));
        }
        _ => {}
    }
    source.kafka = fields.get("kafka").and_then(|entry| read_kafka(reader, entry));
    source.archive = fields.get("archive").and_then(|entry| {
        let fields = reader.fields(entry.value, &entry.path, &["path"])?;
        let path = reader.required(&fields, "path", "name the folder: archive: { path: archive/topic }")?;
        Some(ArchiveSpec { path: reader.text(path.value, &path.path, "a folder")? })
    });
    source.schema =
        fields.get("schema").and_then(|entry| reader.text(entry.value, &entry.path, "a schema's name"));
    source.format = fields
        .get("format")
        .and_then(|entry| reader.choice(entry, &[("json", FormatSpec::Json), ("raw", FormatSpec::Raw)]));
    source.event_time = fields.get("event_time").and_then(|entry| read_event_time(reader, entry));
    source.incomplete = reader.failures() != before;
    source
}

fn read_event_time(reader: &mut Reader, entry: &Entry<'_>) -> Option<EventTimeSpec> {
    let fields = reader.fields(entry.value, &entry.path, &EVENT_TIME_FIELDS)?;
    let mut duration =
        |key: &str| fields.get(key).and_then(|entry| reader.parsed(entry, "a duration", Duration::parse));
    let (lateness, max_ahead, idle_after) =
        (duration("lateness"), duration("max_ahead"), duration("idle_after"));
    let field = fields.get("field").and_then(|entry| reader.text(entry.value, &entry.path, "a field's name"));
    Some(EventTimeSpec { field, lateness, max_ahead, idle_after })
}

fn read_kafka(reader: &mut Reader, entry: &Entry<'_>) -> Option<KafkaSpec> {
    let fields = reader.fields(entry.value, &entry.path, &KAFKA_FIELDS)?;
    let topic = fields.get("topic").and_then(|entry| reader.text(entry.value, &entry.path, "a topic"));
    let topics = fields.get("topics").and_then(|entry| {
        let items = reader.items(entry.value, &entry.path)?;
        if items.is_empty() {
            reader.problem(entry.value.at, &entry.path, "no topic", Some("name at least one".into()));
        }
        Some(items.into_iter().filter_map(|(path, item)| reader.text(item, &path, "a topic")).collect())
    });
    match (fields.get("topic"), fields.get("topics")) {
        (Some(_), Some(topics)) => {
            let hint = "put all of them under topics".to_owned();
            reader.problem(topics.key.at, &entry.path, "both topic and topics", Some(hint));
        }
        (None, None) if !fields.seems_to_have("topic") && !fields.seems_to_have("topics") => {
            let hint = "write topic: name, or topics: [a, b]".to_owned();
            reader.problem(entry.key.at, &entry.path, "no topic", Some(hint));
        }
        _ => {}
    }
    let brokers =
        reader.required(&fields, "brokers", "write where the cluster is: brokers: \"localhost:9092\"");
    let brokers = brokers.cloned().and_then(|entry| reader.text(entry.value, &entry.path, "brokers"));
    let start = fields.get("start").and_then(|entry| read_position(reader, entry));
    let end = fields.get("end").and_then(|entry| read_position(reader, entry));
    let properties = read_properties(reader, fields.get("properties"));
    // Brokers that could not be read are empty: the rest is looked at all the same.
    let brokers = brokers.unwrap_or_else(|| Spanned::new(String::new(), entry.key.at));
    Some(KafkaSpec { at: entry.key.at, topic, topics, brokers, start, end, properties })
}

/// Properties of librdkafka, as (name, value).
pub(super) fn read_properties(
    reader: &mut Reader,
    entry: Option<&Entry<'_>>,
) -> Vec<(Spanned<String>, Spanned<String>)> {
    let fields = entry.and_then(|entry| reader.mapping(entry.value, &entry.path));
    let mut properties = Vec::new();
    for entry in fields.iter().flat_map(|fields| &fields.entries) {
        if let Some(value) = reader.text(entry.value, &entry.path, "a property's value") {
            properties.push((Spanned::new(entry.key.value.to_owned(), entry.key.at), value));
        }
    }
    properties
}

fn read_position(reader: &mut Reader, entry: &Entry<'_>) -> Option<Spanned<PositionSpec>> {
    let forms = "earliest, latest, { timestamp: … } or { offsets: … }";
    let position = match &entry.value.kind {
        Kind::Scalar(text, _) if text == "earliest" => PositionSpec::Earliest,
        Kind::Scalar(text, _) if text == "latest" => PositionSpec::Latest,
        Kind::Scalar(text, _) => {
            let near = suggest::nearest(text, ["earliest", "latest"]);
            let hint =
                near.map_or_else(|| format!("write {forms}"), |near| format!("did you mean \"{near}\"?"));
            reader.problem(entry.value.at, &entry.path, format!("unknown position \"{text}\""), Some(hint));
            return None;
        }
        _ => {
            let fields = reader.fields(entry.value, &entry.path, &["timestamp", "offsets"])?;
            match (fields.get("timestamp"), fields.get("offsets")) {
                (Some(entry), None) => {
                    PositionSpec::Timestamp(reader.parsed(entry, "a point in time", Instant::parse)?.value)
                }
                (None, Some(entry)) => PositionSpec::Offsets(read_offsets(reader, entry)?),
                _ if fields.incomplete => return None,
                _ => {
                    let hint = Some(format!("write {forms}"));
                    reader.problem(entry.value.at, &entry.path, "not a position", hint);
                    return None;
                }
            }
        }
    };
    Some(Spanned::new(position, entry.value.at))
}

fn read_offsets(reader: &mut Reader, entry: &Entry<'_>) -> Option<Vec<TopicOffsets>> {
    let before = reader.failures();
    let mut offsets = Vec::new();
    for topic in &reader.mapping(entry.value, &entry.path)?.entries {
        let Some(fields) = reader.mapping(topic.value, &topic.path) else { continue };
        let mut partitions = Vec::new();
        for entry in &fields.entries {
            let partition = entry.key.parse::<i32>().ok().filter(|partition| *partition >= 0);
            if partition.is_none() {
                let hint = "write { 0: 12, 1: 0 }: an offset for each partition".to_owned();
                reader.problem(
                    entry.key.at,
                    &entry.path,
                    format!("\"{}\" is not a partition", *entry.key),
                    Some(hint),
                );
            }
            let offset = reader.parsed(entry, "an offset", |text| {
                let offset = text.parse::<i64>().ok().filter(|offset| *offset >= 0);
                offset.ok_or_else(|| {
                    (format!("\"{text}\" is not an offset"), "write a number from 0 on".into())
                })
            });
            partitions.extend(partition.zip(offset.map(|offset| offset.value)));
        }
        let topic = Spanned::new(topic.key.value.to_owned(), topic.key.at);
        offsets.push(TopicOffsets { topic, partitions });
    }
    (reader.failures() == before).then_some(offsets)
}
