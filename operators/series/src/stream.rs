//! Rows in units of the long run of their key, and the last few of them: what a network that serves all keys sees of one.
//!
//! ```text
//!   row ─▶ counters as increments ─▶ z = (value − centre) / scale of the key's rows before it ─▶ the last rows: a window
//!                                    compressed beyond ±8                                        NaN: a row is missing
//! ```
//!
//! Units of the key make a level of 3 and one of 3 million alike; units of its *long run* leave a level that has moved visible, which units of
//! each window by itself would not. Centre and scale are quartiles that follow the values by stochastic approximation (Robbins and
//! Monro, 1951; Tierney, 1983), so that a value moves them by a bounded step, however large it is.

use crate::Observation;
use crate::bytes::{Reader, StateError, Writer};
use crate::detect::clock::Clock;
use crate::detect::counter::{Counter, Judged};
use crate::detect::fields::Fields;
use crate::detect::numbers::tame;

/// Of the encoded state.
const VERSION: u8 = 1;
/// Rows of a window at most.
const ROWS_MAX: usize = 65_536;
/// Beyond this many scales values are compressed.
pub(crate) const LINEAR_MAX: f64 = 8.0;
/// Values of which the first quartiles are made.
const FIRST: usize = 32;
/// Values that quartiles are of: about so many of the newest.
const MEMORY: f64 = 4096.0;
/// Of a normal distribution, in its standard deviation: one per width of the middle half, one per mean absolute deviation, and the inverse
/// density at each quartile.
const PER_WIDTH: f64 = 0.7413;
const PER_DEVIATION: f64 = 1.2533;
const INVERSE_DENSITY: [f64; 3] = [3.1467, 2.5066, 3.1467];
const QUARTILES: [f64; 3] = [0.25, 0.5, 0.75];

/// How many scales a value lies from the centre; beyond ±8 it grows by the logarithm, 8 + ln(1 + |z| − 8), so that a huge value is far away
/// without drowning all else. Where the scale is 0, anything but the centre is as far away as can be.
pub fn compress(value: f64, centre: f64, scale: f64) -> f32 {
    let distance = value - centre;
    if distance == 0.0 {
        return 0.0;
    }
    let size = (distance.abs() / scale).min(f64::MAX);
    let size = if size <= LINEAR_MAX { size } else { LINEAR_MAX + libm::log1p(size - LINEAR_MAX) };
    size.copysign(distance) as f32
}

/// The value of which [`compress`] makes `z`.
pub fn restore(z: f32, centre: f64, scale: f64) -> f64 {
    let size = f64::from(z.abs());
    let size = if size <= LINEAR_MAX {
        size
    } else {
        // A model may say anything; e⁴⁰ scales are enough to be out of all proportion.
        LINEAR_MAX + libm::expm1((size - LINEAR_MAX).min(40.0))
    };
    centre + size.copysign(f64::from(z)) * scale
}

/// What windows are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowerConfig {
    /// Values of a row.
    pub inputs: usize,
    /// Rows of a window.
    pub rows: usize,
    /// How far apart the rows of a key are, microseconds; `None`: learnt from them.
    pub interval_us: Option<i64>,
}

/// Makes windows of the rows of any number of keys.
#[derive(Debug)]
pub struct Windower {
    config: WindowerConfig,
}

/// What is known of one key.
#[derive(Debug, Clone)]
pub struct WindowState {
    clock: Clock,
    counters: Vec<Counter>,
    inputs: Vec<LongRun>,
    /// Rows × inputs, the oldest first; NaN: there is no value. Fewer rows at the beginning.
    latest: Vec<f32>,
}

/// What is made of a row. Made once and filled again for each row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Windowed {
    /// The window that ends with the row, rows × inputs, in units of the key's long run; NaN: there is no value. Empty where the row
    /// has no value, and while fewer than half of the rows have.
    pub window: Vec<f32>,
    /// The row by itself, in these units.
    pub row: Vec<f32>,
    /// What 0 stands for, of each input, in its units (for a counter, of its increments); NaN while it isn't known.
    pub centres: Vec<f64>,
    /// What 1 stands for beside it.
    pub scales: Vec<f64>,
}

