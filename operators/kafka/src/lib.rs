//! Kafka: a source whose splits are partitions, a sink that writes each row once, and a plain producer.
//!
//! ```text
//!   KafkaConfig ──resolve──▶ KafkaPlan ──reader(w, n)──▶ KafkaReader   one a worker, split number % n == w
//!   what the user wrote      every split with its        librdkafka's partition queues, read in
//!                            start and end offset        batches, handed over record by record
//! ```
//!
//! The plan is made once for a job, before its workers start, so that all of them agree on where the input begins and
//! ends; from then on the input is a function of the plan alone. Offsets are never committed to Kafka: a job's offsets
//! live in its checkpoints.
//!
//! | file | what is in it |
//! |---|---|
//! | `config.rs` | what a Kafka source can be told, and librdkafka's properties |
//! | `plan.rs` | positions → offsets, for every split |
//! | `reader.rs` | reading: order, ends, errors |
//! | `batch.rs` | the only `unsafe` code: a partition's queue, and the messages taken from it |
//! | `silence.rs` | whether a split that is silent has nothing |
//! | `ends.rs` | where splits end now |
//! | `context.rs` | what librdkafka says on the side: logs, errors, statistics |
//! | `sink.rs` | the sink: staged rows → records, in one transaction a checkpoint |
//! | `transaction.rs` | transactions that carry how far one is |
//! | `partitioner.rs` | key → partition, as Java's producer has it |
//! | `writer.rs`, `admin.rs` | producing; making, growing and deleting topics |
//! | `broker.rs` | an Apache Kafka broker for tests and benchmarks |

mod admin;
mod batch;
pub mod broker;
mod config;
mod context;
mod ends;
mod error;
mod partitioner;
mod plan;
mod reader;
mod silence;
mod sink;
mod transaction;
mod writer;

pub use admin::{create_topic, delete_records, delete_topic, grow_topic};
pub use config::{KafkaConfig, Position, refused_property};
pub use ends::EndOffsets;
pub use error::KafkaError;
pub use partitioner::partition_of;
pub use plan::{KafkaPlan, PlannedSplit};
pub use reader::KafkaReader;
pub use sink::{KafkaPublisher, KafkaSinkConfig, refused_sink_property};
pub use transaction::{Committed, Progress, TransactionalConfig, TransactionalWriter};
pub use writer::{KafkaWriter, WriteRecord};
