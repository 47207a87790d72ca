//! From positions to offsets: every split of a source with where it starts and ends, found once for a job.
//!
//! All workers must agree on the ends, or a bounded job would read more on one than on another; so the plan is made
//! before they start, and each gets a copy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use thalweg_operators::source::reader::{SourceError, SplitInfo};

use crate::config::{KafkaConfig, Position};
use crate::context::{SourceContext, is_transient};
use crate::reader::KafkaReader;

/// A split with its bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedSplit {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The split's number in its source: topics in the order of the configuration, then partitions ascending.
    pub number: u32,
    /// The offset of the first record to read, or where it would be.
    pub start: i64,
    /// The offset before which reading ends; `None`: it doesn't.
    pub end: Option<i64>,
}

impl PlannedSplit {
    /// The split as a source's counters name it.
    pub fn info(&self) -> SplitInfo {
        SplitInfo {
            topic: Arc::clone(&self.topic),
            partition: self.partition,
            number: self.number,
            start: self.start,
            end: self.end,
            records_ahead: self.end.map(|end| end.saturating_sub(self.start).max(0).unsigned_abs()),
        }
    }
}

/// What a job reads of a source: all splits with their bounds. The same for all workers.
#[derive(Debug, Clone)]
pub struct KafkaPlan {
    config: KafkaConfig,
    splits: Vec<PlannedSplit>,
}

impl KafkaPlan {
    /// Lets reading begin and end where `bounds_of` says for a topic and partition: where a checkpoint stood. Splits of which it
    /// says nothing, since the topic has grown, keep theirs.
    ///
    /// # Errors
    /// [`SourceError::Topic`] where a split that `expected` names is not there any more.
    pub fn go_on_from<'a>(
        &mut self,
        expected: impl Iterator<Item = (&'a str, i32, i64, Option<i64>)>,
    ) -> Result<(), SourceError> {
        for (topic, partition, start, end) in expected {
            let found =
                self.splits.iter_mut().find(|split| &*split.topic == topic && split.partition == partition);
            let Some(split) = found else {
                return Err(self.config.topic_error(
                    topic,
                    format!("has no partition {partition} any more, of which a checkpoint holds the offset"),
                    "check that these are the right brokers and topic, and that it wasn't made anew",
                ));
            };
            (split.start, split.end) = (start, end);
        }
        Ok(())
    }

    /// Leaves out all splits but these, and gives them these numbers: all processes of a job must read the same, also where a topic
    /// grows while they start.
    pub fn keep_only<'a>(&mut self, known: impl Iterator<Item = (&'a str, i32, u32)>) {
        let known: Vec<_> = known.collect();
        self.splits.retain_mut(|split| {
            let found = known
                .iter()
                .find(|(topic, partition, _)| *topic == &*split.topic && *partition == split.partition);
            found.map(|(_, _, number)| split.number = *number).is_some()
        });
        self.splits.sort_by_key(|split| split.number);
    }

    /// All splits of the source, by number.
    pub fn splits(&self) -> &[PlannedSplit] {
        &self.splits
    }

    /// The reader of worker `worker` of `workers`, which has the splits with `number % workers == worker`: possibly none.
    ///
    /// # Errors
    /// [`SourceError::Connection`] when librdkafka refuses the properties. That the brokers answer is found out by reading.
    pub fn reader(&self, worker: usize, workers: usize) -> Result<KafkaReader, SourceError> {
        let workers = u32::try_from(workers.max(1)).unwrap_or(u32::MAX);
        let mine =
            |split: &&PlannedSplit| usize::try_from(split.number % workers).is_ok_and(|at| at == worker);
        KafkaReader::new(&self.config, self.splits.iter().filter(mine).cloned().collect())
    }
}

