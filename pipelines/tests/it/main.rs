//! The integration tests of the `thalweg` crate: one binary.

#![allow(clippy::print_stdout, reason = "what a test says is kept for whoever asks why it failed")]

mod archive;
mod backpressure;
mod backtest;
mod binary;
mod cases;
mod chaos;
mod cli;
mod decoded;
mod delta;
mod dirty;
mod evaluate;
mod failpoints;
mod formats;
mod group_by;
mod idle;
mod kafka;
mod memory;
mod metrics;
mod mistakes;
mod models;
#[cfg(feature = "models")]
mod models_cli;
#[cfg(feature = "models")]
mod networks;
mod outputs;
mod patience;
mod pipeline_tests;
mod preview;
mod processes;
mod real_data;
mod recovery;
mod reinject;
mod s3;
#[cfg(feature = "models")]
mod score;
mod specs;
mod support;
mod telemetry;
