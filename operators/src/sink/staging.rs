//! Files that no reader sees until their checkpoint exists.
//!
//! ```text
//!   <sink>/.staging/<generation>/part-0000000007-002-000.parquet ──publish: rename──▶ <sink>/window_date=…/part-….parquet
//! ```
//!
//! A file's name says its checkpoint and worker, so publishing twice is publishing once, and what a run left that came to nothing
//! can be told from what counts. The generation keeps a zombie's files apart.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use thalweg_engine::checkpoint::{Publisher, StagedFile};
use thalweg_engine::control::JobError;
use thalweg_engine::failpoint;

use super::SinkError;

/// The folder of staged files inside a sink's folder. Readers of a folder leave out names that begin with a dot.
pub const STAGING: &str = ".staging";

/// How often a folder is tried to be removed into which somebody writes.
const REMOVALS_MAX: u32 = 100;

/// Names a worker's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staging {
    /// The run's generation.
    pub generation: u64,
    /// The worker.
    pub worker: usize,
    /// Whether files are written where they belong from the start: for tables whose log says what belongs to them.
    pub in_place: bool,
}

impl Staging {
    /// The name of file `number` of a worker at a checkpoint: `part-<checkpoint>-<generation>-<worker>-<number>.<extension>`.
    pub fn file_name(&self, checkpoint: u64, number: u64, extension: &str) -> String {
        format!("part-{checkpoint:010}-{}-{:03}-{number:03}.{extension}", self.generation, self.worker)
    }

    /// Where a file of `folder` (relative, `/` between, may be empty) lies until it is published, and where then; relative to the
    /// sink's folder.
    pub fn places(&self, folder: &str, name: &str) -> (String, String) {
        let target = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        if self.in_place {
            return (target.clone(), target);
        }
        // Folders become part of the name: staged files lie side by side.
        let flat = if folder.is_empty() { name.to_owned() } else { format!("{:016x}-{name}", hash(folder)) };
        (format!("{STAGING}/{}/{flat}", self.generation), target)
    }

    /// Creates the file of a worker that writes one a checkpoint, under a name of the worker's: its checkpoint is not known yet.
    pub(super) fn create(&self, sink: &str, folder: &Path) -> Result<(PathBuf, File), SinkError> {
        let path = folder.join(self.places("", &self.file_name(0, 0, "unfinished")).0);
        let made = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| File::create(&path));
        match made {
            Ok(file) => Ok((path, file)),
            Err(source) => {
                Err(SinkError::Io { sink: sink.to_owned(), path: path.display().to_string(), source })
            }
        }
    }

    /// Gives the file that [`Staging::create`] made its checkpoint: it is complete, and has so many rows.
    pub(super) fn complete(
        &self,
        folder: &Path,
        (path, file): (&Path, &File),
        checkpoint: u64,
        extension: &str,
        rows: u64,
    ) -> io::Result<StagedFile> {
        let (staged, target) = self.places("", &self.file_name(checkpoint, 0, extension));
        sync(file)?;
        fs::rename(path, folder.join(&staged))?;
        Ok(StagedFile { staged, target, rows, bytes: file.metadata()?.len(), partition: Vec::new() })
    }
}

fn hash(folder: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(folder.as_bytes())
}

/// The checkpoint of a file of ours by its name; `None`: it is not one of ours.
pub fn checkpoint_of(file_name: &str) -> Option<u64> {
    let (name, _extension) = file_name.strip_prefix("part-")?.split_once('.')?;
    let parts: Vec<&str> = name.split('-').collect();
    // Other programs' files begin with `part-` too.
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_ours = parts.len() == 4 && parts[0].len() >= 10 && parts.iter().all(|part| is_number(part));
    if is_ours { parts[0].parse().ok() } else { None }
}

/// The generation that wrote a file of ours, by its name; `None`: it is not one of ours.
pub fn generation_of(file_name: &str) -> Option<u64> {
    file_name.strip_prefix("part-")?.split('-').nth(1)?.parse().ok()
}

