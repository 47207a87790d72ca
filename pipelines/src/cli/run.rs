//! `thalweg run`: a pipeline, from its first record to its closing summary.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use thalweg_engine::control::Control;

use super::validate::Format;
use super::{load, progress, table};
use crate::plan::SinkKind;
use crate::run::{self, CHECKPOINTS, GoOn, RunError, RunOptions, Summary};

/// Run a pipeline until its sources end, or until Ctrl-C; run it again, and it goes on where it was.
///
/// A job makes a checkpoint every few seconds, and sinks show what belongs to it then. Whatever ends a job, `thalweg run` goes on from
/// its newest checkpoint, on any number of workers: nothing is lost, nothing comes twice. Ctrl-C or SIGTERM makes a last checkpoint and
/// ends; open windows are kept in it. A second one ends at once, and costs only what was read since the checkpoint before.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  thalweg run my_pipeline.yaml --workers 4
  thalweg run my_pipeline.yaml --from 17                  back to checkpoint 17 (thalweg checkpoints lists them)
  thalweg run my_pipeline.yaml --fresh                    once more from the start
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
    /// Go back to checkpoint N, and take back what sinks have published since.
    #[arg(long, value_name = "N")]
    from: Option<u64>,
    /// Throw away checkpoints and outputs of earlier runs, and start at the beginning. Asks first on a terminal.
    #[arg(long, conflicts_with = "from")]
    fresh: bool,
    /// How long the last checkpoint may take when the job is told to stop.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    grace: u64,
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
        go_on: match args.from {
            Some(number) => GoOn::From(number),
            None if args.fresh => GoOn::Fresh,
            None => GoOn::Newest,
        },
        archives: args.archives.clone(),
        ..RunOptions::new(workers, &output)
    };
    if args.fresh && !may_throw_away(&output)? {
        writeln!(std::io::stderr(), "nothing was changed")?;
        return Ok(ExitCode::FAILURE);
    }
    let control = Control::new();
    stop_on_signal(control.clone(), Duration::from_secs(args.grace))?;
    let job = match run::prepare(&plan, &options, &control) {
        Err(finished @ RunError::Finished { .. }) => {
            writeln!(std::io::stderr(), "{finished}")?;
            return Ok(ExitCode::SUCCESS);
        }
        job => job?,
    };
    if let Some(base) = job.goes_on_from() {
        let read: u64 = base.sources.iter().map(|source| source.total.read).sum();
        let (number, read) = (base.number, table::count(read));
        writeln!(std::io::stderr(), "{}: goes on from checkpoint {number}, after {read} rows", plan.name)?;
    }
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

/// The first signal asks the job to make a last checkpoint and end, the second ends the process; and so does the first when the
/// checkpoint takes longer than `grace`.
pub(super) fn stop_on_signal(control: Control, grace: Duration) -> Result<()> {
    ctrlc::set_handler(move || {
        if control.stop_asked() {
            std::process::exit(130);
        }
        let _ = writeln!(
            std::io::stderr(),
            "stopping: making a last checkpoint; press Ctrl-C again to stop at once (nothing is lost)"
        );
        control.stop();
        std::thread::spawn(move || {
            std::thread::sleep(grace);
            let _ = writeln!(
                std::io::stderr(),
                "error: the last checkpoint was not made within {} s; the job goes on from the one before when it is run again",
                grace.as_secs()
            );
            std::process::exit(1);
        });
    })?;
    Ok(())
}

// Whoever sits at a terminal is asked before checkpoints are gone; a script knows what it does.
fn may_throw_away(output: &Path) -> Result<bool> {
    let checkpoints = output.join(CHECKPOINTS);
    if !checkpoints.exists() || !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(true);
    }
    write!(
        std::io::stderr(),
        "this throws away all checkpoints and outputs in {}; go on? [y/N] ",
        output.display()
    )?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
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
            "{} open groups of windows are kept in the last checkpoint; run it again to go on",
            table::count(summary.windows_open)
        )?;
    }
    writeln!(out, "query it: thalweg sql --data {}", output.display())?;
    Ok(())
}
