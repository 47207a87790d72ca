//! `thalweg archive record`: a topic becomes an archive.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use thalweg_engine::control::Control;

use super::{duration, place, print, size};
use crate::archive::{self, Place, RecordOptions, RecordSummary};
use crate::cli::terminal::{EXIT_INTERRUPTED, bar, stop_on_signal};
use crate::cli::validate::Format;
use crate::cli::{generate, table};

/// Record topics as archives: DIR/TOPIC, every record once.
///
/// The same command goes on where it was, whatever ended it: what is in the folder says where. Without --to and --follow it ends where
/// the topic ended when it began; run again later, it records what has come since. Keys, tombstones, headers and timestamps are kept as
/// they are, and so are offsets with their gaps. Records of transactions that were aborted are not recorded, as jobs don't read them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  thalweg archive record --topic events --brokers localhost:9092 --archives archives
  thalweg archive record --topic events --brokers localhost:9092 --archives may \\
      --from 2026-05-01T00:00:00Z --to 2026-06-01T00:00:00Z
  thalweg archive record --topic events --brokers localhost:9092 --archives live \\
      --follow --file-interval 1m
  thalweg archive record --topic events --brokers localhost:9092 --archives some \\
      --from 0:100,1:250,2:0
  thalweg archive record --topic events --topic orders --brokers localhost:9092 \\
      --archives archives")]
pub(super) struct RecordArgs {
    /// The topic; several are recorded at once, and the first that fails stops the others.
    #[arg(short, long = "topic", value_name = "TOPIC", required = true)]
    topics: Vec<String>,
    /// The brokers.
    #[arg(short, long, value_name = "HOST:PORT", env = "KAFKA_BROKERS")]
    brokers: String,
    /// The folder of archives, as for `thalweg run --archives`; each topic gets a folder of its name in it.
    #[arg(short, long, value_name = "DIR")]
    archives: PathBuf,
    /// A property of librdkafka, such as security.protocol=ssl; may be given several times.
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = generate::property)]
    properties: Vec<(String, String)>,
    /// Where to begin: earliest, latest, the first record at or after a time (RFC 3339), or an offset for each partition of one topic
    /// (0:100,1:250).
    /// Counts when a recording begins; after that it goes on where it was.
    #[arg(long, value_name = "PLACE", value_parser = place, default_value = "earliest")]
    from: Place,
    /// Where to end, in the same forms. What a bounded recording has to reach is noted: broken off, it goes on to the same end.
    #[arg(long, value_name = "PLACE", value_parser = place, conflicts_with = "follow", default_value = "latest")]
    to: Place,
    /// Go on until Ctrl-C.
    #[arg(long)]
    follow: bool,
    /// How often --follow looks whether the topic has got more partitions.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "1m", requires = "follow")]
    look_for_partitions: Duration,
    /// A file is closed when it is so large.
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "256MiB")]
    file_size: u64,
    /// A file is closed when it has been open for so long: what is in it can be read then, and is safe.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "5m")]
    file_interval: Duration,
    /// Go on from what is left where records were deleted before they were recorded; the archive notes what is missing.
    #[arg(long)]
    skip_lost: bool,
    /// How to print the result: text for people, json for scripts.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) fn record(args: &RecordArgs) -> Result<ExitCode> {
    let options = |topic: &String| RecordOptions {
        topic: topic.clone(),
        brokers: args.brokers.clone(),
        properties: args.properties.iter().cloned().collect(),
        folder: args.archives.join(topic),
        from: args.from.clone(),
        to: (!args.follow).then(|| args.to.clone()),
        file_bytes_max: args.file_size,
        file_interval: args.file_interval,
        skip_lost: args.skip_lost,
        look_for_partitions: args.look_for_partitions,
        topics: args.topics.len(),
    };
    let all: Vec<RecordOptions> = args.topics.iter().map(options).collect();
    let control = Control::new();
    stop_on_signal(control.clone(), "stopping; the next run goes on from here")?;
    let bar = bar(if args.follow {
        "recording {spinner} {human_pos} records, {per_sec}, {elapsed}"
    } else {
        "recording [{bar:32}] {percent} % {human_pos}/{human_len} records, {per_sec}, {eta} left"
    });
    let advance = |more: u64, all: Option<u64>| {
        if let Some(all) = all {
            bar.set_length(all);
        }
        bar.inc(more);
    };
    let summaries = archive::record_all(&all, &control, &advance)?;
    bar.finish_and_clear();
    match summaries.as_slice() {
        [summary] => print(args.format, summary, closing)?,
        several => {
            print(args.format, &several, |all| all.iter().map(closing).collect::<Vec<_>>().join("\n"))?
        }
    }
    // That is how a recording without an end ends.
    let broken_off = summaries.iter().any(|summary| summary.stopped) && !args.follow;
    Ok(if broken_off { ExitCode::from(EXIT_INTERRUPTED) } else { ExitCode::SUCCESS })
}

fn closing(summary: &RecordSummary) -> String {
    let mut said = if summary.records == 0 && summary.resumed && !summary.stopped {
        format!("nothing new: {} holds all of {}", summary.folder, summary.topic)
    } else {
        format!(
            "{} records of {} ({} partitions) recorded in {}: {} files, {}",
            table::count(summary.records),
            summary.topic,
            summary.partitions,
            summary.folder,
            table::count(summary.files),
            table::bytes(summary.file_bytes)
        )
    };
    for lost in &summary.lost {
        said.push_str(&format!(
            "\npartition {}: offsets {} to {} were deleted before they were recorded",
            lost.partition, lost.from, lost.to
        ));
    }
    if summary.stopped {
        said.push_str("\nstopped: run this again to go on");
    }
    said
}
