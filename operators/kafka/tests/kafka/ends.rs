//! Ends of splits whose offsets have gaps, and waiting where there is no end.

use std::thread;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use thalweg_kafka::{EndOffsets, KafkaConfig, Position, WriteRecord};
use thalweg_operators::source::reader::ReadRequest;

use crate::support::*;

enum Fate {
    Commit,
    Abort,
}

/// Writes transactions of so many records into partition 0, each followed by its marker.
fn transactions(brokers: &str, topic: &str, all: &[(usize, Fate)]) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("transactional.id", topic)
        .create()
        .expect("a producer can be made");
    producer.init_transactions(PATIENCE).expect("transactions work");
    for (records, fate) in all {
        producer.begin_transaction().expect("a transaction begins");
        for _ in 0..*records {
            producer
                .send(BaseRecord::<str, str>::to(topic).partition(0).payload("x"))
                .expect("a record is taken");
        }
        producer.flush(PATIENCE).expect("the records are acknowledged");
        match fate {
            Fate::Commit => producer.commit_transaction(PATIENCE).expect("a transaction ends"),
            Fate::Abort => producer.abort_transaction(PATIENCE).expect("a transaction ends"),
        }
    }
}

#[test]
fn a_split_ends_behind_the_markers_of_transactions() {
    let brokers = shared().brokers();
    let topic = new_topic(brokers, "transactions", 1, &[]);
    // Offsets: 0–4, marker 5; aborted 6–9, marker 10; 11–13, marker 14; aborted 15–16, marker 17.
    transactions(
        brokers,
        &topic,
        &[(5, Fate::Commit), (4, Fate::Abort), (3, Fate::Commit), (2, Fate::Abort)],
    );
    let committed: Vec<i64> = [0, 1, 2, 3, 4, 11, 12, 13].into();
    let config = everything(brokers, &[&topic]);
    assert_eq!(resolve(&config).splits()[0].end, Some(18));
    assert_eq!(offsets(&read_all(&config))[&0], committed);

    // Every possible end, with more behind it: on a record, a marker, in the middle of what was aborted.
    for end in 0..=18 {
        let rows = read_all(&bounded(brokers, &[&topic], Position::Earliest, at(&topic, &[(0, end)])));
        let expected: Vec<i64> = committed.iter().copied().filter(|offset| *offset < end).collect();
        let found: Vec<i64> = rows.iter().map(|row| row.offset).collect();
        assert_eq!(found, expected, "end {end}");
    }
    // Every possible start, up to where there is only a marker.
    for start in 0..=18 {
        let rows = read_all(&bounded(brokers, &[&topic], at(&topic, &[(0, start)]), Position::Latest));
        let expected: Vec<i64> = committed.iter().copied().filter(|offset| *offset >= start).collect();
        let found: Vec<i64> = rows.iter().map(|row| row.offset).collect();
        assert_eq!(found, expected, "start {start}");
    }
}

#[test]
fn what_is_not_committed_lies_behind_the_end() {
    let brokers = shared().brokers();
    let topic = new_topic(brokers, "open", 1, &[]);
    fill(brokers, &topic, 1, 3);
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("transactional.id", &topic)
        .create()
        .expect("a producer can be made");
    producer.init_transactions(PATIENCE).expect("transactions work");
    producer.begin_transaction().expect("a transaction begins");
    producer.send(BaseRecord::<str, str>::to(&topic).partition(0).payload("x")).expect("a record is taken");
    producer.flush(PATIENCE).expect("the record is acknowledged");

    let config = everything(brokers, &[&topic]);
    assert_eq!(resolve(&config).splits()[0].end, Some(3));
    assert_eq!(offsets(&read_all(&config))[&0], [0, 1, 2]);
    let mut uncommitted = config.clone();
    uncommitted.properties.insert("isolation.level".to_owned(), "read_uncommitted".to_owned());
    assert_eq!(offsets(&read_all(&uncommitted))[&0], [0, 1, 2, 3]);
    producer.abort_transaction(PATIENCE).expect("a transaction ends");
}