impl Windower {
    /// Of rows as configured.
    pub fn new(config: WindowerConfig) -> Self {
        Windower { config }
    }

    /// The version of its windows: changes when one may.
    pub fn version(&self) -> String {
        format!("windows/{VERSION}")
    }

    /// How it is configured.
    pub fn config(&self) -> &WindowerConfig {
        &self.config
    }

    /// What is known of a key before its first row.
    pub fn begin(&self) -> WindowState {
        WindowState {
            clock: Clock::new(),
            counters: vec![Counter::new(); self.config.inputs],
            inputs: vec![LongRun::default(); self.config.inputs],
            latest: Vec::new(),
        }
    }

    /// Makes a window of a row and those before it, then learns from it.
    pub fn observe(&self, state: &mut WindowState, row: Observation<'_>, windowed: &mut Windowed) {
        let width = self.config.rows * self.config.inputs;
        let (missed, _) = state.clock.tick(row.time_us, self.config.interval_us);
        for list in [&mut windowed.centres, &mut windowed.scales] {
            list.clear();
        }
        windowed.window.clear();
        windowed.row.clear();
        let mut judged = Vec::with_capacity(self.config.inputs);
        for (input, counter) in state.counters.iter_mut().enumerate() {
            let value = tame(row.values.get(input).copied().unwrap_or(f64::NAN));
            if value.is_nan() {
                counter.skip(missed);
                judged.push(f64::NAN);
                continue;
            }
            let (taken, new_meaning) = counter.take(value, missed);
            if new_meaning {
                state.inputs[input] = LongRun::default();
                state.latest.iter_mut().skip(input).step_by(self.config.inputs).for_each(|z| *z = f32::NAN);
            }
            judged.push(match taken {
                Judged::Value => value,
                Judged::Increment(increment, _) => increment,
                Judged::Nothing => f64::NAN,
            });
        }
        let missing = (missed as usize).min(self.config.rows) * self.config.inputs;
        state.latest.resize(state.latest.len() + missing, f32::NAN);
        for (input, value) in state.inputs.iter_mut().zip(&judged) {
            let (centre, scale) = input.centre_and_scale();
            windowed.centres.push(centre);
            windowed.scales.push(scale);
            let known = !value.is_nan() && !centre.is_nan();
            windowed.row.push(if known { compress(*value, centre, scale) } else { f32::NAN });
            if !value.is_nan() {
                input.learn(*value);
            }
        }
        state.latest.extend(&windowed.row);
        let surplus = state.latest.len().saturating_sub(width);
        state.latest.drain(..surplus);
        let has_value = |row: &[f32]| row.iter().any(|z| !z.is_nan());
        let rows = state.latest.chunks(self.config.inputs).filter(|row| has_value(row)).count();
        if has_value(&windowed.row) && state.latest.len() == width && 2 * rows >= self.config.rows {
            windowed.window.extend(&state.latest);
        }
    }

    /// Appends the state's bytes.
    pub fn encode(&self, state: &WindowState, bytes: &mut Vec<u8>) {
        let mut writer = Writer(bytes);
        writer.u8(VERSION);
        writer.u32(self.config.inputs as u32);
        writer.u32(self.config.rows as u32);
        // Fields are walked over by exclusive reference, since the same walk reads them.
        let written = self.walk(&mut state.clone(), self.config.rows, &mut Fields::Write(&mut writer));
        debug_assert_eq!(written, Ok(()), "writing to memory can't fail");
    }

    /// The state that [`Windower::encode`] wrote with the same inputs. Of windows of another length the units of the key go on, and the latest
    /// rows are forgotten.
    ///
    /// # Errors
    /// Bytes that are none, or of another version or other inputs.
    pub fn decode(&self, bytes: &[u8]) -> Result<WindowState, StateError> {
        let mut reader = Reader::new(bytes);
        let found = (reader.u8()?, reader.u32()?, reader.u32()?);
        let (known, rows) = ((VERSION, self.config.inputs as u32), found.2 as usize);
        let found = (found.0, found.1);
        if found != known || rows > ROWS_MAX {
            let say =
                |(version, inputs): (u8, u32)| format!("version {version} of windows with {inputs} inputs");
            return Err(StateError::Other { found: say(found), known: say(known) });
        }
        let mut state = self.begin();
        self.walk(&mut state, rows, &mut Fields::Read(&mut reader))?;
        reader.end()?;
        if rows != self.config.rows {
            state.latest.clear();
        }
        Ok(state)
    }

