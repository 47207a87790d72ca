//! Where a learning curve ends: its final value, what is left until a target, and whether it has stalled.

use crate::Observation;
use crate::bytes::StateError;
pub use crate::detect::ConfigError;

/// What is to be foretold of a curve.
#[derive(Debug, Clone, PartialEq)]
pub struct ConvergerConfig {
    /// The value to be reached; `None`: only the final value is foretold.
    pub target: Option<f64>,
    /// Whether less is better, as for losses.
    pub falling: bool,
    /// The last step of the curve, in units of `over`, where it is known.
    pub end: Option<f64>,
    /// Steps (generations) without improvement that make a stall.
    pub stall_after: u32,
}

/// What the model could make of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Status {
    /// It has seen too few rows of the key.
    #[default]
    Warming,
    /// It has judged.
    Ok,
    /// The target is reached.
    Reached,
    /// A row that goes back in `over`, or has no value: nothing is learnt of it.
    Skipped,
}

impl Status {
    /// As in the column `status`.
    pub fn name(self) -> &'static str {
        match self {
            Status::Warming => "warming",
            Status::Ok => "ok",
            Status::Reached => "reached",
            Status::Skipped => "skipped",
        }
    }
}

/// A value with its intervals; NaN while nothing can be said, +∞ for what never comes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The middle.
    pub expected: f64,
    /// 80 % lie at or above it and at or below `upper_80`.
    pub lower_80: f64,
    /// See `lower_80`.
    pub upper_80: f64,
    /// 95 % lie at or above it and at or below `upper_95`.
    pub lower_95: f64,
    /// See `lower_95`.
    pub upper_95: f64,
}

impl Default for Interval {
    fn default() -> Self {
        let nothing = f64::NAN;
        Interval {
            expected: nothing,
            lower_80: nothing,
            upper_80: nothing,
            lower_95: nothing,
            upper_95: nothing,
        }
    }
}

/// What is said after a row. Made once and filled again for each row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Convergence {
    /// The value at the end of the curve.
    pub final_value: Interval,
    /// Steps (generations) until the target.
    pub steps_left: Interval,
    /// Hours until the target.
    pub hours_left: Interval,
    /// The probability that the target is reached by the end; NaN without a target.
    pub p_target: f64,
    /// Whether there was no improvement for `stall_after` steps, and that is no chance.
    pub is_stalled: bool,
    /// Steps since the last improvement.
    pub steps_without_improvement: f64,
    /// How likely so long a pause would be if the curve still went on improving as before.
    pub stall_p_value: f64,
    /// Rows that this is based on.
    pub n_seen: u64,
    /// What could be made of it.
    pub status: Status,
    /// What the final value is based on, in a word: `last` (the last value), `curves` (fitted curves), `blend`.
    pub basis: &'static str,
}

/// A model of curves, for any number of keys.
#[derive(Debug)]
pub struct Converger {
    config: ConvergerConfig,
}

/// What is known of one curve.
#[derive(Debug, Clone)]
pub struct ConvergerState {
    n_seen: u64,
}

impl Converger {
    /// A model as configured.
    ///
    /// # Errors
    /// A value out of range.
    pub fn new(config: ConvergerConfig) -> Result<Self, ConfigError> {
        Ok(Converger { config })
    }

    /// The name and version of the model, for the column `model_version`: changes when what is said may.
    pub fn version(&self) -> String {
        "curves/1".to_owned()
    }

    /// What is known of a curve before its first row.
    pub fn begin(&self) -> ConvergerState {
        ConvergerState { n_seen: 0 }
    }

    /// Learns from a row (its values: the step, then the curve's value at it), then says where the curve goes.
    pub fn observe(&mut self, state: &mut ConvergerState, row: Observation<'_>, said: &mut Convergence) {
        let _ = (row, &self.config);
        state.n_seen += 1;
        said.n_seen = state.n_seen;
    }

    /// Appends the state's bytes.
    pub fn encode(&self, state: &ConvergerState, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&state.n_seen.to_le_bytes());
    }

    /// The state that [`Converger::encode`] wrote with the same configuration.
    ///
    /// # Errors
    /// Bytes that are none, or of another configuration.
    pub fn decode(&self, bytes: &[u8]) -> Result<ConvergerState, StateError> {
        let mut reader = crate::bytes::Reader::new(bytes);
        let state = ConvergerState { n_seen: reader.u64()? };
        reader.end()?;
        Ok(state)
    }
}
