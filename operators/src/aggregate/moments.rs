//! Variance, covariance, correlation and regression, from exact sums: n, Σx, Σy, Σx², Σy², Σxy.
//!
//! With Axx = n·Σx² − (Σx)², Ayy likewise, and Axy = n·Σxy − Σx·Σy, all formed exactly in whole numbers:
//!
//! ```text
//!   Sxx  = Axx / n          var_pop   = Axx / n²            slope     = Axy / Axx
//!   Sxy  = Axy / n          var_samp  = Axx / n(n−1)        intercept = (Σy·Σx² − Σx·Σxy) / Axx
//!                           covar     likewise, of Axy      R²        = Axy² / (Axx·Ayy),   corr = ±√R²
//! ```
//!
//! Each is one quotient, rounded once; the roots are within one unit in the last place. Nothing cancels.
//! Source of the definitions: ISO/IEC 9075-2, <aggregate function>; of nulls and constants: DataFusion.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array};
use arrow::datatypes::DataType;

use super::Rows;
use super::bytes::{Reader, read_states, write_states, write_varint};
use super::exact_sum::{ExactSum, ProductSum, Term};
use super::groups::{Family, Picked, Selection};
use super::limbs::Exact;
use super::numbers::Numbers;

/// What to divide by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spread {
    Population,
    Sample,
}

impl Spread {
    /// n² or n(n − 1); `None` where that is 0.
    fn divisor(self, count: u64) -> Option<Exact> {
        let other = match self {
            Spread::Population => count,
            Spread::Sample => count.saturating_sub(1),
        };
        (other > 0).then(|| Exact::of(count).times(&Exact::of(other)))
    }
}

/// n·Σab − Σa·Σb.
fn centred(count: u64, products: &ProductSum, left: &ExactSum, right: &ExactSum) -> Exact {
    Exact::of(count).times(&products.exact()).minus(&left.exact().times(&right.exact()))
}

/// `var_*` and `stddev_*`. The column: Binary, count, Σx and Σx².
pub(super) struct Variance {
    pub(super) spread: Spread,
    /// Whether the result is the root.
    pub(super) root: bool,
}

/// n, Σx and Σx²; not finite where a value wasn't: then Σx says so.
#[derive(Debug, Clone, Default)]
pub(super) struct Univariate {
    count: u64,
    sum: ExactSum,
    squares: ProductSum,
}

impl Univariate {
    #[inline(always)]
    fn add(&mut self, value: f64) {
        self.count += 1;
        match Term::of(value) {
            Some(term) => {
                self.sum.add_finite(term);
                self.squares.add(term, term);
            }
            None => self.sum.add(value),
        }
    }
}

impl Family for Variance {
    type State = Univariate;
    const NAME: &'static str = "var or stddev";

    fn identity(&self) -> Univariate {
        Univariate::default()
    }

    fn update(&self, states: &mut [Univariate], rows: &Rows<'_>) {
        let values = Numbers::of(&rows.arguments[0]).into_floats();
        let selection = Selection::of(rows, rows.arguments);
        selection.for_each_value(rows.groups, &values, |group, value| states[group].add(value));
    }

    fn merge(&self, into: &mut Univariate, from: &Univariate) {
        into.count = into.count.wrapping_add(from.count);
        into.sum.merge(&from.sum);
        into.squares.merge(&from.squares);
    }

    fn state_type(&self) -> DataType {
        DataType::Binary
    }

    fn encode(&self, states: Picked<'_, Univariate>) -> ArrayRef {
        write_states(states, |state, out| {
            write_varint(state.count, out);
            state.sum.write(out);
            state.squares.write(out);
        })
    }

    fn decode(&self, column: &ArrayRef, each: &mut dyn FnMut(usize, Univariate)) -> Result<(), String> {
        read_states(column, each, |bytes| {
            let count = bytes.varint()?;
            let (sum, squares) = (ExactSum::read(bytes)?, read_squares(bytes)?);
            if (count == 0) != sum.is_empty() || (count == 0 && !squares.exact().is_zero()) {
                return Err("count and sums don't belong together".to_owned());
            }
            Ok(Univariate { count, sum, squares })
        })
    }

