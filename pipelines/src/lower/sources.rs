//! Planned sources become readers.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use thalweg_engine::checkpoint::{SplitFloor, SplitPosition};
use thalweg_engine::control::Control;
use thalweg_engine::tick::TickLimits;
use thalweg_engine::watermark::EventTime;
use thalweg_kafka::{EndOffsets, KafkaConfig, KafkaPlan, PlannedSplit, Position};
use thalweg_operators::source::archive::{ArchiveConfig, ArchivePlan, DecodedColumns};
use thalweg_operators::source::{
    EventTimeConfig, MetadataColumn, ReadProgress, ReadRequest, Record, SourceConfig, SourceCounters,
    SourceError, SplitInfo, SplitReader,
};
use thalweg_schemas::Format;

use crate::plan::{Connector, KafkaConnector, PlannedSource};
use crate::run::{MemoryShares, RunOptions};
use crate::testing::GivenRecords;

/// How long brokers may take to say what they hold.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(20);

/// What is known of a source's splits before it is opened.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a> {
    /// Where a checkpoint left them, or where the process that leads has found them; empty at a job's beginning.
    pub(crate) splits: &'a [SplitPosition],
    /// What holds for the others.
    pub(crate) floor: Floor,
}

/// What holds for splits that nobody knows yet.
#[derive(Clone, Copy)]
pub(crate) enum Floor {
    /// They begin as the source does: so does the job.
    None,
    /// The job's watermark is here: rows of theirs that lie below would meet windows that have fired, and are late.
    At(EventTime),
    /// There are none: what the leading process does not know is not read.
    AllKnown,
}

/// How long somebody who only looks waits for brokers.
const ASK_TIMEOUT: Duration = Duration::from_secs(3);

/// A source whose splits are known.
pub(crate) struct LoweredSource {
    pub(crate) config: SourceConfig,
    pub(crate) counters: Arc<SourceCounters>,
    /// Where its splits begin: at the job's beginning, or where a checkpoint left them.
    pub(crate) positions: Arc<Vec<SplitPosition>>,
    connection: Connection,
}

enum Connection {
    Kafka(KafkaPlan),
    Archives(Vec<ArchivePlan>),
    Given(GivenRecords, Vec<SplitInfo>),
}

