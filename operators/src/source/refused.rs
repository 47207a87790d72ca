//! Rows that do not go on: late and rejected ones, with their raw bytes and where they came from, so that someone can mend them.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, Int32Builder, Int64Builder, RecordBatch, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use thalweg_engine::control::JobError;
use thalweg_engine::watermark::EventTime;
use thalweg_schemas::time::{format_rfc3339, timestamp_type};
use thalweg_schemas::{Reason, Rejection};

use super::{Record, SplitInfo};

/// The columns of the standing outputs for late and rejected rows: source, topic, partition, offset, timestamp (the record's),
/// key, value (the raw bytes), reason, field, detail.
pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("source", DataType::Utf8, false),
        Field::new("topic", DataType::Utf8, false),
        Field::new("partition", DataType::Int32, false),
        Field::new("offset", DataType::Int64, false),
        Field::new("timestamp", timestamp_type(), true),
        Field::new("key", DataType::Binary, true),
        Field::new("value", DataType::Binary, true),
        Field::new("reason", DataType::Utf8, false),
        Field::new("field", DataType::Utf8, true),
        Field::new("detail", DataType::Utf8, false),
    ]))
}

/// The reason that late rows carry.
pub const LATE: &str = "late";

pub(super) fn late(time: EventTime, watermark: EventTime) -> String {
    let behind = (watermark.saturating_sub(time)) as f64 / 1e6;
    format!("event time {} is {behind} s behind the split's watermark", format_rfc3339(time))
}

pub(super) fn event_time_missing() -> Rejection {
    Rejection {
        reason: Reason::EventTimeMissing,
        field: None,
        detail: "the row has no event time".to_owned(),
    }
}

pub(super) fn event_time_ahead(time: EventTime, stamp: EventTime) -> Rejection {
    let detail = format!(
        "event time {} lies further past the record's timestamp {} than max_ahead allows",
        format_rfc3339(time),
        format_rfc3339(stamp)
    );
    Rejection { reason: Reason::EventTimeAhead, field: None, detail }
}

/// Gathers refused rows of one kind into batches.
pub(super) struct RefusedRows {
    schema: SchemaRef,
    source_name: String,
    splits: Vec<SplitInfo>,
    rows: usize,
    source: StringBuilder,
    topic: StringBuilder,
    partition: Int32Builder,
    offset: Int64Builder,
    timestamp: TimestampMicrosecondBuilder,
    key: BinaryBuilder,
    value: BinaryBuilder,
    reason: StringBuilder,
    field: StringBuilder,
    detail: StringBuilder,
}

impl RefusedRows {
    pub(super) fn new(source: &str, splits: &[SplitInfo]) -> Self {
        RefusedRows {
            schema: schema(),
            source_name: source.to_owned(),
            splits: splits.to_vec(),
            rows: 0,
            source: StringBuilder::new(),
            topic: StringBuilder::new(),
            partition: Int32Builder::new(),
            offset: Int64Builder::new(),
            timestamp: TimestampMicrosecondBuilder::new().with_data_type(timestamp_type()),
            key: BinaryBuilder::new(),
            value: BinaryBuilder::new(),
            reason: StringBuilder::new(),
            field: StringBuilder::new(),
            detail: StringBuilder::new(),
        }
    }

    pub(super) fn push(&mut self, record: &Record<'_>, reason: &str, field: Option<&str>, detail: &str) {
        let split = &self.splits[record.split];
        self.rows += 1;
        self.source.append_value(&self.source_name);
        self.topic.append_value(&split.topic);
        self.partition.append_value(split.partition);
        self.offset.append_value(record.offset);
        self.timestamp.append_option(record.timestamp_us);
        self.key.append_option(record.key);
        self.value.append_option(record.value);
        self.reason.append_value(reason);
        self.field.append_option(field);
        self.detail.append_value(detail);
    }

    pub(super) fn finish(&mut self) -> Result<Option<RecordBatch>, JobError> {
        if std::mem::take(&mut self.rows) == 0 {
            return Ok(None);
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.source.finish()),
            Arc::new(self.topic.finish()),
            Arc::new(self.partition.finish()),
            Arc::new(self.offset.finish()),
            Arc::new(self.timestamp.finish()),
            Arc::new(self.key.finish()),
            Arc::new(self.value.finish()),
            Arc::new(self.reason.finish()),
            Arc::new(self.field.finish()),
            Arc::new(self.detail.finish()),
        ];
        Ok(Some(RecordBatch::try_new(Arc::clone(&self.schema), columns)?))
    }
}
