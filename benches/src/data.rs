//! What is measured with: calls to models, as an archive, as a Kafka topic, and decoded.
//!
//! ```text
//!   thalweg-telemetry ─▶ archives/provider-requests ─┬─▶ the same records in a Kafka topic, LZ4
//!      (its seed)         raw JSON values            └─▶ the same archive with decoded columns, which batch engines read, too
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use thalweg::archive::decode;
use thalweg_engine::control::Control;
use thalweg_kafka::{KafkaWriter, WriteRecord, create_topic};
use thalweg_operators::source::archive::{ArchiveConfig, DECODED_FOLDER};
use thalweg_operators::source::{ReadRequest, Record, SplitReader};
use thalweg_schemas::{Field, FieldType, Schema, TimestampEncoding};
use thalweg_telemetry::{BenchConfig, write_bench_archive};

use crate::engine;
use crate::reference::Job;

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

    /// The same with decoded columns.
    pub(crate) fn decoded_archives(&self) -> PathBuf {
        self.folder.join("archives-decoded")
    }

    /// Makes the archive, unless it is there.
    ///
    /// # Errors
    /// When it can't be written.
    pub(crate) fn make_archive(&self) -> anyhow::Result<()> {
        let made = write_bench_archive(&self.config, &self.archives(), &|_| {})?;
        if !made.reused && self.decoded_archives().exists() {
            std::fs::remove_dir_all(self.decoded_archives())?;
        }
        Ok(())
    }

    /// Makes the same archive with decoded columns, unless it is there: its files are links to those of the archive.
    ///
    /// # Errors
    /// When it can't be read or a file can't be written.
    pub(crate) fn make_decoded(&self) -> anyhow::Result<()> {
        let folder = self.decoded_archives().join(TOPIC);
        std::fs::create_dir_all(&folder)?;
        for entry in std::fs::read_dir(self.archive())? {
            let path = entry?.path();
            let link = folder.join(path.file_name().unwrap_or_default());
            if path.extension().is_some_and(|extension| extension == "parquet") && !link.exists() {
                std::os::unix::fs::symlink(&path, &link)?;
            }
        }
        let archives = self.decoded_archives();
        decode(&engine::plan(Job::J1, None)?, Some(&archives), &Control::new(), &|_, _| {})?;
        Ok(())
    }

    /// The folder of the decoded columns.
    ///
    /// # Errors
    /// When they have not been made.
    pub(crate) fn decoded_columns(&self) -> anyhow::Result<PathBuf> {
        let folder = self.decoded_archives().join(TOPIC).join(DECODED_FOLDER);
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                return Ok(path);
            }
        }
        anyhow::bail!("no decoded columns in {}", folder.display())
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
        let archive =
            ArchiveConfig { source_name, path: self.archive(), topic: None, headers: false, decoded: None };
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
