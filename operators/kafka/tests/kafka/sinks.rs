//! The sink: each row once, whatever happens to its publisher or to the broker.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use futures::executor::block_on;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use thalweg_engine::checkpoint::{Publisher, StagedFile};
use thalweg_kafka::broker::Broker;
use thalweg_kafka::{
    KafkaConfig, KafkaPublisher, KafkaSinkConfig, TransactionalWriter, WriteRecord, partition_of,
};
use thalweg_operators::sink::Sink;
use thalweg_operators::sink::ipc::IpcSink;
use thalweg_operators::sink::staging::{STAGING, Staging};

use crate::support::*;

/// 2026-01-15, in microseconds.
const DAY_US: i64 = 1_768_435_200_000_000;
/// The run that stages; what publishes belongs to the next one.
const GENERATION: u64 = 1;

/// A sink of a job of its own, with a folder that goes with it.
struct Fixture {
    config: KafkaSinkConfig,
    folder: PathBuf,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        // Nothing hangs on it: the folder is a temporary one.
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

impl Fixture {
    fn new(brokers: &str, partitions: i32, settings: &[(&str, &str)]) -> Fixture {
        let topic = new_topic(brokers, "sink", partitions, settings);
        let folder = std::env::temp_dir().join(format!("thalweg-{topic}"));
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        let config = KafkaSinkConfig {
            job: topic.clone(),
            sink: "out".to_owned(),
            brokers: brokers.to_owned(),
            topic,
            key: vec!["name".to_owned()],
            timestamp: None,
            properties: BTreeMap::new(),
        };
        Fixture { config, folder }
    }

    fn publisher(&self) -> KafkaPublisher {
        KafkaPublisher::new(self.config.clone(), &self.folder, GENERATION + 1)
    }

    fn writer(&self) -> TransactionalWriter {
        TransactionalWriter::open(self.config.transactional().expect("no bad property")).expect("a writer")
    }

    fn stage(&self, checkpoint: u64, worker: usize, batches: Vec<RecordBatch>) -> Vec<StagedFile> {
        let staging = Staging { generation: GENERATION, worker, in_place: false };
        let mut sink = IpcSink::new("out", &self.folder, staging, Arc::default());
        batches.into_iter().for_each(|batch| sink.write(batch).expect("a row is written"));
        sink.stage(checkpoint).expect("rows are staged")
    }

    /// What consumers in read_committed see.
    fn rows(&self) -> Vec<Row> {
        read_all(&everything(&self.config.brokers, &[&self.config.topic]))
    }

    /// Everything that was written, of open and aborted transactions too.
    fn uncommitted(&self) -> KafkaConfig {
        let mut config = everything(&self.config.brokers, &[&self.config.topic]);
        config.properties.insert("isolation.level".to_owned(), "read_uncommitted".to_owned());
        config
    }

    /// Waits until no transaction is open: after a commit is promised, the partitions learn of it one by one.
    fn settle(&self) {
        let ends = |config: &KafkaConfig| -> Vec<_> {
            resolve(config).splits().iter().map(|split| (split.partition, split.end)).collect()
        };
        let limit = Instant::now() + PATIENCE;
        while ends(&everything(&self.config.brokers, &[&self.config.topic])) != ends(&self.uncommitted()) {
            assert!(Instant::now() < limit, "a transaction stays open");
        }
    }

    /// What consumers in read_committed see once no transaction is open.
    fn settled_rows(&self) -> Vec<Row> {
        self.settle();
        self.rows()
    }

