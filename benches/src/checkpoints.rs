//! What checkpoints cost, and what a restart does.
//!
//! ```text
//!   cost      J1, J2 without checkpoints and with one a second, by turns ─▶ milliseconds a checkpoint ─▶ share of 10 s
//!   growth    a million open sessions, a few of which change ─▶ bytes written a checkpoint, against bytes held
//!   recovery  the same job stopped and run again ─▶ seconds until it reads on
//! ```

use std::io::Write;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use thalweg::plan::Plan;
use thalweg::run::{self, GoOn, RunOptions, Status, open_store};
use thalweg_engine::checkpoint::{History, Manifest};
use thalweg_engine::control::Control;
use thalweg_telemetry::BenchConfig;

use crate::data::Data;
use crate::engine::{load, watched};
use crate::folder;

const WORKERS: usize = 2;
/// The share of throughput that checkpoints every ten seconds may cost.
const COST_MAX: f64 = 0.05;
/// How long a million open sessions may take to come back.
const RECOVERY_MAX: Duration = Duration::from_secs(5);
const NEVER_US: i64 = 1_000_000_000_000;

/// How much to measure.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct CheckpointsArgs {
    /// Events of J1 and J2.
    #[arg(long, default_value_t = crate::data::EVENTS)]
    events: u64,
    /// How often J1 and J2 are run each way.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Open sessions.
    #[arg(long, default_value_t = 1_000_000)]
    sessions: u64,
}

/// Measures and prints.
///
/// # Errors
/// When a job fails.
pub(crate) fn run(arguments: &CheckpointsArgs) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let data = Data::new(&folder()?, arguments.events);
    data.make_archive()?;
    for (name, text) in
        [("J1", include_str!("../pipelines/j1.yaml")), ("J2", include_str!("../pipelines/j2.yaml"))]
    {
        let cost = cost(&load(text, "bench.yaml", "none")?, &data.archives(), arguments.runs)?;
        writeln!(out, "{name}: {cost}")?;
    }
    let output = folder()?.join("sessions-output");
    let archives = folder()?.join("sessions");
    let events = arguments.sessions + arguments.sessions / 2;
    let config = BenchConfig { events, sessions: arguments.sessions, ..BenchConfig::default() };
    thalweg_telemetry::write_bench_archive(&config, &archives, &|_| {})?;
    let mut sessions = load(SESSIONS, "sessions.yaml", "none")?;
    growth(&mut out, &mut sessions, &archives, &output, arguments.sessions)?;
    recovery(&mut out, &sessions, &archives, &output)?;
    std::fs::remove_dir_all(&output)?;
    Ok(())
}

/// Every request is a session of its own, and none ends before the input does.
const SESSIONS: &str = r#"
pipeline: sessions
schemas:
  call:
    fields:
      - { name: request_id, type: string, required: true }
      - { name: started_at, type: timestamp, encoding: ms, required: true }
      - { name: latency_ms, type: float64 }
      - { name: cost_usd, type: decimal, scale: 6 }
sources:
  calls:
    kafka: { topic: provider-requests, brokers: none, end: latest }
    schema: call
    event_time: { field: started_at, lateness: 2s }
steps:
  per_request:
    from: calls
    window: { session: 6h }
    by: [request_id]
    select: { requests: count(*), cost_usd: sum(cost_usd), latency_ms_max: max(latency_ms) }
sinks:
  result: { from: per_request, parquet: {} }
"#;

fn options(archives: &Path, output: &Path, go_on: GoOn) -> RunOptions {
    RunOptions { archives: Some(archives.to_owned()), go_on, ..RunOptions::new(WORKERS, output) }
}

