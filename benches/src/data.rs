//! What is measured with: calls to models, as an archive, as a Kafka topic, and decoded.
//!
//! ```text
//!   thalweg-telemetry ─▶ archives/provider-requests ─┬─▶ the same records in a Kafka topic, LZ4
//!      (its seed)         raw JSON values            └─▶ typed/ : one Parquet column a field, for batch engines
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use thalweg_kafka::{KafkaWriter, WriteRecord, create_topic};
use thalweg_operators::source::archive::ArchiveConfig;
use thalweg_operators::source::{ReadRequest, Record, SplitReader};
use thalweg_schemas::{Decoder, Field, FieldType, Format, Schema, TimestampEncoding};
use thalweg_telemetry::{BenchConfig, write_bench_archive};

/// Events of a whole run.
pub(crate) const EVENTS: u64 = 5_000_000;
/// Events of a session, over all its visits.
const EVENTS_PER_SESSION: u64 = 25;
/// The topic's name, and that of the archive's folder.
pub(crate) const TOPIC: &str = "provider-requests";
/// Partitions of the topic.
pub(crate) const PARTITIONS: i32 = 8;
/// How far events are out of order at most, microseconds.
pub(crate) const LATENESS_US: i64 = 2_000_000;

/// The events of one run, and where they lie.
#[derive(Debug, Clone)]
pub(crate) struct Data {
    folder: PathBuf,
    config: BenchConfig,
}

impl Data {
    /// `events` events under `folder`. Nothing is made yet.
    pub(crate) fn new(folder: &Path, events: u64) -> Data {
        let sessions = (events / EVENTS_PER_SESSION).max(1);
        let config = BenchConfig { events, sessions, partitions: PARTITIONS, ..BenchConfig::default() };
        Data { folder: folder.to_owned(), config }
    }

    /// How many events there are.
    pub(crate) fn events(&self) -> u64 {
        self.config.events
    }

    /// The folder of the archives by topic.
    pub(crate) fn archives(&self) -> PathBuf {
        self.folder.join("archives")
    }

    /// The folder of the topic's archive.
    pub(crate) fn archive(&self) -> PathBuf {
        self.archives().join(TOPIC)
    }

    /// The folder of the decoded events.
    pub(crate) fn typed(&self) -> PathBuf {
        self.folder.join("typed")
    }

    /// Makes the archive, unless it is there.
    ///
    /// # Errors
    /// When it can't be written.
    pub(crate) fn make_archive(&self) -> anyhow::Result<()> {
        let made = write_bench_archive(&self.config, &self.archives(), &|_| {})?;
        if !made.reused && self.typed().exists() {
            std::fs::remove_dir_all(self.typed())?;
        }
        Ok(())
    }