impl LoweredSource {
    /// Finds the splits, as far as they are not known.
    pub(crate) fn new(
        number: usize,
        planned: &PlannedSource,
        options: &RunOptions,
        memory: MemoryShares,
        from: &Known<'_>,
    ) -> Result<Self, SourceError> {
        let Known { splits: from, floor, .. } = *from;
        let all_known = matches!(floor, Floor::AllKnown);
        let ahead_bytes_max = options.limits.ahead_bytes_max.min(memory.ahead_bytes);
        let bytes_max = options.limits.bytes_max.min(ahead_bytes_max / 2);
        let limits = TickLimits { ahead_bytes_max, bytes_max, ..options.limits };
        let headers = planned.metadata.contains(&MetadataColumn::Headers);
        let replayed = options.replays.iter().find(|source| source.name == planned.name);
        let replayed = replayed.map(|source| source.splits.as_slice());
        let bounds = Bounds::new(options, replayed.is_some());
        // Raw payloads are columns already.
        let is_json = planned.format == Format::Json;
        let decoded = is_json
            .then(|| DecodedColumns { schema: Arc::clone(&planned.schema), fields: planned.fields.clone() });
        let archive = |path: &Path| {
            let (source_name, path, decoded) = (planned.name.clone(), path.to_owned(), decoded.clone());
            let mut plan = ArchiveConfig { source_name, path, topic: None, headers, decoded }.resolve()?;
            let ends = plan.ends().collect::<Vec<_>>();
            if let Connector::Kafka(kafka) = &planned.connector {
                cut_as_topic(&mut plan, kafka, &bounds)?;
            }
            if let Some(period) = options.period {
                plan.between(period.read_from_us, period.read_to_us)?;
            }
            if let Some(topic) = plan.splits().first().map(|split| Arc::clone(&split.topic)) {
                if let Some(replayed) = replayed {
                    replay(&mut plan, planned, &topic, replayed, from, &ends)?;
                }
                let of = |partition| from.iter().find(|at| at.topic == *topic && at.partition == partition);
                plan.start_at(|partition| of(partition).map(|at| at.next));
            }
            Ok::<_, SourceError>(plan)
        };
        let connection = match (&planned.connector, options.archives.as_deref()) {
            (Connector::Given(given), _) => Connection::Given(given.clone(), given.splits(from)),
            (Connector::Archive { path }, _) => Connection::Archives(vec![archive(path)?]),
            (Connector::Kafka(kafka), Some(folder)) => {
                let plans = kafka.topics.iter().map(|topic| archive(&folder.join(topic)));
                Connection::Archives(plans.collect::<Result<_, _>>()?)
            }
            (Connector::Kafka(kafka), None) => {
                let mut config = kafka_config(&planned.name, kafka, headers);
                config.prefetch_bytes_max = config.prefetch_bytes_max.min(memory.fetched_bytes);
                if let Some(period) = options.period {
                    let start = period.read_from_us.map(Position::Timestamp);
                    // What has not come yet is no part of the past.
                    let own = bounds.start && config.start != Position::Latest;
                    config.start = start.unwrap_or(if own { config.start } else { Position::Earliest });
                    let end = period.read_to_us.map(Position::Timestamp);
                    let own = config.end.filter(|_| bounds.end);
                    config.end = end.or(own).or(Some(Position::Latest));
                }
                if let Some(replayed) = replayed {
                    replay_topics(&mut config, replayed)?;
                }
                if !from.is_empty() {
                    // Only of partitions that the topic has got since is the start still a question.
                    config.start = Position::Earliest;
                    config.end = config.end.filter(|end| !matches!(end, Position::Offsets(_)));
                }
                let mut plan = config.resolve(RESOLVE_TIMEOUT)?;
                plan.go_on_from(from.iter().map(|at| (at.topic.as_str(), at.partition, at.next, at.end)))?;
                if let Some(replayed) = replayed {
                    plan.keep_only(replayed.iter().map(|at| (at.topic.as_str(), at.partition, at.number)));
                }
                if all_known {
                    plan.keep_only(from.iter().map(|at| (at.topic.as_str(), at.partition, at.number)));
                }
                Connection::Kafka(plan)
            }
        };
        let config = SourceConfig {
            name: planned.name.clone(),
            number: number as u32,
            format: planned.format,
            schema: Arc::clone(&planned.schema),
            fields: planned.fields.clone(),
            metadata: planned.metadata.clone(),
            event_time: EventTimeConfig {
                field: planned.event_time.field,
                lateness_us: planned.event_time.lateness_us,
                max_ahead_us: planned.event_time.max_ahead_us,
                idle_after: planned
                    .event_time
                    .idle_after_us
                    .map(|us| Duration::from_micros(us.unsigned_abs())),
            },
            order: planned.order,
            limits,
        };
        let splits = connection.splits();
        let mut positions: Vec<_> =
            splits.iter().map(|split| position_of(split, from, floor, replayed)).collect();
        if let Connection::Given(given, _) = &connection {
            given.raise(&mut positions);
        }
        let mut counters = SourceCounters::new(&planned.name, splits);
        if let Connection::Archives(plans) = &connection {
            let sum = |of: fn(&ArchivePlan) -> u64| plans.iter().map(of).sum();
            counters = counters.of_archives(sum(ArchivePlan::file_bytes), sum(ArchivePlan::looked_bytes));
        }
        let counters = Arc::new(counters);
        Ok(LoweredSource { config, counters, positions: Arc::new(positions), connection })
    }

    /// The reader of one worker's splits.
    pub(crate) fn reader(
        &self,
        worker: usize,
        workers: usize,
        control: &Control,
    ) -> Result<Box<dyn SplitReader>, SourceError> {
        match &self.connection {
            Connection::Given(given, splits) => Ok(Box::new(given.reader(splits, worker, workers, control))),
            Connection::Kafka(plan) => Ok(Box::new(plan.reader(worker, workers)?)),
            Connection::Archives(plans) => match plans.as_slice() {
                [plan] => Ok(Box::new(plan.reader(worker, workers)?)),
                plans => Ok(Box::new(chained::ChainedArchives::new(plans, worker, workers)?)),
            },
        }
    }

