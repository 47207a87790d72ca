//! Sources.
pub mod archive;
pub mod reader;
