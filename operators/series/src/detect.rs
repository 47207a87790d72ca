//! Anomalies in the series of a key: how strange each row is given the rows before it, and whether that is worth an alarm.
//!
//! ```text
//!   row ─▶ method: score against the past ─▶ calibration: p-value ─▶ verdict: anomaly? class, severity ─▶ what may be learnt of it
//!          (methods/…)                       (conformal, on the key's own past)                           (robust updates, quarantine)
//! ```

mod alarm;
mod auto;
mod calibration;
pub(crate) mod clock;
pub(crate) mod counter;
mod detector;
mod early;
pub(crate) mod fields;
mod joint;
mod key;
mod methods;
pub(crate) mod numbers;
mod recovery;
mod rls;
mod season;
mod siblings;
mod single;
mod tail;
#[cfg(test)]
mod tests;
mod week;

pub use detector::{Detector, DetectorState};
pub use siblings::{Sibling, Siblings};

/// How strangeness is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// A few of the others, combined: the default. Where a season is a day, it knows that days of the week differ, once it has seen two weeks.
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
    /// What an autoencoder can't repeat of the latest rows.
    Autoencoder,
    /// Distance from what a temporal convolutional network predicts.
    Tcn,
    /// Distance of the latest rows from a memory of ordinary ones.
    Patch,
}

impl Method {
    /// All of them, in the order of the documentation.
    pub const ALL: [Method; 14] = [
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
        Method::Autoencoder,
        Method::Tcn,
        Method::Patch,
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
            Method::Autoencoder => "autoencoder",
            Method::Tcn => "tcn",
            Method::Patch => "patch",
        }
    }

    /// Whether a network says how strange a row is, which is trained before and runs beside the detector. What it says comes with each row,
    /// after its values: its score (NaN: none), 1 where it failed and else 0; then, a number for each input, what it expected, each one's
    /// share of the score, and centre and scale of the [`stream`](crate::stream) units in which it expects.
    pub fn is_network(self) -> bool {
        matches!(self, Method::Autoencoder | Method::Tcn | Method::Patch)
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

    /// Numbers beside the inputs that say what a network said of a row: see [`Method::is_network`].
    pub fn said(&self) -> usize {
        if self.method.is_network() { methods::network::Said::width(self.inputs) } else { 0 }
    }

    /// Says what is out of range.
    fn check(&self) -> Result<(), ConfigError> {
        let error = |field, message: String| Err(ConfigError { field, message });
        if !(1..=Self::INPUTS_MAX).contains(&self.inputs) {
            return error("inputs", format!("must be 1 to {}, not {}", Self::INPUTS_MAX, self.inputs));
        }
        let times = [
            ("interval_us", self.interval_us),
            ("season_us", self.season_us),
            ("false_alarms_per_us", Some(self.false_alarms_per_us)),
        ];
        for (field, time) in times {
            if let Some(time) = time.filter(|time| *time <= 0) {
                return error(field, format!("must be longer than 0, not {time} µs"));
            }
        }
        if self.settle_us < 0 {
            return error("settle_us", format!("must not be negative, as {} µs is", self.settle_us));
        }
        if !(self.false_alarms > 0.0 && self.false_alarms.is_finite()) {
            return error("false_alarms", format!("must be above 0, such as 1, not {}", self.false_alarms));
        }
        if let (Some(interval), Some(season)) = (self.interval_us, self.season_us)
            && season < interval.saturating_mul(2)
        {
            let message = format!("must be at least two rows long ({interval} µs each), not {season} µs");
            return error("season_us", message);
        }
        Ok(())
    }
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
    /// The network said nothing: it failed, or took too long.
    Failed,
}

impl Status {
    /// As in the column `status`.
    pub fn name(self) -> &'static str {
        match self {
            Status::Warming => "warming",
            Status::Ok => "ok",
            Status::Frozen => "frozen",
            Status::Gap => "gap",
            Status::Failed => "failed",
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
