//! Trained models in pipelines: what they say of a row is what they say of it alone, at the row's tick, whatever the workers; and what does
//! not fit a model is told before anything runs.

use std::path::Path;

use serde_json::json;
use thalweg::plan::{self, Plan};
use thalweg::run::RunOptions;
use thalweg_engine::tick::TickLimits;
use thalweg_models::infer::Infer;
use thalweg_models::onnx::OnnxModel;
use thalweg_operators::source::archive::{ArchiveOptions, ArchiveWriter};

use crate::support::{Random, assert_same_rows, broken_off_after, job, plan, query, rows};

/// 2026-03-02T12:00:00Z.
const NOON_MS: i64 = 1_772_452_800_000;
const ROWS: i64 = 9_000;
/// Takes `x` (3 values) and `counts` (2 whole numbers), gives `risk` (1 value) and `kinds` (7).
const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../operators/models/tests/onnx/perceptron.onnx");

const PIPELINE: &str = r#"
pipeline: scored
schemas:
  call:
    fields:
      - { name: at, type: timestamp, encoding: ms, required: true }
      - { name: number, type: int64, required: true }
      - { name: a, type: float64 }
      - { name: b, type: float64 }
      - { name: n, type: int64 }
sources:
  calls:
    archive: { path: "${ARCHIVES}/calls" }
    schema: call
    event_time: { field: at, lateness: 5s }
steps:
  risky:
    from: calls
    where: number % 10 <> 0
    score:
      model: MODEL
      inputs: { x: [a, b, { sum: a + b }], counts: [n, { twice: 2 * n }] }
      outputs: { risk: [risk] }
  per_minute:
    from: risky
    window: { tumbling: 1m }
    select:
      riskiest: arg_max(number, risk)
      missing: count(*) filter (where status = 'missing')
sinks:
  risky: { from: risky, parquet: {} }
  per_minute: { from: per_minute, parquet: {} }
"#;

fn text() -> String {
    PIPELINE.replace("MODEL", MODEL)
}

fn write_calls(folder: &Path) {
    let mut random = Random(5);
    let mut writer = ArchiveWriter::new(folder.join("calls"), ArchiveOptions::default()).expect("a folder");
    for number in 0..ROWS {
        let at = NOON_MS + number * 100 - random.below(3_000) as i64;
        let a = if random.below(50) == 0 { json!(null) } else { json!(random.unit() * 4.0 - 2.0) };
        let value = json!({ "at": at, "number": number, "a": a, "b": random.unit(), "n": random.below(9) });
        let (partition, offset) = ((number % 3) as i32, number / 3);
        let stamp = NOON_MS + number * 100;
        writer
            .push(partition, offset, stamp, None, Some(value.to_string().as_bytes()), &[])
            .expect("a record");
    }
    writer.finish().expect("the archive");
}

fn options(output: &Path, workers: usize, rows_max: usize) -> RunOptions {
    let limits = TickLimits { rows_max, ..TickLimits::default() };
    RunOptions { limits, ..RunOptions::new(workers, output) }
}

fn scored(folder: &Path) -> Plan {
    write_calls(folder);
    plan(&text(), folder)
}

#[test]
fn rows_are_scored_as_the_model_scores_them_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plan = scored(folder.path());
    let output = folder.path().join("one");
    job(&plan, &options(&output, 1, 65_536));
    let model = OnnxModel::from_bytes(&std::fs::read(MODEL).expect("the model")).expect("an ONNX model");
    let rows = query(&output, "select a, b, n, risk, status, model_version from risky order by number");
    assert_eq!(rows.len() as i64, ROWS * 9 / 10);
    let mut missing = 0;
    for row in &rows {
        let version = row["model_version"].as_str().expect("a version");
        assert!(version.starts_with(&format!("{MODEL}#")), "{version}");
        let [b, n] = ["b", "n"].map(|name| row[name].as_f64().expect("a number"));
        let Some(a) = row.get("a").and_then(serde_json::Value::as_f64) else {
            assert!(
                row["status"] == "missing" && row.get("risk").is_none_or(|risk| risk.is_null()),
                "{row:?}"
            );
            missing += 1;
            continue;
        };
        assert_eq!(row["status"], "ok");
        let (x, counts) = ([a as f32, b as f32, (a + b) as f32], [n as f32, 2.0 * n as f32]);
        let alone = model.infer(1, &[&x, &counts]).expect("a score").columns[0][0];
        assert_eq!(row["risk"].as_f64(), Some(f64::from(alone)), "{row:?}");
    }
    assert!(missing > 100, "{missing} rows lack an input");
}

