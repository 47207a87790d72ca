//! Writing in transactions that carry how far one is: what is written, and the record that it is written, exist together.
//!
//! ```text
//!   open ─▶ init: older writers are fenced off, what they left open is aborted ─▶ progress, as last committed
//!   begin ─▶ write, write, … ─▶ commit(n): acknowledged ─▶ progress n joins the transaction ─▶ committed, all or nothing
//! ```
//!
//! The progress is the committed offset of a consumer group of the writer's own, on partition 0 of its topic: Kafka keeps it,
//! applies it with the transaction, and shows it to any tool that lists groups. No member ever joins the group.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use rdkafka::consumer::{Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::producer::Producer;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use thalweg_engine::failpoint;

use crate::config::KafkaConfig;
use crate::error::{KafkaError, hint_of};
use crate::plan::{Cluster, code};
use crate::writer::{KafkaWriter, WriteRecord};

/// How long the brokers may take to answer, restarts included.
const LIMIT: Duration = Duration::from_secs(60);
/// As long they may take to abort: what can't be aborted is aborted for the next writer.
const ABORT_LIMIT: Duration = Duration::from_secs(15);
/// How long they are asked at a time: between, the client's events are served.
const ATTEMPT: Duration = Duration::from_secs(1);
/// Where the progress stands.
const PARTITION: i32 = 0;
/// How long a transaction may last. A broker aborts what lasts longer, and by default allows up to 15 min.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(600);

/// Who writes in transactions, and where.
#[derive(Clone)]
pub struct TransactionalConfig {
    /// The writer's name, for messages: that of its sink.
    pub name: String,
    /// The `transactional.id`, and the group that holds the progress: the same in all runs of a job, and in no other job.
    pub id: String,
    /// `host:port`, several separated by commas.
    pub brokers: String,
    /// The topic on whose partition 0 the progress stands, and mostly the one that is written to.
    pub topic: String,
    /// librdkafka's properties; `transaction.timeout.ms` is 10 min by default.
    pub properties: BTreeMap<String, String>,
}

// Not derived: properties hold passwords.
impl fmt::Debug for TransactionalConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransactionalConfig")
            .field("name", &self.name)
            .field("id", &self.id)
            .field("brokers", &self.brokers)
            .field("topic", &self.topic)
            .field("properties", &self.properties.keys())
            .finish()
    }
}

/// How far a writer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The number that its last transaction was committed with.
    pub number: u64,
    /// The note beside it.
    pub note: String,
}

/// What the brokers know of writers of one id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// How far they are; `None`: there was none, or the brokers have forgotten it.
    pub progress: Option<Progress>,
    /// The id of the brokers' cluster, by which it can be told from others; `None`: they don't say.
    pub cluster_id: Option<String>,
}

/// What both kinds of clients need to reach the brokers; all other properties are a producer's, and a consumer would warn of them.
const CONNECTION: [&str; 11] = [
    "security.",
    "sasl.",
    "ssl.",
    "enable.sasl.",
    "enable.ssl.",
    "socket.",
    "client.",
    "broker.",
    "reconnect.",
    "retry.",
    "debug",
];

impl TransactionalConfig {
    /// Asks whether the brokers answer, let this user in and have the topic, for `timeout` at most.
    ///
    /// # Errors
    /// [`KafkaError::Property`], and [`KafkaError::Connection`] where one of these is not so.
    pub fn check(&self, timeout: Duration) -> Result<(), KafkaError> {
        self.producer()?;
        let observer = self.observer();
        Cluster::connect(&observer, observer.consumer_config(1)?, timeout)?.partitions(&self.topic)?;
        Ok(())
    }

    /// What writers of this id have committed, and where: asked without fencing any of them off, for `timeout` at most.
    ///
    /// # Errors
    /// As [`TransactionalConfig::check`].
    pub fn committed(&self, timeout: Duration) -> Result<Committed, KafkaError> {
        self.producer()?;
        let observer = self.observer();
        let cluster = Cluster::connect(&observer, observer.consumer_config(1)?, timeout)?;
        cluster.partitions(&self.topic)?;
        let progress = committed(&cluster, self)?;
        Ok(Committed { progress, cluster_id: cluster.consumer.client().fetch_cluster_id(timeout) })
    }

    fn producer(&self) -> Result<KafkaWriter, KafkaError> {
        let timeout_ms = TRANSACTION_TIMEOUT.as_millis().to_string();
        let defaults = [("transactional.id", self.id.clone()), ("transaction.timeout.ms", timeout_ms)];
        let writer = KafkaWriter::with_defaults(&self.brokers, &defaults, &self.properties);
        writer.map_err(|error| match error {
            KafkaError::Property { detail, hint } => {
                KafkaError::Property { detail: format!("{}: {detail}", self.name), hint }
            }
            other => other,
        })
    }

