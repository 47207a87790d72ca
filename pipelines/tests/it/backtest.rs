//! Backtests: what a live job has written comes out again, and what a change would have done is what a straight computation says.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::ops::Range;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use nix::sys::signal::Signal;
use serde_json::Value as Json;
use thalweg::catalogue;
use thalweg::run::{RunOptions, open_store};
use thalweg_engine::checkpoint::History;
use thalweg_engine::tick::TickLimits;
use thalweg_kafka::broker::Broker;
use thalweg_kafka::{KafkaWriter, WriteRecord};
use thalweg_operators::source::archive::{ArchiveConfig, ArchiveOptions, ArchiveWriter};

use crate::binary::{LIMIT, Run, account, newest_checkpoint};
use crate::kafka::{broker, new_topic};
use crate::patience::{PATIENCE, holds_within};
use crate::support::{Random, assert_same_rows, job, plan, query, rows};

/// 2026-03-02T12:00:00Z.
const NOON_MS: i64 = 1_772_452_800_000;
const PARTITIONS: i32 = 3;
const ROWS: i64 = 12_000;

fn thalweg(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_thalweg"));
    command
        .args(arguments)
        .current_dir(folder)
        .env("FAILPOINTS", "")
        .env_remove("RUST_LOG")
        .stdin(Stdio::null());
    command.output().expect("the binary starts")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn done(folder: &Path, arguments: &[&str]) -> String {
    let output = thalweg(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn report(folder: &Path, arguments: &[&str]) -> Json {
    let all = [&["backtest"], arguments, &["--format", "json"]].concat();
    serde_json::from_str(&done(folder, &all)).expect("a report")
}

/// The part of a report about a sink.
fn of_sink<'a>(report: &'a Json, sink: &str) -> &'a Json {
    let sinks = report["comparisons"][0]["sinks"].as_array().expect("a comparison");
    sinks.iter().find(|found| found["sink"] == sink).unwrap_or_else(|| panic!("no {sink} in {report}"))
}

fn counts(sink: &Json) -> [u64; 5] {
    ["reference_rows", "variant_rows", "only_reference", "only_variant", "changed"]
        .map(|field| sink[field].as_u64().expect("a count"))
}

// Killed twice, on three workers.
fn live(folder: &Path, pipeline: &Path, brokers: &str, events: u64) {
    let output = folder.join("live");
    let environment = vec![("KAFKA_BROKERS", OsString::from(brokers))];
    let run = Run { workers: 3, environment, ..Run::new(pipeline, &output) };
    for _ in 0..2 {
        let failpoints = "checkpoint::published=2*off->return".to_owned();
        let mut crashed = Run { failpoints, ..run.clone() }.start();
        assert_eq!(crashed.end().signal(), Some(Signal::SIGABRT as i32), "{}", crashed.log());
    }
    let mut running = run.start();
    // Those before it may have read all that there is.
    let own = || newest_checkpoint(&output).is_some_and(|newest| newest.generation == 3);
    let read = || own() && account(&output)[0] == events;
    assert!(holds_within(LIMIT, read), "{:?} of {events}: {}", account(&output), running.log());
    running.signal(Signal::SIGTERM);
    assert!(running.end().success(), "{}", running.log());
}

#[test]
fn a_replay_of_a_live_job_that_was_killed_twice_gives_its_rows() {
    let broker = Broker::start().unwrap_or_else(|error| panic!("{error}"));
    let brokers = broker.brokers();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let generate =
        ["generate", "--kafka", brokers, "--create-topics", "--events", "60000", "--dirty", "0.01"];
    done(folder.path(), &generate);
    for entry in catalogue::ENTRIES {
        let folder = folder.path().join(entry.name);
        fs::create_dir(&folder).expect("a folder");
        let pipeline = folder.join("pipeline.yaml");
        // Often enough to be killed between two.
        let text =
            format!("{}\ncheckpoint: {{ interval: 100ms, every_rows: 2_000, keep: 1000 }}\n", entry.text);
        fs::write(&pipeline, &text).expect("a pipeline");
        let topics: Vec<&str> = ["provider-requests", "user-interactions", "agent_metrics", "node-metrics"]
            .into_iter()
            .filter(|topic| entry.text.contains(&format!("topic: {topic},")))
            .collect();
        assert!(!topics.is_empty(), "{} reads no topic", entry.name);
        let mut record = vec!["archive", "record", "--brokers", brokers, "--archives", "archives"];
        topics.iter().for_each(|topic| record.extend(["--topic", topic]));
        done(&folder, &record);
        let events_of = |topic: &&str| {
            let (source_name, path) = ("recorded".to_owned(), folder.join("archives").join(topic));
            let recorded = ArchiveConfig { source_name, path, topic: None, headers: false, decoded: None };
            recorded.resolve().expect("an archive").rows()
        };
        let events = topics.iter().map(events_of).sum();
        live(&folder, &pipeline, brokers, events);

        let backtest = [
            "pipeline.yaml",
            "--archives",
            "archives",
            "--against",
            "live",
            "--live-output",
            "live",
            "--workers",
            "1",
        ];
        for decoded in [false, true] {
            if decoded {
                done(&folder, &["archive", "decode", "pipeline.yaml", "--archives", "archives"]);
            }
            let same = report(&folder, &[&backtest[..], &["--fail-on-diff"]].concat());
            let sinks = same["comparisons"][0]["sinks"].as_array().expect("sinks");
            for sink in sinks {
                let [live, replayed, differing @ ..] = counts(sink);
                assert_eq!((live, differing), (replayed, [0, 0, 0]), "{}: {sink}", entry.name);
            }
            let main = counts(&sinks[0]);
            assert!(main[0] > 100, "{}: nothing to compare: {sinks:?}", entry.name);
        }
        // Otherwise equality would say nothing.
        let source = text.split("sources:").nth(1).and_then(|rest| rest.trim_start().split(':').next());
        let set = format!("sources.{}.event_time.lateness=0s", source.expect("a source"));
        let changed =
            thalweg(&folder, &[&["backtest"], &backtest[..], &["--fail-on-diff", "--set", &set]].concat());
        assert_eq!(changed.status.code(), Some(1), "{}", said(&changed));
        assert!(said(&changed).contains("they differ"), "{}", said(&changed));
    }
}

/// Events up to 20 s late: (partition, event time in ms, name).
fn write_events(folder: &Path) -> Vec<(i32, i64, u64)> {
    let mut random = Random(5);
    let mut writer = ArchiveWriter::new(folder.join("events"), ArchiveOptions::default()).expect("a folder");
    let mut events = Vec::new();
    for row in 0..ROWS / i64::from(PARTITIONS) {
        for partition in 0..PARTITIONS {
            let now = NOON_MS + row * 150;
            let (at, name) = (now - random.below(20_000) as i64, random.below(7));
            let value = format!("{{\"at\":{at},\"name\":\"n{name}\"}}");
            writer.push(partition, row, Some(now), None, Some(value.as_bytes()), &[]).expect("a record");
            events.push((partition, at, name));
        }
    }
    writer.finish().expect("an archive");
    events
}

const COUNTS: &str = r#"
pipeline: counts
schemas:
  event:
    fields:
      - { name: at, type: timestamp, encoding: ms, required: true }
      - { name: name, type: string }
sources:
  events:
    archive: { path: archives/events }
    schema: event
    event_time: { field: at, lateness: 30s }
steps:
  per_minute: { from: events, window: { tumbling: 1m }, by: [name], select: { events: count(*), names: "collect(name, 3)" } }
  plain: { from: events, where: name = 'n0', select: [at, name] }
sinks:
  per_minute: { from: per_minute, parquet: { partition_by: [name] } }
  plain: { from: plain, jsonl: {} }
"#;

/// Of each window and name how many events, and how many are late.
fn straight(events: &[(i32, i64, u64)], lateness_ms: i64, size_ms: i64) -> (BTreeMap<(i64, u64), i64>, u64) {
    let mut highest: BTreeMap<i32, i64> = BTreeMap::new();
    let (mut windows, mut late) = (BTreeMap::new(), 0);
    for (partition, at, name) in events {
        let highest = highest.entry(*partition).or_insert(i64::MIN / 2);
        if *at < *highest - lateness_ms {
            late += 1;
            continue;
        }
        *highest = (*highest).max(*at);
        *windows.entry((at.div_euclid(size_ms), *name)).or_insert(0) += 1;
    }
    (windows, late)
}

#[test]
fn what_a_change_would_have_done_is_what_a_straight_computation_says() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let events = write_events(&folder.path().join("archives"));
    fs::write(folder.path().join("counts.yaml"), COUNTS).expect("a pipeline");

    let found = report(
        folder.path(),
        &["counts.yaml", "--set", "sources.events.event_time.lateness=2s", "--html", "report.html"],
    );
    let (before, late_before) = straight(&events, 30_000, 60_000);
    let (after, late_after) = straight(&events, 2_000, 60_000);
    assert!(late_before == 0 && late_after > 500);
    let differences: Vec<i64> = before
        .iter()
        .filter_map(|(key, count)| Some(after.get(key)? - count))
        .filter(|difference| *difference != 0)
        .collect();
    let only_before = before.keys().filter(|key| !after.contains_key(key)).count() as u64;
    let sink = of_sink(&found, "per_minute");
    let expected = [before.len() as u64, after.len() as u64, only_before, 0, differences.len() as u64];
    assert_eq!(counts(sink), expected, "{sink}");
    let written = query(
        &folder.path().join("backtest/counts"),
        "select __difference as difference, count(*) as n, sum(events_variant - events_reference) as more \
         from variant_differences.per_minute group by difference order by difference",
    );
    let total: i64 = differences.iter().sum();
    let changed = &written[0];
    assert_eq!(
        (&changed["difference"], &changed["n"]),
        (&"changed".into(), &differences.len().into()),
        "{written:?}"
    );
    assert_eq!(changed["more"], total);
    assert_eq!(written.len(), 1 + usize::from(only_before > 0));
    let column = &sink["columns"][1];
    assert_eq!(column["column"], "events");
    assert_eq!(column["changed"], differences.len() as u64);
    let quantiles = column["difference"].as_array().expect("quantiles");
    let figure = |at: usize| quantiles[at].as_f64().expect("a number") as i64;
    assert_eq!(
        [figure(0), figure(4)],
        [*differences.iter().min().unwrap(), *differences.iter().max().unwrap()]
    );
    let mean = differences.iter().sum::<i64>() as f64 / differences.len() as f64;
    assert!((column["mean"].as_f64().expect("a mean") - mean).abs() < 1e-9);
    assert_eq!(counts(of_sink(&found, "_late")), [0, late_after, 0, late_after, 0]);
    let lost = counts(of_sink(&found, "plain"));
    assert!(lost[2] == lost[0] - lost[1] && lost[2] > 0 && lost[3] == 0, "{lost:?}");
    let page = fs::read_to_string(folder.path().join("report.html")).expect("a page");
    assert!(page.contains("they differ") && page.contains("<svg") && !page.contains("http"), "{page}");

    // Five minutes in the place of one: only windows that begin together have a row to be compared with.
    let found = report(folder.path(), &["counts.yaml", "--set", "steps.per_minute.window.tumbling=5m"]);
    let (wide, _) = straight(&events, 30_000, 300_000);
    let common = wide.keys().filter(|(at, name)| before.contains_key(&(at * 5, *name))).count() as u64;
    let sink = of_sink(&found, "per_minute");
    let [reference, variant, only_reference, only_variant, _] = counts(sink);
    assert_eq!((reference, variant), (before.len() as u64, wide.len() as u64));
    assert_eq!((only_reference, only_variant), (reference - common, variant - common));
}

