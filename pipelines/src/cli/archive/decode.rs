//! `thalweg archive decode`: the columns of a pipeline's sources beside their archives.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use thalweg_engine::control::Control;

use super::print;
use crate::archive::{self, DecodeSummary};
use crate::cli::terminal::{EXIT_INTERRUPTED, bar, stop_on_signal};
use crate::cli::validate::Format;
use crate::cli::{load, table};

/// Decode archives beforehand: every run and backtest with the same schema reads columns then, and no JSON.
///
/// The columns lie beside the archive's files, in _decoded/<fingerprint of the schema>; they are found by themselves. Payloads stay as they
/// are, and what can't be decoded, or comes late, is still given out with its bytes. Run it again to decode what was recorded since; a
/// folder _decoded can be removed at any time.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  thalweg archive decode provider_health --archives archives
  thalweg archive decode my_pipeline.yaml --archives archives --format json")]
pub(super) struct DecodeArgs {
    /// The pipeline whose sources say what is in the archives: a file, or a name of the catalogue.
    pipeline: PathBuf,
    /// The folder with a folder for each topic.
    #[arg(long, value_name = "DIR")]
    archives: Option<PathBuf>,
    /// How to print the result: text for people, json for scripts.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) fn decode(args: &DecodeArgs) -> Result<ExitCode> {
    let Some(plan) = load::load_or_report(&args.pipeline)? else { return Ok(ExitCode::from(2)) };
    let control = Control::new();
    stop_on_signal(control.clone(), "stopping; what was decoded stays")?;
    let bar = bar("decoding [{bar:32}] {human_pos}/{human_len} files, {eta} left");
    let advance = |more: u64, all: u64| {
        bar.set_length(all);
        bar.inc(more);
    };
    let summaries = archive::decode(&plan, args.archives.as_deref(), &control, &advance)?;
    bar.finish_and_clear();
    print(args.format, &summaries, |summaries| summaries.iter().map(closing).collect::<Vec<_>>().join("\n"))?;
    let stopped = summaries.iter().any(|summary| summary.stopped);
    Ok(if stopped { ExitCode::from(EXIT_INTERRUPTED) } else { ExitCode::SUCCESS })
}

fn closing(summary: &DecodeSummary) -> String {
    let mut said = format!(
        "{}: {} of {} files decoded, {} records, {}",
        summary.folder,
        table::count(summary.decoded as u64),
        table::count(summary.files as u64),
        table::count(summary.rows),
        table::bytes(summary.bytes)
    );
    let mut more = |count: u64, what: &str| {
        if count > 0 {
            said.push_str(&format!("; {} {what}", table::count(count)));
        }
    };
    more(summary.there as u64, "had been decoded before");
    more(summary.mixed as u64, "hold several partitions and are read record by record");
    more(summary.refused, "records are no rows of the schema: jobs read and reject them as before");
    more(summary.removed as u64, "of files that are gone removed");
    if summary.stopped {
        said.push_str("; stopped before the end");
    }
    said
}
