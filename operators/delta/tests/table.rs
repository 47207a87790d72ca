//! The sink against tables on disk: each row once, through crashes, runs that go back, zombies and other writers.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray,
    Float32Array, Float64Array, Int8Array, Int64Array, ListArray, RecordBatch, StringArray,
    TimestampMicrosecondArray, UInt8Array, UInt64Array,
};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef, TimeUnit, UInt64Type};
use arrow::util::display::array_value_to_string;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value as Json, json};
use thalweg_delta::{DeltaConfig, DeltaPublisher, DeltaSink, active_files, is_table};
use thalweg_engine::checkpoint::{Publisher, StagedFile};
use thalweg_operators::sink::parquet::ParquetConfig;
use thalweg_operators::sink::staging::Staging;
use thalweg_operators::sink::{Sink, SinkCounters};

fn columns() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("name", DataType::Utf8, true),
        Field::new("value", DataType::Int64, false),
    ]))
}

fn rows(values: &[(Option<&str>, i64)]) -> RecordBatch {
    let names: ArrayRef = Arc::new(StringArray::from_iter(values.iter().map(|(name, _)| *name)));
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(values.iter().map(|(_, value)| *value)));
    RecordBatch::try_new(columns(), vec![names, numbers]).unwrap()
}

/// A job's run.
struct Run {
    folder: PathBuf,
    columns: SchemaRef,
    partition_by: Vec<String>,
    generation: u64,
}

impl Run {
    fn new(folder: &Path, generation: u64) -> Run {
        Run {
            folder: folder.to_owned(),
            columns: columns(),
            partition_by: vec!["name".to_owned()],
            generation,
        }
    }

    fn sink(&self, from: u64) -> DeltaSink {
        let staging = Staging { generation: self.generation, worker: 0, in_place: false };
        let config = ParquetConfig {
            partition_by: self.partition_by.clone(),
            ..ParquetConfig::new("out", &self.folder, staging)
        };
        DeltaSink::new(config, &self.columns, from, Arc::new(SinkCounters::default())).unwrap()
    }

    fn publisher(&self) -> DeltaPublisher {
        DeltaPublisher::new(DeltaConfig {
            sink: "out".to_owned(),
            folder: self.folder.clone(),
            columns: Arc::clone(&self.columns),
            partition_by: self.partition_by.clone(),
            application: "job/out".to_owned(),
            generation: self.generation,
        })
        .unwrap()
    }

    /// The files of a checkpoint with these rows.
    fn staged(&self, checkpoint: u64, values: &[(Option<&str>, i64)]) -> Vec<StagedFile> {
        let mut sink = self.sink(checkpoint - 1);
        sink.write(rows(values)).unwrap();
        sink.stage(checkpoint).unwrap()
    }
}

/// The values in a table, by way of the log's list of its files.
fn values(folder: &Path) -> Vec<i64> {
    let mut values: Vec<i64> = active_files(folder)
        .unwrap()
        .files
        .iter()
        .flat_map(|file| {
            let read = ParquetRecordBatchReaderBuilder::try_new(File::open(&file.path).unwrap()).unwrap();
            let batches: Vec<RecordBatch> = read.build().unwrap().map(Result::unwrap).collect();
            let values =
                batches.iter().flat_map(|batch| batch["value"].as_primitive::<Int64Type>().values().to_vec());
            let values: Vec<i64> = values.collect();
            assert_eq!(file.rows, Some(values.len() as u64));
            values
        })
        .collect();
    values.sort_unstable();
    values
}

fn log_entry(folder: &Path, version: u64) -> PathBuf {
    folder.join(format!("_delta_log/{version:020}.json"))
}

fn versions(folder: &Path) -> u64 {
    (0..).take_while(|version| log_entry(folder, *version).exists()).count() as u64
}

/// The actions of a kind (`add`, `txn` …) in a version.
fn actions(folder: &Path, version: u64, kind: &str) -> Vec<Json> {
    let text = fs::read_to_string(log_entry(folder, version)).unwrap();
    let actions = text.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
    actions.filter_map(|action| action.get(kind).cloned()).collect()
}

/// What another writer commits: these lines, as the next version that is free.
fn commit_of_others(folder: &Path, actions: &[Json]) {
    let lines: Vec<String> = actions.iter().map(Json::to_string).collect();
    for version in versions(folder).. {
        match OpenOptions::new().write(true).create_new(true).open(log_entry(folder, version)) {
            Ok(mut file) => return file.write_all(lines.join("\n").as_bytes()).unwrap(),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists, "{error}"),
        }
    }
}

