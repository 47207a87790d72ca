//! Where a recording begins, or goes on: what the folder holds, laid beside what the topic holds.
//!
//! | the archive ends | the topic | |
//! |---|---|---|
//! | behind the topic's end | was made anew, and is shorter | an error |
//! | within | has another record where the archive's last is | an error: made anew, and longer |
//! | within | has the same record there | go on behind it |
//! | before the topic's beginning | has deleted what was not recorded yet | an error, or with `skip_lost` a noted gap |

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thalweg_kafka::{KafkaConfig, KafkaPlan, Position, refused_property};
use thalweg_operators::source::archive::ArchivePlan;
use thalweg_operators::source::{ReadRequest, Record, SplitReader};

use super::{Lost, Place, RecordOptions};
use crate::archive::books::{self, FORMAT};
use crate::archive::holder::Holder;
use crate::archive::{ArchiveError, resolve};

pub(crate) const BOOK: &str = "recording.json";
/// How long brokers may take to say what they hold.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Fetched ahead of what is read, however many topics share the memory.
const PREFETCH_BYTES_MIN: usize = 1 << 20;
/// How long they may take while a recording goes on.
const LOOK_TIMEOUT: Duration = Duration::from_secs(3);

/// What an archive is a recording of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Book {
    format: u32,
    topic: String,
    /// The brokers that were asked last, for people.
    brokers: String,
    /// Where it was to begin, in words.
    from: String,
    /// Where each partition began.
    starts: BTreeMap<i32, i64>,
    /// Where it is to end, until it has ended.
    pub(super) to: Option<End>,
    /// What was deleted before it was recorded.
    #[serde(default)]
    pub(super) lost: Vec<Lost>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct End {
    /// In words.
    asked: String,
    offsets: BTreeMap<i32, i64>,
}

/// A recording that is ready to read.
pub(super) struct Begun {
    pub(super) book: Book,
    pub(super) plan: KafkaPlan,
    /// The last record of each partition that is in the archive and, as far as is known, still in the topic: the first to be read.
    pub(super) last: BTreeMap<i32, LastRecord>,
}

/// A record of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LastRecord {
    pub(super) offset: i64,
    timestamp_ms: Option<i64>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
}

impl LastRecord {
    fn of(record: &Record<'_>) -> LastRecord {
        LastRecord {
            offset: record.offset,
            timestamp_ms: record.timestamp_us.map(|us| us.div_euclid(1000)),
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
        }
    }

    /// Whether a record of the topic is the same.
    pub(super) fn is(&self, record: &Record<'_>) -> bool {
        (self.offset, self.timestamp_ms) == (record.offset, record.timestamp_us.map(|us| us.div_euclid(1000)))
            && (self.key.as_deref(), self.value.as_deref()) == (record.key, record.value)
    }
}

/// What was deleted before it could be recorded into a folder, as its recorder has noted.
pub(crate) fn lost(folder: &std::path::Path) -> Result<Vec<Lost>, ArchiveError> {
    let book: Option<Book> = books::read(&folder.join(crate::archive::BOOKS).join(BOOK))?;
    Ok(book.map_or_else(Vec::new, |book| merged(book.lost)))
}

/// Each offset once, by partition: between two runs that skip what was lost, more may be lost at the same place.
fn merged(mut lost: Vec<Lost>) -> Vec<Lost> {
    lost.sort_by_key(|lost| (lost.partition, lost.from));
    lost.dedup_by(|next, before| {
        let overlap = next.partition == before.partition && next.from <= before.to;
        if overlap {
            before.to = before.to.max(next.to);
        }
        overlap
    });
    lost
}

/// How many partitions the topic has now, as far as the brokers say so soon.
pub(super) fn partitions(options: &RecordOptions) -> Option<usize> {
    Some(config(options, Position::Latest, None).resolve(LOOK_TIMEOUT).ok()?.splits().len())
}

