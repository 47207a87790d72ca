//! What an anomaly is called, and how bad it is.

use super::calibration::Ruling;
use super::key::Judgement;
use super::{Class, Method, Severity};

/// A day, microseconds.
pub(crate) const DAY_US: i64 = 86_400_000_000;

/// Rows in which what began as a spike may still show whether it came at once or slowly.
const SPIKE_ROWS: u32 = 8;

/// What kind the event is that a row of this kind belongs to, its row number `rows`, 1 and up, where it was of the kind `before`: what shows
/// first tells a shift, which is seen at once, from a slope, which is not; only a spike that lasts was none.
pub(crate) fn class_of_event(row: Class, rows: u32, before: Class) -> Class {
    match (rows, before, row) {
        (..=1, _, row) => row,
        (_, _, Class::Seasonal) => Class::Seasonal,
        (..=SPIKE_ROWS, Class::Spike, row) => row,
        (_, Class::Spike, Class::Drift | Class::Trend) => Class::Drift,
        (_, before, _) => before,
    }
}

/// An anomalous row.
#[derive(Debug)]
pub(crate) struct Alarm<'a> {
    /// How it was judged.
    pub judgement: &'a Judgement,
    /// Its event.
    pub ruling: &'a Ruling,
    /// What kind `auto` says its event is.
    pub class: Class,
    /// By which method.
    pub method: Method,
}

impl Alarm<'_> {
    /// What kind of anomaly.
    pub fn class(&self) -> Class {
        match self.method {
            Method::Auto => self.class,
            Method::Cusum => Class::Drift,
            Method::Seasonal => Class::Seasonal,
            Method::Kmeans
            | Method::Pca
            | Method::Forest
            | Method::OneClass
            | Method::Autoencoder
            | Method::Tcn
            | Method::Patch => {
                if self.judgement.size < 3.0 {
                    Class::Outlier
                } else {
                    Class::Spike
                }
            }
            Method::Ewma | Method::Mad | Method::Iqr | Method::Ar => Class::Spike,
        }
    }

    /// How bad: a point each for how far beyond the threshold the event's rarest row is, how many times as large as what is ordinary this
    /// one is, and how long it lasts; two for each of these by far.
    pub fn severity(&self) -> Severity {
        let points =
            |value: f64, much: f64, very_much: f64| u32::from(value >= much) + u32::from(value >= very_much);
        let sum = points(self.ruling.event_beyond, 1.0, 2.5)
            + points(self.judgement.size, 8.0, 20.0)
            + points(f64::from(self.ruling.event_rows), 10.0, 60.0);
        match sum {
            0 => Severity::Low,
            1 | 2 => Severity::Medium,
            3 | 4 => Severity::High,
            _ => Severity::Critical,
        }
    }
}
