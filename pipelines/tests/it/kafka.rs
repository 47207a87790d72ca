//! Jobs that read from Apache Kafka itself: the rows are those of the archive, bounds hold, errors are told, and a broker may
//! restart.
//!
//! ```text
//!   records ─┬─▶ topic ─────▶ job, 1 and 2 workers ─▶ rows, late, rejected ─┐
//!            └─▶ archive ───▶ job ──────────────────▶ rows, late, rejected ─┴─▶ the same
//! ```

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use thalweg::catalogue;
use thalweg::plan::Plan;
use thalweg::run::{RunOptions, Summary, prepare};
use thalweg_engine::control::Control;
use thalweg_kafka::broker::Broker;
use thalweg_kafka::{KafkaWriter, WriteRecord, create_topic};
use thalweg_operators::source::archive::{ArchiveOptions, ArchiveWriter};
use thalweg_telemetry::{Telemetry, TelemetryConfig, Topic, Volume};

use crate::patience::{PATIENCE, Running, in_time, wait_until};
use crate::support::{assert_same_rows, job, plan, published, rows};

/// What users are promised to wait at most before they are told.
const TOLD_WITHIN: Duration = Duration::from_secs(30);
/// 2026-03-02T12:00:00Z.
const NOON_MS: i64 = 1_772_452_800_000;

pub(crate) fn broker() -> &'static Broker {
    Broker::shared().unwrap_or_else(|error| panic!("{error}"))
}

/// A new topic, which keeps records of any age.
pub(crate) fn new_topic(brokers: &str, what: &str, partitions: i32) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("{what}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    create_topic(brokers, &name, partitions, &[("retention.ms", "-1")]).expect("a topic can be made");
    name
}

fn writer(brokers: &str) -> KafkaWriter {
    KafkaWriter::new(brokers, &BTreeMap::new()).expect("a writer can be made")
}

fn archive(folder: &Path, topic: &str) -> ArchiveWriter {
    ArchiveWriter::new(folder.join(topic), ArchiveOptions::default()).expect("the archive's folder")
}

/// All that a job wrote: the rows of its sinks, late and rejected ones included, and the account of its sources.
#[derive(Debug)]
struct Outcome {
    rows: BTreeMap<String, Vec<String>>,
    accounts: Vec<[u64; 4]>,
}

/// Runs a plan, from Kafka or from a folder of archives.
fn outcome(plan: &Plan, workers: usize, archives: Option<&Path>) -> Outcome {
    let output = tempfile::tempdir().expect("a temporary folder");
    let options =
        RunOptions { archives: archives.map(Path::to_owned), ..RunOptions::new(workers, output.path()) };
    let owned = plan.clone();
    let summary = in_time(move || job(&owned, &options));
    let rows = summary.sinks.iter().map(|sink| {
        let rows = if sink.rows == 0 { Vec::new() } else { rows(output.path(), &sink.name) };
        assert_eq!(rows.len() as u64, sink.rows, "{}: rows written and rows counted", sink.name);
        (sink.name.clone(), rows)
    });
    let account = |source: &thalweg::run::SourceSummary| {
        assert_eq!(source.read, source.accepted + source.late + source.rejected, "{source:?}");
        [source.read, source.accepted, source.late, source.rejected]
    };
    Outcome { rows: rows.collect(), accounts: summary.sources.iter().map(account).collect() }
}

fn assert_same(what: &str, left: &Outcome, right: &Outcome) {
    assert_eq!(left.accounts, right.accounts, "{what}: read, accepted, late, rejected");
    assert!(left.rows.keys().eq(right.rows.keys()));
    for (sink, rows) in &left.rows {
        assert_same_rows(&format!("{what}: {sink}"), rows, &right.rows[sink]);
    }
}

