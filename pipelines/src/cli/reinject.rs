//! `thalweg reinject`: refused rows, mended, back into a topic or an archive.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::json;
use thalweg_engine::control::Control;

use super::table;
use super::terminal::{EXIT_INTERRUPTED, bar, stop_on_signal};
use super::validate::Format;
use crate::reinject::{self, Counts, Refused, ReinjectOptions, ReinjectSummary, Sample, Target};

/// Records that a dry run shows.
const SAMPLES: usize = 10;
/// How wide their table is where there is no terminal, characters.
const WIDTH: u16 = 120;

/// Send rows that a job has refused back into a topic or an archive, mended where they need it, and once.
///
/// A job keeps every row that it can't decode in <output>/_rejected, and every late one in <output>/_late, with its bytes and where it
/// came from. This command takes those that --where selects, gives them the values of --set, and sends them. The same command again
/// sends what was refused since, and nothing twice: not after a crash in its midst either.
///
/// Expressions are SQL, over these columns: source, topic, partition, offset, timestamp (the record's), key, value (as text; null where
/// they are not UTF-8), key_bytes, value_bytes, reason, field, detail. A value that an expression makes null is not sent, but counted.
///
/// Records keep their timestamps, and their partitions where the topic has as many; in an archive they get offsets of their own, after
/// those that are there. Where they came from is in their headers: thalweg.source, thalweg.topic, thalweg.partition, thalweg.offset,
/// thalweg.reason. A job that reads them again judges them again: what is behind its watermark by then is late, so old rows belong
/// into an archive, for a run of their own.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  thalweg reinject --from output/my_pipeline --to-archive mended --dry-run
  thalweg reinject --from output/my_pipeline --to-archive mended \\
      --where \"reason = 'invalid_json'\" \\
      --set \"value = replace(value, 'NaN', 'null')\"
  thalweg reinject --from output/my_pipeline --name nightly \\
      --to-topic events --brokers localhost:9092
  thalweg reinject --from output/my_pipeline --late --to-archive late")]
pub(super) struct ReinjectArgs {
    /// The folder of a job's outputs, as that of `thalweg run --output`.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// Late rows instead of rejected ones.
    #[arg(long)]
    late: bool,
    /// Only rows of which this holds.
    #[arg(long = "where", value_name = "SQL")]
    condition: Option<String>,
    /// What becomes of a record: value = <expression>, or key = <expression>; may be given for both.
    #[arg(long = "set", value_name = "PART = SQL")]
    sets: Vec<String>,
    /// Send to a topic, which has to be there.
    #[arg(
        long,
        value_name = "TOPIC",
        requires = "brokers",
        required_unless_present = "to_archive",
        conflicts_with = "to_archive"
    )]
    to_topic: Option<String>,
    /// The brokers of the topic.
    #[arg(long, value_name = "HOST:PORT", env = "KAFKA_BROKERS")]
    brokers: Option<String>,
    /// A property of librdkafka, such as security.protocol=ssl; may be given several times.
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = super::generate::property, requires = "to_topic")]
    properties: Vec<(String, String)>,
    /// Write to an archive: a folder, new or with records of before.
    #[arg(long, value_name = "DIR")]
    to_archive: Option<PathBuf>,
    /// A name to know the command by when it is run again. Without, it is known by all that it is told: whatever is selected, mended
    /// or sent elsewhere is then sent anew. With a name, rows that went out under it stay sent, even if --where and --set have changed.
    #[arg(long)]
    name: Option<String>,
    /// About how many rows are sent as a whole: those of a checkpoint always are.
    #[arg(long, value_name = "N", default_value_t = reinject::ROWS_AT_ONCE)]
    rows_at_once: u64,
    /// Send nothing; show what would be sent.
    #[arg(long)]
    dry_run: bool,
    /// How to print the result: text for people, json for scripts.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) fn reinject(args: &ReinjectArgs) -> Result<ExitCode> {
    let options = options(args);
    let control = Control::new();
    stop_on_signal(control.clone(), "stopping; what is left is sent by the next run")?;
    let bar = bar("refused rows [{bar:32}] {percent} % {human_pos}/{human_len}, {per_sec}, {eta} left");
    let advance = |more: u64, all: u64| {
        bar.set_length(all);
        bar.inc(more);
    };
    let (summary, samples) = if args.dry_run {
        reinject::preview(&options, SAMPLES, &control, &advance)?
    } else {
        (reinject::reinject(&options, &control, &advance)?, Vec::new())
    };
    bar.finish_and_clear();
    let mut out = std::io::stdout().lock();
    match args.format {
        Format::Json => {
            let mut printed = serde_json::to_value(&summary)?;
            if args.dry_run {
                printed["first"] = json!(samples);
            }
            writeln!(out, "{}", serde_json::to_string_pretty(&printed)?)?;
        }
        Format::Text => {
            if !samples.is_empty() {
                writeln!(out, "{}", shown(&samples))?;
            }
            writeln!(out, "{}", closing(&summary))?;
        }
    }
    Ok(if summary.stopped { ExitCode::from(EXIT_INTERRUPTED) } else { ExitCode::SUCCESS })
}

