//! Into an archive: files that appear when what says that they are sent is written.
//!
//! ```text
//!   <archive>/.reinjected/staged/part-….parquet ──▶ .reinjected/ledger.json ──▶ <archive>/part-….parquet
//!             written and synced                    "sent; these are to        renamed, one by one
//!                                                    be published"
//! ```
//!
//! The ledger decides: a crash before it leaves nothing but staged files, which the next run throws away; after it, the next run
//! publishes what is left. One reinjection at a time holds the archive, by a lock that goes with its process.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thalweg_engine::failpoint;
use thalweg_operators::source::archive::{ArchiveConfig, ArchiveOptions, ArchiveWriter};

use super::ledger::{self, FORMAT, Sent};
use super::{Outgoing, Output, Ready, ReinjectError, unreadable, unwritable};
use crate::archive::{books, is_held_by_commands};

/// The folder of books and staged files in an archive. Readers of an archive leave out names that begin with a dot.
const BOOKS: &str = ".reinjected";
const LEDGER: &str = "ledger.json";
const LOCK: &str = "lock";
const STAGED: &str = "staged";

/// What went into an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Ledger {
    format: u32,
    /// Staged files that count.
    to_publish: Vec<String>,
    /// By name.
    reinjections: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    /// The folder of refused rows, for people.
    from: String,
    records: u64,
    sent: Sent,
}

/// An archive that records go to.
pub(super) struct ArchiveTarget {
    folder: PathBuf,
    name: String,
    from: String,
    ledger: Ledger,
    sent: Option<Sent>,
    /// The next offset of each partition.
    offsets: BTreeMap<i32, i64>,
    writer: Option<ArchiveWriter>,
    /// Held until this is dropped.
    _lock: File,
}

/// Up to where all was sent; looks without holding the archive.
pub(super) fn sent(folder: &Path, ready: &Ready) -> Result<Option<Sent>, ReinjectError> {
    let ledger: Option<Ledger> = ledger::read(&folder.join(BOOKS).join(LEDGER))?;
    Ok(ledger.and_then(|ledger| ledger.reinjections.get(&ready.name).map(|entry| entry.sent.clone())))
}

impl ArchiveTarget {
    /// Takes hold of the archive, and publishes what was left to publish.
    pub(super) fn open(folder: &Path, ready: &Ready) -> Result<ArchiveTarget, ReinjectError> {
        let books = folder.join(BOOKS);
        // Not before it is known to be an archive, or empty: it may be a folder of something else.
        let found = ends(folder)?;
        if is_held_by_commands(folder) {
            return Err(ReinjectError::Recorded { folder: folder.display().to_string() });
        }
        fs::create_dir_all(&books).map_err(|error| unwritable(&books, error))?;
        let lock = lock(folder)?;
        let ledger = ledger::read(&books.join(LEDGER))?;
        let ledger = ledger.unwrap_or(Ledger {
            format: FORMAT,
            to_publish: Vec::new(),
            reinjections: BTreeMap::new(),
        });
        let mut target = ArchiveTarget {
            folder: folder.to_owned(),
            name: ready.name.clone(),
            from: ready.from.join(ready.refused.folder()).display().to_string(),
            sent: ledger.reinjections.get(&ready.name).map(|entry| entry.sent.clone()),
            ledger,
            offsets: found,
            writer: None,
            _lock: lock,
        };
        target.publish()?;
        target.throw_away_staged()?;
        // Others may have added to it until it was locked.
        target.offsets = ends(folder)?;
        Ok(target)
    }

    fn staged(&self) -> PathBuf {
        self.folder.join(BOOKS).join(STAGED)
    }

    fn write_ledger(&self) -> Result<(), ReinjectError> {
        ledger::write(&self.folder.join(BOOKS).join(LEDGER), &self.ledger)
    }

    /// Makes the staged files that count visible, whether some of them are already or not.
    fn publish(&mut self) -> Result<(), ReinjectError> {
        if self.ledger.to_publish.is_empty() {
            return Ok(());
        }
        for name in &self.ledger.to_publish {
            let (staged, target) = (self.staged().join(name), self.folder.join(name));
            match fs::rename(&staged, &target) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound && target.exists() => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(ReinjectError::StagedFileGone { path: staged.display().to_string() });
                }
                Err(error) => return Err(unwritable(&target, error)),
            }
            failpoint!("reinject::published_a_file");
        }
        books::sync_folder(&self.folder).map_err(|error| unwritable(&self.folder, error))?;
        self.ledger.to_publish.clear();
        self.write_ledger()
    }

    fn throw_away_staged(&self) -> Result<(), ReinjectError> {
        match fs::remove_dir_all(self.staged()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unwritable(&self.staged(), error)),
            _ => Ok(()),
        }
    }

    /// Makes staged files survive a loss of power; their names.
    fn sync_staged(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.staged())? {
            let entry = entry?;
            File::open(entry.path())?.sync_all()?;
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        books::sync_folder(&self.staged())?;
        Ok(names)
    }
}

impl Output for ArchiveTarget {
    fn sent(&self) -> Option<&Sent> {
        self.sent.as_ref()
    }

    fn begin(&mut self) -> Result<(), ReinjectError> {
        self.writer = Some(ArchiveWriter::new(self.staged(), ArchiveOptions::default())?);
        Ok(())
    }

    fn send(&mut self, record: &Outgoing<'_>) -> Result<(), ReinjectError> {
        let writer = self.writer.as_mut().expect("invariant: sending begins with begin");
        let offset = self.offsets.entry(record.partition).or_default();
        let timestamp_ms = record.timestamp_us.map(|us| us.div_euclid(1000));
        writer.push(record.partition, *offset, timestamp_ms, record.key, record.value, record.headers)?;
        *offset += 1;
        Ok(())
    }

    fn commit(&mut self, sent: &Sent, records: u64) -> Result<(), ReinjectError> {
        let writer = self.writer.take().expect("invariant: sending begins with begin");
        writer.finish()?;
        self.ledger.to_publish = self.sync_staged().map_err(|error| unwritable(&self.staged(), error))?;
        failpoint!("reinject::staged");
        let before = self.ledger.reinjections.get(&self.name).map_or(0, |entry| entry.records);
        let entry = Entry { from: self.from.clone(), records: before + records, sent: sent.clone() };
        self.ledger.reinjections.insert(self.name.clone(), entry);
        self.write_ledger()?;
        failpoint!("reinject::noted");
        self.publish()?;
        self.sent = Some(sent.clone());
        Ok(())
    }

    fn abort(&mut self) {
        self.writer = None;
        if let Err(error) = self.throw_away_staged() {
            // The next run will.
            tracing::debug!("{error}");
        }
    }
}

/// The offset after the last record of each partition of an archive.
fn ends(folder: &Path) -> Result<BTreeMap<i32, i64>, ReinjectError> {
    let hidden = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with('.');
    let is_empty = match fs::read_dir(folder) {
        Ok(entries) => entries.filter_map(Result::ok).all(|entry| hidden(&entry)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(unreadable(folder, error)),
    };
    if is_empty {
        return Ok(BTreeMap::new());
    }
    let config = ArchiveConfig {
        source_name: "reinject".to_owned(),
        path: folder.to_owned(),
        topic: None,
        headers: false,
        decoded: None,
    };
    Ok(config.resolve()?.ends().collect())
}

fn lock(folder: &Path) -> Result<File, ReinjectError> {
    let busy = || ReinjectError::Busy { folder: folder.display().to_string() };
    books::lock(&folder.join(BOOKS).join(LOCK))?.ok_or_else(busy)
}
