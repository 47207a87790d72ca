//! Neural models over rows of `f32`: architectures in candle, their training, ONNX files, and a thread that runs any of them.
//!
//! One model serves all keys of a step. It sees windows (the last few rows of a key, the newest last), so what it says of a row depends on
//! that key's rows alone, and it is run in batches of one fixed shape, so that it doesn't depend on which rows happen to stand in a
//! batch either: to the bit, in any split and any order. No dataflow, no Arrow, no clock but the one that stops a model that takes too long.
//!
//! ```text
//!   series ─▶ training ─▶ Model ─▶ bytes (safetensors) ─▶ Model ─┐
//!                                                                ├─▶ Infer: rows in, named columns out ─▶ worker: a thread with
//!                                  bytes (.onnx) ──▶ OnnxModel ──┘                                        a queue and a time limit
//! ```
//!
//! | file | what |
//! |---|---|
//! | [`architecture`] | the shipped architectures: configuration, parameters, shapes, forward pass |
//! | [`normalise`] | windows in robust units of their own, inside every model of windows |
//! | [`model`] | a trained model: its file, its scores |
//! | [`onnx`] | users' ONNX files, through tract |
//! | [`infer`] | what both have in common: ports, and rows to outputs |
//! | [`worker`] | inference on a thread of its own |
//! | [`step`] | a step of a dataflow that asks a model of each row |
//! | [`registry`] | versions of models, in a folder or a bucket |
//! | [`training`] | mini-batches, early stopping, metrics |
//! | [`device`] | `cpu`, `cuda:0` |
//!
//! # Bits
//!
//! On one machine the same model gives the same row the same bits. Normalisation and scores are made of exact operations and `libm`; the
//! matrix products between them add up in one order with fused multiply-adds, so CPUs that have these (x86-64 with FMA, ARM64) agree in
//! practice, while a GPU gives other last bits than a CPU.
//!
//! # Threads
//!
//! candle asks for the number of threads at each matrix product: set `RAYON_NUM_THREADS=1` before a process starts its threads. Products
//! then run on the thread that asks for them, and `/proc/cpuinfo` isn't read each time.

pub mod architecture;
pub mod device;
mod error;
pub mod infer;
mod layers;
pub mod model;
pub mod normalise;
pub mod onnx;
pub mod registry;
mod seed;
pub mod step;
pub mod training;
pub mod worker;

pub use error::ModelError;
