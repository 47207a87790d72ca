//! Sources: connectors, schemas, event time.

use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use thalweg_kafka::refused_property;
use thalweg_schemas::{Format, Schema};

use super::check::{CheckedSource, Checker, Columns};
use super::model::{Connector, EventTime, KafkaConnector, MetadataColumn, Position};
use crate::spec::{
    EventTimeSpec, FormatSpec, KafkaSpec, PositionSpec, SourceSpec, SourceText, Span, Spanned, suggest,
};

const MAX_AHEAD_US: i64 = 3_600_000_000;

impl Checker<'_> {
    /// Checks a source; `None` where something is wrong with it. Its columns are those of its schema, whatever else is wrong.
    pub(super) fn source(&mut self, source: &SourceSpec) -> (Option<CheckedSource>, Option<Columns>) {
        let before = self.problems.len();
        let path = format!("sources.{}", source.name.value);
        let kafka = source.kafka.as_ref().map(|kafka| self.kafka(kafka, &format!("{path}.kafka")));
        let archive = source
            .archive
            .as_ref()
            .map(|archive| Connector::Archive { path: archive.path.value.clone().into() });
        let schema = self.schema(source, &path);
        let format = match source.format.as_ref().map(|format| format.value) {
            Some(FormatSpec::Raw) => Format::Raw,
            Some(FormatSpec::Json) | None => Format::Json,
        };
        let event_time = self.event_time(source.event_time.as_ref(), schema.as_deref(), format, &path);
        let Some(schema) = schema else { return (None, None) };
        let own: Vec<Field> = match format {
            Format::Json => schema.fields.iter().map(|field| field.arrow()).collect(),
            // A tombstone has no value, and is rejected.
            Format::Raw => vec![Field::new("value", DataType::Binary, false)],
        };
        let columns = Columns { own, metadata: MetadataColumn::ALL.to_vec() };
        let is_right = !source.incomplete && self.problems.len() == before;
        let connector = kafka.or(archive).filter(|_| is_right);
        let checked = connector.map(|connector| CheckedSource { connector, schema, format, event_time });
        (checked, Some(columns))
    }

    fn kafka(&mut self, kafka: &KafkaSpec, path: &str) -> Connector {
        let mut topics: Vec<String> = Vec::new();
        for topic in kafka.all_topics() {
            if topics.contains(&topic.value) {
                let message = format!("the topic \"{}\" is given twice", topic.value);
                self.problem(topic.at, path, message, Some("keep one of the two".into()));
            }
            topics.push(topic.value.clone());
        }
        let start = kafka.start.as_ref().map(|start| self.position(start, &topics, &format!("{path}.start")));
        let end = kafka.end.as_ref().map(|end| self.position(end, &topics, &format!("{path}.end")));
        if let (Some(Position::Timestamp(start)), Some(Position::Timestamp(end)), Some(at)) =
            (&start, &end, &kafka.end)
            && end <= start
        {
            let hint = "nothing lies between; let it end later".to_owned();
            self.problem(at.at, &format!("{path}.end"), "the end is not after the start", Some(hint));
        }
        if let (Some(Position::Earliest), Some(at)) = (&end, &kafka.end) {
            let hint = "nothing lies before; write \"latest\" to read all that is there now".to_owned();
            self.problem(at.at, &format!("{path}.end"), "the end is the beginning", Some(hint));
        }
        for (name, _) in &kafka.properties {
            if let Some(why) = refused_property(name) {
                let path = format!("{path}.properties.{}", name.value);
                let message = format!("this property is not for a pipeline to set: {why}");
                self.problem(name.at, &path, message, Some("leave it out".to_owned()));
            }
        }
        let properties =
            kafka.properties.iter().map(|(name, value)| (name.value.clone(), value.value.clone())).collect();
        let brokers = kafka.brokers.value.clone();
        Connector::Kafka(KafkaConnector {
            topics,
            brokers,
            start: start.unwrap_or(Position::Earliest),
            end,
            properties,
        })
    }

    fn position(&mut self, position: &Spanned<PositionSpec>, topics: &[String], path: &str) -> Position {
        match &position.value {
            PositionSpec::Earliest => Position::Earliest,
            PositionSpec::Latest => Position::Latest,
            PositionSpec::Timestamp(at) => Position::Timestamp(at.us),
            PositionSpec::Offsets(offsets) => {
                let names: Vec<&str> = topics.iter().map(String::as_str).collect();
                for each in offsets {
                    // Topics that could not be read are not there.
                    if !topics.is_empty() && !topics.contains(&each.topic.value) {
                        let message = format!("\"{}\" is not one of the source's topics", each.topic.value);
                        self.problem(
                            each.topic.at,
                            path,
                            message,
                            suggest::hint(&each.topic, &names, "topics"),
                        );
                    }
                }
                Position::Offsets(
                    offsets.iter().map(|each| (each.topic.value.clone(), each.partitions.clone())).collect(),
                )
            }
        }
    }

    fn event_time(
        &mut self,
        spec: Option<&EventTimeSpec>,
        schema: Option<&Schema>,
        format: Format,
        path: &str,
    ) -> EventTime {
        let default = EventTimeSpec::default();
        let spec = spec.unwrap_or(&default);
        let field = match (&spec.field, schema) {
            (Some(field), _) if format == Format::Raw => {
                let hint = "leave it out: a raw record's event time is its timestamp".to_owned();
                self.problem(
                    field.at,
                    &format!("{path}.event_time.field"),
                    "a raw source has no fields",
                    Some(hint),
                );
                None
            }
            (Some(field), Some(schema)) => {
                self.event_time_field(field, schema, &format!("{path}.event_time.field"))
            }
            _ => None,
        };
        EventTime {
            field,
            lateness_us: spec.lateness.as_ref().map_or(0, |each| each.us),
            max_ahead_us: spec.max_ahead.as_ref().map_or(MAX_AHEAD_US, |each| each.us),
            idle_after_us: spec.idle_after.as_ref().map(|each| each.us),
        }
    }

    fn event_time_field(&mut self, field: &Spanned<String>, schema: &Schema, path: &str) -> Option<usize> {
        let is_timestamp =
            |index: &usize| matches!(schema.fields[*index].arrow().data_type(), DataType::Timestamp(..));
        let timestamps: Vec<&str> = (0..schema.fields.len())
            .filter(is_timestamp)
            .map(|index| schema.fields[index].name.as_str())
            .collect();
        match schema.index_of(field) {
            Some(index) if is_timestamp(&index) => Some(index),
            Some(index) => {
                let message =
                    format!("{} is a {}, not a timestamp", field.value, schema.fields[index].field_type);
                let hint = match timestamps.as_slice() {
                    [] => "give a field of the schema the type timestamp".to_owned(),
                    names => format!("timestamps: {}", suggest::list(names)),
                };
                self.problem(field.at, path, message, Some(hint));
                None
            }
            None => {
                let message = format!("the schema {} has no field \"{}\"", schema.name, field.value);
                self.problem(field.at, path, message, suggest::hint(field, &timestamps, "timestamps"));
                None
            }
        }
    }

    /// The schema of a source: inline, built in, or a file.
    fn schema(&mut self, source: &SourceSpec, path: &str) -> Option<Arc<Schema>> {
        let is_raw = source.format.as_ref().is_some_and(|format| format.value == FormatSpec::Raw);
        let path = format!("{path}.schema");
        let name = match &source.schema {
            Some(name) if is_raw => {
                let hint = "leave out schema, or write format: json".to_owned();
                self.problem(name.at, &path, "a raw source takes no schema", Some(hint));
                return None;
            }
            None if is_raw => {
                return Some(Arc::new(Schema { name: "raw".into(), description: None, fields: Vec::new() }));
            }
            // A schema that could not be read has been said.
            None if source.incomplete => return None,
            None => {
                let hint = "write schema: a name under schemas, a built-in one, or a path ending in .yaml; or format: raw";
                let path = path.trim_end_matches(".schema");
                self.problem(source.name.at, path, "the field \"schema\" is missing", Some(hint.into()));
                return None;
            }
            Some(name) => name,
        };
        if let Some(inline) = self.spec.schemas.iter().find(|schema| schema.name.value == name.value) {
            return inline.schema.clone();
        }
        if name.ends_with(".yaml") || name.ends_with(".yml") {
            return self.schema_file(name, &path);
        }
        if let Some(schema) = Schema::builtin(name) {
            return Some(schema);
        }
        if self.spec.schemas_unknown {
            return None;
        }
        let inline = &self.spec.schemas;
        let mut names: Vec<&str> = inline.iter().map(|schema| schema.name.value.as_str()).collect();
        names.extend(Schema::builtin_names().map(|name| -> &str { name }));
        let hint = suggest::hint(name, &names, "schemas");
        self.problem(name.at, &path, format!("unknown schema \"{}\"", name.value), hint);
        // What was probably meant: the rest is looked at all the same.
        let near = suggest::nearest(name, names.iter().copied())?;
        let inline = inline.iter().find(|schema| schema.name.value == near);
        inline.map_or_else(|| Schema::builtin(near), |schema| schema.schema.clone())
    }

    fn schema_file(&mut self, name: &Spanned<String>, path: &str) -> Option<Arc<Schema>> {
        let folder = self.spec.source.file.parent().unwrap_or(Path::new(""));
        let file = folder.join(&name.value);
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) => {
                let message = format!("can't read {}: {error}", file.display());
                let hint = "a path is relative to this file".to_owned();
                self.problem(name.at, path, message, Some(hint));
                return None;
            }
        };
        match Schema::from_yaml(&text, &file.display().to_string()) {
            Ok(schema) => Some(Arc::new(schema)),
            Err(errors) => {
                let source = SourceText::new(&file, &text);
                for error in errors {
                    let at = Span { line: error.line, column: error.column, length: 1 };
                    let about = error.field.map_or_else(String::new, |field| format!("field {field}"));
                    self.problems.push(source.problem(at, about, error.message, Some(error.hint)));
                }
                None
            }
        }
    }
}
