//! Planned sources become readers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use thalweg_engine::tick::TickLimits;
use thalweg_kafka::{KafkaConfig, KafkaPlan, PlannedSplit, Position};
use thalweg_operators::source::archive::{ArchiveConfig, ArchivePlan};
use thalweg_operators::source::{
    EventTimeConfig, MetadataColumn, ReadProgress, ReadRequest, Record, SourceConfig, SourceCounters,
    SourceError, SplitInfo, SplitReader,
};

use crate::plan::{Connector, KafkaConnector, PlannedSource};

/// How long brokers may take to say what they hold.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(20);

/// A source whose splits are known.
pub(crate) struct LoweredSource {
    pub(crate) config: SourceConfig,
    pub(crate) counters: Arc<SourceCounters>,
    connection: Connection,
}

enum Connection {
    Kafka(KafkaPlan),
    Archives(Vec<ArchivePlan>),
}

impl LoweredSource {
    /// Finds the splits. `archives`: a folder of archives by topic to read instead of Kafka.
    pub(crate) fn new(
        number: usize,
        planned: &PlannedSource,
        archives: Option<&Path>,
        limits: TickLimits,
    ) -> Result<Self, SourceError> {
        let headers = planned.metadata.contains(&MetadataColumn::Headers);
        let archive = |path: &Path| {
            let (source_name, path) = (planned.name.clone(), path.to_owned());
            ArchiveConfig { source_name, path, topic: None, headers }.resolve()
        };
        let connection = match (&planned.connector, archives) {
            (Connector::Archive { path }, _) => Connection::Archives(vec![archive(path)?]),
            (Connector::Kafka(kafka), Some(folder)) => {
                let plans = kafka.topics.iter().map(|topic| archive(&folder.join(topic)));
                Connection::Archives(plans.collect::<Result<_, _>>()?)
            }
            (Connector::Kafka(kafka), None) => {
                Connection::Kafka(kafka_config(&planned.name, kafka, headers).resolve(RESOLVE_TIMEOUT)?)
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
            },
            order: planned.order,
            limits,
        };
        let counters = Arc::new(SourceCounters::new(&planned.name, connection.splits()));
        Ok(LoweredSource { config, counters, connection })
    }

    /// The reader of one worker's splits.
    pub(crate) fn reader(&self, worker: usize, workers: usize) -> Result<Box<dyn SplitReader>, SourceError> {
        match &self.connection {
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

/// In place of a source that can't be opened: no splits, no records.
pub(super) struct Nothing;

impl SplitReader for Nothing {
    fn splits(&self) -> &[SplitInfo] {
        &[]
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
        }
    }
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
