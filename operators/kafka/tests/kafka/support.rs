//! Topics, records, and reading them to their end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use thalweg_kafka::broker::Broker;
use thalweg_kafka::{KafkaConfig, KafkaPlan, KafkaReader, KafkaWriter, Position, WriteRecord, create_topic};
use thalweg_operators::source::reader::{ReadProgress, ReadRequest, SplitReader};

/// How long anything may take that should take a moment.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn shared() -> &'static Broker {
    Broker::shared().unwrap_or_else(|error| panic!("{error}"))
}

/// A record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp_us: Option<i64>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

/// A topic's name that no other test or run has.
pub(crate) fn fresh_name(what: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{what}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn new_topic(brokers: &str, what: &str, partitions: i32, settings: &[(&str, &str)]) -> String {
    let name = fresh_name(what);
    create_topic(brokers, &name, partitions, settings).expect("a topic can be made");
    name
}

pub(crate) fn writer(brokers: &str) -> KafkaWriter {
    KafkaWriter::new(brokers, &BTreeMap::new()).expect("a writer can be made")
}

/// The payload of the test record `at` of a partition.
pub(crate) fn payload(partition: i32, at: i64) -> String {
    format!("partition {partition} record {at}")
}

/// Writes `count` records into each partition: record `at` with the timestamp (`at` + 1) × 10 ms.
pub(crate) fn fill(brokers: &str, topic: &str, partitions: i32, count: i64) {
    let mut writer = writer(brokers);
    for at in 0..count {
        for partition in 0..partitions {
            writer
                .write(WriteRecord {
                    topic,
                    partition,
                    timestamp_ms: Some((at + 1) * 10),
                    key: None,
                    value: Some(payload(partition, at).as_bytes()),
                    headers: &[],
                })
                .expect("a record is taken");
        }
    }
    writer.flush(PATIENCE).expect("the records are acknowledged");
}

/// The source of a topic from start to end.
pub(crate) fn bounded(brokers: &str, topics: &[&str], start: Position, end: Position) -> KafkaConfig {
    let mut config = KafkaConfig::new("calls", brokers, topics.iter().copied());
    config.start = start;
    config.end = Some(end);
    config
}

pub(crate) fn everything(brokers: &str, topics: &[&str]) -> KafkaConfig {
    bounded(brokers, topics, Position::Earliest, Position::Latest)
}

pub(crate) fn resolve(config: &KafkaConfig) -> KafkaPlan {
    config.resolve(PATIENCE).unwrap_or_else(|error| panic!("{error}"))
}

/// Reads splits in turn until all have ended, with requests of this size. Checks what holds of every read.
pub(crate) fn read_to_end(reader: &mut KafkaReader, records_max: usize, bytes_max: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut order: Vec<usize> = (0..reader.splits().len()).collect();
    let limit = Instant::now() + PATIENCE;
    while !order.is_empty() {
        assert!(Instant::now() < limit, "splits {order:?} didn't end; {} records came", rows.len());
        let request = ReadRequest { bytes_max, records_max, wait: Duration::from_secs(1), order: &order };
        let before = rows.len();
        let progress = read(reader, request, &mut rows);
        assert!(progress.records <= records_max);
        let last = rows.last().and_then(|row| row.value.as_ref()).map_or(0, Vec::len);
        assert!(rows.len() == before || progress.bytes - last < bytes_max, "read on after {bytes_max} bytes");
        order.retain(|split| !progress.ended.contains(split));
        if !order.is_empty() {
            order.rotate_left(1);
        }
    }
    rows
}

pub(crate) fn read(reader: &mut KafkaReader, request: ReadRequest<'_>, rows: &mut Vec<Row>) -> ReadProgress {
    let infos = reader.splits().to_vec();
    let before = rows.len();
    let progress = reader
        .read(request, &mut |record| {
            let info = &infos[record.split];
            rows.push(Row {
                topic: info.topic.to_string(),
                partition: info.partition,
                offset: record.offset,
                timestamp_us: record.timestamp_us,
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                headers: record
                    .headers
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), value.map(<[u8]>::to_vec)))
                    .collect(),
            });
        })
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(progress.records, rows.len() - before);
    let length = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
    let headers =
        |row: &Row| row.headers.iter().map(|(name, value)| name.len() + length(value)).sum::<usize>();
    let bytes: usize =
        rows[before..].iter().map(|row| length(&row.key) + length(&row.value) + headers(row)).sum();
    assert_eq!(progress.bytes, bytes);
    progress
}

/// All records of a plan, read by one worker in large requests.
pub(crate) fn read_all(config: &KafkaConfig) -> Vec<Row> {
    let mut reader = resolve(config).reader(0, 1).expect("a reader can be made");
    read_to_end(&mut reader, usize::MAX, usize::MAX)
}

/// The offsets read of each partition, in their order.
pub(crate) fn offsets(rows: &[Row]) -> BTreeMap<i32, Vec<i64>> {
    let mut offsets: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    for row in rows {
        offsets.entry(row.partition).or_default().push(row.offset);
    }
    offsets
}

/// Positions of one topic by offset.
pub(crate) fn at(topic: &str, offsets: &[(i32, i64)]) -> Position {
    Position::Offsets([(topic.to_owned(), offsets.iter().copied().collect())].into())
}
