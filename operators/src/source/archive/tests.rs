//! Archives written here and by others, read back; and what is said of those that can't be.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, Int32Array, Int64Array, LargeBinaryArray, StringArray, TimestampMicrosecondArray,
    TimestampNanosecondArray, TimestampSecondArray, UInt64Array,
};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::*;
use crate::source::reader::{Header, ReadProgress, ReadRequest, SplitReader};

mod decoded;

/// A record, owned.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    partition: i32,
    offset: i64,
    timestamp_us: Option<i64>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

fn config(path: &Path) -> ArchiveConfig {
    ArchiveConfig {
        source_name: "calls".into(),
        path: path.into(),
        topic: None,
        headers: true,
        decoded: None,
    }
}

fn small() -> ArchiveOptions {
    ArchiveOptions {
        compression: ArchiveCompression::Lz4,
        row_group_rows: 700,
        file_bytes_max: 20_000,
        ..ArchiveOptions::default()
    }
}

/// Reads a worker's splits to their end, `records_max` and `bytes_max` at a time, the least read split first.
fn read_worker(
    plan: &ArchivePlan,
    worker: usize,
    workers: usize,
    max: (usize, usize),
) -> Result<Vec<Row>, SourceError> {
    let mut reader = plan.reader(worker, workers)?;
    let infos = reader.splits().to_vec();
    let mut rows: Vec<Row> = Vec::new();
    let mut order: Vec<usize> = (0..infos.len()).collect();
    while !order.is_empty() {
        let request =
            ReadRequest { records_max: max.0, bytes_max: max.1, wait: Duration::ZERO, order: &order };
        let progress = reader.read(request, &mut |record| {
            let owned = |(name, value): &Header<'_>| (name.to_string(), value.map(<[u8]>::to_vec));
            rows.push(Row {
                partition: infos[record.split].partition,
                offset: record.offset,
                timestamp_us: record.timestamp_us,
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                headers: record.headers.iter().map(owned).collect(),
            });
        })?;
        assert!(progress.records <= max.0);
        assert!(
            progress.records > 0 || !progress.ended.is_empty(),
            "a call that neither reads nor ends would loop"
        );
        order.retain(|split| !progress.ended.contains(split));
        if !order.is_empty() {
            order.rotate_left(1);
        }
    }
    Ok(rows)
}

fn read_all(path: &Path) -> Result<Vec<Row>, SourceError> {
    let mut rows = read_worker(&config(path).resolve()?, 0, 1, (1000, usize::MAX))?;
    rows.sort_by_key(|row| (row.partition, row.offset));
    Ok(rows)
}

fn sample(partitions: i32, rows: i64) -> Vec<Row> {
    let row = |i: i64| Row {
        partition: (i * 7 % i64::from(partitions)) as i32,
        offset: i * 3,
        timestamp_us: (i % 13 != 0).then_some((1_768_000_000_000 + i * 17) * 1000),
        key: (i % 5 != 0).then(|| format!("key-{}", i % 97).into_bytes()),
        value: (i % 11 != 0)
            .then(|| format!("{{\"i\":{i},\"pad\":\"{}\"}}", "x".repeat((i % 40) as usize)).into_bytes()),
        headers: (0..i % 3).map(|h| (format!("h{h}"), (h == 0).then(|| vec![h as u8, 255]))).collect(),
    };
    let mut rows: Vec<Row> = (0..rows).map(row).collect();
    rows.sort_by_key(|row| (row.partition, row.offset));
    rows
}

fn write(path: &Path, rows: &[Row], options: ArchiveOptions) -> ArchiveSummary {
    let mut writer = ArchiveWriter::new(path, options).unwrap();
    for row in rows {
        let headers: Vec<Header<'_>> =
            row.headers.iter().map(|(name, value)| (&**name, value.as_deref())).collect();
        let timestamp_ms = row.timestamp_us.map(|us| us / 1000);
        let (key, value) = (row.key.as_deref(), row.value.as_deref());
        writer.push(row.partition, row.offset, timestamp_ms, key, value, &headers).unwrap();
    }
    writer.finish().unwrap()
}