    fn evaluate(&self, states: Picked<'_, Univariate>) -> ArrayRef {
        let result = |state: &Univariate| {
            let divisor = self.spread.divisor(state.count)?;
            if state.sum.special().is_some() {
                return Some(f64::NAN);
            }
            let spread = centred(state.count, &state.squares, &state.sum, &state.sum);
            Some(if self.root { spread.root_of_quotient(&divisor) } else { spread.round_quotient(&divisor) })
        };
        Arc::new(states.iter().map(result).collect::<Float64Array>())
    }

    fn heap_bytes(&self, state: &Univariate) -> usize {
        state.sum.heap_bytes() + state.squares.heap_bytes()
    }
}

/// Reads a sum of squares.
fn read_squares(bytes: &mut Reader<'_>) -> Result<ProductSum, String> {
    let squares = ProductSum::read(bytes)?;
    if squares.exact().negative {
        return Err("a sum of squares is negative".to_owned());
    }
    Ok(squares)
}

/// A statistic of pairs (y, x).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Statistic {
    Covariance(Spread),
    Correlation,
    Slope,
    Intercept,
    RSquared,
    AverageX,
    AverageY,
    Sxx,
    Syy,
    Sxy,
}

/// Which sums a statistic needs; the others stay zero.
#[derive(Debug, Clone, Copy)]
struct Needs {
    x: bool,
    y: bool,
    xx: bool,
    yy: bool,
    xy: bool,
}

impl Statistic {
    fn needs(self) -> Needs {
        let both = Needs { x: true, y: true, xx: false, yy: false, xy: true };
        let x_only = Needs { x: true, y: false, xx: false, yy: false, xy: false };
        let y_only = Needs { x: false, y: true, ..x_only };
        match self {
            Statistic::Covariance(_) | Statistic::Sxy => both,
            Statistic::Correlation | Statistic::RSquared => Needs { xx: true, yy: true, ..both },
            Statistic::Slope | Statistic::Intercept => Needs { xx: true, ..both },
            Statistic::AverageX => x_only,
            Statistic::AverageY => y_only,
            Statistic::Sxx => Needs { xx: true, ..x_only },
            Statistic::Syy => Needs { yy: true, ..y_only },
        }
    }

    /// The statistic; `None` where it is null.
    fn of(self, pairs: &Bivariate) -> Option<f64> {
        let n = pairs.count;
        if n == 0 {
            return None;
        }
        match self {
            Statistic::AverageX => return Some(pairs.x.mean(n)),
            Statistic::AverageY => return Some(pairs.y.mean(n)),
            _ => {}
        }
        let divisor = match self {
            Statistic::Covariance(spread) => spread.divisor(n)?,
            Statistic::Sxx | Statistic::Syy | Statistic::Sxy => Exact::of(n),
            // A line through one point, and what is built on it, doesn't exist.
            _ if n < 2 => return None,
            _ => Exact::default(),
        };
        if pairs.x.special().is_some() || pairs.y.special().is_some() {
            return Some(f64::NAN);
        }
        let axx = || centred(n, &pairs.xx, &pairs.x, &pairs.x);
        let ayy = || centred(n, &pairs.yy, &pairs.y, &pairs.y);
        let axy = || centred(n, &pairs.xy, &pairs.x, &pairs.y);
        let quotient = |numerator: Exact, divisor: Exact| {
            (!divisor.is_zero()).then(|| numerator.round_quotient(&divisor))
        };
        match self {
            Statistic::Covariance(_) | Statistic::Sxy => Some(axy().round_quotient(&divisor)),
            Statistic::Sxx => Some(axx().round_quotient(&divisor)),
            Statistic::Syy => Some(ayy().round_quotient(&divisor)),
            Statistic::Slope => quotient(axy(), axx()),
            Statistic::Intercept => {
                let (x, y) = (pairs.x.exact(), pairs.y.exact());
                quotient(y.times(&pairs.xx.exact()).minus(&x.times(&pairs.xy.exact())), axx())
            }
            Statistic::RSquared => {
                let axy = axy();
                quotient(axy.times(&axy), axx().times(&ayy()))
            }
            Statistic::Correlation => {
                let (axy, divisor) = (axy(), axx().times(&ayy()));
                let root = (!divisor.is_zero()).then(|| axy.times(&axy).root_of_quotient(&divisor))?;
                Some(if axy.negative { -root } else { root })
            }
            Statistic::AverageX | Statistic::AverageY => unreachable!("invariant: returned above"),
        }
    }
}

