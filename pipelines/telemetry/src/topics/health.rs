//! `backend-health` and `system-events`.

use std::sync::Arc;

use crate::incident::IncidentKind;
use crate::json::{Json, fields};
use crate::random::{Draw, For};
use crate::stream::{Generator, Times};
use crate::topics::backend;
use crate::world::{BACKENDS, MODELS, Schedule, World};

/// Models of one provider in the table.
const MODELS_EACH: u64 = 4;
const COMPONENTS: [&str; 8] =
    ["gateway", "router", "auth", "cache", "scheduler", "trainer", "feature-store", "vector-index"];

/// Health checks of all backends in turn, keyed by backend.
pub(crate) struct Health {
    world: Arc<World>,
    schedule: Schedule,
    next: u64,
}

/// Deploys, restarts, heartbeats, keyed by component.
pub(crate) struct SystemEvents {
    world: Arc<World>,
    schedule: Schedule,
    next: u64,
}

impl Health {
    pub(crate) fn new(world: Arc<World>, schedule: Schedule) -> Health {
        Health { world, schedule, next: 0 }
    }
}

impl Generator for Health {
    fn next(&mut self, key: &mut Vec<u8>, value: &mut Vec<u8>) -> Option<Times> {
        if self.next == self.schedule.count() {
            return None;
        }
        let at_ms = self.schedule.at(self.next);
        let mut draw = Draw::new(self.world.seed, For::Health, self.next);
        let of = self.next % (MODELS.len() as u64 / MODELS_EACH * BACKENDS);
        self.next += 1;
        let provider = MODELS[(of / BACKENDS * MODELS_EACH) as usize].provider;
        let suffers = |target: &str| target.split('/').next() == Some(provider);
        let down = self.world.befalls(IncidentKind::ProviderOutage, at_ms, suffers).is_some();
        let healthy = draw.chance(if down { 0.6 } else { 0.997 });
        let circuit = match (down, healthy) {
            (false, _) => "closed",
            (true, false) => "open",
            (true, true) if draw.chance(0.5) => "half_open",
            (true, true) => "closed",
        };
        let pool_size = 64;
        let busy = if down { 0.9 } else { 0.45 } + 0.08 * draw.normal();
        backend(key, provider, of % BACKENDS);
        let mut json = Json(value);
        json.open();
        fields!(json;
            "backend_id": bytes(key),
            "timestamp": int(at_ms),
            "healthy": bool(healthy),
            "check_ms": int(draw.log_normal(if down { 400.0 } else { 25.0 }, 0.5) as i64 + 1),
            "circuit": text(circuit),
            "pool_in_use": int(((f64::from(pool_size) * busy) as i64).clamp(0, 64)),
            "pool_size": int(i64::from(pool_size)),
            "queue_length": int(if down { draw.between(20, 200) } else { draw.between(0, 6) }),
        );
        json.finish();
        Some(Times { floor_ms: at_ms, event_ms: at_ms })
    }
}

impl SystemEvents {
    pub(crate) fn new(world: Arc<World>, schedule: Schedule) -> SystemEvents {
        SystemEvents { world, schedule, next: 0 }
    }
}

impl Generator for SystemEvents {
    fn next(&mut self, key: &mut Vec<u8>, value: &mut Vec<u8>) -> Option<Times> {
        if self.next == self.schedule.count() {
            return None;
        }
        let at_ms = self.schedule.at(self.next);
        let mut draw = Draw::new(self.world.seed, For::System, self.next);
        let component = COMPONENTS[(self.next % 8) as usize];
        self.next += 1;
        let kinds = [("heartbeat", 960), ("config_change", 15), ("scale", 12), ("deploy", 8), ("restart", 5)];
        let kind = kinds[draw.weighted(&kinds, |kind| kind.1, 1000)].0;
        key.extend_from_slice(component.as_bytes());
        let mut json = Json(value);
        json.open();
        fields!(json; "event_type": text(kind), "component": text(component));
        fields!(json; "node": numbered("gpu-", draw.below(4), 3), "timestamp": int(at_ms));
        json.raw("\"properties\":");
        json.open();
        match kind {
            "heartbeat" => {
                fields!(json; "uptime_s": int((at_ms - self.world.start_ms) / 1000 + 86_400), "load": number(draw.unit() * 4.0, 2));
            }
            "deploy" | "restart" => {
                fields!(json; "version": numbered("2026.1.", draw.below(40), 1), "reason": text("release"));
            }
            "scale" => fields!(json; "replicas": int(draw.between(2, 24)), "reason": text("load")),
            _ => {
                fields!(json; "setting": text("routing.weights"), "changed_by": numbered("u-", draw.below(50), 6))
            }
        }
        json.close();
        json.finish();
        Some(Times { floor_ms: at_ms, event_ms: at_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_grouped_by_provider() {
        for of_one in MODELS.chunks(MODELS_EACH as usize) {
            assert!(of_one.iter().all(|model| model.provider == of_one[0].provider));
        }
        assert_eq!(MODELS.iter().map(|model| model.share).sum::<u64>(), 100);
    }
}