impl KafkaConfig {
    /// Finds the source's splits and their offsets. Blocks for `timeout` at most.
    ///
    /// # Errors
    /// [`SourceError::Connection`] for a property that can't be set, brokers that don't answer, or a refused login;
    /// [`SourceError::Topic`] for a topic that isn't there or can't be read, and for offsets that lie outside of a split.
    pub fn resolve(&self, timeout: Duration) -> Result<KafkaPlan, SourceError> {
        self.check()?;
        let mut client = self.consumer_config(1)?;
        // Without a group the client serves its events without a consumer's queue.
        client.remove("group.id");
        let cluster = Cluster::connect(self, client, timeout)?;

        let mut partitions = Vec::new();
        for topic in &self.topics {
            partitions.push((Arc::<str>::from(topic.as_str()), cluster.partitions(topic)?));
        }
        let splits = || partitions.iter().flat_map(|(topic, ids)| ids.iter().map(move |id| (topic, *id)));
        let names: Vec<(&str, i32)> =
            splits().map(|(topic, partition)| (topic.as_ref(), partition)).collect();

        let lowest = cluster.offsets(&names, Offset::Beginning)?;
        let highest = cluster.offsets(&names, Offset::End)?;
        let range = Range { lowest: &lowest, highest: &highest };
        let starts = cluster.place(&names, &range, &self.start, "start")?;
        let ends = match &self.end {
            Some(end) => cluster.place(&names, &range, end, "end")?.into_iter().map(Some).collect(),
            None => vec![None; names.len()],
        };
        let splits = splits()
            .zip(starts.into_iter().zip(ends))
            .zip(0..)
            .map(|(((topic, partition), (start, end)), number)| PlannedSplit {
                topic: Arc::clone(topic),
                partition,
                number,
                start,
                end,
            })
            .collect();
        Ok(KafkaPlan { config: self.clone(), splits })
    }

