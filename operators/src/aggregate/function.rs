//! The aggregate functions, what they take, and what they give.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::mem::discriminant;

use arrow::datatypes::{DataType, Field};

use super::bits::{BitOperation, Bits};
use super::bounded::Bounded;
use super::count::Count;
use super::distinct::Distinct;
use super::groups::Groups;
use super::min_max::Extremum;
use super::moments::{Pairs, Spread, Statistic, Variance};
use super::numbers::is_number;
use super::ordered::{NoBy, Ordered};
use super::quantile::Quantile;
use super::sum::{FloatAverage, FloatSum, IntegerSum, Outcome};
use super::values::{KeyKind, with_key};
use super::{Accumulator, AggregateError};

/// An aggregate function, with its parameters.
///
/// Nulls are left out, except where it says otherwise; without any value the result is null, except for the counts, which are
/// 0. "Number" is any integer, float or Decimal128; "value" is a number, Boolean, Utf8, Binary, Date32 or Timestamp. Numbers
/// taken as Float64 are rounded to it first. Results don't depend on the order or the partition of the rows.
#[derive(Debug, Clone, Copy)]
pub enum Function {
    /// Rows, or rows whose arguments (of any types) are all set. Int64.
    Count,
    /// Different values. Int64. Exact up to 512, then HyperLogLog: standard error 0.81 %.
    CountDistinct,
    /// The sum of numbers. Int64, UInt64, Float64 or Decimal128(38, scale). Null where the type can't hold an integer or decimal
    /// sum; floats are added without error and rounded once.
    Sum,
    /// The mean of numbers, the exact quotient rounded once. Float64, of decimals too.
    Avg,
    /// The least value: −0 counts as +0, NaN as greater than +∞. The argument's type.
    Min,
    /// The greatest value, in the order of [`Function::Min`]. The argument's type.
    Max,
    /// Whether all Booleans are true. Boolean.
    BoolAnd,
    /// Whether any Boolean is true. Boolean.
    BoolOr,
    /// Bitwise and of integers. The argument's type.
    BitAnd,
    /// Bitwise or of integers. The argument's type.
    BitOr,
    /// Bitwise exclusive or of integers. The argument's type.
    BitXor,
    /// Σ(x − x̄)² / n of numbers taken as Float64, rounded once. Float64; NaN where a value is NaN or infinite.
    VarPop,
    /// Σ(x − x̄)² / (n − 1), as [`Function::VarPop`]; null for n < 2.
    VarSamp,
    /// The root of [`Function::VarPop`].
    StddevPop,
    /// The root of [`Function::VarSamp`].
    StddevSamp,
    /// Σ(x − x̄)(y − ȳ) / n of pairs of numbers with neither null, rounded once. Float64; NaN as in [`Function::VarPop`].
    CovarPop,
    /// Σ(x − x̄)(y − ȳ) / (n − 1), as [`Function::CovarPop`]; null for n < 2.
    CovarSamp,
    /// Pearson's correlation of pairs; null for n < 2 or where x or y is constant.
    Corr,
    /// `regr_slope(y, x)`: Sxy / Sxx; null for n < 2 or where x is constant. So are the intercept and, where y is constant too, R².
    RegrSlope,
    /// `regr_intercept(y, x)`: ȳ − x̄ Sxy / Sxx.
    RegrIntercept,
    /// `regr_count(y, x)`: pairs with neither null. Int64.
    RegrCount,
    /// `regr_r2(y, x)`: Sxy² / (Sxx Syy).
    RegrR2,
    /// `regr_avgx(y, x)`: x̄ over pairs with neither null.
    RegrAvgX,
    /// `regr_avgy(y, x)`: ȳ over pairs with neither null.
    RegrAvgY,
    /// `regr_sxx(y, x)`: Σ(x − x̄)².
    RegrSxx,
    /// `regr_syy(y, x)`: Σ(y − ȳ)².
    RegrSyy,
    /// `regr_sxy(y, x)`: Σ(x − x̄)(y − ȳ).
    RegrSxy,
    /// The value of the nearest rank ⌈p · n⌉ among numbers taken as Float64, NaN the greatest, for a p in 0..=1, which counts to
    /// nine decimals. Float64; ranks 1 and n are exact, others off by at most 0.78 % where 2^−64 ≤ |x| < 2^64, never outside of what
    /// was seen.
    Quantile(f64),
    /// The argument of the first row by (event time, split, offset), whether null or not.
    First,
    /// The argument of the last row by (event time, split, offset), whether null or not.
    Last,
    /// `arg_min(x, by)`: x of the row with the least `by`; of several, the first row's. Rows with a null `by` are left out; a null
    /// x is a result.
    ArgMin,
    /// `arg_max(x, by)`: x of the row with the greatest `by`; of several, the last row's. Nulls as in [`Function::ArgMin`].
    ArgMax,
    /// The k greatest values, each as often as it occurs, descending. A list.
    TopK(usize),
    /// The values ascending, each as often as it occurs, and no more than the limit: the least ones. A list.
    Collect(usize),
}

