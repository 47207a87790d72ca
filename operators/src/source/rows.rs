//! The columns of accepted rows: what the decoder made, then metadata, then the hidden columns.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, Int32Builder, Int64Array, Int64Builder, ListBuilder, RecordBatch, StringBuilder,
    StructBuilder, TimestampMicrosecondArray, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use thalweg_engine::control::JobError;
use thalweg_engine::watermark::EventTime;
use thalweg_schemas::Format;
use thalweg_schemas::time::{TIME_ZONE, timestamp_type};

use super::{Record, SourceConfig, SplitInfo};
use crate::rows::{OFFSET, SPLIT, TIME};

/// What Kafka knows of a record, as a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MetadataColumn {
    /// `_topic`, `Utf8`.
    Topic,
    /// `_partition`, `Int32`.
    Partition,
    /// `_offset`, `Int64`.
    Offset,
    /// `_timestamp`, the record's own timestamp in microseconds; null where it has none.
    Timestamp,
    /// `_key`, `Binary`.
    Key,
    /// `_headers`, a list of (key, value).
    Headers,
}

impl MetadataColumn {
    /// All of them, in the order in which rows hold them.
    pub const ALL: [MetadataColumn; 6] =
        [Self::Topic, Self::Partition, Self::Offset, Self::Timestamp, Self::Key, Self::Headers];

    /// The column's name in a pipeline.
    pub fn name(self) -> &'static str {
        match self {
            Self::Topic => "_topic",
            Self::Partition => "_partition",
            Self::Offset => "_offset",
            Self::Timestamp => "_timestamp",
            Self::Key => "_key",
            Self::Headers => "_headers",
        }
    }

    /// The column as an Arrow field.
    pub fn field(self) -> Field {
        let (data_type, nullable) = match self {
            Self::Topic => (DataType::Utf8, false),
            Self::Partition => (DataType::Int32, false),
            Self::Offset => (DataType::Int64, false),
            Self::Timestamp => (timestamp_type(), true),
            Self::Key => (DataType::Binary, true),
            Self::Headers => (DataType::List(header_item()), false),
        };
        Field::new(self.name(), data_type, nullable)
    }
}

fn header_item() -> Arc<Field> {
    Arc::new(Field::new_list_field(DataType::Struct(header_fields()), false))
}

fn header_fields() -> Fields {
    Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Binary, true)])
}

pub(super) fn schema(config: &SourceConfig) -> SchemaRef {
    let mut fields: Vec<Field> = match config.format {
        Format::Json => config.fields.iter().map(|at| config.schema.fields[*at].arrow()).collect(),
        Format::Raw => vec![Field::new("value", DataType::Binary, false)],
    };
    fields.extend(config.metadata.iter().map(|column| column.field()));
    fields.push(Field::new(TIME, timestamp_type(), false));
    if config.order {
        fields
            .extend([Field::new(SPLIT, DataType::Int64, false), Field::new(OFFSET, DataType::Int64, false)]);
    }
    Arc::new(Schema::new(fields))
}

enum MetadataBuilder {
    Topic(StringBuilder),
    Partition(Int32Builder),
    Offset(Int64Builder),
    Timestamp(TimestampMicrosecondBuilder),
    Key(BinaryBuilder),
    Headers(ListBuilder<StructBuilder>),
}

/// Gathers what the decoder does not.
pub(super) struct RowColumns {
    schema: SchemaRef,
    source: i64,
    splits: Vec<SplitInfo>,
    metadata: Vec<MetadataBuilder>,
    times: Vec<EventTime>,
    order: Option<(Vec<i64>, Vec<i64>)>,
}

impl RowColumns {
    pub(super) fn new(config: &SourceConfig, splits: &[SplitInfo]) -> Self {
        let metadata = config.metadata.iter().map(|column| match column {
            MetadataColumn::Topic => MetadataBuilder::Topic(StringBuilder::new()),
            MetadataColumn::Partition => MetadataBuilder::Partition(Int32Builder::new()),
            MetadataColumn::Offset => MetadataBuilder::Offset(Int64Builder::new()),
            MetadataColumn::Timestamp => MetadataBuilder::Timestamp(
                TimestampMicrosecondBuilder::new().with_data_type(timestamp_type()),
            ),
            MetadataColumn::Key => MetadataBuilder::Key(BinaryBuilder::new()),
            MetadataColumn::Headers => {
                let entries = StructBuilder::from_fields(header_fields(), 0);
                MetadataBuilder::Headers(ListBuilder::new(entries).with_field(header_item()))
            }
        });
        RowColumns {
            schema: schema(config),
            source: i64::from(config.number) << 32,
            splits: splits.to_vec(),
            metadata: metadata.collect(),
            times: Vec::new(),
            order: config.order.then(Default::default),
        }
    }

    #[inline]
    pub(super) fn push(&mut self, record: &Record<'_>, split_number: u32, time: EventTime) {
        self.times.push(time);
        if let Some((splits, offsets)) = &mut self.order {
            splits.push(self.source | i64::from(split_number));
            offsets.push(record.offset);
        }
        for builder in &mut self.metadata {
            match builder {
                MetadataBuilder::Topic(builder) => builder.append_value(&self.splits[record.split].topic),
                MetadataBuilder::Partition(builder) => {
                    builder.append_value(self.splits[record.split].partition)
                }
                MetadataBuilder::Offset(builder) => builder.append_value(record.offset),
                MetadataBuilder::Timestamp(builder) => builder.append_option(record.timestamp_us),
                MetadataBuilder::Key(builder) => builder.append_option(record.key),
                MetadataBuilder::Headers(builder) => append_headers(builder, record),
            }
        }
    }

    /// The batch of all rows pushed since the last call, with their fields' columns; `None` if there were none.
    pub(super) fn finish(&mut self, mut columns: Vec<ArrayRef>) -> Result<Option<RecordBatch>, JobError> {
        if self.times.is_empty() {
            return Ok(None);
        }
        columns.extend(self.metadata.iter_mut().map(|builder| -> ArrayRef {
            match builder {
                MetadataBuilder::Topic(builder) => Arc::new(builder.finish()),
                MetadataBuilder::Partition(builder) => Arc::new(builder.finish()),
                MetadataBuilder::Offset(builder) => Arc::new(builder.finish()),
                MetadataBuilder::Timestamp(builder) => Arc::new(builder.finish()),
                MetadataBuilder::Key(builder) => Arc::new(builder.finish()),
                MetadataBuilder::Headers(builder) => Arc::new(builder.finish()),
            }
        }));
        let times = TimestampMicrosecondArray::from(std::mem::take(&mut self.times)).with_timezone(TIME_ZONE);
        columns.push(Arc::new(times));
        if let Some((splits, offsets)) = &mut self.order {
            columns.push(Arc::new(Int64Array::from(std::mem::take(splits))));
            columns.push(Arc::new(Int64Array::from(std::mem::take(offsets))));
        }
        Ok(Some(RecordBatch::try_new(Arc::clone(&self.schema), columns)?))
    }
}

fn append_headers(builder: &mut ListBuilder<StructBuilder>, record: &Record<'_>) {
    for (key, value) in record.headers {
        let entry = builder.values();
        let keys = entry.field_builder::<StringBuilder>(0).expect("invariant: a header's key is a string");
        keys.append_value(key);
        let values = entry.field_builder::<BinaryBuilder>(1).expect("invariant: a header's value is binary");
        values.append_option(*value);
        entry.append(true);
    }
    builder.append(true);
}