#[test]
fn each_item_of_a_list_has_the_differences_of_a_straight_computation() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let events = write_events(&folder.path().join("archives"));
    fs::write(folder.path().join("counts.yaml"), COUNTS).expect("a pipeline");
    let lateness = "sources.events.event_time.lateness";
    let compared = |sets: &[&str]| -> Vec<Json> {
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        let found = report(folder.path(), &[&["counts.yaml"], &sets[..]].concat());
        found["comparisons"].as_array().expect("comparisons").clone()
    };
    let about = |compared: &[Json]| -> Vec<String> {
        compared.iter().map(|one| one["about"].as_str().expect("a text").to_owned()).collect()
    };

    let three = compared(&[&format!("{lateness}=[0s, 2s, 5s]")]);
    assert_eq!(about(&three), ["0s", "2s", "5s"].map(|item| format!("{lateness}={item}")));
    let (before, _) = straight(&events, 30_000, 60_000);
    let mut late_rows = Vec::new();
    for (comparison, lateness_ms) in three.iter().zip([0, 2_000, 5_000]) {
        let (after, late) = straight(&events, lateness_ms, 60_000);
        let changed = after.iter().filter(|(key, count)| before[*key] != **count).count() as u64;
        let of_sink = |sink: &str| {
            let sinks = comparison["sinks"].as_array().expect("sinks");
            counts(sinks.iter().find(|found| found["sink"] == sink).expect("the sink"))
        };
        let (reference, variant) = (before.len() as u64, after.len() as u64);
        assert_eq!(
            of_sink("per_minute"),
            [reference, variant, reference - variant, 0, changed],
            "{lateness_ms}"
        );
        assert_eq!(of_sink("_late"), [0, late, 0, late, 0], "{lateness_ms}");
        assert!(changed > 10, "{changed} rows differ at {lateness_ms} ms");
        late_rows.push(late);
    }
    assert!(late_rows.is_sorted_by(|more, fewer| more > fewer), "{late_rows:?}");

    // Lists and values of one path belong together; of several paths there are all combinations.
    let one_more = compared(&[&format!("{lateness}=[0s, 2s]"), &format!("{lateness}=5s")]);
    assert_eq!(about(&one_more), about(&three));
    let four = compared(&[&format!("{lateness}=[0s, 2s]"), "steps.per_minute.window.tumbling=[1m, 5m]"]);
    let combined = ["0s 1m", "2s 1m", "0s 5m", "2s 5m"].map(|both| {
        let (first, second) = both.split_once(' ').expect("two");
        format!("{lateness}={first}, steps.per_minute.window.tumbling={second}")
    });
    assert_eq!(about(&four), combined);
    // A list stands there, and this is another; of a list of lists each is one.
    let itself = compared(&["steps.per_minute.by=[name]"]);
    assert_eq!(about(&itself), ["steps.per_minute.by=[name]"]);
    assert!(itself[0]["sinks"].as_array().expect("sinks").iter().all(|sink| counts(sink)[2..] == [0, 0, 0]));
    let grouped = compared(&["steps.plain.select=[[at, name], [name, at]]"]);
    assert_eq!(
        about(&grouped),
        ["[at, name]", "[name, at]"].map(|item| format!("steps.plain.select={item}"))
    );
}

