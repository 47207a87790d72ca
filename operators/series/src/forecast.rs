//! What comes next in the series of a key: quantiles at a few horizons, and the chance that a threshold is crossed on the way.

use crate::Observation;
use crate::bytes::StateError;
pub use crate::detect::ConfigError;

/// What is to be foretold.
#[derive(Debug, Clone, PartialEq)]
pub struct ForecasterConfig {
    /// How far apart the rows of a key are, microseconds; `None`: learnt from them.
    pub interval_us: Option<i64>,
    /// How far ahead, microseconds, ascending; at least one.
    pub horizons_us: Vec<i64>,
    /// Which quantiles, ascending, in (0, 1); at least one.
    pub quantiles: Vec<f64>,
    /// The season, microseconds; `None`: found in the series, where there is one.
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
}

impl Forecaster {
    /// A forecaster as configured.
    ///
    /// # Errors
    /// A value out of range.
    pub fn new(config: ForecasterConfig) -> Result<Self, ConfigError> {
        Ok(Forecaster { config })
    }

    /// The name and version of the model, for the column `model_version`: changes when a row's forecast may.
    pub fn version(&self) -> String {
        "ridge/1".to_owned()
    }

    /// What is known of a key before its first row.
    pub fn begin(&self) -> ForecasterState {
        ForecasterState { n_seen: 0 }
    }

    /// Learns from a row (its first value), then looks ahead from it.
    pub fn observe(&mut self, state: &mut ForecasterState, row: Observation<'_>, forecast: &mut Forecast) {
        let _ = (row, &self.config);
        state.n_seen += 1;
        forecast.n_seen = state.n_seen;
    }

    /// Appends the state's bytes.
    pub fn encode(&self, state: &ForecasterState, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&state.n_seen.to_le_bytes());
    }

    /// The state that [`Forecaster::encode`] wrote with the same configuration.
    ///
    /// # Errors
    /// Bytes that are none, or of another configuration.
    pub fn decode(&self, bytes: &[u8]) -> Result<ForecasterState, StateError> {
        let mut reader = crate::bytes::Reader::new(bytes);
        let state = ForecasterState { n_seen: reader.u64()? };
        reader.end()?;
        Ok(state)
    }
}
