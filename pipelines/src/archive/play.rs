//! An archive becomes a topic again: the same partitions, keys, values, headers and timestamps, each record once.
//!
//! ```text
//!   split 0 ─▶ queue ─┐
//!   split 1 ─▶ queue ─┼─▶ the one whose next record is the oldest ─▶ [wait until it is due] ─▶ transaction ─▶ topic
//!   split 2 ─▶ queue ─┘    (within a split: by offset)               with a speed              with "next: 0:1200,1:900"
//! ```
//!
//! How far it is stands in the transaction itself: the next offset of each partition is the note that goes with it
//! ([`TransactionalWriter`]). Brokers forget it after a week of silence, so it is also noted in the archive, after each transaction: that
//! note may be behind the brokers by one, never ahead, unless the topic was made anew: then its offsets can't hold what was sent.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use thalweg_engine::control::Control;
use thalweg_engine::shard::hash_key;
use thalweg_kafka::{
    KafkaConfig, Position, Progress, TransactionalConfig, TransactionalWriter, WriteRecord, create_topic,
    refused_sink_property,
};
use thalweg_operators::source::archive::ArchivePlan;

use self::feed::{DUE_NOW, Feed, Owned};
use super::books::{self, FORMAT};
use super::{ArchiveError, BOOKS, resolve_existing};

mod feed;

/// Records and bytes of a transaction: large, because each costs the brokers a round of writing.
const RECORDS_AT_ONCE: u64 = 50_000;
const BYTES_AT_ONCE: usize = 32 << 20;
/// With a speed, what was sent is to be seen within this.
const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// Brokers keep a note of up to 4,096 bytes.
const NOTE_BYTES_MAX: usize = 4000;
/// How long brokers may take to say whether there is a topic.
const LOOK_TIMEOUT: Duration = Duration::from_secs(20);

/// What to play, and where to.
#[derive(Clone)]
pub struct PlayOptions {
    /// The archive.
    pub folder: PathBuf,
    /// The topic, which has to have as many partitions as the archive.
    pub topic: String,
    /// `host:port`, several separated by commas.
    pub brokers: String,
    /// librdkafka's properties.
    pub properties: BTreeMap<String, String>,
    /// In each partition, playing begins with the first record whose timestamp is not before this, microseconds since the epoch; `None`:
    /// with the first.
    pub from_us: Option<i64>,
    /// It ends before the first record whose timestamp is not before this; `None`: with the last.
    pub to_us: Option<i64>,
    /// How many times as fast as the records' timestamps go; `None`: as fast as it goes.
    pub speed: Option<f64>,
    /// A name to know it by when it is run again; `None`: one that follows from the archive's path, the topic and where it begins.
    pub name: Option<String>,
    /// Make the topic where there is none: one that keeps records of any age.
    pub create_topic: bool,
}

// Not derived: properties hold passwords.
impl std::fmt::Debug for PlayOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} into {} of {}", self.folder.display(), self.topic, self.brokers)
    }
}

/// What playing came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlaySummary {
    /// Its name.
    pub name: String,
    /// The archive.
    pub folder: String,
    /// The topic.
    pub topic: String,
    /// Records sent by this run.
    pub records: u64,
    /// Records sent before, under the same name.
    pub sent_before: u64,
    /// Whether it was stopped before the end.
    pub stopped: bool,
}

/// How far playing is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Sent {
    records: u64,
    /// The next offset of each partition that was begun.
    next: BTreeMap<i32, i64>,
}

/// What was sent, for when the brokers have forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    format: u32,
    name: String,
    topic: String,
    /// The cluster's own id; none: two that don't say who they are may be two.
    cluster: Option<String>,
    sent: Sent,
}

impl Sent {
    fn note(&self) -> String {
        let each: Vec<String> =
            self.next.iter().map(|(partition, offset)| format!("{partition}:{offset}")).collect();
        format!("next {}", each.join(","))
    }

    fn from_note(progress: &Progress) -> Option<Sent> {
        let mut next = BTreeMap::new();
        for part in progress.note.strip_prefix("next ")?.split(',') {
            let (partition, offset) = part.split_once(':')?;
            next.insert(partition.parse().ok()?, offset.parse().ok()?);
        }
        Some(Sent { records: progress.number, next })
    }

    /// Whether a topic that ends there can hold what was sent. Offsets never go back, whatever is deleted, while the topic lives.
    fn is_held(&self, ends: &BTreeMap<i32, i64>) -> bool {
        let held =
            ends.values().fold(0_u64, |held, end| held.saturating_add(u64::try_from(*end).unwrap_or(0)));
        held >= self.records
            && self.next.keys().all(|partition| ends.get(partition).is_some_and(|end| *end > 0))
    }
}