fn options(args: &ReinjectArgs) -> ReinjectOptions {
    let target = match (&args.to_topic, &args.to_archive) {
        (_, Some(folder)) => Target::Archive(folder.clone()),
        (topic, None) => Target::Topic {
            topic: topic.clone().unwrap_or_default(),
            brokers: args.brokers.clone().unwrap_or_default(),
            properties: args.properties.iter().cloned().collect::<BTreeMap<_, _>>(),
        },
    };
    ReinjectOptions {
        from: args.from.clone(),
        refused: if args.late { Refused::Late } else { Refused::Rejected },
        condition: args.condition.clone(),
        sets: args.sets.clone(),
        target,
        name: args.name.clone(),
        rows_at_once: args.rows_at_once,
    }
}

fn shown(samples: &[Sample]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_BORDERS_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(["from", "reason", "key", "value", "becomes"]);
    if table.width().is_none() {
        table.set_width(WIDTH);
    }
    for sample in samples {
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "null".to_owned());
        let becomes =
            if sample.value == sample.value_before { "the same".to_owned() } else { text(&sample.value) };
        table.add_row([
            format!("{}/{} at {}", sample.topic, sample.partition, sample.offset),
            sample.reason.clone(),
            text(&sample.key),
            text(&sample.value_before),
            becomes,
        ]);
    }
    table
}

fn closing(summary: &ReinjectSummary) -> String {
    let Counts { read, not_selected, without_value, sent, mended } = summary.counts;
    let mut parts = Vec::new();
    match summary.checkpoints {
        Some((first, last)) => {
            let of = if first == last {
                format!("checkpoint {first}")
            } else {
                format!("checkpoints {first} to {last}")
            };
            let done = if summary.dry_run { "would be sent" } else { "sent" };
            parts.push(format!(
                "{} rows of {} read ({of}): {} {done} to {}, {} of them mended",
                table::count(read),
                summary.from,
                table::count(sent),
                summary.to,
                table::count(mended)
            ));
        }
        None => parts.push(match summary.sent_before {
            Some(checkpoint) => format!(
                "nothing to send: all of {} up to checkpoint {checkpoint} was sent to {} before",
                summary.from, summary.to
            ),
            None => format!("nothing to send: there are no rows in {}", summary.from),
        }),
    }
    if not_selected > 0 {
        parts.push(format!("{} were not selected", table::count(not_selected)));
    }
    if without_value > 0 {
        parts.push(format!("{} were skipped, because --set gave them no value", table::count(without_value)));
    }
    if let Some(checkpoint) = summary.unpublished {
        parts.push(format!("checkpoint {checkpoint} is not published as a whole yet: run this again later"));
    }
    if summary.stopped {
        parts.push("stopped before the end: run this again to go on".to_owned());
    }
    parts.join("; ")
}