/// A file of somebody else's with these rows, as an action that adds it.
fn file_of_others(folder: &Path, number: u32, value: i64, data_change: bool) -> Json {
    let name = format!("part-{number:05}-cb6b150b-30b8-4662-ad28-ff32ddab96d2-c000.snappy.parquet");
    let batch = rows(&[(None, value)]).project(&[1]).unwrap();
    let file = File::create(folder.join(&name)).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    json!({"add": {
        "path": name, "partitionValues": {"name": null}, "size": file.metadata().unwrap().len(),
        "modificationTime": 1, "dataChange": data_change, "stats": "{\"numRecords\":1}",
    }})
}

#[test]
fn publishing_twice_is_publishing_once() {
    let folder = tempfile::tempdir().unwrap();
    let run = Run::new(folder.path(), 1);
    let mut publisher = run.publisher();
    publisher.sweep(0).unwrap();
    assert!(is_table(folder.path()) && values(folder.path()).is_empty(), "there, and empty");
    let first = run.staged(1, &[(Some("a"), 1), (Some("b"), 2), (Some("a"), 3)]);
    assert_eq!(first.len(), 2);
    assert!(values(folder.path()).is_empty(), "staged, and not to be seen");
    publisher.publish(1, &first).unwrap();
    let committed = versions(folder.path());
    publisher.publish(1, &first).unwrap();
    let mut again = run.publisher();
    again.publish(1, &first).unwrap();
    assert_eq!(versions(folder.path()), committed);
    assert_eq!(values(folder.path()), [1, 2, 3]);
    publisher.publish(2, &[]).unwrap();
    publisher.publish(3, &run.staged(3, &[(None, 4)])).unwrap();
    let committed = versions(folder.path());
    again.publish(3, &first).unwrap();
    assert_eq!((values(folder.path()), versions(folder.path())), (vec![1, 2, 3, 4], committed));
    let newest = versions(folder.path()) - 1;
    let transactions = actions(folder.path(), newest, "txn");
    assert!(transactions.contains(&json!({"appId": "job/out", "version": 3})), "{transactions:?}");
    let info = &actions(folder.path(), newest, "commitInfo")[0];
    assert_eq!((&info["operation"], &info["thalweg.checkpoint"]), (&json!("WRITE"), &json!(3)));
}

#[test]
fn a_crash_at_any_place_is_made_good_by_the_next_run() {
    let folder = tempfile::tempdir().unwrap();
    let run = Run::new(folder.path(), 1);
    run.publisher().sweep(0).unwrap();
    let first = run.staged(1, &[(Some("a"), 1)]);
    let left = run.staged(2, &[(Some("a"), 99)]);
    // Checkpoint 1 has its manifest, and is not published; checkpoint 2 never got one.
    let run = Run::new(folder.path(), 2);
    let mut publisher = run.publisher();
    publisher.publish(1, &first).unwrap();
    publisher.sweep(1).unwrap();
    assert!(!folder.path().join(&left[0].target).exists(), "of no checkpoint");
    let second = run.staged(2, &[(Some("a"), 2)]);
    publisher.publish(2, &second).unwrap();
    // Published, and killed before anybody heard of it.
    let run = Run::new(folder.path(), 3);
    let mut publisher = run.publisher();
    publisher.publish(2, &second).unwrap();
    publisher.sweep(2).unwrap();
    publisher.publish(3, &run.staged(3, &[(Some("a"), 3)])).unwrap();
    assert_eq!(values(folder.path()), [1, 2, 3]);
}

