//! A job goes on from its checkpoints: on other numbers of workers, after a damaged one, in a pipeline that was changed.

use std::fs;
use std::path::Path;

use thalweg::plan::Plan;
use thalweg::run::{GoOn, RunError, RunOptions, prepare, run};
use thalweg_engine::cluster::Cluster;
use thalweg_engine::control::Control;
use thalweg_engine::tick::TickLimits;
use thalweg_operators::source::archive::{ArchiveOptions, ArchiveWriter};

use crate::support::{
    Random, assert_same_rows, broken_off_after, files, job, newest_checkpoint, plan, query, rows,
};

const SOURCE: &str = r#"
pipeline: recovers
schemas:
  event:
    fields:
      - { name: at, type: timestamp, encoding: ms, required: true }
      - { name: user, type: string, required: true }
      - { name: cost, type: float64 }
sources:
  events:
    archive: { path: "${ARCHIVES}/events" }
    schema: event
    event_time: { field: at, lateness: 5s }
"#;

const STEPS: &str = r#"
steps:
  dear: { from: events, where: cost > 0.5 }
  per_minute:
    from: dear
    window: { tumbling: 1m }
    by: [user]
    select: { events: count(*), cost: sum(cost), users: count(distinct user) }
  sliding: { from: events, window: { hopping: 5m, every: 1m }, by: [user], select: { p95: "quantile(cost, 0.95)" } }
  sessions: { from: events, window: { session: 30s }, by: [user], select: { events: count(*), last: last_value(cost) } }
  limited: { from: events, window: { session: 30s, max: 2m }, by: [user], select: { events: count(*), dearest: max(cost) } }
  hours: { from: sessions, window: { tumbling: 1h }, select: { sessions: count(*), events: sum(events) } }
sinks:
  per_minute: { from: per_minute, parquet: { partition_by: [window_date] } }
  sliding: { from: sliding, parquet: {} }
  sessions: { from: sessions, jsonl: {} }
  limited: { from: limited, parquet: {} }
  hours: { from: hours, parquet: {} }
  dear: { from: dear, parquet: {} }
"#;

const SINKS: [&str; 8] =
    ["per_minute", "sliding", "sessions", "limited", "hours", "dear", "_late", "_rejected"];
/// 2026-03-02T12:00:00Z.
const NOON_MS: i64 = 1_772_452_800_000;

/// An hour of events of some users in three partitions, some of them late, some broken.
fn write_events(folder: &Path, events: i64) {
    let mut random = Random(7);
    let mut writer = ArchiveWriter::new(folder.join("events"), ArchiveOptions::default()).expect("a folder");
    for i in 0..events {
        let at = NOON_MS + i * 3_600_000 / events - random.below(8_000) as i64;
        let (user, cost) = (random.below(200), random.unit());
        let value = match random.below(500) {
            0 => "{\"at\": ".to_owned(),
            _ => format!("{{\"at\": {at}, \"user\": \"u{user}\", \"cost\": {cost}}}"),
        };
        let stamp = NOON_MS + i * 3_600_000 / events;
        writer.push((i % 3) as i32, i / 3, stamp, None, Some(value.as_bytes()), &[]).expect("a record");
    }
    writer.finish().expect("the archive");
}

fn options(output: &Path, workers: usize) -> RunOptions {
    let limits = TickLimits { rows_max: 20, ..TickLimits::default() };
    RunOptions { limits, ..RunOptions::new(workers, output) }
}

fn events_plan(folder: &Path, steps: &str) -> Plan {
    plan(&format!("{SOURCE}{steps}"), folder)
}

fn assert_same_outputs(what: &str, left: &Path, right: &Path) {
    for sink in SINKS {
        assert_same_rows(&format!("{what}: {sink}"), &rows(left, sink), &rows(right, sink));
    }
}

#[test]
fn a_job_that_is_broken_off_again_and_again_writes_what_an_undisturbed_one_writes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_events(folder.path(), 30_000);
    let plan = events_plan(folder.path(), STEPS);
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    job(&plan, &options(&whole, 2));
    let mut breaks = 0;
    while !broken_off_after(1 + breaks % 4, &plan, &options(&broken, [1, 4, 2, 3][breaks as usize % 4])) {
        breaks += 1;
        assert!(breaks < 500, "the job does not come to an end");
    }
    assert!(breaks >= 2, "broken off {breaks} times only");
    assert_same_outputs("broken off", &whole, &broken);
    let last = newest_checkpoint(&plan, &broken);
    let total = last.sources[0].total;
    assert_eq!(total.read, 30_000);
    assert_eq!(total.read, total.accepted + total.late + total.rejected);
    assert!(total.late > 0 && total.rejected > 0, "{total:?}");
    for sink in &last.sinks {
        assert_eq!(sink.rows_total, rows(&broken, &sink.name).len() as u64, "{}", sink.name);
    }
}

