//! `thalweg archive to-kafka`: an archive becomes a topic again.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use thalweg_engine::control::Control;

use super::{print, time};
use crate::archive::{self, PlayOptions, PlaySummary};
use crate::cli::terminal::{EXIT_INTERRUPTED, bar, stop_on_signal};
use crate::cli::validate::Format;
use crate::cli::{generate, table};

/// Play an archive into a topic, each record once: as fast as it goes, or at a speed by the records' timestamps.
///
/// Partitions, keys, values, headers and timestamps are kept, but for timestamps at or before 1970-01-01T00:00:00Z: such a record, as one
/// without a timestamp, gets the time at which it is sent. Offsets are the topic's own. Records are sent in transactions that say how
/// far it is, so the same command goes on where it was, after a crash as well: read the topic with isolation.level=read_committed. Once
/// all is sent, it sends what the archive has got since, or what a later --to lets in; --name gives it another life, for sending all
/// again. Topics delete records by their timestamps: into one with the usual retention, old records vanish (--create-topic makes one
/// that keeps them).
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  thalweg archive to-kafka archives/events --topic replayed --brokers localhost:9092 \\
      --create-topic
  thalweg archive to-kafka archives/events --topic replayed --brokers localhost:9092 \\
      --from 2026-03-02T12:00:00Z --to 2026-03-02T12:00:05Z --name five-seconds
  thalweg archive to-kafka archives/events --topic replayed --brokers localhost:9092 \\
      --speed 100x --name again")]
pub(super) struct ToKafkaArgs {
    /// The archive: the folder of a recorded topic.
    folder: PathBuf,
    /// The topic.
    #[arg(short, long, value_name = "TOPIC")]
    topic: String,
    /// The brokers.
    #[arg(short, long, value_name = "HOST:PORT", env = "KAFKA_BROKERS")]
    brokers: String,
    /// A property of librdkafka, such as security.protocol=ssl; may be given several times.
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = generate::property)]
    properties: Vec<(String, String)>,
    /// In each partition, begin with the first record whose timestamp is not before this time (RFC 3339); by default with the first.
    /// Another beginning is another piece: it is sent whatever was sent before.
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<i64>,
    /// End before the first record whose timestamp is not before this time; by default with the last. A later end goes on.
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<i64>,
    /// How many times as fast as the records' timestamps go, such as 10x or 0.5x; by default as fast as it goes. The clock begins with the
    /// first timestamp after 1970-01-01T00:00:00Z; a record without one is due with the record before it in its partition.
    #[arg(long, value_name = "SPEED", value_parser = speed)]
    speed: Option<f64>,
    /// A name to know it by when it is run again; by default it follows from the archive's path, the topic and --from. Under one name it
    /// only goes forward.
    #[arg(long, value_parser = name)]
    name: Option<String>,
    /// Make the topic where there is none: with as many partitions as the archive, and without an end to its retention.
    #[arg(long)]
    create_topic: bool,
    /// How to print the result: text for people, json for scripts.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

fn speed(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('x').unwrap_or(text).parse::<f64>().ok();
    number
        .filter(|speed| speed.is_finite() && *speed > 0.0)
        .ok_or_else(|| "write how many times as fast, such as 10x or 0.5x".to_owned())
}

fn name(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if (1..=100).contains(&text.len()) && text.chars().all(allowed) && !text.starts_with('.') {
        return Ok(text.to_owned());
    }
    Err("choose up to 100 letters, digits, dots, dashes and underscores".to_owned())
}

pub(super) fn to_kafka(args: &ToKafkaArgs) -> Result<ExitCode> {
    let options = PlayOptions {
        folder: args.folder.clone(),
        topic: args.topic.clone(),
        brokers: args.brokers.clone(),
        properties: args.properties.iter().cloned().collect(),
        from_us: args.from,
        to_us: args.to,
        speed: args.speed,
        name: args.name.clone(),
        create_topic: args.create_topic,
    };
    let control = Control::new();
    stop_on_signal(control.clone(), "stopping; the next run goes on from here")?;
    let bar = bar("playing [{bar:32}] {percent} % {human_pos}/{human_len} records, {per_sec}, {eta} left");
    let advance = |more: u64, all: u64| {
        bar.set_length(all);
        bar.inc(more);
    };
    let summary = archive::play(&options, &control, &advance)?;
    bar.finish_and_clear();
    print(args.format, &summary, |summary| closing(summary, args))?;
    Ok(if summary.stopped { ExitCode::from(EXIT_INTERRUPTED) } else { ExitCode::SUCCESS })
}

fn closing(summary: &PlaySummary, args: &ToKafkaArgs) -> String {
    let PlaySummary { name, folder, topic, records, sent_before, stopped } = summary;
    if *records == 0 && !stopped {
        let bounded = args.from.is_some() || args.to.is_some();
        return match (*sent_before, bounded) {
            (0, false) => format!("nothing to send: {folder} is empty"),
            (0, true) => format!(
                "nothing to send: {folder} holds no record between --from and --to; `thalweg archive info` says which times it holds"
            ),
            (sent, false) => format!(
                "nothing to send: all {} records of {folder} were sent to {topic} before; with another --name than {name} they are sent again",
                table::count(sent)
            ),
            (sent, true) => format!(
                "nothing to send: what is asked for of {folder} was sent to {topic} before, or is not there ({} records were sent); with \
                 another --name than {name} it is sent again",
                table::count(sent)
            ),
        };
    }
    let before = if *sent_before > 0 {
        format!(" (and {} before)", table::count(*sent_before))
    } else {
        String::new()
    };
    let end = if *stopped { "\nstopped: run this again to go on" } else { "" };
    format!("{} records of {folder} sent to {topic}{before}{end}", table::count(*records))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_and_names() {
        assert_eq!((speed("10x"), speed("0.5")), (Ok(10.0), Ok(0.5)));
        assert!(["0x", "-1", "fast", "inf", "x"].iter().all(|wrong| speed(wrong).is_err()));
        assert!(name("a-b_c.1").is_ok() && name("a/b").is_err() && name("").is_err() && name(".a").is_err());
    }
}
