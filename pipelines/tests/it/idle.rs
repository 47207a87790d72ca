//! A split of which nothing comes leaves the job's watermark at a checkpoint, and comes back at one.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value as Json;
use thalweg::run::{RunOptions, prepare};
use thalweg_engine::control::Control;
use thalweg_kafka::{KafkaWriter, WriteRecord};

use crate::kafka::{broker, new_topic};
use crate::patience::{Running, wait_until};
use crate::support::{newest_checkpoint, plan, published, query};

/// 2026-03-02T12:00:00Z.
const NOON_MS: i64 = 1_772_452_800_000;

fn idle_text(brokers: &str, topic: &str) -> String {
    format!(
        r#"
pipeline: idle
schemas:
  event: {{ fields: [{{ name: at, type: timestamp, encoding: ms, required: true }}] }}
sources:
  events:
    kafka: {{ topic: {topic}, brokers: "{brokers}" }}
    schema: event
    event_time: {{ field: at, idle_after: 300ms }}
steps:
  seconds: {{ from: events, window: {{ tumbling: 1s }}, select: {{ events: count(*) }} }}
sinks:
  seconds: {{ from: seconds, parquet: {{}} }}
checkpoint: {{ interval: 100ms, keep: 10_000 }}
"#
    )
}

fn write(writer: &mut KafkaWriter, topic: &str, partition: i32, seconds: &[i64]) {
    for second in seconds {
        let at = NOON_MS + second * 1000;
        let value = format!("{{\"at\": {at}}}");
        writer
            .write(WriteRecord {
                topic,
                partition,
                timestamp_ms: Some(at),
                key: None,
                value: Some(value.as_bytes()),
                headers: &[],
            })
            .expect("a record");
    }
    writer.flush(crate::patience::PATIENCE).expect("a broker that takes them");
}

fn seconds(output: &Path) -> Vec<(i64, i64)> {
    if !published(output).iter().any(|file| file.starts_with(output.join("seconds"))) {
        return Vec::new();
    }
    let sql =
        "select cast(extract(epoch from window_start) as bigint) as second, events from seconds order by 1";
    query(output, sql)
        .iter()
        .map(|row| {
            (
                row["second"].as_i64().expect("a time") - NOON_MS / 1000,
                row["events"].as_i64().expect("a count"),
            )
        })
        .collect()
}

#[test]
fn a_silent_split_leaves_and_what_it_brings_later_is_late_only_behind_the_floor() {
    let brokers = broker().brokers().to_owned();
    let topic = new_topic(&brokers, "idle", 2);
    let mut writer = KafkaWriter::new(&brokers, &BTreeMap::new()).expect("a writer");
    let text = idle_text(&brokers, &topic);
    let plan = plan(&text, Path::new(""));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = folder.path().to_owned();

    // Partition 1 is silent. It leaves, and then so does partition 0: event time stands still at 10 s.
    write(&mut writer, &topic, 0, &[0, 1, 1, 5, 10]);
    let control = Control::new();
    let job = prepare(&plan, &RunOptions::new(2, &output), &control).expect("a topic");
    let status = job.status();
    let running = Running::start(move || job.run().expect("a job that is stopped"));
    wait_until("windows fire though a split is silent", || seconds(&output).len() == 3);
    assert_eq!(seconds(&output), [(0, 1), (1, 2), (5, 1)], "second 10 is not over");
    let idle = |number: usize| newest_checkpoint(&plan, &output).sources[0].splits[number].idle;
    wait_until("both splits are idle", || idle(0) && idle(1));
    assert_eq!(seconds(&output).len(), 3, "event time stands still where all are idle");

    // It comes back with an old row, which is late, and a new one, which is not.
    write(&mut writer, &topic, 1, &[4, 10, 12]);
    wait_until("its rows are read", || status.sources[0].read() == 8);
    wait_until("it came back", || newest_checkpoint(&plan, &output).sources[0].splits[1].floor.is_some());
    assert_eq!((status.sources[0].accepted(), status.sources[0].late()), (7, 1));
    control.stop();
    let summary = running.end();
    assert!(summary.stopped);

    // Where the splits were is known to the run after it.
    let stopped_at = newest_checkpoint(&plan, &output);
    let left = stopped_at.sources[0].splits[1].clone();
    assert_eq!(left.floor, Some((NOON_MS + 10_000) * 1000), "the job's watermark when it came back");
    write(&mut writer, &topic, 1, &[9, 20]);
    write(&mut writer, &topic, 0, &[20]);
    let control = Control::new();
    let job = prepare(&plan, &RunOptions::new(1, &output), &control).expect("a topic");
    let running = Running::start(move || job.run().expect("a job that is stopped"));
    wait_until("the windows of both fire", || seconds(&output).len() == 5);
    assert_eq!(seconds(&output), [(0, 1), (1, 2), (5, 1), (10, 2), (12, 1)]);
    control.stop();
    let summary = running.end();
    assert_eq!(summary.sources[0].late, 1, "second 9 lies behind the floor");

    // A replay from the topic has no silence to go by, and finds the same rows late.
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    fs::write(elsewhere.path().join("idle.yaml"), &text).expect("a pipeline");
    let thalweg = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_thalweg"));
        let done = command.current_dir(elsewhere.path()).args(arguments).output().expect("the binary starts");
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        done.stdout
    };
    let live = output.display().to_string();
    let against = ["backtest", "idle.yaml", "--format", "json", "--against", "live", "--live-output", &live];
    let report: Json = serde_json::from_slice(&thalweg(&against)).expect("a report");
    assert_eq!(report["runs"][0]["summary"]["sources"][0]["late"], 2, "{report}");
    for sink in report["comparisons"][0]["sinks"].as_array().expect("sinks") {
        let differing = ["only_reference", "only_variant", "changed"].map(|field| sink[field].as_u64());
        assert_eq!(differing, [Some(0); 3], "{sink}");
        assert!(sink["sink"] == "_rejected" || sink["variant_rows"].as_u64() > Some(1), "{sink}");
    }
    // And so does one that goes on from where the first run was stopped, when a split was idle.
    assert!(stopped_at.sources[0].splits.iter().any(|split| split.idle), "{stopped_at:?}");
    thalweg(&["archive", "record", "--topic", &topic, "--brokers", &brokers, "--archives", "archives"]);
    let state = format!("checkpoint:{}", stopped_at.number);
    let rest = thalweg(&[&against[..], &["--archives", "archives", "--state", &state]].concat());
    let report: Json = serde_json::from_slice(&rest).expect("a report");
    assert_eq!(report["runs"][0]["summary"]["sources"][0]["late"], 1, "{report}");
    let sink = &report["comparisons"][0]["sinks"][0];
    let found = ["only_reference", "only_variant", "changed"].map(|field| sink[field].as_u64());
    assert!(found == [Some(0); 3] && sink["variant_rows"].as_u64() >= Some(1), "{sink}");
}
