//! The benchmarks' events in a topic, some of them broken.

use std::collections::BTreeMap;

use thalweg_kafka::{KafkaWriter, WriteRecord};
use thalweg_telemetry::{BenchConfig, Telemetry};

use crate::kafka::new_topic;
use crate::patience::PATIENCE;

const PARTITIONS: i32 = 4;
/// One of so many events is cut off in its midst.
const BROKEN: u64 = 499;

/// A topic, and the events that it has not got yet.
pub(super) struct Events {
    telemetry: Telemetry,
    writer: KafkaWriter,
    topic: String,
    fed: u64,
    all: u64,
}

impl Events {
    /// A new topic, with nothing in it yet.
    pub(super) fn new(brokers: &str, events: u64) -> Events {
        let sessions = (events / 25).max(1);
        let config = BenchConfig { events, sessions, partitions: PARTITIONS, ..BenchConfig::default() };
        Events {
            telemetry: config.telemetry().expect("telemetry that can be made"),
            writer: KafkaWriter::new(brokers, &BTreeMap::new()).expect("a writer can be made"),
            topic: new_topic(brokers, "events", PARTITIONS),
            fed: 0,
            all: events,
        }
    }

    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    /// How many events are in the topic.
    pub(super) fn fed(&self) -> u64 {
        self.fed
    }

    /// Part `part` of `parts` and one more.
    pub(super) fn feed_part(&mut self, part: u64, parts: u64) {
        self.feed_until(self.all * (part + 1) / (parts + 1));
    }

    pub(super) fn feed_rest(&mut self) {
        self.feed_until(self.all);
        assert!(self.telemetry.next_event().is_none(), "there are more events than were asked for");
    }

    fn feed_until(&mut self, events: u64) {
        while self.fed < events {
            let event = self.telemetry.next_event().expect("as many events as were asked for");
            let value = if self.fed.is_multiple_of(BROKEN) {
                &event.value[..event.value.len() / 2]
            } else {
                event.value
            };
            let record = WriteRecord {
                topic: &self.topic,
                partition: event.partition,
                timestamp_ms: Some(event.timestamp_ms),
                key: Some(event.key),
                value: Some(value),
                headers: &[],
            };
            self.writer.write(record).expect("a record is taken");
            self.fed += 1;
        }
        self.writer.flush(PATIENCE).expect("the records are acknowledged");
    }
}
