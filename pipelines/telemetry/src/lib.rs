//! A realistic AI platform's telemetry, made up: for the demo, for the tests, and for the benchmarks.
//!
//! Everything follows from a seed, so that a demo can say beforehand what it will find, and a golden test can hold on every
//! machine. Event i of a topic is a function of (seed, topic, i) and of nothing that was drawn before it; where topics
//! speak of each other (a feedback of its request, a trace of its call, a request of its user's session) both compute
//! the same function. Topics can therefore be made alone, in parallel, or together, and stay the same bytes.
//!
//! ```text
//!   TelemetryConfig ─▶ World: schedules, users and their sessions, models, incidents      (world.rs, incident.rs)
//!                        │
//!        one generator a topic: the next event's time, key and JSON                       (topics/…)
//!                        │
//!        delay, dirt, partition by key ─▶ append order ─▶ offsets                         (stream.rs, dirt.rs)
//!                        │
//!        Telemetry::next_event · write_archives · write_kafka                             (telemetry.rs, output.rs, kafka.rs)
//! ```
//!
//! The same bytes on every machine: random numbers are integer arithmetic, and what is computed in floating point uses only
//! the operations that IEEE 754 defines to the last bit (`+ - * /` and rounding); `exp` and `ln` are written out in
//! `random.rs`, since the system's own differ between platforms.

mod bench;
mod config;
mod dirt;
mod incident;
mod json;
mod kafka;
mod output;
mod random;
mod stream;
mod telemetry;
#[cfg(test)]
mod tests;
mod topic;
mod topics;
mod world;

pub use bench::BenchConfig;
pub use config::{TelemetryConfig, TelemetryError, Volume};
pub use dirt::Dirt;
pub use incident::{Incident, IncidentKind, Planted};
pub use kafka::{KafkaOutput, write_bench_kafka, write_kafka};
pub use output::{Summary, TopicSummary, write_archives, write_bench_archive};
pub use stream::Event;
pub use telemetry::Telemetry;
pub use topic::Topic;
