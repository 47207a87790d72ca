//! The Delta Lake sink: each checkpoint's files become part of a table in one commit, once.
//!
//! ```text
//!   rows ─▶ DeltaSink ─▶ <folder>/window_date=…/part-….parquet     there, and in no table yet
//!                │ staged by a checkpoint
//!                ▼ its manifest exists
//!           DeltaPublisher ─▶ <folder>/_delta_log/….json           add all files, txn(job and sink, checkpoint), txn(…, generation)
//!                                    │
//!   thalweg query ◀── active_files ──┴──▶ Spark, DuckDB, Python, DataFusion …
//! ```
//!
//! A commit carries the number of its checkpoint as Delta's application transaction, in the same file as the rows' files. So
//! whoever publishes a checkpoint again sees in the table itself that it is there. It carries the run's generation likewise: a run
//! that was replaced finds a newer one, and publishes nothing more, even where the newer run went back to an earlier checkpoint.
//! A commit is an entry of the log, made by create-if-absent, and whoever makes one has read all that came before it.
//!
//! | file | what |
//! |---|---|
//! | `types.rs` | which types a table's columns have, and how rows are brought to them |
//! | `sink.rs` | a worker's part: Parquet files in their final place |
//! | `publisher.rs` | publishing and sweeping |
//! | `table.rs` | a table: opened or made, checked, committed to |
//! | `log.rs` | its log, entry by entry |
//! | `stats.rs` | what a file's footer says of its columns, as Delta wants it |
//! | `reader.rs` | which files belong to a table now, for queries |

mod error;
mod log;
mod publisher;
mod reader;
mod sink;
mod stats;
mod table;
mod types;

pub use error::DeltaError;
pub use publisher::{DeltaConfig, DeltaPublisher};
pub use reader::{ActiveFile, DeltaFiles, active_files, is_table};
pub use sink::DeltaSink;
pub use types::{name_fits, written_schema, written_type};

use thalweg_operators::sink::staging;

// The checkpoint of a file that a job wrote; `None`: it is somebody else's. Others name theirs `part-00001-<uuid>-c000.parquet`.
fn own_checkpoint(path: &str) -> Option<u64> {
    let name = path.rsplit('/').next()?;
    let parts: Vec<&str> = name.strip_suffix(".parquet")?.strip_prefix("part-")?.split('-').collect();
    let digits_min = [10, 1, 3, 3];
    let is_own = parts.len() == digits_min.len()
        && parts.iter().zip(digits_min).all(|(part, least)| {
            part.len() >= least && part.bytes().all(|character| character.is_ascii_digit())
        });
    if is_own { staging::checkpoint_of(name) } else { None }
}

// Runs a future of Delta's library to its end, on threads of its own: the caller may itself be a future's thread, where one can't
// wait for another. The threads go with it.
fn blocking<T: Send>(future: impl AsyncFnOnce() -> Result<T, DeltaError> + Send) -> Result<T, DeltaError> {
    std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            runtime.map_err(DeltaError::Threads)?.block_on(future())
        });
        run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests {
    use thalweg_operators::sink::staging::Staging;

    use super::*;

    #[test]
    fn files_of_jobs_are_told_from_those_of_others() {
        let staging = Staging { generation: 12, worker: 3, in_place: true };
        let name = staging.file_name(7, 1234, "parquet");
        assert_eq!(own_checkpoint(&format!("a=1/{name}")), Some(7));
        for other in [
            "part-00001-cb6b150b-30b8-4662-ad28-ff32ddab96d2-c000.snappy.parquet",
            "part-00001-3f2a-4662-ad28-c000.parquet",
            "part-0000000001-1-000-000.jsonl",
            "part-0000000001-1-000.parquet",
            "0000000001-1-000-000.parquet",
        ] {
            assert_eq!(own_checkpoint(other), None, "{other}");
        }
    }
}
