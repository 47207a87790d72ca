//! How fast records go into Kafka: 250 bytes each, into 8 partitions of a new topic.
//!
//! `cargo run --profile demo -p thalweg-kafka --example produce_speed -- BROKERS TOPIC RECORDS`

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::time::{Duration, Instant};

use thalweg_kafka::{KafkaWriter, WriteRecord, create_topic};

const PARTITIONS: i32 = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [brokers, topic, records] = &arguments[..] else {
        return Err("usage: produce_speed BROKERS TOPIC RECORDS".into());
    };
    let records: i64 = records.parse()?;
    create_topic(brokers, topic, PARTITIONS, &[])?;
    let mut writer = KafkaWriter::new(brokers, &BTreeMap::new())?;

    let started = Instant::now();
    let mut value = Vec::new();
    for at in 0..records {
        value.clear();
        // Something that compresses about as well as telemetry does.
        let spread = at.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64.cast_signed()).cast_unsigned();
        write!(
            value,
            r#"{{"request_id":"req_{spread:016x}","started_at":{},"session_id":"s{}","provider":"p{}","model":"model-{}","status":"{}","latency_ms":{},"ttft_ms":{},"input_tokens":{},"output_tokens":{},"cost_usd":{:.6},"region":"eu-west-1"}}"#,
            1_760_000_000_000 + at,
            spread >> 46,
            spread >> 62,
            spread >> 60,
            if spread & 31 == 0 { "error" } else { "ok" },
            (spread >> 20) & 4095,
            (spread >> 32) & 1023,
            (spread >> 8) & 8191,
            (spread >> 30) & 2047,
            (spread >> 40) as f64 / 1e9,
        )?;
        writer.write(WriteRecord {
            topic,
            partition: (at % i64::from(PARTITIONS)) as i32,
            timestamp_ms: Some(1_760_000_000_000 + at),
            key: None,
            value: Some(&value),
            headers: &[],
        })?;
    }
    writer.flush(Duration::from_secs(60))?;
    let seconds = started.elapsed().as_secs_f64();
    writeln!(
        std::io::stdout(),
        "{records} records of about {} B in {seconds:.2} s: {:.0} k records/s",
        value.len(),
        records as f64 / seconds / 1e3
    )?;
    Ok(())
}
