//! A day in small: hundreds of millions of rows through windows of all kinds, with a checkpoint every two seconds, while somebody looks
//! at memory, file handles and the time that checkpoints take. A leak shows between the first tenths and the last.

use std::fs;
use std::io::Write;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use thalweg::run::{GoOn, RunOptions};
use thalweg_telemetry::BenchConfig;

use crate::engine::{load, watched};
use crate::folder;

/// How much the last tenths may lie above the first ones, where nothing leaks.
const GROWTH_MAX: f64 = 1.25;

/// How long a day.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DayArgs {
    /// Events, over 24 hours of event time. Their archive takes about 55 bytes each.
    #[arg(long, default_value_t = 200_000_000)]
    events: u64,
    /// Workers.
    #[arg(long, default_value_t = 2)]
    workers: usize,
}

const DAY: &str = r#"
pipeline: day
schemas:
  call:
    fields:
      - { name: started_at, type: timestamp, encoding: ms, required: true }
      - { name: provider, type: string, required: true }
      - { name: model, type: string, required: true }
      - { name: session_id, type: string, required: true }
      - { name: status, type: string, required: true }
      - { name: latency_ms, type: float64 }
      - { name: cost_usd, type: decimal, scale: 6 }
sources:
  calls:
    kafka: { topic: provider-requests, brokers: none, end: latest }
    schema: call
    event_time: { field: started_at, lateness: 2s }
steps:
  per_minute:
    from: calls
    window: { tumbling: 1m }
    by: [provider, model]
    select: { requests: count(*), p95_ms: "quantile(latency_ms, 0.95)", cost_usd: sum(cost_usd) }
  sliding:
    from: calls
    window: { hopping: 10m, every: 1m }
    by: [provider]
    select: { requests: count(*), failed: count(*) filter (where status <> 'success'), mean_ms: avg(latency_ms) }
  sessions: { from: calls, window: { session: 5m, max: 30m }, by: [session_id], select: { requests: count(*), cost_usd: sum(cost_usd) } }
  hours: { from: sessions, window: { tumbling: 1h }, select: { sessions: count(*), cost_usd: sum(cost_usd) } }
sinks:
  per_minute: { from: per_minute, parquet: {} }
  sliding: { from: sliding, parquet: {} }
  sessions: { from: sessions, parquet: {} }
  hours: { from: hours, parquet: {} }
checkpoint: { interval: 2s }
"#;

/// What was seen at a moment.
struct Seen {
    /// Since the job began.
    seconds: f64,
    resident: f64,
    /// State that a restart would read, bytes.
    state: f64,
    files: f64,
    took_ms: f64,
    rows: u64,
}

/// Runs the day and prints what was seen in each tenth.
///
/// # Errors
/// When the job fails, or something has grown.
pub(crate) fn run(arguments: &DayArgs) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let archives = folder()?.join("day");
    let output = folder()?.join("day-output");
    let config = BenchConfig {
        events: arguments.events,
        sessions: (arguments.events / 25).max(1),
        duration_s: 86_400,
        ..BenchConfig::default()
    };
    writeln!(std::io::stderr(), "the archive of the day")?;
    thalweg_telemetry::write_bench_archive(&config, &archives, &|_| {})?;
    let plan = load(DAY, "day.yaml", "none")?;
    let options = RunOptions {
        archives: Some(archives),
        go_on: GoOn::Fresh,
        ..RunOptions::new(arguments.workers, &output)
    };
    let started = Instant::now();
    let mut seen: Vec<Seen> = Vec::new();
    let (summary, status) = watched(&plan, &options, Duration::from_millis(200), |status, _| {
        seen.push(Seen {
            seconds: started.elapsed().as_secs_f64(),
            resident: resident_bytes(),
            state: status.checkpoints.bytes_held.load(Relaxed) as f64,
            files: fs::read_dir("/proc/self/fd").map_or(0.0, |files| files.count() as f64),
            took_ms: status.checkpoints.took_ms.load(Relaxed) as f64,
            rows: status.sources[0].read(),
        });
    })?;
    writeln!(
        out,
        "{} rows in {:.0} s, {} windows fired, {} checkpoints",
        arguments.events,
        started.elapsed().as_secs_f64(),
        summary.windows_fired,
        status.checkpoints.made.load(Relaxed)
    )?;
    writeln!(out, "tenth  resident MB  files open  checkpoint ms  state MB  seconds")?;
    let tenths: Vec<[f64; 4]> = (0..10)
        .map(|tenth| {
            let of = |of: fn(&Seen) -> f64| {
                let range = arguments.events * tenth / 10..arguments.events * (tenth + 1) / 10;
                let mut figures: Vec<f64> = seen.iter().filter(|s| range.contains(&s.rows)).map(of).collect();
                figures.sort_by(f64::total_cmp);
                figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
            };
            [of(|s| s.resident / 1e6), of(|s| s.files), of(|s| s.took_ms), of(|s| s.state / 1e6)]
        })
        .collect();
    for (tenth, [resident, files, took, state]) in tenths.iter().enumerate() {
        let of_tenth = |seen: &&Seen| seen.rows / (arguments.events / 10).max(1) == tenth as u64;
        let times = || seen.iter().filter(of_tenth).map(|seen| seen.seconds);
        let seconds = times().fold(0.0, f64::max) - times().fold(f64::MAX, f64::min);
        writeln!(
            out,
            "{:>5}  {resident:>11.0}  {files:>10.0}  {took:>13.0}  {state:>8.0}  {:>7.0}",
            tenth + 1,
            seconds.max(0.0)
        )?;
    }
    // The first tenths fill the windows and the allocator; what leaks goes on growing after them.
    for (at, name) in ["memory", "file handles", "checkpoints' time"].into_iter().enumerate() {
        let mean =
            |tenths: &[[f64; 4]]| tenths.iter().map(|tenth| tenth[at]).sum::<f64>() / tenths.len() as f64;
        let ratio = mean(&tenths[7..10]) / mean(&tenths[2..5]).max(1.0);
        let verdict = if ratio <= GROWTH_MAX { "pass" } else { "MISSED" };
        writeln!(out, "{name}: tenths 8 to 10 are {ratio:.2} × tenths 3 to 5 {verdict} (≤ {GROWTH_MAX})")?;
    }
    fs::remove_dir_all(&output)?;
    Ok(())
}

fn resident_bytes() -> f64 {
    // Pages of 4 KiB: the second number.
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split_whitespace().nth(1).and_then(|pages| pages.parse::<f64>().ok()).unwrap_or(f64::NAN) * 4096.0
}
