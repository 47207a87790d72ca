//! Away with what is old: files from the front of each partition, whole.
//!
//! ```text
//!   --before T      part-…-0-999     part-…-1000-1999    part-…-2000-2999    part-…-3000-3999
//!                   all before T     all before T        T lies in it        later
//!                   removed          removed             kept; with exact    kept, as is always the last
//!                                                        rewritten from T on
//! ```
//!
//! A partition loses a beginning, never a middle: a file stays as soon as one before it does. Its last file stays too, so that a recorder
//! knows where to go on; one may be recording meanwhile. A rewritten file takes its place before the old one goes: a crash in between
//! leaves two that hold the same, which readers refuse, and the next trim removes the old one.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thalweg_engine::control::Control;
use thalweg_operators::source::archive::{
    ArchiveConfig, ArchiveOptions, ArchiveWriteError, ArchiveWriter, FileContent, decoded_of, list,
};
use thalweg_operators::source::{ReadRequest, SplitReader};

use super::books::{self, FORMAT};
use super::{ArchiveError, BOOKS, decode, resolve_existing, unreadable, unwritable};

const LOCK: &str = "trim.lock";
const BOOK: &str = "trim.json";
const STAGED: &str = "trimmed";
const ROWS_AT_ONCE: usize = 8192;

/// What to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrimOptions {
    /// The archive.
    pub folder: PathBuf,
    /// Records before this time go, microseconds since the epoch.
    pub before_us: i64,
    /// Whether the file in which the time lies is rewritten.
    pub exact: bool,
    /// Look, and change nothing.
    pub dry_run: bool,
}

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TrimSummary {
    /// The archive.
    pub folder: String,
    /// Files removed.
    pub files: usize,
    /// Files rewritten.
    pub rewritten: usize,
    /// Records removed; of a dry run without those of files that would be rewritten.
    pub rows: u64,
    /// Bytes freed; of a dry run the same.
    pub bytes: u64,
    /// Whether nothing was removed, but only looked at.
    pub dry_run: bool,
    /// Whether it was stopped before the end.
    pub stopped: bool,
}

/// A rewritten file that takes the place of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Book {
    format: u32,
    publish: String,
    /// As seen from the archive's folder, which may be moved, copied, or named from elsewhere by the run that ends this one.
    remove: PathBuf,
}

impl Book {
    fn replacing(folder: &Path, old: &Path, publish: String) -> Book {
        let remove = old.strip_prefix(folder).expect("invariant: an archive's files lie in its folder");
        Book { format: FORMAT, publish, remove: remove.to_owned() }
    }
}

