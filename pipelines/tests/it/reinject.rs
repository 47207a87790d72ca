//! Refused rows go back into a topic or an archive: mended, and once, whatever happens in between.
//!
//! ```text
//!   dirty archive ─▶ job ─▶ _rejected, _late ─▶ reinject ─┬─▶ archive ─▶ job: accepted
//!                           many checkpoints     ▲        └─▶ topic ───▶ job: accepted
//!                                                └ killed, run again, run while the job goes on
//! ```

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value as Json;
use thalweg::plan::Plan;
use thalweg::reinject::{
    Counts, ROWS_AT_ONCE, Refused, ReinjectError, ReinjectOptions, ReinjectSummary, Target, preview, reinject,
};
use thalweg::run::RunOptions;
use thalweg_engine::control::Control;
use thalweg_engine::tick::TickLimits;
use thalweg_operators::source::archive::{ArchiveOptions, ArchiveWriter};

use crate::binary::{LIMIT, Run, committed_records};
use crate::kafka::{broker, new_topic};
use crate::patience::holds_within;
use crate::support::{assert_same_rows, broken_off_after, job, plan, query, rows};

/// Where this test crashes the process.
pub(crate) const POINTS: [&str; 4] =
    ["reinject::staged", "reinject::noted", "reinject::published_a_file", "reinject::sent"];

const PIPELINE: &str = r#"
pipeline: refuses
schemas:
  event:
    fields:
      - { name: at, type: timestamp, encoding: ms, required: true }
      - { name: id, type: int64, required: true }
      - { name: price, type: float64 }
sources:
  events:
    SOURCE
    schema: event
    event_time: { field: at, lateness: 2s }
steps:
  plain: { from: events, select: [id, price, { where_from: _headers }] }
sinks:
  plain: { from: plain, parquet: {} }
"#;
const ARCHIVE: &str = "archive: { path: \"${ARCHIVES}/events\" }";

/// 2026-03-02T12:00:00Z.
const NOON_MS: i64 = 1_772_452_800_000;
const PARTITIONS: i32 = 3;
const OFFSETS: i64 = 10_000;
const CONDITION: &str = "reason in ('invalid_json', 'invalid_utf8')";
const SET: &str = "value = replace(value, 'NaN', 'null')";

/// What is wrong with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Can be mended.
    NaN,
    /// Can't be read as text.
    Bytes,
    NoValue,
    Late,
}

fn fault(offset: i64) -> Option<Fault> {
    match offset {
        offset if offset % 10 == 3 => Some(Fault::NaN),
        offset if offset % 50 == 7 => Some(Fault::Bytes),
        offset if offset % 100 == 9 => Some(Fault::NoValue),
        offset if offset % 40 == 21 && offset > 1000 => Some(Fault::Late),
        _ => None,
    }
}

fn id(partition: i32, offset: i64) -> i64 {
    i64::from(partition) * 1_000_000 + offset
}

/// The ids of all records with a fault.
fn ids(wanted: Fault) -> BTreeSet<i64> {
    let of = |partition| {
        let wanted = (0..OFFSETS).filter(move |offset| fault(*offset) == Some(wanted));
        wanted.map(move |offset| id(partition, offset))
    };
    (0..PARTITIONS).flat_map(of).collect()
}

fn planted(fault: Fault) -> u64 {
    ids(fault).len() as u64
}

fn write_events(folder: &Path) {
    let mut writer = ArchiveWriter::new(folder.join("events"), ArchiveOptions::default()).expect("a folder");
    for offset in 0..OFFSETS {
        for partition in 0..PARTITIONS {
            let (id, fault) = (id(partition, offset), fault(offset));
            let stamp = NOON_MS + offset * 20;
            let at = if fault == Some(Fault::Late) { stamp - 10_000 } else { stamp };
            let value = match fault {
                Some(Fault::NaN) => Some(format!("{{\"at\":{at},\"id\":{id},\"price\":NaN}}").into_bytes()),
                Some(Fault::Bytes) => Some([b"{\"id\":\"\xff".as_slice(), &id.to_le_bytes()].concat()),
                Some(Fault::NoValue) => None,
                Some(Fault::Late) | None => {
                    Some(format!("{{\"at\":{at},\"id\":{id},\"price\":1.5}}").into_bytes())
                }
            };
            let key = format!("k{id}");
            writer
                .push(partition, offset, stamp, Some(key.as_bytes()), value.as_deref(), &[])
                .expect("a record");
        }
    }
    writer.finish().expect("the archive");
}

