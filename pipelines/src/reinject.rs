//! Refused rows back into the stream: mended where they need it, and once.
//!
//! ```text
//!   <output>/_rejected/part-0000000007-….parquet                          ┌─▶ topic: a transaction that also says "7 is sent"
//!   files of checkpoint 7, for good ─▶ rows ─▶ where, set ─▶ records ─────┤
//!                                     (files.rs) (plan/mend.rs)           └─▶ archive: staged ─▶ "7 is sent" ─▶ published
//! ```
//!
//! What was sent is known by checkpoint: the files of a published one never change, and later ones only add to them. A few
//! checkpoints at a time are sent as a whole or not at all, together with the number of the last one ([`ledger::Sent`]). So the same
//! reinjection goes on where it was, after a crash and after a month. Which one is the same says its name: the user's, or a hash
//! of what it was told.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use thalweg_engine::control::Control;
use thalweg_engine::shard::hash_key;

use self::archive::ArchiveTarget;
pub use self::error::ReinjectError;
use self::error::{unreadable, unwritable};
use self::files::{RefusedFolder, Unit};
use self::ledger::Sent;
use self::records::{Outgoing, Row, pass};
use self::topic::TopicTarget;
use crate::lower::sinks::{LATE, REJECTED};
pub use crate::plan::MendProblem;
use crate::plan::{MEND_COLUMNS, Mend};

mod archive;
mod error;
mod files;
mod ledger;
mod records;
mod topic;

/// The columns that conditions and new values see.
pub const COLUMNS: [&str; 12] = MEND_COLUMNS;

/// Which rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Those that can't be decoded.
    Rejected,
    /// Those behind their split's watermark.
    Late,
}

impl Refused {
    /// Their folder in the output folder.
    pub fn folder(self) -> &'static str {
        match self {
            Refused::Rejected => REJECTED,
            Refused::Late => LATE,
        }
    }
}

/// Where records go.
#[derive(Clone)]
pub enum Target {
    /// A topic.
    Topic {
        /// Its name.
        topic: String,
        /// `host:port`, several separated by commas.
        brokers: String,
        /// librdkafka's properties.
        properties: BTreeMap<String, String>,
    },
    /// A folder of an archive, which is made where there is none.
    Archive(PathBuf),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Topic { topic, .. } => write!(f, "topic {topic}"),
            Target::Archive(folder) => write!(f, "archive {}", folder.display()),
        }
    }
}

// Not derived: properties hold passwords.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What to take up again, and where to send it.
#[derive(Debug, Clone)]
pub struct ReinjectOptions {
    /// The output folder of the job that refused the rows.
    pub from: PathBuf,
    /// Which of them.
    pub refused: Refused,
    /// A condition over [`COLUMNS`]; none: all.
    pub condition: Option<String>,
    /// New values: `value = <expression>`, `key = <expression>`.
    pub sets: Vec<String>,
    /// Where to.
    pub target: Target,
    /// The reinjection's name; none: one that follows from all of the above.
    pub name: Option<String>,
    /// About how many rows are sent as a whole: those of a checkpoint always are, and of several while they are fewer.
    pub rows_at_once: u64,
}

/// How many rows are sent as a whole by default.
pub const ROWS_AT_ONCE: u64 = 50_000;

/// What became of rows: read = not selected + without value + sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Rows of the files.
    pub read: u64,
    /// Those that the condition left out.
    pub not_selected: u64,
    /// Those for which the new value came to null: they are not sent.
    pub without_value: u64,
    /// Those that were sent.
    pub sent: u64,
    /// Those of them with another key or value than before.
    pub mended: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, more: Counts) {
        self.read += more.read;
        self.not_selected += more.not_selected;
        self.without_value += more.without_value;
        self.sent += more.sent;
        self.mended += more.mended;
    }
}

/// What a reinjection came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReinjectSummary {
    /// Its name.
    pub name: String,
    /// Where the rows were.
    pub from: String,
    /// Where they went: `topic …`, `archive …`.
    pub to: String,
    /// Whether nothing was sent, but only looked at.
    pub dry_run: bool,
    /// Whether it was stopped before the end; what is left is for the next run.
    pub stopped: bool,
    /// Rows, of this run.
    #[serde(flatten)]
    pub counts: Counts,
    /// The first and last checkpoint of this run's files.
    pub checkpoints: Option<(u64, u64)>,
    /// Up to which checkpoint all was sent before.
    pub sent_before: Option<u64>,
    /// The first checkpoint whose files are not all published yet: it and later ones are left to the next run.
    pub unpublished: Option<u64>,
}

/// A record that would be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// The topic it came from.
    pub topic: String,
    /// Its partition there.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Why it was refused.
    pub reason: String,
    /// Its key; bytes that are no text as `\x…`.
    pub key: Option<String>,
    /// Its value as it was.
    pub value_before: Option<String>,
    /// Its value as it would be sent.
    pub value: Option<String>,
}

