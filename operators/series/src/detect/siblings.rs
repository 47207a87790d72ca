//! What the keys beside a new one show of how far values scatter: what it is judged by until it has a past of its own.
//!
//! Siblings differ in level, and their scatter follows it as a power, a · |level|^b (Taylor, Aggregation, variance and the mean, Nature 189, 1961):
//! b is 1 where it is in proportion, ½ for counts, 0 where it is the same everywhere. The line through the logarithms of the siblings' says how a key
//! scatters whose level lies among theirs, and is raised until nine in ten of them lie below it.

use super::fields::Fields;
use super::numbers::ln;
use crate::bytes::{Reader, StateError, Writer};

/// Siblings, before they tell anything.
const SIBLINGS_MIN: usize = 8;

/// Largest deviations are told as of so many rows: those of normal values grow as √(2 ln n).
const OF_ROWS: f64 = 60.0;

/// Larger ones are none: their squares overflow.
const LARGEST_MAX: f64 = 1e150;

/// The share of siblings that scatter no more than a new key is taken to.
const BELOW: f64 = 0.9;

/// What draws b towards 1, as so much variance of ln |level|: siblings of one level don't show how scatter follows it.
const PULL: f64 = 0.1;

/// How far beyond the siblings' a level may lie: by a factor of 2, its ln.
const BEYOND: f64 = std::f64::consts::LN_2;

/// What a sibling has shown of one input over a while.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sibling {
    /// Values.
    pub rows: f64,
    /// Their mean.
    pub mean: f64,
    /// The least of them.
    pub least: f64,
    /// The greatest.
    pub greatest: f64,
}

/// What the siblings of a key show, input by input.
#[derive(Debug, Clone, PartialEq)]
pub struct Siblings {
    scatters: Vec<Scatter>,
}

impl Siblings {
    /// Of what each sibling has shown, a list an input. The order of siblings means nothing.
    pub fn new(inputs: impl IntoIterator<Item = Vec<Sibling>>) -> Self {
        Siblings { scatters: inputs.into_iter().map(Scatter::of).collect() }
    }

    /// Appends its bytes.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        let mut writer = Writer(bytes);
        for mut scatter in self.scatters.iter().copied() {
            let written = scatter.fields(&mut Fields::Write(&mut writer));
            debug_assert_eq!(written, Ok(()), "writing to memory can't fail");
        }
    }

    /// What [`Siblings::encode`] wrote, of so many inputs.
    ///
    /// # Errors
    /// Bytes that are none.
    pub fn decode(bytes: &[u8], inputs: usize) -> Result<Siblings, StateError> {
        let mut reader = Reader::new(bytes);
        let mut scatters = vec![Scatter::default(); inputs];
        scatters.iter_mut().try_for_each(|scatter| scatter.fields(&mut Fields::Read(&mut reader)))?;
        reader.end()?;
        Ok(Siblings { scatters })
    }

    /// Of one input.
    pub(crate) fn scatter(&self, input: usize) -> Scatter {
        self.scatters.get(input).copied().unwrap_or_default()
    }
}

/// How far values scatter by their level, as siblings show it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Scatter {
    /// Of how many rows the largest deviation is; 0: nothing is known.
    rows: f32,
    /// ln of the largest deviation = height + power · ln |level|.
    height: f32,
    power: f32,
    /// Between which ln |level|.
    from: f32,
    to: f32,
}

/// How far values of a key scatter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Width {
    /// The largest deviation from the level.
    pub largest: f64,
    /// Among so many rows.
    pub rows: f64,
}

impl Scatter {
    fn of(siblings: Vec<Sibling>) -> Scatter {
        let tells = |sibling: &Sibling| {
            let largest = sibling.largest();
            sibling.rows >= Sibling::ROWS_MIN
                && sibling.mean != 0.0
                && largest > 0.0
                && largest <= LARGEST_MAX
        };
        let of_rows =
            |sibling: &Sibling| sibling.largest() * (libm::log(OF_ROWS) / libm::log(sibling.rows)).sqrt();
        let mut points: Vec<(f64, f64)> = siblings
            .iter()
            .filter(|sibling| tells(sibling))
            .map(|sibling| (libm::log(sibling.mean.abs()), libm::log(of_rows(sibling))))
            .collect();
        if points.len() < SIBLINGS_MIN {
            return Scatter::default();
        }
        // Sums are rounded, so their order matters.
        points.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let count = points.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (x, y) = (mean(|point| point.0), mean(|point| point.1));
        let variance = points.iter().map(|point| (point.0 - x) * (point.0 - x)).sum::<f64>() / count;
        let together = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum::<f64>() / count;
        let power = ((together + PULL) / (variance + PULL)).clamp(0.0, 1.0);
        let mut heights: Vec<f64> = points.iter().map(|point| point.1 - power * point.0).collect();
        heights.sort_unstable_by(f64::total_cmp);
        let height = heights[((points.len() - 1) as f64 * BELOW) as usize];
        Scatter {
            rows: OF_ROWS as f32,
            height: height as f32,
            power: power as f32,
            from: (points[0].0 - BEYOND) as f32,
            to: (points[points.len() - 1].0 + BEYOND) as f32,
        }
    }

