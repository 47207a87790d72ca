//! How the days of a week differ: by what part of the day's profile is usual on each, by the local calendar.
//!
//! Traffic of weekends is lower all day long, and so are its ups and downs: a factor for each day of the week says it with seven numbers, where a
//! profile of the week would need seven times the points and seven times as long to be learnt (multiplicative seasons; Winters, Forecasting sales by
//! exponentially weighted moving averages, Management Science 6, 1960).
//!
//! A day's factor is the sum of its values over the sum of the profile there, relative to what most days have. Events count like other rows, as a
//! weekend is one until it is known; but what counts of a day is what its last two weeks agree on: the one that is nearer to 1, and nothing where they
//! lie on two sides of it.

use super::fields::Fields;
use super::numbers::gain;
use super::season::Phase;
use crate::bytes::StateError;

const DAYS: usize = 7;

/// No day has more than so many times the profile.
const FACTOR_MAX: f64 = 20.0;

/// What counts for a day without anything.
const PART_MIN: f64 = 1e-3;

/// The part of a day that has to be seen before the day teaches anything.
const SEEN_MIN: f64 = 0.6;

/// The share of the squared error that factors have to leave before they are believed.
const BELIEVED: f64 = 0.8;

/// How long factors foretell rows before they are believed, days.
const TESTED_DAYS: f64 = 2.0;

/// The days of a week of one input.
#[derive(Debug, Clone)]
pub(crate) struct Week {
    /// What part of the profile the days of the last two weeks had, the latest first, by the day's number; 0: not known.
    parts: [[f32; DAYS]; 2],
    /// What follows from them: what most days of the last week had, and how the others differ from it.
    most: f64,
    factors: [f64; DAYS],
    /// The day that is on, and what of it was seen: sums of values and of the profile, and rows.
    day: u8,
    values: f64,
    usual: f64,
    rows: f32,
    /// Mean squared errors of what the profile foretold with the day's factor and without, and of how many rows.
    errors: [f64; 2],
    tests: f32,
    /// Whether factors count.
    is_on: bool,
}

impl Week {
    /// Of nothing.
    pub fn new() -> Self {
        Week {
            parts: [[0.0; DAYS]; 2],
            most: 1.0,
            factors: [1.0; DAYS],
            day: u8::MAX,
            values: 0.0,
            usual: 0.0,
            rows: 0.0,
            errors: [0.0; 2],
            tests: 0.0,
            is_on: false,
        }
    }

    /// By how much what is usual, the level of these weeks with it, is to be multiplied.
    pub fn factor(&self, phase: Phase) -> f64 {
        match phase.day {
            Some(day) if self.is_on => self.factors[usize::from(day)],
            _ => 1.0,
        }
    }

    /// Learns from a value where the profile says `usual`. True where factors count from now on, or no more.
    pub fn learn(&mut self, phase: Phase, value: f64, usual: f64, rows_a_day: f64) -> bool {
        let Some(day) = phase.day else { return false };
        if day != self.day {
            if usize::from(self.day) < DAYS && f64::from(self.rows) >= SEEN_MIN * rows_a_day {
                self.teach(usize::from(self.day));
            }
            (self.day, self.values, self.usual, self.rows) = (day, 0.0, 0.0, 0.0);
        }
        self.values += value;
        self.usual += usual;
        self.rows += 1.0;
        if self.parts.as_flattened().contains(&0.0) {
            return false;
        }
        let step = gain(f64::from(self.tests), DAYS as f64 * rows_a_day);
        let of_most = self.most * usual;
        let foretold = [self.factors[usize::from(day)] * of_most, of_most];
        for (error, foretold) in self.errors.iter_mut().zip(foretold) {
            let off = value - foretold;
            *error += step * (off * off - *error);
        }
        self.tests = (self.tests + 1.0).min(1e6);
        let [with, without] = self.errors;
        let is_known = f64::from(self.tests) >= TESTED_DAYS * rows_a_day;
        let is_on = is_known && with < if self.is_on { without } else { BELIEVED * without };
        std::mem::replace(&mut self.is_on, is_on) != is_on
    }

