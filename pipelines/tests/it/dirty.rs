//! Dirty input: what is wrong with a row befalls that row alone.
//!
//! ```text
//!   good rows ─┬──────────▶ archive "good" ──▶ job ──▶ rows A
//!              └─ + dirt ─▶ archive "all"  ──▶ job ──▶ rows = A, whatever the workers
//!                                              └─▶ _rejected, _late = what was planted, byte for byte
//!                             and once more with decoded columns beside the archive: the same
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use thalweg::archive;
use thalweg::run::{RunOptions, Summary};
use thalweg_engine::control::Control;
use thalweg_operators::source::archive::{ArchiveOptions, ArchiveWriter};

use crate::support::{Random, assert_same_rows, files, job, plan, query, rows};

const ROWS: u64 = 300_000;
const PARTITIONS: u64 = 5;
/// 2026-03-02T12:00:00Z.
const START_MS: i64 = 1_772_452_800_000;
const STEP_MS: i64 = 12;
const LATENESS_MS: i64 = 30_000;
const HOUR_MS: i64 = 3_600_000;
const YEAR_1_MS: i64 = -62_135_596_800_000;
const YEAR_9999_MS: i64 = 253_402_214_400_000;

const PIPELINE: &str = r#"
pipeline: dirty
schemas:
  event:
    fields:
      - { name: id, type: uint64, required: true }
      - { name: at, type: timestamp, encoding: ms, required: true }
      - { name: region, type: string, path: user.region, required: true }
      - { name: amount, type: int64 }
      - { name: price, type: decimal, scale: 2 }
      - { name: score, type: float64 }
      - { name: flags, type: list, of: bool }
      - { name: unused, type: int64 }
sources:
  events:
    archive: { path: "${ARCHIVES}/events" }
    schema: event
    event_time: { field: at, lateness: 30s, max_ahead: 1h }
steps:
  per_minute:
    from: events
    window: { tumbling: 1m }
    by: [region]
    select:
      events: count(*)
      ids: count(distinct id)
      amount: sum(amount)
      price: sum(price)
      score: sum(score)
      score_mean: avg(score)
      score_p90: quantile(score, 0.9)
      flags: sum(cardinality(flags))
  visits:
    from: events
    window: { session: 20s }
    by: [{ visitor: amount % 500 }]
    select: { events: count(*), score_max: max(score) }
  accepted:
    from: events
    select: [id, { partition: _partition }, { offset: _offset }]
sinks:
  per_minute: { from: per_minute, parquet: {} }
  visits: { from: visits, parquet: {} }
  accepted: { from: accepted, parquet: {} }
"#;

