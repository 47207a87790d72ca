//! Refused rows become records again.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use thalweg_engine::control::Control;
use thalweg_operators::source::Header;

use super::files::Unit;
use super::{Counts, ReinjectError, Sample};
use crate::plan::{Mend, Mended};

/// Characters of a key or value that a preview shows.
const SHOWN_CHARS: usize = 200;

/// A record on its way.
pub(super) struct Outgoing<'a> {
    pub(super) partition: i32,
    pub(super) timestamp_us: Option<i64>,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: &'a [Header<'a>],
}

/// Mends the rows of a unit and hands them over; `None`: stopped in between.
pub(super) fn pass(
    mend: &Mend,
    unit: &Unit,
    control: &Control,
    each: &mut dyn FnMut(&Outgoing<'_>, &Row<'_>) -> Result<(), ReinjectError>,
    advance: &dyn Fn(u64),
) -> Result<Option<Counts>, ReinjectError> {
    let mut counts = Counts::default();
    for file in &unit.files {
        for batch in file.batches()? {
            if control.stop_asked() {
                return Ok(None);
            }
            let batch = batch?;
            let rows = batch.num_rows() as u64;
            let mended = mend.apply(&batch)?;
            counts.read += rows;
            counts.not_selected += rows - mended.rows.num_rows() as u64;
            hand_over(&mended, &mut counts, each)?;
            advance(rows);
        }
    }
    Ok(Some(counts))
}

fn hand_over(
    mended: &Mended,
    counts: &mut Counts,
    each: &mut dyn FnMut(&Outgoing<'_>, &Row<'_>) -> Result<(), ReinjectError>,
) -> Result<(), ReinjectError> {
    let rows = &mended.rows;
    let text = |name: &str| rows[name].as_string::<i32>();
    let bytes = |name: &str| rows[name].as_binary::<i32>();
    let (sources, topics, reasons) = (text("source"), text("topic"), text("reason"));
    let partitions = rows["partition"].as_primitive::<Int32Type>();
    let offsets = rows["offset"].as_primitive::<Int64Type>();
    let timestamps = rows["timestamp"].as_primitive::<TimestampMicrosecondType>();
    let (keys, values) = (bytes("key"), bytes("value"));
    for at in 0..rows.num_rows() {
        let value = mended.value.is_valid(at).then(|| mended.value.value(at));
        if value.is_none() && mended.value_is_set {
            counts.without_value += 1;
            continue;
        }
        let key = mended.key.is_valid(at).then(|| mended.key.value(at));
        let row = Row {
            topic: topics.value(at),
            partition: partitions.value(at),
            offset: offsets.value(at),
            reason: reasons.value(at),
            key: keys.is_valid(at).then(|| keys.value(at)),
            value: values.is_valid(at).then(|| values.value(at)),
        };
        let (partition, offset) = (row.partition.to_string(), row.offset.to_string());
        // Where it came from and why it did not go on stays with the record.
        let headers: [Header<'_>; 5] = [
            ("thalweg.source", Some(sources.value(at).as_bytes())),
            ("thalweg.topic", Some(row.topic.as_bytes())),
            ("thalweg.partition", Some(partition.as_bytes())),
            ("thalweg.offset", Some(offset.as_bytes())),
            ("thalweg.reason", Some(row.reason.as_bytes())),
        ];
        let timestamp_us = timestamps.is_valid(at).then(|| timestamps.value(at));
        each(&Outgoing { partition: row.partition, timestamp_us, key, value, headers: &headers }, &row)?;
        counts.sent += 1;
        counts.mended += u64::from(key != row.key || value != row.value);
    }
    Ok(())
}

/// A refused row, as it was.
pub(super) struct Row<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    reason: &'a str,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
}

impl Row<'_> {
    pub(super) fn sample(&self, record: &Outgoing<'_>) -> Sample {
        Sample {
            topic: self.topic.to_owned(),
            partition: self.partition,
            offset: self.offset,
            reason: self.reason.to_owned(),
            key: record.key.map(shown),
            value_before: self.value.map(shown),
            value: record.value.map(shown),
        }
    }
}

fn shown(bytes: &[u8]) -> String {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => {
            let shown = bytes.iter().take(SHOWN_CHARS).map(|byte| format!("{byte:02x}"));
            format!("\\x{}", shown.collect::<String>())
        }
    };
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
