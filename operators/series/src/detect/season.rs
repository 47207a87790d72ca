//! The profile of a season: what is usual at each of its times, by the local clock, so that a day of 23 or 25 hours is a day like others.
//!
//! 96 points (a quarter of an hour each, for a day) with straight lines between them, whatever the interval of rows: a row teaches the two points
//! beside it (hat functions; Hastie, Tibshirani, Friedman, The elements of statistical learning, 2009, section 5.2). A point changes when the rows
//! around it are over, so that what is usual always comes from seasons before this one, and a row is not compared with what the rows just before
//! it taught.

use super::alarm::DAY_US;
use super::fields::Fields;
use super::numbers::gain;
use crate::bytes::StateError;

const POINTS: usize = 96;

/// A point remembers about so many seasons.
const SEASONS: f64 = 16.0;

/// Short floats hold nothing larger.
const SIZE_MAX: f64 = 1e37;

/// The profile of one input.
#[derive(Debug, Clone)]
pub(crate) struct Season {
    /// Values are kept as differences from this one, the first.
    base: f64,
    points: [f32; POINTS],
    /// In how many seasons each was taught.
    taught: [u8; POINTS],
    /// What the rows since the latest point teach it and the next: sums of errors and of weights.
    lessons: [(f64, f64); 2],
    /// Sum of the points, and how many of them were taught.
    sum: f64,
    known: u32,
    /// The point that the latest row came after; none yet: beyond all.
    latest: u32,
}

/// A time of the season: between two points.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Phase {
    left: usize,
    right: usize,
    /// How far it is from the left one to the right one, 0 to 1.
    part: f64,
    /// The day of the week, 0 to 6, where a season is a day.
    pub day: Option<u8>,
}

impl Phase {
    /// The place of a local time in a season of so many microseconds.
    pub fn new(local_us: i64, season_us: i64) -> Self {
        let season_us = season_us.max(1);
        let place = local_us.rem_euclid(season_us) as f64 / season_us as f64 * POINTS as f64;
        let left = (place as usize).min(POINTS - 1);
        let day = (season_us == DAY_US).then(|| local_us.div_euclid(DAY_US).rem_euclid(7) as u8);
        Phase { left, right: (left + 1) % POINTS, part: place - left as f64, day }
    }
}

impl Season {
    /// Of nothing, around a first value.
    pub fn new(base: f64) -> Self {
        Season {
            base,
            points: [0.0; POINTS],
            taught: [0; POINTS],
            lessons: [(0.0, 0.0); 2],
            sum: 0.0,
            known: 0,
            latest: u32::MAX,
        }
    }

    /// The mean of the profile.
    pub fn level(&self) -> f64 {
        self.base + self.sum / f64::from(self.known.max(1))
    }

    /// Whether a row at this phase is the first after its point.
    pub fn enters(&self, phase: Phase) -> bool {
        self.latest != phase.left as u32
    }

    /// What is usual at this time; `None` where too little was seen.
    pub fn usual(&self, phase: Phase) -> Option<f64> {
        let silent = |point: usize| self.taught[point] == 0;
        if silent(phase.left) || phase.part > 0.0 && silent(phase.right) {
            return None;
        }
        Some(self.base + self.between(phase))
    }

    fn between(&self, phase: Phase) -> f64 {
        let (left, right) = (f64::from(self.points[phase.left]), f64::from(self.points[phase.right]));
        left + (right - left) * phase.part
    }

    /// Learns what was seen at this time. What lies farther than `trusted` from what is usual counts as lying there.
    pub fn learn(&mut self, phase: Phase, value: f64, trusted: f64, weight: f64) {
        if self.enters(phase) {
            let (before, next) = (self.latest as usize, (self.latest as usize).wrapping_add(1) % POINTS);
            if before < POINTS {
                self.teach(before, 0);
                if next == phase.left {
                    self.lessons[0] = std::mem::take(&mut self.lessons[1]);
                } else {
                    self.teach(next, 1);
                }
            }
            self.latest = phase.left as u32;
        }
        let known = self.usual(phase).is_some();
        for (lesson, (point, share)) in
            self.lessons.iter_mut().zip([(phase.left, 1.0 - phase.part), (phase.right, phase.part)])
        {
            let error = value - self.base - f64::from(self.points[point]);
            let slope = f64::from(self.points[phase.right]) - f64::from(self.points[phase.left]);
            // Where both points are known the line between them is what the row differs from.
            let error = match known {
                true => {
                    let line = f64::from(self.points[phase.left]) + slope * phase.part;
                    (value - self.base - line).clamp(-trusted, trusted)
                }
                false => error,
            };
            lesson.0 += share * weight * error.clamp(-SIZE_MAX, SIZE_MAX);
            lesson.1 += share * weight;
        }
    }

    /// Teaches a point what has come together.
    fn teach(&mut self, point: usize, lesson: usize) {
        let (errors, weights) = std::mem::take(&mut self.lessons[lesson]);
        if weights <= 0.0 {
            return;
        }
        let taught = self.taught[point];
        let before = f64::from(self.points[point]);
        let step = gain(f64::from(taught), 2.0 * SEASONS - 1.0);
        let after = (before + step * (errors / weights)).clamp(-SIZE_MAX, SIZE_MAX) as f32;
        self.points[point] = after;
        self.sum += f64::from(after) - before;
        self.known += u32::from(taught == 0);
        self.taught[point] = taught.saturating_add(1);
    }

    /// Walks over its fields.
    pub fn fields(&mut self, fields: &mut Fields<'_, '_>) -> Result<(), StateError> {
        fields.f64(&mut self.base)?;
        fields.f32s(&mut self.points)?;
        fields.u8s(&mut self.taught)?;
        for (errors, weights) in &mut self.lessons {
            fields.f64(errors)?;
            fields.f64(weights)?;
        }
        fields.f64(&mut self.sum)?;
        fields.u32(&mut self.known)?;
        fields.u32(&mut self.latest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::Random;

    #[test]
    fn a_wave_with_noise_is_learnt_in_a_few_seasons() {
        let mut random = Random::new(4);
        let mut season = Season::new(100.0);
        let wave = |row: i64| 100.0 + 40.0 * libm::sin(row as f64 / 1440.0 * std::f64::consts::TAU);
        let phase = |row: i64| Phase::new(row * DAY_US / 1440, DAY_US);
        for row in 0..1440 * 8 {
            season.learn(phase(row), wave(row) + 3.0 * random.normal(), 1e9, 1.0);
        }
        let square = |row: i64| (season.usual(phase(row)).unwrap() - wave(row)).powi(2);
        let error = ((0..1440).map(square).sum::<f64>() / 1440.0).sqrt();
        assert!(error < 1.0, "{error}");
    }

    #[test]
    fn hours_teach_their_points_and_nothing_is_said_of_others() {
        let mut season = Season::new(0.0);
        for row in 0..72 {
            season.learn(Phase::new(row * DAY_US / 24, DAY_US), (row % 24) as f64, 1e9, 1.0);
        }
        assert_eq!(season.usual(Phase::new(DAY_US / 48, DAY_US)), None);
    }
}