    /// Teaches the day that is over.
    fn teach(&mut self, day: usize) {
        let part = self.values / self.usual;
        if (0.0..=FACTOR_MAX).contains(&part) {
            self.parts[1][day] = self.parts[0][day];
            self.parts[0][day] = part.max(PART_MIN) as f32;
            self.follow();
        }
    }

    /// What follows from the parts.
    fn follow(&mut self) {
        // Of those that are known; the profile goes by days that are like most.
        let medians = self.parts.map(|mut parts| {
            parts.sort_unstable_by(f32::total_cmp);
            let known = &parts[parts.partition_point(|part| *part == 0.0)..];
            known.get(known.len() / 2).map_or(1.0, |part| f64::from(*part))
        });
        self.most = medians[0];
        for (day, factor) in self.factors.iter_mut().enumerate() {
            let [latest, before] = [0, 1].map(|week| f64::from(self.parts[week][day]) / medians[week] - 1.0);
            let is_known = self.parts[1][day] != 0.0;
            let off = if latest.abs() < before.abs() { latest } else { before };
            *factor = 1.0 + if is_known && latest * before > 0.0 { off } else { 0.0 };
        }
    }

    /// Walks over its fields.
    pub fn fields(&mut self, fields: &mut Fields<'_, '_>) -> Result<(), StateError> {
        fields.f32s(self.parts.as_flattened_mut())?;
        fields.u8s(std::slice::from_mut(&mut self.day))?;
        fields.f64(&mut self.values)?;
        fields.f64(&mut self.usual)?;
        fields.f32(&mut self.rows)?;
        fields.f64s(&mut self.errors)?;
        fields.f32(&mut self.tests)?;
        fields.bool(&mut self.is_on)?;
        self.follow();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::alarm::DAY_US;
    use super::*;
    use crate::bytes::{Reader, Writer};

    const HOUR_US: i64 = DAY_US / 24;

    /// Learns a day's hours, of which each is `factor` times the profile.
    fn day(week: &mut Week, number: i64, factor: f64) {
        for hour in 0..24 {
            let usual = 100.0 + f64::from(hour);
            let phase = Phase::new(number * DAY_US + i64::from(hour) * HOUR_US, DAY_US);
            week.learn(phase, factor * usual, usual, 24.0);
        }
    }

    fn factor(week: &Week, number: i64) -> f64 {
        week.factor(Phase::new(number * DAY_US, DAY_US))
    }

    #[test]
    fn weekends_are_known_after_two_and_what_came_once_is_not() {
        let mut week = Week::new();
        for number in 0..14 {
            day(&mut week, number, if number % 7 < 2 { 0.6 } else { 1.0 });
            assert_eq!(factor(&week, number), 1.0);
        }
        for number in 14..35 {
            let outage = if number == 17 { 0.2 } else { 1.0 };
            day(&mut week, number, outage * if number % 7 < 2 { 0.6 } else { 1.0 });
        }
        for number in 0..7 {
            let expected = if number < 2 { 0.6 } else { 1.0 };
            assert!((factor(&week, number) - expected).abs() < 1e-6, "{number}: {week:?}");
        }
        let mut bytes = Vec::new();
        week.fields(&mut Fields::Write(&mut Writer(&mut bytes))).expect("memory to write to");
        let mut again = Week::new();
        again.fields(&mut Fields::Read(&mut Reader::new(&bytes))).expect("the same fields");
        assert_eq!(format!("{again:?}"), format!("{week:?}"));
    }

    #[test]
    fn days_without_anything_have_a_factor() {
        let mut week = Week::new();
        for number in 0..28 {
            day(&mut week, number, if number % 7 < 2 { 0.0 } else { 1.0 });
        }
        assert!(factor(&week, 0) < 0.01 && factor(&week, 4) == 1.0, "{week:?}");
    }

    #[test]
    fn days_that_are_alike_or_hardly_seen_need_no_factors() {
        let (mut alike, mut hardly) = (Week::new(), Week::new());
        for number in 0..35 {
            day(&mut alike, number, 1.0 + 0.01 * (number % 3) as f64);
            hardly.learn(Phase::new(number * DAY_US, DAY_US), (number % 7) as f64, 1.0, 24.0);
        }
        assert!((0..7).all(|number| factor(&alike, number) == 1.0), "{alike:?}");
        assert!((0..7).all(|number| factor(&hardly, number) == 1.0), "{hardly:?}");
    }
}
