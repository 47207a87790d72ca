//! An output folder describes itself: other programs read it with no help from us, and a job never mixes its rows with those
//! of another.
//!
//! ```text
//!   job ─▶ out/window_date=2026-01-15/region=Z%C3%BCrich…/part-….parquet ─┬─▶ Session (DataFusion) ─┐
//!                                                                         └─▶ DuckDB, from Python  ─┴─▶ the same answers
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use arrow::array::{Array, ArrayRef};
use arrow::row::{RowConverter, SortField};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value as Json, json};
use thalweg::run::{GoOn, RunError, RunOptions, run};
use thalweg_engine::control::Control;
use thalweg_operators::source::archive::{ArchiveOptions, ArchiveWriter};
use thalweg_query::Session;

use crate::support::{Random, job, plan, published, query, rows};

/// 2026-01-15T23:00:00Z: an hour on either side of midnight.
const START_MS: i64 = 1_768_518_000_000;
const REGIONS: [Option<&str>; 5] =
    [Some("eu-west"), Some("Zürich / 北京 = 100 %"), Some("a=b/c"), Some("7"), None];

const PIPELINE: &str = r#"
pipeline: shapes
schemas:
  event:
    fields:
      - { name: at, type: timestamp, encoding: ms, required: true }
      - { name: region, type: string }
      - { name: kind, type: string }
      - { name: amount, type: int64 }
      - { name: mass, type: uint64 }
      - { name: cost, type: decimal, scale: 2 }
      - { name: ratio, type: float64 }
      - { name: seen, type: bool }
sources:
  events:
    archive: { path: "${ARCHIVES}/events" }
    schema: event
    event_time: { field: at }
steps:
  per_kind:
    from: events
    window: { tumbling: 10m }
    by: [region, kind]
    select:
      events: count(*)
      amount: max(amount)
      mass: max(mass)
      cost: max(cost)
      ratio: min(ratio)
      seen: bool_or(seen)
      last_at: max(at)
      amounts: collect(amount, 3)
sinks:
  per_kind: { from: per_kind, parquet: { partition_by: [window_date, region] } }
  raw: { from: events, parquet: { target_file_size: 64KiB } }
"#;

/// What DuckDB and DataFusion are asked alike, but for their ways from a timestamp to microseconds.
fn question(us: fn(&str) -> String) -> String {
    let (first, last) = (us("min(window_start)"), us("max(last_at)"));
    format!(
        "select cast(window_date as varchar) as d, region, count(*) as n, cast(sum(events) as bigint) as events, \
         sum(amount) as amount, cast(max(mass) as varchar) as mass, cast(sum(cost) as varchar) as cost, \
         min(ratio) as ratio, bool_and(seen) as seen, count(kind) as kinds, {first} as first_us, {last} as last_us, \
         max(kind) as kind from per_kind group by 1, 2 order by 1, 2 nulls last"
    )
}

/// Prints the types of `per_kind`'s columns, the answer to the question, and what `raw` holds, as JSON.
const PYTHON: &str = r#"
import duckdb, json, sys
folder, question = sys.argv[1:]
def table(name, columns):
    files = f"read_parquet('{folder}/{name}/**/*.parquet', hive_partitioning = true)"
    duckdb.sql(f"create view {name} as select {columns} from {files}")
    return {row[0]: row[1] for row in duckdb.sql(f"describe {name}").fetchall()}
# DuckDB writes the folder of a null as Hive does, and does not take it for a null when it reads.
types = table("per_kind", "* replace (nullif(region, '__HIVE_DEFAULT_PARTITION__') as region)")
table("raw", "*")
answer = duckdb.sql(question)
rows = [dict(zip(answer.columns, row)) for row in answer.fetchall()]
raw = duckdb.sql("select count(*), cast(sum(amount) as bigint), cast(sum(cost) as varchar) from raw").fetchone()
print(json.dumps({"types": types, "rows": rows, "raw": raw}))
"#;