    /// How far values around a level scatter; `None`: siblings don't tell.
    pub fn at(&self, level: f64) -> Option<Width> {
        if self.rows <= 0.0 || level == 0.0 {
            return None;
        }
        let place = ln(level.abs());
        let within = (f64::from(self.from)..=f64::from(self.to)).contains(&place);
        within.then(|| Width {
            largest: libm::exp(f64::from(self.height) + f64::from(self.power) * place),
            rows: f64::from(self.rows),
        })
    }

    /// Walks over its fields.
    pub fn fields(&mut self, fields: &mut Fields<'_, '_>) -> Result<(), StateError> {
        let all = [&mut self.rows, &mut self.height, &mut self.power, &mut self.from, &mut self.to];
        all.into_iter().try_for_each(|field| fields.f32(field))
    }
}

impl Sibling {
    /// Rows that a sibling has had in the while that is looked at, before it tells anything.
    pub const ROWS_MIN: f64 = 16.0;

    /// The largest deviation from the mean.
    fn largest(&self) -> f64 {
        (self.greatest - self.mean).max(self.mean - self.least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Siblings at levels of 1 to 2^9, whose values go from `1 − part` to `1 + part` times that of `level^power`.
    fn siblings(power: f64, part: f64) -> Vec<Sibling> {
        let sibling = |number: i32| {
            let mean = libm::exp2(f64::from(number % 10));
            let off = part * libm::pow(mean, power) * (1.0 + 0.001 * f64::from(number));
            Sibling { rows: 60.0, mean, least: mean - off, greatest: mean + off }
        };
        (0..40).map(sibling).collect()
    }

    #[test]
    fn scatter_follows_the_level_as_the_siblings_show() {
        for power in [0.0, 0.5, 1.0] {
            let scatter = Scatter::of(siblings(power, 0.3));
            for level in [2.0, 30.0, 200.0] {
                let width = scatter.at(level).unwrap();
                let expected = 0.3 * libm::pow(level, power);
                // Nine in ten lie below it.
                let times = width.largest / expected;
                assert!((1.0..1.35).contains(&times), "{power} at {level}: {width:?}");
            }
        }
        let fixed: Vec<Sibling> =
            siblings(1.0, 0.3).into_iter().filter(|sibling| sibling.mean == 8.0).cycle().take(9).collect();
        assert!((Scatter::of(fixed).power - 1.0).abs() < 1e-6, "one level shows no power");
    }

    #[test]
    fn order_means_nothing() {
        let mut turned = siblings(0.7, 0.1);
        turned.reverse();
        turned.rotate_left(7);
        assert_eq!(Scatter::of(siblings(0.7, 0.1)), Scatter::of(turned));
    }

    #[test]
    fn bytes_hold_all_of_it() {
        let both = Siblings::new([siblings(0.7, 0.1), Vec::new()]);
        let mut bytes = Vec::new();
        both.encode(&mut bytes);
        assert_eq!(Siblings::decode(&bytes, 2), Ok(both));
        assert!(Siblings::decode(&bytes, 3).is_err() && Siblings::decode(&bytes, 1).is_err());
    }

    #[test]
    fn what_does_not_tell_is_not_told() {
        assert_eq!(Scatter::of(siblings(1.0, 0.3)[..7].to_vec()), Scatter::default());
        assert_eq!(Scatter::of(siblings(1.0, 0.0)), Scatter::default());
        let short = siblings(1.0, 0.3).into_iter().map(|sibling| Sibling { rows: 15.0, ..sibling });
        assert_eq!(Scatter::of(short.collect()), Scatter::default());
        let none =
            siblings(1.0, 0.3).into_iter().map(|sibling| Sibling { greatest: f64::INFINITY, ..sibling });
        assert_eq!(Scatter::of(none.collect()), Scatter::default());
        let scatter = Scatter::of(siblings(1.0, 0.3));
        for level in [0.0, 0.4, 1100.0, f64::NAN] {
            assert!(scatter.at(level).is_none(), "{level}");
        }
        assert!(scatter.at(-100.0).is_some(), "levels below 0 are as far from it");
    }
}
