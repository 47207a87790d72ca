//! Sources: records in, rows out; where a row is accepted, late or rejected, and where watermarks come from.
//!
//! ```text
//!                                            ┌─▶ rows      accepted: columns of the schema, metadata, event time
//!   SplitReader ─▶ record ─▶ decode ─▶ when? ├─▶ late      behind its split's watermark
//!    (reader)               (schemas)        ├─▶ rejected  undecodable, or its event time impossible
//!                                            └─▶ reports   the lowest watermark of the splits, a tick
//! ```
//!
//! Each record takes exactly one of the first three ways: read = accepted + late + rejected. Which one depends on the bytes of its
//! own split alone, read in offset order: neither ticks nor workers nor other splits change it. Where an archive has columns that were
//! decoded beforehand (`decoded.rs`), these go the same ways.
//!
//! At a cut a source goes to the next epoch, waits until the frontier has left the old one, and hands over where its splits are
//! (`cut.rs`). Only there may a split leave the job's watermark because nothing comes, or come back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use thalweg_engine::checkpoint::{Cuts, Part, Participant, SourceCounts, SplitPosition};
use thalweg_engine::control::{Control, JobError};
use thalweg_engine::gate::{Gate, InFlight};
use thalweg_engine::tick::{TickLimits, epoch_of, first_tick, last_tick};
use thalweg_engine::watermark::{BEGINNING, END, EventTime, IDLE, Reports, WatermarkReport};
use thalweg_engine::{BatchStream, Batches, Out, Scope, Tick};
use thalweg_schemas::{Decoder, Format, Schema};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::scheduling::Activator;

mod abreast;
pub mod archive;
pub mod counters;
mod cut;
pub mod decoded;
pub mod reader;
pub mod refused;
mod rows;
mod split;
mod verdict;

pub use counters::{SourceCounters, SplitGauge, WaitsFor};
pub use decoded::DecodedRows;
pub use reader::{
    Header, ReadProgress, ReadRequest, Record, SourceError, SplitInfo, SplitReader, record_bytes,
};
pub use rows::MetadataColumn;

use abreast::Abreast;
use counters::Waits;
use refused::RefusedRows;
use rows::RowColumns;
use split::SplitState;
use verdict::{Refusal, accept, judge, refuse, without};

/// How long a source with nothing to read waits before it looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// What one look at a silent split counts for, at most.
const LOOKED_MAX: Duration = Duration::from_secs(1);
/// Records and payload bytes of one batch.
const BATCH_RECORDS_MAX: usize = 8192;
const BATCH_BYTES_MAX: usize = 4 << 20;

/// Where event time comes from, and what of it is acceptable. Lengths in microseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventTimeConfig {
    /// The schema's field, by index; `None`: the record's own timestamp.
    pub field: Option<usize>,
    /// How far rows of a split may lie behind the highest event time seen in it.
    pub lateness_us: i64,
    /// How far a row's event time may lie past its record's timestamp.
    pub max_ahead_us: i64,
    /// How long nothing may come of a split without an end before it leaves the job's watermark, at the next checkpoint.
    pub idle_after: Option<Duration>,
}

/// A source.
#[derive(Debug, Clone)]
pub struct SourceConfig {
    /// Its name in the pipeline.
    pub name: String,
    /// Its number among the job's sources.
    pub number: u32,
    /// What the payloads are.
    pub format: Format,
    /// What a row must be.
    pub schema: Arc<Schema>,
    /// The schema's fields that become columns, by index, in this order; the event time field is among them.
    pub fields: Vec<usize>,
    /// Metadata columns, which follow the fields.
    pub metadata: Vec<MetadataColumn>,
    /// Event time.
    pub event_time: EventTimeConfig,
    /// Whether rows carry the hidden columns of their split and offset.
    pub order: bool,
    /// How much goes into a tick.
    pub limits: TickLimits,
}

impl SourceConfig {
    /// The columns of the rows: fields, metadata, `__time`, and where wanted `__split` and `__offset`.
    pub fn columns(&self) -> SchemaRef {
        rows::schema(self)
    }
}