#[test]
fn from_the_state_of_a_live_job_come_the_windows_that_had_not_fired() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_events(&folder.path().join("archives"));
    let archive = folder.path().join("archives/events").display().to_string();
    let text = format!("{COUNTS}checkpoint: {{ every_rows: 500, keep: 1000 }}\n")
        .replace("archives/events", &archive);
    fs::write(folder.path().join("counts.yaml"), &text).expect("a pipeline");
    let plan = plan(&text, folder.path());
    let live = folder.path().join("live");
    let limits = TickLimits { rows_max: 10, ..TickLimits::default() };
    let written = job(&plan, &RunOptions { limits, ..RunOptions::new(2, &live) });
    assert_eq!(written.sources[0].read, ROWS.unsigned_abs());

    let store = open_store(&plan, &live).expect("checkpoints");
    let history = History::read(&store).expect("a log");
    let all = history.checkpoints();
    assert!(all.len() >= 3, "{} checkpoints", all.len());
    let middle = all[all.len() / 2];
    let read = middle.sources[0].total.read;
    assert!(read > 500 && !middle.finished, "{middle:?}");
    let state = format!("checkpoint:{}", middle.number);
    let from_state = ["counts.yaml", "--against", "live", "--live-output", "live", "--state", &state];
    let found = report(folder.path(), &[&from_state[..], &["--workers", "3", "--fail-on-diff"]].concat());
    let again = found["runs"][0]["summary"]["sources"][0]["read"].as_u64();
    assert_eq!(again, Some(ROWS.unsigned_abs() - read));
    let [live_rows, replayed, differing @ ..] = counts(of_sink(&found, "per_minute"));
    assert_eq!((live_rows, differing), (replayed, [0, 0, 0]), "{found}");
    let all_rows = rows(&live, "per_minute").len() as u64;
    assert!(0 < live_rows && live_rows < all_rows, "{live_rows} of {all_rows} windows");

    let other = thalweg(
        folder.path(),
        &[&["backtest"], &from_state[..], &["--set", "steps.per_minute.window.tumbling=2m"]].concat(),
    );
    assert_eq!(other.status.code(), Some(1));
    assert!(said(&other).contains("what it holds does not fit any more"), "{}", said(&other));
}

