//! What a Kafka source can be told, and how it becomes librdkafka's properties.
//!
//! Three kinds of properties: those that exactness hangs on, which are ours and refused from the user; defaults, which
//! the user's properties override; and all others of librdkafka, which pass through.

use std::collections::BTreeMap;
use std::fmt;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{IsError, KafkaError as ClientError};
use rdkafka_sys::types::RDKafkaConfRes;
use thalweg_operators::source::reader::SourceError;

use crate::batch;

/// What a worker's consumer fetches ahead by default, in bytes.
const PREFETCH_BYTES_DEFAULT: usize = 64 << 20;

/// A source of Kafka topics.
#[derive(Clone)]
pub struct KafkaConfig {
    /// The source's name in the pipeline, for messages.
    pub source_name: String,
    /// `host:port`, several separated by commas.
    pub brokers: String,
    /// The topics, each once. Their order decides the numbers of the splits.
    pub topics: Vec<String>,
    /// Where to begin.
    pub start: Position,
    /// Where to end; `None`: never. Found once, when the job starts: the source is bounded.
    pub end: Option<Position>,
    /// librdkafka's properties. Refused are those that Thalweg sets itself, see [`KafkaConfig::resolve`].
    pub properties: BTreeMap<String, String>,
    /// Whether records are handed over with their headers.
    pub headers: bool,
    /// About how many bytes a worker's consumer may fetch ahead of what is read, over all its splits.
    pub prefetch_bytes_max: usize,
}

impl KafkaConfig {
    /// The source of all records of `topics`: from the earliest on, without an end, without headers.
    pub fn new(
        source_name: impl Into<String>,
        brokers: impl Into<String>,
        topics: impl IntoIterator<Item = impl Into<String>>,
    ) -> KafkaConfig {
        KafkaConfig {
            source_name: source_name.into(),
            brokers: brokers.into(),
            topics: topics.into_iter().map(Into::into).collect(),
            start: Position::Earliest,
            end: None,
            properties: BTreeMap::new(),
            headers: false,
            prefetch_bytes_max: PREFETCH_BYTES_DEFAULT,
        }
    }
}

// Not derived: properties hold passwords.
impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaConfig")
            .field("source_name", &self.source_name)
            .field("brokers", &self.brokers)
            .field("topics", &self.topics)
            .field("start", &self.start)
            .field("end", &self.end)
            .field("properties", &self.properties.keys())
            .field("headers", &self.headers)
            .field("prefetch_bytes_max", &self.prefetch_bytes_max)
            .finish()
    }
}

/// A place in every split of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Position {
    /// Before the first record that is still there.
    Earliest,
    /// After the last record that can be read now.
    Latest,
    /// Before the first record whose timestamp is at or after this, in microseconds since the epoch; after the last
    /// record where there is none.
    Timestamp(i64),
    /// Before these offsets: topic → partition → offset. Names every partition of the topics, and no other.
    Offsets(BTreeMap<String, BTreeMap<i32, i64>>),
}

/// Properties that are not the user's, and why.
const OURS: &[(&str, &str)] = &[
    ("auto.commit.enable", OFFSETS),
    ("auto.offset.reset", "a lost offset must end the job, not skip or repeat records"),
    ("bootstrap.servers", "the brokers have a setting of their own"),
    ("enable.auto.commit", OFFSETS),
    ("enable.auto.offset.store", OFFSETS),
    ("enable.partition.eof", "it tells where a bounded split ends"),
    ("group.instance.id", "splits are dealt to the workers, not by a consumer group"),
    ("group.protocol", "splits are dealt to the workers, not by a consumer group"),
    ("metadata.broker.list", "the brokers have a setting of their own"),
    ("partition.assignment.strategy", "splits are dealt to the workers, not by a consumer group"),
];
/// Why a property can't be set; `None`: it can, as far as is known without librdkafka.
pub fn refused_property(name: &str) -> Option<&'static str> {
    OURS.iter().find(|(ours, _)| *ours == name).map(|(_, why)| *why)
}

const OFFSETS: &str = "a job's offsets live in its checkpoints";

/// Other names of the properties that have defaults here; librdkafka takes either.
const ALIASES: &[(&str, &str)] = &[
    ("max.partition.fetch.bytes", "fetch.message.max.bytes"),
    ("compression.type", "compression.codec"),
    ("queue.buffering.max.ms", "linger.ms"),
    ("delivery.timeout.ms", "message.timeout.ms"),
];

/// A property that can't be used: what is wrong with it, and what to write instead.
#[derive(Debug)]
pub(crate) struct BadProperty {
    pub(crate) detail: String,
    pub(crate) hint: String,
}

/// librdkafka's properties: `defaults`, overridden by the user's.
pub(crate) fn client_config(
    brokers: &str,
    defaults: &[(&str, String)],
    properties: &BTreeMap<String, String>,
) -> Result<ClientConfig, BadProperty> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("client.id", "thalweg");
    // Thalweg decides by itself what to say of librdkafka's log lines.
    let debug = properties.contains_key("debug");
    config.set_log_level(if debug { RDKafkaLogLevel::Debug } else { RDKafkaLogLevel::Warning });
    for (name, value) in defaults {
        config.set(*name, value);
    }
    for (name, value) in properties {
        let name = ALIASES.iter().find(|(alias, _)| alias == name).map_or(name.as_str(), |(_, name)| name);
        config.set(name, value);
    }
    match config.create_native_config() {
        Ok(_) => Ok(config),
        Err(error) => Err(bad_property(error)),
    }
}