    fn walk(
        &self,
        state: &mut WindowState,
        rows: usize,
        fields: &mut Fields<'_, '_>,
    ) -> Result<(), StateError> {
        state.clock.fields(fields)?;
        state.counters.iter_mut().try_for_each(|counter| counter.fields(fields))?;
        state.inputs.iter_mut().try_for_each(|input| input.fields(fields))?;
        let mut values = state.latest.len() as u32;
        fields.u32(&mut values)?;
        let inputs = self.config.inputs;
        if values as usize > rows * inputs || !(values as usize).is_multiple_of(inputs) {
            let what = format!("{values} values of the latest rows, where {rows} rows of {inputs} fit");
            return Err(StateError::Damaged { what });
        }
        state.latest.resize(values as usize, 0.0);
        fields.f32s(&mut state.latest)
    }
}

/// Where the values of one input lie in the long run.
#[derive(Debug, Clone, Default)]
struct LongRun {
    /// The first values, until quartiles are made of them.
    first: Vec<f64>,
    /// Values seen, up to the memory.
    seen: f64,
    quartiles: [f64; 3],
    /// The mean absolute distance from the middle: the larger scale where the middle half is all the same, or tails are heavy.
    deviation: f64,
}

impl LongRun {
    /// NaN while too little has been seen.
    fn centre_and_scale(&self) -> (f64, f64) {
        if self.seen < FIRST as f64 {
            return (f64::NAN, f64::NAN);
        }
        let [low, centre, high] = self.quartiles;
        let scale = (PER_WIDTH * (high - low)).max(PER_DEVIATION * self.deviation);
        // Below this `f32` ends.
        (centre, scale.max(1e-5 * centre.abs()))
    }

    fn learn(&mut self, value: f64) {
        if self.seen < FIRST as f64 {
            self.first.push(value);
            self.seen += 1.0;
            if self.first.len() == FIRST {
                self.begin();
            }
            return;
        }
        let (centre, scale) = self.centre_and_scale();
        self.seen = (self.seen + 1.0).min(MEMORY);
        let gain = 1.0 / self.seen;
        let distance = (value - centre).abs();
        let bounded = if scale > 0.0 { distance.min(LINEAR_MAX * scale) } else { distance };
        self.deviation += gain * (bounded - self.deviation);
        for ((quartile, share), unit) in self.quartiles.iter_mut().zip(QUARTILES).zip(INVERSE_DENSITY) {
            let below = if value < *quartile {
                1.0
            } else if value == *quartile {
                share
            } else {
                0.0
            };
            *quartile += gain * scale * unit * (share - below);
        }
        self.quartiles.sort_by(f64::total_cmp);
    }

    fn begin(&mut self) {
        self.first.sort_by(f64::total_cmp);
        let last = FIRST - 1;
        self.quartiles = QUARTILES.map(|share| self.first[libm::round(share * last as f64) as usize]);
        let middle = self.quartiles[1];
        self.deviation = self.first.iter().map(|value| (value - middle).abs()).sum::<f64>() / FIRST as f64;
        self.first = Vec::new();
    }

    fn fields(&mut self, fields: &mut Fields<'_, '_>) -> Result<(), StateError> {
        let mut first = self.first.len() as u32;
        fields.u32(&mut first)?;
        if first as usize >= FIRST {
            return Err(StateError::Damaged {
                what: format!("{first} first values, where {FIRST} end them"),
            });
        }
        self.first.resize(first as usize, 0.0);
        fields.f64s(&mut self.first)?;
        fields.f64(&mut self.seen)?;
        fields.f64s(&mut self.quartiles)?;
        fields.f64(&mut self.deviation)
    }
}

#[cfg(test)]
mod tests;