#[test]
fn a_run_that_goes_back_takes_rows_out_of_the_table() {
    let folder = tempfile::tempdir().unwrap();
    let run = Run::new(folder.path(), 1);
    let mut publisher = run.publisher();
    publisher.sweep(0).unwrap();
    let mut files = Vec::new();
    for checkpoint in 1..=4 {
        files.push(run.staged(checkpoint, &[(Some("a"), checkpoint as i64)]));
        publisher.publish(checkpoint, &files[checkpoint as usize - 1]).unwrap();
    }
    let zombie_files = run.staged(5, &[(Some("a"), 99)]);

    let run = Run::new(folder.path(), 2);
    let mut back = run.publisher();
    back.publish(2, &files[1]).unwrap();
    back.sweep(2).unwrap();
    assert_eq!(values(folder.path()), [1, 2]);
    let committed = versions(folder.path());
    back.sweep(2).unwrap();
    assert_eq!(versions(folder.path()), committed, "nothing more to do");
    // The older run has not heard of it.
    let error = publisher.publish(5, &zombie_files).unwrap_err().to_string();
    assert!(error.contains("generation 1 of this job was replaced by generation 2"), "{error}");
    back.publish(3, &run.staged(3, &[(Some("a"), 33)])).unwrap();
    back.publish(3, &files[2]).unwrap();
    assert_eq!(values(folder.path()), [1, 2, 33]);
    // Readers of earlier versions still find their files, until VACUUM takes them.
    let run = Run::new(folder.path(), 3);
    run.publisher().sweep(1).unwrap();
    assert!(folder.path().join(&files[3][0].target).exists());
    assert_eq!(values(folder.path()), [1]);
    // From the beginning.
    let run = Run::new(folder.path(), 4);
    let mut fresh = run.publisher();
    fresh.sweep(0).unwrap();
    assert!(values(folder.path()).is_empty());
    fresh.publish(1, &run.staged(1, &[(Some("a"), 7)])).unwrap();
    assert_eq!(values(folder.path()), [7]);
}

#[test]
fn an_older_run_is_kept_out_even_when_there_was_nothing_to_take_back() {
    let folder = tempfile::tempdir().unwrap();
    let old = Run::new(folder.path(), 1);
    let mut zombie = old.publisher();
    zombie.sweep(0).unwrap();
    let first = old.staged(1, &[(Some("a"), 1)]);
    zombie.publish(1, &first).unwrap();
    let second = old.staged(2, &[(Some("a"), 99)]);
    let run = Run::new(folder.path(), 2);
    let mut publisher = run.publisher();
    publisher.publish(1, &first).unwrap();
    publisher.sweep(1).unwrap();
    let error = zombie.publish(2, &second).unwrap_err().to_string();
    assert!(error.contains("publishes nothing more"), "{error}");
    publisher.publish(2, &run.staged(2, &[(Some("a"), 2)])).unwrap();
    assert_eq!(values(folder.path()), [1, 2]);
}

#[test]
fn two_that_publish_the_same_at_once_publish_it_once() {
    for _ in 0..4 {
        let folder = tempfile::tempdir().unwrap();
        let run = Run::new(folder.path(), 1);
        let files: Vec<Vec<StagedFile>> =
            (1..=8).map(|checkpoint| run.staged(checkpoint, &[(Some("a"), checkpoint as i64)])).collect();
        let start = Barrier::new(3);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut publisher = run.publisher();
                    start.wait();
                    for (number, files) in files.iter().enumerate() {
                        publisher.publish(number as u64 + 1, files).unwrap();
                    }
                });
            }
            // And somebody who writes other rows all the while.
            scope.spawn(|| {
                start.wait();
                let deadline = Instant::now() + Duration::from_secs(60);
                while !log_entry(folder.path(), 0).exists() {
                    assert!(Instant::now() < deadline, "nobody has made the table");
                    std::thread::yield_now();
                }
                for number in 1..=7 {
                    let add = file_of_others(folder.path(), number, 1000 + i64::from(number), true);
                    commit_of_others(folder.path(), &[add]);
                }
            });
        });
        let expected: Vec<i64> = (1..=8).chain(1001..=1007).collect();
        assert_eq!(values(folder.path()), expected);
        let count = |kind: &str| {
            let versions = 0..versions(folder.path());
            versions.map(|version| actions(folder.path(), version, kind).len()).sum::<usize>()
        };
        assert_eq!((count("metaData"), count("add")), (1, expected.len()));
    }
}