/// Plays an archive into a topic: what was not played before, under the same name. `advance` hears of records as they are sent, and
/// of how many there are in all (more, in all).
///
/// # Errors
/// The first thing that went wrong. What was committed before counts, and the next run goes on behind it.
pub fn play(
    options: &PlayOptions,
    control: &Control,
    advance: &dyn Fn(u64, u64),
) -> Result<PlaySummary, ArchiveError> {
    if let Some((name, why)) =
        options.properties.keys().find_map(|name| Some((name, refused_sink_property(name)?)))
    {
        let detail = format!("{name} can't be set: {why}");
        return Err(ArchiveError::Option { option: "--property", detail, hint: "take it out".to_owned() });
    }
    if let (Some(from), Some(to)) = (options.from_us, options.to_us)
        && to <= from
    {
        return Err(ArchiveError::Option {
            option: "--to",
            detail: "is not later than --from".to_owned(),
            hint: "no record lies between the two: let it be later".to_owned(),
        });
    }
    let mut plan = resolve_existing(&options.folder, true)?;
    let partitions = plan.splits().last().map_or(0, |split| split.partition + 1);
    let name = match &options.name {
        Some(name) => name.clone(),
        None => default_name(options),
    };
    let config = TransactionalConfig {
        name: "to-kafka".to_owned(),
        id: format!("thalweg.archive.{name}"),
        brokers: options.brokers.clone(),
        topic: options.topic.clone(),
        properties: options.properties.clone(),
    };
    if options.create_topic && config.check(LOOK_TIMEOUT).is_err() {
        create_topic(&options.brokers, &options.topic, partitions, &[("retention.ms", "-1")])?;
    }
    let mut player = Player::open(options, config, &name)?;
    let there = player.writer.partitions(&options.topic)?;
    if there < partitions {
        return Err(ArchiveError::Option {
            option: "--topic",
            detail: format!("{} has {there} partitions, and the archive {partitions}", options.topic),
            hint: "give it as many, or name another topic; --create-topic makes one".to_owned(),
        });
    }
    let sent_before = player.sent.records;
    cut(&mut plan, &player.sent, options)?;
    let stopped = player.play(&plan, options, control, advance)?;
    Ok(PlaySummary {
        name,
        folder: options.folder.display().to_string(),
        topic: options.topic.clone(),
        records: player.sent.records - sent_before,
        sent_before,
        stopped,
    })
}

/// Lets reading begin and end where it is asked to, and no earlier than behind what was sent.
fn cut(plan: &mut ArchivePlan, sent: &Sent, options: &PlayOptions) -> Result<(), ArchiveError> {
    let ends: BTreeMap<i32, i64> = plan.ends().collect();
    for (partition, next) in &sent.next {
        if ends.get(partition).is_none_or(|end| end < next) {
            return Err(ArchiveError::Folder {
                folder: options.folder.display().to_string(),
                detail: format!(
                    "holds less of partition {partition} than was sent to {} before (up to offset {})",
                    options.topic,
                    next - 1
                ),
                hint: "it is another archive by now: give --name to send all of it",
            });
        }
    }
    plan.between(options.from_us, options.to_us)?;
    plan.start_at(|partition| sent.next.get(&partition).copied());
    Ok(())
}

/// Where each partition of the topic ends, whoever wrote to it.
fn ends(options: &PlayOptions) -> Result<BTreeMap<i32, i64>, ArchiveError> {
    let mut config = KafkaConfig::new("to-kafka", &options.brokers, [&options.topic]);
    config.end = Some(Position::Latest);
    config.properties.clone_from(&options.properties);
    // Where another writer's transaction is open, what is committed ends before what was sent.
    config.properties.insert("isolation.level".to_owned(), "read_uncommitted".to_owned());
    let plan = config.resolve(LOOK_TIMEOUT)?;
    Ok(plan.splits().iter().map(|split| (split.partition, split.end.unwrap_or(split.start))).collect())
}

fn default_name(options: &PlayOptions) -> String {
    let folder = options.folder.canonicalize().unwrap_or_else(|_| options.folder.clone());
    let mut asked = format!("{}\n{}", folder.display(), options.topic);
    // What begins elsewhere is another piece; what ends later is the same one, and goes on.
    if let Some(from_us) = options.from_us {
        asked.push_str(&format!("\nfrom {from_us}"));
    }
    format!("{:016x}", hash_key(asked.as_bytes()))
}

struct Player {
    writer: TransactionalWriter,
    topic: String,
    /// Up to the last commit.
    sent: Sent,
    note: Note,
    note_path: PathBuf,
}