    // What reads the progress. By default it reads only what is committed, which for a group's offsets means that it waits until
    // an open transaction that is about to change them is decided.
    fn observer(&self) -> KafkaConfig {
        let mut config = KafkaConfig::new(&self.name, &self.brokers, [&self.topic]);
        let needed = |name: &str| CONNECTION.iter().any(|prefix| name.starts_with(prefix));
        config.properties = self
            .properties
            .iter()
            .filter(|(name, _)| needed(name))
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect();
        config.properties.insert("group.id".to_owned(), self.id.clone());
        config
    }
}

/// Writes records in transactions, one at a time, and knows how far it is. All its methods block.
pub struct TransactionalWriter {
    config: TransactionalConfig,
    writer: KafkaWriter,
    group: ConsumerGroupMetadata,
    progress: Option<Progress>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ready,
    Open,
    /// A commit did not come to an end: whether it counts can only be read from the progress, by the next writer.
    Undecided,
}

impl TransactionalWriter {
    /// Fences off all earlier writers of the same id, lets what they left open be aborted, and reads the progress.
    ///
    /// # Errors
    /// [`KafkaError::Property`], [`KafkaError::Client`]; [`KafkaError::Connection`] for brokers that don't answer, a refused login,
    /// and a topic that isn't there; [`KafkaError::Refused`], [`KafkaError::Transaction`].
    pub fn open(config: TransactionalConfig) -> Result<TransactionalWriter, KafkaError> {
        let writer = config.producer()?;
        let observer = config.observer();
        let mut cluster = Cluster::connect(&observer, observer.consumer_config(1)?, LIMIT)?;
        // Tells a wrong login or topic apart, which the producer would go on trying.
        cluster.partitions(&config.topic)?;
        retried(&writer, &config, ("begin its first", LIMIT), |limit| {
            writer.producer().init_transactions(limit)
        })?;
        // Only now: nobody else can move it any more.
        cluster.deadline = Instant::now() + LIMIT;
        let progress = committed(&cluster, &config)?;
        let group = cluster.consumer.group_metadata().ok_or_else(|| KafkaError::Client {
            detail: format!("the consumer group {} has no metadata", config.id),
        })?;
        drop(cluster);
        Ok(TransactionalWriter { config, writer, group, progress, state: State::Ready })
    }

    /// The number that the last transaction was committed with, by this writer or one before; `None`: there is none, or the
    /// brokers have forgotten it (a week after it was committed, unless `offsets.retention.minutes` says otherwise).
    pub fn progress(&self) -> Option<u64> {
        self.progress.as_ref().map(|progress| progress.number)
    }

    /// The note that the last transaction was committed with.
    pub fn note(&self) -> Option<&str> {
        self.progress.as_ref().map(|progress| progress.note.as_str())
    }

    /// The id of the brokers' cluster, by which it can be told from others; `None`: they don't say.
    pub fn cluster_id(&self) -> Option<String> {
        self.writer.producer().client().fetch_cluster_id(LIMIT)
    }

