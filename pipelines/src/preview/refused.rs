//! Late and rejected rows, as the job makes them visible: files of its standing outputs, each read once.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::{LOOK_AGAIN, Next, PreviewError};

/// The folder of a standing output, and what of it was read.
pub(super) struct Refused {
    folder: PathBuf,
    seen: BTreeSet<PathBuf>,
    waiting: VecDeque<PathBuf>,
    open: Option<(PathBuf, ParquetRecordBatchReader)>,
}

impl Refused {
    pub(super) fn new(folder: PathBuf) -> Self {
        Refused { folder, seen: BTreeSet::new(), waiting: VecDeque::new(), open: None }
    }

    /// The rows that come next. `ended`: whether the job had ended before this was asked.
    pub(super) fn next(&mut self, ended: bool) -> Result<Next, PreviewError> {
        loop {
            if let Some((path, reader)) = &mut self.open {
                match reader.next() {
                    Some(batch) => {
                        return batch.map(Next::Rows).map_err(|error| unreadable(path, &error));
                    }
                    None => self.open = None,
                }
            }
            if self.waiting.is_empty() {
                self.look()?;
            }
            let Some(path) = self.waiting.pop_front() else {
                if ended {
                    return Ok(Next::End);
                }
                std::thread::park_timeout(LOOK_AGAIN);
                return Ok(Next::Wait);
            };
            let file = File::open(&path).map_err(|error| unreadable(&path, &error))?;
            let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|builder| builder.build());
            let reader = reader.map_err(|error| unreadable(&path, &error))?;
            self.open = Some((path, reader));
        }
    }

    fn look(&mut self) -> Result<(), PreviewError> {
        let entries = match fs::read_dir(&self.folder) {
            // The job makes it with the first of them.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(|error| unreadable(&self.folder, &error))?,
        };
        let mut found = BTreeSet::new();
        for entry in entries {
            let path = entry.map_err(|error| unreadable(&self.folder, &error))?.path();
            if path.extension().is_some_and(|ending| ending == "parquet") && !self.seen.contains(&path) {
                found.insert(path);
            }
        }
        self.waiting.extend(found.iter().cloned());
        self.seen.append(&mut found);
        Ok(())
    }
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> PreviewError {
    PreviewError::Unreadable { path: path.display().to_string(), detail: error.to_string() }
}