/// Removes what is old.
///
/// # Errors
/// The first thing that went wrong; what was removed before is gone.
pub fn trim(options: &TrimOptions, control: &Control) -> Result<TrimSummary, ArchiveError> {
    let folder = &options.folder;
    if !folder.exists() || list(folder)?.is_empty() {
        resolve_existing(folder, false)?;
    }
    let books = folder.join(BOOKS);
    let _lock = if options.dry_run {
        // Ending it would be a change, and before its end two files may hold the same.
        if books.join(BOOK).exists() {
            return Err(ArchiveError::Option {
                option: "--dry-run",
                detail: format!("can't look: a trim of {} goes on, or was broken off", folder.display()),
                hint: "a trim that removes nothing ends it: --before 1970-01-01T00:00:00Z".to_owned(),
            });
        }
        None
    } else {
        fs::create_dir_all(&books).map_err(|error| unwritable(&books, error))?;
        let busy = || ArchiveError::Busy { folder: folder.display().to_string() };
        let lock = books::lock(&books.join(LOCK))?.ok_or_else(busy)?;
        finish(folder)?;
        Some(lock)
    };

    let contents = resolve_existing(folder, false)?.contents()?;
    let mut summary = TrimSummary {
        folder: folder.display().to_string(),
        dry_run: options.dry_run,
        ..TrimSummary::default()
    };
    let mut partitions: BTreeMap<i32, Vec<&FileContent>> = BTreeMap::new();
    for content in contents.iter().filter(|content| content.rows > 0) {
        partitions.entry(content.partition).or_default().push(content);
    }
    for files in partitions.values() {
        // What holds other partitions too is not this one's to remove.
        let whole = |content: &&&FileContent| {
            !content.mixed && content.timestamps_us.is_some_and(|(_, latest)| latest < options.before_us)
        };
        let old = files.iter().take(files.len() - 1).take_while(whole).count();
        for content in &files[..old] {
            if control.stop_asked() {
                summary.stopped = true;
                return Ok(summary);
            }
            if !options.dry_run {
                remove(&content.path)?;
            }
            summary.files += 1;
            summary.rows += content.rows;
            summary.bytes += content.file_bytes;
        }
        let straddling = files[old];
        let begins_before =
            straddling.timestamps_us.is_some_and(|(earliest, _)| earliest < options.before_us);
        if !options.exact || straddling.mixed || !begins_before {
            continue;
        }
        if options.dry_run {
            summary.rewritten += 1;
        } else if let Some((rows, bytes)) = rewrite(folder, straddling, options.before_us)? {
            summary.rewritten += 1;
            summary.rows += rows;
            summary.bytes += bytes;
        }
    }
    Ok(summary)
}

/// Replaces a file by one without the records that come before the first that is not old. Gives records and bytes less; `None`: there
/// are none to leave out, or all would go.
fn rewrite(folder: &Path, old: &FileContent, before_us: i64) -> Result<Option<(u64, u64)>, ArchiveError> {
    let staged = folder.join(BOOKS).join(STAGED);
    clear(&staged)?;
    let options = ArchiveOptions { file_bytes_max: u64::MAX, durable: true, ..ArchiveOptions::default() };
    let mut writer = ArchiveWriter::new(&staged, options)?;
    let config = ArchiveConfig {
        source_name: "archive".to_owned(),
        path: old.path.clone(),
        topic: None,
        headers: true,
        decoded: None,
    };
    let mut reader = config.resolve()?.reader(0, 1)?;
    let (mut keeps, mut left_out) = (false, 0_u64);
    let mut problem: Option<ArchiveWriteError> = None;
    let mut ended = false;
    while !ended {
        let request = ReadRequest {
            bytes_max: usize::MAX,
            records_max: ROWS_AT_ONCE,
            wait: Duration::ZERO,
            order: &[0],
        };
        let progress = reader.read(request, &mut |record| {
            keeps |= record.timestamp_us.is_none_or(|at| at >= before_us);
            if !keeps {
                left_out += 1;
                return;
            }
            let timestamp_ms = record.timestamp_us.map(|us| us.div_euclid(1000));
            let (key, value) = (record.key, record.value);
            let pushed = writer.push(old.partition, record.offset, timestamp_ms, key, value, record.headers);
            problem = problem.take().or(pushed.err());
        })?;
        if let Some(problem) = problem {
            return Err(problem.into());
        }
        ended = !progress.ended.is_empty();
    }
    let written = writer.finish()?;
    if left_out == 0 || written.records == 0 {
        clear(&staged)?;
        return Ok(None);
    }
    let publish = fs::read_dir(&staged)
        .and_then(|mut entries| entries.next().transpose())
        .map_err(|error| unreadable(&staged, error))?
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .unwrap_or_default();
    books::write(&folder.join(BOOKS).join(BOOK), &Book::replacing(folder, &old.path, publish))?;
    finish(folder)?;
    Ok(Some((left_out, old.file_bytes.saturating_sub(written.file_bytes))))
}

