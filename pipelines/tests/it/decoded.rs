//! Decoded columns beside an archive change what is read, and never a row. (That all kinds of rows, dirty ones too, come out the same is
//! shown in `cases.rs` and `dirty.rs`.)

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::properties::WriterProperties;
use serde_json::json;
use thalweg::archive::{self, DecodeSummary, TrimOptions};
use thalweg::plan::Plan;
use thalweg::run::{Period, RunOptions};
use thalweg_engine::control::Control;
use thalweg_engine::tick::TickLimits;
use thalweg_operators::source::archive::{ArchiveOptions, ArchiveWriter, decoded_of};

use crate::support::{Random, assert_same_rows, broken_off_after, files, job, plan, rows};

/// 2026-03-02T12:00:00Z.
const NOON_MS: i64 = 1_772_452_800_000;
const SECOND_US: i64 = 1_000_000;
const TABLES: [&str; 3] = ["per_minute", "visits", "_late"];

const PIPELINE: &str = r#"
pipeline: decoded
schemas:
  event:
    fields:
      - { name: at, type: timestamp, encoding: ms, required: true }
      - { name: user, type: string }
      - { name: amount, type: int64 }
      - { name: unused, type: string }
sources:
  events:
    archive: { path: "${ARCHIVES}/events" }
    schema: event
    event_time: { field: at, lateness: 5s }
steps:
  per_minute: { from: events, window: { tumbling: 1m }, by: [user], select: { n: count(*), amount: sum(amount), last: last_value(amount) } }
  visits: { from: events, window: { session: 20s }, by: [user], select: { n: count(*), keys: count(distinct _key) } }
sinks:
  per_minute: { from: per_minute, parquet: {} }
  visits: { from: visits, parquet: {} }
"#;

/// Events of an hour and a bit in small files: some in no order, some far too late, some broken.
fn write(folder: &Path, numbers: std::ops::Range<i64>) {
    let options = ArchiveOptions { row_group_rows: 700, file_bytes_max: 20_000, ..ArchiveOptions::default() };
    let mut writer = ArchiveWriter::new(folder.join("events"), options).expect("the archive's folder");
    let mut random = Random(numbers.start.unsigned_abs() + 1);
    for number in numbers {
        let at_ms = NOON_MS + number * 200;
        let event_ms = at_ms - if random.below(50) == 0 { 20_000 } else { random.below(3000) as i64 };
        let value = match random.below(100) {
            0 => Some("{\"at\": ".to_owned()),
            1 => None,
            _ => {
                let user = format!("u{}", random.below(90));
                // Which no column holds.
                let note = format!("{:016x}{:016x}", random.next(), random.next());
                let event =
                    json!({ "at": event_ms, "user": user, "amount": random.below(1000), "note": note });
                Some(event.to_string())
            }
        };
        let key = format!("k{}", random.below(7));
        writer
            .push(
                (number % 3) as i32,
                number / 3,
                at_ms,
                Some(key.as_bytes()),
                value.as_deref().map(str::as_bytes),
                &[],
            )
            .expect("a record");
    }
    writer.finish().expect("the archive");
}

fn decode(plan: &Plan) -> DecodeSummary {
    let mut found = archive::decode(plan, None, &Control::new(), &|_, _| {}).expect("decoded columns");
    assert_eq!(found.len(), 1);
    found.remove(0)
}

fn is_parquet(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "parquet")
}

fn archive_files(folder: &Path) -> Vec<PathBuf> {
    let events = folder.join("events");
    files(&events).into_iter().filter(|path| path.parent() == Some(&events)).collect()
}

/// The archive, and what a job over its payloads writes.
struct Expected {
    folder: tempfile::TempDir,
    plan: Plan,
    tables: Vec<Vec<String>>,
    /// Of all payloads and keys.
    bytes: u64,
}

