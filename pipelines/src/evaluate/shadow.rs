//! Two versions of a network over the same rows: one as the model of a step, one in its shadow.
//!
//! Nobody has labelled these rows, so it is not asked which alarms are right. It is asked which version knows better what is ordinary:
//! the median error of a network on rows that neither takes for an anomaly, hour by hour, and whether one is better in more of the hours than
//! chance would have it (sign test, two-sided; Dixon and Mood, 1946). Where incidents are known, `thalweg evaluate --data` judges alarms.

use std::path::Path;

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Schema};
use serde::Serialize;
use thalweg_query::{QueryError, Session};

use super::EvaluateError;
use crate::spec::suggest;

const COLUMNS: [&str; 8] = [
    "score",
    "p_value",
    "is_anomaly",
    "model_version",
    "shadow_score",
    "shadow_p_value",
    "shadow_is_anomaly",
    "shadow_version",
];
const WINDOW_START: &str = "window_start";
/// Below it chance is not the reason.
const SIGNIFICANT: f64 = 0.05;

/// Two versions side by side; what is of both is in the order in which they were named.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SideBySide {
    /// Rows of which both said something.
    pub rows: u64,
    /// Those that neither took for an anomaly.
    pub ordinary_rows: u64,
    /// The median score of these, in deviations of what is ordinary for their keys.
    pub ordinary_error: [f64; 2],
    /// Rows that each took for an anomaly.
    pub anomalies: [u64; 2],
    /// Those that both did.
    pub anomalies_of_both: u64,
    /// Hours in which each was the better one.
    pub hours_better: [u64; 2],
    /// How likely the hours would fall out so, or worse, were both alike.
    pub p_value: f64,
}

impl SideBySide {
    /// Which is better, 0 or 1, where more than chance tells.
    pub fn better(&self) -> Option<usize> {
        let [first, second] = self.hours_better;
        (self.p_value < SIGNIFICANT).then_some(usize::from(second > first))
    }
}

/// Compares two versions on what a step wrote of both: rows of `table` in `folder` that have one as `model_version` and the other as
/// `shadow_version`. `time` is the column of their time, where it is not `window_start`.
///
/// # Errors
/// A folder, table or column that is not there; no row of both versions.
pub fn side_by_side(
    folder: &Path,
    table: &str,
    versions: &[String; 2],
    time: Option<&str>,
) -> Result<SideBySide, EvaluateError> {
    let session = Session::open(folder)?;
    // Says, too, which tables there are where this one is not.
    let schema = session.query(&format!("select * from {table} limit 0"))?.schema;
    let time = time.unwrap_or(WINDOW_START);
    check(table, &schema, time)?;
    let [first, second] = versions.each_ref().map(|version| format!("'{}'", version.replace('\'', "''")));
    let time = format!("\"{}\"", time.replace('"', "\"\""));
    let one = |column: &str, shadow: &str| {
        format!("case when model_version = {first} then {column} else {shadow} end")
    };
    let other = |column: &str, shadow: &str| {
        format!("case when model_version = {first} then {shadow} else {column} end")
    };
    let rows = format!(
        "select date_trunc('hour', {time}) as hour, not (is_anomaly or shadow_is_anomaly) as ordinary, \
         {} as error_0, {} as error_1, {} as alarm_0, {} as alarm_1 from {table} \
         where p_value is not null and shadow_p_value is not null \
         and ((model_version = {first} and shadow_version = {second}) or (model_version = {second} and shadow_version = {first}))",
        one("score", "shadow_score"),
        other("score", "shadow_score"),
        one("is_anomaly", "shadow_is_anomaly"),
        other("is_anomaly", "shadow_is_anomaly"),
    );
    let sums = numbers(
        &session,
        &format!(
            "select count(*), count(*) filter (where ordinary), median(error_0) filter (where ordinary), \
             median(error_1) filter (where ordinary), count(*) filter (where alarm_0), count(*) filter (where alarm_1), \
             count(*) filter (where alarm_0 and alarm_1) from ({rows})"
        ),
    )?;
    let hours = numbers(
        &session,
        &format!(
            "select count(*) filter (where a < b), count(*) filter (where b < a) from \
             (select median(error_0) as a, median(error_1) as b from ({rows}) where ordinary group by hour)"
        ),
    )?;
    let count = |value: f64| value as u64;
    if count(sums[0]) == 0 {
        let message = format!(
            "table {table} has no rows of which both {} and {} said something",
            versions[0], versions[1]
        );
        let hint = "run the pipeline with one as the step's model and the other as its shadow".to_owned();
        return Err(EvaluateError::Table { message, hint });
    }
    let hours_better = [count(hours[0]), count(hours[1])];
    Ok(SideBySide {
        rows: count(sums[0]),
        ordinary_rows: count(sums[1]),
        ordinary_error: [sums[2], sums[3]],
        anomalies: [count(sums[4]), count(sums[5])],
        anomalies_of_both: count(sums[6]),
        hours_better,
        p_value: sign_test(hours_better),
    })
}

fn check(table: &str, schema: &Schema, time: &str) -> Result<(), EvaluateError> {
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    if let Some(missing) = COLUMNS.iter().find(|column| !names.contains(column)) {
        let message = format!("table {table} has no column {missing}");
        let hint = "name the output of a step detect that has a shadow".to_owned();
        return Err(EvaluateError::Table { message, hint });
    }
    if !names.contains(&time) {
        let message = format!("table {table} has no column {time}");
        let hint =
            format!("name the column of its rows' time: --time COLUMN, one of {}", suggest::list(&names));
        return Err(EvaluateError::Table { message, hint });
    }
    Ok(())
}

/// The numbers of a query's one row; NaN for null.
fn numbers(session: &Session, sql: &str) -> Result<Vec<f64>, EvaluateError> {
    let result = session.query(sql)?;
    let wrong = |detail: String| EvaluateError::from(QueryError::Sql(detail));
    let batch = result.batches.iter().find(|batch| batch.num_rows() > 0);
    let batch = batch.ok_or_else(|| wrong("a query of sums has no row".to_owned()))?;
    let number = |column: &ArrayRef| {
        let column = cast(column, &DataType::Float64).map_err(|error| wrong(error.to_string()))?;
        Ok(column.as_primitive::<Float64Type>().iter().next().flatten().unwrap_or(f64::NAN))
    };
    batch.columns().iter().map(number).collect()
}

/// How likely so uneven a split is, or a more uneven one, where both sides are as likely.
fn sign_test([first, second]: [u64; 2]) -> f64 {
    let (n, fewer) = ((first + second) as f64, first.min(second));
    // ln of the number of ways to choose k of n, and of 2^n ways in all.
    let mut ways = -n * std::f64::consts::LN_2;
    let mut sum = ways.exp();
    for k in 1..=fewer {
        ways += ((n - k as f64 + 1.0) / k as f64).ln();
        sum += ways.exp();
    }
    (2.0 * sum).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::sign_test;

    #[test]
    fn uneven_splits_are_unlikely() {
        // Of ten tosses, two heads or fewer: 56 of 1,024 ways.
        assert!((sign_test([2, 8]) - 112.0 / 1024.0).abs() < 1e-12);
        assert!((sign_test([8, 2]) - 112.0 / 1024.0).abs() < 1e-12);
        assert_eq!(sign_test([0, 0]), 1.0);
        assert_eq!(sign_test([5, 5]), 1.0);
        assert!(sign_test([0, 24]) < 2e-7);
        assert!((sign_test([4_900, 5_100]) - 0.0466).abs() < 2e-3, "{}", sign_test([4_900, 5_100]));
    }
}