#[test]
fn workers_ticks_and_crashes_change_no_score() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plan = scored(folder.path());
    let whole = folder.path().join("whole");
    job(&plan, &options(&whole, 1, 65_536));
    let same = |what: &str, other: &Path| {
        for table in ["risky", "per_minute"] {
            assert_same_rows(&format!("{what}: {table}"), &rows(&whole, table), &rows(other, table));
        }
    };
    let three = folder.path().join("three");
    job(&plan, &options(&three, 3, 50));
    same("three workers", &three);
    let broken = folder.path().join("broken");
    let mut breaks = 0;
    while !broken_off_after(1 + breaks % 3, &plan, &options(&broken, [1, 3, 2][breaks as usize % 3], 20)) {
        breaks += 1;
        assert!(breaks < 500, "the job does not come to an end");
    }
    assert!(breaks >= 2, "broken off {breaks} times only");
    same("broken off", &broken);
}

#[test]
fn a_model_without_time_says_so_in_rows_and_stops_no_job() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_calls(folder.path());
    // No batch of some thousand rows is done in a microsecond.
    let hasty =
        text().replace("outputs: { risk: [risk] }", "outputs: { risk: [risk] }\n      time_limit: 1us");
    let output = folder.path().join("hasty");
    job(&plan(&hasty, folder.path()), &options(&output, 2, 65_536));
    let counts =
        query(&output, "select status, count(*) as rows, count(risk) as risks from risky group by status");
    let total: i64 = counts.iter().map(|row| row["rows"].as_i64().expect("a count")).sum();
    assert_eq!(total, ROWS * 9 / 10, "every row is there: {counts:?}");
    let timed_out =
        counts.iter().find(|row| row["status"] == "timed_out").expect("a batch that took too long");
    assert_eq!(timed_out["risks"], 0);
}

#[test]
fn what_does_not_fit_the_model_is_told() {
    let problems = |text: &str| -> Vec<String> {
        let env = |name: &str| (name == "ARCHIVES").then(|| "archives".to_owned());
        let problems = plan::load(text, Path::new("p.yaml"), &env).expect_err("a problem");
        problems.iter().map(ToString::to_string).collect()
    };
    let inputs = "{ x: [a, b, { sum: a + b }], counts: [n, { twice: 2 * n }] }";
    let wrong = text()
        .replace(inputs, "{ y: [a], counts: [n] }")
        .replace("{ risk: [risk] }", "{ risks: [r], kinds: [k, at] }");
    let said = problems(&wrong).join("\n");
    for part in [
        "score.inputs.y: the model has no input \"y\"; did you mean \"x\"?",
        "score.inputs.counts: 1 columns, where the model's input \"counts\" has 2 values; name 2 columns",
        "score.inputs: the model's input \"x\" is missing; say which 3 columns make it: x: [a, b, …]",
        "score.outputs.risks: the model has no output \"risks\"; did you mean \"risk\"?",
        "score.outputs.kinds: 2 columns, where the model's output \"kinds\" has 7 values; name 7 columns",
    ] {
        assert!(said.contains(part), "{part}\nis not in\n{said}");
    }
    let nowhere = problems(&text().replace(MODEL, "models/churn@3")).join("\n");
    assert!(nowhere.contains("steps.risky.score.model:") && nowhere.contains("models"), "{nowhere}");
    let not_there = problems(&text().replace(MODEL, "nothing.onnx")).join("\n");
    assert!(not_there.contains("can't read nothing.onnx"), "{not_there}");
    let own = problems(&text().replace("{ risk: [risk] }", "{ risk: [status] }")).join("\n");
    assert!(own.contains("score.outputs.risk: the name \"status\" is given twice"), "{own}");
    let taken = problems(&text().replace("{ risk: [risk] }", "{ risk: [number] }")).join("\n");
    assert!(taken.contains("score adds number, which the rows have already"), "{taken}");
}