impl PartialEq for Function {
    fn eq(&self, other: &Function) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl Function {
    /// The most values that [`Function::TopK`] and [`Function::Collect`] keep.
    pub const KEPT_MAX: usize = 65_536;

    fn identity(&self) -> (std::mem::Discriminant<Function>, u64) {
        let parameter = match self {
            Function::Quantile(p) => p.to_bits(),
            Function::TopK(kept) | Function::Collect(kept) => *kept as u64,
            _ => 0,
        };
        (discriminant(self), parameter)
    }

    /// Its name in SQL.
    pub fn name(&self) -> &'static str {
        match self {
            Function::Count => "count",
            Function::CountDistinct => "count(distinct)",
            Function::Sum => "sum",
            Function::Avg => "avg",
            Function::Min => "min",
            Function::Max => "max",
            Function::BoolAnd => "bool_and",
            Function::BoolOr => "bool_or",
            Function::BitAnd => "bit_and",
            Function::BitOr => "bit_or",
            Function::BitXor => "bit_xor",
            Function::VarPop => "var_pop",
            Function::VarSamp => "var_samp",
            Function::StddevPop => "stddev_pop",
            Function::StddevSamp => "stddev_samp",
            Function::CovarPop => "covar_pop",
            Function::CovarSamp => "covar_samp",
            Function::Corr => "corr",
            Function::RegrSlope => "regr_slope",
            Function::RegrIntercept => "regr_intercept",
            Function::RegrCount => "regr_count",
            Function::RegrR2 => "regr_r2",
            Function::RegrAvgX => "regr_avgx",
            Function::RegrAvgY => "regr_avgy",
            Function::RegrSxx => "regr_sxx",
            Function::RegrSyy => "regr_syy",
            Function::RegrSxy => "regr_sxy",
            Function::Quantile(_) => "quantile",
            Function::First => "first_value",
            Function::Last => "last_value",
            Function::ArgMin => "arg_min",
            Function::ArgMax => "arg_max",
            Function::TopK(_) => "top_k",
            Function::Collect(_) => "collect",
        }
    }

    fn takes(&self) -> Takes {
        match self {
            Function::Count => Takes::Anything,
            Function::Sum
            | Function::Avg
            | Function::VarPop
            | Function::VarSamp
            | Function::StddevPop
            | Function::StddevSamp
            | Function::Quantile(_) => Takes::Number,
            Function::CovarPop
            | Function::CovarSamp
            | Function::Corr
            | Function::RegrSlope
            | Function::RegrIntercept
            | Function::RegrCount
            | Function::RegrR2
            | Function::RegrAvgX
            | Function::RegrAvgY
            | Function::RegrSxx
            | Function::RegrSyy
            | Function::RegrSxy => Takes::TwoNumbers,
            Function::BoolAnd | Function::BoolOr => Takes::Boolean,
            Function::BitAnd | Function::BitOr | Function::BitXor => Takes::Integer,
            Function::CountDistinct
            | Function::Min
            | Function::Max
            | Function::First
            | Function::Last
            | Function::TopK(_)
            | Function::Collect(_) => Takes::Value,
            Function::ArgMin | Function::ArgMax => Takes::TwoValues,
        }
    }
}

/// What a function takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    Anything,
    Number,
    TwoNumbers,
    Boolean,
    Integer,
    Value,
    TwoValues,
}

