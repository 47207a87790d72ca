//! A topic becomes an archive: every record that is committed, with its partition, offset, timestamp, key, value and headers.
//!
//! ```text
//!   .archive/recording.json    which topic; where each partition began; where a bounded recording ends
//!   part-….parquet             what is recorded
//!        │
//!        ▼ begin.rs: where to go on; is it still the same topic? is anything lost?
//!   topic ──▶ KafkaReader ──▶ ArchiveWriter ──▶ .part-….parquet.tmp ──synced, renamed──▶ part-<partition>-<first>-<last>.parquet
//!                  ▲                            at --file-size, at --file-interval, at the end
//!                  └─ with --follow: again from the top when the topic has got more partitions
//! ```
//!
//! Nothing is noted about progress but the files themselves, so the two can't disagree: a recorder that is killed at any instant leaves
//! whole files and one unfinished one a partition, which the next removes; it reads on behind the last whole file. Offsets that are
//! missing in the topic, by compaction or because transactions took them, are missing in the archive too.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use thalweg_engine::control::Control;
use thalweg_operators::source::archive::{ArchiveOptions, ArchiveWriteError, ArchiveWriter};
use thalweg_operators::source::{ReadRequest, Record, SourceError, SplitReader};

pub(super) use self::begin::{BOOK, lost};
use self::begin::{Begun, LastRecord};
pub use self::several::record_all;
use super::ArchiveError;
use super::holder::Holder;

mod begin;
mod several;

/// Bytes handed from the reader to the writer at once.
const READ_BYTES: usize = 8 << 20;
/// How long new records are waited for before anything else is looked after.
const WAIT: Duration = Duration::from_millis(200);
/// Encoded bytes of row groups that may be in memory, over all partitions of all topics.
const GROUPS_BYTES: usize = 512 << 20;
const GROUP_BYTES_MIN: usize = 1 << 20;

/// A place in a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Before the oldest record that is still there.
    Earliest,
    /// After the last record that is there now.
    Latest,
    /// Before the first record at or after this time, microseconds since the epoch.
    Time(i64),
    /// Before these offsets, by partition; names all of them.
    Offsets(BTreeMap<i32, i64>),
}

/// What to record, and where to.
#[derive(Clone)]
pub struct RecordOptions {
    /// The topic.
    pub topic: String,
    /// `host:port`, several separated by commas.
    pub brokers: String,
    /// librdkafka's properties.
    pub properties: BTreeMap<String, String>,
    /// The archive's folder, which is made where there is none.
    pub folder: PathBuf,
    /// Where to begin; counts only for the first run into a folder.
    pub from: Place,
    /// Where to end; `None`: never.
    pub to: Option<Place>,
    /// A file is closed with the batch that brings it to this size.
    pub file_bytes_max: u64,
    /// A file is closed when its first record has waited so long.
    pub file_interval: Duration,
    /// Go on from what is left where records were deleted before they were recorded.
    pub skip_lost: bool,
    /// How often new partitions are looked for, where there is no end.
    pub look_for_partitions: Duration,
    /// How many topics are recorded at once: they share the memory.
    pub topics: usize,
}

// Not derived: properties hold passwords.
impl std::fmt::Debug for RecordOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let RecordOptions { topic, brokers, folder, from, to, .. } = self;
        write!(f, "{topic} of {brokers} into {}, {from:?} to {to:?}", folder.display())
    }
}

/// Offsets that were deleted before they were recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// The partition.
    pub partition: i32,
    /// The first offset.
    pub from: i64,
    /// The last.
    pub to: i64,
}

/// What a recording came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RecordSummary {
    /// The topic.
    pub topic: String,
    /// The archive.
    pub folder: String,
    /// Partitions that were read.
    pub partitions: usize,
    /// Records, of this run.
    pub records: u64,
    /// Bytes of their values.
    pub value_bytes: u64,
    /// Files written.
    pub files: u64,
    /// Their size in bytes.
    pub file_bytes: u64,
    /// Whether there were records before this run, behind which it went on.
    pub resumed: bool,
    /// Whether it was stopped before its end.
    pub stopped: bool,
    /// What was lost, in this run and before.
    pub lost: Vec<Lost>,
}

/// Records a topic to its end, or until `control` is told to stop. `advance` hears of records as they come, and of about how many there
/// are in all (more, in all); `None`: there is no end.
///
/// # Errors
/// The first thing that went wrong. What was read before is in the archive, and the next run goes on behind it.
pub fn record(
    options: &RecordOptions,
    control: &Control,
    advance: &dyn Fn(u64, Option<u64>),
) -> Result<RecordSummary, ArchiveError> {
    let holder = Holder::of(&options.folder)?;
    let mut summary = RecordSummary {
        topic: options.topic.clone(),
        folder: options.folder.display().to_string(),
        ..RecordSummary::default()
    };
    let mut first = true;
    loop {
        let mut begun = match begin::begin(options, &holder) {
            Ok(begun) => begun,
            Err(error) => {
                holder.give_up();
                return Err(error);
            }
        };
        summary.resumed |= first && !begun.last.is_empty();
        summary.partitions = begun.plan.splits().len();
        summary.lost.clone_from(&begun.book.lost);
        first = false;
        match read(options, &begun, control, &mut summary, advance)? {
            Ended::AtTheEnd => {
                begun.book.to = None;
                begun.write_book(&holder)?;
                return Ok(summary);
            }
            Ended::Stopped => {
                summary.stopped = true;
                return Ok(summary);
            }
            Ended::Grown => tracing::info!(topic = options.topic, "the topic has got more partitions"),
        }
    }
}

