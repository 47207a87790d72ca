//! `node-metrics` and `signal-blocks`.

use std::sync::Arc;

use crate::incident::IncidentKind;
use crate::json::{self, Json, fields};
use crate::random::{Draw, For};
use crate::stream::{Generator, Times};
use crate::world::{Schedule, World};

/// Seconds between two reports of a node, where the number of events allows it.
const REPORT_S: u64 = 10;
const GPU_MEMORY_BYTES: i64 = 80 << 30;
/// Blocks a second and stream.
const BLOCKS_PER_S: u64 = 1;

/// Machines in turn, keyed by node: two of three have GPUs, the first four always.
pub(crate) struct Nodes {
    world: Arc<World>,
    schedule: Schedule,
    nodes: u64,
    next: u64,
}

/// Processed samples, keyed by stream.
pub(crate) struct Signals {
    world: Arc<World>,
    schedule: Schedule,
    streams: u64,
    next: u64,
}

impl Nodes {
    pub(crate) fn new(world: Arc<World>, schedule: Schedule, duration_s: u64) -> Nodes {
        let reports = (duration_s / REPORT_S).max(1);
        Nodes { nodes: (schedule.count() / reports).clamp(6, 10_000), world, schedule, next: 0 }
    }

    /// What a node's GPU memory is at when nothing leaks: a share.
    fn memory_usual(&self, node: u64, gpu: u64) -> f64 {
        0.45 + 0.2 * Draw::new(self.world.seed, For::Node, u64::MAX - node * 8 - gpu).unit()
    }
}

impl Generator for Nodes {
    fn next(&mut self, key: &mut Vec<u8>, value: &mut Vec<u8>) -> Option<Times> {
        if self.next == self.schedule.count() {
            return None;
        }
        let at_ms = self.schedule.at(self.next);
        let mut draw = Draw::new(self.world.seed, For::Node, self.next);
        let node = self.next % self.nodes;
        self.next += 1;
        let gpus = if node < 4 || !node.is_multiple_of(3) { [4, 8][(node % 2) as usize] } else { 0 };
        json::numbered(key, if gpus > 0 { "gpu-" } else { "cpu-" }, node, 3);
        let leak = self
            .world
            .befalls(IncidentKind::GpuMemoryLeak, at_ms, |target| target.as_bytes() == key.as_slice());
        let percent =
            |mean: f64, spread: f64, draw: &mut Draw| (mean + spread * draw.normal()).clamp(0.0, 100.0);
        let mut json = Json(value);
        json.open();
        fields!(json;
            "node": bytes(key),
            "timestamp": int(at_ms),
            "cpu": number(percent(if gpus > 0 { 38.0 } else { 55.0 }, 9.0, &mut draw), 1),
            "memory": number(percent(61.0, 4.0, &mut draw), 1),
            "disk": number(percent(47.0 + (node % 20) as f64, 0.3, &mut draw), 1),
            "network": int(draw.log_normal(180e6, 0.5) as i64),
        );
        json.raw("\"gpus\":");
        json.open_list();
        for gpu in 0..gpus {
            let busy = percent(78.0, 9.0, &mut draw);
            let usual = self.memory_usual(node, gpu);
            let used =
                leak.map_or(usual, |progress| usual + (0.97 - usual) * progress) + 0.005 * draw.normal();
            json.open();
            fields!(json;
                "index": int(gpu as i64),
                "utilization": number(busy, 1),
                "memory_used": int(((used * GPU_MEMORY_BYTES as f64) as i64).clamp(0, GPU_MEMORY_BYTES)),
                "memory_total": int(GPU_MEMORY_BYTES),
                "temperature_c": number(38.0 + busy * 0.38 + draw.normal(), 1),
                "power_w": number(90.0 + busy * 5.6 + 8.0 * draw.normal(), 1),
            );
            json.close();
        }
        json.close_list();
        fields!(json; "hourly_cost_usd": decimal(420_000 + gpus as i64 * 2_490_000, 6));
        json.finish();
        Some(Times { floor_ms: at_ms, event_ms: at_ms })
    }
}

impl Signals {
    pub(crate) fn new(world: Arc<World>, schedule: Schedule, duration_s: u64) -> Signals {
        Signals {
            streams: (schedule.count() / (duration_s * BLOCKS_PER_S)).clamp(4, 10_000),
            world,
            schedule,
            next: 0,
        }
    }
}

impl Generator for Signals {
    fn next(&mut self, key: &mut Vec<u8>, value: &mut Vec<u8>) -> Option<Times> {
        if self.next == self.schedule.count() {
            return None;
        }
        let at_ms = self.schedule.at(self.next);
        let mut draw = Draw::new(self.world.seed, For::Signal, self.next);
        let stream = self.next % self.streams;
        self.next += 1;
        // 28 streams of a block a second then make about 58 million samples a second.
        let samples = 1 << 21;
        json::numbered(key, "stream-", stream, 4);
        let mut json = Json(value);
        json.open();
        fields!(json;
            "stream_id": bytes(key),
            "timestamp": int(at_ms),
            "samples": int(samples),
            "seconds": number(draw.log_normal(0.031, 0.15), 6),
            "gpu_memory_bytes": int((samples * 8) + draw.between(0, 64) * 1_048_576),
        );
        if stream.is_multiple_of(4) {
            json.raw("\"values\":");
            json.open_list();
            for _ in 0..8 {
                json.number(draw.normal(), 4);
            }
            json.close_list();
        }
        json.finish();
        Some(Times { floor_ms: at_ms, event_ms: at_ms })
    }
}
