//! Curves fitted to what was seen: ten shapes of decay, each by weighted least squares, averaged by how well they fit.
//!
//! ```text
//!   points ─▶ time as a share of what was seen ─▶ for each shape φ: value = a + b φ(time) ─▶ average by fit, each b shrunk by its noise ─▶ Path
//! ```
//!
//! Families of shapes as in Domhan, Springenberg and Hutter (Speeding up automatic hyperparameter optimization by extrapolation of learning
//! curves, IJCAI 2015), without their non-linear parameters: a grid of these takes their place, so that a fit is a closed form. All shapes are
//! functions of time in proportion to what was seen, so that neither the unit of steps nor that of values matters. Weights rise with the
//! sixth power of time: what comes continues the recent past, not the beginning.
//!
//! A few rows of mere noise fit some shape well. So the fits are believed the less, the more neighbouring rows differ: see [`Path::roughness`].

use super::points::{Point, Points};

/// Shapes: the logarithm, five powers, four exponentials.
pub(super) const SHAPES: usize = 10;

/// A square of a coefficient's t statistic at which half of it is believed.
const T_SQUARE_HALF: f64 = 1.0;
/// How much of the foretold change is believed: curves bend more often than they straighten.
const BELIEF: f64 = 0.9;
/// The same for changes to the worse, which seldom go on.
const BELIEF_WORSE: f64 = 0.5;
/// Smoothness (1 less the roughness) from which on the fits are fully believed; below it with its square.
const SMOOTH_ENOUGH: f64 = 0.77;
/// Rows after which half of a last row that is off the fit, and no part of a longer swing, is taken for noise.
const ROWS_HALF: f64 = 5.0;
/// The power of the likelihood by which shapes are averaged: neighbouring rows tell much the same, so half of it counts.
const TEMPER: f64 = 0.5;
/// Residuals below this share of the curve's range are rounding.
const RESIDUAL_FLOOR: f64 = 1e-5;

/// The values of all shapes at a time, in shares of what was seen (above 0).
fn shapes(time: f64) -> [f64; SHAPES] {
    let inverse = 1.0 / time;
    let root = inverse.sqrt();
    let slowest = libm::exp(-1.25 * time);
    let square = slowest * slowest;
    let fourth = square * square;
    [
        -libm::log(time),
        root.sqrt(),
        root,
        inverse,
        inverse * root,
        inverse * inverse,
        slowest,
        square,
        fourth,
        fourth * fourth,
    ]
}

/// Where the steps of a curve lie in time: row 1, 2, … where they are evenly spaced.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Clock {
    /// The first step.
    pub first: f64,
    /// Steps from row to row, on average; above 0.
    pub pace: f64,
    /// The time of the newest row, rows.
    pub rows: f64,
}

impl Clock {
    /// The time of a step, in shares of what was seen.
    pub fn share(&self, step: f64) -> f64 {
        ((step - self.first) / self.pace + 1.0) / self.rows
    }
}

/// How a curve goes on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Path {
    /// Where the curve is now, without noise.
    pub level: f64,
    /// Of each shape's change from now on.
    pub coefficients: [f64; SHAPES],
    now: [f64; SHAPES],
    /// The standard deviation of rows around the fit.
    pub noise: f64,
    /// How much of what the shapes foretell rests on fits that are no chance, 0 to 1.
    pub evidence: f64,
    /// How much neighbouring rows differ: 0 of a smooth curve, 1 of rows that have nothing to do with each other.
    pub roughness: f64,
}

impl Path {
    /// Nothing changes any more.
    pub fn flat(level: f64) -> Self {
        Path {
            level,
            coefficients: [0.0; SHAPES],
            now: shapes(1.0),
            noise: 0.0,
            evidence: 0.0,
            roughness: 1.0,
        }
    }

    /// One that was made before.
    pub fn from_parts(level: f64, coefficients: [f64; SHAPES], noise: f64) -> Self {
        Path { coefficients, noise, ..Path::flat(level) }
    }

    /// The change from now until a time, in shares of what was seen.
    pub fn change(&self, share: f64) -> f64 {
        let then = shapes(share);
        (0..SHAPES).map(|shape| self.coefficients[shape] * (then[shape] - self.now[shape])).sum()
    }

    /// How much of a change is to be believed.
    pub fn believed(change: f64, falling: bool) -> f64 {
        let worse = if falling { change > 0.0 } else { change < 0.0 };
        change * if worse { BELIEF_WORSE } else { BELIEF }
    }
}

/// Room for a fit; nothing in it outlives one.
#[derive(Debug)]
pub(super) struct Fitter {
    shapes: Vec<[f64; SHAPES]>,
    /// The times of points, in shares of what was seen.
    shares: Vec<f64>,
    weights: Vec<f64>,
    values: Vec<f64>,
}

impl Fitter {
    pub fn new() -> Self {
        let room = Points::MAX;
        Fitter {
            shapes: Vec::with_capacity(room),
            shares: Vec::with_capacity(room),
            weights: Vec::with_capacity(room),
            values: Vec::with_capacity(room),
        }
    }