/// Finds out where to go on, notes it, and makes a plan of it.
pub(super) fn begin(options: &RecordOptions, holder: &Holder) -> Result<Begun, ArchiveError> {
    if let Some((name, why)) =
        options.properties.keys().find_map(|name| Some((name, refused_property(name)?)))
    {
        let hint = "take it out".to_owned();
        return Err(ArchiveError::Option {
            option: "--property",
            detail: format!("{name} can't be set: {why}"),
            hint,
        });
    }
    if let (Place::Time(from), Some(Place::Time(to))) = (&options.from, &options.to)
        && from > to
    {
        return Err(ArchiveError::Option {
            option: "--to",
            detail: "lies before --from".to_owned(),
            hint: "swap the two".to_owned(),
        });
    }
    let archived = resolve(&holder.folder, false)?;
    let known: Option<Book> = books::read(&holder.book(BOOK))?;
    // Asked before anything is written: a wrong topic leaves nothing behind but an empty folder.
    let mut plan = config(options, Position::Earliest, Some(Position::Latest)).resolve(RESOLVE_TIMEOUT)?;
    let range: BTreeMap<i32, (i64, i64)> = plan
        .splits()
        .iter()
        .map(|split| (split.partition, (split.start, split.end.unwrap_or(split.start))))
        .collect();
    let mut book = match known {
        Some(book) => still_fits(book, options, holder)?,
        None if archived.is_some() => {
            return Err(ArchiveError::Folder {
                folder: holder.folder.display().to_string(),
                detail: "holds an archive that was not recorded by this command".to_owned(),
                hint: "record into another folder",
            });
        }
        None => first_book(options)?,
    };
    // Partitions that the topic has got since are recorded from their beginning.
    for (&partition, &(lowest, _)) in &range {
        book.starts.entry(partition).or_insert(lowest);
    }

    let ends: BTreeMap<i32, i64> = archived.iter().flat_map(ArchivePlan::ends).collect();
    let folder = holder.folder.display().to_string();
    let made_anew = |detail: String| ArchiveError::MadeAnew {
        topic: options.topic.clone(),
        folder: folder.clone(),
        detail,
    };
    let mut nexts = BTreeMap::new();
    for (&partition, &start) in &book.starts {
        let mut next = start.max(ends.get(&partition).copied().unwrap_or(start));
        let Some(&(lowest, highest)) = range.get(&partition) else {
            return Err(made_anew(format!("it has no partition {partition} any more")));
        };
        if next > highest {
            return Err(made_anew(format!(
                "the archive has partition {partition} up to offset {}, the topic only up to {}",
                next - 1,
                highest - 1
            )));
        }
        if next < lowest {
            if !options.skip_lost {
                let topic = options.topic.clone();
                return Err(ArchiveError::Lost { topic, partition, from: next, to: lowest - 1 });
            }
            book.lost.push(Lost { partition, from: next, to: lowest - 1 });
            next = lowest;
        }
        nexts.insert(partition, next);
    }
    book.lost = merged(book.lost);
    set_end(&mut book, options)?;
    books::write(&holder.book(BOOK), &book)?;

    let to = book.to.as_ref();
    let mut last = BTreeMap::new();
    let mut bounds = Vec::new();
    for (&partition, &next) in &nexts {
        // A partition that is newer than the end is none of this run's.
        let end = to.map(|to| to.offsets.get(&partition).map_or(next, |end| *end.max(&next)));
        let lowest = range.get(&partition).map_or(next, |(lowest, _)| *lowest);
        let known = match &archived {
            Some(archived) if ends.contains_key(&partition) => last_record(archived, partition)?,
            _ => None,
        };
        let checked = known.filter(|last| last.offset >= lowest && last.offset < next);
        let start = checked.as_ref().map_or(next, |last| last.offset);
        last.extend(checked.map(|record| (partition, record)));
        bounds.push((partition, start, end));
    }
    let topic = options.topic.as_str();
    plan.go_on_from(bounds.into_iter().map(|(partition, start, end)| (topic, partition, start, end)))?;
    Ok(Begun { book, plan, last })
}

/// A recording's book, for a run that goes on with it.
fn still_fits(book: Book, options: &RecordOptions, holder: &Holder) -> Result<Book, ArchiveError> {
    if book.topic != options.topic {
        return Err(ArchiveError::Folder {
            folder: holder.folder.display().to_string(),
            detail: format!("is a recording of topic {}, not of {}", book.topic, options.topic),
            hint: "record each topic into a folder of its own",
        });
    }
    let from = words(&options.from);
    if from != book.from && options.from != Place::Earliest {
        return Err(ArchiveError::Option {
            option: "--from",
            detail: format!("{from} is not where this recording began, which was {}", book.from),
            hint: "leave it out to go on, or record into another folder".to_owned(),
        });
    }
    Ok(Book { brokers: options.brokers.clone(), ..book })
}

