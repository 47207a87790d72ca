//! Decodes archives beforehand: the columns that a pipeline's JSON sources need lie beside the payloads then, and every run and backtest
//! with the same schema reads them instead (`operators/src/source/archive/decoded.rs`).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use thalweg_engine::control::Control;
use thalweg_operators::source::archive::{
    DECODED_FOLDER, DecodeError, DecodeSummary as OfFile, UNFINISHED, decode_file, fingerprint, list,
};
use thalweg_schemas::{Format, Schema};

use super::{ArchiveError, books, resolve_existing, unreadable, unwritable};
use crate::plan::{Connector, Plan};

/// In the folder of decoded columns: one command decodes at a time.
const LOCK: &str = ".lock";

/// What became of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DecodeSummary {
    /// The archive.
    pub folder: String,
    /// The pipeline's source that reads it.
    pub source: String,
    /// The schema's fingerprint, which names the folder of the columns.
    pub fingerprint: String,
    /// Files of the archive.
    pub files: usize,
    /// Those that were decoded now.
    pub decoded: usize,
    /// Those that had been decoded before.
    pub there: usize,
    /// Those that hold several partitions, or row groups without rows: they are read record by record.
    pub mixed: usize,
    /// Records decoded now.
    pub rows: u64,
    /// Those of them that are no rows of the schema: a job reads them again, and rejects them.
    pub refused: u64,
    /// The size of what was written, bytes.
    pub bytes: u64,
    /// Decoded columns that were removed, because the file that they belonged to is gone.
    pub removed: usize,
    /// Whether it was stopped before the end.
    pub stopped: bool,
}

/// The archives that the JSON sources of a pipeline read, `archives` being the folder in which recorded topics lie.
///
/// # Errors
/// [`ArchiveError::Option`] where there is no folder for the topics, or nothing to decode.
fn archives_of(
    plan: &Plan,
    archives: Option<&Path>,
) -> Result<Vec<(String, PathBuf, Arc<Schema>)>, ArchiveError> {
    let mut found = Vec::new();
    for source in plan.sources.iter().filter(|source| source.format == Format::Json) {
        let folders = match (&source.connector, archives) {
            (Connector::Archive { path }, _) => vec![path.clone()],
            (Connector::Kafka(kafka), Some(archives)) => {
                kafka.topics.iter().map(|topic| archives.join(topic)).collect()
            }
            (Connector::Kafka(_), None) => {
                return Err(ArchiveError::Option {
                    option: "--archives",
                    detail: format!("is missing: the source {} reads topics", source.name),
                    hint: "name the folder in which they are recorded".to_owned(),
                });
            }
            (Connector::Given(_), _) => Vec::new(),
        };
        for folder in folders {
            found.push((source.name.clone(), folder, Arc::clone(&source.schema)));
        }
    }
    if found.is_empty() {
        return Err(ArchiveError::Option {
            option: "PIPELINE",
            detail: format!("{} has no source of format json", plan.name),
            hint: "raw payloads need no decoding".to_owned(),
        });
    }
    Ok(found)
}

/// Decodes what the pipeline's sources read, as far as it was not. `advance` hears of files: (files more, files in all).
///
/// # Errors
/// The first file that can't be read or written; files that were decoded before stay.
pub fn decode(
    plan: &Plan,
    archives: Option<&Path>,
    control: &Control,
    advance: &(dyn Fn(u64, u64) + Sync),
) -> Result<Vec<DecodeSummary>, ArchiveError> {
    let mut summaries: Vec<DecodeSummary> = Vec::new();
    for (source, folder, schema) in archives_of(plan, archives)? {
        let (print, name) = (fingerprint(&schema), folder.display().to_string());
        if summaries.iter().any(|known| known.folder == name && known.fingerprint == print) {
            continue;
        }
        resolve_existing(&folder, false)?;
        let columns = folder.join(DECODED_FOLDER);
        fs::create_dir_all(&columns).map_err(|error| unwritable(&columns, error))?;
        let busy = || ArchiveError::Busy { folder: folder.display().to_string() };
        let _lock = books::lock(&columns.join(LOCK))?.ok_or_else(busy)?;
        let files = list(&folder)?;
        let mut summary = DecodeSummary {
            folder: name,
            source,
            fingerprint: print,
            files: files.len(),
            decoded: 0,
            there: 0,
            mixed: 0,
            rows: 0,
            refused: 0,
            bytes: 0,
            removed: remove_orphans(&files)?,
            stopped: false,
        };
        for outcome in decode_files(&files, &schema, control, advance) {
            match outcome? {
                OfFile::Decoded { rows, refused, bytes } => {
                    summary.decoded += 1;
                    summary.rows += rows;
                    summary.refused += refused;
                    summary.bytes += bytes;
                }
                OfFile::There => summary.there += 1,
                OfFile::Mixed => summary.mixed += 1,
                OfFile::Gone => summary.files -= 1,
                OfFile::Stopped => summary.stopped = true,
            }
        }
        let stopped = summary.stopped || control.stop_asked();
        summaries.push(DecodeSummary { stopped, ..summary });
        if stopped {
            break;
        }
    }
    Ok(summaries)
}

/// What became of each file that was begun, in no order.
fn decode_files(
    files: &[PathBuf],
    schema: &Arc<Schema>,
    control: &Control,
    advance: &(dyn Fn(u64, u64) + Sync),
) -> Vec<Result<OfFile, DecodeError>> {
    let next = AtomicUsize::new(0);
    let outcomes: Mutex<Vec<Result<OfFile, DecodeError>>> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(files.len());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !control.stop_asked() {
                    let Some(path) = files.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
                    let outcome = decode_file(path, schema, &|| control.stop_asked());
                    let failed = outcome.is_err();
                    // A poisoned lock is another thread's panic, which the scope passes on.
                    outcomes.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
                    if failed {
                        next.store(files.len(), Ordering::Relaxed);
                    }
                    advance(1, files.len() as u64);
                }
            });
        }
    });
    outcomes.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Removes decoded columns of files that are not there any more, and what a decoder that was killed has left. Gives the number of the
/// former.
fn remove_orphans(files: &[PathBuf]) -> Result<usize, ArchiveError> {
    let folders: BTreeSet<&Path> = files.iter().filter_map(|file| file.parent()).collect();
    let mut removed = 0;
    for folder in folders {
        let decoded = folder.join(DECODED_FOLDER);
        if !decoded.is_dir() {
            continue;
        }
        for of_schema in entries(&decoded)?.into_iter().filter(|path| path.is_dir()) {
            for path in entries(&of_schema)? {
                let name = path.file_name().unwrap_or_default();
                let is_left_over = name.to_string_lossy().ends_with(UNFINISHED);
                let is_columns = path.extension().is_some_and(|extension| extension == "parquet");
                let is_orphan = is_columns && !folder.join(name).exists();
                if is_left_over || is_orphan {
                    remove(&path)?;
                    removed += usize::from(is_orphan);
                }
            }
        }
    }
    Ok(removed)
}

/// Removes a file, unless somebody else has.
pub(super) fn remove(path: &Path) -> Result<(), ArchiveError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(ArchiveError::Io { action: "remove", path: path.display().to_string(), source })
        }
        _ => Ok(()),
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, ArchiveError> {
    let failed = |error| unreadable(folder, error);
    fs::read_dir(folder)
        .map_err(failed)?
        .map(|entry| entry.map(|entry| entry.path()).map_err(failed))
        .collect()
}