    /// How the curve of these points goes on; at least 3 of them.
    pub fn fit(&mut self, points: &[Point], clock: &Clock) -> Path {
        let last = points.last().map_or(0.0, |point| point.value);
        let Some(unit) = unit(points, last) else { return Path::flat(last) };
        self.shapes.clear();
        self.shares.clear();
        self.weights.clear();
        self.values.clear();
        for point in points {
            let share = clock.share(point.step);
            let cube = share * share * share;
            self.shapes.push(shapes(share));
            self.shares.push(share);
            self.weights.push(point.rows * cube * cube);
            self.values.push(unit.of(point.value));
        }
        let total: f64 = self.weights.iter().sum();
        let degrees = (total * (1.0 - 2.0 / clock.rows)).max(1e-9);
        let value_mean = self.mean(total, |row| self.values[row]);
        let value_square = self.sum(|row| square(self.values[row] - value_mean));

        let (mut slopes, mut means) = ([0.0; SHAPES], [0.0; SHAPES]);
        let (mut residuals, mut sure) = ([0.0; SHAPES], [0.0; SHAPES]);
        for shape in 0..SHAPES {
            let of = |row: usize| self.shapes[row][shape];
            let mean = self.mean(total, of);
            let square_sum = self.sum(|row| square(of(row) - mean)).max(f64::MIN_POSITIVE);
            let cross = self.sum(|row| (of(row) - mean) * (self.values[row] - value_mean));
            let slope = cross / square_sum;
            let residual = (value_square - slope * cross).max(0.0);
            let t_square = slope * slope * square_sum / (residual / degrees + square(RESIDUAL_FLOOR));
            (slopes[shape], means[shape]) = (slope, mean);
            (residuals[shape], sure[shape]) = (residual / total, t_square / (t_square + T_SQUARE_HALF));
        }
        let shares = likelihoods(&residuals, clock.rows);

        let residual_of = |row: usize| {
            let fitted = (0..SHAPES)
                .map(|shape| shares[shape] * slopes[shape] * (self.shapes[row][shape] - means[shape]));
            self.values[row] - value_mean - fitted.sum::<f64>()
        };
        let last_residual = residual_of(points.len() - 1);
        let offset = self.independence(residual_of) * clock.rows / (clock.rows + ROWS_HALF) * last_residual;
        let variance: f64 = (0..SHAPES).map(|shape| shares[shape] * residuals[shape]).sum();
        let roughness = self.roughness();
        let trust = square(((1.0 - roughness) / SMOOTH_ENOUGH).min(1.0));
        let believed = |shape: usize| trust * shares[shape] * slopes[shape] * sure[shape];
        Path {
            level: last - unit.size(offset),
            coefficients: std::array::from_fn(|shape| unit.size(believed(shape))),
            now: shapes(1.0),
            noise: unit.size((variance * total / degrees).sqrt()),
            evidence: trust * (0..SHAPES).map(|shape| shares[shape] * sure[shape]).sum::<f64>(),
            roughness,
        }
    }

    /// Half of the mean squared difference of neighbours over the variance (von Neumann, Annals of Mathematical Statistics 12, 1941), at
    /// most 1. Newer points weigh more, in proportion to time; the last factor is for the variance, which is low for few points.
    fn roughness(&self) -> f64 {
        let (values, weights) = (&self.values, &self.shares);
        let total: f64 = weights.iter().sum();
        let mean = values.iter().zip(weights).map(|(value, weight)| weight * value).sum::<f64>() / total;
        let variance =
            values.iter().zip(weights).map(|(value, weight)| weight * square(value - mean)).sum::<f64>()
                / total;
        let later: f64 = weights.iter().skip(1).sum();
        let steps = values.windows(2).zip(weights.iter().skip(1));
        let difference = steps.map(|(pair, weight)| weight * square(pair[1] - pair[0])).sum::<f64>() / later;
        let few = 1.0 - weights.iter().map(|weight| square(weight / total)).sum::<f64>();
        (0.5 * difference / variance * few).min(1.0)
    }

    fn sum(&self, of: impl Fn(usize) -> f64) -> f64 {
        self.weights.iter().enumerate().map(|(row, weight)| weight * of(row)).sum()
    }

    fn mean(&self, total: f64, of: impl Fn(usize) -> f64) -> f64 {
        self.sum(of) / total
    }

    /// 1 where residuals of neighbouring rows have nothing to do with each other, so that the fit says more of the present than the last
    /// row; 0 where they are the same, so that the last row says all. From their correlation at lag 1.
    fn independence(&self, residual_of: impl Fn(usize) -> f64) -> f64 {
        let (mut product, mut squares, mut before) = (0.0, 0.0, residual_of(0));
        for row in 1..self.weights.len() {
            let residual = residual_of(row);
            product += self.weights[row] * residual * before;
            squares += self.weights[row] * residual * residual;
            before = residual;
        }
        if squares > 0.0 { (1.0 - (product / squares).max(0.0)).max(0.0) } else { 0.0 }
    }
}

fn square(x: f64) -> f64 {
    x * x
}

/// The shapes' shares in the average: by the likelihood of normal residuals, tempered.
fn likelihoods(residuals: &[f64; SHAPES], rows: f64) -> [f64; SHAPES] {
    let log = residuals.map(|residual| -0.5 * TEMPER * rows * libm::log(residual + square(RESIDUAL_FLOOR)));
    let most = log.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let shares = log.map(|log| libm::exp(log - most));
    let total: f64 = shares.iter().sum();
    shares.map(|share| share / total)
}

/// Values in shares of the curve's range, from its last value on.
struct Unit {
    last: f64,
    scale: f64,
    range: f64,
}

/// `None` for a curve of one value. Values are scaled before they are subtracted, so that huge ones don't overflow.
fn unit(points: &[Point], last: f64) -> Option<Unit> {
    let scale = points.iter().map(|point| point.value.abs()).fold(0.0, f64::max);
    if scale == 0.0 {
        return None;
    }
    let scaled = points.iter().map(|point| point.value / scale);
    let (low, high) =
        scaled.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
    (high > low).then_some(Unit { last: last / scale, scale, range: high - low })
}

impl Unit {
    fn of(&self, value: f64) -> f64 {
        (value / self.scale - self.last) / self.range
    }

    fn size(&self, share: f64) -> f64 {
        share * self.range * self.scale
    }
}