/// A plan that makes one checkpoint after the other.
fn over_archive(archives: &Path) -> Plan {
    let mut plan = plan(&PIPELINE.replace("SOURCE", ARCHIVE), archives);
    plan.checkpoint.interval_us = 0;
    plan
}

fn options(output: &Path) -> RunOptions {
    let limits = TickLimits { rows_max: 100, ..TickLimits::default() };
    RunOptions { limits, ..RunOptions::new(2, output) }
}

/// A job's output with refused rows of many checkpoints, some of them of runs that were broken off.
fn refusing_job(folder: &Path) -> PathBuf {
    write_events(folder);
    let (plan, output) = (over_archive(folder), folder.join("output/my_pipeline"));
    let broken_off = (0..4).take_while(|_| !broken_off_after(1, &plan, &options(&output))).count();
    assert!(broken_off < 4 || broken_off_after(u64::MAX, &plan, &options(&output)), "the job does not end");
    let refused = ["_rejected", "_late"].map(|name| checkpoints(&output.join(name)));
    assert!(
        refused.into_iter().all(|checkpoints| checkpoints >= 3),
        "broken off {broken_off} times, {refused:?} checkpoints"
    );
    output
}

/// How many checkpoints have files in a folder.
fn checkpoints(folder: &Path) -> usize {
    let names = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    let number = |name: std::ffi::OsString| name.to_string_lossy().split('-').nth(1).map(str::to_owned);
    names.filter_map(number).collect::<BTreeSet<_>>().len()
}

fn into_archive(output: &Path, folder: &Path) -> ReinjectOptions {
    ReinjectOptions {
        from: output.to_owned(),
        refused: Refused::Rejected,
        condition: Some(CONDITION.to_owned()),
        sets: vec![SET.to_owned()],
        target: Target::Archive(folder.to_owned()),
        name: None,
        rows_at_once: 100,
    }
}

fn into_topic(output: &Path, topic: &str) -> ReinjectOptions {
    let (brokers, topic) = (broker().brokers().to_owned(), topic.to_owned());
    let target = Target::Topic { topic, brokers, properties: Default::default() };
    ReinjectOptions { target, ..into_archive(output, Path::new("")) }
}

fn sent(options: &ReinjectOptions) -> ReinjectSummary {
    reinject(options, &Control::new(), &|_, _| {}).unwrap_or_else(|error| panic!("{error}"))
}

fn expected() -> Counts {
    Counts {
        read: planted(Fault::NaN) + planted(Fault::Bytes) + planted(Fault::NoValue),
        not_selected: planted(Fault::NoValue),
        without_value: planted(Fault::Bytes),
        sent: planted(Fault::NaN),
        mended: planted(Fault::NaN),
    }
}

/// The ids that a job over `source` accepts, without one twice, and the headers of the first of them.
fn accepted(source: &str, archives: &Path, output: &Path) -> (BTreeSet<i64>, Json) {
    let summary = job(&plan(&PIPELINE.replace("SOURCE", source), archives), &options(output));
    let rows = query(output, "select id, price, where_from from plain order by id");
    assert_eq!(
        (summary.sources[0].read, summary.sources[0].accepted),
        (rows.len() as u64, rows.len() as u64)
    );
    let ids: BTreeSet<i64> = rows.iter().filter_map(|row| row["id"].as_i64()).collect();
    assert_eq!(ids.len(), rows.len(), "an id comes twice");
    (ids, rows[0]["where_from"].clone())
}