/// Ends what the book says, whether it was begun or not.
fn finish(folder: &Path) -> Result<(), ArchiveError> {
    let book_path = folder.join(BOOKS).join(BOOK);
    let staged = folder.join(BOOKS).join(STAGED);
    if let Some(book) = books::read::<Book>(&book_path)? {
        let is_inside = |path: &Path| path.components().all(|part| matches!(part, Component::Normal(_)));
        if !is_inside(&book.remove) || !is_inside(Path::new(&book.publish)) {
            let (book_path, file) = (book_path.display(), book.remove.display());
            return Err(ArchiveError::Folder {
                folder: folder.display().to_string(),
                detail: format!(
                    "has a broken-off trim of a file that is not its own: {book_path} names {file}"
                ),
                hint: "remove that book; where two files hold the same then, take one of them out",
            });
        }
        let old = folder.join(&book.remove);
        // It lies where the old one did, which may be a folder in the archive.
        let target = old.with_file_name(&book.publish);
        match fs::rename(staged.join(&book.publish), &target) {
            Err(error) if error.kind() != io::ErrorKind::NotFound || !target.exists() => {
                return Err(unwritable(&target, error));
            }
            _ => {}
        }
        remove_columns(&old)?;
        match fs::remove_file(&old) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(unwritable(&old, error));
            }
            _ => {}
        }
        fs::remove_file(&book_path).map_err(|error| unwritable(&book_path, error))?;
    }
    clear(&staged)
}

fn clear(staged: &Path) -> Result<(), ArchiveError> {
    match fs::remove_dir_all(staged) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unwritable(staged, error)),
        _ => Ok(()),
    }
}

fn remove(path: &Path) -> Result<(), ArchiveError> {
    let failed = |source| ArchiveError::Io { action: "remove", path: path.display().to_string(), source };
    remove_columns(path)?;
    fs::remove_file(path).map_err(failed)
}

