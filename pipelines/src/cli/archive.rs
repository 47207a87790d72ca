//! `thalweg archive`: topics recorded as Parquet files, and all that one does with them.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::logging;
use super::validate::Format;
use crate::archive::Place;
use crate::plan::{Connector, Plan, PlannedSource};
use crate::spec::{Duration as Length, Instant, Size};

mod decode;
mod import;
mod look;
mod play;
mod record;
mod trim;

/// Record topics as archives: folders of Parquet files, from which pipelines run again (thalweg run --archives).
///
/// An archive holds what Kafka held: partition, offset, timestamp, key, value and headers of every record. SQL reads it like any table.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  thalweg archive record --topic provider-requests --brokers localhost:9092 --archives archives
  thalweg archive ls archives
  thalweg run provider_health --archives archives --output again")]
pub(super) struct ArchiveArgs {
    #[command(subcommand)]
    command: ArchiveCommand,
}

#[derive(Debug, Subcommand)]
enum ArchiveCommand {
    Record(record::RecordArgs),
    Import(import::ImportArgs),
    Decode(decode::DecodeArgs),
    Ls(look::LsArgs),
    Info(look::InfoArgs),
    Verify(look::VerifyArgs),
    Trim(trim::TrimArgs),
    ToKafka(play::ToKafkaArgs),
}

pub(super) fn archive(args: &ArchiveArgs) -> Result<ExitCode> {
    match &args.command {
        ArchiveCommand::Record(args) => record::record(args),
        ArchiveCommand::Import(args) => import::import(args),
        ArchiveCommand::Decode(args) => decode::decode(args),
        ArchiveCommand::Ls(args) => look::ls(args),
        ArchiveCommand::Info(args) => look::info(args),
        ArchiveCommand::Verify(args) => look::verify(args),
        ArchiveCommand::Trim(args) => trim::trim(args),
        ArchiveCommand::ToKafka(args) => play::to_kafka(args),
    }
}

/// Says it where `--archives` changes nothing: a pipeline that names the archives which it reads.
pub(super) fn warn_where_unused(plan: &Plan, archives: Option<&Path>) {
    let Some(folder) = archives else { return };
    let own = |source: &PlannedSource| match &source.connector {
        Connector::Archive { path } => Some(format!("source {} reads {}", source.name, path.display())),
        Connector::Kafka(_) | Connector::Given(_) => None,
    };
    if let Some(own) = plan.sources.iter().map(own).collect::<Option<Vec<_>>>() {
        logging::warning(format_args!(
            "--archives {} is not used, for it takes the place of Kafka, and {}; leave it out, or change the path under archive: in the \
             pipeline",
            folder.display(),
            own.join(", ")
        ));
    }
}

/// Prints a result as JSON, or as what `text` makes of it.
fn print<T: Serialize>(format: Format, result: &T, text: impl FnOnce(&T) -> String) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(result)?)?,
        Format::Text => writeln!(out, "{}", text(result))?,
    }
    Ok(())
}

/// `earliest`, `latest`, a time, or offsets by partition.
fn place(text: &str) -> Result<Place, String> {
    match text {
        "earliest" => return Ok(Place::Earliest),
        "latest" => return Ok(Place::Latest),
        _ => {}
    }
    if let Ok(at) = Instant::parse(text) {
        return Ok(Place::Time(at.us));
    }
    let mut offsets = BTreeMap::new();
    for part in text.split(',') {
        let number = part.trim().split_once(':').and_then(|(partition, offset)| {
            let (partition, offset) = (partition.parse::<i32>().ok()?, offset.parse::<i64>().ok()?);
            (partition >= 0 && offset >= 0).then_some((partition, offset))
        });
        let Some((partition, offset)) = number else {
            return Err(
                "write earliest, latest, a time such as 2026-01-01T00:00:00Z, or an offset for each partition: 0:1200,1:900"
                    .to_owned(),
            );
        };
        if offsets.insert(partition, offset).is_some() {
            return Err(format!("partition {partition} comes twice"));
        }
    }
    Ok(Place::Offsets(offsets))
}

/// Microseconds since the epoch.
fn time(text: &str) -> Result<i64, String> {
    Instant::parse(text).map(|at| at.us).map_err(|(message, hint)| format!("{message}; {hint}"))
}

fn duration(text: &str) -> Result<Duration, String> {
    let length = Length::parse(text).map_err(|(message, hint)| format!("{message}; {hint}"))?;
    Ok(Duration::from_micros(length.us.unsigned_abs()))
}

fn size(text: &str) -> Result<u64, String> {
    Size::parse(text).map(|size| size.bytes).map_err(|(message, hint)| format!("{message}; {hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_apart() {
        assert_eq!(place("earliest"), Ok(Place::Earliest));
        assert_eq!(place("1970-01-01T00:00:01Z"), Ok(Place::Time(1_000_000)));
        assert_eq!(place("0:5, 3:0"), Ok(Place::Offsets([(0, 5), (3, 0)].into())));
        for wrong in ["", "yesterday", "2026-01-01", "0:-1", "0:1,0:2", "0"] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }
}
