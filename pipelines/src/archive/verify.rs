//! Whether an archive is sound: every page of every file is decoded, and what a job would fail on, or read wrongly, is found.
//!
//! | found | how |
//! |---|---|
//! | a file that is cut short or changed | its footer and pages are decoded; the hash of its rows is that of its footer |
//! | columns that are missing, or of another type | as a job would open it |
//! | offsets that don't ascend, a name that contradicts the rows | as a job would read it |
//! | files that hold the same offsets | their ranges, side by side |
//! | decoded columns that are not what the payloads say | the payloads are decoded again |

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::Serialize;
use thalweg_engine::control::Control;
use thalweg_operators::source::archive::{
    ArchiveConfig, FileContent, RowsHash, Verified, decoded_of, list, verify_decoded,
};
use thalweg_operators::source::{ReadRequest, SourceError, SplitReader};

use super::{ArchiveError, resolve_existing};

/// Rows read between two looks at whether to go on.
const ROWS_AT_ONCE: usize = 65_536;

/// Something that is wrong with an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// What is wrong with it, and how to mend it.
    pub problem: String,
}

/// What a look at every row came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifySummary {
    /// The archive.
    pub folder: String,
    /// Files.
    pub files: usize,
    /// Those whose rows were compared with a hash in their footer: all that were written by Thalweg.
    pub hashed: usize,
    /// Files of decoded columns that were compared with the payloads.
    pub decoded: usize,
    /// Rows that were read.
    pub rows: u64,
    /// Whether it was stopped before the end.
    pub stopped: bool,
    /// What is wrong, by file.
    pub findings: Vec<Finding>,
}

/// What was seen in a file.
struct Seen {
    contents: Vec<FileContent>,
    rows: u64,
    problem: Option<String>,
    decoded: usize,
    /// What is wrong with decoded columns, by file.
    of_columns: Vec<Finding>,
}

/// Reads every file of an archive. `advance` hears of files: (files more, files in all).
///
/// # Errors
/// Where the folder holds no archive, or can't be listed; what is wrong with files are findings.
pub fn verify(
    folder: &Path,
    control: &Control,
    advance: &(dyn Fn(u64, u64) + Sync),
) -> Result<VerifySummary, ArchiveError> {
    let files = if folder.is_dir() { list(folder)? } else { Vec::new() };
    if files.is_empty() {
        resolve_existing(folder, false)?;
    }
    let next = AtomicUsize::new(0);
    let seen: Mutex<Vec<(usize, Seen)>> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(files.len());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !control.stop_asked() {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(path) = files.get(at) else { return };
                    let Some(file) = look_at(path, control) else { return };
                    // A poisoned lock is another thread's panic, which the scope passes on.
                    seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((at, file));
                    advance(1, files.len() as u64);
                }
            });
        }
    });
    let mut seen = seen.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    seen.sort_by_key(|(at, _)| *at);
    let mut summary = VerifySummary {
        folder: folder.display().to_string(),
        files: files.len(),
        hashed: 0,
        decoded: 0,
        rows: 0,
        stopped: seen.len() < files.len(),
        findings: Vec::new(),
    };
    let mut contents: Vec<FileContent> = Vec::new();
    for (at, file) in seen {
        let hashed = |content: &FileContent| content.rows_hash.is_some();
        summary.hashed += usize::from(file.problem.is_none() && file.contents.iter().any(hashed));
        summary.rows += file.rows;
        summary.decoded += file.decoded;
        contents.extend(file.contents);
        let finding = |problem| Finding { file: files[at].display().to_string(), problem };
        summary.findings.extend(file.problem.map(finding));
        summary.findings.extend(file.of_columns);
    }
    summary.findings.extend(overlaps(contents));
    Ok(summary)
}

/// `None`: stopped in between.
fn look_at(path: &Path, control: &Control) -> Option<Seen> {
    let mut seen = Seen { contents: Vec::new(), rows: 0, problem: None, decoded: 0, of_columns: Vec::new() };
    match read_all(path, control, &mut seen) {
        Ok(true) => {}
        Ok(false) => return None,
        Err(error) => seen.problem = Some(told(path, &error)),
    }
    if seen.problem.is_some() {
        return Some(seen);
    }
    for columns in decoded_of(path) {
        match verify_decoded(path, &columns, &|| control.stop_asked()) {
            Ok(Verified::Compared) => seen.decoded += 1,
            Ok(Verified::Unused) => {}
            Ok(Verified::Stopped) => return None,
            Err(problem) => {
                seen.of_columns.push(Finding { file: columns.display().to_string(), problem });
            }
        }
    }
    Some(seen)
}

fn read_all(path: &Path, control: &Control, seen: &mut Seen) -> Result<bool, SourceError> {
    let (source_name, path) = ("archive".to_owned(), path.to_owned());
    let plan = ArchiveConfig { source_name, path, topic: None, headers: true, decoded: None }.resolve()?;
    seen.contents = plan.contents()?;
    let mut reader = plan.reader(0, 1)?;
    let mut order: Vec<usize> = (0..reader.splits().len()).collect();
    let mut hash = RowsHash::default();
    while !order.is_empty() {
        if control.stop_asked() {
            return Ok(false);
        }
        let request = ReadRequest {
            bytes_max: usize::MAX,
            records_max: ROWS_AT_ONCE,
            wait: Duration::ZERO,
            order: &order,
        };
        let progress = reader.read(request, &mut |record| {
            let timestamp_ms = record.timestamp_us.map(|us| us.div_euclid(1000));
            hash.add(record.offset, timestamp_ms, record.key, record.value, record.headers);
        })?;
        seen.rows += progress.records as u64;
        order.retain(|split| !progress.ended.contains(split));
    }
    let written = seen.contents.first().and_then(|content| content.rows_hash.clone());
    if let Some(written) = written
        && written != hash.to_string()
    {
        seen.problem = Some(format!(
            "its rows are not those that were written: their hash is {hash}, and was {written}; restore the file, or record it again"
        ));
    }
    Ok(true)
}

/// An error's words without the file, which the finding names.
fn told(path: &Path, error: &SourceError) -> String {
    let file = path.display().to_string();
    match error {
        SourceError::Io { path, source } if *path == file => source.to_string(),
        SourceError::NotAnArchive { path, detail } if *path == file => detail.clone(),
        other => other.to_string(),
    }
}

/// Files of a partition whose ranges of offsets overlap.
fn overlaps(mut contents: Vec<FileContent>) -> Vec<Finding> {
    contents.retain(|content| content.rows > 0);
    contents.sort_by_key(|content| (content.partition, content.first_offset));
    let mut found = Vec::new();
    let mut before: Option<(i32, i64, PathBuf)> = None;
    for content in contents {
        let FileContent { path, partition, first_offset, last_offset, .. } = content;
        if let Some((of, last, other)) = &before
            && *of == partition
            && first_offset <= *last
        {
            let problem = format!(
                "its offsets of partition {partition} begin at {first_offset}, and {} holds those up to {last}: take one of the two out of the folder",
                other.display()
            );
            found.push(Finding { file: path.display().to_string(), problem });
            if last_offset <= *last {
                continue;
            }
        }
        before = Some((partition, last_offset, path));
    }
    found
}
