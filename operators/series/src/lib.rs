//! Models of one series: what goes wrong in it, what comes next, where it ends; and the measures that such models are judged by.
//!
//! Plain mathematics over `f64`: no dataflow, no Arrow, no I/O, no clock and no randomness that is not seeded. A model is two types: one
//! that is configured once (`Detector`, `Forecaster`, `Converger`), and the state of one key, which learns row by row in event-time
//! order. What a row gets depends on that key's rows before it alone, so it is the same live, in a backtest, on any number of workers, and after
//! a restart from encoded state.
//!
//! | file | what |
//! |---|---|
//! | [`detect`] | anomalies: methods, calibration to p-values, classes, severities |
//! | [`stream`] | rows in units of their key, and windows of them: what networks see |
//! | [`forecast`] | quantiles of what comes, and the chance that a threshold is crossed |
//! | [`converge`] | learning curves: the final value, what is left, stalls |
//! | [`measure`] | VUS-PR, NAB's score, event recall and delay, coverage |
//! | [`synthetic`] | series of known kinds with planted incidents, for tests and benchmarks |
//! | [`bytes`] | state as bytes of a checkpoint, and back |
//!
//! Transcendental functions come from `libm` and not from the platform, so that results are the same on every machine.

pub mod bytes;
pub mod converge;
pub mod detect;
pub mod forecast;
pub mod measure;
pub mod stream;
pub mod synthetic;

/// A row of one key, as models see it.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// Event time, microseconds since the epoch; never less than the key's row before.
    pub time_us: i64,
    /// The same instant by the clock of the season's time zone, microseconds since the epoch: where in a day or week it lies.
    pub local_us: i64,
    /// The inputs, in the order of the configuration. NaN: there is no value.
    pub values: &'a [f64],
}
