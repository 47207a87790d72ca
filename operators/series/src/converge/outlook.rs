//! What a fitted curve says of any time to come: the value with its spread, and when a target is crossed.

use super::fit::{Clock, Path};
use super::points::Point;
use super::spread::{Spread, Z_80, Z_95};
use super::{ConvergerConfig, Interval};

/// How much of what a curve is worse than at its beginning goes away in the long run.
const RETURN: f64 = 0.85;
/// Half of the central 80 % of errors, in sizes of what a curve did lately and what is foretold: the noise of the last row itself, of a
/// rough curve.
const HALF_80_NOW: f64 = 0.34;
/// What is added for each e-fold of the time seen, for a rough curve and, besides, for a smooth one. All are measured on learning curves of
/// three tasks, and nearly the same on each of these.
const HALF_80_ROUGH: f64 = 0.15;
const HALF_80_SMOOTH: f64 = 0.8;
/// Rows after which that is twice as much as after many.
const ROWS_TWICE: f64 = 5.0;
/// How far ahead a target is looked for, in shares of what was seen.
const SHARES_AHEAD: f64 = 100.0;

/// How a curve goes on, and how sure that is.
#[derive(Debug)]
pub(super) struct Outlook<'a> {
    pub config: &'a ConvergerConfig,
    pub clock: Clock,
    pub path: Path,
    /// The range of values in the newer half of what was seen.
    recent_range: f64,
    /// The oldest value; of a long curve the mean of its oldest rows.
    first: f64,
    /// The newest value.
    last: f64,
}

impl<'a> Outlook<'a> {
    pub fn new(config: &'a ConvergerConfig, clock: Clock, path: Path, points: &[Point]) -> Self {
        let recent = points.iter().rev().take_while(|point| clock.share(point.step) > 0.5 - 1e-9);
        let (low, high) = recent.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), point| {
            (low.min(point.value), high.max(point.value))
        });
        let value = |point: Option<&Point>| point.map_or(path.level, |point| point.value);
        let (first, last) = (value(points.first()), value(points.last()));
        Outlook { config, clock, path, recent_range: high - low, first, last }
    }

    /// The end of the curve, in shares of what was seen: where none is known, twice what was seen.
    pub fn end(&self) -> f64 {
        self.config.end.map_or(2.0, |end| self.clock.share(end))
    }

    /// The value at the end of the curve; once that is over, its last value.
    pub fn final_value(&self) -> Interval {
        if self.end() > 1.0 { self.value(self.end()) } else { Interval::sure(self.last) }
    }

    /// What the final value is based on.
    pub fn basis(&self) -> &'static str {
        match self.path.evidence {
            _ if self.end() <= 1.0 => "last",
            evidence if evidence < 0.2 => "last",
            evidence if evidence < 0.8 => "blend",
            _ => "curves",
        }
    }

    /// The value at a time after now, in shares of what was seen, and how far off it may be.
    ///
    /// A curve that is worse than where it began (a start that jumped, a swing) comes back: of what it is worse, a share falls away that
    /// grows as 1 less the inverse of time.
    fn at(&self, share: f64) -> (f64, Spread) {
        let fitted = self.path.level + Path::believed(self.path.change(share), self.config.falling);
        let is_worse = if self.config.falling { fitted > self.first } else { fitted < self.first };
        let back = if is_worse { RETURN * (1.0 - 1.0 / share) } else { 0.0 };
        let value = (1.0 - back) * fitted + back * self.first;
        let roughness = self.path.roughness;
        let growth =
            (HALF_80_ROUGH + HALF_80_SMOOTH * (1.0 - roughness)) * (1.0 + ROWS_TWICE / self.clock.rows);
        let size = libm::hypot(self.recent_range, value - self.last);
        let half_80 = (HALF_80_NOW * roughness + growth * libm::log(share)) * size;
        (value, Spread::new(half_80, self.clock.rows))
    }

    /// The value at a time after now, in shares of what was seen.
    fn value(&self, share: f64) -> Interval {
        let (value, spread) = self.at(share);
        let (half_80, half_95) = (spread.quantile(Z_80), spread.quantile(Z_95));
        Interval {
            expected: value,
            lower_80: value - half_80,
            upper_80: value + half_80,
            lower_95: value - half_95,
            upper_95: value + half_95,
        }
    }

    /// Steps until the target, which is not reached yet, and the probability that the curve is there at some row until the end.
    ///
    /// By a time the target is reached with the probability that the value of that time is at or beyond it. That leaves out that the
    /// curve may have been there and come back, so it is a little low for noisy curves.
    pub fn until(&self, target: f64) -> (Interval, f64) {
        let end = self.end();
        let mut p_target: f64 = 0.0;
        let mut crossings = [-Z_95, -Z_80, 0.0, Z_80, Z_95].map(Crossing::new);
        let mut rows = 1.0;
        while rows <= SHARES_AHEAD * self.clock.rows {
            let share = 1.0 + rows / self.clock.rows;
            let (value, spread) = self.at(share);
            // Distance to the target, above 0 before it, whichever way the curve goes.
            let left = if self.config.falling { value - target } else { target - value };
            if share <= end {
                p_target = p_target.max(spread.at_most(-left));
            }
            for crossing in &mut crossings {
                crossing.look(rows, left + spread.quantile(crossing.z));
            }
            rows *= std::f64::consts::SQRT_2;
        }
        if end > 1.0 {
            let (value, spread) = self.at(end);
            let left = if self.config.falling { value - target } else { target - value };
            p_target = p_target.max(spread.at_most(-left));
        }
        let [lower_95, lower_80, expected, upper_80, upper_95] =
            crossings.map(|crossing| crossing.at * self.clock.pace);
        (Interval { expected, lower_80, upper_80, lower_95, upper_95 }, p_target)
    }
}

/// When a quantile of the distance to the target first comes to 0.
struct Crossing {
    z: f64,
    before: Option<(f64, f64)>,
    /// Rows from now; +∞ while it has not come.
    at: f64,
}

impl Crossing {
    fn new(z: f64) -> Self {
        Crossing { z, before: None, at: f64::INFINITY }
    }

    fn look(&mut self, rows: f64, left: f64) {
        if self.at.is_finite() {
            return;
        }
        if left <= 0.0 {
            self.at = match self.before {
                Some((rows_before, left_before)) => {
                    rows_before + (rows - rows_before) * left_before / (left_before - left)
                }
                None => rows,
            };
        }
        self.before = Some((rows, left));
    }
}
