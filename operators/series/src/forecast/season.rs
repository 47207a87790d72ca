//! The shape of a season, learnt row by row in a bounded number of knots.
//!
//! A day of minutes has 1440 slots; kept one by one they would cost 6 KiB a key and take weeks to be free of noise. So the shape is a
//! linear spline of at most [`KNOTS_MAX`] knots, each an average over its neighbourhood and over the last [`CYCLES`] seasons. The level of
//! the series is not part of the shape: what is learnt at a knot is the value less the level of the residuals at that time, so a shift of
//! level or a trend leaves the shape as it is.

use crate::bytes::{Reader, StateError, Writer};

use super::damaged;

/// Knots of a season at most: five minutes of a day.
const KNOTS_MAX: usize = 288;

/// Seasons that a knot averages over, in the long run.
const CYCLES: f64 = 8.0;

/// Rows at the begin of the second season that show how far the level moved in the first, at most.
const EDGE_MAX: u32 = 16;

/// The shape of one season.
#[derive(Debug, Clone)]
pub(super) struct Season {
    /// The season, microseconds.
    pub season_us: i64,
    /// Local time of the first row: where the first knot lies.
    anchor_us: i64,
    /// Rows in a season.
    slots: u32,
    /// Rows since the first, missing ones too.
    age: u32,
    /// How far the level moved in the first season: a sum over the rows at its edge, and how many.
    moved: (f64, u32),
    /// Values at the knots, above the series' origin.
    knots: Vec<f32>,
    /// Rows that each knot has learnt from.
    counts: Vec<u16>,
}

impl Season {
    /// A season of which nothing is known; `None` if it has fewer than three rows.
    pub fn new(season_us: i64, interval_us: i64, local_us: i64) -> Option<Self> {
        let slots = (season_us as f64 / interval_us as f64).round();
        if !(3.0..1e8).contains(&slots) {
            return None;
        }
        let knots = (slots as usize).min(KNOTS_MAX);
        Some(Season {
            season_us,
            anchor_us: local_us,
            slots: slots as u32,
            age: 0,
            moved: (0.0, 0),
            knots: vec![0.0; knots],
            counts: vec![0; knots],
        })
    }

    /// The knots around a time, with the share of the second.
    fn place(&self, local_us: i64) -> (usize, usize, f64) {
        let phase = local_us.wrapping_sub(self.anchor_us).rem_euclid(self.season_us);
        let count = self.knots.len();
        let position = phase as f64 / self.season_us as f64 * count as f64;
        if self.slots as usize <= KNOTS_MAX {
            let nearest = (position + 0.5) as usize % count;
            return (nearest, nearest, 0.0);
        }
        let first = (position as usize).min(count - 1);
        (first, if first + 1 == count { 0 } else { first + 1 }, position - first as f64)
    }

    /// The shape at a time; `None` before a season has passed, or where no row was.
    pub fn at(&self, local_us: i64) -> Option<f64> {
        if self.age < self.slots {
            return None;
        }
        let (first, second, share) = self.place(local_us);
        if self.counts[first] == 0 || self.counts[second] == 0 {
            return None;
        }
        let (low, high) = (f64::from(self.knots[first]), f64::from(self.knots[second]));
        Some(low + share * (high - low))
    }

    /// Learns a value (above the series' origin); `level`: of the residuals of late; `noise`: how far apart neighbours are.
    pub fn learn(&mut self, local_us: i64, value: f64, level: f64, noise: f64) {
        let edge = (self.slots / 16).clamp(1, EDGE_MAX);
        let known = self.at(local_us);
        if self.age >= self.slots
            && self.moved.1 < edge
            && let Some(known) = known
        {
            self.moved.0 += value - known;
            self.moved.1 += 1;
            if self.moved.1 == edge {
                self.level_out(noise);
            }
            return;
        }
        let (first, second, share) = self.place(local_us);
        let target = value - if known.is_some() { level } else { 0.0 };
        for (knot, part) in [(first, 1.0 - share), (second, share)] {
            if self.counts[knot] == 0 && part >= 0.5 {
                self.knots[knot] = target as f32;
            }
        }
        let seen = |knot: usize| self.counts[knot] > 0;
        let at = match (seen(first), seen(second)) {
            (true, true) => {
                f64::from(self.knots[first]) * (1.0 - share) + f64::from(self.knots[second]) * share
            }
            (true, false) => f64::from(self.knots[first]),
            (false, true) => f64::from(self.knots[second]),
            (false, false) => target,
        };
        let per_knot = f64::from(self.slots) / self.knots.len() as f64;
        let gain_min = 1.0 / (CYCLES * per_knot);
        for (knot, part) in [(first, 1.0 - share), (second, share)] {
            let count = self.counts[knot];
            if count > 0 {
                let gain = (1.0 / (f64::from(count) + 1.0)).max(gain_min);
                self.knots[knot] += (gain * part * (target - at)) as f32;
            }
            if part >= 0.5 {
                self.counts[knot] = count.saturating_add(1);
            }
        }
    }

    /// Takes the slope out of the first season's shape, where it is not noise: else the shape jumps where it begins anew.
    fn level_out(&mut self, noise: f64) {
        let moved = self.moved.0 / f64::from(self.moved.1);
        if moved.abs() <= 3.0 * noise {
            return;
        }
        let count = self.knots.len() as f64;
        for (knot, value) in self.knots.iter_mut().enumerate() {
            *value -= (moved * knot as f64 / count) as f32;
        }
    }

    /// A row has passed, or was missing.
    pub fn pass(&mut self, rows: u32) {
        self.age = self.age.saturating_add(rows);
    }

    pub fn encode(&self, writer: &mut Writer<'_>) {
        writer.i64(self.season_us);
        writer.i64(self.anchor_us);
        writer.u32(self.slots);
        writer.u32(self.age);
        writer.f64(self.moved.0);
        writer.u32(self.moved.1);
        writer.f32s(&self.knots);
        self.counts.iter().for_each(|count| writer.u16(*count));
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, StateError> {
        let (season_us, anchor_us, slots, age) = (reader.i64()?, reader.i64()?, reader.u32()?, reader.u32()?);
        let moved = (reader.f64()?, reader.u32()?);
        let knots = reader.f32s(KNOTS_MAX)?;
        if season_us <= 0 || knots.is_empty() {
            return Err(damaged("a season without length"));
        }
        let counts = knots.iter().map(|_| reader.u16()).collect::<Result<_, _>>()?;
        Ok(Season { season_us, anchor_us, slots, age, moved, knots, counts })
    }
}
