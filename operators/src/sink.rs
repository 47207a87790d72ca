//! Sinks: where rows leave a job.
//!
//! ```text
//!   rows at ticks ─▶ Sink::write ─▶ … ─▶ Sink::finish at the end       ─▶ gate (how far the sources may read on)
//!                        └─ a slow write slows the worker, so the frontier, so the sources
//! ```

use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use thalweg_engine::control::Control;
use thalweg_engine::gate::Gate;
use thalweg_engine::{BatchStream, Batches, Out};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;

pub mod counters;
pub mod json_lines;
pub mod parquet;

pub use counters::SinkCounters;

/// How often a sink is called though no rows come and no tick ends.
const IDLE_EVERY: Duration = Duration::from_secs(1);

/// Where a worker's rows go.
pub trait Sink {
    /// Takes rows.
    ///
    /// # Errors
    /// What can't be written: the job then fails.
    fn write(&mut self, batch: RecordBatch) -> Result<(), SinkError>;

    /// Called once a second or more often while a job runs, so that rows do not wait for more rows for ever.
    ///
    /// # Errors
    /// As [`Sink::write`].
    fn idle(&mut self) -> Result<(), SinkError>;

    /// Completes everything: no row follows.
    ///
    /// # Errors
    /// As [`Sink::write`].
    fn finish(&mut self) -> Result<(), SinkError>;
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
}

/// Writes `rows` to `sink`. When the job has failed, what is not complete stays unpublished.
pub fn sink(rows: BatchStream<'_>, name: &str, mut sink: Box<dyn Sink>, control: Control, gate: &Gate) {
    let mut open = true;
    let scope = rows.scope();
    let end = rows.unary_frontier::<Out, _, _, _>(Pipeline, &format!("{name}: sink"), move |cap, info| {
        let activator = scope.activator_for(info.address);
        let mut wake_at = Instant::now();
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
            if open && written.is_ok() && !control.failed() {
                written = if next.is_none() { sink.finish() } else { sink.idle() };
                open = next.is_some();
            }
            let now = Instant::now();
            if open && now >= wake_at {
                activator.activate_after(IDLE_EVERY);
                wake_at = now + IDLE_EVERY;
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