/// A file as another tool would write it.
fn write_foreign(path: &Path, columns: Vec<(&str, ArrayRef)>, statistics: EnabledStatistics) {
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, of)| (name, of, true)))
            .unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(3))
        .set_statistics_enabled(statistics)
        .build();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn ints(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn text(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

#[test]
fn what_was_written_is_read_back_by_any_number_of_workers() {
    let folder = tempfile::tempdir().unwrap();
    let rows = sample(5, 30_000);
    for compression in [ArchiveCompression::Lz4, ArchiveCompression::Zstd(1)] {
        let path = folder.path().join(format!("{compression:?}"));
        let summary = write(&path, &rows, ArchiveOptions { compression, ..small() });
        assert_eq!(summary.records, 30_000);
        let plan = config(&path).resolve().unwrap();
        assert_eq!(plan.files() as u64, summary.files);
        assert!(summary.files > 5, "files roll over at file_bytes_max");
        assert_eq!(plan.rows(), 30_000);
        assert_eq!(plan.splits().iter().map(|split| split.number).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert_eq!(plan.splits()[0].topic.as_ref(), format!("{compression:?}"));
        let end =
            |partition| rows.iter().filter(|row| row.partition == partition).map(|row| row.offset + 1).max();
        assert!(plan.ends().eq((0..5).map(|partition| (partition, end(partition).unwrap()))));
        for (workers, max) in
            [(1, (usize::MAX, usize::MAX)), (2, (777, usize::MAX)), (3, (usize::MAX, 5000)), (7, (1, 1))]
        {
            let mut read = Vec::new();
            for worker in 0..workers {
                read.extend(read_worker(&plan, worker, workers, max).unwrap());
            }
            read.sort_by_key(|row| (row.partition, row.offset));
            assert!(read == rows, "{workers} workers, at most {max:?}");
        }
    }
}

#[test]
fn a_file_of_several_partitions_by_another_tool_is_read() {
    let folder = tempfile::tempdir().unwrap();
    for (name, statistics) in [("with", EnabledStatistics::Page), ("without", EnabledStatistics::None)] {
        let path = folder.path().join(name);
        std::fs::create_dir(&path).unwrap();
        let timestamps = TimestampNanosecondArray::from(vec![1_999, -1, 0, 1_000, 5_000, 9_999, 10_000]);
        let first = vec![
            ("value", text(&["a", "b", "c", "d", "e", "f", "g"])),
            ("partition", ints(&[2, 9, 2, 9, 2, 2, 9])),
            ("offset", Arc::new(UInt64Array::from(vec![4, 0, 5, 1, 9, 10, 2])) as ArrayRef),
            ("timestamp", Arc::new(timestamps) as ArrayRef),
        ];
        write_foreign(&path.join("zebra.parquet"), first, statistics);
        let binary: ArrayRef = Arc::new(LargeBinaryArray::from_opt_vec(vec![Some(&b"\xff"[..]), None]));
        let second = vec![
            ("partition", ints(&[2, 2])),
            ("offset", ints(&[11, 30])),
            ("timestamp", Arc::new(TimestampSecondArray::from(vec![Some(7), None])) as ArrayRef),
            ("key", text(&["k", "l"])),
            ("value", binary),
        ];
        write_foreign(&path.join("ant.parquet"), second, statistics);
        let plan = config(&path).resolve().unwrap();
        let ahead: Vec<_> =
            plan.splits().iter().map(|split| (split.partition, split.records_ahead)).collect();
        assert_eq!(ahead, [(2, Some(6)), (9, Some(3))]);
        assert!(plan.ends().eq([(2, 31), (9, 3)]));
        let short = |row: Row| (row.partition, row.offset, row.timestamp_us, row.value, row.key);
        let read: Vec<_> = read_all(&path).unwrap().into_iter().map(short).collect();
        let value = |bytes: &[u8]| Some(bytes.to_vec());
        let expected = [
            (2, 4, Some(1), value(b"a"), None),
            (2, 5, Some(0), value(b"c"), None),
            (2, 9, Some(5), value(b"e"), None),
            (2, 10, Some(9), value(b"f"), None),
            (2, 11, Some(7_000_000), value(b"\xff"), value(b"k")),
            (2, 30, None, None, value(b"l")),
            (9, 0, Some(-1), value(b"b"), None),
            (9, 1, Some(1), value(b"d"), None),
            (9, 2, Some(10), value(b"g"), None),
        ];
        assert_eq!(read, expected, "{name} statistics");
    }
}

#[test]
fn offsets_that_do_not_ascend_are_refused_with_file_and_row() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, partitions: &[i64], offsets: &[i64]| {
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![0; offsets.len()]));
        let values = text(&vec!["{}"; offsets.len()]);
        let columns = vec![
            ("partition", ints(partitions)),
            ("offset", ints(offsets)),
            ("timestamp", times),
            ("value", values),
        ];
        write_foreign(&folder.path().join(name), columns, EnabledStatistics::Page);
    };
    let refused = || read_all(folder.path()).unwrap_err().to_string();

    file("a.parquet", &[0; 5], &[1, 2, 3, 4, 4]);
    assert!(
        refused().contains("a.parquet")
            && refused().contains("row 4 (counted from 0) has offset 4 after offset 4")
    );
    file("a.parquet", &[0, 1, 0, 1, 0], &[1, 50, 2, 51, 0]);
    assert!(refused().contains("row 4 (counted from 0) has offset 0 after offset 2"), "{}", refused());
    file("a.parquet", &[0; 3], &[1, 2, 3]);
    file("b.parquet", &[0; 3], &[3, 4, 5]);
    assert!(
        refused().contains("b.parquet is not") && refused().contains("a.parquet holds those up to 3"),
        "{}",
        refused()
    );
    file("b.parquet", &[0; 3], &[-3, -2, -1]);
    assert!(refused().contains("b.parquet") && refused().contains("negative offset -3"), "{}", refused());
}

