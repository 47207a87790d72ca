//! Series of known kinds with planted incidents, for tests and benchmarks.
