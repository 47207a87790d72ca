//! What can be asked of the generator.

use serde::{Deserialize, Serialize};

use crate::incident::{Incident, IncidentKind, Planted};
use crate::topic::Topic;
use crate::world::{AGENT_TYPES, MODELS, POPULATIONS};

/// 2026-01-15T09:00:00Z.
pub(crate) const START_MS: i64 = 1_768_467_600_000;

/// How many events.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Volume {
    /// So many in all topics together, when all ten are made; a subset of topics keeps each one's own number.
    Events(u64),
    /// So many a second of event time, likewise. Into Kafka they are then written at that pace, not as fast as possible.
    PerSecond(u64),
}

/// The telemetry asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TelemetryConfig {
    /// Everything follows from it.
    pub seed: u64,
    /// The first event time, milliseconds since the epoch.
    pub start_ms: i64,
    /// How much event time is covered, seconds.
    pub duration_s: u64,
    /// How many events.
    pub volume: Volume,
    /// The topics to make, each the same whichever others are made.
    pub topics: Vec<Topic>,
    /// Partitions of every topic; `None`: 4 to 8, by topic.
    pub partitions: Option<i32>,
    /// The share of events that are spoilt, 0 to 1; see [`crate::Dirt`].
    pub dirty: f64,
    /// What goes wrong.
    pub incidents: Vec<Incident>,
}

impl Default for TelemetryConfig {
    /// The demo's: an hour from 2026-01-15T09:00:00Z with two million events of all topics, one in a thousand spoilt.
    fn default() -> Self {
        TelemetryConfig::of_duration(3600)
    }
}

impl TelemetryConfig {
    /// The default telemetry over so many seconds of event time, its incidents moved accordingly.
    pub fn of_duration(duration_s: u64) -> TelemetryConfig {
        TelemetryConfig {
            seed: 42,
            start_ms: START_MS,
            duration_s,
            volume: Volume::Events(2_000_000),
            topics: Topic::ALL.to_vec(),
            partitions: None,
            dirty: 0.001,
            incidents: Incident::defaults(duration_s),
        }
    }
}

/// Why telemetry can't be made.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// An option is out of its range.
    #[error("{option} is {value}; it must be {range}")]
    Option {
        /// The option.
        option: &'static str,
        /// What was asked for.
        value: String,
        /// What may be asked for.
        range: &'static str,
    },
    /// An incident's target does not exist.
    #[error("incident {incident} befalls {target}, which is not there; choose one of {choices}")]
    Target {
        /// The incident's name.
        incident: String,
        /// What it should befall.
        target: String,
        /// What is there.
        choices: String,
    },
    /// The archive can't be written.
    #[error(transparent)]
    Archive(#[from] thalweg_operators::source::archive::ArchiveWriteError),
    /// The topics can't be made, or not be written to.
    #[error(transparent)]
    Kafka(#[from] thalweg_kafka::KafkaError),
    /// An archive is there that was not generated.
    #[error("{folder} holds an archive that was not generated here; choose another folder, or remove it")]
    Foreign {
        /// The topic's folder.
        folder: String,
    },
    /// A file can't be written.
    #[error("can't write {path}: {source}; check that the folder can be written to")]
    Io {
        /// The file or folder.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl TelemetryConfig {
    /// What was planted, as it can be looked for in the events.
    pub fn describe(&self) -> Vec<Planted> {
        self.incidents.iter().map(|incident| incident.planted(self.start_ms)).collect()
    }

    /// The number of events of a topic, whether it is among the topics or not.
    pub fn events_of(&self, topic: Topic) -> u64 {
        // Differences of running sums, so that the topics add up to exactly what was asked for.
        let up_to = |percent: u64| (u128::from(self.events()) * u128::from(percent) / 100) as u64;
        let before: u64 =
            Topic::ALL.into_iter().take_while(|other| *other != topic).map(Topic::percent).sum();
        up_to(before + topic.percent()) - up_to(before)
    }

    /// The number of events of all topics asked for.
    pub fn events_total(&self) -> u64 {
        self.topics.iter().map(|topic| self.events_of(*topic)).sum()
    }

    /// The number of partitions of a topic.
    pub fn partitions_of(&self, topic: Topic) -> i32 {
        self.partitions.unwrap_or_else(|| topic.partitions())
    }

    fn events(&self) -> u64 {
        match self.volume {
            Volume::Events(events) => events,
            Volume::PerSecond(rate) => rate.saturating_mul(self.duration_s),
        }
    }

    /// Checks all options.
    ///
    /// # Errors
    /// [`TelemetryError::Option`] and [`TelemetryError::Target`], for the first that does not hold.
    pub fn check(&self) -> Result<(), TelemetryError> {
        let check = |good: bool, option, value: String, range| {
            if good { Ok(()) } else { Err(TelemetryError::Option { option, value, range }) }
        };
        check(
            (0..=253_000_000_000_000).contains(&self.start_ms),
            "start_ms",
            self.start_ms.to_string(),
            "from 1970 to 9986",
        )?;
        let days = 3660;
        check(
            (1..=86_400 * days).contains(&self.duration_s),
            "duration_s",
            self.duration_s.to_string(),
            "1 s to ten years",
        )?;
        check(self.events() <= 1 << 40, "volume", self.events().to_string(), "at most 2^40 events")?;
        check((0.0..=1.0).contains(&self.dirty), "dirty", self.dirty.to_string(), "a share from 0 to 1")?;
        let partitions = self.partitions.unwrap_or(1);
        check((1..=10_000).contains(&partitions), "partitions", partitions.to_string(), "1 to 10000")?;
        let mut topics = self.topics.clone();
        topics.sort();
        topics.dedup();
        let once = topics.len() == self.topics.len() && !topics.is_empty();
        check(once, "topics", format!("{:?}", self.topics), "one or more topics, each once")?;
        self.incidents.iter().try_for_each(check_target)
    }
}

fn check_target(incident: &Incident) -> Result<(), TelemetryError> {
    let choices: Vec<String> = match incident.kind {
        IncidentKind::ProviderOutage | IncidentKind::LatencyCreep | IncidentKind::CostSpike => {
            let models = MODELS.iter().filter(|model| model.share > 0);
            models
                .flat_map(|model| [model.provider.to_string(), format!("{}/{}", model.provider, model.name)])
                .collect()
        }
        IncidentKind::StalledPopulation => POPULATIONS.iter().map(ToString::to_string).collect(),
        IncidentKind::BounceWave => AGENT_TYPES.iter().map(ToString::to_string).collect(),
        IncidentKind::GpuMemoryLeak => (0..4).map(|node| format!("gpu-{node:03}")).collect(),
    };
    if choices.contains(&incident.target) {
        return Ok(());
    }
    let (incident, target) = (incident.name.clone(), incident.target.clone());
    let mut choices = choices;
    choices.dedup();
    Err(TelemetryError::Target { incident, target, choices: choices.join(", ") })
}