#[test]
fn mended_rows_are_accepted_from_an_archive_and_sent_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = refusing_job(folder.path());
    let mended = folder.path().join("mended");
    let options = into_archive(&output, &mended.join("events"));

    let (looked, samples) = preview(&options, 5, &Control::new(), &|_, _| {}).expect("a preview");
    assert_eq!((looked.counts, looked.dry_run, samples.len()), (expected(), true, 5));
    assert!(samples[0].value_before.as_deref().is_some_and(|value| value.contains("NaN")), "{samples:?}");
    assert!(samples[0].value.as_deref().is_some_and(|value| value.contains("null")), "{samples:?}");
    assert!(!mended.exists(), "a preview leaves something behind");

    // Told to stop, it sends nothing, and leaves all to the next run.
    let control = Control::new();
    control.stop();
    let stopped = reinject(&options, &control, &|_, _| {}).expect("a run that stops");
    assert_eq!((stopped.stopped, stopped.counts), (true, Counts::default()));

    let summary = sent(&options);
    assert_eq!((summary.counts, summary.sent_before, summary.unpublished), (expected(), None, None));
    let again = sent(&options);
    assert_eq!((again.counts, again.checkpoints), (Counts::default(), None));
    assert_eq!(again.sent_before, summary.checkpoints.map(|(_, last)| last));

    let (ids_there, headers) = accepted(ARCHIVE, &mended, &folder.path().join("accepted"));
    assert_eq!(ids_there, ids(Fault::NaN));
    let headers = headers.to_string();
    for part in ["thalweg.source", "thalweg.topic", "thalweg.partition", "thalweg.offset", "thalweg.reason"] {
        assert!(headers.contains(part), "{headers}");
    }
    let columns = "partition, \"offset\", timestamp, cast(key as varchar) as key";
    let first =
        query(&mended, &format!("select {columns} from events where partition = 1 order by 2 limit 2"));
    let first: Vec<String> = first.into_iter().map(|row| Json::Object(row).to_string()).collect();
    assert_eq!(
        first,
        [
            r#"{"key":"k1000003","offset":0,"partition":1,"timestamp":"2026-03-02T12:00:00.060Z"}"#,
            r#"{"key":"k1000013","offset":1,"partition":1,"timestamp":"2026-03-02T12:00:00.260Z"}"#,
        ]
    );

    // Another selection is another reinjection, and adds to the archive.
    let others = ReinjectOptions {
        condition: Some("reason = 'no_value'".to_owned()),
        sets: vec!["value = concat('{\"at\":', 1000 * to_unixtime(timestamp), ',\"id\":', 7000000 + partition * 10000 + offset, '}')".to_owned()],
        ..options.clone()
    };
    assert_eq!(sent(&others).counts.sent, planted(Fault::NoValue));
    let both = query(
        &mended,
        "select count(*) as n, count(distinct concat(partition, '/', \"offset\")) as places from events",
    );
    let all = planted(Fault::NaN) + planted(Fault::NoValue);
    assert_eq!((both[0]["n"].as_u64(), both[0]["places"].as_u64()), (Some(all), Some(all)));

    // While somebody else holds the archive, nothing is written to it.
    let lock = File::open(mended.join("events/.reinjected/lock")).expect("the lock");
    lock.lock().expect("nobody holds it");
    let busy = reinject(&options, &Control::new(), &|_, _| {});
    assert!(matches!(busy, Err(ReinjectError::Busy { .. })), "{busy:?}");
}

#[test]
fn late_rows_are_on_time_in_an_archive_of_their_own() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = refusing_job(folder.path());
    let late = folder.path().join("late");
    let options = ReinjectOptions {
        refused: Refused::Late,
        condition: None,
        sets: Vec::new(),
        ..into_archive(&output, &late.join("events"))
    };
    let counts = sent(&options).counts;
    assert_eq!((counts.sent, counts.mended, counts.read), (planted(Fault::Late), 0, planted(Fault::Late)));
    assert_eq!(accepted(ARCHIVE, &late, &folder.path().join("accepted")).0, ids(Fault::Late));
}

#[test]
fn what_a_job_refuses_later_is_sent_later() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_events(folder.path());
    let (plan, output) = (over_archive(folder.path()), folder.path().join("output"));
    let mended = folder.path().join("mended");
    let topic = new_topic(broker().brokers(), "later", PARTITIONS);
    let (mut archived, mut to_topic) = (Counts::default(), Counts::default());
    let mut rounds = 0;
    loop {
        let ended = broken_off_after(3, &plan, &options(&output));
        if ended || output.join("_rejected").exists() {
            archived += sent(&into_archive(&output, &mended.join("events"))).counts;
            to_topic += sent(&into_topic(&output, &topic)).counts;
            rounds += 1;
        }
        if ended {
            break;
        }
    }
    assert!(rounds >= 3, "only {rounds} rounds");
    assert_eq!((archived, to_topic), (expected(), expected()));
    assert_eq!(accepted(ARCHIVE, &mended, &folder.path().join("accepted")).0, ids(Fault::NaN));
    let source = format!("kafka: {{ topic: {topic}, brokers: \"{}\", end: latest }}", broker().brokers());
    let (ids_there, headers) = accepted(&source, folder.path(), &folder.path().join("from_topic"));
    assert_eq!(ids_there, ids(Fault::NaN));
    assert!(headers.to_string().contains("thalweg.offset"), "{headers}");
}

