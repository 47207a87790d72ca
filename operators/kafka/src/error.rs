//! What can go wrong outside of reading (which has [`thalweg_operators::source::reader::SourceError`]).

use rdkafka::error::RDKafkaErrorCode;
use thalweg_operators::sink::SinkError;
use thalweg_operators::source::reader::SourceError;

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
    /// Something was not taken, and would not be taken if it were tried again.
    #[error("can't write to topic {topic}: {detail}; {hint}")]
    Refused {
        /// The topic.
        topic: String,
        /// What failed, in the client's or the broker's words.
        detail: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// The brokers don't answer, refuse the login, or have no such topic.
    #[error(transparent)]
    Connection(#[from] SourceError),
    /// A transaction came to nothing.
    #[error("can't {action} transaction as {id}: {detail}; check that the brokers are well")]
    Transaction {
        /// The transactional id.
        id: String,
        /// "commit", for example.
        action: &'static str,
        /// What failed, in the client's words.
        detail: String,
    },
    /// A newer writer has the same transactional id.
    #[error(
        "another run of this job has taken over: what was to be written as {id} is left to it; if there is no other run, this one stood still for longer than transaction.timeout.ms: start it again"
    )]
    Fenced {
        /// The transactional id.
        id: String,
    },
    /// More was sent than the checkpoint knows of that a run goes on from.
    #[error(
        "sink {sink}: topic {topic} holds the rows up to checkpoint {sent} already, and they can't be taken back: a run from checkpoint {newest} would write those after it a second time; go on from checkpoint {sent} or a later one, or begin anew with --fresh and another topic"
    )]
    Ahead {
        /// The sink.
        sink: String,
        /// Its topic.
        topic: String,
        /// The checkpoint whose rows were sent last.
        sent: u64,
        /// The checkpoint that the run goes on from; 0: none.
        newest: u64,
    },
    /// A staged file can't be read, or rows can't be made records.
    #[error(transparent)]
    Staged(#[from] SinkError),
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

impl KafkaError {
    /// Whether trying again can't help.
    pub(crate) fn is_lasting(&self) -> bool {
        !matches!(self, KafkaError::Write { .. } | KafkaError::Flush { .. } | KafkaError::Transaction { .. })
    }
}

/// What to do about an error after which trying again can't help; `None`: it can, or nothing is known.
pub(crate) fn hint_of(code: RDKafkaErrorCode) -> Option<&'static str> {
    use RDKafkaErrorCode as Code;
    Some(match code {
        Code::MessageSizeTooLarge => {
            "a record is larger than the topic takes: raise the topic's max.message.bytes, or write fewer columns; where records are small, set batch.size among the properties below it"
        }
        Code::InvalidTimestamp => {
            "the records' timestamps lie outside of what the topic takes: set its message.timestamp.type to LogAppendTime, or raise its message.timestamp.before.max.ms and message.timestamp.after.max.ms"
        }
        Code::InvalidRecord => "a compacted topic takes no records without a key: name key columns",
        Code::TopicAuthorizationFailed => "grant the user the right to write to the topic",
        Code::GroupAuthorizationFailed => {
            "grant the user the right to read the consumer group of the same name"
        }
        Code::TransactionalIdAuthorizationFailed | Code::ClusterAuthorizationFailed => {
            "grant the user the rights to write and describe the transactional id"
        }
        Code::InvalidTransactionTimeout => {
            "set transaction.timeout.ms among the properties to at most the brokers' transaction.max.timeout.ms"
        }
        Code::UnsupportedFeature => "transactions need Apache Kafka 2.5 or newer",
        _ => return None,
    })
}
