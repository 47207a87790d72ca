//! Telemetry into Kafka: the same partitions and timestamps as in the archives, and into new topics the same offsets.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use thalweg_kafka::{KafkaWriter, WriteRecord, create_topic};

use crate::bench::BenchConfig;
use crate::config::{TelemetryConfig, TelemetryError, Volume};
use crate::telemetry::Telemetry;
use crate::topic::Topic;

/// Events between two calls of a progress function.
const PROGRESS_EVENTS: u64 = 10_000;
/// How long the brokers may take to acknowledge the last events.
const FLUSH_LIMIT: Duration = Duration::from_secs(60);

/// Where in Kafka to write to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaOutput {
    /// `host:port`, several separated by commas.
    pub brokers: String,
    /// librdkafka's properties.
    pub properties: BTreeMap<String, String>,
    /// Make the topics first, with as many partitions as configured; that fails where one exists. Otherwise they must exist,
    /// with at least as many.
    pub create_topics: bool,
}

/// Writes the telemetry to Kafka, each topic under its own name: as fast as possible, or with [`Volume::PerSecond`] an event
/// when as much time has passed since the call as lies between the telemetry's start and its append time.
///
/// `progress` is called every ten thousand events or so with the number of events written since its last call. Gives the
/// number of events, all acknowledged.
///
/// # Errors
/// As [`TelemetryConfig::check`]; [`TelemetryError::Kafka`].
pub fn write_kafka(
    config: &TelemetryConfig,
    output: &KafkaOutput,
    progress: &mut dyn FnMut(u64),
) -> Result<u64, TelemetryError> {
    let telemetry = Telemetry::new(config)?;
    for &topic in config.topics.iter().filter(|_| output.create_topics) {
        create(output, topic, config.partitions_of(topic))?;
    }
    let paced = matches!(config.volume, Volume::PerSecond(_));
    write(telemetry, paced.then_some(config.start_ms), output, progress)
}

/// Writes the benchmarks' events to Kafka, as fast as possible; otherwise as [`write_kafka`].
///
/// # Errors
/// When an option is out of its range; [`TelemetryError::Kafka`].
pub fn write_bench_kafka(
    config: &BenchConfig,
    output: &KafkaOutput,
    progress: &mut dyn FnMut(u64),
) -> Result<u64, TelemetryError> {
    let telemetry = config.telemetry()?;
    if output.create_topics {
        create(output, BenchConfig::TOPIC, config.partitions)?;
    }
    write(telemetry, None, output, progress)
}

fn create(output: &KafkaOutput, topic: Topic, partitions: i32) -> Result<(), TelemetryError> {
    // The events lie in the past: they are not to be deleted by their age.
    Ok(create_topic(&output.brokers, topic.name(), partitions, &[("retention.ms", "-1")])?)
}

fn write(
    mut telemetry: Telemetry,
    paced_from_ms: Option<i64>,
    output: &KafkaOutput,
    progress: &mut dyn FnMut(u64),
) -> Result<u64, TelemetryError> {
    let mut writer = KafkaWriter::new(&output.brokers, &output.properties)?;
    let begun = Instant::now();
    let mut events = 0;
    while let Some(event) = telemetry.next_event() {
        if let Some(start_ms) = paced_from_ms {
            let due = Duration::from_millis(u64::try_from(event.timestamp_ms - start_ms).unwrap_or(0));
            if let Some(early) = due.checked_sub(begun.elapsed()).filter(|early| early.as_millis() > 0) {
                std::thread::sleep(early);
            }
        }
        writer.write(WriteRecord {
            topic: event.topic.name(),
            partition: event.partition,
            timestamp_ms: Some(event.timestamp_ms),
            key: Some(event.key),
            value: Some(event.value),
            headers: &[],
        })?;
        events += 1;
        if events % PROGRESS_EVENTS == 0 {
            progress(PROGRESS_EVENTS);
        }
    }
    writer.flush(FLUSH_LIMIT)?;
    progress(events % PROGRESS_EVENTS);
    Ok(events)
}