/// Publishes files by renaming them. It takes away only what generations before its own have left: a run that is slow to begin can't
/// harm one that has taken over in the meantime.
#[derive(Debug)]
pub struct FolderPublisher {
    sink: String,
    folder: PathBuf,
    generation: u64,
}

impl FolderPublisher {
    /// That of sink `sink`, whose folder is `folder`, in a run of generation `generation`.
    pub fn new(sink: impl Into<String>, folder: impl Into<PathBuf>, generation: u64) -> Self {
        FolderPublisher { sink: sink.into(), folder: folder.into(), generation }
    }

    fn io(&self, path: &Path, source: io::Error) -> SinkError {
        SinkError::Io { sink: self.sink.clone(), path: path.display().to_string(), source }
    }

    // Deletes published files of checkpoints after `newest`, in this folder and those below, but not those of newer runs.
    fn delete_newer(&self, folder: &Path, newest: u64) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if entry.file_type()?.is_dir() {
                if name != STAGING {
                    self.delete_newer(&entry.path(), newest)?;
                }
            } else if checkpoint_of(&name).is_some_and(|checkpoint| checkpoint > newest)
                && generation_of(&name).is_some_and(|generation| generation < self.generation)
            {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

impl Publisher for FolderPublisher {
    fn sink(&self) -> &str {
        &self.sink
    }

    fn publish(&mut self, checkpoint: u64, files: &[StagedFile]) -> Result<(), JobError> {
        let mut folders = Vec::new();
        for file in files {
            let (staged, target) = (self.folder.join(&file.staged), self.folder.join(&file.target));
            if let Some(folder) = target.parent() {
                fs::create_dir_all(folder).map_err(|error| self.io(folder, error))?;
                if !folders.contains(&folder.to_owned()) {
                    folders.push(folder.to_owned());
                }
            }
            match fs::rename(&staged, &target) {
                Ok(()) => {}
                // Published before, by a run that ended in the midst.
                Err(error) if error.kind() == io::ErrorKind::NotFound && target.exists() => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let (sink, path) = (self.sink.clone(), staged.display().to_string());
                    return Err(SinkError::StagedFileGone { sink, path, checkpoint }.into());
                }
                Err(error) => return Err(self.io(&target, error).into()),
            }
            failpoint!("sink::published_a_file");
        }
        folders.iter().try_for_each(|folder| sync_folder(folder).map_err(|error| self.io(folder, error)))?;
        Ok(())
    }

    fn sweep(&mut self, newest: u64) -> Result<(), JobError> {
        let staging = self.folder.join(STAGING);
        sweep_staged(&self.folder, self.generation).map_err(|error| self.io(&staging, error))?;
        if self.folder.exists() {
            self.delete_newer(&self.folder, newest).map_err(|error| self.io(&self.folder, error))?;
        }
        Ok(())
    }
}

/// Removes what generations before `generation` have staged in a sink's folder.
///
/// # Errors
/// What can't be read or removed.
pub fn sweep_staged(folder: &Path, generation: u64) -> io::Result<()> {
    let staging = folder.join(STAGING);
    let staged = match fs::read_dir(&staging) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        staged => staged?,
    };
    for entry in staged {
        let entry = entry?;
        let of = entry.file_name().to_str().and_then(|name| name.parse::<u64>().ok());
        if of.is_some_and(|of| of < generation) {
            remove_folder(&entry.path())?;
        }
    }
    // Unless somebody stages there again.
    let _ = fs::remove_dir(staging);
    Ok(())
}

/// Removes a folder with all that is in it, if it is there; also while a run that was just taken over still writes into it.
///
/// # Errors
/// What can't be removed.
pub fn remove_folder(folder: &Path) -> io::Result<()> {
    for _ in 0..REMOVALS_MAX {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !folder.exists() => return Ok(()),
            // A file came, or went, between the look and the removal.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound) => {}
            removed => return removed,
        }
    }
    fs::remove_dir_all(folder)
}