    /// What can be seen to be wrong without asking a broker.
    fn check(&self) -> Result<(), SourceError> {
        if self.topics.is_empty() {
            return Err(self.error("no topic is named".to_owned(), "name at least one".to_owned()));
        }
        let mut seen = BTreeSet::new();
        for topic in &self.topics {
            if !seen.insert(topic) {
                return Err(self.topic_error(topic, "is named twice".to_owned(), "name it once"));
            }
        }
        match (&self.start, &self.end) {
            (Position::Timestamp(start), Some(Position::Timestamp(end))) if start > end => Err(self.error(
                "the end lies before the start".to_owned(),
                "swap the two timestamps, or leave the end out".to_owned(),
            )),
            (Position::Offsets(starts), Some(Position::Offsets(ends))) => {
                for (topic, partition, start) in flat(starts) {
                    let end = ends.get(topic).and_then(|ends| ends.get(&partition));
                    if end.is_some_and(|end| *end < start) {
                        let detail = format!("partition {partition}: the end lies before the start, {start}");
                        return Err(self.topic_error(
                            topic,
                            detail,
                            "swap the two offsets, or leave the end out",
                        ));
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn flat(offsets: &BTreeMap<String, BTreeMap<i32, i64>>) -> impl Iterator<Item = (&str, i32, i64)> {
    offsets.iter().flat_map(|(topic, offsets)| {
        offsets.iter().map(|(partition, offset)| (topic.as_str(), *partition, *offset))
    })
}

/// The first offset of every split, and the one after its last record.
struct Range<'a> {
    lowest: &'a [i64],
    highest: &'a [i64],
}

/// The brokers, while they are asked. Every question is asked again until it is answered or the time is over.
pub(crate) struct Cluster<'a> {
    config: &'a KafkaConfig,
    pub(crate) consumer: BaseConsumer<SourceContext>,
    timeout: Duration,
    pub(crate) deadline: Instant,
}

/// The shortest and longest time that one attempt gets: short at first, because a refused login only shows between them.
const ATTEMPT_MIN: Duration = Duration::from_millis(500);
const ATTEMPT_MAX: Duration = Duration::from_secs(8);

impl<'a> Cluster<'a> {
    /// Nothing is asked yet.
    pub(crate) fn connect(
        config: &'a KafkaConfig,
        client: ClientConfig,
        timeout: Duration,
    ) -> Result<Self, SourceError> {
        let consumer = client.create_with_context(SourceContext::new(&config.source_name));
        let consumer = consumer.map_err(|error| {
            config.error(error.to_string(), "check the brokers and properties".to_owned())
        })?;
        Ok(Cluster { config, consumer, timeout, deadline: Instant::now() + timeout })
    }

    /// The partitions of `topic`, ascending.
    pub(crate) fn partitions(&self, topic: &str) -> Result<Vec<i32>, SourceError> {
        self.ask(Some(topic), |limit| {
            let metadata = self.consumer.fetch_metadata(Some(topic), limit).map_err(code)?;
            let found = metadata.topics().iter().find(|found| found.name() == topic);
            let found = found.ok_or(RDKafkaErrorCode::UnknownTopicOrPartition)?;
            if let Some(error) = found.error() {
                return Err(error.into());
            }
            let mut ids = Vec::new();
            for partition in found.partitions() {
                if let Some(error) = partition.error() {
                    return Err(error.into());
                }
                ids.push(partition.id());
            }
            ids.sort_unstable();
            if ids.is_empty() { Err(RDKafkaErrorCode::LeaderNotAvailable) } else { Ok(ids) }
        })
    }

    /// The offset of every split at `at`: the beginning, the end, or a timestamp in milliseconds.
    fn offsets(&self, splits: &[(&str, i32)], at: Offset) -> Result<Vec<i64>, SourceError> {
        let mut list = TopicPartitionList::with_capacity(splits.len());
        for (topic, partition) in splits {
            list.add_partition_offset(topic, *partition, at)
                .map_err(|error| self.config.topic_error(topic, error.to_string(), "check its name"))?;
        }
        self.ask(None, |limit| {
            let found = self.consumer.offsets_for_times(list.clone(), limit).map_err(code)?;
            let mut offsets = Vec::with_capacity(splits.len());
            for (topic, partition) in splits {
                let found =
                    found.find_partition(topic, *partition).ok_or(RDKafkaErrorCode::UnknownPartition)?;
                found.error().map_err(code)?;
                offsets.push(found.offset().to_raw().ok_or(RDKafkaErrorCode::OffsetNotAvailable)?);
            }
            Ok(offsets)
        })
    }

    /// The offset of every split at `position`, the configuration's `which`.
    fn place(
        &self,
        splits: &[(&str, i32)],
        range: &Range<'_>,
        position: &Position,
        which: &str,
    ) -> Result<Vec<i64>, SourceError> {
        match position {
            Position::Earliest => Ok(range.lowest.to_vec()),
            Position::Latest => Ok(range.highest.to_vec()),
            Position::Timestamp(timestamp_us) => {
                // Kafka's timestamps are milliseconds: at or after 1.5 ms is at or after 2 ms. Below 0 it has other meanings.
                let timestamp_ms =
                    timestamp_us.div_euclid(1000) + i64::from(timestamp_us.rem_euclid(1000) > 0);
                let found = self.offsets(splits, Offset::Offset(timestamp_ms.max(0)))?;
                let bounds = range.lowest.iter().zip(range.highest);
                Ok(found
                    .into_iter()
                    .zip(bounds)
                    .map(|(offset, (low, high))| if offset < 0 { *high } else { offset.clamp(*low, *high) })
                    .collect())
            }
            Position::Offsets(offsets) => {
                for (topic, partition, _) in flat(offsets) {
                    if !splits.contains(&(topic, partition)) {
                        let detail = format!("has no partition {partition}, which {which} names");
                        return Err(self.config.topic_error(topic, detail, "take it out of the offsets"));
                    }
                }
                let bounds = range.lowest.iter().zip(range.highest);
                splits
                    .iter()
                    .zip(bounds)
                    .map(|(&(topic, partition), (&low, &high))| {
                        let offset = offsets.get(topic).and_then(|offsets| offsets.get(&partition)).copied();
                        let offset = offset.ok_or_else(|| {
                            let detail =
                                format!("has a partition {partition}, for which {which} names no offset");
                            self.config.topic_error(topic, detail, format!("name one from {low} to {high}"))
                        })?;
                        if (low..=high).contains(&offset) {
                            return Ok(offset);
                        }
                        Err(out_of_range(self.config, topic, partition, offset, low, high))
                    })
                    .collect()
            }
        }
    }

    /// Asks until there is an answer, an error that asking again can't mend, or no time left.
    pub(crate) fn ask<T>(
        &self,
        topic: Option<&str>,
        question: impl Fn(Duration) -> Result<T, RDKafkaErrorCode>,
    ) -> Result<T, SourceError> {
        let mut attempt = ATTEMPT_MIN;
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let answer = question(attempt.min(left).max(Duration::from_millis(1)));
            // Errors wait in the client's queue until they are fetched; waiting for one also keeps this loop from spinning.
            let patience = if answer.is_ok() { Duration::ZERO } else { Duration::from_millis(100) };
            while self.consumer.poll(patience).is_some() && Instant::now() < self.deadline {}
            let error = match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if let Some(lasting) = self.consumer.context().lasting() {
                return Err(self.config.error(lasting.detail, lasting.hint.to_owned()));
            }
            if !is_transient(error) {
                return Err(self.refused(topic, error));
            }
            if Instant::now() >= self.deadline {
                return Err(unreachable(self.config, self.consumer.context(), self.timeout, error));
            }
            attempt = (attempt * 2).min(ATTEMPT_MAX);
        }
    }

    fn refused(&self, topic: Option<&str>, error: RDKafkaErrorCode) -> SourceError {
        use RDKafkaErrorCode as Code;
        let Some(topic) = topic else {
            return self
                .config
                .error(error.to_string(), "check the brokers, topics and properties".to_owned());
        };
        match error {
            Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
                self.config.topic_error(topic, "does not exist".to_owned(), self.which_topics_exist(topic))
            }
            Code::TopicAuthorizationFailed => self.config.topic_error(
                topic,
                "may not be read by this user".to_owned(),
                "grant the user the right to describe and read it",
            ),
            other => self.config.topic_error(topic, format!("can't be read: {other}"), "check its name"),
        }
    }

    fn which_topics_exist(&self, wanted: &str) -> String {
        let Ok(metadata) = self.consumer.fetch_metadata(None, ATTEMPT_MAX) else {
            return "create it, or check its name".to_owned();
        };
        let nearness = |name: &str| strsim::jaro_winkler(name, wanted);
        let names = metadata.topics().iter().map(|topic| topic.name()).filter(|name| !name.starts_with("__"));
        match names.max_by(|a, b| nearness(a).total_cmp(&nearness(b))).filter(|near| nearness(near) > 0.8) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("create it, or check that {} are the right brokers", self.config.brokers),
        }
    }
}

pub(crate) fn code(error: ClientError) -> RDKafkaErrorCode {
    error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail)
}

/// No broker answers.
pub(crate) fn unreachable(
    config: &KafkaConfig,
    context: &SourceContext,
    waited: Duration,
    error: RDKafkaErrorCode,
) -> SourceError {
    let reason = context.reason().unwrap_or_else(|| error.to_string());
    config.error(
        format!("no broker of {} answers, for {} s now: {reason}", config.brokers, waited.as_secs()),
        "check that they run and can be reached from here, and that security.protocol is theirs".to_owned(),
    )
}

/// An offset that isn't there, or not any more.
pub(crate) fn out_of_range(
    config: &KafkaConfig,
    topic: &str,
    partition: i32,
    offset: i64,
    lowest: i64,
    highest: i64,
) -> SourceError {
    let (why, hint) = if offset < lowest {
        (
            "not there any more",
            "the topic's retention was too short: start from what is left, and keep more of it",
        )
    } else {
        ("not there", "check that these are the right brokers and topic, and that it wasn't made anew")
    };
    config.topic_error(
        topic,
        format!("partition {partition}: offset {offset} is {why}, there are {lowest} to {highest}"),
        hint,
    )
}