#[test]
fn offsets_beyond_those_of_topics_are_refused_before_anything_is_read() {
    for statistics in [EnabledStatistics::Page, EnabledStatistics::None] {
        for (offsets, told) in [
            ([i64::MIN, 0], "partition 7 has the negative offset -9223372036854775808"),
            ([-1, 0], "partition 7 has the negative offset -1"),
            ([0, i64::MAX], "partition 7 has offset 9223372036854775807"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let columns =
                vec![("partition", ints(&[7, 7])), ("offset", ints(&offsets)), ("value", text(&["{}"; 2]))];
            write_foreign(&folder.path().join("a.parquet"), columns, statistics);
            let error = config(folder.path()).resolve().unwrap_err();
            assert!(matches!(error, SourceError::NotAnArchive { .. }), "{error}");
            assert!(error.to_string().contains("a.parquet") && error.to_string().contains(told), "{error}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let columns =
        vec![("partition", ints(&[7, 7])), ("offset", ints(&[0, i64::MAX - 1])), ("value", text(&["{}"; 2]))];
    write_foreign(&folder.path().join("a.parquet"), columns, EnabledStatistics::Page);
    assert_eq!(read_all(folder.path()).unwrap().len(), 2);
}

#[test]
fn a_damaged_file_is_an_error_that_names_it_and_never_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let rows = sample(1, 3000);
    write(folder.path(), &rows, ArchiveOptions { file_bytes_max: u64::MAX, ..small() });
    let path = inspect::list(folder.path()).unwrap().remove(0);
    let whole = std::fs::read(&path).unwrap();
    for length in [0, 3, 100, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = read_all(folder.path()).unwrap_err().to_string();
        assert!(error.contains("part-00000-00000000000000000000-") && error.contains("damaged"), "{error}");
    }
    let mut refused = 0;
    for step in 0..400 {
        let mut bytes = whole.clone();
        let at = step * 7919 % bytes.len();
        bytes[at] ^= 1 << (step % 8);
        std::fs::write(&path, &bytes).unwrap();
        refused += usize::from(read_all(folder.path()).is_err());
    }
    assert!(refused > 50, "{refused} of 400 flipped bits were seen");
}

#[test]
fn a_name_that_contradicts_the_rows_and_a_missing_column_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &sample(1, 10), small());
    let path = inspect::list(folder.path()).unwrap().remove(0);
    let renamed = |name: &str| {
        let to = folder.path().join(name);
        std::fs::rename(&path, &to).unwrap();
        let error = read_all(folder.path()).unwrap_err().to_string();
        std::fs::rename(&to, &path).unwrap();
        error
    };
    assert!(renamed("part-00001-00000000000000000000.parquet").contains("its rows hold partition 0"));
    assert!(renamed("part-00000-00000000000000000007.parquet").contains("its rows hold offsets from 0 on"));
    let shorter = "part-00000-00000000000000000000-00000000000000000026.parquet";
    assert!(renamed(shorter).contains("its rows hold offsets up to 27"));
    assert_eq!(read_all(folder.path()).unwrap().len(), 10);
    let without_end = folder.path().join("part-00000-00000000000000000000.parquet");
    std::fs::rename(&path, &without_end).unwrap();
    assert_eq!(read_all(folder.path()).unwrap().len(), 10, "a name may leave the last offset out");
    std::fs::rename(&without_end, &path).unwrap();

    let columns =
        vec![("partition", Arc::new(Int32Array::from(vec![0])) as ArrayRef), ("offset", ints(&[1]))];
    write_foreign(&folder.path().join("other.parquet"), columns.clone(), EnabledStatistics::Page);
    let error = read_all(folder.path()).unwrap_err().to_string();
    assert!(error.contains("it has no column value (it has partition, offset)"), "{error}");
    let columns = [columns, vec![("value", ints(&[5]))]].concat();
    write_foreign(&folder.path().join("other.parquet"), columns, EnabledStatistics::Page);
    let error = read_all(folder.path()).unwrap_err().to_string();
    assert!(error.contains("its column value is of type Int64, not binary or text"), "{error}");

    let empty = tempfile::tempdir().unwrap();
    assert!(config(empty.path()).resolve().unwrap_err().to_string().contains("no file ending in .parquet"));
    assert!(matches!(config(&empty.path().join("none")).resolve(), Err(SourceError::Io { .. })));
}

#[test]
fn a_request_is_met_to_the_record_and_the_splits_are_taken_in_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = ArchiveWriter::new(folder.path(), small()).unwrap();
    for offset in 0..10 {
        writer.push(0, offset, 0_i64, None, Some(&[b'x'; 10]), &[]).unwrap();
        writer.push(1, offset, 0_i64, None, Some(&[b'y'; 10]), &[]).unwrap();
    }
    assert!(matches!(
        writer.push(1, 9, 0_i64, None, None, &[]),
        Err(ArchiveWriteError::Offset { last: 9, .. })
    ));
    writer.finish().unwrap();
    let mut reader = config(folder.path()).resolve().unwrap().reader(0, 1).unwrap();
    let mut read = |records_max, bytes_max, order: &[usize]| {
        let mut seen = Vec::new();
        let request = ReadRequest { records_max, bytes_max, wait: Duration::ZERO, order };
        let progress = reader.read(request, &mut |record| seen.push((record.split, record.offset))).unwrap();
        (progress, seen)
    };
    let (progress, seen) = read(3, usize::MAX, &[1, 0]);
    assert_eq!(progress, ReadProgress { records: 3, bytes: 30, ended: vec![] });
    assert_eq!(seen, [(1, 0), (1, 1), (1, 2)]);
    // The record with which the bytes are reached is the last one.
    let (progress, seen) = read(usize::MAX, 11, &[0, 1]);
    assert_eq!((progress.bytes, seen), (20, vec![(0, 0), (0, 1)]));
    // A split that ends gives way to the next one; its end is said with its last record.
    let (progress, seen) = read(9, usize::MAX, &[1, 0]);
    assert_eq!((progress.ended, seen.len(), seen[6], seen[7]), (vec![1], 9, (1, 9), (0, 2)));
    let (progress, _) = read(6, usize::MAX, &[0]);
    assert_eq!(progress, ReadProgress { records: 6, bytes: 60, ended: vec![0] });
}