#[test]
fn rows_are_sent_while_their_job_runs() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_events(folder.path());
    let (pipeline, output) = (folder.path().join("pipeline.yaml"), folder.path().join("output"));
    let checkpoint = "pipeline: refuses\ncheckpoint: { interval: 100ms, every_rows: 1_000 }\n";
    let text = PIPELINE.replace("SOURCE", ARCHIVE).replace("pipeline: refuses\n", checkpoint);
    fs::write(&pipeline, text).expect("a pipeline");
    // Checkpoints are seen half published for a while.
    let mut running = Run {
        workers: 3,
        environment: vec![("ARCHIVES", folder.path().into())],
        failpoints: "sink::published_a_file=sleep(40)".to_owned(),
        ..Run::new(&pipeline, &output)
    }
    .start();
    let options = into_archive(&output, &folder.path().join("mended/events"));
    let (mut counts, mut rounds, mut waited) = (Counts::default(), 0, 0);
    let ended = holds_within(LIMIT, || {
        let ended = running.ended_within(Duration::ZERO).is_some();
        if ended || output.join("_rejected").exists() {
            let summary = sent(&options);
            counts += summary.counts;
            rounds += u32::from(summary.counts.read > 0);
            waited += u32::from(summary.unpublished.is_some());
        }
        ended
    });
    assert!(ended, "{}", running.log());
    assert_eq!(counts, expected(), "after {rounds} rounds: {}", running.log());
    assert!(waited >= 1, "in none of {rounds} rounds a checkpoint was half published");
    let mended = folder.path().join("mended");
    assert_eq!(accepted(ARCHIVE, &mended, &folder.path().join("accepted")).0, ids(Fault::NaN));
}

#[test]
fn what_went_to_a_topic_does_not_go_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = refusing_job(folder.path());
    let topic = new_topic(broker().brokers(), "once", PARTITIONS);
    let options = ReinjectOptions { rows_at_once: ROWS_AT_ONCE, ..into_topic(&output, &topic) };
    let looked = |options: &ReinjectOptions| {
        preview(options, 1, &Control::new(), &|_, _| {}).unwrap_or_else(|error| panic!("{error}")).0.counts
    };
    assert_eq!(looked(&options), expected());
    let control = Control::new();
    control.stop();
    assert!(reinject(&options, &control, &|_, _| {}).expect("a run that stops").stopped);
    assert_eq!(committed_records(broker().brokers(), &topic), [""; 0], "no transaction is left open");
    assert_eq!(sent(&options).counts, expected());
    let records = committed_records(broker().brokers(), &topic);
    assert_eq!(records.len() as u64, planted(Fault::NaN));
    assert_eq!(sent(&options).counts, Counts::default());
    assert_eq!(looked(&options), Counts::default());
    // Who can write to the output has left a note there, but the brokers know without it.
    fs::remove_dir_all(output.join("_reinjected")).expect("notes");
    assert_eq!(sent(&options).counts, Counts::default());
    assert_eq!(committed_records(broker().brokers(), &topic), records);
    let first = format!("0 Some({}) Some(\"k3\") Some(", (NOON_MS + 60) * 1000);
    assert!(records.iter().any(|record| record.starts_with(&first)), "{:?}", records.first());

    // The job's files are others now: what was sent can't be told from what was not.
    fs::rename(output.join("_rejected"), output.join("_gone")).expect("rejected rows");
    let error = reinject(&options, &Control::new(), &|_, _| {}).expect_err("no files").to_string();
    assert!(error.contains("are gone") && error.contains("--name"), "{error}");
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_thalweg"));
    command.args(arguments).env_remove("RUST_LOG").env_remove("KAFKA_BROKERS").stdin(Stdio::null());
    command
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs the binary to its crash twice, then to its end twice.
fn crash_and_end(point: &str, arguments: &[&str]) {
    for action in ["return", "1*off->return"] {
        let crashing = format!("{point}={action}");
        let output = command(arguments).env("FAILPOINTS", &crashing).output().expect("the binary starts");
        assert_eq!(output.status.signal(), Some(Signal::SIGABRT as i32), "{crashing}: {}", said(&output));
    }
    for left in [true, false] {
        let output = command(arguments).env("FAILPOINTS", "").output().expect("the binary starts");
        assert!(output.status.success(), "{point}: {}", said(&output));
        assert!(left || said(&output).contains("nothing to send"), "{point}: {}", said(&output));
    }
}