/// What a source needs to know of its job.
#[derive(Clone)]
pub struct SourceJob {
    /// Stops and errors.
    pub control: Control,
    /// How far it may run ahead.
    pub gate: Gate,
    /// The ticks of all sources, and where positions are handed over.
    pub cuts: Cuts,
    /// Where a checkpoint left the source's splits; empty at a job's beginning.
    pub positions: Arc<Vec<SplitPosition>>,
    /// What it has done, for all workers of the process.
    pub counters: Arc<SourceCounters>,
}

/// What comes out of a source.
pub struct SourceStreams<'scope> {
    /// Accepted rows.
    pub rows: BatchStream<'scope>,
    /// Late rows, as [`refused::schema`].
    pub late: BatchStream<'scope>,
    /// Rejected rows, as [`refused::schema`].
    pub rejected: BatchStream<'scope>,
    /// Watermarks.
    pub reports: Reports<'scope>,
}

/// Reads this worker's splits into `scope`.
pub fn source<'scope>(
    scope: Scope<'scope>,
    config: SourceConfig,
    reader: Box<dyn SplitReader>,
    job: SourceJob,
) -> SourceStreams<'scope> {
    let mut builder = OperatorBuilder::new(format!("{}: source", config.name), scope);
    let (rows_out, rows) = builder.new_output();
    let (late_out, late) = builder.new_output();
    let (rejected_out, rejected) = builder.new_output();
    let (reports_out, reports) = builder.new_output();
    let mut rows_out = OutputBuilder::<_, Out>::from(rows_out);
    let mut late_out = OutputBuilder::<_, Out>::from(late_out);
    let mut rejected_out = OutputBuilder::<_, Out>::from(rejected_out);
    let mut reports_out =
        OutputBuilder::<_, CapacityContainerBuilder<Vec<WatermarkReport>>>::from(reports_out);
    let activator = scope.activator_for(builder.operator_info().address);
    job.gate.wake(scope.activator_for(builder.operator_info().address));
    let worker = scope.index() as u32;
    let participant = job.cuts.join();
    builder.build(move |capabilities| {
        let mut state = SourceState::new(config, reader, job, worker, participant, activator);
        let mut capabilities = capabilities;
        capabilities.iter_mut().for_each(|cap| cap.downgrade(&state.tick));
        move |_| {
            if capabilities.is_empty() {
                return;
            }
            let step = state.step();
            let give =
                |output: &mut OutputBuilder<Tick, Out>, at: &Capability<Tick>, batch: Option<RecordBatch>| {
                    if let Some(batch) = batch {
                        output.activate().session(at).give_container(&mut Batches::one(batch));
                    }
                };
            give(&mut rows_out, &capabilities[0], step.rows);
            give(&mut late_out, &capabilities[1], step.late);
            give(&mut rejected_out, &capabilities[2], step.rejected);
            if let Some(report) = step.report {
                reports_out.activate().session(&capabilities[3]).give(report);
            }
            match step.next {
                Next::Stay => {}
                Next::Tick(tick) => capabilities.iter_mut().for_each(|cap| cap.downgrade(&tick)),
                Next::End => capabilities.clear(),
            }
        }
    });
    SourceStreams { rows, late, rejected, reports }
}

/// What one activation of the source gives out.
struct Step {
    rows: Option<RecordBatch>,
    late: Option<RecordBatch>,
    rejected: Option<RecordBatch>,
    report: Option<WatermarkReport>,
    next: Next,
}

enum Next {
    Stay,
    Tick(Tick),
    End,
}

impl Step {
    fn only(next: Next) -> Self {
        Step { rows: None, late: None, rejected: None, report: None, next }
    }
}

