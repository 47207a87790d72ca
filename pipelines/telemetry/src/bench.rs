//! The benchmarks' events: one topic, five providers of four models each, nothing going wrong and nothing spoilt.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::{START_MS, TelemetryConfig, TelemetryError, Volume};
use crate::json::{self, Json, fields};
use crate::random::{Draw, For, mix};
use crate::stream::{Delays, Generator, Times, TopicStream};
use crate::telemetry::Telemetry;
use crate::topic::Topic;
use crate::world::{MODELS, Schedule, Session, World};

/// A session comes back every so often, and is active for so long.
const RETURN_MS: u64 = 20 * 60_000;
const ACTIVE_MS: u64 = 7 * 60_000;

/// Calls to models for measuring with: 12 fields, about 260 bytes each, up to 2 s out of order.
///
/// A session is active for 7 minutes out of every 20: with the default numbers it makes some eight calls in each visit,
/// about 50 s apart, so that a gap of five minutes finds the visits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BenchConfig {
    /// Everything follows from it.
    pub seed: u64,
    /// Number of events.
    pub events: u64,
    /// Distinct session ids.
    pub sessions: u64,
    /// Partitions; an event's follows from its session.
    pub partitions: i32,
    /// The first event time, milliseconds since the epoch.
    pub start_ms: i64,
    /// How much event time is covered, seconds.
    pub duration_s: u64,
}

impl Default for BenchConfig {
    /// Five million events of 200,000 sessions in an hour, in 8 partitions.
    fn default() -> Self {
        BenchConfig {
            seed: 7,
            events: 5_000_000,
            sessions: 200_000,
            partitions: 8,
            start_ms: START_MS,
            duration_s: 3600,
        }
    }
}

impl BenchConfig {
    /// The topic of all events.
    pub const TOPIC: Topic = Topic::ProviderRequests;

    /// The events.
    ///
    /// # Errors
    /// When an option is out of its range.
    pub fn telemetry(&self) -> Result<Telemetry, TelemetryError> {
        Ok(Telemetry::of(vec![self.stream()?]))
    }

    pub(crate) fn stream(&self) -> Result<TopicStream, TelemetryError> {
        let platform = TelemetryConfig {
            seed: self.seed,
            start_ms: self.start_ms,
            duration_s: self.duration_s,
            volume: Volume::Events(self.events),
            topics: vec![Self::TOPIC],
            partitions: Some(self.partitions),
            dirty: 0.0,
            incidents: Vec::new(),
        };
        platform.check()?;
        if self.sessions == 0 {
            return Err(TelemetryError::Option {
                option: "sessions",
                value: "0".into(),
                range: "at least 1",
            });
        }
        let generator = Calls {
            world: Arc::new(World::new(&platform)),
            schedule: Schedule::new(
                self.seed,
                Topic::NodeMetrics,
                self.start_ms,
                self.duration_s,
                self.events,
            ),
            sessions: self.sessions,
            next: 0,
        };
        Ok(TopicStream::new(
            Self::TOPIC,
            self.partitions,
            self.seed,
            0.0,
            Delays::Below(2000),
            Box::new(generator),
        ))
    }
}

struct Calls {
    world: Arc<World>,
    schedule: Schedule,
    sessions: u64,
    next: u64,
}

impl Calls {
    /// A session that is active at a time.
    fn session(&self, at_ms: i64, draw: &mut Draw) -> Session {
        loop {
            let number = draw.below(self.sessions);
            let id = mix(number ^ self.world.seed << 32);
            let since = (at_ms - self.world.start_ms) as u64 + id % RETURN_MS;
            if since % RETURN_MS < ACTIVE_MS {
                return Session { id, user: number / 3 };
            }
        }
    }
}

impl Generator for Calls {
    fn next(&mut self, key: &mut Vec<u8>, value: &mut Vec<u8>) -> Option<Times> {
        if self.next == self.schedule.count() {
            return None;
        }
        let at_ms = self.schedule.at(self.next);
        let mut draw = Draw::new(self.world.seed, For::Bench, self.next);
        self.next += 1;
        let session = self.session(at_ms, &mut draw);
        let model = &MODELS[draw.below(MODELS.len() as u64) as usize];
        let call = model.plain_call(draw.bits(), at_ms, session, &mut draw);
        json::hex(key, "s-", session.id, 12);
        let mut json = Json(value);
        json.open();
        fields!(json;
            "request_id": hex("r", call.id, 12),
            "started_at": int(at_ms),
            "provider": text(model.provider),
            "model": text(model.name),
            "session_id": bytes(key),
            "user_id": numbered("u", session.user, 5),
            "status": text(call.status.name()),
            "retries": int(call.retries),
            "latency_ms": int(call.latency_ms),
            "prompt_tokens": int(call.prompt_tokens),
            "completion_tokens": int(call.completion_tokens),
            "cost_usd": decimal(call.cost_micro_usd, 6),
        );
        json.finish();
        Some(Times { floor_ms: at_ms, event_ms: at_ms })
    }
}