#[test]
fn rows_that_others_have_put_elsewhere_are_not_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let run = Run::new(folder.path(), 1);
    let mut publisher = run.publisher();
    publisher.sweep(0).unwrap();
    let (mut removes, mut second) = (Vec::new(), Vec::new());
    for checkpoint in 1..=2 {
        let files = run.staged(checkpoint, &[(None, checkpoint as i64)]);
        publisher.publish(checkpoint, &files).unwrap();
        second.clone_from(&files);
        removes
            .push(json!({"remove": {"path": files[0].target, "deletionTimestamp": 1, "dataChange": false}}));
    }
    publisher.publish(3, &run.staged(3, &[(None, 3)])).unwrap();
    // As an OPTIMIZE does it; its file stands for the rows of both checkpoints.
    removes.push(file_of_others(folder.path(), 1, 12, false));
    commit_of_others(folder.path(), &removes);
    publisher.publish(4, &run.staged(4, &[(None, 4)])).unwrap();
    run.publisher().publish(2, &second).unwrap();
    assert_eq!(values(folder.path()), [3, 4, 12]);
    // Behind what was rewritten it goes, before it it does not.
    let mut back = Run::new(folder.path(), 2).publisher();
    back.sweep(2).unwrap();
    assert_eq!(values(folder.path()), [12]);
    let mut further = Run::new(folder.path(), 3).publisher();
    let error = further.sweep(1).unwrap_err().to_string();
    assert!(
        error.contains("can't go back to checkpoint 1") && error.contains("rows of checkpoint 2"),
        "{error}"
    );
    assert_eq!(values(folder.path()), [12]);
}

#[test]
fn a_table_with_other_columns_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    Run::new(folder.path(), 1).publisher().sweep(0).unwrap();
    let check = |change: fn(&mut Run), expected: &str| {
        let mut run = Run::new(folder.path(), 2);
        change(&mut run);
        let error = run.publisher().sweep(0).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("give the sink another name"), "{error}");
    };
    let with = |fields: &[(&str, DataType)]| -> SchemaRef {
        Arc::new(Schema::new(fields.iter().map(|(n, t)| Field::new(*n, t.clone(), true)).collect::<Vec<_>>()))
    };
    let text = DataType::Utf8;
    let [wider, other, fewer] = [
        with(&[("name", text.clone()), ("value", DataType::Int64), ("more", DataType::UInt64)]),
        with(&[("name", text.clone()), ("value", DataType::Float64)]),
        with(&[("name", text)]),
    ];
    let run = |columns: &SchemaRef, partition_by: &[&str]| {
        let mut run = Run::new(folder.path(), 2);
        run.columns = Arc::clone(columns);
        run.partition_by = partition_by.iter().map(|name| (*name).to_owned()).collect();
        let error = run.publisher().sweep(0).unwrap_err().to_string();
        assert!(error.contains("give the sink another name"), "{error}");
        error
    };
    assert!(run(&wider, &["name"]).contains("more decimal(20,0) is not in it"));
    assert!(run(&other, &["name"]).contains("value is double here and long there"));
    assert!(run(&fewer, &["name"]).contains("the sink has no value long"));
    check(|run| run.partition_by.clear(), "partition columns are none here and name there");
    let metadata = actions(folder.path(), 0, "metaData");
    assert_eq!(metadata.len(), 1);
    assert_eq!(metadata[0]["configuration"]["delta.logRetentionDuration"], "interval 7 days");
}

#[test]
fn a_table_that_asks_more_of_its_writers_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    Run::new(folder.path(), 1).publisher().sweep(0).unwrap();
    let metadata = actions(folder.path(), 0, "metaData").remove(0);
    let protocol = json!({"protocol": {"minReaderVersion": 1, "minWriterVersion": 4}});
    commit_of_others(folder.path(), &[protocol, json!({ "metaData": metadata })]);
    let error = Run::new(folder.path(), 2).publisher().sweep(0).unwrap_err().to_string();
    assert!(
        error.contains("can't be written here") && error.contains("give sink out another name"),
        "{error}"
    );
}

#[test]
fn a_staged_file_that_is_gone_or_changed_is_no_silence() {
    let folder = tempfile::tempdir().unwrap();
    let run = Run::new(folder.path(), 1);
    let mut publisher = run.publisher();
    let files = run.staged(1, &[(Some("a"), 1)]);
    let path = folder.path().join(&files[0].target);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let error = publisher.publish(1, &files).unwrap_err().to_string();
    assert!(error.contains("is damaged: it had"), "{error}");
    fs::remove_file(&path).unwrap();
    let error = publisher.publish(1, &files).unwrap_err().to_string();
    assert!(error.contains("was staged by checkpoint 1 and is gone"), "{error}");
    fs::write(&path, &bytes).unwrap();
    publisher.publish(1, &files).unwrap();
    assert_eq!(values(folder.path()), [1]);
}

