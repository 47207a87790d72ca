//! The integration tests of the `thalweg` crate: one binary.

mod backpressure;
mod binary;
mod cases;
mod cli;
mod dirty;
mod failpoints;
mod group_by;
mod kafka;
mod outputs;
mod patience;
mod processes;
mod real_data;
mod recovery;
mod specs;
mod support;
mod telemetry;