/// Where records go: as many as belong together, with what says that they are sent.
trait Output {
    /// Up to where all was sent before.
    fn sent(&self) -> Option<&Sent>;
    fn begin(&mut self) -> Result<(), ReinjectError>;
    fn send(&mut self, record: &Outgoing<'_>) -> Result<(), ReinjectError>;
    /// Makes all since `begin` count, `records` in number: now, or when the next run begins.
    fn commit(&mut self, sent: &Sent, records: u64) -> Result<(), ReinjectError>;
    /// Takes all since `begin` back.
    fn abort(&mut self);
}

/// Sends refused rows that were not sent before. `advance` hears of rows as they are read, and of how many there are in all:
/// (rows more, rows in all). Ends early when `control` is told to stop; what is sent then is whole checkpoints.
///
/// # Errors
/// The first thing that went wrong. What was sent before counts, and the next run goes on after it.
pub fn reinject(
    options: &ReinjectOptions,
    control: &Control,
    advance: &dyn Fn(u64, u64),
) -> Result<ReinjectSummary, ReinjectError> {
    let ready = Ready::new(options)?;
    let mut output: Box<dyn Output> = match &options.target {
        Target::Topic { topic, brokers, properties } => {
            let config = topic::config(&ready.name, topic, brokers, properties)?;
            Box::new(TopicTarget::open(config, &ready)?)
        }
        Target::Archive(folder) => Box::new(ArchiveTarget::open(folder, &ready)?),
    };
    let sent = output.sent().cloned();
    let (units, mut summary) = ready.units(options, sent.as_ref())?;
    let rows_in_all = units.iter().map(|unit| unit.rows).sum();
    for unit in &units {
        output.begin()?;
        let passed = pass(&ready.mend, unit, control, &mut |record, _| output.send(record), &|rows| {
            advance(rows, rows_in_all);
        });
        let counts = match passed {
            Ok(Some(counts)) => counts,
            Ok(None) => {
                output.abort();
                summary.stopped = true;
                break;
            }
            Err(error) => {
                output.abort();
                return Err(error);
            }
        };
        output.commit(&unit.sent, counts.sent)?;
        tracing::info!(checkpoint = unit.sent.checkpoint, records = counts.sent, "refused rows sent");
        summary.add(unit, counts);
    }
    Ok(summary)
}

/// Does all but sending: what [`reinject`] would do now, and the first `samples` records it would send. Changes nothing anywhere.
///
/// # Errors
/// As [`reinject`], as far as it can be known.
pub fn preview(
    options: &ReinjectOptions,
    samples: usize,
    control: &Control,
    advance: &dyn Fn(u64, u64),
) -> Result<(ReinjectSummary, Vec<Sample>), ReinjectError> {
    let ready = Ready::new(options)?;
    let sent = match &options.target {
        Target::Topic { topic, brokers, properties } => {
            topic::sent(&topic::config(&ready.name, topic, brokers, properties)?, &ready)?
        }
        Target::Archive(folder) => archive::sent(folder, &ready)?,
    };
    let (units, mut summary) = ready.units(options, sent.as_ref())?;
    summary.dry_run = true;
    let rows_in_all = units.iter().map(|unit| unit.rows).sum();
    let mut first = Vec::new();
    for unit in &units {
        let mut sample = |record: &Outgoing<'_>, row: &Row<'_>| {
            if first.len() < samples {
                first.push(row.sample(record));
            }
            Ok(())
        };
        match pass(&ready.mend, unit, control, &mut sample, &|rows| advance(rows, rows_in_all))? {
            Some(counts) => summary.add(unit, counts),
            None => {
                summary.stopped = true;
                break;
            }
        }
    }
    Ok((summary, first))
}

/// What was asked, checked.
struct Ready {
    name: String,
    mend: Mend,
    /// The output folder.
    from: PathBuf,
    refused: Refused,
}

impl Ready {
    fn new(options: &ReinjectOptions) -> Result<Ready, ReinjectError> {
        let mend = Mend::new(options.condition.as_deref(), &options.sets)?;
        let from = files::output_folder(&options.from)?;
        let name = match &options.name {
            Some(name) if is_name(name) => name.clone(),
            Some(name) => return Err(ReinjectError::Name { name: name.clone() }),
            None => default_name(options, &from),
        };
        Ok(Ready { name, mend, from, refused: options.refused })
    }

    fn units(
        &self,
        options: &ReinjectOptions,
        sent: Option<&Sent>,
    ) -> Result<(Vec<Unit>, ReinjectSummary), ReinjectError> {
        let folder = RefusedFolder::look(&self.from, self.refused)?;
        let summary = ReinjectSummary {
            name: self.name.clone(),
            from: folder.path.display().to_string(),
            to: options.target.to_string(),
            dry_run: false,
            stopped: false,
            counts: Counts::default(),
            checkpoints: None,
            sent_before: sent.map(|sent| sent.checkpoint),
            unpublished: folder.unpublished,
        };
        Ok((folder.units_after(sent, options.rows_at_once)?, summary))
    }
}

impl ReinjectSummary {
    fn add(&mut self, unit: &Unit, counts: Counts) {
        self.counts += counts;
        let first = self.checkpoints.map_or(unit.first, |(first, _)| first);
        self.checkpoints = Some((first, unit.sent.checkpoint));
    }
}

fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (1..=100).contains(&name.len()) && name.chars().all(allowed) && !name.starts_with('.')
}

// The same for the same question, wherever it is asked from. An archive keeps its own books, and may be moved.
fn default_name(options: &ReinjectOptions, from: &Path) -> String {
    let to = match &options.target {
        Target::Topic { topic, .. } => Some(topic),
        Target::Archive(_) => None,
    };
    let asked = (from, options.refused.folder(), &options.condition, &options.sets, to);
    let asked = serde_json::to_vec(&asked).unwrap_or_else(|_| format!("{asked:?}").into_bytes());
    format!("{:016x}", hash_key(&asked))
}