/// Why reading came to an end.
enum Ended {
    AtTheEnd,
    Stopped,
    Grown,
}

fn read(
    options: &RecordOptions,
    begun: &Begun,
    control: &Control,
    summary: &mut RecordSummary,
    advance: &dyn Fn(u64, Option<u64>),
) -> Result<Ended, ArchiveError> {
    let mut reader = begun.plan.reader(0, 1)?;
    let splits = reader.splits().to_vec();
    let records_ahead: Option<u64> = splits.iter().map(|split| split.records_ahead).sum();
    let mut sink = Sink {
        writer: ArchiveWriter::new(&options.folder, archive_options(options, splits.len()))?,
        partitions: splits.iter().map(|split| split.partition).collect(),
        last: splits.iter().map(|split| begun.last.get(&split.partition)).collect(),
        problem: None,
    };
    let mut order: Vec<usize> = (0..splits.len()).collect();
    let mut looked = Instant::now();
    let mut files_told = 0;
    let ended = loop {
        if order.is_empty() {
            break Ok(Ended::AtTheEnd);
        }
        if control.stop_asked() {
            break Ok(Ended::Stopped);
        }
        if options.to.is_none() && looked.elapsed() >= options.look_for_partitions {
            looked = Instant::now();
            if begin::partitions(options).is_some_and(|partitions| partitions > splits.len()) {
                break Ok(Ended::Grown);
            }
        }
        let request =
            ReadRequest { bytes_max: READ_BYTES, records_max: usize::MAX, wait: WAIT, order: &order };
        let progress = match reader.read(request, &mut |record| sink.take(&record)) {
            Ok(progress) => progress,
            Err(error) => break Err(error),
        };
        if let Some(problem) = sink.problem.take() {
            return Err(problem.told(options));
        }
        sink.writer.close_older_than(options.file_interval)?;
        let written = sink.writer.summary();
        if written.files > files_told {
            files_told = written.files;
            tracing::info!(
                topic = options.topic,
                records = written.records,
                files = written.files,
                "recorded"
            );
        }
        order.retain(|split| !progress.ended.contains(split));
        // No split is read to its end before the others.
        if !order.is_empty() {
            order.rotate_left(1);
        }
        advance(progress.records as u64, records_ahead);
    };
    // What was read before the brokers went away is as good as any.
    let written = sink.writer.finish()?;
    summary.records += written.records;
    summary.value_bytes += written.value_bytes;
    summary.files += written.files;
    summary.file_bytes += written.file_bytes;
    ended.map_err(|source: SourceError| ArchiveError::Broken {
        folder: options.folder.display().to_string(),
        source,
    })
}

fn archive_options(options: &RecordOptions, partitions: usize) -> ArchiveOptions {
    let defaults = ArchiveOptions::default();
    let share = (GROUPS_BYTES / (partitions * options.topics).max(1)).max(GROUP_BYTES_MIN);
    ArchiveOptions {
        row_group_bytes: share.min(defaults.row_group_bytes),
        file_bytes_max: options.file_bytes_max,
        durable: true,
        ..defaults
    }
}

/// Takes records as the reader hands them over.
struct Sink<'a> {
    writer: ArchiveWriter,
    /// Of each split.
    partitions: Vec<i32>,
    /// Of each split its last record in the archive, until the topic's record of the same offset, or a later one, has come.
    last: Vec<Option<&'a LastRecord>>,
    problem: Option<Problem>,
}

enum Problem {
    Write(ArchiveWriteError),
    /// The topic has another record where the archive's last is.
    Another {
        partition: i32,
        offset: i64,
    },
}

impl Problem {
    fn told(self, options: &RecordOptions) -> ArchiveError {
        match self {
            Problem::Write(error) => error.into(),
            Problem::Another { partition, offset } => ArchiveError::MadeAnew {
                topic: options.topic.clone(),
                folder: options.folder.display().to_string(),
                detail: format!(
                    "partition {partition} has another record at offset {offset} than the archive"
                ),
            },
        }
    }
}

impl Sink<'_> {
    fn take(&mut self, record: &Record<'_>) {
        if self.problem.is_some() {
            return;
        }
        let partition = self.partitions[record.split];
        if let Some(last) = self.last[record.split].take()
            && record.offset <= last.offset
        {
            if !last.is(record) {
                self.problem = Some(Problem::Another { partition, offset: record.offset });
            }
            return;
        }
        let timestamp_ms = record.timestamp_us.map(|us| us.div_euclid(1000));
        let (key, value) = (record.key, record.value);
        let pushed = self.writer.push(partition, record.offset, timestamp_ms, key, value, record.headers);
        if let Err(error) = pushed {
            self.problem = Some(Problem::Write(error));
        }
    }
}

impl Begun {
    fn write_book(&self, holder: &Holder) -> Result<(), ArchiveError> {
        Ok(super::books::write(&holder.book(begin::BOOK), &self.book)?)
    }
}
