//! The detector: what surrounds the methods.

use super::alarm::{self, Alarm};
use super::calibration::{Calibration, Ruling};
use super::clock::Clock;
use super::counter::{Counter, Judged};
use super::fields::Fields;
use super::key::{Judge, Judgement, Known, Timing};
use super::methods::Settings;
use super::methods::network::Said;
use super::numbers::tame;
use super::season::Phase;
use super::siblings::Siblings;
use super::{Class, ConfigError, DetectorConfig, Status, Verdict};
use crate::Observation;
use crate::bytes::{Reader, StateError, Writer};

/// The version of all models, as in `model_version`, and of their encoded state.
const VERSION: u8 = 6;

/// Rows that a score is smoothed over.
const SCORE_ROWS: f64 = 128.0;

/// A detector for any number of keys.
#[derive(Debug)]
pub struct Detector {
    config: DetectorConfig,
    judge: Judge,
    judgement: Judgement,
    /// The row as it is judged: increments of counters, NaN for what is missing.
    values: Vec<f64>,
    /// What each judged value is to be added to, and per how many rows it is, to be a value of the input again.
    bases: Vec<(f64, f64)>,
}

/// What a detector knows of one key.
#[derive(Debug, Clone)]
pub struct DetectorState {
    n_seen: u64,
    /// Rows without any value since the last one with some.
    empty: u32,
    score: f64,
    /// What kind of anomaly the event that is on is.
    class: Class,
    clock: Clock,
    calibration: Calibration,
    counters: Vec<Counter>,
    known: Known,
}

impl Detector {
    /// A detector as configured.
    ///
    /// # Errors
    /// A value out of range.
    pub fn new(config: DetectorConfig) -> Result<Self, ConfigError> {
        config.check()?;
        let settings =
            Settings { inputs: config.inputs, interval_us: config.interval_us, season_us: config.season_us };
        let judge = Judge::new(config.method, settings);
        let judgement = Judgement::new(config.inputs);
        Ok(Detector { config, judge, judgement, values: Vec::new(), bases: Vec::new() })
    }

    /// How it is configured.
    pub fn config(&self) -> &DetectorConfig {
        &self.config
    }

    /// The name and version of the model, for the column `model_version`: changes when a row's score may.
    pub fn version(&self) -> String {
        format!("{}/{VERSION}", self.config.method.name())
    }

    /// What is known of a key before its first row.
    pub fn begin(&self) -> DetectorState {
        DetectorState {
            n_seen: 0,
            empty: 0,
            score: 0.0,
            class: Class::Spike,
            clock: Clock::new(),
            calibration: Calibration::new(),
            counters: vec![Counter::new(); self.config.inputs],
            known: self.judge.begin(),
        }
    }

    /// What is known of a key before its first row, where there are others: how far their values scatter. Only `auto` goes by it.
    pub fn begin_among(&self, siblings: &Siblings) -> DetectorState {
        let mut state = self.begin();
        state.known.among(siblings);
        state
    }

    /// Judges a row, then learns from it. Values that lack are missing; those beyond the inputs are
    /// what a network said, where the method has one, and else left out.
    pub fn observe(&mut self, state: &mut DetectorState, row: Observation<'_>, verdict: &mut Verdict) {
        state.n_seen += 1;
        clear(verdict, self.config.inputs, state.n_seen);
        let (missed, interval_us) = state.clock.tick(row.time_us, self.config.interval_us);
        let new_meaning = self.take_values(state, row.values, missed);
        let missed = missed.saturating_add(state.empty);
        if self.values.iter().all(|value| value.is_nan()) {
            state.empty = missed.saturating_add(1);
            verdict.status = if state.known.ready() { Status::Gap } else { Status::Warming };
            if state.known.ready() {
                verdict.score = state.score;
            }
            return;
        }
        state.empty = 0;

        let season_us = self.config.season_us.unwrap_or(alarm::DAY_US);
        let said = row.values.get(self.config.inputs..).unwrap_or_default();
        if self.config.method.is_network() && Said::new(said, self.config.inputs).is_some_and(Said::failed) {
            verdict.status = Status::Failed;
            return;
        }
        let phase = Phase::new(row.local_us, season_us);
        let rows_a_season = if interval_us > 0 { season_us as f64 / interval_us as f64 } else { 0.0 };
        if new_meaning {
            state.known = self.judge.begin();
            state.calibration.begin_anew();
        }
        let ready = state.known.ready();
        let early = state.calibration.is_early();
        let timing = Timing { missed, local_us: row.local_us, phase, rows_a_season, early };
        self.judge.judge(&mut state.known, &self.values, said, timing, &mut self.judgement);

        let wanted = self.wanted(interval_us);
        let mut ruling = None;
        if ready {
            let judged = state.calibration.rule(self.judgement.rarities, wanted, row.time_us);
            state.score += 2.0 / (SCORE_ROWS + 1.0) * (self.judgement.strangeness - state.score);
            if judged.anomaly {
                state.class =
                    alarm::class_of_event(self.judgement.classes[judged.way], judged.event_rows, state.class);
            }
            self.report(state, &judged, missed > 0, verdict);
            ruling = Some(judged);
        }
        let weight = if ruling.is_some_and(|ruling| ruling.anomaly) { 0.0 } else { 1.0 };
        let teaches = ruling.is_none_or(|ruling| ruling.teaches);
        if self.judge.learn(&mut state.known, &self.values, timing, &self.judgement, weight, teaches) {
            state.calibration.begin_anew();
        }
        if ruling.is_some_and(|ruling| ruling.anew) {
            state.known = self.judge.begin_anew(&state.known);
            state.calibration.begin_anew();
        }
        if let Some(ruling) = ruling
            && ruling.anomaly
        {
            if row.time_us.saturating_sub(ruling.event_since_us) >= self.config.settle_us {
                state.known.settle();
                state.calibration.settle(wanted);
            } else if state.known.recovers(&self.values, &self.judgement) {
                state.calibration.end_event();
            }
        }
    }