/// Removes the decoded columns of a file.
fn remove_columns(path: &Path) -> Result<(), ArchiveError> {
    for columns in decoded_of(path) {
        decode::remove(&columns)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::info;

    const SECOND_US: i64 = 1_000_000;

    /// Four files of ten records in each of two partitions, a second a record.
    fn written(folder: &Path) {
        for file in 0..4_i64 {
            let mut writer = ArchiveWriter::new(folder, ArchiveOptions::default()).unwrap();
            for offset in file * 10..file * 10 + 10 {
                for partition in [0, 1] {
                    writer.push(partition, offset, 1000 * offset, Some(b"k"), Some(b"v"), &[]).unwrap();
                }
            }
            writer.finish().unwrap();
        }
    }

    fn firsts(folder: &Path) -> Vec<(i64, i64, u64)> {
        let splits = info(folder).unwrap().splits;
        splits.iter().map(|split| (split.first_offset, split.last_offset, split.rows)).collect()
    }

    fn trimmed(folder: &Path, before_s: i64, exact: bool) -> TrimSummary {
        let options =
            TrimOptions { folder: folder.to_owned(), before_us: before_s * SECOND_US, exact, dry_run: false };
        trim(&options, &Control::new()).unwrap()
    }

    #[test]
    fn whole_files_go_and_the_one_in_between_only_if_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        written(path);
        let look =
            TrimOptions { folder: path.to_owned(), before_us: 25 * SECOND_US, exact: true, dry_run: true };
        let looked = trim(&look, &Control::new()).unwrap();
        assert_eq!((looked.files, looked.rewritten, looked.rows), (4, 2, 40));
        assert!(!path.join(BOOKS).exists(), "who only looks leaves nothing behind");
        assert_eq!(firsts(path), [(0, 39, 40); 2]);

        let summary = trimmed(path, 25, false);
        assert_eq!((summary.files, summary.rewritten, summary.rows), (4, 0, 40));
        assert_eq!(firsts(path), [(20, 39, 20); 2]);
        let summary = trimmed(path, 25, true);
        assert_eq!((summary.files, summary.rewritten, summary.rows), (0, 2, 10));
        assert_eq!(firsts(path), [(25, 39, 15); 2]);
        assert_eq!(trimmed(path, 25, true).rewritten, 0);
        // The last file stays, and one that would be empty is left as it is.
        assert_eq!(trimmed(path, 1000, true).files, 2);
        assert_eq!(firsts(path), [(30, 39, 10); 2]);
    }

    #[test]
    fn a_file_stays_as_soon_as_one_before_it_does() {
        let folder = tempfile::tempdir().unwrap();
        for (file, seconds) in [(0_i64, 0_i64), (1, 100), (2, 10), (3, 20)] {
            let mut writer = ArchiveWriter::new(folder.path(), ArchiveOptions::default()).unwrap();
            writer.push(0, file, 1000 * seconds, None, Some(b"v"), &[]).unwrap();
            writer.finish().unwrap();
        }
        assert_eq!(trimmed(folder.path(), 50, false).files, 1);
        assert_eq!(firsts(folder.path()), [(1, 3, 3)]);
    }

    /// Leaves the first file's successor staged, and the book that says so; gives its name.
    fn crash_before_publishing(path: &Path) -> String {
        let old = resolve_existing(path, false).unwrap().contents().unwrap().remove(0);
        let staged = path.join(BOOKS).join(STAGED);
        let mut writer = ArchiveWriter::new(&staged, ArchiveOptions::default()).unwrap();
        for offset in 5..10_i64 {
            writer.push(0, offset, 1000 * offset, Some(b"k"), Some(b"v"), &[]).unwrap();
        }
        writer.finish().unwrap();
        let publish = "part-00000-00000000000000000005-00000000000000000009.parquet".to_owned();
        let book = Book::replacing(path, &old.path, publish.clone());
        books::write(&path.join(BOOKS).join(BOOK), &book).unwrap();
        publish
    }

    #[test]
    fn a_crash_between_new_and_old_is_mended_by_the_next_run_and_not_by_a_look() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        written(path);
        let before = firsts(path);
        let publish = crash_before_publishing(path);
        fs::rename(path.join(BOOKS).join(STAGED).join(&publish), path.join(&publish)).unwrap();
        assert!(info(path).unwrap_err().to_string().contains("two files hold the same"));
        let look = TrimOptions { folder: path.to_owned(), before_us: 0, exact: false, dry_run: true };
        let error = trim(&look, &Control::new()).unwrap_err().to_string();
        assert!(error.contains("was broken off") && error.contains("--before 1970"), "{error}");
        assert!(info(path).is_err() && path.join(BOOKS).join(BOOK).exists(), "a look changes nothing");
        assert_eq!(trimmed(path, 0, false).files, 0);
        assert_eq!(firsts(path), [(5, 39, 35), before[1]]);
    }

    #[test]
    fn a_copy_of_what_a_crash_left_is_mended_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let (path, copy) = (folder.path().join("events"), folder.path().join("copy"));
        written(&path);
        let before = firsts(&path);
        crash_before_publishing(&path);
        let copied = std::process::Command::new("cp").arg("-r").args([&path, &copy]).status().unwrap();
        assert!(copied.success());
        trimmed(&copy, 0, false);
        assert_eq!((firsts(&copy), firsts(&path)), (vec![(5, 39, 35), before[1]], before.clone()));
        trimmed(&path, 0, false);
        assert_eq!(firsts(&path), [(5, 39, 35), before[1]]);
        // A book that names a file elsewhere is not believed.
        for remove in [copy.join("part.parquet"), PathBuf::from("../copy/part.parquet")] {
            let book = Book { format: FORMAT, publish: "part.parquet".to_owned(), remove };
            books::write(&path.join(BOOKS).join(BOOK), &book).unwrap();
            let again = TrimOptions { folder: path.clone(), before_us: 0, exact: false, dry_run: false };
            let error = trim(&again, &Control::new()).unwrap_err().to_string();
            assert!(error.contains("trim.json names") && error.contains("not its own"), "{error}");
        }
    }
}
