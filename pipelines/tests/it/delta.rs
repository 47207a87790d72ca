//! Delta tables: other programs read and rewrite them while a job goes on, and every row is there once.
//!
//! ```text
//!   job ─▶ broken off ─▶ Python's deltalake: OPTIMIZE ─▶ job ─▶ broken off ─▶ … ─▶ the end
//!                                                                                  ├─▶ SQL here
//!                                                                                  └─▶ SQL in Python's deltalake: the same
//! ```

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value as Json, json};
use thalweg::plan::Plan;
use thalweg::run::{GoOn, RunOptions, prepare};
use thalweg_engine::checkpoint::Manifest;
use thalweg_engine::control::Control;
use thalweg_engine::tick::TickLimits;
use thalweg_operators::source::archive::{ArchiveOptions, ArchiveWriter};

use crate::support::{Random, broken_off_after, job, newest_checkpoint, plan, query};

/// 2026-01-15T23:00:00Z: an hour on either side of midnight.
const START_MS: i64 = 1_768_518_000_000;
const EVENTS: u64 = 20_000;
const REGIONS: [Option<&str>; 4] = [Some("eu-west"), Some("Zürich / 北京 = 100 %"), Some("7"), None];

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
    window: { tumbling: 1m }
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
  per_kind: { from: per_kind, delta: { partition_by: [window_date, region] } }
  raw: { from: events, delta: {} }
"#;

const QUESTIONS: [&str; 2] = [
    "select cast(window_date as varchar) as d, region, count(*) as n, cast(sum(events) as bigint) as events, \
     cast(sum(amount) as varchar) as amount, cast(max(mass) as varchar) as mass, cast(sum(cost) as varchar) as cost, \
     min(ratio) as ratio, bool_and(seen) as seen, count(kind) as kinds, max(kind) as kind, \
     cast(sum(cardinality(amounts)) as bigint) as items, cast(min(window_start) as bigint) as first_us, \
     cast(max(last_at) as bigint) as last_us from per_kind where window_start >= '2026-01-15T23:10:00Z' \
     group by 1, 2 order by 1, 2 nulls last",
    "select count(*) as n, cast(sum(amount) as varchar) as amount, cast(sum(cost) as varchar) as cost, \
     cast(max(mass) as varchar) as mass, cast(min(mass) as varchar) as least from raw",
];

/// With a question: the answers of a table, what the table says of itself, and how far its applications are. Without: an OPTIMIZE.
const PYTHON: &str = r#"
import json, sys
from deltalake import DeltaTable, QueryBuilder
folder, name, *rest = sys.argv[1:]
table = DeltaTable(f"{folder}/{name}")
if rest:
    answer = QueryBuilder().register(name, table).execute(rest[0]).read_all()
    columns = {column: [value.as_py() for value in answer[column]] for column in answer.column_names}
    rows = [dict(zip(columns, row)) for row in zip(*columns.values())]
    fields = {field.name: str(field.type) for field in table.schema().fields}
    print(json.dumps({"rows": rows, "fields": fields, "partitions": table.metadata().partition_columns,
        "operations": [entry["operation"] for entry in table.history()]}))
else:
    print(json.dumps(table.optimize.compact()))
"#;

fn write_archive(folder: &Path) {
    let mut writer =
        ArchiveWriter::new(folder.join("events"), ArchiveOptions::default()).expect("an archive");
    let mut random = Random(5);
    for number in 0..EVENTS {
        let at_ms = START_MS + (number * 7_200_000 / EVENTS) as i64;
        let value = json!({
            "at": at_ms,
            "region": REGIONS[random.below(4) as usize],
            "kind": ([Some("ж"), Some("b\"'c"), None][random.below(3) as usize]),
            "amount": random.below(1 << 40) as i64 - (1 << 39),
            "mass": u64::MAX - random.below(1000),
            "cost": random.below(100_000) as f64 / 100.0,
            "ratio": if random.below(10) == 0 { None } else { Some(random.unit()) },
            "seen": random.below(2) == 0,
        });
        let (partition, offset) = ((number % 3) as i32, (number / 3) as i64);
        writer
            .push(partition, offset, at_ms, None, Some(value.to_string().as_bytes()), &[])
            .expect("a record");
    }
    writer.finish().expect("the archive");
}

fn python(arguments: &[&str]) -> Json {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace's folder");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let python = root.join(target).join("python/bin/python");
    let ran = Command::new(&python).arg("-c").arg(PYTHON).args(arguments).output();
    let ran = ran.unwrap_or_else(|error| {
        panic!("{} does not start ({error}); run scripts/setup.sh test", python.display())
    });
    let errors = String::from_utf8_lossy(&ran.stderr);
    assert!(
        !errors.contains("No module named 'deltalake'"),
        "{} has no deltalake; run scripts/setup.sh test",
        python.display()
    );
    assert!(ran.status.success(), "{errors}");
    serde_json::from_slice(&ran.stdout).expect("JSON of Python's")
}