    /// Whether every split has an end.
    pub(crate) fn bounded(&self) -> bool {
        self.counters.records_ahead().is_some()
    }
}

/// Whether a spec's own start and end hold: not where others take their place.
struct Bounds {
    start: bool,
    end: bool,
}

impl Bounds {
    fn new(options: &RunOptions, is_replay: bool) -> Self {
        let period = options.period.unwrap_or_default();
        Bounds {
            start: !is_replay && period.read_from_us.is_none(),
            end: !is_replay && period.read_to_us.is_none(),
        }
    }
}

// A recorded topic begins and ends where the topic would; as far as it goes, where that is at its earliest or latest.
fn cut_as_topic(plan: &mut ArchivePlan, kafka: &KafkaConnector, bounds: &Bounds) -> Result<(), SourceError> {
    use crate::plan::Position::{Earliest, Latest, Offsets, Timestamp};
    let topic = plan.splits().first().map(|split| split.topic.to_string()).unwrap_or_default();
    let time = |position: &crate::plan::Position| match position {
        Timestamp(us) => Some(*us),
        Earliest | Latest | Offsets(_) => None,
    };
    let offset = |position: &crate::plan::Position, partition: i32| match position {
        Offsets(topics) => {
            let found = topics.iter().find(|(name, _)| *name == topic);
            found.and_then(|(_, offsets)| offsets.iter().find(|(at, _)| *at == partition)).map(|(_, at)| *at)
        }
        Earliest | Latest | Timestamp(_) => None,
    };
    let start = Some(&kafka.start).filter(|_| bounds.start);
    let end = kafka.end.as_ref().filter(|_| bounds.end);
    plan.between(start.and_then(time), end.and_then(time))?;
    plan.start_at(|partition| start.and_then(|start| offset(start, partition)));
    plan.end_at(|partition| end.and_then(|end| offset(end, partition)));
    Ok(())
}

// Of an archive what a job has read. `ends` is how far the archive goes.
fn replay(
    plan: &mut ArchivePlan,
    planned: &PlannedSource,
    topic: &str,
    replayed: &[SplitPosition],
    from: &[SplitPosition],
    ends: &[(i32, i64)],
) -> Result<(), SourceError> {
    let known = |partition: i32| replayed.iter().find(|at| at.topic == topic && at.partition == partition);
    for at in replayed.iter().filter(|at| at.topic == topic) {
        let seeded = from.iter().find(|seeded| seeded.topic == topic && seeded.partition == at.partition);
        let begin = seeded.map(|seeded| seeded.next).or(at.begin).unwrap_or(at.next);
        let archived = ends.iter().find(|(partition, _)| *partition == at.partition).map(|(_, end)| *end);
        if begin < at.next && archived.is_none_or(|end| end < at.next) {
            let there = archived.map_or("nothing".to_owned(), |end| format!("up to offset {end}"));
            return Err(SourceError::Topic {
                source_name: planned.name.clone(),
                topic: topic.to_owned(),
                detail: format!(
                    "is not recorded as far as the job has read it: partition {} up to offset {}, and the archive holds {there}",
                    at.partition, at.next
                ),
                hint:
                    "record the rest (thalweg archive record), or read the topic itself: leave out --archives"
                        .to_owned(),
            });
        }
        let first =
            plan.splits().iter().find(|split| split.partition == at.partition).map(|split| split.start);
        if let Some(first) = first.filter(|first| begin < *first) {
            tracing::warn!(
                source = planned.name,
                topic,
                partition = at.partition,
                "the archive begins at offset {first}, the job had begun at {begin}: what lay between is missing, if there was anything"
            );
        }
    }
    plan.start_at(|partition| known(partition).and_then(|at| at.begin));
    // A partition that the job did not know is not read.
    plan.end_at(|partition| Some(known(partition).map_or(0, |at| at.next)));
    Ok(())
}

