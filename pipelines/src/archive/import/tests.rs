//! Files of each format, read back as archives.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMillisecondArray};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use thalweg_operators::source::archive::list;
use thalweg_operators::source::{ReadRequest, SplitReader};

use super::target::Book;
use super::*;
use crate::archive::record::BOOK as RECORDING;
use crate::archive::{BOOKS, books, resolve};

fn options(folder: &Path, files: &[PathBuf]) -> ImportOptions {
    ImportOptions {
        files: files.to_vec(),
        format: None,
        folder: folder.join("archives/events"),
        key: Some("user.id".to_owned()),
        timestamp: Some("at".to_owned()),
        timestamp_unit: EpochUnit::Millis,
        partition_by: None,
        partitions: 1,
        rejects: None,
        again: false,
    }
}

fn imported(options: &ImportOptions) -> ImportSummary {
    import(options, &Control::new(), &|_| {}).unwrap_or_else(|error| panic!("{error}"))
}

/// Partition, offset, timestamp in ms, key and value of all records.
type Found = (i32, i64, Option<i64>, Option<String>, String);

fn found(folder: &Path) -> Vec<Found> {
    let mut reader = resolve(folder, false).unwrap().unwrap().reader(0, 1).unwrap();
    let partitions: Vec<i32> = reader.splits().iter().map(|split| split.partition).collect();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut found = Vec::new();
    let mut order: Vec<usize> = (0..partitions.len()).collect();
    while !order.is_empty() {
        let request = ReadRequest {
            bytes_max: usize::MAX,
            records_max: usize::MAX,
            wait: Duration::ZERO,
            order: &order,
        };
        let progress = reader
            .read(request, &mut |record| {
                let (key, value) = (record.key.map(text), text(record.value.unwrap()));
                let timestamp_ms = record.timestamp_us.map(|us| us / 1000);
                found.push((partitions[record.split], record.offset, timestamp_ms, key, value));
            })
            .unwrap();
        order.retain(|split| !progress.ended.contains(split));
    }
    found.sort();
    found
}

fn row(offset: i64, timestamp_ms: i64, key: Option<&str>, value: &str) -> Found {
    (0, offset, Some(timestamp_ms), key.map(str::to_owned), value.to_owned())
}

#[test]
fn lines_of_json_are_kept_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let lines = [
        r#"{"at": 1500,  "user": {"id": "a"}, "n": 1.50}"#,
        r#"{"at":"1970-01-01T00:00:02.5Z","user":{"id":7}}"#,
        r#"{"at":3,"user":null}"#,
    ];
    fs::write(&path, format!("{}\r\n\n{}\n{}", lines[0], lines[1], lines[2])).unwrap();
    let options = options(folder.path(), std::slice::from_ref(&path));
    let summary = imported(&options);
    assert_eq!((summary.records, summary.rejected, summary.inputs), (3, 0, 1));
    let expected =
        [row(0, 1500, Some("a"), lines[0]), row(1, 2500, Some("7"), lines[1]), row(2, 3, None, lines[2])];
    assert_eq!(found(&options.folder), expected);

    // Once only, unless it is asked for.
    let error = import(&options, &Control::new(), &|_| {}).unwrap_err().to_string();
    assert!(error.contains("events.jsonl was imported") && error.contains("--again"), "{error}");
    imported(&ImportOptions { again: true, ..options.clone() });
    assert_eq!(found(&options.folder).len(), 6);
    assert_eq!(found(&options.folder)[3], row(3, 1500, Some("a"), lines[0]));
    // Who is told to stop imports nothing.
    let control = Control::new();
    control.stop();
    let stopped = import(&ImportOptions { again: true, ..options.clone() }, &control, &|_| {}).unwrap();
    assert!(stopped.stopped && found(&options.folder).len() == 6);
}

#[test]
fn a_bad_line_is_an_error_with_its_place_or_goes_to_the_rejects() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    fs::write(
        &path,
        b"{\"at\":1}\n{\"at\":\n[1]\n{\"at\":\"soon\"}\n{\"at\":5}\n{\"at\":6,\"x\":\"\xff\"}\n",
    )
    .unwrap();
    let options = options(folder.path(), std::slice::from_ref(&path));
    let error = import(&options, &Control::new(), &|_| {}).unwrap_err().to_string();
    assert!(error.contains("events.jsonl, line 2: it is no JSON") && error.contains("--rejects"), "{error}");
    assert!(resolve(&options.folder, false).unwrap().is_none(), "all or nothing");

    let rejects = folder.path().join("rejects.jsonl");
    let summary = imported(&ImportOptions { rejects: Some(rejects.clone()), ..options.clone() });
    assert_eq!((summary.records, summary.rejected), (2, 4));
    let rejected: Vec<Json> = fs::read_to_string(rejects)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let places: Vec<_> = rejected.iter().map(|row| row["line"].as_u64().unwrap()).collect();
    assert_eq!(places, [2, 3, 4, 6]);
    assert!(rejected[2]["reason"].as_str().unwrap().contains("no timestamp: \"soon\""), "{}", rejected[2]);
}