impl Expected {
    fn new() -> Expected {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write(folder.path(), 0..20_000);
        let plan = plan(PIPELINE, folder.path());
        let mut expected = Expected { folder, plan, tables: Vec::new(), bytes: 0 };
        let output = expected.path("raw");
        expected.bytes = job(&expected.plan, &RunOptions::new(2, &output)).sources[0].bytes;
        expected.tables = tables(&output);
        assert!(expected.tables.iter().all(|rows| rows.len() > 100), "{:?}", expected.tables[2].len());
        expected
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn assert_same(&self, output: &Path) {
        for (at, found) in tables(output).iter().enumerate() {
            assert_same_rows(TABLES[at], &self.tables[at], found);
        }
    }

    /// Runs it again; gives the bytes that were read, of columns fewer than of payloads.
    fn again(&self, name: &str) -> u64 {
        let output = self.path(name);
        let summary = job(&self.plan, &RunOptions::new(2, &output));
        self.assert_same(&output);
        summary.sources[0].bytes
    }
}

fn tables(output: &Path) -> Vec<Vec<String>> {
    TABLES
        .iter()
        .map(
            |table| {
                if table.starts_with('_') {
                    rows(output, &format!("\"{table}\""))
                } else {
                    rows(output, table)
                }
            },
        )
        .collect()
}

#[test]
fn a_job_goes_on_from_a_checkpoint_over_decoded_columns_and_back() {
    let expected = Expected::new();
    let output = expected.path("broken");
    let limits = TickLimits { rows_max: 100, ..TickLimits::default() };
    let mut breaks = 0;
    loop {
        // Payloads, columns, payloads …
        if breaks % 2 == 1 {
            assert_eq!(decode(&expected.plan).decoded, archive_files(expected.folder.path()).len());
        } else if breaks > 0 {
            fs::remove_dir_all(expected.path("events/_decoded")).expect("decoded columns");
        }
        let options = RunOptions { limits, ..RunOptions::new(1 + breaks % 3, &output) };
        if broken_off_after(1 + breaks as u64 % 3, &expected.plan, &options) {
            break;
        }
        breaks += 1;
        assert!(breaks < 300, "the job does not come to an end");
    }
    assert!(breaks >= 3, "broken off {breaks} times only");
    expected.assert_same(&output);
}

#[test]
fn a_period_of_decoded_columns_is_that_of_the_payloads() {
    let expected = Expected::new();
    let from_us = NOON_MS * 1000 + 10 * 60 * SECOND_US;
    let period = Period {
        read_from_us: Some(from_us - 90 * SECOND_US),
        read_to_us: Some(from_us + 660 * SECOND_US),
        from_us: Some(from_us),
        to_us: Some(from_us + 600 * SECOND_US),
    };
    let mut found = Vec::new();
    for way in ["raw", "decoded"] {
        if way == "decoded" {
            decode(&expected.plan);
        }
        let output = expected.path(&format!("period-{way}"));
        let options = RunOptions { period: Some(period), ..RunOptions::new(2, &output) };
        let source = job(&expected.plan, &options).sources.remove(0);
        assert!(source.file_bytes < source.archive_bytes / 2, "{source:?}");
        found.push((tables(&output), [source.read, source.accepted, source.late, source.rejected]));
    }
    assert!(found[0].0[0].len() > 500, "{} rows", found[0].0[0].len());
    assert!(found[0] == found[1], "{:?} and {:?}", found[0].1, found[1].1);
}

#[test]
fn new_files_are_decoded_alone_and_columns_go_with_their_files() {
    let expected = Expected::new();
    let first = decode(&expected.plan);
    assert_eq!((first.decoded, first.there, first.rows), (first.files, 0, 20_000));
    assert!((100..700).contains(&first.refused), "{first:?}");
    write(expected.folder.path(), 20_000..22_000);
    let second = decode(&expected.plan);
    assert_eq!((second.there, second.decoded), (first.files, second.files - first.files));
    assert_eq!((second.rows, second.removed), (2000, 0));
    // Descriptions and units are not what decides; whether a field is required is.
    let described = PIPELINE.replace("name: amount, type: int64", "name: amount, type: int64, unit: USD");
    assert_eq!(decode(&plan(&described, expected.folder.path())).there, second.files);
    let required = PIPELINE.replace("name: amount, type: int64", "name: amount, type: int64, required: true");
    let third = decode(&plan(&required, expected.folder.path()));
    assert_eq!((third.decoded, third.fingerprint == second.fingerprint), (second.files, false));

    let events = expected.path("events");
    let info = archive::info(&events).expect("an archive");
    let held: Vec<(usize, Vec<String>)> =
        info.decoded.iter().map(|content| (content.files, content.fields.clone())).collect();
    assert_eq!(held, vec![(second.files, ["at", "user", "amount", "unused"].map(str::to_owned).to_vec()); 2]);

    let before_us = NOON_MS * 1000 + 30 * 60 * SECOND_US;
    let options = TrimOptions { folder: events.clone(), before_us, exact: true, dry_run: false };
    let trimmed = archive::trim(&options, &Control::new()).expect("an archive");
    assert!(trimmed.files > 0 && trimmed.rewritten == 3, "{trimmed:?}");
    let left = archive_files(expected.folder.path());
    let decoded: Vec<PathBuf> =
        files(&events.join("_decoded")).into_iter().filter(|path| is_parquet(path)).collect();
    assert_eq!(
        decoded.len(),
        2 * (left.len() - trimmed.rewritten),
        "columns without their files: {decoded:?}"
    );
    // Taken away by somebody else.
    fs::remove_file(&left[0]).expect("a file");
    fs::remove_file(&left[1]).expect("a file");
    // What a decoder that was killed has left.
    let left_over = decoded[0].with_file_name(".part-00000.parquet.unfinished");
    fs::write(&left_over, "half of it").expect("a file");
    let fourth = decode(&expected.plan);
    assert!(!left_over.exists());
    assert_eq!(fourth.files, left.len() - 2);
    assert_eq!(fourth.decoded + fourth.there, fourth.files);
    assert_eq!(
        archive::verify(&events, &Control::new(), &|_, _| {}).expect("an archive").findings,
        Vec::new()
    );
}

#[test]
fn large_records_that_are_refused_are_read_again_in_small_pieces() {
    const RECORDS: i64 = 600;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut writer =
        ArchiveWriter::new(folder.path().join("events"), ArchiveOptions::default()).expect("the archive");
    for number in 0..RECORDS {
        // All but the first come too late; a fifth is no JSON.
        let end = if number % 5 == 4 { "" } else { "}" };
        let pad = "x".repeat(60_000 + number as usize);
        let value =
            format!("{{\"at\": {}, \"amount\": 1, \"pad\": \"{pad}\"{end}", NOON_MS - 60_000 * number);
        writer.push(0, number, NOON_MS, None, Some(value.as_bytes()), &[]).expect("a record");
    }
    writer.finish().expect("the archive");
    let plan = plan(PIPELINE, folder.path());
    let mut found = Vec::new();
    for way in ["raw", "decoded"] {
        if way == "decoded" {
            assert_eq!(decode(&plan).refused, RECORDS as u64 / 5);
        }
        let output = folder.path().join(way);
        let source = job(&plan, &RunOptions::new(1, &output)).sources.remove(0);
        assert_eq!((source.accepted, source.rejected), (1, RECORDS as u64 / 5));
        // What is held in memory is counted, or it would have no limit.
        assert!(source.bytes > 35_000_000, "{way}: {source:?}");
        found.push([rows(&output, "\"_late\""), rows(&output, "\"_rejected\"")]);
    }
    assert!(found[0] == found[1], "other rows were refused");
}

/// Writes the rows of a file of columns again, as `change` wants them, with all that its footer says.
fn rewrite(path: &Path, change: impl Fn(RecordBatch) -> RecordBatch) {
    let file = File::open(path).expect("decoded columns");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("a Parquet file");
    let metadata = reader.metadata().clone();
    let entries = metadata.file_metadata().key_value_metadata().cloned().unwrap_or_default();
    let entries = entries.into_iter().filter(|entry| entry.key != "ARROW:schema").collect();
    let rows = metadata.row_groups()[0].num_rows() as usize;
    let properties = WriterProperties::builder()
        .set_key_value_metadata(Some(entries))
        .set_max_row_group_row_count(Some(rows))
        .build();
    let schema = Arc::clone(reader.schema());
    let batches: Vec<RecordBatch> = reader
        .with_batch_size(rows)
        .build()
        .expect("a Parquet file")
        .map(|batch| batch.expect("rows"))
        .collect();
    let mut writer =
        ArrowWriter::try_new(File::create(path).expect("a file"), schema, Some(properties)).expect("a file");
    for batch in batches {
        writer.write(&change(batch)).expect("rows");
        writer.flush().expect("a row group");
    }
    writer.close().expect("a file");
}

#[test]
fn columns_that_do_not_fit_are_left_out_and_verify_tells_of_those_that_lie() {
    let expected = Expected::new();
    decode(&expected.plan);
    let of_columns = expected.again("decoded");
    assert!(of_columns < expected.bytes, "{of_columns} of {}", expected.bytes);
    let archive = archive_files(expected.folder.path());
    let columns: Vec<PathBuf> = archive.iter().map(|path| decoded_of(path).remove(0)).collect();

    // Cut short; of another file; empty; no Parquet; gone.
    let whole = fs::read(&columns[0]).expect("decoded columns");
    fs::write(&columns[0], &whole[..whole.len() / 2]).expect("decoded columns");
    fs::copy(&columns[2], &columns[1]).expect("decoded columns");
    fs::write(&columns[2], "").expect("decoded columns");
    fs::write(&columns[3], "no Parquet at all").expect("decoded columns");
    fs::remove_file(&columns[4]).expect("decoded columns");
    let mixed = expected.again("mixed");
    assert!(of_columns < mixed && mixed < expected.bytes, "{of_columns}, {mixed}, {}", expected.bytes);
    let events = expected.path("events");
    let verify = || archive::verify(&events, &Control::new(), &|_, _| {}).expect("an archive").findings;
    let found = verify();
    assert_eq!(
        found.iter().map(|finding| &finding.file).collect::<Vec<_>>(),
        columns[..4].iter().map(|path| path.to_str().expect("a plain name")).collect::<Vec<_>>()
    );
    assert_eq!(decode(&expected.plan).decoded, 5);
    assert_eq!(verify(), Vec::new());

    // The same file, with one value changed.
    rewrite(&columns[0], |batch| {
        let at = batch.schema().index_of("amount").expect("a column");
        let amounts = batch.column(at).as_primitive::<Int64Type>();
        let changed: Int64Array = amounts
            .iter()
            .enumerate()
            .map(|(row, amount)| if row == 300 { Some(-1) } else { amount })
            .collect();
        assert_ne!(amounts.iter().nth(300).flatten(), Some(-1));
        let mut all = batch.columns().to_vec();
        all[at] = Arc::new(changed);
        RecordBatch::try_new(batch.schema(), all).expect("the same columns")
    });
    let found = verify();
    assert_eq!(found.len(), 1, "{found:?}");
    let said = &found[0].problem;
    assert!(said.contains("they are not what the payloads say; remove this file"), "{said}");

    // Another file in its place: what was decoded before is not its.
    let [own, other] = [&archive[1], &archive[2]].map(|path| fs::read(path).expect("a file"));
    fs::write(&archive[1], other).expect("a file");
    let error = archive::info(&events).expect_err("two files with the same offsets").to_string();
    assert!(error.contains("its rows hold"), "{error}");
    fs::write(&archive[1], own).expect("a file");
    fs::remove_dir_all(events.join("_decoded")).expect("decoded columns");
    assert_eq!(expected.again("removed"), expected.bytes);
}
