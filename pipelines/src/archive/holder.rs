//! Who may write to an archive: one recorder or importer at a time, by a lock that goes with its process. What a crash has left is
//! removed by the next holder.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use thalweg_operators::source::archive::is_left_over;

use super::{ArchiveError, BOOKS, books, unreadable, unwritable};

/// Books of rows that were put into an archive by `thalweg reinject`.
const REINJECTED: &str = ".reinjected";
const LOCK: &str = "lock";

/// An archive that is held for adding to it.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) folder: PathBuf,
    /// Held until this is dropped.
    _lock: File,
}

impl Holder {
    /// Takes hold of the archive in a folder, which is made where there is none.
    pub(super) fn of(folder: &Path) -> Result<Holder, ArchiveError> {
        let books = folder.join(BOOKS);
        if folder.join(REINJECTED).exists() {
            return Err(ArchiveError::Folder {
                folder: folder.display().to_string(),
                detail: "holds rows that were reinjected, with offsets of their own".to_owned(),
                hint: "name another folder",
            });
        }
        fs::create_dir_all(&books).map_err(|error| unwritable(&books, error))?;
        let lock = hold(folder)?;
        let holder = Holder { folder: folder.to_owned(), _lock: lock };
        holder.remove_left_overs()?;
        Ok(holder)
    }

    pub(super) fn book(&self, name: &str) -> PathBuf {
        self.folder.join(BOOKS).join(name)
    }

    /// Removes what taking hold has made, where nothing has come of it.
    pub(super) fn give_up(self) {
        let books = self.folder.join(BOOKS);
        let only_the_lock = fs::read_dir(&books).is_ok_and(|entries| entries.count() == 1);
        if only_the_lock {
            let _ = fs::remove_file(books.join(LOCK));
            // Those that are not empty stay.
            let _ = fs::remove_dir(&books);
            let _ = fs::remove_dir(&self.folder);
        }
    }

    /// Files that were being written when their process was killed: their records are read again.
    fn remove_left_overs(&self) -> Result<(), ArchiveError> {
        for entry in fs::read_dir(&self.folder).map_err(|error| unreadable(&self.folder, error))? {
            let entry = entry.map_err(|error| unreadable(&self.folder, error))?;
            if entry.file_name().to_str().is_some_and(is_left_over) {
                let path = entry.path();
                tracing::info!(file = %path.display(), "removing what a crash has left");
                fs::remove_file(&path).map_err(|source| ArchiveError::Io {
                    action: "remove",
                    path: path.display().to_string(),
                    source,
                })?;
            }
        }
        Ok(())
    }
}

/// Takes the lock of an archive whose folder of books is there.
pub(crate) fn hold(folder: &Path) -> Result<File, ArchiveError> {
    let busy = || ArchiveError::Busy { folder: folder.display().to_string() };
    books::lock(&folder.join(BOOKS).join(LOCK))?.ok_or_else(busy)
}
