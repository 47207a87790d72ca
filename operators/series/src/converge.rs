//! Where a learning curve ends: its final value, what is left until a target, and whether it has stalled.
//!
//! ```text
//!   row ─▶ points (bounded) ─▶ fit: shapes of decay, averaged ─▶ outlook: value and spread at any time ─▶ final value, steps and hours left
//!                                          └──▶ stall: is the pause since the last improvement a chance?
//! ```
//!
//! What is said is a function of the rows up to then, and neither the unit of values nor that of steps matters to it. Steps are taken as
//! evenly spaced on average, so that a curve's time is counted in rows. Where the end is not known, the final value is the one after twice the
//! steps that were seen.

mod fit;
mod outlook;
mod points;
mod spread;
mod stall;

use crate::Observation;
use crate::bytes::{Reader, StateError, Writer};
pub use crate::detect::ConfigError;
use fit::{Clock, Fitter, Path};
use outlook::Outlook;
use points::Points;
use stall::Improvement;

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

impl Interval {
    /// A value that is known.
    fn sure(value: f64) -> Self {
        Interval { expected: value, lower_80: value, upper_80: value, lower_95: value, upper_95: value }
    }

    fn times(&self, factor: f64) -> Self {
        Interval {
            expected: self.expected * factor,
            lower_80: self.lower_80 * factor,
            upper_80: self.upper_80 * factor,
            lower_95: self.lower_95 * factor,
            upper_95: self.upper_95 * factor,
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
    /// Hours until the target, at the pace of the last rows; NaN too while event time stands still.
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

/// Rows before which nothing is said.
const ROWS_MIN: u64 = 4;
/// A pause that is less likely than this is a stall.
const STALL_P: f64 = 0.01;
/// What a row counts in the pace of steps after the next one: the last ten or so make it.
const PACE_KEPT: f64 = 0.9;
const US_PER_HOUR: f64 = 3.6e9;
const FORMAT: u8 = 1;

/// A model of curves, for any number of keys.
#[derive(Debug)]
pub struct Converger {
    config: ConvergerConfig,
    fitter: Fitter,
}

/// What is known of one curve. At most 3.3 KiB, of any number of rows.
#[derive(Debug, Clone)]
pub struct ConvergerState {
    rows: u64,
    points: Points,
    /// The last row, where there is one.
    last: Last,
    low: f64,
    high: f64,
    first_step: f64,
    /// Hours, and the steps that they took, of the last rows.
    hours: f64,
    steps: f64,
    improvement: Option<Improvement>,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    time_us: i64,
    step: f64,
}

impl Converger {
    /// A model as configured.
    ///
    /// # Errors
    /// A value out of range.
    pub fn new(config: ConvergerConfig) -> Result<Self, ConfigError> {
        let error = |field, message: &str| Err(ConfigError { field, message: message.to_owned() });
        if config.target.is_some_and(|target| !target.is_finite()) {
            return error("target", "it is no number; write the value to be reached, or leave it out");
        }
        if config.end.is_some_and(|end| !end.is_finite()) {
            return error("end", "it is no number; write the curve's last step, or leave it out");
        }
        if config.stall_after == 0 {
            return error("stall_after", "0 steps without improvement are no stall; write 1 or more");
        }
        Ok(Converger { config, fitter: Fitter::new() })
    }

    /// The name and version of the model, for the column `model_version`: changes when what is said may.
    pub fn version(&self) -> String {
        "curves/2".to_owned()
    }

    /// What is known of a curve before its first row.
    pub fn begin(&self) -> ConvergerState {
        ConvergerState {
            rows: 0,
            points: Points::default(),
            last: Last { time_us: 0, step: 0.0 },
            low: f64::INFINITY,
            high: f64::NEG_INFINITY,
            first_step: 0.0,
            hours: 0.0,
            steps: 0.0,
            improvement: None,
        }
    }

    /// Learns from a row (its values: the step, then the curve's value at it), then says where the curve goes.
    ///
    /// A row whose step is not above that of the row before, as after a restart, is skipped, and so is one without a step or a value:
    /// what was said before stays said, with the status [`Status::Skipped`].
    pub fn observe(&mut self, state: &mut ConvergerState, row: Observation<'_>, said: &mut Convergence) {
        let (step, value) = match row.values {
            [step, value, ..] if step.is_finite() && value.is_finite() => (*step, *value),
            _ => (f64::NAN, f64::NAN),
        };
        let goes_on = state.rows == 0 || step > state.last.step;
        let is_skipped = step.is_nan() || !goes_on;
        if !is_skipped {
            state.take(row.time_us, step, value);
        }
        let fit = state.fit(&mut self.fitter);
        if !is_skipped {
            state.judge_improvement(step, value, self.config.falling, fit);
        }
        self.say(state, fit, said);
        if is_skipped {
            said.status = Status::Skipped;
        }
    }

    fn say(&self, state: &ConvergerState, fit: Option<(Clock, Path)>, said: &mut Convergence) {
        *said = Convergence { p_target: f64::NAN, stall_p_value: f64::NAN, ..Convergence::default() };
        said.n_seen = state.rows;
        said.steps_without_improvement =
            state.improvement.as_ref().map_or(f64::NAN, |improvement| state.last.step - improvement.step);
        if let Some((clock, path)) = fit {
            let outlook = Outlook::new(&self.config, clock, path, state.points.as_slice());
            said.status = Status::Ok;
            said.final_value = outlook.final_value();
            said.basis = outlook.basis();
            if let Some(target) = self.config.target {
                let (steps_left, p_target) = outlook.until(target);
                if state.hours > 0.0 {
                    said.hours_left = steps_left.times(state.hours / state.steps);
                }
                said.steps_left = steps_left;
                said.p_target = p_target;
            }
            if let Some(improvement) = &state.improvement {
                said.stall_p_value = improvement.p_value(state.rows);
                let is_pause = said.steps_without_improvement >= f64::from(self.config.stall_after);
                said.is_stalled = is_pause && said.stall_p_value < STALL_P;
            }
        }
        let best = if self.config.falling { state.low } else { -state.high };
        let bar = self.config.target.map(|target| if self.config.falling { target } else { -target });
        if bar.is_some_and(|bar| best <= bar) {
            let nothing = Interval::sure(0.0);
            (said.steps_left, said.hours_left) = (nothing, nothing);
            said.p_target = 1.0;
            said.is_stalled = false;
            said.status = Status::Reached;
        }
    }

    /// Appends the state's bytes.
    pub fn encode(&self, state: &ConvergerState, bytes: &mut Vec<u8>) {
        let mut writer = Writer(bytes);
        writer.u8(FORMAT);
        writer.u8(u8::from(self.config.falling));
        writer.u64(state.rows);
        state.points.encode(&mut writer);
        writer.i64(state.last.time_us);
        let floats = [state.last.step, state.low, state.high, state.first_step, state.hours, state.steps];
        floats.iter().for_each(|float| writer.f64(*float));
        writer.u8(u8::from(state.improvement.is_some()));
        if let Some(improvement) = &state.improvement {
            improvement.encode(&mut writer);
        }
    }

    /// The state that [`Converger::encode`] wrote with the same configuration.
    ///
    /// # Errors
    /// Bytes that are none, or of another configuration.
    pub fn decode(&self, bytes: &[u8]) -> Result<ConvergerState, StateError> {
        let mut reader = Reader::new(bytes);
        let named = |format: u8, falling: u8| format!("format {format}, falling: {}", falling != 0);
        let found = (reader.u8()?, reader.u8()?);
        let known = (FORMAT, u8::from(self.config.falling));
        if found != known {
            let (found, known) = (named(found.0, found.1), named(known.0, known.1));
            return Err(StateError::Other { found, known });
        }
        let rows = reader.u64()?;
        let points = Points::decode(&mut reader)?;
        let time_us = reader.i64()?;
        let last = Last { time_us, step: reader.f64()? };
        let (low, high, first_step) = (reader.f64()?, reader.f64()?, reader.f64()?);
        let (hours, steps) = (reader.f64()?, reader.f64()?);
        let improvement = match reader.u8()? {
            0 => None,
            _ => Some(Improvement::decode(&mut reader)?),
        };
        reader.end()?;
        if (rows == 0) != points.as_slice().is_empty() || (rows == 0) != improvement.is_none() {
            return Err(StateError::Damaged { what: format!("{rows} rows, and other points") });
        }
        Ok(ConvergerState { rows, points, last, low, high, first_step, hours, steps, improvement })
    }
}

impl ConvergerState {
    fn take(&mut self, time_us: i64, step: f64, value: f64) {
        if self.rows == 0 {
            self.first_step = step;
        } else {
            let hours = time_us.saturating_sub(self.last.time_us) as f64 / US_PER_HOUR;
            self.hours = PACE_KEPT * self.hours + hours;
            self.steps = PACE_KEPT * self.steps + (step - self.last.step);
        }
        self.rows += 1;
        self.last = Last { time_us, step };
        self.low = self.low.min(value);
        self.high = self.high.max(value);
        self.points.push(step, value);
    }

    fn judge_improvement(&mut self, step: f64, value: f64, falling: bool, fit: Option<(Clock, Path)>) {
        let range = self.high - self.low;
        match &mut self.improvement {
            Some(improvement) => improvement.take(self.rows, step, value, range, falling, fit),
            none => *none = Some(Improvement::new(value, step)),
        }
    }

    fn fit(&self, fitter: &mut Fitter) -> Option<(Clock, Path)> {
        if self.rows < ROWS_MIN {
            return None;
        }
        let rows = self.rows as f64;
        let pace = (self.last.step - self.first_step) / (rows - 1.0);
        // Steps so far apart that their distance overflows, or so near that their mean distance is 0, make no clock.
        if !(pace > 0.0 && pace.is_finite()) {
            return None;
        }
        let clock = Clock { first: self.first_step, pace, rows };
        Some((clock, fitter.fit(self.points.as_slice(), &clock)))
    }
}

#[cfg(test)]
mod tests;