/// Writes an archive of so many events; gives back how many each day and region has.
fn write_archive(folder: &Path, events: u64) -> BTreeMap<(bool, Option<String>), i64> {
    let mut writer =
        ArchiveWriter::new(folder.join("events"), ArchiveOptions::default()).expect("an archive");
    let mut random = Random(3);
    let mut counts = BTreeMap::new();
    for number in 0..events {
        let region = REGIONS[random.below(5) as usize];
        let kind = [Some("ж"), Some("b\"'c"), None][random.below(3) as usize];
        let at_ms = START_MS + (number * 7_200_000 / events) as i64;
        let value = json!({
            "at": at_ms,
            "region": region,
            "kind": kind,
            "amount": random.below(1 << 40) as i64 - (1 << 39),
            "mass": u64::MAX - random.below(1000),
            "cost": random.below(100_000) as f64 / 100.0,
            "ratio": if random.below(10) == 0 { None } else { Some(random.unit()) },
            "seen": random.below(2) == 0,
        });
        let (partition, offset) = ((number % 3) as i32, (number / 3) as i64);
        let value = value.to_string();
        writer.push(partition, offset, at_ms, None, Some(value.as_bytes()), &[]).expect("a record");
        let after_midnight = at_ms >= START_MS + 3_600_000;
        *counts.entry((after_midnight, region.map(str::to_owned))).or_insert(0) += 1;
    }
    // So that there is something in _rejected.
    writer.push(0, 1 << 40, START_MS, None, Some(b"{"), &[]).expect("a record");
    writer.finish().expect("the archive");
    counts
}

fn duckdb(output: &Path) -> Json {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace's folder");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let python = root.join(target).join("python/bin/python");
    let question = question(|timestamp| format!("epoch_us({timestamp})"));
    let ran = Command::new(&python).arg("-c").arg(PYTHON).arg(output).arg(question).output();
    let ran = ran.unwrap_or_else(|error| {
        panic!("{} does not start ({error}); run scripts/setup.sh test", python.display())
    });
    let errors = String::from_utf8_lossy(&ran.stderr);
    assert!(
        !errors.contains("No module named 'duckdb'"),
        "{} has no duckdb; run scripts/setup.sh test",
        python.display()
    );
    assert!(ran.status.success(), "{errors}");
    serde_json::from_slice(&ran.stdout).expect("JSON of DuckDB")
}

/// Rows are sorted by all columns that have an order, from the first to the last, nulls first.
fn assert_sorted(path: &Path) -> usize {
    let file = File::open(path).expect("a file that was just listed");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("a Parquet file");
    let mut last: Option<Vec<u8>> = None;
    let mut count = 0;
    for batch in reader.build().expect("a Parquet file") {
        let batch = batch.expect("rows");
        let columns: Vec<ArrayRef> =
            batch.columns().iter().filter(|column| !column.data_type().is_nested()).cloned().collect();
        let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
        let converter = RowConverter::new(fields).expect("columns that have an order");
        for row in converter.convert_columns(&columns).expect("rows that have an order").iter() {
            let row = row.as_ref().to_vec();
            assert!(
                last.as_ref().is_none_or(|last| *last <= row),
                "{}: row {count} is out of order",
                path.display()
            );
            last = Some(row);
            count += 1;
        }
    }
    count
}

