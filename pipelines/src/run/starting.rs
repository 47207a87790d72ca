//! One run of a job begins at a time.
//!
//! A run that begins finishes what the one before has left: it throws away, publishes, sweeps. Generations fence off runs that write; they
//! can't fence off one that was about to delete, was stopped for an hour, and goes on. So it holds a lock meanwhile, which ends with
//! its process.

use std::fs::File;
use std::io::{ErrorKind, Seek, Write};
use std::path::Path;
use std::time::Duration;

use super::RunError;
use super::recovery::CHECKPOINTS;
use crate::lock::lock;

/// The locked file in an output folder's folder of checkpoints; it says who holds the lock.
const NAME: &str = ".starting";
/// How long a run waits for one that is just beginning.
const LIMIT: Duration = Duration::from_secs(60);

/// Held while a run begins.
#[derive(Debug)]
pub(super) struct Starting {
    _locked: Option<File>,
}

impl Starting {
    /// Waits until no other run into `output` is just beginning. `who` is this one.
    ///
    /// # Errors
    /// Another one does not get on; the folder can't be written.
    pub(super) fn wait(output: &Path, who: &str) -> Result<Starting, RunError> {
        Starting::wait_for(output, who, LIMIT)
    }

    fn wait_for(output: &Path, who: &str, limit: Duration) -> Result<Starting, RunError> {
        let failed = |source| RunError::Output { folder: output.display().to_string(), source };
        let folder = output.join(CHECKPOINTS);
        std::fs::create_dir_all(&folder).map_err(failed)?;
        let path = folder.join(NAME);
        let mut file = match lock(&path, limit) {
            Ok(Some(file)) => file,
            Ok(None) => {
                let by = std::fs::read_to_string(&path).map_err(failed)?;
                return Err(RunError::Starting { folder: output.display().to_string(), by });
            }
            // Some file systems have no locks.
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                tracing::warn!("{} can't be locked: see to it that one run begins at a time", path.display());
                return Ok(Starting { _locked: None });
            }
            Err(error) => return Err(failed(error)),
        };
        file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
        file.write_all(who.as_bytes()).map_err(failed)?;
        Ok(Starting { _locked: Some(file) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_waits_for_one_that_begins_and_not_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let first = Starting::wait(folder.path(), "the first").unwrap();
        let error = Starting::wait_for(folder.path(), "the second", Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().starts_with("the first is just beginning a run"), "{error}");
        let third = std::thread::spawn({
            let folder = folder.path().to_owned();
            move || Starting::wait(&folder, "the third").unwrap()
        });
        drop(first);
        third.join().unwrap();
        let held = std::fs::read_to_string(folder.path().join(CHECKPOINTS).join(NAME)).unwrap();
        assert_eq!(held, "the third");
    }
}
