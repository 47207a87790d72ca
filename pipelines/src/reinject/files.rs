//! Which files of refused rows there are, and which of them count.
//!
//! ```text
//!   <output>/_rejected/part-<checkpoint>-<generation>-<worker>-<number>.parquet    published
//!   <output>/_rejected/.staging/<generation>/part-….parquet                        not yet, or never
//! ```
//!
//! A checkpoint is published file by file. It counts when one of its files is seen published, and afterwards none is seen staged: all
//! were staged before the first was published, and each goes from there to here.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use thalweg_engine::shard::hash_key;
use thalweg_operators::sink::staging::STAGING;
use thalweg_operators::source::archive::is_sound;
use thalweg_operators::source::refused;

use super::ledger::Sent;
use super::{Refused, ReinjectError, unreadable};
use crate::lower::sinks::{LATE, REJECTED};
use crate::run::CHECKPOINTS;

const BATCH_ROWS: usize = 1024;

/// A file of refused rows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RefusedFile {
    /// Checkpoint, generation, worker, number: files of a split ascend by them, as its offsets do.
    place: [u64; 4],
    path: PathBuf,
    bytes: u64,
}

/// Some checkpoints that are sent as a whole.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) files: Vec<RefusedFile>,
    pub(super) rows: u64,
    /// The first checkpoint.
    pub(super) first: u64,
    /// What can be said when they are sent.
    pub(super) sent: Sent,
}

/// A folder of refused rows.
#[derive(Debug)]
pub(super) struct RefusedFolder {
    pub(super) path: PathBuf,
    refused: Refused,
    /// The files of each checkpoint that counts, sorted.
    checkpoints: BTreeMap<u64, Vec<RefusedFile>>,
    /// The first checkpoint that is not published as a whole.
    pub(super) unpublished: Option<u64>,
}

/// The folder as the system calls it, if a job has written there.
pub(super) fn output_folder(folder: &Path) -> Result<PathBuf, ReinjectError> {
    let not_an_output =
        |hint: String| ReinjectError::NotAnOutput { folder: folder.display().to_string(), hint };
    let Ok(resolved) = folder.canonicalize() else { return Err(not_an_output(String::new())) };
    let is_output =
        |folder: &Path| [REJECTED, LATE, CHECKPOINTS].iter().any(|name| folder.join(name).is_dir());
    if is_output(&resolved) {
        return Ok(resolved);
    }
    let entries = fs::read_dir(&resolved).map_err(|error| unreadable(folder, error))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok().filter(|entry| is_output(&entry.path())))
        .map(|entry| folder.join(entry.file_name()).display().to_string())
        .collect();
    names.sort();
    let hint = match &names[..] {
        [] => ": that of a job that refused rows holds a folder _rejected or _late".to_owned(),
        names => format!(", such as {}", names.join(", ")),
    };
    Err(not_an_output(hint))
}

impl RefusedFolder {
    /// Looks at what there is now; a job may be writing.
    pub(super) fn look(output: &Path, refused: Refused) -> Result<RefusedFolder, ReinjectError> {
        let path = output.join(refused.folder());
        let before = published(&path)?;
        let staged = staged(&path)?;
        let mut checkpoints: BTreeMap<u64, Vec<RefusedFile>> = BTreeMap::new();
        for file in published(&path)? {
            checkpoints.entry(file.place[0]).or_default().push(file);
        }
        let seen = |number: u64| before.iter().any(|file| file.place[0] == number);
        let is_whole = |number: u64, files: &[RefusedFile]| {
            seen(number) && !files.iter().any(|file| staged.contains(&(number, file.place[1])))
        };
        let unpublished =
            checkpoints.iter().find(|(number, files)| !is_whole(**number, files)).map(|(number, _)| *number);
        if let Some(number) = unpublished {
            checkpoints.split_off(&number);
        }
        checkpoints.values_mut().for_each(|files| files.sort());
        Ok(RefusedFolder { path, refused, checkpoints, unpublished })
    }

    /// What is left to send, up to `rows_at_once` as a whole, except that the rows of a checkpoint are never parted.
    ///
    /// # Errors
    /// When what was sent is not there any more, and what is left can't be known.
    pub(super) fn units_after(
        &self,
        sent: Option<&Sent>,
        rows_at_once: u64,
    ) -> Result<Vec<Unit>, ReinjectError> {
        if let Some(sent) = sent {
            let changed = |how| ReinjectError::Changed {
                folder: self.path.display().to_string(),
                checkpoint: sent.checkpoint,
                how,
            };
            match self.checkpoints.get(&sent.checkpoint) {
                None => return Err(changed("gone")),
                Some(files) if self.sent(sent.checkpoint, files) != *sent => return Err(changed("others")),
                Some(_) => {}
            }
        }
        let after = sent.map_or(0, |sent| sent.checkpoint + 1);
        let mut units: Vec<Unit> = Vec::new();
        for (&number, files) in self.checkpoints.range(after..) {
            let rows = files.iter().map(RefusedFile::rows).sum::<Result<u64, _>>()?;
            let sent = self.sent(number, files);
            match units.last_mut().filter(|unit| unit.rows + rows <= rows_at_once) {
                Some(unit) => {
                    unit.files.extend_from_slice(files);
                    unit.rows += rows;
                    unit.sent = sent;
                }
                None => units.push(Unit { files: files.clone(), rows, first: number, sent }),
            }
        }
        Ok(units)
    }

