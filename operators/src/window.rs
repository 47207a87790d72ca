//! Event-time windows: rows in, one row per key and window out, when the job's watermark passes the window's end.
//!
//! ```text
//!            one worker                                        the worker that owns the key's shard
//!   rows ─▶ keys → bytes, hash (keys) ─▶ partial aggregates a tick (partial) ─▶ exchange ─▶ panes or sessions ─▶ rows
//!                                        (tumbling, hopping; more than one worker)              ▲
//!   reports of the sources ─────────────────────────────────────────────────────────── job's watermark
//! ```
//!
//! A window holds exactly the accepted rows of its range, however the reading was cut into ticks and dealt to workers: a row
//! that is not late can't meet a window that has fired, since the job's watermark never passes a split's own.
//!
//! | file | what |
//! |---|---|
//! | `grid` | where fixed windows begin and end, days of a time zone included |
//! | `partial` | aggregation before the exchange |
//! | `panes` | tumbling and hopping windows |
//! | `sessions` | sessions: gaps, merges, a maximum length |
//! | `fired` | the batch that leaves |
//! | `snapshot` | open windows as rows of a checkpoint, and back |
//!
//! Keys, their groups and state by key are [`crate::keyed`]'s.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use thalweg_engine::checkpoint::{CutTracker, Cuts, Part};
use thalweg_engine::control::{Control, JobError};
use thalweg_engine::exchange::exchange;
use thalweg_engine::watermark::{EventTime, JobWatermark, Reports};
use thalweg_engine::{BatchStream, Batches, Out};
use thalweg_schemas::time::timestamp_type;
use timely::PartialOrder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::{OutputBuilder, OutputBuilderSession};

use crate::aggregate::Aggregate;
use crate::keyed::keys::KeyEncoder;
use crate::keyed::{self, KeyedRows, RestoredState};
use crate::rows::TIME;
use crate::stopwatch::Stopwatches;

mod fired;
mod grid;
mod panes;
mod partial;
mod sessions;
mod snapshot;
#[cfg(test)]
mod tests;

pub use grid::Grid;
use panes::Panes;
use partial::Partial;
use sessions::Sessions;

/// What rows a window gathers. All lengths in microseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Window {
    /// Windows side by side.
    Tumbling(Grid),
    /// A window of `size` every `every`, `every` ≤ `size`; windows begin at whole multiples of `every` past `offset`.
    Hopping {
        /// Length of a window.
        size_us: i64,
        /// From one window's start to the next one's.
        every_us: i64,
        /// Shift of all starts from the epoch.
        offset_us: i64,
    },
    /// Rows of a key less than `gap` apart; it ends `gap` after its last row.
    Session {
        /// The silence that ends a session: a row exactly this long after the last one starts a new session.
        gap_us: i64,
        /// In event-time order, a row this long after its session's start or later starts a new session.
        max_us: Option<i64>,
    },
}

/// One aggregate of a windowed step.
#[derive(Debug, Clone)]
pub struct AggregateCall {
    /// The aggregate, typed.
    pub aggregate: Aggregate,
    /// Its arguments, as indexes into [`KeyedRows::inputs`].
    pub arguments: Vec<usize>,
    /// SQL's `filter (where …)`: a Boolean column among [`KeyedRows::inputs`].
    pub filter: Option<usize>,
    /// What it is, in words that no other aggregate of the step has: a checkpoint's state is found by it, also when the step has
    /// got other aggregates since.
    pub label: String,
    /// Of windows that begin before, the result is null: the aggregate has not seen all of their rows, since it is newer than they.
    pub since: Option<EventTime>,
}

/// A windowed aggregation.
#[derive(Debug, Clone)]
pub struct WindowConfig {
    /// The step's name, for operator names and logs.
    pub name: String,
    /// The windows.
    pub window: Window,
    /// The key columns as they leave: names and types.
    pub keys: Vec<Field>,
    /// The types of [`KeyedRows::inputs`].
    pub inputs: Vec<DataType>,
    /// The aggregates.
    pub aggregates: Vec<AggregateCall>,
}

impl WindowConfig {
    /// The columns that leave: `window_start`, `window_end`, the keys, `__agg_0` …, and [`TIME`], which is
    /// one microsecond before the window's end.
    pub fn output(&self) -> SchemaRef {
        let mut fields = vec![
            Field::new("window_start", timestamp_type(), false),
            Field::new("window_end", timestamp_type(), false),
        ];
        fields.extend(self.keys.iter().cloned());
        fields.extend(self.aggregates.iter().enumerate().map(|(i, call)| {
            // Nullable whatever the aggregate: see `AggregateCall::since`.
            Field::new(format!("__agg_{i}"), call.aggregate.result_type(), true)
        }));
        fields.push(Field::new(TIME, timestamp_type(), false));
        Arc::new(Schema::new(fields))
    }

