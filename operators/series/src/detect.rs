//! Anomalies in the series of a key: how strange each row is given the rows before it, and whether that is worth an alarm.
//!
//! ```text
//!   row ─▶ method: score against the past ─▶ calibration: p-value ─▶ verdict: anomaly? class, severity ─▶ what may be learnt of it
//!          (methods/…)                       (conformal, on the key's own past)                           (robust updates, quarantine)
//! ```

#[allow(dead_code, reason = "the methods that implement it follow")]
mod methods;

use crate::Observation;
use crate::bytes::StateError;

/// How strangeness is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// A few of the others, combined: the default.
    Auto,
    /// Distance from an exponentially weighted mean, in robust standard deviations.
    Ewma,
    /// Distance from the median, in median absolute deviations.
    Mad,
    /// Distance from the middle half of values, in its widths.
    Iqr,
    /// Cumulated sums of deviations.
    Cusum,
    /// The residual of an autoregressive model fitted by recursive least squares.
    Ar,
    /// The residual of the season's profile.
    Seasonal,
    /// Distance of the latest window from the nearest of a few centres.
    Kmeans,
    /// What the principal subspace of windows does not explain.
    Pca,
    /// Isolation forest.
    Forest,
    /// Distance from the origin in random features: a one-class machine.
    OneClass,
}

impl Method {
    /// All of them, in the order of the documentation.
    pub const ALL: [Method; 11] = [
        Method::Auto,
        Method::Ewma,
        Method::Mad,
        Method::Iqr,
        Method::Cusum,
        Method::Ar,
        Method::Seasonal,
        Method::Kmeans,
        Method::Pca,
        Method::Forest,
        Method::OneClass,
    ];

    /// Its name in a spec.
    pub fn name(self) -> &'static str {
        match self {
            Method::Auto => "auto",
            Method::Ewma => "ewma",
            Method::Mad => "mad",
            Method::Iqr => "iqr",
            Method::Cusum => "cusum",
            Method::Ar => "ar",
            Method::Seasonal => "seasonal",
            Method::Kmeans => "kmeans",
            Method::Pca => "pca",
            Method::Forest => "forest",
            Method::OneClass => "one_class",
        }
    }
}

/// What a detector is to look for.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectorConfig {
    /// How strangeness is measured.
    pub method: Method,
    /// Values of a row: 1 to [`DetectorConfig::INPUTS_MAX`].
    pub inputs: usize,
    /// How far apart the rows of a key are, microseconds; `None`: learnt from them.
    pub interval_us: Option<i64>,
    /// The season, microseconds; `None`: found in the series, where there is one.
    pub season_us: Option<i64>,
    /// False alarms wanted of a key: so many …
    pub false_alarms: f64,
    /// … in so long, microseconds.
    pub false_alarms_per_us: i64,
    /// How long a new level must last to be the normal one, microseconds.
    pub settle_us: i64,
}

impl DetectorConfig {
    /// Values of a row at most.
    pub const INPUTS_MAX: usize = 32;
}

/// What kind of anomaly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// A value far from what was expected, for a moment.
    Spike,
    /// A level that is not what it was.
    Drift,
    /// Values that are each normal and do not go together.
    Outlier,
    /// A slope that is not what it was.
    Trend,
    /// A season that is missing, shifted or of another size.
    Seasonal,
}

impl Class {
    /// As in the column `class`.
    pub fn name(self) -> &'static str {
        match self {
            Class::Spike => "SPIKE",
            Class::Drift => "DRIFT",
            Class::Outlier => "OUTLIER",
            Class::Trend => "TREND",
            Class::Seasonal => "SEASONAL",
        }
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth a look some day.
    Low,
    /// Worth a look.
    Medium,
    /// Worth one now.
    High,
    /// Worth waking somebody.
    Critical,
}

impl Severity {
    /// As in the column `severity`.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Low => "LOW",
            Severity::Medium => "MEDIUM",
            Severity::High => "HIGH",
            Severity::Critical => "CRITICAL",
        }
    }
}

/// What the detector could make of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Status {
    /// It has seen too few rows of the key to judge.
    #[default]
    Warming,
    /// It has judged.
    Ok,
    /// It has judged, and learns nothing while the series is strange.
    Frozen,
    /// Rows were missing before this one, or its values are.
    Gap,
}

impl Status {
    /// As in the column `status`.
    pub fn name(self) -> &'static str {
        match self {
            Status::Warming => "warming",
            Status::Ok => "ok",
            Status::Frozen => "frozen",
            Status::Gap => "gap",
        }
    }
}

/// What is said of a row. Made once and filled again for each row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Verdict {
    /// How strange the row is: 0 and up, comparable over the rows of a key; NaN while nothing can be said.
    pub score: f64,
    /// The share of the key's past rows that were at least as strange, (0, 1]; NaN while nothing can be said.
    pub p_value: f64,
    /// Whether it is worth an alarm.
    pub is_anomaly: bool,
    /// What kind; of anomalies only.
    pub class: Option<Class>,
    /// How bad; of anomalies only.
    pub severity: Option<Severity>,
    /// What each input was expected to be; NaN while nothing can be said.
    pub expected: Vec<f64>,
    /// Below it a value of each input would be an anomaly by itself; NaN as above.
    pub lower: Vec<f64>,
    /// Above it.
    pub upper: Vec<f64>,
    /// Each input's share of the score: 0 and up, with sum 1; NaN as above.
    pub attribution: Vec<f64>,
    /// Rows of the key up to and with this one.
    pub n_seen: u64,
    /// What could be made of it.
    pub status: Status,
}

/// Why a configuration makes no detector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct ConfigError {
    /// The field of [`DetectorConfig`].
    pub field: &'static str,
    /// What is wrong, and what to write instead.
    pub message: String,
}

/// A detector for any number of keys.
#[derive(Debug)]
pub struct Detector {
    config: DetectorConfig,
}

/// What a detector knows of one key.
#[derive(Debug, Clone)]
pub struct DetectorState {
    n_seen: u64,
}

impl Detector {
    /// A detector as configured.
    ///
    /// # Errors
    /// A value out of range.
    pub fn new(config: DetectorConfig) -> Result<Self, ConfigError> {
        Ok(Detector { config })
    }

    /// The name and version of the model, for the column `model_version`: changes when a row's score may.
    pub fn version(&self) -> String {
        format!("{}/1", self.config.method.name())
    }

    /// What is known of a key before its first row.
    pub fn begin(&self) -> DetectorState {
        DetectorState { n_seen: 0 }
    }

    /// Judges a row, then learns from it.
    pub fn observe(&mut self, state: &mut DetectorState, row: Observation<'_>, verdict: &mut Verdict) {
        let _ = row;
        state.n_seen += 1;
        verdict.n_seen = state.n_seen;
    }

    /// Appends the state's bytes.
    pub fn encode(&self, state: &DetectorState, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&state.n_seen.to_le_bytes());
    }

    /// The state that [`Detector::encode`] wrote with the same configuration.
    ///
    /// # Errors
    /// Bytes that are none, or of another configuration.
    pub fn decode(&self, bytes: &[u8]) -> Result<DetectorState, StateError> {
        let mut reader = crate::bytes::Reader::new(bytes);
        let state = DetectorState { n_seen: reader.u64()? };
        reader.end()?;
        Ok(state)
    }
}
