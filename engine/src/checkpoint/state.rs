//! State files: what a step's operator on one worker held at a checkpoint, as an Arrow IPC stream.
//!
//! A file is full, or it holds what has changed since the worker's file before. A restart reads all that the manifest lists,
//! oldest first; of the rows of one unit (an operator says what that is: a key and pane, a key's sessions) the newest stand. So a
//! checkpoint costs what has changed, and a chain is cut by a full file when it has grown to twice what is held.
//!
//! ```text
//!   checkpoint      7 full ──▶ 8 ──▶ 9 ──▶ 10 ──▶ 11 full      the files of one worker; from 11 on, 7 to 10 are not needed
//! ```
//!
//! A file's shards are those of its worker at the time. With another number of workers every worker reads the files that hold some
//! of its shards, and takes of them the rows of its own.

use std::collections::HashSet;

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use xxhash_rust::xxh3::xxh3_64;

use super::manifest::{Manifest, StateFile};
use super::{CheckpointError, StatePart, Store};
use crate::shard::SHARDS;

const FOLDER: &str = "state";

/// Writes what an operator handed over; `None` when there is nothing to write.
///
/// # Errors
/// [`CheckpointError::State`], [`CheckpointError::Storage`].
pub fn write(
    store: &Store,
    checkpoint: u64,
    generation: u64,
    part: &StatePart,
) -> Result<Option<StateFile>, CheckpointError> {
    let rows: usize = part.batches.iter().map(RecordBatch::num_rows).sum();
    let Some(first) = part.batches.first().filter(|_| rows > 0 || part.full) else { return Ok(None) };
    let failed = |error: arrow::error::ArrowError| CheckpointError::State {
        step: part.step.clone(),
        detail: error.to_string(),
    };
    let mut writer = StreamWriter::try_new(Vec::new(), first.schema_ref()).map_err(failed)?;
    part.batches.iter().try_for_each(|batch| writer.write(batch)).map_err(failed)?;
    let bytes = writer.into_inner().map_err(failed)?;
    let path = format!(
        "{FOLDER}/{checkpoint:010}-{generation}/{}-{}-{}.arrow",
        part.step, part.worker, part.workers
    );
    let file = StateFile {
        path: path.clone(),
        step: part.step.clone(),
        checkpoint,
        worker: part.worker,
        workers: part.workers,
        full: part.full,
        rows: rows as u64,
        bytes: bytes.len() as u64,
        checksum: format!("{:016x}", xxh3_64(&bytes)),
    };
    store.put(&path, bytes)?;
    Ok(Some(file))
}

/// Reads a state file.
///
/// # Errors
/// [`CheckpointError::Damaged`], [`CheckpointError::Storage`].
pub fn read(store: &Store, file: &StateFile) -> Result<Vec<RecordBatch>, CheckpointError> {
    let damaged = |detail: String| CheckpointError::Damaged {
        path: format!("{}/{}", store.location(), file.path),
        detail,
    };
    let bytes = match store.get(&file.path) {
        Err(CheckpointError::Storage { source: object_store::Error::NotFound { .. }, .. }) => {
            return Err(damaged("the file is missing".to_owned()));
        }
        bytes => bytes?,
    };
    if bytes.len() as u64 != file.bytes || format!("{:016x}", xxh3_64(&bytes)) != file.checksum {
        return Err(damaged("its checksum does not fit".to_owned()));
    }
    let batches = StreamReader::try_new(bytes.as_ref(), None).and_then(Iterator::collect);
    batches.map_err(|error: arrow::error::ArrowError| damaged(error.to_string()))
}

/// Whether worker `worker` of `workers` owns shards that the file holds.
pub fn holds_shards_of(file: &StateFile, worker: usize, workers: usize) -> bool {
    shards(file.worker, file.workers).any(|shard| shard % workers == worker)
}

fn shards(worker: usize, workers: usize) -> impl Iterator<Item = usize> {
    (worker..SHARDS as usize).step_by(workers.max(1))
}

/// Of files, oldest first, those that a restart still needs: all but those whose shards have full files behind them.
pub fn needed(files: Vec<StateFile>) -> Vec<StateFile> {
    let mut covered: Vec<(&str, Vec<bool>)> = Vec::new();
    let mut keep = vec![true; files.len()];
    for (at, file) in files.iter().enumerate().rev() {
        let found = covered.iter().position(|(step, _)| *step == file.step).unwrap_or_else(|| {
            covered.push((&file.step, vec![false; SHARDS as usize]));
            covered.len() - 1
        });
        let covered = &mut covered[found].1;
        keep[at] = shards(file.worker, file.workers).any(|shard| !covered[shard]);
        if file.full {
            shards(file.worker, file.workers).for_each(|shard| covered[shard] = true);
        }
    }
    let mut keep = keep.into_iter();
    files.into_iter().filter(|_| keep.next().unwrap_or(true)).collect()
}