#[test]
fn the_log_is_summed_up_now_and_then_and_still_says_what_is_published() {
    let folder = tempfile::tempdir().unwrap();
    let run = Run::new(folder.path(), 1);
    let mut publisher = run.publisher();
    publisher.sweep(0).unwrap();
    let mut last = Vec::new();
    for checkpoint in 1..=101 {
        last = run.staged(checkpoint, &[(Some("a"), checkpoint as i64)]);
        publisher.publish(checkpoint, &last).unwrap();
    }
    assert!(
        folder.path().join("_delta_log/_last_checkpoint").exists(),
        "{} versions",
        versions(folder.path())
    );
    let run = Run::new(folder.path(), 2);
    let mut publisher = run.publisher();
    publisher.publish(101, &last).unwrap();
    publisher.publish(90, &last).unwrap();
    publisher.sweep(100).unwrap();
    assert_eq!(values(folder.path()), (1..=100).collect::<Vec<i64>>());
}

#[test]
fn values_of_folders_come_back_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let run = Run::new(folder.path(), 1);
    let mut publisher = run.publisher();
    let odd = [Some("a/ü b=%"), Some("%2F"), Some("?#&+~*\"'<>|\\"), Some("北京"), None, Some("x.y-z_")];
    let staged: Vec<(Option<&str>, i64)> =
        odd.iter().enumerate().map(|(i, name)| (*name, i as i64)).collect();
    publisher.publish(1, &run.staged(1, &staged)).unwrap();
    let table = active_files(folder.path()).unwrap();
    assert_eq!(table.partition_by, ["name"]);
    let mut found = BTreeMap::new();
    for file in &table.files {
        let read = ParquetRecordBatchReaderBuilder::try_new(File::open(&file.path).unwrap()).unwrap();
        assert!(read.schema().index_of("name").is_err(), "it is a folder");
        for batch in read.build().unwrap() {
            for value in batch.unwrap()["value"].as_primitive::<Int64Type>().values() {
                found.insert(*value, file.partition[0].clone());
            }
        }
    }
    let expected: BTreeMap<i64, Option<String>> =
        staged.iter().map(|(name, value)| (*value, name.map(str::to_owned))).collect();
    assert_eq!(found, expected);
    // As a URI, in which the folder's own percent signs are escaped once more.
    let paths: Vec<String> =
        actions(folder.path(), 1, "add").iter().map(|add| add["path"].as_str().unwrap().to_owned()).collect();
    assert!(
        paths.iter().any(|path| path.starts_with("name=a%252F%25C3%25BC%20b%253D%2525/part-")),
        "{paths:?}"
    );
}

