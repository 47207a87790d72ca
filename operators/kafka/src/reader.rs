//! Reads a worker's splits of Kafka topics.
//!
//! ```text
//!   broker ──▶ fetcher thread ──▶ a queue a partition ──fill, up to 1024──▶ messages ──▶ each(Record)
//!                                 (bounded, in bytes)                       destroyed one by one
//!                    errors ─────▶ main queue ──▶ SourceContext
//! ```
//!
//! **Ends.** Offsets have gaps: transactions leave markers, compaction takes records away. So a bounded split ends not by
//! counting, but with the record before its end, the first record at or behind it, or when the broker says that there is
//! nothing before it any more (an end-of-partition event, whose offset stands behind the gaps).
//!
//! **Errors.** What librdkafka retries is logged; what it can't mend ends the job. A broker that restarts looks just like
//! one that is gone, so trouble must have lasted while nothing came, and a last question have stayed without an answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use thalweg_operators::source::reader::{
    ReadProgress, ReadRequest, Record, SourceError, SplitInfo, SplitReader, record_bytes,
};

use crate::batch::{BATCH_RECORDS_MAX, Message, PartitionQueue, Wakeup};
use crate::config::KafkaConfig;
use crate::context::{SourceContext, is_transient};
use crate::plan::{PlannedSplit, out_of_range, unreachable};
use crate::silence::Silence;

/// How long brokers may be in trouble, with nothing arriving, before they are asked a last question …
const TROUBLE_MAX: Duration = Duration::from_secs(20);
/// … which they must answer within this.
const LAST_QUESTION: Duration = Duration::from_secs(5);
/// While waiting for records, errors and statistics are looked at this often.
const EVENTS_EVERY: Duration = Duration::from_millis(100);

/// Reads a worker's splits: see [`crate::KafkaPlan::reader`].
pub struct KafkaReader {
    config: KafkaConfig,
    infos: Vec<SplitInfo>,
    splits: Vec<Split>,
    /// `None` where there are no splits.
    consumer: Option<Arc<BaseConsumer<SourceContext>>>,
    wakeup: Arc<Wakeup>,
    /// Splits that have ended, but weren't reported yet.
    ended: Vec<usize>,
    /// Since when nothing has arrived.
    waiting_since: Option<Instant>,
    silence: Silence,
}

/// The reading of one split.
struct Split {
    /// `None` once the split has ended.
    queue: Option<PartitionQueue>,
    /// No record below this comes any more.
    next: i64,
    /// Where the broker said that there is no more for now: behind `next` where records are gone or were never committed.
    caught_up_at: i64,
    end: Option<i64>,
    /// A moving mean of the payloads' sizes: no more messages are taken than the request has room for, about.
    payload_bytes_mean: usize,
}

/// How reading of a split's queue went.
enum Drained {
    /// The request is met.
    Met,
    /// Nothing is at hand.
    Empty,
    /// The split's end is reached.
    Ended,
    /// Reading can't go on.
    Failed(RDKafkaErrorCode, String),
    /// A record came whose offset is below one that came before.
    WentBack(i64),
}

impl KafkaReader {
    pub(crate) fn new(config: &KafkaConfig, planned: Vec<PlannedSplit>) -> Result<KafkaReader, SourceError> {
        let mut reader = KafkaReader {
            config: config.clone(),
            infos: planned.iter().map(PlannedSplit::info).collect(),
            splits: Vec::with_capacity(planned.len()),
            consumer: None,
            wakeup: Arc::default(),
            ended: Vec::new(),
            waiting_since: None,
            silence: Silence::default(),
        };
        let open = planned.iter().filter(|split| !is_empty(split)).count();
        let consumer: Option<Arc<BaseConsumer<SourceContext>>> = if open > 0 {
            let client = config.consumer_config(open)?;
            let context = SourceContext::new(&config.source_name);
            let made = client.create_with_context(context);
            let failed = |error: rdkafka::error::KafkaError| {
                config.error(error.to_string(), "check the brokers and properties".to_owned())
            };
            Some(Arc::new(made.map_err(failed)?))
        } else {
            None
        };

        let mut assignment = TopicPartitionList::with_capacity(open);
        for (index, split) in planned.iter().enumerate() {
            let queue = match &consumer {
                Some(consumer) if !is_empty(split) => {
                    let queue = PartitionQueue::open(consumer, &split.topic, split.partition, &reader.wakeup);
                    let added = assignment.add_partition_offset(
                        &split.topic,
                        split.partition,
                        Offset::Offset(split.start),
                    );
                    let (Some(queue), Ok(())) = (queue, added) else {
                        let detail = format!("partition {} can't be assigned", split.partition);
                        return Err(config.topic_error(
                            &split.topic,
                            detail,
                            "check the topic's name and offsets",
                        ));
                    };
                    Some(queue)
                }
                _ => {
                    reader.ended.push(index);
                    None
                }
            };
            reader.splits.push(Split {
                queue,
                next: split.start,
                caught_up_at: split.start,
                end: split.end,
                payload_bytes_mean: 0,
            });
        }
        if let Some(consumer) = &consumer {
            consumer
                .assign(&assignment)
                .map_err(|error| config.error(error.to_string(), "check the properties".to_owned()))?;
        }
        reader.consumer = consumer;
        Ok(reader)
    }