impl Player {
    /// Fences off whoever plays under the same name, and finds out how far they came.
    fn open(options: &PlayOptions, config: TransactionalConfig, name: &str) -> Result<Player, ArchiveError> {
        let writer = TransactionalWriter::open(config)?;
        let cluster = writer.cluster_id();
        let place =
            hash_key(format!("{}/{}", cluster.as_deref().unwrap_or_default(), options.topic).as_bytes());
        let note_path = options.folder.join(BOOKS).join(format!("played-{name}-{place:016x}.json"));
        let noted: Option<Note> = if cluster.is_some() { books::read(&note_path)? } else { None };
        let (topic, nothing) = (options.topic.clone(), Sent::default());
        let note = noted.unwrap_or_else(|| Note {
            format: FORMAT,
            name: name.to_owned(),
            topic: topic.clone(),
            cluster,
            sent: nothing,
        });
        let committed = match (writer.progress(), writer.note()) {
            (Some(number), Some(words)) => {
                let progress = Progress { number, note: words.to_owned() };
                let sent = Sent::from_note(&progress).ok_or_else(|| ArchiveError::Option {
                    option: "--name",
                    detail: format!("{name} is another writer's: its note is \"{words}\""),
                    hint: "choose another".to_owned(),
                })?;
                Some(sent)
            }
            _ => None,
        };
        let committed = committed.unwrap_or_default();
        let sent = if note.sent.records > committed.records { note.sent.clone() } else { committed.clone() };
        if sent != committed && !sent.is_held(&ends(options)?) {
            return Err(ArchiveError::Option {
                option: "--topic",
                detail: format!(
                    "{topic} can't hold the {} records that were sent to it by {}: it was deleted and made anew since",
                    sent.records,
                    note_path.display()
                ),
                hint: "send all records with another --name, or remove that book".to_owned(),
            });
        }
        Ok(Player { writer, topic, sent, note, note_path })
    }

    /// Whether it was stopped before the end.
    fn play(
        &mut self,
        plan: &ArchivePlan,
        options: &PlayOptions,
        control: &Control,
        advance: &dyn Fn(u64, u64),
    ) -> Result<bool, ArchiveError> {
        let rows = plan.rows();
        let mut feed = Feed::new(plan)?;
        let mut clock = options.speed.map(|speed| Pace { speed, begun: None });
        let mut open = Open::default();
        loop {
            if control.stop_asked() {
                self.commit(&mut open, rows, advance)?;
                return Ok(true);
            }
            let Some(due_us) = feed.next_due()? else { break };
            if let Some(clock) = &mut clock {
                let wait = clock.wait(due_us);
                if !wait.is_zero() {
                    if open.since.is_some_and(|since| since.elapsed() + wait >= COMMIT_EVERY) {
                        self.commit(&mut open, rows, advance)?;
                    }
                    control.wait(wait.min(COMMIT_EVERY));
                    continue;
                }
            }
            let Some(record) = feed.take() else { break };
            if open.since.is_none() {
                self.writer.begin()?;
                open = Open { since: Some(Instant::now()), next: self.sent.next.clone(), ..Open::default() };
            }
            self.send(&record)?;
            open.next.insert(record.partition, record.offset + 1);
            open.records += 1;
            open.bytes += record.bytes();
            let full = open.records >= RECORDS_AT_ONCE || open.bytes >= BYTES_AT_ONCE;
            let old = clock.is_some() && open.since.is_some_and(|since| since.elapsed() >= COMMIT_EVERY);
            if full || old {
                self.commit(&mut open, rows, advance)?;
            }
        }
        self.commit(&mut open, rows, advance)?;
        Ok(false)
    }

    fn send(&mut self, record: &Owned) -> Result<(), ArchiveError> {
        let headers: Vec<(&str, Option<&[u8]>)> =
            record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        let sent = self.writer.write(WriteRecord {
            topic: &self.topic,
            partition: record.partition,
            timestamp_ms: record.timestamp_ms,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &headers,
        });
        sent.map_err(|error| {
            self.give_up();
            error.into()
        })
    }

    fn commit(&mut self, open: &mut Open, rows: u64, advance: &dyn Fn(u64, u64)) -> Result<(), ArchiveError> {
        let Open { since: Some(_), next, records, .. } = std::mem::take(open) else { return Ok(()) };
        let sent = Sent { records: self.sent.records + records, next };
        let note = sent.note();
        if note.len() > NOTE_BYTES_MAX {
            self.give_up();
            return Err(ArchiveError::Option {
                option: "--topic",
                detail: format!("would get {} partitions", sent.next.len()),
                hint: "brokers note where only some 300 of them stand: play the partitions in parts, from copies of their files"
                    .to_owned(),
            });
        }
        if let Err(error) = self.writer.commit(sent.records, &note) {
            self.give_up();
            return Err(error.into());
        }
        self.sent = sent;
        self.note.sent = self.sent.clone();
        if let Err(error) = self.write_note() {
            // Who may read an archive, and not write to it, is not kept from playing it.
            tracing::warn!(
                "what was sent is known to the brokers alone, and they forget it after a week: {error}"
            );
        }
        advance(records, rows);
        Ok(())
    }

