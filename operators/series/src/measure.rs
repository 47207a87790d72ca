//! Measures that detectors, forecasts and convergence are judged by.
//!
//! | file | what | judges |
//! |---|---|---|
//! | `vus.rs` | [`vus_pr`], with the window by [`find_length_rank`] | scores, at every threshold and every tolerance |
//! | `precision.rs` | [`average_precision`] | scores, at every threshold, row by row |
//! | `nab.rs` | [`nab()`], [`nab_at`] | alarms over a set of series, by when they come and what they cost |
//! | `labelled.rs` | [`Labelled`] | – |
//!
//! Point-adjusted F1 is missing on purpose. It counts an incident as found in all its rows once one of them is, so that a random score,
//! which is high somewhere in any long incident, can lead a table (Kim et al., "Towards a Rigorous Evaluation of Time-series Anomaly
//! Detection", AAAI 2022). Accuracy is missing too: calling every row normal gets nearly all of it.

mod labelled;
mod nab;
mod precision;
mod vus;

pub use labelled::{Labelled, MeasureError};
pub use nab::{NabProfile, NabScore, nab, nab_at};
pub use precision::average_precision;
pub use vus::{find_length_rank, vus_pr};