    /// Hands over what is at hand.
    fn take(
        &mut self,
        request: &ReadRequest<'_>,
        each: &mut dyn FnMut(Record<'_>),
        progress: &mut ReadProgress,
    ) -> Result<(), SourceError> {
        for &index in request.order {
            match self.splits[index].drain(index, request, self.config.headers, each, progress) {
                Drained::Met => return Ok(()),
                Drained::Empty => {}
                Drained::Ended => {
                    self.close(index)?;
                    progress.ended.push(index);
                }
                Drained::Failed(code, text) => return Err(self.failed(index, code, &text)),
                Drained::WentBack(offset) => {
                    let SplitInfo { topic, partition, .. } = &self.infos[index];
                    let next = self.splits[index].next;
                    return Err(self.config.topic_error(
                        topic,
                        format!("partition {partition}: offset {offset} came after offset {}", next - 1),
                        "the topic was made anew or lost records on its broker: start the job afresh",
                    ));
                }
            }
        }
        Ok(())
    }

    /// No more is fetched of a split that has ended, and nothing kept.
    fn close(&mut self, index: usize) -> Result<(), SourceError> {
        let info = &self.infos[index];
        if let Some(consumer) = &self.consumer {
            let mut list = TopicPartitionList::with_capacity(1);
            list.add_partition(&info.topic, info.partition);
            consumer
                .pause(&list)
                .map_err(|error| self.config.error(error.to_string(), "run the job again".to_owned()))?;
        }
        self.splits[index].queue = None;
        Ok(())
    }

    /// Fetches what the client has to say. `SourceContext` keeps what matters of it.
    fn serve_events(&self) -> Result<(), SourceError> {
        let Some(consumer) = &self.consumer else { return Ok(()) };
        while let Some(event) = consumer.poll(Duration::ZERO) {
            if event.is_ok() {
                // All partitions were parted from the common queue before they were assigned.
                unreachable!("invariant: no record goes to the consumer's common queue");
            }
        }
        match consumer.context().lasting() {
            Some(lasting) => Err(self.config.error(lasting.detail, lasting.hint.to_owned())),
            None => Ok(()),
        }
    }

    /// Called when nothing was at hand: whether the brokers are gone.
    fn check_brokers(&mut self, index: usize) -> Result<(), SourceError> {
        let Some(consumer) = &self.consumer else { return Ok(()) };
        let waiting_since = *self.waiting_since.get_or_insert_with(Instant::now);
        let context = consumer.context();
        let Some(trouble_since) = context.trouble_since() else { return Ok(()) };
        if trouble_since.max(waiting_since).elapsed() < TROUBLE_MAX {
            return Ok(());
        }
        match consumer.fetch_metadata(Some(&self.infos[index].topic), LAST_QUESTION) {
            Ok(_) => {
                tracing::info!(source = self.config.source_name, "the brokers answer again");
                context.clear();
                Ok(())
            }
            Err(error) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::AllBrokersDown);
                Err(unreachable(&self.config, context, trouble_since.elapsed(), code))
            }
        }
    }

    /// Something arrived.
    fn arrived(&mut self) {
        if self.waiting_since.take().is_some()
            && let Some(consumer) = &self.consumer
        {
            consumer.context().clear();
        }
    }

    /// The error of a split that can't be read on.
    fn failed(&self, index: usize, code: RDKafkaErrorCode, text: &str) -> SourceError {
        use RDKafkaErrorCode as Code;
        let SplitInfo { topic, partition, .. } = &self.infos[index];
        match code {
            Code::OffsetOutOfRange | Code::AutoOffsetReset => {
                let range =
                    self.consumer.as_ref().map(|c| c.fetch_watermarks(topic, *partition, LAST_QUESTION));
                match range {
                    Some(Ok((lowest, highest))) => {
                        let offset = self.splits[index].next;
                        out_of_range(&self.config, topic, *partition, offset, lowest, highest)
                    }
                    _ => self.config.topic_error(
                        topic,
                        format!("partition {partition}: {text}"),
                        "the topic's retention was too short: start from what is left, and keep more of it",
                    ),
                }
            }
            Code::UnknownTopicOrPartition
            | Code::UnknownTopic
            | Code::UnknownPartition
            | Code::UnknownTopicId => self.config.topic_error(
                topic,
                format!("partition {partition} does not exist any more"),
                "it was deleted while the job ran: start the job afresh",
            ),
            Code::TopicAuthorizationFailed => self.config.topic_error(
                topic,
                "may not be read by this user".to_owned(),
                "grant the user the right to describe and read it",
            ),
            code => self.config.topic_error(
                topic,
                format!("partition {partition}, from offset {} on: {code}: {text}", self.splits[index].next),
                "the records can't be read as they are: see the broker's log",
            ),
        }
    }
}

