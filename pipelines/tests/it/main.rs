//! The integration tests of the `thalweg` crate: one binary.

mod cases;
mod specs;
