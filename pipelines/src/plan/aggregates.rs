//! The aggregates of the language: their names, for DataFusion's planner as stubs that only parse, and what they mean as
//! functions of [`thalweg_operators::aggregate`]. A new aggregate gets a line in [`AGGREGATES`].

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, ScalarValue, not_impl_err};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use thalweg_operators::aggregate::Function;

use super::messages::Finding;

/// How a call becomes a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// All arguments are columns.
    Plain(Function),
    /// `count`, which alone may be `distinct`.
    Count,
    /// `(x, p)`: p is a constant.
    Quantile,
    /// `(x, k)`: k is a constant.
    TopK,
    /// `(x, limit)`: limit is a constant.
    Collect,
    /// `(x)`: the quantile 0.5.
    Median,
}

/// Name, meaning, and how it is written.
const AGGREGATES: [(&str, Meaning, &str); 45] = [
    ("count", Meaning::Count, "count(*), count(x) or count(distinct x)"),
    ("approx_distinct", Meaning::Plain(Function::CountDistinct), "approx_distinct(x)"),
    ("sum", Meaning::Plain(Function::Sum), "sum(x)"),
    ("avg", Meaning::Plain(Function::Avg), "avg(x)"),
    ("mean", Meaning::Plain(Function::Avg), "mean(x)"),
    ("min", Meaning::Plain(Function::Min), "min(x)"),
    ("max", Meaning::Plain(Function::Max), "max(x)"),
    ("bool_and", Meaning::Plain(Function::BoolAnd), "bool_and(condition)"),
    ("bool_or", Meaning::Plain(Function::BoolOr), "bool_or(condition)"),
    ("bit_and", Meaning::Plain(Function::BitAnd), "bit_and(x)"),
    ("bit_or", Meaning::Plain(Function::BitOr), "bit_or(x)"),
    ("bit_xor", Meaning::Plain(Function::BitXor), "bit_xor(x)"),
    ("var", Meaning::Plain(Function::VarSamp), "var(x)"),
    ("var_samp", Meaning::Plain(Function::VarSamp), "var_samp(x)"),
    ("var_sample", Meaning::Plain(Function::VarSamp), "var_sample(x)"),
    ("var_pop", Meaning::Plain(Function::VarPop), "var_pop(x)"),
    ("var_population", Meaning::Plain(Function::VarPop), "var_population(x)"),
    ("stddev", Meaning::Plain(Function::StddevSamp), "stddev(x)"),
    ("stddev_samp", Meaning::Plain(Function::StddevSamp), "stddev_samp(x)"),
    ("stddev_pop", Meaning::Plain(Function::StddevPop), "stddev_pop(x)"),
    ("covar", Meaning::Plain(Function::CovarSamp), "covar(y, x)"),
    ("covar_samp", Meaning::Plain(Function::CovarSamp), "covar_samp(y, x)"),
    ("covar_pop", Meaning::Plain(Function::CovarPop), "covar_pop(y, x)"),
    ("corr", Meaning::Plain(Function::Corr), "corr(y, x)"),
    ("regr_slope", Meaning::Plain(Function::RegrSlope), "regr_slope(y, x)"),
    ("regr_intercept", Meaning::Plain(Function::RegrIntercept), "regr_intercept(y, x)"),
    ("regr_count", Meaning::Plain(Function::RegrCount), "regr_count(y, x)"),
    ("regr_r2", Meaning::Plain(Function::RegrR2), "regr_r2(y, x)"),
    ("regr_avgx", Meaning::Plain(Function::RegrAvgX), "regr_avgx(y, x)"),
    ("regr_avgy", Meaning::Plain(Function::RegrAvgY), "regr_avgy(y, x)"),
    ("regr_sxx", Meaning::Plain(Function::RegrSxx), "regr_sxx(y, x)"),
    ("regr_syy", Meaning::Plain(Function::RegrSyy), "regr_syy(y, x)"),
    ("regr_sxy", Meaning::Plain(Function::RegrSxy), "regr_sxy(y, x)"),
    ("quantile", Meaning::Quantile, "quantile(x, 0.95)"),
    ("approx_percentile_cont", Meaning::Quantile, "approx_percentile_cont(x, 0.95)"),
    ("median", Meaning::Median, "median(x)"),
    ("approx_median", Meaning::Median, "approx_median(x)"),
    ("first_value", Meaning::Plain(Function::First), "first_value(x)"),
    ("last_value", Meaning::Plain(Function::Last), "last_value(x)"),
    ("arg_min", Meaning::Plain(Function::ArgMin), "arg_min(x, by)"),
    ("arg_max", Meaning::Plain(Function::ArgMax), "arg_max(x, by)"),
    ("top_k", Meaning::TopK, "top_k(x, 10)"),
    ("collect", Meaning::Collect, "collect(x, 100)"),
    ("array_agg", Meaning::Collect, "array_agg(x, 100)"),
    // Not in DataFusion, but what several databases call the same.
    ("approx_quantile", Meaning::Quantile, "approx_quantile(x, 0.95)"),
];

