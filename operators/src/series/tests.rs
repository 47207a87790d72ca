//! Rows go on in an order that no cutting-up changes, and what is known of keys outlives a restart.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::array::{BinaryArray, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Float64Type, SchemaRef};
use thalweg_engine::shard::hash_key;
use thalweg_schemas::time::{TIME_ZONE, timestamp_type};
use thalweg_series::bytes::{Reader, StateError};

use thalweg_series::detect::{Detector, DetectorConfig, Method, Sibling, Siblings};

use super::held::Held;
use super::siblings::Whiles;
use super::states::States;
use super::{DetectModel, Scoring, SeriesConfig};
use crate::keyed::RestoredState;
use crate::keyed::keys::KeyEncoder;

/// A row of a series: key, event time, offset, a column that goes on, a value.
type Row = (&'static str, i64, i64, &'static str, f64);

fn schema() -> SchemaRef {
    let inputs = [
        Field::new(super::AT, timestamp_type(), false),
        Field::new("note", DataType::Utf8, true),
        Field::new("__in_0", DataType::Float64, true),
    ];
    KeyEncoder::new(&[Field::new("key", DataType::Utf8, false)], inputs, true).schema()
}

fn batch(rows: &[Row]) -> RecordBatch {
    let times = || -> ArrayRef {
        let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.1));
        Arc::new(times.with_timezone(TIME_ZONE))
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(UInt64Array::from_iter_values(rows.iter().map(|row| hash_key(row.0.as_bytes())))),
        Arc::new(BinaryArray::from_iter_values(rows.iter().map(|row| row.0.as_bytes()))),
        times(),
        Arc::new(Int64Array::from(vec![0; rows.len()])),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2))),
        times(),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.3))),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.4))),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn released(held: &mut Held, watermark: i64) -> Vec<(String, i64, i64, String, f64)> {
    let mut all = Vec::new();
    let mut released = held.release(watermark, 1).unwrap();
    while let Some(batch) = released.next_batch().unwrap() {
        let keys: &BinaryArray = batch.column(1).as_binary();
        let times = batch.column(2).as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
        let offsets = batch.column(4).as_primitive::<arrow::datatypes::Int64Type>();
        let notes: &StringArray = batch.column(6).as_string();
        let values = batch.column(7).as_primitive::<Float64Type>();
        for row in 0..batch.num_rows() {
            let key = String::from_utf8(keys.value(row).to_vec()).unwrap();
            let note = notes.value(row).to_owned();
            all.push((key, times.value(row), offsets.value(row), note, values.value(row)));
        }
    }
    all
}

const ROWS: [Row; 8] = [
    ("a", 5, 0, "x", 1.0),
    ("b", 3, 1, "x", 2.0),
    ("a", 3, 2, "z", 3.0),
    ("a", 3, 2, "y", 3.0),
    ("a", 9, 3, "x", 4.0),
    ("b", 3, 0, "x", 5.0),
    ("a", 3, 2, "y", -1.0),
    ("b", 8, 9, "x", 6.0),
];

#[test]
fn rows_go_on_in_one_order_however_they_came() {
    let mut whole = Held::new(schema());
    whole.push(batch(&ROWS));
    let (first, second) = (released(&mut whole, 6), released(&mut whole, i64::MAX));
    assert_eq!((first.len(), second.len(), whole.rows()), (6, 2, 0));
    let of_a: Vec<_> =
        first.iter().filter(|row| row.0 == "a").map(|row| (row.1, row.3.as_str(), row.4)).collect();
    assert_eq!(of_a, [(3, "y", -1.0), (3, "y", 3.0), (3, "z", 3.0), (5, "x", 1.0)], "ties go by value");
    let mut pieces = Held::new(schema());
    for row in ROWS.iter().rev() {
        pieces.push(batch(std::slice::from_ref(row)));
    }
    assert_eq!(released(&mut pieces, 6), first);
    // Broken off, and gone on with on three workers.
    let kept = RestoredState { files: vec![pieces.snapshot()], watermark: 6 };
    let mut rest = Vec::new();
    for worker in 0..3 {
        let mut held = Held::new(schema());
        held.restore(&kept, worker, 3).unwrap();
        rest.extend(released(&mut held, i64::MAX));
    }
    let sorted = |mut rows: Vec<(String, i64, i64, String, f64)>| {
        rows.sort_by(|a, b| a.partial_cmp(b).unwrap());
        rows
    };
    assert_eq!(sorted(rest), sorted(second));
}