// Runs a job without checkpoints (but for the last one) and with one a second, by turns.
fn cost(plan: &Plan, archives: &Path, runs: usize) -> anyhow::Result<String> {
    let output = folder()?.join("cost-output");
    let mut ratios = Vec::new();
    let mut took = Vec::new();
    let mut each = Vec::new();
    for _ in 0..runs.max(1) {
        let mut seconds = Vec::new();
        for interval_us in [NEVER_US, 1_000_000] {
            let mut plan = plan.clone();
            plan.checkpoint.interval_us = interval_us;
            let summary = run::run(&plan, &options(archives, &output, GoOn::Fresh), &Control::new())?;
            seconds.push(summary.seconds);
        }
        // The last one is made either way.
        let made = manifests(plan, &output)?.len().saturating_sub(1).max(1);
        took.extend(manifests(plan, &output)?.iter().map(|manifest| manifest.took_ms as f64));
        each.push((seconds[1] - seconds[0]) / made as f64);
        ratios.push(seconds[1] / seconds[0]);
    }
    std::fs::remove_dir_all(&output)?;
    let share = median(&mut each) / 10.0;
    Ok(format!(
        "one a second: {:.2} × the time without; {:.0} ms of throughput each ({:.0} ms from request to manifest); every 10 s: {:.1} % {}",
        median(&mut ratios),
        median(&mut each) * 1000.0,
        median(&mut took),
        share * 100.0,
        mark(share <= COST_MAX, &format!("≤ {:.0} %", COST_MAX * 100.0)),
    ))
}

// Fills the state, then has a checkpoint made every few thousand rows.
fn growth(
    out: &mut dyn Write,
    plan: &mut Plan,
    archives: &Path,
    output: &Path,
    sessions: u64,
) -> anyhow::Result<()> {
    let stop_at = |rows: u64| {
        move |status: &Status, control: &Control| {
            if status.sources[0].read() >= rows {
                control.stop();
            }
        }
    };
    plan.checkpoint.interval_us = NEVER_US;
    watch(plan, &options(archives, output, GoOn::Fresh), stop_at(sessions))?;
    plan.checkpoint.rows_max = Some(20_000);
    plan.checkpoint.keep = 1000;
    watch(plan, &options(archives, output, GoOn::Newest), stop_at(sessions / 4))?;
    let all = manifests(plan, output)?;
    let newest = all.last().ok_or_else(|| anyhow::anyhow!("no checkpoint was made"))?;
    let mut rows: Vec<f64> = Vec::new();
    let mut written: Vec<f64> = Vec::new();
    // Without the first, which holds everything.
    for manifest in &all[1..] {
        rows.push(manifest.sources.iter().map(|source| source.since.read).sum::<u64>() as f64);
        written.push(manifest.state_bytes_written() as f64);
    }
    let held = newest.state_bytes() as f64;
    let share = median(&mut written) / held;
    writeln!(
        out,
        "growth: {} rows held in {:.0} MB of state files; a checkpoint after {:.0} rows writes {:.1} MB, {:.1} % of that {}",
        newest.state.iter().map(|file| file.rows).sum::<u64>(),
        held / 1e6,
        median(&mut rows),
        median(&mut written) / 1e6,
        share * 100.0,
        mark(share <= 0.2, "grows with what has changed"),
    )?;
    Ok(())
}

fn recovery(out: &mut dyn Write, plan: &Plan, archives: &Path, output: &Path) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut back = None;
    watch(plan, &options(archives, output, GoOn::Newest), |status, control| {
        if back.is_none() && status.sources[0].read() > 0 {
            back = Some(started.elapsed());
            control.stop();
        }
    })?;
    let back = back.ok_or_else(|| anyhow::anyhow!("nothing was read"))?;
    writeln!(
        out,
        "recovery: from the start of the job to its first row {:.2} s {}",
        back.as_secs_f64(),
        mark(back <= RECOVERY_MAX, &format!("≤ {} s", RECOVERY_MAX.as_secs())),
    )?;
    Ok(())
}

fn watch(plan: &Plan, options: &RunOptions, look: impl FnMut(&Status, &Control)) -> anyhow::Result<()> {
    let (summary, status) = watched(plan, options, Duration::from_millis(1), look)?;
    anyhow::ensure!(
        status.checkpoints.made.load(Relaxed) > 0 && summary.sources[0].rejected == 0,
        "{summary:?}"
    );
    Ok(())
}

fn manifests(plan: &Plan, output: &Path) -> anyhow::Result<Vec<Manifest>> {
    let history = History::read(&open_store(plan, output)?)?;
    Ok(history.checkpoints().into_iter().cloned().collect())
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

fn mark(reached: bool, what: &str) -> String {
    format!("{} ({what})", if reached { "pass" } else { "MISSED" })
}