#[test]
fn a_period_has_the_rows_that_the_whole_has_there() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_events(&folder.path().join("archives"));
    fs::write(folder.path().join("counts.yaml"), COUNTS).expect("a pipeline");
    report(folder.path(), &["counts.yaml", "--output", "whole"]);
    let (from, to) = ("2026-03-02T12:03:00Z", "2026-03-02T12:07:00Z");
    let part = report(folder.path(), &["counts.yaml", "--output", "part", "--from", from, "--to", to]);
    let read = part["runs"][0]["summary"]["sources"][0]["read"].as_u64().expect("a count");
    assert!((4_800..9_000).contains(&read), "{read} of {ROWS} rows were read for four minutes of ten");
    let inside = format!("window_start >= '{from}' and window_end <= '{to}'");
    let sql = |table: &str| format!("select * from {table} order by window_start, name");
    let expected = query(
        &folder.path().join("whole/variant"),
        &format!("select * from per_minute where {inside} order by window_start, name"),
    );
    assert_eq!(query(&folder.path().join("part/variant"), &sql("per_minute")), expected);
    assert_eq!(expected.len(), 4 * 7);

    // What both have seen is the same to the last bit on any number of workers.
    report(
        folder.path(),
        &["counts.yaml", "--output", "again", "--from", from, "--to", to, "--workers", "3"],
    );
    let of = |output: &str, sink: &str| rows(&folder.path().join(output).join("variant"), sink);
    for sink in ["per_minute", "plain"] {
        assert_same_rows(sink, &of("again", sink), &of("part", sink));
    }
}

