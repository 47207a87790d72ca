//! What was sent, noted beside the staged files: brokers forget the progress of a job that has stood still for a week, and know
//! nothing of what went to another topic before the pipeline was changed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The note's name in the sink's folder. Readers of a folder leave out names that begin with a dot.
const NAME: &str = ".sent.json";

/// The newest checkpoint whose rows were sent, and where to.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    pub(super) job: String,
    pub(super) topic: String,
    pub(super) checkpoint: u64,
}

impl Note {
    /// Where it lies.
    pub(super) fn path(folder: &Path) -> PathBuf {
        folder.join(NAME)
    }

    /// That of a folder; `None`: there is none, or it is not one.
    pub(super) fn read(folder: &Path) -> io::Result<Option<Note>> {
        match fs::read(Note::path(folder)) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces that of a folder, durably.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        let fresh = folder.join(format!("{NAME}.new"));
        let mut file = File::create(&fresh)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_data()?;
        fs::rename(&fresh, Note::path(folder))
    }
}
