//! What comes next in the series of a key: quantiles at a few horizons, and the chance that a threshold is crossed on the way.
//!
//! ```text
//!   row ─▶ clock: which interval, rows missing? ─▶ outcomes of open forecasts ─▶ season, lags learn the row ─▶ each horizon looks ahead
//!          (clock.rs)                              (horizon.rs)                  (season.rs, lags.rs)          (ridge.rs, errors.rs, crossing.rs)
//! ```
//!
//! The expected value is a ridge regression on lags, means and the season's shape, one per horizon, exact and in-stream. It starts
//! as the latest value, and is believed as far as its forecasts have proved right. Intervals are conformal: quantiles of the key's own past
//! errors at that horizon, relative to how volatile the series is, at levels that adapt until each quantile is passed as often as it should
//! be (Gibbs & Candès 2021). The probability of a crossing comes from past errors of whole paths.
//!
//! Nothing is clipped: quantiles of a series that is never negative may be, where errors of that size were seen.
//!
//! Outcomes teach as soon as they are there and never before: what is said of a row depends on it and those before it alone.

mod body;
mod clock;
mod crossing;
mod errors;
mod horizon;
mod lags;
mod ridge;
mod season;
#[cfg(test)]
mod tests;

use crate::Observation;
use crate::bytes::{Reader, StateError, Writer};
pub use crate::detect::ConfigError;

use body::Body;
use clock::{Clock, Early, Tick};

/// What is to be foretold.
#[derive(Debug, Clone, PartialEq)]
pub struct ForecasterConfig {
    /// How far apart the rows of a key are, microseconds; `None`: learnt from them.
    pub interval_us: Option<i64>,
    /// How far ahead, microseconds, ascending; at least one.
    pub horizons_us: Vec<i64>,
    /// Which quantiles, ascending, in (0, 1); at least one.
    pub quantiles: Vec<f64>,
    /// The season, microseconds; `None`: a day. It is believed as far as it has helped, so a series without one loses nothing by it.
    pub season_us: Option<i64>,
    /// A value whose crossing is to be warned of; `None`: none.
    pub threshold: Option<f64>,
}

/// What the forecaster could make of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Status {
    /// It has seen too few rows of the key.
    #[default]
    Warming,
    /// It has forecast.
    Ok,
    /// Rows were missing before this one, or its value is.
    Gap,
}

impl Status {
    /// As in the column `status`.
    pub fn name(self) -> &'static str {
        match self {
            Status::Warming => "warming",
            Status::Ok => "ok",
            Status::Gap => "gap",
        }
    }
}

/// What is said at one horizon.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outlook {
    /// The expected value; NaN while nothing can be said.
    pub expected: f64,
    /// The configured quantiles of the value at the horizon, ascending; NaN as above.
    pub quantiles: Vec<f64>,
    /// The probability that the threshold is reached or passed, from the side where the series is now, at the horizon or before; NaN
    /// without a threshold or as above.
    pub p_crossing: f64,
    /// When that is most likely to happen first, microseconds since the epoch; `None` where it is less likely than not.
    pub crossing_us: Option<i64>,
}

/// What is said after a row. Made once and filled again for each row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Forecast {
    /// One a horizon.
    pub outlooks: Vec<Outlook>,
    /// Rows of the key up to and with this one.
    pub n_seen: u64,
    /// What could be made of it.
    pub status: Status,
}

/// A forecaster for any number of keys.
#[derive(Debug)]
pub struct Forecaster {
    config: ForecasterConfig,
}

/// What a forecaster knows of one key.
#[derive(Debug, Clone)]
pub struct ForecasterState {
    n_seen: u64,
    clock: Clock,
    body: Option<Box<Body>>,
}

/// Values beyond it, up or down, count as missing: their squares would not be numbers any more.
const VALUE_MAX: f64 = 1e30;

/// The version of encoded states.
const FORMAT: u8 = 1;

/// Horizons at most.
const HORIZONS_MAX: usize = 64;

/// Quantiles at most.
const QUANTILES_MAX: usize = 64;

impl Forecaster {
    /// A forecaster as configured.
    ///
    /// # Errors
    /// A value out of range.
    pub fn new(config: ForecasterConfig) -> Result<Self, ConfigError> {
        let error = |field, message: &str| Err(ConfigError { field, message: message.to_owned() });
        let ascends = |values: &[f64]| values.windows(2).all(|pair| pair[0] < pair[1]);
        if config.interval_us.is_some_and(|interval| interval <= 0) {
            return error("interval_us", "rows lie no time apart: write a time above 0, or nothing");
        }
        if config.season_us.is_some_and(|season| season <= 0) {
            return error("season_us", "a season takes no time: write a time above 0, or nothing");
        }
        if config.horizons_us.is_empty() || config.horizons_us.len() > HORIZONS_MAX {
            return error("horizons_us", "write one horizon, or up to 64");
        }
        if config.horizons_us[0] <= 0 || config.horizons_us.windows(2).any(|pair| pair[0] >= pair[1]) {
            return error("horizons_us", "write times above 0, each longer than the one before");
        }
        if config.quantiles.is_empty() || config.quantiles.len() > QUANTILES_MAX {
            return error("quantiles", "write one quantile, or up to 64");
        }
        let inside = |quantile: &f64| *quantile > 0.0 && *quantile < 1.0;
        if !config.quantiles.iter().all(inside) || !ascends(&config.quantiles) {
            return error("quantiles", "write numbers between 0 and 1, each above the one before");
        }
        if config.threshold.is_some_and(|threshold| threshold.is_nan() || threshold.abs() > VALUE_MAX) {
            return error("threshold", "write a number between -1e30 and 1e30, or nothing");
        }
        Ok(Forecaster { config })
    }

