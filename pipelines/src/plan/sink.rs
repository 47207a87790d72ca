//! Sinks: what they write, and into which folders or topics.

use arrow::datatypes::{DataType, Field};
use thalweg_kafka::refused_sink_property;

use super::check::{CheckedSink, Checker};
use super::graph::Names;
use super::model::{PartitionColumn, SinkKind};
use super::step::find;
use super::types::type_name;
use super::windowed::WINDOW_START;
use crate::spec::{KafkaSinkSpec, ParquetSpec, SinkSpec, Spanned};

/// About how large a Parquet file grows unless the spec says otherwise.
const TARGET_FILE_BYTES: u64 = 128 << 20;
/// Smaller files than this cost readers more to open than to read.
const TARGET_FILE_BYTES_MIN: u64 = 64 << 10;
const WINDOW_DATE: &str = "window_date";

impl Checker<'_> {
    /// Checks a sink; `None` where something is wrong with it or with what it reads.
    pub(super) fn sink(&mut self, sink: &SinkSpec, names: &Names) -> Option<CheckedSink> {
        let before = self.problems.len();
        let path = format!("sinks.{}", sink.name.value);
        let input = names.stream(&sink.from)?;
        let columns = self.columns(input)?.own.clone();
        let kind = if let Some(parquet) = &sink.parquet {
            self.parquet(parquet, &columns, &path)
        } else if let Some(kafka) = &sink.kafka {
            self.kafka_sink(kafka, &columns, &path)
        } else if sink.jsonl.is_some() {
            SinkKind::Jsonl
        } else {
            SinkKind::Stdout
        };
        let is_right = !sink.incomplete && self.problems.len() == before;
        is_right.then(|| CheckedSink { name: sink.name.value.clone(), input, columns, kind })
    }

    fn parquet(&mut self, parquet: &ParquetSpec, columns: &[Field], path: &str) -> SinkKind {
        let path = format!("{path}.parquet");
        let partition_by: Vec<PartitionColumn> = parquet
            .partition_by
            .iter()
            .filter_map(|name| self.partition_column(name, columns, &format!("{path}.partition_by")))
            .collect();
        let plain = partition_by.iter().filter(|column| matches!(column, PartitionColumn::Column(_))).count();
        if plain > 0
            && plain == columns.len()
            && let Some(last) = parquet.partition_by.last()
        {
            let hint = "a column of partition_by is not written into the files; leave one out".to_owned();
            self.problem(last.at, &format!("{path}.partition_by"), "no column is left to write", Some(hint));
        }
        let size = parquet.target_file_size.as_ref();
        if let Some(size) = size.filter(|size| size.bytes < TARGET_FILE_BYTES_MIN) {
            let hint = "write 64KiB at least; 128MiB is a good size".to_owned();
            let path = format!("{path}.target_file_size");
            self.problem(size.at, &path, format!("files of {} are too small", size.value), Some(hint));
        }
        SinkKind::Parquet {
            partition_by,
            target_file_bytes: size.map_or(TARGET_FILE_BYTES, |size| size.bytes),
        }
    }

    fn kafka_sink(&mut self, kafka: &KafkaSinkSpec, columns: &[Field], path: &str) -> SinkKind {
        let path = format!("{path}.kafka");
        let reader = self.spec.sources.iter().find(|source| {
            source.kafka.as_ref().is_some_and(|source| {
                let mut topics = source.all_topics();
                source.brokers.value == kafka.brokers.value
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
                let finding = match find(name, columns) {
                    Ok((index, column)) if makes_a_key(column.data_type()) => return Some(index),
                    Ok((_, column)) => super::messages::Finding::new(
                        format!(
                            "{} is of type {}, which makes no key",
                            name.value,
                            type_name(column.data_type())
                        ),
                        "take a text, a whole number, a decimal, a date, a timestamp, or true and false",
                    ),
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
        columns: &[Field],
        path: &str,
    ) -> Option<PartitionColumn> {
        let finding = match find(name, columns) {
            Ok((index, column)) if makes_a_folder(column.data_type()) => {
                return Some(PartitionColumn::Column(index));
            }
            Ok((_, column)) => super::messages::Finding::new(
                format!("{} is of type {}, which makes no folder", name.value, type_name(column.data_type())),
                "take a text, a whole number, a date, or true and false; a day of a timestamp is cast(… as date)",
            ),
            Err(_) if name.value == WINDOW_DATE => match find(WINDOW_START, columns) {
                Ok((index, column)) if matches!(column.data_type(), DataType::Timestamp(..)) => {
                    return Some(PartitionColumn::WindowDate(index));
                }
                _ => super::messages::Finding::new(
                    "window_date without a column window_start",
                    "it is the day of window_start: keep that column in select, or make a date of your own",
                ),
            },
            Err(finding) => finding,
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