    /// False events wanted a row.
    fn wanted(&self, interval_us: i64) -> f64 {
        self.config.false_alarms * interval_us as f64 / self.config.false_alarms_per_us as f64
    }

    /// Fills in the values to judge; true where they mean something else than those before.
    fn take_values(&mut self, state: &mut DetectorState, values: &[f64], missed: u32) -> bool {
        self.values.clear();
        self.bases.clear();
        let mut new_meaning = false;
        for (input, counter) in state.counters.iter_mut().enumerate() {
            let value = tame(values.get(input).copied().unwrap_or(f64::NAN));
            if value.is_nan() {
                counter.skip(missed);
                self.values.push(f64::NAN);
                self.bases.push((0.0, 1.0));
                continue;
            }
            let last = counter.last();
            let (judged, changed) = counter.take(value, missed);
            new_meaning |= changed;
            let (value, base) = match judged {
                Judged::Value => (value, (0.0, 1.0)),
                Judged::Increment(increment, rows) => (increment, (last, rows)),
                Judged::Nothing => (f64::NAN, (0.0, 1.0)),
            };
            self.values.push(value);
            self.bases.push(base);
        }
        new_meaning
    }

    /// Fills in the verdict on a row that could be judged.
    fn report(&self, state: &DetectorState, ruling: &Ruling, gap: bool, verdict: &mut Verdict) {
        let judgement = &self.judgement;
        verdict.score = state.score;
        verdict.p_value = ruling.p_value;
        verdict.is_anomaly = ruling.anomaly;
        let missing = self.values.iter().any(|value| value.is_nan());
        verdict.status = match (gap || missing, ruling.anomaly) {
            (true, _) => Status::Gap,
            (false, true) => Status::Frozen,
            (false, false) => Status::Ok,
        };
        for (input, (base, rows)) in self.bases.iter().enumerate() {
            if self.values[input].is_nan() {
                continue;
            }
            let expected = judgement.expected[input];
            let width = state.known.width(input, judgement, ruling.threshold);
            verdict.expected[input] = base + rows * expected;
            verdict.lower[input] = base + rows * (expected - width);
            verdict.upper[input] = base + rows * (expected + width);
        }
        share(&judgement.parts, &mut verdict.attribution);
        if ruling.anomaly {
            let alarm = Alarm { judgement, ruling, class: state.class, method: self.config.method };
            verdict.class = Some(alarm.class());
            verdict.severity = Some(alarm.severity());
        }
    }

    /// Appends the state's bytes.
    pub fn encode(&self, state: &DetectorState, bytes: &mut Vec<u8>) {
        let mut writer = Writer(bytes);
        writer.u8(VERSION);
        writer.u8(self.config.method as u8);
        writer.u8(self.config.inputs as u8);
        // Fields are walked over by exclusive reference, since the same walk reads them.
        let mut state = state.clone();
        let written = walk(&mut state, &mut Fields::Write(&mut writer));
        debug_assert_eq!(written, Ok(()), "writing to memory can't fail");
        state.known.encode(&mut writer);
    }

    /// The state that [`Detector::encode`] wrote with the same configuration.
    ///
    /// # Errors
    /// Bytes that are none, or of another configuration.
    pub fn decode(&self, bytes: &[u8]) -> Result<DetectorState, StateError> {
        let mut reader = Reader::new(bytes);
        let found = (reader.u8()?, reader.u8()?, reader.u8()?);
        let known = (VERSION, self.config.method as u8, self.config.inputs as u8);
        if found != known {
            let say = |(version, method, inputs): (u8, u8, u8)| {
                format!("version {version} of method {method} with {inputs} inputs")
            };
            return Err(StateError::Other { found: say(found), known: say(known) });
        }
        let mut state = self.begin();
        walk(&mut state, &mut Fields::Read(&mut reader))?;
        state.known = self.judge.decode(&mut reader)?;
        reader.end()?;
        Ok(state)
    }
}

fn walk(state: &mut DetectorState, fields: &mut Fields<'_, '_>) -> Result<(), StateError> {
    fields.u64(&mut state.n_seen)?;
    fields.u32(&mut state.empty)?;
    fields.f64(&mut state.score)?;
    fields.class(&mut state.class)?;
    state.clock.fields(fields)?;
    state.calibration.fields(fields)?;
    state.counters.iter_mut().try_for_each(|counter| counter.fields(fields))
}

fn clear(verdict: &mut Verdict, inputs: usize, n_seen: u64) {
    verdict.score = f64::NAN;
    verdict.p_value = f64::NAN;
    verdict.is_anomaly = false;
    verdict.class = None;
    verdict.severity = None;
    verdict.n_seen = n_seen;
    verdict.status = Status::Warming;
    for list in [&mut verdict.expected, &mut verdict.lower, &mut verdict.upper, &mut verdict.attribution] {
        list.clear();
        list.resize(inputs, f64::NAN);
    }
}

/// Shares of parts, with sum 1; equal ones where all are 0.
fn share(parts: &[f64], shares: &mut [f64]) {
    let sum: f64 = parts.iter().sum();
    for (share, part) in shares.iter_mut().zip(parts) {
        *share = if sum > 0.0 { part / sum } else { 1.0 / parts.len() as f64 };
    }
}