// Of topics what a job has read, or less where the period ends before.
fn replay_topics(config: &mut KafkaConfig, replayed: &[SplitPosition]) -> Result<(), SourceError> {
    let ends: Vec<(String, i32, i64)> = match config.end {
        Some(Position::Timestamp(_)) => {
            let plan = config.resolve(RESOLVE_TIMEOUT)?;
            let end = |split: &PlannedSplit| Some((split.topic.to_string(), split.partition, split.end?));
            plan.splits().iter().filter_map(end).collect()
        }
        _ => Vec::new(),
    };
    let mut starts: BTreeMap<String, BTreeMap<i32, i64>> = BTreeMap::new();
    let mut stops: BTreeMap<String, BTreeMap<i32, i64>> = BTreeMap::new();
    for at in replayed {
        let end = ends.iter().find(|(topic, partition, _)| *topic == at.topic && *partition == at.partition);
        let stop = end.map_or(at.next, |(_, _, end)| at.next.min(*end));
        stops.entry(at.topic.clone()).or_default().insert(at.partition, stop);
        if let Some(begin) = at.begin {
            starts.entry(at.topic.clone()).or_default().insert(at.partition, begin.min(stop));
        }
    }
    if config.start == Position::Earliest && !starts.is_empty() {
        config.start = Position::Offsets(starts);
    }
    config.end = Some(Position::Offsets(stops));
    Ok(())
}

fn position_of(
    split: &SplitInfo,
    from: &[SplitPosition],
    floor: Floor,
    replayed: Option<&[SplitPosition]>,
) -> SplitPosition {
    let is_it = |at: &&SplitPosition| at.topic == *split.topic && at.partition == split.partition;
    let joins = match floor {
        Floor::At(time) => Some(time),
        Floor::None | Floor::AllKnown => None,
    };
    let own_floors = || joins.map(|time| SplitFloor { offset: split.start, time }).into_iter().collect();
    let replayed = replayed.and_then(|replayed| replayed.iter().find(is_it));
    let mut position = from.iter().find(is_it).cloned().unwrap_or_else(|| SplitPosition {
        topic: split.topic.to_string(),
        partition: split.partition,
        number: split.number,
        next: split.start,
        end: split.end,
        highest: None,
        floor: joins,
        idle: false,
        ended: false,
        begin: Some(split.start),
        floors: own_floors(),
    });
    if let Some(replayed) = replayed {
        position.floors.clone_from(&replayed.floors);
    }
    position
}

/// In place of a source that can't be opened: no splits, no records.
pub(super) struct Nothing;

impl SplitReader for Nothing {
    fn splits(&self) -> &[SplitInfo] {
        &[]
    }

    fn at_hand(&mut self, _split: usize) -> bool {
        false
    }

    fn read(
        &mut self,
        _request: ReadRequest<'_>,
        _each: &mut dyn FnMut(Record<'_>),
    ) -> Result<ReadProgress, SourceError> {
        Ok(ReadProgress::default())
    }
}

impl Connection {
    fn splits(&self) -> Vec<SplitInfo> {
        match self {
            Connection::Kafka(plan) => plan.splits().iter().map(PlannedSplit::info).collect(),
            Connection::Archives(plans) => chained::numbered(plans),
            Connection::Given(_, splits) => splits.clone(),
        }
    }
}

/// Where each split of a source ends now: topic, partition, the offset after the last record. `None` where it can't be asked.
pub(crate) fn ends_now(planned: &PlannedSource) -> Option<Vec<(String, i32, i64)>> {
    let kafka = match &planned.connector {
        Connector::Kafka(kafka) => kafka,
        Connector::Archive { path } => {
            let source_name = planned.name.clone();
            let plan =
                ArchiveConfig { source_name, path: path.clone(), topic: None, headers: false, decoded: None };
            let plan = plan.resolve().ok()?;
            let topic = |partition: i32| plan.splits().iter().find(|split| split.partition == partition);
            let ends = plan.ends().filter_map(|(at, end)| Some((topic(at)?.topic.to_string(), at, end)));
            return Some(ends.collect());
        }
        Connector::Given(_) => return None,
    };
    let mut config = kafka_config(&planned.name, kafka, false);
    (config.start, config.end) = (Position::Latest, None);
    let plan = config.resolve(ASK_TIMEOUT).ok()?;
    Some(plan.splits().iter().map(|split| (split.topic.to_string(), split.partition, split.start)).collect())
}

/// A client that asks, again and again, where the splits of a source end. `None`: it is no Kafka source, or can't be asked.
pub(crate) fn end_offsets(planned: &PlannedSource) -> Option<EndOffsets> {
    let Connector::Kafka(kafka) = &planned.connector else { return None };
    EndOffsets::new(&kafka_config(&planned.name, kafka, false)).ok()
}

fn kafka_config(source: &str, kafka: &KafkaConnector, headers: bool) -> KafkaConfig {
    KafkaConfig {
        start: position(&kafka.start),
        end: kafka.end.as_ref().map(position),
        properties: kafka.properties.iter().cloned().collect(),
        headers,
        ..KafkaConfig::new(source, &kafka.brokers, &kafka.topics)
    }
}

fn position(position: &crate::plan::Position) -> Position {
    match position {
        crate::plan::Position::Earliest => Position::Earliest,
        crate::plan::Position::Latest => Position::Latest,
        crate::plan::Position::Timestamp(time_us) => Position::Timestamp(*time_us),
        crate::plan::Position::Offsets(topics) => Position::Offsets(
            topics
                .iter()
                .map(|(topic, offsets)| (topic.clone(), offsets.iter().copied().collect()))
                .collect(),
        ),
    }
}

mod chained {
    //! Several topics of one source, each with an archive of its own, read as one.