#[test]
fn a_line_without_an_end_is_bad_and_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let mut file = File::create(&path).unwrap();
    file.write_all(b"{\"at\":1}\n").unwrap();
    for _ in 0..9 {
        file.write_all(&vec![b'['; 1 << 20]).unwrap();
    }
    file.write_all(b"\n{\"at\":3}\n").unwrap();
    let rejects = folder.path().join("rejects.jsonl");
    let options = ImportOptions {
        rejects: Some(rejects.clone()),
        ..options(folder.path(), std::slice::from_ref(&path))
    };
    let summary = imported(&options);
    assert_eq!((summary.records, summary.rejected), (2, 1));
    assert_eq!(found(&options.folder)[1], row(1, 3, None, "{\"at\":3}"));
    let rejected = fs::read_to_string(rejects).unwrap();
    assert!(
        rejected.contains("\"line\":2") && rejected.contains("longer than 8 MiB") && rejected.len() < 2000,
        "{} bytes",
        rejected.len()
    );
}

#[test]
fn a_row_may_be_as_long_as_a_payload() {
    let folder = tempfile::tempdir().unwrap();
    let rejects = folder.path().join("rejects.jsonl");
    let row_of = |bytes: usize| {
        let (begin, end) = ("{\"at\":1,\"x\":\"", "\"}");
        format!("{begin}{}{end}", "x".repeat(bytes - begin.len() - end.len()))
    };
    let longest = row_of(PAYLOAD_BYTES_MAX);
    let path = folder.path().join("events.jsonl");
    let too_long = row_of(PAYLOAD_BYTES_MAX + 1);
    let lines = [longest.as_str(), &too_long, "{\"at\":2}", &longest];
    fs::write(&path, lines.join("\r\n")).unwrap();
    let options = ImportOptions {
        rejects: Some(rejects.clone()),
        ..options(folder.path(), std::slice::from_ref(&path))
    };
    let summary = imported(&options);
    assert_eq!((summary.records, summary.rejected), (3, 1));
    assert_eq!(found(&options.folder)[2], row(2, 1, None, &longest));
    assert!(fs::read_to_string(&rejects).unwrap().contains("\"line\":2"));

    // A row of CSV that is longer only as JSON.
    let path = folder.path().join("events.csv");
    fs::write(&path, format!("at,x\n1,{}\n2,y\n", "x".repeat(PAYLOAD_BYTES_MAX - 10))).unwrap();
    let options = ImportOptions { files: vec![path], ..options };
    let summary = imported(&options);
    assert_eq!((summary.records, summary.rejected), (1, 1));
    let rejected = fs::read_to_string(&rejects).unwrap();
    assert!(rejected.contains("longer than 8 MiB") && rejected.len() < 2000, "{} bytes", rejected.len());
}

#[test]
fn a_file_without_an_end_of_a_row_is_told_and_not_held() {
    // Far more than there is memory; the system keeps nothing of what was not written.
    const FILE_BYTES: u64 = 1 << 40;
    let folder = tempfile::tempdir().unwrap();
    for (name, text, place) in [
        ("events.jsonl", "{\"at\":1}\n{\"at\":2, ", "events.jsonl, line 2: it is longer than 8 MiB"),
        ("quote.csv", "at,note\n1,a\n2,\"open\n3,b\n", "quote.csv can't be imported: line 3: "),
        ("names.csv", "at,note,", "names.csv can't be imported: line 1: "),
    ] {
        let path = folder.path().join(name);
        let mut file = File::create(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.set_len(FILE_BYTES).unwrap();
        let options = options(folder.path(), &[path]);
        let error = import(&options, &Control::new(), &|_| {}).unwrap_err().to_string();
        assert!(error.contains(place), "{error}");
    }
}

#[test]
fn columns_of_csv_are_numbers_only_if_all_their_values_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.csv");
    let text = "at,user.id,code,price,good,note\n\
                1000,u1,007,1.50,true,\"a, \"\"b\"\"\nc\"\n\
                2000,u2,8,,false,\n\
                3000,u3,9,2\n\
                4000,u4,x,-3e2,true,é\n";
    fs::write(&path, text).unwrap();
    let rejects = folder.path().join("rejects.jsonl");
    let options = ImportOptions {
        rejects: Some(rejects.clone()),
        ..options(folder.path(), std::slice::from_ref(&path))
    };
    assert_eq!(imported(&options).rejected, 1);
    let expected = [
        r#"{"at":1000,"user.id":"u1","code":"007","price":1.50,"good":true,"note":"a, \"b\"\nc"}"#,
        r#"{"at":2000,"user.id":"u2","code":"8","price":null,"good":false,"note":null}"#,
        r#"{"at":4000,"user.id":"u4","code":"x","price":-3e2,"good":true,"note":"é"}"#,
    ];
    let expected: Vec<Found> = [(1000, "u1"), (2000, "u2"), (4000, "u4")]
        .into_iter()
        .zip(0..)
        .zip(expected)
        .map(|(((at, key), offset), value)| row(offset, at, Some(key), value))
        .collect();
    assert_eq!(found(&options.folder), expected);
    let rejected = fs::read_to_string(rejects).unwrap();
    assert!(
        rejected.contains("\"line\":5") && rejected.contains("4 fields, and the line of names 6"),
        "{rejected}"
    );
}

