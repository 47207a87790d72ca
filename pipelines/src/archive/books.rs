//! Books: small files of JSON that say how far something is, replaced as a whole; and the locks of those who keep them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The version of what books hold.
pub(crate) const FORMAT: u32 = 1;

/// Why a book can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// The file can't be read or written.
    #[error("can't {action} {path}: {source}")]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// It can't be understood.
    #[error("{path} can't be understood: {detail}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong with it.
        detail: String,
    },
}

/// A file's content; `None`: there is no such file.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, BookError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(BookError::Io { action: "read", path: path.display().to_string(), source });
        }
    };
    let damaged = |detail: String| BookError::Damaged { path: path.display().to_string(), detail };
    let json: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    match json["format"].as_u64() {
        Some(format) if format == u64::from(FORMAT) => {
            serde_json::from_value(json).map(Some).map_err(|error| damaged(error.to_string()))
        }
        Some(format) => {
            Err(damaged(format!("it has format {format}, and this program knows format {FORMAT}")))
        }
        None => Err(damaged("it does not say its format".to_owned())),
    }
}

/// Writes a file so that a crash leaves the old one or the new one.
pub(crate) fn write(path: &Path, content: &impl Serialize) -> Result<(), BookError> {
    let fresh = path.with_extension("new");
    let written = serde_json::to_vec_pretty(content).map_err(io::Error::from).and_then(|bytes| {
        let mut file = File::create(&fresh)?;
        file.write_all(&bytes)?;
        file.sync_data()?;
        fs::rename(&fresh, path)?;
        path.parent().map_or(Ok(()), sync_folder)
    });
    written.map_err(|source| BookError::Io { action: "write", path: path.display().to_string(), source })
}

/// Makes renames in a folder survive a loss of power.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// How long somebody who is about to end may hold a lock.
const LOCK_LIMIT: Duration = Duration::from_secs(1);

/// A lock that goes with its process; `None`: somebody else holds it.
pub(crate) fn lock(path: &Path) -> Result<Option<File>, BookError> {
    let unwritable = |source| BookError::Io { action: "write", path: path.display().to_string(), source };
    crate::lock::lock(path, LOCK_LIMIT).map_err(unwritable)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Book {
        format: u32,
        text: String,
    }

    #[test]
    fn a_book_is_read_as_written_and_others_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("book.json");
        assert!(read::<Book>(&path).unwrap().is_none());
        for text in ["one", "two"] {
            let book = Book { format: FORMAT, text: text.to_owned() };
            write(&path, &book).unwrap();
            assert_eq!(read(&path).unwrap(), Some(book));
        }
        for (text, told) in
            [("{\"format\": 2}", "format 2"), ("{}", "does not say"), ("nonsense", "expected")]
        {
            fs::write(&path, text).unwrap();
            let error = read::<Book>(&path).unwrap_err().to_string();
            assert!(error.contains("book.json") && error.contains(told), "{error}");
        }
    }

    #[test]
    fn one_at_a_time_holds_a_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first = lock(&path).unwrap();
        assert!(first.is_some() && lock(&path).unwrap().is_none());
        drop(first);
        assert!(lock(&path).unwrap().is_some());
    }
}
