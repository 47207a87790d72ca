//! The integration tests of the `thalweg` crate: one binary.

mod backpressure;
mod cases;
mod cli;
mod dirty;
mod group_by;
mod kafka;
mod outputs;
mod patience;
mod processes;
mod real_data;
mod specs;
mod support;
mod telemetry;