#[test]
fn a_crash_at_any_point_loses_no_record_and_repeats_none() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = refusing_job(folder.path()).display().to_string();
    let brokers = broker().brokers();
    let common = ["reinject", "--from", &output, "--where", CONDITION, "--set", SET, "--rows-at-once", "300"];

    let undisturbed = folder.path().join("undisturbed");
    sent(&ReinjectOptions {
        rows_at_once: 300,
        ..into_archive(Path::new(&output), &undisturbed.join("events"))
    });
    let expected = rows(&undisturbed, "events");
    assert_eq!(expected.len() as u64, planted(Fault::NaN));
    for point in &POINTS[..3] {
        let archives = folder.path().join(point.replace("::", "-"));
        let target = archives.join("events").display().to_string();
        crash_and_end(point, &[&common[..], &["--to-archive", &target]].concat());
        assert_same_rows(point, &rows(&archives, "events"), &expected);
    }

    let topic = new_topic(brokers, "undisturbed", PARTITIONS);
    sent(&into_topic(Path::new(&output), &topic));
    let expected = committed_records(brokers, &topic);
    assert_eq!(expected.len() as u64, planted(Fault::NaN));
    for point in ["kafka::begun", "kafka::written", "kafka::before_commit", "kafka::committed", POINTS[3]] {
        let topic = new_topic(brokers, "crashes", PARTITIONS);
        crash_and_end(point, &[&common[..], &["--to-topic", &topic, "--brokers", brokers]].concat());
        assert_same_rows(point, &committed_records(brokers, &topic), &expected);
    }
}

#[test]
fn the_examples_of_the_help_work_as_they_stand() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    refusing_job(folder.path());
    let topic = new_topic(broker().brokers(), "examples", PARTITIONS);
    let help =
        String::from_utf8(command(&["reinject", "--help"]).output().expect("help").stdout).expect("text");
    let (_, examples) = help.split_once("Examples:\n").expect("examples");
    let script = examples.replace("\\\n", " ").replace("localhost:9092", broker().brokers());
    let mut ran = 0;
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let arguments = line.strip_prefix("thalweg ").unwrap_or_else(|| panic!("no example: {line}"));
        let line = format!(
            "\"{}\" {}",
            env!("CARGO_BIN_EXE_thalweg"),
            arguments.replace("--to-topic events", &format!("--to-topic {topic}"))
        );
        let output =
            Command::new("bash").args(["-c", &line]).current_dir(folder.path()).output().expect("bash");
        assert!(output.status.success(), "{line}: {}", said(&output));
        assert!(said(&output).contains(" rows of "), "{line}: {}", said(&output));
        ran += 1;
    }
    assert_eq!(ran, 4, "{script}");

    let refused = |arguments: &[&str], code: i32, hint: &str| {
        let output = command(arguments).current_dir(folder.path()).output().expect("the binary starts");
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(hint), "{arguments:?}: {}", said(&output));
    };
    let from = ["reinject", "--from", "output/my_pipeline"];
    refused(&from, 2, "--to-topic");
    refused(&[&from[..], &["--to-topic", "x"]].concat(), 2, "--brokers");
    refused(&["reinject", "--from", "output", "--to-archive", "x"], 1, "such as output/my_pipeline");
    refused(
        &[&from[..], &["--to-archive", "output/my_pipeline/plain"]].concat(),
        1,
        "it has no column partition",
    );
    refused(
        &[&from[..], &["--to-archive", "x", "--where", "reson = 'x'"]].concat(),
        1,
        "did you mean \"reason\"",
    );
    refused(&[&from[..], &["--to-archive", "x", "--name", "a/b"]].concat(), 1, "can't be a name");

    let mut json = command(&[&from[..], &["--to-archive", "json", "--dry-run", "--format", "json"]].concat());
    let output = json.current_dir(folder.path()).output().expect("the binary starts");
    let summary: Json =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
    assert_eq!((&summary["dry_run"], &summary["sent"]), (&Json::Bool(true), &Json::from(expected().read)));
    assert_eq!(summary["first"].as_array().map(Vec::len), Some(10));
}