#[test]
fn large_values_are_decoded_few_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = ArchiveWriter::new(folder.path(), ArchiveOptions::default()).unwrap();
    for offset in 0..12 {
        writer.push(0, offset, 0_i64, None, Some(&vec![b'a' + offset as u8; 3 << 20]), &[]).unwrap();
    }
    writer.finish().unwrap();
    let mut reader = config(folder.path()).resolve().unwrap().reader(0, 1).unwrap();
    let mut seen = 0;
    for _ in 0..12 {
        let request =
            ReadRequest { records_max: 1, bytes_max: usize::MAX, wait: Duration::ZERO, order: &[0] };
        reader.read(request, &mut |record| seen += record.value.map_or(0, <[u8]>::len)).unwrap();
        assert!(reader.decoded_rows_max() <= 2, "a batch of 3 MiB values holds one or two");
    }
    assert_eq!(seen, 12 * (3 << 20));
}

#[test]
fn a_file_tells_what_it_holds_and_its_hash_tells_a_flipped_bit() {
    let folder = tempfile::tempdir().unwrap();
    let rows = sample(2, 5000);
    write(folder.path(), &rows, ArchiveOptions { row_group_bytes: 4000, ..small() });
    let contents = config(folder.path()).resolve().unwrap().contents().unwrap();
    assert!(contents.iter().any(|content| content.row_groups > 1), "{contents:?}");
    for content in &contents {
        let of = |row: &&Row| {
            row.partition == content.partition
                && (content.first_offset..=content.last_offset).contains(&row.offset)
        };
        let within: Vec<&Row> = rows.iter().filter(of).collect();
        assert_eq!(content.rows, within.len() as u64);
        let times = || within.iter().filter_map(|row| row.timestamp_us);
        assert_eq!(content.timestamps_us, Some((times().min().unwrap(), times().max().unwrap())));
        let hash = |change: usize| {
            let mut hash = RowsHash::default();
            for (at, row) in within.iter().enumerate() {
                let headers: Vec<Header<'_>> =
                    row.headers.iter().map(|(name, value)| (&**name, value.as_deref())).collect();
                let timestamp_ms = row.timestamp_us.map(|us| us / 1000 + i64::from(at == change));
                hash.add(row.offset, timestamp_ms, row.key.as_deref(), row.value.as_deref(), &headers);
            }
            hash.to_string()
        };
        assert_eq!(content.rows_hash, Some(hash(usize::MAX)));
        let timed = within.iter().position(|row| row.timestamp_us.is_some()).unwrap();
        assert_ne!(content.rows_hash, Some(hash(timed)));
    }
}

