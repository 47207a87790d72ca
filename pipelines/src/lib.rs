//! Stub.
pub mod spec;
