//! Sinks: where rows leave a job, each exactly once.
//!
//! ```text
//!   rows at ticks ─▶ Sink::write ─▶ … ─▶ Sink::stage at a cut ─▶ manifest ─▶ Publisher::publish: readers see them
//!                        └─ a slow write slows the worker, so the frontier, so the sources (gate)
//! ```
//!
//! A worker's [`Sink`] completes files that no reader sees ([`staging`]); after the checkpoint's manifest exists, the sink's one
//! [`Publisher`] makes them visible, as often as it takes.

use arrow::array::RecordBatch;
use thalweg_engine::checkpoint::{CutTracker, Cuts, Part, StagedFile};
use thalweg_engine::control::Control;
use thalweg_engine::gate::Gate;
use thalweg_engine::{BatchStream, Batches, Out};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;

pub mod counters;
pub mod ipc;
pub mod json_lines;
pub mod parquet;
pub mod staging;

pub use counters::SinkCounters;
pub use thalweg_engine::checkpoint::Publisher;

/// Where a worker's rows go.
pub trait Sink {
    /// Takes rows.
    ///
    /// # Errors
    /// What can't be written: the job then fails.
    fn write(&mut self, batch: RecordBatch) -> Result<(), SinkError>;

    /// Completes what was written since the last call, durably, but not for readers yet.
    ///
    /// # Errors
    /// As [`Sink::write`].
    fn stage(&mut self, checkpoint: u64) -> Result<Vec<StagedFile>, SinkError>;
}

/// Why rows can't be written.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// A file or folder can't be written.
    #[error("sink {sink}: can't write {path}: {source}")]
    Io {
        /// The sink's name.
        sink: String,
        /// The file or folder.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Rows can't be put into the sink's format.
    #[error("sink {sink}: can't write rows as {format}: {detail}")]
    Format {
        /// The sink's name.
        sink: String,
        /// The format.
        format: &'static str,
        /// What the writer said.
        detail: String,
    },
    /// A file that a checkpoint has staged is gone.
    #[error(
        "sink {sink}: {path} was staged by checkpoint {checkpoint} and is gone; restore the folder, or start over with --fresh"
    )]
    StagedFileGone {
        /// The sink's name.
        sink: String,
        /// The file.
        path: String,
        /// The checkpoint.
        checkpoint: u64,
    },
}

/// What a sink needs to know of its job.
#[derive(Clone)]
pub struct SinkJob {
    /// Where an error goes.
    pub control: Control,
    /// Held back by the sink's frontier.
    pub gate: Gate,
    /// Where staged files are handed over.
    pub cuts: Cuts,
}

/// Writes `rows` to `sink`, and hands over what it stages at every cut. When the job has failed, or is told to end, nothing more
/// is written.
pub fn sink(rows: BatchStream<'_>, name: &str, mut sink: Box<dyn Sink>, job: SinkJob) {
    let SinkJob { control, gate, cuts } = job;
    let participant = cuts.join();
    let name = name.to_owned();
    let end = rows.unary_frontier::<Out, _, _, _>(Pipeline, &format!("{name}: sink"), move |cap, _| {
        let mut cuts_taken = CutTracker::new(cuts.first());
        // Held at the input's frontier, so that the gate sees a tick as passed only when its rows are written.
        let mut cap = Some(cap);
        move |(input, frontier), _output| {
            let mut written = Ok(());
            input.for_each(|_, container: &mut Batches| {
                for batch in container.take() {
                    if written.is_ok() && !control.failed() {
                        written = sink.write(batch);
                    }
                }
            });
            let next = frontier.frontier().first().copied();
            if cap.is_some()
                && let Some(cut) = cuts_taken.due(next)
                && written.is_ok()
                && !control.ending()
            {
                match sink.stage(cut) {
                    Ok(files) => cuts.give(cut, participant, Part::Sink { sink: name.clone(), files }),
                    Err(error) => written = Err(error),
                }
            }
            if let Err(error) = written {
                control.fail(error);
            }
            match (&mut cap, next) {
                (Some(cap), Some(next)) => cap.downgrade(&next),
                _ => cap = None,
            }
        }
    });
    gate.watch(end);
}
