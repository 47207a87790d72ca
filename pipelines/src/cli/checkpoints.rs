//! `thalweg checkpoints`: what a job could go on from.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use chrono::{DateTime, SecondsFormat};
use clap::Args;
use thalweg_engine::checkpoint::{History, Manifest, SplitPosition};
use thalweg_engine::watermark::{BEGINNING, END, EventTime};
use thalweg_schemas::time::format_rfc3339;

use super::validate::Format;
use super::{load, logging, table};
use crate::lower::sources::ends_now;
use crate::plan::Plan;
use crate::run;

/// List the checkpoints of a pipeline's job: what it could go on from, and how far each was.
///
/// `read`, `late` and `rejected` are since the checkpoint before; the last lines say how far each split is, and how far behind its end.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  thalweg checkpoints my_pipeline.yaml
  thalweg checkpoints provider_health --output last_month --format json
  thalweg run my_pipeline.yaml --from 17          go on from one of them")]
pub(super) struct CheckpointsArgs {
    /// A file, or a name of the catalogue.
    pipeline: PathBuf,
    /// The folder of the job's outputs; by default output/<pipeline>.
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// How to print them: text for people, json for scripts (whole manifests).
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) fn checkpoints(args: &CheckpointsArgs) -> Result<ExitCode> {
    let Some(plan) = load::load_or_report(&args.pipeline)? else { return Ok(ExitCode::from(2)) };
    let output = args.output.clone().unwrap_or_else(|| PathBuf::from("output").join(&plan.name));
    let mut out = std::io::stdout().lock();
    // Looking makes no folders.
    if plan.checkpoint.storage.is_none() && !output.join(run::CHECKPOINTS).exists() {
        anyhow::bail!(
            "there are no checkpoints in {}; run the pipeline first, or name the folder of its outputs with --output",
            output.display()
        );
    }
    let store = run::open_store(&plan, &output)?;
    let history = History::read(&store)?;
    let all = history.checkpoints();
    match args.format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?,
        Format::Text => {
            writeln!(out, "{}", overview(&all))?;
            if let Some(newest) = all.last() {
                writeln!(out, "{}", splits(&plan, newest))?;
                if newest.finished {
                    writeln!(out, "all input is read")?;
                }
            }
        }
    }
    // A damaged newest one is what a run would fail on.
    if let Err(damaged) = history.newest() {
        logging::warning(format_args!("{damaged}"));
    }
    Ok(ExitCode::SUCCESS)
}

fn overview(all: &[&Manifest]) -> comfy_table::Table {
    let mut table = table::numbers(&[
        "checkpoint",
        "made",
        "watermark",
        "read",
        "= accepted",
        "+ late",
        "+ rejected",
        "read in all",
        "state",
        "written",
        "took",
    ]);
    for manifest in all {
        let since = |of: fn(&run::SourceCounts) -> u64| {
            table::count(manifest.sources.iter().map(|source| of(&source.since)).sum())
        };
        let total: u64 = manifest.sources.iter().map(|source| source.total.read).sum();
        table.add_row([
            manifest.number.to_string(),
            at(manifest.begun_ms),
            shown(manifest.watermark),
            since(|counts| counts.read),
            since(|counts| counts.accepted),
            since(|counts| counts.late),
            since(|counts| counts.rejected),
            table::count(total),
            table::bytes(manifest.state_bytes()),
            table::bytes(manifest.state_bytes_written()),
            format!("{} ms", manifest.took_ms),
        ]);
    }
    table
}

// How far the newest checkpoint is in each split, and how far behind the split's end now, where brokers say what that is.
fn splits(plan: &Plan, newest: &Manifest) -> comfy_table::Table {
    let mut table =
        table::numbers(&["split", "next offset", "end", "lag", "highest event time", "state of the split"]);
    for source in &newest.sources {
        let planned = plan.sources.iter().find(|planned| planned.name == source.name);
        let ends = planned.and_then(ends_now).unwrap_or_default();
        for split in &source.splits {
            let end = split.end.or(split.ended.then_some(split.next)).or_else(|| {
                let found = ends
                    .iter()
                    .find(|(topic, partition, _)| *topic == split.topic && *partition == split.partition);
                found.map(|(_, _, end)| *end)
            });
            let number = |offset: i64| table::count(offset.max(0).unsigned_abs());
            table.add_row([
                format!("{}: {}/{}", source.name, split.topic, split.partition),
                number(split.next),
                end.map_or_else(|| "?".to_owned(), number),
                match end {
                    Some(end) if !split.ended => number(end - split.next),
                    _ if split.ended => "0".to_owned(),
                    _ => "?".to_owned(),
                },
                split.highest.map_or_else(|| "none yet".to_owned(), shown),
                condition(split).to_owned(),
            ]);
        }
    }
    table
}

fn condition(split: &SplitPosition) -> &'static str {
    match (split.ended, split.idle) {
        (true, _) => "ended",
        (false, true) => "idle",
        (false, false) => "read",
    }
}

fn at(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms)
        .map_or_else(|| ms.to_string(), |at| at.to_rfc3339_opts(SecondsFormat::Secs, true))
}

fn shown(watermark: EventTime) -> String {
    match watermark {
        BEGINNING => "the beginning".to_owned(),
        END => "the end".to_owned(),
        time => format_rfc3339(time),
    }
}