#[test]
fn what_can_not_be_run_is_told_and_nothing_of_others_is_touched() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_events(&folder.path().join("archives"));
    fs::write(folder.path().join("counts.yaml"), COUNTS).expect("a pipeline");
    let refused = |arguments: &[&str], status: i32, hint: &str| {
        let output = thalweg(folder.path(), &[&["backtest", "counts.yaml"], arguments].concat());
        assert_eq!(output.status.code(), Some(status), "{}", said(&output));
        assert!(said(&output).contains(hint), "{hint}: {}", said(&output));
    };
    refused(&["--set", "steps.per_minut.window.tumbling=5m"], 2, "did you mean \"per_minute\"?");
    refused(&["--set", "steps.per_minute.window.tumbling=five"], 2, "counts.yaml:14:51");
    refused(&["--set", "nonsense"], 2, "not of the form path=value");
    let sizes: Vec<String> = (1..=101).map(|minutes| format!("{minutes}m")).collect();
    let many = format!("steps.per_minute.window.tumbling=[{}]", sizes.join(", "));
    let told = "101 variants (101 of steps.per_minute.window.tumbling), and a backtest runs 100 at most";
    refused(&["--set", &many], 2, told);
    refused(&["--set", "steps.per_minute.window.tumbling=[]"], 2, "there is nothing to try");
    refused(&["--set", "steps.per_minute.window.tumbling=[1m, five]"], 2, "\"five\" is");
    let listed = "sources.events.archive.path=[[archives/events]]";
    refused(
        &["--set", listed],
        2,
        "each item of --set sources.events.archive.path=[[archives/events]] is a value by itself",
    );
    refused(&["--from", "2026-03-02T12:00:00Z", "--to", "2026-03-02T11:00:00Z"], 1, "ends before it begins");
    refused(&["--from", "yesterday"], 2, "RFC 3339");
    refused(&["--against", "live"], 1, "nothing live to compare with");
    refused(&["--fail-on-diff"], 1, "--fail-on-diff has nothing to compare with; add --against live");
    // What one side does not have is a difference, whatever the rows of the rest.
    for (own, other) in
        [("  plain: { from: plain", "  simple: { from: plain"), ("events: count(*)", "n: count(*)")]
    {
        fs::write(folder.path().join("other.yaml"), COUNTS.replace(own, other)).expect("a pipeline");
        let against = ["--against", "other.yaml", "--fail-on-diff"];
        refused(&against, 1, "they differ");
        let without = thalweg(folder.path(), &["backtest", "counts.yaml", "--against", "other.yaml"]);
        assert!(without.status.success(), "{}", said(&without));
    }
    let ignored = ["--against", "other.yaml", "--fail-on-diff", "--ignore", "n", "--ignore", "events"];
    refused(&ignored, 0, "no difference");
    fs::create_dir(folder.path().join("mine")).expect("a folder");
    fs::write(folder.path().join("mine/notes.txt"), "mine").expect("a file");
    refused(&["--output", "mine"], 1, "holds files that are no backtest's");
    assert!(folder.path().join("mine/notes.txt").exists());
    // A second time into its own folder is no problem.
    for _ in 0..2 {
        report(folder.path(), &["counts.yaml"]);
    }
}