#[test]
fn a_split_ends_though_compaction_took_the_records_before_its_end() {
    let brokers = shared().brokers();
    // A record a minute, a segment a second: every record opens a segment, and all but the newest are compacted.
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "1000"),
        ("min.cleanable.dirty.ratio", "0.001"),
        ("max.compaction.lag.ms", "1000"),
    ];
    let topic = new_topic(brokers, "compacted", 1, &settings);
    let mut writer = writer(brokers);
    for at in 0..20_i64 {
        let key: &[u8] = if at < 3 { b"early" } else { b"often" };
        let value = payload(0, at);
        let record = WriteRecord {
            topic: &topic,
            partition: 0,
            timestamp_ms: Some(1_000_000 + at * 60_000),
            key: Some(key),
            value: Some(value.as_bytes()),
            headers: &[],
        };
        writer.write(record).expect("a record is taken");
        // By itself, or it would share a batch, and so a segment, with others.
        writer.flush(PATIENCE).expect("the record is acknowledged");
    }
    // Left are the last "early", the last "often" of the compacted segments, and the newest record.
    let limit = Instant::now() + PATIENCE;
    loop {
        let rows = read_all(&everything(brokers, &[&topic]));
        let found: Vec<i64> = rows.iter().map(|row| row.offset).collect();
        if found == [2, 18, 19] {
            break;
        }
        assert!(Instant::now() < limit, "compaction left {found:?}");
    }
    // The end lies in the gap, the record behind it is not handed out.
    let rows = read_all(&bounded(brokers, &[&topic], Position::Earliest, at(&topic, &[(0, 10)])));
    assert_eq!(offsets(&rows)[&0], [2]);
    // Start and end lie in the gap.
    let rows = read_all(&bounded(brokers, &[&topic], at(&topic, &[(0, 5)]), at(&topic, &[(0, 10)])));
    assert_eq!(rows, []);
}

#[test]
fn a_read_waits_as_long_as_it_may_and_no_longer_than_it_must() {
    let brokers = shared().brokers();
    let topic = new_topic(brokers, "waiting", 2, &[]);
    let config = KafkaConfig::new("calls", brokers, [topic.as_str()]);
    let mut reader = resolve(&config).reader(0, 1).expect("a reader can be made");
    let mut rows = Vec::new();
    let request = |wait| ReadRequest { bytes_max: 1000, records_max: 1000, wait, order: &[0, 1] };

    let started = Instant::now();
    for _ in 0..50 {
        read(&mut reader, request(Duration::ZERO), &mut rows);
    }
    assert!(started.elapsed() < Duration::from_secs(3), "reads that may not wait waited");

    let started = Instant::now();
    read(&mut reader, request(Duration::from_millis(300)), &mut rows);
    let waited = started.elapsed();
    assert!(rows.is_empty());
    assert!((300..2000).contains(&waited.as_millis()), "waited {waited:?} instead of 300 ms");

    thread::scope(|scope| {
        scope.spawn(|| fill(brokers, &topic, 2, 1));
        let started = Instant::now();
        while rows.len() < 2 {
            read(&mut reader, request(PATIENCE), &mut rows);
        }
        assert!(started.elapsed() < PATIENCE / 2, "the records' arrival woke nobody");
    });
}

#[test]
fn where_splits_end_now_is_told_as_often_as_it_is_asked() {
    let brokers = shared().brokers();
    let topic = new_topic(brokers, "growing", 2, &[]);
    let ends = EndOffsets::new(&everything(brokers, &[&topic])).expect("a client can be made");
    fill(brokers, &topic, 2, 5);
    let splits = [(topic.as_str(), 1), (topic.as_str(), 0)];
    let limit = Instant::now() + PATIENCE;
    // A client that has not connected yet may have no answer.
    let mut told = ends.ask(&splits, Duration::from_secs(5));
    while told != [Some(5), Some(5)] {
        assert!(Instant::now() < limit, "{told:?}");
        told = ends.ask(&splits, Duration::from_secs(5));
    }
    fill(brokers, &topic, 1, 2);
    assert_eq!(ends.ask(&splits, PATIENCE), [Some(5), Some(7)]);

    let nowhere = KafkaConfig::new("calls", "127.0.0.1:1", ["calls"]);
    let ends = EndOffsets::new(&nowhere).expect("a client can be made");
    assert_eq!(ends.ask(&[("calls", 0)], Duration::from_millis(200)), [None], "no broker answers");
}
