//! Measures that detectors, forecasts and convergence are judged by.
//!
//! | file | what | judges |
//! |---|---|---|
//! | `vus.rs` | [`vus_pr`], with the window by [`find_length_rank`] | scores of a labelled series, at every threshold |
//!
//! Point-adjusted F1 is missing on purpose. It counts an incident as found in all its rows once one of them is, so that a random score,
//! which is high somewhere in any long incident, can lead a table (Kim et al., "Towards a Rigorous Evaluation of Time-series Anomaly
//! Detection", AAAI 2022).

mod vus;

pub use vus::{find_length_rank, vus_pr};