    fn sent(&self, checkpoint: u64, files: &[RefusedFile]) -> Sent {
        let files: Vec<_> = files.iter().map(|file| (file.place, file.bytes)).collect();
        let files = hash_key(format!("{} {files:?}", self.refused.folder()).as_bytes());
        Sent { checkpoint, files: format!("{files:016x}") }
    }
}

impl RefusedFile {
    fn open(&self) -> Result<ParquetRecordBatchReaderBuilder<File>, ReinjectError> {
        let file = File::open(&self.path).map_err(|error| unreadable(&self.path, error))?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(file)
            .map_err(|error| self.not_refused(error.to_string()))?;
        let columns = |schema: &arrow::datatypes::Schema| -> Vec<_> {
            let column =
                |field: &arrow::datatypes::FieldRef| (field.name().clone(), field.data_type().clone());
            schema.fields().iter().map(column).collect()
        };
        if !is_sound(reader.metadata()) {
            return Err(self.not_refused("it is damaged".to_owned()));
        }
        if columns(reader.schema()) != columns(&refused::schema()) {
            return Err(self.not_refused("it has other columns".to_owned()));
        }
        Ok(reader)
    }

    fn rows(&self) -> Result<u64, ReinjectError> {
        let rows = self.open()?.metadata().file_metadata().num_rows();
        Ok(u64::try_from(rows).unwrap_or(0))
    }

    /// Its rows, in its order.
    pub(super) fn batches(
        &self,
    ) -> Result<impl Iterator<Item = Result<RecordBatch, ReinjectError>>, ReinjectError> {
        let reader = self.open()?.with_batch_size(BATCH_ROWS).build();
        let reader = reader.map_err(|error| self.not_refused(error.to_string()))?;
        Ok(reader.map(|batch| batch.map_err(|error| self.not_refused(error.to_string()))))
    }

    fn not_refused(&self, detail: String) -> ReinjectError {
        ReinjectError::NotRefused { path: self.path.display().to_string(), detail }
    }
}

fn published(folder: &Path) -> Result<Vec<RefusedFile>, ReinjectError> {
    let mut files = Vec::new();
    for entry in entries(folder)? {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || !name.ends_with(".parquet") {
            continue;
        }
        let path = entry.path();
        let not_ours = || ReinjectError::NotRefused {
            path: path.display().to_string(),
            detail: "its name does not say its checkpoint".to_owned(),
        };
        let place = place_of(&name).ok_or_else(not_ours)?;
        let bytes = entry.metadata().map_err(|error| unreadable(&path, error))?.len();
        files.push(RefusedFile { place, path, bytes });
    }
    Ok(files)
}

/// Checkpoints and generations of files that are staged.
fn staged(folder: &Path) -> Result<Vec<(u64, u64)>, ReinjectError> {
    let mut found = Vec::new();
    for generation in entries(&folder.join(STAGING))? {
        for entry in entries(&generation.path())? {
            if let Some([checkpoint, generation, ..]) = place_of(&entry.file_name().to_string_lossy()) {
                found.push((checkpoint, generation));
            }
        }
    }
    Ok(found)
}

// A folder that is not there is empty: folders of staged files come and go.
fn entries(folder: &Path) -> Result<Vec<fs::DirEntry>, ReinjectError> {
    match fs::read_dir(folder).and_then(Iterator::collect) {
        Ok(entries) => Ok(entries),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(unreadable(folder, error)),
    }
}