#[test]
fn an_earlier_checkpoint_can_be_gone_back_to_and_a_damaged_one_is_no_fresh_start() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_events(folder.path(), 20_000);
    let plan = events_plan(folder.path(), STEPS);
    let (whole, output) = (folder.path().join("whole"), folder.path().join("output"));
    job(&plan, &options(&whole, 1));
    assert!(!broken_off_after(2, &plan, &options(&output, 2)), "the job is too short");
    let newest = newest_checkpoint(&plan, &output);

    // A byte of the newest state file: a run says so, and changes nothing.
    let state = output.join("_checkpoints").join(&newest.state.last().expect("state").path);
    let sound = fs::read(&state).expect("a state file");
    let mut damaged = sound.clone();
    damaged[sound.len() / 2] ^= 0x40;
    fs::write(&state, &damaged).expect("a state file");
    let error = run(&plan, &options(&output, 1), &Control::new()).expect_err("damaged state").to_string();
    assert!(error.contains("is damaged") && error.contains("--from") && error.contains("--fresh"), "{error}");

    // Of the newest manifest as well.
    let log = files(&output.join("_checkpoints/log"));
    let manifest = log
        .iter()
        .rev()
        .find(|file| fs::read_to_string(file).expect("a record").contains("\"checkpoint\""))
        .expect("a manifest");
    let text = fs::read_to_string(manifest).expect("a manifest");
    fs::write(manifest, text.replace("\"generation\": 1", "\"generation\": 9")).expect("a manifest");
    let error = run(&plan, &options(&output, 1), &Control::new()).expect_err("a damaged one").to_string();
    assert!(error.contains("checksum does not fit") && error.contains("--from"), "{error}");

    let back = newest.number - 1;
    let gone_back = RunOptions { go_on: GoOn::From(back), ..options(&output, 3) };
    job(&plan, &gone_back);
    assert_same_outputs("gone back", &whole, &output);
    let missing = RunOptions { go_on: GoOn::From(9_999), ..options(&output, 3) };
    let error = run(&plan, &missing, &Control::new()).expect_err("no such checkpoint").to_string();
    assert!(error.contains("there is no checkpoint 9999; there are"), "{error}");
}

#[test]
fn a_stopped_job_keeps_its_open_windows_and_goes_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_events(folder.path(), 30_000);
    let plan = events_plan(folder.path(), STEPS);
    let (whole, output) = (folder.path().join("whole"), folder.path().join("output"));
    job(&plan, &options(&whole, 2));
    let control = Control::new();
    let ready = prepare(&plan, &options(&output, 2), &control).expect("a job");
    control.stop();
    let summary = ready.run().expect("a job that stops");
    assert!(summary.stopped);
    let stopped_at = newest_checkpoint(&plan, &output);
    assert!(!stopped_at.finished && stopped_at.number == 1, "{stopped_at:?}");
    job(&plan, &options(&output, 3));
    assert_same_outputs("stopped", &whole, &output);
}

#[test]
fn what_holds_no_state_may_change_and_other_changes_are_refused_with_what_they_are() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_events(folder.path(), 20_000);
    let plan = events_plan(folder.path(), STEPS);
    let output = folder.path().join("output");
    assert!(!broken_off_after(2, &plan, &options(&output, 2)), "the job is too short");

    let changed = STEPS.replace("{ session: 30s }", "{ session: 45s }").replace("cost > 0.5", "cost > 0.6");
    let refusal = run(&events_plan(folder.path(), &changed), &options(&output, 2), &Control::new());
    let refusal = refusal.expect_err("another gap");
    assert!(matches!(refusal, RunError::Changed { .. }), "{refusal}");
    let text = refusal.to_string();
    for part in ["step sessions: window", "step dear: where", "cost > 0.5", "cost > 0.6", "--fresh"] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    assert!(!text.contains("step limited"), "it was not changed\n{text}");

    // A sink, a filter behind a window, and aggregates more; one less.
    let grown = STEPS
        .replace(
            "select: { events: count(*), dearest: max(cost) }",
            "select: { events: count(*), cheapest: min(cost) }",
        )
        .replace(
            "users: count(distinct user) }",
            "users: count(distinct user), dearest: max(cost) }\n    having: events > 1",
        )
        + "  more: { from: per_minute, parquet: {} }\n";
    let grown_plan = events_plan(folder.path(), &grown);
    let before = newest_checkpoint(&plan, &output);
    let seen = before.sources[0].splits.iter().filter_map(|split| split.highest).max().expect("rows");
    job(&grown_plan, &options(&output, 3));
    let whole = folder.path().join("whole");
    job(&events_plan(folder.path(), &grown), &options(&whole, 1));
    for sink in ["sliding", "sessions", "hours", "dear", "_late", "_rejected"] {
        assert_same_rows(sink, &rows(&output, sink), &rows(&whole, sink));
    }
    // New aggregates are right for windows that began later, and null for those that did not.
    let later = format!("window_start > to_timestamp_micros({seen})");
    for (sink, column) in [("per_minute", "dearest"), ("limited", "cheapest")] {
        let of = |folder: &Path, condition: &str| {
            let columns = format!("window_start, \"user\", events, {column}");
            query(folder, &format!("select {columns} from {sink} where {condition} order by 1, 2"))
        };
        assert_eq!(of(&output, &later), of(&whole, &later), "{sink}");
        let older =
            of(&output, &format!("not ({later}) and window_end > to_timestamp_micros({})", before.watermark));
        assert!(!older.is_empty() && older.iter().all(|row| row[column].is_null()), "{sink}: {older:?}");
    }
    let all = query(&whole, &format!("select count(*) as n from more where {later}"));
    let some = query(&output, &format!("select count(*) as n from more where {later}"));
    assert_eq!(all, some, "a new sink has what comes from now on");
}

#[test]
fn a_job_that_was_thrown_away_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_events(folder.path(), 5_000);
    let plan = events_plan(folder.path(), STEPS);
    let (whole, output) = (folder.path().join("whole"), folder.path().join("output"));
    job(&plan, &options(&whole, 1));
    broken_off_after(2, &plan, &options(&output, 2));
    let fresh =
        RunOptions { go_on: GoOn::Fresh, cluster: Cluster::Threads { workers: 3 }, ..options(&output, 3) };
    job(&plan, &fresh);
    assert_same_outputs("fresh", &whole, &output);
    let newest = newest_checkpoint(&plan, &output);
    assert_eq!((newest.generation, newest.sources[0].total.read), (2, 5_000), "older runs are fenced off");
}