struct SourceState {
    config: SourceConfig,
    reader: Box<dyn SplitReader>,
    job: SourceJob,
    worker: u32,
    activator: Activator,
    decoder: Decoder,
    columns: RowColumns,
    late: RefusedRows,
    rejected: RefusedRows,
    splits: Vec<SplitState>,
    in_flight: InFlight,
    tick: Tick,
    tick_rows: usize,
    tick_bytes: usize,
    tick_opened: Instant,
    participant: Participant,
    /// The cut in which this source takes part just now.
    cut: cut::Progress,
    /// Rows since the cut before.
    since: SourceCounts,
    /// Bytes of files, as the reader has said last.
    file_bytes: u64,
    /// Where all splits have an end: how far this worker is ahead of others.
    abreast: Option<Abreast>,
    /// Rows read by this run.
    rows_read: u64,
    waits: Waits,
    /// When the splits were looked at last.
    looked_at: Instant,
    /// Whether a watermark must be reported though no tick is full: the first one, and where a split has left or come back.
    report_due: bool,
}

impl SourceState {
    fn new(
        config: SourceConfig,
        reader: Box<dyn SplitReader>,
        job: SourceJob,
        worker: u32,
        participant: Participant,
        activator: Activator,
    ) -> Self {
        let splits: Vec<SplitState> =
            reader.splits().iter().map(|split| SplitState::new(split, &job.positions)).collect();
        for split in &splits {
            job.counters.split(split.number).note(split, config.event_time.lateness_us);
        }
        SourceState {
            decoder: Decoder::new(config.format, &config.schema, &config.fields),
            columns: RowColumns::new(&config, reader.splits()),
            late: RefusedRows::new(&config.name, reader.splits()),
            rejected: RefusedRows::new(&config.name, reader.splits()),
            in_flight: InFlight::new(job.gate.clone(), config.limits),
            tick: first_tick(job.cuts.first() + 1),
            tick_rows: 0,
            tick_bytes: 0,
            tick_opened: Instant::now(),
            participant,
            cut: cut::Progress::None,
            since: SourceCounts::default(),
            file_bytes: 0,
            abreast: splits.iter().all(|split| !split.unbounded).then(|| Abreast::new(&config.limits)),
            rows_read: 0,
            waits: job.counters.waits(),
            looked_at: Instant::now(),
            report_due: true,
            splits,
            config,
            reader,
            job,
            worker,
            activator,
        }
    }

    fn step(&mut self) -> Step {
        if self.job.control.ending() {
            self.waits.over();
            return Step::only(Next::End);
        }
        if !self.take_part_in_cut() {
            self.activator.activate_after(LOOK_AGAIN);
            return Step::only(Next::Stay);
        }
        let highest = self.job.cuts.clock().highest();
        if epoch_of(highest) > epoch_of(self.tick) {
            // What was read of this tick stays in the epoch that ends.
            self.activator.activate_after(LOOK_AGAIN);
            let report = Some(self.report());
            return Step { report, ..Step::only(Next::Tick(self.close_tick())) };
        }
        if !self.in_flight.may_read() {
            // The gate wakes this source when the sinks have gone on.
            self.waits.wait(WaitsFor::Sinks);
            return Step::only(Next::Stay);
        }
        self.waits.over();
        match self.read() {
            Ok(step) => step,
            Err(error) => {
                self.job.control.fail(error);
                Step::only(Next::End)
            }
        }
    }

    fn read(&mut self) -> Result<Step, JobError> {
        let (progress, columns) = self.read_batch()?;
        for split in &progress.ended {
            let split = &mut self.splits[*split];
            split.ended = true;
            self.job.counters.split(split.number).note(split, self.config.event_time.lateness_us);
        }
        self.tick_rows += progress.records;
        self.tick_bytes += progress.bytes;
        let ended = self.splits.iter().all(|split| split.ended);
        let limits = self.config.limits;
        let full = self.tick_rows >= limits.rows_max
            || self.tick_bytes >= limits.bytes_max
            || (self.tick_rows > 0
                && (progress.records == 0 || self.tick_opened.elapsed() >= limits.age_max));
        let mut step = Step {
            rows: self.columns.finish(columns)?,
            late: self.late.finish()?,
            rejected: self.rejected.finish()?,
            report: None,
            next: Next::Stay,
        };
        if ended {
            step.report = Some(self.report());
            step.next = Next::End;
            self.take_part_for_good();
        } else if full {
            // Also where the watermark stands still: other processes see by it how far the ticks are.
            step.report = Some(self.report());
            step.next = Next::Tick(self.close_tick());
        } else if std::mem::take(&mut self.report_due) {
            step.report = Some(self.report());
        } else if progress.records == 0 && self.job.cuts.clock().highest() > self.tick {
            // Nothing to say: don't hold back the ticks of those that have.
            step.next = Next::Tick(self.open_tick(self.job.cuts.clock().highest()));
        }
        if progress.records > 0 || !progress.ended.is_empty() {
            self.activator.activate()
        } else {
            self.activator.activate_after(LOOK_AGAIN)
        }
        Ok(step)
    }

