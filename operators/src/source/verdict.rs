//! Which way a row goes: accepted, late or rejected. By its record, its split's watermark and the schema alone.

use arrow::array::{ArrayRef, BooleanArray};
use arrow::compute::filter;
use thalweg_engine::checkpoint::SourceCounts;
use thalweg_engine::watermark::EventTime;
use thalweg_schemas::{Decoder, Reason, Rejection};

use super::refused::{self, RefusedRows};
use super::{EventTimeConfig, Record, SourceConfig};

/// Why a row does not go on.
pub(super) enum Refusal {
    Late(String),
    Rejected(Rejection),
}

// Where lateness is decided. A row that is not accepted leaves nothing in the decoder.
#[inline]
pub(super) fn accept(
    config: &EventTimeConfig,
    watermark: EventTime,
    decoder: &mut Decoder,
    record: &Record<'_>,
) -> Result<EventTime, Refusal> {
    decoder.push(record.value).map_err(Refusal::Rejected)?;
    let time = match config.field {
        Some(field) => decoder.last_timestamp(field),
        None => record.timestamp_us,
    };
    let verdict = judge(config, watermark, time, record.timestamp_us);
    if verdict.is_err() {
        decoder.pop();
    }
    verdict
}

/// The verdict on a row's event time, by the timestamp of its record.
#[inline]
pub(super) fn judge(
    config: &EventTimeConfig,
    watermark: EventTime,
    time: Option<EventTime>,
    stamp: Option<EventTime>,
) -> Result<EventTime, Refusal> {
    let Some(time) = time else { return Err(Refusal::Rejected(refused::event_time_missing())) };
    if let Some(stamp) = stamp
        && time > stamp.saturating_add(config.max_ahead_us)
    {
        return Err(Refusal::Rejected(refused::event_time_ahead(time, stamp)));
    }
    if time < watermark {
        return Err(Refusal::Late(refused::late(time, watermark)));
    }
    Ok(time)
}

pub(super) fn refuse(
    config: &SourceConfig,
    late: &mut RefusedRows,
    rejected: &mut RefusedRows,
    counts: &mut SourceCounts,
    record: &Record<'_>,
    refusal: Refusal,
) {
    let time_field = config.event_time.field.map(|at| config.schema.fields[at].name.as_str());
    match refusal {
        Refusal::Late(detail) => {
            late.push(record, refused::LATE, time_field, &detail);
            counts.late += 1;
        }
        Refusal::Rejected(Rejection { reason, field, detail }) => {
            let about_time = matches!(reason, Reason::EventTimeMissing | Reason::EventTimeAhead);
            let field = field.as_deref().or(time_field.filter(|_| about_time));
            rejected.push(record, reason.as_str(), field, &detail);
            counts.rejected += 1;
        }
    }
}

/// Columns of `rows` rows without some of these, ascending.
pub(super) fn without(columns: &[ArrayRef], rows: usize, unwanted: &[usize]) -> Vec<ArrayRef> {
    let mut wanted = vec![true; rows];
    unwanted.iter().for_each(|row| wanted[*row] = false);
    let wanted = BooleanArray::from(wanted);
    let kept =
        |column: &ArrayRef| filter(column, &wanted).expect("invariant: a filter as long as its column");
    columns.iter().map(kept).collect()
}
