//! One run of a job begins at a time.
//!
//! A run that begins finishes what the one before has left: it throws away, publishes, sweeps. Generations fence off runs that write; they
//! can't fence off one that was about to delete, was stopped for an hour, and goes on. So it holds a lock meanwhile, which ends with
//! its process.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use thalweg_engine::control::Control;

use super::RunError;
use super::recovery::CHECKPOINTS;

/// The locked file in an output folder's folder of checkpoints; it says who holds the lock.
const NAME: &str = ".starting";
/// How long a run waits for one that is just beginning.
const LIMIT: Duration = Duration::from_secs(60);
/// How often it looks.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Held while a run begins.
pub(super) struct Starting {
    _locked: Option<File>,
}

impl Starting {
    /// Waits until no other run into `output` is just beginning. `who` is this one.
    ///
    /// # Errors
    /// Another one does not get on; the folder can't be written; the job is stopped meanwhile.
    pub(super) fn wait(output: &Path, who: &str, control: &Control) -> Result<Starting, RunError> {
        let failed = |source| RunError::Output { folder: output.display().to_string(), source };
        let folder = output.join(CHECKPOINTS);
        std::fs::create_dir_all(&folder).map_err(failed)?;
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(folder.join(NAME))
            .map_err(failed)?;
        let deadline = Instant::now() + LIMIT;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    if control.wait(LOOK_AGAIN) {
                        return Err(RunError::StoppedBefore);
                    }
                }
                Err(TryLockError::WouldBlock) => {
                    let mut by = String::new();
                    file.read_to_string(&mut by).map_err(failed)?;
                    return Err(RunError::Starting { folder: output.display().to_string(), by });
                }
                // Some file systems have no locks.
                Err(TryLockError::Error(error)) => {
                    tracing::warn!(
                        "{} can't be locked ({error}): see to it that one run begins at a time",
                        output.display()
                    );
                    return Ok(Starting { _locked: None });
                }
            }
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
        file.write_all(who.as_bytes()).map_err(failed)?;
        Ok(Starting { _locked: Some(file) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_waits_for_one_that_begins_and_may_be_stopped_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let control = Control::new();
        let first = Starting::wait(folder.path(), "the first", &control).unwrap();
        let second = std::thread::spawn({
            let (folder, control) = (folder.path().to_owned(), control.clone());
            move || Starting::wait(&folder, "the second", &control).map(|_| ())
        });
        control.stop();
        assert!(matches!(second.join().unwrap(), Err(RunError::StoppedBefore)));
        assert_eq!(std::fs::read_to_string(folder.path().join(CHECKPOINTS).join(NAME)).unwrap(), "the first");
        drop(first);
        Starting::wait(folder.path(), "the third", &control).unwrap();
    }
}