    /// Reads what comes next. Gives the fields' columns of the rows that were accepted, too.
    fn read_batch(&mut self) -> Result<(ReadProgress, Vec<ArrayRef>), SourceError> {
        let watermark = self.job.cuts.watermark();
        if let Some(abreast) = &mut self.abreast
            && abreast.is_ahead(watermark, self.rows_read, Instant::now())
        {
            self.waits.wait(WaitsFor::Others);
            return Ok(Default::default());
        }
        let mut order: Vec<usize> =
            (0..self.splits.len()).filter(|split| self.splits[*split].is_read()).collect();
        order.sort_by_key(|split| self.splits[*split].highest);
        let request = ReadRequest {
            bytes_max: BATCH_BYTES_MAX.min(self.config.limits.bytes_max),
            records_max: BATCH_RECORDS_MAX.min(self.config.limits.rows_max),
            wait: Duration::ZERO,
            order: &order,
        };
        // A process that was stopped for an hour has not looked at its splits for an hour.
        let looked = self.looked_at.elapsed().min(LOOKED_MAX);
        self.looked_at = Instant::now();
        order.iter().for_each(|split| self.splits[*split].silent += looked);
        self.ask_whether_silent();
        let mut counts = SourceCounts::default();
        let (progress, columns) = match self.reader.decoded(request)? {
            Some(rows) => self.take_decoded(&rows, &mut counts)?,
            None => self.take_records(request, &mut counts)?,
        };
        counts.read = counts.accepted + counts.late + counts.rejected;
        counts.bytes = progress.bytes as u64;
        self.job.counters.add(counts.bytes, counts.accepted, counts.late, counts.rejected);
        self.since += counts;
        self.rows_read += counts.read;
        let file_bytes = self.reader.file_bytes();
        self.job.counters.add_file_bytes(file_bytes - std::mem::replace(&mut self.file_bytes, file_bytes));
        for split in self.splits.iter().filter(|split| !split.ended) {
            self.job.counters.split(split.number).note(split, self.config.event_time.lateness_us);
        }
        Ok((progress, columns))
    }

    fn take_records(
        &mut self,
        request: ReadRequest<'_>,
        counts: &mut SourceCounts,
    ) -> Result<(ReadProgress, Vec<ArrayRef>), SourceError> {
        let SourceState { reader, splits, decoder, columns, late, rejected, config, .. } = self;
        let progress = reader.read(request, &mut |record| {
            let split = &mut splits[record.split];
            split.next = record.offset + 1;
            split.read += 1;
            split.silent = Duration::ZERO;
            split.reach(record.offset);
            let watermark = split.watermark(config.event_time.lateness_us);
            match accept(&config.event_time, watermark, decoder, &record) {
                Ok(time) => {
                    split.highest = split.highest.max(Some(time));
                    columns.push(&record, split.number, time);
                    counts.accepted += 1;
                }
                Err(refusal) => refuse(config, late, rejected, counts, &record, refusal),
            }
        })?;
        Ok((progress, self.decoder.finish()))
    }

