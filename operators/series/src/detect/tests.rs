//! What the detector promises, by the method `auto`.

mod alarms;
mod creep;
mod early;
mod exactness;
mod oddities;
mod real;
mod recovery;
mod siblings;

use super::{Detector, DetectorConfig, DetectorState, Method, Verdict};
use crate::Observation;
use crate::synthetic::DAY_US;

const MINUTE_US: i64 = 60_000_000;

fn config(inputs: usize) -> DetectorConfig {
    DetectorConfig {
        method: Method::Auto,
        inputs,
        interval_us: Some(MINUTE_US),
        season_us: Some(DAY_US),
        false_alarms: 1.0,
        false_alarms_per_us: DAY_US,
        settle_us: 60 * MINUTE_US,
    }
}

/// A key that is watched.
struct Watch {
    detector: Detector,
    state: DetectorState,
    verdict: Verdict,
}

impl Watch {
    fn new(config: DetectorConfig) -> Self {
        let detector = Detector::new(config).unwrap();
        let state = detector.begin();
        Watch { detector, state, verdict: Verdict::default() }
    }

    /// What is said of a row, minutes after the epoch.
    fn row(&mut self, minute: i64, values: &[f64]) -> &Verdict {
        self.at(minute * MINUTE_US, minute * MINUTE_US, values)
    }

    fn at(&mut self, time_us: i64, local_us: i64, values: &[f64]) -> &Verdict {
        let row = Observation { time_us, local_us, values };
        self.detector.observe(&mut self.state, row, &mut self.verdict);
        &self.verdict
    }

    fn restart(&mut self) {
        let mut bytes = Vec::new();
        self.detector.encode(&self.state, &mut bytes);
        self.state = self.detector.decode(&bytes).unwrap();
    }
}