    /// The name and version of the model, for the column `model_version`: changes when a row's forecast may.
    pub fn version(&self) -> String {
        "ridge/1".to_owned()
    }

    /// What is known of a key before its first row.
    pub fn begin(&self) -> ForecasterState {
        ForecasterState { n_seen: 0, clock: Clock::new(self.config.interval_us), body: None }
    }

    /// Learns from a row (its first value), then looks ahead from it. A value beyond 1e30, up or down, counts as missing. What an outlook has
    /// nothing to say about yet is NaN; the status is [`Status::Warming`] while that is so of all of them.
    pub fn observe(&mut self, state: &mut ForecasterState, row: Observation<'_>, forecast: &mut Forecast) {
        state.n_seen += 1;
        forecast.n_seen = state.n_seen;
        forecast.status = Status::Warming;
        forecast.outlooks.resize_with(self.config.horizons_us.len(), Outlook::default);
        let nothing = |outlook: &mut Outlook| {
            (outlook.expected, outlook.p_crossing, outlook.crossing_us) = (f64::NAN, f64::NAN, None);
            outlook.quantiles.clear();
            outlook.quantiles.resize(self.config.quantiles.len(), f64::NAN);
        };
        forecast.outlooks.iter_mut().for_each(nothing);

        let value = row.values.first().copied().filter(|value| value.abs() <= VALUE_MAX);
        let early = Early { time_us: row.time_us, local_us: row.local_us, value: value.unwrap_or(f64::NAN) };
        let tick = state.clock.tick(early, state.body.is_some());
        if state.clock.interval_us == 0 {
            // The interval is learnt anew.
            state.body = None;
        }
        let passed = match tick {
            Tick::Unknown => return,
            Tick::Begins => {
                state.body = Body::begin(&self.config, &mut state.clock).map(Box::new);
                1
            }
            Tick::Passed(passed) => {
                if let Some(body) = &mut state.body {
                    body.pass(&self.config, &state.clock, early, passed);
                }
                passed
            }
        };
        let Some(body) = &state.body else { return };
        if body.is_warm() {
            forecast.status = if passed > 1 || value.is_none() { Status::Gap } else { Status::Ok };
        }
        if let Some(body) = &mut state.body {
            body.look(&self.config, &state.clock, early, &mut forecast.outlooks);
        }
    }

    /// Appends the state's bytes.
    pub fn encode(&self, state: &ForecasterState, bytes: &mut Vec<u8>) {
        let mut writer = Writer(bytes);
        writer.u8(FORMAT);
        self.fingerprint(&mut writer);
        writer.u64(state.n_seen);
        state.clock.encode(&mut writer);
        writer.u8(u8::from(state.body.is_some()));
        if let Some(body) = &state.body {
            body.encode(&mut writer);
        }
    }

    /// What of the configuration a state depends on.
    fn fingerprint(&self, writer: &mut Writer<'_>) {
        let ForecasterConfig { interval_us, horizons_us, quantiles, season_us, threshold } = &self.config;
        writer.i64(interval_us.unwrap_or(0));
        writer.i64(season_us.unwrap_or(0));
        writer.u8(u8::from(threshold.is_some()));
        writer.u8(horizons_us.len() as u8);
        horizons_us.iter().for_each(|horizon| writer.i64(*horizon));
        writer.u8(quantiles.len() as u8);
        quantiles.iter().for_each(|quantile| writer.f64(*quantile));
    }

    /// The state that [`Forecaster::encode`] wrote with the same configuration.
    ///
    /// # Errors
    /// Bytes that are none, or of another configuration.
    pub fn decode(&self, bytes: &[u8]) -> Result<ForecasterState, StateError> {
        let known = self.version();
        let mut reader = Reader::new(bytes);
        let format = reader.u8()?;
        if format != FORMAT {
            return Err(StateError::Other { found: format!("format {format}"), known });
        }
        let mut fingerprint = Vec::new();
        self.fingerprint(&mut Writer(&mut fingerprint));
        for byte in fingerprint {
            if reader.u8()? != byte {
                return Err(StateError::Other { found: format!("{known} of another configuration"), known });
            }
        }
        let n_seen = reader.u64()?;
        let clock = Clock::decode(&mut reader)?;
        let has_body = reader.u8()? != 0;
        let body = has_body.then(|| Body::decode(&mut reader, &self.config, &clock)).transpose()?;
        reader.end()?;
        Ok(ForecasterState { n_seen, clock, body: body.map(Box::new) })
    }
}

fn damaged(what: &str) -> StateError {
    StateError::Damaged { what: what.to_owned() }
}