    fn write_note(&self) -> Result<(), ArchiveError> {
        let folder = self.note_path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(|error| super::unwritable(folder, error))?;
        Ok(books::write(&self.note_path, &self.note)?)
    }

    fn give_up(&mut self) {
        // What can't be aborted now is aborted by the brokers, or when the next run begins.
        if let Err(error) = self.writer.abort() {
            tracing::debug!("{error}");
        }
    }
}

/// The transaction that is open, if one is.
#[derive(Default)]
struct Open {
    since: Option<Instant>,
    next: BTreeMap<i32, i64>,
    records: u64,
    bytes: usize,
}

/// Record time against the clock on the wall.
struct Pace {
    speed: f64,
    /// When the first record with a timestamp was due, on either.
    begun: Option<(i64, Instant)>,
}

impl Pace {
    /// How long until a record is due.
    fn wait(&mut self, due_us: i64) -> Duration {
        if due_us == DUE_NOW {
            return Duration::ZERO;
        }
        let (first_us, at) = *self.begun.get_or_insert_with(|| (due_us, Instant::now()));
        let after_s = due_us.saturating_sub(first_us).max(0) as f64 / 1e6 / self.speed;
        // So far off that it can't be counted is for ever, in the end.
        let after = Duration::try_from_secs_f64(after_s).unwrap_or(Duration::MAX);
        after.saturating_sub(at.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use thalweg_operators::source::archive::{ArchiveOptions, ArchiveWriter};

    use super::*;

    #[test]
    fn a_note_says_how_far_it_is() {
        let sent = Sent { records: 12, next: [(0, 7), (3, 120)].into() };
        assert_eq!(sent.note(), "next 0:7,3:120");
        let progress = |note: &str| Progress { number: 12, note: note.to_owned() };
        assert_eq!(Sent::from_note(&progress(&sent.note())), Some(sent));
        assert_eq!(Sent::from_note(&progress("refused rows up to checkpoint 7")), None);
    }

    #[test]
    fn ten_times_as_fast_is_due_ten_times_as_soon() {
        let mut pace = Pace { speed: 10.0, begun: None };
        assert_eq!(pace.wait(5_000_000), Duration::ZERO);
        let wait = pace.wait(25_000_000);
        assert!(wait > Duration::from_millis(1900) && wait <= Duration::from_secs(2), "{wait:?}");
        assert_eq!(pace.wait(4_000_000), Duration::ZERO, "it was due before");
    }

    #[test]
    fn the_clock_begins_with_the_first_timestamp() {
        let folder = tempfile::tempdir().unwrap();
        let noon_ms = 1_772_452_800_000;
        let mut writer = ArchiveWriter::new(folder.path(), ArchiveOptions::default()).unwrap();
        let times = [None, Some(0), Some(-5), Some(noon_ms), None, Some(noon_ms + 2000)];
        for (offset, timestamp_ms) in (0..).zip(times) {
            writer.push(0, offset, timestamp_ms, None, Some(b"x"), &[]).unwrap();
        }
        writer.finish().unwrap();
        let mut feed = Feed::new(&resolve_existing(folder.path(), true).unwrap()).unwrap();
        let mut pace = Pace { speed: 2.0, begun: None };
        for (at, timestamp_ms) in times.into_iter().enumerate() {
            let wait = pace.wait(feed.next_due().unwrap().unwrap());
            let told = if at < 5 { wait.is_zero() } else { wait > Duration::from_millis(900) };
            assert!(told && wait <= Duration::from_secs(1), "record {at} waits for {wait:?}");
            assert_eq!(feed.take().unwrap().timestamp_ms, timestamp_ms.filter(|ms| *ms > 0));
        }
        assert!(feed.next_due().unwrap().is_none());
    }

    #[test]
    fn a_topic_that_is_too_short_does_not_hold_what_was_sent() {
        let sent = Sent { records: 100, next: [(0, 70), (2, 900)].into() };
        assert!(sent.is_held(&[(0, 70), (1, 0), (2, 31)].into()), "transactions take offsets, too");
        assert!(!sent.is_held(&[(0, 0), (1, 0), (2, 0)].into()), "made anew");
        assert!(!sent.is_held(&[(0, 50), (1, 0), (2, 49)].into()), "made anew, and written to");
        assert!(!sent.is_held(&[(0, 500), (1, 0), (2, 0)].into()), "one partition has nothing");
        assert!(!sent.is_held(&[(0, 500)].into()), "one is not there");
    }
}