/// A pipeline of the catalogue that reads `topic` under another name, to its end.
fn bounded(name: &str, topic: Topic, renamed: &str, brokers: &str) -> Plan {
    let text = catalogue::find(name).expect("a pipeline of the catalogue").text;
    let topic = format!("topic: {}, brokers: \"${{KAFKA_BROKERS:-localhost:9092}}\"", topic.name());
    let patched = text.replace(&topic, &format!("topic: {renamed}, brokers: \"{brokers}\", end: latest"));
    assert_ne!(patched, text, "{name} does not read {topic}");
    plan(&patched, Path::new(""))
}

/// Writes telemetry to topics of new names and to archives of the same names. Gives the names and numbers of records.
fn record_telemetry(
    brokers: &str,
    folder: &Path,
    config: &TelemetryConfig,
) -> BTreeMap<Topic, (String, u64)> {
    let mut kafka = writer(brokers);
    let mut written = BTreeMap::new();
    for &topic in &config.topics {
        let name = new_topic(brokers, topic.name(), config.partitions_of(topic));
        written.insert(topic, (archive(folder, &name), name, 0));
    }
    let mut telemetry = Telemetry::new(config).expect("telemetry that can be made");
    while let Some(event) = telemetry.next_event() {
        let (archive, name, records) = written.get_mut(&event.topic).expect("a topic that was asked for");
        let (partition, timestamp_ms) = (event.partition, event.timestamp_ms);
        let (key, value) = (Some(event.key), Some(event.value));
        archive
            .push(partition, event.offset, timestamp_ms, key, value, &[])
            .expect("a record of the archive");
        kafka
            .write(WriteRecord {
                topic: name,
                partition,
                timestamp_ms: Some(timestamp_ms),
                key,
                value,
                headers: &[],
            })
            .expect("a record is taken");
        *records += 1;
    }
    kafka.flush(PATIENCE).expect("the records are acknowledged");
    let close = |(topic, (archive, name, records)): (Topic, (ArchiveWriter, String, u64))| {
        archive.finish().expect("the archive");
        (topic, (name, records))
    };
    written.into_iter().map(close).collect()
}

#[test]
fn telemetry_from_kafka_gives_the_rows_that_its_archive_gives() {
    let brokers = broker().brokers();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = TelemetryConfig {
        volume: Volume::Events(110_000),
        topics: vec![Topic::ProviderRequests, Topic::UserInteractions],
        dirty: 0.01,
        ..TelemetryConfig::of_duration(7200)
    };
    let topics = record_telemetry(brokers, folder.path(), &config);
    assert!(topics.values().map(|(_, records)| records).sum::<u64>() > 60_000);
    for (name, topic) in
        [("provider_health", Topic::ProviderRequests), ("user_sessions", Topic::UserInteractions)]
    {
        let (renamed, records) = &topics[&topic];
        let plan = bounded(name, topic, renamed, brokers);
        let recorded = outcome(&plan, 1, Some(folder.path()));
        let [read, _, late, rejected] = recorded.accounts[0];
        assert_eq!(read, *records);
        assert!(late > 0 && rejected > 0, "{name}: {late} late rows, {rejected} rejected ones");
        // Whether something was strange is not the matter here.
        let has_rows =
            |(sink, rows): (&String, &Vec<String>)| !rows.is_empty() || sink.ends_with("anomalies");
        assert!(recorded.rows.iter().all(has_rows), "{name}: a sink without rows");
        for workers in [1, 2] {
            let live = outcome(&plan, workers, None);
            assert_same(&format!("{name}, {workers} workers"), &live, &recorded);
        }
    }
}

/// Writes records into each of two partitions, a second apart from noon on.
fn fill(brokers: &str, topic: &str, numbers: std::ops::Range<i64>) {
    let mut writer = writer(brokers);
    for at in numbers {
        for partition in [0, 1] {
            let record = WriteRecord {
                topic,
                partition,
                timestamp_ms: Some(NOON_MS + at * 1000),
                key: None,
                value: Some(b"."),
                headers: &[],
            };
            writer.write(record).expect("a record is taken");
        }
    }
    writer.flush(PATIENCE).expect("the records are acknowledged");
}