#[test]
fn rows_that_waited_are_taken_back_under_the_columns_of_now() {
    let mut held = Held::new(schema());
    held.push(batch(&ROWS[..2]));
    let kept = RestoredState { files: vec![held.snapshot()], watermark: 0 };
    let inputs = [
        Field::new(super::AT, timestamp_type(), false),
        Field::new("new", DataType::Int64, false),
        Field::new("note", DataType::Utf8, true),
        Field::new("__in_0", DataType::Float64, true),
    ];
    let now = KeyEncoder::new(&[Field::new("key", DataType::Utf8, false)], inputs, true).schema();
    let mut held = Held::new(now);
    held.restore(&kept, 0, 1).unwrap();
    let batch = held.release(i64::MAX, 1).unwrap().next_batch().unwrap().unwrap();
    assert_eq!(batch.column(6).null_count(), 2, "it was not kept");
    assert_eq!(batch.column(7).as_string::<i32>().value(0), "x");
    // They leave as the rows of now do, whose new column may be required.
    let new = Field::new("new", DataType::Int64, true);
    let config = SeriesConfig {
        name: "s".to_owned(),
        keys: Vec::new(),
        columns: vec![new, Field::new("note", DataType::Utf8, true)],
        inputs: 1,
        forget_after_us: i64::MAX,
        time_zone: None,
        order: false,
    };
    let detector = DetectorConfig {
        method: Method::Mad,
        inputs: 1,
        interval_us: None,
        season_us: None,
        false_alarms: 1.0,
        false_alarms_per_us: 86_400_000_000,
        settle_us: 3_600_000_000,
    };
    let model = DetectModel::new(Detector::new(detector).unwrap(), &["x".to_owned()]);
    let judged = Scoring::new(batch.schema(), model, 1).judge(&batch, &config).unwrap();
    assert_eq!((judged.num_rows(), judged.column(0).null_count()), (2, 2));
}

/// What a key has shown in the while that ends then: its count, mean (its key, too), least and greatest.
fn told(rows: &[(i64, i64, f64, f64, f64)]) -> RecordBatch {
    let numbers = |of: fn(&(i64, i64, f64, f64, f64)) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(rows.iter().map(of)))
    };
    let ends = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.0));
    let counts = Int64Array::from_iter_values(rows.iter().map(|row| row.1));
    let keys = UInt64Array::from_iter_values(rows.iter().map(|row| row.2 as u64));
    RecordBatch::try_from_iter([
        ("hash", Arc::new(UInt64Array::from(vec![0; rows.len()])) as ArrayRef),
        ("key_hash", Arc::new(keys)),
        ("window_end", Arc::new(ends.with_timezone(TIME_ZONE)) as ArrayRef),
        ("count", Arc::new(counts)),
        ("mean", numbers(|row| row.2)),
        ("least", numbers(|row| row.3)),
        ("greatest", numbers(|row| row.4)),
    ])
    .unwrap()
}

#[test]
fn a_key_begins_with_the_last_while_before_its_first_row() {
    let rows = |end: i64, part: f64| -> Vec<_> {
        let levels = (1..=20).map(f64::from);
        levels.map(|level| (end, 60, level, level * (1.0 - part), level * (1.0 + part))).collect()
    };
    let siblings = |part: f64| {
        let sibling = |row: (i64, i64, f64, f64, f64)| Sibling {
            rows: row.1 as f64,
            mean: row.2,
            least: row.3,
            greatest: row.4,
        };
        Siblings::new([rows(0, part).into_iter().map(sibling).collect()])
    };
    let mut whiles = Whiles::new(1);
    let mut second = rows(200, 0.2);
    let rest = second.split_off(9);
    for part in [rest, rows(100, 0.1), second, rows(300, 0.3)] {
        whiles.push(&told(&part));
    }
    whiles.end_before(250);
    assert_eq!(whiles.at(99), None);
    assert_eq!(whiles.at(199), Some(&siblings(0.1)));
    assert_eq!(whiles.at(200), Some(&siblings(0.2)));
    whiles.forget_before(250);
    assert_eq!(whiles.at(199), None, "no row of that time comes any more");
    whiles.end_before(300);
    let mut again = Whiles::new(1);
    let kept =
        RestoredState { files: vec![vec![whiles.snapshot()], vec![whiles.snapshot()]], watermark: 250 };
    again.restore(&kept).unwrap();
    for whiles in [&whiles, &again] {
        assert_eq!((whiles.at(299), whiles.at(300)), (Some(&siblings(0.2)), Some(&siblings(0.3))));
    }
}

