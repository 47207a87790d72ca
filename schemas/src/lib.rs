//! What a row is: schemas, and the way from a record's payload bytes to Arrow columns.
//!
//! ```text
//!   topics/*.yaml, a pipeline's `schemas:` ──▶ Schema ──────────┐
//!                                                              ▼
//!   payload bytes ──▶ Decoder::push ──▶ one more row of every column ──▶ Decoder::finish ──▶ Arrow arrays
//!                          └──▶ Rejection (reason, field, what was found); the decoder is as it was
//! ```
//!
//! Where to look:
//! - [`field`], [`schema`]: fields, types, units, personal marks; reading them from YAML; the built-in topics.
//! - [`time`]: the one timestamp type, RFC 3339.
//! - [`decoder`]: rows in, columns out; `json` behind it is the hot path of the product.
//! - [`rejection`]: the reasons for which a row is refused.
//!
//! This crate knows Arrow and formats. It does no I/O and knows neither timely nor Kafka.
//!
//! **A payload's result depends on its bytes and the schema alone**, never on the rows before it: lateness, replays and
//! backtests lean on that.

pub mod decoder;
pub mod field;
pub mod rejection;
pub mod schema;
pub mod time;

mod column;
mod json;

pub use decoder::{DECODER_VERSION, Decoder, Format};
pub use field::{Field, FieldType, TimestampEncoding};
pub use rejection::{Reason, Rejection};
pub use schema::{Draft, Schema, SchemaError};
