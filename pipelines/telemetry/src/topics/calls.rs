//! `provider-requests`, and `provider-feedback` on some of them.

use std::sync::Arc;

use crate::json::{self, Json, fields};
use crate::random::{Draw, For};
use crate::stream::{Generator, Times};
use crate::world::{Request, Schedule, Status, World};

/// Calls to models, keyed by session.
pub(crate) struct Requests {
    world: Arc<World>,
    schedule: Schedule,
    next: u64,
}

/// What users thought of answers, keyed by request.
pub(crate) struct Feedback {
    world: Arc<World>,
    requests: Schedule,
    count: u64,
    next: u64,
}

/// The name of a backend.
pub(crate) fn backend(out: &mut Vec<u8>, provider: &str, number: u64) {
    out.extend_from_slice(provider.as_bytes());
    json::numbered(out, "-", number, 1);
}

impl Requests {
    pub(crate) fn new(world: Arc<World>, schedule: Schedule) -> Requests {
        Requests { world, schedule, next: 0 }
    }
}

impl Generator for Requests {
    fn next(&mut self, key: &mut Vec<u8>, value: &mut Vec<u8>) -> Option<Times> {
        if self.next == self.schedule.count() {
            return None;
        }
        let at_ms = self.schedule.at(self.next);
        let request = self.world.request(self.next, at_ms);
        self.next += 1;
        json::hex(key, "s-", request.session.id, 12);
        write_request(&request, value);
        Some(Times { floor_ms: at_ms, event_ms: at_ms })
    }
}

fn write_request(request: &Request, value: &mut Vec<u8>) {
    let mut json = Json(value);
    json.open();
    fields!(json;
        "request_id": hex("req-", request.id, 16),
        "started_at": int(request.at_ms),
        "provider": text(request.model.provider),
        "model": text(request.model.name),
    );
    json.raw("\"backend_id\":\"");
    backend(json.0, request.model.provider, request.backend);
    json.raw("\",");
    fields!(json;
        "algorithm": text(request.algorithm),
        "session_id": hex("s-", request.session.id, 12),
        "user_id": numbered("u-", request.session.user, 6),
        "status": text(request.status.name()),
        "retries": int(request.retries),
        "latency_ms": int(request.latency_ms),
    );
    if let Some(ttft_ms) = request.ttft_ms {
        fields!(json; "ttft_ms": int(ttft_ms));
    }
    fields!(json;
        "prompt_tokens": int(request.prompt_tokens),
        "completion_tokens": int(request.completion_tokens),
        "cost_usd": decimal(request.cost_micro_usd, 6),
        "cache_hit": bool(request.cache_hit),
        "request_bytes": int(request.prompt_tokens * 4 + 312),
        "response_bytes": int(request.completion_tokens * 5 + 208),
    );
    json.finish();
}

impl Feedback {
    pub(crate) fn new(world: Arc<World>, count: u64, requests: Schedule) -> Feedback {
        Feedback { world, requests, count, next: 0 }
    }
}

impl Generator for Feedback {
    fn next(&mut self, key: &mut Vec<u8>, value: &mut Vec<u8>) -> Option<Times> {
        if self.next == self.count {
            return None;
        }
        // One request in a stretch of them, the first that was answered.
        let stretch = |index: u64| {
            (u128::from(index) * u128::from(self.requests.count()) / u128::from(self.count)) as u64
        };
        let (first, after) = (stretch(self.next), stretch(self.next + 1));
        let mut draw = Draw::new(self.world.seed, For::Feedback, self.next);
        self.next += 1;
        let mut index = first;
        let mut at_ms = self.requests.at(index);
        let floor_ms = at_ms;
        let mut request = self.world.request(index, at_ms);
        while request.status != Status::Success && index + 1 < after {
            index += 1;
            at_ms = self.requests.at(index);
            request = self.world.request(index, at_ms);
        }
        // Within five minutes, and within the time that is covered.
        let left_ms = (self.world.end_ms - at_ms - 1).clamp(0, 300_000);
        let thinking = draw.unit();
        let event_ms =
            (at_ms + request.latency_ms + (thinking * thinking * left_ms as f64) as i64).min(at_ms + left_ms);

        let patience = if request.latency_ms > 8000 { 0.25 } else { 0.0 };
        let liked = request.model.quality - patience + 0.12 * draw.normal();
        let grade = |draw: &mut Draw| (liked + 0.08 * draw.normal()).clamp(0.0, 1.0);
        json::hex(key, "req-", request.id, 16);
        let mut json = Json(value);
        json.open();
        fields!(json;
            "request_id": hex("req-", request.id, 16),
            "timestamp": int(event_ms),
            "user_rating": int(1 + (liked.clamp(0.0, 0.999) * 5.0) as i64),
            "accuracy": number(grade(&mut draw), 3),
            "relevance": number(grade(&mut draw), 3),
            "completeness": number(grade(&mut draw), 3),
            "task_type": text(request.session.agent_type()),
            "task_completed": bool(liked > 0.6),
        );
        json.finish();
        Some(Times { floor_ms, event_ms })
    }
}