#[test]
fn files_are_closed_by_age_and_what_was_not_closed_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer =
        ArchiveWriter::new(folder.path(), ArchiveOptions { durable: true, ..ArchiveOptions::default() })
            .unwrap();
    for offset in [3, 4, 9] {
        writer.push(1, offset, None, None, Some(b"x"), &[]).unwrap();
    }
    writer.close_older_than(Duration::from_secs(3600)).unwrap();
    assert_eq!(writer.summary().files, 0);
    writer.close_older_than(Duration::ZERO).unwrap();
    assert_eq!(writer.summary().files, 1);
    writer.close_older_than(Duration::ZERO).unwrap();
    for offset in 10..3000 {
        writer.push(1, offset, None, None, Some(b"y"), &[]).unwrap();
    }
    drop(writer);
    let names: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["part-00001-00000000000000000003-00000000000000000009.parquet"]);
    assert!(config(folder.path()).resolve().unwrap().ends().eq([(1, 10)]));
    assert!(is_left_over(".part-00001-00000000000000000010.parquet.tmp"));
}

#[test]
fn a_piece_is_what_lies_between_two_times_as_kafka_finds_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut rows = sample(3, 9_000);
    // Timestamps jump to and fro; where one is missing, the record belongs to where it lies.
    for (index, row) in rows.iter_mut().enumerate() {
        let jump = if index % 50 == 7 { 4_000_000 } else { 0 };
        row.timestamp_us = row.timestamp_us.map(|us| us + jump);
    }
    write(folder.path(), &rows, ArchiveOptions { row_group_rows: 100, ..small() });
    let base = 1_768_000_000_000_000;
    let times =
        [None, Some(base - 1), Some(base + 30_000_000), Some(base + 90_017_000), Some(base + 900_000_000)];
    for (from, to) in times.iter().flat_map(|from| times.iter().map(move |to| (*from, *to))) {
        let mut plan = config(folder.path()).resolve().unwrap();
        plan.between(from, to).unwrap();
        let mut found = read_worker(&plan, 0, 1, (1000, usize::MAX)).unwrap();
        found.sort_by_key(|row| (row.partition, row.offset));
        let first = |partition: i32, us: i64| {
            let at = |row: &&Row| row.partition == partition && row.timestamp_us.is_some_and(|own| own >= us);
            rows.iter().find(at).map_or(i64::MAX, |row| row.offset)
        };
        let expected: Vec<Row> = rows
            .iter()
            .filter(|row| from.is_none_or(|us| row.offset >= first(row.partition, us)))
            .filter(|row| to.is_none_or(|us| row.offset < first(row.partition, us)))
            .cloned()
            .collect();
        assert_eq!(found.len(), expected.len(), "{from:?} to {to:?}");
        assert_eq!(found, expected, "{from:?} to {to:?}");
        assert!(plan.rows() as usize >= expected.len());
    }
    let mut plan = config(folder.path()).resolve().unwrap();
    let all = plan.rows();
    plan.between(times[2], times[3]).unwrap();
    assert!(
        plan.rows() < all / 2,
        "{} of {all} rows would be read for a minute of two and a half",
        plan.rows()
    );
}