    /// The numbers of these rows, sorted.
    fn numbers(&self) -> Vec<i64> {
        sorted(&self.settled_rows())
    }
}

fn is_there(path: &Path) -> bool {
    path.try_exists().expect("a folder that can be read")
}

/// Rows `from..to`, each with a name, of which there are seven, and a window's end of its own.
fn rows(from: i64, to: i64) -> RecordBatch {
    let ends = (from..to).map(|number| DAY_US + number * 1_000_000);
    let ends = TimestampMicrosecondArray::from_iter_values(ends).with_timezone("UTC");
    let names = StringArray::from_iter_values((from..to).map(|number| format!("name {}", number % 7)));
    let numbers = Int64Array::from_iter_values(from..to);
    let hidden = Int64Array::from_iter_values(from..to);
    RecordBatch::try_from_iter([
        ("window_end", Arc::new(ends) as _),
        ("name", Arc::new(names) as _),
        ("number", Arc::new(numbers) as _),
        ("__shard", Arc::new(hidden) as _),
    ])
    .expect("columns of one length")
}

fn number(row: &Row) -> i64 {
    let value = row.value.as_deref().expect("a value");
    let value: serde_json::Value = serde_json::from_slice(value).expect("JSON");
    value["number"].as_i64().expect("a number")
}

fn sorted(rows: &[Row]) -> Vec<i64> {
    let mut numbers: Vec<i64> = rows.iter().map(number).collect();
    numbers.sort_unstable();
    numbers
}

fn all(to: i64) -> Vec<i64> {
    (0..to).collect()
}

#[test]
fn a_row_is_seen_once_with_its_key_partition_and_timestamp() {
    let fixture = Fixture::new(shared().brokers(), 5, &[]);
    let mut first = fixture.stage(1, 0, vec![rows(0, 30), rows(30, 60)]);
    first.extend(fixture.stage(1, 1, vec![rows(60, 100)]));
    assert_eq!(first.iter().map(|file| file.rows).sum::<u64>(), 100);
    let mut publisher = fixture.publisher();
    publisher.sweep(0).expect("nothing is there yet");
    assert!(!is_there(&fixture.folder.join(STAGING)), "what no checkpoint knows is swept");
    let mut first = fixture.stage(1, 0, vec![rows(0, 30), rows(30, 60)]);
    first.extend(fixture.stage(1, 1, vec![rows(60, 100)]));
    assert!(fixture.rows().is_empty(), "staged rows were seen");

    publisher.publish(1, &first).expect("published");
    assert_eq!(fixture.numbers(), all(100));
    assert!(first.iter().all(|file| !is_there(&fixture.folder.join(&file.staged))), "staged files stayed");
    publisher.publish(1, &first).expect("published already");
    publisher.publish(2, &[]).expect("nothing to publish");
    assert_eq!(fixture.writer().progress(), Some(1), "a checkpoint without rows needs no transaction");
    // The writer above has taken over: what follows is the next run.
    let mut publisher = fixture.publisher();
    publisher.publish(1, &first).expect("published by the run before");
    publisher.publish(3, &fixture.stage(3, 0, vec![rows(100, 120)])).expect("published");
    assert_eq!(fixture.numbers(), all(120));

    for row in fixture.settled_rows() {
        let number = number(&row);
        let name = format!("name {}", number % 7);
        assert_eq!(row.key.as_deref(), Some(name.as_bytes()));
        assert_eq!(row.partition, partition_of(name.as_bytes(), 5));
        assert_eq!(row.timestamp_us, Some(DAY_US + number * 1_000_000));
        assert!(row.headers.is_empty());
        let minute = number / 60;
        let value = format!(
            "{{\"window_end\":\"2026-01-15T00:{minute:02}:{:02}Z\",\"name\":\"{name}\",\"number\":{number}}}",
            number % 60
        );
        assert_eq!(row.value.as_deref(), Some(value.as_bytes()));
    }
}

#[test]
fn rows_without_a_key_are_spread_and_rows_without_a_time_have_no_timestamp() {
    let mut fixture = Fixture::new(shared().brokers(), 3, &[]);
    fixture.config.key.clear();
    let timeless = rows(0, 300).project(&[1, 2]).expect("two columns");
    fixture.publisher().publish(1, &fixture.stage(1, 0, vec![timeless])).expect("published");
    assert_eq!(fixture.numbers(), all(300));
    let seen = fixture.settled_rows();
    for row in &seen {
        assert_eq!((row.key.as_ref(), row.timestamp_us), (None, None));
        assert_eq!(row.partition, partition_of(row.value.as_deref().expect("a value"), 3));
    }
    assert_eq!(seen.iter().map(|row| row.partition).collect::<BTreeSet<_>>().len(), 3);
}

#[test]
fn what_a_run_left_open_is_aborted_by_the_next() {
    let fixture = Fixture::new(shared().brokers(), 2, &[]);
    fixture.publisher().publish(1, &fixture.stage(1, 0, vec![rows(0, 10)])).expect("published");
    fixture.settle();
    let mut dead = fixture.writer();
    dead.begin().expect("a transaction");
    for number in 10..15 {
        let value = format!("{{\"number\":{number}}}");
        let value = Some(value.as_bytes());
        let topic = &fixture.config.topic;
        let record = WriteRecord { topic, partition: 0, timestamp_ms: None, key: None, value, headers: &[] };
        dead.write(record).expect("taken");
    }
    dead.flush().expect("acknowledged");
    assert_eq!(read_all(&fixture.uncommitted()).len(), 15);
    assert_eq!(sorted(&fixture.rows()), all(10), "uncommitted rows were seen");

    let mut next = fixture.publisher();
    next.publish(2, &fixture.stage(2, 0, vec![rows(10, 20)])).expect("published");
    assert_eq!(fixture.numbers(), all(20));
    assert_eq!(read_all(&fixture.uncommitted()).len(), 25);
    let error = dead.commit(2, "too late").expect_err("it was fenced off").to_string();
    assert!(error.contains("another run of this job has taken over"), "{error}");
    assert_eq!(fixture.numbers(), all(20));
}

#[test]
fn of_two_publishers_the_older_one_is_told_that_the_newer_has_taken_over() {
    let fixture = Fixture::new(shared().brokers(), 2, &[]);
    let (mut older, mut newer) = (fixture.publisher(), fixture.publisher());
    older.publish(1, &fixture.stage(1, 0, vec![rows(0, 10)])).expect("published");
    newer.sweep(1).expect("nothing is left over");
    let second = fixture.stage(2, 0, vec![rows(10, 20)]);
    let started = Instant::now();
    let error = older.publish(2, &second).expect_err("it was fenced off").to_string();
    assert!(error.starts_with("another run of this job has taken over"), "{error}");
    assert!(error.contains(&format!("thalweg.{}.out", fixture.config.job)), "{error}");
    assert!(started.elapsed() < Duration::from_secs(10), "told after {:?}", started.elapsed());
    assert!(
        second.iter().all(|file| is_there(&fixture.folder.join(&file.staged))),
        "the files are the newer one's"
    );
    let error = older.publish(2, &second).expect_err("it stays fenced off").to_string();
    assert!(error.starts_with("another run of this job has taken over"), "{error}");
    newer.publish(2, &second).expect("published");
    assert_eq!(fixture.numbers(), all(20));
}

#[test]
fn the_progress_outlives_the_broker_and_a_run_can_not_go_back_behind_it() {
    let mut broker = Broker::start().unwrap_or_else(|error| panic!("{error}"));
    let fixture = Fixture::new(broker.brokers(), 1, &[]);
    let mut publisher = fixture.publisher();
    let third = fixture.stage(3, 0, vec![rows(0, 10)]);
    publisher.publish(3, &third).expect("published");
    broker.kill().unwrap_or_else(|error| panic!("{error}"));
    broker.resume().unwrap_or_else(|error| panic!("{error}"));
    publisher.publish(4, &fixture.stage(4, 0, vec![rows(10, 20)])).expect("published");
    broker.restart().unwrap_or_else(|error| panic!("{error}"));

    let mut next = fixture.publisher();
    // As if the run before had been killed before it could delete what it had sent.
    let again = fixture.stage(4, 0, vec![rows(10, 20)]);
    next.publish(4, &again).expect("published already");
    next.sweep(4).expect("that is where it stands");
    assert_eq!(fixture.numbers(), all(20));
    let refusals = |publisher: &mut KafkaPublisher| {
        publisher.publish(3, &third).expect("published long ago");
        for newest in [3, 2] {
            let error = publisher.sweep(newest).expect_err("it would write rows twice").to_string();
            assert!(error.contains("holds the rows up to checkpoint 4 already"), "{error}");
            assert!(error.contains(&format!("a run from checkpoint {newest} would")), "{error}");
        }
    };
    refusals(&mut next);

    // A week later the brokers have forgotten it.
    next.publish(4, &again).expect("published already");
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", broker.brokers()).create().expect("a client");
    let group = format!("thalweg.{}.out", fixture.config.job);
    let deleted = block_on(admin.delete_groups(&[&group], &AdminOptions::new())).expect("an answer");
    deleted.into_iter().for_each(|group| drop(group.expect("the group is deleted")));
    let mut next = fixture.publisher();
    next.publish(4, &again).expect("noted as published");
    refusals(&mut next);
    assert_eq!(fixture.numbers(), all(20));
}

#[test]
fn rows_go_to_another_topic_from_the_checkpoint_on_at_which_it_was_changed() {
    let mut fixture = Fixture::new(shared().brokers(), 1, &[]);
    let third = fixture.stage(3, 0, vec![rows(0, 10)]);
    let fourth = fixture.stage(4, 0, vec![rows(10, 20)]);
    let mut publisher = fixture.publisher();
    publisher.publish(3, &third).expect("published");
    publisher.publish(4, &fourth).expect("published");
    assert_eq!(fixture.numbers(), all(20));

    fixture.config.topic = new_topic(&fixture.config.brokers, "other", 1, &[]);
    let mut publisher = fixture.publisher();
    publisher.publish(4, &fourth).expect("sent to the topic of that time");
    publisher.sweep(4).expect("that is where it stands");
    assert!(fixture.numbers().is_empty());
    // There, nothing is in the way of going back.
    let mut publisher = fixture.publisher();
    publisher.publish(3, &third).expect("sent to the topic of that time");
    publisher.sweep(3).expect("nothing of checkpoint 4 is here");
    publisher.publish(4, &fixture.stage(4, 0, vec![rows(0, 10)])).expect("published");
    assert_eq!(fixture.numbers(), all(10));
}

#[test]
fn a_large_checkpoint_is_one_transaction_through_a_killed_broker() {
    let mut broker = Broker::start().unwrap_or_else(|error| panic!("{error}"));
    let fixture = Fixture::new(broker.brokers(), 4, &[]);
    let count = 200_000;
    let batches =
        |from: i64, to: i64| (from..to).step_by(8_000).map(|from| rows(from, from + 8_000)).collect();
    fixture.publisher().publish(1, &fixture.stage(1, 0, batches(0, count))).expect("published");

    let files = fixture.stage(2, 0, batches(count, 4 * count));
    let mut publisher = fixture.publisher();
    let publishing =
        std::thread::spawn(move || publisher.publish(2, &files).map_err(|error| error.to_string()));
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker.brokers())
        .set("isolation.level", "read_uncommitted")
        .create()
        .expect("a client");
    let high = || {
        let high = |partition| consumer.fetch_watermarks(&fixture.config.topic, partition, PATIENCE);
        (0..4).map(|partition| high(partition).expect("an answer").1).sum::<i64>()
    };
    let limit = Instant::now() + PATIENCE;
    while high() < count + 10_000 {
        assert!(Instant::now() < limit, "nothing is sent");
        assert!(!publishing.is_finished(), "it was published, and nothing seen");
    }
    broker.kill().unwrap_or_else(|error| panic!("{error}"));
    assert!(
        !publishing.is_finished(),
        "it was published before the broker was killed: the test shows nothing"
    );
    broker.resume().unwrap_or_else(|error| panic!("{error}"));
    publishing.join().expect("no panic").expect("published");
    assert_eq!(fixture.numbers(), all(4 * count));
    assert_eq!(fixture.writer().progress(), Some(2));
}