/// Makes a file's bytes survive a loss of power.
pub(super) fn sync(file: &File) -> io::Result<()> {
    file.sync_data()
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(staging: &Staging, folder: &Path, below: &str, checkpoint: u64) -> StagedFile {
        let (staged, target) = staging.places(below, &staging.file_name(checkpoint, 0, "parquet"));
        fs::create_dir_all(folder.join(&staged).parent().unwrap()).unwrap();
        fs::write(folder.join(&staged), checkpoint.to_string()).unwrap();
        StagedFile { staged, target, rows: 1, bytes: 1, partition: Vec::new() }
    }

    #[test]
    fn a_folder_that_somebody_writes_into_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let written = folder.path().join("a");
        remove_folder(&written).unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut files = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    // What a sink does: the folder is made again when it is gone.
                    let _ = fs::create_dir_all(&written);
                    files += u32::from(fs::write(written.join(files.to_string()), "").is_ok());
                    std::thread::park_timeout(std::time::Duration::from_micros(200));
                }
            });
            let removed = (0..50).try_for_each(|_| remove_folder(&written));
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            writer.join().unwrap();
            removed.unwrap();
        });
        remove_folder(&written).unwrap();
        assert!(!written.exists());
    }

    #[test]
    fn publishing_twice_is_publishing_once_and_a_sweep_takes_what_is_newer() {
        let folder = tempfile::tempdir().unwrap();
        let staging = Staging { generation: 3, worker: 1, in_place: false };
        let mut publisher = FolderPublisher::new("s", folder.path(), 4);
        let first = [file(&staging, folder.path(), "a=1", 1), file(&staging, folder.path(), "a=2", 1)];
        assert_eq!(first[0].target, "a=1/part-0000000001-3-001-000.parquet");
        assert_ne!(first[0].staged, first[1].staged);
        // A run that ended in the midst of it had published the first.
        publisher.publish(1, &first[..1]).unwrap();
        publisher.publish(1, &first).unwrap();
        let second = [file(&staging, folder.path(), "a=1", 2)];
        publisher.publish(2, &second).unwrap();
        let third = [file(&staging, folder.path(), "a=1", 3)];
        publisher.sweep(1).unwrap();
        assert!(!folder.path().join(&third[0].staged).exists(), "staged, and of no checkpoint");
        assert!(!folder.path().join(&second[0].target).exists(), "of a checkpoint that is gone back behind");
        assert!(first.iter().all(|file| folder.path().join(&file.target).exists()));
        let error = publisher.publish(3, &third).unwrap_err().to_string();
        assert!(error.contains("was staged by checkpoint 3 and is gone"), "{error}");
    }

    #[test]
    fn a_run_that_is_slow_to_begin_takes_nothing_from_a_newer_one() {
        let folder = tempfile::tempdir().unwrap();
        let newer = Staging { generation: 5, worker: 0, in_place: false };
        let published = [file(&newer, folder.path(), "", 7)];
        FolderPublisher::new("s", folder.path(), 5).publish(7, &published).unwrap();
        let staged = file(&newer, folder.path(), "a=1", 8);
        FolderPublisher::new("s", folder.path(), 4).sweep(6).unwrap();
        assert!(folder.path().join(&published[0].target).exists());
        assert!(folder.path().join(&staged.staged).exists());
        FolderPublisher::new("s", folder.path(), 6).sweep(7).unwrap();
        assert!(folder.path().join(&published[0].target).exists());
        assert!(!folder.path().join(STAGING).exists());
    }

    #[test]
    fn the_checkpoint_is_read_from_a_name() {
        assert_eq!(checkpoint_of("part-0000000012-1-000-003.parquet"), Some(12));
        assert_eq!(generation_of("part-0000000012-1-000-003.parquet"), Some(1));
        assert_eq!((checkpoint_of("part-x.parquet"), generation_of("part-x.parquet")), (None, None));
        assert_eq!(checkpoint_of("0000000012.parquet"), None);
    }
}