/// The names, in the order of the table.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    AGGREGATES.iter().map(|(name, ..)| *name)
}

/// Functions for DataFusion's planner to find: they parse, and are taken out before anything would run them.
pub(super) fn stubs() -> Vec<Arc<AggregateUDF>> {
    let stub = |name| {
        Arc::new(AggregateUDF::new_from_impl(Stub {
            name,
            signature: Signature::variadic_any(Volatility::Immutable),
        }))
    };
    names().map(stub).collect()
}

/// How a call of `name` with `arguments` is meant: the function, and how many of the arguments are columns (from the
/// first on; the rest are parameters, given as constants where they are).
pub(super) fn function(
    name: &str,
    distinct: bool,
    arguments: usize,
    constant: impl Fn(usize) -> Option<ScalarValue>,
) -> Result<(Function, usize), Finding> {
    let (_, meaning, usage) = AGGREGATES.iter().find(|(each, ..)| *each == name).ok_or_else(|| {
        Finding::new(format!("unknown aggregate \"{name}\""), "write one of the listed ones")
    })?;
    if distinct && *meaning != Meaning::Count {
        return Err(Finding::new(
            format!("{name}(distinct …)"),
            "only count takes distinct; group by the value in a step of its own first",
        ));
    }
    let wanted = match meaning {
        Meaning::Count => arguments,
        Meaning::Median => 1,
        Meaning::Quantile | Meaning::TopK | Meaning::Collect => 2,
        Meaning::Plain(function) => columns_of(*function),
    };
    if arguments != wanted || (distinct && arguments != 1) {
        let hint = format!("write {usage}");
        return Err(Finding::new(format!("{name} is given {arguments} argument{}", plural(arguments)), hint));
    }
    let not_constant = |what: &str| {
        Finding::new(format!("the second argument of {name} must be {what}"), format!("write {usage}"))
    };
    match meaning {
        Meaning::Plain(function) => Ok((*function, wanted)),
        Meaning::Count if distinct => Ok((Function::CountDistinct, 1)),
        Meaning::Count => Ok((Function::Count, wanted)),
        Meaning::Median => Ok((Function::Quantile(0.5), 1)),
        Meaning::Quantile => {
            let share = constant(1).and_then(|value| number(&value));
            let share = share.filter(|share| (0.0..=1.0).contains(share));
            Ok((Function::Quantile(share.ok_or_else(|| not_constant("a constant from 0 to 1"))?), 1))
        }
        Meaning::TopK | Meaning::Collect => {
            let count = constant(1)
                .and_then(|value| number(&value))
                .filter(|count| count.fract() == 0.0 && (1.0..=Function::KEPT_MAX as f64).contains(count));
            let what = format!("a constant whole number from 1 to {}", Function::KEPT_MAX);
            let count = count.ok_or_else(|| not_constant(&what))? as usize;
            Ok((if *meaning == Meaning::TopK { Function::TopK(count) } else { Function::Collect(count) }, 1))
        }
    }
}

/// How many columns a function takes that takes nothing else.
fn columns_of(function: Function) -> usize {
    match function {
        Function::CovarPop | Function::CovarSamp | Function::Corr | Function::ArgMin | Function::ArgMax => 2,
        Function::RegrSlope | Function::RegrIntercept | Function::RegrCount | Function::RegrR2 => 2,
        Function::RegrAvgX
        | Function::RegrAvgY
        | Function::RegrSxx
        | Function::RegrSyy
        | Function::RegrSxy => 2,
        _ => 1,
    }
}

fn number(value: &ScalarValue) -> Option<f64> {
    match value.cast_to(&DataType::Float64) {
        Ok(ScalarValue::Float64(number)) if value.data_type().is_numeric() => number,
        _ => None,
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// A name that DataFusion's planner knows as an aggregate.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Stub {
    name: &'static str,
    signature: Signature,
}

impl AggregateUDFImpl for Stub {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(DataType::Null)
    }

    // Parsed, so that it can be refused with a hint.
    fn supports_null_handling_clause(&self) -> bool {
        true
    }

    fn accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>, DataFusionError> {
        not_impl_err!("{} is computed by the engine's windows", self.name)
    }
}