#[test]
fn rows_that_a_topic_does_not_take_are_errors_and_leave_nothing_open() {
    let settings = [("max.message.bytes", "2000"), ("message.timestamp.after.max.ms", "3600000")];
    let fixture = Fixture::new(shared().brokers(), 1, &settings);
    let mut publisher = fixture.publisher();
    let refused = |publisher: &mut KafkaPublisher, checkpoint, batch| {
        let started = Instant::now();
        let files = fixture.stage(checkpoint, 0, vec![batch]);
        let error = publisher.publish(checkpoint, &files).expect_err("the topic takes no such record");
        assert!(started.elapsed() < Duration::from_secs(10), "told after {:?}: {error}", started.elapsed());
        error.to_string()
    };
    // Digits that don't compress to less than the topic takes.
    let digits = |at: u64| format!("{:016x}", at.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let large = [("name", (0..900).map(digits).collect()), ("number", "0".to_owned())];
    let large = large.map(|(name, text): (_, String)| (name, Arc::new(StringArray::from(vec![text])) as _));
    let large = RecordBatch::try_from_iter(large).expect("two columns");
    let error = refused(&mut publisher, 1, large);
    assert!(error.contains(&fixture.config.topic) && error.contains("max.message.bytes"), "{error}");
    let far = DAY_US / 1_000_000 + 100 * 365 * 86_400;
    let error = refused(&mut publisher, 2, rows(far, far + 1));
    assert!(error.contains("message.timestamp.after.max.ms"), "{error}");

    let gone = fixture.stage(3, 0, vec![rows(0, 10)]);
    std::fs::remove_file(fixture.folder.join(&gone[0].staged)).expect("it was there");
    let error = publisher.publish(3, &gone).expect_err("a file is gone").to_string();
    assert!(error.contains("was staged by checkpoint 3 and is gone"), "{error}");
    let broken = fixture.stage(4, 0, vec![rows(0, 10)]);
    std::fs::write(fixture.folder.join(&broken[0].staged), b"no Arrow at all").expect("it was there");
    let error = publisher.publish(4, &broken).expect_err("a file is broken").to_string();
    assert!(error.contains("sink out: ") && error.contains(&broken[0].staged), "{error}");

    // Nothing is open: readers get to the end, and the publisher goes on.
    assert!(fixture.settled_rows().is_empty());
    publisher.publish(5, &fixture.stage(5, 0, vec![rows(0, 10)])).expect("published");
    assert_eq!(fixture.numbers(), all(10));
}

#[test]
fn what_is_wrong_is_told_before_a_job_starts() {
    const LIMIT: Duration = Duration::from_secs(30);
    let broker = shared();
    let fixture = Fixture::new(broker.brokers(), 1, &[]);
    let refused = |change: &dyn Fn(&mut KafkaSinkConfig), limit: Duration| {
        let mut config = fixture.config.clone();
        change(&mut config);
        let started = Instant::now();
        let error = config.check(limit).expect_err("something is wrong").to_string();
        assert!(started.elapsed() < limit + Duration::from_secs(3), "told after {:?}", started.elapsed());
        error
    };
    fixture.config.check(LIMIT).expect("all is well");
    let misspelt = format!("{}x", fixture.config.topic);
    let error = refused(&|config| config.topic.clone_from(&misspelt), LIMIT);
    let meant = &fixture.config.topic;
    assert_eq!(error, format!("sink out: topic {misspelt} does not exist; did you mean \"{meant}\"?"));
    let error = refused(&|config| config.brokers = "127.0.0.1:1".to_owned(), Duration::from_secs(2));
    assert!(error.starts_with("sink out: no broker of 127.0.0.1:1 answers, for 2 s now"), "{error}");
    let error = refused(&|config| drop(config.properties.insert("acks".into(), "0".into())), LIMIT);
    assert!(error.contains("property \"acks\" can't be set"), "{error}");
    let login = |config: &mut KafkaSinkConfig, password: &str| {
        config.properties = [
            ("security.protocol", "sasl_plaintext"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", "reader"),
            ("sasl.password", password),
            ("linger.ms", "5"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    };
    if let Some(brokers) = broker.sasl_brokers() {
        let with_login = |password: &'static str| {
            move |config: &mut KafkaSinkConfig| {
                config.brokers = brokers.to_owned();
                login(config, password);
            }
        };
        let error = refused(&with_login("brook"), LIMIT);
        assert!(error.starts_with("sink out: the broker refuses the login: "), "{error}");
        let mut right = fixture.config.clone();
        with_login("river")(&mut right);
        right.check(LIMIT).expect("the right password");
        let files = fixture.stage(1, 0, vec![rows(0, 10)]);
        KafkaPublisher::new(right, &fixture.folder, GENERATION + 1).publish(1, &files).expect("published");
        assert_eq!(fixture.numbers(), all(10));
    }
}

#[test]
fn a_topic_that_grows_gets_rows_in_its_new_partitions() {
    let fixture = Fixture::new(shared().brokers(), 1, &[]);
    let mut publisher = fixture.publisher();
    publisher.publish(1, &fixture.stage(1, 0, vec![rows(0, 70)])).expect("published");
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", shared().brokers()).create().expect("a client");
    let more = rdkafka::admin::NewPartitions::new(&fixture.config.topic, 6);
    let grown = block_on(admin.create_partitions(&[more], &AdminOptions::new())).expect("an answer");
    grown.into_iter().for_each(|topic| drop(topic.expect("the topic grows")));
    let limit = Instant::now() + PATIENCE;
    let mut next = 70;
    // The brokers take a moment to tell everybody.
    while !fixture.settled_rows().iter().any(|row| row.partition > 0) {
        assert!(Instant::now() < limit, "no row in a new partition");
        let checkpoint = next as u64;
        publisher
            .publish(checkpoint, &fixture.stage(checkpoint, 0, vec![rows(next, next + 70)]))
            .expect("published");
        next += 70;
    }
    assert_eq!(fixture.numbers(), all(next));
    for row in fixture.settled_rows().iter().filter(|row| row.partition > 0) {
        assert_eq!(row.partition, partition_of(row.key.as_deref().expect("a key"), 6));
    }
}
