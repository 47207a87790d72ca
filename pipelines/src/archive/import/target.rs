//! The archive that an import adds to: staged files, and the book that makes them count.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use thalweg_operators::source::archive::{ArchivePlan, list};

use super::{BOOK, ImportOptions};
use crate::archive::books::{self, FORMAT};
use crate::archive::holder::Holder;
use crate::archive::record::BOOK as RECORDING;
use crate::archive::{ArchiveError, BOOKS, resolve, unreadable, unwritable};

const STAGED: &str = "staged";

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Book {
    pub(super) format: u32,
    /// Staged files that count.
    pub(super) to_publish: Vec<String>,
    pub(super) imported: Vec<Imported>,
}

/// A file by which it is known again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Imported {
    pub(super) path: PathBuf,
    bytes: u64,
    modified_ns: u128,
}

impl Imported {
    pub(super) fn of(path: &Path) -> Result<Imported, ArchiveError> {
        let found = path.canonicalize().and_then(|found| fs::metadata(&found).map(|data| (found, data)));
        let (path, data) = found.map_err(|error| unreadable(path, error))?;
        let modified = data.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        Ok(Imported { path, bytes: data.len(), modified_ns: modified.map_or(0, |at| at.as_nanos()) })
    }
}

/// The archive that an import adds to, held.
pub(super) struct Target {
    pub(super) holder: Holder,
    pub(super) book: Book,
}

impl Target {
    pub(super) fn open(options: &ImportOptions) -> Result<Target, ArchiveError> {
        let folder = &options.folder;
        if folder.join(BOOKS).join(RECORDING).exists() {
            return Err(ArchiveError::Folder {
                folder: folder.display().to_string(),
                detail: "is a recording of a topic, whose offsets are the topic's".to_owned(),
                hint: "import into another folder: give --topic another name",
            });
        }
        let holder = Holder::of(folder)?;
        let book = books::read(&holder.book(BOOK))?;
        let target = Target { book: book.unwrap_or(Book { format: FORMAT, ..Book::default() }), holder };
        let book = target.finish(target.book.clone())?;
        match fs::remove_dir_all(target.staged()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(unwritable(&target.staged(), error));
            }
            _ => {}
        }
        Ok(Target { book, ..target })
    }

    pub(super) fn staged(&self) -> PathBuf {
        self.holder.book(STAGED)
    }

    pub(super) fn ends(&self) -> Result<BTreeMap<i32, i64>, ArchiveError> {
        Ok(resolve(&self.holder.folder, false)?.iter().flat_map(ArchivePlan::ends).collect())
    }

    /// Notes that the staged files count, and makes them visible.
    pub(super) fn publish(&self, imported: Vec<Imported>) -> Result<(), ArchiveError> {
        let staged = list(&self.staged())?;
        let names = staged.iter().filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
        let mut book = Book { to_publish: names.collect(), ..self.book.clone() };
        book.imported.extend(imported);
        books::write(&self.holder.book(BOOK), &book)?;
        self.finish(book)?;
        Ok(())
    }

    /// Makes the staged files that count visible, whether some of them are already or not.
    fn finish(&self, mut book: Book) -> Result<Book, ArchiveError> {
        if book.to_publish.is_empty() {
            return Ok(book);
        }
        for name in &book.to_publish {
            let target = self.holder.folder.join(name);
            match fs::rename(self.staged().join(name), &target) {
                Err(error) if error.kind() != io::ErrorKind::NotFound || !target.exists() => {
                    return Err(unwritable(&target, error));
                }
                _ => {}
            }
        }
        books::sync_folder(&self.holder.folder).map_err(|error| unwritable(&self.holder.folder, error))?;
        book.to_publish.clear();
        books::write(&self.holder.book(BOOK), &book)?;
        Ok(book)
    }
}
