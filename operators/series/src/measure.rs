//! Measures that detectors, forecasts and convergence are judged by.
//!
//! | file | what | judges |
//! |---|---|---|
//! | `vus.rs` | [`vus_pr`], with the window by [`find_length_rank`] | scores, at every threshold and every tolerance |
//! | `precision.rs` | [`average_precision`] | scores, at every threshold, row by row |
//! | `nab.rs` | [`nab()`], [`nab_at`] | alarms over a set of series, by when they come and what they cost |
//! | `events.rs` | [`alarms_at`], [`alarms_at_rate`] | alarms: incidents found, delay, false alarms; at a set rate of these |
//! | `forecasts.rs` | [`point_errors`], [`naive_error`], [`pinball_loss`], [`coverage`] | expected values, quantiles, intervals |
//! | `curves.rs` | [`CurveTruth`], [`convergence_report`] | what is said of learning curves, beside their last value |
//! | `report.rs` | [`detection_report`] | scores of a set of series, by all of these |
//! | `labelled.rs` | [`Labelled`] | – |
//!
//! Point-adjusted F1 is missing on purpose. It counts an incident as found in all its rows once one of them is, so that a random score,
//! which is high somewhere in any long incident, can lead a table (Kim et al., "Towards a Rigorous Evaluation of Time-series Anomaly
//! Detection", AAAI 2022). Accuracy is missing too: calling every row normal gets nearly all of it.

mod curves;
mod events;
mod forecasts;
mod labelled;
mod nab;
mod precision;
#[cfg(test)]
mod properties;
mod report;
mod vus;

pub use curves::{Confusion, ConvergenceReport, CurveTruth, convergence_report};
pub use events::{AlarmReport, AlarmRule, alarms_at, alarms_at_rate};
pub use forecasts::{
    Between, Coverage, Foretold, PointErrors, coverage, naive_error, pinball_loss, point_errors,
};
pub use labelled::{Labelled, MeasureError};
pub use nab::{NabProfile, NabScore, nab, nab_at};
pub use precision::average_precision;
pub use report::{DetectionReport, SeriesReport, detection_report};
pub use vus::{find_length_rank, vus_pr};
