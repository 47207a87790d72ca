//! `thalweg run`: a pipeline, from its first record to its closing summary.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use thalweg_engine::checkpoint::{CheckpointError, History};
use thalweg_engine::cluster::{Cluster, ProcessCluster};
use thalweg_engine::control::{Control, JobError};
use thalweg_schemas::time::format_rfc3339;

use super::supervise::{self, FENCED, SuperviseOptions};
use super::validate::Format;
use super::{archive, load, logging, progress, table};
use crate::metrics::Metrics;
use crate::plan::{Plan, SinkKind};
use crate::run::{self, CHECKPOINTS, GoOn, RunError, RunOptions, Summary};

/// Run a pipeline until its sources end, or until Ctrl-C; run it again, and it goes on where it was.
///
/// A job makes a checkpoint every few seconds, and sinks show what belongs to it then. Whatever ends a job, `thalweg run` goes on from
/// its newest checkpoint, on any number of workers: nothing is lost, nothing comes twice (but on
/// standard output). Ctrl-C or SIGTERM makes a last checkpoint and
/// ends; open windows are kept in it. A second one ends at once, and costs only what was read since the checkpoint before.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  thalweg run my_pipeline.yaml --workers 4
  thalweg run my_pipeline.yaml --from 17                  back to checkpoint 17 (thalweg checkpoints lists them)
  thalweg run my_pipeline.yaml --fresh                    once more from the start
  thalweg run my_pipeline.yaml --processes 2 --workers 4  two processes here, started again when one is lost
  thalweg run my_pipeline.yaml --process 0 --hosts hosts.txt   one of several, on several machines
  thalweg run my_pipeline.yaml --metrics 127.0.0.1:9090   its numbers, for Prometheus
  thalweg run provider_health --archives demo/archives --output last_month   recorded topics instead of Kafka
  KAFKA_BROKERS=kafka:9092 thalweg run provider_health")]
