//! Which folders are tables: an output folder describes itself by its names.
//!
//! ```text
//!   <output>/<sink>/…/part-….parquet                  sink
//!   <outputs>/<pipeline>/<sink>/…/part-….parquet      pipeline.sink, and sink where only one pipeline has it
//!   <archives>/<topic>/part-….parquet                 "topic", quoted where SQL wants it
//!   <sink>/…/part-….parquet                           the folder itself, by its own name
//! ```
//!
//! A sink is told from a pipeline by its files: they lie in it, or in hive folders (`column=value`) below it. A folder with a log of
//! Delta Lake's in it is a Delta table, and the log says what its files are.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::QueryError;

/// What a table's files hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// Parquet files, `*.parquet`.
    Parquet,
    /// Lines of JSON, `*.jsonl`.
    JsonLines,
    /// A Delta table's Parquet files: those that its log names.
    Delta,
}

impl FileKind {
    /// The end of the files' names. What a sink still writes ends otherwise (`.part-….parquet.inprogress`).
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            FileKind::Parquet | FileKind::Delta => ".parquet",
            FileKind::JsonLines => ".jsonl",
        }
    }
}

/// A folder that is a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableFolder {
    /// The output (of a pipeline) it belongs to, where the folder holds several.
    pub(crate) output: Option<String>,
    /// The sink's or topic's name.
    pub(crate) name: String,
    /// Where the files are, at any depth.
    pub(crate) path: PathBuf,
    /// Which files count.
    pub(crate) kind: FileKind,
}

impl TableFolder {
    /// The full name as SQL writes it.
    pub(crate) fn sql_name(&self) -> String {
        match &self.output {
            Some(output) => format!("{}.{}", quoted(output), quoted(&self.name)),
            None => quoted(&self.name),
        }
    }
}

/// `name` as SQL writes it: in quotes, unless it is lower-case letters, digits and underscores.
pub(crate) fn quoted(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// What a folder holds.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Its tables, by name.
    pub(crate) tables: Vec<TableFolder>,
    /// Folders that may become tables: (output, name).
    empty: Vec<(Option<String>, String)>,
}

impl Found {
    /// The table called `name`, in `output` or, where that is `None`, by its bare name.
    ///
    /// # Errors
    /// No such table, or several. `folder` is named in the message.
    pub(crate) fn table(
        &self,
        output: Option<&str>,
        name: &str,
        folder: &Path,
    ) -> Result<&TableFolder, QueryError> {
        let named =
            |of: &Option<String>, is: &str| is == name && (output.is_none() || output == of.as_deref());
        let mut matching = self.tables.iter().filter(|table| named(&table.output, &table.name));
        let full_name = output.map_or_else(|| name.to_owned(), |output| format!("{output}.{name}"));
        match (matching.next(), matching.next()) {
            (Some(table), None) => Ok(table),
            (None, _) => Err(QueryError::UnknownTable {
                name: full_name,
                folder: folder.to_owned(),
                tables: self.tables.iter().map(TableFolder::sql_name).collect(),
                empty: self.empty.iter().any(|(of, is)| named(of, is)),
            }),
            (Some(_), Some(_)) => Err(QueryError::AmbiguousTable {
                name: full_name,
                candidates: self
                    .tables
                    .iter()
                    .filter(|table| table.name == name)
                    .map(TableFolder::sql_name)
                    .collect(),
            }),
        }
    }
}

/// Finds the tables in `root`.
///
/// # Errors
/// `root` is not there, or something in it can't be read.
pub(crate) fn discover(root: &Path) -> Result<Found, QueryError> {
    if !root.is_dir() {
        return Err(QueryError::NoFolder(root.to_owned()));
    }
    let mut found = Found::default();
    if let Some(kind) = kind_of(root, Depth::HiveFolders)? {
        // `.` and `..` have names of their own.
        let resolved =
            root.canonicalize().map_err(|source| QueryError::Folder { path: root.to_owned(), source })?;
        let name = resolved
            .file_name()
            .map_or_else(|| "data".to_owned(), |name| name.to_string_lossy().into_owned());
        found.tables.push(TableFolder { output: None, name, path: root.to_owned(), kind });
        return Ok(found);
    }
    for (name, path) in sub_folders(root)? {
        if let Some(kind) = kind_of(&path, Depth::HiveFolders)? {
            found.tables.push(TableFolder { output: None, name, path, kind });
            continue;
        }
        let sinks = sub_folders(&path)?;
        if sinks.is_empty() {
            found.empty.push((None, name.clone()));
        }
        for (sink, path) in sinks {
            match kind_of(&path, Depth::All)? {
                Some(kind) => {
                    found.tables.push(TableFolder { output: Some(name.clone()), name: sink, path, kind })
                }
                None => found.empty.push((Some(name.clone()), sink)),
            }
        }
    }
    Ok(found)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    HiveFolders,
    All,
}

// What a folder is a table of; `None`: it is none.
fn kind_of(folder: &Path, depth: Depth) -> Result<Option<FileKind>, QueryError> {
    if thalweg_delta::is_table(folder) { Ok(Some(FileKind::Delta)) } else { files_in(folder, depth) }
}

