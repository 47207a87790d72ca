//! When an event is over: once rows lie where they did before it, not where they did in it.
//!
//! What an event leaves in smoothed levels would keep an alarm on long after values are back. So each row of an event is asked which of two
//! explains it better, the level known before the event or the level of the event so far: the logarithm of the ratio of likelihoods, both
//! normal with the deviation known before, summed while it favours the first and begun anew where it does not (Page, Continuous inspection
//! schemes, 1954). A level that stays never makes the sum grow; one that is back by many deviations ends the event in three rows.

use super::fields::Fields;
use crate::bytes::StateError;

/// Deviations count as no more than this, in standard deviations.
const OFF_MAX: f64 = 20.0;

/// No input of a row that is back lies farther off than this, in standard deviations.
const BAND: f64 = 4.0;

/// What one row says at most, and how much all must say for the event to be over.
const ROW_MAX: f64 = 2.0;
const ENOUGH: f64 = 6.0;

/// What is known of the event that is on, of all inputs of a key.
#[derive(Debug, Clone)]
pub(crate) struct Recovery {
    /// Rows of the event; 0: none is on.
    rows: f64,
    /// How far off each input was in it, on average, in standard deviations.
    offsets: Vec<f64>,
    evidence: f64,
}

impl Recovery {
    /// Of no event, for so many inputs.
    pub fn new(inputs: usize) -> Self {
        Recovery { rows: 0.0, offsets: vec![0.0; inputs], evidence: 0.0 }
    }

    /// No event is on.
    pub fn clear(&mut self) {
        self.rows = 0.0;
        self.evidence = 0.0;
    }

    /// Takes in a row of the event, by how far off each input is, in standard deviations, NaN where it is missing: true where the event is over.
    pub fn is_over(&mut self, offs: impl Iterator<Item = f64>) -> bool {
        if self.rows == 0.0 {
            self.offsets.fill(0.0);
        }
        let mut says = 0.0;
        let mut outside = false;
        for (offset, off) in self.offsets.iter_mut().zip(offs) {
            if off.is_nan() {
                continue;
            }
            let off = off.clamp(-OFF_MAX, OFF_MAX);
            let from_event = off - *offset;
            says += 0.5 * (from_event * from_event - off * off);
            outside |= off.abs() > BAND;
            *offset += from_event / (self.rows + 1.0);
        }
        let begins = self.rows == 0.0;
        self.rows = (self.rows + 1.0).min(1e9);
        let says = says.clamp(-ROW_MAX, ROW_MAX);
        self.evidence = if begins || outside { 0.0 } else { (self.evidence + says).max(0.0) };
        let over = self.evidence >= ENOUGH;
        if over {
            self.clear();
        }
        over
    }

    /// Walks over its fields.
    pub fn fields(&mut self, fields: &mut Fields<'_, '_>) -> Result<(), StateError> {
        fields.f64(&mut self.rows)?;
        fields.f64s(&mut self.offsets)?;
        fields.f64(&mut self.evidence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::Random;

    #[test]
    fn values_that_are_back_end_an_event_in_three_rows() {
        let mut recovery = Recovery::new(2);
        assert!((0..50).all(|row| !recovery.is_over([12.0 + f64::from(row % 7), 0.3].into_iter())));
        let rows = [false, false, true, false].map(|_| recovery.is_over([0.8, f64::NAN].into_iter()));
        assert_eq!(rows, [false, false, true, false]);
    }

    #[test]
    fn a_level_that_stays_ends_none() {
        let mut random = Random::new(2);
        let mut recovery = Recovery::new(1);
        let over = (0..200).filter(|_| recovery.is_over(std::iter::once(3.0 + random.normal()))).count();
        assert_eq!(over, 0);
    }
}