fn sums(states: &mut States<f64>, rows: &[(&str, i64, f64)], forget_after_us: i64) -> Vec<f64> {
    let mut all = Vec::new();
    for (key, time, value) in rows {
        let state = states.of((hash_key(key.as_bytes()), key.as_bytes()), *time, forget_after_us, || 0.0);
        *state += value;
        all.push(*state);
    }
    all
}

fn encode(state: &f64, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&state.to_le_bytes());
}

fn decode(bytes: &[u8]) -> Result<f64, StateError> {
    let mut reader = Reader::new(bytes);
    let state = reader.f64()?;
    reader.end()?;
    Ok(state)
}

#[test]
fn a_key_is_forgotten_by_event_time_whether_it_was_swept_away_or_not() {
    let rows = [("a", 0, 1.0), ("b", 5, 1.0), ("a", 10, 1.0), ("a", 21, 1.0), ("b", 100, 1.0)];
    let mut kept = States::default();
    assert_eq!(sums(&mut kept, &rows, 10), [1.0, 1.0, 2.0, 1.0, 1.0]);
    let mut swept = States::default();
    let mut all = Vec::new();
    for row in &rows {
        swept.forget(row.1, 10);
        all.extend(sums(&mut swept, std::slice::from_ref(row), 10));
    }
    assert_eq!(all, [1.0, 1.0, 2.0, 1.0, 1.0]);
    assert_eq!((kept.len(), swept.len()), (2, 1));
}

#[test]
fn what_is_known_goes_on_after_a_restart_from_full_and_partial_files() {
    let names: Vec<String> = (0..20_000).map(|i| format!("key {i}")).collect();
    let row = |at: usize| (names[at].as_str(), at as i64, at as f64);
    let mut states = States::default();
    sums(&mut states, &(0..20_000).map(row).collect::<Vec<_>>(), i64::MAX);
    let (full, first) = states.snapshot(encode).unwrap();
    assert!(full);
    sums(&mut states, &(0..100).map(row).collect::<Vec<_>>(), i64::MAX);
    let (full, second) = states.snapshot(encode).unwrap();
    assert!(!full && second.iter().map(RecordBatch::num_rows).sum::<usize>() == 100);
    assert_eq!(states.snapshot(encode).unwrap().1.len(), 0, "nothing has changed since");
    let files = RestoredState { files: vec![first, second], watermark: 0 };
    let mut keys = 0;
    for worker in 0..3 {
        let mut own: States<f64> = States::default();
        own.restore(&files, worker, 3, decode).unwrap();
        keys += own.len();
        let is_own = |at: &usize| {
            let shard = thalweg_engine::shard::shard_of(hash_key(names[*at].as_bytes()));
            thalweg_engine::shard::worker_of(shard, 3) == worker
        };
        let at: Vec<usize> = (0..20_000).filter(is_own).collect();
        let after = sums(&mut own, &at.iter().map(|at| row(*at)).collect::<Vec<_>>(), i64::MAX);
        let expected: Vec<f64> = at.iter().map(|at| *at as f64 * if *at < 100 { 3.0 } else { 2.0 }).collect();
        assert_eq!(after, expected);
    }
    assert_eq!(keys, 20_000);
    let damaged = RestoredState { files: files.files.clone(), watermark: 0 };
    let refused = States::<f64>::default().restore(&damaged, 0, 1, |_| decode(&[1, 2]));
    assert!(refused.unwrap_err().to_string().contains("in the middle of a value"));
}