/// n and the sums over pairs.
#[derive(Debug, Clone, Default)]
pub(super) struct Bivariate {
    count: u64,
    x: ExactSum,
    y: ExactSum,
    xx: ProductSum,
    yy: ProductSum,
    xy: ProductSum,
}

impl Bivariate {
    #[inline(always)]
    fn add(&mut self, needs: Needs, y: f64, x: f64) {
        self.count += 1;
        if needs.x {
            self.x.add(x);
        }
        if needs.y {
            self.y.add(y);
        }
        let (x, y) = (Term::of(x), Term::of(y));
        if let Some(x) = x
            && needs.xx
        {
            self.xx.add(x, x);
        }
        if let Some(y) = y
            && needs.yy
        {
            self.yy.add(y, y);
        }
        if let (Some(x), Some(y), true) = (x, y, needs.xy) {
            self.xy.add(x, y);
        }
    }
}

/// `covar_*`, `corr` and `regr_*`, of pairs with neither null. The column: Binary, count, Σx, Σy, Σx², Σy² and Σxy.
pub(super) struct Pairs {
    pub(super) statistic: Statistic,
}

impl Family for Pairs {
    type State = Bivariate;
    const NAME: &'static str = "covar, corr or regr";

    fn identity(&self) -> Bivariate {
        Bivariate::default()
    }

    fn update(&self, states: &mut [Bivariate], rows: &Rows<'_>) {
        let y = Numbers::of(&rows.arguments[0]).into_floats();
        let x = Numbers::of(&rows.arguments[1]).into_floats();
        let needs = self.statistic.needs();
        let selection = Selection::of(rows, rows.arguments);
        selection.for_each(|row| states[rows.groups[row] as usize].add(needs, y[row], x[row]));
    }

    fn merge(&self, into: &mut Bivariate, from: &Bivariate) {
        into.count = into.count.wrapping_add(from.count);
        into.x.merge(&from.x);
        into.y.merge(&from.y);
        into.xx.merge(&from.xx);
        into.yy.merge(&from.yy);
        into.xy.merge(&from.xy);
    }

    fn state_type(&self) -> DataType {
        DataType::Binary
    }

    fn encode(&self, states: Picked<'_, Bivariate>) -> ArrayRef {
        write_states(states, |state, out| {
            write_varint(state.count, out);
            state.x.write(out);
            state.y.write(out);
            state.xx.write(out);
            state.yy.write(out);
            state.xy.write(out);
        })
    }

    fn decode(&self, column: &ArrayRef, each: &mut dyn FnMut(usize, Bivariate)) -> Result<(), String> {
        let needs = self.statistic.needs();
        read_states(column, each, |bytes| {
            let state = Bivariate {
                count: bytes.varint()?,
                x: ExactSum::read(bytes)?,
                y: ExactSum::read(bytes)?,
                xx: read_squares(bytes)?,
                yy: read_squares(bytes)?,
                xy: ProductSum::read(bytes)?,
            };
            let some = state.count > 0;
            let fits = |needed: bool, products: &ProductSum| (some && needed) || products.exact().is_zero();
            let products =
                fits(needs.xx, &state.xx) && fits(needs.yy, &state.yy) && fits(needs.xy, &state.xy);
            if state.x.is_empty() == (some && needs.x) || state.y.is_empty() == (some && needs.y) || !products
            {
                return Err("count and sums don't belong together".to_owned());
            }
            Ok(state)
        })
    }

    fn evaluate(&self, states: Picked<'_, Bivariate>) -> ArrayRef {
        Arc::new(states.iter().map(|state| self.statistic.of(state)).collect::<Float64Array>())
    }

    fn heap_bytes(&self, state: &Bivariate) -> usize {
        let sums = state.x.heap_bytes() + state.y.heap_bytes();
        sums + state.xx.heap_bytes() + state.yy.heap_bytes() + state.xy.heap_bytes()
    }
}
