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
use thalweg_operators::source::archive::{ArchiveConfig, ArchivePlan};
use thalweg_operators::source::{
    EventTimeConfig, MetadataColumn, ReadProgress, ReadRequest, Record, SourceConfig, SourceCounters,
    SourceError, SplitInfo, SplitReader,
};

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
        let archive = |path: &Path| {
            let (source_name, path) = (planned.name.clone(), path.to_owned());
            let mut plan = ArchiveConfig { source_name, path, topic: None, headers }.resolve()?;
            match (&planned.connector, options.period) {
                (_, Some(period)) => plan.between(period.read_from_us, period.read_to_us)?,
                (Connector::Kafka(kafka), None) => cut_as_topic(&mut plan, kafka)?,
                (_, None) => {}
            }
            if let Some(topic) = plan.splits().first().map(|split| Arc::clone(&split.topic)) {
                let replayed = |partition| {
                    options.replays.iter().find(|at| at.topic == *topic && at.partition == partition)
                };
                plan.end_at(|partition| replayed(partition).map(|at| at.next));
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
                    config.start = period.read_from_us.map_or(Position::Earliest, Position::Timestamp);
                    config.end = Some(period.read_to_us.map_or(Position::Latest, Position::Timestamp));
                }
                if !options.replays.is_empty() {
                    let mut topics: BTreeMap<String, BTreeMap<i32, i64>> = BTreeMap::new();
                    for at in &options.replays {
                        topics.entry(at.topic.clone()).or_default().insert(at.partition, at.next);
                    }
                    config.end = Some(Position::Offsets(topics));
                }
                if !from.is_empty() {
                    // Only of partitions that the topic has got since is the start still a question.
                    config.start = Position::Earliest;
                    config.end = config.end.filter(|end| !matches!(end, Position::Offsets(_)));
                }
                let mut plan = config.resolve(RESOLVE_TIMEOUT)?;
                plan.go_on_from(from.iter().map(|at| (at.topic.as_str(), at.partition, at.next, at.end)))?;
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
            splits.iter().map(|split| position_of(split, from, floor, &options.replays)).collect();
        if let Connection::Given(given, _) = &connection {
            given.raise(&mut positions);
        }
        let counters = Arc::new(SourceCounters::new(&planned.name, splits));
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

// A recorded topic begins and ends where the topic would; as far as it goes, where that is at its earliest or latest.
fn cut_as_topic(plan: &mut ArchivePlan, kafka: &KafkaConnector) -> Result<(), SourceError> {
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
    plan.between(time(&kafka.start), kafka.end.as_ref().and_then(time))?;
    plan.start_at(|partition| offset(&kafka.start, partition));
    plan.end_at(|partition| kafka.end.as_ref().and_then(|end| offset(end, partition)));
    Ok(())
}

fn position_of(
    split: &SplitInfo,
    from: &[SplitPosition],
    floor: Floor,
    replays: &[SplitPosition],
) -> SplitPosition {
    let is_it = |at: &&SplitPosition| at.topic == *split.topic && at.partition == split.partition;
    let joins = match floor {
        Floor::At(time) => Some(time),
        Floor::None | Floor::AllKnown => None,
    };
    from.iter().find(is_it).cloned().unwrap_or_else(|| SplitPosition {
        topic: split.topic.to_string(),
        partition: split.partition,
        number: split.number,
        next: split.start,
        end: split.end,
        highest: None,
        floor: joins,
        idle: false,
        ended: false,
        floors: match replays.iter().find(is_it) {
            Some(replayed) => replayed.floors.clone(),
            None => joins.map(|time| SplitFloor { offset: split.start, time }).into_iter().collect(),
        },
    })
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
            let plan = ArchiveConfig { source_name, path: path.clone(), topic: None, headers: false };
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
    use thalweg_operators::source::{ReadProgress, ReadRequest, Record};

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