fn is_empty(split: &PlannedSplit) -> bool {
    split.end.is_some_and(|end| split.start >= end)
}

impl Split {
    /// Hands over the messages at hand until the request is met.
    fn drain(
        &mut self,
        index: usize,
        request: &ReadRequest<'_>,
        headers: bool,
        each: &mut dyn FnMut(Record<'_>),
        progress: &mut ReadProgress,
    ) -> Drained {
        let Some(queue) = &mut self.queue else { return Drained::Empty };
        loop {
            if progress.records >= request.records_max || progress.bytes >= request.bytes_max {
                return Drained::Met;
            }
            let room_bytes = request.bytes_max - progress.bytes;
            let room_records = request.records_max - progress.records;
            let wanted = (room_bytes / self.payload_bytes_mean.max(1)).saturating_add(1).min(room_records);
            if queue.fill(wanted.min(BATCH_RECORDS_MAX)) == 0 {
                return Drained::Empty;
            }
            while let Some(message) = queue.next() {
                let offset = message.offset();
                if let Some((code, text)) = message.error() {
                    let at_end = self.end.is_some_and(|end| offset >= end);
                    match code {
                        RDKafkaErrorCode::PartitionEOF if at_end => return Drained::Ended,
                        RDKafkaErrorCode::PartitionEOF => self.caught_up_at = offset,
                        code if is_transient(code) => {
                            tracing::warn!(target: "librdkafka", "{text}; trying again")
                        }
                        code => return Drained::Failed(code, text),
                    }
                    continue;
                }
                if self.end.is_some_and(|end| offset >= end) {
                    return Drained::Ended;
                }
                if offset < self.next {
                    return Drained::WentBack(offset);
                }
                let bytes = hand_over(&message, index, headers, each);
                self.next = offset + 1;
                self.payload_bytes_mean = (self.payload_bytes_mean * 7 + bytes) / 8;
                progress.records += 1;
                progress.bytes += bytes;
                if self.end == Some(self.next) {
                    return Drained::Ended;
                }
                if progress.records >= request.records_max || progress.bytes >= request.bytes_max {
                    return Drained::Met;
                }
            }
        }
    }
}

/// Returns its size.
fn hand_over(message: &Message<'_>, split: usize, headers: bool, each: &mut dyn FnMut(Record<'_>)) -> usize {
    let value = message.value();
    let headers = if headers { message.headers() } else { Vec::new() };
    let bytes = record_bytes(message.key(), value, &headers);
    each(Record {
        split,
        offset: message.offset(),
        // A timestamp so far off that it doesn't fit into microseconds is none.
        timestamp_us: message.timestamp_ms().and_then(|ms| ms.checked_mul(1000)),
        key: message.key(),
        value,
        headers: &headers,
    });
    bytes
}

impl SplitReader for KafkaReader {
    fn splits(&self) -> &[SplitInfo] {
        &self.infos
    }

    fn at_hand(&mut self, split: usize) -> bool {
        self.splits[split].queue.as_mut().is_some_and(PartitionQueue::holds_a_record)
    }

    fn is_silent(&mut self, split: usize) -> bool {
        let Some(consumer) = &self.consumer else { return true };
        let Split { next, caught_up_at, .. } = self.splits[split];
        let end = self.silence.end(split, next, &self.infos[split], consumer);
        end.is_some_and(|end| end <= next.max(caught_up_at)) && !self.at_hand(split)
    }

    fn read(
        &mut self,
        request: ReadRequest<'_>,
        each: &mut dyn FnMut(Record<'_>),
    ) -> Result<ReadProgress, SourceError> {
        let started = Instant::now();
        let mut progress = ReadProgress { ended: std::mem::take(&mut self.ended), ..ReadProgress::default() };
        loop {
            let seen = self.wakeup.count();
            self.serve_events()?;
            self.take(&request, each, &mut progress)?;
            if progress.records > 0 || !progress.ended.is_empty() {
                self.arrived();
                return Ok(progress);
            }
            if self.infos.is_empty() {
                return Ok(progress);
            }
            // Also where all splits are idle: that they are silent may be the brokers' fault.
            self.check_brokers(request.order.first().copied().unwrap_or(0))?;
            let left = request.wait.saturating_sub(started.elapsed());
            if left.is_zero() || request.order.is_empty() {
                return Ok(progress);
            }
            self.wakeup.wait_past(seen, left.min(EVENTS_EVERY));
        }
    }
}
