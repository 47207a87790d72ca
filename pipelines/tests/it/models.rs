//! What models say of rows is a function of the pipeline and its input: on any number of workers, in ticks of any size, through crashes,
//! and in backtests.

use std::path::{Path, PathBuf};

use thalweg::plan::Plan;
use thalweg::run::{Period, RunError, RunOptions, run};
use thalweg_engine::control::Control;
use thalweg_engine::tick::TickLimits;
use thalweg_operators::source::archive::{ArchiveOptions, ArchiveWriter};

use crate::support::{Random, assert_same_rows, broken_off_after, job, plan, query, rows};

/// 2026-03-02T12:00:00Z.
pub(crate) const NOON_MS: i64 = 1_772_452_800_000;
const SECONDS: i64 = 4 * 3600;
const TABLES: [&str; 5] = ["watched", "raw", "ahead", "outlook", "alarms"];

pub(crate) const PIPELINE: &str = r#"
pipeline: models
schemas:
  call:
    fields:
      - { name: at, type: timestamp, encoding: ms, required: true }
      - { name: model, type: string, required: true }
      - { name: latency_ms, type: float64 }
      - { name: failed, type: bool }
      - { name: step, type: int64 }
sources:
  calls:
    archive: { path: "${ARCHIVES}/calls" }
    schema: call
    event_time: { field: at, lateness: 20s }
steps:
  per_half_minute:
    from: calls
    window: { tumbling: 30s }
    by: [model]
    select:
      calls: count(*)
      p95_ms: quantile(latency_ms, 0.95)
      failed: count(*) filter (where failed) / cast(count(*) as double)
  watched:
    from: per_half_minute
    detect: { on: [p95_ms, failed], by: [model], false_alarms: 1/day, settle: 1h }
  # Rows of one instant, and rows that wait for the watermark when the job is broken off.
  raw:
    from: calls
    where: failed is not null
    detect: { on: { latency: latency_ms }, by: [model], method: ewma }
  ahead:
    from: per_half_minute
    forecast: { of: calls, by: [model], horizon: [30s, 10m], quantiles: [0.05, 0.95], threshold: 60 }
  curve:
    from: calls
    window: { tumbling: 2m }
    by: [model]
    select: { step: max(step), best: max(latency_ms) }
  outlook:
    from: curve
    converge: { of: best, over: step, by: [model], target: 500, stall_after: 5 }
  alarms:
    from: per_half_minute
    detect: { on: p95_ms, by: [] , method: mad }
    having: is_anomaly
sinks:
  watched: { from: watched, parquet: {} }
  raw: { from: raw, parquet: {} }
  ahead: { from: ahead, parquet: {} }
  outlook: { from: outlook, parquet: {} }
  alarms: { from: alarms, jsonl: {} }
"#;

/// Some hours of calls to a dozen models in three partitions, up to 15 s out of order. One model is slow for a while.
pub(crate) fn write_calls(folder: &Path) {
    write_calls_and_newcomers(folder, 0);
}

/// When models come that were not there before, and how long it takes until they are slow.
const NEWCOMERS_AT: i64 = 7_830;
const NEWCOMERS_WELL: i64 = 7 * 30;

/// The same, and calls to some models more, which begin after two hours and soon are slow.
pub(crate) fn write_calls_and_newcomers(folder: &Path, newcomers: i64) {
    let mut random = Random(11);
    let mut writer = ArchiveWriter::new(folder.join("calls"), ArchiveOptions::default()).expect("a folder");
    let mut offsets = [0; 3];
    for second in 0..SECONDS {
        let stamp = NOON_MS + second * 1000;
        for number in (0..newcomers).filter(|number| second >= NEWCOMERS_AT && (second + number) % 4 == 0) {
            let is_slow = second >= NEWCOMERS_AT + NEWCOMERS_WELL;
            let latency = (100.0 + 20.0 * random.unit()) * if is_slow { 3.0 } else { 1.0 };
            let value = format!(
                "{{\"at\": {stamp}, \"model\": \"new{number}\", \"latency_ms\": {latency:.3}, \"failed\": false, \"step\": 1}}"
            );
            writer.push(0, offsets[0], stamp, None, Some(value.as_bytes()), &[]).expect("a record");
            offsets[0] += 1;
        }
        for _ in 0..4 {
            let model = random.below(12);
            let at = stamp - 500 * random.below(30) as i64;
            let is_slow = model == 3 && (9_000..9_600).contains(&second);
            let latency = 100.0 + 20.0 * random.unit() + if is_slow { 400.0 } else { 0.0 };
            let latency = if random.below(200) == 0 { "null".to_owned() } else { format!("{latency:.3}") };
            let failed = random.below(20) == 0;
            let value = format!(
                "{{\"at\": {at}, \"model\": \"m{model}\", \"latency_ms\": {latency}, \"failed\": {failed}, \"step\": {}}}",
                second / 60
            );
            let partition = random.below(3) as usize;
            writer
                .push(partition as i32, offsets[partition], stamp, None, Some(value.as_bytes()), &[])
                .expect("a record");
            offsets[partition] += 1;
        }
    }
    writer.finish().expect("the archive");
}

pub(crate) fn options(output: &Path, workers: usize, rows_max: usize) -> RunOptions {
    let limits = TickLimits { rows_max, ..TickLimits::default() };
    RunOptions { limits, ..RunOptions::new(workers, output) }
}

pub(crate) fn assert_same_outputs(what: &str, left: &Path, right: &Path) {
    for table in TABLES {
        let left = rows(left, table);
        assert!(!left.is_empty(), "{table} is empty");
        assert_same_rows(&format!("{what}: {table}"), &left, &rows(right, table));
    }
}

