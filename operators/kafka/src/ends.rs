//! Where splits end now, for whoever shows how far behind a job is.
//!
//! Asked with a client of its own, so that reading waits for nothing; the client is kept, so that asking again costs one request a
//! broker and not a connection.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use thalweg_operators::source::reader::SourceError;

use crate::config::KafkaConfig;
use crate::context::SourceContext;

/// Asks brokers where the splits of a source end.
pub struct EndOffsets {
    consumer: BaseConsumer<SourceContext>,
}

impl EndOffsets {
    /// A client for the source of `config`. No broker is asked yet.
    ///
    /// # Errors
    /// [`SourceError::Connection`] when librdkafka refuses the properties.
    pub fn new(config: &KafkaConfig) -> Result<Self, SourceError> {
        let mut client = config.consumer_config(1)?;
        // Without a group the client serves its events without a consumer's queue.
        client.remove("group.id");
        let context = SourceContext::new(&config.source_name);
        let consumer = client.create_with_context(context);
        let consumer = consumer.map_err(|error| {
            config.error(error.to_string(), "check the brokers and properties".to_owned())
        })?;
        Ok(EndOffsets { consumer })
    }

    /// The offset after the last record of each split that a broker answers for, in the order of `splits`. Waits for `timeout` at most.
    pub fn ask(&self, splits: &[(&str, i32)], timeout: Duration) -> Vec<Option<i64>> {
        let mut list = TopicPartitionList::with_capacity(splits.len());
        for (topic, partition) in splits {
            if list.add_partition_offset(topic, *partition, Offset::End).is_err() {
                return vec![None; splits.len()];
            }
        }
        let found = self.consumer.offsets_for_times(list, timeout);
        // Errors wait in the client's queue until they are fetched.
        while self.consumer.poll(Duration::ZERO).is_some() {}
        let Ok(found) = found else { return vec![None; splits.len()] };
        let end = |(topic, partition): &(&str, i32)| {
            let found = found.find_partition(topic, *partition)?;
            found.error().ok()?;
            found.offset().to_raw().filter(|offset| *offset >= 0)
        };
        splits.iter().map(end).collect()
    }
}
