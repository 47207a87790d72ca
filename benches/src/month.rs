//! A month in small: a backtest of one day reads that day and its warm-up, and gives what a run over the whole month gives for it.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use thalweg::backtest::{BacktestOptions, Variant, backtest};
use thalweg::plan::Plan;
use thalweg::run::{GoOn, RunOptions, run};
use thalweg_engine::control::Control;
use thalweg_telemetry::{BenchConfig, write_bench_archive};

use crate::check::{self, Outcome};
use crate::engine::load;
use crate::folder;

const DAYS: u64 = 30;
/// The day that is looked at, from 0.
const DAY: i64 = 15;
const DAY_US: i64 = 86_400_000_000;
/// The longest window of the pipeline, and how late its rows may be: what the warm-up is by default.
const WARM_UP_US: i64 = 10 * 60_000_000 + 2_000_000;
/// Bytes read, against the day's and its warm-up's share of the archive: row groups are read whole.
const READ_MAX: f64 = 1.1;

const MONTH: &str = r#"
pipeline: month
schemas:
  call:
    fields:
      - { name: started_at, type: timestamp, encoding: ms, required: true }
      - { name: provider, type: string, required: true }
      - { name: model, type: string, required: true }
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
    window: { hopping: 10m, every: 1m }
    by: [provider, model]
    select: { requests: count(*), p95_ms: "quantile(latency_ms, 0.95)", cost_usd: sum(cost_usd) }
sinks:
  result: { from: per_minute, parquet: {} }
"#;

/// How long a month.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct MonthArgs {
    /// Events, over 30 days of event time. Their archive takes about 45 bytes each.
    #[arg(long, default_value_t = 100_000_000)]
    events: u64,
    /// Workers.
    #[arg(long, default_value_t = 2)]
    workers: usize,
}

/// Runs the month and the day, prints what was read, and compares.
///
/// # Errors
/// When a job fails, or the day's results are not those of the month's run.
pub(crate) fn run_month(arguments: &MonthArgs) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let archives = folder()?.join("month");
    let config = BenchConfig {
        events: arguments.events,
        sessions: (arguments.events / 25).max(1),
        duration_s: DAYS * 86_400,
        ..BenchConfig::default()
    };
    writeln!(std::io::stderr(), "… the archive of the month")?;
    write_bench_archive(&config, &archives, &|_| {})?;
    let plan = load(MONTH, "month.yaml", "none")?;
    let from_us = config.start_ms * 1000 + DAY * DAY_US;
    let to_us = from_us + DAY_US;

    let output = folder()?.join("month-day");
    let options = BacktestOptions {
        output: output.clone(),
        archives: Some(archives.clone()),
        from_us: Some(from_us),
        to_us: Some(to_us),
        warm_up_us: None,
        cool_down_us: None,
        ignore: Vec::new(),
        state: None,
        workers: arguments.workers,
    };
    writeln!(std::io::stderr(), "… a backtest of one day")?;
    let variant = Variant { name: "variant".to_owned(), about: String::new(), plan: plan.clone() };
    let began = Instant::now();
    let report = backtest(&options, None, &[variant], &Control::new(), &mut |_, _| Box::new(|| {}))?;
    let source = &report.runs[0].summary.sources[0];
    let share = (DAY_US + WARM_UP_US) as f64 / (DAY_US as f64 * DAYS as f64);
    let ratio = source.file_bytes as f64 / (source.archive_bytes as f64 * share);
    writeln!(
        out,
        "one day of {DAYS}: {} of {} rows, {:.0} of {:.0} MB of files read in {:.1} s",
        source.read,
        arguments.events,
        source.file_bytes as f64 / 1e6,
        source.archive_bytes as f64 / 1e6,
        began.elapsed().as_secs_f64()
    )?;
    let verdict = if ratio <= READ_MAX { "pass" } else { "MISSED" };
    writeln!(out, "that is {ratio:.2} × the share of the day and its warm-up {verdict} (≤ {READ_MAX})")?;

    writeln!(std::io::stderr(), "… the whole month")?;
    let whole = folder()?.join("month-whole");
    let (seconds, expected) = whole_month(&plan, &archives, arguments.workers, &whole, from_us..to_us)?;
    let found = check::read_of(&output.join("variant/result"), Some(from_us..to_us))?;
    anyhow::ensure!(
        expected == found,
        "the month's run found {expected:?} for the day, its backtest {found:?}"
    );
    writeln!(
        out,
        "the whole month takes {seconds:.0} s, and gives the same {} windows of that day, {} rows in them",
        found.windows, found.requests
    )?;
    std::fs::remove_dir_all(&whole)?;
    Ok(std::fs::remove_dir_all(&output)?)
}

fn whole_month(
    plan: &Plan,
    archives: &Path,
    workers: usize,
    output: &Path,
    of: std::ops::Range<i64>,
) -> anyhow::Result<(f64, Outcome)> {
    let archives = Some(archives.to_owned());
    let options = RunOptions { archives, go_on: GoOn::Fresh, ..RunOptions::new(workers, output) };
    let summary = run(plan, &options, &Control::new())?;
    Ok((summary.seconds, check::read_of(&output.join("result"), Some(of))?))
}