/// Deletes the state files of checkpoints up to the newest of `kept` that none of these needs; not those of generations after
/// `generation`, which knows nothing of them.
pub(super) fn forget_unused(
    store: &Store,
    kept: &[&Manifest],
    generation: u64,
) -> Result<(), CheckpointError> {
    let newest = kept.iter().map(|manifest| manifest.number).max().unwrap_or(0);
    let needed = paths(kept);
    for name in store.list(FOLDER)? {
        let path = format!("{FOLDER}/{name}");
        let of = checkpoint_and_generation(&name);
        if !needed.contains(path.as_str())
            && of.is_some_and(|(checkpoint, by)| checkpoint <= newest && by <= generation)
        {
            store.delete(&path)?;
        }
    }
    Ok(())
}

/// Deletes every state file of generations before `generation` that `kept` do not need: what runs that are gone had written for
/// checkpoints that never were.
///
/// # Errors
/// [`CheckpointError::Storage`].
pub fn sweep(store: &Store, kept: &[&Manifest], generation: u64) -> Result<(), CheckpointError> {
    let is_older = |name: &str| checkpoint_and_generation(name).is_some_and(|(_, by)| by < generation);
    store.delete_unfinished(FOLDER, is_older)?;
    let needed = paths(kept);
    for name in store.list(FOLDER)? {
        let path = format!("{FOLDER}/{name}");
        if !needed.contains(path.as_str()) && is_older(&name) {
            store.delete(&path)?;
        }
    }
    Ok(())
}

fn paths<'a>(kept: &[&'a Manifest]) -> HashSet<&'a str> {
    kept.iter().flat_map(|manifest| &manifest.state).map(|file| file.path.as_str()).collect()
}

// Of a file, or of the folder that it lies in.
fn checkpoint_and_generation(name: &str) -> Option<(u64, u64)> {
    let (checkpoint, generation) = name.split('/').next()?.split_once('-')?;
    Some((checkpoint.parse().ok()?, generation.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array};
    use std::sync::Arc;

    fn file(checkpoint: u64, worker: usize, workers: usize, full: bool) -> StateFile {
        StateFile {
            path: format!("{checkpoint}-{worker}-{workers}"),
            step: "s".to_owned(),
            checkpoint,
            worker,
            workers,
            full,
            rows: 1,
            bytes: 1,
            checksum: String::new(),
        }
    }

    fn paths(files: Vec<StateFile>) -> Vec<String> {
        needed(files).into_iter().map(|file| file.path).collect()
    }

    #[test]
    fn a_full_file_ends_the_chain_of_its_own_shards_only() {
        let files = vec![file(1, 0, 2, true), file(1, 1, 2, true), file(2, 0, 2, false), file(3, 0, 2, true)];
        assert_eq!(paths(files), ["1-1-2", "3-0-2"]);
    }

    #[test]
    fn files_of_other_workers_go_when_all_their_shards_are_covered() {
        let mut files = vec![file(1, 0, 1, true), file(2, 0, 3, true), file(2, 1, 3, true)];
        assert_eq!(
            paths(files.clone()),
            ["1-0-1", "2-0-3", "2-1-3"],
            "a third of the shards is in the first"
        );
        files.push(file(3, 2, 3, true));
        assert_eq!(paths(files), ["2-0-3", "2-1-3", "3-2-3"]);
    }

    #[test]
    fn workers_find_the_files_that_hold_their_shards() {
        let old = file(1, 1, 2, true);
        assert!(holds_shards_of(&old, 1, 2) && !holds_shards_of(&old, 0, 2));
        assert!((0..3).all(|worker| holds_shards_of(&old, worker, 3)));
    }

    #[test]
    fn what_was_written_is_read_and_a_changed_byte_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().display().to_string()).unwrap();
        let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let batch = RecordBatch::try_from_iter([("x", column)]).unwrap();
        let part = StatePart {
            step: "s".to_owned(),
            worker: 0,
            workers: 1,
            full: true,
            batches: vec![batch.clone(), batch],
        };
        let file = write(&store, 4, 2, &part).unwrap().unwrap();
        assert_eq!((file.rows, file.checkpoint), (6, 4));
        assert_eq!(read(&store, &file).unwrap(), part.batches);
        let path = folder.path().join(&file.path);
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let error = read(&store, &file).unwrap_err().to_string();
        assert!(error.contains("s-0-1.arrow is damaged") && error.contains("--from"), "{error}");
        sweep(&store, &[], 2).unwrap();
        assert!(path.exists(), "the file of a newer run was swept away");
        sweep(&store, &[], 3).unwrap();
        let error = read(&store, &file).unwrap_err().to_string();
        assert!(error.contains("missing"), "{error}");
    }
}
