//! Messages as fast as they can be had: librdkafka's batch consumption, or the values of an archive's Parquet files.

use std::fs::File;
use std::path::PathBuf;
use std::ptr::NonNull;
use std::time::Duration;

use anyhow::Context;
use arrow::array::AsArray;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use rdkafka_sys as sys;

use crate::data::PARTITIONS;

/// Messages taken at once.
const BATCH: usize = 4096;
/// How long the brokers may take to answer.
const LIMIT: Duration = Duration::from_secs(20);

/// Where the events are.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    /// The folder of an archive, each partition in files of its own.
    Archive(PathBuf),
    /// A topic, from its beginning to where it ends now.
    Kafka {
        /// `host:port`.
        brokers: String,
        /// Its name.
        topic: String,
    },
}

/// What a share hands over. Partitions are numbered within the share.
pub(crate) enum Taken<'a> {
    /// A message's value.
    Value(usize, &'a [u8]),
    /// The end of a partition.
    End(usize),
    /// A good moment to look at the watermark: some thousand messages have passed.
    Pause,
}

/// A thread's partitions.
pub(crate) enum Share {
    /// Of each partition the files, the next one last.
    Archive(Vec<Vec<PathBuf>>),
    /// Assigned, and with the offsets before which to end.
    Kafka(KafkaShare),
}

/// A consumer of some partitions of a topic.
pub(crate) struct KafkaShare {
    consumer: BaseConsumer,
    topic: String,
    /// Partition, first offset, end.
    partitions: Vec<(i32, i64, i64)>,
}

impl Input {
    /// Deals the partitions to threads. Topics are resolved here, before the clock starts.
    ///
    /// # Errors
    /// When folder or topic can't be read.
    pub(crate) fn shares(&self, threads: usize) -> anyhow::Result<Vec<Share>> {
        (0..threads)
            .map(|thread| self.share((thread as i32..PARTITIONS).step_by(threads).collect()))
            .collect()
    }

    fn share(&self, partitions: Vec<i32>) -> anyhow::Result<Share> {
        match self {
            Input::Archive(folder) => {
                let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?
                    .map(|entry| Ok(entry?.path()))
                    .collect::<anyhow::Result<_>>()?;
                files.sort_by(|a, b| b.cmp(a));
                let of_partition = |partition: i32| {
                    let prefix = format!("part-{partition:05}-");
                    let named = |file: &&PathBuf| {
                        file.file_name()
                            .and_then(|name| name.to_str())
                            .is_some_and(|name| name.starts_with(&prefix))
                    };
                    files.iter().filter(named).cloned().collect()
                };
                Ok(Share::Archive(partitions.into_iter().map(of_partition).collect()))
            }
            Input::Kafka { brokers, topic } => {
                let consumer: BaseConsumer = ClientConfig::new()
                    .set("bootstrap.servers", brokers)
                    .set("group.id", "reference")
                    .set("enable.auto.commit", "false")
                    .set("enable.auto.offset.store", "false")
                    .set("queued.max.messages.kbytes", "32768")
                    .set("queued.min.messages", "1000000")
                    .set("fetch.message.max.bytes", "1048576")
                    .set("fetch.queue.backoff.ms", "5")
                    .create()?;
                let partitions = partitions
                    .into_iter()
                    .map(|partition| {
                        let (first, end) = consumer.fetch_watermarks(topic, partition, LIMIT)?;
                        Ok((partition, first, end))
                    })
                    .collect::<anyhow::Result<_>>()?;
                Ok(Share::Kafka(KafkaShare { consumer, topic: topic.clone(), partitions }))
            }
        }
    }
}

impl Share {
    /// How many partitions it has.
    pub(crate) fn partitions(&self) -> usize {
        match self {
            Share::Archive(partitions) => partitions.len(),
            Share::Kafka(share) => share.partitions.len(),
        }
    }

