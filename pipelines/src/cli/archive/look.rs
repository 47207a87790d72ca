//! `thalweg archive ls`, `info` and `verify`: what archives hold, and whether they are sound.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use thalweg_engine::control::Control;

use super::print;
use crate::archive::{self, ArchiveInfo, VerifySummary};
use crate::cli::table;
use crate::cli::terminal::{EXIT_INTERRUPTED, bar, stop_on_signal};
use crate::cli::validate::Format;

/// Gaps of a split that are shown to people; json has all.
const GAPS_SHOWN: usize = 5;

/// List the archives in a folder.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  thalweg archive ls archives
  thalweg archive ls archives --format json")]
pub(super) struct LsArgs {
    /// A folder of archives, or one archive.
    folder: PathBuf,
    /// How to print them: text for people, json for scripts (with all splits).
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Show what archives hold: offsets, times, rows and gaps of each split. Reads nothing but the files' footers.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  thalweg archive info archives/events
  thalweg archive info archives/events --format json")]
pub(super) struct InfoArgs {
    /// The archive: the folder of a recorded topic; or a folder of archives, for all of them (json: a list).
    folder: PathBuf,
    /// How to print it: text for people, json for scripts.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Read every row of archives and say what is wrong: a line for each finding, and exit status 1.
///
/// Every page is decoded. Offsets have to ascend, no two files may hold the same, columns have to be there and of the right types, and
/// the rows of a file that Thalweg has written have to be those that it wrote (by a hash in its footer). Payloads with decoded columns
/// beside them are decoded again, and compared.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  thalweg archive verify archives/events
  thalweg archive verify archives --format json")]
pub(super) struct VerifyArgs {
    /// Archives, or folders of archives.
    #[arg(required = true, value_name = "FOLDER")]
    folders: Vec<PathBuf>,
    /// How to print what is found: text for people, json for scripts.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) fn ls(args: &LsArgs) -> Result<ExitCode> {
    let folders = archive::archives_in(&args.folder)?;
    let archives = folders.iter().map(|folder| archive::info(folder)).collect::<Result<Vec<_>, _>>()?;
    if archives.is_empty() {
        anyhow::bail!(
            "there are no archives in {}; `thalweg archive record` makes one, `thalweg generate --to` some to play with",
            args.folder.display()
        );
    }
    print(args.format, &archives, |archives| {
        let mut table =
            table::numbers(&["archive", "splits", "rows", "missing", "earliest", "latest", "files", "bytes"]);
        for archive in archives {
            let time = |time: &Option<String>| time.clone().unwrap_or_default();
            table.add_row([
                archive.topic.clone(),
                archive.splits.len().to_string(),
                table::count(archive.rows),
                table::count(archive.splits.iter().map(|split| split.missing).sum()),
                time(&archive.earliest),
                time(&archive.latest),
                table::count(archive.files as u64),
                table::bytes(archive.file_bytes),
            ]);
        }
        table.to_string()
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn info(args: &InfoArgs) -> Result<ExitCode> {
    let found = if args.folder.is_dir() { archive::archives_in(&args.folder)? } else { Vec::new() };
    if found.iter().all(|folder| *folder == args.folder) {
        print(args.format, &archive::info(&args.folder)?, shown)?;
    } else {
        let all = found.iter().map(|folder| archive::info(folder)).collect::<Result<Vec<_>, _>>()?;
        print(args.format, &all, |all| all.iter().map(shown).collect::<Vec<_>>().join("\n\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn shown(archive: &ArchiveInfo) -> String {
    let mut table = table::numbers(&[
        "partition",
        "first offset",
        "last offset",
        "rows",
        "missing",
        "earliest",
        "latest",
        "files",
        "row groups",
        "bytes",
    ]);
    let mut notes = Vec::new();
    for split in &archive.splits {
        let time = |time: &Option<String>| time.clone().unwrap_or_default();
        table.add_row([
            split.partition.to_string(),
            split.first_offset.to_string(),
            split.last_offset.to_string(),
            table::count(split.rows),
            table::count(split.missing),
            time(&split.earliest),
            time(&split.latest),
            table::count(split.files as u64),
            table::count(split.row_groups as u64),
            table::bytes(split.file_bytes),
        ]);
        let whole = |gap: &archive::Gap| gap.missing == gap.to.abs_diff(gap.from) + 1;
        for gap in split.gaps.iter().take(GAPS_SHOWN) {
            let how_many =
                if whole(gap) { "no".to_owned() } else { format!("{} without", table::count(gap.missing)) };
            notes.push(format!(
                "partition {}: {how_many} record{} from offset {} to {}",
                split.partition,
                if whole(gap) { "s" } else { "" },
                gap.from,
                gap.to
            ));
        }
        if split.gaps.len() > GAPS_SHOWN {
            let more = split.gaps.len() - GAPS_SHOWN;
            notes.push(format!("partition {}: {more} more gaps (--format json lists them)", split.partition));
        }
    }
    for columns in &archive.decoded {
        notes.push(format!(
            "decoded columns: {} for {} of {} files, {} (_decoded/{})",
            columns.fields.join(", "),
            table::count(columns.files as u64),
            table::count(archive.files as u64),
            table::bytes(columns.bytes),
            columns.fingerprint
        ));
    }
    for lost in &archive.lost {
        notes.push(format!(
            "partition {}: offsets {} to {} were deleted before they were recorded",
            lost.partition, lost.from, lost.to
        ));
    }
    let mut said = format!(
        "{}: {} rows, {} files, {}\n{table}",
        archive.topic,
        table::count(archive.rows),
        table::count(archive.files as u64),
        table::bytes(archive.file_bytes)
    );
    for note in notes {
        said.push('\n');
        said.push_str(&note);
    }
    said
}

pub(super) fn verify(args: &VerifyArgs) -> Result<ExitCode> {
    let control = Control::new();
    stop_on_signal(control.clone(), "stopping; not all files were read")?;
    let bar = bar("verifying [{bar:32}] {human_pos}/{human_len} files, {eta} left");
    let mut summaries = Vec::new();
    let mut archives = Vec::new();
    for folder in &args.folders {
        let found = if folder.is_dir() { archive::archives_in(folder)? } else { Vec::new() };
        // What is none is told as such.
        archives.extend(if found.is_empty() { vec![folder.clone()] } else { found });
    }
    for folder in &archives {
        bar.reset();
        let advance = |more: u64, all: u64| {
            bar.set_length(all);
            bar.inc(more);
        };
        summaries.push(archive::verify(folder, &control, &advance)?);
    }
    bar.finish_and_clear();
    print(args.format, &summaries, |summaries| {
        summaries.iter().map(verified).collect::<Vec<_>>().join("\n")
    })?;
    let sound = summaries.iter().all(|summary| summary.findings.is_empty());
    Ok(match (sound, control.stop_asked()) {
        (false, _) => ExitCode::FAILURE,
        (true, true) => ExitCode::from(EXIT_INTERRUPTED),
        (true, false) => ExitCode::SUCCESS,
    })
}

fn verified(summary: &VerifySummary) -> String {
    let mut lines: Vec<String> =
        summary.findings.iter().map(|finding| format!("{}: {}", finding.file, finding.problem)).collect();
    let what = match (summary.stopped, summary.findings.len()) {
        (true, _) => "stopped before all was read".to_owned(),
        (false, 0) => "sound".to_owned(),
        (false, found) => format!("{} findings", table::count(found as u64)),
    };
    lines.push(format!(
        "{}: {what}; {} files read ({} of them with a hash of their rows), {} rows{}",
        summary.folder,
        table::count(summary.files as u64),
        table::count(summary.hashed as u64),
        table::count(summary.rows),
        match summary.decoded {
            0 => String::new(),
            files => format!("; {} files of decoded columns compared with them", table::count(files as u64)),
        }
    ));
    lines.join("\n")
}
