//! The rows of a curve, in bounded memory: new ones as they are, old ones as means of neighbours.

use crate::bytes::{Reader, StateError, Writer};

/// A row, or the mean of a few neighbouring ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub step: f64,
    pub value: f64,
    /// How many rows it stands for.
    pub rows: f64,
}

/// At most [`Points::MAX`] points, ascending by step.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Points(Vec<Point>);

impl Points {
    /// Points that are kept at most.
    pub const MAX: usize = 128;
    /// So many of the newest stay as they are.
    const KEPT: usize = 64;
    /// The older ones become means of as many rows, at most, as are this share of all: so the whole curve stays in sight.
    const SHARE: f64 = 1.0 / 24.0;

    pub fn as_slice(&self) -> &[Point] {
        &self.0
    }

    pub fn push(&mut self, step: f64, value: f64) {
        if self.0.len() == Self::MAX {
            self.thin();
        }
        self.0.push(Point { step, value, rows: 1.0 });
    }

    /// Any two neighbours that are left stand together for more than the share, so at most 2 · 24 + 1 of the older ones are.
    fn thin(&mut self) {
        let rows_most = Self::SHARE * self.0.iter().map(|point| point.rows).sum::<f64>();
        let older = self.0.len() - Self::KEPT;
        let mut left = 0;
        for next in 1..older {
            if self.0[left].rows + self.0[next].rows <= rows_most {
                self.0[left] = mean(self.0[left], self.0[next]);
            } else {
                left += 1;
                self.0[left] = self.0[next];
            }
        }
        self.0.drain(left + 1..older);
    }

    pub fn encode(&self, writer: &mut Writer<'_>) {
        let column = |of: fn(&Point) -> f64| self.0.iter().map(of).collect::<Vec<_>>();
        writer.f64s(&column(|point| point.step));
        writer.f64s(&column(|point| point.value));
        writer.f64s(&column(|point| point.rows));
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, StateError> {
        let columns = [reader.f64s(Self::MAX)?, reader.f64s(Self::MAX)?, reader.f64s(Self::MAX)?];
        let [steps, values, rows] = columns;
        let same = steps.len() == values.len() && steps.len() == rows.len();
        let ascending = steps.windows(2).all(|pair| pair[0] <= pair[1]);
        let finite = steps.iter().chain(&values).all(|number| number.is_finite());
        let weighed = rows.iter().all(|rows| *rows >= 1.0 && rows.is_finite());
        if !(same && ascending && finite && weighed) {
            return Err(StateError::Damaged { what: "points of a curve that are none".to_owned() });
        }
        let points = steps.into_iter().zip(values).zip(rows);
        Ok(Points(points.map(|((step, value), rows)| Point { step, value, rows }).collect()))
    }
}

/// The mean of two points. Halves are taken first, so that huge values don't overflow.
fn mean(first: Point, second: Point) -> Point {
    let rows = first.rows + second.rows;
    let (one, two) = (first.rows / rows, second.rows / rows);
    Point { step: first.step * one + second.step * two, value: first.value * one + second.value * two, rows }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_stay_few_and_stand_for_all_rows() {
        let mut points = Points::default();
        for step in 0..100_000 {
            points.push(f64::from(step), f64::from(step));
            assert!(points.as_slice().len() <= Points::MAX);
        }
        let slice = points.as_slice();
        assert_eq!(slice.iter().map(|point| point.rows).sum::<f64>(), 100_000.0);
        assert!(slice.windows(2).all(|pair| pair[0].step < pair[1].step));
        assert!(slice[slice.len() - 64..].iter().all(|point| point.rows == 1.0));
        assert!(slice.len() >= 64 + 20 && slice.iter().all(|point| point.rows <= 100_000.0 / 24.0));
    }
}