/// Broken off again and again, on other workers each time, a job writes what it wrote whole.
fn assert_same_when_broken_off(plan: &Plan, broken: &Path, whole: &Path) {
    let mut breaks = 0;
    while !broken_off_after(1 + breaks % 4, plan, &options(broken, [1, 4, 2, 3][breaks as usize % 4], 60)) {
        breaks += 1;
        assert!(breaks < 500, "the job does not come to an end");
    }
    assert!(breaks >= 2, "broken off {breaks} times only");
    assert_same_outputs("broken off", whole, broken);
}

struct Whole {
    folder: tempfile::TempDir,
    plan: Plan,
    output: PathBuf,
}

fn whole() -> Whole {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_calls(folder.path());
    let plan = plan(PIPELINE, folder.path());
    let output = folder.path().join("whole");
    job(&plan, &options(&output, 1, 65_536));
    Whole { folder, plan, output }
}

#[test]
fn workers_and_ticks_change_nothing() {
    let Whole { folder, plan, output } = whole();
    for (workers, rows_max) in [(3, 65_536), (2, 500), (4, 37)] {
        let other = folder.path().join(format!("other-{workers}-{rows_max}"));
        job(&plan, &options(&other, workers, rows_max));
        assert_same_outputs(&format!("{workers} workers, ticks of {rows_max}"), &output, &other);
    }
    let counts = query(
        &output,
        "select count(*) as rows, count(distinct model) as models, max(n_seen) as seen, count(p_value) as judged, \
         max(abs(attribution['p95_ms'] + attribution['failed'] - 1)) as off from watched",
    );
    assert_eq!(counts[0]["models"], 12);
    let rows = counts[0]["rows"].as_i64().expect("a count");
    assert!(counts[0]["judged"].as_i64().expect("a count") > rows * 9 / 10, "{counts:?}");
    assert!(counts[0]["off"].as_f64().expect("a number") < 1e-9, "{counts:?}");
    let found = query(
        &output,
        "select min(window_start) as first from watched where is_anomaly and model = 'm3' \
         and window_start >= timestamp '2026-03-02 14:29:00' and window_start < timestamp '2026-03-02 14:41:00'",
    );
    let first = found[0]["first"].as_str().expect("the slow model was found");
    // Calls come up to 15 s before their time.
    assert!(("2026-03-02T14:29:30".."2026-03-02T14:31:00").contains(&first), "found at {first}");
    let horizons = query(&output, "select horizon_s, count(*) as rows from ahead group by 1 order by 1");
    assert_eq!(horizons.len(), 2);
    assert_eq!(horizons[0]["rows"], horizons[1]["rows"]);
}

#[test]
fn jobs_that_are_broken_off_again_and_again_go_on_with_what_models_knew() {
    let Whole { folder, plan, output } = whole();
    assert_same_when_broken_off(&plan, &folder.path().join("broken"), &output);
}

#[test]
fn keys_that_begin_among_others_are_judged_after_some_rows_alike_on_any_workers_and_through_crashes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_calls_and_newcomers(folder.path(), 6);
    let plan = plan(PIPELINE, folder.path());
    let whole = folder.path().join("whole");
    job(&plan, &options(&whole, 1, 65_536));
    let found = query(
        &whole,
        "select model, min(n_seen) filter (where status <> 'warming') as judged, min(n_seen) filter (where is_anomaly) as slow \
         from watched where model like 'new%' group by model order by model",
    );
    assert_eq!(found.len(), 6);
    for model in &found {
        assert_eq!((&model["judged"], &model["slow"]), (&5.into(), &8.into()), "{found:?}");
    }
    for (workers, rows_max) in [(3, 65_536), (2, 211)] {
        let other = folder.path().join(format!("other-{workers}"));
        job(&plan, &options(&other, workers, rows_max));
        assert_same_outputs(&format!("{workers} workers"), &whole, &other);
    }
    assert_same_when_broken_off(&plan, &folder.path().join("broken"), &whole);
}

#[test]
fn a_piece_of_the_past_is_judged_as_it_was_when_all_before_it_is_read() {
    let Whole { folder, plan, output } = whole();
    let (from, to) = (NOON_MS * 1000 + 2 * 3_600_000_000, NOON_MS * 1000 + 3 * 3_600_000_000);
    let period = Period { from_us: Some(from), to_us: Some(to), ..Period::default() };
    let piece = folder.path().join("piece");
    job(&plan, &RunOptions { period: Some(period), ..options(&piece, 2, 65_536) });
    let all = query(
        &output,
        "select * from watched where window_start >= timestamp '2026-03-02 14:00:00' \
         and window_start < timestamp '2026-03-02 15:00:00' order by window_start, model",
    );
    let some = query(&piece, "select * from watched order by window_start, model");
    assert!(all == some, "{} rows of all, {} of the piece", all.len(), some.len());
}

#[test]
fn another_model_does_not_go_on_with_what_was_known() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_calls(folder.path());
    let first = plan(PIPELINE, folder.path());
    let output = folder.path().join("output");
    assert!(!broken_off_after(2, &first, &options(&output, 2, 60)), "the job is too short");
    let changed = plan(&PIPELINE.replace("settle: 1h", "settle: 2h"), folder.path());
    let error = run(&changed, &options(&output, 2, 60), &Control::new()).expect_err("another model");
    assert!(matches!(error, RunError::Changed { .. }), "{error}");
    assert!(error.to_string().contains("step watched: model"), "{error}");
    // What comes behind a model has no state.
    let behind =
        plan(&PIPELINE.replace("having: is_anomaly", "having: is_anomaly and score > 0"), folder.path());
    job(&behind, &options(&output, 3, 65_536));
}