    /// The same verdicts on rows that were decoded beforehand.
    fn take_decoded(
        &mut self,
        rows: &DecodedRows,
        counts: &mut SourceCounts,
    ) -> Result<(ReadProgress, Vec<ArrayRef>), SourceError> {
        let SourceState { splits, decoder, columns, late, rejected, config, .. } = self;
        let split = &mut splits[rows.split];
        let place = |field| config.fields.iter().position(|at| *at == field);
        let field_times = config.event_time.field.and_then(place).map(|at| &rows.columns[at]);
        let field_times = field_times.map(|column| column.as_primitive::<TimestampMicrosecondType>());
        let mut headers = Vec::new();
        // Of each row that is not accepted its number, and the reason; `None`: its payload has to say it.
        let mut refused: Vec<(usize, Option<Refusal>)> = Vec::new();
        for row in 0..rows.len() {
            split.reach(rows.offsets()[row]);
            let watermark = split.watermark(config.event_time.lateness_us);
            let stamp = rows.timestamp_us(row);
            let time = match field_times {
                Some(times) => times.is_valid(row).then(|| times.value(row)),
                None => stamp,
            };
            let verdict = if rows.is_row(row) {
                judge(&config.event_time, watermark, time, stamp).map_err(Some)
            } else {
                Err(None)
            };
            match verdict {
                Ok(time) => {
                    split.highest = split.highest.max(Some(time));
                    rows.collect_headers(row, &mut headers);
                    columns.push(&rows.record(row, &headers), split.number, time);
                }
                Err(refusal) => refused.push((row, refusal)),
            }
        }
        split.next = rows.offsets().last().map_or(split.next, |last| last + 1);
        split.read += rows.len() as u64;
        split.silent = Duration::ZERO;
        counts.accepted += (rows.len() - refused.len()) as u64;
        let mut accepted = rows.columns.clone();
        let mut bytes = rows.bytes;
        if !refused.is_empty() {
            let numbers: Vec<usize> = refused.iter().map(|(row, _)| *row).collect();
            accepted = without(&accepted, rows.len(), &numbers);
            let mut refusals = refused.into_iter().map(|(_, refusal)| refusal);
            let mut contradicts = None;
            rows.records(&numbers, &mut |record| {
                bytes += record_bytes(record.key, record.value, record.headers);
                let said = refusals.next().flatten();
                match said.or_else(|| decoder.push(record.value).err().map(Refusal::Rejected)) {
                    Some(refusal) => refuse(config, late, rejected, counts, &record, refusal),
                    None => contradicts = contradicts.or(Some(record.offset)),
                }
            })?;
            if let Some(offset) = contradicts {
                return Err(rows.contradicted(offset));
            }
            self.job.counters.add_file_bytes(rows.record_file_bytes());
        }
        Ok((ReadProgress { records: rows.len(), bytes, ended: Vec::new() }, accepted))
    }

    /// The watermark of the split that is furthest behind; `None`: none is read.
    fn lowest(&self) -> Option<EventTime> {
        let of = |split: &SplitState| split.watermark(self.config.event_time.lateness_us);
        self.splits.iter().filter(|split| split.is_read()).map(of).min()
    }

    fn report(&self) -> WatermarkReport {
        let of = |split: &SplitState| split.watermark(self.config.event_time.lateness_us);
        let lowest = self.lowest();
        let idle = self.splits.iter().filter(|split| split.idle && !split.ended).map(of).max();
        WatermarkReport {
            source: self.config.number,
            worker: self.worker,
            watermark: lowest.unwrap_or(if idle.is_some() { IDLE } else { END }),
            idle: idle.unwrap_or(BEGINNING),
        }
    }

    fn close_tick(&mut self) -> Tick {
        self.in_flight.close(self.tick, self.tick_bytes);
        self.open_tick(self.job.cuts.clock().after(self.tick))
    }

    fn open_tick(&mut self, tick: Tick) -> Tick {
        if epoch_of(tick) > epoch_of(self.tick) {
            self.cut = cut::Progress::Waiting(epoch_of(self.tick));
        }
        let lowest = self.lowest();
        if let (Some(abreast), Some(lowest)) = (&mut self.abreast, lowest) {
            abreast.open_tick(lowest, self.rows_read);
        }
        (self.tick, self.tick_rows, self.tick_bytes) = (tick, 0, 0);
        self.tick_opened = Instant::now();
        tick
    }
}