pub(super) struct RunArgs {
    /// A file, or a name of the catalogue.
    pipeline: PathBuf,
    /// Worker threads, of each process; by default one a core.
    #[arg(short, long, value_name = "N")]
    workers: Option<usize>,
    /// Run the job in so many processes on this machine, and start it again from its newest checkpoint when it loses one.
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(u16).range(1..=64))]
    processes: Option<u16>,
    /// How often in a row it is started again.
    #[arg(long, value_name = "N", default_value_t = 10, requires = "processes")]
    restarts: usize,
    /// Be process I, from 0 on, of those that --hosts lists. They share the output folder.
    #[arg(long, value_name = "I", requires = "hosts", conflicts_with = "processes")]
    process: Option<usize>,
    /// The processes of the job: a file with a line host:port for each, the same for all of them. What they say to each other is
    /// neither encrypted nor authenticated: for a private network.
    #[arg(long, value_name = "FILE", requires = "process")]
    hosts: Option<PathBuf>,
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
    /// Serve the job's numbers for Prometheus at http://ADDR/metrics, and its state at /health; port 0 takes any that is free, and the
    /// log says which. Each of several processes takes the port that comes its number after.
    #[arg(long, value_name = "ADDR")]
    metrics: Option<String>,
    /// Where trained models run: cpu, or cuda:0 and so on for a GPU, in a build with the feature cuda.
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: String,
    /// How to print the closing summary: text for people, json for scripts.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) fn run(args: &RunArgs) -> Result<ExitCode> {
    let Some(plan) = load::load_or_report(&args.pipeline)? else { return Ok(ExitCode::from(2)) };
    let workers = args.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let output = args.output.clone().unwrap_or_else(|| PathBuf::from("output").join(&plan.name));
    let cluster = match (args.process, &args.hosts) {
        (Some(process), Some(hosts)) => {
            Cluster::Processes(ProcessCluster::new(workers, process, supervise::read_hosts(hosts)?))
        }
        _ => Cluster::Threads { workers },
    };
    let options = RunOptions {
        cluster,
        go_on: match args.from {
            Some(number) => GoOn::From(number),
            None if args.fresh => GoOn::Fresh,
            None => GoOn::Newest,
        },
        archives: args.archives.clone(),
        device: args.device.clone(),
        ..RunOptions::new(workers, &output)
    };
    if args.fresh && !may_throw_away(&plan, &output)? {
        logging::notice(format_args!("nothing was changed"));
        return Ok(ExitCode::FAILURE);
    }
    let control = Control::new();
    if let Some(processes) = args.processes.map(usize::from) {
        // All that can be seen to be wrong is said once, before any starts.
        for process in 0..processes {
            args.metrics.as_deref().map(|address| Metrics::bind(address, process)).transpose()?;
        }
        if options.go_on != GoOn::Newest {
            // Once, and not at every start.
            drop(run::prepare(&plan, &options, &control)?);
        }
        let own = ["--processes", "--restarts", "--from"];
        let mut supervised = SuperviseOptions::own(processes, args.restarts, &own)?;
        supervised.arguments.retain(|argument| argument != "--fresh");
        return supervise::supervise(&supervised);
    }
    // Where one supervisor starts all processes, the first speaks for them.
    let speaks = args.process.is_none_or(|process| process == 0) || !supervise::is_supervised();
    archive::warn_where_unused(&plan, args.archives.as_deref().filter(|_| speaks));
    let stopping = stop_on_signal(control.clone(), Duration::from_secs(args.grace), speaks)?;
    supervise::when_supervisor_ends({
        let control = control.clone();
        move || control.stop()
    });
    let metrics =
        args.metrics.as_deref().map(|at| Metrics::bind(at, args.process.unwrap_or(0))).transpose()?;
    let job = match run::prepare(&plan, &options, &control) {
        Err(finished @ RunError::Finished { .. }) => {
            logging::notice(format_args!("{finished}"));
            return Ok(ExitCode::SUCCESS);
        }
        Err(stopped @ RunError::StoppedBefore) => {
            // Nothing was read, and what the run before had staged is published.
            logging::notice(format_args!("{stopped}"));
            return Ok(ExitCode::SUCCESS);
        }
        job => job?,
    };
    if let Some(base) = job.goes_on_from().filter(|_| speaks) {
        let read: u64 = base.sources.iter().map(|source| source.total.read).sum();
        let (number, read) = (base.number, table::count(read));
        logging::notice(format_args!("{}: goes on from checkpoint {number}, after {read} rows", plan.name));
    }
    for (step, aggregate, since) in job.newer_aggregates().filter(|_| speaks) {
        let since = format_rfc3339(since);
        logging::notice(format_args!(
            "{}: step {step}: {aggregate} is new: it is null for windows that begin before {since}",
            plan.name
        ));
    }
    let serving = match metrics {
        Some(metrics) => {
            let address = metrics.address();
            let serving = metrics.serve(&plan, job.status())?;
            logging::notice(format_args!("{}: metrics are at http://{address}/metrics", plan.name));
            Some(serving)
        }
        None => None,
    };
    let name =
        args.process.map_or_else(|| plan.name.clone(), |process| format!("{}: process {process}", plan.name));
    let watch = progress::Watch::start(&name, job.status(), speaks);
    #[cfg(feature = "models")]
    let retraining = retraining(args, &plan, &job.status())?;
    let summary = job.run();
    watch.stop();
    #[cfg(feature = "models")]
    if let Some(retraining) = retraining {
        retraining.stop();
    }
    drop((serving, stopping));
    let summary = match summary {
        Err(RunError::Failed(error)) if is_fenced(&error) => {
            logging::error(format_args!("{error}"));
            return Ok(ExitCode::from(FENCED));
        }
        summary => summary?,
    };
    let to_stdout = plan.sinks.iter().any(|sink| sink.kind == SinkKind::Stdout);
    // The first process has the account of all.
    if args.process.is_some_and(|process| process > 0) {
        return Ok(ExitCode::SUCCESS);
    }
    match args.format {
        Format::Json => writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&summary)?)?,
        // Standard output is the rows' where a sink writes there.
        Format::Text if to_stdout && logging::is_json() => {
            logging::notice(format_args!("{}", serde_json::to_string(&summary)?));
        }
        Format::Text if to_stdout => {
            print(&mut std::io::stderr().lock(), &plan.name, &summary, &output, args.process.is_some())?;
        }
        Format::Text => {
            print(&mut std::io::stdout().lock(), &plan.name, &summary, &output, args.process.is_some())?
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Trains new versions of models where steps ask for it: beside the first process.
#[cfg(feature = "models")]
fn retraining(
    args: &RunArgs,
    plan: &Plan,
    status: &run::Status,
) -> Result<Option<crate::train::schedule::Retraining>> {
    use crate::train::schedule::{Retraining, Schedule};

    if args.process.is_some_and(|process| process > 0) {
        return Ok(None);
    }
    let mut arguments = vec![args.pipeline.clone().into_os_string()];
    for (option, value) in [
        ("--archives", args.archives.as_ref().map(|folder| folder.clone().into_os_string())),
        ("--device", Some(args.device.clone().into())),
    ] {
        arguments.extend(value.into_iter().flat_map(|value| [option.into(), value]));
    }
    let Some(schedule) = Schedule::of(plan, std::env::current_exe()?, arguments)? else { return Ok(None) };
    let (cuts, name) = (status.cuts.clone(), plan.name.clone());
    let say = move |well: bool, what: &str| match well {
        true => logging::notice(format_args!("{name}: {what}")),
        false => logging::warning(format_args!("{name}: {what}")),
    };
    Ok(Some(Retraining::start(schedule, move || cuts.watermark(), say)))
}

fn is_fenced(error: &JobError) -> bool {
    matches!(error.downcast_ref(), Some(CheckpointError::Fenced { .. }))
}

/// Says by its end that the job has ended, and takes its time for it.
pub(super) struct Stopping {
    _ended: Sender<()>,
}

/// The first signal asks the job to make a last checkpoint and end, the second ends the process; and so does the first when the
/// job has not ended within `grace`. `speaks`: whether this process tells what it does.
pub(super) fn stop_on_signal(control: Control, grace: Duration, speaks: bool) -> Result<Stopping> {
    let (_ended, ended) = channel();
    let mut ended = Some(ended);
    ctrlc::set_handler(move || {
        if control.stop_asked() {
            std::process::exit(130);
        }
        if speaks {
            logging::notice(format_args!(
                "stopping: making a last checkpoint; press Ctrl-C again to stop at once (nothing is lost)"
            ));
        }
        control.stop();
        let Some(ended) = ended.take() else { return };
        std::thread::spawn(move || {
            if ended.recv_timeout(grace) == Err(RecvTimeoutError::Timeout) {
                logging::error(format_args!(
                    "the last checkpoint was not made within {} s; the job goes on from the one before when it is run again",
                    grace.as_secs()
                ));
                std::process::exit(1);
            }
        });
    })?;
    Ok(Stopping { _ended })
}

// Whoever sits at a terminal is asked before checkpoints are gone; a script knows what it does.
fn may_throw_away(plan: &Plan, output: &Path) -> Result<bool> {
    let elsewhere = plan.checkpoint.storage.is_some();
    let there = output.join(CHECKPOINTS).exists()
        || (elsewhere && !History::read(&run::open_store(plan, output)?)?.is_empty());
    if !there || !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(true);
    }
    write!(
        std::io::stderr(),
        "this throws away all checkpoints of {} and its outputs in {}; go on? [y/N] ",
        plan.name,
        output.display()
    )?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn print(out: &mut dyn Write, name: &str, summary: &Summary, output: &Path, part: bool) -> Result<()> {
    let ended = if summary.stopped { "stopped" } else { "done" };
    writeln!(
        out,
        "{name}: {ended} in {:.1} s with {}, {} rows/s, {:.1} s of CPU{}",
        summary.seconds,
        table::things(summary.workers, "worker"),
        table::count(summary.rows_per_second as u64),
        summary.cpu_seconds,
        summary
            .peak_memory_bytes
            .map_or_else(String::new, |peak| format!(", peak memory {}", table::bytes(peak))),
    )?;
    writeln!(out, "{}", table::sources(&summary.sources))?;
    if let Some(sources) = &summary.since_the_beginning {
        writeln!(out, "since the job began, with the runs before this one:")?;
        writeln!(out, "{}", table::sources(sources))?;
    }
    writeln!(out, "{}", table::sinks(&summary.sinks))?;
    writeln!(out, "{} windows fired", table::count(summary.windows_fired))?;
    if summary.windows_open > 0 {
        writeln!(
            out,
            "{} open groups of windows are kept in the last checkpoint; run it again to go on",
            table::count(summary.windows_open)
        )?;
    }
    if part {
        writeln!(out, "(CPU, memory and windows are those of process 0; rows and files those of all)")?;
    }
    writeln!(out, "query it: thalweg sql --data {}", output.display())?;
    Ok(())
}
