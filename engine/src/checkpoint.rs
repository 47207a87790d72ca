//! Checkpoints: durable, numbered cuts of a job, from which it goes on as if nothing had happened.
//!
//! ```text
//!   ticks of epoch e ───────────────────────────────▶│ cut e │ ticks of epoch e + 1 ──▶
//!   sources   note offsets and watermarks, and wait  │       │ go on when all have taken part in the cut
//!   windows   hand over the groups that changed      │       │
//!   sinks     complete and stage their files         │       │
//!                     │ parts (cuts.rs)                       ▲
//!                     ▼                                       │
//!   coordinator.rs:  state files ─▶ manifest, if absent ─▶ publish ─▶ forget old ones
//!                    (state.rs)     (log.rs)               (Publisher)
//! ```
//!
//! A tick's upper 32 bits are its epoch, and an epoch ends with the checkpoint of its number. So a cut needs no agreement on a
//! tick: whoever wants one raises the tick clock to the next epoch, and every source goes there with its next tick. There it waits
//! until the frontier at all sinks has left the old epoch; then no row of the new one has been read, and each operator has handed
//! over its part, since it does so before it lets go of the old epoch's last tick.
//!
//! A checkpoint exists when its manifest does: one file, written only if it is absent. Nothing else decides. Sinks publish
//! after it, idempotently, so a crash before it leaves nothing to be seen, and one after it is made good by the next run.
//!
//! | file | what |
//! |---|---|
//! | [`cuts`] | where operators hand over their parts |
//! | [`manifest`] | what a checkpoint says, as JSON |
//! | [`log`] | claims of generations and manifests in one order, which keeps zombies out |
//! | [`state`] | state files: Arrow IPC, with a checksum; which of them a restart needs |
//! | [`store`] | a folder or a bucket |
//! | [`coordinator`] | the thread that makes checkpoints |
//! | [`counters`] | what they have cost, while the job runs |

pub mod coordinator;
pub mod counters;
pub mod cuts;
pub mod log;
pub mod manifest;
pub mod state;
pub mod store;

pub use coordinator::{Coordinator, CoordinatorConfig, Leader, Publisher};
pub use counters::{CheckpointCounters, Publications};
pub use cuts::{CutTracker, Cuts, Part, Participant, StatePart, Taken};
pub use log::{Claim, History, Log};
pub use manifest::{
    Manifest, SourceCounts, SourcePosition, SplitFloor, SplitPosition, StagedFile, StagedSink, StateFile,
};
pub use store::Store;

/// Why a checkpoint can't be made, found or read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The URL of the storage means nothing here.
    #[error("can't keep checkpoints at {url}: {detail}; give a folder, or a URL such as s3://bucket/path")]
    Location {
        /// The folder or URL.
        url: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The storage does not answer, or lets nobody in.
    #[error("can't keep checkpoints at {url}: {detail}; {hint}")]
    Unreachable {
        /// The URL.
        url: String,
        /// What is wrong.
        detail: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// Storage fails.
    #[error("can't {action} {path} of the checkpoints: {source}")]
    Storage {
        /// `read`, `write`, `list` or `delete`.
        action: &'static str,
        /// The object.
        path: String,
        /// What the storage said.
        source: object_store::Error,
    },
    /// An object is not what was written.
    #[error(
        "{path} is damaged: {detail}; go back to an earlier checkpoint with --from N (`thalweg checkpoints` lists them), or start over with --fresh"
    )]
    Damaged {
        /// The object.
        path: String,
        /// What is wrong with it.
        detail: String,
    },
    /// Another version of the program wrote it.
    #[error(
        "{path} has format {found}, and this program reads format {known}; run the version that wrote it, or start over with --fresh"
    )]
    Version {
        /// The object.
        path: String,
        /// Its format.
        found: u32,
        /// The one that is known.
        known: u32,
    },
    /// A checkpoint that was asked for is not there.
    #[error("there is no checkpoint {number}; there are {there}")]
    Missing {
        /// Its number.
        number: u64,
        /// Those that are there.
        there: String,
    },
    /// A newer run of the job has taken over.
    #[error(
        "generation {own} of this job was replaced by generation {newer}: a newer run has taken over, and this one publishes nothing more"
    )]
    Fenced {
        /// This run's generation.
        own: u64,
        /// The newest generation.
        newer: u64,
    },
    /// State can't be written as Arrow IPC.
    #[error("can't write the state of {step}: {detail}")]
    State {
        /// The step.
        step: String,
        /// What the writer said.
        detail: String,
    },
}

/// Crashes the process here when a test asks for it: `FAILPOINTS=name=return`. Compiled to nothing otherwise.
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {
        $crate::fail::fail_point!($name, |_| std::process::abort())
    };
}
