//! A plain, fast producer: for generators, tests and benchmarks. It is no sink: what it wrote before a crash stays.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};

use crate::config::client_config;
use crate::context::{self, Warned};
use crate::error::{KafkaError, hint_of};

/// The writer serves its client once in so many records.
const RECORDS_PER_POLL: u64 = 1024;
/// How long room in the client's queue is waited for at a time.
const ROOM_WAIT: Duration = Duration::from_millis(20);

/// A record to write.
#[derive(Debug, Clone, Copy)]
pub struct WriteRecord<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// Milliseconds since the epoch, above 0; `None`: now.
    pub timestamp_ms: Option<i64>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The payload; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Names and values.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

/// Writes records, each once and per partition in their order (an idempotent producer), in large LZ4 batches.
pub struct KafkaWriter {
    producer: BaseProducer<WriterContext>,
    records: u64,
}

impl KafkaWriter {
    /// A writer to the cluster of `brokers`; `properties` are librdkafka's, and override its defaults.
    ///
    /// # Errors
    /// [`KafkaError::Property`], [`KafkaError::Client`]. That the brokers answer is found out by writing.
    pub fn new(brokers: &str, properties: &BTreeMap<String, String>) -> Result<KafkaWriter, KafkaError> {
        KafkaWriter::with_defaults(brokers, &[], properties)
    }

    /// A writer with further defaults.
    pub(crate) fn with_defaults(
        brokers: &str,
        more: &[(&str, String)],
        properties: &BTreeMap<String, String>,
    ) -> Result<KafkaWriter, KafkaError> {
        let defaults = [
            ("enable.idempotence", "true"),
            ("compression.codec", "lz4"),
            ("linger.ms", "20"),
            // Before compression; below what a topic takes by default.
            ("batch.size", "1000000"),
            ("batch.num.messages", "100000"),
            ("message.max.bytes", "104857600"),
            ("queue.buffering.max.messages", "1000000"),
            ("queue.buffering.max.kbytes", "131072"),
            ("message.timeout.ms", "60000"),
            ("reconnect.backoff.max.ms", "2000"),
            // What went well needs no event a record.
            ("delivery.report.only.error", "true"),
        ];
        let mut defaults: Vec<_> = defaults.map(|(name, value)| (name, value.to_owned())).into();
        defaults.extend_from_slice(more);
        let config = client_config(brokers, &defaults, properties)
            .map_err(|bad| KafkaError::Property { detail: bad.detail, hint: bad.hint })?;
        let producer = config
            .create_with_context(WriterContext::default())
            .map_err(|error| KafkaError::Client { detail: error.to_string() })?;
        Ok(KafkaWriter { producer, records: 0 })
    }

    /// Takes a record. Blocks while the client's queue is full.
    ///
    /// # Errors
    /// [`KafkaError::Write`], [`KafkaError::Refused`]: for this record or an earlier one that failed meanwhile.
    pub fn write(&mut self, record: WriteRecord<'_>) -> Result<(), KafkaError> {
        self.records += 1;
        if self.records.is_multiple_of(RECORDS_PER_POLL) {
            self.producer.poll(Duration::ZERO);
            self.check()?;
        }
        let mut next = BaseRecord::<[u8], [u8]>::to(record.topic).partition(record.partition);
        next.key = record.key;
        next.payload = record.value;
        next.timestamp = record.timestamp_ms;
        if !record.headers.is_empty() {
            let all = OwnedHeaders::new_with_capacity(record.headers.len());
            next.headers =
                Some(record.headers.iter().fold(all, |all, &(key, value)| all.insert(Header { key, value })));
        }
        loop {
            match self.producer.send(next) {
                Ok(()) => return Ok(()),
                Err((ClientError::MessageProduction(RDKafkaErrorCode::QueueFull), same)) => {
                    self.producer.poll(ROOM_WAIT);
                    self.check()?;
                    next = same;
                }
                Err((error, _)) => return Err(KafkaWriter::error(record.topic, &error)),
            }
        }
    }

    /// Waits until all records taken so far are acknowledged.
    ///
    /// # Errors
    /// [`KafkaError::Write`], [`KafkaError::Refused`] where one of them failed, [`KafkaError::Flush`] where `limit` wasn't enough.
    pub fn flush(&mut self, limit: Duration) -> Result<(), KafkaError> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let flushed = self.producer.flush(left.min(Duration::from_millis(500)));
            self.check()?;
            match flushed {
                Ok(()) => return Ok(()),
                Err(_) if !left.is_zero() => {}
                Err(error) => {
                    let waiting = u64::try_from(self.producer.in_flight_count()).unwrap_or(0);
                    let reason = self.producer.context().reason();
                    let detail = reason.unwrap_or_else(|| error.to_string());
                    return Err(KafkaError::Flush { records: waiting, limit_s: limit.as_secs(), detail });
                }
            }
        }
    }

    fn check(&self) -> Result<(), KafkaError> {
        match self.producer.context().take_failure() {
            Some((topic, error)) => Err(KafkaWriter::error(&topic, &error)),
            None => Ok(()),
        }
    }

    /// The client, for what goes beyond writing.
    pub(crate) fn producer(&self) -> &BaseProducer<WriterContext> {
        &self.producer
    }

    /// Records that failed are not reported any more.
    pub(crate) fn forget_failures(&mut self) {
        self.producer.context().take_failure();
    }

    /// An error that concerns a topic.
    pub(crate) fn error(topic: &str, error: &ClientError) -> KafkaError {
        let code = error.rdkafka_error_code();
        let detail = code.map_or_else(|| error.to_string(), |code| code.to_string());
        match code.and_then(hint_of) {
            Some(hint) => KafkaError::Refused { topic: topic.to_owned(), detail, hint },
            None => KafkaError::Write { topic: topic.to_owned(), detail },
        }
    }
}

/// Keeps the first record that failed, and what the client said last.
#[derive(Default)]
pub(crate) struct WriterContext {
    failure: Mutex<Option<(String, ClientError)>>,
    reason: Mutex<Option<String>>,
    warned: Mutex<Warned>,
}

impl WriterContext {
    fn take_failure(&self) -> Option<(String, ClientError)> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn reason(&self) -> Option<String> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for WriterContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        context::log(level, facility, message);
    }

    fn error(&self, _error: ClientError, reason: &str) {
        self.warned.lock().unwrap_or_else(PoisonError::into_inner).warn("writer", reason);
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
    }
}

impl ProducerContext for WriterContext {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result {
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            failure.get_or_insert_with(|| (message.topic().to_owned(), error.clone()));
        }
    }
}
