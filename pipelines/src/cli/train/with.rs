//! The command.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde_json::json;
use thalweg_engine::control::Control;
use thalweg_models::device::Device;
use thalweg_models::training::{Progress, TrainingConfig};

use crate::cli::models::{ByArgs, Output, number};
use crate::cli::{load, logging, progress, supervise, table, terminal};
use crate::spec;
use crate::train::{TrainError, TrainOptions, Training, train_step};

/// Train the model of a step that looks for anomalies with method: autoencoder, tcn or patch.
///
/// A job reads the pipeline's sources over the period, as a backtest does, and gathers what the step's network would see. The newest part
/// of each key's rows is held out; training ends when the network gets no better on it. The model becomes the next version of the one
/// that the step names under `model`; the first is its champion at once, later ones when they are promoted. A live job is left
/// alone: no consumer group, no commits.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  thalweg train my_pipeline.yaml --step watched --archives archives
  thalweg train my_pipeline.yaml --step watched --from 2026-03-01T00:00:00Z --to 2026-03-08T00:00:00Z
  thalweg train my_pipeline.yaml --step watched --window 64 --seed 7 --promote
  thalweg models ls                                       the versions that there are")]
pub(in crate::cli) struct TrainArgs {
    /// A file, or a name of the catalogue.
    pipeline: PathBuf,
    /// The step whose model is trained.
    #[arg(long, value_name = "STEP")]
    step: String,
    /// Read archives instead of Kafka: a folder with a folder for each topic.
    #[arg(long, value_name = "DIR")]
    archives: Option<PathBuf>,
    /// Learn from rows from here on, RFC 3339; by default from the first.
    #[arg(long, value_name = "TIME", value_parser = load::time)]
    from: Option<spec::Instant>,
    /// And up to here; by default to the last that is there now.
    #[arg(long, value_name = "TIME", value_parser = load::time)]
    to: Option<spec::Instant>,
    /// How much before --from is read to know the level and size of each key; by default all there is.
    #[arg(long, value_name = "DURATION", value_parser = load::duration, requires = "from")]
    warm_up: Option<spec::Duration>,
    /// Rows of a window, which is all that the model sees; by default 32 for autoencoder, 65 for tcn, 64 for patch.
    #[arg(long, value_name = "ROWS")]
    window: Option<usize>,
    /// Times that it goes over all rows, at most.
    #[arg(long, value_name = "N", default_value_t = TrainingConfig::default().epochs_max)]
    epochs: usize,
    /// What first weights and orders are drawn by: the same seed, period and CPU give the same model.
    #[arg(long, value_name = "N", default_value_t = TrainingConfig::default().seed)]
    seed: u64,
    /// Make it the champion, also where there is one.
    #[arg(long)]
    promote: bool,
    /// Where to train: cpu, or cuda:0 in a program that was built for it.
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = device)]
    device: Device,
    /// Worker threads of the job; by default one a core.
    #[arg(short, long, value_name = "N")]
    workers: Option<usize>,
    /// Say nothing but the result.
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    by: ByArgs,
    /// How to print the result: a table for people, json for scripts.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
}

fn device(text: &str) -> Result<Device, String> {
    text.parse::<Device>().map_err(|error| error.to_string())
}

pub(in crate::cli) fn train(args: &TrainArgs) -> Result<ExitCode> {
    let Some(spec) = load::read_or_report(&args.pipeline)? else { return Ok(ExitCode::from(2)) };
    let options = TrainOptions {
        step: args.step.clone(),
        window: args.window,
        archives: args.archives.clone(),
        from_us: args.from.map(|at| at.us),
        to_us: args.to.map(|at| at.us),
        warm_up_us: args.warm_up.as_ref().map(|each| each.us),
        workers: args.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
        device: args.device,
        training: TrainingConfig { epochs_max: args.epochs, seed: args.seed, ..TrainingConfig::default() },
        notes: args.by.note.clone(),
        promote: args.promote,
    };
    let control = Control::new();
    terminal::stop_on_signal(control.clone(), "stopping; press Ctrl-C again to stop at once")?;
    supervise::when_supervisor_ends({
        let control = control.clone();
        move || control.stop()
    });
    let trained = train_step(
        &spec,
        &options,
        &args.by.author(),
        &control,
        &mut |status| {
            let watch = progress::Watch::start("reading", status, !args.quiet);
            Box::new(move || watch.stop())
        },
        &mut |progress| {
            if !args.quiet {
                logging::notice(format_args!("{}", said(progress)));
            }
        },
    );
    match trained {
        Ok(training) => print(args, &training),
        Err(TrainError::Problems(problems)) => {
            load::report_problems(&problems)?;
            Ok(ExitCode::from(2))
        }
        Err(error @ (TrainError::Unknown { .. } | TrainError::Untrainable(_) | TrainError::EmptyPeriod)) => {
            logging::error(format_args!("{error}"));
            Ok(ExitCode::from(2))
        }
        Err(error @ TrainError::Stopped) => {
            logging::notice(format_args!("{error}"));
            Ok(ExitCode::from(terminal::EXIT_INTERRUPTED))
        }
        Err(error) => Err(error.into()),
    }
}

fn said(progress: &Progress) -> String {
    let best = if progress.best { ", the best so far" } else { "" };
    format!(
        "epoch {} of at most {}: loss {}, of held-out rows {}{best}",
        progress.epoch,
        progress.epochs_max,
        number(progress.training_loss),
        number(progress.validation_loss)
    )
}

fn print(args: &TrainArgs, training: &Training) -> Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    if args.output == Output::Json {
        let result = json!({
            "registry": training.registry,
            "card": training.card,
            "keys": training.keys,
            "champion": training.is_champion,
        });
        writeln!(out, "{}", serde_json::to_string_pretty(&result)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (metrics, reference) = (&training.metrics, training.card.reference());
    let rows = training.card.trained_on.as_ref().map_or(0, |of| of.rows);
    writeln!(
        out,
        "{reference} in {}: trained on {} rows of {} keys in {:.1} s",
        training.registry,
        table::count(rows),
        table::count(training.keys as u64),
        metrics.seconds
    )?;
    writeln!(
        out,
        "  loss of held-out rows  {}, untrained {} ({} windows, epoch {} of {})",
        number(metrics.validation_loss),
        number(metrics.untrained_loss),
        table::count(metrics.validation_rows as u64),
        metrics.best_epoch,
        metrics.epochs
    )?;
    if metrics.best_epoch == 0 {
        writeln!(
            out,
            "  nothing that it learnt was better on these rows than each key's own level: it says no more than that"
        )?;
    }
    match training.is_champion {
        true => writeln!(
            out,
            "  it is the champion: what {} means where no version is named",
            training.card.name
        )?,
        false => {
            writeln!(out, "  to use it: thalweg models promote {reference} --registry {}", training.registry)?
        }
    }
    Ok(ExitCode::SUCCESS)
}
