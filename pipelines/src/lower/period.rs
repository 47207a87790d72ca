//! What a backtest writes: results of its period. What was read before it only fills windows, what is read after it completes them.

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use thalweg_engine::control::JobError;
use thalweg_operators::rows::TIME;

use crate::run::Period;

/// The rows of a stream whose event time lies in the period; `None`: none does. Windows that end with the period belong to it: the event
/// time of a result is one microsecond before the window's end.
pub(super) fn of_results(
    period: Option<Period>,
) -> impl Fn(RecordBatch) -> Result<Option<RecordBatch>, JobError> + 'static {
    of(period, TIME)
}

/// The refused records of the period; those without a timestamp too.
pub(super) fn of_records(
    period: Option<Period>,
) -> impl Fn(RecordBatch) -> Result<Option<RecordBatch>, JobError> + 'static {
    of(period, "timestamp")
}

fn of(
    period: Option<Period>,
    column: &'static str,
) -> impl Fn(RecordBatch) -> Result<Option<RecordBatch>, JobError> + 'static {
    move |batch| {
        let Some(Period { from_us, to_us, .. }) = period.filter(|p| p.from_us.is_some() || p.to_us.is_some())
        else {
            return Ok(Some(batch));
        };
        let times = batch.column_by_name(column).ok_or_else(|| format!("there is no column {column}"))?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let inside = |time: i64| from_us.is_none_or(|from| time >= from) && to_us.is_none_or(|to| time < to);
        let shown: BooleanArray = times.iter().map(|time| Some(time.is_none_or(inside))).collect();
        let rows = filter_record_batch(&batch, &shown)?;
        Ok((rows.num_rows() > 0).then_some(rows))
    }
}
