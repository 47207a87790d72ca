//! Operators: sources, windows, aggregates, models and sinks, as timely operators over batches of rows.
//!
//! Every operator takes a typed configuration and closures, never YAML or SQL text, so that it can be used as a library
//! without the pipeline language: see `examples/`.

pub mod aggregate;
pub mod keyed;
pub mod rows;
pub mod series;
pub mod sink;
pub mod source;
pub mod stopwatch;
pub mod window;
