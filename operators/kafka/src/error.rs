//! What can go wrong outside of reading (which has [`thalweg_operators::source::reader::SourceError`]).

/// Why something could not be written to Kafka, or a topic or test broker not be made.
#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    /// A librdkafka property that can't be used.
    #[error("{detail}; {hint}")]
    Property {
        /// The property, and what is wrong with it.
        detail: String,
        /// What to write instead.
        hint: String,
    },
    /// The client could not be made.
    #[error("can't make a Kafka client: {detail}; check the brokers and properties")]
    Client {
        /// What failed, in the client's words.
        detail: String,
    },
    /// A record was not taken, or not acknowledged.
    #[error("can't write to topic {topic}: {detail}; check that the topic exists and the brokers answer")]
    Write {
        /// The topic.
        topic: String,
        /// What failed, in the client's words.
        detail: String,
    },
    /// Records were still unacknowledged when the time for it was over.
    #[error(
        "{records} records were not acknowledged within {limit_s} s: {detail}; check that the brokers answer"
    )]
    Flush {
        /// How many.
        records: u64,
        /// The time that was given.
        limit_s: u64,
        /// What failed, in the client's words.
        detail: String,
    },
    /// A topic could not be made or deleted.
    #[error("can't {action} topic {topic}: {detail}; {hint}")]
    Topic {
        /// "create" or "delete".
        action: &'static str,
        /// The topic.
        topic: String,
        /// What failed, in the broker's words.
        detail: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// The broker for tests did not start or stop.
    #[error("the test broker {detail}; see the messages of {script} above")]
    Broker {
        /// What went wrong.
        detail: String,
        /// The script that runs it.
        script: String,
    },
}