/// An event's keys and values, as JSON.
type Fields = Vec<(&'static str, String)>;
type Payload = Option<Vec<u8>>;

/// A row that must not go on.
#[derive(Debug, PartialEq, Eq)]
struct Refused {
    reason: String,
    timestamp_us: i64,
    payload: Payload,
}

/// Rows by partition and offset.
type RefusedRows = BTreeMap<(i32, i64), Refused>;

#[derive(Default)]
struct Planted {
    accepted: BTreeSet<(i64, i64)>,
    late: RefusedRows,
    rejected: RefusedRows,
}

/// When a row is written.
struct Now {
    timestamp_ms: i64,
    watermark_ms: i64,
}

fn json(fields: &Fields) -> String {
    let fields: Vec<String> = fields.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
    format!("{{{}}}", fields.join(","))
}

/// A good event.
fn event(id: u64, at_ms: i64, random: &mut Random) -> Fields {
    let regions = ["eu", "us", "Zürich", "北京", ""];
    let region = regions[random.below(regions.len() as u64) as usize];
    let mut fields: Fields = vec![
        ("id", id.to_string()),
        ("at", at_ms.to_string()),
        ("user", format!(r#"{{"region":"{region}","seen":[1,{{"a":null}}]}}"#)),
        ("amount", (random.below(2000) as i64 - 1000).to_string()),
        ("price", format!("{}.{:02}", random.below(100), random.below(100))),
        ("score", (random.unit() * 1e6 - 1e3).to_string()),
        ("flags", "[true,false,null]".to_owned()),
        ("note", r#""fine \u00e9""#.to_owned()),
    ];
    // Unusual, but nothing is wrong with it.
    match id % 1000 {
        1 => set(&mut fields, "amount", "null"),
        2 => fields.retain(|(key, _)| !["price", "flags"].contains(key)),
        3 => fields.push(("note", "\"twice, but nobody asked for it\"".to_owned())),
        4 => set(&mut fields, "note", format!("{}{}", "[".repeat(100), "]".repeat(100))),
        5 => fields.reverse(),
        6 => set(&mut fields, "amount", "1.2e1"),
        7 if id < 3000 => set(&mut fields, "note", format!("\"{}\"", "long ".repeat(800_000))),
        _ => {}
    }
    fields
}

fn set(fields: &mut Fields, key: &str, value: impl Into<String>) {
    let field = fields.iter_mut().find(|(each, _)| *each == key).expect("a field of every event");
    field.1 = value.into();
}

fn with(mut fields: Fields, key: &str, value: impl Into<String>) -> Payload {
    if !fields.iter().any(|(each, _)| *each == key) {
        return Some(json(&fields).replacen('{', &format!("{{\"{key}\":{},", value.into()), 1).into_bytes());
    }
    set(&mut fields, key, value);
    Some(json(&fields).into_bytes())
}

fn without(mut fields: Fields, key: &str) -> Payload {
    fields.retain(|(each, _)| *each != key);
    Some(json(&fields).into_bytes())
}

fn twice(mut fields: Fields, key: &'static str, value: &str) -> Payload {
    fields.push((key, value.to_owned()));
    Some(json(&fields).into_bytes())
}

/// Bytes that are no UTF-8, within a string.
fn bytes(fields: Fields, bytes: &[u8]) -> Payload {
    let mut payload = json(&fields).into_bytes();
    let at = payload.len() - 2;
    payload.splice(at..at, bytes.iter().copied());
    Some(payload)
}

/// All but a part of the end; its length depends on the event's id.
fn truncated(fields: Fields) -> (&'static str, Payload) {
    let whole = json(&fields).into_bytes();
    let id: usize = fields[0].1.parse().unwrap_or(1);
    let part = whole[..id % whole.len()].to_vec();
    let reason = if std::str::from_utf8(&part).is_ok() { "invalid_json" } else { "invalid_utf8" };
    (reason, Some(part))
}

fn nested(fields: Fields, kind: usize) -> Payload {
    let deep = 100_000;
    match kind % 4 {
        0 => with(fields, "note", "[".repeat(deep)),
        1 => with(fields, "note", format!("{}{}", "[".repeat(deep), "]".repeat(deep))),
        2 => with(fields, "amount", format!("{}1{}", "{\"a\":".repeat(deep), "}".repeat(deep))),
        _ => Some("[".repeat(deep).into_bytes()),
    }
}

/// The dirt: what is wrong with a row, and the row.
fn spoil(number: usize, fields: Fields, now: &Now) -> (&'static str, Payload) {
    if number % 300 == 5 {
        return ("invalid_json", nested(fields, number / 300));
    }
    if number % 600 == 11 {
        let long = format!("\"{}\"", "x".repeat(10 << 20));
        return ("too_large", with(fields, if number == 11 { "user" } else { "note" }, long));
    }
    match number % 49 {
        0..=3 => truncated(fields),
        4 => ("wrong_type", with(fields, "amount", "\"12\"")),
        5 => ("wrong_type", with(fields, "amount", "1.5")),
        6 => ("wrong_type", with(fields, "id", "true")),
        7 => ("wrong_type", with(fields, "at", "\"soon\"")),
        8 => ("wrong_type", with(fields, "user", "7")),
        9 => ("wrong_type", with(fields, "user", r#"{"region":[]}"#)),
        10 => ("wrong_type", with(fields, "flags", "[true,1]")),
        11 => ("wrong_type", with(fields, "flags", "{}")),
        12 => ("wrong_type", with(fields, "unused", "\"checked all the same\"")),
        13 => ("missing_field", without(fields, "id")),
        14 => ("missing_field", without(fields, "at")),
        15 => ("missing_field", without(fields, "user")),
        16 => ("missing_field", with(fields, "user", r#"{"region":null}"#)),
        17 => ("missing_field", with(fields, "at", "null")),
        18 => ("missing_field", Some(b"{}".to_vec())),
        19 => ("invalid_utf8", bytes(fields, b"\xff")),
        20 => ("invalid_utf8", bytes(fields, b"\xc0\xaf")),
        21 => ("invalid_utf8", bytes(fields, b"\xe5\x8c")),
        22 => ("invalid_utf8", bytes(fields, b"\xed\xa0\x80")),
        23 => ("invalid_json", with(fields, "note", r#""\ud800""#)),
        24 => ("invalid_json", with(fields, "note", r#""\x41""#)),
        25 => ("invalid_json", with(fields, "score", "NaN")),
        26 => ("invalid_json", with(fields, "amount", "007")),
        27 => ("invalid_json", Some([json(&fields).as_bytes(), b" {}"].concat())),
        28 => ("invalid_json", Some([b"\xef\xbb\xbf", json(&fields).as_bytes()].concat())),
        29 => ("invalid_json", with(fields, "note", "\"a\nb\"")),
        30 => ("invalid_json", Some(vec![0; 16])),
        31 => ("invalid_json", Some(Vec::new())),
        32 => ("invalid_json", Some(b" \n\t".to_vec())),
        33 => ("duplicate_field", twice(fields, "amount", "1")),
        34 => ("duplicate_field", twice(fields, "user", r#"{"region":"eu"}"#)),
        35 => ("duplicate_field", twice(fields, r"am\u006funt", "1")),
        36 => ("duplicate_field", with(fields, "user", r#"{"region":"eu","region":"eu"}"#)),
        37 => ("out_of_range", with(fields, "amount", "9223372036854775808")),
        38 => ("out_of_range", with(fields, "id", "-1")),
        39 => ("out_of_range", with(fields, "price", "1e16")),
        40 => ("out_of_range", with(fields, "score", "1e999")),
        41 => ("out_of_range", with(fields, "at", "9223372036854775807")),
        42 => ("not_an_object", Some([&b"null"[..], b"[1]", b"\"{}\"", b"-3e4"][number / 49 % 4].to_vec())),
        43 => ("no_value", None),
        44 => ("late", with(fields, "at", YEAR_1_MS.to_string())),
        45 => ("late", with(fields, "at", (now.watermark_ms - 1).to_string())),
        46 => ("late", with(fields, "at", (i64::MIN / 1000).to_string())),
        47 => ("event_time_ahead", with(fields, "at", YEAR_9999_MS.to_string())),
        _ => ("event_time_ahead", with(fields, "at", (now.timestamp_ms + HOUR_MS + 1).to_string())),
    }
}

/// Writes the archives `all/events` and `good/events`.
fn plant(folder: &Path) -> Planted {
    let writer = |name: &str| {
        ArchiveWriter::new(folder.join(name).join("events"), ArchiveOptions::default()).expect("an archive")
    };
    let (mut all, mut good) = (writer("all"), writer("good"));
    let mut random = Random(7);
    let mut planted = Planted::default();
    let mut offsets = [0_i64; PARTITIONS as usize];
    let mut highest = [None::<i64>; PARTITIONS as usize];
    let mut dirty = 0;
    for id in 0..ROWS {
        let split = random.below(PARTITIONS) as usize;
        let timestamp_ms = START_MS + id as i64 * STEP_MS;
        // Out of order by at most 20 s, and now and then just not late.
        let watermark_ms = highest[split].map(|highest| highest - LATENESS_MS);
        let at_ms = match watermark_ms {
            Some(watermark_ms) if id % 997 == 0 => watermark_ms,
            _ => timestamp_ms - random.below(20_000) as i64,
        };
        let fields = event(id, at_ms, &mut random);
        let (partition, offset) = (split as i32, offsets[split]);
        offsets[split] += 1;
        let push = |archive: &mut ArchiveWriter, payload: Option<&[u8]>| {
            let key = id.to_string();
            archive
                .push(partition, offset, timestamp_ms, Some(key.as_bytes()), payload, &[])
                .expect("a record");
        };
        match watermark_ms {
            Some(watermark_ms) if id > 1000 && id % 100 == 37 => {
                let (reason, payload) = spoil(dirty, fields, &Now { timestamp_ms, watermark_ms });
                dirty += 1;
                push(&mut all, payload.as_deref());
                let refused =
                    Refused { reason: reason.to_owned(), timestamp_us: timestamp_ms * 1000, payload };
                let side = if reason == "late" { &mut planted.late } else { &mut planted.rejected };
                side.insert((partition, offset), refused);
            }
            _ => {
                let payload = json(&fields);
                push(&mut all, Some(payload.as_bytes()));
                push(&mut good, Some(payload.as_bytes()));
                highest[split] = highest[split].max(Some(at_ms));
                planted.accepted.insert((partition.into(), offset));
            }
        }
    }
    all.finish().expect("the archive of all rows");
    good.finish().expect("the archive of good rows");
    planted
}

fn run(folder: &Path, archives: &str, workers: usize, output: &Path) -> Summary {
    job(&plan(PIPELINE, &folder.join(archives)), &RunOptions::new(workers, output))
}

/// The rows of `_late` or `_rejected`.
fn refused(folder: &Path) -> RefusedRows {
    let mut found = RefusedRows::new();
    for path in files(folder) {
        let file = File::open(&path).expect("a file of a standing output");
        // Few rows at a time: some are of 10 MB.
        let reader =
            ParquetRecordBatchReaderBuilder::try_new(file).expect("a Parquet file").with_batch_size(64);
        for batch in reader.build().expect("a Parquet file") {
            let batch = batch.expect("rows");
            let text = |name: &str, row: usize| batch[name].as_string::<i32>().value(row).to_owned();
            for row in 0..batch.num_rows() {
                let at = (
                    batch["partition"].as_primitive::<Int32Type>().value(row),
                    batch["offset"].as_primitive::<Int64Type>().value(row),
                );
                let value = batch["value"].as_binary::<i32>();
                let refused = Refused {
                    reason: text("reason", row),
                    timestamp_us: batch["timestamp"].as_primitive::<TimestampMicrosecondType>().value(row),
                    payload: value.is_valid(row).then(|| value.value(row).to_vec()),
                };
                assert_eq!([text("source", row), text("topic", row)], ["events", "events"]);
                assert!(!text("detail", row).is_empty() && text("detail", row).len() < 1000, "{at:?}");
                assert_eq!(found.insert(at, refused), None, "{at:?} was refused twice");
            }
        }
    }
    found
}

fn assert_refused(what: &str, found: &RefusedRows, planted: &RefusedRows) {
    let head = |payload: &Payload| {
        let payload = payload.as_deref().unwrap_or(b"(tombstone)");
        format!("{} ({} bytes)", payload[..payload.len().min(300)].escape_ascii(), payload.len())
    };
    for (at, planted) in planted {
        let shown = head(&planted.payload);
        let Some(found) = found.get(at) else {
            panic!("{what}: not refused: {at:?}, {}: {shown}", planted.reason)
        };
        assert_eq!(found.reason, planted.reason, "{what}: {at:?}: {shown}");
        assert_eq!(found.timestamp_us, planted.timestamp_us, "{what}: {at:?}");
        assert!(found.payload == planted.payload, "{what}: {at:?}: {} is not {shown}", head(&found.payload));
    }
    for (at, found) in found {
        let shown = head(&found.payload);
        assert!(planted.contains_key(at), "{what}: {at:?} was refused as {}: {shown}", found.reason);
    }
}

#[test]
fn each_dirty_row_is_accounted_for_and_good_rows_are_unharmed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let planted = plant(folder.path());
    let dirty = planted.late.len() + planted.rejected.len();
    assert!((2900..3100).contains(&dirty), "{dirty} dirty rows");
    let reasons: BTreeSet<&str> = planted.rejected.values().map(|row| row.reason.as_str()).collect();
    assert_eq!(
        reasons.len(),
        10,
        "every reason but event_time_missing, which a required field can't give: {reasons:?}"
    );

    let clean = folder.path().join("clean");
    let summary = run(folder.path(), "good", 2, &clean);
    let accepted = planted.accepted.len() as u64;
    let counts = |summary: &Summary| {
        let source = &summary.sources[0];
        [source.read, source.accepted, source.late, source.rejected]
    };
    assert_eq!(counts(&summary), [accepted, accepted, 0, 0]);

    let mut bytes = Vec::new();
    for (workers, way) in [(1, "raw"), (3, "raw"), (1, "decoded"), (2, "decoded")] {
        if way == "decoded" && bytes.len() == 2 {
            decode_all(&folder.path().join("all"), planted.rejected.len() as u64);
        }
        let output = folder.path().join(format!("{way}-{workers}"));
        let summary = run(folder.path(), "all", workers, &output);
        bytes.push(summary.sources[0].bytes);
        let (late, rejected) = (planted.late.len() as u64, planted.rejected.len() as u64);
        let what = format!("{way}, {workers} workers");
        assert_eq!(counts(&summary), [ROWS, ROWS - late - rejected, late, rejected], "{what}");
        assert_refused("_late", &refused(&output.join("_late")), &planted.late);
        assert_refused("_rejected", &refused(&output.join("_rejected")), &planted.rejected);

        let went_on = query(&output, "select partition, \"offset\" from accepted");
        let number = |row: &serde_json::Map<String, serde_json::Value>, name: &str| {
            row[name].as_i64().expect("a whole number")
        };
        let at: BTreeSet<(i64, i64)> =
            went_on.iter().map(|row| (number(row, "partition"), number(row, "offset"))).collect();
        assert_eq!(went_on.len(), at.len(), "a row went on twice");
        assert!(at == planted.accepted, "other rows were accepted than those planted");

        for table in ["per_minute", "visits", "accepted"] {
            let what = format!("{table}, {what}");
            assert_same_rows(&what, &rows(&clean, table), &rows(&output, table));
        }
    }
    let [raw, _, decoded, also] = bytes[..] else { panic!("four runs: {bytes:?}") };
    assert_eq!(decoded, also);
    assert!(
        decoded < raw,
        "payloads of {raw} bytes were read, then {decoded} bytes: not the decoded columns"
    );
}

/// Decodes the archive; nothing but what a schema refuses is refused.
fn decode_all(archives: &Path, rejected: u64) {
    let plan = plan(PIPELINE, archives);
    let found = archive::decode(&plan, None, &Control::new(), &|_, _| {}).expect("decoded columns");
    assert_eq!((found.len(), found[0].decoded, found[0].rows), (1, found[0].files, ROWS));
    // Rows whose time lies too far ahead can be decoded.
    assert!(found[0].refused > 0 && found[0].refused < rejected, "{found:?}, {rejected} rejected");
    let verified = archive::verify(&archives.join("events"), &Control::new(), &|_, _| {});
    let verified = verified.expect("an archive");
    assert_eq!((verified.findings, verified.decoded), (Vec::new(), found[0].files));
}