#[test]
fn datafusion_and_duckdb_read_what_a_job_wrote() {
    const EVENTS: u64 = 30_000;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = folder.path().join("output");
    let counts = write_archive(folder.path(), EVENTS);
    let summary = job(&plan(PIPELINE, folder.path()), &RunOptions::new(3, &output));

    let answers = query(&output, &question(|timestamp| format!("cast({timestamp} as bigint)")));
    assert_eq!(answers.len(), 10, "two days of five regions");
    for row in &answers {
        let region = row["region"].as_str().map(str::to_owned);
        let after_midnight = row["d"] == "2026-01-16";
        assert_eq!(row["events"], counts[&(after_midnight, region)], "{row:?}");
    }

    let theirs = duckdb(&output);
    assert_eq!(theirs["rows"], Json::from(answers.into_iter().map(Json::Object).collect::<Vec<_>>()));
    let types = json!({
        "window_start": "TIMESTAMP WITH TIME ZONE",
        "window_end": "TIMESTAMP WITH TIME ZONE",
        "kind": "VARCHAR",
        "events": "BIGINT",
        "amount": "BIGINT",
        "mass": "UBIGINT",
        "cost": "DECIMAL(18,2)",
        "ratio": "DOUBLE",
        "seen": "BOOLEAN",
        "last_at": "TIMESTAMP WITH TIME ZONE",
        "amounts": "BIGINT[]",
        "window_date": "DATE",
        "region": "VARCHAR",
    });
    assert_eq!(theirs["types"], types);
    let session = Session::open(&output).expect("the output");
    let columns = session.columns("per_kind").expect("a table");
    let ours: BTreeMap<&str, &str> =
        columns.iter().map(|column| (column.name.as_str(), column.data_type.as_str())).collect();
    for (name, data_type) in [
        ("window_start", "timestamp with time zone"),
        ("mass", "bigint unsigned"),
        ("cost", "decimal(18, 2)"),
        ("amounts", "bigint[]"),
        ("window_date", "date"),
        ("region", "varchar"),
    ] {
        assert_eq!(ours.get(name), Some(&data_type), "{name}");
    }
    assert_eq!(ours.len(), 13);

    let raw = query(
        &output,
        "select count(*) as n, sum(amount) as amount, cast(sum(cost) as varchar) as cost from raw",
    );
    assert_eq!(theirs["raw"], json!([raw[0]["n"], raw[0]["amount"], raw[0]["cost"]]));
    assert_eq!(raw[0]["n"], EVENTS);

    let written = published(&output);
    for path in &written {
        let name = path.file_name().expect("a file's name").to_string_lossy();
        assert!(name.starts_with("part-") && name.ends_with(".parquet"), "{}", path.display());
    }
    for sink in &summary.sinks {
        let of_sink: Vec<_> =
            written.iter().filter(|path| path.starts_with(output.join(&sink.name))).collect();
        assert_eq!(of_sink.len() as u64, sink.files, "{}", sink.name);
        let bytes: u64 = of_sink.iter().map(|path| fs::metadata(path).expect("a file").len()).sum();
        assert_eq!(bytes, sink.bytes, "{}", sink.name);
        let rows: usize = of_sink.iter().map(|path| assert_sorted(path)).sum();
        assert_eq!(rows as u64, sink.rows, "{}", sink.name);
    }
    let files_of = |name: &str| summary.sinks.iter().find(|sink| sink.name == name).map(|sink| sink.files);
    assert!(files_of("per_kind") >= Some(10), "a file of each folder");
    assert!(files_of("raw") > Some(3), "files of the target's size, not one of each worker: {summary:?}");
}

#[test]
fn another_input_is_refused_and_outputs_are_thrown_away_only_when_told() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (many, few) = (folder.path().join("many"), folder.path().join("few"));
    write_archive(&many, 3000);
    write_archive(&few, 5);
    let options = RunOptions::new(2, folder.path().join("output"));
    job(&plan(PIPELINE, &many), &options);
    let before = published(&options.output);

    let refusal = run(&plan(PIPELINE, &few), &options, &Control::new()).expect_err("another archive");
    assert!(matches!(refusal, RunError::Changed { .. }), "{refusal}");
    let text = refusal.to_string();
    assert!(text.contains("--fresh") && text.contains("topics") && text.contains("few"), "{text}");
    let done = run(&plan(PIPELINE, &many), &options, &Control::new()).expect_err("nothing is left to do");
    assert!(matches!(done, RunError::Finished { checkpoint: 1.., .. }), "{done}");
    assert_eq!(published(&options.output), before, "a refused job changes nothing");
    // Without its checkpoints nobody knows whose the rows are.
    let checkpoints = options.output.join("_checkpoints");
    fs::rename(&checkpoints, folder.path().join("aside")).expect("a folder that moves");
    let refusal = run(&plan(PIPELINE, &many), &options, &Control::new()).expect_err("a folder in use");
    assert!(matches!(refusal, RunError::OutputInUse { .. }), "{refusal}");
    fs::remove_dir_all(&checkpoints).expect("an empty folder");
    fs::rename(folder.path().join("aside"), &checkpoints).expect("a folder that moves back");

    // What the job does not write itself is not its to remove.
    let foreign = options.output.join("notes.txt");
    fs::write(&foreign, "mine").expect("a file");
    job(&plan(PIPELINE, &few), &RunOptions { go_on: GoOn::Fresh, ..options.clone() });
    assert_eq!(rows(&options.output, "raw").len(), 5);
    assert_eq!(rows(&options.output, "_rejected").len(), 1);
    assert!(published(&options.output).len() < before.len(), "files of the earlier run are left");
    assert!(foreign.exists());
}
