//! Books of what was sent: small files of JSON, replaced as a whole.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{ReinjectError, unreadable, unwritable};

/// The version of what these files hold.
pub(super) const FORMAT: u32 = 1;

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
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(path, error)),
    };
    let damaged = |detail: String| ReinjectError::Ledger { path: path.display().to_string(), detail };
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
pub(super) fn write(path: &Path, content: &impl Serialize) -> Result<(), ReinjectError> {
    let fresh = path.with_extension("new");
    let written = serde_json::to_vec_pretty(content).map_err(io::Error::from).and_then(|bytes| {
        let mut file = File::create(&fresh)?;
        file.write_all(&bytes)?;
        file.sync_data()?;
        fs::rename(&fresh, path)?;
        path.parent().map_or(Ok(()), sync_folder)
    });
    written.map_err(|error| unwritable(path, error))
}

/// Makes renames in a folder survive a loss of power.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
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
