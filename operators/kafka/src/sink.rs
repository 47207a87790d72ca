//! The Kafka sink: rows as JSON records, each once to consumers that read committed records only.
//!
//! ```text
//!   worker: IpcSink ── staged Arrow IPC files ──▶ manifest ──▶ KafkaPublisher, one a sink and job
//!                                                                 │ progress ≥ checkpoint? nothing to do
//!                                                                 ▼
//!                                    one transaction: all rows of the files, progress = checkpoint
//!                                                                 ▼
//!                                              committed ─▶ noted ─▶ files deleted
//! ```
//!
//! **After a crash** the next run publishes the newest checkpoint again. Its writer has the same transactional id: the broker
//! aborts what was open and lets the older one write nothing more. Then the progress tells whether the rows are there.
//!
//! **Records.** The value is a JSON object of the row's columns, with nulls written out; times are RFC 3339 in UTC. The key is the
//! key column's text, or a JSON object of several key columns in the order of the configuration. The partition is the one that
//! Kafka's Java producer would choose by the key; a record without a key goes by its value. So where a row goes depends on
//! the row and on the number of partitions alone. The timestamp is `window_end` or the row's event time. No headers.
//!
//! Topics are not made here: how many partitions and copies one has is for its owner to say.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::error::KafkaError;
use crate::transaction::TransactionalConfig;

mod note;
mod publisher;
mod records;

pub use publisher::KafkaPublisher;

/// A Kafka sink.
#[derive(Clone)]
pub struct KafkaSinkConfig {
    /// The job's name: no two jobs that run on the same cluster may share it.
    pub job: String,
    /// The sink's name.
    pub sink: String,
    /// `host:port`, several separated by commas.
    pub brokers: String,
    /// The topic.
    pub topic: String,
    /// The key columns; none: records have no key.
    pub key: Vec<String>,
    /// The column, of a timestamp type, that becomes the records' timestamp; by default `window_end` where there is one, else the
    /// hidden column of the row's event time. Where there is neither, and for times before 1970, a record has none.
    pub timestamp: Option<String>,
    /// librdkafka's properties, without those that [`refused_sink_property`] names.
    pub properties: BTreeMap<String, String>,
}

// Not derived: properties hold passwords.
impl fmt::Debug for KafkaSinkConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSinkConfig")
            .field("job", &self.job)
            .field("sink", &self.sink)
            .field("brokers", &self.brokers)
            .field("topic", &self.topic)
            .field("key", &self.key)
            .field("timestamp", &self.timestamp)
            .field("properties", &self.properties.keys())
            .finish()
    }
}

impl KafkaSinkConfig {
    /// Finds out what can be known before a job starts: whether the properties can be used, the brokers answer and let this user
    /// in, and the topic is there. Blocks for `timeout` at most; writes nothing, and disturbs no other run.
    ///
    /// # Errors
    /// [`KafkaError::Property`], [`KafkaError::Connection`].
    pub fn check(&self, timeout: Duration) -> Result<(), KafkaError> {
        self.transactional()?.check(timeout)
    }

    /// Who writes the sink's transactions: id and group are `thalweg.<job>.<sink>`.
    ///
    /// # Errors
    /// [`KafkaError::Property`] for a property that can't be set.
    pub fn transactional(&self) -> Result<TransactionalConfig, KafkaError> {
        for name in self.properties.keys() {
            if let Some(why) = refused_sink_property(name) {
                return Err(KafkaError::Property {
                    detail: format!("sink {}: property \"{name}\" can't be set: {why}", self.sink),
                    hint: "take it out of the properties".to_owned(),
                });
            }
        }
        Ok(TransactionalConfig {
            name: format!("sink {}", self.sink),
            id: format!("thalweg.{}.{}", self.job, self.sink),
            brokers: self.brokers.clone(),
            topic: self.topic.clone(),
            properties: self.properties.clone(),
        })
    }
}

const BROKERS: &str = "the brokers have a setting of their own";
const EXACT: &str = "each row must come exactly once";
const PROGRESS: &str = "the sink's progress stands under a name of its own";

/// Properties that are not the user's, and why.
const OURS: &[(&str, &str)] = &[
    ("acks", EXACT),
    ("bootstrap.servers", BROKERS),
    ("delivery.report.only.error", "the sink looks at errors alone"),
    ("enable.gapless.guarantee", EXACT),
    ("enable.idempotence", EXACT),
    ("group.id", PROGRESS),
    ("isolation.level", EXACT),
    ("max.in.flight", EXACT),
    ("max.in.flight.requests.per.connection", EXACT),
    ("message.send.max.retries", EXACT),
    ("metadata.broker.list", BROKERS),
    ("partitioner", "a key's partition is the one that Kafka's Java producer chooses"),
    ("request.required.acks", EXACT),
    ("retries", EXACT),
    ("transactional.id", PROGRESS),
];

/// Why a sink's property can't be set; `None`: it can, as far as is known without librdkafka.
pub fn refused_sink_property(name: &str) -> Option<&'static str> {
    OURS.iter().find(|(ours, _)| *ours == name).map(|(_, why)| *why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(property: &str, value: &str) -> KafkaSinkConfig {
        KafkaSinkConfig {
            job: "health".into(),
            sink: "alerts".into(),
            brokers: "127.0.0.1:1".into(),
            topic: "alerts".into(),
            key: Vec::new(),
            timestamp: None,
            properties: [(property.to_owned(), value.to_owned())].into(),
        }
    }

    #[test]
    fn properties_that_exactness_hangs_on_are_refused_before_any_connection() {
        for (name, why) in OURS {
            let message = config(name, "1").check(Duration::from_secs(1)).unwrap_err().to_string();
            assert!(message.starts_with("sink alerts: property") && message.contains(why), "{message}");
        }
        let unknown = config("batch.sizes", "1").check(Duration::from_secs(1)).unwrap_err().to_string();
        assert!(unknown.starts_with("sink alerts: librdkafka knows no property"), "{unknown}");
        assert!(unknown.contains("did you mean \"batch.size\"?"), "{unknown}");
    }

    #[test]
    fn debug_output_holds_no_secret() {
        let config = config("sasl.password", "hush");
        let shown = format!("{config:?} {:?}", config.transactional().unwrap());
        assert!(shown.contains("sasl.password") && !shown.contains("hush"), "{shown}");
        assert!(shown.contains("thalweg.health.alerts"), "{shown}");
    }
}