#[test]
fn rows_of_parquet_become_objects_spread_over_partitions() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.parquet");
    let rows = 5000_i64;
    let columns: [(&str, ArrayRef); 3] = [
        ("at", Arc::new(TimestampMillisecondArray::from_iter_values((0..rows).map(|at| at * 1000)))),
        ("n", Arc::new(Int64Array::from_iter_values(0..rows))),
        (
            "name",
            Arc::new(StringArray::from_iter((0..rows).map(|n| (n % 2 > 0).then(|| format!("n{}", n % 50))))),
        ),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let files = std::slice::from_ref(&path);
    let in_turns = ImportOptions { key: None, partitions: 4, ..options(folder.path(), files) };
    imported(&in_turns);
    let all = found(&in_turns.folder);
    assert_eq!(all.len(), 5000);
    for (partition, offset, timestamp_ms, key, value) in &all {
        let n = offset * 4 + i64::from(*partition);
        assert_eq!((*timestamp_ms, key), (Some(n * 1000), &None));
        let row: Json = serde_json::from_str(value).unwrap();
        assert_eq!(row["n"].as_i64(), Some(n));
        assert_eq!(row["name"].is_null(), n % 2 == 0, "nulls are there, and null");
    }
    let by_name = ImportOptions {
        key: Some("name".to_owned()),
        partition_by: Some("n".to_owned()),
        folder: folder.path().join("by_name"),
        ..in_turns
    };
    imported(&by_name);
    let all = found(&by_name.folder);
    assert!(all.iter().all(|(partition, .., value)| {
        let row: Json = serde_json::from_str(value).unwrap();
        *partition == partition_of(row["n"].to_string().as_bytes(), 4)
    }));
    assert_eq!(all.iter().filter(|row| row.3.is_some()).count(), 2500);
}

#[test]
fn what_a_crash_left_unpublished_is_published_and_the_rest_thrown_away() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    fs::write(&path, "{\"at\":1}\n").unwrap();
    let options = ImportOptions { key: None, ..options(folder.path(), std::slice::from_ref(&path)) };
    // Broken off before the book: nothing counts.
    let stage = |target: &Target| {
        let mut writer = ArchiveWriter::new(target.staged(), ArchiveOptions::default()).unwrap();
        writer.push(0, 0, 5, None, Some(b"{\"at\":5}"), &[]).unwrap();
        writer.finish().unwrap();
    };
    let target = Target::open(&options).unwrap();
    stage(&target);
    drop(target);
    let target = Target::open(&options).unwrap();
    assert!(!target.staged().exists() && target.ends().unwrap().is_empty());
    // After the book: it does.
    stage(&target);
    let name = list(&target.staged()).unwrap()[0].file_name().unwrap().to_string_lossy().into_owned();
    let book = Book { to_publish: vec![name], ..target.book.clone() };
    books::write(&target.holder.book(BOOK), &book).unwrap();
    assert!(matches!(Target::open(&options), Err(ArchiveError::Busy { .. })));
    drop(target);
    imported(&options);
    let expected = [row(0, 5, None, "{\"at\":5}"), row(1, 1, None, "{\"at\":1}")];
    assert_eq!(found(&options.folder), expected);
    // The last offset there is stays free.
    let mut writer = ArchiveWriter::new(&options.folder, ArchiveOptions::default()).unwrap();
    writer.push(0, i64::MAX - 1, 5, None, Some(b"{}"), &[]).unwrap();
    writer.finish().unwrap();
    let again = ImportOptions { again: true, ..options.clone() };
    let error = import(&again, &Control::new(), &|_| {}).unwrap_err().to_string();
    assert!(error.contains("no offset left in partition 0"), "{error}");
    assert_eq!(found(&options.folder).len(), 3);
    // A recorded topic's offsets are its own.
    fs::write(options.folder.join(BOOKS).join(RECORDING), "{}").unwrap();
    let error = import(&options, &Control::new(), &|_| {}).unwrap_err().to_string();
    assert!(error.contains("is a recording of a topic"), "{error}");
}
