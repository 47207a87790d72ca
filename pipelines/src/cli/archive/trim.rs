//! `thalweg archive trim`: away with what is old.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use clap::{ArgGroup, Args};
use thalweg_engine::control::Control;

use super::{duration, print, time};
use crate::archive::{self, TrimOptions, TrimSummary};
use crate::cli::table;
use crate::cli::terminal::{EXIT_INTERRUPTED, stop_on_signal};
use crate::cli::validate::Format;

/// Remove old records from an archive: whole files from the front of each partition.
///
/// A file goes when all its records are older and so are all files before it. The last file of a partition always stays, so that a
/// recorder knows where to go on; one may be recording meanwhile. Jobs should not be reading what is removed.
#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("age").required(true).args(["before", "keep"])),
    after_help = "Examples:
  thalweg archive trim archives/events --keep 30d
  thalweg archive trim archives/events --before 2026-05-01T00:00:00Z --exact
  thalweg archive trim archives/events --keep 30d --dry-run"
)]
pub(super) struct TrimArgs {
    /// The archive: the folder of a recorded topic.
    folder: PathBuf,
    /// Records with a timestamp before this time go (RFC 3339).
    #[arg(long, value_name = "TIME", value_parser = time)]
    before: Option<i64>,
    /// Records that are older than this now go.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    keep: Option<Duration>,
    /// Rewrite the file in which the time lies, without the records before it; its first record that is not older is the new first.
    #[arg(long)]
    exact: bool,
    /// Change nothing; say what would be removed.
    #[arg(long)]
    dry_run: bool,
    /// How to print the result: text for people, json for scripts.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) fn trim(args: &TrimArgs) -> Result<ExitCode> {
    let ago = |keep: Duration| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(now.saturating_sub(keep).as_micros()).unwrap_or(i64::MAX)
    };
    let before_us = args.before.or(args.keep.map(ago)).unwrap_or(i64::MIN);
    let options =
        TrimOptions { folder: args.folder.clone(), before_us, exact: args.exact, dry_run: args.dry_run };
    let control = Control::new();
    stop_on_signal(control.clone(), "stopping; what is removed is gone")?;
    let summary = archive::trim(&options, &control)?;
    print(args.format, &summary, closing)?;
    Ok(if summary.stopped { ExitCode::from(EXIT_INTERRUPTED) } else { ExitCode::SUCCESS })
}

fn closing(summary: &TrimSummary) -> String {
    let TrimSummary { folder, files, rewritten, rows, bytes, dry_run, stopped } = summary;
    if *files == 0 && *rewritten == 0 {
        return format!("nothing to remove from {folder}");
    }
    let would = if *dry_run { "would be " } else { "" };
    let more = if *rewritten > 0 { format!(", {rewritten} {would}rewritten") } else { String::new() };
    let end = if *stopped { "; stopped before the end" } else { "" };
    format!(
        "{} files {would}removed from {folder}{more}: {} records, {}{end}",
        table::count(*files as u64),
        table::count(*rows),
        table::bytes(*bytes)
    )
}
