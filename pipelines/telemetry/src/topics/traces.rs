//! `traces`: the spans of some calls to models, from the gateway to the provider and back.
//!
//! ```text
//!   gateway  POST /v1/chat ─┬─ auth    verify_token
//!                           ├─ cache   get
//!                           ├─ router  route ──── provider's name   chat          (not on a cache hit)
//!                           └─ usage   insert
//! ```

use std::sync::Arc;

use crate::json::{self, Json, fields};
use crate::random::{Draw, For, mix};
use crate::stream::{Generator, Times};
use crate::world::{Request, Schedule, Status, World};

/// Spans of a trace, on average and rounded down: so many traces that the events asked for are reached.
const SPANS_EACH: u64 = 5;

/// Spans, keyed by trace.
pub(crate) struct Traces {
    world: Arc<World>,
    requests: Schedule,
    spans: u64,
    traces: u64,
    next_trace: u64,
    written: u64,
    /// The trace being written, with its spans from the last to the first.
    request: Option<Request>,
    pending: Vec<Span>,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    number: u64,
    parent: Option<u64>,
    service: &'static str,
    operation: &'static str,
    kind: &'static str,
    after_us: i64,
    duration_us: i64,
    failed: bool,
}

impl Traces {
    pub(crate) fn new(world: Arc<World>, spans: u64, requests: Schedule) -> Traces {
        let traces = spans.div_ceil(SPANS_EACH).max(1);
        Traces {
            world,
            requests,
            spans,
            traces,
            next_trace: 0,
            written: 0,
            request: None,
            pending: Vec::new(),
        }
    }

    fn begin_trace(&mut self) {
        let index = u128::from(self.next_trace) * u128::from(self.requests.count()) / u128::from(self.traces);
        let at_ms = self.requests.at(index as u64);
        let request = self.world.request(index as u64, at_ms);
        let mut draw = Draw::new(self.world.seed, For::Trace, self.next_trace);
        self.next_trace += 1;

        let failed = matches!(request.status, Status::Error | Status::Timeout);
        let mut micros = |median: f64| draw.log_normal(median, 0.5) as i64 + 1;
        let (auth, cache, routing, insert) = (micros(900.0), micros(400.0), micros(1500.0), micros(2200.0));
        let call_us = request.latency_ms * 1000;
        let answered = auth + cache + if request.cache_hit { 0 } else { routing + call_us };
        let span = |number, parent, service, operation, kind, after_us, duration_us, failed| Span {
            number,
            parent,
            service,
            operation,
            kind,
            after_us,
            duration_us,
            failed,
        };
        self.pending.clear();
        self.pending.push(span(5, Some(0), "usage", "insert", "client", answered, insert, false));
        if !request.cache_hit {
            let called = auth + cache + routing;
            self.pending.push(span(
                4,
                Some(3),
                request.model.provider,
                "chat",
                "client",
                called,
                call_us,
                failed,
            ));
            self.pending.push(span(
                3,
                Some(0),
                "router",
                "route",
                "internal",
                auth + cache,
                routing + call_us,
                failed,
            ));
        }
        self.pending.push(span(2, Some(0), "cache", "get", "client", auth, cache, false));
        self.pending.push(span(1, Some(0), "auth", "verify_token", "client", 0, auth, false));
        self.pending.push(span(0, None, "gateway", "POST /v1/chat", "server", 0, answered + insert, failed));
        self.request = Some(request);
    }
}

impl Generator for Traces {
    fn next(&mut self, key: &mut Vec<u8>, value: &mut Vec<u8>) -> Option<Times> {
        if self.written == self.spans {
            return None;
        }
        if self.pending.is_empty() {
            self.begin_trace();
        }
        let (request, span) = (self.request.as_ref()?, self.pending.pop()?);
        self.written += 1;

        let trace = (mix(request.id ^ 1), mix(request.id ^ 2));
        let span_id = |number: u64| mix(trace.0 ^ number);
        let start_us = request.at_ms * 1000 + span.after_us;
        json::hex(key, "", trace.0, 16);
        json::hex(key, "", trace.1, 16);
        let mut json = Json(value);
        json.open();
        fields!(json; "trace_id": bytes(key), "span_id": hex("", span_id(span.number), 16));
        if let Some(parent) = span.parent {
            fields!(json; "parent_span_id": hex("", span_id(parent), 16));
        }
        fields!(json;
            "service": text(span.service),
            "operation": text(span.operation),
            "kind": text(span.kind),
            "status": text(if span.failed { "error" } else { "ok" }),
            "start": int(start_us * 1000),
            "end": int((start_us + span.duration_us) * 1000),
            "duration": int(span.duration_us * 1000),
        );
        json.raw("\"attributes\":");
        json.open();
        match span.number {
            0 => {
                fields!(json; "request_id": hex("req-", request.id, 16), "user_id": numbered("u-", request.session.user, 6))
            }
            4 => fields!(json; "model": text(request.model.name), "tokens": int(request.completion_tokens)),
            3 => fields!(json; "algorithm": text(request.algorithm)),
            2 => fields!(json; "hit": bool(request.cache_hit)),
            _ => {}
        }
        json.close();
        json.raw("\"events\":");
        json.open_list();
        if span.failed && span.number == 4 {
            json.open();
            fields!(json; "name": text("exception"), "time": int((start_us + span.duration_us) * 1000));
            fields!(json; "type": text(request.status.name()));
            json.close();
        }
        json.close_list();
        json.finish();
        Some(Times { floor_ms: request.at_ms, event_ms: start_us / 1000 })
    }
}