    /// Hands over all its messages.
    ///
    /// # Errors
    /// When they can't be read.
    pub(crate) fn take(self, each: impl FnMut(Taken<'_>)) -> anyhow::Result<()> {
        match self {
            Share::Archive(partitions) => take_archive(partitions, each),
            Share::Kafka(share) => share.take(each),
        }
    }
}

// A batch of each partition in turn, which keeps them abreast.
fn take_archive(mut files: Vec<Vec<PathBuf>>, mut each: impl FnMut(Taken<'_>)) -> anyhow::Result<()> {
    let mut readers: Vec<Option<ParquetRecordBatchReader>> = files.iter().map(|_| None).collect();
    let mut open: Vec<usize> = (0..files.len()).collect();
    while !open.is_empty() {
        let mut ended = Vec::new();
        for &partition in &open {
            let batch = loop {
                if let Some(batch) = readers[partition].as_mut().and_then(Iterator::next) {
                    break Some(batch?);
                }
                let Some(file) = files[partition].pop() else { break None };
                let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(file)?)?;
                let values = ProjectionMask::columns(builder.parquet_schema(), ["value"]);
                readers[partition] = Some(builder.with_projection(values).with_batch_size(BATCH).build()?);
            };
            match batch {
                Some(batch) => {
                    batch
                        .column(0)
                        .as_binary::<i32>()
                        .iter()
                        .flatten()
                        .for_each(|value| each(Taken::Value(partition, value)));
                }
                None => {
                    each(Taken::End(partition));
                    ended.push(partition);
                }
            }
            each(Taken::Pause);
        }
        open.retain(|partition| !ended.contains(partition));
    }
    Ok(())
}

/// librdkafka's queue of all assigned partitions.
struct Queue(NonNull<sys::rd_kafka_queue_t>);

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the queue is ours, and used no more.
        unsafe { sys::rd_kafka_queue_destroy(self.0.as_ptr()) };
    }
}

impl KafkaShare {
    fn take(self, mut each: impl FnMut(Taken<'_>)) -> anyhow::Result<()> {
        let mut list = TopicPartitionList::new();
        let mut index_of = vec![usize::MAX; PARTITIONS as usize];
        for (index, (partition, first, _)) in self.partitions.iter().enumerate() {
            list.add_partition_offset(&self.topic, *partition, Offset::Offset(*first))?;
            index_of[*partition as usize] = index;
        }
        // SAFETY: the client outlives the queue, which is dropped before it.
        let queue = unsafe { sys::rd_kafka_queue_get_consumer(self.consumer.client().native_ptr()) };
        let queue = Queue(NonNull::new(queue).context("the consumer has no queue")?);
        self.consumer.assign(&list)?;
        let mut open = self.partitions.len();
        let mut messages = Vec::with_capacity(BATCH);
        while open > 0 {
            // SAFETY: there is room for `BATCH` messages; those that come are handled, and destroyed, once.
            let count = unsafe {
                sys::rd_kafka_consume_batch_queue(queue.0.as_ptr(), 100, messages.as_mut_ptr(), BATCH)
            };
            // SAFETY: so many were written; −1 is an error without messages.
            unsafe { messages.set_len(usize::try_from(count).unwrap_or(0)) };
            for raw in messages.drain(..) {
                // SAFETY: a message from the queue is valid until it is destroyed.
                let message: &sys::rd_kafka_message_t = unsafe { &*raw };
                let failed = message.err != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
                if failed {
                    anyhow::bail!("the topic can't be read: {}", RDKafkaErrorCode::from(message.err));
                }
                let index = index_of[message.partition as usize];
                let end = self.partitions[index].2;
                if message.offset < end {
                    // SAFETY: payload and length belong together; a null payload has the length 0.
                    let value = (!message.payload.is_null()).then(|| unsafe {
                        std::slice::from_raw_parts(message.payload.cast::<u8>(), message.len)
                    });
                    each(Taken::Value(index, value.unwrap_or_default()));
                }
                if message.offset + 1 == end {
                    each(Taken::End(index));
                    open -= 1;
                }
                // SAFETY: destroyed once, and not used after.
                unsafe { sys::rd_kafka_message_destroy(raw) };
            }
            each(Taken::Pause);
        }
        Ok(())
    }
}
