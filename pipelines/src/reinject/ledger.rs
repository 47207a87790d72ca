//! Books of what was sent.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::ReinjectError;
pub(super) use crate::archive::books::FORMAT;
use crate::archive::books::{self, BookError};

/// Up to where refused rows were sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sent {
    /// The last checkpoint that was sent, which has files.
    pub(super) checkpoint: u64,
    /// A hash of that checkpoint's files, by which they are known again.
    pub(super) files: String,
}

impl Sent {
    /// In words, for whoever looks at a consumer group.
    pub(super) fn note(&self) -> String {
        format!("refused rows up to checkpoint {}, files {}", self.checkpoint, self.files)
    }

    /// From a number and the words beside it.
    pub(super) fn from_note(checkpoint: u64, note: &str) -> Sent {
        let files = note.rsplit_once("files ").map_or("", |(_, files)| files);
        Sent { checkpoint, files: files.to_owned() }
    }
}

/// A file's content; `None`: there is no such file.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, ReinjectError> {
    Ok(books::read(path)?)
}

/// Writes a file so that a crash leaves the old one or the new one.
pub(super) fn write(path: &Path, content: &impl Serialize) -> Result<(), ReinjectError> {
    Ok(books::write(path, content)?)
}

impl From<BookError> for ReinjectError {
    fn from(error: BookError) -> Self {
        match error {
            BookError::Io { action, path, source } => ReinjectError::Io { action, path, source },
            BookError::Damaged { path, detail } => ReinjectError::Ledger { path, detail },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Book {
        format: u32,
        sent: Sent,
    }

    #[test]
    fn a_file_is_read_as_written_and_others_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("book.json");
        assert_eq!(read::<Book>(&path).unwrap(), None);
        let sent = Sent { checkpoint: 7, files: "00ff".to_owned() };
        let book = Book { format: FORMAT, sent: sent.clone() };
        write(&path, &book).unwrap();
        assert_eq!(read(&path).unwrap(), Some(book));
        assert_eq!(Sent::from_note(7, &sent.note()), sent);
        for (text, told) in
            [("{\"format\": 2}", "format 2"), ("{}", "does not say"), ("nonsense", "expected")]
        {
            fs::write(&path, text).unwrap();
            let error = read::<Book>(&path).unwrap_err().to_string();
            assert!(error.contains("book.json") && error.contains(told), "{error}");
        }
    }
}