fn first_book(options: &RecordOptions) -> Result<Book, ArchiveError> {
    let start = position(&options.topic, &options.from);
    let plan = config(options, start, None).resolve(RESOLVE_TIMEOUT)?;
    Ok(Book {
        format: FORMAT,
        topic: options.topic.clone(),
        brokers: options.brokers.clone(),
        from: words(&options.from),
        starts: plan.splits().iter().map(|split| (split.partition, split.start)).collect(),
        to: None,
        lost: Vec::new(),
    })
}

/// Notes where a bounded recording ends: a run that goes on with an unfinished one ends where that was to end.
fn set_end(book: &mut Book, options: &RecordOptions) -> Result<(), ArchiveError> {
    let Some(to) = &options.to else {
        book.to = None;
        return Ok(());
    };
    let asked = words(to);
    if book.to.as_ref().is_some_and(|end| end.asked == asked) {
        return Ok(());
    }
    let end = Some(position(&options.topic, to));
    let plan = config(options, Position::Earliest, end).resolve(RESOLVE_TIMEOUT)?;
    let offsets =
        plan.splits().iter().map(|split| (split.partition, split.end.unwrap_or(split.start))).collect();
    book.to = Some(End { asked, offsets });
    Ok(())
}

fn config(options: &RecordOptions, start: Position, end: Option<Position>) -> KafkaConfig {
    let defaults = KafkaConfig::new("record", &options.brokers, [&options.topic]);
    KafkaConfig {
        start,
        end,
        properties: options.properties.clone(),
        headers: true,
        prefetch_bytes_max: (defaults.prefetch_bytes_max / options.topics.max(1)).max(PREFETCH_BYTES_MIN),
        ..defaults
    }
}

fn position(topic: &str, place: &Place) -> Position {
    match place {
        Place::Earliest => Position::Earliest,
        Place::Latest => Position::Latest,
        Place::Time(time_us) => Position::Timestamp(*time_us),
        Place::Offsets(offsets) => Position::Offsets([(topic.to_owned(), offsets.clone())].into()),
    }
}

fn words(place: &Place) -> String {
    match place {
        Place::Earliest => "earliest".to_owned(),
        Place::Latest => "latest".to_owned(),
        Place::Time(time_us) => thalweg_schemas::time::format_rfc3339(*time_us),
        Place::Offsets(offsets) => {
            let each: Vec<String> =
                offsets.iter().map(|(partition, offset)| format!("{partition}:{offset}")).collect();
            each.join(",")
        }
    }
}

/// The last record of a partition: one row group is read.
fn last_record(archived: &ArchivePlan, partition: i32) -> Result<Option<LastRecord>, ArchiveError> {
    let Some((_, end)) = archived.ends().find(|(found, _)| *found == partition) else { return Ok(None) };
    let mut plan = archived.clone();
    plan.start_at(|at| Some(if at == partition { end - 1 } else { i64::MAX }));
    let mut reader = plan.reader(0, 1)?;
    let Some(split) = reader.splits().iter().position(|split| split.partition == partition) else {
        return Ok(None);
    };
    let mut last = None;
    let order = [split];
    let mut ended = false;
    while !ended {
        let request = ReadRequest {
            bytes_max: usize::MAX,
            records_max: usize::MAX,
            wait: Duration::ZERO,
            order: &order,
        };
        ended = !reader.read(request, &mut |record| last = Some(LastRecord::of(&record)))?.ended.is_empty();
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lost_twice_counts_once() {
        let lost = |partition, from, to| Lost { partition, from, to };
        let noted =
            vec![lost(1, 5, 9), lost(0, 5, 7), lost(1, 5, 20), lost(1, 30, 40), lost(1, 6, 8), lost(0, 8, 9)];
        assert_eq!(merged(noted), [lost(0, 5, 7), lost(0, 8, 9), lost(1, 5, 20), lost(1, 30, 40)]);
    }
}
