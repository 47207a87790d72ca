//! Measures that detectors, forecasts and convergence are judged by.
