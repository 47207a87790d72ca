//! Archives: a topic recorded as Parquet files, and all that one does with them but reading them in a job.
//!
//! ```text
//!   topic ──record──▶ <archives>/<topic>/part-<partition>-<first offset>-<last offset>.parquet ──to-kafka──▶ topic
//!   files ──import──▶                   /.archive/   books and locks: whose archive it is,
//!                                                    what is to be published or removed
//!                        ls, info, verify look; decode keeps columns beside the payloads; trim removes what is old
//! ```
//!
//! What is in the folder says how far it is: a file has its name only when it is whole and safe, and the name says from which offset to
//! which. So a recorder that was killed goes on behind the last file of each partition, and records nothing twice. How files are laid
//! out and read stands in `operators/src/source/archive.rs`.
//!
//! | file | what is in it |
//! |---|---|
//! | `record.rs` | topic → archive; `record/begin.rs` finds where to go on, and whether the topic is still the same; `record/several.rs` records several at once |
//! | `play.rs` | archive → topic, in transactions; `play/feed.rs` merges the splits by time |
//! | `import.rs` | files of events → archive; `import/rows.rs` reads them, `import/target.rs` makes it all or nothing |
//! | `decode.rs` | payloads as columns, beforehand |
//! | `look.rs` | what archives hold |
//! | `verify.rs` | whether it is sound |
//! | `trim.rs` | away with what is old |
//! | `holder.rs` | who may write to an archive, and what a crash has left |
//! | `books.rs` | small files of JSON, replaced as a whole |

pub(crate) mod books;
mod decode;
mod error;
mod holder;
mod import;
mod look;
mod play;
mod record;
mod trim;
mod verify;

pub use self::books::BookError;
pub use self::decode::{DecodeSummary, decode};
pub use self::error::ArchiveError;
use self::error::{unreadable, unwritable};
pub use self::import::{EpochUnit, ImportOptions, ImportSummary, InputFormat, import};
pub use self::look::{ArchiveInfo, DecodedContent, Gap, SplitContent, archives_in, info};
pub use self::play::{PlayOptions, PlaySummary, play};
pub use self::record::{Lost, Place, RecordOptions, RecordSummary, record, record_all};
pub use self::trim::{TrimOptions, TrimSummary, trim};
pub use self::verify::{Finding, VerifySummary, verify};

use std::path::Path;

use thalweg_operators::source::archive::{ArchiveConfig, ArchivePlan, list};

/// The folder of books in an archive. Readers of an archive leave out names that begin with a dot.
const BOOKS: &str = ".archive";

/// Whether an archive was recorded or imported by these commands, so that who adds to it is one of them.
pub(crate) fn is_held_by_commands(folder: &Path) -> bool {
    [record::BOOK, import::BOOK].iter().any(|book| folder.join(BOOKS).join(book).exists())
}

/// What an archive holds; `None`: there are no files yet.
fn resolve(folder: &Path, headers: bool) -> Result<Option<ArchivePlan>, ArchiveError> {
    if !folder.exists() || list(folder)?.is_empty() {
        return Ok(None);
    }
    let config = ArchiveConfig {
        source_name: "archive".to_owned(),
        path: folder.to_owned(),
        topic: None,
        headers,
        decoded: None,
    };
    Ok(Some(config.resolve()?))
}

/// What an archive holds, which has to be one.
fn resolve_existing(folder: &Path, headers: bool) -> Result<ArchivePlan, ArchiveError> {
    let refused = |detail: &str, hint| ArchiveError::Folder {
        folder: folder.display().to_string(),
        detail: detail.to_owned(),
        hint,
    };
    if !folder.exists() {
        return Err(refused("does not exist", "name the folder of a recorded topic"));
    }
    let archives = if folder.is_dir() { archives_in(folder)? } else { Vec::new() };
    if archives.iter().any(|found| found != folder) {
        return Err(refused(
            &format!("holds archives, and is none itself; name one of them ({})", names(&archives)),
            "`thalweg archive ls` says what each holds",
        ));
    }
    let hint = "name the folder of a recorded topic";
    resolve(folder, headers)?.ok_or_else(|| refused("holds no file ending in .parquet", hint))
}

/// Folders for people, of many the first.
fn names(folders: &[std::path::PathBuf]) -> String {
    const NAMES_MAX: usize = 5;
    let mut text = folders
        .iter()
        .take(NAMES_MAX)
        .map(|folder| folder.display().to_string())
        .collect::<Vec<_>>()
        .join(", ");
    if folders.len() > NAMES_MAX {
        text.push_str(&format!(", … ({} more)", folders.len() - NAMES_MAX));
    }
    text
}
