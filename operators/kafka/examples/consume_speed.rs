//! How fast records come out of Kafka when nothing is done with them.
//!
//! `cargo run --profile demo -p thalweg-kafka --example consume_speed -- BROKERS TOPIC [WORKERS]`

use std::error::Error;
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use thalweg_kafka::{KafkaConfig, KafkaPlan, Position};
use thalweg_operators::source::reader::{ReadRequest, SourceError, SplitReader};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (brokers, topic, workers) = match &arguments[..] {
        [brokers, topic] => (brokers, topic, 1),
        [brokers, topic, workers] => (brokers, topic, workers.parse()?),
        _ => return Err("usage: consume_speed BROKERS TOPIC [WORKERS]".into()),
    };
    let mut config = KafkaConfig::new("speed", brokers, [topic]);
    config.end = Some(Position::Latest);
    let plan = config.resolve(Duration::from_secs(20))?;

    let started = Instant::now();
    let (records, bytes) = thread::scope(|scope| {
        let readers: Vec<_> = (0..workers)
            .map(|worker| {
                scope.spawn({
                    let plan = &plan;
                    move || read_all(plan, worker, workers)
                })
            })
            .collect();
        let mut sum = (0_usize, 0_usize);
        for reader in readers {
            let (records, bytes) = reader.join().map_err(|_| "a reader panicked")??;
            sum = (sum.0 + records, sum.1 + bytes);
        }
        Ok::<_, Box<dyn Error>>(sum)
    })?;
    let seconds = started.elapsed().as_secs_f64();
    writeln!(
        std::io::stdout(),
        "{records} records, {:.1} MB in {seconds:.2} s: {:.2} M records/s, {:.0} MB/s",
        bytes as f64 / 1e6,
        records as f64 / seconds / 1e6,
        bytes as f64 / seconds / 1e6,
    )?;
    Ok(())
}

fn read_all(plan: &KafkaPlan, worker: usize, workers: usize) -> Result<(usize, usize), SourceError> {
    let mut reader = plan.reader(worker, workers)?;
    let mut order: Vec<usize> = (0..reader.splits().len()).collect();
    let (mut records, mut bytes, mut keys) = (0, 0, 0);
    while !order.is_empty() {
        let request = ReadRequest {
            bytes_max: 4 << 20,
            records_max: usize::MAX,
            wait: Duration::from_secs(1),
            order: &order,
        };
        let progress = reader.read(request, &mut |record| keys += usize::from(record.key.is_some()))?;
        records += progress.records;
        bytes += progress.bytes;
        order.retain(|split| !progress.ended.contains(split));
        if !order.is_empty() {
            order.rotate_left(1);
        }
    }
    std::hint::black_box(keys);
    Ok((records, bytes))
}