/// A pipeline of the partitions and offsets that it has read.
fn offsets_read(brokers: &str, topic: &str, bounds: &str) -> Plan {
    let text = format!(
        "pipeline: bounds
sources:
  records:
    kafka: {{ topic: {topic}, brokers: \"{brokers}\", {bounds} }}
    format: raw
steps:
  offsets: {{ from: records, select: [_partition, _offset] }}
sinks:
  offsets: {{ from: offsets, parquet: {{}} }}
"
    );
    plan(&text, Path::new(""))
}

fn offset_rows(offsets: [std::ops::Range<i64>; 2]) -> Vec<String> {
    let row = |(partition, offset)| format!("{{\"_partition\":{partition},\"_offset\":{offset}}}");
    let of = |(partition, offsets): (usize, std::ops::Range<i64>)| offsets.map(move |at| (partition, at));
    offsets.into_iter().enumerate().flat_map(of).map(row).collect()
}

#[test]
fn start_and_end_bound_what_is_read() {
    let brokers = broker().brokers();
    let topic = new_topic(brokers, "bounds", 2);
    fill(brokers, &topic, 0..100);
    let cases = [
        ("end: latest".to_owned(), [0..100, 0..100]),
        (
            format!(
                "start: {{ timestamp: \"2026-03-02T12:00:30Z\" }}, end: {{ offsets: {{ {topic}: {{ 0: 50, 1: 40 }} }} }}"
            ),
            [30..50, 30..40],
        ),
        (
            format!("start: {{ offsets: {{ {topic}: {{ 0: 97, 1: 100 }} }} }}, end: latest"),
            [97..100, 100..100],
        ),
        (
            "start: { timestamp: \"2026-03-02T12:00:29.5Z\" }, end: { timestamp: \"2026-03-02T12:01:00Z\" }"
                .to_owned(),
            [30..60, 30..60],
        ),
        ("start: earliest, end: { timestamp: \"2027-01-01T00:00:00Z\" }".to_owned(), [0..100, 0..100]),
        ("start: latest, end: latest".to_owned(), [0..0, 0..0]),
    ];
    for (bounds, expected) in cases {
        let plan = offsets_read(brokers, &topic, &bounds);
        for workers in [1, 3] {
            let found = outcome(&plan, workers, None);
            assert_same_rows(&bounds, &found.rows["offsets"], &offset_rows(expected.clone()));
        }
    }
}

#[test]
fn a_bounded_job_ends_where_the_topic_ended_when_it_began() {
    let brokers = broker().brokers();
    let topic = new_topic(brokers, "ends", 2);
    fill(brokers, &topic, 0..10);
    let plan = offsets_read(brokers, &topic, "end: latest");
    let output = tempfile::tempdir().expect("a temporary folder");
    let job = prepare(&plan, &RunOptions::new(2, output.path()), &Control::new()).expect("a topic");
    fill(brokers, &topic, 10..20);
    let summary = in_time(move || job.run()).expect("a job that ends");
    assert_eq!(summary.sources[0].read, 20);
    assert_same_rows("offsets", &rows(output.path(), "offsets"), &offset_rows([0..10, 0..10]));
}

#[test]
fn what_kafka_knows_of_a_record_is_in_its_columns_as_from_the_archive() {
    type Headers = &'static [(&'static str, Option<&'static [u8]>)];
    type Sent = (i32, Option<&'static [u8]>, Option<&'static [u8]>, Headers);
    const RECORDS: [Sent; 6] = [
        (
            0,
            Some(b"key"),
            Some(b"value"),
            &[("trace", Some(b"4bf92f")), ("empty", Some(b"")), ("none", None)],
        ),
        (0, None, Some(b"\xff\x00"), &[]),
        (1, Some(b""), Some(b""), &[("twice", Some(b"1")), ("twice", Some(b"2")), ("ü", Some(b"\xfe"))]),
        (1, Some(b"\xff"), Some(b"x"), &[]),
        // A tombstone has no value: it is rejected, and says as much of itself there.
        (1, Some(b"gone"), None, &[("why", Some(b"asked for"))]),
        (0, Some("schlüssel".as_bytes()), Some(b"last"), &[]),
    ];
    let brokers = broker().brokers();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let topics = ["one", "two"].map(|what| new_topic(brokers, what, 2));
    let mut kafka = writer(brokers);
    for topic in &topics {
        let mut archive = archive(folder.path(), topic);
        let mut offsets = [0, 0];
        for (at, (partition, key, value, headers)) in (0..).zip(RECORDS) {
            let (timestamp_ms, offset) = (NOON_MS + at, &mut offsets[partition as usize]);
            archive.push(partition, *offset, timestamp_ms, key, value, headers).expect("a record");
            *offset += 1;
            let timestamp_ms = Some(timestamp_ms);
            kafka
                .write(WriteRecord { topic, partition, timestamp_ms, key, value, headers })
                .expect("a record is taken");
        }
        archive.finish().expect("the archive");
    }
    kafka.flush(PATIENCE).expect("the records are acknowledged");

    let text = format!(
        "pipeline: metadata
sources:
  records:
    kafka: {{ topics: [{}, {}], brokers: \"{brokers}\", end: latest }}
    format: raw
steps:
  all:
    from: records
    select: [_topic, _partition, _offset, _timestamp, _key, _headers, value]
sinks:
  all: {{ from: all, parquet: {{}} }}
",
        topics[0], topics[1]
    );
    let plan = plan(&text, Path::new(""));
    let recorded = outcome(&plan, 1, Some(folder.path()));
    assert_eq!(recorded.accounts, [[12, 10, 0, 2]]);
    let first = recorded.rows["all"].iter().find(|row| row.contains("trace")).expect("the first record");
    for part in [topics[0].as_str(), "\"_offset\":0", "2026-03-02T12:00:00", "none"] {
        assert!(first.contains(part), "{first} lacks {part}");
    }
    for workers in [1, 2] {
        assert_same(&format!("{workers} workers"), &outcome(&plan, workers, None), &recorded);
    }
}

/// Why a job over a topic can't begin, and that it is told in time.
fn refused(brokers: &str, topic: &str) -> String {
    let plan = offsets_read(brokers, topic, "end: latest");
    let output = tempfile::tempdir().expect("a temporary folder");
    let started = Instant::now();
    let error = thalweg::run::run(&plan, &RunOptions::new(2, output.path()), &Control::new())
        .expect_err("a source that can't be opened");
    assert!(started.elapsed() < TOLD_WITHIN, "told after {:?}: {error}", started.elapsed());
    assert_eq!(published(output.path()), Vec::<std::path::PathBuf>::new());
    error.to_string()
}

#[test]
fn an_unknown_topic_is_told_with_the_one_that_was_meant() {
    let brokers = broker().brokers();
    let topic = new_topic(brokers, "agent-metrics", 1);
    let wrong = topic.replace("metrics", "metrcis");
    let message = refused(brokers, &wrong);
    assert_eq!(message, format!("records: topic {wrong} does not exist; did you mean \"{topic}\"?"));
}

#[test]
fn brokers_that_do_not_answer_are_told_with_what_to_check() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let closed = listener.local_addr().expect("an address").to_string();
    drop(listener);
    let message = refused(&closed, "anything");
    assert!(message.starts_with(&format!("records: no broker of {closed} answers")), "{message}");
    assert!(message.contains("; check that they run and can be reached from here"), "{message}");
}

/// Number of records of a partition before the last, which lies a day behind; a tenth of a second apart.
const RECORDS: i64 = 30_000;
const A_DAY_MS: i64 = 86_400_000;

fn fill_events(brokers: &str, topic: &str, numbers: std::ops::Range<i64>) {
    let mut writer = writer(brokers);
    for number in numbers {
        let at = NOON_MS + if number == RECORDS { A_DAY_MS } else { number * 100 };
        let value = format!("{{\"at\": {at}, \"number\": {number}}}");
        for partition in [0, 1] {
            let (timestamp_ms, value) = (Some(at), Some(value.as_bytes()));
            let record = WriteRecord { topic, partition, timestamp_ms, key: None, value, headers: &[] };
            writer.write(record).expect("a record is taken");
        }
    }
    writer.flush(PATIENCE).expect("the records are acknowledged");
}

fn restart_plan(brokers: &str, topic: &str) -> Plan {
    let text = format!(
        "pipeline: restart
schemas:
  event:
    fields:
      - {{ name: at, type: timestamp, encoding: ms, required: true }}
      - {{ name: number, type: int64, required: true }}
sources:
  events:
    # Little is fetched ahead, so that much is still on the broker when it goes away.
    kafka:
      topic: {topic}
      brokers: \"{brokers}\"
      properties: {{ queued.max.messages.kbytes: 32, fetch.message.max.bytes: 16384 }}
    schema: event
    event_time: {{ field: at }}
steps:
  all: {{ from: events, select: [_partition, _offset, number] }}
  minutes:
    from: events
    window: {{ tumbling: 1m }}
    select: {{ events: count(*), total: sum(number) }}
sinks:
  all: {{ from: all, parquet: {{}} }}
  minutes: {{ from: minutes, parquet: {{}} }}
"
    );
    plan(&text, Path::new(""))
}

#[test]
fn a_broker_that_restarts_in_mid_run_costs_no_row() {
    let mut broker = Broker::start().unwrap_or_else(|error| panic!("{error}"));
    let brokers = broker.brokers().to_owned();
    let topic = new_topic(&brokers, "restart", 2);
    fill_events(&brokers, &topic, 0..RECORDS / 2);
    let output = tempfile::tempdir().expect("a temporary folder");
    let control = Control::new();
    let job = prepare(&restart_plan(&brokers, &topic), &RunOptions::new(2, output.path()), &control);
    let job = job.unwrap_or_else(|error| panic!("{error}"));
    let status = job.status();
    assert!(!status.bounded);
    let running = Running::start(move || job.run());
    wait_until("reading has begun", || status.sources[0].read() > 0);
    broker.restart().unwrap_or_else(|error| panic!("{error}"));
    fill_events(&brokers, &topic, RECORDS / 2..RECORDS + 1);
    // All windows but those of the last record's minute have fired when all records have arrived.
    let minutes = RECORDS / 600;
    wait_until("all windows fire", || status.windows_fired() == minutes.unsigned_abs());
    control.stop();
    let summary: Summary = running.end().unwrap_or_else(|error| panic!("{error}"));
    assert!(summary.stopped && summary.windows_open == 1, "{summary:?}");
    let source = &summary.sources[0];
    let all = 2 * (RECORDS + 1).unsigned_abs();
    assert_eq!([source.read, source.accepted, source.late, source.rejected], [all, all, 0, 0]);

    let row = |partition: i64, number: i64| {
        format!("{{\"_partition\":{partition},\"_offset\":{number},\"number\":{number}}}")
    };
    let expected: Vec<String> =
        [0, 1].into_iter().flat_map(|partition| (0..=RECORDS).map(move |at| row(partition, at))).collect();
    assert_same_rows("all", &rows(output.path(), "all"), &expected);
    let totals =
        crate::support::query(output.path(), "select events, total from minutes order by window_start");
    assert_eq!(totals.len() as i64, minutes);
    for (minute, row) in (0..).zip(totals) {
        let total: i64 = (minute * 600..(minute + 1) * 600).sum();
        assert_eq!(
            (row["events"].as_i64(), row["total"].as_i64()),
            (Some(1200), Some(2 * total)),
            "{minute}"
        );
    }
}
