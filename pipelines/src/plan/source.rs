//! Sources: connectors, schemas, event time.

use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use thalweg_kafka::refused_property;
use thalweg_schemas::{Draft, FieldType, Format, Schema};

use super::check::{CheckedSource, Checker, Columns, is_unjudged, unjudged};
use super::model::{Connector, EventTime, KafkaConnector, MetadataColumn, Position};
use super::types::type_name;
use crate::spec::{
    EventTimeSpec, FormatSpec, KafkaSpec, PositionSpec, SourceSpec, Spanned, read_schema_file, suggest,
};

const MAX_AHEAD_US: i64 = 3_600_000_000;

impl Checker<'_> {
    /// Checks a source; `None` where something is wrong with it. Its columns are those of its schema, whatever else is wrong.
    pub(super) fn source(&mut self, source: &SourceSpec) -> (Option<CheckedSource>, Columns) {
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
        let own: Vec<Field> = match format {
            Format::Json => fields(&schema),
            // A tombstone has no value, and is rejected.
            Format::Raw => vec![Field::new("value", DataType::Binary, false)],
        };
        let is_open = format == Format::Json && schema.lacks_names;
        let columns = Columns { own, metadata: MetadataColumn::ALL.to_vec(), is_open };
        let event_time = self.event_time(source.event_time.as_ref(), &schema.name, &columns, format, &path);
        let is_right = !source.incomplete && self.problems.len() == before;
        let connector = kafka.or(archive).filter(|_| is_right);
        let parts = connector.zip(schema.schema.clone());
        let checked =
            parts.map(|(connector, schema)| CheckedSource { connector, schema, format, event_time });
        (checked, columns)
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
        schema: &str,
        columns: &Columns,
        format: Format,
        path: &str,
    ) -> EventTime {
        let default = EventTimeSpec::default();
        let spec = spec.unwrap_or(&default);
        let field = match &spec.field {
            Some(field) if format == Format::Raw => {
                let hint = "leave it out: a raw record's event time is its timestamp".to_owned();
                self.problem(
                    field.at,
                    &format!("{path}.event_time.field"),
                    "a raw source has no fields",
                    Some(hint),
                );
                None
            }
            Some(field) => self.event_time_field(field, schema, columns, &format!("{path}.event_time.field")),
            None => None,
        };
        EventTime {
            field,
            lateness_us: spec.lateness.as_ref().map_or(0, |each| each.us),
            max_ahead_us: spec.max_ahead.as_ref().map_or(MAX_AHEAD_US, |each| each.us),
            idle_after_us: spec.idle_after.as_ref().map(|each| each.us),
        }
    }

    fn event_time_field(
        &mut self,
        field: &Spanned<String>,
        schema: &str,
        columns: &Columns,
        path: &str,
    ) -> Option<usize> {
        let is_timestamp = |column: &&Field| matches!(column.data_type(), DataType::Timestamp(..));
        let timestamps: Vec<&str> =
            columns.own.iter().filter(is_timestamp).map(|column| column.name().as_str()).collect();
        match columns.own.iter().position(|column| *column.name() == field.value) {
            Some(index) if is_timestamp(&&columns.own[index]) => Some(index),
            Some(index) if is_unjudged(&columns.own[index]) => None,
            Some(index) => {
                let field_type = type_name(columns.own[index].data_type());
                let message = format!("{} is a {field_type}, not a timestamp", field.value);
                let hint = match timestamps.as_slice() {
                    [] => "give a field of the schema the type timestamp".to_owned(),
                    names => format!("timestamps: {}", suggest::list(names)),
                };
                self.problem(field.at, path, message, Some(hint));
                None
            }
            None if columns.is_open => None,
            None => {
                let message = format!("the schema {schema} has no field \"{}\"", field.value);
                self.problem(field.at, path, message, suggest::hint(field, &timestamps, "timestamps"));
                None
            }
        }
    }

    /// The schema of a source: inline, built in, or a file; as far as it is known.
    fn schema(&mut self, source: &SourceSpec, path: &str) -> Arc<Draft> {
        let is_raw = source.format.as_ref().is_some_and(|format| format.value == FormatSpec::Raw);
        let path = format!("{path}.schema");
        let unknown = |name: &str| Arc::new(Draft::unknown(name));
        let name = match &source.schema {
            Some(name) if is_raw => {
                let hint = "leave out schema, or write format: json".to_owned();
                self.problem(name.at, &path, "a raw source takes no schema", Some(hint));
                return unknown(name);
            }
            None if is_raw => {
                let raw = Schema { name: "raw".into(), description: None, fields: Vec::new() };
                return Arc::new(Draft::from(Arc::new(raw)));
            }
            // A schema that could not be read has been said.
            None if source.incomplete => return unknown(""),
            None => {
                let hint = "write schema: a name under schemas, a built-in one, or a path ending in .yaml; or format: raw";
                let path = path.trim_end_matches(".schema");
                self.problem(source.name.at, path, "the field \"schema\" is missing", Some(hint.into()));
                return unknown("");
            }
            Some(name) => name,
        };
        if let Some(known) = self.schema_called(name) {
            return known;
        }
        if name.ends_with(".yaml") || name.ends_with(".yml") {
            return self.schema_file(name, &path).unwrap_or_else(|| unknown(name));
        }
        if self.spec.schemas_unknown {
            return unknown(name);
        }
        let inline = &self.spec.schemas;
        let mut names: Vec<&str> = inline.iter().map(|schema| schema.name.value.as_str()).collect();
        names.extend(Schema::builtin_names().map(|name| -> &str { name }));
        let hint = suggest::hint(name, &names, "schemas");
        self.problem(name.at, &path, format!("unknown schema \"{}\"", name.value), hint);
        // What was probably meant: the rest is looked at all the same.
        let near = suggest::nearest(name, names.iter().copied());
        near.and_then(|near| self.schema_called(near)).unwrap_or_else(|| unknown(name))
    }

    /// The schema of a name: inline, or built in.
    fn schema_called(&self, name: &str) -> Option<Arc<Draft>> {
        let inline = self.spec.schemas.iter().find(|schema| schema.name.value == name);
        let built_in = || Schema::builtin(name).map(|schema| Arc::new(Draft::from(schema)));
        inline.map(|schema| Arc::clone(&schema.draft)).or_else(built_in)
    }

    fn schema_file(&mut self, name: &Spanned<String>, path: &str) -> Option<Arc<Draft>> {
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
        let (draft, problems) = read_schema_file(&file, &text);
        self.problems.extend(problems);
        Some(draft)
    }
}

/// The columns of a schema; those that are wrong in it are of no type.
fn fields(schema: &Draft) -> Vec<Field> {
    if let Some(whole) = &schema.schema {
        return whole.fields.iter().map(|field| field.arrow()).collect();
    }
    let field = |(name, field_type): &(String, Option<FieldType>)| match field_type {
        Some(field_type) => Field::new(name, field_type.arrow(), true),
        None => unjudged(name),
    };
    schema.columns.iter().map(field).collect()
}