impl Takes {
    fn accepts(self, types: &[DataType]) -> bool {
        let value = |data_type: &DataType| KeyKind::of(data_type).is_some();
        match (self, types) {
            (Takes::Anything, _) => true,
            (Takes::Number, [number]) => is_number(number),
            (Takes::TwoNumbers, [y, x]) => is_number(y) && is_number(x),
            (Takes::Boolean, [boolean]) => boolean == &DataType::Boolean,
            (Takes::Integer, [integer]) => integer.is_integer(),
            (Takes::Value, [kept]) => value(kept),
            (Takes::TwoValues, [kept, by]) => value(kept) && value(by),
            _ => false,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Takes::Anything => "any arguments",
            Takes::Number => "one number: an integer, a float or a Decimal128; cast the argument to one",
            Takes::TwoNumbers => {
                "two numbers (y, x): integers, floats or Decimal128; cast the arguments to these"
            }
            Takes::Boolean => "one Boolean; write a condition, like `status = 'error'`",
            Takes::Integer => "one integer; cast the argument to one",
            Takes::Value => VALUE,
            Takes::TwoValues => TWO_VALUES,
        }
    }
}

const VALUE: &str = "one number, Boolean, Utf8, Binary, Date32 or Timestamp; cast the argument to one";
const TWO_VALUES: &str =
    "two arguments (x, by), each a number, Boolean, Utf8, Binary, Date32 or Timestamp; cast them to these";

/// A function applied to argument types, checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Aggregate {
    function: Function,
    argument_types: Vec<DataType>,
}

impl Aggregate {
    /// Applies a function to arguments of some types.
    ///
    /// # Errors
    /// The function doesn't take these types, or one of its parameters is out of range. The message says what it takes.
    pub fn new(function: Function, argument_types: &[DataType]) -> Result<Aggregate, AggregateError> {
        let parameter = |detail: String| AggregateError::Parameter { function: function.name(), detail };
        match function {
            Function::Quantile(p) if !(0.0..=1.0).contains(&p) => {
                return Err(parameter(format!(
                    "takes a share from 0 to 1, not {p}; write 0.95 for the 95th percentile"
                )));
            }
            Function::TopK(kept) | Function::Collect(kept) if !(1..=Function::KEPT_MAX).contains(&kept) => {
                return Err(parameter(format!("keeps from 1 to {} values, not {kept}", Function::KEPT_MAX)));
            }
            _ => {}
        }
        if !function.takes().accepts(argument_types) {
            return Err(AggregateError::ArgumentTypes {
                function: function.name(),
                takes: function.takes().words(),
                given: argument_types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            });
        }
        Ok(Aggregate { function, argument_types: argument_types.to_vec() })
    }

    /// The type of [`Accumulator::evaluate`].
    pub fn result_type(&self) -> DataType {
        match self.function {
            Function::Count | Function::CountDistinct | Function::RegrCount => DataType::Int64,
            Function::Sum => match &self.argument_types[0] {
                DataType::Decimal128(_, scale) => DataType::Decimal128(38, *scale),
                unsigned if unsigned.is_unsigned_integer() => DataType::UInt64,
                signed if signed.is_signed_integer() => DataType::Int64,
                _ => DataType::Float64,
            },
            Function::TopK(_) | Function::Collect(_) => {
                DataType::List(Field::new_list_field(self.argument_types[0].clone(), true).into())
            }
            Function::BoolAnd
            | Function::BoolOr
            | Function::BitAnd
            | Function::BitOr
            | Function::BitXor
            | Function::Min
            | Function::Max
            | Function::First
            | Function::Last
            | Function::ArgMin
            | Function::ArgMax => self.argument_types[0].clone(),
            _ => DataType::Float64,
        }
    }

    /// Whether a result can be null.
    pub fn nullable(&self) -> bool {
        !matches!(self.function, Function::Count | Function::CountDistinct | Function::RegrCount)
    }

    /// The function.
    pub fn function(&self) -> Function {
        self.function
    }

    /// The types of the arguments.
    pub fn argument_types(&self) -> &[DataType] {
        &self.argument_types
    }

    /// Whether [`super::Rows::order`] matters.
    pub fn needs_order(&self) -> bool {
        matches!(self.function, Function::First | Function::Last | Function::ArgMin | Function::ArgMax)
    }

