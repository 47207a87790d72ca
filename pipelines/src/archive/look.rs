//! What archives hold, as far as the footers of their files say: nothing else is read.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use thalweg_operators::source::archive::{FileContent, decoded_of, list, schema_of};
use thalweg_schemas::time::format_rfc3339;

use super::record::{Lost, lost};
use super::{ArchiveError, resolve_existing, unreadable};

/// What an archive holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ArchiveInfo {
    /// The topic: the folder's name.
    pub topic: String,
    /// The folder.
    pub folder: String,
    /// Records.
    pub rows: u64,
    /// Files.
    pub files: usize,
    /// Their size in bytes.
    pub file_bytes: u64,
    /// The earliest timestamp of a record, RFC 3339.
    pub earliest: Option<String>,
    /// And the latest.
    pub latest: Option<String>,
    /// Each split, by partition.
    pub splits: Vec<SplitContent>,
    /// Offsets that were deleted before they were recorded.
    pub lost: Vec<Lost>,
    /// Decoded columns beside its files, by schema.
    pub decoded: Vec<DecodedContent>,
}

/// Columns that were decoded with one schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DecodedContent {
    /// The schema's fingerprint.
    pub fingerprint: String,
    /// Its fields.
    pub fields: Vec<String>,
    /// Files of the archive that have such columns.
    pub files: usize,
    /// The size of the columns in bytes.
    pub bytes: u64,
}

/// What an archive holds of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SplitContent {
    /// The partition.
    pub partition: i32,
    /// The offset of the first record.
    pub first_offset: i64,
    /// And that of the last.
    pub last_offset: i64,
    /// Records.
    pub rows: u64,
    /// Offsets between first and last that have no record: compacted, aborted, a transaction's own, lost.
    pub missing: u64,
    /// Where they are, as far as footers say.
    pub gaps: Vec<Gap>,
    /// The earliest timestamp of a record, RFC 3339.
    pub earliest: Option<String>,
    /// And the latest.
    pub latest: Option<String>,
    /// Files that hold records of it.
    pub files: usize,
    /// Row groups in them.
    pub row_groups: usize,
    /// Their size in bytes; of files with several partitions a share by rows.
    pub file_bytes: u64,
}

/// Offsets without records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// They lie from this offset on …
    pub from: i64,
    /// … up to this one.
    pub to: i64,
    /// So many of these: all between two files, some within one.
    pub missing: u64,
}