    fn needs_order(&self) -> bool {
        self.aggregates.iter().any(|call| call.aggregate.needs_order())
    }
}

/// What the windows of a step have done, over all workers of a process.
#[derive(Debug, Default)]
pub struct WindowCounters {
    /// Windows that fired: rows given out.
    pub fired: AtomicU64,
    /// Groups of windows that are open.
    pub open: AtomicU64,
    /// At work: gathering rows, firing windows, handing over state.
    pub busy: Stopwatches,
    /// Groups of windows still open when the job was stopped: its last checkpoint holds them.
    pub open_at_stop: AtomicU64,
}

/// What a windowed step needs to know of its job.
#[derive(Clone)]
pub struct WindowJob {
    /// The job's sources, whose reports make the watermark.
    pub sources: usize,
    /// Where an error goes.
    pub control: Control,
    /// Where windows are counted.
    pub counters: Arc<WindowCounters>,
    /// Where state is handed over.
    pub cuts: Cuts,
    /// What this worker held at the checkpoint from which the job goes on.
    pub restored: RestoredState,
}

enum State {
    Panes(Panes),
    Sessions(Sessions),
}

impl State {
    fn absorb(&mut self, batch: &RecordBatch) -> Result<(), JobError> {
        match self {
            State::Panes(panes) => panes.absorb(batch),
            State::Sessions(sessions) => sessions.absorb(batch),
        }
    }

    fn fire(&mut self, watermark: EventTime, emit: &mut dyn FnMut(RecordBatch)) -> Result<(), JobError> {
        match self {
            State::Panes(panes) => panes.fire(watermark, emit),
            State::Sessions(sessions) => sessions.fire(watermark, emit),
        }
    }

    fn snapshot(&mut self) -> Result<(bool, Vec<RecordBatch>), JobError> {
        match self {
            State::Panes(panes) => panes.snapshot(),
            State::Sessions(sessions) => sessions.snapshot(),
        }
    }

    fn restore(&mut self, state: &RestoredState, worker: usize, workers: usize) -> Result<(), JobError> {
        match self {
            State::Panes(panes) => panes.restore(state, worker, workers),
            State::Sessions(sessions) => sessions.restore(state, worker, workers),
        }
    }

    fn open(&self) -> usize {
        match self {
            State::Panes(panes) => panes.open(),
            State::Sessions(sessions) => sessions.open(),
        }
    }
}

/// Aggregates `rows` by key and window. `rows_of` takes keys, arguments and time out of a batch (`None`: nothing of it is
/// wanted). The columns that leave are [`WindowConfig::output`].
pub fn window<'scope>(
    rows: BatchStream<'scope>,
    reports: Reports<'scope>,
    config: WindowConfig,
    job: WindowJob,
    mut rows_of: impl FnMut(&RecordBatch) -> Result<Option<KeyedRows>, JobError> + 'static,
) -> BatchStream<'scope> {
    let scope = rows.scope();
    let peers = scope.peers();
    let control = job.control.clone();
    let busy = job.counters.busy.add();
    let input = |(i, data_type): (usize, &DataType)| Field::new(format!("__in_{i}"), data_type.clone(), true);
    let inputs = config.inputs.iter().enumerate().map(input);
    let mut encoder = KeyEncoder::new(&config.keys, inputs, config.needs_order());
    let partial = match &config.window {
        Window::Tumbling(_) | Window::Hopping { .. } if peers > 1 => Some(Partial::new(&config)),
        // With one worker nothing crosses; sessions are mostly one row a key and tick, so there is nothing to gather.
        _ => None,
    };
    let keyed =
        rows.unary_frontier::<Out, _, _, _>(Pipeline, &format!("{}: key", config.name), move |cap, _| {
            let mut cap = Some(cap);
            let mut partial = partial;
            move |(input, frontier), output| {
                let mut forward: Vec<(_, Batches)> = Vec::new();
                input.for_each(|at, container| {
                    busy.start();
                    for batch in container.take() {
                        let keyed = match rows_of(&batch) {
                            Ok(Some(rows)) => encoder.encode(rows),
                            Ok(None) => continue,
                            Err(error) => Err(error),
                        };
                        let passed = keyed.and_then(|keyed| match &mut partial {
                            Some(partial) => partial.absorb(keyed),
                            None => Ok(Some(keyed)),
                        });
                        match passed {
                            Ok(Some(keyed)) => {
                                let at = at.retain_least(0).expect("invariant: a message has a tick");
                                forward.push((at, Batches::one(keyed)));
                            }
                            Ok(None) => {}
                            Err(error) => control.fail(error),
                        }
                    }
                    busy.stop();
                });
                for (at, mut container) in forward {
                    output.session(&at).give_container(&mut container);
                }
                let next = frontier.frontier().first().copied();
                let tick_done = cap.as_ref().is_some_and(|cap| next.is_none_or(|next| *cap.time() < next));
                if tick_done {
                    if let (Some(partial), Some(cap)) = (&mut partial, &cap) {
                        match busy.time(|| partial.flush()) {
                            Ok(Some(states)) => output.session(cap).give_container(&mut Batches::one(states)),
                            Ok(None) => {}
                            Err(error) => control.fail(error),
                        }
                    }
                    match next {
                        Some(next) => cap.iter_mut().for_each(|cap| cap.downgrade(&next)),
                        None => cap = None,
                    }
                }
            }
        });

    let mut state = match &config.window {
        Window::Tumbling(_) | Window::Hopping { .. } => State::Panes(Panes::new(&config)),
        Window::Session { .. } => State::Sessions(Sessions::new(&config)),
    };
    if let Err(error) = state.restore(&job.restored, scope.index(), peers) {
        job.control.fail(error);
    }
    gather(keyed, reports, &config.name, state, job, peers)
}

