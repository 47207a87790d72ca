//! What keeps the rate of alarms where tails say less of what comes than they should: a series that changes its ways, values on a few steps.
//!
//! Each event raises the bar, and time lowers it as fast as events as often as wanted raise it (Gibbs, Candès, Adaptive conformal inference
//! under distribution shift, 2021).

use super::super::fields::Fields;
use crate::bytes::StateError;

/// What one event raises the bar by, −ln p, and between which values the bar stays.
const STEP: f64 = 0.5;
const MIN: f64 = -0.4;
const MAX: f64 = 30.0;

/// Events within this share of the time in which one is wanted are one: what goes wrong may show for hours.
const APART: f64 = 0.25;

/// The bar of one way to raise alarms.
#[derive(Debug, Clone)]
pub(super) struct Bar {
    height: f64,
    /// Rows since the event that raised it last.
    since_event: u32,
}

impl Bar {
    /// Before any event.
    pub fn new() -> Self {
        Bar { height: 0.0, since_event: u32::MAX }
    }

    /// What is added to the threshold, −ln p.
    pub fn height(&self) -> f64 {
        self.height
    }

    /// Goes on by a row, with which an event may begin, of which `wanted` are wanted a row.
    pub fn go_on(&mut self, begins: bool, wanted: f64) {
        self.height = (self.height - STEP * wanted).max(MIN);
        if begins && f64::from(self.since_event) * wanted >= APART {
            self.height = (self.height + STEP).min(MAX);
            self.since_event = 0;
        }
        self.since_event = self.since_event.saturating_add(1);
    }

    /// Walks over its fields.
    pub fn fields(&mut self, fields: &mut Fields<'_, '_>) -> Result<(), StateError> {
        fields.f64(&mut self.height)?;
        fields.u32(&mut self.since_event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_as_often_as_wanted_leave_it_where_it_is_and_more_raise_it() {
        let run = |every: u32, rows: u32| {
            let mut bar = Bar::new();
            (1..=rows).for_each(|row| bar.go_on(row % every == 0, 1e-3));
            bar.height()
        };
        assert!(run(1000, 20_000).abs() < 0.51);
        assert!(run(500, 20_000) > 5.0);
        assert_eq!(run(10, 200), run(200, 200), "what comes at once is one event");
        assert_eq!(run(u32::MAX, 20_000), MIN);
    }
}
