//! The integration tests of the `thalweg` crate: one binary.

mod backpressure;
mod binary;
mod cases;
mod chaos;
mod cli;
mod dirty;
mod failpoints;
mod group_by;
mod idle;
mod kafka;
mod metrics;
mod outputs;
mod patience;
mod processes;
mod real_data;
mod recovery;
mod specs;
mod support;
mod telemetry;
