//! Makes and deletes topics, and waits until the cluster knows.

use std::time::{Duration, Instant};

use futures::executor::block_on;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::error::KafkaError;

/// How long a topic's making or deleting may take.
const LIMIT: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Makes a topic with the brokers' replication factor and these settings (Kafka's names), and waits until it can be
/// written and read. Blocks.
///
/// # Errors
/// [`KafkaError::Topic`]: it exists, a setting is wrong, the brokers don't answer within 30 s.
pub fn create_topic(
    brokers: &str,
    name: &str,
    partitions: i32,
    settings: &[(&str, &str)],
) -> Result<(), KafkaError> {
    let failed =
        |detail: String, hint| KafkaError::Topic { action: "create", topic: name.to_owned(), detail, hint };
    let admin = admin(brokers).map_err(|error| failed(error.to_string(), "check the brokers"))?;
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(-1));
    for (setting, value) in settings {
        topic = topic.set(setting, value);
    }
    let made = block_on(admin.create_topics([&topic], &options()));
    first(made).map_err(|(code, detail)| match code {
        Some(RDKafkaErrorCode::TopicAlreadyExists) => failed(detail, "delete it first, or take another name"),
        _ => failed(detail, "check the brokers, the name, the number of partitions and the settings"),
    })?;
    await_topic(&admin, name, |found| found == usize::try_from(partitions).ok().map(|all| (all, all)))
        .map_err(|detail| failed(detail, "check that the brokers are well"))
}

/// Deletes a topic and waits until it is gone. Blocks.
///
/// # Errors
/// [`KafkaError::Topic`]: it doesn't exist, the brokers don't answer within 30 s.
pub fn delete_topic(brokers: &str, name: &str) -> Result<(), KafkaError> {
    let failed =
        |detail: String, hint| KafkaError::Topic { action: "delete", topic: name.to_owned(), detail, hint };
    let admin = admin(brokers).map_err(|error| failed(error.to_string(), "check the brokers"))?;
    let deleted = block_on(admin.delete_topics(&[name], &options()));
    first(deleted).map_err(|(_, detail)| failed(detail, "check the brokers and the name"))?;
    await_topic(&admin, name, |found| found.is_none())
        .map_err(|detail| failed(detail, "check that the brokers are well"))
}

/// Gives a topic more partitions, `partitions` in all, and waits until they can be written and read. Blocks.
///
/// # Errors
/// [`KafkaError::Topic`]: it doesn't exist or has as many already, the brokers don't answer within 30 s.
pub fn grow_topic(brokers: &str, name: &str, partitions: usize) -> Result<(), KafkaError> {
    let failed =
        |detail: String, hint| KafkaError::Topic { action: "grow", topic: name.to_owned(), detail, hint };
    let admin = admin(brokers).map_err(|error| failed(error.to_string(), "check the brokers"))?;
    let made = block_on(admin.create_partitions([&NewPartitions::new(name, partitions)], &options()));
    first(made).map_err(|(_, detail)| failed(detail, "check the brokers, the name and the number"))?;
    await_topic(&admin, name, |found| found == Some((partitions, partitions)))
        .map_err(|detail| failed(detail, "check that the brokers are well"))
}

/// Deletes the records of a partition before an offset, as its retention would. Blocks.
///
/// # Errors
/// [`KafkaError::Topic`]: it doesn't exist or has no such offset, the brokers don't answer within 30 s.
pub fn delete_records(brokers: &str, name: &str, partition: i32, before: i64) -> Result<(), KafkaError> {
    let failed = |detail: String, hint| KafkaError::Topic {
        action: "delete records of",
        topic: name.to_owned(),
        detail,
        hint,
    };
    let wrong = |error: ClientError| failed(error.to_string(), "check the brokers, the name and the offset");
    let admin = admin(brokers).map_err(wrong)?;
    let mut offsets = TopicPartitionList::with_capacity(1);
    offsets.add_partition_offset(name, partition, Offset::Offset(before)).map_err(wrong)?;
    let deleted = block_on(admin.delete_records(&offsets, &options())).map_err(wrong)?;
    deleted.elements().iter().try_for_each(|element| element.error()).map_err(wrong)
}

fn admin(brokers: &str) -> Result<AdminClient<DefaultClientContext>, ClientError> {
    ClientConfig::new().set("bootstrap.servers", brokers).set("client.id", "thalweg").create()
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(LIMIT)).operation_timeout(Some(LIMIT))
}

type Outcome = Result<Vec<Result<String, (String, RDKafkaErrorCode)>>, ClientError>;

fn first(outcome: Outcome) -> Result<(), (Option<RDKafkaErrorCode>, String)> {
    match outcome {
        Err(error) => Err((error.rdkafka_error_code(), error.to_string())),
        Ok(results) => match results.into_iter().find_map(Result::err) {
            Some((_, code)) => Err((Some(code), code.to_string())),
            None => Ok(()),
        },
    }
}

/// Waits until `wanted` holds of a topic's number of partitions, and of those that have a leader.
fn await_topic(
    admin: &AdminClient<DefaultClientContext>,
    name: &str,
    wanted: impl Fn(Option<(usize, usize)>) -> bool,
) -> Result<(), String> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let metadata = admin.inner().fetch_metadata(None, LIMIT).map_err(|error| error.to_string())?;
        let found = metadata.topics().iter().find(|topic| topic.name() == name);
        let found = found.filter(|topic| topic.error().is_none());
        let led = |partition: &&rdkafka::metadata::MetadataPartition| partition.leader() >= 0;
        if wanted(
            found.map(|topic| (topic.partitions().len(), topic.partitions().iter().filter(led).count())),
        ) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(format!("the cluster's metadata don't show it after {} s", LIMIT.as_secs()));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}
