//! Sinks: what they write, and into which folders or topics.

use arrow::datatypes::{DataType, Field};
use thalweg_kafka::refused_sink_property;

use super::check::{CheckedSink, Checker, Columns, is_unjudged};
use super::graph::Names;
use super::model::{PartitionColumn, SinkKind};
use super::step::find;
use super::types::type_name;
use super::windowed::WINDOW_START;
use crate::spec::{KafkaSinkSpec, SinkSpec, Size, Spanned};

/// About how large a Parquet file, also a Delta table's, grows unless the spec says otherwise.
pub(crate) const TARGET_FILE_BYTES: u64 = 32 << 20;
/// Smaller files than this cost readers more to open than to read.
const TARGET_FILE_BYTES_MIN: u64 = 64 << 10;
const WINDOW_DATE: &str = "window_date";

impl Checker<'_> {
    /// Checks a sink; `None` where something is wrong with it or with what it reads.
    pub(super) fn sink(&mut self, sink: &SinkSpec, names: &Names) -> Option<CheckedSink> {
        let before = self.problems.len();
        let path = format!("sinks.{}", sink.name.value);
        let input = names.stream(&sink.from);
        let columns = input.map_or_else(Columns::unknown, |input| self.columns(input).clone());
        let kind = if let Some(parquet) = &sink.parquet {
            let files = (&parquet.partition_by[..], parquet.target_file_size.as_ref());
            let (partition_by, target_file_bytes) = self.files(files, &columns, &format!("{path}.parquet"));
            SinkKind::Parquet { partition_by, target_file_bytes }
        } else if let Some(delta) = &sink.delta {
            let (path, files) =
                (format!("{path}.delta"), (&delta.partition_by[..], delta.target_file_size.as_ref()));
            self.delta_columns(sink, &columns.own, &path);
            let (partition_by, target_file_bytes) = self.files(files, &columns, &path);
            SinkKind::Delta { partition_by, target_file_bytes }
        } else if let Some(kafka) = &sink.kafka {
            self.kafka_sink(kafka, &columns, &path)
        } else if sink.jsonl.is_some() {
            SinkKind::Jsonl
        } else {
            SinkKind::Stdout
        };
        let is_known = !columns.is_open && !columns.own.iter().any(is_unjudged);
        let is_right = !sink.incomplete && self.problems.len() == before && is_known;
        let input = input.filter(|_| is_right)?;
        Some(CheckedSink { name: sink.name.value.clone(), input, columns: columns.own, kind })
    }

    // Folders, and about how large a file in them grows, in bytes.
    fn files(
        &mut self,
        (names, size): (&[Spanned<String>], Option<&Spanned<Size>>),
        columns: &Columns,
        path: &str,
    ) -> (Vec<PartitionColumn>, u64) {
        let partition_by: Vec<PartitionColumn> = names
            .iter()
            .filter_map(|name| self.partition_column(name, columns, &format!("{path}.partition_by")))
            .collect();
        let plain = partition_by.iter().filter(|column| matches!(column, PartitionColumn::Column(_))).count();
        if plain > 0
            && plain == columns.own.len()
            && !columns.is_open
            && let Some(last) = names.last()
        {
            let hint = "a column of partition_by is not written into the files; leave one out".to_owned();
            self.problem(last.at, &format!("{path}.partition_by"), "no column is left to write", Some(hint));
        }
        if let Some(size) = size.filter(|size| size.bytes < TARGET_FILE_BYTES_MIN) {
            let hint = "write 64KiB at least; 32MiB is a good size".to_owned();
            let path = format!("{path}.target_file_size");
            self.problem(size.at, &path, format!("files of {} are too small", size.value), Some(hint));
        }
        (partition_by, size.map_or(TARGET_FILE_BYTES, |size| size.bytes))
    }

    // A Delta table has fewer types than there are here, and its columns' names may not differ in letter case alone. What else its names
    // can't be, no column's name is.
    fn delta_columns(&mut self, sink: &SinkSpec, columns: &[Field], path: &str) {
        let at = sink.from.at;
        for (index, column) in columns.iter().enumerate() {
            let (name, data_type) = (column.name(), column.data_type());
            if !is_unjudged(column) && thalweg_delta::written_type(data_type).is_none() {
                let message =
                    format!("{name} is of type {}, which a Delta table does not have", type_name(data_type));
                self.problem(at, path, message, Some("cast it in select, or leave it out".to_owned()));
            }
            let is_alike = |other: &&Field| {
                other.name().to_lowercase() == name.to_lowercase()
                    && !is_unjudged(other)
                    && !is_unjudged(column)
            };
            let alike = columns[..index].iter().find(is_alike);
            if let Some(other) = alike {
                let message = format!(
                    "a Delta table can't have a column \"{name}\": it differs from \"{}\" only in letter case",
                    other.name()
                );
                self.problem(at, path, message, Some("give it another name in select".to_owned()));
            }
        }
    }

    fn kafka_sink(&mut self, kafka: &KafkaSinkSpec, columns: &Columns, path: &str) -> SinkKind {
        let path = format!("{path}.kafka");
        let reader = self.spec.sources.iter().find(|source| {
            source.kafka.as_ref().is_some_and(|source| {
                let mut topics = source.all_topics();
                // Brokers or a topic that could not be read are empty.
                !kafka.topic.is_empty()
                    && !kafka.brokers.is_empty()
                    && source.brokers.value == kafka.brokers.value
                    && topics.any(|topic| topic.value == kafka.topic.value)
            })
        });
        if let Some(reader) = reader {
            let message = format!("the source \"{}\" reads this topic", reader.name.value);
            let hint = "what the pipeline writes would come in again, without end; write into another topic";
            self.problem(kafka.topic.at, &format!("{path}.topic"), message, Some(hint.to_owned()));
        }
        let key: Vec<usize> = kafka
            .key
            .iter()
            .filter_map(|name| {
                let finding = match find(name, &columns.own) {
                    Ok((index, column)) if makes_a_key(column.data_type()) => return Some(index),
                    Ok((_, column)) if is_unjudged(column) => return None,
                    Ok((_, column)) => super::messages::Finding::new(
                        format!(
                            "{} is of type {}, which makes no key",
                            name.value,
                            type_name(column.data_type())
                        ),
                        "take a text, a whole number, a decimal, a date, a timestamp, or true and false",
                    ),
                    Err(_) if columns.is_open => return None,
                    Err(finding) => finding,
                };
                self.findings(name.at, &format!("{path}.key"), vec![finding]);
                None
            })
            .collect();
        for (name, _) in &kafka.properties {
            if let Some(why) = refused_sink_property(name) {
                let path = format!("{path}.properties.{}", name.value);
                let message = format!("this property is not for a pipeline to set: {why}");
                self.problem(name.at, &path, message, Some("leave it out".to_owned()));
            }
        }
        let properties =
            kafka.properties.iter().map(|(name, value)| (name.value.clone(), value.value.clone()));
        SinkKind::Kafka {
            brokers: kafka.brokers.value.clone(),
            topic: kafka.topic.value.clone(),
            key,
            properties: properties.collect(),
        }
    }

    fn partition_column(
        &mut self,
        name: &Spanned<String>,
        columns: &Columns,
        path: &str,
    ) -> Option<PartitionColumn> {
        let is_open = columns.is_open;
        let columns = &columns.own;
        let finding = match find(name, columns) {
            Ok((index, column)) if makes_a_folder(column.data_type()) => {
                return Some(PartitionColumn::Column(index));
            }
            Ok((_, column)) if is_unjudged(column) => return None,
            Ok((_, column)) => super::messages::Finding::new(
                format!("{} is of type {}, which makes no folder", name.value, type_name(column.data_type())),
                "take a text, a whole number, a date, or true and false; a day of a timestamp is cast(… as date)",
            ),
            Err(_) if is_open => return None,
            Err(_) if name.value == WINDOW_DATE => match find(WINDOW_START, columns) {
                Ok((_, column)) if is_unjudged(column) => return None,
                Ok((index, column)) if matches!(column.data_type(), DataType::Timestamp(..)) => {
                    return Some(PartitionColumn::WindowDate(index));
                }
                _ => super::messages::Finding::new(
                    "window_date without a column window_start",
                    "it is the day of window_start: keep that column in select, or make a date of your own",
                ),
            },
            Err(_) => {
                let has_date = |column: &Field| {
                    column.name() == WINDOW_START && matches!(column.data_type(), DataType::Timestamp(..))
                };
                let date = columns.iter().any(has_date).then_some(WINDOW_DATE);
                let names: Vec<&str> =
                    columns.iter().map(|column| column.name().as_str()).chain(date).collect();
                super::messages::unknown_name(name, &names)
            }
        };
        self.findings(name.at, path, vec![finding]);
        None
    }
}

/// Whether rows that are alike in a column of a type have the same text there, and so the same key.
fn makes_a_key(data_type: &DataType) -> bool {
    makes_a_folder(data_type)
        || matches!(data_type, DataType::Timestamp(..) | DataType::Binary)
        || matches!(data_type, DataType::Decimal128(..) | DataType::Decimal256(..))
}

/// Whether values of a type read well as a folder's name, and back.
fn makes_a_folder(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::Boolean | DataType::Date32) || data_type.is_integer()
}