#[test]
fn every_type_comes_back_and_is_what_the_table_says() {
    let folder = tempfile::tempdir().unwrap();
    let zone: Arc<str> = "+00:00".into();
    let mut lists = arrow::array::ListBuilder::new(arrow::array::UInt64Builder::new());
    lists.append_value([Some(u64::MAX), None]);
    lists.append_null();
    lists.append_value([]);
    let lists: ListArray = lists.finish();
    let decimals = |values: Vec<Option<i128>>, precision, scale| {
        Decimal128Array::from(values).with_precision_and_scale(precision, scale).unwrap()
    };
    let words = DictionaryArray::<Int32Type>::from_iter([Some("x"), None, Some("y")]);
    let source: Vec<(&str, ArrayRef)> = vec![
        ("day", Arc::new(Date32Array::from(vec![Some(20_468), None, Some(20_468)]))),
        ("part", Arc::new(UInt64Array::from(vec![Some(u64::MAX), Some(1), None]))),
        ("yes", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
        ("tiny", Arc::new(Int8Array::from(vec![Some(-128), None, Some(127)]))),
        ("byte", Arc::new(UInt8Array::from(vec![Some(255), None, Some(0)]))),
        ("big", Arc::new(UInt64Array::from(vec![Some(u64::MAX), None, Some(0)]))),
        ("single", Arc::new(Float32Array::from(vec![Some(0.1), None, Some(f32::INFINITY)]))),
        ("double", Arc::new(Float64Array::from(vec![Some(-0.0), None, Some(f64::NAN)]))),
        ("money", Arc::new(decimals(vec![Some(-12_345), None, Some(0)], 18, 6))),
        ("wide", Arc::new(decimals(vec![Some(10i128.pow(37)), None, Some(-1)], 38, 0))),
        ("text", Arc::new(StringArray::from(vec![Some("ж\n\""), None, Some("")]))),
        ("word", Arc::new(words)),
        ("bytes", Arc::new(BinaryArray::from_opt_vec(vec![Some(b"\x00\xff"), None, Some(b"")]))),
        (
            "at",
            Arc::new(
                TimestampMicrosecondArray::from(vec![Some(1_768_518_000_123_456), None, Some(-1)])
                    .with_timezone(Arc::clone(&zone)),
            ),
        ),
        ("list", Arc::new(lists)),
    ];
    let batch =
        RecordBatch::try_from_iter_with_nullable(source.into_iter().map(|(n, column)| (n, column, true)))
            .unwrap();
    let run = Run {
        folder: folder.path().to_owned(),
        columns: batch.schema(),
        partition_by: vec!["day".to_owned(), "part".to_owned()],
        generation: 1,
    };
    let mut sink = run.sink(0);
    sink.write(batch.clone()).unwrap();
    run.publisher().publish(1, &sink.stage(1).unwrap()).unwrap();

    let table = active_files(folder.path()).unwrap();
    let types: Vec<(&str, String)> =
        table.columns.fields().iter().map(|f| (f.name().as_str(), f.data_type().to_string())).collect();
    let at = DataType::Timestamp(TimeUnit::Microsecond, Some(zone));
    assert_eq!(table.columns.field_with_name("at").unwrap().data_type(), &at);
    let expected =
        [("part", "Decimal128(20, 0)"), ("byte", "Int16"), ("big", "Decimal128(20, 0)"), ("word", "Utf8")];
    for (name, data_type) in expected {
        assert!(types.contains(&(name, data_type.to_owned())), "{types:?}");
    }
    let mut parts = Vec::new();
    for file in &table.files {
        let read = ParquetRecordBatchReaderBuilder::try_new(File::open(&file.path).unwrap()).unwrap();
        for field in read.schema().fields() {
            let in_table = table.columns.field_with_name(field.name()).unwrap();
            let same = cast(&arrow::array::new_empty_array(field.data_type()), in_table.data_type()).is_ok();
            assert!(same && field.data_type().is_nested() == in_table.data_type().is_nested(), "{field}");
        }
        for part in read.build().unwrap() {
            let part = part.unwrap();
            // A column of the folders' values, as a reader makes it.
            let rows = part.num_rows();
            let mut columns: Vec<ArrayRef> = file
                .partition
                .iter()
                .map(|value| Arc::new(StringArray::from(vec![value.as_deref(); rows])) as ArrayRef)
                .collect();
            columns.extend(part.columns().iter().cloned());
            let text: Vec<(&str, ArrayRef)> = batch
                .schema_ref()
                .fields()
                .iter()
                .zip(&columns)
                .map(|(field, column)| (field.name().as_str(), texts(column)))
                .collect();
            parts.push(
                RecordBatch::try_from_iter_with_nullable(text.into_iter().map(|(n, c)| (n, c, true)))
                    .unwrap(),
            );
        }
    }
    let found = concat_batches(parts[0].schema_ref(), &parts).unwrap();
    assert_eq!(found.num_rows(), 3);
    let row = |batch: &RecordBatch, row: usize| -> Vec<String> {
        (0..batch.num_columns())
            .map(|column| match batch.column(column).is_null(row) {
                true => "null".to_owned(),
                false => batch.column(column).as_string::<i32>().value(row).to_owned(),
            })
            .collect()
    };
    let mut found: Vec<Vec<String>> = (0..3).map(|at| row(&found, at)).collect();
    let texts: Vec<ArrayRef> = batch.columns().iter().map(texts).collect();
    let expected = RecordBatch::try_from_iter_with_nullable(
        batch
            .schema_ref()
            .fields()
            .iter()
            .zip(texts)
            .map(|(field, column)| (field.name().as_str(), column, true)),
    )
    .unwrap();
    let mut expected: Vec<Vec<String>> = (0..3).map(|at| row(&expected, at)).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(batch["part"].as_primitive::<UInt64Type>().value(0), u64::MAX);
}

/// A column's values as they are shown.
fn texts(column: &ArrayRef) -> ArrayRef {
    let shown = (0..column.len()).map(|row| {
        (!column.is_null(row)).then(|| array_value_to_string(column, row).unwrap().replace("+00:00", "Z"))
    });
    Arc::new(StringArray::from_iter(shown))
}