// The operator on the owner of a shard. It holds one capability, kept at its input frontier: holding one per open window would
// stop a gated source for as long as a window lasts.
fn gather<'scope>(
    keyed: BatchStream<'scope>,
    reports: Reports<'scope>,
    name: &str,
    mut state: State,
    job: WindowJob,
    peers: usize,
) -> BatchStream<'scope> {
    let worker = keyed.scope().index();
    let (step, participant) = (name.to_owned(), job.cuts.join());
    let busy = job.counters.busy.add();
    let mut builder = OperatorBuilder::new(format!("{name}: window"), keyed.scope());
    let mut rows_in = builder.new_input(keyed, exchange());
    let mut reports_in = builder.new_input(reports, Pipeline);
    let (output, stream) = builder.new_output();
    let mut output = OutputBuilder::<_, Out>::from(output);
    builder.build(move |mut capabilities| {
        let mut cap = capabilities.pop();
        let mut watermark = JobWatermark::new(job.sources, peers);
        let mut cuts_taken = CutTracker::new(job.cuts.first());
        let mut open = 0;
        move |frontiers| {
            rows_in.for_each(|_, container| {
                busy.start();
                for batch in container.take() {
                    if let Err(error) = state.absorb(&batch) {
                        job.control.fail(error);
                    }
                }
                busy.stop();
            });
            reports_in.for_each(|at, reports| {
                let tick = *at.least().expect("invariant: a message has a tick");
                reports.drain(..).for_each(|report| watermark.report(tick, report));
            });
            let Some(held) = &mut cap else { return };
            let next = match (frontiers[0].frontier().first(), frontiers[1].frontier().first()) {
                (Some(rows), Some(reports)) => Some(*rows.min(reports)),
                (rows, reports) => rows.or(reports).copied(),
            };
            if next.is_some_and(|next| next.less_equal(held.time())) {
                return;
            }
            let mut out = output.activate();
            busy.start();
            fire(&mut state, watermark.advance(next), &job, held, &mut out);
            // Sources have read nothing of the next epoch yet: what is held now is what the cut holds.
            if let Some(cut) = cuts_taken.due(next)
                && !job.control.ending()
            {
                match state.snapshot() {
                    Ok((full, batches)) => {
                        let part = keyed::snapshot::part(&step, worker, peers, full, batches);
                        job.cuts.give(cut, participant, Part::State(part));
                    }
                    Err(error) => job.control.fail(error),
                }
            }
            // Added before what was there is taken away: the sum over all workers is never below 0.
            let now = state.open() as u64;
            job.counters.open.fetch_add(now, Ordering::Relaxed);
            job.counters.open.fetch_sub(std::mem::replace(&mut open, now), Ordering::Relaxed);
            busy.stop();
            match next {
                Some(next) => held.downgrade(&next),
                None => {
                    job.counters.open_at_stop.fetch_add(state.open() as u64, Ordering::Relaxed);
                    cap = None;
                }
            }
        }
    });
    stream
}

fn fire(
    state: &mut State,
    watermark: EventTime,
    job: &WindowJob,
    held: &timely::dataflow::operators::Capability<thalweg_engine::Tick>,
    out: &mut OutputBuilderSession<'_, thalweg_engine::Tick, Out>,
) {
    // At the end of a job that was stopped all that is held belongs to the run that goes on.
    if job.control.ending() {
        return;
    }
    let fired = state.fire(watermark, &mut |batch| {
        job.counters.fired.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
        out.session(held).give_container(&mut Batches::one(batch));
    });
    if let Err(error) = fired {
        job.control.fail(error);
    }
}
