//! How long after a window has ended its row is scored, live: from Kafka, at a steady rate.
//!
//! ```text
//!   a producer: events of this very moment ─▶ Kafka ─▶ windows of a second ─▶ detect ─▶ handed over: now − window_end
//! ```
//!
//! Events are in order and nothing may be late, so a window is over when its second is. What is measured holds the producer's batching, the
//! broker, reading, a tick, the window and the model.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arrow::array::AsArray;
use arrow::datatypes::TimestampMicrosecondType;
use thalweg::plan::SinkKind;
use thalweg::preview::Handover;
use thalweg::run::{GoOn, RunOptions};
use thalweg_engine::control::Control;
use thalweg_kafka::broker::Broker;
use thalweg_kafka::{KafkaWriter, WriteRecord, create_topic};

use crate::data::TOPIC;
use crate::engine::load;
use crate::folder;

const PARTITIONS: i32 = 4;
/// How long before anything is measured: detectors judge from then on.
const WARM_UP: Duration = Duration::from_secs(25);
/// The mark: p99 of the time from a window's end to its row's score.
const P99_MAX_MS: f64 = 100.0;

/// How much to measure.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct LiveArgs {
    /// Events a second.
    #[arg(long, default_value_t = 50_000)]
    rate: u64,
    /// Series: windows that end each second.
    #[arg(long, default_value_t = 500)]
    series: u64,
    /// Seconds to measure, after 25 to warm up.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Workers.
    #[arg(long, default_value_t = 2)]
    workers: usize,
}

const PIPELINE: &str = r#"
pipeline: live
schemas:
  call:
    fields:
      - { name: started_at, type: timestamp, encoding: us, required: true }
      - { name: model, type: string, required: true }
      - { name: status, type: string, required: true }
      - { name: latency_ms, type: float64, unit: ms }
sources:
  calls:
    kafka: { topic: "${TOPIC}", brokers: "${KAFKA_BROKERS}", start: earliest }
    schema: call
    event_time: { field: started_at, lateness: 0s }
steps:
  per_second:
    from: calls
    window: { tumbling: 1s }
    by: [model]
    select:
      p95_ms: quantile(latency_ms, 0.95)
      failed: count(*) filter (where status <> 'success') / cast(count(*) as double)
  watched:
    from: per_second
    detect: { on: [p95_ms, failed], by: [model], false_alarms: 1/day }
sinks:
  watched: { from: watched, parquet: {} }
"#;

/// Measures and prints.
///
/// # Errors
/// When there is no broker, or the job fails.
pub(crate) fn run(arguments: &LiveArgs) -> anyhow::Result<()> {
    let broker = Broker::start()?;
    create_topic(broker.brokers(), TOPIC, PARTITIONS, &[])?;
    let mut plan = load(PIPELINE, "live.yaml", broker.brokers())?;
    let (sender, rows) = sync_channel(1024);
    for sink in &mut plan.sinks {
        sink.kind = SinkKind::Handed(Handover::new(sender.clone()));
    }
    drop(sender);
    let output = folder()?.join("live-output");
    let options = RunOptions { go_on: GoOn::Fresh, ..RunOptions::new(arguments.workers, &output) };
    let (control, produced) = (Control::new(), Arc::new(AtomicBool::new(false)));
    let job = thalweg::run::prepare(&plan, &options, &control)?;
    drop(plan);
    let running = std::thread::spawn(move || job.run());
    let producing = std::thread::spawn({
        let (brokers, arguments, produced) =
            (broker.brokers().to_owned(), arguments.clone(), Arc::clone(&produced));
        move || {
            let result = produce(&brokers, &arguments);
            produced.store(true, Ordering::Relaxed);
            result
        }
    });
    let delays = look(&rows, &produced);
    control.stop();
    producing.join().map_err(|_| anyhow::anyhow!("the producer panicked"))??;
    drop(rows);
    running.join().map_err(|_| anyhow::anyhow!("the job panicked"))??;
    std::fs::remove_dir_all(&output)?;
    print(arguments, delays)
}

fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}

/// Writes events of the moment, a thousandth of a second's at a time.
fn produce(brokers: &str, arguments: &LiveArgs) -> anyhow::Result<()> {
    let properties = BTreeMap::from([("linger.ms".to_owned(), "1".to_owned())]);
    let mut writer = KafkaWriter::new(brokers, &properties)?;
    let (begin, length) = (Instant::now(), WARM_UP + Duration::from_secs(arguments.seconds));
    let mut written = 0_u64;
    while begin.elapsed() < length {
        let wanted = (begin.elapsed().as_secs_f64() * arguments.rate as f64) as u64;
        for number in written..wanted {
            let at = now_us();
            let (model, noise) =
                (number * 7 % arguments.series, number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54);
            let status = if noise == 0 { "error" } else { "success" };
            let value = format!(
                "{{\"request_id\": \"req-{number:012}\", \"started_at\": {at}, \"provider\": \"anthropic\", \"model\": \"model-{model:04}\", \
                 \"session_id\": \"session-{:06}\", \"status\": \"{status}\", \"latency_ms\": {}.5, \"prompt_tokens\": 812, \
                 \"completion_tokens\": 344, \"cost_usd\": \"0.004210\", \"cache_hit\": false}}",
                number % 4_000,
                300 + noise
            );
            writer.write(WriteRecord {
                topic: TOPIC,
                partition: (number % PARTITIONS as u64) as i32,
                timestamp_ms: Some(at / 1000),
                key: None,
                value: Some(value.as_bytes()),
                headers: &[],
            })?;
        }
        written = wanted.max(written);
        // The pace of the producer, not a wait for something.
        std::thread::sleep(Duration::from_millis(1));
    }
    writer.flush(Duration::from_secs(30))?;
    Ok(())
}

/// Milliseconds from the end of each row's window to when it came, once all is warm.
fn look(rows: &Receiver<arrow::array::RecordBatch>, produced: &AtomicBool) -> Vec<f64> {
    let begin = Instant::now();
    let mut delays = Vec::new();
    loop {
        match rows.recv_timeout(Duration::from_millis(200)) {
            Ok(batch) => {
                let now = now_us();
                if begin.elapsed() < WARM_UP || produced.load(Ordering::Relaxed) {
                    continue;
                }
                let Some(ends) = batch.column_by_name("window_end") else { continue };
                let ends = ends.as_primitive::<TimestampMicrosecondType>().values();
                delays.extend(ends.iter().map(|end| (now - end) as f64 / 1000.0));
            }
            Err(RecvTimeoutError::Timeout) if produced.load(Ordering::Relaxed) => return delays,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return delays,
        }
    }
}

fn print(arguments: &LiveArgs, mut delays: Vec<f64>) -> anyhow::Result<()> {
    anyhow::ensure!(!delays.is_empty(), "no row came");
    delays.sort_by(f64::total_cmp);
    let quantile = |share: f64| delays[((delays.len() - 1) as f64 * share) as usize];
    let p99 = quantile(0.99);
    writeln!(
        std::io::stdout(),
        "{} events/s, {} series, {} workers: {} rows scored {:.0} ms after the end of their window at the median, p90 {:.0} ms, \
         p99 {:.0} ms, at most {:.0} ms: {} (≤ {P99_MAX_MS:.0} ms)",
        arguments.rate,
        arguments.series,
        arguments.workers,
        delays.len(),
        quantile(0.5),
        quantile(0.9),
        p99,
        quantile(1.0),
        if p99 <= P99_MAX_MS { "pass" } else { "missed" },
    )?;
    Ok(())
}