    /// An accumulator without groups.
    pub fn accumulator(&self) -> Box<dyn Accumulator> {
        let types = &self.argument_types;
        let value = types.first().unwrap_or(&DataType::Null);
        let variance =
            |spread, root| -> Box<dyn Accumulator> { Box::new(Groups::new(Variance { spread, root })) };
        let pairs = |statistic| -> Box<dyn Accumulator> { Box::new(Groups::new(Pairs { statistic })) };
        match self.function {
            // Either way, the rows without a null among the arguments.
            Function::Count | Function::RegrCount => Box::new(Groups::new(Count)),
            Function::CountDistinct => with_key!(value, K => Box::new(Groups::new(Distinct::<K>::new()))),
            Function::Sum => self.sum(Outcome::Sum),
            Function::Avg => self.sum(Outcome::Average),
            Function::Min | Function::BoolAnd => {
                with_key!(value, K => Box::new(Groups::new(Extremum::<K>::new(value, Ordering::Less))))
            }
            Function::Max | Function::BoolOr => {
                with_key!(value, K => Box::new(Groups::new(Extremum::<K>::new(value, Ordering::Greater))))
            }
            Function::BitAnd => self.bits(BitOperation::And),
            Function::BitOr => self.bits(BitOperation::Or),
            Function::BitXor => self.bits(BitOperation::Xor),
            Function::VarPop => variance(Spread::Population, false),
            Function::VarSamp => variance(Spread::Sample, false),
            Function::StddevPop => variance(Spread::Population, true),
            Function::StddevSamp => variance(Spread::Sample, true),
            Function::CovarPop => pairs(Statistic::Covariance(Spread::Population)),
            Function::CovarSamp => pairs(Statistic::Covariance(Spread::Sample)),
            Function::Corr => pairs(Statistic::Correlation),
            Function::RegrSlope => pairs(Statistic::Slope),
            Function::RegrIntercept => pairs(Statistic::Intercept),
            Function::RegrR2 => pairs(Statistic::RSquared),
            Function::RegrAvgX => pairs(Statistic::AverageX),
            Function::RegrAvgY => pairs(Statistic::AverageY),
            Function::RegrSxx => pairs(Statistic::Sxx),
            Function::RegrSyy => pairs(Statistic::Syy),
            Function::RegrSxy => pairs(Statistic::Sxy),
            Function::Quantile(share) => Box::new(Groups::new(Quantile::new(share))),
            Function::First => self.ordered(Ordering::Less),
            Function::Last => self.ordered(Ordering::Greater),
            Function::ArgMin => self.ordered_by(Ordering::Less),
            Function::ArgMax => self.ordered_by(Ordering::Greater),
            Function::TopK(kept) => self.bounded(kept, Ordering::Greater),
            Function::Collect(kept) => self.bounded(kept, Ordering::Less),
        }
    }

    fn bits(&self, operation: BitOperation) -> Box<dyn Accumulator> {
        Box::new(Groups::new(Bits { operation, data_type: self.argument_types[0].clone() }))
    }

    fn ordered(&self, better: Ordering) -> Box<dyn Accumulator> {
        let value = &self.argument_types[0];
        with_key!(value, K => Box::new(Groups::new(Ordered::<NoBy, K>::new(value, value, better))))
    }

    fn ordered_by(&self, better: Ordering) -> Box<dyn Accumulator> {
        let (value, by) = (&self.argument_types[0], &self.argument_types[1]);
        with_key!(by, B => {
            with_key!(value, K => Box::new(Groups::new(Ordered::<B, K>::new(value, by, better))))
        })
    }

    fn bounded(&self, limit: usize, better: Ordering) -> Box<dyn Accumulator> {
        let value = &self.argument_types[0];
        with_key!(value, K => Box::new(Groups::new(Bounded::<K>::new(value, limit, better))))
    }

    fn sum(&self, outcome: Outcome) -> Box<dyn Accumulator> {
        let scale = match &self.argument_types[0] {
            DataType::Decimal128(_, scale) => *scale,
            integer if integer.is_integer() => 0,
            _ if outcome == Outcome::Average => return Box::new(Groups::new(FloatAverage)),
            _ => return Box::new(Groups::new(FloatSum)),
        };
        Box::new(Groups::new(IntegerSum { scale, outcome, sum_type: self.result_type() }))
    }
}
