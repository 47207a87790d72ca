//! `thalweg run`: a pipeline, from its first record to its closing summary.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use thalweg_engine::control::Control;

use super::validate::Format;
use super::{load, progress, table};
use crate::plan::SinkKind;
use crate::run::{self, RunOptions, Summary};

/// Run a pipeline until its sources end, or until Ctrl-C.
///
/// Ctrl-C stops reading, lets what was read flow to the sinks and closes their files; windows that are still open are not written.
/// A second Ctrl-C stops at once.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  thalweg run my_pipeline.yaml --workers 4
  thalweg run provider_health --archives archives --output last_month    a backtest: recorded topics instead of Kafka
  KAFKA_BROKERS=kafka:9092 thalweg run provider_health")]
pub(super) struct RunArgs {
    /// A file, or a name of the catalogue.
    pipeline: PathBuf,
    /// Worker threads; by default one a core.
    #[arg(short, long, value_name = "N")]
    workers: Option<usize>,
    /// The folder of the outputs; by default output/<pipeline>.
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Replace what an earlier run left in the output folder.
    #[arg(long)]
    overwrite: bool,
    /// Read archives instead of Kafka: a folder with a folder for each topic.
    #[arg(long, value_name = "DIR")]
    archives: Option<PathBuf>,
    /// How to print the closing summary: text for people, json for scripts.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) fn run(args: &RunArgs) -> Result<ExitCode> {
    let Some(plan) = load::load_or_report(&args.pipeline)? else { return Ok(ExitCode::from(2)) };
    let workers = args.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let output = args.output.clone().unwrap_or_else(|| PathBuf::from("output").join(&plan.name));
    let options = RunOptions {
        overwrite: args.overwrite,
        archives: args.archives.clone(),
        ..RunOptions::new(workers, &output)
    };
    let control = Control::new();
    stop_on_signal(control.clone())?;
    let job = run::prepare(&plan, &options, &control)?;
    let watch = progress::Watch::start(&plan.name, job.status());
    let summary = job.run();
    watch.stop();
    let summary = summary?;
    match args.format {
        Format::Json => writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&summary)?)?,
        // Standard output is the rows' where a sink writes there.
        Format::Text if plan.sinks.iter().any(|sink| sink.kind == SinkKind::Stdout) => {
            print(&mut std::io::stderr().lock(), &plan.name, &summary, &output)?;
        }
        Format::Text => print(&mut std::io::stdout().lock(), &plan.name, &summary, &output)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The first signal asks the job to end, the second ends the process.
pub(super) fn stop_on_signal(control: Control) -> Result<()> {
    ctrlc::set_handler(move || {
        if control.stopping() {
            std::process::exit(130);
        }
        let _ = writeln!(std::io::stderr(), "stopping: closing files; press Ctrl-C again to stop at once");
        control.stop();
    })?;
    Ok(())
}

fn print(out: &mut dyn Write, name: &str, summary: &Summary, output: &Path) -> Result<()> {
    let ended = if summary.stopped { "stopped" } else { "done" };
    writeln!(
        out,
        "{name}: {ended} in {:.1} s with {} workers, {} rows/s, {:.1} s of CPU{}",
        summary.seconds,
        summary.workers,
        table::count(summary.rows_per_second as u64),
        summary.cpu_seconds,
        summary
            .peak_memory_bytes
            .map_or_else(String::new, |peak| format!(", peak memory {}", table::bytes(peak))),
    )?;
    writeln!(out, "{}", table::sources(&summary.sources))?;
    writeln!(out, "{}", table::sinks(&summary.sinks))?;
    writeln!(out, "{} windows fired", table::count(summary.windows_fired))?;
    if summary.windows_open > 0 {
        writeln!(
            out,
            "{} keys had open windows, which are not written; run again from the start to complete them",
            table::count(summary.windows_open)
        )?;
    }
    writeln!(out, "query it: thalweg sql --data {}", output.display())?;
    Ok(())
}