/// The folders in a folder that hold archives, sorted; or the folder itself where it is one, which may have its files in folders such as
/// `date=2026-05-01`.
///
/// # Errors
/// [`ArchiveError::Io`], [`ArchiveError::Source`] where a folder can't be read.
pub fn archives_in(folder: &Path) -> Result<Vec<PathBuf>, ArchiveError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| unreadable(folder, error))? {
        let path = entry.map_err(|error| unreadable(folder, error))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with(['.', '_']) {
            continue;
        }
        let is_of_this_one = path.is_file() && name.ends_with(".parquet");
        let is_archive = path.is_dir() && !list(&path)?.is_empty();
        if is_of_this_one || (is_archive && name.contains('=')) {
            return Ok(vec![folder.to_owned()]);
        }
        if is_archive {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// What an archive holds.
///
/// # Errors
/// [`ArchiveError::Folder`] where it is none, [`ArchiveError::Source`] where a file is damaged or two hold the same offsets.
pub fn info(folder: &Path) -> Result<ArchiveInfo, ArchiveError> {
    let plan = resolve_existing(folder, false)?;
    let topic = plan.splits().first().map(|split| split.topic.to_string()).unwrap_or_default();
    let contents = plan.contents()?;
    let mut rows_of: BTreeMap<&Path, (u64, u64)> = BTreeMap::new();
    for content in &contents {
        let (rows, _) = rows_of.entry(&content.path).or_insert((0, content.file_bytes));
        *rows += content.rows;
    }
    let mut splits: Vec<SplitContent> = Vec::new();
    let mut times: Vec<Option<(i64, i64)>> = Vec::new();
    for of_one in contents.chunk_by(|a, b| a.partition == b.partition) {
        let of_one: Vec<&FileContent> = of_one.iter().filter(|content| content.rows > 0).collect();
        let (Some(first), Some(last)) = (of_one.first(), of_one.last()) else { continue };
        let rows: u64 = of_one.iter().map(|content| content.rows).sum();
        let share = |content: &&FileContent| {
            let (all, bytes) = rows_of.get(content.path.as_path()).copied().unwrap_or((1, 0));
            u64::try_from(u128::from(bytes) * u128::from(content.rows) / u128::from(all.max(1)))
                .unwrap_or(bytes)
        };
        let gaps = gaps(&of_one);
        let between = of_one.iter().filter_map(|content| content.timestamps_us).reduce(wider);
        times.push(between);
        splits.push(SplitContent {
            partition: first.partition,
            first_offset: first.first_offset,
            last_offset: last.last_offset,
            rows,
            missing: gaps.iter().map(|gap| gap.missing).sum(),
            gaps,
            earliest: between.map(|(first, _)| format_rfc3339(first)),
            latest: between.map(|(_, last)| format_rfc3339(last)),
            files: of_one.len(),
            row_groups: of_one.iter().map(|content| content.row_groups).sum(),
            file_bytes: of_one.iter().map(share).sum(),
        });
    }
    let between = times.into_iter().flatten().reduce(wider);
    Ok(ArchiveInfo {
        topic,
        folder: folder.display().to_string(),
        rows: plan.rows(),
        files: plan.files(),
        file_bytes: rows_of.values().map(|(_, bytes)| bytes).sum(),
        earliest: between.map(|(first, _)| format_rfc3339(first)),
        latest: between.map(|(_, last)| format_rfc3339(last)),
        splits,
        lost: lost(folder)?,
        decoded: decoded(rows_of.keys().copied()),
    })
}

/// The decoded columns of some files.
fn decoded<'a>(files: impl Iterator<Item = &'a Path>) -> Vec<DecodedContent> {
    let mut found: BTreeMap<String, DecodedContent> = BTreeMap::new();
    for path in files.flat_map(decoded_of) {
        let fingerprint = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
        let content = found.entry(fingerprint.to_string()).or_insert_with(|| DecodedContent {
            fingerprint: fingerprint.to_string(),
            // What can't be read is `verify`'s to tell.
            fields: schema_of(&path)
                .map(|schema| schema.fields.into_iter().map(|field| field.name).collect())
                .unwrap_or_default(),
            files: 0,
            bytes: 0,
        });
        // What is removed meanwhile is not there.
        if let Ok(metadata) = fs::metadata(&path) {
            content.files += 1;
            content.bytes += metadata.len();
        }
    }
    found.into_values().collect()
}

fn wider(a: (i64, i64), b: (i64, i64)) -> (i64, i64) {
    (a.0.min(b.0), a.1.max(b.1))
}

/// Gaps within the files of a partition, and between them.
fn gaps(files: &[&FileContent]) -> Vec<Gap> {
    let mut found = Vec::new();
    let mut next = files.first().map_or(0, |first| first.first_offset);
    for file in files {
        let mut gap = |from: i64, to: i64, rows: u64| {
            let missing = (i128::from(to) - i128::from(from) + 1 - i128::from(rows)).max(0);
            if missing > 0 {
                found.push(Gap { from, to, missing: u64::try_from(missing).unwrap_or(u64::MAX) });
            }
        };
        gap(next, file.first_offset - 1, 0);
        gap(file.first_offset, file.last_offset, file.rows);
        next = file.last_offset.saturating_add(1);
    }
    found
}

#[cfg(test)]
mod tests {
    use thalweg_operators::source::archive::{ArchiveOptions, ArchiveWriter};

    use super::*;

    #[test]
    fn offsets_times_and_gaps_are_those_of_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let options = ArchiveOptions { file_bytes_max: 1, ..ArchiveOptions::default() };
        for (partition, offsets) in [(3, vec![10, 11, 13]), (3, vec![20, 21]), (7, vec![0])] {
            let mut writer = ArchiveWriter::new(&path, options.clone()).unwrap();
            for offset in offsets {
                writer.push(partition, offset, 1000 * offset, None, Some(b"x"), &[]).unwrap();
            }
            writer.finish().unwrap();
        }
        let found = info(&path).unwrap();
        assert_eq!((found.topic.as_str(), found.rows, found.files, found.splits.len()), ("events", 6, 3, 2));
        let split = &found.splits[0];
        assert_eq!((split.partition, split.first_offset, split.last_offset, split.rows), (3, 10, 21, 5));
        let gap = |from, to, missing| Gap { from, to, missing };
        assert_eq!((split.missing, &split.gaps), (7, &vec![gap(10, 13, 1), gap(14, 19, 6)]));
        assert_eq!(split.earliest.as_deref(), Some("1970-01-01T00:00:10Z"));
        assert_eq!(found.latest.as_deref(), Some("1970-01-01T00:00:21Z"));
        assert_eq!(found.splits.iter().map(|split| split.file_bytes).sum::<u64>(), found.file_bytes);
        assert_eq!(archives_in(folder.path()).unwrap(), std::slice::from_ref(&path));
        assert_eq!(archives_in(&path).unwrap(), std::slice::from_ref(&path));
        let error = info(folder.path()).unwrap_err().to_string();
        assert!(error.contains("holds archives, and is none itself; name one of them"), "{error}");
        let dated = folder.path().join("events/date=1970-01-01");
        fs::create_dir(&dated).unwrap();
        for entry in list(&path).unwrap() {
            fs::rename(&entry, dated.join(entry.file_name().unwrap())).unwrap();
        }
        assert_eq!(archives_in(&path).unwrap(), std::slice::from_ref(&path));
        assert_eq!(info(&path).unwrap().rows, 6);
        let error = info(folder.path().join("nothing").as_path()).unwrap_err().to_string();
        assert!(error.contains("nothing does not exist; name the folder"), "{error}");
    }
}
