//! `user-interactions` and `test-runs`.

use std::sync::Arc;

use crate::incident::IncidentKind;
use crate::json::{self, Json, fields};
use crate::random::{Draw, For};
use crate::stream::{Generator, Times};
use crate::world::{AGENT_TYPES, MODELS, Schedule, World};

const EVENT_TYPES: [(&str, u64); 6] =
    [("message", 48), ("response_view", 28), ("copy", 9), ("feedback", 6), ("file_upload", 5), ("export", 4)];
const FEEDBACK: [&str; 3] = ["positive", "neutral", "negative"];
const PROMPT_TYPES: [&str; 4] = ["zero_shot", "few_shot", "chain_of_thought", "tool_use"];
const USER_CATEGORIES: [&str; 4] = ["free", "team", "business", "internal"];
/// Sessions of one event, as a share of all events, on a usual day.
const BOUNCES: f64 = 0.015;

/// What users do, keyed by user.
pub(crate) struct Interactions {
    world: Arc<World>,
    schedule: Schedule,
    next: u64,
}

/// Prompts being tested, keyed by test.
pub(crate) struct TestRuns {
    world: Arc<World>,
    schedule: Schedule,
    next: u64,
}

impl Interactions {
    pub(crate) fn new(world: Arc<World>, schedule: Schedule) -> Interactions {
        Interactions { world, schedule, next: 0 }
    }
}

impl Generator for Interactions {
    fn next(&mut self, key: &mut Vec<u8>, value: &mut Vec<u8>) -> Option<Times> {
        if self.next == self.schedule.count() {
            return None;
        }
        let at_ms = self.schedule.at(self.next);
        let mut draw = Draw::new(self.world.seed, For::Interaction, self.next);
        self.next += 1;

        let chance = draw.unit();
        let wave = |agent: &str| {
            self.world.befalls(IncidentKind::BounceWave, at_ms, |target| target == agent).is_some()
        };
        let waves_at = AGENT_TYPES.into_iter().find(|agent| wave(agent));
        let (session, agent_type, bounced) = match waves_at {
            Some(agent) if chance < 1.0 / 3.0 => (self.world.passer_by(&mut draw), agent, true),
            _ if chance > 1.0 - BOUNCES => {
                let session = self.world.passer_by(&mut draw);
                (session, session.agent_type(), true)
            }
            _ => {
                let session = self.world.session(at_ms, &mut draw);
                (session, session.agent_type(), false)
            }
        };
        let kind = if bounced { 0 } else { draw.weighted(&EVENT_TYPES, |kind| kind.1, 100) };
        json::numbered(key, "u-", session.user, 6);
        let mut json = Json(value);
        json.open();
        fields!(json;
            "event_type": text(EVENT_TYPES[kind].0),
            "user_id": numbered("u-", session.user, 6),
            "session_id": hex("s-", session.id, 12),
            "timestamp": int(at_ms),
        );
        json.raw("\"properties\":");
        json.open();
        fields!(json;
            "agent_type": text(agent_type),
            "response_time_ms": int(draw.log_normal(900.0, 0.7) as i64),
            "message_length": int(if kind == 0 { draw.log_normal(180.0, 1.0) as i64 + 1 } else { 0 }),
        );
        if kind == 3 {
            fields!(json; "feedback": text(FEEDBACK[draw.weighted(&[70, 18, 12], |weight| *weight, 100)]));
        }
        json.close();
        json.finish();
        Some(Times { floor_ms: at_ms, event_ms: at_ms })
    }
}

impl TestRuns {
    pub(crate) fn new(world: Arc<World>, schedule: Schedule) -> TestRuns {
        TestRuns { world, schedule, next: 0 }
    }
}

impl Generator for TestRuns {
    fn next(&mut self, key: &mut Vec<u8>, value: &mut Vec<u8>) -> Option<Times> {
        if self.next == self.schedule.count() {
            return None;
        }
        let at_ms = self.schedule.at(self.next);
        let mut draw = Draw::new(self.world.seed, For::TestRun, self.next);
        self.next += 1;
        let test = draw.below(400);
        let model = &MODELS[draw.weighted(&MODELS, |model| model.share, 100)];
        let prompt_type = draw.below(4) as usize;
        let relevance = (model.quality + 0.02 * prompt_type as f64 + 0.1 * draw.normal()).clamp(0.0, 1.0);
        json::numbered(key, "test-", test, 4);
        let mut json = Json(value);
        json.open();
        fields!(json;
            "test_id": numbered("test-", test, 4),
            "model": text(model.name),
            "prompt_type": text(PROMPT_TYPES[prompt_type]),
            "user_category": text(USER_CATEGORIES[draw.below(4) as usize]),
            "timestamp": int(at_ms),
            "passed": bool(relevance > 0.65),
            "execution_ms": int(draw.log_normal(1400.0, 0.6) as i64),
            "tokens": int(draw.log_normal(700.0, 0.6) as i64 + 10),
            "relevance": number(relevance, 3),
        );
        json.finish();
        Some(Times { floor_ms: at_ms, event_ms: at_ms })
    }
}