fn place_of(name: &str) -> Option<[u64; 4]> {
    let numbers = name.strip_prefix("part-")?.strip_suffix(".parquet")?.split('-');
    let numbers = numbers.map(|number| number.parse().ok()).collect::<Option<Vec<u64>>>()?;
    numbers.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    use arrow::array::new_null_array;
    use parquet::arrow::ArrowWriter;

    /// A file with rows of nothing but empty texts.
    fn write(output: &Path, name: &str, rows: usize) {
        let path = output.join(REJECTED).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let schema = std::sync::Arc::new(arrow::datatypes::Schema::new(
            refused::schema()
                .fields()
                .iter()
                .map(|field| field.as_ref().clone().with_nullable(true))
                .collect::<Vec<_>>(),
        ));
        let columns = schema.fields().iter().map(|field| new_null_array(field.data_type(), rows)).collect();
        let batch = RecordBatch::try_new(schema, columns).unwrap();
        let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }

    fn look(output: &Path) -> RefusedFolder {
        RefusedFolder::look(output, Refused::Rejected).unwrap()
    }

    fn checkpoints(units: &[Unit]) -> Vec<(u64, u64, u64)> {
        units.iter().map(|unit| (unit.first, unit.sent.checkpoint, unit.rows)).collect()
    }

    #[test]
    fn whole_checkpoints_are_sent_in_order_and_not_again() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path();
        assert!(look(output).units_after(None, 50_000).unwrap().is_empty());
        for (name, rows) in [
            ("part-0000000003-1-000-000.parquet", 20_000),
            ("part-0000000003-1-010-000.parquet", 20_000),
            ("part-0000000003-1-002-1000.parquet", 1),
            ("part-0000000003-1-002-999.parquet", 1),
            ("part-0000000004-2-000-000.parquet", 5),
            ("part-0000000010-2-000-000.parquet", 60_000),
        ] {
            write(output, name, rows);
        }
        fs::write(output.join(REJECTED).join(".hidden.parquet"), "").unwrap();
        let found = look(output);
        let units = found.units_after(None, 50_000).unwrap();
        assert_eq!(checkpoints(&units), [(3, 4, 40_007), (10, 10, 60_000)]);
        let order: Vec<[u64; 4]> = units[0].files.iter().map(|file| file.place).collect();
        assert_eq!(order, [[3, 1, 0, 0], [3, 1, 2, 999], [3, 1, 2, 1000], [3, 1, 10, 0], [4, 2, 0, 0]]);
        let rows: usize = units[0]
            .files
            .iter()
            .flat_map(|file| file.batches().unwrap())
            .map(|b| b.unwrap().num_rows())
            .sum();
        assert_eq!(rows, 40_007);
        assert_eq!(
            checkpoints(&found.units_after(Some(&units[0].sent), 50_000).unwrap()),
            [(10, 10, 60_000)]
        );
        assert!(found.units_after(Some(&units[1].sent), 50_000).unwrap().is_empty());

        // The job has gone back, and made another checkpoint 10.
        fs::remove_file(output.join(REJECTED).join("part-0000000010-2-000-000.parquet")).unwrap();
        let error = look(output).units_after(Some(&units[1].sent), 50_000).unwrap_err().to_string();
        assert!(
            error.contains("checkpoint 10") && error.contains("are gone") && error.contains("--name"),
            "{error}"
        );
        write(output, "part-0000000010-3-000-000.parquet", 60_000);
        let error = look(output).units_after(Some(&units[1].sent), 50_000).unwrap_err().to_string();
        assert!(error.contains("are others"), "{error}");
    }

    #[test]
    fn a_checkpoint_that_is_not_published_as_a_whole_waits_and_so_do_later_ones() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path();
        for name in [
            "part-0000000001-2-000-000.parquet",
            "part-0000000002-2-000-000.parquet",
            "part-0000000003-2-000-000.parquet",
            ".staging/2/part-0000000002-2-001-000.parquet",
            ".staging/2/part-0000000004-2-001-000.parquet",
            // A zombie's, which comes to nothing.
            ".staging/1/part-0000000001-1-000-000.parquet",
        ] {
            write(output, name, 1);
        }
        let found = look(output);
        assert_eq!(found.unpublished, Some(2));
        assert_eq!(checkpoints(&found.units_after(None, 50_000).unwrap()), [(1, 1, 1)]);
        fs::rename(
            output.join(REJECTED).join(".staging/2/part-0000000002-2-001-000.parquet"),
            output.join(REJECTED).join("part-0000000002-2-001-000.parquet"),
        )
        .unwrap();
        let found = look(output);
        assert_eq!(
            (found.unpublished, checkpoints(&found.units_after(None, 50_000).unwrap())),
            (None, vec![(1, 3, 4)])
        );
    }

    #[test]
    fn what_is_no_output_or_no_file_of_refused_rows_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let outputs = folder.path();
        let error = output_folder(&outputs.join("nothing")).unwrap_err().to_string();
        assert!(error.contains("nothing is not the output folder of a job"), "{error}");
        assert!(
            output_folder(outputs).unwrap_err().to_string().contains("holds a folder _rejected or _late")
        );
        let output = outputs.join("mine");
        write(&output, "part-0000000001-1-000-000.parquet", 1);
        assert!(output_folder(&output).is_ok());
        let error = output_folder(outputs).unwrap_err().to_string();
        assert!(error.contains("such as") && error.contains("mine"), "{error}");

        fs::write(output.join(REJECTED).join("mine.parquet"), "").unwrap();
        let error = RefusedFolder::look(&output, Refused::Rejected).unwrap_err().to_string();
        assert!(error.contains("mine.parquet") && error.contains("name"), "{error}");
        fs::rename(
            output.join(REJECTED).join("mine.parquet"),
            output.join(REJECTED).join("part-0000000002-1-000-000.parquet"),
        )
        .unwrap();
        let error = look(&output).units_after(None, 50_000).unwrap_err().to_string();
        assert!(error.contains("part-0000000002-1-000-000.parquet is not a file of refused rows"), "{error}");
    }
}