/// Two sources over one topic, which begin at different offsets and allow for different lateness.
const TWO_VIEWS: &str = r#"
pipeline: two_views
schemas:
  event:
    fields:
      - { name: at, type: timestamp, encoding: ms, required: true }
      - { name: name, type: string }
sources:
  whole:
    kafka: { topic: TOPIC, brokers: "BROKERS" }
    schema: event
    event_time: { field: at, lateness: 5s }
  later:
    kafka: { topic: TOPIC, brokers: "BROKERS", start: { offsets: { TOPIC: { 0: 1000, 1: 1500, 2: 2500 } } } }
    schema: event
    event_time: { field: at, lateness: 12s }
steps:
  some: { from: whole, where: name <> 'n0', select: [at, name, { view: "'whole'" }] }
  others: { from: later, where: "name in ('n0', 'n1')", select: [at, name, { view: "'later'" }] }
  both: { from: [some, others], window: { tumbling: 1m }, by: [view, name], select: { events: count(*) } }
  of_whole: { from: whole, window: { tumbling: 30s }, by: [name], select: { events: count(*) } }
  of_later: { from: later, window: { tumbling: 30s }, by: [name], select: { events: count(*), latest: max(at) } }
sinks:
  both: { from: both, parquet: {} }
  of_whole: { from: of_whole, parquet: {} }
  of_later: { from: of_later, parquet: {} }
checkpoint: { interval: 100ms, every_rows: 2_000, keep: 1000 }
"#;