    use super::{ArchivePlan, SourceError, SplitInfo, SplitReader};
    use thalweg_operators::source::archive::ArchiveReader;
    use thalweg_operators::source::{DecodedRows, ReadProgress, ReadRequest, Record};

    /// The splits of all archives, numbered through.
    pub(super) fn numbered(plans: &[ArchivePlan]) -> Vec<SplitInfo> {
        let splits = plans.iter().flat_map(|plan| plan.splits().iter().cloned());
        splits.zip(0..).map(|(split, number)| SplitInfo { number, ..split }).collect()
    }

    pub(super) struct ChainedArchives {
        readers: Vec<ArchiveReader>,
        splits: Vec<SplitInfo>,
        /// Of each split: its reader, and its index there.
        places: Vec<(usize, usize)>,
    }

    impl ChainedArchives {
        pub(super) fn new(plans: &[ArchivePlan], worker: usize, workers: usize) -> Result<Self, SourceError> {
            let mut all = ChainedArchives { readers: Vec::new(), splits: Vec::new(), places: Vec::new() };
            let mut first = 0u32;
            for (at, plan) in plans.iter().enumerate() {
                let reader = plan.reader(worker, workers)?;
                for (index, split) in reader.splits().iter().enumerate() {
                    all.splits.push(SplitInfo { number: first + split.number, ..split.clone() });
                    all.places.push((at, index));
                }
                first += plan.splits().len() as u32;
                all.readers.push(reader);
            }
            Ok(all)
        }
    }

    impl SplitReader for ChainedArchives {
        fn splits(&self) -> &[SplitInfo] {
            &self.splits
        }

        fn at_hand(&mut self, split: usize) -> bool {
            let (reader, index) = self.places[split];
            self.readers[reader].at_hand(index)
        }

        fn file_bytes(&self) -> u64 {
            self.readers.iter().map(SplitReader::file_bytes).sum()
        }

        fn decoded(&mut self, request: ReadRequest<'_>) -> Result<Option<DecodedRows>, SourceError> {
            let Some(split) = request.order.first().copied() else { return Ok(None) };
            let (reader, index) = self.places[split];
            let mut found = self.readers[reader].decoded(ReadRequest { order: &[index], ..request })?;
            if let Some(rows) = &mut found {
                rows.split = split;
            }
            Ok(found)
        }

        // One split a call, the one furthest behind: its archive's reader is asked for it alone.
        fn read(
            &mut self,
            request: ReadRequest<'_>,
            each: &mut dyn FnMut(Record<'_>),
        ) -> Result<ReadProgress, SourceError> {
            let Some(split) = request.order.first().copied() else { return Ok(ReadProgress::default()) };
            let (reader, index) = self.places[split];
            let order = [index];
            let request = ReadRequest { order: &order, ..request };
            let progress =
                self.readers[reader].read(request, &mut |record| each(Record { split, ..record }))?;
            let ended = progress.ended.iter().map(|_| split).collect();
            Ok(ReadProgress { ended, ..progress })
        }
    }
}