// Which files lie in or below a folder. Stops at the first Parquet file; Parquet wins over JSON lines.
fn files_in(folder: &Path, depth: Depth) -> Result<Option<FileKind>, QueryError> {
    let (mut folders, mut found) = (Vec::new(), None);
    for (name, path, metadata) in entries(folder)? {
        if metadata.is_dir() {
            if depth == Depth::All || name.contains('=') {
                folders.push(path);
            }
        } else if metadata.len() > 0 && name.ends_with(FileKind::Parquet.suffix()) {
            return Ok(Some(FileKind::Parquet));
        } else if metadata.len() > 0 && name.ends_with(FileKind::JsonLines.suffix()) {
            found = Some(FileKind::JsonLines);
        }
    }
    for folder in folders {
        match files_in(&folder, depth)? {
            Some(FileKind::JsonLines) => found = Some(FileKind::JsonLines),
            Some(kind) => return Ok(Some(kind)),
            None => {}
        }
    }
    Ok(found)
}

/// Number of files and their bytes, of one kind, in and below `folder`. Blocks.
///
/// # Errors
/// A folder can't be read, or a Delta table's log can't.
pub(crate) fn size_of(folder: &Path, kind: FileKind) -> Result<(u64, u64), QueryError> {
    let mut sum = (0, 0);
    if kind == FileKind::Delta {
        let files = thalweg_delta::active_files(folder)?.files;
        return Ok((files.len() as u64, files.iter().map(|file| file.bytes).sum()));
    }
    for (name, path, metadata) in entries(folder)? {
        if metadata.is_dir() {
            let (files, bytes) = size_of(&path, kind)?;
            sum = (sum.0 + files, sum.1 + bytes);
        } else if name.ends_with(kind.suffix()) {
            sum = (sum.0 + 1, sum.1 + metadata.len());
        }
    }
    Ok(sum)
}

fn sub_folders(folder: &Path) -> Result<Vec<(String, PathBuf)>, QueryError> {
    let mut folders: Vec<(String, PathBuf)> = entries(folder)?
        .into_iter()
        .filter(|(_, _, metadata)| metadata.is_dir())
        .map(|(name, path, _)| (name, path))
        .collect();
    folders.sort();
    Ok(folders)
}

// What is in a folder, hidden names left out. What a running job renames or removes in the meantime is not there.
fn entries(folder: &Path) -> Result<Vec<(String, PathBuf, fs::Metadata)>, QueryError> {
    let gone = |error: &io::Error| error.kind() == ErrorKind::NotFound;
    let failed = |path: &Path, source| QueryError::Folder { path: path.to_owned(), source };
    let listing = match fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if gone(&error) => return Ok(Vec::new()),
        Err(error) => return Err(failed(folder, error)),
    };
    let mut entries = Vec::new();
    for entry in listing {
        let path = entry.map_err(|error| failed(folder, error))?.path();
        // A name that is no UTF-8 can't be written in SQL.
        let Some(name) = path.file_name().and_then(|name| name.to_str()).map(str::to_owned) else { continue };
        if name.starts_with('.') {
            continue;
        }
        match path.metadata() {
            Ok(metadata) => entries.push((name, path, metadata)),
            Err(error) if gone(&error) => {}
            Err(error) => return Err(failed(&path, error)),
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        root
    }

    fn names(files: &[&str]) -> Vec<String> {
        let root = folder(files);
        discover(root.path()).unwrap().tables.iter().map(TableFolder::sql_name).collect()
    }

    #[test]
    fn sinks_pipelines_and_topics_are_told_apart_by_their_files() {
        let one_output =
            ["alerts/window_date=2026-01-15/part-0.parquet", "_late/part-0.parquet", "look/0.jsonl"];
        assert_eq!(names(&one_output), ["_late", "alerts", "look"]);
        let several = ["a/alerts/d=1/part.parquet", "b/alerts/part.parquet", "b/_late/x/part.parquet"];
        assert_eq!(names(&several), ["a.alerts", "b._late", "b.alerts"]);
        assert_eq!(names(&["tool-calls/part-00000-00000000000000000000.parquet"]), ["\"tool-calls\""]);
        let delta = ["alerts/_delta_log/0.json", "alerts/d=1/part-0.parquet", "b/empty/_delta_log/0.json"];
        assert_eq!(names(&delta), ["alerts", "b.empty"]);
        let unfinished =
            ["alerts/.part-0.parquet.inprogress", "b/part-0.parquet.inprogress", ".hidden/x.parquet"];
        assert_eq!(names(&unfinished), [""; 0]);
    }

    #[test]
    fn a_sinks_own_folder_is_a_table_too() {
        let root = folder(&["alerts/d=1/part.parquet"]);
        let found = discover(&root.path().join("alerts")).unwrap();
        assert_eq!(found.tables[0].sql_name(), "alerts");
    }

    #[test]
    fn a_bare_name_must_be_unique() {
        let root = folder(&["a/alerts/1.parquet", "b/alerts/1.parquet", "b/sessions/1.parquet"]);
        fs::create_dir(root.path().join("b/waiting")).unwrap();
        let found = discover(root.path()).unwrap();
        let table = |output, name| found.table(output, name, Path::new("DIR"));
        assert_eq!(table(None, "sessions").unwrap().output.as_deref(), Some("b"));
        assert_eq!(table(Some("a"), "alerts").unwrap().path, root.path().join("a/alerts"));
        let ambiguous = table(None, "alerts").unwrap_err().to_string();
        assert_eq!(ambiguous, "table \"alerts\" is in several outputs: write a.alerts or b.alerts");
        let unknown = table(None, "sesions").unwrap_err().to_string();
        assert_eq!(
            unknown,
            "no table \"sesions\" in DIR; there are: a.alerts, b.alerts, b.sessions; did you mean b.sessions?"
        );
        let empty = table(Some("b"), "waiting").unwrap_err().to_string();
        assert!(empty.starts_with("table \"b.waiting\" has no file yet in DIR"), "{empty}");
    }
}
