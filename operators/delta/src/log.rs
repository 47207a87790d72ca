//! A table's log, entry by entry: what the library reads as a whole, a job that commits every few seconds only ever needs the end of.
//!
//! ```text
//!   _delta_log/…07.json  …08.json  …09.json      each entry once, by create-if-absent: complete, on disk, then linked to its name
//!                  ▲ known        ▲ read before the next is written
//! ```

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde_json::Value;

use crate::DeltaError;

const FOLDER: &str = "_delta_log";
/// Entries that are being written; readers pass over such names.
const UNFINISHED: &str = "_commit_thalweg";

/// A table's log.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    folder: PathBuf,
}

/// What an entry says, as far as it matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Applications and their versions.
    pub(crate) transactions: Vec<(String, i64)>,
    /// Paths of files that leave the table, as they are written there.
    pub(crate) removed: Vec<String>,
    /// Whether it changes the table's columns, properties or features.
    pub(crate) changes_table: bool,
}

impl Log {
    /// That of the table in `table`.
    pub(crate) fn of(table: &Path) -> Self {
        Log { folder: table.join(FOLDER) }
    }

    fn path(&self, version: u64) -> PathBuf {
        self.folder.join(format!("{version:020}.json"))
    }

    /// Whether the entry of a version is there: it may have been cleaned up.
    pub(crate) fn has(&self, version: u64) -> bool {
        self.path(version).exists()
    }

    /// The entry of a version; `None`: there is none.
    ///
    /// # Errors
    /// It can't be read, or is no such entry.
    pub(crate) fn read(&self, version: u64) -> Result<Option<Entry>, DeltaError> {
        let path = self.path(version);
        let failed = |source| DeltaError::Io { action: "read", path: path.clone(), source };
        match fs::read_to_string(&path) {
            Ok(text) => {
                let entry = parse(&text);
                entry.map(Some).map_err(|error| failed(io::Error::new(ErrorKind::InvalidData, error)))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Writes the entry of a version, durably; false: somebody else has.
    ///
    /// # Errors
    /// It can't be written. It may be there nevertheless when only its folder could not be synced.
    pub(crate) fn create(&self, version: u64, entry: &[u8]) -> Result<bool, DeltaError> {
        static WRITTEN: AtomicU64 = AtomicU64::new(0);
        let (process, number) = (std::process::id(), WRITTEN.fetch_add(1, Relaxed));
        let unfinished = self.folder.join(format!("{UNFINISHED}-{process}-{number}.json.tmp"));
        let path = self.path(version);
        let failed = |path: &Path, source| DeltaError::Io { action: "write", path: path.to_owned(), source };
        fs::create_dir_all(&self.folder).map_err(|error| failed(&self.folder, error))?;
        let written = File::create(&unfinished).and_then(|mut file| {
            file.write_all(entry)?;
            file.sync_all()
        });
        let linked = written.and_then(|()| fs::hard_link(&unfinished, &path));
        // Nobody misses it; what a crash leaves goes with the next sweep.
        let _ = fs::remove_file(&unfinished);
        match linked {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
            Err(error) => return Err(failed(&path, error)),
        }
        sync(&self.folder)?;
        Ok(true)
    }

    /// Makes what sums up the log to a version survive a loss of power: readers begin with it.
    ///
    /// # Errors
    /// It is not there, or can't be synced.
    pub(crate) fn sync_summary(&self, version: u64) -> Result<(), DeltaError> {
        sync(&self.folder.join(format!("{version:020}.checkpoint.parquet")))?;
        sync(&self.folder.join("_last_checkpoint"))?;
        sync(&self.folder)
    }

    /// Whether there is any entry.
    pub(crate) fn is_begun(&self) -> bool {
        let names = fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
        names.map(|name| name.to_string_lossy().into_owned()).any(|name| name.ends_with(".json"))
    }

    /// Deletes what crashed runs have left of entries.
    ///
    /// # Errors
    /// The folder can't be listed, or something in it deleted.
    pub(crate) fn sweep(&self) -> Result<(), DeltaError> {
        let failed = |action, source| DeltaError::Io { action, path: self.folder.clone(), source };
        for entry in fs::read_dir(&self.folder).map_err(|error| failed("list", error))? {
            let entry = entry.map_err(|error| failed("list", error))?;
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                fs::remove_file(entry.path()).map_err(|error| failed("delete", error))?;
            }
        }
        Ok(())
    }
}

/// Makes a file, or a folder's list of names, survive a loss of power.
pub(crate) fn sync(path: &Path) -> Result<(), DeltaError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|source| DeltaError::Io {
        action: "write",
        path: path.to_owned(),
        source,
    })
}

fn parse(text: &str) -> serde_json::Result<Entry> {
    let mut entry = Entry::default();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let action: Value = serde_json::from_str(line)?;
        if let Some(transaction) = action.get("txn")
            && let (Some(application), Some(version)) =
                (transaction["appId"].as_str(), transaction["version"].as_i64())
        {
            entry.transactions.push((application.to_owned(), version));
        }
        entry.removed.extend(action["remove"]["path"].as_str().map(str::to_owned));
        entry.changes_table |= action.get("metaData").is_some() || action.get("protocol").is_some();
    }
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_written_once_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::of(folder.path());
        let line = r#"{"txn":{"appId":"a","version":7}}"#;
        let text = format!("{line}\n{{\"remove\":{{\"path\":\"a%20b\"}}}}\n{{\"metaData\":{{}}}}");
        assert!(!log.is_begun());
        assert!(log.create(3, text.as_bytes()).unwrap() && log.is_begun());
        assert!(!log.create(3, b"{}").unwrap());
        let entry = Entry {
            transactions: vec![("a".to_owned(), 7)],
            removed: vec!["a%20b".to_owned()],
            changes_table: true,
        };
        assert_eq!(log.read(3).unwrap(), Some(entry));
        assert_eq!((log.has(3), log.read(4).unwrap()), (true, None));
        fs::write(folder.path().join("_delta_log/_commit_thalweg-1-0.json.tmp"), "{").unwrap();
        log.sweep().unwrap();
        assert_eq!(fs::read_dir(folder.path().join(FOLDER)).unwrap().count(), 1);
        fs::write(log.path(4), "{").unwrap();
        assert!(log.read(4).unwrap_err().to_string().contains("00000000000000000004.json"));
    }
}
