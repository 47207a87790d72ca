//! The engine: batches of rows that travel through a timely dataflow at ticks, keyed exchange, watermarks, backpressure.
//!
//! It knows timely and Arrow; it knows no operator, connector or file format.
//!
//! ```text
//!   source ──▶ rows at ticks ──▶ … ──▶ exchange by shard ──▶ keyed operator ──▶ … ──▶ sink ──▶ probe
//!     │  ▲                              (exchange, shard)        ▲                        │
//!     │  └────────────── Gate: at most so much ahead ◀───────────┼────────────────────────┘
//!     └─▶ WatermarkReport a tick, broadcast ─────────────────────┘
//! ```
//!
//! | file | what |
//! |---|---|
//! | [`batch`] | [`Batches`], the container timely carries, and its bytes between processes |
//! | [`shard`], [`exchange`] | key → hash → shard → worker; the vectorised hash split |
//! | [`tick`], [`gate`] | slices of reading; how far a source may run ahead |
//! | [`watermark`] | how far event time is: reports of the sources, the job's minimum |
//! | [`control`] | how a job is told to stop, and where its first error is kept |
//! | [`checkpoint`] | durable cuts: state, offsets, staged files; the log of a job |
//! | [`cluster`] | workers in threads and processes |

pub mod batch;
pub mod checkpoint;
pub mod cluster;
pub mod control;
pub mod exchange;
pub mod gate;
pub mod shard;
pub mod tick;
pub mod watermark;

pub use batch::Batches;
#[doc(hidden)]
pub use fail;

/// The timely timestamp: a slice of reading. Ticks move data along and mean nothing to results.
pub type Tick = u64;

/// A stream of batches at ticks: what all operators take and give.
pub type BatchStream<'scope> = timely::dataflow::Stream<'scope, Tick, Batches>;

/// A dataflow under construction.
pub type Scope<'scope> = timely::dataflow::Scope<'scope, Tick>;

/// The builder that operators' outputs use: containers are handed over whole.
pub type Out = timely::container::CapacityContainerBuilder<Batches>;