fn answers(output: &Path, question: &str) -> Json {
    query(output, question).into_iter().map(Json::Object).collect()
}

fn options(output: &Path, workers: usize) -> RunOptions {
    let limits = TickLimits { rows_max: 20, ..TickLimits::default() };
    RunOptions { limits, ..RunOptions::new(workers, output) }
}

struct Undisturbed {
    plan: Plan,
    answers: [Json; 2],
    _folder: tempfile::TempDir,
}

fn undisturbed() -> Undisturbed {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_archive(folder.path());
    let plan = plan(PIPELINE, folder.path());
    let output = folder.path().join("whole");
    job(&plan, &options(&output, 2));
    let answers = QUESTIONS.map(|question| answers(&output, question));
    assert_eq!(answers[0].as_array().map(Vec::len), Some(8), "two days of four regions: {}", answers[0]);
    assert_eq!(answers[1][0]["n"], EVENTS);
    Undisturbed { plan, answers, _folder: folder }
}

#[test]
fn a_table_that_another_program_rewrites_between_runs_has_every_row_once_and_both_read_it_alike() {
    let whole = undisturbed();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = folder.path().join("output");
    let text = output.to_str().expect("a folder of plain letters");
    let mut breaks = 0;
    while !broken_off_after(1 + breaks % 3, &whole.plan, &options(&output, [2, 1, 3][breaks as usize % 3])) {
        if breaks % 3 == 0 {
            python(&[text, "raw"]);
            python(&[text, "per_kind"]);
        }
        breaks += 1;
        assert!(breaks < 500, "the job does not come to an end");
    }
    assert!(breaks >= 2, "broken off {breaks} times only");
    for (table, (question, expected)) in
        ["per_kind", "raw"].into_iter().zip(QUESTIONS.iter().zip(&whole.answers))
    {
        assert_eq!(&answers(&output, question), expected, "{table}");
        let theirs = python(&[text, table, question]);
        assert_eq!(&theirs["rows"], expected, "{table}");
        let operations = theirs["operations"].as_array().expect("a history");
        for operation in ["CREATE TABLE", "WRITE", "OPTIMIZE"] {
            assert!(operations.iter().any(|each| each == operation), "{operation} in {operations:?}");
        }
        if table == "per_kind" {
            assert_eq!(theirs["partitions"], json!(["window_date", "region"]));
            for (column, data_type) in [
                ("window_start", "PrimitiveType(\"timestamp\")"),
                ("window_date", "PrimitiveType(\"date\")"),
                ("mass", "PrimitiveType(\"decimal(20,0)\")"),
                ("cost", "PrimitiveType(\"decimal(18,2)\")"),
                ("amounts", "ArrayType(PrimitiveType(\"long\"), contains_null=True)"),
            ] {
                assert_eq!(theirs["fields"][column], data_type, "{column}");
            }
        }
    }
}

#[test]
fn an_earlier_checkpoint_takes_rows_out_of_the_tables_and_they_come_again() {
    let whole = undisturbed();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = folder.path().join("output");
    assert!(!broken_off_after(4, &whole.plan, &options(&output, 2)), "the job is too short");
    let newest = newest_checkpoint(&whole.plan, &output);
    let back = RunOptions { go_on: GoOn::From(newest.number - 2), ..options(&output, 3) };
    let rows = || query(&output, "select count(*) as n from raw")[0]["n"].as_u64().expect("a count");
    let held = |manifest: &Manifest| {
        manifest.sinks.iter().find(|sink| sink.name == "raw").expect("the sink").rows_total
    };
    // Made ready, and broken off before its first row. The table may lie behind the newest checkpoint until a job goes on from it.
    drop(prepare(&whole.plan, &options(&output, 2), &Control::new()).expect("the newest checkpoint"));
    let before = rows();
    assert_eq!(before, held(&newest));
    drop(prepare(&whole.plan, &back, &Control::new()).expect("an earlier checkpoint"));
    assert!(rows() < before, "{before} rows before, {} after", rows());
    let earlier = newest_checkpoint(&whole.plan, &output);
    assert_eq!(earlier.number, newest.number - 2);
    assert_eq!(rows(), held(&earlier));
    job(&whole.plan, &options(&output, 1));
    for (question, expected) in QUESTIONS.iter().zip(&whole.answers) {
        assert_eq!(&answers(&output, question), expected);
    }
}
