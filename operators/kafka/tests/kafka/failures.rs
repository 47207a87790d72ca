//! What goes wrong: clear errors in time where it can't be mended, and nothing at all where it can.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use thalweg_kafka::broker::Broker;
use thalweg_kafka::{KafkaConfig, Position, WriteRecord};
use thalweg_operators::source::reader::{ReadRequest, SourceError, SplitReader};

use crate::support::*;

/// What users are promised to wait at most before they are told.
const TOLD_WITHIN: Duration = Duration::from_secs(30);

/// The message of the error that a configuration leads to, and how long it took.
fn refused(config: &KafkaConfig, limit: Duration) -> (String, Duration) {
    let started = Instant::now();
    match config.resolve(limit) {
        Ok(_) => panic!("{config:?} was taken"),
        Err(error) => (error.to_string(), started.elapsed()),
    }
}

#[test]
fn a_broker_that_restarts_is_waited_for_and_one_that_is_gone_is_an_error() {
    let mut broker = Broker::start().unwrap_or_else(|error| panic!("{error}"));
    let topic = new_topic(broker.brokers(), "restart", 2, &[]);
    let count = 60_000;
    fill(broker.brokers(), &topic, 2, count);
    let mut config = everything(broker.brokers(), &[&topic]);
    // Most is still on the broker when it goes away.
    config.prefetch_bytes_max = 256 << 10;
    let mut reader = resolve(&config).reader(0, 1).expect("a reader can be made");
    let mut rows = Vec::new();
    let mut order = vec![0, 1];
    let mut read_until = |limit: usize, broker: &str| {
        let deadline = Instant::now() + PATIENCE;
        while rows.len() < limit && !order.is_empty() {
            assert!(Instant::now() < deadline, "{} records after a minute, broker {broker}", rows.len());
            let request = ReadRequest {
                bytes_max: usize::MAX,
                records_max: 1000,
                wait: Duration::from_secs(1),
                order: &order,
            };
            let progress = read(&mut reader, request, &mut rows);
            order.retain(|split| !progress.ended.contains(split));
        }
        rows.len()
    };
    let third = usize::try_from(count * 2 / 3).expect("small");
    assert!(read_until(third, "running") < third * 2);
    broker.restart().unwrap_or_else(|error| panic!("{error}"));
    assert!(read_until(third * 2, "restarted") < third * 3);
    broker.kill().unwrap_or_else(|error| panic!("{error}"));
    assert!(TcpStream::connect(broker.brokers()).is_err(), "the broker was not killed");
    // What was fetched before comes still; then the read waits, without an error.
    let pause = Instant::now();
    let mut last = 0;
    while pause.elapsed() < Duration::from_secs(3) {
        let request = ReadRequest {
            bytes_max: usize::MAX,
            records_max: 1000,
            wait: Duration::from_secs(1),
            order: &[0, 1],
        };
        last = read(&mut reader, request, &mut rows).records;
    }
    assert_eq!(last, 0, "all was fetched before the broker was killed: the test shows nothing");
    broker.resume().unwrap_or_else(|error| panic!("{error}"));
    rows.extend(read_to_end(&mut reader, usize::MAX, usize::MAX));
    let offsets = offsets(&rows);
    for partition in [0, 1] {
        assert_eq!(offsets[&partition], (0..count).collect::<Vec<_>>());
    }

    let unbounded = KafkaConfig { end: None, start: Position::Latest, ..config };
    let mut reader = resolve(&unbounded).reader(0, 1).expect("a reader can be made");
    let request =
        ReadRequest { bytes_max: 1, records_max: 1, wait: Duration::from_millis(500), order: &[0, 1] };
    let deadline = Instant::now() + PATIENCE;
    while !reader.is_silent(0) {
        assert!(Instant::now() < deadline, "the broker was not heard to have nothing");
        reader.read(request, &mut |_| ()).expect("the broker is there");
    }
    broker.kill().unwrap_or_else(|error| panic!("{error}"));
    let started = Instant::now();
    let error = loop {
        if let Err(error) = reader.read(request, &mut |_| ()) {
            break error.to_string();
        }
        let said_before = started.elapsed() < Duration::from_secs(6);
        assert!(!reader.is_silent(0) || said_before, "nobody can know what the broker holds");
        assert!(started.elapsed() < TOLD_WITHIN, "nobody was told that the broker is gone");
    };
    assert!(started.elapsed() > Duration::from_secs(15), "gave up after {:?}: {error}", started.elapsed());
    assert!(error.contains("no broker of 127.0.0.1:") && error.contains("check that they run"), "{error}");

    let address = broker.brokers().to_owned();
    drop(broker);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn brokers_that_do_not_answer_are_an_error() {
    let config = KafkaConfig::new("calls", "127.0.0.1:1", ["calls"]);
    let (message, took) = refused(&config, Duration::from_secs(3));
    assert!(took < Duration::from_secs(6), "told after {took:?}");
    assert!(message.starts_with("calls: no broker of 127.0.0.1:1 answers, for 3 s now: "), "{message}");
    assert!(message.contains("refused"), "the reason isn't told: {message}");
    assert!(
        message.ends_with(
            "check that they run and can be reached from here, and that security.protocol is theirs"
        )
    );

    let config = KafkaConfig::new("calls", "no-such-host.invalid:9092", ["calls"]);
    let (message, _) = refused(&config, Duration::from_secs(3));
    assert!(message.contains("no-such-host.invalid"), "{message}");
}

#[test]
fn a_topic_that_does_not_exist_is_an_error() {
    let brokers = shared().brokers();
    let topic = new_topic(brokers, "provider-requests", 1, &[]);
    let wrong = topic.replace("requests", "reqeusts");
    let (message, took) = refused(&everything(brokers, &[&wrong]), TOLD_WITHIN);
    assert_eq!(message, format!("calls: topic {wrong} does not exist; did you mean \"{topic}\"?"));
    assert!(took < Duration::from_secs(10), "told after {took:?}");
    let (message, _) = refused(&everything(brokers, &["xyzzy"]), TOLD_WITHIN);
    assert!(message.starts_with("calls: topic xyzzy does not exist; create it, or check"), "{message}");
    let (message, _) = refused(&everything(brokers, &["not a name"]), TOLD_WITHIN);
    assert!(message.starts_with("calls: topic not a name "), "{message}");
}

#[test]
fn a_refused_login_is_an_error_at_once() {
    let broker = shared();
    let with_password = |brokers: &str, password: &str| {
        let mut config = everything(brokers, &["nowhere"]);
        config.properties = [
            ("security.protocol", "sasl_plaintext"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", "reader"),
            ("sasl.password", password),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        config
    };
    // A listener that takes no login at all …
    let mut wrong = vec![with_password(broker.brokers(), "river")];
    if let Some(brokers) = broker.sasl_brokers() {
        // … and one that takes this user with another password.
        wrong.push(with_password(brokers, "brook"));
        let (message, _) = refused(&with_password(brokers, "river"), TOLD_WITHIN);
        assert!(
            message.contains("topic nowhere does not exist"),
            "the right password was refused: {message}"
        );
    }
    for config in wrong {
        let (message, took) = refused(&config, TOLD_WITHIN);
        assert!(message.starts_with("calls: the broker refuses the login: "), "{message}");
        assert!(message.contains("check sasl.username, sasl.password"), "{message}");
        assert!(took < Duration::from_secs(5), "told after {took:?}");
    }
}

#[test]
fn offsets_outside_of_a_split_are_errors() {
    let brokers = shared().brokers();
    let topic = new_topic(brokers, "range", 2, &[]);
    fill(brokers, &topic, 2, 100);
    delete_records(brokers, &topic, 0, 50);
    let start = |offsets: &[(i32, i64)]| {
        refused(&bounded(brokers, &[&topic], at(&topic, offsets), Position::Latest), TOLD_WITHIN).0
    };
    let cases = [
        (
            start(&[(0, 49), (1, 0)]),
            "partition 0: offset 49 is not there any more, there are 50 to 100; the topic's retention",
        ),
        (start(&[(0, 50), (1, 101)]), "partition 1: offset 101 is not there, there are 0 to 100; check"),
        (start(&[(0, 50)]), "has a partition 1, for which start names no offset; name one from 0 to 100"),
        (start(&[(0, 50), (1, 0), (2, 0)]), "has no partition 2, which start names; take it out"),
        (
            refused(
                &bounded(brokers, &[&topic], Position::Earliest, at(&topic, &[(0, 50), (1, 101)])),
                TOLD_WITHIN,
            )
            .0,
            "partition 1: offset 101 is not there",
        ),
        (
            refused(
                &bounded(
                    brokers,
                    &[&topic],
                    at(&topic, &[(0, 60), (1, 60)]),
                    at(&topic, &[(0, 50), (1, 60)]),
                ),
                TOLD_WITHIN,
            )
            .0,
            "partition 0: the end lies before the start, 60",
        ),
        (
            refused(
                &bounded(brokers, &[&topic], Position::Timestamp(2), Position::Timestamp(1)),
                TOLD_WITHIN,
            )
            .0,
            "the end lies before the start",
        ),
        (refused(&everything(brokers, &[&topic, &topic]), TOLD_WITHIN).0, "is named twice"),
        (refused(&everything(brokers, &[]), TOLD_WITHIN).0, "no topic is named"),
    ];
    for (message, expected) in cases {
        assert!(message.contains(expected), "\"{message}\" lacks \"{expected}\"");
    }
}

#[test]
fn records_that_retention_takes_away_before_they_are_read_are_an_error() {
    let brokers = shared().brokers();
    let topic = new_topic(brokers, "retention", 1, &[]);
    fill(brokers, &topic, 1, 100);
    let plan = resolve(&everything(brokers, &[&topic]));
    delete_records(brokers, &topic, 0, 60);
    let mut reader = plan.reader(0, 1).expect("a reader can be made");
    let request = ReadRequest { bytes_max: 1, records_max: 1, wait: PATIENCE, order: &[0] };
    let error = reader.read(request, &mut |record| panic!("{record:?} should be gone"));
    let Err(SourceError::Topic { topic: named, detail, hint, .. }) = error else {
        panic!("{error:?}");
    };
    assert_eq!(named, topic);
    assert_eq!(detail, "partition 0: offset 0 is not there any more, there are 60 to 100");
    assert!(hint.contains("retention"), "{hint}");
}

#[test]
fn refused_properties_are_errors_before_any_connection() {
    for (name, value, expected) in [
        (
            "enable.auto.commit",
            "true",
            "property \"enable.auto.commit\" can't be set: a job's offsets live in its",
        ),
        (
            "fetch.max.bites",
            "1",
            "librdkafka knows no property \"fetch.max.bites\"; did you mean \"fetch.max.bytes\"?",
        ),
    ] {
        let mut config = KafkaConfig::new("calls", "127.0.0.1:1", ["calls"]);
        config.properties = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let (message, took) = refused(&config, TOLD_WITHIN);
        assert!(message.contains(expected), "{message}");
        assert!(took < Duration::from_secs(1), "told after {took:?}");
    }
}

#[test]
fn a_topic_made_anew_with_fewer_records_is_an_error() {
    let brokers = shared().brokers();
    let topic = new_topic(brokers, "anew", 1, &[]);
    fill(brokers, &topic, 1, 100);
    let plan = resolve(&bounded(brokers, &[&topic], at(&topic, &[(0, 90)]), Position::Latest));
    thalweg_kafka::delete_topic(brokers, &topic).expect("it can be deleted");
    thalweg_kafka::create_topic(brokers, &topic, 1, &[]).expect("it can be made");
    let mut writer = writer(brokers);
    let record = WriteRecord {
        topic: &topic,
        partition: 0,
        timestamp_ms: None,
        key: None,
        value: Some(b"new"),
        headers: &[],
    };
    writer.write(record).expect("a record is taken");
    writer.flush(PATIENCE).expect("it is acknowledged");
    let mut reader = plan.reader(0, 1).expect("a reader can be made");
    let request = ReadRequest { bytes_max: 1, records_max: 1, wait: PATIENCE, order: &[0] };
    let error = reader.read(request, &mut |record| panic!("{record:?}")).expect_err("offset 90 isn't there");
    assert!(error.to_string().contains("offset 90 is not there, there are 0 to 1"), "{error}");
    assert_eq!(reader.splits().len(), 1);
}

/// Takes away the records below `offset`, as retention would.
fn delete_records(brokers: &str, topic: &str, partition: i32, offset: i64) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create().expect("a client can be made");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(offset)).expect("a valid offset");
    let deleted = block_on(admin.delete_records(&list, &AdminOptions::new())).expect("the broker answers");
    for element in deleted.elements() {
        element.error().expect("records can be deleted");
    }
}
