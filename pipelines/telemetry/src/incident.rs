//! What goes wrong on the platform, and when: planted, so that a demo or a test can check that it was found.

use serde::{Deserialize, Serialize};

use crate::topic::Topic;

/// A kind of incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentKind {
    /// Calls to a model fail (35 %) and take four times as long; its provider's backends fail health checks. Target:
    /// `provider` or `provider/model`.
    ProviderOutage,
    /// Calls to a model get slower and slower, up to two and a half times. Target: `provider` or `provider/model`.
    LatencyCreep,
    /// Prompts to a model grow eightfold, and the bill with them. Target: `provider` or `provider/model`.
    CostSpike,
    /// A training population stops improving and loses its diversity. Target: its name.
    StalledPopulation,
    /// The GPU memory of a node fills up steadily. Target: the node.
    GpuMemoryLeak,
    /// Many users come, do one thing and leave. Target: the agent type that they meet.
    BounceWave,
}

/// Something that goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Incident {
    /// What it is called.
    pub name: String,
    /// What it does.
    pub kind: IncidentKind,
    /// What it befalls; see [`IncidentKind`].
    pub target: String,
    /// When it begins: seconds after the telemetry's start.
    pub start_s: u64,
    /// How long it lasts, seconds.
    pub duration_s: u64,
}

/// An incident as it can be looked for in the events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planted {
    /// What it is called.
    pub name: String,
    /// Its kind.
    pub kind: IncidentKind,
    /// The topic in which it shows.
    pub topic: Topic,
    /// What it befalls.
    pub target: String,
    /// Its first moment, milliseconds since the epoch.
    pub start_ms: i64,
    /// The moment after its last.
    pub end_ms: i64,
    /// What it does to the numbers, in words.
    pub effect: String,
}

impl std::fmt::Display for Planted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time = |ms: i64| {
            chrono::DateTime::from_timestamp_millis(ms)
                .map_or_else(String::new, |at| at.format("%H:%M").to_string())
        };
        let (start, end) = (time(self.start_ms), time(self.end_ms));
        write!(
            f,
            "{}: {} from {start} to {end} UTC ({}, topic {})",
            self.name, self.target, self.effect, self.topic
        )
    }
}

impl IncidentKind {
    /// The topic in which it shows first.
    pub fn topic(self) -> Topic {
        match self {
            IncidentKind::ProviderOutage | IncidentKind::LatencyCreep | IncidentKind::CostSpike => {
                Topic::ProviderRequests
            }
            IncidentKind::StalledPopulation => Topic::AgentMetrics,
            IncidentKind::GpuMemoryLeak => Topic::NodeMetrics,
            IncidentKind::BounceWave => Topic::UserInteractions,
        }
    }

    fn effect(self) -> &'static str {
        match self {
            IncidentKind::ProviderOutage => "35 % of its calls fail, latency four times the usual",
            IncidentKind::LatencyCreep => "latency grows steadily to two and a half times the usual",
            IncidentKind::CostSpike => "prompts eight times as long as usual",
            IncidentKind::StalledPopulation => "scores stop improving, hyperparameters become all alike",
            IncidentKind::GpuMemoryLeak => "GPU memory fills up steadily to 97 %",
            IncidentKind::BounceWave => "a third of all interactions are sessions of one event",
        }
    }
}

impl Incident {
    /// The set that is planted by default: one of each kind, at the same shares of any duration. In an hour the outage
    /// lasts from minute 25 to 37.
    pub fn defaults(duration_s: u64) -> Vec<Incident> {
        let incident = |name: &str, kind, target: &str, from_minute: u64, to_minute: u64| Incident {
            name: name.into(),
            kind,
            target: target.into(),
            start_s: duration_s * from_minute / 60,
            duration_s: duration_s * (to_minute - from_minute) / 60,
        };
        vec![
            incident("provider_outage", IncidentKind::ProviderOutage, "anthropic/claude-sonnet-4", 25, 37),
            incident("latency_creep", IncidentKind::LatencyCreep, "google/gemini-2.5-pro", 10, 55),
            incident("cost_spike", IncidentKind::CostSpike, "openai/gpt-5", 42, 50),
            incident("stalled_population", IncidentKind::StalledPopulation, "delta", 20, 60),
            incident("gpu_memory_leak", IncidentKind::GpuMemoryLeak, "gpu-003", 15, 58),
            incident("bounce_wave", IncidentKind::BounceWave, "research", 30, 40),
        ]
    }

    pub(crate) fn planted(&self, telemetry_start_ms: i64) -> Planted {
        let start_ms = telemetry_start_ms + self.start_s as i64 * 1000;
        Planted {
            name: self.name.clone(),
            kind: self.kind,
            topic: self.kind.topic(),
            target: self.target.clone(),
            start_ms,
            end_ms: start_ms + self.duration_s as i64 * 1000,
            effect: self.kind.effect().into(),
        }
    }
}

impl Planted {
    pub(crate) fn active(&self, at_ms: i64) -> bool {
        (self.start_ms..self.end_ms).contains(&at_ms)
    }

    /// How far it has gone: 0 at its start, 1 at its end; `None` outside.
    pub(crate) fn progress(&self, at_ms: i64) -> Option<f64> {
        self.active(at_ms).then(|| (at_ms - self.start_ms) as f64 / (self.end_ms - self.start_ms) as f64)
    }
}