    /// How many partitions a topic has now.
    ///
    /// # Errors
    /// [`KafkaError::Write`], [`KafkaError::Refused`].
    pub fn partitions(&self, topic: &str) -> Result<i32, KafkaError> {
        let client = self.writer.producer().client();
        let metadata = client.fetch_metadata(Some(topic), LIMIT);
        let metadata = metadata.map_err(|error| KafkaWriter::error(topic, &error))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let partitions =
            found.filter(|found| found.error().is_none()).map_or(0, |found| found.partitions().len());
        match i32::try_from(partitions) {
            Ok(partitions) if partitions > 0 => Ok(partitions),
            _ => {
                let code = found.and_then(|found| found.error()).map(RDKafkaErrorCode::from);
                let code = code.unwrap_or(RDKafkaErrorCode::UnknownTopicOrPartition);
                Err(KafkaWriter::error(topic, &ClientError::MetadataFetch(code)))
            }
        }
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// [`KafkaError::Fenced`], [`KafkaError::Refused`], [`KafkaError::Transaction`].
    pub fn begin(&mut self) -> Result<(), KafkaError> {
        self.writer.forget_failures();
        let begun = self.writer.producer().begin_transaction();
        begun.map_err(|error| failure(&self.writer, &self.config, "begin", &error))?;
        self.state = State::Open;
        failpoint!("kafka::begun");
        Ok(())
    }

    /// Takes a record into the transaction. Waits while the client's queue is full.
    ///
    /// # Errors
    /// As [`KafkaWriter::write`], and [`KafkaError::Fenced`].
    pub fn write(&mut self, record: WriteRecord<'_>) -> Result<(), KafkaError> {
        self.writer.write(record).map_err(|error| self.or_fatal(error))
    }

    /// Waits until all records so far are acknowledged. They are not committed by that, and not aborted either.
    ///
    /// # Errors
    /// As [`KafkaWriter::flush`], and [`KafkaError::Fenced`].
    pub fn flush(&mut self) -> Result<(), KafkaError> {
        self.writer.flush(TRANSACTION_TIMEOUT).map_err(|error| self.or_fatal(error))
    }

    /// Commits the transaction together with this progress, which should be higher than before. `note` is kept beside it, for
    /// people who look at the group.
    ///
    /// # Errors
    /// As all of the above. Whether the transaction counts is then told by the progress of the next writer.
    pub fn commit(&mut self, progress: u64, note: &str) -> Result<(), KafkaError> {
        self.flush()?;
        failpoint!("kafka::written");
        let offset = i64::try_from(progress).unwrap_or(i64::MAX);
        let mut offsets = TopicPartitionList::with_capacity(1);
        let mut element = offsets.add_partition(&self.config.topic, PARTITION);
        element.set_metadata(note);
        let set = element.set_offset(Offset::Offset(offset));
        set.map_err(|error| failure(&self.writer, &self.config, "note the progress of", &error))?;
        let producer = self.writer.producer();
        retried(&self.writer, &self.config, ("note the progress of", LIMIT), |limit| {
            producer.send_offsets_to_transaction(&offsets, &self.group, limit)
        })?;
        failpoint!("kafka::before_commit");
        self.state = State::Undecided;
        retried(&self.writer, &self.config, ("commit", LIMIT), |limit| producer.commit_transaction(limit))?;
        failpoint!("kafka::committed");
        self.state = State::Ready;
        self.progress = Some(Progress { number: progress, note: note.to_owned() });
        Ok(())
    }

    /// Aborts the transaction, if one is open.
    ///
    /// # Errors
    /// As [`TransactionalWriter::begin`]. The writer is of no more use then; the next one aborts what is left.
    pub fn abort(&mut self) -> Result<(), KafkaError> {
        match self.state {
            State::Ready => return Ok(()),
            State::Open => {}
            State::Undecided => {
                let detail = "a commit of it did not come to an end".to_owned();
                return Err(KafkaError::Transaction { id: self.config.id.clone(), action: "abort", detail });
            }
        }
        let producer = self.writer.producer();
        retried(&self.writer, &self.config, ("abort", ABORT_LIMIT), |limit| {
            producer.abort_transaction(limit)
        })?;
        self.state = State::Ready;
        Ok(())
    }

    // A client that has given up refuses records without saying why.
    fn or_fatal(&self, error: KafkaError) -> KafkaError {
        match self.writer.producer().client().fatal_error() {
            Some((code, detail)) => told(&self.config, "write into the", code, detail),
            None => error,
        }
    }
}

/// The progress as the brokers have it.
fn committed(cluster: &Cluster<'_>, config: &TransactionalConfig) -> Result<Option<Progress>, KafkaError> {
    let mut asked = TopicPartitionList::with_capacity(1);
    asked.add_partition(&config.topic, PARTITION);
    let (offset, note) = cluster.ask(None, |limit| {
        // What is not decided yet is asked for again.
        let code = |error| match code(error) {
            RDKafkaErrorCode::UnstableOffsetCommit => RDKafkaErrorCode::Retry,
            code => code,
        };
        let found = cluster.consumer.committed_offsets(asked.clone(), limit).map_err(code)?;
        let found =
            found.find_partition(&config.topic, PARTITION).ok_or(RDKafkaErrorCode::UnknownPartition)?;
        found.error().map_err(code)?;
        Ok((found.offset(), found.metadata().to_owned()))
    })?;
    Ok(match offset {
        Offset::Offset(progress) => u64::try_from(progress).ok().map(|number| Progress { number, note }),
        _ => None,
    })
}

/// Calls until it went well, went wrong for good, or took too long.
fn retried(
    writer: &KafkaWriter,
    config: &TransactionalConfig,
    (action, limit): (&'static str, Duration),
    call: impl Fn(Duration) -> Result<(), ClientError>,
) -> Result<(), KafkaError> {
    let deadline = Instant::now() + limit;
    loop {
        let Err(error) = call(ATTEMPT) else { return Ok(()) };
        let again = match &error {
            ClientError::Transaction(error) => error.is_retriable(),
            ClientError::Flush(_) => true,
            _ => false,
        };
        if !again || Instant::now() >= deadline {
            return Err(failure(writer, config, action, &error));
        }
        // Deliveries that failed are events too, and an abort waits until all of them are served.
        writer.producer().poll(Duration::from_millis(20));
    }
}

fn failure(
    writer: &KafkaWriter,
    config: &TransactionalConfig,
    action: &'static str,
    error: &ClientError,
) -> KafkaError {
    match (writer.producer().client().fatal_error(), error) {
        (Some((code, reason)), _) => told(config, action, code, reason),
        (None, ClientError::Transaction(error)) => told(config, action, error.code(), error.string()),
        (None, other) => told(config, action, code(other.clone()), other.to_string()),
    }
}

fn told(
    config: &TransactionalConfig,
    action: &'static str,
    code: RDKafkaErrorCode,
    detail: String,
) -> KafkaError {
    match (code, hint_of(code)) {
        (RDKafkaErrorCode::Fenced, _) => KafkaError::Fenced { id: config.id.clone() },
        (_, Some(hint)) => KafkaError::Refused { topic: config.topic.clone(), detail, hint },
        _ => KafkaError::Transaction { id: config.id.clone(), action, detail },
    }
}
