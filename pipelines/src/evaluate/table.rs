//! The rows of a step `detect` in a folder of outputs.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampMicrosecondType};
use thalweg_query::{QueryError, Session};

use super::EvaluateError;
use super::outputs::{OutputRow, OutputSeries};
use crate::spec::suggest;

const WINDOW: [&str; 2] = ["window_start", "window_end"];

/// Reads the alarms of `table` in `folder`, rows in which the column `alarm` is true, by the values of the columns `key`. Where its rows have no window, `time` names the
/// column of their time.
///
/// # Errors
/// A folder, table or column that is not there, or is of another type.
pub fn open(
    folder: &Path,
    table: &str,
    key: &[String],
    time: Option<&str>,
    alarm: &str,
) -> Result<Vec<OutputSeries>, EvaluateError> {
    let session = Session::open(folder)?;
    // Says, too, which tables there are where this one is not.
    let schema = session.query(&format!("select * from {table} limit 0"))?.schema;
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let has = |name: &str| names.contains(&name);
    if !has(alarm) {
        let message = format!("table {table} has no column {alarm}");
        let hint = format!("name the output of a step detect; its columns are {}", suggest::list(&names));
        return Err(EvaluateError::Table { message, hint });
    }
    let [from, to] = match time {
        Some(time) => [time, time],
        None if WINDOW.iter().all(|name| has(name)) => WINDOW,
        None => {
            let message = format!("the rows of table {table} have no window_start and window_end");
            let hint =
                format!("name the column of their time: --time COLUMN, one of {}", suggest::list(&names));
            return Err(EvaluateError::Table { message, hint });
        }
    };
    for name in key.iter().map(String::as_str).chain([from]) {
        if !has(name) {
            let message = format!("table {table} has no column {name}");
            let hint = suggest::hint(name, &names, "its columns are").unwrap_or_default();
            return Err(EvaluateError::Table { message, hint });
        }
    }
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let keys = key.iter().map(|name| format!("cast({} as varchar), ", quoted(name))).collect::<String>();
    let sql = format!("select {keys}{}, {}, {} from {table}", quoted(from), quoted(to), quoted(alarm));
    let mut series: BTreeMap<Vec<String>, Vec<OutputRow>> = BTreeMap::new();
    session.stream(&sql, &mut |batch| {
        take(&batch, key.len(), &mut series).map_err(|error| QueryError::Sql(error.to_string()))?;
        Ok(ControlFlow::Continue(()))
    })?;
    if series.is_empty() {
        let message = format!("table {table} has no rows");
        let hint = format!("run the pipeline into {} first", folder.display());
        return Err(EvaluateError::Table { message, hint });
    }
    Ok(series.into_iter().map(|(key, rows)| OutputSeries { key, rows }).collect())
}

fn take(
    batch: &RecordBatch,
    keys: usize,
    series: &mut BTreeMap<Vec<String>, Vec<OutputRow>>,
) -> Result<(), arrow::error::ArrowError> {
    let texts: Vec<_> =
        (0..keys).map(|at| cast(batch.column(at), &DataType::Utf8)).collect::<Result<_, _>>()?;
    let time = |at: usize| {
        let column = batch.column(at);
        match column.data_type() {
            DataType::Timestamp(_, zone) => {
                let micros = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
                cast(column, &micros).map(|times| {
                    times.as_primitive::<TimestampMicrosecondType>().reinterpret_cast::<Int64Type>()
                })
            }
            other => {
                let message = format!("the time is of type {other}; name a column of timestamps");
                Err(arrow::error::ArrowError::CastError(message))
            }
        }
    };
    let (from, to) = (time(keys)?, time(keys + 1)?);
    let alarms = cast(batch.column(keys + 2), &DataType::Boolean)?;
    let alarms = alarms.as_boolean();
    let mut key = Vec::new();
    for row in 0..batch.num_rows() {
        if from.is_null(row) || to.is_null(row) {
            continue;
        }
        key.clear();
        key.extend(texts.iter().map(|texts| {
            let texts = texts.as_string::<i32>();
            if texts.is_null(row) { "null".to_owned() } else { texts.value(row).to_owned() }
        }));
        let is_anomaly = alarms.is_valid(row) && alarms.value(row);
        let output = OutputRow { from_us: from.value(row), to_us: to.value(row), is_anomaly };
        match series.get_mut(&key) {
            Some(rows) => rows.push(output),
            None => {
                series.insert(key.clone(), vec![output]);
            }
        }
    }
    Ok(())
}