#[test]
fn two_sources_over_one_topic_are_replayed_each_as_it_read() {
    let brokers = broker().brokers();
    let topic = new_topic(brokers, "views", PARTITIONS);
    let mut writer = KafkaWriter::new(brokers, &BTreeMap::new()).expect("a writer");
    let mut random = Random(11);
    let mut write = |rows: Range<i64>| {
        for (row, partition) in rows.flat_map(|row| (0..PARTITIONS).map(move |partition| (row, partition))) {
            let now = NOON_MS + row * 150;
            let (at, name) = (now - random.below(20_000) as i64, random.below(7));
            let value = format!("{{\"at\":{at},\"name\":\"n{name}\"}}");
            let (timestamp_ms, value) = (Some(now), Some(value.as_bytes()));
            let topic = topic.as_str();
            let record = WriteRecord { topic, partition, timestamp_ms, key: None, value, headers: &[] };
            writer.write(record).expect("a record is taken");
        }
        writer.flush(PATIENCE).expect("the records are acknowledged");
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let text = TWO_VIEWS.replace("TOPIC", &topic).replace("BROKERS", brokers);
    let pipeline = folder.join("views.yaml");
    fs::write(&pipeline, &text).expect("a pipeline");
    let output = folder.join("live");
    let run = Run { workers: 3, ..Run::new(&pipeline, &output) };
    // Killed twice, with a part of what is there, or all of it, in a checkpoint.
    for rows in [0..2600, 2600..3300] {
        write(rows);
        let before = account(&output)[0];
        let mut killed = run.start();
        assert!(holds_within(LIMIT, || account(&output)[0] > before), "{before}: {}", killed.log());
        killed.kill();
    }
    write(3300..ROWS / i64::from(PARTITIONS));
    let mut running = run.start();
    let all = 2 * ROWS.unsigned_abs() - 5_000;
    let read = || account(&output)[0] == all;
    assert!(holds_within(LIMIT, read), "{:?} of {all}: {}", account(&output), running.log());
    running.signal(Signal::SIGTERM);
    assert!(running.end().success(), "{}", running.log());
    done(folder, &["archive", "record", "--topic", &topic, "--brokers", brokers, "--archives", "archives"]);

    let archived = ["views.yaml", "--against", "live", "--live-output", "live", "--archives", "archives"];
    // The topic itself has the same records.
    for replay in [&archived[..], &archived[..5]] {
        let same = report(folder, &[replay, &["--workers", "1"]].concat());
        for sink in ["both", "of_whole", "of_later", "_late", "_rejected"] {
            let [live, replayed, differing @ ..] = counts(of_sink(&same, sink));
            assert_eq!((live, differing), (replayed, [0, 0, 0]), "{sink} of {replay:?}");
            assert!(live > 50 || sink == "_rejected", "{sink}: {live} rows are nothing to compare");
        }
    }
    // What one of them does otherwise is seen there, and nowhere else.
    let set = ["--set", "sources.later.event_time.lateness=1s"];
    let changed = report(folder, &[&archived[..], &set].concat());
    assert_eq!(counts(of_sink(&changed, "of_whole"))[2..], [0, 0, 0]);
    assert!(counts(of_sink(&changed, "of_later"))[4] > 0, "{changed}");
}

#[test]
fn archives_that_nobody_reads_are_told() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_events(&folder.path().join("archives"));
    fs::write(folder.path().join("counts.yaml"), COUNTS).expect("a pipeline");
    let from_kafka =
        COUNTS.replace("archive: { path: archives/events }", "kafka: { topic: events, brokers: none:1 }");
    fs::write(folder.path().join("topic.yaml"), from_kafka).expect("a pipeline");
    for command in ["run", "backtest", "preview"] {
        let told = |pipeline: &str| {
            let output = thalweg(folder.path(), &[command, pipeline, "--archives", "archives"]);
            assert!(output.status.success(), "{command}: {}", said(&output));
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            told.lines().filter(|line| line.starts_with("warning: ")).map(str::to_owned).collect::<Vec<_>>()
        };
        let warnings = told("counts.yaml");
        assert_eq!(warnings.len(), 1, "{command}: {warnings:?}");
        for part in ["--archives archives is not used", "source events reads archives/events"] {
            assert!(warnings[0].contains(part), "{command}: {warnings:?}");
        }
        fs::remove_dir_all(folder.path().join("output")).ok();
        fs::remove_dir_all(folder.path().join("backtest")).ok();
        assert_eq!(told("topic.yaml"), [""; 0], "{command}");
    }
}