    /// Makes the decoded events, unless they are there: a file a partition, zstd as in the archive.
    ///
    /// # Errors
    /// When the archive can't be read or a file can't be written.
    pub(crate) fn make_typed(&self) -> anyhow::Result<()> {
        let folder = self.typed();
        if folder.exists() {
            return Ok(());
        }
        let temporary = self.folder.join(".typed.tmp");
        std::fs::create_dir_all(&temporary)?;
        let schema = call_schema();
        let columns: Vec<usize> = (0..schema.fields.len()).collect();
        let fields: Vec<_> = schema.fields.iter().map(Field::arrow).collect();
        let arrow = Arc::new(arrow::datatypes::Schema::new(fields));
        let zstd = Compression::ZSTD(ZstdLevel::try_new(1)?);
        let properties = WriterProperties::builder().set_compression(zstd).build();
        let mut writers = (0..PARTITIONS)
            .map(|partition| {
                let file = File::create(temporary.join(format!("part-{partition}.parquet")))?;
                let decoder = Decoder::new(Format::Json, &schema, &columns);
                Ok((decoder, ArrowWriter::try_new(file, Arc::clone(&arrow), Some(properties.clone()))?))
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        let flush = |decoder: &mut Decoder, writer: &mut ArrowWriter<File>| -> anyhow::Result<()> {
            Ok(writer.write(&RecordBatch::try_new(Arc::clone(&arrow), decoder.finish())?)?)
        };
        self.each_record(&mut |record| {
            let (decoder, writer) = &mut writers[record.split];
            decoder.push(record.value).map_err(|rejection| anyhow::anyhow!("{}", rejection.detail))?;
            if decoder.len() == 8192 { flush(decoder, writer) } else { Ok(()) }
        })?;
        for (mut decoder, mut writer) in writers {
            flush(&mut decoder, &mut writer)?;
            writer.close()?;
        }
        Ok(std::fs::rename(&temporary, &folder)?)
    }

    /// Makes a topic of the archive's records.
    ///
    /// # Errors
    /// When the brokers can't be written to.
    pub(crate) fn make_topic(&self, brokers: &str, topic: &str) -> anyhow::Result<()> {
        create_topic(
            brokers,
            topic,
            PARTITIONS,
            &[("compression.type", "producer"), ("retention.ms", "-1")],
        )?;
        let mut writer = KafkaWriter::new(brokers, &BTreeMap::new())?;
        self.each_record(&mut |record| {
            Ok(writer.write(WriteRecord {
                topic,
                partition: record.split as i32,
                timestamp_ms: record.timestamp_us.map(|us| us / 1000),
                key: record.key,
                value: record.value,
                headers: &[],
            })?)
        })?;
        Ok(writer.flush(Duration::from_secs(120))?)
    }

    /// The first `records` payloads of the archive, all partitions in turn.
    ///
    /// # Errors
    /// When the archive can't be read.
    pub(crate) fn payloads(&self, records: usize) -> anyhow::Result<Vec<Vec<u8>>> {
        let mut payloads = Vec::with_capacity(records);
        let mut reader = self.reader()?;
        let mut order: Vec<usize> = (0..reader.splits().len()).collect();
        while payloads.len() < records && !order.is_empty() {
            let progress = reader.read(request(&order), &mut |record| {
                payloads.extend(record.value.map(<[u8]>::to_vec));
            })?;
            order.retain(|split| !progress.ended.contains(split));
            if !order.is_empty() {
                order.rotate_left(1);
            }
        }
        payloads.truncate(records);
        Ok(payloads)
    }

    fn reader(&self) -> anyhow::Result<impl SplitReader + use<>> {
        let source_name = "calls".to_owned();
        let archive = ArchiveConfig { source_name, path: self.archive(), topic: None, headers: false };
        let plan = archive.resolve()?;
        anyhow::ensure!(
            plan.splits().len() == PARTITIONS as usize,
            "the archive has other partitions than asked for"
        );
        Ok(plan.reader(0, 1)?)
    }

    /// Hands over all records of the archive, all partitions in turn.
    fn each_record(&self, each: &mut dyn FnMut(Record<'_>) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let mut reader = self.reader()?;
        let mut order: Vec<usize> = (0..reader.splits().len()).collect();
        while !order.is_empty() {
            let mut failed = None;
            let progress = reader.read(request(&order), &mut |record| {
                if failed.is_none() {
                    failed = each(record).err();
                }
            })?;
            failed.map_or(Ok(()), Err).context("the archive's records can't be taken")?;
            order.retain(|split| !progress.ended.contains(split));
            if !order.is_empty() {
                order.rotate_left(1);
            }
        }
        Ok(())
    }
}

fn request(order: &[usize]) -> ReadRequest<'_> {
    ReadRequest { bytes_max: usize::MAX, records_max: 8192, wait: Duration::ZERO, order }
}

/// The events' schema, as the pipelines have it.
pub(crate) fn call_schema() -> Schema {
    let fields = vec![
        Field::new("request_id", FieldType::String).required(),
        Field::new("started_at", FieldType::Timestamp(TimestampEncoding::Millis)).required(),
        Field::new("provider", FieldType::String).required(),
        Field::new("model", FieldType::String).required(),
        Field::new("session_id", FieldType::String).required(),
        Field::new("user_id", FieldType::String),
        Field::new("status", FieldType::String).required(),
        Field::new("latency_ms", FieldType::Float64),
        Field::new("prompt_tokens", FieldType::Int64),
        Field::new("completion_tokens", FieldType::Int64),
        Field::new("cost_usd", FieldType::Decimal { scale: 6 }),
        Field::new("cache_hit", FieldType::Bool),
    ];
    Schema { name: "call".to_owned(), description: None, fields }
}
