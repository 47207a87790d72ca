//! `thalweg archive import`: files of events become an archive.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};
use thalweg_engine::control::Control;

use super::print;
use crate::archive::{self, EpochUnit, ImportOptions, ImportSummary, InputFormat};
use crate::cli::table;
use crate::cli::terminal::{EXIT_INTERRUPTED, bar, stop_on_signal};
use crate::cli::validate::Format;

/// Import files of events as an archive: DIR/TOPIC, all of them or nothing.
///
/// A value is a line of JSON as it is, or a JSON object of the columns of CSV and Parquet. In CSV, a column holds numbers or true and
/// false only if all its values are such, and what is empty is null. Events keep the order of the files and their lines in each
/// partition; an archive that is there already gets them behind its own. A file is imported once: --again imports it once more. The
/// first bad row is an error, and nothing is imported; with --rejects they go there, as JSON with file, line and reason. A row of more
/// than 8 MiB is bad: no job reads such a payload.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  thalweg archive import events.jsonl --topic events --archives archives \\
      --timestamp at --key user.id
  thalweg archive import 2026-05-*.csv --topic orders --archives archives \\
      --timestamp created --timestamp-unit s --partition-by customer --partitions 8 \\
      --rejects bad.jsonl
  thalweg archive import trips.parquet --topic trips --archives archives \\
      --timestamp pickup_datetime")]
pub(super) struct ImportArgs {
    /// The files, in the order of their events: .jsonl, .csv, .parquet.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The topic that the archive is to be of.
    #[arg(short, long, value_name = "TOPIC")]
    topic: String,
    /// The folder of archives, as for `thalweg run --archives`; the topic gets a folder of its name in it.
    #[arg(short, long, value_name = "DIR")]
    archives: PathBuf,
    /// How the files are written, where their names don't say it.
    #[arg(long, value_enum, value_name = "FORMAT")]
    input_format: Option<InputArg>,
    /// The field that is the key; a path such as user.id leads into objects. Without, there are no keys.
    #[arg(long, value_name = "FIELD")]
    key: Option<String>,
    /// The field that is the timestamp: RFC 3339, or a number. Without, records have none.
    #[arg(long, value_name = "FIELD")]
    timestamp: Option<String>,
    /// What a timestamp counts that is a number, since 1970.
    #[arg(long, value_enum, value_name = "UNIT", default_value = "ms", requires = "timestamp")]
    timestamp_unit: UnitArg,
    /// The field by whose hash events go to partitions; by default the key, and in turns where there is none. The hash is Kafka's.
    #[arg(long, value_name = "FIELD")]
    partition_by: Option<String>,
    /// How many partitions.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=10_000))]
    partitions: i32,
    /// Where bad rows go.
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// Import files that were imported before once more.
    #[arg(long)]
    again: bool,
    /// How to print the result: text for people, json for scripts.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum InputArg {
    Jsonl,
    Csv,
    Parquet,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum UnitArg {
    S,
    Ms,
    Us,
    Ns,
}

pub(super) fn import(args: &ImportArgs) -> Result<ExitCode> {
    let options = ImportOptions {
        files: args.files.clone(),
        format: args.input_format.map(|format| match format {
            InputArg::Jsonl => InputFormat::Jsonl,
            InputArg::Csv => InputFormat::Csv,
            InputArg::Parquet => InputFormat::Parquet,
        }),
        folder: args.archives.join(&args.topic),
        key: args.key.clone(),
        timestamp: args.timestamp.clone(),
        timestamp_unit: match args.timestamp_unit {
            UnitArg::S => EpochUnit::Seconds,
            UnitArg::Ms => EpochUnit::Millis,
            UnitArg::Us => EpochUnit::Micros,
            UnitArg::Ns => EpochUnit::Nanos,
        },
        partition_by: args.partition_by.clone(),
        partitions: args.partitions,
        rejects: args.rejects.clone(),
        again: args.again,
    };
    let control = Control::new();
    stop_on_signal(control.clone(), "stopping; nothing is imported")?;
    let bar = bar("importing {spinner} {human_pos} rows, {per_sec}, {elapsed}");
    let summary = archive::import(&options, &control, &|rows| bar.inc(rows))?;
    bar.finish_and_clear();
    print(args.format, &summary, |summary| closing(summary, args))?;
    Ok(if summary.stopped { ExitCode::from(EXIT_INTERRUPTED) } else { ExitCode::SUCCESS })
}

fn closing(summary: &ImportSummary, args: &ImportArgs) -> String {
    if summary.stopped {
        return "stopped: nothing was imported".to_owned();
    }
    let mut said = format!(
        "{} records of {} files imported into {}: {} files, {}",
        table::count(summary.records),
        table::count(summary.inputs as u64),
        summary.folder,
        table::count(summary.files),
        table::bytes(summary.file_bytes)
    );
    if let (1.., Some(rejects)) = (summary.rejected, &args.rejects) {
        said.push_str(&format!("; {} bad rows in {}", table::count(summary.rejected), rejects.display()));
    }
    said
}
