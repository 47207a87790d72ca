//! Thalweg: stream processing for the telemetry of AI platforms. This page is its architecture.
//!
//! A pipeline is a YAML file. It compiles to a timely dataflow that reads Kafka or archives of its topics, gathers rows into
//! event-time windows and writes Parquet, Delta Lake or Kafka; what lies in folders SQL reads back.
//!
//! # The layers
//!
//! A line, each using only what stands to its left; the folder is the layer, and Cargo enforces it.
//!
//! ```text
//! schemas  ◀──  engine  ◀──  operators  ◀──  pipelines  ◀──  examples, benches
//! what a row    ticks,       sources,         spec → plan → dataflow,
//! is; bytes     workers,     windows,         catalogue, SQL,
//! → Arrow       exchange,    aggregates,      the `thalweg` binary
//!               watermarks,  models, sinks
//!               checkpoints
//! ```
//!
//! # From a file to rows
//!
//! ```text
//!   pipeline.yaml ─▶ spec ─────────▶ plan ─────────▶ lower ─────────▶ run
//!                    as written      as checked      as run           a job, and its account
//!                    (all problems   (types, keys,   (operators on
//!                    with places)    expressions)    each worker)
//! ```
//!
//! What the user wrote, what was validated and what runs are three types; nothing half-checked goes further.
//!
//! # The way of a row
//!
//! ```text
//!   Kafka, archive ─▶ record ─▶ decoded ─▶ on time? ─▶ where ─▶ key ─▶ exchange ─▶ window ─▶ select, having ─▶ sink
//!   operators/source  (reader)  schemas    source.rs   lower    window/keys engine window/    lower             sink/
//!                                  └─▶ rejected  └─▶ late: outputs like any other, with the raw bytes
//! ```
//!
//! Steps with models stand behind windows, or behind sources: rows wait for the watermark, and a model sees those of a key in event-time
//! order (`operators/src/series.rs`). The models are mathematics of their own (`operators/series`); trained ones run on
//! threads beside the workers (`operators/models`, feature `models`). A network that looks for anomalies is three stages: windows by key, the
//! network, and what its scores mean for that key (`lower/network.rs`); `train.rs` makes one of a piece of the past.
//!
//! # Six questions
//!
//! - *Where does a row enter?* `operators/src/source.rs`; Kafka's reader is `operators/kafka/src/reader.rs`.
//! - *Where is lateness decided?* `accept` in `operators/src/source.rs`: per split, row by row, in offset order.
//! - *Where do I add an aggregate?* `operators/src/aggregate.rs` says how, in its first lines.
//! - *What may this file touch?* What stands to the left of its layer. `schemas` does no I/O; `engine` knows no operator;
//!   `operators` knows neither YAML nor SQL.
//! - *How is this tested?* `pipelines/tests/cases`: pipeline tests like those of users, run with one worker and with three, in ticks of
//!   one row, with partitions dealt otherwise, broken off and gone on; the same rows every time.
//! - *What happens after a crash?* `run/recovery.rs`: the next run goes on from the newest checkpoint; how those are made stands in
//!   `engine/src/checkpoint.rs`.
//!
//! # What makes results repeatable
//!
//! Lateness depends on a split's bytes alone; the job's watermark is the minimum over splits; every aggregate is an exact
//! commutative monoid. So neither ticks nor workers nor the pace of reading can change a row. No operator reads the wall clock, and
//! expressions that would are refused.

pub mod archive;
pub mod backtest;
pub mod catalogue;
pub mod cli;
pub mod evaluate;
mod lock;
mod lower;
pub mod metrics;
pub mod plan;
pub mod preview;
#[cfg(feature = "models")]
pub mod registry;
pub mod reinject;
pub mod run;
pub mod spec;
pub mod testing;
#[cfg(feature = "models")]
pub mod train;