fn bad_property(error: ClientError) -> BadProperty {
    match error {
        ClientError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, _, name, _) => {
            let known =
                ClientConfig::new().create_native_config().map(|config| batch::property_names(&config));
            let near = known
                .unwrap_or_default()
                .into_iter()
                .max_by(|a, b| strsim::jaro_winkler(a, &name).total_cmp(&strsim::jaro_winkler(b, &name)))
                .filter(|near| strsim::jaro_winkler(near, &name) > 0.85);
            BadProperty {
                detail: format!("librdkafka knows no property \"{name}\""),
                hint: match near {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => {
                        "take it out, or see librdkafka's CONFIGURATION.md for those there are".to_owned()
                    }
                },
            }
        }
        ClientError::ClientConfig(result, reason, name, _) if result.is_error() => BadProperty {
            detail: format!("property \"{name}\": {reason}"),
            hint: "see librdkafka's CONFIGURATION.md for its values".to_owned(),
        },
        other => BadProperty { detail: other.to_string(), hint: "check the properties".to_owned() },
    }
}

impl KafkaConfig {
    /// The properties of a client that reads `splits` splits.
    pub(crate) fn consumer_config(&self, splits: usize) -> Result<ClientConfig, SourceError> {
        if let Some((name, why)) = OURS.iter().find(|(name, _)| self.properties.contains_key(*name)) {
            return Err(self.error(
                format!("property \"{name}\" can't be set: {why}"),
                "take it out of the properties".to_owned(),
            ));
        }
        // librdkafka's limits hold per partition, where partitions have queues of their own. Half of what may be fetched
        // ahead waits in the queues; the rest is for the fetch that overshoots a queue's limit, decompressed.
        let split_bytes = self.prefetch_bytes_max / splits.max(1);
        let queue_kbytes = (split_bytes / 2 / 1024).clamp(32, 1 << 20);
        let fetch_bytes = (split_bytes / 8).clamp(32 << 10, 1 << 20);
        let defaults = [
            ("auto.offset.reset", "error".to_owned()),
            ("enable.auto.commit", "false".to_owned()),
            ("enable.auto.offset.store", "false".to_owned()),
            ("enable.partition.eof", "true".to_owned()),
            // Only names the consumer: no member ever joins the group.
            ("group.id", "thalweg".to_owned()),
            ("isolation.level", "read_committed".to_owned()),
            ("allow.auto.create.topics", "false".to_owned()),
            ("queued.max.messages.kbytes", queue_kbytes.to_string()),
            ("fetch.message.max.bytes", fetch_bytes.to_string()),
            // A full queue is looked at again after this; the default of a second stalls the reader.
            ("fetch.queue.backoff.ms", "10".to_owned()),
            // A broker answers one fetch at a time: a long wait for idle splits would hold the busy ones up.
            ("fetch.wait.max.ms", "100".to_owned()),
            ("receive.message.max.bytes", (256 << 20).to_string()),
            ("reconnect.backoff.max.ms", "2000".to_owned()),
            ("log.connection.close", "false".to_owned()),
        ];
        client_config(&self.brokers, &defaults, &self.properties)
            .map_err(|bad| self.error(bad.detail, bad.hint))
    }

    /// A failure that concerns the connection, or the source as a whole.
    pub(crate) fn error(&self, detail: String, hint: String) -> SourceError {
        SourceError::Connection { source_name: self.source_name.clone(), detail, hint }
    }

    /// A failure that concerns a topic.
    pub(crate) fn topic_error(&self, topic: &str, detail: String, hint: impl Into<String>) -> SourceError {
        SourceError::Topic {
            source_name: self.source_name.clone(),
            topic: topic.to_owned(),
            detail,
            hint: hint.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, value: &str) -> KafkaConfig {
        let mut config = KafkaConfig::new("calls", "localhost:9092", ["calls"]);
        config.properties.insert(name.to_owned(), value.to_owned());
        config
    }

    fn refusal(name: &str, value: &str) -> String {
        match with(name, value).consumer_config(1) {
            Ok(_) => panic!("{name}={value} was taken"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn properties_that_exactness_hangs_on_are_refused() {
        for (name, why) in OURS {
            let message = refusal(name, "1");
            assert!(message.contains(name) && message.contains(why), "{message}");
        }
    }

    #[test]
    fn an_unknown_property_is_named_with_the_one_that_was_meant() {
        assert_eq!(
            refusal("fetch.max.bites", "1"),
            "calls: librdkafka knows no property \"fetch.max.bites\"; did you mean \"fetch.max.bytes\"?"
        );
        assert!(refusal("zzz", "1").contains("no property \"zzz\"; take it out"));
    }

    #[test]
    fn a_wrong_value_is_refused_by_name() {
        assert!(refusal("fetch.wait.max.ms", "soon").contains("\"fetch.wait.max.ms\""));
    }

    #[test]
    fn the_users_properties_win_under_either_name() {
        let config = with("max.partition.fetch.bytes", "12345").consumer_config(8).expect("a known property");
        assert_eq!(config.get("fetch.message.max.bytes"), Some("12345"));
        let config = with("fetch.wait.max.ms", "7").consumer_config(8).expect("a known property");
        assert_eq!(config.get("fetch.wait.max.ms"), Some("7"));
    }

    #[test]
    fn what_is_fetched_ahead_is_shared_by_the_splits() {
        let ahead_kbytes = |splits: usize| -> usize {
            let config = with("client.id", "x").consumer_config(splits).expect("a known property");
            config.get("queued.max.messages.kbytes").expect("set").parse().expect("a number")
        };
        assert_eq!(ahead_kbytes(1), 32 << 10);
        assert_eq!(ahead_kbytes(64) * 64, 32 << 10);
    }

    #[test]
    fn debug_output_holds_no_secret() {
        let shown = format!("{:?}", with("sasl.password", "hush"));
        assert!(shown.contains("sasl.password") && !shown.contains("hush"), "{shown}");
    }
}
